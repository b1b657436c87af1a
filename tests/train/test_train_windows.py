"""Training on windows is training on their copies, in the memory of the series."""

import tracemalloc

import numpy as np
import pytest

from pellucid import nn, optim, random
from pellucid.data import Windows
from pellucid.errors import DataError
from pellucid.functional import concat
from pellucid.train.columns import Layout, arrays_of
from pellucid.train.prepare import prepare
from pellucid.train.trainer import Trainer


def wave(time):
    t = np.arange(time)
    return (np.sin(t / 3) + 0.1 * np.cos(t)).astype(np.float32)


def forecaster(length=12, horizon=2, engine=None):
    with random.keys_from(random.key_of(3)):
        model = nn.Sequential(
            nn.Standardize(length), nn.Linear(length, 8), nn.Tanh(), nn.Dropout(0.1),
            nn.Linear(8, horizon),
        )  # fmt: skip
    adam = optim.Adam(lr=1e-2)
    return Trainer(model, nn.MSELoss(), adam, metrics=["mae"], seed=1, engine=engine)


def numbers(trainer):
    return {name: each.value for name, each in trainer.model.named_parameters()}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_windows_give_the_bits_of_their_copies(engine):
    windows = Windows(wave(150), 12, 2, stride=2)
    X, y = np.asarray(windows.inputs), np.asarray(windows.targets)
    one, other = forecaster(engine=engine), forecaster(engine=engine)
    history = one.fit(windows, epochs=2, validation=windows, batch_size=16, verbose=0)
    record = other.fit(X, y, epochs=2, validation=(X, y), batch_size=16, verbose=0)
    assert history["validation_mae"] == record["validation_mae"]
    for name, value in numbers(one).items():
        np.testing.assert_array_equal(value, numbers(other)[name])
    assert one.evaluate(windows) == other.evaluate(X, y)
    np.testing.assert_array_equal(one.predict(windows), other.predict(X))
    replayed = [each.replay(6) for each in (one, other)]
    assert replayed[0].loss == replayed[1].loss
    assert replayed[0].rows.tolist() == replayed[1].rows.tolist()


@pytest.mark.slow
def test_a_replay_shows_the_series_and_where_its_rows_start():
    windows = Windows(wave(40), 12, 2)
    trainer = forecaster()
    trainer.fit(windows, epochs=1, batch_size=8, verbose=0)
    replay = trainer.replay(1)
    named = {gate.name: gate for gate in replay if gate.name}
    np.testing.assert_array_equal(named["x"].output, wave(40))
    read = next(gate for gate in replay if gate.op == "gather" and gate.output.ndim > 1)
    expected = np.asarray(windows.inputs)[replay.rows]
    assert read.output.shape in (expected.shape, (8, 2))
    assert any(
        gate.output.shape == expected.shape and (gate.output == expected).all()
        for gate in replay
    )


def test_a_program_takes_the_series_once():
    windows = Windows(wave(500), 50, 7)
    data = prepare(windows, None, np.dtype("f4"))
    types = [str(type_) for _, type_ in Layout.of(data).inputs]
    assert types == ["f32[500]", "i32[444]"]
    wide = Windows(wave(500).astype(np.float64), 50, 7)
    assert len(arrays_of(prepare(wide.inputs, wide.targets, np.dtype("f4")))) == 2
    parts = Windows(np.stack([wave(500), wave(500)], 1), 50, target=0)
    types = [str(type_) for _, type_ in Layout.of(prepare(parts, None, "f4")).inputs]
    assert types == ["f32[500,2]", "i32[450]", "f32[500]"]


@pytest.mark.slow
def test_fit_evaluate_and_predict_stay_within_the_memory_of_the_series():
    windows = Windows(wave(100_000), 256)
    copies = 100_000 * 256 * 4
    model = nn.Linear(256, 1)
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=1e-3), engine="numpy")
    tracemalloc.start()
    trainer.fit(windows, epochs=1, batch_size=512, validation=0.2, verbose=0)
    trainer.predict(windows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < copies / 4


@pytest.mark.slow
def test_validation_takes_the_end_of_the_series():
    series = np.concatenate([wave(300), np.full(100, 9.0, np.float32)])
    trainer = forecaster()
    history = trainer.fit(
        Windows(series, 12, 2), epochs=8, validation=80, batch_size=16, verbose=0
    )
    assert history["loss"][-1] < 1 < 9 < history["validation_loss"][0]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_a_training_on_windows_resumes_with_the_same_bits(tmp_path, engine):
    path = tmp_path / "run.safetensors"
    windows = Windows(wave(90), 12, 2)
    options = {"validation": 0.2, "batch_size": 16, "verbose": 0}
    whole, first, second = (forecaster(engine=engine) for _ in range(3))
    whole.fit(windows, epochs=3, **options)
    first.fit(windows, epochs=1, checkpoint=path, **options)
    second.fit(windows, epochs=3, checkpoint=path, resume=True, **options)
    for name, value in numbers(whole).items():
        np.testing.assert_array_equal(value, numbers(second)[name])


@pytest.mark.slow
def test_many_windows_are_predicted_in_parts():
    windows = Windows(wave(5000), 12, 2)
    trainer = forecaster()
    trainer.fit(Windows(wave(100), 12, 2), epochs=1, verbose=0)
    found = trainer.predict(windows)
    assert found.shape == (len(windows), 2)
    np.testing.assert_allclose(
        found[[0, 4986]], trainer.predict(np.asarray(windows.inputs)[[0, 4986]]),
        rtol=1e-5,
    )  # fmt: skip


class Tokens(nn.Module):
    """Logits of the next of three tokens, from the last one: a table."""

    def __init__(self, shifted):
        self.shifted = shifted
        self.table = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        one_hot = (x.reshape(*x.shape, 1) == np.arange(3)).astype("f32")
        found = self.table(one_hot)
        return found.reshape(-1, 3) if self.shifted else found[:, -1]


class Flat(nn.CrossEntropyLoss):
    def forward(self, output, target, weight=None):
        return super().forward(output, target.reshape(-1))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("targets", ["next", "shifted"])
@pytest.mark.parametrize("dtype", ["u1", "i8"])
def test_the_next_token_is_learned_from_windows_of_whole_numbers(targets, dtype):
    tokens = np.tile(np.array([0, 2, 1]), 60).astype(dtype)
    windows = Windows(tokens, 5, targets=targets)
    loss = Flat() if targets == "shifted" else nn.CrossEntropyLoss()
    trainer = Trainer(Tokens(targets == "shifted"), loss, optim.Adam(lr=0.1))
    history = trainer.fit(windows, epochs=20, batch_size=16, verbose=0)
    assert history["loss"][-1] < 0.01
    assert history["loss"][0] > 0.1


def test_a_token_without_an_output_is_refused():
    windows = Windows(np.array([0, 1, 2, 3] * 9), 2)
    trainer = Trainer(Tokens(False), nn.CrossEntropyLoss())
    with pytest.raises(DataError, match="y holds the class 3 · the model has outputs"):
        trainer.fit(windows, epochs=1, verbose=0)


def test_windows_stand_beside_other_inputs():
    series = wave(80)
    windows = Windows(series, 6)
    month = (np.arange(len(windows)) % 12).astype(np.float32)

    class Both(nn.Module):
        def __init__(self):
            self.lags, self.month = nn.Linear(6, 1), nn.Linear(1, 1)

        def forward(self, lags, month):
            joined = concat([lags, month.reshape(-1, 1)], axis=1)
            return self.lags(joined[:, :6]) + self.month(joined[:, 6:])

    trainer = Trainer(Both(), nn.MSELoss(), optim.Adam(lr=1e-2))
    history = trainer.fit(
        (windows.inputs, month), windows.targets, epochs=20, validation=0.2, verbose=0
    )
    assert history["loss"][-1] < history["loss"][0]
    assert trainer.predict((windows.inputs, month)).shape == (74, 1)
    with pytest.raises(DataError, match="X has 74 rows and y has 73 rows"):
        trainer.fit((windows.inputs, month), windows.targets[1:], verbose=0)
