"""Train a network on a table and measure it on rows that it never saw."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.metrics import classification_metrics, regression_metrics
from pellucid.data.table import as_table
from pellucid.data.targets import ClassTarget, NumberTarget
from pellucid.errors import DataError, message
from pellucid.functional import softmax
from pellucid.runs.report import (
    Metrics,
    confusion_of,
    how_it_went,
    trivial_guess,
)
from pellucid.runs.source import Source
from pellucid.tabular.baseline import linear_guess
from pellucid.tabular.model import TableModel
from pellucid.tabular.preparing import Prepared, prepare_table, trainer_for
from pellucid.tabular.report import TableReport, notes_on
from pellucid.tensors import tensor
from pellucid.train.events import Subscriber
from pellucid.train.trainer import Trainer

__all__ = ["TrainedTable", "train_table"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class TrainedTable:
    """A model, the trainer that can replay its steps, and the held-out predictions.

    `truth` and `predicted` `[n]` are labels, or values in the target's unit.
    """

    model: TableModel
    trainer: Trainer
    truth: Array
    predicted: Array

    @property
    def report(self) -> TableReport:
        """What was inferred and measured."""
        return self.model.report


def train_table(
    table: Any,
    target: str | int,
    settings: Mapping[str, Any] | None = None,
    *,
    test: Any = None,
    source: Source | None = None,
    subscribers: Sequence[Subscriber] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    events: str | Path | None = None,
) -> TrainedTable:
    """Train on a table and report on a held-out part of it, or on a `test` table.

    `target` is a column's name or position, from 1. `settings` has fields of
    `TableSettings`; the table chooses the others. `source` is kept in the model, so
    that its training can be found again. `checkpoint`, `resume` and `events` are as
    for `Trainer.fit`. An interruption ends training, not this function: the report
    then says `interrupted`, and the model has the best weights so far.

    Raises `DataError` where the table cannot be learned from.

    >>> x = [i / 50 for i in range(200)]
    >>> table = {"x": x, "y": [2 * each for each in x]}
    >>> train_table(table, "y", {"epochs": 30}).report.metrics["r2"] > 0.9
    True
    """
    start = time.perf_counter()
    held = None if test is None else as_table(test)
    prepared = prepare_table(as_table(table), target, settings or {}, test=held)
    _check_held(prepared)
    trainer = trainer_for(prepared)
    for each in subscribers:
        trainer.subscribe(each)
    trainer.fit(
        *prepared.part(prepared.fitting),
        epochs=prepared.settings.epochs,
        batch_size=prepared.settings.batch_size,
        validation=prepared.part(prepared.judging),
        patience=prepared.settings.patience,
        checkpoint=checkpoint,
        resume=resume,
        events=events,
        verbose=0,
    )
    return _measured(prepared, trainer, source, start)


def _check_held(prepared: Prepared) -> None:
    """Find what is wrong with the held-out rows before the time is spent."""
    if prepared.held.is_empty():
        raise DataError(
            message("no rows are held out for the report", hint="choose a test_size")
        )
    name = prepared.target.name
    if name not in prepared.held.columns:
        raise DataError(message(f"the test table has no column {name!r}"))
    prepared.target.encode(prepared.held[name])
    prepared.preprocessor.transform(prepared.held)


def _measured(
    prepared: Prepared, trainer: Trainer, source: Source | None, start: float
) -> TrainedTable:
    """Measure the network and the guesses to beat on the held-out rows."""
    held, target = prepared.held, prepared.target
    X, y = prepared.preprocessor.transform(held), target.encode(held[target.name])
    output = trainer.predict(X)
    guesses = {
        "metrics": _probabilities(output) if prepared.outputs > 1 else output[:, 0],
        "baseline": trivial_guess(prepared.y, len(X)),
        "linear": linear_guess(prepared.X, prepared.y, X),
    }
    scores: dict[str, Any] = {
        name: _score(target, y, guess) for name, guess in guesses.items()
    }
    found = output.argmax(axis=1) if prepared.outputs > 1 else output[:, 0]
    report = TableReport(
        **_inferred(prepared),
        **scores,
        **_confusion(target, y, found),
        **how_it_went(trainer),
        seconds=time.perf_counter() - start,
    )
    model = TableModel(
        schema=prepared.schema,
        preprocessor=prepared.preprocessor,
        target=target,
        module=trainer.model.eval(),
        settings=prepared.settings,
        history=trainer.history,
        report=report,
        source=source,
    )
    return TrainedTable(model, trainer, target.decode(y), target.decode(found))


def _probabilities(logits: Array) -> Array:
    return softmax(tensor(logits)).value


def _score(target: ClassTarget | NumberTarget, y: Array, guess: Array) -> Metrics:
    if isinstance(target, ClassTarget):
        return classification_metrics(y, guess)
    return regression_metrics(target.decode(y), target.decode(guess))


def _inferred(prepared: Prepared) -> dict[str, Any]:
    schema, name, settings = prepared.schema, prepared.target.name, prepared.settings
    own = len(prepared.held) if settings.test_size else 0
    return {
        "task": prepared.task,
        "target": name,
        "rows": len(prepared.train) + own,
        "train_rows": len(prepared.fitting),
        "validation_rows": len(prepared.judging),
        "test_rows": len(prepared.held),
        "features": len(schema.features),
        "inputs": len(prepared.preprocessor.feature_names),
        "dropped": {each.name: each.reason for each in schema.dropped},
        "notes": notes_on(prepared.train, schema, name, prepared.task),
    }


def _confusion(
    target: ClassTarget | NumberTarget, y: Array, found: Array
) -> dict[str, Any]:
    if isinstance(target, NumberTarget):
        return {"labels": (), "confusion": ()}
    return confusion_of(target.classes, y, found)
