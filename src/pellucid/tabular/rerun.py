"""Train a table's network again, as far as a step, to look inside that step."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from pellucid.data.table import as_table
from pellucid.runs.repeat import repeat_step
from pellucid.tabular.model import TableModel
from pellucid.tabular.preparing import prepare_table, trainer_for
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["replay_step"]


def replay_step(model: TableModel, table: Any, step: int) -> Replay:
    """Return every gate of one step of a model's training, counted from 0.

    `table` is the one that the model was trained on.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the table, or the
            version of Pellucid, is another one.
    """
    train = partial(_trained, model, table)
    return repeat_step(model.history, step, train, "table")


def _trained(model: TableModel, table: Any, epochs: int) -> Trainer:
    settings = asdict(model.settings)
    prepared = prepare_table(as_table(table), model.target.name, settings)
    trainer = trainer_for(prepared)
    trainer.fit(
        *prepared.part(prepared.fitting),
        epochs=epochs,
        batch_size=prepared.settings.batch_size,
        validation=prepared.part(prepared.judging),
        patience=prepared.settings.patience,
        verbose=0,
    )
    return trainer
