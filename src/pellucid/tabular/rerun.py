"""Train a saved model's network again, as far as a step, to look inside that step.

A run is a pure function of the table and the settings, and the file has the settings.
The losses of the epochs that are run again must be those that the file recorded.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from pellucid.data.table import as_table
from pellucid.errors import ArgumentError, DataError, message
from pellucid.tabular.model import TableModel
from pellucid.tabular.preparing import prepare_table, trainer_for
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["replay_step"]

CLOSE = 0.02
"""Recorded and repeated losses may differ by this, relative.

On the same machine they are the same bits. Another processor rounds otherwise, and
over many epochs training makes much of little; another table is far outside of this.
"""


def replay_step(model: TableModel, table: Any, step: int) -> Replay:
    """Return every gate of one step of a model's training, counted from 0.

    `table` is the one that the model was trained on.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the table, or the
            version of Pellucid, is another one.
    """
    history = model.history
    if not 0 <= step < history.iterations:
        last = history.iterations - 1
        expected = f"expected 0 to {last}" if last >= 0 else "no epoch was recorded"
        raise ArgumentError(message(f"no step {step}", expected=expected))
    epoch = next(row["epoch"] for row in history if step < row["iterations"])
    trainer = _trained(model, table, epoch)
    for before, now in zip(history, trainer.history):
        _check_same(before, now)
    return trainer.replay(step)


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


def _check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("iterations", "loss", "validation_loss"):
        known = math.isfinite(before[name])
        if known and not math.isclose(before[name], now[name], rel_tol=CLOSE):
            what = f"{name.replace('_', ' ')} of epoch {before['epoch']}"
            raise DataError(
                message(
                    f"the training does not repeat: {what} was {before[name]:.9g} "
                    f"and is now {now[name]:.9g}",
                    expected="expected the table and the Pellucid it was trained with",
                )
            )
