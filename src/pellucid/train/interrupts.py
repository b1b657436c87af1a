"""Ctrl-C that is not lost: Python may raise it where nobody can hear it.

A KeyboardInterrupt that is raised while an object is being cleared away is printed and
forgotten. So the signal is noted too, and asked for between two runs of a program.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["noted_interrupts"]


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises a KeyboardInterrupt which came in this block.

    It does nothing where no signal comes: outside of the main thread, and where
    Python does not answer the signal itself.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    came = threading.Event()
    if not main or not callable(before):
        yield lambda: None
        return

    def note(number: int, frame: Any) -> Any:
        came.set()
        return before(number, frame)

    def ask() -> None:
        if came.is_set():
            came.clear()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGINT, before)
