"""Activations: values and derivatives against JAX, kinks as stated, extremes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from functional_oracle import agree, compiled, leaf, second, slope

from pellucid import functional as F
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import grad, tensor

RANGE = np.concatenate([np.linspace(-8, 8, 41) + 0.013, [-40.0, 40.0]])

ORACLES: dict[str, Any] = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "hardtanh": jax.nn.hard_tanh,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "hardswish": jax.nn.hard_swish,
    "step": lambda x: jnp.where(x >= 0, 1.0, 0.0),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}

AT_KINK = {
    ("relu", 0.0): 0.0,
    ("relu6", 0.0): 0.0,
    ("relu6", 6.0): 0.0,
    ("leaky_relu", 0.0): 0.01,
    ("elu", 0.0): 1.0,
    ("celu", 0.0): 1.0,
    ("selu", 0.0): 1.7580993408473766,
    ("hardtanh", -1.0): 0.0,
    ("hardtanh", 1.0): 0.0,
    ("hardsigmoid", -3.0): 0.0,
    ("hardsigmoid", 3.0): 0.0,
    ("hardswish", -3.0): 0.0,
    ("hardswish", 3.0): 1.0,
    ("step", 0.0): 0.0,
    ("sigmoid", 0.0): 0.25,
    ("softplus", 0.0): 0.5,
    ("log_sigmoid", 0.0): 0.5,
    ("silu", 0.0): 0.5,
    ("mish", 0.0): 0.6,
    ("softsign", 0.0): 1.0,
    ("gelu", 0.0): 0.5,
}

ELEMENTWISE = sorted(set(F.ACTIVATIONS) - {"softmax", "log_softmax"})


def test_every_activation_has_an_oracle() -> None:
    assert set(ORACLES) == set(F.ACTIVATIONS)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ORACLES)
def test_values_and_derivatives_agree_with_jax(name: str) -> None:
    agree(F.ACTIVATIONS[name], ORACLES[name], RANGE)


@pytest.mark.parametrize(("name", "at"), AT_KINK)
def test_the_derivative_at_a_kink_is_as_stated(name: str, at: float) -> None:
    assert slope(F.ACTIVATIONS[name], at) == pytest.approx(
        AT_KINK[name, at], rel=1e-12, abs=0
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_inputs_give_finite_values_and_derivatives(name: str, dtype: Any) -> None:
    x = tensor(np.array([-1e4, -100.0, 100.0, 1e4], dtype), requires_grad=True)
    y = F.ACTIVATIONS[name](x)
    assert y.dtype == dtype
    assert np.isfinite(y.value).all()
    assert np.isfinite(grad(y.sum(), [x])[0].value).all()


@pytest.mark.parametrize("name", sorted(F.ACTIVATIONS))
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(F.ACTIVATIONS[name](leaf([np.nan, 1.0])).value[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sigmoid", [0.0, 1.0]),
        ("tanh", [-1.0, 1.0]),
        ("relu", [0.0, np.inf]),
        ("softplus", [0.0, np.inf]),
        ("log_sigmoid", [-np.inf, 0.0]),
        ("elu", [-1.0, np.inf]),
        ("hardtanh", [-1.0, 1.0]),
        ("step", [0.0, 1.0]),
    ],
)
def test_infinities_give_the_limits(name: str, expected: list[float]) -> None:
    found = F.ACTIVATIONS[name](leaf([-np.inf, np.inf])).value
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("x", [-700.0, -40.0, 40.0])
def test_the_tails_of_sigmoid_keep_their_digits(x: float) -> None:
    expected = scipy.special.expit(x)
    assert F.sigmoid(leaf(x)).item() == pytest.approx(expected, rel=1e-14, abs=0)
    upper = scipy.special.expit(-abs(x))  # y(1 − y) to all digits
    assert slope(F.sigmoid, x) == pytest.approx(upper, rel=1e-13, abs=0)


@pytest.mark.parametrize("x", [-700.0, -40.0, -20.0, 0.3])
def test_the_tail_of_softplus_keeps_its_digits(x: float) -> None:
    assert F.softplus(leaf(x)).item() == pytest.approx(
        np.logaddexp(0, x), rel=1e-14, abs=0
    )
    assert slope(F.softplus, x) == pytest.approx(
        scipy.special.expit(x), rel=1e-13, abs=0
    )
    assert second(F.softplus, x) == pytest.approx(
        scipy.special.expit(x) * scipy.special.expit(-x), rel=1e-12
    )


def test_the_digits_survive_compilation() -> None:
    x = np.array([-40.0, -20.0])
    np.testing.assert_allclose(compiled(F.softplus, x), np.logaddexp(0, x), rtol=1e-14)


def test_step_is_one_at_zero_and_at_minus_zero() -> None:
    assert F.step(leaf([-1e-300, -0.0, 0.0])).value.tolist() == [0.0, 1.0, 1.0]


def test_gelu_by_tanh_agrees_with_jax() -> None:
    agree(lambda x: F.gelu(x, "tanh"), jax.nn.gelu, RANGE)


@pytest.mark.slow
def test_parameters_of_activations_agree_with_jax() -> None:
    agree(lambda x: F.leaky_relu(x, 0.3), lambda x: jax.nn.leaky_relu(x, 0.3), RANGE)
    agree(lambda x: F.elu(x, 0.5), lambda x: jax.nn.elu(x, 0.5), RANGE)
    agree(lambda x: F.celu(x, 0.5), lambda x: jax.nn.celu(x, 0.5), RANGE)
    agree(lambda x: F.hardtanh(x, -2.0, 3.0), lambda x: jnp.clip(x, -2.0, 3.0), RANGE)


def test_prelu_has_one_slope_a_channel_and_gradients_for_it() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    w = np.array([0.1, 0.5])
    agree(F.prelu, lambda x, w: jnp.where(x > 0, x, x * w[:, None]), x, w, bend=False)
    agree(F.prelu, lambda x, w: jnp.where(x > 0, x, x * w), x[0, 0], w[:1], bend=False)


def test_prelu_with_a_wrong_number_of_slopes_says_how_many() -> None:
    with pytest.raises(ShapeError, match=r"got 3 slopes · expected 1 or 2"):
        F.prelu(leaf(np.ones((5, 2))), leaf(np.ones(3)))


def test_maxout_takes_the_largest_neighbour_and_shares_ties() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))
    agree(lambda x: F.maxout(x, 3), lambda x: x.reshape(4, 2, 3).max(-1), x, bend=False)
    tied = slope(lambda x: F.maxout(x, 2), [1.0, 1.0, 0.0, 2.0])
    assert tied.tolist() == [0.5, 0.5, 0.0, 1.0]


def test_maxout_along_another_axis() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    np.testing.assert_array_equal(
        F.maxout(leaf(x), 2, axis=1).value, x.reshape(2, 3, 2, 3).max(2)
    )


def test_maxout_of_a_width_that_does_not_divide_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"f64\[5\] does not divide into 2s"):
        F.maxout(leaf(np.ones(5)), 2)


def test_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="no activation 'rellu' · did you mean 're"):
        F.activation_named("rellu")


# --- over an axis ----------------------------------------------------------------

MATRIX = np.random.default_rng(1).normal(size=(4, 5)) * 3


@pytest.mark.sampled(3)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_and_its_logarithm_agree_with_jax_along_any_axis(axis: int) -> None:
    mix = np.random.default_rng(2).normal(size=MATRIX.shape)
    agree(
        lambda x: F.softmax(x, axis) * mix,
        lambda x: jax.nn.softmax(x, axis) * mix,
        MATRIX,
    )
    agree(
        lambda x: F.log_softmax(x, axis) * mix,
        lambda x: jax.nn.log_softmax(x, axis) * mix,
        MATRIX,
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_agrees_with_jax(axis: Any, keepdims: bool) -> None:
    agree(
        lambda x: F.logsumexp(x, axis, keepdims),
        lambda x: jax.nn.logsumexp(x, axis, keepdims=keepdims),
        MATRIX,
    )


def test_softmax_of_far_logits_is_exact() -> None:
    x = leaf([1e4, -1e4, 1e4])
    assert F.softmax(x).value.tolist() == [0.5, 0.0, 0.5]
    np.testing.assert_allclose(
        F.log_softmax(x).value, [-np.log(2), -2e4 - np.log(2), -np.log(2)]
    )
    assert np.isfinite(slope(lambda x: F.log_softmax(x)[1], [1e4, -1e4, 1e4])).all()


def test_minus_infinity_has_no_share_and_no_gradient() -> None:
    x = [-np.inf, 0.0, 1.0]
    assert F.softmax(leaf(x)).value[0] == 0.0
    flow = slope(lambda x: F.softmax(x)[1], x)
    assert flow[0] == 0.0
    assert np.isfinite(flow).all()


def test_softmax_of_minus_infinity_everywhere_is_nan() -> None:
    assert np.isnan(F.softmax(leaf([-np.inf, -np.inf])).value).all()


def test_logsumexp_of_minus_infinity_everywhere_is_minus_infinity() -> None:
    rows = [[-np.inf, -np.inf], [0.0, 1.0]]
    found = F.logsumexp(leaf(rows), 1).value
    assert found[0] == -np.inf
    assert found[1] == pytest.approx(np.logaddexp(0, 1))
    flow = slope(lambda x: F.logsumexp(x, 1), rows)
    assert flow[0].tolist() == [0.0, 0.0]
    assert flow[1] == pytest.approx(scipy.special.softmax([0.0, 1.0]))


def test_logsumexp_of_infinity_is_infinity_and_of_nan_is_nan() -> None:
    assert F.logsumexp(leaf([np.inf, 0.0])).item() == np.inf
    assert np.isnan(F.logsumexp(leaf([np.nan, 0.0])).item())
