"""A model file: the same predictions elsewhere, from tables that look different."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pellucid import nn
from pellucid.errors import ArgumentError, DataError, ModelFileError
from pellucid.files import read_file, write_file
from pellucid.tabular.model import TableModel
from pellucid.tabular.source import Source
from pellucid.tabular.training import train_table
from pellucid.tabular.words import describe_encoders, describe_target
from pellucid.train.history import History

SHORT = {"epochs": 3, "hidden": (8,)}


@pytest.fixture
def priced(prices: pl.DataFrame) -> TableModel:
    return train_table(prices, "price", SHORT).model


@pytest.fixture
def coloured(classes: pl.DataFrame) -> TableModel:
    return train_table(classes, "colour", SHORT).model


@pytest.mark.slow
def test_a_fresh_process_predicts_the_same_bits(
    coloured: TableModel, classes: pl.DataFrame, tmp_path: Path
) -> None:
    coloured.save(tmp_path / "m.pellucid")
    classes.write_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys; from pellucid.tabular.model import TableModel\n"
        "from pellucid.data.table import read_table\n"
        "model = TableModel.load('m.pellucid')\n"
        "shares = model.predict_proba(read_table('rows.parquet'))\n"
        "sys.stdout.write(shares.tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == coloured.predict_proba(classes).tobytes().hex()


def test_everything_comes_back_from_the_file(
    priced: TableModel, tmp_path: Path
) -> None:
    priced.save(tmp_path / "m.pellucid")
    loaded = TableModel.load(tmp_path / "m.pellucid")
    for name in ("schema", "preprocessor", "target", "settings", "report", "source"):
        assert getattr(loaded, name) == getattr(priced, name), name
    assert loaded.history.to_dict() == priced.history.to_dict()
    assert loaded.summary() == priced.summary()
    assert not loaded.module.training


def test_a_loss_that_was_not_finite_costs_no_model(
    priced: TableModel, tmp_path: Path
) -> None:
    rows = [{"epoch": 1, "iterations": 3, "loss": 0.5, "validation_loss": math.inf}]
    odd = replace(priced, history=History(rows, "finished"))
    odd.save(tmp_path / "m.pellucid")
    (row,) = TableModel.load(tmp_path / "m.pellucid").history
    assert math.isnan(row.pop("validation_loss"))
    assert row == {"epoch": 1, "iterations": 3, "loss": 0.5}


def test_the_source_comes_back_from_the_file(
    prices: pl.DataFrame, tmp_path: Path
) -> None:
    source = Source("a.csv", "0" * 64, 120)
    model = train_table(prices, "price", SHORT, source=source).model
    model.save(tmp_path / "m.pellucid")
    assert TableModel.load(tmp_path / "m.pellucid").source == source


def test_the_order_of_columns_and_other_columns_do_not_matter(
    priced: TableModel, prices: pl.DataFrame
) -> None:
    expected = priced.predict(prices).tolist()
    mixed = prices.select(pl.lit("new").alias("extra"), *reversed(prices.columns[:-2]))
    assert priced.predict(mixed).tolist() == expected
    assert priced.predict(mixed.to_pandas()).tolist() == expected
    assert priced.predict(mixed.to_dict(as_series=False)).tolist() == expected


def test_unknown_categories_and_missing_values_are_predicted(
    priced: TableModel,
) -> None:
    rows = {"size": [50.0, None], "kind": ["castle", None], "age": [None, 3.0]}
    assert np.isfinite(priced.predict(rows)).all()


@pytest.mark.slow
def test_predictions_are_in_the_unit_of_the_target(prices: pl.DataFrame) -> None:
    model = train_table(prices, "price", {"epochs": 60}).model
    error = model.predict(prices) - prices["price"].to_numpy()
    assert np.abs(error).mean() < 30 < prices["price"].std()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [False, True]])
def test_predictions_are_the_labels_of_the_table(labels: list[Any]) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=80)
    table = {"x": x, "y": [labels[int(each > 0)] for each in x]}
    model = train_table(table, "y", {"epochs": 30}).model
    assert model.classes == tuple(labels)
    assert set(model.predict(table).tolist()) == set(labels)
    shares = model.predict_proba(table)
    assert shares.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    chosen = [labels[each] for each in shares.argmax(axis=1)]
    assert model.predict(table).tolist() == chosen


@pytest.mark.slow
def test_a_table_of_predictions_has_a_column_for_each_class(
    coloured: TableModel, priced: TableModel, classes: pl.DataFrame, prices: Any
) -> None:
    found = coloured.predict_table(classes)
    names = [f"probability_{each}" for each in ("blue", "green", "red")]
    assert found.columns == ["prediction", *names]
    assert found["prediction"].to_list() == coloured.predict(classes).tolist()
    assert priced.predict_table(prices).columns == ["prediction"]


@pytest.mark.slow
def test_long_tables_go_through_in_parts(
    coloured: TableModel, classes: pl.DataFrame
) -> None:
    long = pl.concat([classes] * 100)
    shares = coloured.predict_proba(long)
    assert len(shares) == 12_000
    assert shares[-120:] == pytest.approx(coloured.predict_proba(classes), abs=1e-6)


def test_no_rows_give_no_predictions(
    coloured: TableModel, classes: pl.DataFrame
) -> None:
    assert coloured.predict(classes.clear()).shape == (0,)
    assert coloured.predict_proba(classes.clear()).shape == (0, 3)


@pytest.mark.parametrize("target", [1, 2, 3])
def test_numbered_columns_are_found_where_the_target_is_left_out(target: int) -> None:
    draw = np.random.default_rng(0)
    table = draw.normal(size=(60, 3))
    model = train_table(table, target, SHORT).model
    rest = np.delete(table, target - 1, axis=1)
    assert model.predict(rest).tolist() == model.predict(table).tolist()


def test_a_quantity_has_no_probabilities(priced: TableModel, prices: Any) -> None:
    with pytest.raises(ArgumentError, match="'price' is a quantity: it has no classes"):
        priced.predict_proba(prices)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            {"size": [1.0], "Kind": ["flat"], "age": [2.0]},
            "no column named 'kind', which training had · did you mean 'Kind'?",
        ),
        (
            {"size": [1.0]},
            "no columns named 'kind', 'age', which training had · known: 'size'",
        ),
        (
            {"size": ["1", "big"], "kind": ["flat"] * 2, "age": [2.0] * 2},
            "column 'size' is 'big' in row 2 · expected a number, as in training",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    priced: TableModel, rows: Any, words: str
) -> None:
    with pytest.raises(DataError) as found:
        priced.predict(rows)
    assert str(found.value) == words


# --- files that are not ours ---


def test_a_truncated_file_is_refused_wherever_it_is_cut(
    priced: TableModel, tmp_path: Path
) -> None:
    place = tmp_path / "m.pellucid"
    priced.save(place)
    whole = place.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        place.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"is empty|is cut short"):
            TableModel.load(place)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    nn.Linear(2, 3).save(tmp_path / "layer.safetensors")
    with pytest.raises(ModelFileError) as found:
        TableModel.load(tmp_path / "layer.safetensors")
    assert "does not hold a model of a table · it holds 'module'" in str(found.value)
    (tmp_path / "text.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ModelFileError, match="is not a model file"):
        TableModel.load(tmp_path / "text.csv")


@pytest.mark.parametrize("part", ["spec", "schema", "preprocessor", "target", "report"])
def test_a_damaged_header_is_refused(
    priced: TableModel, tmp_path: Path, part: str
) -> None:
    place = tmp_path / "m.pellucid"
    priced.save(place)
    arrays, header = read_file(place)
    for broken in ({**header, part: {}}, {k: header[k] for k in header if k != part}):
        write_file(place, arrays, json.loads(json.dumps(broken)))
        with pytest.raises(ModelFileError, match=r"the header of .* is damaged"):
            TableModel.load(place)


def test_weights_that_do_not_fit_are_refused(
    priced: TableModel, tmp_path: Path
) -> None:
    place = tmp_path / "m.pellucid"
    priced.save(place)
    arrays, header = read_file(place)
    write_file(place, {**arrays, "0.bias": np.zeros(3, np.float32)}, header)
    with pytest.raises(ModelFileError, match=r"'0\.bias' is f32\[8\]"):
        TableModel.load(place)


# --- in words ---


def test_encoders_are_described(priced: TableModel) -> None:
    described = describe_encoders(priced.preprocessor)
    assert [each[:3] for each in described] == [
        ("size", "number", 2),
        ("kind", "category", 2),
        ("age", "number", 3),
    ]
    assert described[0][3].startswith("standardised; its rank; missing: ")
    assert described[1][3] == "one input each for 'flat', 'house'"
    assert described[2][3].endswith(", with a mark")
    assert sum(each[2] for each in described) == priced.report.inputs


@pytest.mark.slow
def test_other_encoders_and_targets_are_described(coloured: TableModel) -> None:
    months = [f"2020-{i % 12 + 1:02}" for i in range(60)]
    table = {
        "sold": months,
        "new": [i % 2 == 0 for i in range(60)],
        "letter": [*"abcdefghij" * 5, *"qrstuvwxyz"],
        "y": [i / 7 for i in range(60)],
    }
    model = train_table(table, "y", SHORT).model
    texts = {each[0]: each[3] for each in describe_encoders(model.preprocessor)}
    assert texts["sold"] == "month, weekday, day of year"
    assert texts["new"] == "0 or 1"
    assert texts["letter"].startswith("one input each for 'a', 'b', 'c', 'd', 'e' and ")
    assert describe_target(coloured.target) == "'colour': 'blue', 'green', 'red'"
    assert describe_target(model.target).startswith("'y' in units of ")
