"""What a network sees of a series before it says what comes next.

The recent values; those one season before each step asked for, where the recent ones do
not reach so far back; waves of the calendar; and columns that are known beforehand. All
are stretches at fixed distances from where a window starts, so training copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.series import Series
from pellucid.data.windows import Slices
from pellucid.nn.scaling import usable_scale
from pellucid.series.settings import ForecastSettings

__all__ = ["Reading", "Scale", "Tables"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

AROUND = 12
"""How many values before and behind the season's are shown at most."""


@dataclass(frozen=True)
class Scale:
    """The mean and the spread of the target, and of each known column."""

    mean: float
    spread: float
    known_mean: tuple[float, ...] = ()
    known_spread: tuple[float, ...] = ()

    @classmethod
    def of(cls, series: Series, stop: int) -> Scale:
        """Learn the scale of the first `stop` steps.

        >>> from pellucid.data.calendar import Grid
        >>> values = np.array([1.0, 3.0, 99.0])
        >>> series = Series("y", "t", Grid(0, 1, "number"), values, np.empty((3, 0)))
        >>> Scale.of(series, 2)
        Scale(mean=2.0, spread=1.0, known_mean=(), known_spread=())
        """
        values, known = series.values[:stop], series.known[:stop]
        mean, known_mean = values.mean(), known.mean(0)
        spread = usable_scale(mean, values.std(), len(values))
        known_spread = usable_scale(known_mean, known.std(0), len(known))
        return cls(
            float(mean),
            float(spread),
            tuple(known_mean.tolist()),
            tuple(known_spread.tolist()),
        )

    def to_standard(self, values: Array) -> Array:
        """Return values in standard units."""
        standard: Array = (values - self.mean) / self.spread
        return standard

    def to_unit(self, standard: Array) -> Array:
        """Return standard values in the target's unit."""
        values: Array = standard.astype(np.float64) * self.spread + self.mean
        return values


@dataclass(frozen=True)
class Tables:
    """A series as a network takes it, in f32: values, waves, known columns."""

    values: Array
    waves: Array
    known: Array


@dataclass(frozen=True)
class Reading:
    """How much of what a network sees.

    A window has `span` steps, and the step behind them is the first one asked for.
    """

    lags: int
    horizon: int
    """How many steps are asked for at once."""
    season: int = 0
    """How far back the season's values are; 0 where the recent ones hold them."""
    around: int = 0
    """How many values are shown before those of the season, and behind."""
    cycles: tuple[tuple[str, int], ...] = ()
    """The cycles of the calendar, and how many harmonics of each."""
    known: int = 0
    """How many columns are known beforehand."""

    @classmethod
    def suited(cls, series: Series, steps: int, settings: ForecastSettings) -> Reading:
        """Return what to show of a series whose training part has so many steps."""
        horizon = 1 if settings.strategy == "recursive" else settings.horizon
        season = settings.season or 0
        around = min(horizon, AROUND)
        cycles = series.grid.harmonics(steps) if series.grid.is_dated else {}
        # Half of the steps must be left to learn from.
        if season <= settings.lags or 2 * (season + around + horizon) > steps:
            season = around = 0
        return cls(
            settings.lags,
            horizon,
            season,
            around,
            tuple(cycles.items()),
            series.known.shape[1],
        )

    @property
    def span(self) -> int:
        """How many steps back a window begins."""
        return max(self.lags, self.season + self.around)

    @property
    def seasonal(self) -> int:
        """How many values around those one season before are shown."""
        if not self.season:
            return 0
        return min(self.horizon + 2 * self.around, self.season + self.around)

    @property
    def waves(self) -> int:
        """How many waves of the calendar are shown."""
        return 2 * sum(harmonics for _, harmonics in self.cycles)

    @property
    def inputs(self) -> int:
        """How many numbers a network sees."""
        return self.lags + self.seasonal + self.waves + self.horizon * self.known

    def tables(self, series: Series, scale: Scale, ahead: int) -> Tables:
        """Return a series in standard units, its waves reaching `ahead` steps on."""
        times = series.times(0, len(series) + ahead)
        known = series.known[: len(series) + ahead]
        known = (known - np.array(scale.known_mean)) / np.array(scale.known_spread)
        waves = series.grid.features(times, dict(self.cycles))
        values = scale.to_standard(series.values)
        return Tables(*(each.astype(np.float32) for each in (values, waves, known)))

    def columns(self, tables: Tables, starts: Array) -> tuple[Slices, ...]:
        """Return the network's inputs for windows that start there."""
        span, season = self.span, self.season + self.around
        found = [Slices(tables.values, starts, span - self.lags, self.lags)]
        if self.seasonal:
            found.append(Slices(tables.values, starts, span - season, self.seasonal))
        if self.waves:
            found.append(Slices(tables.waves, starts, span, None))
        if self.known:
            found.append(Slices(tables.known, starts, span, self.horizon))
        return tuple(found)

    def targets(self, tables: Tables, starts: Array) -> Slices:
        """Return what the network shall say of windows that start there."""
        return Slices(tables.values, starts, self.span, self.horizon)

    def starts(self, stop: int) -> Array:
        """Return where the windows start whose targets end before `stop`."""
        return np.arange(max(stop - self.span - self.horizon + 1, 0), dtype=np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return the reading as plain JSON values."""
        return {**asdict(self), "cycles": [list(each) for each in self.cycles]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Reading:
        """Return the reading that `to_dict` described."""
        cycles = tuple((str(name), int(k)) for name, k in plain["cycles"])
        return cls(**{**plain, "cycles": cycles})
