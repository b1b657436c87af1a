"""Initial weights: distributions, and which of them suits which activation.

A drawing function takes a key and a shape and returns a tensor; the same key gives
the same weights. Fans are read from PyTorch's layout: `[out, in, space…]`.

Sources:
    LeCun   LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998)
    Xavier  Glorot and Bengio, "Understanding the difficulty of training deep
            feedforward neural networks" (2010)
    He      He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015)
    SELU    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural
            networks" (2017)
    orthogonal  Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear
            dynamics of learning in deep linear neural networks" (2014)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid import random
from pellucid.configuration import current
from pellucid.dtypes import as_dtype
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.ir.types import Shape
from pellucid.tensors import Tensor, tensor

__all__ = [
    "INITIALISERS",
    "RULES",
    "Choice",
    "choose",
    "constant",
    "fans",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Draw: TypeAlias = Callable[..., Tensor]
Fans: TypeAlias = tuple[int, int]


def fans(shape: Shape) -> Fans:
    """Return how many inputs a unit has, and how many units an input feeds.

    >>> fans((10, 3)), fans((16, 8, 3, 3))
    ((3, 10), (72, 144))
    """
    if len(shape) < 2:
        raise ShapeError(
            message(
                f"a shape {list(shape)} has no fans",
                expected="expected [out, in] or [out, in, space…]",
                hint="draw it with 'uniform', 'normal', 'constant' or 'zeros'",
            )
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


# --- plain distributions ---------------------------------------------------------


def zeros(key: Tensor, shape: Shape, dtype: Any = None) -> Tensor:
    """All zeros. Units that start equal stay equal: for biases, not for weights."""
    return constant(key, shape, dtype, value=0.0)


def constant(
    key: Tensor, shape: Shape, dtype: Any = None, *, value: float = 0.0
) -> Tensor:
    """One value everywhere; the key is not used."""
    return tensor(np.full(shape, value, as_dtype(dtype or current().dtype)))


def uniform(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    low: float = -0.05,
    high: float = 0.05,
) -> Tensor:
    """Uniform on [low, high).

    >>> drawn = uniform(random.key_of(0), (100,), low=0.0, high=2.0).value
    >>> bool(drawn.min() >= 0 and drawn.max() < 2)
    True
    """
    return random.uniform(key, shape, dtype) * (high - low) + low


def normal(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    mean: float = 0.0,
    std: float = 0.05,
) -> Tensor:
    """Normal, with a mean and a standard deviation."""
    return random.normal(key, shape, dtype) * std + mean


# --- scaled by fans --------------------------------------------------------------

# `fan` is (in, out) where the shape does not tell it, as that of a grouped convolution.


def _scaled(
    key: Tensor, shape: Shape, dtype: Any, variance: float, even: bool
) -> Tensor:
    """Draw with mean 0 and a variance, from a uniform or a normal distribution."""
    if even:
        bound = math.sqrt(3.0 * variance)
        return uniform(key, shape, dtype, low=-bound, high=bound)
    return normal(key, shape, dtype, std=math.sqrt(variance))


def _variance(gain: float, fan: float) -> float:
    return gain**2 / fan if fan else 0.0


def lecun_normal(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = 1.0,
    fan: Fans | None = None,
) -> Tensor:
    """Normal, variance gain² / fan in."""
    return _scaled(
        key, shape, dtype, _variance(gain, (fan or fans(shape))[0]), even=False
    )


def lecun_uniform(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = 1.0,
    fan: Fans | None = None,
) -> Tensor:
    """Uniform, variance gain² / fan in."""
    return _scaled(
        key, shape, dtype, _variance(gain, (fan or fans(shape))[0]), even=True
    )


def xavier_normal(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = 1.0,
    fan: Fans | None = None,
) -> Tensor:
    """Normal, variance 2 gain² / (fan in + fan out)."""
    return _scaled(
        key, shape, dtype, _variance(gain, sum(fan or fans(shape)) / 2), even=False
    )


def xavier_uniform(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = 1.0,
    fan: Fans | None = None,
) -> Tensor:
    """Uniform, variance 2 gain² / (fan in + fan out)."""
    return _scaled(
        key, shape, dtype, _variance(gain, sum(fan or fans(shape)) / 2), even=True
    )


def he_normal(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = math.sqrt(2.0),
    mode: str = "fan_in",
    fan: Fans | None = None,
) -> Tensor:
    """Normal, variance gain² / fan; gain² is 2 / (1 + slope²) for a leaky ReLU."""
    return _scaled(
        key, shape, dtype, _variance(gain, _fan(fan or fans(shape), mode)), even=False
    )


def he_uniform(
    key: Tensor,
    shape: Shape,
    dtype: Any = None,
    *,
    gain: float = math.sqrt(2.0),
    mode: str = "fan_in",
    fan: Fans | None = None,
) -> Tensor:
    """Uniform, variance gain² / fan; gain² is 2 / (1 + slope²) for a leaky ReLU."""
    return _scaled(
        key, shape, dtype, _variance(gain, _fan(fan or fans(shape), mode)), even=True
    )


def _fan(fan: Fans, mode: str) -> int:
    modes = dict(zip(("fan_in", "fan_out"), fan))
    if mode not in modes:
        raise ArgumentError(
            message(f"no fan mode {mode!r}", hint=did_you_mean(mode, modes))
        )
    return modes[mode]


def orthogonal(
    key: Tensor, shape: Shape, dtype: Any = None, *, gain: float = 1.0
) -> Tensor:
    """Rows, or columns where they are fewer, orthogonal and of length `gain`.

    Drawn evenly from all such matrices: QR of a normal matrix, signs corrected.
    Axes behind the first are taken as one.
    """
    fans(shape)
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = random.normal(key, (max(rows, columns), min(rows, columns)), "f64").value
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    matrix = q if rows >= columns else q.T
    target = as_dtype(dtype or current().dtype)
    return tensor((gain * matrix).reshape(shape).astype(target))


# --- which one -------------------------------------------------------------------

INITIALISERS: dict[str, Draw] = {
    "zeros": zeros,
    "constant": constant,
    "uniform": uniform,
    "normal": normal,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "orthogonal": orthogonal,
}
"""Every initialiser by the name that a layer takes as `init`."""

_BY_FANS = frozenset(
    n for n in INITIALISERS if n.startswith(("lecun", "xavier", "he_"))
)

RULES: dict[str, str] = {
    "relu": "he_normal",
    "leaky_relu": "he_normal",
    "prelu": "he_normal",
    "elu": "he_normal",
    "celu": "he_normal",
    "gelu": "he_normal",
    "silu": "he_normal",
    "mish": "he_normal",
    "softplus": "he_normal",
    "relu6": "he_normal",
    "hardswish": "he_normal",
    "selu": "lecun_normal",
    "maxout": "lecun_normal",
    "tanh": "xavier_uniform",
    "hardtanh": "xavier_uniform",
    "softsign": "xavier_uniform",
    "sigmoid": "xavier_uniform",
    "hardsigmoid": "xavier_uniform",
    "step": "xavier_uniform",
    "softmax": "xavier_uniform",
    "log_softmax": "xavier_uniform",
    "identity": "xavier_uniform",
}
"""The initialiser that suits the activation behind a layer.

He's keeps the scale through ReLU and is the custom for its smooth relatives. The
larger of two normal pieces has the mean square of one, so Maxout keeps LeCun's.
"""


@dataclass(frozen=True)
class Choice:
    """An initialiser, the gain it is given, and why it was chosen."""

    name: str
    gain: float | None = None
    why: str = ""

    def draw(
        self, key: Tensor, shape: Shape, dtype: Any = None, fan: Fans | None = None
    ) -> Tensor:
        """Draw weights of a shape; `fan` is (in, out) where the shape does not tell."""
        options: dict[str, Any] = {} if self.gain is None else {"gain": self.gain}
        if fan is not None and self.name in _BY_FANS:
            options["fan"] = fan
        return INITIALISERS[self.name](key, shape, dtype, **options)

    def __str__(self) -> str:
        return f"{self.name}, {self.why}" if self.why else self.name


def choose(init: str, activation: str | None, slope: float = 0.0) -> Choice:
    """Return the initialiser of a name; `auto` takes the activation's rule.

    `slope` is that of a leaky ReLU below zero.

    >>> str(choose("auto", "relu"))
    'he_normal, because relu follows'
    >>> str(choose("orthogonal", "relu"))
    'orthogonal'
    """
    if init != "auto":
        if init not in INITIALISERS:
            raise ArgumentError(
                message(
                    f"no initialiser {init!r}",
                    hint=did_you_mean(init, ["auto", *INITIALISERS]),
                )
            )
        return Choice(init)
    if activation is None:
        return Choice(RULES["identity"], why="because no activation follows")
    name = RULES.get(activation, RULES["identity"])
    gain = math.sqrt(2.0 / (1.0 + slope**2)) if slope else None
    return Choice(name, gain, f"because {activation} follows")
