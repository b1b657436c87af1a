"""Layers that multiply by a weight matrix: `Linear`, `Maxout`, `Neuron`."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import activation_named, linear, maxout
from pellucid.ir.types import Shape
from pellucid.nn.init import Choice, choose
from pellucid.nn.module import Module
from pellucid.random import next_key
from pellucid.tensors import Parameter, Tensor

__all__ = ["Linear", "Maxout", "Neuron", "Weighted", "positive"]


def positive(**sizes: int) -> None:
    """Raise `ArgumentError` for a size that is not a whole number of at least 1."""
    for name, size in sizes.items():
        whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if not whole or size < 1:
            raise ArgumentError(f"{name} must be a whole number ≥ 1, not {size!r}")


class Weighted(Module):
    """A layer with a weight that an initialiser draws, and a bias that starts at 0.

    With `init="auto"` the weight is drawn by the rule of the activation that
    follows. Alone, the layer takes it that none does; `Sequential` knows better and
    calls `followed_by`, which draws again from the same key. So the weights depend on
    the seed and on the place of the layer among those that draw, on nothing else.
    """

    weight: Parameter
    bias: Parameter | None

    def _start(
        self, shape: Shape, bias: bool, choice: Choice, redraw: bool, dtype: Any
    ) -> None:
        target = as_dtype(dtype or current().dtype)
        if not is_float(target):
            raise ArgumentError(f"weights are f32 or f64, not {target}")
        self._key, self._redraw = next_key(), redraw
        self.weight = Parameter(np.zeros(shape, target))
        self.bias = Parameter(np.zeros(shape[0], target)) if bias else None
        self._draw(choice)

    def _draw(self, choice: Choice) -> None:
        self._choice = choice
        weight = self.weight
        fan = self._fans()
        weight.value = choice.draw(self._key, weight.shape, weight.dtype, fan).value
        self._drawn = _fingerprint(weight)

    def _fans(self) -> tuple[int, int] | None:
        """Return (in, out) of a unit where the weight's shape does not tell it."""
        return None

    def followed_by(self, activation: str | None, slope: float = 0.0) -> None:
        """Draw the weight by the rule of an activation, where it was left to a rule.

        A weight that was changed since it was drawn stays as it is.
        """
        choice = choose("auto", activation, slope)
        untouched = self._drawn == _fingerprint(self.weight)
        if self._redraw and choice != self._choice and untouched:
            self._draw(choice)

    @property
    def initialised(self) -> str:
        """The initialiser, and why it was chosen."""
        return str(self._choice)

    def _weighted_sum(self, x: Tensor) -> Tensor:
        _check_features(x, self.weight.shape[1])
        return linear(x, self.weight, self.bias)


def _fingerprint(weight: Parameter) -> int:
    return zlib.crc32(np.ascontiguousarray(weight.value).data)


def _check_features(x: Tensor, expected: int) -> None:
    if x.ndim and x.shape[-1] == expected:
        return
    what = f"got features of width {x.shape[-1]}" if x.ndim else "got a scalar"
    raise ShapeError(
        message(
            f"{what}, expected {expected}",
            hint="check the columns of the input, or the layer's in_features",
        )
    )


class Linear(Weighted):
    """y = x Wᵀ + b: `[…, in]` becomes `[…, out]`.

    Args:
        in_features, out_features: the widths.
        bias: whether b is there; it starts at 0.
        init: an initialiser's name, or `auto`: by the activation that follows.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [out, in]`, `bias [out]`, as in PyTorch.

    >>> layer = Linear(2, 3)
    >>> layer, layer.weight.shape
    (Linear(in_features=2, out_features=3), (3, 2))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        positive(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        choice = choose(init, None)
        self._start((out_features, in_features), bias, choice, init == "auto", dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b."""
        return self._weighted_sum(x)


class Maxout(Weighted):
    """The largest of several linear pieces: `[…, in]` becomes `[…, out]`.

    Source: Goodfellow et al., "Maxout networks" (2013). State: `weight
    [out · pieces, in]`, `bias [out · pieces]`, the pieces of a unit side by side.

    >>> Maxout(4, 3, pieces=2).weight.shape
    (6, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        bias: bool = True,
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        positive(in_features=in_features, out_features=out_features, pieces=pieces)
        self.pieces = pieces
        shape = (out_features * pieces, in_features)
        self._start(shape, bias, choose(init, "maxout"), False, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest piece of each unit."""
        return maxout(self._weighted_sum(x), self.pieces)


class Neuron(Weighted):
    """One unit: an activation of a weighted sum; `[…, in]` becomes `[…, 1]`.

    With `activation="step"` it is the perceptron, with `"sigmoid"` the sigmoid
    neuron, with `"identity"` linear regression. State: `weight [1, in]`, `bias [1]`.

    >>> unit = Neuron(2, activation="step")
    >>> unit.load_state_dict({"weight": [[1.0, 1.0]], "bias": [-1.5]})  # AND
    >>> unit(np.array([[0, 1], [1, 1]])).value.tolist()
    [[0.0], [1.0]]
    """

    def __init__(
        self,
        in_features: int,
        activation: str = "sigmoid",
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        positive(in_features=in_features)
        self._activate = activation
        activation_named(activation)
        self._start((1, in_features), True, choose(init, activation), False, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's activation."""
        return activation_named(self._activate)(self._weighted_sum(x))
