"""Threads that enter a program together, and how many there should be."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.engines.llvm.meet import AWAY, LINE, PRESENT, TEAM
from pellucid.engines.llvm.native import Native, compile_text
from pellucid.ir.graph import Array

__all__ = ["count", "run_together"]


@cache
def count() -> int:
    """Return how many processors this process may use.

    The environment's `PELLUCID_THREADS` counts first; then the processors that the
    process is bound to and the quota of its control group.
    """
    asked = os.environ.get("PELLUCID_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, _quota()))


def _quota() -> int:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return os.cpu_count() or 1


@cache
def _native() -> tuple[Any, Any]:
    """Return `serve` and `lead` of a team."""
    native = Native([compile_text(TEAM)], "serve", "lead")
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    return (
        native.function("serve", None, pointer, pointer),
        native.function("lead", size, pointer, size, size),
    )


_making = threading.Lock()


class _Team:
    """Threads that stand by for programs, until the team is let go of.

    A worker that had nothing to do for a while sleeps in a lock. It is woken before
    a program starts; Ctrl-C may come at any moment, for nobody waits for anybody
    outside of `lead`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.lines = _lines(1 + size)
        self.address = self.lines.ctypes.data
        self.ended = threading.Event()
        self.locks = [threading.Lock() for _ in range(size)]
        for i, lock in enumerate(self.locks, 1):
            lock.acquire()
            given = self.lines, i * LINE, lock, self.ended
            threading.Thread(
                target=_serve, args=given, name="pellucid", daemon=True
            ).start()

    def run(
        self,
        main: int,
        io: ctypes.c_void_p,
        arena: ctypes.c_void_p,
        workers: int,
        patience: int,
    ) -> int:
        """Run a program with so many workers, or those who are there after so many
        looks; return how many threads it had."""
        first, *others = self.lines[: 1 + workers]
        for line, lock in zip(others, self.locks):
            if line[0] == AWAY and lock.locked():
                lock.release()
        first[:3] = main, io.value, arena.value
        threads: int = _native()[1](self.address, workers, patience)
        return threads

    def __del__(self) -> None:
        self.ended.set()
        for lock in self.locks:
            if lock.locked():
                lock.release()


def _lines(count: int) -> Array:
    """Return lines of the cache, in numbers."""
    room = np.zeros(LINE * (count + 1), np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + LINE * count].view(np.uint64).reshape(count, -1)


def _serve(lines: Array, at: int, lock: threading.Lock, ended: threading.Event) -> None:
    """Stand by whenever the lock is released; sleep in it in between."""
    serve = _native()[0]
    while lock.acquire() and not ended.is_set():
        serve(lines.ctypes.data, lines.ctypes.data + at)


class _Own(threading.local):
    """The team of one thread: nested and parallel users do not share one."""

    team: _Team | None = None


_own = _Own()


def _forget_team() -> None:
    """Threads do not survive a fork."""
    global _own
    _own = _Own()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def run_together(
    main: int,
    io: ctypes.c_void_p,
    arena: ctypes.c_void_p,
    threads: int,
    patience: int = PRESENT,
) -> int:
    """Let up to so many threads run the function at `main`; return how many did.

    The first waits for the others for `patience` looks.
    """
    team = _own.team
    if team is None or team.size < threads - 1:
        with _making:  # before workers ask for it, each for itself
            _native()
        team = _own.team = _Team(threads - 1)
    return team.run(main, io, arena, threads - 1, patience)
