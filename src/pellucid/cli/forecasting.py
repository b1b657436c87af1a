"""A forecast and its backtest, for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from pellucid.cli.numbers import number
from pellucid.cli.render import metric_table, plain_table
from pellucid.series.model import ForecastModel
from pellucid.series.report import ForecastReport

__all__ = ["forecast_facts", "forecast_report", "forecast_scores", "forecast_table"]

Piece = str | Table

MOST_ROWS, MOST_STEPS = 40, 12


def forecast_report(model: ForecastModel) -> Iterator[Piece]:
    """Return what was found, how the backtest went, and who won."""
    report, settings = model.report, model.settings
    yield from forecast_facts(report)
    yield f"network: {settings.network}, {_seen(model)}"
    again = f"{settings.folds} times" if settings.folds > 1 else "once"
    yield (
        f"backtest: the last {report.test_rows} steps, {report.horizon} ahead from "
        f"each of {report.origins} times, trained {again} on what lies before"
    )
    yield from forecast_scores(report)


def forecast_facts(report: ForecastReport) -> Iterator[str]:
    """Return what the series is, and what was mended."""
    yield (
        f"{report.target}: {report.rows} steps of {report.step} each, "
        f"{report.first} to {report.last}"
    )
    for note in report.notes:
        yield f"  note: {note}"
    if report.season:
        yield f"season: {report.season} steps, {report.season_why} (--season)"
    else:
        yield "season: none (--season)"


def _seen(model: ForecastModel) -> str:
    reading = model.reading
    parts = [f"{reading.lags} recent values"]
    if reading.seasonal:
        parts.append(f"{reading.seasonal} of one season before")
    if reading.cycles:
        cycles = " and ".join(f"the {name}" for name, _ in reading.cycles)
        parts.append(f"{reading.waves} waves of {cycles}")
    if reading.known:
        parts.append(f"{reading.horizon * reading.known} that are known beforehand")
    return f"sees {', '.join(parts)}"


def forecast_scores(report: ForecastReport) -> Iterator[Piece]:
    """Return the measures of each forecast, and the errors of each step ahead."""
    yield metric_table(report.scores)
    steps = report.horizon
    shown = [*range(steps)]
    if steps > MOST_STEPS:
        shown = [round(k * (steps - 1) / (MOST_STEPS - 1)) for k in range(MOST_STEPS)]
    if steps > 1:
        titles = ("MAE, steps ahead", *report.by_step)
        rows = [
            (str(k + 1), *(number(each[k]) for each in report.by_step.values()))
            for k in shown
        ]
        yield plain_table(titles, rows)
    yield report.verdict
    yield ""


def forecast_table(model: ForecastModel, ahead: Any) -> Iterator[Piece]:
    """Return what comes next, as far as it fits."""
    share = f"{model.settings.level:.0%} of the values"
    if model.spread is not None:
        yield f"forecast; {share} should lie between low and high"
    rows = [
        (str(time), *(number(each) for each in values))
        for time, *values in ahead.head(MOST_ROWS).iter_rows()
    ]
    yield plain_table(ahead.columns, rows)
    more = len(ahead) - MOST_ROWS
    if more > 0:
        yield f"and {more} more (--out FILE.csv)"
