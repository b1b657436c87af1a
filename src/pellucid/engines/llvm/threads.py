"""Threads that enter a program together, and how many there should be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue

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


class _Team:
    """Threads that do jobs as they come, until the team is let go of.

    Everything here that the main thread waits in is a lock of the interpreter itself:
    Ctrl-C may come at any moment and leaves those whole.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for _ in range(size):
            threading.Thread(
                target=_serve, args=(self.jobs,), name="pellucid", daemon=True
            ).start()

    def __del__(self) -> None:
        for _ in range(self.size):
            self.jobs.put(None)


def _serve(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


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


class _Task:
    """A function that several threads call together."""

    def __init__(self, function: Callable[[int, int], None], threads: int) -> None:
        self.function, self.threads = function, threads
        self.begun, self.through = threading.Lock(), threading.Lock()
        self.through.acquire()
        self.ended = False

    def lead(self, team: _Team) -> None:
        """Call the function as the first thread, and let the others do so."""
        if not self.begun.acquire(blocking=False):
            return  # called off
        others = [threading.Lock() for _ in range(1, self.threads)]
        for i, other in enumerate(others, 1):
            other.acquire()
            team.jobs.put(partial(self.follow, i, other))
        self.function(0, self.threads)
        for other in others:
            other.acquire()
        self.ended = True
        self.through.release()

    def follow(self, i: int, ended: threading.Lock) -> None:
        """Call the function as another thread."""
        self.function(i, self.threads)
        ended.release()

    def call_off(self) -> None:
        """See that the function is not called, or wait until all calls are through."""
        if not self.begun.acquire(blocking=False):
            while not self.ended:
                time.sleep(1e-3)


def run_together(function: Callable[[int, int], None], threads: int) -> None:
    """Call `function(i, threads)` for every i at once; it raises nothing.

    Several threads are led by one of their own: Ctrl-C comes to the main thread, and
    must not come between two that wait for each other. It is answered when they are
    through.
    """
    if threads == 1:
        function(0, 1)
        return
    team = _own.team
    if team is None or team.size < threads:
        team = _own.team = _Team(threads)
    task = _Task(function, threads)
    try:
        team.jobs.put(partial(task.lead, team))
        task.through.acquire()
    except BaseException:
        task.call_off()
        raise
