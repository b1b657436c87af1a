"""What an epoch tells: metrics, for the shapes in which targets come, and the rate."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.tensors import tensor
from pellucid.train.metrics import resolve_metrics
from pellucid.train.trainer import Trainer

RNG = np.random.default_rng(0)


def accuracy(loss, output, target, *weight):
    (measure,) = resolve_metrics(["accuracy"], loss).values()
    return measure(tensor(output), tensor(target), *map(tensor, weight)).item()


def test_classes_may_stand_in_a_column():
    scores, classes = RNG.normal(size=(9, 4)), RNG.integers(0, 4, 9)
    share = (scores.argmax(1) == classes).mean()
    loss = nn.CrossEntropyLoss()
    assert accuracy(loss, scores, classes) == pytest.approx(share)
    assert accuracy(loss, scores, classes.reshape(-1, 1)) == pytest.approx(share)
    assert accuracy(loss, scores, np.eye(4)[classes]) == pytest.approx(share)


@pytest.mark.parametrize(("axis", "shape"), [(1, (5, 4, 3)), (-1, (5, 3, 4))])
def test_each_place_of_a_sequence_counts(axis, shape):
    scores, classes = RNG.normal(size=shape), RNG.integers(0, 4, (5, 3))
    right = scores.argmax(axis) == classes
    loss = nn.CrossEntropyLoss(axis=axis)
    assert accuracy(loss, scores, classes) == pytest.approx(right.mean())
    weight = RNG.integers(0, 2, (5, 3))
    found = accuracy(loss, scores, classes, weight)
    assert found == pytest.approx(right[weight > 0].mean())


def test_one_score_is_compared_with_its_threshold():
    scores = RNG.normal(size=(9, 1))
    classes = RNG.integers(0, 2, 9)
    share = ((scores[:, 0] >= 0) == classes).mean()
    assert accuracy(nn.BCEWithLogitsLoss(), scores, classes) == pytest.approx(share)
    share = ((scores[:, 0] >= 0.5) == classes).mean()
    assert accuracy(nn.BCELoss(), scores, classes * 1.0) == pytest.approx(share)


def test_an_output_of_several_may_be_measured_beside_one_loss():
    X = RNG.normal(size=(20, 3))
    model = nn.VariationalAutoencoder(nn.Linear(3, 2), nn.Linear(1, 3), 1)
    trainer = Trainer(model, nn.ELBOLoss(), metrics=["reconstruction.mse"])
    found = trainer.evaluate(X)["reconstruction.mse"]
    error = np.mean((trainer.predict(X)["reconstruction"] - X) ** 2)
    assert found == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("engine", ["llvm", "numpy"])
def test_the_rate_of_an_epoch_is_that_of_its_first_step(engine: str) -> None:
    schedule = optim.OneCycle(0.1, steps=12)
    X = np.ones((12, 2), np.float32)
    for rate, wanted in ((schedule, [schedule.at(k) for k in (0, 4, 8)]), (0.5, [0.5])):
        model = nn.Linear(2, 1)
        trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=rate), engine=engine)
        history = trainer.fit(X, X[:, :1], epochs=len(wanted), batch_size=3, verbose=0)
        assert history["learning_rate"] == wanted
