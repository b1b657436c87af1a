"""Every optimiser steps as its reference does, at the prompt and compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import optax
import optax.contrib
import pytest
from optim_problems import (
    PROBLEMS,
    assert_same_path,
    run_compiled,
    run_formula,
    run_optax,
    run_ours,
    state_types,
)

from pellucid import optim
from pellucid.errors import ArgumentError
from pellucid.optim import Transform
from pellucid.optim.muon import orthogonalised
from pellucid.tensors import apply, tensor

STEPS = 25
COSINE = optim.Cosine(0.01, 20, final=0.001)
OPTAX_COSINE = optax.cosine_decay_schedule(0.01, 20, alpha=0.1)


def decayed(strength: float, *rest: Any) -> Any:
    return optax.chain(optax.add_decayed_weights(strength), *rest)


def muon(**arguments: Any) -> Any:
    """Muon for weights `[out, in]`, where optax's default is `[in, out]`."""
    ours = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
    layout = {"in.weight": ours, "out.weight": ours, "in.bias": None, "gain": None}
    return optax.contrib.muon(
        muon_weight_dimension_numbers=lambda params: layout, **arguments
    )


OPTAX: dict[str, tuple[Transform, Any]] = {
    "SGD": (optim.SGD(0.01), optax.sgd(0.01)),
    "SGD with L2": (
        optim.SGD(0.01, weight_decay=0.1),
        decayed(0.1, optax.sgd(0.01)),
    ),
    "SGD with a schedule": (optim.SGD(COSINE), optax.sgd(OPTAX_COSINE)),
    "momentum": (optim.SGD(0.01, momentum=0.9), optax.sgd(0.01, 0.9)),
    "Nesterov": (
        optim.SGD(0.01, momentum=0.9, nesterov=True),
        optax.sgd(0.01, 0.9, nesterov=True),
    ),
    "RMSprop": (
        optim.RMSprop(0.02, alpha=0.95),
        optax.rmsprop(0.02, 0.95, 1e-8, eps_in_sqrt=False),
    ),
    "RMSprop, centred, with momentum": (
        optim.RMSprop(0.002, momentum=0.8, centered=True),
        optax.rmsprop(
            0.002, 0.99, 1e-8, centered=True, momentum=0.8, eps_in_sqrt=False
        ),
    ),
    "Adam": (optim.Adam(0.05), optax.adam(0.05)),
    "Adam with all arguments": (
        optim.Adam(COSINE, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
        decayed(0.1, optax.adam(OPTAX_COSINE, 0.8, 0.9, 1e-3)),
    ),
    "AdamW": (optim.AdamW(0.05), optax.adamw(0.05, weight_decay=0.01)),
    "AdamW with a schedule": (
        optim.AdamW(COSINE, weight_decay=0.3),
        optax.adamw(OPTAX_COSINE, weight_decay=0.3),
    ),
    "Lion": (
        optim.Lion(0.01, weight_decay=0.1),
        optax.lion(0.01, weight_decay=0.1),
    ),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("problem", ["rosenbrock", "logistic"])
@pytest.mark.parametrize("name", OPTAX)
def test_it_steps_as_optax_does(name: str, problem: str) -> None:
    ours, theirs = OPTAX[name]
    path = run_ours(ours, PROBLEMS[problem], STEPS).params
    assert_same_path(path, run_optax(theirs, PROBLEMS[problem], STEPS), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"nesterov": False, "ns_steps": 3, "weight_decay": 0.1, "eps": 1e-4},
    ],
)
def test_muon_steps_as_optax_does(arguments: dict[str, Any]) -> None:
    path = run_ours(optim.Muon(0.02, **arguments), PROBLEMS["network"], STEPS).params
    theirs = run_optax(
        muon(learning_rate=0.02, **arguments), PROBLEMS["network"], STEPS
    )
    assert_same_path(path, theirs, 1e-9)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("history", [1, 4, 10])
@pytest.mark.parametrize("problem", ["quadratic", "logistic"])
def test_lbfgs_without_a_line_search_steps_as_optax_does(
    problem: str, history: int
) -> None:
    ours = optim.LBFGS(0.5, history_size=history, line_search=None)
    theirs = optax.lbfgs(0.5, memory_size=history, linesearch=None)
    path = run_ours(ours, PROBLEMS[problem], 20).params
    assert_same_path(path, run_optax(theirs, PROBLEMS[problem], 20), 1e-9)


# --- formulas of PyTorch's documentation, where its conventions are not optax's ---


def adagrad(g: Any, memory: dict[str, Any], t: int) -> Any:
    memory["sum"] = memory.get("sum", 0.5) + g**2
    return 0.1 * g / (np.sqrt(memory["sum"]) + 1e-10)


def rmsprop(g: Any, memory: dict[str, Any], t: int) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0.0) + 0.1 * g**2
    memory["b"] = 0.7 * memory.get("b", 0.0) + g / (np.sqrt(memory["v"]) + 1e-2)
    return 0.01 * memory["b"]


def nadam(g: Any, memory: dict[str, Any], t: int) -> Any:
    now, ahead = (0.9 * (1 - 0.5 * 0.96 ** (i * 4e-3)) for i in (t, t + 1))
    memory["product"] = memory.get("product", 1.0) * now
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
    mean = ahead * memory["m"] / (1 - memory["product"] * ahead)
    mean = mean + (1 - now) * g / (1 - memory["product"])
    return 0.02 * mean / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-8)


def decaying_sgd(g: Any, memory: dict[str, Any], t: int) -> Any:
    memory["m"] = g if t == 1 else 0.9 * memory["m"] + g
    return 0.02 / (1 + 0.1 * (t - 1)) * (g + 0.9 * memory["m"])


FORMULAS: dict[str, tuple[Transform, Callable[..., Any]]] = {
    "Adagrad": (optim.Adagrad(0.1, initial_accumulator_value=0.5), adagrad),
    "RMSprop": (optim.RMSprop(0.01, 0.9, 1e-2, momentum=0.7), rmsprop),
    "NAdam": (optim.NAdam(0.02), nadam),
    "Nesterov with 1/t": (
        optim.SGD(optim.InverseTime(0.02, 0.1), 0.9, nesterov=True),
        decaying_sgd,
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock", "network"])
@pytest.mark.parametrize("name", FORMULAS)
def test_it_steps_by_pytorch_s_formula(name: str, problem: str) -> None:
    ours, formula = FORMULAS[name]
    path = run_ours(ours, PROBLEMS[problem], STEPS).params
    assert_same_path(path, run_formula(formula, PROBLEMS[problem], STEPS), 1e-9)


@pytest.mark.slow
def test_centred_rmsprop_of_a_constant_gradient_stays_finite() -> None:
    rms = optim.scale_by_rms(alpha=0.9, eps=1e-3, centered=True)
    constant = np.random.default_rng(0).normal(size=500)
    grads = {"w": tensor(constant)}
    state, below = rms.init(grads), False
    for step in range(400):
        updates, state = rms.update(optim.Context.of(grads, grads, state, step))
        first, second = state["first"]["w"].value, state["second"]["w"].value
        below = below or bool((second < first * first).any())
    assert below
    np.testing.assert_allclose(updates["w"].value, constant / 1e-3, rtol=1e-3)


# --- every optimiser on every problem --------------------------------------------

EVERY: dict[str, Transform] = {
    "SGD": optim.SGD(0.01),
    "momentum": optim.SGD(0.002, momentum=0.9),
    "Nesterov": optim.SGD(0.002, momentum=0.9, nesterov=True),
    "Adagrad": optim.Adagrad(0.2),
    "RMSprop": optim.RMSprop(0.01),
    "RMSprop, centred, with momentum": optim.RMSprop(
        0.002, centered=True, momentum=0.9
    ),
    "Adam": optim.Adam(0.05),
    "AdamW": optim.AdamW(optim.Cosine(0.05, 20)),
    "NAdam": optim.NAdam(0.05),
    "Lion": optim.Lion(0.02, weight_decay=0.01),
    "Muon": optim.Muon(0.03),
    "LBFGS": optim.LBFGS(),
    "LBFGS without a line search": optim.LBFGS(0.1, line_search=None),
    "a long chain": optim.chain(
        optim.clip_value(5.0),
        optim.clip_norm(3.0),
        optim.clip_global_norm(2.0),
        optim.l1(1e-3),
        optim.masked(optim.l2(1e-3), lambda name, p: p.ndim > 1),
        optim.Adam(optim.WarmUp(optim.OneCycle(0.1, 20), 5)),
        optim.weight_decay(1e-4),
        optim.max_norm(5.0),
        optim.reduce_on_plateau(patience=1),
    ),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", EVERY)
def test_it_lowers_the_loss(name: str, problem: str) -> None:
    losses = run_compiled(EVERY[name], PROBLEMS[problem], 25).losses
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("problem", ["rosenbrock", "network"])
@pytest.mark.parametrize("name", EVERY)
def test_a_compiled_scan_steps_as_the_prompt_does(name: str, problem: str) -> None:
    prompt = run_ours(EVERY[name], PROBLEMS[problem], 20)
    compiled = run_compiled(EVERY[name], PROBLEMS[problem], 20)
    assert_same_path(compiled.params, prompt.params, 1e-12)
    assert state_types(compiled.state) == state_types(prompt.state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EVERY)
def test_types_stay_so_that_the_second_step_compiles_nothing(
    name: str, dtype: type
) -> None:
    problem = PROBLEMS["network"]
    params = {k: tensor(v.astype(dtype)) for k, v in problem.start.items()}
    before = EVERY[name].init(params)
    run = run_ours(EVERY[name], problem, 1, dtype)
    assert state_types(run.state) == state_types(before)
    assert {each.dtype for each in run.params[0].values()} == {np.dtype(dtype)}
    kinds = {text.split()[1].split("[")[0] for text in state_types(before)}
    assert kinds <= {np.dtype(dtype).name, "int32"}


@pytest.mark.parametrize("name", EVERY)
def test_parameters_of_two_dtypes_keep_them(name: str) -> None:
    values = {"wide": np.ones((3, 2)), "narrow": np.ones(3, np.float32)}
    params = {k: tensor(v) for k, v in values.items()}
    context = optim.Context.of(
        params,
        params,
        EVERY[name].init(params),
        loss=1.0,
        loss_of=lambda p: sum(((v * v).sum() for v in p.values()), tensor(0.0)),
    )
    updates, state = EVERY[name].update(context)
    assert {k: u.dtype.name for k, u in updates.items()} == {
        "wide": "float64",
        "narrow": "float32",
    }
    assert state_types(state) == state_types(context.state)


@pytest.mark.parametrize("name", EVERY)
def test_its_state_keeps_no_history_at_the_prompt(name: str) -> None:
    weight = tensor(np.ones((2, 2)), requires_grad=True)
    params = {"w": weight}
    grads = {"w": weight * 2.0}
    context = optim.Context.of(
        params,
        grads,
        EVERY[name].init(params),
        loss=1.0,
        loss_of=lambda p: p["w"].sum(),
    )
    updates, _ = EVERY[name].update(context)
    assert not updates["w"].requires_grad
    assert not optim.apply_updates(params, updates)["w"].requires_grad


# --- L-BFGS ----------------------------------------------------------------------


@pytest.mark.slow
def test_lbfgs_finds_the_minimum_of_a_quadratic_in_few_steps() -> None:
    run = run_ours(optim.LBFGS(), PROBLEMS["quadratic"], 25)
    np.testing.assert_allclose(run.params[-1]["matrix"], 1.0, atol=1e-6)
    assert run.losses[-1] < 0.4


def test_lbfgs_never_raises_the_loss_with_its_line_search() -> None:
    for problem in PROBLEMS.values():
        losses = run_compiled(optim.LBFGS(), problem, 40).losses
        assert all(after <= before for before, after in itertools.pairwise(losses))


def test_lbfgs_leaves_out_a_step_along_which_the_loss_curves_downwards() -> None:
    values = {"w": tensor(np.array([1.0, 2.0]))}
    lbfgs = optim.scale_by_lbfgs(3)
    state = lbfgs.init(values)
    _, state = lbfgs.update(optim.Context.of(values, values, state, 0))
    moved = {"w": tensor(np.array([2.0, 3.0]))}
    flatter = {"w": tensor(np.array([0.5, 1.0]))}
    updates, after = lbfgs.update(optim.Context.of(moved, flatter, state, 1))
    assert np.all(after["weight"].value == 0.0)
    assert after["scale"].item() == state["scale"].item()
    assert (updates["w"].value * flatter["w"].value).sum() > 0


def line_search(loss_of: Callable[[Any], Any], slope: float) -> float:
    """Return the share that backtracking takes of a step of −1 from 0."""
    step = optim.backtracking(optim.scale(-1.0 / slope))
    zero, gradient = {"x": tensor(np.zeros(1))}, {"x": tensor(np.full(1, slope))}
    context = optim.Context.of(
        zero, gradient, step.init(zero), loss=loss_of(zero), loss_of=loss_of
    )
    return -step.update(context)[0]["x"].item()


def test_backtracking_takes_the_longest_share_that_lowers_the_loss() -> None:
    assert line_search(lambda p: ((p["x"] + 1.0) ** 2.0).sum(), slope=2.0) == 1.0
    assert line_search(lambda p: ((p["x"] + 0.3) ** 2.0).sum(), slope=0.6) == 0.5
    assert line_search(lambda p: ((p["x"] + 0.1) ** 2.0).sum(), slope=0.2) == 0.125


def test_backtracking_takes_no_step_where_none_lowers_the_loss() -> None:
    assert line_search(lambda p: (p["x"] * -1.0).sum(), slope=1.0) == 0.0
    assert line_search(lambda p: tensor(0.0), slope=1.0) == 0.0


def test_backtracking_asks_less_of_a_shorter_step() -> None:
    def loss(p: Any) -> Any:
        return (apply("sign", abs(p["x"])) * -6e-5).sum()

    assert line_search(loss, slope=1.0) == 0.5


def test_backtracking_passes_over_steps_to_where_the_loss_is_not_a_number() -> None:
    def loss(p: Any) -> Any:
        return apply("log", p["x"] + 0.4).sum()

    assert line_search(loss, slope=2.5) == 0.25


def test_a_line_search_without_the_loss_says_what_it_needs() -> None:
    params = {"w": tensor(np.ones(2))}
    lbfgs = optim.LBFGS()
    context = optim.Context.of(params, params, lbfgs.init(params))
    with pytest.raises(ArgumentError, match="line search needs the loss"):
        lbfgs.update(context)


# --- Muon ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (2, 7), (9, 3), (1, 5), (6, 1)])
def test_muon_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).normal(size=shape) * 100
    made = orthogonalised(tensor(x)).value
    u, _, v = np.linalg.svd(x, full_matrices=False)
    inside = u.T @ made @ v.T
    singular = np.diag(inside)
    assert np.all((singular > 0.3) & (singular < 1.3))
    np.testing.assert_allclose(inside, np.diag(singular), atol=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_a_zero_gradient_at_zero_is_a_zero_step(name: str) -> None:
    params = {"w": tensor(np.zeros((2, 3))), "b": tensor(np.zeros(3))}
    context = optim.Context.of(
        params,
        params,
        EVERY[name].init(params),
        loss=0.0,
        loss_of=lambda p: (p["w"] ** 2.0).sum(),
    )
    updates, _ = EVERY[name].update(context)
    assert all(np.all(each.value == 0) for each in updates.values())
