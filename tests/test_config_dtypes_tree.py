"""Settings, number types and trees."""

from __future__ import annotations

import threading
from collections import namedtuple
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.configuration import Config, config, current
from pellucid.dtypes import (
    DTYPES,
    as_dtype,
    is_float,
    is_integer,
    promote,
    short_name,
)
from pellucid.errors import ArgumentError, DTypeError
from pellucid.tree import flatten, leaves, map_leaves, unflatten

# --- settings ------------------------------------------------------------------------


def test_a_setting_holds_in_its_block_and_no_longer() -> None:
    before = current()
    with config(dtype="f64") as settings:
        assert current() is settings
        with config(engine="llvm"):
            assert (current().dtype, current().engine) == ("f64", "llvm")
        assert current().engine == before.engine
    assert current() == before
    with pytest.raises(ZeroDivisionError), config(dtype="f64"):
        _ = 1 / 0
    assert current() == before


def test_an_unknown_setting_names_the_nearest() -> None:
    text = r"no setting named 'dtpye' · did you mean 'dtype'\?"
    with pytest.raises(ArgumentError, match=text), config(dtpye="f64"):
        pass


def test_the_environment_sets_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELLUCID_DTYPE", "f64")
    monkeypatch.setenv("PELLUCID_ENGINE", "")
    assert Config.from_environment() == Config(dtype="f64")


def test_settings_are_frozen_and_per_thread() -> None:
    with pytest.raises(FrozenInstanceError):
        current().dtype = "f64"  # type: ignore[misc]
    found = []
    with config(dtype="f64"):
        work = threading.Thread(target=lambda: found.append(current().dtype))
        work.start()
        work.join()
    assert found == ["f32"]


# --- dtypes --------------------------------------------------------------------------

KINDS = st.sampled_from(list(DTYPES.values()))


@pytest.mark.parametrize("name", DTYPES)
def test_a_short_name_reads_back(name: str) -> None:
    assert short_name(as_dtype(name)) == name
    assert as_dtype(DTYPES[name].name) == DTYPES[name]
    assert as_dtype(DTYPES[name].newbyteorder(">")) == DTYPES[name]


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (int, "i64"),
        (float, "f64"),
        (bool, "bool"),
        (np.float32, "f32"),
        ("float", "f64"),
    ],
)
def test_a_python_or_numpy_type_is_a_dtype(given_: Any, wanted: str) -> None:
    assert short_name(as_dtype(given_)) == wanted


@pytest.mark.parametrize("unknown", ["f16", "float33", np.complex64, object, 3.5, "O"])
def test_an_unknown_dtype_is_refused(unknown: Any) -> None:
    with pytest.raises(DTypeError, match="unknown dtype"):
        as_dtype(unknown)


def test_an_unknown_dtype_names_the_nearest() -> None:
    with pytest.raises(DTypeError, match="unknown dtype 'bol' · did you mean 'bool'"):
        as_dtype("bol")


@pytest.mark.slow
@given(KINDS, KINDS, KINDS)
def test_promotion_has_no_order(x: Any, y: Any, z: Any) -> None:
    assert promote(x, y) == promote(y, x)
    assert promote(x, x) == x
    assert promote(promote(x, y), z) == promote(x, promote(y, z))
    assert is_float(promote(x, y)) == (is_float(x) or is_float(y))


@pytest.mark.slow
@given(KINDS, KINDS)
def test_promotion_is_numpys_but_for_integers_that_meet_floats(x: Any, y: Any) -> None:
    if is_float(x) == is_float(y):
        assert promote(x, y) == np.promote_types(x, y)
    assert is_integer(x) == np.issubdtype(x, np.integer)


# --- trees ---------------------------------------------------------------------------

Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Moments:
    first: Any
    second: Any


TREES = st.recursive(
    st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner)
        | st.builds(Moments, inner, inner)
        | st.builds(Pair, inner, inner)
    ),
)


@given(TREES)
def test_a_tree_is_rebuilt_from_its_leaves(tree: Any) -> None:
    assert unflatten(tree, leaves(tree)) == tree
    assert list(flatten(tree).values()) == leaves(tree)
    assert map_leaves(lambda x: x, tree) == tree
    assert leaves(map_leaves(lambda x, y: x + y, tree, tree)) == [
        2 * each for each in leaves(tree)
    ]


def test_a_leaf_is_named_by_its_path() -> None:
    tree = {"opt": Moments([1, 2], {"w": 3}), "step": 4, "none": None, "two": (5, [])}
    names = ["opt.first.0", "opt.first.1", "opt.second.w", "step", "two.0"]
    assert list(flatten(tree)) == names
    assert flatten(7) == {"": 7}


def test_a_tree_keeps_its_classes() -> None:
    tree = Moments(Pair(1, [2]), (3,))
    assert unflatten(tree, [10, 20, 30]) == Moments(Pair(10, [20]), (30,))
    assert type(unflatten(tree, [1, 2, 3]).first) is Pair


def test_arrays_are_leaves() -> None:
    array = np.zeros(3)
    assert leaves({"a": array}) == [array] or leaves({"a": array})[0] is array


@pytest.mark.parametrize(
    ("count", "text"), [(1, "too few leaves"), (3, "too many leaves")]
)
def test_leaves_of_another_number_are_refused(count: int, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        unflatten({"a": 1, "b": [2]}, range(count))


def test_trees_of_other_sizes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="different numbers of leaves"):
        map_leaves(lambda x, y: x, [1, 2], [1])
