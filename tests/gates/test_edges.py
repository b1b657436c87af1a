"""The corners of every gate, bit for bit, in every engine; and that none is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gates.edges import EDGES, GRADIENT_EDGES, OUT_OF_RANGE, Edge, GradientEdge
from gates.oracle import ORACLE
from gates.samples import ENGINES, SAMPLES
from pellucid.dtypes import is_float
from pellucid.engines.numpy_ import run_gate
from pellucid.engines.numpy_kernels import KERNELS
from pellucid.engines.program import Engine
from pellucid.errors import EngineError
from pellucid.grad.control import CONTROL_RULES
from pellucid.grad.rules import RULES
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Graph, bind, constant, fill, input_node
from pellucid.ir.ops import ELEMENTWISE, OPS
from pellucid.ir.types import TensorType


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name, scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


def bits(array: Any) -> bytes:
    """Return the bits of an array, every NaN the same."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return array.tobytes()


def assert_same_bits(found: Any, wanted: Any) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert bits(found) == bits(wanted), f"{found} is not {wanted}"


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_corner_has_the_one_right_answer(engine: Engine, edge: Edge) -> None:
    (found,) = engine.compile(edge.graph())(*edge.arrays)
    assert_same_bits(found, edge.value)


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_corner_is_the_same_for_constants(engine: Engine, edge: Edge) -> None:
    literals = [constant(each) for each in edge.arrays]
    node = bind(edge.op, *literals, **edge.attrs)
    (found,) = engine.compile(Graph((), (node,)))()
    assert_same_bits(found, edge.value)
    assert_same_bits(run_gate(node, *edge.arrays), edge.value)


ALIKE = [e for e in EDGES if e.op in ELEMENTWISE and e.op != "cast" and e.value.ndim]


@pytest.mark.parametrize("edge", ALIKE, ids=str)
def test_a_corner_does_not_depend_on_its_neighbours(engine: Engine, edge: Edge) -> None:
    """Elementwise gates give the same bits alone as among many, in any layout."""
    wide = [np.repeat(each.reshape(1, -1), 37, axis=0).T for each in edge.arrays]
    types = [TensorType(each.shape, each.dtype) for each in wide]
    inputs = tuple(input_node(each, "x") for each in types)
    (found,) = engine.compile(Graph(inputs, (bind(edge.op, *inputs),)))(*wide)
    for column in found.T:
        assert_same_bits(column.reshape(edge.value.shape), edge.value)


@pytest.mark.parametrize(("op", "arrays", "text"), OUT_OF_RANGE)
def test_an_index_outside_is_an_error_that_names_it(
    engine: Engine, op: str, arrays: Any, text: str
) -> None:
    types = [TensorType(each.shape, each.dtype) for each in arrays]
    inputs = tuple(input_node(each, "x") for each in types)
    graph = Graph(inputs, (bind(op, *inputs, axis=0),))
    fresh = type(engine)()  # an equal graph compiled before was born elsewhere
    with pytest.raises(EngineError, match=text) as error:
        fresh.compile(graph)(*arrays)
    assert "test_edges.py:" in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("edge", GRADIENT_EDGES, ids=str)
def test_a_kink_has_the_gradient_that_was_agreed(
    engine: Engine, edge: GradientEdge
) -> None:
    types = [TensorType(each.shape, each.dtype) for each in edge.arrays]
    inputs = tuple(input_node(each, "x") for each in types)
    y = bind(edge.op, *inputs, **edge.attrs)
    if not is_float(y.dtype):
        y = bind("cast", y, dtype=np.dtype(np.float32))
    wrt = [each for each in inputs if is_float(each.dtype)]
    flows = gradients(y, wrt, fill(1.0, y.type))
    found = engine.compile(Graph(inputs, tuple(flows)))(*edge.arrays)
    assert len(found) == len(edge.gradients)
    for each, wanted in zip(found, edge.gradients):
        np.testing.assert_allclose(each, wanted, rtol=1e-6)


def missing(tables: dict[str, set[str]]) -> list[str]:
    """Return, in words, what each table lacks of the gates, and has too much."""
    rows = list(tables.items())
    lacks = [f"{op} has no {what}" for what, has in rows for op in OPS if op not in has]
    extra = [f"{op}, {what}, is no gate" for what, has in rows for op in has - {*OPS}]
    return lacks + extra


TABLES = {
    "kernel in numpy": {*KERNELS, "input", "const", "scan", "call"},
    "rule in the chain-rule tables": {*RULES, *CONTROL_RULES, "input", "const", "get"},
    "sample": {each.op for each in SAMPLES} | {"const", "get"},
    "function in the oracle": {*ORACLE, "input"},
}
# `const` and `get` stand in the graphs of other samples.


def test_every_gate_has_a_row_in_every_table() -> None:
    assert missing(TABLES) == []


def test_a_missing_row_is_named() -> None:
    poorer = {**TABLES, "sample": TABLES["sample"] - {"conv"} | {"convolve"}}
    assert missing(poorer) == ["conv has no sample", "convolve, sample, is no gate"]


def test_every_elementwise_gate_and_reduction_has_a_corner() -> None:
    with_body = {"input", "const", "scan", "call", "get"}
    assert {*OPS} - with_body - {each.op for each in EDGES} == set()
