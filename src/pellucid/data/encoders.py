"""One column into feature columns: learnt on the training part, plain to store.

Each kind of column has an encoder with `fit`, `names` and `transform`. An encoder
takes what a later file holds for the same column, and says so where it cannot.
`preprocess.py` puts them side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.schema import as_dates
from pellucid.errors import DataError, message

__all__ = [
    "ENCODERS",
    "BooleanEncoder",
    "CategoryEncoder",
    "DateEncoder",
    "Encoder",
    "NumberEncoder",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

KNOTS = 129
"""How many quantiles of a column are kept."""
SKEWED = 1.0
"""A column whose third standardised moment exceeds this gets a logarithm."""
MARGIN = 1.0
"""How far past the training range a value counts, in standard deviations."""
RARE_ROWS = 5
"""A category with fewer rows is pooled with the other rare ones, …"""
RARE_SHARE = 0.001
"""… and so is one with a smaller share of the rows."""
KEPT_SHARE = 0.02
"""In a short table, a category with this share of the rows is not yet rare."""
MOST_CATEGORIES = 100
"""Beyond this many, the rarer categories are pooled too."""

OTHER, MISSING = "other", "missing"


@dataclass(frozen=True)
class NumberEncoder:
    """A number seen twice: on its own scale, and by its rank among training values.

    On its own scale, large magnitudes are drawn in by `sign(x) log(1 + |x| / unit)`
    where the training part is skewed, and the result is standardised. The rank is the
    normal score of the value's place in the training part, read off stored quantiles,
    so that a network sees differences where the data are. Both stay within the
    training range, the first with a margin of one standard deviation, so that a far
    value cannot explode. A missing value becomes the median, and gets a mark of its
    own where the training part had missing ones.
    """

    name: str
    median: float
    unit: float | None
    """The magnitude at which the logarithm sets in; None: no logarithm."""
    mean: float
    scale: float
    low: float
    high: float
    knots: tuple[float, ...]
    scores: tuple[float, ...]
    has_missing: bool
    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, column: pl.Series) -> NumberEncoder:
        """Learn from the training part of a column of numbers."""
        values = _numbers(column)
        missing = np.isnan(values)
        present = values[np.isfinite(values)]
        if not len(present):
            present = np.zeros(1)
        median = float(np.median(present))
        values = np.append(present, np.full(int(missing.sum()), median))
        unit = _unit(values)
        drawn = _draw_in(values, unit)
        mean, scale = float(drawn.mean()), _scale(drawn)
        standard = (drawn - mean) / scale
        knots, scores = _normal_scores(values)
        return cls(
            column.name,
            *(median, unit, mean, scale),
            *(float(standard.min()) - MARGIN, float(standard.max()) + MARGIN),
            *(tuple(knots.tolist()), tuple(scores.tolist())),
            bool(missing.any()),
        )

    @property
    def names(self) -> list[str]:
        """The value, its rank, and whether it is missing."""
        marks = [f"{self.name}={MISSING}"] if self.has_missing else []
        if len(self.knots) < 2:
            return marks
        if len(self.knots) == 2:
            return [self.name, *marks]
        return [self.name, f"{self.name} (rank)", *marks]

    def transform(self, column: pl.Series) -> Array:
        """Return the feature columns of a column of numbers."""
        values = _numbers(column)
        missing = np.isnan(values)
        values = np.where(missing, self.median, values)
        standard = (_draw_in(values, self.unit) - self.mean) / self.scale
        features = []
        if len(self.knots) > 1:
            features.append(np.clip(standard, self.low, self.high))
        if len(self.knots) > 2:
            features.append(np.interp(values, self.knots, self.scores))
        if self.has_missing:
            features.append(missing.astype(np.float64))
        return _beside(features, len(values))


@dataclass(frozen=True)
class CategoryEncoder:
    """A column for each category, one for all rare ones, one for missing values.

    A category that the training part did not have counts as a rare one. Where there
    is no column for it, as for a missing value, all columns are 0.
    """

    name: str
    categories: tuple[str, ...]
    has_other: bool
    has_missing: bool
    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, column: pl.Series) -> CategoryEncoder:
        """Learn from the training part of a column of strings."""
        texts = _texts(column)
        counts = texts.drop_nulls().value_counts().rows()
        rows = len(texts)
        frequent = max(min(RARE_ROWS, KEPT_SHARE * rows), RARE_SHARE * rows)
        ranked = sorted((-count, text) for text, count in counts)
        kept = [text for count, text in ranked if -count >= frequent]
        kept = kept[:MOST_CATEGORIES]
        has_other = bool(kept) and len(kept) < len(counts)
        missing = texts.null_count() > 0
        return cls(column.name, tuple(sorted(kept)), has_other, missing)

    @property
    def names(self) -> list[str]:
        """`column=category` for each, then `column=other`, `column=missing`."""
        extra = [OTHER] * self.has_other + [MISSING] * self.has_missing
        return [f"{self.name}={each}" for each in (*self.categories, *extra)]

    def transform(self, column: pl.Series) -> Array:
        """Return the feature columns of a column of anything that has a text."""
        texts = _texts(column)
        count = len(self.categories)
        places = {text: k for k, text in enumerate(self.categories)}
        place = texts.replace_strict(
            list(places), list(places.values()), default=count, return_dtype=pl.Int64
        ).to_numpy()
        missing = texts.is_null().to_numpy()
        width = len(self.names)
        # Two spare columns take what has no column of its own.
        features = np.zeros((len(texts), width + 2))
        place = np.where(place == count, count if self.has_other else width, place)
        absent = count + self.has_other if self.has_missing else width
        place = np.where(missing, absent, place)
        features[np.arange(len(texts)), place] = 1.0
        return features[:, :width]


@dataclass(frozen=True)
class BooleanEncoder:
    """0 or 1, with one half and a mark for missing values."""

    name: str
    has_missing: bool
    kind: ClassVar[str] = "boolean"

    @classmethod
    def fit(cls, column: pl.Series) -> BooleanEncoder:
        """Learn from the training part of a column of booleans."""
        return cls(column.name, column.null_count() > 0)

    @property
    def names(self) -> list[str]:
        """The value, and whether it is missing."""
        return [self.name] + [f"{self.name}={MISSING}"] * self.has_missing

    def transform(self, column: pl.Series) -> Array:
        """Return the feature columns of a column of booleans, 0 and 1, or texts."""
        known = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
        texts = column.cast(pl.String).str.to_lowercase()
        values = texts.replace_strict(known, default=None, return_dtype=pl.Float64)
        _refuse(column, values, "true or false")
        missing = values.is_null().to_numpy().astype(np.float64)
        features = [values.fill_null(0.5).to_numpy()]
        return _beside(features + [missing] * self.has_missing, len(values))


DATE_PARTS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "year": lambda dates: dates.dt.year(),
    "month": lambda dates: dates.dt.month(),
    "day": lambda dates: dates.dt.day(),
    "weekday": lambda dates: dates.dt.weekday(),
    "day of year": lambda dates: dates.dt.ordinal_day(),
    "hour": lambda dates: dates.dt.hour(),
    "minute": lambda dates: dates.dt.minute(),
}
"""What a date is made of, by name."""


@dataclass(frozen=True)
class DateEncoder:
    """The parts of a date that vary in the training part, each as a number."""

    name: str
    parts: tuple[NumberEncoder, ...]
    kind: ClassVar[str] = "date"

    @classmethod
    def fit(cls, column: pl.Series) -> DateEncoder:
        """Learn from the training part of a column of dates."""
        dates = _dates(column)
        parts = []
        for part, extract in DATE_PARTS.items():
            numbers = extract(dates).alias(f"{column.name}: {part}")
            if numbers.drop_nulls().n_unique() > 1:
                parts.append(NumberEncoder.fit(numbers))
        return cls(column.name, tuple(parts))

    @property
    def names(self) -> list[str]:
        """The names of the parts, such as `sold: month`."""
        return [name for part in self.parts for name in part.names]

    def transform(self, column: pl.Series) -> Array:
        """Return the feature columns of a column of dates or of ISO texts."""
        dates = _dates(column)
        features = [np.zeros((len(dates), 0))]
        for part in self.parts:
            extract = DATE_PARTS[part.name.removeprefix(f"{self.name}: ")]
            features.append(part.transform(extract(dates)))
        return np.concatenate(features, axis=1)


Encoder: TypeAlias = NumberEncoder | CategoryEncoder | BooleanEncoder | DateEncoder
"""What turns a column of a table into feature columns."""

ENCODERS: dict[str, type[Encoder]] = {
    each.kind: each
    for each in (NumberEncoder, CategoryEncoder, BooleanEncoder, DateEncoder)
}
"""The encoder of each kind of column."""


def _numbers(column: pl.Series) -> Array:
    """Return a column as float64, NaN for missing values."""
    if column.dtype.is_temporal() and column.null_count() < len(column):
        _refuse(column, pl.Series([None] * len(column)), "a number")
    values = column.cast(pl.Float64, strict=False)
    _refuse(column, values, "a number")
    return values.fill_null(np.nan).to_numpy()


def _texts(column: pl.Series) -> pl.Series:
    """Return a column as strings; whole numbers lose a decimal point."""
    if column.dtype.is_float() and bool((column == column.round()).all()):
        column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String)


def _dates(column: pl.Series) -> pl.Series:
    """Return a column as datetimes."""
    if column.null_count() == len(column):
        return pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))
    dates = as_dates(column)
    if dates is not None:
        return dates
    # The first rows are dates up to some row: bisect for it.
    rows = range(1, len(column) + 1)
    bad = bisect_left(rows, True, key=lambda rows: as_dates(column[:rows]) is None)
    readable = pl.Series([False] * bad + [None] * (len(column) - bad))
    _refuse(column, readable, "a date such as 1981-01-31")
    return column


def _refuse(column: pl.Series, values: pl.Series, expected: str) -> None:
    """Raise for the first row that has something which is no value of its kind."""
    wrong = (values.is_null() & column.is_not_null()).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            message(
                f"column {column.name!r} is {str(column[row])!r} in row {row + 1}",
                expected=f"expected {expected}, as in training",
            )
        )


def _unit(values: Array) -> float | None:
    """Return where a logarithm should set in, or None where the skew is small."""
    sizes = np.abs(values[values != 0.0])
    if not len(sizes):
        return None
    with np.errstate(all="ignore"):
        deviation = values - values.mean()
        skew = np.mean(deviation**3) / np.mean(deviation**2) ** 1.5
    # Values so large that their cubes overflow are far out as well.
    return (
        None if abs(skew) <= SKEWED or not deviation.any() else float(np.median(sizes))
    )


def _draw_in(values: Array, unit: float | None) -> Array:
    if unit is None:
        return values
    drawn: Array = np.sign(values) * np.log1p(np.abs(values) / unit)
    return drawn


def _scale(values: Array) -> float:
    """Return the standard deviation, or 1 where there is none to divide by."""
    spread = float(values.std())
    return spread if spread > 1e-12 * float(np.abs(values).max()) else 1.0


def _normal_scores(values: Array) -> tuple[Array, Array]:
    """Return quantiles of the values and the normal scores of their ranks.

    The score of a value is the normal quantile of (rows below + rows at or below) / 2n,
    kept half a row away from 0 and 1.
    """
    levels = np.linspace(0.0, 1.0, KNOTS)
    knots = np.unique(np.quantile(values, levels, method="inverted_cdf"))
    ordered, rows = np.sort(values), len(values)
    below = np.searchsorted(ordered, knots, "left")
    up_to = np.searchsorted(ordered, knots, "right")
    share = np.clip((below + up_to) / (2 * rows), 0.5 / rows, 1 - 0.5 / rows)
    normal = NormalDist()
    return knots, np.array([normal.inv_cdf(each) for each in share.tolist()])


def _beside(features: list[Array], rows: int) -> Array:
    """Return columns as a matrix, which may have none."""
    return np.stack(features, axis=1) if features else np.zeros((rows, 0))
