"""The report of a training, for a reader: what, how well, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from pellucid.cli.curve import learning_curve
from pellucid.cli.forecasting import forecast_facts, forecast_scores
from pellucid.cli.render import confusion_table, console, error_table, metric_table
from pellucid.images.report import ImageReport
from pellucid.images.training import TrainedImages
from pellucid.runs.model import RunModel
from pellucid.runs.report import RunReport
from pellucid.series.report import ForecastReport
from pellucid.tabular.report import TableReport
from pellucid.tabular.training import TrainedTable
from pellucid.text.report import TextReport
from pellucid.text.training import TrainedText

__all__ = ["curve_of", "facts_of", "report_of", "scores_of", "training_of"]

Piece = str | Table


def report_of(trained: TrainedTable | TrainedImages | TrainedText) -> Iterator[Piece]:
    """Return everything that a person wants to know after training."""
    model, report = trained.model, trained.report
    yield from facts_of(report)
    yield from scores_of(report)
    if isinstance(trained, TrainedTable) and not report.labels:
        yield error_table(trained.truth.tolist(), trained.predicted.tolist())
    yield from curve_of(model)
    yield training_of(model)


def facts_of(report: RunReport) -> Iterator[str]:
    """Return what was inferred, what was left out, and what was noticed."""
    yield from _FACTS[type(report)](report)


def _table_facts(report: TableReport) -> Iterator[str]:
    kind: str = report.task
    if report.labels:
        kind = f"{kind} into {len(report.labels)} classes"
    yield f"{report.target}: {kind}"
    yield from _parts(report, "rows")
    yield f"{report.features} columns, as {report.inputs} inputs of the network"
    for name, reason in report.dropped.items():
        yield f"  left out: {name} ({reason})"
    for note in report.notes:
        yield f"  note: {note} (--drop)"


def _image_facts(report: ImageReport) -> Iterator[str]:
    colour = "grey" if report.channels == 1 else "colour"
    size = f"{report.width}×{report.height} pixels"
    yield f"images in {len(report.labels)} classes, {size}, {colour}"
    yield from _parts(report, "images")
    for note in report.notes:
        yield f"  note: {note}"


def _text_facts(report: TextReport) -> Iterator[str]:
    yield f"text of {report.vocabulary} different characters"
    yield (
        f"{report.rows} characters: {report.train_rows} to learn from, "
        f"{report.validation_rows} at the end to judge by"
    )
    yield f"{report.parameters} parameters"


def _parts(report: RunReport, noun: str) -> Iterator[str]:
    yield (
        f"{report.rows} {noun}: {report.train_rows} to learn from, "
        f"{report.validation_rows} to judge when to stop"
    )
    yield f"{report.test_rows} {noun} held out for the test"


_FACTS: dict[type[RunReport], Any] = {
    TableReport: _table_facts,
    ImageReport: _image_facts,
    TextReport: _text_facts,
    ForecastReport: forecast_facts,
}

_RIVALS: dict[type[RunReport], tuple[str, str]] = {
    TextReport: ("bigrams", "unigrams"),
}
"""What to call the linear model and the trivial one, where they have names."""


def scores_of(report: RunReport) -> Iterator[Piece]:
    """Return the test metrics beside those to beat, and the confusion matrix."""
    if isinstance(report, ForecastReport):
        yield from forecast_scores(report)
        return
    linear, baseline = _RIVALS.get(type(report), ("linear", "baseline"))
    yield metric_table(
        {"model": report.metrics, linear: report.linear, baseline: report.baseline}
    )
    if report.labels:
        yield confusion_table(report.confusion, report.labels, console(False).width)


def curve_of(model: RunModel) -> Iterator[str]:
    """Return the loss over the epochs, where one was completed."""
    rows = list(model.history)
    if rows:
        train, held = ([row[name] for row in rows] for name in _LOSSES)
        yield learning_curve(train, held, min(console(False).width, 80), 10)
        yield ""


_LOSSES = ("loss", "validation_loss")


def training_of(model: RunModel) -> str:
    """Return how the training went, in one line."""
    report, settings = model.report, model.settings
    ended = _ENDS.get(report.stopped, report.stopped)
    kept = f" · weights of epoch {report.best_epoch}" if report.best_epoch else ""
    batch = f"{settings.batch_size} {model.batch_noun or model.noun}"
    return (
        f"{report.epochs} epochs of {settings.epochs}, {report.iterations} iterations "
        f"of {batch}, {report.seconds:.1f} s · {ended}{kept} · {settings.network}"
    )


_ENDS: dict[str, Any] = {"early_stop": "stopped early"}
