"""Philox4x32-10: random words that are a pure function of a key and a counter.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). Ten rounds of two 32-bit multiplications turn a 128-bit counter and a
64-bit key into four words. Word `i` of a draw comes from block `i // 4`.
"""

from __future__ import annotations

import numpy as np

from pellucid.ir.graph import Array

__all__ = ["philox", "random_words"]

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_AT_ONCE = 8192
"""The counters that go through all rounds together: they stay in a cache."""


def philox(counter: Array, key: Array) -> Array:
    """Return the four words of every counter.

    `counter` is `u32[n, 4]`, `key` is `u32[2]`; the result is `u32[n, 4]`.

    >>> words = philox(np.zeros((1, 4), np.uint32), np.zeros(2, np.uint32))
    >>> [f"{word:08x}" for word in words[0]]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    columns = np.ascontiguousarray(counter.T, np.uint64)
    _ten_rounds(columns, key)
    return columns.T.astype(np.uint32)


def _ten_rounds(columns: Array, key: Array) -> None:
    """Turn the words of counters, `u64[4, n]`, into random ones, in place."""
    c0, c1, c2, c3 = columns
    p0, p1 = np.empty((2, len(c0)), np.uint64)
    m0, m1 = (np.uint64(each) for each in _MULTIPLIERS)
    k0, k1 = key.tolist()
    for _ in range(10):
        np.multiply(c0, m0, out=p0)
        np.multiply(c2, m1, out=p1)
        np.right_shift(p1, _HALF, out=c0)
        np.right_shift(p0, _HALF, out=c2)
        c0 ^= c1
        c2 ^= c3
        c0 ^= np.uint64(k0)
        c2 ^= np.uint64(k1)
        np.bitwise_and(p1, _LOW, out=c1)
        np.bitwise_and(p0, _LOW, out=c3)
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF


def random_words(key: Array, counter: Array, count: int) -> Array:
    """Return `count` words; `counter` gives the two upper words of each block's."""
    if count <= 4:
        block = _block([0, 0, *counter.tolist()], key.tolist())
        return np.array(block[:count], np.uint32)
    words = np.empty((-(-count // 4), 4), np.uint32)
    for first in range(0, len(words), _AT_ONCE):
        part = words[first : first + _AT_ONCE]
        columns = np.empty((4, len(part)), np.uint64)
        columns[0] = np.arange(first, first + len(part), dtype=np.uint64)
        np.right_shift(columns[0], _HALF, out=columns[1])
        columns[0] &= _LOW
        columns[2:] = counter[:, None]
        _ten_rounds(columns, key)
        part[...] = columns.T
    return words.reshape(-1)[:count]


def _block(counter: list[int], key: list[int]) -> list[int]:
    """Return the words of one counter, in plain numbers: arrays cost more to call."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    m0, m1 = _MULTIPLIERS
    for _ in range(10):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]
