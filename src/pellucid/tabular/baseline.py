"""What a network must beat: a linear model of the same encoded features.

It learns from the same training part, so that what differs is the network.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

__all__ = ["linear_guess"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def linear_guess(X: Array, y: Array, rows: Array) -> Array:
    """Predict by a model that is linear in the features.

    Logistic regression for class numbers, giving `[rows, classes]`; ridge regression
    for quantities, giving `[rows]`; both with a penalty of 1 on the squared weights.
    """
    if y.dtype.kind != "i":
        fitted: Array = Ridge(alpha=1.0).fit(X, y).predict(rows)
        return fitted
    with warnings.catch_warnings():
        # Where it is cut off it is as good as it gets for a comparison; that there
        # are many classes is said elsewhere.
        warnings.simplefilter("ignore", UserWarning)
        # Threads that wait actively for each other cost more here than they bring.
        with threadpool_limits(1):
            model = LogisticRegression(max_iter=500).fit(X, y)
    probabilities: Array = model.predict_proba(rows)
    return probabilities
