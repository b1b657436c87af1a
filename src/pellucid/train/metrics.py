"""What is measured beside the loss: functions of outputs and targets, in the graph.

A metric gives the mean over a batch; means over batches are weighted by their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.functional.array import argmax
from pellucid.nn.losses import BCEWithLogitsLoss
from pellucid.tensors import Tensor

__all__ = ["METRICS", "Metric", "resolve_metrics"]

Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _classes(values: Tensor, threshold: float) -> Tensor:
    """Return the class of each row, of scores a class or of one score."""
    if values.ndim > 1 and values.shape[-1] > 1:
        return argmax(values, axis=-1)
    flat = values.reshape(values.shape[0], -1)[:, 0] if values.ndim > 1 else values
    return (flat >= threshold).astype("i32")


def accuracy(threshold: float) -> Metric:
    """Return the share of rows whose class is right.

    `threshold` parts the two classes where the model gives one score a row.
    """

    def measure(output: Tensor, target: Tensor) -> Tensor:
        wanted = target
        if target.dtype.kind == "f" or target.ndim > 1:
            wanted = _classes(target, 0.5)
        found = _classes(output, threshold)
        return (found == wanted.astype("i32")).astype("f32").mean()

    return measure


def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean of |output − target|."""
    return abs(output - target.reshape(output.shape)).mean()


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean of (output − target)²."""
    difference = output - target.reshape(output.shape)
    return (difference * difference).mean()


def _threshold(loss: Any) -> float:
    """Return the score that parts two classes: 0 for logits, ½ for probabilities."""
    return 0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5


METRICS: dict[str, Callable[[Any], Metric]] = {
    "accuracy": lambda loss: accuracy(_threshold(loss)),
    "mae": lambda loss: mean_absolute_error,
    "mse": lambda loss: mean_squared_error,
}
"""Metrics by name; each is made for the loss that is trained on."""


def resolve_metrics(
    given: Iterable[str] | Mapping[str, Metric], loss: Any
) -> dict[str, Metric]:
    """Return metrics by name; `output.metric` names one output of several.

    >>> list(resolve_metrics(["accuracy"], None))
    ['accuracy']
    """
    if isinstance(given, Mapping):
        return dict(given)
    found = {}
    for name in given:
        output, _, short = name.rpartition(".")
        if short not in METRICS:
            raise ArgumentError(
                message(f"no metric named {short!r}", hint=did_you_mean(short, METRICS))
            )
        found[name] = METRICS[short](loss[output] if output else loss)
    return found
