"""From a table to a model and a report: what is inferred, measured and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge

from pellucid.data.samples import breast_cancer
from pellucid.data.split import split_rows
from pellucid.errors import ArgumentError, DataError
from pellucid.runs.report import trivial_guess
from pellucid.tabular.baseline import linear_guess
from pellucid.tabular.model import TableModel
from pellucid.tabular.report import TableReport
from pellucid.tabular.training import TrainedTable, train_table
from pellucid.train.events import Event

SHORT = {"epochs": 3, "hidden": (8,)}


def tensors(trained: TrainedTable) -> dict[str, bytes]:
    state = trained.model.module.state_dict()
    return {name: value.tobytes() for name, value in state.items()}


def test_a_relation_is_learned_and_the_report_compares(prices: pl.DataFrame) -> None:
    report = train_table(prices, "price", {"epochs": 60}).report
    assert report.metrics["r2"] > 0.95
    assert report.linear["r2"] > 0.95
    assert abs(report.baseline["r2"]) < 0.1
    assert report.metrics.keys() == report.linear.keys() == report.baseline.keys()


def test_the_report_says_what_was_inferred(prices: pl.DataFrame) -> None:
    report = train_table(prices, "price", SHORT).report
    assert (report.task, report.target, report.rows) == ("regression", "price", 120)
    rows = (report.train_rows, report.validation_rows, report.test_rows)
    assert rows == (86, 10, 24)
    assert report.features == 3
    assert report.dropped == {"built": "constant: always 'brick'"}
    assert (report.epochs, report.iterations) == (3, 9)
    assert (report.stopped, report.labels, report.confusion) == ("finished", (), ())
    assert report.best_epoch in (1, 2, 3)
    assert report.seconds > 0


@pytest.mark.slow
def test_the_metrics_are_those_of_predictions_on_rows_not_trained_on(
    classes: pl.DataFrame,
) -> None:
    trained = train_table(classes, "colour", {"epochs": 20, "seed": 3})
    number = classes["colour"].rank("dense").to_numpy().astype(int) - 1
    _, held = split_rows(len(classes), 0.2, 3, number)
    rows = classes[held]
    guess, shares = trained.model.predict(rows), trained.model.predict_proba(rows)
    truth = rows["colour"].to_numpy()
    report = trained.report
    assert report.metrics["accuracy"] == metrics.accuracy_score(truth, guess)
    balanced = metrics.balanced_accuracy_score(truth, guess)
    assert report.metrics["balanced_accuracy"] == pytest.approx(balanced)
    loss = metrics.log_loss(truth, shares, labels=["blue", "green", "red"])
    assert report.metrics["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert report.labels == ("blue", "green", "red")
    found = metrics.confusion_matrix(truth, guess, labels=list(report.labels))
    assert report.confusion == tuple(map(tuple, found.tolist()))
    assert trained.truth.tolist() == truth.tolist()
    assert trained.predicted.tolist() == guess.tolist()


def test_the_trivial_guess_is_the_training_parts_mean_or_shares() -> None:
    assert trivial_guess(np.array([1.0, 2.0, 6.0], np.float32), 2).tolist() == [3, 3]
    assert trivial_guess(np.array([0, 2, 2, 1]), 1).tolist() == [[0.25, 0.25, 0.5]]


@pytest.mark.parametrize("features", [3, 2100], ids=["few", "many"])
def test_the_linear_guess_of_quantities_is_ridge_regression(features: int) -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(400, features)).astype(np.float32)
    y = (X[:, 0] - 2 * X[:, 1] + 5).astype(np.float32)
    exact = Ridge(alpha=1.0).fit(X.astype(float), y).predict(X[:50])
    assert linear_guess(X, y, X[:50]) == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_guess_of_classes_is_logistic_regression(classes: int) -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(400, 5)) * [1, 1, 3, 0.1, 0]
    y = (X[:, :classes] + draw.normal(size=(400, classes))).argmax(axis=1)
    exact = LogisticRegression(max_iter=9000, tol=1e-9).fit(X, y).predict_proba(X[:50])
    X = X.astype(np.float32)
    assert linear_guess(X, y, X[:50]) == pytest.approx(exact, abs=1e-3)


def test_real_data_are_learned_at_least_as_well_as_by_a_linear_model() -> None:
    report = train_table(breast_cancer(), "diagnosis").report
    assert report.metrics["accuracy"] > 0.94
    assert report.metrics["log_loss"] < report.linear["log_loss"] + 0.02


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    prices: pl.DataFrame,
) -> None:
    first, again, other = (
        tensors(train_table(prices, "price", {**SHORT, "seed": seed, "dropout": 0.1}))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.slow
def test_a_test_table_holds_nothing_out_and_teaches_nothing(
    prices: pl.DataFrame,
) -> None:
    far = prices.with_columns(pl.col("size") * 100, pl.col("price") * 0)
    near, distant = (
        train_table(prices, "price", SHORT, test=each) for each in (prices, far)
    )
    assert tensors(near) == tensors(distant)
    report = distant.report
    assert (report.rows, report.train_rows, report.test_rows) == (120, 108, 120)
    assert distant.truth.tolist() == pytest.approx([0.0] * 120, abs=1e-4)


def test_what_is_held_out_teaches_nothing(prices: pl.DataFrame) -> None:
    _, held = split_rows(len(prices), 0.2, 0)
    row = pl.int_range(pl.len()).is_in(held.tolist())
    other = prices.with_columns(
        pl.when(row).then(1e6).otherwise(pl.col("size")).alias("size"),
        pl.when(row).then(0.0).otherwise(pl.col("price")).alias("price"),
    )
    plain, changed = (train_table(each, "price", SHORT) for each in (prices, other))
    assert tensors(plain) == tensors(changed)


def test_the_target_may_be_a_position(prices: pl.DataFrame) -> None:
    assert train_table(prices, -1, SHORT).report.target == "price"


@pytest.mark.slow
def test_columns_are_left_out_on_request(prices: pl.DataFrame) -> None:
    trained = train_table(prices, "price", {**SHORT, "drop": ("kind", "age")})
    assert trained.report.dropped == {
        "kind": "left out on request",
        "age": "left out on request",
        "built": "constant: always 'brick'",
    }
    trained.model.predict(prices.select("size"))


@pytest.mark.slow
def test_a_column_that_settles_the_class_is_noted(classes: pl.DataFrame) -> None:
    copied = classes.with_columns(code=pl.col("colour").str.slice(0, 2))
    notes = train_table(copied, "colour", SHORT).report.notes
    assert notes == (
        "column 'code' alone settles 'colour': drop it if you will not know it when "
        "you predict",
    )
    assert train_table(classes, "colour", SHORT).report.notes == ()


@pytest.mark.slow
def test_no_hidden_layer_makes_a_linear_model(classes: pl.DataFrame) -> None:
    model = train_table(classes, "colour", {"epochs": 2, "hidden": ()}).model
    assert list(model.module.state_dict()) == ["0.weight", "0.bias"]


def test_the_report_comes_back_from_json_as_it_was(classes: pl.DataFrame) -> None:
    report = train_table(classes, "colour", SHORT).report
    plain = json.loads(json.dumps(report.to_json()))
    assert TableReport.from_json(plain) == report
    assert plain["metrics"]["test"].keys() == plain["baseline"].keys()


# --- an end before the end ---


class Interrupt:
    """Presses Ctrl-C when an epoch is done."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, event: Event) -> None:
        if event.kind == "epoch" and event.data["epoch"] == self.epoch:
            raise KeyboardInterrupt


def test_an_interruption_keeps_the_best_so_far(prices: pl.DataFrame) -> None:
    trained = train_table(prices, "price", SHORT, subscribers=[Interrupt(3)])
    assert trained.report.stopped == "interrupted"
    assert trained.report.epochs == 2
    short = train_table(prices, "price", SHORT, subscribers=[Interrupt(2)])
    assert short.report.epochs == 1
    assert tensors(short) != tensors(trained)


def test_an_interruption_of_the_first_epoch_leaves_a_model(
    prices: pl.DataFrame, tmp_path: Path
) -> None:
    trained = train_table(prices, "price", SHORT, subscribers=[Interrupt(1)])
    assert (trained.report.epochs, trained.report.best_epoch) == (0, None)
    trained.model.save(tmp_path / "m.pellucid")
    loaded = TableModel.load(tmp_path / "m.pellucid")
    assert loaded.predict(prices).tolist() == trained.model.predict(prices).tolist()


def test_resumed_training_gives_the_bits_of_unbroken_training(
    prices: pl.DataFrame, tmp_path: Path
) -> None:
    place, settings = tmp_path / "check.pellucid", {**SHORT, "epochs": 6}
    whole = train_table(prices, "price", settings)
    train_table(prices, "price", settings, subscribers=[Interrupt(4)], checkpoint=place)
    resumed = train_table(prices, "price", settings, checkpoint=place, resume=True)
    assert resumed.report.epochs == 6
    assert tensors(resumed) == tensors(whole)


# --- tables that nothing can be learned from ---


def replaced(table: pl.DataFrame, **columns: Any) -> pl.DataFrame:
    return table.with_columns(**{k: pl.Series(v) for k, v in columns.items()})


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        ({}, "prize", "no column named 'prize' · did you mean 'price'?"),
        ({"price": [1.5] * 40}, "price", "target 'price' is 1.5 in every row"),
        ({"kind": ["a"] * 40}, "kind", "target 'kind' has one class only: 'a'"),
        ({"price": [None, *[1.5] * 39]}, "price", "target 'price' is missing in 1 of"),
        (
            {"kind": [f"k{i}" for i in range(40)]},
            "kind",
            "target 'kind' has 40 classes in 40 rows",
        ),
        (
            {"kind": ["a", *["b", "c"] * 19, "b"]},
            "kind",
            "class 'a' of target 'kind' has a single row",
        ),
        (
            {"size": [1.0] * 40, "kind": ["a"] * 40, "age": [None] * 40},
            "price",
            "no column is left to learn from",
        ),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(
    change: dict[str, Any], target: str, words: str, prices: pl.DataFrame
) -> None:
    with pytest.raises(DataError) as found:
        train_table(replaced(prices.head(40), **change), target, SHORT)
    assert str(found.value).startswith(words)


def test_few_rows_are_refused(prices: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="9 rows are too few to learn from · expected"):
        train_table(prices.head(9), "price")
    assert train_table(prices.head(10), "price", SHORT).report.test_rows == 2


def test_more_classes_than_held_out_rows_can_be_taken_from_are_refused() -> None:
    table = {"x": list(range(12)), "y": [f"class {i // 2}" for i in range(12)]}
    with pytest.raises(DataError, match="each of 6 classes needs a row in training"):
        train_table(table, "y", {**SHORT, "test_size": 0.6})


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"x": [1.0], "y": [1.0]}, "the test table has no column 'colour'"),
        ({"x": [1.0], "y": [1.0], "colour": ["pink"]}, "target 'colour' has labels"),
        ({"x": [1.0], "colour": ["red"]}, "no column named 'y', which training had"),
        ({"x": ["a"], "y": [1.0], "colour": ["red"]}, "column 'x' is 'a' in row 1"),
    ],
)
def test_a_test_table_that_does_not_fit_is_refused_before_training(
    test: Any, words: str, classes: pl.DataFrame
) -> None:
    events: list[Event] = []
    with pytest.raises(DataError) as found:
        train_table(classes, "colour", test=test, subscribers=[events.append])
    assert str(found.value).startswith(words)
    assert events == []


def test_without_held_out_rows_there_is_no_report(prices: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no rows are held out for the report"):
        train_table(prices, "price", {**SHORT, "test_size": 0.0})


def test_the_target_cannot_be_left_out(prices: pl.DataFrame) -> None:
    with pytest.raises(ArgumentError, match="'price' is the target"):
        train_table(prices, "price", {"drop": ("price",)})


@pytest.mark.slow
def test_a_model_can_be_used_at_once(classes: pl.DataFrame) -> None:
    model = train_table(classes, "colour", {**SHORT, "dropout": 0.5}).model
    assert isinstance(model, TableModel)
    assert (
        model.predict_proba(classes).tolist() == model.predict_proba(classes).tolist()
    )
