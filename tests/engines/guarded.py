"""Memory that tells when a native program goes beyond it."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

from pellucid.engines.llvm.engine import LlvmProgram
from pellucid.engines.llvm.meet import MEET_BYTES

__all__ = ["AtTheEdge", "Guarded", "run_guarded"]

EDGE = 192
"""Bytes of canary before and behind every array."""


class Guarded:
    """Memory of a number of bytes between canaries."""

    def __init__(self, size: int, filling: int, content: bytes = b"") -> None:
        self.room = np.full(size + 2 * EDGE + 64, 0xA7, np.uint8)
        self.start = EDGE + -(self.room.ctypes.data + EDGE) % 64
        self.inside = self.room[self.start : self.start + size]
        self.inside[:] = filling
        self.inside[: len(content)] = np.frombuffer(content, np.uint8)

    @property
    def address(self) -> int:
        return int(self.room.ctypes.data) + self.start

    def is_whole(self) -> bool:
        """Return whether no canary was touched."""
        outside = [self.room[: self.start], self.room[self.start + self.inside.size :]]
        return all((part == 0xA7).all() for part in outside)


class AtTheEdge(Guarded):
    """Memory that ends where none may be touched: who reads on ends the process."""

    def __init__(self, size: int, filling: int, content: bytes = b"") -> None:
        whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, whole + mmap.PAGESIZE)
        self.room = np.frombuffer(pages, np.uint8)
        forbid(int(self.room.ctypes.data) + whole)
        self.room = self.room[:whole]
        self.start = whole - size
        self.room[: self.start] = 0xA7
        self.inside = self.room[self.start :]
        self.inside[:] = filling
        self.inside[: len(content)] = np.frombuffer(content, np.uint8)


def forbid(page: int) -> None:
    """Let nobody read or write a page of memory."""
    place, size = ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE)
    if sys.platform == "win32":
        before = ctypes.c_ulong()
        done = ctypes.windll.kernel32.VirtualProtect(
            place, size, ctypes.c_ulong(1), ctypes.byref(before)
        )
        assert done
    else:
        assert ctypes.CDLL(None).mprotect(place, size, 0) == 0


def run_guarded(
    program: LlvmProgram, arrays: list[Any], filling: int, kind: type[Guarded] = Guarded
) -> list[Any]:
    """Run in guarded memory; whatever is not given is set to a filling."""
    given = [kind(x.nbytes, filling, x.tobytes()) for x in arrays]
    types = program.graph.output_types
    taken = [kind(each.nbytes, filling) for each in types]
    cells = 16 * len(program._checked_gates)
    zeros = bytes(-(-cells // 64) * 64 + MEET_BYTES)  # bounds, and where threads meet
    size = program._arena.size
    arena = kind(size, filling, zeros[:size])
    table = np.array([each.address for each in (*given, *taken)], np.uintp)
    program._main(table.ctypes.data, arena.address, 0, 1)
    assert all(each.is_whole() for each in (*given, *taken, arena))
    for each, x in zip(given, arrays):
        assert each.inside.tobytes() == x.tobytes()  # inputs are only read
    return [
        np.frombuffer(each.inside.tobytes(), type_.dtype).reshape(type_.shape)
        for each, type_ in zip(taken, types)
    ]
