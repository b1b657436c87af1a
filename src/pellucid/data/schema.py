"""What each column of a table is: a number, a category, a boolean, a date, or no use.

The kinds are guessed from types and from how many values differ, never from the
target. What is dropped carries its reason, so that it can be shown and overruled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import polars as pl

from pellucid.errors import DataError, did_you_mean, message

__all__ = ["Column", "Schema", "Task", "as_dates", "infer_schema", "infer_task"]

Task: TypeAlias = Literal["regression", "classification"]

IDENTIFIER_SHARE = 0.9
"""Text of which this share of values differ is an identifier or free text."""
IDENTIFIER_ROWS = 20
"""In a shorter table, many different values say nothing yet."""
MOST_CLASSES = 20
"""Whole numbers with more different values than this are a quantity."""
ROWS_PER_CLASS = 5
"""Whole numbers with fewer rows for each value than this are a quantity."""

_DATE = (
    r"^\d{4}[-/]\d{2}([-/]\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?)?)?$"
)


@dataclass(frozen=True)
class Column:
    """A column's name, its kind, and, where it is dropped, the reason."""

    name: str
    kind: str
    """`number`, `category`, `boolean`, `date` or `dropped`."""
    reason: str = ""


@dataclass(frozen=True)
class Schema:
    """The columns of a table, without its target."""

    columns: tuple[Column, ...]
    target: str | None = None

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that a network gets to see."""
        return tuple(each for each in self.columns if each.kind != "dropped")

    @property
    def dropped(self) -> tuple[Column, ...]:
        """The columns that are left out, each with its reason."""
        return tuple(each for each in self.columns if each.kind == "dropped")

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain JSON values."""
        return {
            "columns": [asdict(each) for each in self.columns],
            "target": self.target,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_dict` described."""
        columns = tuple(Column(**each) for each in plain["columns"])
        return cls(columns, plain["target"])


def infer_schema(table: pl.DataFrame, target: str | None = None) -> Schema:
    """Return the kind of every column except the target.

    Whole numbers stay numbers, however few values they have. Strings that read as
    ISO dates (1981-01, 1981-01-31, 1981-01-31 12:00) are dates.

    >>> table = pl.DataFrame({"age": [31, 40], "born": ["1981-01", "1972-05"]})
    >>> [(each.name, each.kind) for each in infer_schema(table).columns]
    [('age', 'number'), ('born', 'date')]
    """
    if target is not None and target not in table.columns:
        hint = did_you_mean(target, table.columns)
        raise DataError(message(f"no column named {target!r}", hint=hint))
    columns = [_describe(each) for each in table if each.name != target]
    return Schema(tuple(columns), target)


def _describe(column: pl.Series) -> Column:
    name, dtype, rows = column.name, column.dtype, len(column)
    present = column.drop_nulls()
    if present.is_empty():
        return Column(name, "dropped", "every value is missing")
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return Column(name, "dropped", f"{dtype} is not one value per row")
    if len(present) == rows and rows > 1 and present.n_unique() == 1:
        return Column(name, "dropped", f"constant: always {present[0]!r}")
    if dtype == pl.Boolean:
        return Column(name, "boolean")
    if dtype in (pl.Date, pl.Datetime) or as_dates(present) is not None:
        return Column(name, "date")
    if dtype.is_numeric():
        if _is_row_number(column):
            return Column(name, "dropped", "an identifier: the number of the row")
        return Column(name, "number")
    distinct = present.n_unique()
    if len(present) >= IDENTIFIER_ROWS and distinct > IDENTIFIER_SHARE * len(present):
        counted = f"{distinct} different values in {len(present)} rows"
        return Column(name, "dropped", f"an identifier or free text: {counted}")
    return Column(name, "category")


def _is_row_number(column: pl.Series) -> bool:
    """Return whether a column counts the rows, from 0 or 1."""
    if not column.dtype.is_integer() or len(column) < IDENTIFIER_ROWS:
        return False
    first = column[0]
    return first in (0, 1) and bool((column.diff().drop_nulls() == 1).all())


def as_dates(column: pl.Series) -> pl.Series | None:
    """Return a column as datetimes to the minute, or None where a value is no date.

    Times with a zone keep their wall time.

    >>> dates = as_dates(pl.Series(["1981-02", None, "1982-01-31T12:30:05Z"]))
    >>> dates.dt.month().to_list()
    [2, None, 1]
    """
    if column.dtype in (pl.Date, pl.Datetime):
        wall = column.dt.replace_time_zone(None) if column.dtype != pl.Date else column
        return wall.cast(pl.Datetime("us"))
    if column.dtype != pl.String or not column.str.contains(_DATE).all():
        return None
    text = column.str.replace_all("/", "-").str.replace("T", " ").str.slice(0, 16)
    whole = pl.select(
        pl.when(text.str.len_chars() == 7)
        .then(text + "-01 00:00")
        .when(text.str.len_chars() == 10)
        .then(text + " 00:00")
        .otherwise(text)
    ).to_series()
    dates = whole.str.to_datetime("%Y-%m-%d %H:%M", strict=False)
    return dates if dates.null_count() == column.null_count() else None


def infer_task(column: pl.Series) -> Task:
    """Return whether predicting a column is regression or classification.

    Strings and booleans are classes, and so is any column with two different whole
    numbers. More whole numbers are classes where they look like a numbering of
    classes: they start at 0 or 1, leave no gap, are at most 20, and come five times
    each on average. Other numbers are quantities: a quality of 3 to 9 is a scale, and
    the distance between a 5 and a 7 means something.

    >>> infer_task(pl.Series([0, 1, 1])), infer_task(pl.Series([3, 5, 6, 9] * 50))
    ('classification', 'regression')
    """
    present = column.drop_nulls()
    if present.is_empty():
        raise DataError(message(f"every value of target {column.name!r} is missing"))
    if present.dtype in (pl.String, pl.Boolean):
        return "classification"
    if not present.dtype.is_numeric():
        raise DataError(
            message(
                f"target {column.name!r} holds {present.dtype}",
                expected="expected numbers, strings or booleans",
            )
        )
    if present.dtype.is_float() and not bool((present == present.round()).all()):
        return "regression"
    values = present.unique().sort()
    count, rows = len(values), len(present)
    if count <= 2:
        return "classification"
    numbered = values[0] in (0, 1) and values[-1] - values[0] == count - 1
    few = count <= MOST_CLASSES and count * ROWS_PER_CLASS <= rows
    return "classification" if numbered and few else "regression"
