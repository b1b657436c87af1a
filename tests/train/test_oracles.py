"""One-layer networks are the models that everybody knows."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression

from pellucid import nn, optim
from pellucid.train.trainer import Trainer


def test_linear_regression_agrees_with_the_closed_form():
    X, y = load_diabetes(return_X_y=True)
    X = X / X.std(0)
    model = nn.Sequential(nn.Linear(10, 1)).to("f64")
    trainer = Trainer(model, nn.MSELoss(), optim.LBFGS())
    trainer.fit(X, y.reshape(-1, 1), epochs=100, batch_size=None, verbose=0)
    oracle = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model[0].weight.value[0], oracle.coef_, rtol=1e-4)
    np.testing.assert_allclose(model[0].bias.value[0], oracle.intercept_, rtol=1e-4)


def test_logistic_regression_agrees_with_scikit_learn():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    strength = 1.0
    model = nn.Sequential(nn.Linear(30, 1)).to("f64")

    def penalised(output, target, weight=None):
        mean = nn.BCEWithLogitsLoss()(output, target, weight)
        return mean + (model[0].weight ** 2.0).sum() * (strength / (2 * len(X)))

    trainer = Trainer(model, penalised, optim.LBFGS())
    trainer.fit(X, y.reshape(-1, 1), epochs=300, batch_size=None, verbose=0)
    oracle = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(
        model[0].weight.value[0], oracle.coef_[0], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        model[0].bias.value, oracle.intercept_, rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_a_deep_network_learns_what_no_line_parts(xor, make_trainer):
    X, y = xor
    trainer = make_trainer(metrics=["accuracy"])
    history = trainer.fit(X, y, epochs=100, verbose=0)
    assert history["accuracy"][-1] > 0.95
    assert trainer.evaluate(X, y)["accuracy"] > 0.95


def test_a_regression_target_is_standardised_inside_the_model():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2)).astype(np.float32)
    y = (1e6 + 1e5 * np.tanh(X[:, :1] - X[:, 1:])).astype(np.float32)
    model = nn.Sequential(
        nn.Standardize(2), nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1),
        nn.Unstandardize(1),
    )  # fmt: skip
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=1e-2), metrics=["mae"])
    history = trainer.fit(X, y, epochs=60, verbose=0)
    assert history["loss"][0] < 3  # in standard units, whatever the target's unit
    assert history["mae"][-1] < 1e4  # in the target's unit
    assert abs(trainer.predict(X).mean() / y.mean() - 1) < 0.01
