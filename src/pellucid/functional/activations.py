"""Activations: what a unit does with its weighted sum.

Composed of gates, so that their gradients come from the one table of rules. Each
docstring states the derivative at the kink. NaN stays NaN in all of them. PyTorch's
names and conventions hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional.array import (
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    stop_gradient,
    where,
)
from pellucid.functional.array import tanh as _tanh
from pellucid.tensors import Tensor, TensorLike, apply, as_tensor, whole_axes

__all__ = [
    "ACTIVATIONS",
    "activation_named",
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "maxout",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "step",
    "tanh",
]

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


# --- smooth ----------------------------------------------------------------------


def identity(x: TensorLike) -> Tensor:
    """Return x; the derivative is 1."""
    return as_tensor(x)


def _decay(x: Tensor) -> Tensor:
    """Return e^−|x|, with the derivative from the right at 0.

    |x| itself would have the derivative 0 there, and what is made of it a wrong one.
    """
    return exp(minimum(x, -x))


def sigmoid(x: TensorLike) -> Tensor:
    """Return 1 / (1 + e⁻ˣ), exact in both tails, as is its derivative y(1 − y).

    >>> sigmoid([-1e4, 0.0, 1e4])
    Tensor([0. , 0.5, 1. ], f32[3])
    """
    x = as_tensor(x)
    decay = _decay(x)
    return where(x < 0, decay, 1.0) / (decay + 1.0)


def log_sigmoid(x: TensorLike) -> Tensor:
    """Return log sigmoid(x) = −softplus(−x), exact in both tails."""
    return -softplus(-as_tensor(x))


def softplus(x: TensorLike) -> Tensor:
    """Return log(1 + eˣ), exact in both tails; the derivative is sigmoid(x).

    >>> softplus([-1e4, 0.0, 1e4])
    Tensor([0.000000e+00, 6.931472e-01, 1.000000e+04], f32[3])
    """
    x = as_tensor(x)
    return maximum(0.0, x) + log1p(_decay(x))


def tanh(x: TensorLike) -> Tensor:
    """Return the hyperbolic tangent; the derivative is 1 − y²."""
    return _tanh(x)


def softsign(x: TensorLike) -> Tensor:
    """Return x / (1 + |x|); the derivative at 0 is 1."""
    x = as_tensor(x)
    return x / (abs(x) + 1.0)


def silu(x: TensorLike) -> Tensor:
    """Return x · sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018).
    """
    x = as_tensor(x)
    return x * sigmoid(x)


def mish(x: TensorLike) -> Tensor:
    """Return x · tanh(softplus(x)).

    Source: Misra, "Mish: a self regularized non-monotonic activation function"
    (2019).
    """
    x = as_tensor(x)
    return x * _tanh(softplus(x))


def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """Return x · Φ(x), Φ the normal distribution; `approximate="tanh"` is the form
    with tanh in place of erf.

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).

    >>> gelu([-1.0, 0.0, 1.0])
    Tensor([-0.15865526,  0.        ,  0.8413447 ], f32[3])
    """
    x = as_tensor(x)
    if approximate == "none":
        return x * 0.5 * (apply("erf", x * math.sqrt(0.5)) + 1.0)
    if approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2.0 / math.pi)
        return x * 0.5 * (_tanh(inner) + 1.0)
    raise ArgumentError(f"approximate is 'none' or 'tanh', not {approximate!r}")


# --- with a kink -----------------------------------------------------------------


def step(x: TensorLike) -> Tensor:
    """Return 1 where x ≥ 0, else 0: the perceptron's unit. The derivative is 0.

    >>> step([-0.5, 0.0, 2.0])
    Tensor([0., 1., 1.], f32[3])
    """
    # The floor keeps NaN, which a comparison would lose.
    return apply("floor", apply("sign", as_tensor(x)) * 0.5 + 1.0)


def relu(x: TensorLike) -> Tensor:
    """Return max(x, 0); the derivative at 0 is 0.

    >>> relu([-1.0, 2.0])
    Tensor([0., 2.], f32[2])
    """
    return maximum(x, 0.0)


def relu6(x: TensorLike) -> Tensor:
    """Return min(max(x, 0), 6); the derivative at 0 and at 6 is 0."""
    return minimum(relu(x), 6.0)


def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """Return x where x > 0, else slope · x; the derivative at 0 is the slope."""
    x = as_tensor(x)
    return where(x > 0, x, x * negative_slope)


def prelu(x: TensorLike, weight: Tensor) -> Tensor:
    """Return x where x > 0, else weight · x; the derivative at 0 is the weight.

    `weight` has one entry, or one for each channel: axis 1, or the only axis of a
    vector.
    """
    x = as_tensor(x)
    if weight.size > 1:
        channels = min(1, x.ndim - 1)
        if x.shape[channels] != weight.size:
            raise ShapeError(
                message(
                    f"prelu of {x.type} got {weight.size} slopes",
                    expected=f"expected 1 or {x.shape[channels]}",
                )
            )
        weight = weight.reshape([-1] + [1] * (x.ndim - 1 - channels))
    return where(x > 0, x, x * weight)


def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else α(eˣ − 1); the derivative at 0 is α.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network
    learning by exponential linear units" (2016).
    """
    x = as_tensor(x)
    return where(x > 0, x, expm1(minimum(0.0, x)) * alpha)


def celu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else α(e^(x/α) − 1); the derivative at 0 is 1."""
    x = as_tensor(x)
    return where(x > 0, x, expm1(minimum(0.0, x) / alpha) * alpha)


def selu(x: TensorLike) -> Tensor:
    """Return 1.0507 · elu(x, 1.6733); the derivative at 0 is 1.7581.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural
    networks" (2017).
    """
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


def hardtanh(x: TensorLike, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return x within [low, high], else the nearer; the derivative at both is 0."""
    return minimum(maximum(x, low), high)


def hardsigmoid(x: TensorLike) -> Tensor:
    """Return relu6(x + 3) / 6; the derivative at −3 and at 3 is 0."""
    return relu6(as_tensor(x) + 3.0) / 6.0


def hardswish(x: TensorLike) -> Tensor:
    """Return x · relu6(x + 3) / 6; the derivative is 0 at −3 and 1 at 3."""
    x = as_tensor(x)
    return x * hardsigmoid(x)


def maxout(x: TensorLike, pieces: int, axis: int = -1) -> Tensor:
    """Return the largest of each `pieces` neighbours along an axis.

    `[…, units · pieces]` becomes `[…, units]`. Tied pieces share the gradient evenly.
    Source: Goodfellow et al., "Maxout networks" (2013).

    >>> maxout([1.0, 3.0, -2.0, -5.0], pieces=2)
    Tensor([ 3., -2.], f32[2])
    """
    x = as_tensor(x)
    (at,) = whole_axes(x, axis)
    if pieces < 1 or x.shape[at] % pieces:
        raise ShapeError(f"axis {axis} of {x.type} does not divide into {pieces}s")
    shape = (*x.shape[:at], x.shape[at] // pieces, pieces, *x.shape[at + 1 :])
    return x.reshape(shape).max(at + 1)


# --- over an axis ----------------------------------------------------------------


def _shift(x: Tensor, axis: int | Sequence[int]) -> Tensor:
    """Return the largest over axes, to subtract: 0 where it is infinite."""
    peak = stop_gradient(x.max(axis, keepdims=True))
    return where(abs(peak) == math.inf, 0.0, peak)


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """Return eˣ / Σeˣ along an axis. −inf gives 0; −inf everywhere gives NaN.

    >>> softmax([1e4, 1e4, -1e4])
    Tensor([0.5, 0.5, 0. ], f32[3])
    """
    x = as_tensor(x)
    weights = exp(x - _shift(x, axis))
    return weights / weights.sum(axis, keepdims=True)


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """Return log softmax(x) without the loss of digits."""
    x = as_tensor(x)
    shifted = x - _shift(x, axis)
    return shifted - log(exp(shifted).sum(axis, keepdims=True))


def logsumexp(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Tensor:
    """Return log Σeˣ over axes, all by default.

    −inf everywhere gives −inf, with the gradient 0.

    >>> logsumexp([1e4, 1e4]).item()
    10000.693359375
    """
    x = as_tensor(x)
    axes = whole_axes(x, axis)
    shift = _shift(x, axes)
    total = exp(x - shift).sum(axes, keepdims=True)
    nothing = total == 0.0
    result = where(nothing, -math.inf, log(where(nothing, 1.0, total)) + shift)
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    return result if keepdims else result.reshape(kept)


# --- by name ---------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    each.__name__: each
    for each in (
        *(identity, step, sigmoid, tanh, relu, relu6, leaky_relu, elu, celu, selu),
        *(gelu, silu, mish, softplus, softsign, hardtanh, hardsigmoid, hardswish),
        *(softmax, log_softmax, log_sigmoid),
    )
}
"""Activations that need nothing but x, by name."""


def activation_named(name: str) -> Callable[[Any], Tensor]:
    """Return an activation by its name.

    >>> activation_named("relu")(-1.0).item()
    0.0
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(
            message(f"no activation {name!r}", hint=did_you_mean(name, ACTIVATIONS))
        )
    return ACTIVATIONS[name]
