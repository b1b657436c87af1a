"""Array functions: values against NumPy, gradients against JAX, edges by hand."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from functional_oracle import agree, compiled, leaf, second, slope

from pellucid import functional as F
from pellucid.configuration import config
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import tensor

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
POSITIVE = RNG.uniform(0.1, 3, size=(3, 4))
ROW = RNG.normal(size=4)

UNARY = ["exp", "expm1", "sin", "cos", "tan", "tanh", "square", "abs", "sign"]
UNARY += ["floor", "ceil", "round", "negative"]
UNARY_POSITIVE = ["log", "log1p", "sqrt"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]
REDUCTIONS = ["sum", "mean", "max", "min", "var", "std"]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", UNARY + UNARY_POSITIVE)
def test_functions_of_one_operand_agree_with_jax(name: str) -> None:
    values = POSITIVE if name in UNARY_POSITIVE else X * 2
    agree(getattr(F, name), getattr(jnp, name), values)


def test_erf_agrees_with_jax() -> None:
    from jax.scipy.special import erf

    agree(F.erf, erf, X)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", [Y, ROW, np.array(1.5)])
def test_functions_of_two_operands_broadcast_and_agree_with_jax(
    name: str, other: Any
) -> None:
    agree(getattr(F, name), getattr(jnp, name), X, other)


def test_powers_agree_with_jax() -> None:
    agree(F.pow, jnp.power, POSITIVE, Y)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_agree_with_numpy(name: str) -> None:
    x, y = np.array([1.0, 2.0, np.nan, 3.0]), np.array([1.0, 3.0, np.nan, 2.0])
    found = getattr(F, name)(x, y)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found.value, getattr(np, name)(x, y))


@pytest.mark.parametrize("name", LOGIC)
def test_logic_agrees_with_numpy_for_truths_and_numbers(name: str) -> None:
    x, y = np.array([0, 0, 2, 5]), np.array([False, True, False, True])
    np.testing.assert_array_equal(getattr(F, name)(x, y).value, getattr(np, name)(x, y))


def test_not_and_the_tests_of_floats_agree_with_numpy() -> None:
    x = np.array([0.0, 1.0, -np.inf, np.inf, np.nan])
    for name in ("logical_not", "isnan", "isinf", "isfinite"):
        np.testing.assert_array_equal(getattr(F, name)(x).value, getattr(np, name)(x))
        whole = np.array([0, 3])
        np.testing.assert_array_equal(
            getattr(F, name)(whole).value, getattr(np, name)(whole)
        )


def test_where_chooses_and_broadcasts_all_three() -> None:
    condition = np.array([[True], [False], [True]])
    agree(
        lambda x, y: F.where(condition, x, y),
        lambda x, y: jnp.where(condition, x, y),
        ROW,
        np.array(0.5),
    )
    np.testing.assert_array_equal(
        F.where(condition, 1.0, ROW).value, np.where(condition, np.float32(1), ROW)
    )


def test_where_lets_no_gradient_into_the_other_branch() -> None:
    found = slope(lambda x: F.where(x > 0, F.log(F.where(x > 0, x, 1.0)), 0.0), [-1, 2])
    assert found.tolist() == [0.0, 0.5]


def test_clip_keeps_to_its_bounds_and_has_no_gradient_at_them() -> None:
    x = np.array([-2.0, -1.0, 0.5, 1.0, np.nan])
    np.testing.assert_array_equal(F.clip(leaf(x), -1, 1).value, np.clip(x, -1, 1))
    assert slope(lambda x: F.clip(x, -1.0, 1.0), x[:4]).tolist() == [0, 0, 1, 0]
    assert F.clip(leaf(x), min=0.0).value[0] == 0.0
    assert F.clip(leaf(x), max=0.0).value[3] == 0.0


@pytest.mark.parametrize("x", [1e-300, 1e-18, -1e-9, 1e-4, 0.7, -0.9])
def test_expm1_and_log1p_keep_the_digits_of_small_numbers(x: float) -> None:
    assert F.expm1(leaf(x)).item() == pytest.approx(np.expm1(x), rel=4e-16, abs=0)
    assert F.log1p(leaf(x)).item() == pytest.approx(np.log1p(x), rel=4e-16, abs=0)
    for ours, plain in ((F.expm1, np.expm1), (F.log1p, np.log1p)):
        assert compiled(ours, np.array(x)) == pytest.approx(plain(x), rel=4e-16, abs=0)
    assert slope(F.expm1, x) == pytest.approx(np.exp(x), rel=1e-15, abs=0)
    assert slope(F.log1p, x) == pytest.approx(1 / (1 + x), rel=1e-15, abs=0)
    assert second(F.log1p, x) == pytest.approx(-((1 + x) ** -2), rel=1e-14, abs=0)


def test_expm1_and_log1p_at_the_ends() -> None:
    np.testing.assert_array_equal(
        F.expm1(leaf([-np.inf, 0.0, np.inf, 1e4])).value, [-1.0, 0.0, np.inf, np.inf]
    )
    np.testing.assert_array_equal(
        F.log1p(leaf([-1.0, 0.0, np.inf, -2.0])).value, [-np.inf, 0.0, np.inf, np.nan]
    )


def test_halves_are_rounded_to_the_even_number_and_the_rest_stays() -> None:
    x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, np.inf, -np.inf, 1e300]
    np.testing.assert_array_equal(F.round(leaf(x)).value, np.round(x))
    assert np.isnan(F.round(leaf(np.nan)).item())


def test_whole_numbers_are_rounded_to_themselves() -> None:
    for function in (F.floor, F.ceil, F.round):
        found = function(tensor([-3, 2]))
        assert found.dtype == np.int64
        assert found.value.tolist() == [-3, 2]
        assert function(tensor(np.array([3, 2], np.uint8))).value.tolist() == [3, 2]


def test_no_gradient_flows_through_stop_gradient() -> None:
    assert slope(lambda x: F.stop_gradient(x) * x, 3.0) == 3.0


# --- reductions ------------------------------------------------------------------


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_agree_with_jax(name: str, axis: Any, keepdims: bool) -> None:
    agree(
        lambda x: getattr(F, name)(x, axis=axis, keepdims=keepdims),
        lambda x: getattr(jnp, name)(x, axis=axis, keepdims=keepdims),
        X,
    )


def test_variance_with_a_correction_agrees_with_numpy() -> None:
    found = F.var(leaf(X), axis=0, correction=1).value
    np.testing.assert_allclose(found, X.var(0, ddof=1), rtol=1e-14)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_place_of_the_largest_and_smallest(
    name: str, axis: Any, keepdims: bool
) -> None:
    tied = np.round(X)
    found = getattr(F, name)(tied, axis=axis, keepdims=keepdims).value
    expected = getattr(np, name)(tied, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, 0, 255], [7, 7, 2]], np.uint8),
        np.array([[5, np.iinfo(np.int64).min], [0, 1]]),
        np.array([[True, False], [True, True]]),
    ],
)
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_place_of_the_smallest_whole_number(values: Any, axis: Any) -> None:
    found = F.argmin(values, axis).value
    np.testing.assert_array_equal(found, values.argmin(axis))


def test_the_place_of_the_largest_is_refused_along_an_axis_that_is_not_there() -> None:
    for x, axis in ((X, 2), (X, -3), (1.0, 0)):
        with pytest.raises(ShapeError, match=f"axis {axis} is not an axis of f"):
            F.argmax(x, axis)


def test_an_axis_may_be_a_number_of_numpy() -> None:
    np.testing.assert_array_equal(F.max(X, np.int64(1)).value, X.max(1))


def test_truths_are_counted_by_sum_and_averaged_by_mean() -> None:
    x = np.array([True, False, True, True])
    assert F.sum(x).item() == 3
    assert F.mean(x).item() == 0.75


# --- shapes ----------------------------------------------------------------------

SHAPES: dict[str, tuple[Any, Any]] = {
    "reshape": (lambda x: F.reshape(x, (2, -1)), lambda x: x.reshape(2, -1)),
    "permute_dims": (
        lambda x: F.permute_dims(x, (1, 0)),
        lambda x: jnp.transpose(x, (1, 0)),
    ),
    "matrix_transpose": (F.matrix_transpose, lambda x: x.T),
    "expand_dims": (
        lambda x: F.expand_dims(x, -1),
        lambda x: jnp.expand_dims(x, -1),
    ),
    "squeeze": (
        lambda x: F.squeeze(F.expand_dims(x, 1), 1),
        lambda x: x,
    ),
    "flip": (lambda x: F.flip(x, 0), lambda x: jnp.flip(x, 0)),
    "flip all": (F.flip, jnp.flip),
    "roll": (lambda x: F.roll(x, 3, 1), lambda x: jnp.roll(x, 3, 1)),
    "roll back": (lambda x: F.roll(x, -5, 0), lambda x: jnp.roll(x, -5, 0)),
    "roll all": (lambda x: F.roll(x, 2), lambda x: jnp.roll(x, 2)),
    "broadcast_to": (
        lambda x: F.broadcast_to(x, (2, 3, 4)),
        lambda x: jnp.broadcast_to(x, (2, 3, 4)),
    ),
    "concat": (
        lambda x: F.concat([x, x * 2], 1),
        lambda x: jnp.concat([x, x * 2], axis=1),
    ),
    "concat flat": (
        lambda x: F.concat([x, x], None),
        lambda x: jnp.concat([x, x], axis=None),
    ),
    "stack": (
        lambda x: F.stack([x, x * 2], -1),
        lambda x: jnp.stack([x, x * 2], -1),
    ),
    "take": (
        lambda x: F.take(x, np.array([[2, 0], [2, 2]]), 1),
        lambda x: jnp.take(x, np.array([[2, 0], [2, 2]]), 1),
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", SHAPES)
def test_functions_of_shape_agree_with_jax(name: str) -> None:
    ours, theirs = SHAPES[name]
    weights = RNG.normal(size=np.asarray(theirs(X)).shape)
    agree(lambda x: ours(x) * weights, lambda x: theirs(x) * weights, X)


def test_products_agree_with_jax() -> None:
    batch = RNG.normal(size=(2, 4, 5))
    agree(F.matmul, jnp.matmul, X, batch)
    agree(F.matmul, jnp.matmul, ROW, batch[0])
    agree(F.vecdot, lambda x, y: (x * y).sum(-1), X, Y)
    agree(F.tensordot, jnp.tensordot, X, Y)
    agree(
        lambda x, y: F.tensordot(x, y, ([0], [1])),
        lambda x, y: jnp.tensordot(x, y, ([0], [1])),
        X,
        RNG.normal(size=(2, 3)),
    )
    agree(
        lambda x, y: F.tensordot(x, y, 1), lambda x, y: jnp.tensordot(x, y, 1), X, ROW
    )


def test_tensors_of_different_dtypes_are_joined_in_the_wider() -> None:
    found = F.concat([np.array([1]), np.array([2.5], np.float32)])
    assert found.dtype == np.float32
    assert found.value.tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: F.squeeze(leaf(X), 0), "not all of size 1"),
        (lambda: F.expand_dims(leaf(X), 4), "axis 4 cannot be put into"),
        (lambda: F.matrix_transpose(leaf(ROW)), r"f64\[4\] is not a matrix"),
        (lambda: F.broadcast_to(leaf(X), (4,)), r"does not broadcast to \[4\]"),
        (lambda: F.broadcast_to(leaf(X), (5, 4)), r"does not broadcast to \[5, 4\]"),
        (lambda: F.stack([leaf(X), leaf(ROW)]), r"f64\[3,4\], f64\[4\]"),
    ],
)
def test_shapes_that_do_not_fit_are_errors_that_show_them(
    call: Any, words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        call()


def test_joining_nothing_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="nothing to join"):
        F.concat([])


# --- making ----------------------------------------------------------------------


def test_new_tensors_have_the_configured_dtype_or_the_one_asked_for() -> None:
    for make in (F.zeros, F.ones, lambda shape, dtype=None: F.eye(*shape, dtype)):
        assert make((2, 3)).dtype == np.float32
        assert make((2, 3), "f64").dtype == np.float64
        with config(dtype="f64"):
            assert make((2, 3)).dtype == np.float64


def test_new_tensors_have_their_values() -> None:
    np.testing.assert_array_equal(F.zeros((2, 3)).value, np.zeros((2, 3)))
    np.testing.assert_array_equal(F.ones((2,)).value, np.ones(2))
    np.testing.assert_array_equal(F.full((2, 2), 7).value, np.full((2, 2), 7))
    np.testing.assert_array_equal(F.eye(2, 3).value, np.eye(2, 3))
    np.testing.assert_array_equal(F.arange(2, 8, 3).value, [2, 5])
    np.testing.assert_allclose(F.arange(0, 1, 0.25).value, [0, 0.25, 0.5, 0.75])
    assert F.arange(5, 2).shape == (0,)
    assert F.arange(3).dtype == np.int64
    assert F.arange(3.0).dtype == np.float32


def test_tensors_like_another_take_its_shape_and_dtype() -> None:
    labels = tensor(np.ones((2, 2), np.int32))
    for make, value in ((F.zeros_like, 0), (F.ones_like, 1)):
        found = make(labels)
        assert found.type == labels.type
        assert (found.value == value).all()
    assert F.full_like(leaf(X), 2.5).value[0, 0] == 2.5
    assert F.zeros_like(labels, "f64").dtype == np.float64


def test_one_hot_has_a_one_at_each_label_and_none_for_a_label_outside() -> None:
    found = F.one_hot(np.array([[0, 2], [1, 5]]), 3)
    assert found.shape == (2, 2, 3)
    assert found.value[0].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found.value[1].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_one_hot_of_bytes_has_a_single_one_among_more_classes_than_bytes() -> None:
    found = F.one_hot(np.array([0, 44], np.uint8), 301).value
    assert found.argmax(1).tolist() == [0, 44]
    assert found.sum(1).tolist() == [1.0, 1.0]


def test_every_public_name_has_a_docstring() -> None:
    from pellucid.functional import activations, array, control, layout, losses

    for module in (activations, array, control, layout, losses):
        for name in module.__all__:
            assert getattr(F, name).__doc__, name
