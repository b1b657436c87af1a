"""A network that forecasts a series, with all it needs to go on from newer data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.series import Series, series_from
from pellucid.data.table import as_table
from pellucid.errors import DataError, message
from pellucid.nn import Module
from pellucid.runs.model import RunModel
from pellucid.series.network import Forecaster
from pellucid.series.reading import Reading, Scale, Tables
from pellucid.series.report import ForecastReport
from pellucid.series.settings import ForecastSettings

__all__ = ["ForecastModel", "need_known", "predict"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ORIGINS_AT_ONCE = 4096
"""More origins go through the network in parts, so that memory stays small."""


@dataclass(frozen=True, kw_only=True)
class ForecastModel(RunModel):
    """A network, what it reads of a series, and the errors it made in the backtest."""

    kind: ClassVar[str] = "forecast"
    data: ClassVar[str] = "a series"
    noun: ClassVar[str] = "steps"
    batch_noun: ClassVar[str] = "windows"

    module: Forecaster
    settings: ForecastSettings
    report: ForecastReport
    reading: Reading
    scale: Scale
    time: str
    target: str
    step: tuple[int, str]
    """How far two times are apart: so many of a unit."""
    spread: tuple[tuple[float, ...], tuple[float, ...]] | None
    """What to add to each step's forecast for the ends of its interval."""

    def series(self, table: Any) -> Series:
        """Return the series of a table with the columns that training had."""
        frame = as_table(table)
        return series_from(frame, self.time, self.target, self.settings.known)

    def forecast(self, table: Any) -> pl.DataFrame:
        """Return the next `horizon` values behind the last one of a table.

        The columns are the time's, `forecast`, and, where the backtest had enough
        origins, `low` and `high`, between which the settings' share of values shall
        lie. Nothing is learned from the table. Raises `DataError` where it does not
        hold the series that training had, or too little of it.
        """
        return self.ahead(self.series(table))

    def ahead(self, series: Series) -> pl.DataFrame:
        """Return the forecast of a series, as `forecast` of its table."""
        self._check(series)
        n, horizon = len(series), self.settings.horizon
        need_known(series, horizon)
        tables = self.reading.tables(series, self.scale, horizon)
        found = predict(self.module, self.reading, tables, np.array([n]), horizon)
        values = self.scale.to_unit(found[0])
        columns = {self.time: series.times(n, n + horizon), "forecast": values}
        if self.spread is not None:
            low, high = np.array(self.spread)
            columns |= {"low": values + low, "high": values + high}
        return _dated(pl.DataFrame(columns), self.time)

    def windows(self, series: Series, rows: int) -> tuple[Array, ...]:
        """Return the network's inputs, and its targets, of windows evenly spread."""
        self._check(series)
        tables = self.reading.tables(series, self.scale, 0)
        every = self.reading.targets(tables, self.reading.starts(len(series)))
        few = every.thinned(rows)
        columns = self.reading.columns(tables, few.starts)
        return (*map(np.asarray, columns), np.asarray(few))

    def summary(self) -> str:
        """Return the architecture as a table, a line for each layer."""
        reading = self.reading
        shapes = [(1, reading.lags), (1, reading.seasonal), (1, reading.waves)]
        known = (1, reading.horizon, reading.known)
        return self.module.summary(*(each for each in (*shapes, known) if each[-1]))

    def _check(self, series: Series) -> None:
        grid, known = series.grid, self.step
        if (grid.count, grid.unit) != known:
            raise DataError(
                message(
                    f"the times in {self.time!r} are {grid.apart} apart",
                    expected=f"the model was trained on steps of {self.report.step}",
                )
            )
        if len(series) < self.reading.span:
            raise DataError(
                message(
                    f"{self.target!r} has {len(series)} steps",
                    expected=f"the model looks back {self.reading.span}",
                    hint="give older values too",
                )
            )

    def header(self) -> dict[str, Any]:
        """Return what the file keeps besides, as plain JSON values."""
        return {
            "reading": self.reading.to_dict(),
            "scale": asdict(self.scale),
            "time": self.time,
            "target": self.target,
            "step": self.step,
            "spread": self.spread,
        }

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields from what `header` wrote."""
        count, unit = header["step"]
        scale: dict[str, Any] = dict(header["scale"])
        known = {name: tuple(scale[name]) for name in ("known_mean", "known_spread")}
        spread = header["spread"]
        return {
            "settings": ForecastSettings.from_dict(header["settings"]),
            "report": ForecastReport.from_json(header["report"]),
            "reading": Reading.from_dict(header["reading"]),
            "scale": Scale(**{**scale, **known}),
            "time": str(header["time"]),
            "target": str(header["target"]),
            "step": (int(count), str(unit)),
            "spread": spread and (tuple(spread[0]), tuple(spread[1])),
        }


def _dated(table: pl.DataFrame, time: str) -> pl.DataFrame:
    """Write times that are all at midnight as dates."""
    column = table[time]
    if column.dtype == pl.Datetime and bool((column == column.dt.truncate("1d")).all()):
        return table.with_columns(column.cast(pl.Date))
    return table


def need_known(series: Series, horizon: int) -> None:
    """Refuse a series whose known columns do not reach as far as the forecast."""
    later = len(series.known) - len(series)
    if series.known_names and later < horizon:
        names = ", ".join(map(repr, series.known_names))
        raise DataError(
            message(
                f"the forecast needs {names} for the next {horizon} steps, the table "
                f"has {max(later, 0)}",
                hint=f"add rows with them, in which {series.target!r} is empty",
            )
        )


def predict(
    module: Module, reading: Reading, tables: Tables, origins: Array, horizon: int
) -> Array:
    """Return the forecasts from some origins in standard units, `[origins, horizon]`.

    An origin is the number of the first step that is not known. A network that says
    one step at a time reads its own forecasts.
    """
    parts = [
        _part(module, reading, tables, origins[i : i + ORIGINS_AT_ONCE], horizon)
        for i in range(0, len(origins), ORIGINS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _part(
    module: Module, reading: Reading, tables: Tables, origins: Array, horizon: int
) -> Array:
    starts = (origins - reading.span).astype(np.int32)
    columns = reading.columns(tables, starts)
    if reading.horizon == horizon:
        found: Array = module(*map(np.asarray, columns)).value
        return found
    seen = tables.values[starts[:, None] + np.arange(reading.span)]
    said: list[Array] = []
    for step in range(horizon):
        # The same stretches, of tables in which each origin has its own rows.
        own = _own(reading, tables, np.concatenate([seen, *said], axis=1), starts, step)
        said.append(module(*own).value)
    return np.concatenate(said, axis=1)


def _own(
    reading: Reading, tables: Tables, seen: Array, starts: Array, step: int
) -> list[Array]:
    width = seen.shape[1]
    flat = Tables(seen.reshape(-1), tables.waves, tables.known)
    rows = np.arange(len(seen), dtype=np.int32) * width + step
    mine = reading.columns(flat, rows)
    shared = reading.columns(tables, starts + step)
    return [
        np.asarray(own if own.table is flat.values else other)
        for own, other in zip(mine, shared)
    ]
