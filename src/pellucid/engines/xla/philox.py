"""Philox4x32-10 in 32-bit arithmetic: the same words as `engines.philox`, on a device.

Not every device multiplies 64-bit words quickly, or at all, so the upper half of a
product is put together from products of 16-bit halves.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["random_words"]

_MULTIPLIERS = np.uint32(0xD2511F53), np.uint32(0xCD9E8D57)
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _HALF = np.uint32(0xFFFF), np.uint32(16)


def random_words(key: Any, counter: Any, count: int, *, rolled: bool) -> Any:
    """Return `count` words of (key, counter), each `u32[2]`.

    A block of four words takes its number as the lower half of its counter. The ten
    rounds are `rolled` into a loop, or written out for a device that pays for loops.
    """
    if not count:
        return jnp.zeros(0, np.uint32)
    numbers = jnp.arange(-(-count // 4), dtype=np.uint32)
    above = jnp.zeros_like(numbers)  # no array has 2³² blocks
    state = (
        numbers,
        above,
        *(jnp.broadcast_to(c, numbers.shape) for c in counter),
        key[0],
        key[1],
    )
    if rolled:
        state = lax.fori_loop(0, 10, lambda _, each: _round(*each), state)
    else:
        for _ in range(10):
            state = _round(*state)
    return jnp.stack(state[:4], axis=1).reshape(-1)[:count]


def _round(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, ...]:
    m0, m1 = _MULTIPLIERS
    return (
        _upper_half(c2, m1) ^ c1 ^ k0,
        c2 * m1,
        _upper_half(c0, m0) ^ c3 ^ k1,
        c0 * m0,
        k0 + _WEYL[0],
        k1 + _WEYL[1],
    )


def _upper_half(x: Any, y: np.uint32) -> Any:
    """Return the upper word of the 64-bit product x · y."""
    x_low, x_high = x & _LOW, x >> _HALF
    y_low, y_high = y & _LOW, y >> _HALF
    across = x_high * y_low + (x_low * y_low >> _HALF)  # fits into 32 bits
    middle = x_low * y_high + (across & _LOW)
    return x_high * y_high + (across >> _HALF) + (middle >> _HALF)
