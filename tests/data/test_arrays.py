"""Arrays: checked once, where they come in."""

import numpy as np
import polars as pl
import pytest

from pellucid.data.arrays import as_arrays
from pellucid.errors import DataError


def refusal(X, y=None, dtype="f32"):
    with pytest.raises(DataError) as caught:
        as_arrays(X, y, dtype=dtype)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_features_become_the_dtype_asked_for(dtype):
    X, y = as_arrays([[1, 2.0], [3, 4]], dtype=dtype)
    assert X.dtype == {"f32": np.float32, "f64": np.float64}[dtype]
    assert X.tolist() == [[1, 2], [3, 4]]
    assert y is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("?", "?"),
        ("u1", "u1"),
        ("i1", "i4"),
        ("i2", "i4"),
        ("u2", "i4"),
        (">i4", "i4"),
        ("u4", "u4"),
        ("i8", "i8"),
        ("u8", "i8"),
    ],
)
def test_whole_features_stay_whole_in_a_dtype_of_graphs(given, kept):
    numbers = np.array([[0, 1], [1, 0]], given)
    X, _ = as_arrays(numbers, dtype="f32")
    assert X.dtype == np.dtype(kept)
    assert X.dtype.isnative
    np.testing.assert_array_equal(X, numbers)


def test_a_whole_number_that_no_graph_holds_is_refused():
    assert (
        refusal(np.array([[2**63]], np.uint64)) == "X holds a number beyond 2**63 - 1"
    )


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        ([0, 1], np.int64),
        (np.array([3, 4], np.uint8), np.int64),
        ([True, False], np.int64),
        ([0.5, 1.0], np.float32),
        ([[0.5], [1.0]], np.float32),
        (np.array([1, 2.5], object), np.float32),
    ],
)
def test_whole_targets_stay_whole_and_others_become_floats(y, dtype):
    _, target = as_arrays(np.zeros((2, 3)), y, dtype="f32")
    assert target.dtype == dtype
    np.testing.assert_array_equal(target, np.asarray(y, dtype))


def test_images_keep_their_shape():
    X, _ = as_arrays(np.zeros((5, 1, 4, 4), np.uint8), dtype="f32")
    assert X.shape == (5, 1, 4, 4)


def test_the_memory_is_in_rows_and_the_byte_order_ours():
    X, _ = as_arrays(np.asfortranarray(np.ones((4, 3), ">f8")), dtype="f64")
    assert X.flags.c_contiguous
    assert X.dtype.isnative


def test_a_frame_is_an_array_too():
    X, y = as_arrays(pl.DataFrame({"a": [1, 2]}), pl.Series([0, 1]), dtype="f32")
    assert X.shape == (2, 1)
    assert y.tolist() == [0, 1]


def test_one_dimension_gets_the_fix():
    assert refusal([1.0, 2.0]) == (
        "X has shape (2,) · expected rows and columns · "
        "try X.reshape(-1, 1) for one feature, X.reshape(1, -1) for one row"
    )


def test_different_numbers_of_rows_are_refused():
    assert refusal(np.zeros((3, 2)), [1, 2]) == "X has 3 rows and y has 2 rows"
    assert refusal(np.zeros((3, 2)), 1) == "X has 3 rows and y has no rows"
    assert refusal(np.zeros((0, 2))) == "X has no rows"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_the_first_value_that_is_not_finite_is_named(value):
    X = np.zeros((5, 4))
    X[3, 1] = X[4, 0] = float(value)
    text = refusal(X)
    assert text.startswith(f"X is {value} · row 3, column 1, counted from 0")
    assert ("fill or drop missing values first" in text) == (value == "nan")
    assert refusal(np.zeros((5, 2)), X[:, 1]).startswith(f"y is {value} · row 3, count")


@pytest.mark.parametrize("row", [0, 16_383, 16_384, 39_999])
def test_what_is_not_finite_is_found_in_every_block_of_large_data(row):
    X = np.zeros((40_000, 4), np.float32)
    X[row, 2] = np.nan
    assert refusal(X).startswith(f"X is nan · row {row}, column 2")


def test_none_is_a_missing_value():
    assert refusal([[1.0, None]]).startswith("X is nan · row 0, column 1")


def test_a_number_beyond_the_dtype_is_named():
    assert refusal([[1.0, 1e300]]) == (
        "X is too large for its dtype · row 0, column 1, counted from 0"
    )
    assert as_arrays([[1e300]], dtype="f64")[0].item() == 1e300


def test_text_says_to_encode():
    assert refusal([[1.0, 2.0]], ["cat"]) == (
        "y holds text, such as cat · expected numbers · "
        "encode the labels as class numbers, 0 to k - 1"
    )
    assert refusal(np.array([["a", 1]], object)).startswith("X holds text, such as a")


def test_other_things_are_refused():
    assert refusal([[1, 2], [3]]).startswith("X is no array: ")
    assert refusal(np.zeros((2, 2), complex)).startswith("X holds complex128")
    assert refusal(np.zeros((2, 2), "M8[D]")).startswith("X holds datetime64[D]")
