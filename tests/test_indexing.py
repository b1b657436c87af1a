"""`x[index]` is what NumPy's is: random indices, values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import DTypeError, EngineError, ShapeError
from pellucid.indexing import plan_index
from pellucid.ir.check import check
from pellucid.ir.types import TensorType
from pellucid.tensors import take, tensor
from pellucid.tracing import trace


@st.composite
def indexed(draw: Any) -> tuple[tuple[int, ...], Any]:
    """Draw a shape and an index that fits it."""
    shape = tuple(draw(st.lists(st.sampled_from([5, 4, 3, 2, 1, 0]), max_size=4)))
    keys: list[Any] = []
    for size in shape[: draw(st.integers(0, len(shape)))]:
        kinds = [st.slices(size), st.builds(slice, *[_bound()] * 2, _step())]
        if size:
            kinds.append(st.integers(-size, size - 1))
            kinds.append(st.integers(-size, size - 1).map(np.int64))
        keys.append(draw(st.one_of(*kinds)))
    for new in draw(st.lists(st.integers(0, len(keys)), max_size=2)):
        keys.insert(new, None)
    if draw(st.booleans()):
        keys.insert(draw(st.integers(0, len(keys))), Ellipsis)
        fixed = keys.index(Ellipsis)
        # What stands behind the dots indexes the last axes.
        behind = [key for key in keys[fixed + 1 :] if key is not None]
        sizes = shape[len(shape) - len(behind) :]
        if any(
            isinstance(key, int | np.integer) and not -n <= key < n
            for key, n in zip(behind, sizes)
        ):
            keys = keys[:fixed]
    return shape, (tuple(keys) if len(keys) != 1 else keys[0])


def _bound() -> Any:
    return st.none() | st.integers(-6, 6)


def _step() -> Any:
    return st.sampled_from([None, -1, 2, -2, 3, -3, 1])


@settings(max_examples=300)
@given(indexed())
def test_any_index_gives_what_numpy_gives(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    found = tensor(array)[index]
    assert found.shape == array[index].shape
    assert np.array_equal(found.value, array[index])


@pytest.mark.slow
@settings(max_examples=300)
@given(indexed())
def test_the_gradient_of_an_index_puts_ones_where_it_read(
    case: tuple[tuple[int, ...], Any],
) -> None:
    shape, index = case
    x = tensor(np.ones(shape, np.float64), requires_grad=True)
    wanted = np.zeros(shape)
    wanted[index] += 1
    x[index].sum().backward()
    assert np.array_equal(np.asarray(x.grad), wanted)


@pytest.mark.slow
@settings(max_examples=300)
@given(indexed())
def test_an_index_of_a_symbol_has_the_same_gates(
    case: tuple[tuple[int, ...], Any],
) -> None:
    shape, index = case
    graph = check(trace(lambda x: x[index], TensorType(shape, "f32")))
    assert graph.outputs[0].shape == np.zeros(shape)[index].shape


@pytest.mark.parametrize(
    "key",
    [
        *(
            slice(None, None, -1),
            slice(None, None, 2),
            slice(3, 0, -2),
            slice(-2, None),
        ),
        *(
            slice(-1, -9, -3),
            slice(4, 9),
            slice(2, 2),
            slice(9, None, -4),
            slice(0, 4, 9),
        ),
        *(slice(None, -6, -1), slice(1, None, -1), slice(-9, 2)),
    ],
    ids=str,
)
def test_a_slice_reads_what_numpy_reads(key: slice) -> None:
    array = np.arange(10.0).reshape(5, 2)
    for index in (key, (slice(None), key), (key, key)):
        assert np.array_equal(tensor(array)[index].value, array[index])


ARRAY = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "index",
    [
        [0, 1, 1],
        np.array([[0, 1], [1, 0]]),
        (slice(None), [2, 0]),
        (..., [3, 0, 0]),
        (slice(None), slice(1), np.array([1, 2])),
        (1, [2, 0]),
        ([1, 0], 2),
        (slice(None), 1, np.array([[0, 3]])),
        (None, [0]),
        np.zeros(0, int),
        np.array(1),
    ],
    ids=str,
)
def test_one_array_of_indices_gives_what_numpy_gives(index: Any) -> None:
    found = tensor(ARRAY)[index]
    assert np.array_equal(found.value, ARRAY[index])
    assert found.shape == ARRAY[index].shape


def test_a_tensor_of_indices_is_an_index() -> None:
    at = tensor(np.array([1, 0, 1]))
    assert np.array_equal(tensor(ARRAY)[at].value, ARRAY[[1, 0, 1]])


def test_an_index_that_changes_nothing_needs_no_gate() -> None:
    assert plan_index((2, 3), ...) == []
    assert plan_index((2, 3), (slice(None), slice(0, 3))) == []


@pytest.mark.parametrize(
    ("index", "kind", "text"),
    [
        ((0, 0, 0, 0), ShapeError, r"4 indices for shape \(2, 3, 4\)"),
        (2, IndexError, "index 2 is outside axis 0 of size 2"),
        ((0, -4), IndexError, "index -4 is outside axis 1 of size 3"),
        (([0], [1]), ShapeError, "one array of indices at most"),
        (
            (0, slice(None), [1]),
            ShapeError,
            "an integer apart from an array of indices",
        ),
        (True, ShapeError, "a truth value is no index"),
        ([-1], EngineError, "gather: index -1 is outside"),
        ([0.5], DTypeError, "indices must be integers, not f32"),
        (ARRAY > 3, DTypeError, "indices must be integers, not bool"),
    ],
)
def test_an_index_that_does_not_fit_says_why(index: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        tensor(ARRAY)[index]


def test_iterating_gives_the_rows() -> None:
    rows = list(tensor(ARRAY))
    assert len(rows) == len(tensor(ARRAY)) == 2
    assert all(np.array_equal(a.value, b) for a, b in zip(rows, ARRAY))
    with pytest.raises(TypeError, match="a scalar has no length"):
        len(tensor(1.0))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_gives_what_numpy_gives(axis: int) -> None:
    found = take(tensor(ARRAY), [1, 0, 1], axis=axis)
    assert np.array_equal(found.value, np.take(ARRAY, [1, 0, 1], axis))
    with pytest.raises(DTypeError, match="indices must be integers"):
        take(tensor(ARRAY), [0.0])
    with pytest.raises(ShapeError, match="axis 3 is not an axis of f64"):
        take(tensor(ARRAY), [0], axis=3)
