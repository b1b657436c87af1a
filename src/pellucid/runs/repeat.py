"""Train a saved model's network again, as far as a step, to look inside that step.

The losses of the epochs that are run again must be those that the file recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pellucid.errors import ArgumentError, DataError, message
from pellucid.train.history import History
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["repeat_step"]

CLOSE = 0.02
"""Recorded and repeated losses may differ by this, relative.

On the same machine they are the same bits. Another processor rounds otherwise, and
over many epochs training makes much of little; other data are far outside of this.
"""


def repeat_step(
    history: History, step: int, train: Callable[[int], Trainer], data: str = "data"
) -> Replay:
    """Return every gate of one step of a recorded training, counted from 0.

    `train` trains again for so many epochs; `data` is the word for what it needs.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the data, or the
            version of Pellucid, are others.
    """
    if not 0 <= step < history.iterations:
        last = history.iterations - 1
        expected = f"expected 0 to {last}" if last >= 0 else "no epoch was recorded"
        raise ArgumentError(message(f"no step {step}", expected=expected))
    trainer = train(next(row["epoch"] for row in history if step < row["iterations"]))
    for before, now in zip(history, trainer.history):
        _check_same(before, now, data)
    return trainer.replay(step)


def _check_same(before: dict[str, Any], now: dict[str, Any], data: str) -> None:
    for name in ("iterations", "loss", "validation_loss"):
        known = math.isfinite(before[name])
        if known and not math.isclose(before[name], now[name], rel_tol=CLOSE):
            what = f"{name.replace('_', ' ')} of epoch {before['epoch']}"
            raise DataError(
                message(
                    f"the training does not repeat: {what} was {before[name]:.9g} "
                    f"and is now {now[name]:.9g}",
                    expected=f"expected the {data} and the Pellucid that it was "
                    "trained with",
                )
            )
