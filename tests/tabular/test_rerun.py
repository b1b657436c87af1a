"""A step of a saved model's training, run again from the file and the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.tabular.model import TableModel
from pellucid.tabular.rerun import replay_step
from pellucid.tabular.source import find_table, read_source
from pellucid.tabular.training import TrainedTable, train_table

SETTINGS = {"epochs": 4, "hidden": (8, 4), "dropout": 0.2, "seed": 5}


@pytest.fixture
def trained(classes: pl.DataFrame) -> TrainedTable:
    return train_table(classes, "colour", SETTINGS)


@pytest.fixture
def loaded(trained: TrainedTable, tmp_path: Path) -> TableModel:
    trained.model.save(tmp_path / "m.pellucid")
    return TableModel.load(tmp_path / "m.pellucid")


@pytest.mark.slow
def test_every_wire_of_a_replayed_step_is_that_of_the_training(
    trained: TrainedTable, loaded: TableModel, classes: pl.DataFrame
) -> None:
    last = trained.report.iterations - 1
    for step in (0, last // 2, last):
        there, here = trained.trainer.replay(step), replay_step(loaded, classes, step)
        assert (there.loss, there.rows.tolist()) == (here.loss, here.rows.tolist())
        assert len(there) == len(here)
        for old, new in zip(there, here):
            assert old.output.tobytes() == new.output.tobytes()
            if old.gradient is not None:
                assert new.gradient is not None
                assert old.gradient.tobytes() == new.gradient.tobytes()
        for name in there.before.params:
            assert there.update(name).tobytes() == here.update(name).tobytes()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("own_test", [False, True])
def test_the_replayed_loss_is_the_recorded_one(
    classes: pl.DataFrame, own_test: bool
) -> None:
    whole = {**SETTINGS, "batch_size": 1000, "dropout": 0.0}
    test = classes if own_test else None
    model = train_table(classes, "colour", whole, test=test).model
    assert model.report.iterations == model.report.epochs
    for step, row in enumerate(model.history):
        assert replay_step(model, classes, step).loss == pytest.approx(
            row["loss"], rel=1e-6
        )


@pytest.mark.slow
def test_the_last_update_leads_to_the_weights_in_the_file(
    classes: pl.DataFrame,
) -> None:
    model = train_table(classes, "colour", {**SETTINGS, "epochs": 1}).model
    replay = replay_step(model, classes, model.report.iterations - 1)
    for name, value in model.module.state_dict().items():
        np.testing.assert_allclose(replay.after.params[name], value, atol=1e-6)


@pytest.mark.parametrize("step", [-1, 12])
def test_a_step_that_never_was_is_refused(
    loaded: TableModel, classes: pl.DataFrame, step: int
) -> None:
    assert loaded.report.iterations == 12
    with pytest.raises(ArgumentError, match=f"no step {step} · expected 0 to 11"):
        replay_step(loaded, classes, step)


def test_other_rows_do_not_pass_for_the_training(
    loaded: TableModel, classes: pl.DataFrame
) -> None:
    other = classes.with_columns(pl.col("x") + 0.5 * pl.col("y"))
    with pytest.raises(
        DataError, match="the training does not repeat: loss of epoch 1"
    ):
        replay_step(loaded, other, 0)


# --- where the table is ---


def test_the_table_is_found_here_beside_the_model_or_where_it_is_said_to_be(
    classes: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    classes.write_csv(home / "rows.csv")
    monkeypatch.chdir(home)
    table, source = read_source("rows.csv")
    assert (source.path, source.rows) == ("rows.csv", 120)
    assert find_table(source, elsewhere / "m.pellucid").equals(table)
    monkeypatch.chdir(elsewhere)
    assert find_table(source, home / "m.pellucid").equals(table)
    with pytest.raises(DataError, match=r"'rows\.csv' is not there · .*--data PATH"):
        find_table(source, "m.pellucid")
    assert find_table(source, "m.pellucid", home / "rows.csv").equals(table)


def test_another_file_is_refused(classes: pl.DataFrame, tmp_path: Path) -> None:
    place = tmp_path / "rows.csv"
    classes.write_csv(place)
    _, source = read_source(place)
    classes.head(100).write_csv(place)
    with pytest.raises(
        DataError, match="is not what the model was trained on"
    ) as found:
        find_table(source, "m.pellucid")
    assert "expected 120 rows" in str(found.value)
    assert "found 100" in str(found.value)


def test_a_model_that_knows_no_file_needs_one(
    classes: pl.DataFrame, tmp_path: Path, loaded: TableModel
) -> None:
    assert replace(loaded).source is None
    with pytest.raises(DataError, match="does not say what it was trained on"):
        find_table(None, "m.pellucid")
    classes.write_csv(tmp_path / "rows.csv")
    assert len(find_table(None, "m.pellucid", tmp_path / "rows.csv")) == 120
