"""Random numbers that are a pure function of a key.

A key is two words, `u32[2]`. `fold_in` makes a new key from a key and a number;
drawing never changes a key. Inside a traced function keys are part of the graph, so
a run is a pure function of data, settings and seed.

    key of the run ─ fold in the step ─▶ key of the step ─ fold in 0, 1, … ─▶ one a draw
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import as_dtype
from pellucid.engines.philox import random_words
from pellucid.errors import ArgumentError
from pellucid.ir.graph import Array
from pellucid.ir.types import Shape
from pellucid.tensors import Tensor, apply, tensor

__all__ = [
    "bernoulli",
    "choices",
    "fold_in",
    "key_of",
    "keys_from",
    "next_key",
    "normal",
    "permutation",
    "seed",
    "uniform",
]

_DRAW, _FOLD = 0, 1  # the upper counter word tells a draw from a new key


def key_of(seed: int) -> Tensor:
    """Return the key of a seed, an integer from 0 to 2⁶⁴ − 1.

    >>> key_of(7)
    Tensor([7, 0], u32[2])
    """
    if (
        isinstance(seed, bool)
        or not isinstance(seed, int | np.integer)
        or not (0 <= seed < 1 << 64)
    ):
        raise ArgumentError(f"a seed is an integer from 0 to 2**64 - 1, not {seed!r}")
    return tensor(np.array([seed & 0xFFFFFFFF, int(seed) >> 32], np.uint32))


def fold_in(key: Tensor, number: Tensor | int) -> Tensor:
    """Return the key that a key and a number below 2³² make."""
    if isinstance(number, Tensor):
        low = number.astype("u32").reshape(1)
        counter = apply("concat", low, tensor(np.array([_FOLD], np.uint32)), axis=0)
    else:
        if not 0 <= number < 1 << 32:
            raise ArgumentError(f"expected a number from 0 to 2**32 - 1, not {number}")
        counter = tensor(np.array([number, _FOLD], np.uint32))
    return apply("random_bits", key, counter, shape=(2,))


def _bits(key: Tensor, shape: Shape) -> Tensor:
    counter = tensor(np.array([0, _DRAW], np.uint32))
    return apply("random_bits", key, counter, shape=tuple(shape))


def uniform(key: Tensor, shape: Shape, dtype: Any = None) -> Tensor:
    """Draw from [0, 1), each value a multiple of 2⁻²⁴ (`f32`) or 2⁻⁵³ (`f64`).

    >>> uniform(key_of(0), (2,)).dtype
    dtype('float32')
    """
    target = as_dtype(dtype or current().dtype)
    if target == np.float32:
        bits = _bits(key, shape) & 0xFFFFFF
        return bits.astype(target) * 2.0**-24
    bits = _bits(key, (2, *shape))
    high, low = (bits[0] & 0x1FFFFF).astype(target), bits[1].astype(target)
    return (high * 2.0**32 + low) * 2.0**-53


def normal(key: Tensor, shape: Shape, dtype: Any = None) -> Tensor:
    """Draw from the standard normal distribution.

    Source: Box and Muller, "A note on the generation of random normal deviates"
    (1958).

    >>> abs(float(normal(key_of(0), (1000,)).mean())) < 0.1
    True
    """
    u = uniform(key, (2, *shape), dtype)
    radius = apply("sqrt", apply("log", 1.0 - u[0]) * -2.0)
    return radius * apply("cos", u[1] * (2 * math.pi))


def bernoulli(key: Tensor, p: Tensor | float, shape: Shape) -> Tensor:
    """Draw truth values that hold with probability `p`."""
    return uniform(key, shape) < p


def permutation(key: Tensor, n: int) -> Array:
    """Return the numbers 0 to n − 1 in an order drawn by a known key, as `i32[n]`."""
    words = random_words(key.value, np.array([0, _DRAW], np.uint32), n)
    # A word with its place behind it is like no other, so any sort keeps the order of
    # equal words; NumPy sorts numbers many times as fast as it finds their order.
    both = words.astype(np.uint64) << np.uint64(32)
    both |= np.arange(n, dtype=np.uint64)
    both.sort()
    return both.astype(np.int32)


def choices(key: Tensor, n: int, count: int) -> Array:
    """Return `count` of the numbers 0 to n − 1, drawn alone each, as `i32[count]`.

    A number may come again.

    >>> drawn = choices(key_of(0), 10, 1000)
    >>> int(drawn.min()), int(drawn.max())
    (0, 9)
    """
    words = random_words(key.value, np.array([0, _DRAW], np.uint32), count)
    return (words.astype(np.uint64) * np.uint64(n) >> np.uint64(32)).astype(np.int32)


# --- keys for layers that draw ---------------------------------------------------


class _Keys:
    """A key, and how many were made from it."""

    def __init__(self, key: Tensor) -> None:
        self.key, self.count = key, 0


_default = _Keys(key_of(0))
_keys: ContextVar[_Keys | None] = ContextVar("pellucid_keys", default=None)


def next_key() -> Tensor:
    """Return a key that was not used before, from the block's key or the seed."""
    keys = _keys.get() or _default
    keys.count += 1
    return fold_in(keys.key, keys.count - 1)


@contextmanager
def keys_from(key: Tensor) -> Iterator[None]:
    """In this block `next_key` folds 0, 1, 2, … into `key`."""
    token = _keys.set(_Keys(key))
    try:
        yield
    finally:
        _keys.reset(token)


def seed(number: int) -> None:
    """Set the seed from which code outside of training draws.

    >>> seed(0)
    >>> first = normal(next_key(), (2,))
    >>> seed(0)
    >>> bool((normal(next_key(), (2,)) == first).value.all())
    True
    """
    _default.key, _default.count = key_of(number), 0
