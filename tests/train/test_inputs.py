"""What `fit` takes as X: floats, whole numbers, truth values, several arrays."""

import numpy as np
import pytest

from pellucid import functional as F
from pellucid import nn, optim, random
from pellucid.errors import DataError
from pellucid.train.prepare import prepare
from pellucid.train.trainer import Trainer


def net():
    with random.keys_from(random.key_of(7)):
        return nn.Sequential(nn.Standardize(3), nn.Linear(3, 4), nn.Linear(4, 2))


def table(dtype):
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (50, 3)).astype(dtype), rng.integers(0, 2, 50)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("engine", "dtype"),
    [("llvm", "u1"), ("llvm", "i8"), ("numpy", "i8"), ("numpy", "?")],
)
def test_a_table_of_whole_numbers_trains_as_its_floats_do(engine, dtype):
    records = []
    for each in (dtype, "f4"):
        trainer = Trainer(
            net(), nn.CrossEntropyLoss(), optim.Adam(lr=0.1), engine=engine
        )
        X, y = table(each)
        history = trainer.fit(X, y, epochs=2, validation=0.2, verbose=0)
        step = trainer.replay(1).loss
        records.append((history["loss"], history["validation_loss"], step))
        records.append(trainer.predict(X).tolist())
    assert records[:2] == records[2:]


def test_whole_numbers_are_their_own_target():
    X, _ = table("u1")
    trainer = Trainer(nn.Linear(3, 3), nn.MSELoss(), optim.Adam(lr=0.1))
    assert trainer.fit(X, epochs=100, verbose=0)["loss"][-1] < 1e-3
    data = prepare(X, None, "f32")
    assert data["y"] is data["x"]  # in memory once, in bytes


class Masked(nn.Module):
    """A mean over the entries up to a length, in front of a linear layer."""

    def __init__(self) -> None:
        self.output = nn.Linear(1, 1)

    def forward(self, x, length):
        within = F.arange(x.shape[1], dtype="i32") < length.reshape(-1, 1)
        mean = F.where(within, x, 0.0).sum(1, keepdims=True) / length.reshape(-1, 1)
        return self.output(mean)


def test_one_input_of_several_may_be_a_number_a_row():
    rng = np.random.default_rng(0)
    x, length = rng.normal(size=(64, 5)), rng.integers(1, 6, 64)
    mean = [row[:n].mean() for row, n in zip(x, length)]
    trainer = Trainer(Masked(), nn.MSELoss(), optim.Adam(lr=0.1))
    trainer.fit((x, length), 3 * np.array(mean) + 1, epochs=100, verbose=0)
    assert trainer.evaluate((x, length), 3 * np.array(mean) + 1)["loss"] < 1e-4
    assert trainer.predict((x[:3], length[:3])).shape == (3, 1)


def test_a_lone_input_has_rows_and_columns():
    trainer = Trainer(net(), nn.CrossEntropyLoss())
    with pytest.raises(DataError, match=r"X has shape \(4,\) · expected rows and"):
        trainer.fit(np.arange(4), np.arange(4) % 2, verbose=0)


def test_few_wide_rows_are_evaluated_at_a_time_and_give_the_same_means():
    sizes = []

    class Mean(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.astype("f32").mean((1, 2))[:, None] / 100

    images = np.random.default_rng(0).integers(0, 256, (150, 200, 300), np.uint8)
    model = nn.Sequential(Mean(), nn.Linear(1, 2))
    labels = np.arange(150) % 2
    trainer = Trainer(model, nn.CrossEntropyLoss(), engine="numpy")
    found = trainer.evaluate(images, labels)["loss"]
    assert sizes[1:] == [64, 22]  # a program for each size, once inputs are checked
    whole = F.cross_entropy(model.eval()(images), labels).item()
    assert found == pytest.approx(whole, rel=1e-5)
