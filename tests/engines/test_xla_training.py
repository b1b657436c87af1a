"""Whole trainings on the xla engine: curves, streams, replay, checkpoints, devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid import nn, optim, random
from pellucid.data.windows import Windows
from pellucid.engines.xla.engine import XlaProgram
from pellucid.errors import DataError, EngineError, NonFiniteError
from pellucid.train.columns import Streamed
from pellucid.train.trainer import Trainer

FIT = {"batch_size": 40, "verbose": 0}
ON_CPU = {"engine": "xla", "device": "cpu"}


def sine(dtype: str = "f4") -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, (160, 3))
    y = np.sin(X.sum(1, keepdims=True)) + 0.1 * rng.normal(size=(160, 1))
    return X.astype(dtype), y.astype(dtype)


def make_regressor(dropout: float = 0.1, dtype: str = "f32", **options: Any) -> Trainer:
    with random.keys_from(random.key_of(11)):
        model = nn.Sequential(
            nn.Linear(3, 24), nn.GELU(), nn.Dropout(dropout), nn.Linear(24, 1)
        ).to(dtype)  # fmt: skip
    return Trainer(model, nn.MSELoss(), optim.Adam(lr=3e-3), seed=5, **options)


@pytest.fixture(scope="module")
def regressor() -> Trainer:
    """A trainer on one CPU device, after a hundred steps."""
    trainer = make_regressor(**ON_CPU)
    trainer.fit(*sine(), epochs=25, **FIT)
    return trainer


def test_a_row_asked_again_has_its_answer_and_a_bad_one_none() -> None:
    trainer, (X, _) = make_regressor(**ON_CPU), sine()
    wanted = trainer.predict(X)
    for row in range(3):
        found = trainer.predict(X[row : row + 1])
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, wanted[row : row + 1], rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="X is nan · row 0, column 2"):
        trainer.predict(X[:1] * np.array([1, 1, np.nan], np.float32))


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_a_hundred_steps_have_the_losses_of_another_engine(
    regressor: Trainer, engine: str
) -> None:
    other = make_regressor(engine=engine)
    losses = other.fit(*sine(), epochs=25, **FIT)["loss"]
    assert regressor.history.iterations == 100
    assert losses[-1] < losses[0] / 2
    np.testing.assert_allclose(regressor.history["loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(
        regressor.predict(sine()[0]), other.predict(sine()[0]), rtol=1e-3, atol=1e-4
    )


def test_training_compiles_each_program_once(regressor: Trainer) -> None:
    programs = list(regressor.programs._built.values())
    assert programs
    for each in programs:
        assert isinstance(each, XlaProgram)
        assert each._function._cache_size() == 1


def test_a_replayed_step_is_what_the_device_computed(regressor: Trainer) -> None:
    for step in (0, 7, 98):
        replayed, following = regressor.replay(step), regressor.replay(step + 1)
        assert isinstance(replayed.before.params["0.weight"], np.ndarray)
        for name, value in replayed.after.params.items():
            wanted = following.before.params[name]
            np.testing.assert_allclose(value, wanted, rtol=2e-6, atol=2e-6)


def test_the_model_has_arrays_of_its_own_after_training(regressor: Trainer) -> None:
    for each in regressor.model.parameters():
        assert isinstance(each.value, np.ndarray)
        assert each.value.flags.writeable


LLVM = {"engine": "llvm"}


@pytest.mark.parametrize(("first", "second"), [(ON_CPU, LLVM), (LLVM, ON_CPU)])
def test_a_checkpoint_goes_on_in_another_engine(
    regressor: Trainer, tmp_path: Path, first: Any, second: Any
) -> None:
    path = tmp_path / "run.safetensors"
    make_regressor(**first).fit(*sine(), epochs=12, checkpoint=path, **FIT)
    resumed = make_regressor(**second)
    history = resumed.fit(*sine(), epochs=25, checkpoint=path, resume=True, **FIT)
    np.testing.assert_allclose(history["loss"], regressor.history["loss"], rtol=1e-4)


@pytest.mark.slow
def test_a_lost_number_is_found_on_the_device_and_named() -> None:
    model = nn.Sequential(nn.Linear(3, 1))
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=1e9), **ON_CPU)
    with pytest.raises(NonFiniteError, match=r"epoch \d · the gate \w+"):
        trainer.fit(*sine(), epochs=3, **FIT)
    assert all(np.isfinite(each.value).all() for each in model.parameters())


# --- data that do not fit ------------------------------------------------------------


@pytest.mark.slow
def test_streamed_rows_give_the_numbers_of_placed_ones(regressor: Trainer) -> None:
    streamed = make_regressor(**ON_CPU, memory=2000)
    losses = streamed.fit(*sine(), epochs=25, **FIT)["loss"]
    (snapshot,) = streamed._journal.snapshots[-1:]
    assert isinstance(streamed.programs.feed(snapshot.plan).entry, Streamed)
    assert losses == regressor.history["loss"]
    assert streamed.replay(9).loss == regressor.replay(9).loss


@pytest.mark.slow
def test_no_more_rows_are_on_their_way_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2560 bytes of rows are too many; a batch takes 640, and three are at hand."""
    trainer = make_regressor(**ON_CPU, memory=2000)
    engine, taken = trainer.programs.engine, []
    place_rows = engine.place_rows

    def counted(table: Any, rows: Any, *, split: int) -> Any:
        taken.append(rows.size)
        return place_rows(table, rows, split=split)

    monkeypatch.setattr(engine, "place_rows", counted)
    trainer.fit(*sine(), epochs=1, **FIT)
    assert taken == [40] * 8, "two arrays of four batches"


def test_a_batch_that_has_no_room_is_refused_with_the_bytes_it_needs() -> None:
    trainer = make_regressor(**ON_CPU, memory=1000)
    words = r"no room for a batch of 40 rows · 3 batches take 1920 bytes, .* 1000"
    with pytest.raises(EngineError, match=words):
        trainer.fit(*sine(), epochs=1, **FIT)


@pytest.mark.slow
def test_windows_are_streamed_by_their_starts() -> None:
    series = np.sin(np.arange(300, dtype=np.float32) / 7).reshape(-1, 1)
    windows = Windows(series, length=5, targets="next")
    losses = []
    for options in (LLVM, {**ON_CPU, "memory": 1300}):
        with random.keys_from(random.key_of(1)):
            model = nn.Sequential(nn.Flatten(), nn.Linear(5, 1))
        trainer = Trainer(model, nn.MSELoss(), optim.Adam(lr=1e-2), **options)
        losses.append(trainer.fit(windows, epochs=3, batch_size=3, verbose=0)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


# --- numbers and devices -------------------------------------------------------------


@pytest.mark.slow
def test_bfloat16_is_near_and_keeps_parameters_in_f32(regressor: Trainer) -> None:
    rounded = make_regressor(**ON_CPU, compute="bfloat16")
    losses = rounded.fit(*sine(), epochs=25, **FIT)["loss"]
    assert losses != regressor.history["loss"]
    np.testing.assert_allclose(losses, regressor.history["loss"], rtol=3e-2)
    state = rounded.progress.state if rounded.progress else None
    assert state is not None
    assert {each.dtype for each in state.params.values()} == {np.dtype("f4")}


_TWO_DEVICES = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
from test_xla_training import FIT, make_regressor, sine
two = make_regressor(engine="xla", device="cpu", devices=2)
losses = two.fit(*sine(), epochs=3, validation=40, **FIT)["loss"]
split = make_regressor(
    engine="xla", device="cpu", devices=2, spread=70, memory=2000
)
assert split.fit(*sine(), epochs=3, validation=40, **FIT)["loss"] == losses
params = split.progress.state.params
assert len(params["0.weight"].addressable_shards) == 2
assert params["0.weight"].addressable_shards[0].data.shape == (12, 3)
assert params["3.weight"].addressable_shards[0].data.shape == (1, 24)
assert split.progress.state.optimizer
plan = two._journal.snapshots[-1].plan
rows = two.programs.feed(plan).part(plan.order(0)[:40]).moving[0]
assert rows.addressable_shards[0].data.shape == (1, 20)
print(losses)
"""


@pytest.mark.slow
def test_two_devices_share_a_batch_and_wide_weights() -> None:
    code = _TWO_DEVICES.format(folder=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    alone = make_regressor(engine="llvm")
    losses = alone.fit(*sine(), epochs=3, validation=40, **FIT)["loss"]
    np.testing.assert_allclose(eval(done.stdout), losses, rtol=1e-5)
