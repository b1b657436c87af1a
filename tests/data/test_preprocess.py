"""Preprocessing: a table into features, the same way at every prediction."""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pellucid.data.encoders import KNOTS, MOST_CATEGORIES, NumberEncoder
from pellucid.data.preprocess import Preprocessor
from pellucid.data.schema import infer_schema
from pellucid.errors import DataError


def fit(columns):
    table = pl.DataFrame(columns)
    return Preprocessor.fit(table, infer_schema(table))


def features(preprocessor, columns):
    matrix = preprocessor.transform(pl.DataFrame(columns))
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    return dict(zip(preprocessor.feature_names, matrix.T.tolist(), strict=True))


def normal(rows=400, seed=0):
    return np.random.default_rng(seed).normal(50, 7, rows)


def test_numbers_are_standardised_like_scikit_learn_does_it():
    values = normal()
    found = features(fit({"x": values}), {"x": values})
    expected = StandardScaler().fit_transform(values[:, None])[:, 0]
    np.testing.assert_allclose(found["x"], expected, rtol=1e-5, atol=1e-6)


def test_the_rank_is_the_normal_score_of_a_values_place():
    values = np.random.default_rng(1).permutation(np.arange(KNOTS) ** 2.0)
    found = features(fit({"x": values}), {"x": values})["x (rank)"]
    expected = stats.norm.ppf((stats.rankdata(values) - 0.5) / KNOTS)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_equal_values_share_their_mean_rank():
    values = [0.0] * 60 + [1.0] * 30 + [9.0] * 10
    found = features(fit({"x": values}), {"x": [0.0, 1.0, 9.0]})["x (rank)"]
    np.testing.assert_allclose(found, stats.norm.ppf([0.3, 0.75, 0.95]), rtol=1e-6)


def test_a_skewed_column_is_drawn_in_by_a_logarithm():
    values = np.random.default_rng(2).lognormal(3, 1.5, 1000)
    found = np.array(features(fit({"x": values}), {"x": values})["x"])
    drawn = np.log1p(values / np.median(values))
    np.testing.assert_allclose(
        found, (drawn - drawn.mean()) / drawn.std(), rtol=1e-4, atol=1e-5
    )


def test_a_far_value_in_training_leaves_the_others_apart():
    values = normal()
    values[7] = 1e9
    found = np.array(features(fit({"x": values}), {"x": values})["x"])
    assert np.ptp(np.delete(found, 7)) > 0.1


@pytest.mark.parametrize("far", [1e12, -1e12, float("inf"), float("-inf"), 1e308])
@pytest.mark.parametrize("scale", ["even", "skewed"])
def test_a_far_value_at_prediction_does_not_explode(far, scale):
    values = normal() if scale == "even" else np.exp(normal() / 7)
    preprocessor = fit({"x": values})
    trained = preprocessor.transform(pl.DataFrame({"x": values}))
    found = preprocessor.transform(pl.DataFrame({"x": [far]}))
    assert np.abs(found).max() <= np.abs(trained).max() + 1.001


def test_infinite_and_huge_training_values_are_survived():
    found = features(fit({"x": [1.0, 2.0, float("inf"), 4.0]}), {"x": [1.0, 4.0]})
    assert found["x"][0] < found["x"][1]
    huge = [1.0, 2.0, 3.0, 1e300]
    found = features(fit({"x": huge}), {"x": huge})
    assert found["x"] == sorted(found["x"])


def test_missing_numbers_become_the_median_and_are_marked():
    preprocessor = fit({"x": [1.0, None, 3.0, 8.0]})
    assert preprocessor.feature_names == ("x", "x (rank)", "x=missing")
    found = features(preprocessor, {"x": [None, 3.0]})
    assert found["x=missing"] == [1.0, 0.0]
    assert found["x"][0] == found["x"][1]
    assert found["x (rank)"][0] == found["x (rank)"][1]


def test_a_number_missing_only_at_prediction_becomes_the_median():
    preprocessor = fit({"x": [1.0, 3.0, 8.0]})
    assert preprocessor.feature_names == ("x", "x (rank)")
    found = features(preprocessor, {"x": [None, 3.0]})
    assert found["x"][0] == found["x"][1]


def test_two_values_need_no_rank_and_one_needs_nothing():
    assert fit({"x": [0, 1, 1]}).feature_names == ("x",)
    assert fit({"x": [7, None, 7]}).feature_names == ("x=missing",)


def test_categories_are_encoded_like_scikit_learn_encodes_them():
    values = ["b", "a", "c", "a"]
    preprocessor = fit({"t": values})
    assert preprocessor.feature_names == ("t=a", "t=b", "t=c")
    expected = OneHotEncoder(sparse_output=False).fit_transform([[v] for v in values])
    np.testing.assert_array_equal(
        preprocessor.transform(pl.DataFrame({"t": values})), expected
    )


def test_unknown_and_missing_categories_without_a_column_are_all_zeros():
    found = features(fit({"t": ["a", "b"]}), {"t": ["z", None, "a"]})
    assert found == {"t=a": [0.0, 0.0, 1.0], "t=b": [0.0, 0.0, 0.0]}


def test_rare_categories_are_pooled_and_unknown_ones_join_them():
    values = ["a"] * 300 + ["b"] * 300 + ["r", "s", "s", None]
    preprocessor = fit({"t": values})
    assert preprocessor.feature_names == ("t=a", "t=b", "t=other", "t=missing")
    found = preprocessor.transform(pl.DataFrame({"t": ["b", "s", "new", None]}))
    assert found.argmax(axis=1).tolist() == [1, 2, 2, 3]
    assert found.sum(axis=1).tolist() == [1.0] * 4


def test_only_the_most_frequent_categories_get_a_column():
    values = [f"{k:03}" for k in range(MOST_CATEGORIES + 20) for _ in range(9)]
    preprocessor = fit({"t": [*values, "119"]})
    assert len(preprocessor.feature_names) == MOST_CATEGORIES + 1
    assert "t=119" in preprocessor.feature_names
    assert "t=118" not in preprocessor.feature_names


def test_categories_that_look_like_numbers_are_matched_by_their_text():
    preprocessor = fit({"t": ["1", "2", "x", "1"]})
    for later in ([1, 2], [1.0, 2.0], ["1", "2"]):
        assert features(preprocessor, {"t": later})["t=2"] == [0.0, 1.0]


def test_booleans_are_zero_and_one():
    preprocessor = fit({"f": [True, False, None]})
    assert preprocessor.feature_names == ("f", "f=missing")
    found = features(preprocessor, {"f": [True, False, None]})
    assert found == {"f": [1.0, 0.0, 0.5], "f=missing": [0.0, 0.0, 1.0]}
    for later in ([1, 0], ["True", "false"], [1.0, 0.0]):
        assert features(preprocessor, {"f": later})["f"] == [1.0, 0.0]


def test_dates_become_those_of_their_parts_that_vary():
    dates = [date(1981, 1, 1), date(1982, 5, 1), None, date(1983, 11, 1)]
    preprocessor = fit({"d": dates})
    parts = {name.split(" (")[0].split("=")[0] for name in preprocessor.feature_names}
    assert parts == {"d: year", "d: month", "d: weekday", "d: day of year"}
    texts = [None if each is None else each.isoformat() for each in dates]
    for later in (
        dates,
        texts,
        [t and t[:7] for t in texts],
        [t and t + "T10:00" for t in texts],
    ):
        found = preprocessor.transform(pl.DataFrame({"d": later}))
        np.testing.assert_array_equal(
            found, preprocessor.transform(pl.DataFrame({"d": dates}))
        )


def test_hours_and_minutes_count_too():
    names = fit({"d": ["1981-01-01 10:30", "1981-01-01 11:45"]}).feature_names
    assert names == ("d: hour", "d: minute")


TRAINED = {
    "age": [31.5, None, 52.25, 40.125] * 10,
    "town": ["Ulm", "Bonn", None, "Ulm"] * 10,
    "member": [True, False, None, True] * 10,
    "born": ["1981-01-31", "1972-05-01", "1990-12-24", None] * 10,
    "constant": [1] * 40,
}


def test_a_preprocessor_survives_json_to_the_last_bit():
    preprocessor = fit(TRAINED)
    again = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict())))
    assert again == preprocessor
    table = pl.DataFrame(TRAINED)
    np.testing.assert_array_equal(again.transform(table), preprocessor.transform(table))


def test_rows_keep_their_order_and_number():
    preprocessor, table = fit(TRAINED), pl.DataFrame(TRAINED)
    whole = preprocessor.transform(table)
    assert whole.shape == (40, len(preprocessor.feature_names))
    np.testing.assert_array_equal(preprocessor.transform(table.reverse()), whole[::-1])
    np.testing.assert_array_equal(preprocessor.transform(table[3:4]), whole[3:4])
    assert preprocessor.transform(table[:0]).shape == (0, whole.shape[1])


def test_other_columns_and_their_order_do_not_matter():
    preprocessor, table = fit(TRAINED), pl.DataFrame(TRAINED)
    shuffled = table.select("born", "member", pl.lit("x").alias("new"), "age", "town")
    np.testing.assert_array_equal(
        preprocessor.transform(shuffled), preprocessor.transform(table)
    )


@pytest.mark.parametrize("name", ["age", "town", "member", "born"])
def test_a_column_without_any_value_at_prediction_does_not_fail(name):
    preprocessor = fit(TRAINED)
    for dtype in (pl.String, pl.Float64, pl.Boolean):
        table = pl.DataFrame(TRAINED).with_columns(pl.lit(None, dtype).alias(name))
        assert np.isfinite(preprocessor.transform(table)).all()


def test_a_column_that_is_not_there_names_the_nearest():
    with pytest.raises(DataError) as caught:
        fit(TRAINED).transform(pl.DataFrame(TRAINED).rename({"age": "Age"}))
    assert str(caught.value) == (
        "no column named 'age', which training had · did you mean 'Age'?"
    )


@pytest.mark.parametrize(
    ("name", "values", "value", "expected"),
    [
        ("age", ["1", None, "old", "x"], "old", "a number"),
        ("member", ["true", None, "yes", "x"], "yes", "true or false"),
        (
            "born",
            ["1981-01", None, "spring", "x"],
            "spring",
            "a date such as 1981-01-31",
        ),
        ("born", ["1981-01", None, "1981-02-30", "x"], "1981-02-30", "a date such as"),
    ],
)
def test_a_value_of_another_kind_is_named_by_column_and_row(
    name, values, value, expected
):
    table = pl.DataFrame(TRAINED)[:4].with_columns(pl.Series(name, values))
    with pytest.raises(DataError) as caught:
        fit(TRAINED).transform(table)
    text = str(caught.value)
    assert text.startswith(
        f"column {name!r} is {value!r} in row 3 · expected {expected}"
    )
    assert text.endswith(", as in training")


def test_dates_where_numbers_were_are_refused():
    table = pl.DataFrame(TRAINED)[:2].with_columns(
        age=pl.Series([None, date(2020, 1, 1)])
    )
    with pytest.raises(
        DataError, match="'age' is '2020-01-01' in row 2 · expected a n"
    ):
        fit(TRAINED).transform(table)


def test_numbers_where_dates_were_are_refused():
    table = pl.DataFrame(TRAINED)[:2].with_columns(born=pl.Series([None, 7]))
    with pytest.raises(DataError, match="'born' is '7' in row 2 · expected a date"):
        fit(TRAINED).transform(table)


def test_numbers_written_as_text_are_numbers():
    preprocessor = fit({"x": [1.0, 3.0, 8.0]})
    assert features(preprocessor, {"x": ["3"]}) == features(preprocessor, {"x": [3]})


def test_a_table_without_a_useful_column_says_why():
    with pytest.raises(DataError) as caught:
        fit({"a": [1, 1], "b": [None, None]})
    assert str(caught.value) == (
        "no column is left to learn from · 'a' (constant: always 1), "
        "'b' (every value is missing) · add columns that differ between rows"
    )


def test_a_column_constant_in_the_training_part_is_left_out():
    table = pl.DataFrame({"x": [1, 1, 2], "z": [1, 2, 3]})
    preprocessor = Preprocessor.fit(table[:2], infer_schema(table))
    assert preprocessor.feature_names == ("z",)
    with pytest.raises(DataError, match=r"'x' \(the same everywhere\)"):
        Preprocessor.fit(table[:2], infer_schema(table.select("x")))


def test_an_encoder_holds_nothing_but_plain_values():
    encoder = NumberEncoder.fit(pl.Series("x", normal()))
    assert len(encoder.knots) == len(encoder.scores) == KNOTS
    assert all(type(each) is float for each in encoder.knots + encoder.scores)
    with pytest.raises(AttributeError):
        encoder.median = 0.0
