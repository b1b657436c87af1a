"""Windows are NumPy's sliding windows, without a copy."""

import numpy as np
import pytest

from pellucid.data import Windows
from pellucid.data.windows import part_in_time
from pellucid.errors import ArgumentError, DataError

slide = np.lib.stride_tricks.sliding_window_view


@pytest.mark.parametrize("seed", range(12))
def test_windows_are_numpy_s_sliding_windows(seed):
    rng = np.random.default_rng(seed)
    length, horizon, stride = rng.integers(1, [6, 4, 4])
    features = rng.integers(0, 4)
    time = length + horizon + rng.integers(0, 20)
    shape = (time, features) if features else (time,)
    series = rng.standard_normal(shape)
    windows = Windows(series, length, horizon, stride)
    both = np.moveaxis(slide(series, length + horizon, axis=0), -1, 1)[::stride]
    assert len(windows) == len(both)
    assert windows.inputs.shape == both[:, :length].shape
    np.testing.assert_array_equal(windows.inputs, both[:, :length])
    np.testing.assert_array_equal(windows.targets, both[:, length:])
    shifted = Windows(series, length, horizon, stride, targets="shifted")
    np.testing.assert_array_equal(shifted.inputs, both[:, :length])
    np.testing.assert_array_equal(shifted.targets, both[:, horizon:])
    if features:
        one = Windows(series, length, horizon, stride, target=-1)
        np.testing.assert_array_equal(one.inputs, both[:, :length])
        np.testing.assert_array_equal(one.targets, both[:, length:, -1])


def test_targets_may_come_from_another_series():
    windows = Windows(np.arange(5.0), 2, target=np.arange(5.0) * 10)
    assert np.asarray(windows.inputs)[0].tolist() == [0, 1]
    assert np.asarray(windows.targets)[0].tolist() == [20]


def test_no_window_is_copied():
    series = np.arange(50, dtype=np.float32)
    windows = Windows(series, 7, 2)
    assert windows.inputs.table is windows.targets.table
    assert np.shares_memory(windows.inputs.table, series)
    assert windows.inputs.starts is windows.targets.starts
    assert np.shares_memory(windows.inputs[3:9].table, series)


@pytest.mark.parametrize(
    ("given", "kept"), [("u1", "u1"), ("i2", "i4"), ("i8", "i8"), ("f2", "f8")]
)
def test_whole_numbers_stay_whole(given, kept):
    windows = Windows(np.arange(9).astype(given), 4)
    assert windows.inputs.dtype == windows.targets.dtype == kept


def test_the_next_token_is_a_class_without_an_axis():
    windows = Windows(np.array([3, 1, 2, 0]), 2)
    assert windows.targets.shape == (2,)
    assert np.asarray(windows.targets).tolist() == [2, 0]
    assert Windows(np.array([3, 1, 2, 0]), 2, horizon=2).targets.shape == (1, 2)


@pytest.mark.parametrize("seed", range(8))
def test_held_out_windows_are_the_last_and_nothing_of_them_is_seen(seed):
    rng = np.random.default_rng(seed)
    length, horizon, stride, count = rng.integers(1, [9, 5, 4, 6])
    targets = ["next", "shifted"][seed % 2]
    windows = Windows(np.arange(80.0), length, horizon, stride, targets=targets)
    parts = [windows.inputs, windows.targets]
    kept, held = part_in_time(parts, parts[1:], int(count))
    assert held.tolist() == list(range(len(windows)))[-count:]
    # The series counts its steps, so values are times.
    last_seen = max(np.asarray(each[kept]).max() for each in parts)
    first_asked = np.asarray(windows.targets[held]).min()
    assert last_seen < first_asked
    more = windows.inputs[np.array([kept[-1] + 1])]
    end = np.asarray(more).max() + horizon
    assert end >= first_asked, "a row more could have been kept"


def test_windows_in_any_order_are_parted_in_time():
    windows = Windows(np.arange(30.0), 3)
    order = np.random.default_rng(0).permutation(len(windows))
    parts = [windows.inputs[order], windows.targets[order]]
    kept, held = part_in_time(parts, parts[1:], 0.2)
    assert len(held) == round(0.2 * len(windows))
    assert np.asarray(parts[1][kept]).max() < np.asarray(parts[1][held]).min()


def test_windows_are_thinned_evenly():
    windows = Windows(np.arange(1000.0), 1)
    few = np.asarray(windows.inputs.thinned(4))[:, 0]
    assert few.tolist() == [0, 332, 665, 998]
    assert windows.inputs.thinned(999) is windows.inputs


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: Windows(np.zeros(5), 4, 2),
            DataError,
            "a series of 5 steps has no window of 4 and the 2 behind it · expected at "
            "least 6 steps · choose a smaller length or horizon",
        ),
        (
            lambda: Windows(np.zeros(5), 0),
            ArgumentError,
            "length=0 · expected a whole number of at least 1",
        ),
        (
            lambda: Windows(np.zeros(5), 2, stride=1.5),
            ArgumentError,
            "stride=1.5 · expected a whole number of at least 1",
        ),
        (
            lambda: Windows(np.zeros(5), 2, targets="shift"),
            ArgumentError,
            "targets='shift' · did you mean 'shifted'?",
        ),
        (
            lambda: Windows(np.array([1.0, np.nan, 2.0]), 1),
            DataError,
            "series is nan · row 1, counted from 0 · fill or drop missing values first",
        ),
        (
            lambda: Windows(["a", "b"], 1),
            DataError,
            "series holds text, such as a · expected numbers · encode categories as "
            "numbers, or use the estimators for tables",
        ),
        (lambda: Windows([], 1), DataError, "series has no rows"),
        (
            lambda: Windows(np.zeros((5, 2)), 2, target=2),
            ArgumentError,
            "target=2 · the series has 2 features, counted from 0",
        ),
        (
            lambda: Windows(np.zeros(5), 2, target=0),
            ArgumentError,
            "target=0 · the series has no axis of features",
        ),
        (
            lambda: Windows(np.zeros(5), 2, target=np.zeros(4)),
            DataError,
            "the series has 5 steps, its target 4: they go side by side",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (1.5, ArgumentError, "validation=1.5 of 8 windows · expected a share between"),
        (8, ArgumentError, "validation=8 of 8 windows · expected a share between"),
        (7, DataError, "no window ends before the 7 that are held out begin · choose"),
    ],
)
def test_a_part_that_leaves_nothing_is_refused(size, error, text):
    windows = Windows(np.zeros(11), 2, 2)
    parts = [windows.inputs, windows.targets]
    with pytest.raises(error) as caught:
        part_in_time(parts, parts[1:], size)
    assert str(caught.value).startswith(text)


def test_rows_of_a_series_are_no_view():
    with pytest.raises(ValueError, match="they are copied"):
        np.asarray(Windows(np.zeros(5), 2).inputs, copy=False)
