"""What came out of a training, as facts: what was inferred, measured and noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from pellucid.data.schema import Schema, Task

__all__ = ["TableReport", "notes_on"]

Metrics = dict[str, float]

MOST_VALUES = 50
"""A column with more different values than this is not looked at for giving away."""
FEWEST_ROWS = 20
"""In a shorter table, a column that goes with the target may do so by chance."""


@dataclass(frozen=True)
class TableReport:
    """The numbers on the held-out rows, beside those of the guesses to beat.

    `features` counts the table's columns that the network sees, `inputs` the numbers
    that they become. `confusion[i][j]` counts held-out rows of class i predicted as
    j; it and `labels` are empty for a regression.
    """

    task: Task
    target: str
    rows: int
    train_rows: int
    validation_rows: int
    test_rows: int
    features: int
    inputs: int
    dropped: dict[str, str]
    """The columns that are left out, and why."""
    notes: tuple[str, ...]
    metrics: Metrics
    baseline: Metrics
    linear: Metrics
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    epochs: int
    iterations: int
    best_epoch: int | None
    stopped: str
    """`finished`, `early_stop` or `interrupted`."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values; metrics under `metrics.test`."""
        return {**asdict(self), "metrics": {"test": dict(self.metrics)}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TableReport:
        """Return the report that `to_json` described."""
        changes = {
            "metrics": dict(plain["metrics"]["test"]),
            "notes": tuple(plain["notes"]),
            "labels": tuple(plain["labels"]),
            "confusion": tuple(map(tuple, plain["confusion"])),
        }
        return cls(**{**plain, **changes})


def notes_on(table: pl.DataFrame, schema: Schema, target: str, task: Task
             ) -> tuple[str, ...]:  # fmt: skip
    """Say which columns settle the class by themselves: they may not be known later.

    >>> from pellucid.data.schema import infer_schema
    >>> table = pl.DataFrame({"alive": ["no", "yes"] * 10, "survived": [0, 1] * 10})
    >>> schema = infer_schema(table, "survived")
    >>> notes_on(table, schema, "survived", "classification")[0]
    "column 'alive' alone settles 'survived': drop it if you will not know it when ..."
    """
    if task != "classification" or len(table) < FEWEST_ROWS:
        return ()
    found = [
        each.name for each in schema.features if _settles(table, each.name, target)
    ]
    return tuple(
        f"column {name!r} alone settles {target!r}: drop it if you will not know it "
        "when you predict"
        for name in found
    )


def _settles(table: pl.DataFrame, column: str, target: str) -> bool:
    if table[column].n_unique() > min(MOST_VALUES, len(table) // 5):
        return False
    classes = table.group_by(column).agg(pl.col(target).n_unique())
    return classes[target].max() == 1
