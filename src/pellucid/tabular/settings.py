"""How a network is trained on a table: a frozen record, and its defaults.

The defaults were chosen by trial on public tables of 300 to 33,000 rows (penguins,
mpg, titanic, white wine, California housing, Adult census), several seeds each, by
the score on rows that training never saw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.configuration import current
from pellucid.data.schema import Task
from pellucid.runs.settings import WIDTHS, Check, RunSettings

__all__ = ["TableSettings"]

MANY_ROWS = 10_000
"""From here on a table bears a wider network, and a larger rate in larger batches."""


@dataclass(frozen=True, kw_only=True)
class TableSettings(RunSettings):
    """All that decides a training besides the table.

    `suggest` gives the defaults for a table; those named here do not depend on it.
    """

    allowed: ClassVar[Mapping[str, Check]] = {"hidden": WIDTHS}

    hidden: tuple[int, ...]
    """The width of each hidden layer."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""

    @property
    def network(self) -> str:
        """The network in words."""
        widths = "-".join(map(str, self.hidden)) or "none"
        return f"hidden layers {widths}, {self.activation}"

    @classmethod
    def suggest(cls, rows: int, task: Task, **given: Any) -> TableSettings:
        """Return the settings for a training part of `rows` rows; `given` comes first.

        Raises `ArgumentError` for a name or a value that is not allowed.

        >>> settings = TableSettings.suggest(1000, "regression", epochs=20)
        >>> settings.epochs, settings.hidden, settings.batch_size, settings.patience
        (20, (64, 64), 32, 10)
        """
        return cls._chosen(_defaults(rows, task), given)


def _defaults(rows: int, task: Task) -> dict[str, Any]:
    many = rows >= MANY_ROWS
    enough = 500_000 if task == "classification" else 1_000_000
    return {
        # So many rows seen are enough; a small table is seen 60 times. A regression
        # gains from twice as many, a classifier with many rows only overfits longer.
        "epochs": min(max(round(enough / max(rows, 1)), 10), 60),
        # A power of two near rows / 128: some hundred updates an epoch.
        "batch_size": 2 ** min(max(round(math.log2(max(rows, 2) / 128)), 5), 8),
        "hidden": (128, 64) if many else (64, 64),
        "lr": 1e-2 if many else 5e-3,
        # With many rows early stopping suffices, and drawing masks takes its time.
        "dropout": 0.0 if many else 0.1,
        # Labels are noisier than quantities: a classifier gains from smaller weights.
        "weight_decay": 1.0 if task == "classification" else 0.1,
        "engine": current().engine,
    }
