"""Schemas: what each column is, and what kind of task a target makes."""

import json
from datetime import date, datetime

import polars as pl
import pytest

from pellucid.data.schema import Schema, as_dates, infer_schema, infer_task
from pellucid.errors import DataError


def kind(values, dtype=None):
    table = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    column = infer_schema(table).columns[0]
    return column.kind, column.reason


def test_each_type_has_its_kind():
    assert kind([1, 1, 2]) == ("number", "")
    assert kind([0.5, None]) == ("number", "")
    assert kind([True, False]) == ("boolean", "")
    assert kind(["a", "b", "a"]) == ("category", "")
    assert kind([date(2020, 1, 1), date(2020, 1, 2)]) == ("date", "")
    assert kind([datetime(2020, 1, 1, 3), None]) == ("date", "")


@pytest.mark.parametrize(
    "values",
    [
        ["1981-01", "1981-02"],
        ["1981-01-01", None, "1981-01-02"],
        ["1981/01/01", "1981/01/31"],
        ["1981-01-01 10:30", "1981-01-01T10:30:05.25Z"],
        ["1981-01-01T10:30:05+02:00", "1981-01-02 10:30:05"],
    ],
)
def test_strings_that_read_as_iso_dates_are_dates(values):
    assert kind(values) == ("date", "")


@pytest.mark.parametrize(
    "values", [["1981-13", "1981-02"], ["1981-02-30", "1981-02-01"], ["1981-01", "x"]]
)
def test_strings_that_only_resemble_dates_are_categories(values):
    assert kind(values) == ("category", "")


def test_dates_keep_their_wall_time():
    texts = pl.Series(["1981-02", "1981-02-03", "1981/02/03 04:05", None])
    assert as_dates(texts).to_list() == [
        datetime(1981, 2, 1),
        datetime(1981, 2, 3),
        datetime(1981, 2, 3, 4, 5),
        None,
    ]
    zoned = pl.Series([datetime(1981, 2, 3, 4)]).dt.replace_time_zone("Asia/Tokyo")
    assert as_dates(zoned).to_list() == [datetime(1981, 2, 3, 4)]
    assert as_dates(pl.Series([date(1981, 2, 3)])).to_list() == [datetime(1981, 2, 3)]
    assert as_dates(pl.Series([3])) is None


def test_a_column_without_use_is_dropped_with_its_reason():
    assert kind([None, None], pl.String) == ("dropped", "every value is missing")
    assert kind([7, 7]) == ("dropped", "constant: always 7")
    assert kind(["a", "a"]) == ("dropped", "constant: always 'a'")
    assert kind([[1], [2]]) == ("dropped", "List(Int64) is not one value per row")
    names = [f"name {k}" for k in range(30)]
    assert kind(names) == (
        "dropped",
        "an identifier or free text: 30 different values in 30 rows",
    )
    assert kind(list(range(1, 31))) == (
        "dropped",
        "an identifier: the number of the row",
    )


def test_a_constant_with_gaps_still_says_something():
    assert kind([7, None, 7]) == ("number", "")
    assert kind(["a", None]) == ("category", "")


def test_different_numbers_are_no_identifier():
    assert kind([k * 1.5 for k in range(30)]) == ("number", "")
    assert kind(list(range(1749, 1779))) == ("number", "")
    assert kind([k % 29 for k in range(30)]) == ("number", "")


def test_a_short_or_repeating_text_is_no_identifier():
    assert kind([f"{k}a" for k in range(10)]) == ("category", "")
    assert kind([f"{k // 2}a" for k in range(40)]) == ("category", "")


def test_the_target_is_no_feature():
    schema = infer_schema(pl.DataFrame({"x": [1, 2], "c": [3, 3], "y": [5, 6]}), "y")
    assert [each.name for each in schema.features] == ["x"]
    assert [each.name for each in schema.dropped] == ["c"]
    assert schema.target == "y"


def test_a_misspelt_target_names_the_nearest_column():
    with pytest.raises(DataError, match="no column named 'prize' · did you mean 'pri"):
        infer_schema(pl.DataFrame({"price": [1], "size": [2]}), "prize")


def test_a_schema_survives_json():
    table = pl.DataFrame({"x": [1, 2], "é": ["a", "a"], "y": [5, 6]})
    schema = infer_schema(table, "y")
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False, None], "classification"),
        ([0, 1] * 300, "classification"),
        ([-1, 1], "classification"),
        ([0.0, 1.0, None], "classification"),
        ([0.25, 0.75], "regression"),
        (list(range(10)) * 20, "classification"),
        ([1, 2, 3] * 10, "classification"),
        ([1, 2, 3], "regression"),
        ([3, 4, 5, 6, 7, 8, 9] * 100, "regression"),
        ([0, 2, 3] * 100, "regression"),
        (list(range(21)) * 100, "regression"),
        ([452600.0, 358500.0, 1.0], "regression"),
    ],
)
def test_the_task_follows_from_the_values(values, task):
    assert infer_task(pl.Series("y", values)) == task


def test_a_target_that_is_no_target_is_refused():
    with pytest.raises(DataError, match="every value of target 'y' is missing"):
        infer_task(pl.Series("y", [None, None], dtype=pl.Float64))
    with pytest.raises(DataError, match="target 'y' holds Date · expected numbers"):
        infer_task(pl.Series("y", [date(2020, 1, 1)]))
