"""Evenly spaced times: how far apart they are, which come next, what the calendar says.

A time is a `datetime64[us]` without a zone, or a whole number that only counts. A grid
has a place for every whole number; months and weekdays are steps too, though their
lengths in seconds differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import DataError, message

__all__ = ["Grid", "infer_grid"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

SECOND = 1_000_000
MINUTE, HOUR, DAY, WEEK = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND, 604_800 * SECOND
YEAR = 365.2425 * DAY

_NAMES = {
    ("microsecond", WEEK): "week",
    ("weekday", 1): "weekday",
    ("month", 1): "month",
    ("month", 3): "quarter",
    ("month", 12): "year",
}
_UNITS = (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", SECOND))

JITTER = 0.1
"""How far from its place a time may lie, in steps."""
COMMON = 0.5
"""The share of steps that must have the most common length."""
HARMONICS = {"day": 3, "week": 3, "year": 2}
"""How many waves describe each cycle of the calendar."""


@dataclass(frozen=True)
class Grid:
    """The times `start`, `start` + a step, … of one step's length.

    >>> months = Grid("1981-01-31", 1, "month", 31)
    >>> months.at(np.arange(3)).astype("M8[D]").tolist()[1]
    datetime.date(1981, 2, 28)
    >>> str(months), months.seasons(100)
    ('month', {'year': 12})
    """

    start: str | int
    count: int
    """How many units a step has."""
    unit: str
    """`microsecond`, `weekday`, `month` or `number`."""
    day: int = 1
    """For months: the day of the month; where it is too short, its last."""

    def __str__(self) -> str:
        if self.unit == "number":
            return f"step of {self.count}"
        known = _NAMES.get((self.unit, self.count))
        if known is not None:
            return known
        units = _UNITS if self.unit == "microsecond" else ()
        name, size = next(
            (each for each in units if self.count % each[1] == 0), (self.unit, 1)
        )
        count = self.count // size
        return name if count == 1 else f"{count} {name}s"

    @property
    def apart(self) -> str:
        """How far two times are apart, in words.

        >>> Grid(0, 5, "number").apart, Grid("2024-01-01", HOUR, "microsecond").apart
        ('5', 'an hour')
        """
        if self.unit == "number":
            return str(self.count)
        name = str(self)
        if name[0].isdigit():
            return name
        return f"{'an' if name == 'hour' else 'a'} {name}"

    @property
    def is_dated(self) -> bool:
        """Whether the times are dates, so that the calendar says something."""
        return self.unit != "number"

    def at(self, places: Array) -> Array:
        """Return the times of some places."""
        if self.unit == "number":
            return int(self.start) + self.count * places
        start = np.datetime64(self.start, "us")
        if self.unit == "microsecond":
            times: Array = start + self.count * places.astype("m8[us]")
            return times
        first = start.astype("M8[D]")
        if self.unit == "weekday":
            days: Array = np.busday_offset(first, self.count * places)
        else:
            months = first.astype("M8[M]") + self.count * places
            last = (months + 1).astype("M8[D]") - 1
            days = np.minimum(months.astype("M8[D]") + self.day - 1, last)
        exact: Array = days.astype("M8[us]") + (start - first)
        return exact

    def places(self, times: Array) -> Array:
        """Return the nearest place of each time, int64."""
        if self.unit == "number":
            away = times - int(self.start)
        elif self.unit == "microsecond":
            away = (times - np.datetime64(self.start, "us")).astype("i8")
        elif self.unit == "weekday":
            away = np.busday_count(*_both(self.start, times, "M8[D]"))
        else:
            first, there = _both(self.start, times, "M8[M]")
            away = (there - first).astype("i8")
        nearest: Array = np.rint(away / self.count).astype(np.int64)
        return nearest

    def off(self, times: Array) -> Array:
        """Return how many steps each time lies from its place; ∞ for no such step."""
        away = times - self.at(self.places(times))
        if self.unit == "microsecond":
            share: Array = np.abs(away.astype("i8")) / self.count
            return share
        return np.where(away.astype("i8") == 0, 0.0, np.inf)

    # --- what the calendar says ---

    def cycles(self) -> dict[str, float]:
        """Return the calendar's cycles that have two steps or more, in steps."""
        if self.unit == "month":
            found = {"year": 12 / self.count}
        elif self.unit == "weekday":
            found = {"week": 5 / self.count, "year": 261 / self.count}
        elif self.unit == "microsecond":
            lengths = {"day": DAY, "week": WEEK, "year": YEAR}
            found = {name: size / self.count for name, size in lengths.items()}
        else:
            found = {}
        return {name: steps for name, steps in found.items() if steps >= 2}

    def seasons(self, n: int) -> dict[str, int]:
        """Return those cycles that `n` steps hold twice, in whole steps."""
        whole = {name: round(steps) for name, steps in self.cycles().items()}
        return {name: steps for name, steps in whole.items() if 2 * steps <= n}

    def features(self, times: Array, cycles: Mapping[str, int]) -> Array:
        """Return waves for each cycle at each time, f64 `[n, waves]`, in ±1.

        `cycles` says how many harmonics of which cycle.
        """
        columns = []
        for name, harmonics in cycles.items():
            angle = 2 * np.pi * _phase(times, name, self.unit == "month")
            for k in range(1, harmonics + 1):
                columns += [np.sin(k * angle), np.cos(k * angle)]
        return np.stack(columns, 1) if columns else np.empty((len(times), 0))

    def harmonics(self, n: int) -> dict[str, int]:
        """Return the cycles that a series of `n` steps teaches, with harmonics."""
        return {
            name: min(HARMONICS[name], steps // 2)
            for name, steps in self.seasons(n).items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as plain JSON values."""
        return asdict(self)


def _both(start: Any, times: Array, kind: str) -> tuple[Any, Array]:
    return np.datetime64(start, "us").astype(kind), times.astype(kind)


def _phase(times: Array, cycle: str, by_month: bool) -> Array:
    """Return how much of a cycle has passed at each time, from 0 to below 1."""
    days = times.astype("M8[D]")
    part: Array = (times - days).astype("i8") / DAY
    if cycle == "day":
        return part
    since: Array = days.astype("i8")
    if cycle == "week":
        # 1970-01-01 was a Thursday.
        return ((since + 3) % 7 + part) / 7
    years = times.astype("M8[Y]")
    if by_month:
        months: Array = (times.astype("M8[M]") - years.astype("M8[M]")).astype("i8")
        return months / 12
    first: Array = years.astype("M8[D]").astype("i8")
    length: Array = (years + 1).astype("M8[D]").astype("i8") - first
    return (since - first + part) / length


# --- finding the step ------------------------------------------------------------


def infer_grid(times: Array, name: str) -> Grid:
    """Return the grid of rising times: its step is the most common distance.

    Raises `DataError` for fewer than three times, and where they are not evenly
    spaced; that some are missing is allowed.

    >>> days = np.array(["2024-01-01", "2024-01-02", "2024-01-04"], "M8[us]")
    >>> str(infer_grid(np.append(days, days[-1] + np.timedelta64(1, "D")), "t"))
    'day'
    """
    if len(times) < 3:
        raise DataError(
            message(
                f"{len(times)} different times in {name!r}",
                expected="expected at least 3 to find their step",
            )
        )
    grid = _grid(times)
    off = grid.off(times)
    steps = np.diff(grid.places(times))
    if off.max() > JITTER or (steps == 1).mean() < COMMON or steps.min() < 1:
        raise _irregular(times, grid, off, name)
    return grid


def _grid(times: Array) -> Grid:
    if times.dtype.kind in "iu":
        return Grid(int(times[0]), _most_common(np.diff(times)), "number")
    days = times.astype("M8[D]")
    start = str(times[0])
    same_hour = bool((times - days == times[0] - days[0]).all())
    months = times.astype("M8[M]")
    step = _most_common(np.diff(times).astype("i8"))
    if same_hour and step >= 28 * DAY:
        of_month = (days - months.astype("M8[D]")).astype("i8") + 1
        ends = (months + 1).astype("M8[D]") - days == np.timedelta64(1, "D")
        if ends.all() or (of_month == of_month[0]).all():
            day = 31 if ends.all() else int(of_month[0])
            count = _most_common(np.diff(months).astype("i8"))
            return Grid(start, max(count, 1), "month", day)
    if same_hour and step == DAY and len(times) >= 10 and np.is_busday(days).all():
        return Grid(start, 1, "weekday")
    return Grid(start, step, "microsecond")


def _most_common(steps: Array) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _irregular(times: Array, grid: Grid, off: Array, name: str) -> DataError:
    steps = np.diff(times)
    where = int(off.argmax()) if off.max() > JITTER else int(steps.argmax()) + 1
    shown = f"{show_time(times[where])} after {show_time(times[max(where - 1, 0)])}"
    return DataError(
        message(
            f"the times in {name!r} are not evenly spaced: {shown}",
            expected=f"most times are {grid.apart} apart",
            hint="bring the series to one step first, such as means by the day",
        )
    )


def show_time(time: Any) -> str:
    """Write a time as short as it is: a date alone where it is midnight.

    >>> show_time(np.datetime64("2024-01-02T00:00:00.000000"))
    '2024-01-02'
    >>> show_time(np.datetime64("2024-01-02T10:30:00.000000")), show_time(5)
    ('2024-01-02 10:30:00', '5')
    """
    if not isinstance(time, np.datetime64):
        return str(time)
    text = str(time.astype("M8[us]")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")
