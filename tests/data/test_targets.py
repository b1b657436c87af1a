"""Targets: labels and quantities, encoded for a network and decoded for people."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.preprocessing import LabelEncoder, StandardScaler

from pellucid.data.targets import ClassTarget, NumberTarget, target_from_dict
from pellucid.errors import DataError


def column(values, **options):
    return pl.Series("y", values, **options)


def refusal(action, values, **options):
    with pytest.raises(DataError) as caught:
        action(column(values, **options))
    return str(caught.value)


@pytest.mark.parametrize(
    "values", [list("bcab") * 2, [7, -2, 7, 30, -2, 30], [True, False, False, True]]
)
def test_classes_are_numbered_like_scikit_learn_numbers_them(values):
    target = ClassTarget.fit(column(values))
    numbers = target.encode(column(values))
    assert numbers.dtype == np.int64
    assert numbers.tolist() == LabelEncoder().fit_transform(values).tolist()
    assert target.decode(numbers).tolist() == values


@pytest.mark.parametrize(
    ("values", "classes", "kind"),
    [
        (["b", "a"] * 2, ("a", "b"), str),
        ([10, 2] * 2, (2, 10), int),
        ([1.0, 0.0] * 2, (0, 1), int),
        ([True, False] * 2, (False, True), bool),
    ],
)
def test_labels_keep_their_type_through_json(values, classes, kind):
    target = ClassTarget.fit(column(values))
    again = target_from_dict(json.loads(json.dumps(target.to_dict())))
    assert again == target
    assert again.classes == classes
    assert all(type(label) is kind for label in again.classes)


def test_labels_with_a_full_stop_match_those_without():
    plain = ClassTarget.fit(column(["<=50K", ">50K"] * 2))
    assert plain.encode(column([">50K.", " <=50K", ">50K"])).tolist() == [1, 0, 1]
    dotted = ClassTarget.fit(column(["<=50K.", ">50K."] * 2))
    assert dotted.encode(column([">50K", "<=50K."])).tolist() == [1, 0]


def test_an_exact_label_comes_before_a_loose_match():
    target = ClassTarget.fit(column(["a", "a."] * 2))
    assert target.encode(column(["a", "a."])).tolist() == [0, 1]


def test_labels_match_across_types():
    numbers = ClassTarget.fit(column([0, 1, 0, 1]))
    assert numbers.encode(column(["1", "0"])).tolist() == [1, 0]
    assert numbers.encode(column([1.0, 0.0])).tolist() == [1, 0]
    flags = ClassTarget.fit(column([True, False] * 2))
    assert flags.encode(column(["True", "false"])).tolist() == [1, 0]
    texts = ClassTarget.fit(column(["1", "2"] * 2))
    assert texts.encode(column([2, 1])).tolist() == [1, 0]


def test_unseen_labels_are_named():
    target = ClassTarget.fit(column(["cat", "dog"] * 2))
    assert refusal(target.encode, ["cat", "fox", "emu"]) == (
        "target 'y' has labels that training did not have: 'emu', 'fox' · "
        "training had 'cat', 'dog'"
    )


@pytest.mark.parametrize("kind", [ClassTarget, NumberTarget])
def test_missing_values_are_counted_and_the_first_is_named(kind):
    assert refusal(kind.fit, [1, 2, None, 1, None]) == (
        "target 'y' is missing in 2 of 5 rows, first in row 3 · "
        "remove these rows, or fill them in"
    )
    assert "first in row 2" in refusal(kind.fit, [1.0, float("nan")])
    target = kind.fit(column([1, 2, 1, 2]))
    assert "missing in 1 of 2 rows" in refusal(target.encode, [1, None])


@pytest.mark.parametrize("kind", [ClassTarget, NumberTarget])
def test_a_target_without_rows_is_refused(kind):
    assert refusal(kind.fit, [], dtype=pl.Int64) == "target 'y' has no rows"


def test_one_class_only_is_refused():
    assert refusal(ClassTarget.fit, ["a", "a"]) == (
        "target 'y' has one class only: 'a' · a classifier needs two · "
        "choose another target"
    )


def test_a_class_with_a_single_row_is_named():
    assert refusal(ClassTarget.fit, ["a", "a", "b", "a"]) == (
        "class 'b' of target 'y' has a single row · "
        "each class needs 2, to learn from and to test on · "
        "remove the row, or join the class with another"
    )


def test_nearly_as_many_classes_as_rows_suggest_something_else():
    numbers = refusal(ClassTarget.fit, [*range(9), 0])
    assert numbers == (
        "target 'y' has 9 classes in 10 rows · use regression for a quantity"
    )
    names = refusal(ClassTarget.fit, ["a", "b", "c", "c"])
    assert names.endswith("choose a target whose labels repeat")
    fractions = refusal(ClassTarget.fit, [0.5, 0.5, 1.5, 1.5])
    assert "has fractions, so it has no classes · use regression" in fractions


def test_numbers_are_standardised_like_scikit_learn_does_it():
    values = np.random.default_rng(0).lognormal(12, 1, 50)
    target = NumberTarget.fit(column(values))
    encoded = target.encode(column(values))
    assert encoded.dtype == np.float32
    expected = StandardScaler().fit_transform(values[:, None])[:, 0]
    np.testing.assert_allclose(encoded, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(target.decode(encoded), values, rtol=1e-6)


def test_a_number_target_survives_json_to_the_last_bit():
    target = NumberTarget.fit(column([0.1, 1 / 3, 1e-17]))
    assert target_from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_numbers_written_as_text_are_numbers():
    assert NumberTarget.fit(column(["1", "3"])).mean == 2.0
    assert NumberTarget.fit(column([True, False])).mean == 0.5


def test_text_in_a_number_target_is_named():
    assert refusal(NumberTarget.fit, ["1", "two", "3"]) == (
        "target 'y' is 'two' in row 2 · regression expects a number in every row · "
        "use classification for labels"
    )


def test_a_quantity_without_variation_is_refused():
    assert "target 'y' is 3 in every row" in refusal(NumberTarget.fit, [3, 3, 3])
    assert "target 'y' is 0.1 in every row" in refusal(NumberTarget.fit, [0.1] * 7)


def test_an_infinite_target_is_named():
    assert refusal(NumberTarget.fit, [1.0, float("inf")]) == (
        "target 'y' is infinite in row 2"
    )
