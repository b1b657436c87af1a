"""Philox4x32-10: random words that are a pure function of a key and a counter.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). Ten rounds of two 32-bit multiplications turn a 128-bit counter and a
64-bit key into four words. Word `i` of a draw comes from block `i // 4`.
"""

from __future__ import annotations

import numpy as np

from pellucid.ir.graph import Array

__all__ = ["philox", "random_words"]

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
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
    words = np.ascontiguousarray(counter.T, np.uint64)
    products, spare = np.empty((2, *words[::2].shape), np.uint64)
    keys = [int(word) for word in key]
    for _ in range(10):
        # In place: of four words, the even ones are multiplied, the odd ones wait.
        np.multiply(words[::2], _MULTIPLIERS, out=products)
        np.right_shift(products, _HALF, out=spare)
        np.bitwise_xor(spare[1], words[1], out=words[0])
        np.bitwise_xor(spare[0], words[3], out=words[2])
        words[::2] ^= np.array(keys, np.uint64)[:, None]
        np.bitwise_and(products[1], _LOW, out=words[1])
        np.bitwise_and(products[0], _LOW, out=words[3])
        keys = [(each + weyl) & 0xFFFFFFFF for each, weyl in zip(keys, _WEYL)]
    return words.T.astype(np.uint32)


def random_words(key: Array, counter: Array, count: int) -> Array:
    """Return `count` words; `counter` gives the two upper words of each block's."""
    if count <= 4:
        words = _block([0, 0, *counter.tolist()], key.tolist())
        return np.array(words[:count], np.uint32)
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    full = np.empty((len(blocks), 4), np.uint32)
    full[:, 0] = blocks & _LOW
    full[:, 1] = blocks >> _HALF
    full[:, 2:] = counter
    return philox(full, key).reshape(-1)[:count]


def _block(counter: list[int], key: list[int]) -> list[int]:
    """Return the words of one counter, in plain numbers: arrays cost more to call."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    m0, m1 = _MULTIPLIERS[:, 0].tolist()
    for _ in range(10):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]
