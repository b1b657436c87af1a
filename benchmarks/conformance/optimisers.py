"""The optimisers: twenty steps from one start, each library with its own gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.conformance.compare import Gap, gap
from benchmarks.conformance.row import Draw, OptimiserRow, Options
from pellucid import optim
from pellucid.functional import tanh
from pellucid.optim import Context, apply_updates
from pellucid.tensors import grad, tensor

__all__ = ["OPTIMISERS", "STEPS", "compare_steps"]

STEPS = 20

Arrays = dict[str, Any]


def compare_steps(row: OptimiserRow, draw: Draw) -> Gap:
    """Take the steps in both and compare the parameters after each."""
    options = row.options(draw)
    into, hidden = draw.wholes(2, 1, 4)
    x, y = draw.normal(6, into), draw.normal(6)
    start = {"w": draw.normal(into, hidden), "v": draw.normal(hidden)}
    ours = _our_steps(row, options, start, x, y)
    theirs = _their_steps(row, options, start, x, y)
    worst = max(gap(*pair) for pair in zip(ours, theirs))
    return Gap(worst, None, None, options)


def _our_steps(
    row: OptimiserRow, options: Options, start: Arrays, x: Any, y: Any
) -> list[list[Any]]:
    optimiser = getattr(optim, row.kind)(**options)
    params = {name: tensor(array) for name, array in start.items()}
    state, found = optimiser.init(params), []
    for step in range(STEPS):
        leaves = {k: tensor(p.value, requires_grad=True) for k, p in params.items()}
        inputs, w, v = tensor(x), leaves["w"], leaves["v"]
        outputs = _plain(inputs, w, v) if row.convex else tanh(inputs @ w) @ v
        loss = ((outputs - tensor(y)) ** 2).mean()
        gradients = grad(loss, list(leaves.values()))
        context = Context.of(params, dict(zip(params, gradients)), state, step)
        updates, state = optimiser.update(context)
        params = apply_updates(params, updates)
        found.append([np.array(each.value) for each in params.values()])
    return found


def _their_steps(
    row: OptimiserRow, options: Options, start: Arrays, x: Any, y: Any
) -> list[list[Any]]:
    w, v = (torch.tensor(each, requires_grad=True) for each in start.values())
    made = getattr(torch.optim, row.kind)([w, v], **row.theirs(options))
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def loss() -> torch.Tensor:
        made.zero_grad()
        outputs = _plain(inputs, w, v) if row.convex else torch.tanh(inputs @ w) @ v
        value = ((outputs - targets) ** 2).mean()
        value.backward()
        return value

    found = []
    for _ in range(STEPS):
        made.step(loss)
        found.append([each.detach().numpy().copy() for each in (w, v)])
    return found


def _plain(x: Any, w: Any, v: Any) -> Any:
    """Return a convex problem's outputs, small enough for a whole first step."""
    return ((x @ w).sum(1) + v.sum()) * 0.03


# --- what is drawn ---------------------------------------------------------------


def _rate(d: Draw, low: float = 0.01, high: float = 0.1) -> Options:
    return {"lr": d.between(low, high), "weight_decay": d.one_of(0.0, 0.01, 0.1)}


def _adam(d: Draw) -> Options:
    betas = (d.between(0.5, 0.95), d.between(0.9, 0.999))
    return {**_rate(d), "betas": betas, "eps": d.one_of(1e-8, 1e-4)}


def _newton(options: Options) -> Options:
    """One step a call, and a history that no small step is left out of."""
    return {
        "lr": options["lr"],
        "history_size": options["history_size"],
        "max_iter": 1,
        "tolerance_grad": 0.0,
        "tolerance_change": 0.0,
    }


OPTIMISERS = [
    OptimiserRow("SGD", _rate),
    OptimiserRow(
        "SGD, momentum", lambda d: {**_rate(d), "momentum": d.between(0.5, 0.9)}
    ),
    OptimiserRow(
        "SGD, Nesterov",
        lambda d: {**_rate(d), "momentum": d.between(0.5, 0.9), "nesterov": True},
    ),
    OptimiserRow(
        "Adagrad",
        lambda d: {**_rate(d), "initial_accumulator_value": d.one_of(0.0, 0.1)},
    ),
    OptimiserRow(
        "RMSprop",
        lambda d: {
            **_rate(d, 0.001, 0.01),
            "alpha": d.between(0.8, 0.99),
            "momentum": d.one_of(0.0, 0.9),
            "centered": d.coin(),
        },
    ),
    OptimiserRow("Adam", _adam),
    OptimiserRow("AdamW", _adam),
    OptimiserRow(
        "NAdam", lambda d: {**_adam(d), "momentum_decay": d.one_of(0.004, 0.02)}
    ),
    OptimiserRow(
        "LBFGS",
        lambda d: {
            "lr": d.between(0.1, 0.3),
            "history_size": d.whole(2, 12),
            "line_search": None,
        },
        _newton,
        convex=True,
    ),
]
