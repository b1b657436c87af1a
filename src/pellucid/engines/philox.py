"""Philox4x32-10: random words that are a pure function of a key and a counter.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). Ten rounds of two 32-bit multiplications turn a 128-bit counter and a
64-bit key into four words. Word `i` of a draw comes from block `i // 4`.
"""

from __future__ import annotations

import numpy as np

from pellucid.ir.graph import Array

__all__ = ["philox", "random_words"]

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: Array, key: Array) -> Array:
    """Return the four words of every counter.

    `counter` is `u32[n, 4]`, `key` is `u32[2]`; the result is `u32[n, 4]`.

    >>> words = philox(np.zeros((1, 4), np.uint32), np.zeros(2, np.uint32))
    >>> [f"{word:08x}" for word in words[0]]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter.astype(np.uint64).T
    k0, k1 = (int(word) for word in key)
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def random_words(key: Array, counter: Array, count: int) -> Array:
    """Return `count` words; `counter` gives the two upper words of each block's."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    full = np.empty((len(blocks), 4), np.uint32)
    full[:, 0] = blocks & _LOW
    full[:, 1] = blocks >> _HALF
    full[:, 2:] = counter
    return philox(full, key).reshape(-1)[:count]
