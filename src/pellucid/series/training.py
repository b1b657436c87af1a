"""Train a network to forecast a series, and measure it on a part that it never saw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.calendar import show_time
from pellucid.data.series import Season, Series, find_season
from pellucid.data.windows import part_in_time
from pellucid.errors import ArgumentError, DataError, message
from pellucid.nn import MSELoss
from pellucid.optim import AdamW, OneCycle
from pellucid.random import key_of, keys_from
from pellucid.runs.repeat import repeat_step
from pellucid.runs.report import how_it_went
from pellucid.runs.source import Source
from pellucid.series.backtest import guesses, intervals, measure, truth
from pellucid.series.model import ForecastModel, predict
from pellucid.series.network import Forecaster
from pellucid.series.reading import Reading, Scale, Tables
from pellucid.series.report import MODEL, ForecastReport
from pellucid.series.settings import ForecastSettings
from pellucid.train.events import Subscriber
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["TrainedForecast", "replay_step", "train_forecast"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FEWEST_WINDOWS = 10
"""Fewer windows cannot be parted into some to learn from and some to judge by."""


@dataclass(frozen=True)
class TrainedForecast:
    """A model, and what the backtest said: `origins` `[m]`, the rest `[m, horizon]`."""

    model: ForecastModel
    origins: Array
    truth: Array
    forecasts: dict[str, Array]

    @property
    def report(self) -> ForecastReport:
        """What was found and measured."""
        return self.model.report


def train_forecast(
    series: Series,
    horizon: int,
    settings: Mapping[str, Any] | None = None,
    *,
    source: Source | None = None,
    subscribers: Sequence[Subscriber] = (),
    say: Callable[[str], None] = lambda line: None,
) -> TrainedForecast:
    """Train a network to forecast `horizon` steps; backtest it; train it on all.

    `settings` has fields of `ForecastSettings`; the series chooses the others. The
    last `test_size` of the steps are forecast from every origin in them by a network
    that was trained on what lies before, as are the naive forecasts. The network that
    is kept is then trained on the whole series. `say` hears each of these steps.

    Raises `DataError` for a series that is too short or the same everywhere.

    >>> from pellucid.data.calendar import Grid
    >>> wave = np.sin(2 * np.pi * np.arange(200) / 12)
    >>> series = Series("y", "t", Grid(0, 1, "number"), wave, np.empty((200, 0)))
    >>> trained = train_forecast(series, 3, {"epochs": 40})
    >>> trained.report.season, trained.report.best_rival
    (12, 'seasonal naive')
    """
    run = _Run(series, horizon, settings or {}, subscribers, say)
    return run.result(source)


class _Run:
    """One call of `train_forecast`."""

    def __init__(
        self,
        series: Series,
        horizon: int,
        given: Mapping[str, Any],
        subscribers: Sequence[Subscriber],
        say: Callable[[str], None],
    ) -> None:
        self.start = time.perf_counter()
        self.series, self.subscribers, self.say = series, subscribers, say
        others = {"known": series.known_names, **given}
        others.pop("season", None)
        asked = ForecastSettings.suggest(len(series), horizon, None, **others)
        self.stop = len(series) - _test_steps(series, asked)
        self.season = _season(series, self.stop, given)
        period = self.season.period if self.season else None
        self.settings = ForecastSettings.suggest(len(series), horizon, period, **others)
        self.reading = Reading.suited(series, self.stop, self.settings)
        self._check()

    def _check(self) -> None:
        series, reading, horizon = self.series, self.reading, self.settings.horizon
        if np.ptp(series.values) == 0:
            raise DataError(
                f"{series.target!r} is {series.values[0]:g} at every step: there is "
                "nothing to forecast"
            )
        wanted = max(FEWEST_WINDOWS, 3 * reading.horizon)
        found = len(reading.starts(self.stop))
        if found < wanted:
            more = math.ceil((wanted - found) / (1 - self.settings.test_size))
            raise DataError(
                message(
                    f"{len(series)} steps of {series.target!r} are too few to forecast "
                    f"{horizon}",
                    where=f"{reading.lags} recent values are shown, and the last "
                    f"{len(series) - self.stop} steps are held out",
                    expected=f"expected about {more} more",
                    hint="choose a smaller horizon, or fewer lags",
                )
            )

    # --- the network ---

    def trainer(self, epochs: int, rows: int) -> Trainer:
        """Return a new network in the trainer that will train it."""
        settings, reading = self.settings, self.reading
        with keys_from(key_of(settings.seed)):
            module = Forecaster(
                reading.lags,
                reading.horizon,
                reading.seasonal,
                reading.waves + reading.horizon * reading.known,
                settings.model,
                settings.hidden,
                settings.scaling,
            )
        steps = epochs * -(-rows // settings.batch_size)
        trainer = Trainer(
            module,
            MSELoss(),
            AdamW(lr=OneCycle(settings.lr, max(steps, 2)),
                  weight_decay=settings.weight_decay),
            seed=settings.seed,
            engine=settings.engine,
        )  # fmt: skip
        for each in self.subscribers:
            trainer.subscribe(each)
        return trainer

    def fit(
        self, trainer: Trainer, tables: Tables, rows: Array, **options: Any
    ) -> None:
        """Train on the windows that start at `rows`."""
        inputs, targets = self.columns(tables, rows)
        size = self.settings.batch_size
        trainer.fit(inputs, targets, batch_size=size, verbose=0, **options)
        if trainer.history.stopped == "interrupted":
            raise KeyboardInterrupt

    def columns(self, tables: Tables, rows: Array) -> tuple[Any, Any]:
        """Return the inputs and the targets of the windows that start at `rows`."""
        return self.reading.columns(tables, rows), self.reading.targets(tables, rows)

    def judge(self, epochs: int) -> Trainer:
        """Train for at most so many epochs, on windows whose followers judge it."""
        tables = self.reading.tables(self.series, Scale.of(self.series, self.stop), 0)
        settings, starts = self.settings, self.reading.starts(self.stop)
        inputs, targets = self.columns(tables, starts)
        kept, held = part_in_time([*inputs, targets], [targets], settings.validation)
        self.say(
            f"learning from {len(kept)} windows, judging by the next {len(held)} when "
            "to stop"
        )
        self.windows = len(kept), len(held)
        trainer = self.trainer(settings.epochs, len(kept))
        self.fit(
            trainer,
            tables,
            starts[kept],
            epochs=epochs,
            validation=self.columns(tables, starts[held]),
            patience=settings.patience,
        )
        return trainer

    def network(self, epochs: int, stop: int) -> tuple[Forecaster, Scale]:
        """Return a network that was trained on all that lies before `stop`."""
        scale = Scale.of(self.series, stop)
        tables = self.reading.tables(self.series, scale, 0)
        starts = self.reading.starts(stop)
        self.say(f"learning from {len(starts)} windows, {epochs} epochs")
        trainer = self.trainer(epochs, len(starts))
        self.fit(trainer, tables, starts, epochs=epochs, restore_best=False)
        module = trainer.model.eval()
        assert isinstance(module, Forecaster)
        return module, scale

    # --- the backtest ---

    def forecasts(self, epochs: int, origins: Array) -> Array:
        """Return the network's forecasts, trained again at the start of each fold."""
        found = []
        for part in np.array_split(origins, min(self.settings.folds, len(origins))):
            module, scale = self.network(epochs, int(part[0]))
            tables = self.reading.tables(self.series, scale, 0)
            said = predict(module, self.reading, tables, part, self.settings.horizon)
            found.append(scale.to_unit(said))
        return np.concatenate(found)

    def result(self, source: Source | None) -> TrainedForecast:
        """Judge, backtest, train on all, and put it together."""
        series, settings = self.series, self.settings
        horizon, values = settings.horizon, self.series.values
        judged = self.judge(settings.epochs)
        epochs = judged.history.best_epoch or judged.history.epochs
        origins = np.arange(self.stop, len(series) - horizon + 1)
        found = {MODEL: self.forecasts(epochs, origins)}
        found |= guesses(values, origins, horizon, settings.season)
        true = truth(values, origins, horizon)
        self.say("learning from the whole series")
        module, scale = self.network(epochs, len(series))
        spread = intervals(true, found[MODEL], settings.level)
        model = ForecastModel(
            module=module,
            settings=settings,
            history=judged.history,
            report=self.report(judged, true, found),
            source=source,
            reading=self.reading,
            scale=scale,
            time=series.time,
            target=series.target,
            step=(series.grid.count, series.grid.unit),
            spread=None if spread is None else _pair(spread),
        )
        return TrainedForecast(model, origins, true, found)

    def report(
        self, judged: Trainer, true: Array, forecasts: dict[str, Array]
    ) -> ForecastReport:
        """Return what was found and measured."""
        series, settings = self.series, self.settings
        rivals = [name for name in forecasts if name != MODEL]
        past = series.values[: self.stop]
        scores = measure(true, forecasts, past, settings.season, rivals[0])
        ends = series.times(0, len(series))[[0, -1]]
        return ForecastReport(
            rows=len(series),
            train_rows=self.windows[0],
            validation_rows=self.windows[1],
            test_rows=len(series) - self.stop,
            notes=series.notes,
            metrics=scores[MODEL],
            baseline=min((scores[name] for name in rivals), key=lambda s: s["mae"]),
            **how_it_went(judged),
            seconds=time.perf_counter() - self.start,
            target=series.target,
            time=series.time,
            step=series.grid.apart,
            first=show_time(ends[0]),
            last=show_time(ends[1]),
            season=settings.season,
            season_why=self.season.why if self.season else "",
            horizon=settings.horizon,
            lags=self.reading.lags,
            inputs=self.reading.inputs,
            origins=len(true),
            scores=scores,
            by_step={
                name: tuple(np.abs(each - true).mean(0).tolist())
                for name, each in forecasts.items()
            },
        )


def replay_step(model: ForecastModel, series: Series, step: int) -> Replay:
    """Return every gate of one step of a model's training, counted from 0.

    It is the training that decides when to stop, whose record the model keeps.
    `series` is the one that the model was trained on.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the series, or the
            version of Pellucid, is another one.
    """
    settings = asdict(model.settings)
    run = _Run(series, settings.pop("horizon"), settings, (), lambda line: None)
    return repeat_step(model.history, step, run.judge, "table")


def _pair(spread: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    low, high = spread.tolist()
    return tuple(low), tuple(high)


def _test_steps(series: Series, settings: ForecastSettings) -> int:
    return max(round(settings.test_size * len(series)), settings.horizon)


def _season(series: Series, stop: int, given: Mapping[str, Any]) -> Season | None:
    """Return the season that was asked for, or else the one of what lies before `stop`.

    What is held out has no part in it.
    """
    if "season" not in given:
        past = series.values[: max(stop, 0)]
        return find_season(replace(series, values=past)) if len(past) > 1 else None
    period = given["season"]
    if period is None:
        return None
    if isinstance(period, int) and 2 * period > len(series):
        raise ArgumentError(
            message(
                f"season={period}",
                expected=f"{series.target!r} has {len(series)} steps, and a season "
                "must come twice",
            )
        )
    return Season(period, "as asked for")
