"""What came out of a training, as facts: how many rows, how well, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from pellucid.data.metrics import confusion_matrix
from pellucid.train.trainer import Trainer

__all__ = ["Metrics", "RunReport", "confusion_of", "how_it_went", "trivial_guess"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Metrics: TypeAlias = dict[str, float]
Self = TypeVar("Self", bound="RunReport")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The numbers on the held-out rows, beside those of the guesses to beat.

    `confusion[i][j]` counts held-out rows of class i predicted as j; it and `labels`
    are empty for a regression.
    """

    rows: int
    train_rows: int
    validation_rows: int
    test_rows: int
    notes: tuple[str, ...]
    metrics: Metrics
    baseline: Metrics
    linear: Metrics
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    epochs: int
    iterations: int
    best_epoch: int | None
    stopped: str
    """`finished`, `early_stop` or `interrupted`."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values; metrics under `metrics.test`."""
        return {**asdict(self), "metrics": {"test": dict(self.metrics)}}

    @classmethod
    def from_json(cls: type[Self], plain: Mapping[str, Any]) -> Self:
        """Return the report that `to_json` described."""
        changes = {
            "metrics": dict(plain["metrics"]["test"]),
            "notes": tuple(plain["notes"]),
            "labels": tuple(plain["labels"]),
            "confusion": tuple(map(tuple, plain["confusion"])),
        }
        return cls(**{**plain, **changes})


def how_it_went(trainer: Trainer) -> dict[str, Any]:
    """Return the fields of a report that tell how a training ended."""
    history = trainer.history
    return {
        "epochs": history.epochs,
        "iterations": history.iterations,
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
    }


def confusion_of(classes: tuple[Any, ...], y: Array, found: Array) -> dict[str, Any]:
    """Return the fields of a report that tell which class was taken for which."""
    counts = confusion_matrix(y, found, len(classes))
    return {
        "labels": tuple(map(str, classes)),
        "confusion": tuple(map(tuple, counts.tolist())),
    }


def trivial_guess(y: Array, rows: int) -> Array:
    """Predict for so many rows what is most likely without looking at them.

    For class numbers `y` `int[n]`, each class's share of the training part,
    `[rows, classes]`; for quantities their mean, `[rows]`.

    >>> trivial_guess(np.array([0, 0, 1, 0]), 1)
    array([[0.75, 0.25]])
    """
    if y.dtype.kind == "i":
        return np.tile(np.bincount(y) / len(y), (rows, 1))
    return np.full(rows, y.mean(dtype=np.float64))
