"""Batch, stochastic and mini-batch descent; no row is lost; weights count."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, DataError
from pellucid.train.plan import Plan
from pellucid.train.trainer import Trainer


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("batch_size", "iterations"), [(1, 203), (32, 7), (100, 3), (203, 1), (None, 1)]
)
def test_epochs_and_iterations_are_counted(xor, make_trainer, batch_size, iterations):
    X, y = xor
    history = make_trainer().fit(X, y, epochs=2, batch_size=batch_size, verbose=0)
    assert history.epochs == 2
    assert history.iterations == 2 * iterations
    assert history["iterations"] == [iterations, 2 * iterations]


def test_every_row_is_seen_once_an_epoch(xor):
    X, y = xor
    plan = Plan({"x": X, "y": y}, 32, True, 0)
    seen = np.concatenate(list(plan.parts(3, 5)))
    assert sorted(seen) == list(range(203))
    assert (seen != plan.order(4)).any()


def test_a_long_epoch_is_cut_into_parts_of_whole_steps():
    plan = Plan({"x": np.zeros((5000, 1), np.float32)}, 3, True, 0)
    parts = list(plan.parts(0, 512))
    assert len(parts) > 1
    assert all(len(part) % 3 == 0 for part in parts[:-1])
    assert (np.concatenate(parts) == plan.order(0)).all()


@pytest.mark.slow
def test_an_epoch_may_draw_some_rows_of_many(xor, make_trainer):
    X, y = xor
    plan = Plan({"x": X, "y": y}, 32, True, 0, draw=1000)
    drawn = plan.order(3)
    counts = np.bincount(drawn, minlength=203)
    assert (len(drawn), plan.steps, len(counts)) == (1000, 32, 203)
    assert 0 < counts.max() < 20
    assert counts.mean() == pytest.approx(counts.var(), rel=0.3)  # as Poisson's
    assert (drawn != plan.order(4)).any()
    trainer = make_trainer()
    history = trainer.fit(X, y, epochs=2, batch_size=32, epoch_rows=100, verbose=0)
    assert history["iterations"] == [4, 8]
    found = trainer.replay(5)
    assert (found.rows == Plan({"x": X}, 32, True, 0, draw=100).rows_of(1, 1)).all()
    assert found.loss == pytest.approx(history["loss"][1], rel=0.3)


def test_rows_that_are_drawn_come_in_no_order(xor, make_trainer):
    with pytest.raises(ArgumentError, match="epoch_rows=9 and shuffle=False · rows"):
        make_trainer().fit(*xor, epoch_rows=9, shuffle=False)
    with pytest.raises(ArgumentError, match="epoch_rows=0 · expected a whole number"):
        make_trainer().fit(*xor, epoch_rows=0)


def test_one_epoch_of_descent_is_the_loop_written_by_hand(xor):
    X, y = xor
    target = y.reshape(-1, 1).astype(np.float32)
    model = nn.Sequential(nn.Linear(6, 1)).to("f64")
    W, b = (each.value.copy() for each in model.parameters())
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1), seed=5)
    trainer.fit(X, target, epochs=2, batch_size=32, verbose=0)
    plan = Plan({"x": X}, 32, True, 5)
    for epoch in range(2):
        for step in range(plan.steps):
            rows = plan.rows_of(epoch, step)
            x, t = X[rows].astype(float), target[rows].astype(float)
            error = 2 * (x @ W.T + b - t) / len(rows)
            W, b = W - 0.1 * error.T @ x, b - 0.1 * error.sum(0)
    np.testing.assert_allclose(model[0].weight.value, W, rtol=1e-12)
    np.testing.assert_allclose(model[0].bias.value, b, rtol=1e-12)


def test_a_row_of_weight_two_counts_as_two_rows(xor):
    X, y = xor
    double = np.concatenate([np.arange(203), np.arange(50)])
    weight = np.where(np.arange(203) < 50, 2.0, 1.0)

    def fitted(X, y, **options):
        model = nn.Sequential(nn.Linear(6, 2)).to("f64")
        model.load_state_dict({"0.weight": np.zeros((2, 6)), "0.bias": np.zeros(2)})
        trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.5))
        trainer.fit(X, y, epochs=5, batch_size=None, verbose=0, **options)
        return model[0].weight.value

    np.testing.assert_allclose(
        fitted(X, y, sample_weight=weight), fitted(X[double], y[double]), rtol=1e-9
    )


def test_balanced_classes_share_the_loss_evenly():
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 10 == 0).astype(int)
    X = rng.standard_normal((400, 2)).astype(np.float32) + y[:, None]
    model = nn.Sequential(nn.Linear(2, 2))
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=0.05))
    trainer.fit(X, y, epochs=60, batch_size=None, class_weight="balanced", verbose=0)
    found = trainer.predict(X).argmax(1)
    assert 0.35 < found.mean() < 0.65 or found[y == 1].mean() > 0.6


@pytest.mark.slow
def test_several_outputs_have_a_loss_and_a_metric_each(xor):
    X, y = xor

    class Heads(nn.Module):
        def __init__(self):
            self.trunk = nn.Linear(6, 16)
            self.kind = nn.Linear(16, 2)
            self.size = nn.Linear(16, 1)

        def forward(self, x):
            hidden = nn.functional.tanh(self.trunk(x))
            return {"kind": self.kind(hidden), "size": self.size(hidden)}

    trainer = Trainer(
        Heads(),
        {"kind": nn.CrossEntropyLoss(), "size": nn.MSELoss()},
        optim.Adam(lr=1e-2),
        metrics=["kind.accuracy", "size.mse"],
        loss_weights={"size": 0.5},
    )
    history = trainer.fit(X, {"kind": y, "size": X[:, :1]}, epochs=40, verbose=0)
    assert history["kind.accuracy"][-1] > 0.8
    assert history["size.mse"][-1] < 0.05
    found = trainer.predict(X)
    assert found["kind"].shape == (203, 2)
    assert found["size"].shape == (203, 1)


def test_several_inputs_come_as_a_tuple(xor):
    X, y = xor

    class Pair(nn.Module):
        def __init__(self):
            self.left, self.right = nn.Linear(2, 2), nn.Linear(4, 2)

        def forward(self, a, b):
            return self.left(a) + self.right(b)

    trainer = Trainer(Pair(), nn.CrossEntropyLoss())
    trainer.fit((X[:, :2], X[:, 2:]), y, epochs=1, verbose=0)
    assert trainer.predict((X[:, :2], X[:, 2:])).shape == (203, 2)


def test_without_targets_the_input_is_the_target(xor):
    X, _ = xor
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 6))
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=1e-2))
    history = trainer.fit(X, epochs=30, verbose=0)
    assert history["loss"][-1] < history["loss"][0]


def test_the_second_epoch_compiles_nothing(xor, make_trainer):
    X, y = xor
    trainer = make_trainer()
    trainer.fit(X, y, epochs=1, validation=0.2, verbose=0)
    built = set(trainer.programs._built)
    trainer.fit(X, y, epochs=3, validation=0.2, verbose=0)
    assert set(trainer.programs._built) == built


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": -1}, "epochs=-1 · expected a whole number of at least 0"),
        ({"batch_size": 0}, "batch_size=0 · expected a whole number of at least 1"),
        ({"patience": 0}, "patience=0 · expected a whole number of at least 1"),
        ({"class_weight": "even"}, "class_weight is 'balanced' or a dict"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(xor, make_trainer, options, text):
    X, y = xor
    with pytest.raises(ArgumentError) as caught:
        make_trainer().fit(X, y, verbose=0, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda X, y: (X[:10], y), "X has 10 rows and y has 203 rows"),
        (lambda X, y: (X, y + 1), "y holds the class 2 · the model has outputs for "
                                  "classes 0 to 1"),
        (lambda X, y: (X * np.nan, y), "X is nan · row 0, column 0"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused(xor, make_trainer, change, text):
    with pytest.raises(DataError) as caught:
        make_trainer().fit(*change(*xor), verbose=0)
    assert text in str(caught.value)


def test_a_sample_weight_must_be_a_weight_a_row(xor, make_trainer):
    X, y = xor
    for bad, text in [
        (np.ones(3), "shape (3,)"),
        (np.full(203, -1.0), "not negative"),
        (np.zeros(203), "not all zero"),
    ]:
        with pytest.raises(DataError) as caught:
            make_trainer().fit(X, y, sample_weight=bad, verbose=0)
        assert text in str(caught.value)


def test_predictions_do_not_depend_on_how_many_rows_are_asked_for(xor, make_trainer):
    X, y = xor
    trainer = make_trainer(engine="numpy")
    trainer.fit(X, y, epochs=1, verbose=0)
    whole = trainer.predict(X)
    for count in (1, 2, 3, 5, 64, 130):
        np.testing.assert_allclose(trainer.predict(X[:count]), whole[:count], rtol=1e-5)
    assert trainer.predict(np.concatenate([X] * 41)).shape == (203 * 41, 2)
