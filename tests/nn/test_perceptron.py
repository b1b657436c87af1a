"""The perceptron: its rule, its bound, what no plane separates, a unit of networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Perceptron as Reference
from sklearn.svm import SVC

import pellucid as pel
from pellucid import nn, optim
from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.tensors import tensor

Array = np.ndarray[Any, Any]

LOGIC = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def separable(seed: int, gap: float = 0.3) -> tuple[Array, Array]:
    """Draw rows on both sides of a random plane, none of them near it."""
    rng = np.random.default_rng(seed)
    features = 2 + seed % 3
    normal = rng.normal(size=features)
    X = rng.normal(size=(200, features)) + rng.normal(size=features)
    heights = (X - X.mean(0)) @ normal / np.linalg.norm(normal)
    kept = abs(heights) > gap
    return X[kept], (heights[kept] > 0).astype(int)


def by_hand(X: Array, y: Array, epochs: int) -> tuple[Array, Array, list[int]]:
    """Rosenblatt's rule, a row at a time."""
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, []
    for _ in range(epochs):
        mistakes.append(0)
        for x, t in zip(X, y):
            missed = t - (w @ x + b >= 0)
            w, b = w + missed * x, b + missed
            mistakes[-1] += abs(missed)
    return w, b, mistakes


# --- the rule --------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_the_rule_is_rosenblatts(engine: str) -> None:
    X, y = separable(0, gap=0.05)
    unit = nn.Perceptron(2, dtype="f64")
    found = unit.fit(X, y, engine=engine)
    w, b, mistakes = by_hand(X, y, found.epochs)
    np.testing.assert_allclose(unit.weight.value[0], w, rtol=1e-9)
    np.testing.assert_allclose(unit.bias.value[0], b, rtol=1e-9)
    assert list(found.mistakes) == mistakes
    assert mistakes[-1] == 0 < mistakes[-2]


def test_the_rule_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X @ [1, -2, 0.5] + rng.normal(size=60) > 0.2).astype(int)
    first = int(np.argmin(y))  # theirs counts a height of 0 as wrong, ours as a 1
    X, y = np.roll(X, -first, 0), np.roll(y, -first)
    theirs = Reference(shuffle=False, max_iter=7, tol=None).fit(X, y)
    unit = nn.Perceptron(3, dtype="f64")
    assert not unit.fit(X, y, max_epochs=7).converged
    np.testing.assert_allclose(unit.weight.value, theirs.coef_, rtol=1e-9)
    np.testing.assert_allclose(unit.bias.value, theirs.intercept_, rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_separable_set_is_separated_within_novikoffs_bound(seed: int) -> None:
    X, y = separable(seed)
    unit = nn.Perceptron(X.shape[1], dtype="f64")
    found = unit.fit(X, y)
    assert found.converged
    assert (unit(X).value[:, 0] == y).all()
    # The widest plane through the origin of (x, 1), by a support vector machine.
    ones = np.column_stack([X, np.ones(len(X))])
    signed = np.where(y, 1, -1)[:, None] * ones
    machine = SVC(kernel="linear", C=1e9).fit(
        np.vstack([signed, -signed]), np.repeat([1, 0], len(X))
    )
    plane = machine.coef_[0]
    widest = (signed @ plane).min() / np.linalg.norm(plane)
    radius = np.linalg.norm(ones, axis=1).max()
    assert found.radius == pytest.approx(radius)
    assert 0 < found.margin <= widest * (1 + 1e-6)
    assert found.largest_margin >= widest * (1 - 1e-6)
    assert found.total_mistakes <= found.bound(widest) <= found.bound()
    assert found.bound(widest) == pytest.approx((radius / widest) ** 2)


def test_logic_is_learned_and_told_in_words() -> None:
    for y in ([0, 0, 0, 1], [0, 1, 1, 1], [-1, 1, -1, 1], [True] * 4, [0] * 4):
        unit = nn.Perceptron(2)
        found = unit.fit(LOGIC, y)
        assert str(found).startswith(f"separated after {found.epochs} epochs")
        assert unit(LOGIC).value[:, 0].tolist() == [float(each > 0) for each in y]


def test_each_output_is_a_perceptron_of_its_own() -> None:
    X, _ = separable(1)
    targets = np.column_stack([X[:, 0] > 0, X[:, 1] < 0.5, X[:, 2] > -0.5])
    layer = nn.Perceptron(3, 3)
    found = layer.fit(X, targets, max_epochs=3000)
    assert found.converged
    for i in range(3):
        alone = nn.Perceptron(3)
        alone.fit(X, targets[:, i], max_epochs=found.epochs)
        np.testing.assert_array_equal(alone.weight.value[0], layer.weight.value[i])
        assert alone.bias.value[0] == layer.bias.value[i]
    assert found.total_mistakes <= found.bound()


# --- what no plane separates -----------------------------------------------------


def test_exclusive_or_is_proved_to_be_not_separable() -> None:
    found = nn.Perceptron(2).fit(LOGIC, [0, 1, 1, 0])
    assert not found.converged
    assert str(found) == (
        "not separable: the weights came back, and the mistakes in between cancel out"
    )
    assert found.margin == 0
    assert found.epochs < 20
    assert found.bound() == math.inf


def test_equal_rows_of_different_targets_are_named() -> None:
    X = np.array([[0.5, 1.0], [0.2, 0.3], [0.5, 1.0], [9.0, 9.0]])
    found = nn.Perceptron(2).fit(X, [0, 1, 1, 1], max_epochs=5)
    assert str(found) == (
        "not separable: rows 0 and 2 are equal and of different targets"
    )


def test_without_a_proof_it_says_how_small_a_margin_must_be() -> None:
    X, y = separable(0, gap=0.0)
    found = nn.Perceptron(2).fit(X, y, max_epochs=3)
    assert not found.converged
    assert not found.proof
    assert str(found).startswith("not separated in 3 epochs and ")
    whole = nn.Perceptron(2).fit(X, y, max_epochs=10000)
    assert whole.converged
    assert whole.margin <= found.largest_margin
    assert f"at most, of rows as long as {found.radius:.3g}" in str(found)


def test_rounding_proves_nothing() -> None:
    # Weights in f32 stop changing: 2²⁴ + 1 is 2²⁴. The set is separable all the same.
    X = np.array([[2.0**25], [2.0**25 + 4]], np.float32)
    found = nn.Perceptron(1).fit(X, [0, 1], max_epochs=100)
    assert not found.converged
    assert not found.proof


# --- a unit of a network ---------------------------------------------------------


def test_in_a_network_the_squared_error_trains_it_by_its_rule() -> None:
    X, y = separable(3)
    unit = nn.Perceptron(2, init="zeros", dtype="f64")
    found = unit.fit(X, y)
    net = nn.Sequential(nn.Identity(), nn.Perceptron(2, init="zeros", dtype="f64"))
    trainer = pel.Trainer(net, nn.MSELoss(), optim.SGD(lr=0.5))
    history = trainer.fit(
        X, y, epochs=found.epochs, batch_size=1, shuffle=False, verbose=0
    )
    np.testing.assert_allclose(net[1].weight.value, unit.weight.value, rtol=1e-9)
    np.testing.assert_allclose(net[1].bias.value, unit.bias.value, rtol=1e-9)
    wrong = np.array(history["loss"]) * len(X)
    np.testing.assert_allclose(wrong, found.mistakes, atol=1e-6)


def test_layers_in_front_get_a_gradient() -> None:
    X = LOGIC.astype(np.float32)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Perceptron(8))
    trainer = pel.Trainer(net, nn.MSELoss(), optim.SGD(lr=0.1), seed=1)
    trainer.fit(X, [0, 1, 1, 0], epochs=200, batch_size=1, verbose=0)
    assert net(X).value[:, 0].tolist() == [0, 1, 1, 0]


def test_backward_it_is_the_identity() -> None:
    unit = nn.Perceptron(3, 2, dtype="f64")
    x = tensor(np.random.default_rng(0).normal(size=(4, 3)), requires_grad=True)
    y = unit(x)
    assert set(np.unique(y.value)) <= {0.0, 1.0}
    (y * 2.0).sum().backward()
    np.testing.assert_allclose(x.grad, np.full((4, 2), 2.0) @ unit.weight.value)
    np.testing.assert_allclose(unit.bias.grad, [8.0, 8.0])


def test_it_is_saved_and_loaded(tmp_path: Any) -> None:
    unit = nn.Perceptron(2, 3)
    unit.save(tmp_path / "a.safetensors")
    again = nn.load(tmp_path / "a.safetensors")
    assert repr(again) == repr(unit) == "Perceptron(in_features=2, out_features=3)"
    np.testing.assert_array_equal(again.weight.value, unit.weight.value)


# --- what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "error", "match"),
    [
        ([[0, 1]], [2], DataError, "y holds 2 · expected 0 and 1, or -1 and 1 · a un"),
        ([[0, 1], [1, 1]], [-1, 0], DataError, "y holds -1, 0 · expected"),
        ([[0, 1]], [1, 0], ShapeError, r"y has shape \(2,\) · expected 1 rows of 1"),
        ([[0, 1, 2]], [1], ShapeError, "expected rows of 2 features"),
        ([0, 1], [1], ShapeError, r"X has shape \(2,\)"),
        ([[0, np.nan]], [1], DataError, "X holds a NaN"),
        ([[0, 1e300]], [1], DataError, "beyond its dtype"),
    ],
)
def test_bad_data_are_refused(X: Any, y: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        nn.Perceptron(2).fit(X, y)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="out_features must be a whole number"):
        nn.Perceptron(2, 0)
    with pytest.raises(ArgumentError, match="max_epochs must be a whole number"):
        nn.Perceptron(2).fit(LOGIC, [0, 0, 0, 1], max_epochs=0)
    with pytest.raises(ArgumentError, match="a margin is above 0"):
        nn.Perceptron(2).fit(LOGIC, [0, 0, 0, 1]).bound(0.0)
