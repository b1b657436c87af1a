"""Recurrent units, their weights, and one step: `RNNCell`, `LSTMCell`, `GRUCell`.

A unit is a row of a table: how many gates it has, how many parts its state, how its
biases are shared out, and its step in `functional`. Layers over time stand on the
same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float, promote
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional import gru_step, lstm_step, rnn_step
from pellucid.ir.graph import Array, fill
from pellucid.ir.types import Shape, TensorType
from pellucid.nn.init import orthogonal, xavier_uniform
from pellucid.nn.linear import positive
from pellucid.nn.module import Module
from pellucid.random import fold_in, next_key
from pellucid.tensors import Parameter, Tensor, apply, as_tensor, tensor

__all__ = [
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "Unit",
    "simple_unit",
    "unit_named",
]

State: TypeAlias = tuple[Tensor, ...]


class Weights(NamedTuple):
    """The weights of one unit: from the input, from the state, the biases; and what
    makes the state that is shown narrower, if anything.
    """

    input: Tensor
    hidden: Tensor
    bias_input: Tensor | None
    bias_hidden: Tensor | None
    projection: Tensor | None = None

    def astype(self, dtype: Any) -> Weights:
        """Return the weights in another dtype."""
        there = {name: x for name, x in self._asdict().items() if x is not None}
        return self._replace(**{name: x.astype(dtype) for name, x in there.items()})


@dataclass(frozen=True)
class Unit:
    """A kind of recurrent unit.

    `step(sums, state, weight_hh, bias, real)` is its formula. `inside` are the gates
    whose second bias stands inside of the formula: it is given to the step.
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    step: Callable[..., State]
    inside: tuple[str, ...] = ()

    def sums(self, x: Tensor, weights: Weights) -> Tensor:
        """Return what enters the gates from outside of the loop, `[…, gates · hidden]`.

        One product, however many time steps x has.
        """
        axes = ((x.ndim - 1,), (1,))
        sums = apply("dot", x, weights.input, contract=axes, batch=((), ()))
        first, second = weights.bias_input, weights.bias_hidden
        if first is None or second is None:
            return sums
        if not self.inside:
            return sums + (first + second)
        outside = np.array([gate not in self.inside for gate in self.gates])
        width = second.shape[0] // len(self.gates)
        return sums + (first + second * tensor(np.repeat(outside, width)))

    def stepper(self, weights: Weights) -> Callable[..., State]:
        """Return the step with its weights bound: of sums, state and what counts."""
        bias = weights.bias_hidden
        bound: dict[str, Any] = {"weight_hh": weights.hidden}
        if weights.projection is not None:
            bound["weight_hr"] = weights.projection
        if bias is not None and self.inside:
            width = bias.shape[0] // len(self.gates)
            at = self.gates.index(self.inside[0]) * width
            bound["bias"] = bias[at : at + width]
        return lambda sums, state, real: self.step(sums, state, real=real, **bound)


_UNITS = {
    "tanh": Unit(("hidden",), ("hidden",), rnn_step),
    "relu": Unit(("hidden",), ("hidden",), partial(rnn_step, activation="relu")),
    "lstm": Unit(("input", "forget", "cell", "output"), ("hidden", "cell"), lstm_step),
    "gru": Unit(("reset", "update", "new"), ("hidden",), gru_step, ("new",)),
}
_SIMPLE = ("tanh", "relu")


def unit_named(name: str) -> Unit:
    """Return the unit of a name; a simple one has that of its nonlinearity.

    >>> unit_named("gru").gates
    ('reset', 'update', 'new')
    """
    return _UNITS[name]


def simple_unit(nonlinearity: str) -> Unit:
    """Return the simple unit with a nonlinearity.

    >>> simple_unit("relu").gates
    ('hidden',)
    """
    if nonlinearity not in _SIMPLE:
        hint = did_you_mean(nonlinearity, _SIMPLE)
        if nonlinearity in _UNITS:
            hint = f"there is nn.{nonlinearity.upper()}"
        raise ArgumentError(
            message(
                f"no nonlinearity {nonlinearity!r}",
                expected=f"expected {' or '.join(_SIMPLE)}",
                hint=hint,
            )
        )
    return _UNITS[nonlinearity]


# --- what cells and layers share -------------------------------------------------


class Recurrent(Module):
    """A module of recurrent units: draws their weights and checks their states."""

    unit: Unit
    proj_size: int = 0
    """How wide the state is that is shown; 0: as wide as the others."""

    def _start(
        self, unit: Unit, input_size: int, hidden_size: int, bias: bool, dtype: Any
    ) -> None:
        positive(input_size=input_size, hidden_size=hidden_size)
        target = as_dtype(dtype or current().dtype)
        if not is_float(target):
            raise ArgumentError(f"weights are f32 or f64, not {target}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.bias = bool(bias)
        self.unit = unit
        self._key, self._drawn, self._first_dtype = next_key(), 0, target

    def _add_weights(self, width: int, suffix: str = "") -> None:
        """Draw the weights of a unit that reads an input of this width."""
        hidden = self.hidden_size
        for name, shape, draw in (
            ("weight_ih", (hidden, width), xavier_uniform),
            ("weight_hh", (hidden, self._width), orthogonal),
        ):
            setattr(self, name + suffix, Parameter(self._per_gate(draw, shape)))
        for name in ("bias_ih", "bias_hh"):
            start = self._first_bias(name) if self.bias else None
            setattr(self, name + suffix, start)
        if self.proj_size:
            drawn = self._draw(xavier_uniform, (self.proj_size, hidden))
            setattr(self, "weight_hr" + suffix, Parameter(drawn))

    @property
    def _width(self) -> int:
        """The width of the hidden state, which is shown."""
        return self.proj_size or self.hidden_size

    def _per_gate(self, draw: Callable[..., Tensor], shape: Shape) -> Array:
        return np.concatenate([self._draw(draw, shape) for _ in self.unit.gates])

    def _draw(self, draw: Callable[..., Tensor], shape: Shape) -> Array:
        key = fold_in(self._key, self._drawn)
        self._drawn += 1
        return draw(key, shape, self._first_dtype).value

    def _first_bias(self, name: str) -> Parameter:
        ones = [gate == "forget" and name == "bias_ih" for gate in self.unit.gates]
        return Parameter(np.repeat(ones, self.hidden_size).astype(self._first_dtype))

    @property
    def initialised(self) -> str:
        """The initialisers, and why they were chosen."""
        said = "xavier_uniform and orthogonal by gate, so that states keep their size"
        if self.bias and "forget" in self.unit.gates:
            said += "; forget bias 1, so that cells remember at first"
        return said

    def _weights(self, suffix: str = "") -> Weights:
        names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
        names += ["weight_hr"] * bool(self.proj_size)
        return Weights(*(getattr(self, name + suffix) for name in names))

    @staticmethod
    def _alike(x: Tensor, weights: Weights) -> tuple[Tensor, Weights]:
        """Return the input and the weights in the dtype in which they meet."""
        dtype = promote(x.dtype, weights.input.dtype)
        return x.astype(dtype), weights.astype(dtype)

    def _check_input(self, x: Tensor, ranks: dict[int, str]) -> None:
        if x.ndim not in ranks:
            expected = " or ".join(f"[{each}]" for each in ranks.values())
            raise ShapeError(message(f"got {x.type}", expected=f"expected {expected}"))
        if x.shape[-1] != self.input_size:
            raise ShapeError(
                message(
                    f"got features of width {x.shape[-1]}, expected {self.input_size}",
                    hint="check the last axis of the input, or the layer's input_size",
                )
            )

    def _given_state(self, hx: Any, lead: Shape, like: Tensor) -> State:
        """Return the state that was given, `[*lead, width]`, checked; else zeros."""
        names = self.unit.states
        shapes = [(*lead, self._state_width(name)) for name in names]
        if hx is None:
            return tuple(_zeros(shape, like) for shape in shapes)
        parts = tuple(hx) if isinstance(hx, list | tuple) else (hx,)
        if len(parts) != len(names):
            form = "(h, c)" if len(names) == 2 else "h"
            raise ArgumentError(
                message(
                    f"the state given has the length {len(parts)}",
                    expected=f"expected {form}",
                )
            )
        state = tuple(as_tensor(each) for each in parts)
        for name, each, shape in zip(names, state, shapes):
            if each.shape != shape:
                raise ShapeError(
                    message(
                        f"the {name} state given is {each.type}",
                        expected=f"expected shape {list(shape)}",
                    )
                )
        return tuple(each.astype(like.dtype) for each in state)

    def _state_width(self, name: str) -> int:
        return self._width if name == "hidden" else self.hidden_size


def _zeros(shape: Shape, like: Tensor) -> Tensor:
    """Return zeros; beside a symbol, as a gate and not as a literal of that size."""
    if like.has_value:
        return tensor(np.zeros(shape, like.dtype))
    return Tensor(fill(0.0, TensorType(shape, like.dtype)))


# --- cells -----------------------------------------------------------------------


class _Cell(Recurrent):
    def _step(self, x: Tensor, hx: Any) -> State:
        width = self.input_size
        self._check_input(x, {2: f"batch, {width}", 1: f"{width}"})
        rows = x.reshape(1, -1) if x.ndim == 1 else x
        rows, weights = self._alike(rows, self._weights())
        sums = self.unit.sums(rows, weights)
        lead = x.shape[:-1]
        state = self._given_state(hx, lead, sums)
        rows_of = tuple(each.reshape(-1, self.hidden_size) for each in state)
        after = self.unit.stepper(weights)(sums, rows_of, None)
        return tuple(each.reshape(*lead, self.hidden_size) for each in after)


class RNNCell(_Cell):
    """One step of a simple recurrent unit: h′ = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh).

    Args:
        input_size, hidden_size: the widths of x and of h.
        bias: whether the two biases are there; they start at 0.
        nonlinearity: `tanh` or `relu`.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `cell(x, h=0)` with x `[batch, input]` or `[input]`; returns h′.
    State: `weight_ih [hidden, input]`, `weight_hh [hidden, hidden]`, `bias_ih`,
    `bias_hh [hidden]`, as in PyTorch. Source: Elman, "Finding structure in time"
    (1990).

    >>> cell = RNNCell(3, 4)
    >>> h = cell(np.zeros((2, 3), np.float32))
    >>> h.shape, cell(np.ones((2, 3), np.float32), h).shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DType | str | None = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        self._start(simple_unit(nonlinearity), input_size, hidden_size, bias, dtype)
        self._add_weights(input_size)

    def forward(self, x: Tensor, hx: Any = None) -> Tensor:
        """Return the next hidden state."""
        return self._step(x, hx)[0]


class LSTMCell(_Cell):
    """One step of long short-term memory.

    i, f, o = σ(·), g = tanh(·) of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh;
    c′ = f c + i g; h′ = o tanh(c′).

    Args:
        input_size, hidden_size: the widths of x and of h and c.
        bias: whether the two biases are there; they start at 0, that of the forget
            gate at 1.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `cell(x, (h, c)=zeros)` with x `[batch, input]` or `[input]`; returns
    `(h′, c′)`. State: `weight_ih [4 · hidden, input]`, `weight_hh [4 · hidden,
    hidden]`, `bias_ih`, `bias_hh [4 · hidden]`, gates in the order i, f, g, o, as in
    PyTorch. Sources: Hochreiter and Schmidhuber, "Long short-term memory" (1997);
    Gers, Schmidhuber and Cummins, "Learning to forget" (2000); for the forget bias
    Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network
    architectures" (2015).

    >>> h, c = LSTMCell(3, 4)(np.zeros((2, 3), np.float32))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        self._start(unit_named("lstm"), input_size, hidden_size, bias, dtype)
        self._add_weights(input_size)

    def forward(self, x: Tensor, hx: Any = None) -> State:
        """Return the next hidden and cell state."""
        return self._step(x, hx)


class GRUCell(_Cell):
    """One step of a gated recurrent unit.

    r, z = σ(·) of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh; n = tanh(x W_inᵀ + b_in +
    r (h W_hnᵀ + b_hn)); h′ = (1 − z) n + z h.

    Args:
        input_size, hidden_size: the widths of x and of h.
        bias: whether the two biases are there; they start at 0.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `cell(x, h=0)` with x `[batch, input]` or `[input]`; returns h′.
    State: `weight_ih [3 · hidden, input]`, `weight_hh [3 · hidden, hidden]`,
    `bias_ih`, `bias_hh [3 · hidden]`, gates in the order r, z, n, as in PyTorch.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder"
    (2014).

    >>> GRUCell(3, 4)(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        self._start(unit_named("gru"), input_size, hidden_size, bias, dtype)
        self._add_weights(input_size)

    def forward(self, x: Tensor, hx: Any = None) -> Tensor:
        """Return the next hidden state."""
        return self._step(x, hx)[0]
