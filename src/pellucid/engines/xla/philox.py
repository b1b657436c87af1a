"""Philox4x32-10 in 32-bit arithmetic: the same words as `engines.philox`, on a device.

Not every device multiplies 64-bit words quickly, or at all, so the upper half of a
product is put together from products of 16-bit halves.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["random_words"]

_MULTIPLIERS = np.uint32(0xD2511F53), np.uint32(0xCD9E8D57)
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _HALF = np.uint32(0xFFFF), np.uint32(16)


def random_words(key: Any, counter: Any, count: int) -> Any:
    """Return `count` words of (key, counter), each `u32[2]`.

    A block of four words takes its number as the lower half of its counter.
    """
    if not count:
        return jnp.zeros(0, np.uint32)
    numbers = jnp.arange(-(-count // 4), dtype=np.uint32)
    above = jnp.zeros_like(numbers)  # no array has 2³² blocks
    words = [numbers, above, *(jnp.broadcast_to(c, numbers.shape) for c in counter)]
    keys = [key[0], key[1]]
    for _ in range(10):
        words = _round(words, keys)
        keys = [each + step for each, step in zip(keys, _WEYL)]
    return jnp.stack(words, axis=1).reshape(-1)[:count]


def _round(words: list[Any], keys: list[Any]) -> list[Any]:
    c0, c1, c2, c3 = words
    m0, m1 = _MULTIPLIERS
    return [
        _upper_half(c2, m1) ^ c1 ^ keys[0],
        c2 * m1,
        _upper_half(c0, m0) ^ c3 ^ keys[1],
        c0 * m0,
    ]


def _upper_half(x: Any, y: np.uint32) -> Any:
    """Return the upper word of the 64-bit product x · y."""
    x_low, x_high = x & _LOW, x >> _HALF
    y_low, y_high = y & _LOW, y >> _HALF
    across = x_high * y_low + (x_low * y_low >> _HALF)  # fits into 32 bits
    middle = x_low * y_high + (across & _LOW)
    return x_high * y_high + (across >> _HALF) + (middle >> _HALF)
