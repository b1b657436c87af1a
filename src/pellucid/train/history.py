"""The record of a training: one row an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pellucid.errors import ArgumentError, did_you_mean, message

__all__ = ["History"]


@dataclass
class History:
    """One row an epoch: epoch, iterations, loss, validation_loss, metrics, seconds.

    >>> history = History([{"epoch": 1, "loss": 0.5}])
    >>> history["loss"]
    [0.5]
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""
    """Why training ended: `finished`, `early_stop` or `interrupted`."""
    best_epoch: int | None = None
    """The epoch whose weights were kept, where validation chose one."""

    def __getitem__(self, name: str) -> list[Any]:
        known = list(self.rows[0]) if self.rows else []
        if self.rows and name not in known:
            raise ArgumentError(
                message(f"no column {name!r} here", hint=did_you_mean(name, known))
            )
        return [row[name] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    @property
    def epochs(self) -> int:
        """The number of passes over the training rows."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def iterations(self) -> int:
        """The number of updates of the parameters."""
        return int(self.rows[-1]["iterations"]) if self.rows else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "rows": [dict(row) for row in self.rows],
            "stopped": self.stopped,
            "best_epoch": self.best_epoch,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> History:
        """Read what `to_dict` gave."""
        return cls(
            [dict(row) for row in given["rows"]], given["stopped"], given["best_epoch"]
        )
