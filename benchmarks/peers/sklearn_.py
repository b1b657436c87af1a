"""scikit-learn's perceptrons. They draw their own order of rows.

For two classes `MLPClassifier` has one output with a sigmoid in place of two with a
softmax: the same function, a little less work. Its first weights are the difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.data import examples, weights
from benchmarks.rows import Row

MODELS = {"classes": MLPClassifier, "values": MLPRegressor}


def _model(row: Row) -> Any:
    return MODELS[row.task](
        hidden_layer_sizes=row.widths[1:-1],
        activation=row.activation,
        solver=row.optimizer,
        alpha=0.0,
        batch_size=row.batch,
        learning_rate_init=row.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=row.shuffle,
        tol=0.0,
        n_iter_no_change=10**9,
        warm_start=True,
        random_state=3,
    )


def _start(model: Any, row: Row) -> None:
    layers = weights(row)
    if row.task == "classes" and row.widths[-1] == 2:
        weight, bias = layers[-1]
        layers[-1] = weight[1:] - weight[:1], bias[1:] - bias[:1]
    model.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    model.intercepts_ = [bias.copy() for _, bias in layers]


class Session:
    """An estimator that was fitted once, so that it has its shapes."""

    def __init__(self, row: Row) -> None:
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.row, self.model = row, _model(row)
        self.x, self.y = examples(row)
        self.run(1, None)

    def reset(self) -> None:
        """Go back to the first weights; `fit` begins with a fresh optimiser."""
        _start(self.model, self.row)
        self.model.loss_curve_ = []

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        self.model.max_iter = epochs
        self.model.fit(self.x, self.y)
        halved = 2.0 if self.row.task == "values" else 1.0
        return [halved * float(loss) for loss in self.model.loss_curve_[-epochs:]]


def prepare(row: Row) -> Session | Callable[[Any], Any]:
    """Return a session, or `predict_proba`: the same products and a softmax."""
    if row.kind == "train":
        return Session(row)
    model = _model(row)
    x = np.zeros((4 * row.widths[-1], row.widths[0]), np.float32)
    model.set_params(max_iter=1, batch_size=len(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, np.arange(len(x)) % row.widths[-1])
    _start(model, row)
    return model.predict_proba
