"""Copies that turn a value, beside NumPy's transpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from guarded import AtTheEdge, run_guarded

from pellucid.engines.llvm.engine import LlvmEngine, LlvmProgram
from pellucid.engines.llvm.threads import count
from pellucid.ir.graph import Graph, Node, bind, input_node
from pellucid.ir.types import TensorType


def leaf(*shape: int, dtype: str = "f32") -> Node:
    return input_node(TensorType(shape, dtype), "x")


def drawn(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(0)
    return [(99 * rng.normal(size=x.shape)).astype(x.dtype) for x in graph.inputs]


def compiled(graph: Graph) -> LlvmProgram:
    program = LlvmEngine().compile(graph)
    assert isinstance(program, LlvmProgram)
    return program


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "a square": ((16, 16), (1, 0)),
    "whole squares": ((32, 48), (1, 0)),
    "rows and columns that remain": ((21, 35), (1, 0)),
    "less than a square": ((5, 6), (1, 0)),
    "a few columns": ((40, 3), (1, 0)),
    "images with the batch last": ((19, 2, 5, 9), (2, 3, 1, 0)),
    "the middle to the end": ((4, 33, 17), (0, 2, 1)),
    "the first to the end": ((18, 3, 20), (1, 2, 0)),
    "axes of one": ((1, 20, 1, 24), (3, 0, 2, 1)),
}


def all_cases(dtype: str) -> tuple[Graph, list[tuple[int, ...]]]:
    inputs = [leaf(*shape, dtype=dtype) for shape, _ in CASES.values()]
    orders = [axes for _, axes in CASES.values()]
    copies = [bind("transpose", x, axes=axes) for x, axes in zip(inputs, orders)]
    return Graph(tuple(inputs), tuple(copies)), orders


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64", "u8", "bool"])
def test_a_turned_copy_has_the_bits_of_numpy_s(dtype: str) -> None:
    graph, orders = all_cases(dtype)
    arrays = drawn(graph)
    found = compiled(graph)(*arrays)
    for each, array, axes in zip(found, arrays, orders, strict=True):
        np.testing.assert_array_equal(each, array.transpose(axes))
        assert each.dtype == array.dtype


def test_a_part_of_a_value_is_turned_where_it_lies() -> None:
    x = leaf(40, 3, 50)
    part = bind("slice", x, start=(3, 0, 5), stop=(39, 3, 47), step=(2, 1, 1))
    back = bind("reverse", part, axes=(0,))
    graph = Graph((x,), (bind("transpose", back, axes=(1, 2, 0)),))
    (array,) = drawn(graph)
    wanted = array[3:39:2, :, 5:47][::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(compiled(graph)(array)[0], wanted)


def test_no_square_goes_beyond_its_memory() -> None:
    graph, orders = all_cases("f32")
    program, arrays = compiled(graph), drawn(graph)
    found = run_guarded(program, arrays, 0xFF, AtTheEdge)
    for each, array, axes in zip(found, arrays, orders, strict=True):
        np.testing.assert_array_equal(each, array.transpose(axes))


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let programs have four threads, whatever the machine has."""
    monkeypatch.setenv("PELLUCID_THREADS", "4")
    count.cache_clear()
    yield
    monkeypatch.undo()
    count.cache_clear()


@pytest.mark.usefixtures("four_threads")
def test_threads_share_the_squares() -> None:
    x = leaf(70, 9, 81)
    graph = Graph((x,), (bind("transpose", x, axes=(1, 2, 0)),))
    program, (array,) = compiled(graph), drawn(graph)
    assert program._threads == 4
    np.testing.assert_array_equal(program(array)[0], array.transpose(1, 2, 0))
