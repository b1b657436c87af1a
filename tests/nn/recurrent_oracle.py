"""Recurrent layers written plainly in JAX, or NumPy, from a state dict."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

State = tuple[Any, ...]


def of(x: Any) -> Any:
    """Return the library of an array: NumPy compiles nothing, JAX has gradients."""
    return np if isinstance(x, np.ndarray) else jnp


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + of(x).exp(-x))


def rnn(x: Any, state: State, w: Any, u: Any, b: Any, c: Any) -> State:
    return (of(x).tanh(x @ w.T + b + state[0] @ u.T + c),)


def relu(x: Any, state: State, w: Any, u: Any, b: Any, c: Any) -> State:
    return (of(x).maximum(x @ w.T + b + state[0] @ u.T + c, 0.0),)


def lstm(x: Any, state: State, w: Any, u: Any, b: Any, c: Any, p: Any = None) -> State:
    hidden, cell = state
    i, f, g, o = of(x).split(x @ w.T + b + hidden @ u.T + c, 4, -1)
    cell = sigmoid(f) * cell + sigmoid(i) * of(x).tanh(g)
    shown = sigmoid(o) * of(x).tanh(cell)
    return shown if p is None else shown @ p.T, cell


def gru(x: Any, state: State, w: Any, u: Any, b: Any, c: Any) -> State:
    (hidden,) = state
    r, z, n = of(x).split(x @ w.T + b, 3, -1)
    s, y, m = of(x).split(hidden @ u.T + c, 3, -1)
    r, z = sigmoid(r + s), sigmoid(z + y)
    return ((1 - z) * of(x).tanh(n + r * m) + z * hidden,)


STEPS = {"tanh": rnn, "relu": relu, "lstm": lstm, "gru": gru}


def one_way(
    step: Any, weights: State, xs: Any, state: State, reverse: bool
) -> tuple[Any, State]:
    outputs = []
    for x in xs[::-1] if reverse else xs:
        state = step(x, state, *weights)
        outputs.append(state[0])
    return of(xs).stack(outputs[::-1] if reverse else outputs), state


def layers(
    kind: str, params: dict[str, Any], xs: Any, first: State
) -> tuple[Any, list[State]]:
    """Run `[time, …, input]` from the state `[layers · directions, …, hidden]`.

    Returns the outputs `[time, …, directions · hidden]` and the last states.
    """
    ends: list[State] = []
    layer = 0
    while f"weight_ih_l{layer}" in params:
        found = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse"):
            if f"weight_ih{suffix}" not in params:
                continue
            zeros = of(xs).zeros(params[f"weight_ih{suffix}"].shape[0])
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = tuple(params.get(name + suffix, zeros) for name in names)
            if f"weight_hr{suffix}" in params:
                weights = (*weights, params[f"weight_hr{suffix}"])
            state = tuple(part[len(ends)] for part in first)
            reverse = suffix.endswith("reverse")
            outputs, end = one_way(STEPS[kind], weights, xs, state, reverse)
            found.append(outputs)
            ends.append(end)
        xs = of(xs).concatenate(found, -1)
        layer += 1
    return xs, ends
