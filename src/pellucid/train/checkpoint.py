"""Checkpoints: all that an interrupted training needs to go on with the same numbers.

One safetensors file, written whole or not at all, holds the state, the best weights so
far, and what early stopping and the record know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ModelFileError, message
from pellucid.files import read_file, write_file
from pellucid.train.history import History
from pellucid.train.state import TrainState

__all__ = ["Progress", "load_progress", "save_progress"]


@dataclass(frozen=True)
class Progress:
    """Where a training stands between two epochs."""

    state: TrainState
    epoch: int = 0
    monitor: float = math.nan
    best: TrainState | None = None
    best_loss: float = math.inf
    best_epoch: int | None = None
    history: History = field(default_factory=History)

    def best_or_last(self) -> TrainState:
        """Return the state with the weights to keep."""
        return self.state if self.best is None else self.state.with_weights(self.best)


def save_progress(
    path: str | Path, progress: Progress, settings: dict[str, Any]
) -> None:
    """Write a checkpoint. `settings` must be the same when it is read."""
    tensors = {f"state.{k}": v for k, v in progress.state.named().items()}
    if progress.best is not None:
        tensors |= {f"best.{k}": v for k, v in progress.best.named().items()}
    header = {
        "kind": "checkpoint",
        "settings": settings,
        "epoch": progress.epoch,
        "monitor": progress.monitor.hex(),
        "best_loss": progress.best_loss.hex(),
        "best_epoch": progress.best_epoch,
        "history": progress.history.to_dict(),
    }
    write_file(path, tensors, header)


def load_progress(
    path: str | Path,
    like: TrainState,
    settings: dict[str, Any],
    content: bytes | None = None,
) -> Progress:
    """Read a checkpoint of a training with this state's shape and these settings.

    `content` is what the file holds, where another process has read it.
    """
    tensors, header = read_file(path, content)
    if header.get("kind") != "checkpoint":
        raise ModelFileError(message(f"{str(path)!r} is not a checkpoint"))
    for name, value in settings.items():
        before = header["settings"].get(name)
        if before != value:
            raise ModelFileError(
                message(
                    f"{str(path)!r} was written by a training with {name}={before!r}",
                    expected=f"this one has {name}={value!r}",
                    hint="resume with the same settings and data",
                )
            )
    has_best = any(name.startswith("best.") for name in tensors)
    return Progress(
        state=_state(tensors, "state", like, path),
        epoch=header["epoch"],
        monitor=float.fromhex(header["monitor"]),
        best=_state(tensors, "best", like, path) if has_best else None,
        best_loss=float.fromhex(header["best_loss"]),
        best_epoch=header["best_epoch"],
        history=History.from_dict(header["history"]),
    )


def _state(
    tensors: dict[str, Any], prefix: str, like: TrainState, path: str | Path
) -> TrainState:
    found = []
    for name, value in like.named().items():
        array = tensors.get(f"{prefix}.{name}")
        if array is None or array.shape != value.shape or array.dtype != value.dtype:
            raise ModelFileError(
                message(
                    f"{str(path)!r} does not fit this model and optimiser",
                    where=name,
                    expected=f"expected {value.dtype}{list(value.shape)}",
                )
            )
        found.append(np.asarray(array))
    return replace(like).with_leaves(found)
