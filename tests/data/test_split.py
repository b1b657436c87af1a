"""Splits: which rows train and which test."""

import numpy as np
import pytest

from pellucid.data.split import split_rows
from pellucid.errors import ArgumentError, DataError

PINNED = [0, 3, 8, 9, 19]


@pytest.mark.parametrize(
    ("n", "size", "count"),
    [(10, 0.2, 2), (10, 3, 3), (2, 0.5, 1), (7, 0.01, 1), (1000, 0.333, 333)],
)
def test_every_row_is_in_exactly_one_part(n, size, count):
    train, test = split_rows(n, size, seed=3)
    assert len(test) == count
    assert sorted([*train, *test]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


def test_the_same_seed_gives_the_same_rows_for_ever():
    _, test = split_rows(20, 0.25, seed=0)
    assert test.tolist() == PINNED
    assert split_rows(20, 0.25, seed=0)[1].tolist() == PINNED
    assert split_rows(20, 0.25, seed=1)[1].tolist() != PINNED


def test_every_row_is_equally_likely_to_be_drawn():
    drawn = np.zeros(10)
    for seed in range(2000):
        drawn[split_rows(10, 3, seed)[1]] += 1
    # Five standard deviations of a binomial count.
    assert np.abs(drawn - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


@pytest.mark.parametrize("strata", [[0, 1, 2], ["a", "b", "c"]])
def test_every_class_has_its_share(strata):
    labels = np.repeat(strata, [500, 300, 33])
    train, test = split_rows(len(labels), 0.2, seed=1, strata=labels)
    _, counts = np.unique(labels[test], return_counts=True)
    assert len(test) == 167
    assert np.abs(counts - np.array([100, 60, 6.6])).max() < 1
    assert len(train) + len(test) == len(labels)
    assert len(set(train) & set(test)) == 0


def test_a_stratified_draw_depends_on_the_seed():
    labels = np.arange(100) % 2
    draws = {tuple(split_rows(100, 0.2, seed, labels)[1]) for seed in range(5)}
    assert len(draws) == 5


def test_no_class_gives_its_last_row_away():
    labels = np.array([0] * 8 + [1, 2])
    for seed in range(20):
        train, test = split_rows(10, 7, seed, labels)
        assert len(test) == 7
        assert set(labels[train]) == {0, 1, 2}


@pytest.mark.parametrize("size", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_fraction_outside_its_range_is_refused(size):
    with pytest.raises(ArgumentError, match=r"test_size=.* is no fraction · expected"):
        split_rows(10, size, seed=0)


@pytest.mark.parametrize("size", [0, 10, 11, -1])
def test_an_impossible_count_is_refused(size):
    with pytest.raises(DataError, match=rf"cannot take {size} of 10 rows .* 1 to 9"):
        split_rows(10, size, seed=0)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_refused(n):
    with pytest.raises(DataError, match=f"cannot split {n} rows into training and te"):
        split_rows(n, 0.2, seed=0)


def test_a_test_that_leaves_a_class_without_training_rows_is_refused():
    with pytest.raises(DataError, match="each of 3 classes needs a row in training"):
        split_rows(6, 4, seed=0, strata=[0, 0, 1, 1, 2, 2])


def test_strata_of_another_length_are_refused():
    with pytest.raises(ArgumentError, match=r"strata has shape \(3,\) · .* 4 rows"):
        split_rows(4, 2, seed=0, strata=[0, 0, 1])
