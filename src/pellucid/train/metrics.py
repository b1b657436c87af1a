"""What is measured beside the loss: functions of outputs and targets, in the graph.

A metric gives the mean over a batch; means over batches are weighted by their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.functional.array import argmax
from pellucid.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from pellucid.tensors import Tensor

__all__ = ["METRICS", "Metric", "resolve_metrics"]

Metric: TypeAlias = Callable[..., Tensor]
"""Of outputs and targets; with a third argument `weight` also of some of them."""


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean()
    weight = weight.reshape(values.shape).astype(values.dtype)
    return (values * weight).sum() / weight.sum()


def _classes(values: Tensor, threshold: float, axis: int) -> Tensor:
    """Return the class of each row, of scores a class or of one score."""
    if values.ndim > 1 and values.shape[axis] > 1:
        return argmax(values, axis=axis)
    flat = values.reshape(values.shape[0], -1)[:, 0] if values.ndim > 1 else values
    return (flat >= threshold).astype("i32")


def accuracy(threshold: float, axis: int = -1) -> Metric:
    """Return the share of rows, or of the places in them, whose class is right.

    `threshold` parts the two classes where the model gives one score a row; `axis` is
    that of the classes where it gives several.
    """

    def measure(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        found = _classes(output, threshold, axis)
        if target.dtype.kind != "f" and target.size == found.size:
            wanted = target.reshape(found.shape)
        else:
            wanted = _classes(target, 0.5, axis)
        return _mean((found == wanted.astype("i32")).astype("f32"), weight)

    return measure


def mean_absolute_error(
    output: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return the mean of |output − target|."""
    return _mean(abs(output - target.reshape(output.shape)), weight)


def mean_squared_error(
    output: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return the mean of (output − target)²."""
    difference = output - target.reshape(output.shape)
    return _mean(difference * difference, weight)


def _axis(loss: Any) -> int:
    return loss.axis if isinstance(loss, CrossEntropyLoss | NLLLoss) else -1


def _threshold(loss: Any) -> float:
    """Return the score that parts two classes: 0 for logits, ½ for probabilities."""
    return 0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5


METRICS: dict[str, Callable[[Any], Metric]] = {
    "accuracy": lambda loss: accuracy(_threshold(loss), _axis(loss)),
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
        of_one = output and isinstance(loss, Mapping)
        found[name] = METRICS[short](loss[output] if of_one else loss)
    return found
