"""Threads that enter a program together, and how many there should be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

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


class _Team(threading.local):
    """The helpers of one thread: nested and parallel users do not share them."""

    pool: ThreadPoolExecutor | None = None
    size = 0


_team = _Team()


def _forget_team() -> None:
    """Threads do not survive a fork."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def run_together(function: Callable[[int, int], None], threads: int) -> None:
    """Call `function(i, threads)` for every i at once, the first in this thread."""
    if threads == 1:
        function(0, 1)
        return
    if _team.pool is None or _team.size < threads - 1:
        _team.pool = ThreadPoolExecutor(threads - 1, "pellucid")
        _team.size = threads - 1
    others = [_team.pool.submit(function, i, threads) for i in range(1, threads)]
    function(0, threads)
    for each in others:
        each.result()
