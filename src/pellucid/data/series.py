"""A series from a table: one value for each of evenly spaced times, and what was done.

Times are parsed and sorted; times that come twice, steps that are missing and values
that are missing are mended, and each mending is a note. What cannot be mended without
inventing a series is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.calendar import Grid, infer_grid, show_time
from pellucid.data.table import find_column
from pellucid.data.times import times_of
from pellucid.errors import DataError, message

__all__ = ["Season", "Series", "find_season", "series_from"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST_MENDED = 0.3
"""A larger share of steps than this is not filled in."""
MOST_UNREADABLE = 0.05
"""A larger share of values that are no numbers is not passed over."""
MOST_DOUBLE = 0.05
"""A larger share of times that come twice is no slip: there are several series."""


@dataclass(frozen=True)
class Series:
    """A value for each step of a grid, and other columns that are known beforehand.

    `values` is f64 `[n]`; `known` f64 `[n + future, columns]`, for the table may know
    those of later steps already. `notes` say what was mended.
    """

    target: str
    time: str
    grid: Grid
    values: Array
    known: Array
    known_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def times(self, start: int, stop: int) -> Array:
        """Return the times of some steps; those from `len(self)` on are to come."""
        return self.grid.at(np.arange(start, stop))


def series_from(
    table: pl.DataFrame,
    time: str | int,
    target: str | int,
    known: Sequence[str | int] = (),
) -> Series:
    """Return the series that two columns of a table hold.

    `known` are columns whose later values are known when a forecast is made, such as
    prices or holidays: rows behind the last target may hold those. Raises `DataError`
    for columns that are not there, times that cannot be read or are not evenly
    spaced, and for targets that are not numbers.

    >>> table = pl.DataFrame({"day": ["2024-01-01", "2024-01-02", "2024-01-03",
    ...                               "2024-01-04"],
    ...                       "sold": [5, None, 9, 10]})
    >>> series = series_from(table, "day", "sold")
    >>> series.values.tolist(), str(series.grid)
    ([5.0, 7.0, 9.0, 10.0], 'day')
    """
    names = _distinct([find_column(table, each) for each in (time, target, *known)])
    notes: list[str] = []
    times = times_of(table[names[0]], notes)
    columns = [_numbers(table[each], notes) for each in names[1:]]
    times, rows = _in_order(times, np.stack(columns, 1), names[0], notes)
    used = np.flatnonzero(np.isfinite(rows[:, 0]))
    if not len(used):
        raise DataError(f"target {names[1]!r} has no values")
    times, rows = times[used[0] :], rows[used[0] :]
    grid = infer_grid(times, names[0])
    places = grid.places(times)
    n = int(places[used[-1] - used[0]]) + 1
    _note_gaps(grid, places[places < n], notes)
    absent = np.isin(np.arange(n), places, invert=True)
    values, *others = [
        _mended(_until_unknown(each, n), absent, grid, name, notes)
        for name, each in zip(names[1:], _by_step(rows, places).T)
    ]
    named = tuple(names[2:])
    beside = _side_by_side(others, n)
    return Series(names[1], names[0], grid, values, beside, named, tuple(notes))


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise DataError(f"column {twice!r} is asked for twice")
    return names


def _by_step(rows: Array, places: Array) -> Array:
    """Return a row for each step, NaN for those that have none."""
    whole = np.full((int(places[-1]) + 1, rows.shape[1]), np.nan)
    whole[places] = rows
    return whole


def _side_by_side(columns: list[Array], n: int) -> Array:
    """Return columns as one array, as far as all are known; without any `[n, 0]`."""
    if not columns:
        return np.empty((n, 0))
    length = min(map(len, columns))
    return np.stack([each[:length] for each in columns], 1)


def _until_unknown(values: Array, n: int) -> Array:
    """Cut a column where, behind the last target, its first value is missing."""
    unknown = np.flatnonzero(np.isnan(values[n:]))
    return values[: n + int(unknown[0])] if len(unknown) else values


# --- in order ------------------------------------------------------------------


def _in_order(
    times: Array, rows: Array, name: str, notes: list[str]
) -> tuple[Array, Array]:
    """Sort by time; of rows of one time take the mean."""
    if (times[1:] < times[:-1]).any():
        notes.append(f"the rows were not in the order of {name!r}: sorted")
    order = np.argsort(times, kind="stable")
    times, rows = times[order], rows[order]
    distinct, first, counts = np.unique(times, return_index=True, return_counts=True)
    double = np.flatnonzero(counts > 1)
    if not len(double):
        return times, rows
    shown = show_time(distinct[double[0]])
    if len(double) > max(MOST_DOUBLE * len(distinct), 1):
        raise DataError(
            message(
                f"{len(double)} of {len(distinct)} times in {name!r} come more than "
                f"once, first {shown}",
                expected="expected one series",
                hint="keep the rows of one series, or add up those of one time",
            )
        )
    there = np.isfinite(rows)
    counts = np.add.reduceat(there, first, axis=0, dtype=np.int64)
    sums = np.add.reduceat(np.where(there, rows, 0), first, axis=0)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    words = "time comes" if len(double) == 1 else "times come"
    notes.append(f"{len(double)} {words} more than once, first {shown}: took the mean")
    return distinct, means


# --- values ----------------------------------------------------------------------


def _numbers(column: pl.Series, notes: list[str]) -> Array:
    """Return a column as f64, NaN where it has no number."""
    name = column.name
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        found = column.cast(pl.Float64)
    else:
        found = column.cast(pl.String).cast(pl.Float64, strict=False)
        wrong = found.is_null() & column.is_not_null()
        rows = wrong.arg_true()
        if len(rows):
            row = int(rows[0])
            shown = f"{name!r} is {str(column[row])!r} in row {row + 1}"
            if len(rows) > MOST_UNREADABLE * len(column):
                raise DataError(
                    message(shown, expected="expected a number in every row",
                            hint="name the column of values, or mend the file")
                )  # fmt: skip
            more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
            notes.append(f"{shown}{more}: no number, taken as missing")
    values: Array = found.fill_null(np.nan).to_numpy().copy()
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax()) + 1
        raise DataError(message(f"{name!r} is infinite in row {row}"))
    return values


def _note_gaps(grid: Grid, places: Array, notes: list[str]) -> None:
    """Say which steps have no row; refuse a series with too few."""
    gaps, length = np.diff(places) - 1, int(places[-1]) + 1
    missing = int(gaps.sum())
    if not missing:
        return
    at = int(gaps.argmax())
    after = show_time(grid.at(places[at : at + 1])[0])
    longest = f"the longest gap has {gaps[at]} and follows {after}"
    if missing > MOST_MENDED * length:
        raise DataError(
            message(
                f"{missing} of {length} steps are missing: {longest}",
                expected=f"most times are {grid.apart} apart",
                hint="use a part of the file, or a longer step",
            )
        )
    notes.append(f"{missing} of {length} steps have no row, {longest}: {_LINE}")


_LINE = "filled in on a line between the neighbours"


def _mended(
    values: Array, absent: Array, grid: Grid, name: str, notes: list[str]
) -> Array:
    """Fill in what is missing; of the steps that have no row others speak."""
    gone = np.isnan(values)
    if not gone.any():
        return values
    rows = np.flatnonzero(gone[: len(absent)] & ~absent)
    if len(rows):
        first = show_time(grid.at(rows[:1])[0])
        steps = "1 step" if len(rows) == 1 else f"{len(rows)} steps"
        text = f"{name!r} is missing in {steps}, first at {first}"
        if gone.sum() > MOST_MENDED * len(values):
            raise DataError(
                message(text, hint="choose another column, or a part of the file")
            )
        notes.append(f"{text}: {_LINE}")
    return np.interp(np.arange(len(values)), np.flatnonzero(~gone), values[~gone])


# --- seasons ---------------------------------------------------------------------


@dataclass(frozen=True)
class Season:
    """How many steps lie between alike values, and why it is thought so."""

    period: int
    why: str


ALIKE = 0.3
"""Values one season apart must be correlated at least so much …"""
MORE_ALIKE = 0.1
"""… and so much more than those half a season apart."""
NEARLY = 0.9
"""A shorter season is preferred to one that is not better by more than this factor."""


def find_season(series: Series) -> Season | None:
    """Return the season of a series: a cycle of the calendar, or else what repeats.

    A trend is taken out, then values one season apart are correlated. A season needs
    two of its lengths.

    >>> wave = np.sin(2 * np.pi * np.arange(100) / 10)
    >>> grid = Grid(0, 1, "number")
    >>> find_season(Series("y", "t", grid, wave, np.empty((100, 0)))).period
    10
    """
    n = len(series)
    alike = _correlations(series.values)
    known = {
        steps: name
        for name, steps in series.grid.seasons(n).items()
        if _repeats(alike, steps)
    }
    if known:
        steps = max(known, key=lambda each: alike[each])
        name = known[steps]
        return Season(steps, f"the {name}; values one {name} apart: {_r(alike, steps)}")
    inside = np.arange(2, n // 3)
    peaks = inside[
        (alike[inside] > alike[inside - 1]) & (alike[inside] >= alike[inside + 1])
    ]
    peaks = peaks[[_repeats(alike, each) for each in peaks]]
    if not len(peaks):
        return None
    # Twice and three times the season are alike too; the tops of waves are jagged.
    shortest = peaks[alike[peaks] >= NEARLY * alike[peaks].max()][0]
    near = peaks[(peaks >= shortest) & (peaks <= (2 - NEARLY) ** 2 * shortest)]
    steps = int(near[alike[near].argmax()])
    return Season(steps, f"values {steps} steps apart: {_r(alike, steps)}")


def _r(alike: Array, steps: int) -> str:
    return f"correlation {alike[steps]:.2f}"


def _repeats(alike: Array, steps: int) -> bool:
    return bool(
        alike[steps] >= ALIKE and alike[steps] >= alike[steps // 2] + MORE_ALIKE
    )


def _correlations(values: Array) -> Array:
    """Return the autocorrelation at every lag, of the values without their trend.

    Each lag's sum of products is divided by the number of its products, so that long
    lags are not drawn to zero.
    """
    n = len(values)
    t = np.arange(n) - (n - 1) / 2
    rest = values - values.mean()
    rest = rest - t * (t @ rest) / (t @ t)
    spectrum = np.fft.rfft(rest, 2 * n)
    products = np.fft.irfft(np.abs(spectrum) ** 2)[:n] / np.arange(n, 0, -1)
    if products[0] <= 1e-20 * max(float(np.abs(values).max()) ** 2, 1e-300):
        return np.zeros(n)
    correlations: Array = products / products[0]
    return correlations
