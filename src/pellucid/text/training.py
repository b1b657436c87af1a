"""Train a network on a text and measure it on the end of the text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.runs.report import how_it_went
from pellucid.runs.source import Source
from pellucid.text.baseline import bigram_nats, unigram_nats
from pellucid.text.model import TextModel
from pellucid.text.preparing import PreparedText, fit, prepare_text, trainer_for
from pellucid.text.report import TextReport, metrics_of
from pellucid.train.events import Subscriber
from pellucid.train.trainer import Trainer

__all__ = ["TrainedText", "train_text"]


@dataclass(frozen=True)
class TrainedText:
    """A model, and the trainer that can replay its steps."""

    model: TextModel
    trainer: Trainer

    @property
    def report(self) -> TextReport:
        """What was found and measured."""
        return self.model.report


def train_text(
    text: str,
    settings: Mapping[str, Any] | None = None,
    *,
    source: Source | None = None,
    subscribers: Sequence[Subscriber] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    events: str | Path | None = None,
) -> TrainedText:
    """Train a network to say the next character of a text, and report on its end.

    `settings` has fields of `TextSettings`; the text chooses the others. `source` is
    kept in the model, so that its training can be found again. `checkpoint`, `resume`
    and `events` are as for `Trainer.fit`. An interruption ends training, not this
    function: the report then says `interrupted`, and the model has the best weights so
    far.

    Raises `DataError` where nothing can be learned from the text.

    >>> settings = {"model": "gru", "width": 16, "context": 8, "lr": 0.03}
    >>> trained = train_text("all work and no play " * 40, settings)
    >>> report = trained.report
    >>> name = "nats_per_character"
    >>> report.metrics[name] < report.linear[name] < report.baseline[name]
    True
    """
    start = time.perf_counter()
    prepared = prepare_text(text, settings or {})
    trainer = trainer_for(prepared)
    module: Any = trainer.model
    for each in subscribers:
        trainer.subscribe(each)
    keep = {"checkpoint": checkpoint, "resume": resume, "events": events}
    fit(trainer, prepared, prepared.settings.epochs, **keep)
    report = _report(prepared, trainer, len(text), start)
    model = TextModel(
        vocabulary=prepared.vocabulary,
        module=module.eval(),
        settings=prepared.settings,
        history=trainer.history,
        report=report,
        source=source,
    )
    return TrainedText(model, trainer)


def _report(
    prepared: PreparedText, trainer: Trainer, rows: int, start: float
) -> TextReport:
    """Measure the network and the models to beat on the same characters."""
    validation, size = prepared.validation, len(prepared.vocabulary)
    before, targets = (
        np.asarray(each).reshape(-1) for each in (validation.inputs, validation.targets)
    )
    found = trainer.evaluate(validation.inputs, validation.targets)["loss"]
    fitting = prepared.fitting
    return TextReport(
        rows=rows,
        train_rows=len(fitting),
        validation_rows=len(targets),
        test_rows=0,
        notes=(),
        metrics=metrics_of(found),
        baseline=metrics_of(unigram_nats(fitting, targets, size)),
        linear=metrics_of(bigram_nats(fitting, before, targets, size)),
        vocabulary=size,
        parameters=sum(each.size for each in trainer.model.parameters()),
        **how_it_went(trainer),
        seconds=time.perf_counter() - start,
    )
