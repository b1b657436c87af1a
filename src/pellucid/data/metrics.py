"""What a report says of predictions, in plain NumPy.

These work on whole columns after training. They know nothing of graphs; losses,
which have gradients, live elsewhere. All are checked against scikit-learn.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import ShapeError, message

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "classification_metrics",
    "confusion_matrix",
    "log_loss",
    "mae",
    "r2",
    "regression_metrics",
    "rmse",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def _pair(y: Any, prediction: Any) -> tuple[Array, Array]:
    true, guess = np.asarray(y), np.asarray(prediction)
    if true.shape != guess.shape or not true.size:
        raise ShapeError(
            message(
                f"y has shape {true.shape} and its prediction {guess.shape}",
                expected="expected one prediction for each row",
            )
        )
    return true, guess


def _errors(y: Any, prediction: Any) -> Array:
    true, guess = _pair(y, prediction)
    errors: Array = true.astype(np.float64) - guess
    return errors


def accuracy(y: Any, prediction: Any) -> float:
    """Return the share of class numbers `[n]` that were predicted.

    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    true, guess = _pair(y, prediction)
    return float(np.mean(true == guess))


def balanced_accuracy(y: Any, prediction: Any) -> float:
    """Return the mean over the classes in `y` of the share predicted, `[n]` each.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    true, guess = _pair(y, prediction)
    _, number, rows = np.unique(true, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(number, weights=true == guess) / rows))


def confusion_matrix(y: Any, prediction: Any, classes: int) -> Array:
    """Return how often class `i` was predicted as `j`, int64 `[classes, classes]`.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0], 2).tolist()
    [[1, 0], [1, 1]]
    """
    true, guess = _pair(y, prediction)
    cells = np.bincount(
        true.astype(np.int64) * classes + guess, minlength=classes * classes
    )
    return cells.reshape(classes, classes)


def log_loss(y: Any, probabilities: Any) -> float:
    """Return the mean negative logarithm of the probability of the true class.

    `y` `[n]` are class numbers, `probabilities` `[n, classes]` floats. They are clipped
    to [eps, 1 - eps], with eps the machine epsilon of their dtype, as scikit-learn
    does.

    >>> round(log_loss([1, 0], [[0.5, 0.5], [0.5, 0.5]]), 4)
    0.6931
    """
    true, given = np.asarray(y), np.asarray(probabilities)
    if given.ndim != 2 or true.shape != given.shape[:1] or not true.size:
        raise ShapeError(
            message(
                f"y has shape {true.shape} and its probabilities {given.shape}",
                expected="expected [n] and [n, classes]",
            )
        )
    eps = np.finfo(given.dtype).eps
    chosen = np.clip(given, eps, 1 - eps)[np.arange(len(true)), true]
    return float(-np.mean(np.log(chosen, dtype=np.float64)))


def rmse(y: Any, prediction: Any) -> float:
    """Return the root of the mean squared error, in the unit of `y`.

    >>> rmse([0.0, 0.0], [1.0, -1.0])
    1.0
    """
    return float(np.sqrt(np.mean(np.square(_errors(y, prediction)))))


def mae(y: Any, prediction: Any) -> float:
    """Return the mean absolute error, in the unit of `y`.

    >>> mae([0.0, 0.0], [1.0, -3.0])
    2.0
    """
    return float(np.mean(np.abs(_errors(y, prediction))))


def r2(y: Any, prediction: Any) -> float:
    """Return the share of the variance of `y` that is explained; 1 is perfect.

    A constant `y` gives 1 where it is met exactly and 0 otherwise.

    >>> r2([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    0.0
    """
    unexplained = float(np.sum(np.square(_errors(y, prediction))))
    true = np.asarray(y, np.float64)
    total = float(np.sum(np.square(true - true.mean())))
    if total == 0.0:
        return 1.0 if unexplained == 0.0 else 0.0
    return 1.0 - unexplained / total


def classification_metrics(y: Any, probabilities: Any) -> dict[str, float]:
    """Return accuracy, log loss and balanced accuracy of `[n, classes]`."""
    guess = np.argmax(np.asarray(probabilities), axis=1)
    return {
        "accuracy": accuracy(y, guess),
        "log_loss": log_loss(y, probabilities),
        "balanced_accuracy": balanced_accuracy(y, guess),
    }


def regression_metrics(y: Any, prediction: Any) -> dict[str, float]:
    """Return the root mean squared error, the mean absolute one, and R²."""
    return {
        "rmse": rmse(y, prediction),
        "mae": mae(y, prediction),
        "r2": r2(y, prediction),
    }
