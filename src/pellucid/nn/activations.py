"""Activations as layers, under PyTorch's names."""

from __future__ import annotations

from pellucid import functional
from pellucid.configuration import current
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn.module import Module
from pellucid.tensors import Parameter, Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Step",
    "Tanh",
    "activation_layer",
]


class _Plain(Module):
    """An activation without arguments: `functional` has it under its name."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.ACTIVATIONS[str(self.activation)](x)


class Step(_Plain):
    """1 where x ≥ 0, else 0: the perceptron's unit. The derivative is 0."""

    activation = "step"


class Sigmoid(_Plain):
    """1 / (1 + e⁻ˣ)."""

    activation = "sigmoid"


class Tanh(_Plain):
    """The hyperbolic tangent."""

    activation = "tanh"


class ReLU(_Plain):
    """max(x, 0); the derivative at 0 is 0."""

    activation = "relu"


class ReLU6(_Plain):
    """min(max(x, 0), 6); the derivative at 0 and at 6 is 0."""

    activation = "relu6"


class SELU(_Plain):
    """1.0507 · elu(x, 1.6733); the derivative at 0 is 1.7581."""

    activation = "selu"


class SiLU(_Plain):
    """x · sigmoid(x), also called swish."""

    activation = "silu"


class Mish(_Plain):
    """x · tanh(softplus(x))."""

    activation = "mish"


class Softplus(_Plain):
    """log(1 + eˣ)."""

    activation = "softplus"


class Softsign(_Plain):
    """x / (1 + |x|)."""

    activation = "softsign"


class Hardtanh(_Plain):
    """x within [−1, 1], else the nearer; the derivative at both is 0."""

    activation = "hardtanh"


class Hardsigmoid(_Plain):
    """relu6(x + 3) / 6; the derivative at −3 and at 3 is 0."""

    activation = "hardsigmoid"


class Hardswish(_Plain):
    """x · relu6(x + 3) / 6."""

    activation = "hardswish"


class LeakyReLU(Module):
    """x where x > 0, else slope · x; the derivative at 0 is the slope."""

    activation = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.leaky_relu(x, self.negative_slope)


class PReLU(Module):
    """x where x > 0, else weight · x; the derivative at 0 is the weight.

    `weight [num_parameters]` is trained: one slope, or one a channel (axis 1).
    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).
    """

    activation = "prelu"

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.negative_slope = init
        self.weight = Parameter([init] * num_parameters, current().dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.prelu(x, self.weight)


class ELU(Module):
    """x where x > 0, else α(eˣ − 1); the derivative at 0 is α."""

    activation = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.elu(x, self.alpha)


class CELU(Module):
    """x where x > 0, else α(e^(x/α) − 1); the derivative at 0 is 1."""

    activation = "celu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.celu(x, self.alpha)


class GELU(Module):
    """x · Φ(x), by `erf`, or by `approximate="tanh"`."""

    activation = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ArgumentError(f"approximate is 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return functional.gelu(x, self.approximate)


class Softmax(Module):
    """eˣ / Σeˣ along an axis, the last by default."""

    activation = "softmax"

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of x along the axis."""
        return functional.softmax(x, self.dim)


class LogSoftmax(Module):
    """log softmax(x) along an axis, the last by default."""

    activation = "log_softmax"

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithms of the shares of x along the axis."""
        return functional.log_softmax(x, self.dim)


_LAYERS: dict[str, type[Module]] = {
    str(layer.activation): layer
    for layer in (
        *(Step, Sigmoid, Tanh, ReLU, ReLU6, SELU, SiLU, Mish, Softplus, Softsign),
        *(Hardtanh, Hardsigmoid, Hardswish, LeakyReLU, PReLU, ELU, CELU, GELU),
        *(Softmax, LogSoftmax),
    )
}


def activation_layer(name: str) -> Module:
    """Return a new layer of an activation by its name.

    >>> activation_layer("leaky_relu")
    LeakyReLU()
    """
    if name not in _LAYERS:
        raise ArgumentError(
            message(f"no activation {name!r}", hint=did_you_mean(name, _LAYERS))
        )
    return _LAYERS[name]()
