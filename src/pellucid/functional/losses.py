"""Losses: how wrong an output is, as a number to descend on.

All take an output, a target and a `weight` for each sample, `[batch]`, and reduce by
`"mean"`, `"sum"` or `"none"`. The weighted mean is Σ w·l / Σ w. The target is taken
in the output's dtype. An output `[batch]` and a target `[batch, 1]`, or the other way
round, are matched; nothing is ever broadcast to `[batch, batch]`.
"""

from __future__ import annotations

import math

import numpy as np

from pellucid.dtypes import as_dtype, is_float, promote
from pellucid.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    ShapeError,
    did_you_mean,
    message,
)
from pellucid.functional.activations import log_softmax, softplus
from pellucid.functional.array import abs as _abs
from pellucid.functional.array import clip, log, maximum, minimum, sqrt, where
from pellucid.ir.graph import Array
from pellucid.ir.types import Shape
from pellucid.tensors import Tensor, TensorLike, as_tensor, expand, tensor, whole_axes

__all__ = [
    "EPSILON",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber",
    "mae",
    "mse",
    "nll",
    "reduced",
    "rmse",
    "smooth_l1",
]

EPSILON = 1e-7
"""How near to 0 and 1 a probability may come before its logarithm is taken."""

_REDUCTIONS = ("mean", "sum", "none")


# --- bringing operands together --------------------------------------------------


def _pair(output: TensorLike, target: TensorLike) -> tuple[Tensor, Tensor]:
    """Bring a target to the shape and the dtype of the output."""
    x = as_tensor(output)
    y = as_tensor(target)
    if not is_float(x.dtype):
        raise DTypeError(f"the output of a loss must be of floats, not {x.type}")
    return x, _shaped(y, x.shape, "the target", x).astype(x.dtype)


def _shaped(given: Tensor, shape: Shape, name: str, output: Tensor) -> Tensor:
    """Return it in a shape that differs by a last axis of size 1, if at all."""
    if given.shape == shape:
        return given
    if given.shape == (*shape, 1) or (*given.shape, 1) == shape:
        return given.reshape(shape)
    raise ShapeError(
        message(
            f"{name} does not fit the output",
            expected=f"output {output.type}, {name.removeprefix('the ')} {given.type}, "
            f"expected shape {list(shape)}",
        )
    )


def _spread(weight: TensorLike, losses: Tensor) -> Tensor:
    """Bring a weight `[batch]`, or one for each loss, to the shape of the losses."""
    w = as_tensor(weight).astype(losses.dtype)
    if w.shape == losses.shape:
        return w
    w = _shaped(w, losses.shape[:1], "the weight", losses)
    return expand(w.reshape(*w.shape, *[1] * (losses.ndim - w.ndim)), losses.shape)


def reduced(
    losses: Tensor, weight: TensorLike | None = None, reduction: str = "mean"
) -> Tensor:
    """Return losses, weighted by sample and reduced: what each loss ends in.

    >>> reduced(tensor([1.0, 4.0]), weight=[1.0, 2.0]).item()
    3.0
    """
    if weight is None:
        return _total(losses, None, reduction)
    w = _spread(weight, losses)
    return _total(losses * w, w, reduction)


def _total(losses: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """Reduce losses that are weighted; the mean divides by the sum of `weights`."""
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            message(
                f"no reduction {reduction!r}", hint=did_you_mean(reduction, _REDUCTIONS)
            )
        )
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if weights is None else losses.sum() / weights.sum()


# --- for numbers -----------------------------------------------------------------


def mse(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the squared error (x − y)².

    >>> mse([1.0, 2.0], [0.0, 4.0]).item()
    2.5
    """
    x, y = _pair(output, target)
    error = x - y
    return reduced(error * error, weight, reduction)


def rmse(
    output: TensorLike, target: TensorLike, weight: TensorLike | None = None
) -> Tensor:
    """Return the root of the weighted mean square error; its gradient at 0 is 0.

    The root of a mean has no other reduction.

    >>> rmse([1.0, 2.0], [0.0, 1.0]).item()
    1.0
    """
    square = mse(output, target, weight)
    perfect = square == 0.0
    return where(perfect, 0.0, sqrt(where(perfect, 1.0, square)))


def mae(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the absolute error |x − y|; the derivative at 0 is 0."""
    x, y = _pair(output, target)
    return reduced(_abs(x - y), weight, reduction)


def huber(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    delta: float = 1.0,
) -> Tensor:
    """Return e²/2 where |e| ≤ δ, else δ(|e| − δ/2), with e = x − y.

    Source: Huber, "Robust estimation of a location parameter" (1964).

    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="none")
    Tensor([0.125, 2.5  ], f32[2])
    """
    if not delta > 0:
        raise ArgumentError(f"delta must be above 0, not {delta!r}")
    x, y = _pair(output, target)
    size = _abs(x - y)
    near = minimum(size, delta)
    return reduced(near * near * 0.5 + (size - near) * delta, weight, reduction)


def smooth_l1(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return e²/2β where |e| ≤ β, else |e| − β/2: Huber's loss over β; for 0, |e|."""
    if not beta >= 0:
        raise ArgumentError(f"beta must be at least 0, not {beta!r}")
    if beta == 0:
        return mae(output, target, weight, reduction)
    return huber(output, target, weight, reduction, beta) / beta


# --- for two classes -------------------------------------------------------------


def _smoothed(y: Tensor, label_smoothing: float, classes: int) -> Tensor:
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"label_smoothing must be between 0 and 1, not {label_smoothing!r}"
        )
    if not label_smoothing:
        return y
    return y * (1.0 - label_smoothing) + label_smoothing / classes


def binary_cross_entropy(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return −y log p − (1 − y) log(1 − p) for probabilities p.

    p is brought into [`EPSILON`, 1 − `EPSILON`], beyond which the gradient is 0. From
    logits, `binary_cross_entropy_with_logits` loses nothing.

    >>> binary_cross_entropy([0.5], [1.0]).item()
    0.6931471824645996
    """
    p, y = _pair(output, target)
    y = _smoothed(y, label_smoothing, 2)
    p = clip(p, EPSILON, 1.0 - EPSILON)
    losses = -(y * log(p) + (1.0 - y) * log(1.0 - p))
    return reduced(losses, weight, reduction)


def binary_cross_entropy_with_logits(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return −y log p − (1 − y) log(1 − p) with p = sigmoid(output).

    `pos_weight` multiplies the first term: the weight of the positive class, one
    number or one for each output.

    >>> binary_cross_entropy_with_logits([1e4, -1e4], [0.0, 0.0], reduction="none")
    Tensor([10000.,     0.], f32[2])
    """
    x, y = _pair(output, target)
    y = _smoothed(y, label_smoothing, 2)
    missed = softplus(-x)  # −log p
    if pos_weight is not None:
        positive = as_tensor(pos_weight, like=x).astype(x.dtype)
        missed = missed * ((positive - 1.0) * y + 1.0)
    return reduced((1.0 - y) * x + missed, weight, reduction)


# --- for any number of classes ---------------------------------------------------


def cross_entropy(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    class_weight: TensorLike | None = None,
    label_smoothing: float = 0.0,
    from_logits: bool = True,
    axis: int = 1,
) -> Tensor:
    """Return −Σ q log p over the classes, with p = softmax(output).

    Args:
        output: `[batch, classes, …]`; logits, or with `from_logits=False`
            probabilities, which are raised to at least `EPSILON`.
        target: labels from 0 as integers `[batch, …]` or `[batch, 1]`, or
            probabilities (one-hot) of the output's shape.
        weight: of each sample.
        class_weight: of each class. With labels the mean divides by the weights of
            the labels, as in PyTorch.
        label_smoothing: the share that is spread evenly over all classes.
        axis: the axis of the classes.

    A label outside the classes is a `DataError`, or NaN in a traced function.

    >>> cross_entropy([[0.0, 0.0]], [1]).item()
    0.6931471824645996
    """
    x = as_tensor(output)
    at = _class_axis(x, axis)
    log_p = log_softmax(x, at) if from_logits else log(maximum(x, EPSILON))
    return _entropy(log_p, target, weight, reduction, class_weight, label_smoothing, at)


def nll(
    output: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    class_weight: TensorLike | None = None,
    axis: int = 1,
) -> Tensor:
    """Return −log p of the label, the output being log p: what `log_softmax` gives."""
    x = as_tensor(output)
    at = _class_axis(x, axis)
    return _entropy(x, target, weight, reduction, class_weight, 0.0, at)


def _class_axis(x: Tensor, axis: int) -> int:
    if not is_float(x.dtype):
        raise DTypeError(f"the output of a loss must be of floats, not {x.type}")
    (at,) = whole_axes(x, axis if x.ndim > 1 else 0) if x.ndim else (-1,)
    if at < 0 or x.shape[at] < 2:
        raise ShapeError(
            message(
                f"cross entropy of an output {x.type}",
                expected=f"expected at least two classes along axis {axis}",
                hint="for one logit a sample use binary_cross_entropy_with_logits",
            )
        )
    return at


def _entropy(
    log_p: Tensor,
    target: TensorLike,
    weight: TensorLike | None,
    reduction: str,
    class_weight: TensorLike | None,
    label_smoothing: float,
    at: int,
) -> Tensor:
    y = as_tensor(target)
    classes = log_p.shape[at]
    by_label = y.shape != log_p.shape
    hot = _hot(y, log_p, at) if by_label else y.astype(log_p.dtype)
    importance = _class_weights(class_weight, log_p, at)
    q = _smoothed(hot, label_smoothing, classes)
    if importance is not None:
        q = q * importance
    # What has no share must not count, even where log p is −inf.
    losses = -where(q == 0.0, 0.0, q * log_p).sum(at)
    if importance is None or not by_label:
        return reduced(losses, weight, reduction)
    of_labels = (hot * importance).sum(at)
    if weight is None:
        return _total(losses, of_labels, reduction)
    w = _spread(weight, losses)
    return _total(losses * w, of_labels * w, reduction)


def _hot(labels: Tensor, log_p: Tensor, at: int) -> Tensor:
    """Return 1 at each label and 0 elsewhere, NaN where a label is no class."""
    classes = log_p.shape[at]
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            message(
                f"labels must be integers, not {labels.type}",
                expected=f"output {log_p.type}",
                hint="cast them, or give probabilities of the output's shape",
            )
        )
    shape = tuple(n for i, n in enumerate(log_p.shape) if i != at)
    labels = _shaped(labels, shape, "the target", log_p)
    if labels.has_value:
        _check_labels(labels.value, classes)
    labels = labels.astype(promote(labels.dtype, as_dtype("i32")))  # or bytes end
    column = [classes if i == at else 1 for i in range(log_p.ndim)]
    numbers = tensor(np.arange(classes, dtype=labels.dtype)).reshape(column)
    kept = [1 if i == at else n for i, n in enumerate(log_p.shape)]
    spread = labels.reshape(kept)
    valid = (spread >= 0) & (spread < classes)
    return (spread == numbers).astype(log_p.dtype) * where(
        valid, tensor(np.ones((), log_p.dtype)), math.nan
    )


def _check_labels(labels: Array, n: int) -> None:
    wrong = labels[(labels < 0) | (labels >= n)]
    if wrong.size:
        raise DataError(
            message(
                f"a label is {wrong[0]}", expected=f"expected 0 to {n - 1}, the classes"
            )
        )


def _class_weights(given: TensorLike | None, log_p: Tensor, at: int) -> Tensor | None:
    if given is None:
        return None
    weights = as_tensor(given).astype(log_p.dtype)
    classes = log_p.shape[at]
    if weights.shape != (classes,):
        raise ShapeError(
            message(
                f"class weights of type {weights.type}",
                expected=f"expected one for each of {classes} classes",
            )
        )
    shape = [classes if i == at else 1 for i in range(log_p.ndim)]
    return weights.reshape(shape)
