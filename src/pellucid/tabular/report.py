"""What came out of a training, as facts: what was inferred, measured and noticed."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pellucid.data.schema import Schema, Task
from pellucid.runs.report import RunReport

__all__ = ["TableReport", "notes_on"]

MOST_VALUES = 50
"""A column with more different values than this is not looked at for giving away."""
FEWEST_ROWS = 20
"""In a shorter table, a column that goes with the target may do so by chance."""


@dataclass(frozen=True, kw_only=True)
class TableReport(RunReport):
    """The numbers on the held-out rows, and what was inferred from the table.

    `features` counts the table's columns that the network sees, `inputs` the numbers
    that they become.
    """

    task: Task
    target: str
    features: int
    inputs: int
    dropped: dict[str, str]
    """The columns that are left out, and why."""


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
