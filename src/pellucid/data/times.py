"""Text into times: by the one form that reads a whole column."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.errors import DataError, message

__all__ = ["times_of"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y")
_SAMPLE = 1000
"""The rows by which a form of times is chosen, before it must read all."""
_FORMATS = (
    *_DATES,
    *(f"{date}{between}{clock}" for date in _DATES for between in (" ", "T")
      for clock in ("%H:%M", "%H:%M:%S", "%H:%M:%S%.f")),
)  # fmt: skip
_ZONED = ("%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M:%S%.f%#z")


def times_of(column: pl.Series, notes: list[str]) -> Array:
    """Return a column's times as datetime64[us], or whole numbers that only count.

    Times with a zone become UTC. What a reader should know joins the `notes`. Raises
    `DataError`, naming the row, for a time that is missing or cannot be read.

    >>> times_of(pl.Series("t", ["1981-Q1", "1981-Q2"]), []).astype("M8[D]").tolist()
    [datetime.date(1981, 1, 1), datetime.date(1981, 4, 1)]
    """
    missing = column.is_null()
    if missing.any():
        row = int(missing.arg_true()[0]) + 1
        raise DataError(message(f"time {column.name!r} is missing in row {row}"))
    if column.is_empty():
        raise DataError(message(f"time {column.name!r} has no rows"))
    if column.dtype in (pl.Date, pl.Datetime):
        return _wall(column)
    if column.dtype.is_integer():
        return _counted(column)
    if column.dtype != pl.String:
        raise DataError(
            message(
                f"time {column.name!r} holds {column.dtype}",
                expected="expected dates, or whole numbers that count",
            )
        )
    return _wall(_parsed(column, notes))


def _wall(column: pl.Series) -> Array:
    zone = getattr(column.dtype, "time_zone", None)
    if zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.Datetime("us")).to_numpy().copy()


def _counted(column: pl.Series) -> Array:
    """Return whole numbers: years or `yyyymmdd` as dates, others as they are."""
    numbers = column.cast(pl.Int64).to_numpy()
    if ((numbers >= 1000) & (numbers < 3000)).all():
        return (numbers - 1970).astype("datetime64[Y]").astype("datetime64[us]")
    if ((numbers >= 1000_01_01) & (numbers < 3000_01_01)).all():
        text = column.cast(pl.String)
        dates = text.str.to_datetime("%Y%m%d", strict=False, time_unit="us")
        if not dates.null_count():
            return dates.to_numpy().copy()
    return numbers.copy()


def _parsed(column: pl.Series, notes: list[str]) -> pl.Series:
    """Return text as times, by the form that reads most of the first rows."""
    text = _days(column.str.strip_chars())
    sample = text.head(_SAMPLE)
    unread = {
        each: sample.str.to_datetime(each, strict=False, time_unit="us").null_count()
        for each in (*_FORMATS, *_ZONED)
    }
    best = [each for each, rows in unread.items() if rows == min(unread.values())]
    readings = {
        each: text.str.to_datetime(each, strict=False, time_unit="us") for each in best
    }
    whole = {each: times for each, times in readings.items() if not times.null_count()}
    if not whole:
        raise _unreadable(column, readings[best[0]])
    rising = [each for each, times in whole.items() if times.is_sorted()]
    chosen = (rising or [*whole])[0]
    if {"%m/%d/%Y", "%d/%m/%Y"} <= {each[:8] for each in whole}:
        order = "month/day" if chosen.startswith("%m") else "day/month"
        notes.append(f"{column.name!r} is read as {order}/year")
    return whole[chosen]


def _days(text: pl.Series) -> pl.Series:
    """Write months and quarters as their first day."""
    quarter = text.str.extract_groups(r"^(\d{4})[- ]?Q([1-4])$").struct
    year, part = quarter.field("1"), quarter.field("2").cast(pl.Int64)
    month = (part * 3 - 2).cast(pl.String).str.zfill(2)
    return pl.select(
        pl.when(year.is_not_null())
        .then(year + "-" + month + "-01")
        .when(text.str.contains(r"^\d{4}[-/]\d{1,2}$"))
        .then(text.str.replace("/", "-") + "-01")
        .otherwise(text)
    ).to_series()


def _unreadable(column: pl.Series, times: pl.Series) -> DataError:
    row = int(times.is_null().arg_true()[0])
    return DataError(
        message(
            f"time {column.name!r} is {column[row]!r} in row {row + 1}",
            where=f"line {row + 2} of a file whose first line has the names",
            expected="expected dates of one form, such as 1981-01-31, 1981-01, "
            "1981-01-31 12:30 or 31.01.1981",
        )
    )
