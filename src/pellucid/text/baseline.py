"""Models of text that cost nothing: how often each character comes, and after which."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["bigram_nats", "unigram_nats"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def unigram_nats(text: Array, targets: Array, size: int) -> float:
    """Return the mean of −log p(character) of targets, p counted in a text.

    Each of the `size` characters counts once more than it came, so that none is
    impossible.

    >>> round(unigram_nats(np.array([0, 0, 1]), np.array([0, 0]), 2), 4)
    0.5108
    """
    counts = np.bincount(text, minlength=size) + 1.0
    return float(-np.log(counts / counts.sum())[targets].mean())


def bigram_nats(text: Array, before: Array, targets: Array, size: int) -> float:
    """Return the mean of −log p(character | the one before it), p counted in a text.

    Behind each character, the counts are added to the shares of all characters, as if
    it had come once more: p = (count + share) / (total + 1).

    >>> text = np.array([0, 1, 0, 1, 0])
    >>> round(bigram_nats(text, np.array([0]), np.array([1]), 2), 4)
    0.2113
    """
    shares = (np.bincount(text, minlength=size) + 1.0) / (len(text) + size)
    totals = np.bincount(text[:-1], minlength=size)
    seen, counts = np.unique(_pairs(text[:-1], text[1:], size), return_counts=True)
    wanted = _pairs(before, targets, size)
    places = np.minimum(np.searchsorted(seen, wanted), len(seen) - 1)
    times = np.where(seen[places] == wanted, counts[places], 0)
    found = (times + shares[targets]) / (totals[before] + 1.0)
    return float(-np.log(found).mean())


def _pairs(first: Array, second: Array, size: int) -> Array:
    """Return a number for each pair: a table of all would be large."""
    pairs: Array = first.astype(np.int64) * size + second
    return pairs
