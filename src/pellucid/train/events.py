"""What training reports: plain facts, as they happen, to whoever subscribed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeAlias

__all__ = ["Event", "JsonLines", "Printer", "Subscriber"]


@dataclass(frozen=True)
class Event:
    """A fact: its kind, and numbers and words by name.

    Kinds: `begin`, `epoch`, `early_stop`, `non_finite`, `interrupted`,
    `checkpoint`, `end`.
    """

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


Subscriber: TypeAlias = Callable[[Event], None]


class JsonLines:
    """Writes each event as a line of JSON to a file.

    Floats that JSON has no word for are written as null.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - see close

    def __call__(self, event: Event) -> None:
        """Write one line."""
        facts = {key: _plain(value) for key, value in event.data.items()}
        self._file.write(json.dumps({"event": event.kind, **facts}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return None
    return value


class Printer:
    """Prints a line an epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Print the event if there is a line for it."""
        line = _LINES.get(event.kind)
        if line is not None:
            print(line(event.data), file=self._stream or sys.stderr, flush=True)


def _epoch_line(data: dict[str, Any]) -> str:
    skip = {"epoch", "epochs", "iterations", "rows", "seconds"}
    numbers = "  ".join(
        f"{key} {value:.4g}"
        for key, value in data.items()
        if key not in skip and isinstance(value, float)
    )
    return (
        f"epoch {data['epoch']}/{data['epochs']}  iterations {data['iterations']}  "
        f"{numbers}"
    )


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "epoch": _epoch_line,
    "early_stop": lambda data: (
        f"stopped early: no better for {data['patience']} epochs; kept epoch "
        f"{data['best_epoch']}"
    ),
    "interrupted": lambda data: f"interrupted: kept {data['kept']}",
}
