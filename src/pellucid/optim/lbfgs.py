"""L-BFGS: Newton's direction from the last few steps, for the whole batch.

All parameters are one vector here. The history is kept newest first in rows that
move by one at each step; rows not yet filled are 0 and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.dtypes import promote
from pellucid.optim.base import (
    Context,
    Tensors,
    Transform,
    apply_updates,
    chain,
    declared,
)
from pellucid.optim.gradient import scale_by_learning_rate
from pellucid.optim.schedules import Rate
from pellucid.tensors import Tensor, TensorLike, apply, apply_many, meet, tensor
from pellucid.tracing import trace

__all__ = ["LBFGS", "backtracking", "scale_by_lbfgs"]

_LENGTHS = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 32, 1 / 128, 1 / 1024)
"""The shares of a step that a line search tries, each a pass forward."""
_ARMIJO = 1e-4
"""The share of the promised decrease that is enough: Nocedal & Wright, 3.1."""


def _vector(tensors: Tensors) -> Tensor:
    """Join tensors into one vector of the widest dtype."""
    dtype = np.dtype(np.float32)
    for each in tensors.values():
        dtype = promote(dtype, each.dtype)
    parts = [each.reshape(-1).astype(dtype) for each in tensors.values()]
    return apply("concat", *parts, axis=0)


def _parts(vector: Tensor, like: Tensors) -> Tensors:
    """Cut a vector into tensors of the shapes and dtypes of others."""
    parts, start = {}, 0
    for name, each in like.items():
        part = vector[start : start + each.size]
        parts[name] = part.reshape(each.shape).astype(each.dtype)
        start += each.size
    return parts


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum()


def _where(condition: Tensor, x: TensorLike, y: TensorLike) -> Tensor:
    return apply("where", condition, *meet(x, y))


# --- the direction ---------------------------------------------------------------


def _newest_first(
    q: Tensor, s: Tensor, y: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    share = weight * _dot(s, q)
    return q - share * y, share


def _oldest_first(
    r: Tensor, s: Tensor, y: Tensor, weight: Tensor, share: Tensor
) -> Tensor:
    return r + (share - weight * _dot(y, r)) * s


def _loop(
    body: Callable[..., Any], carry: Tensor, *rows: Tensor, reverse: bool = False
) -> tuple[Tensor, ...]:
    each = [row.type.with_shape(row.shape[1:]) for row in rows]
    return apply_many(
        "scan",
        carry,
        *rows,
        body=trace(body, carry.type, *each),
        consts=0,
        carries=1,
        length=rows[0].shape[0],
        reverse=reverse,
        keep="all",
    )


def _direction(gradient: Tensor, state: Tensors) -> Tensor:
    """Multiply by the inverse Hessian that the history tells: the two loops."""
    rows = state["s"], state["y"], state["weight"]
    q, shares = _loop(_newest_first, gradient, *rows)
    return _loop(_oldest_first, state["scale"] * q, *rows, shares, reverse=True)[0]


def _pushed(rows: Tensor, row: Tensor) -> Tensor:
    """Put a row in front and let the last go."""
    return apply("concat", row.reshape(1, *row.shape), rows[:-1], axis=0)


def _remembered(state: Tensors, x: Tensor, g: Tensor, step: Tensor) -> Tensors:
    """Add the last step to the history, unless the loss curves downwards along it."""
    begun = (step > 0).astype(x.dtype)
    s, y = (x - state["x"]) * begun, (g - state["g"]) * begun
    curvature = _dot(s, y)
    convex = curvature > 0
    newton = _where(convex, curvature / _where(convex, _dot(y, y), 1.0), state["scale"])
    careful = apply("minimum", *meet(1.0 / apply("sqrt", _dot(g, g)), 1.0))
    return {
        "x": x,
        "g": g,
        "s": _pushed(state["s"], s),
        "y": _pushed(state["y"], y),
        "weight": _pushed(
            state["weight"], _where(convex, 1.0 / _where(convex, curvature, 1.0), 0.0)
        ),
        "scale": _where(step > 0, newton, careful),
    }


@declared
def scale_by_lbfgs(history_size: int = 10) -> Transform:
    """Multiply the gradient by an estimate of the inverse Hessian.

    The estimate starts from a multiple of the identity: sᵀy / yᵀy of the last step,
    at first min(1, 1 / ‖g‖). Equals optax's while sᵀy > 0. A step without curvature
    is left out, so the estimate stays positive and the direction leads downhill.
    Source: Nocedal & Wright, "Numerical Optimization", algorithm 7.4.
    """

    def init(params: Tensors) -> Tensors:
        x = _vector(params)
        nothing, rows = np.zeros(x.shape, x.dtype), (history_size, x.size)
        return {
            "x": tensor(nothing),
            "g": tensor(nothing),
            "s": tensor(np.zeros(rows, x.dtype)),
            "y": tensor(np.zeros(rows, x.dtype)),
            "weight": tensor(np.zeros(history_size, x.dtype)),
            "scale": tensor(np.ones((), x.dtype)),
        }

    def update(context: Context) -> tuple[Tensors, Tensors]:
        x, g = _vector(context.params), _vector(context.grads)
        state = _remembered(context.state, x, g, context.step)
        return _parts(_direction(g, state), context.params), state

    return Transform(init, update)


# --- the length ------------------------------------------------------------------


@declared
def backtracking(optimiser: Transform) -> Transform:
    """Take the longest share of an optimiser's step that lowers the loss enough.

    Enough is Armijo's rule: loss(p + k·u) ≤ loss(p) + 10⁻⁴·k·gᵀu. It tries
    seven shares k from 1 to 1/1024; where none is enough, the step is 0. What comes in
    has to be the gradient of the loss. Source: Nocedal & Wright, section 3.1.
    """

    def update(context: Context) -> tuple[Tensors, Any]:
        steps, state = optimiser.update(context)
        slope = _dot(_vector(context.grads), _vector(steps))
        share = slope * 0.0
        for length in reversed(_LENGTHS):
            tried = {name: u * length for name, u in steps.items()}
            loss = context.loss_of(apply_updates(context.params, tried))
            enough = loss <= context.loss + _ARMIJO * length * slope
            share = _where(enough, length, share)
        return {name: u * share.astype(u.dtype) for name, u in steps.items()}, state

    return replace(optimiser, update=update)


@declared
def LBFGS(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1.0, history_size: int = 10, line_search: str | None = "backtracking"
) -> Transform:
    """Newton's method without a Hessian. The batch has to be the whole data.

    `line_search` is "backtracking", or None for steps of `lr` whatever comes; that
    equals optax's `lbfgs(lr, linesearch=None)`. The line search costs seven passes
    forward a step.

    >>> LBFGS(history_size=5)
    LBFGS(lr=1.0, history_size=5, line_search='backtracking')
    """
    steps = chain(scale_by_lbfgs(history_size), scale_by_learning_rate(lr))
    return backtracking(steps) if line_search else steps
