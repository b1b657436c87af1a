"""What models of sequences read: numbers, or tokens as their vectors; which count."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.ir.graph import Array
from pellucid.nn.checks import place_of, verify
from pellucid.nn.embedding import Embedding, check_tokens
from pellucid.nn.masks import steps_that_count
from pellucid.tensors import Tensor

__all__ = ["shift_right", "steps_to_read", "vectors_of"]


def shift_right(targets: Any, start: float = 0) -> Array:
    """Return `[batch, time, …]` one step later, the first step being `start`.

    So it is what a model that writes these targets has read at each step: its inputs
    under teacher forcing.

    >>> shift_right([[5, 6, 7]], start=1)
    array([[1, 5, 6]])
    """
    array: Array = np.asarray(targets)
    if array.ndim < 2:
        raise ShapeError(
            message(f"got shape {[*array.shape]}", expected="expected [batch, time, …]")
        )
    return np.concatenate([np.full_like(array[:, :1], start), array[:, :-1]], 1)


def vectors_of(x: Tensor, embedding: Embedding | None, width: int, name: str) -> Tensor:
    """Return checked sequences as `[batch, time, …]`, tokens as their vectors.

    `name` is what the model calls the size of the vocabulary.
    """
    rank, form = (2, "[batch, time] of tokens")
    if embedding is None:
        rank, form = (3, f"[batch, time, {width}]")
    if x.ndim != rank:
        hint = "one sequence is a batch of one: x[None]"
        if x.ndim > rank:
            hint = "a model of numbers is made without embedding_dim"
        elif embedding is None and x.ndim == 2:
            hint = "a model of tokens is made with an embedding_dim"
        raise ShapeError(
            message(f"got {x.type}", expected=f"expected {form}", hint=hint)
        )
    if not x.shape[1]:
        raise ShapeError(
            message(
                f"got {x.type}: a sequence of length zero",
                expected=f"expected {form} with at least one step",
            )
        )
    if embedding is None:
        return x
    check_tokens(x, embedding.num_embeddings, name)
    vectors: Tensor = embedding(x)
    return vectors


def steps_to_read(
    x: Tensor, lengths: Any, mask: Any, padding_idx: int | None
) -> Tensor | None:
    """Return which steps count, `bool[batch, time]`; None where all of them do.

    Said by a mask or by lengths; else tokens that are `padding_idx` do not count.
    """
    if mask is None and lengths is None and padding_idx is not None and x.ndim == 2:
        mask = x != padding_idx
        verify(mask, partial(_check_read, padding_idx=padding_idx))
    real = steps_that_count(mask, lengths, x.shape[1], x.shape[0])
    return None if real is None else real.T


def _check_read(real: Array, first: int, padding_idx: int) -> None:
    """Refuse a sequence of padding alone."""
    empty = ~real.any(1)
    if empty.any():
        raise ArgumentError(
            message(
                f"a sequence is padding alone, token {padding_idx}",
                where=place_of(np.argwhere(empty)[0], first),
                expected="expected another token in each",
                hint="leave out empty sequences",
            )
        )
