"""Small problems, and three ways to run an optimiser on them: ours, compiled, optax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pellucid import tree
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.optim import Context, Transform, apply_updates
from pellucid.tensors import Tensor, apply, apply_many, as_tensor, grad, tensor
from pellucid.tracing import trace

Arrays = dict[str, np.ndarray]
GATES = SimpleNamespace(
    exp=lambda x: apply("exp", x),
    log=lambda x: apply("log", x),
    tanh=lambda x: apply("tanh", x),
)


@dataclass(frozen=True)
class Problem:
    """A loss of parameters, written for any array library, and where to start."""

    loss: Callable[[Any, dict[str, Any]], Any]
    start: Arrays

    def ours(self, params: dict[str, Tensor]) -> Tensor:
        return as_tensor(self.loss(GATES, params))

    def theirs(self, params: dict[str, Any]) -> Any:
        return self.loss(jnp, params)


_draw = np.random.default_rng(7)
_X = _draw.normal(size=(12, 3))
_Y = _X @ _draw.normal(size=(3, 2)) + 0.1 * _draw.normal(size=(12, 2))
_SIGNS = np.sign(_X @ np.array([1.0, -2.0, 0.5]) + 0.3 * _draw.normal(size=12))
_SCALES = np.array([[1.0, 3.0, 9.0], [0.5, 2.0, 5.0]])


def _quadratic(_: Any, p: dict[str, Any]) -> Any:
    pulled = (_SCALES * (p["matrix"] - 1.0) ** 2.0).sum() + (p["vector"] ** 2.0).sum()
    return pulled + 2.0 * (p["scalar"] + p["vector"].sum() - 1.0) ** 2.0


def _rosenbrock(_: Any, p: dict[str, Any]) -> Any:
    valley = p["vector"] - p["matrix"] ** 2.0
    mouth = (1.0 - p["matrix"]) ** 2.0
    return (5.0 * valley**2.0 + mouth).sum() + (p["scalar"] - p["vector"]).sum() ** 2.0


def _network(xp: Any, p: dict[str, Any]) -> Any:
    hidden = xp.tanh(_X.astype(p["in.weight"].dtype) @ p["in.weight"].T + p["in.bias"])
    error = hidden @ p["out.weight"].T * p["gain"] - _Y.astype(p["gain"].dtype)
    return (error**2.0).sum() / 12.0


def _logistic(xp: Any, p: dict[str, Any]) -> Any:
    score = _X.astype(p["bias"].dtype) @ p["weight"].T + p["bias"]
    margin = score.sum(1) * _SIGNS.astype(p["bias"].dtype)
    return xp.log(1.0 + xp.exp(-margin)).sum() + 0.05 * (p["weight"] ** 2.0).sum()


def _start(**shapes: tuple[int, ...]) -> Arrays:
    draw = np.random.default_rng(3)
    return {name: 0.6 * draw.normal(size=shape) for name, shape in shapes.items()}


PROBLEMS = {
    "quadratic": Problem(_quadratic, _start(matrix=(2, 3), vector=(4,), scalar=())),
    "rosenbrock": Problem(_rosenbrock, _start(matrix=(2, 3), vector=(3,), scalar=())),
    "network": Problem(
        _network,
        _start(**{"in.weight": (4, 3), "in.bias": (4,), "out.weight": (2, 4)}, gain=()),
    ),
    "logistic": Problem(_logistic, _start(weight=(1, 3), bias=())),
}


@dataclass(frozen=True)
class Run:
    """The parameters after each step, the loss before each, and the last state."""

    params: list[Arrays]
    losses: list[float]
    state: Any


def run_ours(
    optimiser: Transform, problem: Problem, steps: int, dtype: Any = np.float64
) -> Run:
    """Step at the prompt; each step is an epoch, and monitors the loss before it."""
    values = {name: tensor(each.astype(dtype)) for name, each in problem.start.items()}
    state, found, losses = optimiser.init(values), [], [np.nan]
    for step in range(steps):
        leaves = {k: tensor(v.value, requires_grad=True) for k, v in values.items()}
        loss = problem.ours(leaves)
        context = Context.of(
            leaves,
            dict(zip(leaves, grad(loss, list(leaves.values())))),
            state,
            step,
            loss=loss,
            epoch=step,
            monitor=np.asarray(losses[-1], dtype),
            loss_of=problem.ours,
        )
        updates, state = optimiser.update(context)
        values = apply_updates(values, updates)
        found.append({name: each.value for name, each in values.items()})
        losses.append(loss.item())
    return Run(found, losses[1:], tree.map_leaves(np.asarray, state))


def run_compiled(
    optimiser: Transform, problem: Problem, steps: int, dtype: Any = np.float64
) -> Run:
    """Step inside one graph, a scan, that the numpy engine runs."""
    values = {name: tensor(each.astype(dtype)) for name, each in problem.start.items()}
    monitor = tensor(np.asarray(np.nan, dtype))
    start = (values, optimiser.init(values), tensor(0, "i32"), monitor)

    def body(*leaves: Tensor) -> list[Tensor]:
        params, state, step, monitor = tree.unflatten(start, leaves)
        loss = problem.ours(params)
        grads = dict(zip(params, grad(loss, list(params.values()))))
        updates, state = optimiser.update(
            Context(grads, params, state, step, loss, step, monitor, problem.ours)
        )
        params = apply_updates(params, updates)
        after = tree.leaves((params, state, step + 1, loss))
        return [*after, loss, *params.values()]

    types = [leaf.type for leaf in tree.leaves(start)]
    graph = _scan(trace(body, *types), types, steps)
    outputs = NumpyEngine().compile(graph)(*map(np.asarray, tree.leaves(start)))
    _, state, _, _ = tree.unflatten(start, outputs[: len(types)])
    losses, *paths = outputs[len(types) :]
    params = [{k: path[i] for k, path in zip(values, paths)} for i in range(steps)]
    return Run(params, list(map(float, losses)), state)


def _scan(body: Any, types: list[Any], steps: int) -> Any:
    def whole(*leaves: Tensor) -> list[Tensor]:
        return list(
            apply_many(
                "scan",
                *leaves,
                body=body,
                consts=0,
                carries=len(types),
                length=steps,
                reverse=False,
                keep="all",
            )
        )

    return trace(whole, *types)


def run_optax(optimiser: Any, problem: Problem, steps: int) -> list[Arrays]:
    """Step with optax in float64."""
    with jax.enable_x64(True):
        params = {k: jnp.asarray(v, "float64") for k, v in problem.start.items()}
        state, found = optimiser.init(params), []

        @jax.jit
        def step(params: Any, state: Any) -> Any:
            grads = jax.grad(problem.theirs)(params)
            updates, after = optimiser.update(grads, state, params)
            return optax.apply_updates(params, updates), after

        for _ in range(steps):
            params, state = step(params, state)
            found.append({name: np.asarray(each) for name, each in params.items()})
    return found


def run_formula(
    formula: Callable[[np.ndarray, dict[str, Any], int], np.ndarray],
    problem: Problem,
    steps: int,
) -> list[Arrays]:
    """Step by `formula(gradient, memory, t)`, t from 1, which returns what to subtract.

    `memory` is a dictionary of each tensor's own, empty at first.
    """
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(problem.theirs))
        params = {k: v.astype("float64") for k, v in problem.start.items()}
        memory: dict[str, dict[str, Any]] = {name: {} for name in params}
        found = []
        for t in range(1, steps + 1):
            grads = {k: np.asarray(v) for k, v in slope(params).items()}
            params = {k: p - formula(grads[k], memory[k], t) for k, p in params.items()}
            found.append(params)
    return found


def assert_same_path(ours: list[Arrays], theirs: list[Arrays], rtol: float) -> None:
    """Assert that the parameters agree after every step."""
    assert len(ours) == len(theirs)
    for step, (x, y) in enumerate(zip(ours, theirs)):
        for name in y:
            np.testing.assert_allclose(
                x[name], y[name], rtol, atol=1e-12, err_msg=f"{name} after step {step}"
            )


def state_types(state: Any) -> list[str]:
    """Return the types of the leaves of a state."""
    return [
        f"{name}: {leaf.dtype}{list(leaf.shape)}"
        for name, leaf in tree.flatten(state).items()
    ]
