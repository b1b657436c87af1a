"""The perceptron: units that say yes or no, and the rule by which they learn.

Sources:
    the unit and its rule   Rosenblatt, "The perceptron" (1958)
    the bound on mistakes   Novikoff, "On convergence proofs for perceptrons" (1962)
    weights that come back  Minsky and Papert, "Perceptrons" (1969), chapter 11
    the proof that no line separates  Gordan's theorem (1873)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.dtypes import DType
from pellucid.engines.choose import engine_named
from pellucid.engines.program import Program
from pellucid.errors import ArgumentError, DataError, ShapeError, message
from pellucid.functional import gate, scan, step
from pellucid.ir.graph import Array
from pellucid.ir.types import TensorType
from pellucid.nn.init import choose
from pellucid.nn.linear import Weighted, positive
from pellucid.tensors import Tensor
from pellucid.tracing import graph_of, symbol

__all__ = ["Perceptron", "PerceptronFit"]

_fire = gate(step, lambda inputs, outputs, grads: grads[0], "perceptron")
"""The step unit; backward it passes on what comes, as if it were the identity."""


class Perceptron(Weighted):
    """Units that are 1 where w·x + b ≥ 0, else 0: `[…, in]` becomes `[…, out]`.

    `fit` is Rosenblatt's rule: for one row after the other, add (target − output)·x
    to w and target − output to b. As a layer of a network it learns by the same rule:
    its backward pass lets the step, whose derivative is 0, pass as if it were the
    identity. So behind it the squared error and `SGD` with batches of one row are
    Rosenblatt's rule, and layers in front of it get a gradient, too (the
    straight-through estimator). The gradient checker, which knows derivatives only,
    calls that wrong. For the plain derivative there is `Neuron(activation="step")`.

    Args:
        in_features, out_features: the widths; each output is a perceptron of its own.
        init: an initialiser's name; `fit` starts from 0.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [out, in]`, `bias [out]`.

    >>> unit = Perceptron(2)
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> print(unit.fit(X, y))
    separated after 6 epochs and 11 mistakes; at most 135 by the margin 0.149
    >>> unit(np.array(X))[:, 0].value.tolist()
    [0.0, 0.0, 0.0, 1.0]
    >>> print(Perceptron(2).fit(X, [0, 1, 1, 0]))
    not separable: the weights came back, and the mistakes in between cancel out
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        positive(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        choice = choose(init, "step")
        self._start((out_features, in_features), True, choice, False, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 where w·x + b ≥ 0, else 0."""
        fired: Tensor = _fire(self._weighted_sum(x))
        return fired

    def fit(
        self, X: Any, y: Any, max_epochs: int = 1000, engine: str | None = None
    ) -> PerceptronFit:
        """Learn by Rosenblatt's rule, from weights of 0, until no row is wrong.

        Rows are taken in their order. It also ends where the weights come back to
        what they were: then it would go on for ever.

        Args:
            X: `[n, in]`.
            y: `[n]` or `[n, out]`, of 0 and 1 or of −1 and 1.
            max_epochs: the most passes over the rows.
            engine: the name of an engine; the configured one by default.

        Raises `DataError` for other targets and for numbers that are not finite.
        """
        positive(max_epochs=max_epochs)
        rows, targets = self._data(X, y)
        assert self.bias is not None
        teacher = _Teacher(rows, targets, engine)
        found = teacher.teach(max_epochs)
        self.weight.value, self.bias.value = found.weight, found.bias
        return teacher.report(found)

    def _data(self, X: Any, y: Any) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(X, self.weight.dtype)
        if rows.ndim != 2 or rows.shape[1] != self.in_features or not len(rows):
            raise ShapeError(
                message(
                    f"X has shape {rows.shape}",
                    expected=f"expected rows of {self.in_features} features",
                )
            )
        if not np.isfinite(rows).all():
            raise DataError("X holds a NaN, an infinity, or a number beyond its dtype")
        given = np.asarray(y)
        if given.ndim == 1:
            given = given.reshape(-1, 1)
        if given.shape != (len(rows), self.out_features):
            raise ShapeError(
                message(
                    f"y has shape {np.shape(y)}",
                    expected=f"expected {len(rows)} rows of {self.out_features}",
                )
            )
        return rows, _yes_or_no(given).astype(rows.dtype)


def _yes_or_no(given: Array) -> Array:
    values = set(np.unique(given).tolist())
    if not (values <= {0, 1} or values <= {-1, 1}):
        shown = ", ".join(map(str, sorted(values)[:5]))
        raise DataError(
            message(
                f"y holds {shown}",
                expected="expected 0 and 1, or -1 and 1",
                hint="a unit a class: y = labels.reshape(-1, 1) == classes",
            )
        )
    return given > 0


# --- what came of it -------------------------------------------------------------


@dataclass(frozen=True)
class PerceptronFit:
    """How learning went. Lengths are those of (x, 1): a row and the bias's input.

    `largest_margin` is a bound: no plane separates the rows by more. Each mistake
    adds at least the margin to the length of the weights, so it is at most that
    length divided by the mistakes.
    """

    converged: bool
    """Whether the last pass over the rows made no mistake."""
    epochs: int
    mistakes: tuple[int, ...]
    """The mistakes of each epoch, over all units."""
    units: int
    radius: float
    """The length of the longest row."""
    margin: float
    """The least distance of a row from a unit's plane, when that is moved to the middle
    between its classes; 0 where a row is wrong."""
    largest_margin: float
    proof: str
    """Why no plane separates the rows, where that is certain."""

    @property
    def total_mistakes(self) -> int:
        """The mistakes of all epochs: the number of changes of the weights."""
        return sum(self.mistakes)

    def bound(self, margin: float | None = None) -> float:
        """Return the most mistakes, (radius / margin)² for each unit.

        That holds for every margin by which the rows can be separated; the one that
        was reached is taken by default.
        """
        least = self.margin if margin is None else margin
        if margin is not None and not margin > 0:
            raise ArgumentError(f"a margin is above 0, not {margin!r}")
        return self.units * (self.radius / least) ** 2 if least else math.inf

    def __str__(self) -> str:
        if self.proof:
            return f"not separable: {self.proof}"
        if not self.converged:
            return (
                f"not separated in {self.epochs} epochs and {self.total_mistakes} "
                f"mistakes; a margin could be {self.largest_margin:.3g} at most, of "
                f"rows as long as {self.radius:.3g}"
            )
        return (
            f"separated after {self.epochs} epochs and {self.total_mistakes} mistakes; "
            f"at most {self.bound():.3g} by the margin {self.margin:.3g}"
        )


# --- the rule --------------------------------------------------------------------


@dataclass(frozen=True)
class _Learned:
    """Weights, and the mistakes of each epoch and of each unit so far."""

    weight: Array
    bias: Array
    mistakes: tuple[int, ...] = ()
    of_unit: Any = 0
    cycle: int = 0
    """After how many epochs the weights came back to themselves; 0: they did not."""


class _Teacher:
    """Runs the rule over rows and targets, an epoch at a time, as one program."""

    def __init__(self, rows: Array, targets: Array, engine: str | None) -> None:
        self.rows, self.targets = rows, targets
        self._program = _epoch(rows, targets, engine)

    def pass_over(self, weight: Array, bias: Array) -> tuple[Array, Array, Array]:
        """Return weights and bias after an epoch, and target − output of each row."""
        weight, bias, missed = self._program(weight, bias, self.rows, self.targets)
        return np.array(weight), np.array(bias), np.array(missed)

    def teach(self, epochs: int) -> _Learned:
        units, features = self.targets.shape[1], self.rows.shape[1]
        dtype = self.rows.dtype
        found = _Learned(np.zeros((units, features), dtype), np.zeros(units, dtype))
        seen: dict[bytes, int] = {}
        for epoch in range(epochs):
            weight, bias, missed = self.pass_over(found.weight, found.bias)
            each = np.count_nonzero(missed, axis=0)
            state = weight.tobytes() + bias.tobytes()
            mistakes, of_unit = (*found.mistakes, int(each.sum())), found.of_unit + each
            cycle = epoch - seen[state] if each.any() and state in seen else 0
            found = _Learned(weight, bias, mistakes, of_unit, cycle)
            if cycle or not each.any():
                break
            seen[state] = epoch
        return found

    def report(self, found: _Learned) -> PerceptronFit:
        """Say what came of it, with the reason where no plane can separate."""
        converged = found.mistakes[-1] == 0
        lengths = np.sqrt((self._with_one() ** 2).sum(1))
        return PerceptronFit(
            converged,
            len(found.mistakes),
            found.mistakes,
            self.targets.shape[1],
            float(lengths.max()),
            self._margin(found) if converged else 0.0,
            _largest_margin(found),
            "" if converged else self._proof(found),
        )

    def _with_one(self) -> Array:
        return np.column_stack([self.rows, np.ones(len(self.rows))]).astype(np.float64)

    def _margin(self, found: _Learned) -> float:
        """Return the least margin of the planes, each moved to between its classes."""
        x, units = self._with_one(), range(self.targets.shape[1])
        planes = np.column_stack([found.weight, found.bias]).astype(np.float64)
        return min(_gap(x, planes[i], self.targets[:, i] > 0) for i in units)

    # --- why not ---

    def _proof(self, found: _Learned) -> str:
        return self._twins() or self._cancelled(found)

    def _twins(self) -> str:
        """Name two equal rows of different targets."""
        _, number = np.unique(self.rows, axis=0, return_inverse=True)
        number = number.reshape(-1)
        order = np.argsort(number, kind="stable")
        same = number[order[1:]] == number[order[:-1]]
        differ = (self.targets[order[1:]] != self.targets[order[:-1]]).any(1)
        clash = np.flatnonzero(same & differ)
        if not len(clash):
            return ""
        first, second = order[clash[0]], order[clash[0] + 1]
        return f"rows {first} and {second} are equal and of different targets"

    def _cancelled(self, found: _Learned) -> str:
        """Say whether the rows, each times its mistakes in a cycle, sum to 0 exactly.

        By Gordan's theorem no plane separates then: all terms would lie on one side.
        """
        if not found.cycle:
            return ""
        weight, bias, total = found.weight, found.bias, np.zeros(self.targets.shape)
        for _ in range(found.cycle):
            weight, bias, missed = self.pass_over(weight, bias)
            total += missed
        for factors in total.T:
            if factors.any() and _sums_to_zero(factors, self._with_one()):
                return "the weights came back, and the mistakes in between cancel out"
        return ""


def _gap(x: Array, plane: Array, above: Array) -> float:
    """Return the distance of both classes from the plane in the middle of them."""
    if above.all() or not above.any():
        return 1.0  # the plane that has the origin alone on its other side
    heights = x @ plane
    low, high = heights[~above].max(), heights[above].min()
    moved = np.array(plane)
    moved[-1] -= (low + high) / 2
    return max(0.0, float((high - low) / 2 / np.sqrt(moved @ moved)))


def _sums_to_zero(factors: Array, rows: Array) -> bool:
    """Return whether Σ factor · row is exactly 0; factors are whole, below 2²⁴."""
    high = rows.astype(np.float32).astype(np.float64)
    parts = np.concatenate([high, rows - high])  # each product with a factor is exact
    products = np.concatenate([factors, factors])[:, None] * parts
    return all(math.fsum(column) == 0.0 for column in products.T)


def _largest_margin(found: _Learned) -> float:
    planes = np.column_stack([found.weight, found.bias]).astype(np.float64)
    length, mistakes = np.sqrt((planes**2).sum(1)), found.of_unit
    wrong = mistakes > 0
    return float((length[wrong] / mistakes[wrong]).min()) if wrong.any() else math.inf


def _epoch(rows: Array, targets: Array, engine: str | None) -> Program:
    """Compile a pass over the rows: one scan, which carries weights and biases."""
    units, features = targets.shape[1], rows.shape[1]
    shapes = [(units, features), (units,), rows.shape, targets.shape]
    weight, bias, x, t = inputs = [
        symbol(TensorType(shape, rows.dtype), name)
        for shape, name in zip(shapes, ("weight", "bias", "x", "target"))
    ]

    def learn(carry: Any, row: Any) -> Any:
        (w, b), (x, t) = carry, row
        missed = t - step((w * x).sum(1) + b)
        return (w + missed.reshape(units, 1) * x, b + missed), missed

    (new_weight, new_bias), missed = scan(learn, (weight, bias), (x, t))
    graph = graph_of(inputs, [new_weight, new_bias, missed])
    return engine_named(engine).compile(graph)
