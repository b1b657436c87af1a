"""Losses: values and gradients against optax and JAX, weights, shapes, extremes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from functional_oracle import agree, compiled, leaf, slope

from pellucid import functional as F
from pellucid.errors import ArgumentError, DataError, DTypeError, ShapeError
from pellucid.tensors import Tensor, tensor

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)) * 2, RNG.normal(size=(6, 3))
P = RNG.uniform(0.01, 0.99, size=(6, 3))
Q = RNG.uniform(size=(6, 3))
SHARES = Q / Q.sum(1, keepdims=True)
LABELS = np.array([0, 2, 1, 1, 0, 2])
WEIGHT = RNG.uniform(0.5, 2.0, size=6)
CLASS_WEIGHT = np.array([0.5, 1.0, 3.0])

NUMERIC: dict[str, tuple[Any, Any]] = {
    "mse": (F.mse, lambda x, y: (x - y) ** 2),
    "mae": (F.mae, lambda x, y: jnp.abs(x - y)),
    "huber": (
        lambda *a, **k: F.huber(*a, **k, delta=0.7),
        lambda x, y: optax.losses.huber_loss(x, y, delta=0.7),
    ),
    "smooth_l1": (
        lambda *a, **k: F.smooth_l1(*a, **k, beta=0.7),
        lambda x, y: optax.losses.huber_loss(x, y, delta=0.7) / 0.7,
    ),
    "bce": (
        lambda x, y, *a, **k: F.binary_cross_entropy(
            F.sigmoid(x), F.sigmoid(y), *a, **k
        ),
        lambda x, y: (
            -(
                jax.nn.sigmoid(y) * jnp.log(jax.nn.sigmoid(x))
                + (1 - jax.nn.sigmoid(y)) * jnp.log(1 - jax.nn.sigmoid(x))
            )
        ),
    ),
    "bce_with_logits": (
        F.binary_cross_entropy_with_logits,
        optax.losses.sigmoid_binary_cross_entropy,
    ),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_loss_agrees_with_its_formula(name: str, reduction: str) -> None:
    ours, theirs = NUMERIC[name]
    reduce = {"none": lambda x: x, "sum": jnp.sum, "mean": jnp.mean}[reduction]
    agree(
        lambda x: ours(x, tensor(Y), reduction=reduction),
        lambda x: reduce(theirs(x, Y)),
        X,
    )


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_weights_of_samples_enter_as_stated(name: str, reduction: str) -> None:
    ours, theirs = NUMERIC[name]
    w = WEIGHT[:, None]

    def reduced(x: Any) -> Any:
        losses = w * theirs(x, Y)
        if reduction == "mean":
            return losses.sum() / (w * np.ones_like(Y)).sum()
        return losses if reduction == "none" else losses.sum()

    agree(lambda x: ours(x, tensor(Y), WEIGHT, reduction=reduction), reduced, X)


@pytest.mark.slow
def test_rmse_is_the_root_of_the_weighted_mean_square() -> None:
    agree(lambda x: F.rmse(x, tensor(Y)), lambda x: jnp.sqrt(((x - Y) ** 2).mean()), X)
    y, x = Y[:, 0], X[:, 0]
    agree(
        lambda x: F.rmse(x, tensor(y), WEIGHT),
        lambda x: jnp.sqrt((WEIGHT * (x - y) ** 2).sum() / WEIGHT.sum()),
        x,
    )


def test_the_gradient_of_rmse_at_a_perfect_fit_is_zero() -> None:
    assert F.rmse(leaf(Y), tensor(Y)).item() == 0.0
    assert (slope(lambda x: F.rmse(x, tensor(Y)), Y) == 0).all()


def test_rmse_of_nan_is_nan() -> None:
    assert np.isnan(F.rmse(leaf([np.nan]), leaf([1.0])).item())


def test_the_derivative_of_the_absolute_error_at_zero_is_zero() -> None:
    assert slope(lambda x: F.mae(x, tensor([2.0])), [2.0]) == 0.0


def test_huber_is_smooth_where_its_pieces_meet() -> None:
    agree(
        lambda x: F.huber(x, tensor(np.zeros(2)), delta=1.0),
        lambda x: optax.losses.huber_loss(x, jnp.zeros(2), delta=1.0).mean(),
        [1.0, -1.0],
        bend=False,
    )


def test_huber_refuses_a_delta_that_is_not_above_zero() -> None:
    with pytest.raises(ArgumentError, match="delta must be above 0, not 0"):
        F.huber(leaf(X), leaf(Y), delta=0)


def test_the_smooth_error_is_the_absolute_one_where_beta_is_zero() -> None:
    found = F.smooth_l1(leaf(X), leaf(Y), beta=0.0).item()
    assert found == F.mae(leaf(X), leaf(Y)).item()
    assert slope(lambda x: F.smooth_l1(x, tensor([0.0]), beta=0.0), [0.5]) == 1.0
    with pytest.raises(ArgumentError, match="beta must be at least 0, not -1"):
        F.smooth_l1(leaf(X), leaf(Y), beta=-1)


# --- classes ---------------------------------------------------------------------


def test_cross_entropy_of_labels_agrees_with_optax() -> None:
    agree(
        lambda x: F.cross_entropy(x, tensor(LABELS), reduction="none"),
        lambda x: optax.losses.softmax_cross_entropy_with_integer_labels(x, LABELS),
        X,
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_shares_agrees_with_optax(smoothing: float) -> None:
    agree(
        lambda x: F.cross_entropy(x, tensor(SHARES), label_smoothing=smoothing),
        lambda x: optax.losses.softmax_cross_entropy(
            x, optax.losses.smooth_labels(SHARES, smoothing)
        ).mean(),
        X,
    )


def test_labels_may_be_bytes_where_there_are_more_classes_than_bytes() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 300))
    labels = np.array([0, 200])
    found = F.cross_entropy(leaf(scores), tensor(labels.astype(np.uint8)))
    assert found.item() == F.cross_entropy(leaf(scores), tensor(labels)).item()


def test_labels_and_one_hot_give_the_same() -> None:
    hot = np.eye(3)[LABELS]
    for options in ({}, {"label_smoothing": 0.2}, {"reduction": "sum"}):
        by_label = F.cross_entropy(leaf(X), tensor(LABELS), **options).item()
        by_hot = F.cross_entropy(leaf(X), tensor(hot), **options).item()
        assert by_label == pytest.approx(by_hot, rel=1e-14, abs=0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_with_labels_divide_by_the_weights_of_the_labels(
    smoothing: float,
) -> None:
    def theirs(x: Any) -> Any:
        q = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
        losses = -(CLASS_WEIGHT * q * jax.nn.log_softmax(x)).sum(1)
        return (WEIGHT * losses).sum() / (WEIGHT * CLASS_WEIGHT[LABELS]).sum()

    agree(
        lambda x: F.cross_entropy(
            x,
            tensor(LABELS),
            WEIGHT,
            class_weight=CLASS_WEIGHT,
            label_smoothing=smoothing,
        ),
        theirs,
        X,
    )


def test_class_weights_with_shares_divide_by_the_number_of_samples() -> None:
    agree(
        lambda x: F.cross_entropy(x, tensor(SHARES), class_weight=CLASS_WEIGHT),
        lambda x: -(CLASS_WEIGHT * SHARES * jax.nn.log_softmax(x)).sum(1).mean(),
        X,
    )


def test_nll_of_log_softmax_is_cross_entropy() -> None:
    agree(
        lambda x: F.nll(F.log_softmax(x), tensor(LABELS), class_weight=CLASS_WEIGHT),
        lambda x: (
            -(CLASS_WEIGHT * np.eye(3)[LABELS] * jax.nn.log_softmax(x)).sum()
            / CLASS_WEIGHT[LABELS].sum()
        ),
        X,
    )


def test_cross_entropy_from_probabilities() -> None:
    agree(
        lambda p: F.cross_entropy(p, tensor(LABELS), from_logits=False),
        lambda p: -jnp.log(p[np.arange(6), LABELS]).mean(),
        SHARES,
    )


@pytest.mark.slow
def test_classes_stand_on_axis_1_or_where_the_call_says() -> None:
    x = RNG.normal(size=(2, 3, 4))
    labels = RNG.integers(0, 3, size=(2, 4))
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(
        jnp.asarray(x), labels, axis=1
    ).mean()
    assert F.cross_entropy(leaf(x), tensor(labels)).item() == pytest.approx(expected)
    last = np.moveaxis(x, 1, -1)
    assert F.cross_entropy(leaf(last), tensor(labels), axis=-1).item() == (
        pytest.approx(expected)
    )


def test_one_sample_without_a_batch_axis() -> None:
    expected = -jax.nn.log_softmax(X[0])[2]
    assert F.cross_entropy(leaf(X[0]), tensor(2)).item() == pytest.approx(expected)


@pytest.mark.slow
def test_binary_losses_smooth_labels_towards_one_half() -> None:
    hard = (Y > 0).astype(float)
    agree(
        lambda x: F.binary_cross_entropy_with_logits(
            x, tensor(hard), label_smoothing=0.2
        ),
        lambda x: optax.losses.sigmoid_binary_cross_entropy(x, hard * 0.8 + 0.1).mean(),
        X,
    )


@pytest.mark.slow
def test_pos_weight_weighs_the_positive_class() -> None:
    hard = (Y > 0).astype(float)
    agree(
        lambda x: F.binary_cross_entropy_with_logits(x, tensor(hard), pos_weight=3.0),
        lambda x: (
            -(3 * hard * jax.nn.log_sigmoid(x) + (1 - hard) * jax.nn.log_sigmoid(-x))
        ).mean(),
        X,
    )


# --- extremes --------------------------------------------------------------------

FAR = np.array([-1e4, 1e4, -1e4, 1e4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_far_logits_is_exact(dtype: Any) -> None:
    x = tensor(FAR.astype(dtype), requires_grad=True)
    y = tensor(np.array([0.0, 1.0, 1.0, 0.0]))
    losses = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    assert losses.dtype == dtype
    assert losses.value.tolist() == [0.0, 0.0, 1e4, 1e4]
    losses.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, -1.0, 1.0]


def test_a_confident_positive_keeps_the_digits_of_its_small_loss() -> None:
    loss = F.binary_cross_entropy_with_logits(leaf([40.0]), leaf([1.0]))
    assert loss.item() == pytest.approx(np.exp(-40.0), rel=1e-12, abs=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_far_logits_is_exact(dtype: Any) -> None:
    x = tensor(np.array([[1e4, -1e4], [1e4, -1e4]], dtype), requires_grad=True)
    losses = F.cross_entropy(x, tensor([0, 1]), reduction="none")
    assert losses.value.tolist() == [0.0, 2e4]
    losses.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0], [1.0, -1.0]]


def test_an_impossible_class_that_is_not_the_label_costs_nothing() -> None:
    x = leaf([[-np.inf, 0.0, 0.0]])
    for target in (tensor([1]), tensor([[0.0, 1.0, 0.0]])):
        assert F.cross_entropy(x, target).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_stop_at_epsilon(p: float) -> None:
    wrong = F.binary_cross_entropy(leaf([p]), leaf([1.0 - p])).item()
    assert wrong == pytest.approx(-np.log(F.EPSILON), rel=1e-7)
    flow = slope(lambda x: F.binary_cross_entropy(x, tensor([1.0 - p])), [p])
    assert flow == 0.0


def test_a_probability_of_zero_for_the_class_stops_at_epsilon() -> None:
    loss = F.cross_entropy(leaf([[0.0, 1.0]]), tensor([0]), from_logits=False)
    assert loss.item() == pytest.approx(-np.log(F.EPSILON))


ALL: dict[str, Any] = {
    "mse": F.mse,
    "rmse": F.rmse,
    "mae": F.mae,
    "huber": F.huber,
    "smooth_l1": F.smooth_l1,
    "bce": F.binary_cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
}


@pytest.mark.parametrize("name", ALL)
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(ALL[name](leaf([np.nan, 0.5]), leaf([1.0, 1.0])).item())
    assert np.isnan(ALL[name](leaf([0.5, 0.5]), leaf([np.nan, 1.0])).item())


# --- shapes and dtypes -----------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_column_and_a_vector_are_matched_never_broadcast(name: str) -> None:
    x, y = P[:, :1], P[:, 1]
    expected = ALL[name](leaf(x), tensor(y[:, None])).item()
    assert ALL[name](leaf(x), tensor(y)).item() == expected
    assert ALL[name](leaf(x[:, 0]), tensor(y[:, None])).item() == expected
    assert ALL[name](leaf(x), tensor(y), WEIGHT).item() == pytest.approx(
        ALL[name](leaf(x[:, 0]), tensor(y), WEIGHT[:, None]).item()
    )


@pytest.mark.parametrize("name", ALL)
def test_a_target_of_another_shape_is_an_error(name: str) -> None:
    with pytest.raises(
        ShapeError,
        match=r"the target does not fit the output · output f64\[6,3\], target "
        r"f64\[6\], expected shape \[6, 3\]",
    ):
        ALL[name](leaf(P), tensor(P[:, 0]))


def test_a_weight_of_another_length_is_an_error() -> None:
    with pytest.raises(ShapeError, match="the weight does not fit the output"):
        F.mse(leaf(X), leaf(Y), WEIGHT[:5])


def test_the_target_takes_the_dtype_of_the_output() -> None:
    x = tensor(X.astype(np.float32))
    for y in (tensor(Y), tensor(LABELS[:, None] * np.ones((1, 3), np.int64))):
        assert F.mse(x, y, WEIGHT).dtype == np.float32
    assert F.cross_entropy(x, tensor(LABELS), WEIGHT).dtype == np.float32
    assert F.cross_entropy(x, tensor(SHARES)).dtype == np.float32


def test_an_output_of_integers_is_an_error() -> None:
    with pytest.raises(DTypeError, match=r"must be of floats, not i64\[6\]"):
        F.mse(tensor(LABELS), tensor(LABELS))


def test_labels_in_a_column_are_matched() -> None:
    assert F.cross_entropy(leaf(X), tensor(LABELS[:, None])).item() == (
        F.cross_entropy(leaf(X), tensor(LABELS)).item()
    )


def test_labels_that_are_floats_are_an_error_that_says_so() -> None:
    with pytest.raises(DTypeError, match=r"labels must be integers, not f64\[6\]"):
        F.cross_entropy(leaf(X), tensor(LABELS.astype(float)))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_an_error(label: int) -> None:
    with pytest.raises(DataError, match=f"a label is {label} · expected 0 to 2"):
        F.cross_entropy(leaf(X), tensor(np.full(6, label)))


def test_a_label_outside_the_classes_is_nan_where_it_is_not_known_yet() -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(x, y, reduction="none")

    found = compiled(loss, X, np.array([0, 1, 2, 3, -1, 0]))
    assert np.isnan(found).tolist() == [False, False, False, True, True, False]


def test_one_class_is_an_error_that_names_the_binary_loss() -> None:
    with pytest.raises(ShapeError, match="binary_cross_entropy_with_logits"):
        F.cross_entropy(leaf(X[:, :1]), tensor(LABELS))


def test_class_weights_of_a_wrong_number_are_an_error() -> None:
    with pytest.raises(ShapeError, match="expected one for each of 3 classes"):
        F.cross_entropy(leaf(X), tensor(LABELS), class_weight=[1.0, 2.0])


def test_an_unknown_reduction_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="no reduction 'avg'"):
        F.mse(leaf(X), leaf(Y), reduction="avg")


def test_label_smoothing_outside_0_to_1_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="label_smoothing must be between 0 and 1"):
        F.cross_entropy(leaf(X), tensor(LABELS), label_smoothing=1.5)


def test_losses_traced_and_compiled_equal_losses_at_the_prompt() -> None:
    for loss in (F.mse, F.rmse, F.huber, F.binary_cross_entropy_with_logits):
        assert compiled(loss, X, Y) == loss(tensor(X), tensor(Y)).item()
    assert compiled(F.cross_entropy, X, LABELS) == pytest.approx(
        F.cross_entropy(tensor(X), tensor(LABELS)).item(), rel=1e-15
    )
