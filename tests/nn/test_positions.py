"""Positions: waves, learned vectors, turns; layouts and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import functional as F
from pellucid import nn
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import grad, tensor

X = np.random.default_rng(0).normal(size=(2, 5, 6))


def test_sinusoidal_positions_are_the_papers_formula() -> None:
    p, i = np.arange(5)[:, None], np.arange(3)
    expected = np.zeros((5, 6))
    expected[:, 0::2] = np.sin(p / 50 ** (2 * i / 6))
    expected[:, 1::2] = np.cos(p / 50 ** (2 * i / 6))
    found = nn.SinusoidalPositions(6, base=50.0)(X)
    np.testing.assert_allclose(found.value, X + expected)


def test_learned_positions_are_added_and_get_the_sum_of_gradients() -> None:
    layer = nn.LearnedPositions(7, 6, dtype="f64")
    found = layer(X)
    np.testing.assert_allclose(found.value, X + layer.weight.value[:5])
    (slope,) = grad((found * tensor(X)).sum(), [layer.weight])
    np.testing.assert_allclose(slope.value[:5], X.sum(0))
    assert (slope.value[5:] == 0.0).all()


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_time_may_come_first(kind: str) -> None:
    def layer(**options: Any) -> nn.Module:
        if kind == "sinusoidal":
            return nn.SinusoidalPositions(6, **options)
        made = nn.LearnedPositions(5, 6, dtype="f64", **options)
        made.weight.value = X[0]
        return made

    found = layer(batch_first=False)(X.swapaxes(0, 1)).value
    np.testing.assert_array_equal(found.swapaxes(0, 1), layer()(X).value)
    np.testing.assert_array_equal(layer()(X[0]).value, layer()(X).value[0])


def test_rotary_positions_are_the_function() -> None:
    layer = nn.RotaryPositions(base=50.0)
    np.testing.assert_array_equal(layer(X).value, F.rotary(X, base=50.0).value)


def test_learned_positions_are_drawn_small_and_said_to_be() -> None:
    layer = nn.LearnedPositions(200, 50)
    assert layer.weight.value.std() == pytest.approx(0.02, rel=0.05)
    assert "normal, standard deviation 0.02" in layer.summary()


def test_positions_keep_the_dtype_of_their_input() -> None:
    single = X.astype(np.float32)
    for layer in (nn.SinusoidalPositions(6), nn.LearnedPositions(5, 6)):
        assert layer(single).dtype == np.float32


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nn.SinusoidalPositions(6), (2, 5, 4), r"expected \[…, time, 6\]"),
        (nn.SinusoidalPositions(6), (6,), r"got f64\[6\]"),
        (nn.LearnedPositions(5, 6, batch_first=False), (5, 6), r"\[time, batch, 6\]"),
        (nn.LearnedPositions(4, 6), (5, 6),
         "a sequence of 5 positions · expected at most 4 · try max_length=5"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(
    layer: nn.Module, shape: Any, words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        layer(np.ones(shape))


def test_arguments_that_make_no_positions_are_named() -> None:
    with pytest.raises(ArgumentError, match="waves come in pairs: width=5 is not even"):
        nn.SinusoidalPositions(5)
    with pytest.raises(ArgumentError, match="max_length must be a whole number ≥ 1"):
        nn.LearnedPositions(0, 4)
    with pytest.raises(ArgumentError, match="weights are f32 or f64"):
        nn.LearnedPositions(3, 4, dtype="i32")
