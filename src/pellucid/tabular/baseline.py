"""What a network must beat: a linear model of the same encoded features.

It learns from the same training part, so that what differs is the network. It is
fitted here: a small table is trained on in less time than importing a library takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

__all__ = ["linear_guess"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Loss: TypeAlias = Callable[[Array], tuple[float, Array]]
"""From outputs `[n, k]` to the loss, and its gradient in the same place."""

_WIDE = 2000
"""Of more features their products with each other are not held: they grow as n²."""
_STEPS, _MEMORY = 500, 10
_ENOUGH = 1e-8
"""The decrease a row that a step may still promise: class shares are then within 0.001
of the exact ones on the tables tried."""


def linear_guess(X: Array, y: Array, rows: Array) -> Array:
    """Predict by a model that is linear in the features.

    Logistic regression for class numbers, giving `[rows, classes]`; ridge regression
    for quantities, giving `[rows]`; both with a penalty of 1 on the squared weights,
    but for the bias (of two classes it is 1 on the difference of their weights).
    """
    # Threads that wait actively for each other cost more here than they bring.
    with threadpool_limits(1):
        if y.dtype.kind != "i":
            weights = _fitted(X, _squared(y), 1, curvature=1.0, penalty=1.0)
            return _outputs(rows, weights)[:, 0]
        classes = int(y.max()) + 1
        penalty = 2.0 if classes == 2 else 1.0
        # No second derivative of a cross-entropy is over 1/2: Böhning, 1992.
        weights = _fitted(X, _cross_entropy(y), classes, 0.5, penalty)
        shares = _outputs(rows, weights)
        _softmax(shares)
        return shares


def _outputs(X: Array, weights: Array) -> Array:
    used = weights.astype(X.dtype)
    outputs: Array = X @ used[:-1] + used[-1]
    return outputs


def _squared(y: Array) -> Loss:
    def loss(z: Array) -> tuple[float, Array]:
        z -= y[:, None]
        return 0.5 * float(np.vdot(z, z)), z

    return loss


def _cross_entropy(y: Array) -> Loss:
    each = np.arange(len(y))

    def loss(z: Array) -> tuple[float, Array]:
        right = z[each, y]
        logs = _softmax(z)
        z[each, y] -= 1
        return float((logs - right).sum(dtype=np.float64)), z

    return loss


def _softmax(z: Array) -> Array:
    """Make outputs shares where they are; return the logs of the sums."""
    top = z.max(axis=1, keepdims=True)
    z -= top
    np.exp(z, out=z)
    sums = z.sum(axis=1, keepdims=True)
    z /= sums
    logs: Array = (top + np.log(sums))[:, 0]
    return logs


def _fitted(X: Array, loss: Loss, k: int, curvature: float, penalty: float) -> Array:
    """Return the weights `[p + 1, k]`, the bias last, where a convex loss is least.

    L-BFGS (Nocedal & Wright, 7.4) that starts from a bound of the curvature in place
    of a multiple of 1: it needs a third of the steps.
    """
    penalties = np.append(np.full(X.shape[1], penalty), 0.0)
    begin = _preconditioner(X, curvature, penalties)

    def at(weights: Array) -> tuple[float, Array]:
        value, slope = loss(_outputs(X, weights))
        shrink = penalties[:, None] * weights
        gradient = np.append(X.T @ slope, slope.sum(axis=0)[None], axis=0) + shrink
        return value + 0.5 * float(np.vdot(shrink, weights)), gradient

    weights = np.zeros((X.shape[1] + 1, k))
    value, gradient = at(weights)
    past: list[_Step] = []
    for _ in range(_STEPS):
        step = -_direction(gradient, past, begin)
        promised = -float(np.vdot(step, gradient))
        while promised > _ENOUGH * len(X):
            lower, there = at(weights + step)
            if lower <= value - 1e-4 * promised:
                break
            step, promised = step / 2, promised / 2
        else:
            break
        taken = _Step(step, there - gradient)
        past = [*past, taken][-_MEMORY:] if taken.bend > 0 else past
        weights, value, gradient = weights + step, lower, there
    return weights


@dataclass(frozen=True)
class _Step:
    """A step taken, and how the gradient changed along it."""

    step: Array
    change: Array

    @cached_property
    def bend(self) -> float:
        return float(np.vdot(self.step, self.change))


def _direction(
    gradient: Array, past: list[_Step], begin: Callable[[Array], Array]
) -> Array:
    """Return the inverse curvature times the gradient, as far as it is known."""
    left, shares = gradient, []
    for each in reversed(past):
        share = float(np.vdot(each.step, left)) / each.bend
        left = left - share * each.change
        shares.append(share)
    found = begin(left)
    if past:
        change = past[-1].change
        found = found * (past[-1].bend / float(np.vdot(change, begin(change))))
    for each, share in zip(past, reversed(shares), strict=True):
        found = found + each.step * (share - np.vdot(each.change, found) / each.bend)
    return found


def _preconditioner(
    X: Array, curvature: float, penalties: Array
) -> Callable[[Array], Array]:
    """Return what multiplies by the inverse of a bound of the second derivatives.

    Of many features only by that of its diagonal.
    """
    if len(penalties) > _WIDE:
        squares = np.append(np.einsum("ij,ij->j", X, X), len(X))
        return lambda gradient: gradient / (curvature * squares + penalties)[:, None]
    sums = X.sum(axis=0)[:, None]
    products = np.block([[X.T @ X, sums], [sums.T, np.full((1, 1), len(X))]])
    inverse = np.linalg.inv(curvature * products.astype(float) + np.diag(penalties))
    return lambda gradient: inverse @ gradient
