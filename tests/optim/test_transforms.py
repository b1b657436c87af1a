"""Chains, masks, penalties, limits, clipping and the plateau do what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pellucid import optim
from pellucid.errors import ArgumentError
from pellucid.optim import Context, Transform
from pellucid.tensors import Tensor, tensor

_draw = np.random.default_rng(5)
PARAMS = {
    "weight": _draw.normal(size=(3, 4)).astype("f"),
    "kernel": _draw.normal(size=(2, 3, 2)).astype("f"),
    "bias": np.array([0.0, -2.0, 3.0], "f"),
    "gain": np.array(-0.5, "f"),
}
GRADS = {k: _draw.normal(size=v.shape).astype("f") * 2 for k, v in PARAMS.items()}


def tensors(arrays: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor(each) for name, each in arrays.items()}


def step(transform: Transform, **more: Any) -> dict[str, np.ndarray]:
    """Return the updates of a first step from `PARAMS` with `GRADS`."""
    params = tensors(PARAMS)
    state = transform.init(params)
    context = Context.of(params, tensors(GRADS), state, **more)
    return {name: each.value for name, each in transform.update(context)[0].items()}


def assert_steps(
    transform: Transform, formula: Callable[..., Any], **more: Any
) -> None:
    found = step(transform, **more)
    assert list(found) == list(PARAMS)
    for name, update in found.items():
        expected = formula(GRADS[name], PARAMS[name])
        np.testing.assert_allclose(update, expected, rtol=2e-6, atol=1e-7)


# --- penalties -------------------------------------------------------------------


def test_l1_adds_the_sign_of_the_parameter() -> None:
    assert_steps(optim.l1(0.1), lambda g, p: g + 0.1 * np.sign(p))


def test_l2_adds_the_parameter() -> None:
    assert_steps(optim.l2(0.1), lambda g, p: g + 0.1 * p)


def test_weight_decay_takes_a_share_of_the_parameter_away() -> None:
    assert_steps(optim.weight_decay(0.1), lambda g, p: g - 0.1 * p)


def test_weight_decay_follows_the_learning_rate() -> None:
    decay = optim.weight_decay(0.1, lr=optim.InverseTime(0.5, 1.0))
    assert_steps(decay, lambda g, p: g - 0.1 * 0.5 / 4 * p, step=3)


def test_adamw_is_adam_and_weight_decay() -> None:
    whole = step(optim.AdamW(0.01, weight_decay=0.2))
    parts = step(optim.chain(optim.Adam(0.01), optim.weight_decay(0.2, lr=0.01)))
    for name in PARAMS:
        np.testing.assert_array_equal(whole[name], parts[name])


@pytest.mark.parametrize("make", [optim.l1, optim.l2, optim.weight_decay])
def test_a_penalty_of_strength_0_changes_nothing(make: Any) -> None:
    assert_steps(make(0.0), lambda g, p: g)


def norms(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.sqrt((x * x).sum(axes))


def test_max_norm_holds_each_unit_s_incoming_weights_after_the_step() -> None:
    found = step(optim.max_norm(1.5))
    for name, axes in (("weight", (1,)), ("kernel", (1, 2))):
        free = PARAMS[name] + GRADS[name]
        held = PARAMS[name] + found[name]
        before, after = norms(free, axes), norms(held, axes)
        assert (before > 1.5).any()
        np.testing.assert_allclose(after, np.minimum(before, 1.5), rtol=1e-5)
        direction = after.reshape(-1, *[1] * len(axes)) / before.reshape(
            -1, *[1] * len(axes)
        )
        np.testing.assert_allclose(held, free * direction, rtol=1e-4, atol=1e-6)


def test_max_norm_leaves_biases_and_small_weights_alone() -> None:
    found = step(optim.max_norm(1e6))
    np.testing.assert_array_equal(found["bias"], GRADS["bias"])
    np.testing.assert_array_equal(step(optim.max_norm(0.01))["gain"], GRADS["gain"])
    np.testing.assert_allclose(found["weight"], GRADS["weight"], rtol=1e-5, atol=1e-6)


def test_max_norm_takes_the_axes_that_hold_a_unit_s_weights() -> None:
    found = step(optim.max_norm(0.5, axis=0))
    held = PARAMS["weight"] + found["weight"]
    np.testing.assert_allclose(norms(held, (0,)), 0.5, rtol=1e-5)


def test_max_norm_of_zero_weights_is_zero_not_a_nan() -> None:
    nothing = {"w": tensor(np.zeros((2, 2)))}
    updates, _ = optim.max_norm(1.0).update(Context.of(nothing, nothing, {}))
    assert np.all(updates["w"].value == 0)


# --- clipping --------------------------------------------------------------------


def test_clip_value_cuts_each_entry() -> None:
    assert_steps(optim.clip_value(0.7), lambda g, p: np.clip(g, -0.7, 0.7))


def test_clip_norm_scales_each_tensor_that_is_too_long() -> None:
    def formula(g: np.ndarray, p: np.ndarray) -> np.ndarray:
        return g * min(1.0, 3.0 / np.linalg.norm(g))

    assert np.linalg.norm(GRADS["weight"]) > 3 > np.linalg.norm(GRADS["gain"])
    assert_steps(optim.clip_norm(3.0), formula)


@pytest.mark.parametrize("limit", [1.0, 1e3])
def test_clip_global_norm_scales_all_as_optax_does(limit: float) -> None:
    theirs = optax.clip_by_global_norm(limit)
    grads = {name: jnp.asarray(each) for name, each in GRADS.items()}
    expected, _ = theirs.update(grads, theirs.init(grads))
    found = step(optim.clip_global_norm(limit))
    for name in PARAMS:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-6)


@pytest.mark.parametrize(
    "clip", [optim.clip_value(1.0), optim.clip_norm(1.0), optim.clip_global_norm(1.0)]
)
def test_clipping_a_zero_gradient_gives_zero_and_a_nan_stays_one(
    clip: Transform,
) -> None:
    for value in (0.0, np.nan):
        given = {"w": tensor(np.full(3, value))}
        updates, _ = clip.update(Context.of(given, given, clip.init(given)))
        np.testing.assert_array_equal(updates["w"].value, np.full(3, value))


# --- masks -----------------------------------------------------------------------


def test_a_mask_by_shape_spares_the_biases() -> None:
    decay = optim.masked(optim.l2(0.1), lambda name, p: p.ndim > 1)
    assert_steps(decay, lambda g, p: g + 0.1 * p if p.ndim > 1 else g)


def test_a_mask_by_name_keeps_state_for_the_chosen_alone() -> None:
    adam = optim.masked(optim.Adam(0.1), ["bias"])
    state = adam.init(tensors(PARAMS))
    assert list(state[1]["first"]) == ["bias"]
    found = step(adam)
    np.testing.assert_array_equal(found["weight"], GRADS["weight"])
    np.testing.assert_allclose(found["bias"], -0.1 * np.sign(GRADS["bias"]), rtol=1e-5)


def test_a_mask_of_an_unknown_name_names_the_nearest_parameter() -> None:
    with pytest.raises(ArgumentError, match=r"no parameter named 'wieght'.*'weight'"):
        optim.masked(optim.l2(0.1), ["wieght"]).init(tensors(PARAMS))


def test_a_mask_given_one_string_asks_for_a_list() -> None:
    with pytest.raises(ArgumentError, match=r"give \['bias'\]"):
        optim.masked(optim.l2(0.1), "bias")


def test_a_mask_of_a_set_of_names_is_written_in_order() -> None:
    made = optim.masked(optim.l2(0.1), {"weight", "bias", "gain"})
    assert made.spec["where"] == ["bias", "gain", "weight"]


def test_a_masked_line_search_sees_the_other_parameters_too() -> None:
    search = optim.masked(optim.backtracking(optim.scale(-1.0)), ["bias"])
    seen: list[list[str]] = []

    def loss_of(params: dict[str, Tensor]) -> Tensor:
        seen.append(sorted(params))
        return tensor(0.0)

    step(search, loss=1.0, loss_of=loss_of)
    assert seen
    assert all(each == sorted(PARAMS) for each in seen)


# --- the plateau -----------------------------------------------------------------


def plateau_by_hand(
    losses: list[float], factor: float, patience: int, floor: float, threshold: float
) -> list[float]:
    """PyTorch's `ReduceLROnPlateau`, mode min, relative threshold, no cooldown."""
    best, bad, scale, scales = np.inf, 0, 1.0, []
    for loss in losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            scale, bad = max(scale * factor, floor), 0
        scales.append(scale)
    return scales


def plateau_scales(plateau: Transform, losses: list[float]) -> list[float]:
    """Return the scale in each epoch of three steps; `losses` are of epochs before."""
    one = {"w": tensor(np.float64(1.0), "f64")}
    state, scales = plateau.init(one), []
    for epoch, loss in enumerate([np.nan, *losses]):
        for _ in range(3):
            context = Context.of(one, one, state, epoch=epoch, monitor=np.float64(loss))
            updates, state = plateau.update(context)
        scales.append(updates["w"].item())
    return scales


LOSSES = {
    "falling": [1.0 / i for i in range(1, 20)],
    "flat": [1.0] * 20,
    "falling, flat, falling": [3.0, 2.0, 1.0, *[1.0] * 7, 0.5, 0.4, *[0.45] * 9],
    "barely falling": [1.0 - 1e-3 * i for i in range(20)],
    "not a number at the end": [1.0, 0.5, *[np.nan] * 8],
    "infinite at first": [np.inf, np.inf, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0],
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_a_plateau_halves_steps_when_pytorch_s_rule_does(
    name: str, patience: int
) -> None:
    plateau = optim.reduce_on_plateau(0.5, patience, min_scale=0.1, threshold=0.01)
    expected = plateau_by_hand(LOSSES[name], 0.5, patience, 0.1, 0.01)
    assert plateau_scales(plateau, LOSSES[name]) == [1.0, *expected]


def test_a_falling_negative_loss_is_progress() -> None:
    plateau = optim.reduce_on_plateau(0.5, patience=1, threshold=0.01)
    assert plateau_scales(plateau, [-1.0 - i for i in range(9)])[-1] == 1.0
    assert plateau_scales(plateau, [-1.0] * 9)[-1] < 1.0


def test_a_plateau_looks_once_an_epoch() -> None:
    plateau = optim.reduce_on_plateau(patience=0)
    one = {"w": tensor(1.0)}
    state = plateau.init(one)
    for epoch, loss in ((0, 0.1), (1, 3.0), (1, 0.2), (1, 9.0), (2, 2.0)):
        context = Context.of(one, one, state, epoch=epoch, monitor=loss)
        updates, state = plateau.update(context)
        assert updates["w"].item() == 1.0
    assert state["best"].item() == 2.0


# --- chains ----------------------------------------------------------------------


def test_each_of_a_chain_sees_the_updates_of_the_one_before() -> None:
    clipped = optim.chain(optim.scale(10.0), optim.clip_value(1.0), optim.scale(3.0))
    assert_steps(clipped, lambda g, p: 3 * np.clip(10 * g, -1, 1))


def test_a_chain_reports_its_last_learning_rate() -> None:
    assert optim.chain(optim.l2(0.1)).learning_rate is None
    rate = optim.Cosine(0.1, 50)
    inner = optim.chain(optim.clip_norm(1.0), optim.Adam(rate))
    assert optim.chain(inner, optim.max_norm(3.0)).learning_rate == rate


def test_an_empty_chain_hands_gradients_on() -> None:
    assert_steps(optim.chain(), lambda g, p: g)


@pytest.mark.parametrize("penalty", [optim.l1(0.1), optim.l2(0.1)])
def test_a_penalty_behind_the_optimiser_is_an_error(penalty: Transform) -> None:
    with pytest.raises(ArgumentError, match="put it before the optimiser"):
        optim.chain(optim.SGD(0.1), penalty)


@pytest.mark.parametrize(
    "limit",
    [optim.weight_decay(0.1), optim.max_norm(1.0), optim.reduce_on_plateau()],
)
def test_a_limit_on_steps_before_the_optimiser_is_an_error(limit: Transform) -> None:
    with pytest.raises(ArgumentError, match="put it behind the optimiser"):
        optim.chain(limit, optim.SGD(0.1))


def test_a_chain_prints_as_it_was_made_and_its_spec_is_json() -> None:
    whole = optim.chain(
        optim.masked(optim.l2(0.1), ["weight"]), optim.SGD(optim.Cosine(0.1, 9))
    )
    assert repr(whole) == (
        "chain(transforms=[masked(transform=l2(strength=0.1), where=['weight']), "
        "SGD(lr=Cosine(lr=0.1, steps=9, final=0.0), momentum=0.0, nesterov=False, "
        "weight_decay=0.0)])"
    )
    assert json.loads(json.dumps(whole.spec)) == whole.spec


# --- names and arguments ---------------------------------------------------------


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_name_makes_an_optimiser_that_steps_downhill(name: str) -> None:
    made = optim.from_name(name.upper(), lr=0.01)
    assert made.learning_rate == optim.Constant(0.01)
    assert optim.from_name(name).learning_rate is not None
    found = step(
        made,
        loss=1.0,
        loss_of=lambda params: (
            sum(((params[k] - PARAMS[k]) * GRADS[k]).sum() for k in PARAMS) + 1.0
        ),
    )
    assert sum((found[k] * GRADS[k]).sum() for k in PARAMS) < 0


def test_momentum_and_nesterov_are_kinds_of_sgd() -> None:
    assert optim.from_name("momentum", lr=0.1).spec == optim.SGD(0.1, 0.9).spec
    assert optim.from_name("nesterov", lr=0.1).spec == optim.SGD(0.1, 0.9, True).spec


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: optim.from_name("adma"),
            "no optimiser named 'adma' · did you mean 'ad",
        ),
        (
            lambda: optim.from_name("adam", momentun=0.9),
            "adam has no argument 'momentun'",
        ),
        (
            lambda: optim.from_name("sgd", momentun=0.9),
            "sgd has no argument 'momentun' · did you mean 'momentum'?",
        ),
        (
            lambda: optim.Adam(lr=0.0),
            "lr is 0.0 · Adam · expected a number above 0 or a schedule",
        ),
        (lambda: optim.Adam(lr="fast"), "lr is 'fast' · Adam"),  # type: ignore
        (lambda: optim.Adam(lr=np.inf), "lr is inf · Adam"),
        (
            lambda: optim.AdamW(betas=(0.9, 1.0)),
            "betas is (0.9, 1.0) · AdamW · expected two numbers from 0 and below 1",
        ),
        (lambda: optim.Lion(betas=(0.9,)), "betas is (0.9,) · Lion"),  # type: ignore
        (lambda: optim.NAdam(eps=-1e-8), "eps is -1e-08 · NAdam"),
        (lambda: optim.NAdam(momentum_decay=-1.0), "momentum_decay is -1.0"),
        (lambda: optim.SGD(0.1, momentum=1.0), "momentum is 1.0 · SGD"),
        (
            lambda: optim.SGD(0.1, nesterov=True),
            "Nesterov's rule needs momentum · SGD · momentum=0.9 is a good start",
        ),
        (lambda: optim.RMSprop(alpha=-0.1), "alpha is -0.1 · RMSprop"),
        (lambda: optim.Adagrad(weight_decay=-1.0), "weight_decay is -1.0 · Adagrad"),
        (
            lambda: optim.Muon(ns_steps=0),
            "ns_steps is 0 · Muon · expected a whole numb",
        ),
        (lambda: optim.LBFGS(history_size=0), "history_size is 0 · LBFGS"),
        (
            lambda: optim.LBFGS(line_search="backtrack"),
            "line_search is 'backtrack' · LBFGS · expected one of 'backtracking', None "
            "· did you mean 'backtracking'?",
        ),
        (lambda: optim.clip_value(0.0), "limit is 0.0 · clip_value"),
        (lambda: optim.max_norm(1.0, axis="out"), "axis is 'out'"),  # type: ignore
        (lambda: optim.l1(-0.1), "strength is -0.1 · l1 · expected a number from 0"),
        (lambda: optim.reduce_on_plateau(factor=2.0), "factor is 2.0 · reduce_on_pl"),
        (lambda: optim.reduce_on_plateau(patience=-1), "patience is -1"),
        (lambda: optim.scale(np.nan), "scalar is nan · scale"),
    ],
)
def test_a_wrong_argument_says_what_was_expected(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert words in str(caught.value)
