"""Metrics, checked against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from pellucid.data import metrics
from pellucid.errors import ShapeError


@pytest.fixture(params=[2, 5])
def classified(request):
    random = np.random.default_rng(request.param)
    y = np.r_[np.arange(request.param), random.integers(0, request.param, 60)]
    scores = np.exp(2 * random.normal(size=(len(y), request.param)))
    return y, scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture
def measured():
    random = np.random.default_rng(0)
    y = random.lognormal(size=50)
    return y, y + random.normal(size=50)


def test_classification_agrees_with_scikit_learn(classified):
    y, probabilities = classified
    guess = probabilities.argmax(axis=1)
    found = metrics.classification_metrics(y, probabilities)
    assert list(found) == ["accuracy", "log_loss", "balanced_accuracy"]
    assert all(type(value) is float for value in found.values())
    expected = [
        oracle.accuracy_score(y, guess),
        oracle.log_loss(y, probabilities),
        oracle.balanced_accuracy_score(y, guess),
    ]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(y, guess, probabilities.shape[1]),
        oracle.confusion_matrix(y, guess),
    )


def test_regression_agrees_with_scikit_learn(measured):
    found = metrics.regression_metrics(*measured)
    assert list(found) == ["rmse", "mae", "r2"]
    assert all(type(value) is float for value in found.values())
    expected = [
        oracle.root_mean_squared_error(*measured),
        oracle.mean_absolute_error(*measured),
        oracle.r2_score(*measured),
    ]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_and_wrong_probabilities_are_clipped_as_scikit_learn_does(dtype):
    y = np.array([0, 1, 1])
    probabilities = np.array([[1, 0], [0, 1], [1, 0]], dtype)
    assert metrics.log_loss(y, probabilities) == pytest.approx(
        oracle.log_loss(y, probabilities), rel=1e-6
    )


def test_a_class_absent_from_the_truth_does_not_count():
    y, guess = [0, 0, 2, 2], [0, 1, 2, 2]
    assert metrics.balanced_accuracy(y, guess) == 0.75
    assert metrics.confusion_matrix(y, guess, 3).tolist() == [
        [1, 1, 0],
        [0, 0, 0],
        [0, 0, 2],
    ]
    assert metrics.confusion_matrix([0], [0], 3).shape == (3, 3)


def test_a_constant_truth_is_either_met_or_not():
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2([2.0, 2.0], [2.0, 3.0]) == 0.0


def test_whole_numbers_do_not_overflow():
    y = np.array([0, 200], np.uint8)
    assert metrics.mae(y, np.array([200, 0], np.uint8)) == 200.0
    assert metrics.rmse(y, np.array([200, 0], np.uint8)) == 200.0
    assert metrics.r2(y, y) == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "rmse", "r2"])
def test_different_numbers_of_rows_are_refused(metric):
    measure = getattr(metrics, metric)
    with pytest.raises(ShapeError, match=r"y has shape \(2,\) and its prediction \(3,"):
        measure([0, 1], [0, 1, 1])
    with pytest.raises(ShapeError, match="expected one prediction for each row"):
        measure([0, 1], [[0], [1]])
    with pytest.raises(ShapeError):
        measure([], [])


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"probabilities \(2,\) · expected \[n\] and"):
        metrics.log_loss([0, 1], np.array([0.5, 0.5]))
    with pytest.raises(ShapeError):
        metrics.log_loss([0], np.full((2, 2), 0.5))
