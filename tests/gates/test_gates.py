"""Every gate, in every engine: its values, its gradients and theirs, its text."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from gates.derive import (
    first_order,
    float_inputs,
    float_outputs,
    oracle_orders,
    random_like,
    second_order,
)
from gates.samples import ENGINES, QUICK, SAMPLES, Sample
from pellucid.dtypes import is_float
from pellucid.engines.program import Engine
from pellucid.ir.check import check
from pellucid.ir.graph import Graph
from pellucid.ir.text import parse, render
from pellucid.passes.simplify import simplify


def one_of_each_gate(samples: list[Sample]) -> list[Any]:
    """Return samples as parameters, of which all but the first of a gate are slow."""
    first = {each.op: each for each in reversed(samples)}
    return [
        pytest.param(each, marks=() if first[each.op] is each else pytest.mark.slow)
        for each in samples
    ]


ALL = one_of_each_gate(SAMPLES)
SMOOTH = one_of_each_gate([each for each in SAMPLES if each.smooth])


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name, scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


@pytest.fixture(params=QUICK, ids=lambda engine: engine.name, scope="module")
def quick_engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


@cache
def drawn(sample: Sample) -> tuple[Graph, list[Any]]:
    """Return a sample's graph in f64, its operands, seeds and directions."""
    graph = sample.graph("f64")
    seeds = random_like(float_outputs(graph), 1)
    directions = random_like(float_inputs(graph), 2)
    return graph, [*sample.arrays("f64"), *seeds, *directions]


@cache
def expected(sample: Sample) -> Any:
    """Return JAX's values, gradients and second-order gradients of a sample."""
    return oracle_orders(*drawn(sample))


def assert_close(found: Any, wanted: Any, tolerance: float) -> None:
    assert len(found) == len(wanted)
    for each, other in zip(found, wanted):
        assert each.dtype == other.dtype
        assert each.shape == other.shape
        np.testing.assert_allclose(each, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_a_gate_computes_what_jax_computes_in_f64(
    quick_engine: Engine, sample: Sample
) -> None:
    graph, arrays = drawn(sample)
    found = quick_engine.compile(graph)(*arrays[: len(graph.inputs)])
    to_f32 = any(each.dtype == np.float32 for each in found)
    assert_close(found, expected(sample)[0], 1e-7 if to_f32 else 1e-12)


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_a_gate_in_f32_is_near_to_jax_in_f64(engine: Engine, sample: Sample) -> None:
    graph = sample.graph("f32")
    found = engine.compile(graph)(*sample.arrays("f32"))
    for each, node, wanted in zip(found, graph.outputs, expected(sample)[0]):
        assert each.dtype == node.dtype
        tolerance = sample.f32 if is_float(node.dtype) else 0
        np.testing.assert_allclose(each, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_a_gradient_equals_that_of_jax(quick_engine: Engine, sample: Sample) -> None:
    graph, arrays = drawn(sample)
    first = first_order(graph)
    found = quick_engine.compile(first)(*arrays[: len(first.inputs)])
    single = any(each.dtype == np.float32 for each in graph.outputs)
    assert_close(found, expected(sample)[1], 1e-7 if single else 1e-9)


@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_a_gradient_equals_finite_differences(
    quick_engine: Engine, sample: Sample
) -> None:
    graph, arrays = drawn(sample)
    first = first_order(graph)
    count = len(graph.inputs)
    seeds = arrays[count : len(first.inputs)]
    directions = iter(arrays[len(first.inputs) :])
    along = [next(directions) if is_float(i.dtype) else None for i in graph.inputs]
    program = quick_engine.compile(graph)
    single = any(each.dtype == np.float32 for each in graph.outputs)
    step = 1e-3 if single else 1e-6

    def moved(distance: float) -> float:
        inputs = [
            x if d is None else x + distance * d for x, d in zip(arrays[:count], along)
        ]
        outputs = zip(graph.outputs, program(*inputs))
        floats = [value for node, value in outputs if is_float(node.dtype)]
        return sum(float(np.sum(s * y)) for s, y in zip(seeds, floats))

    slope = (moved(step) - moved(-step)) / (2 * step)
    flows = quick_engine.compile(first)(*arrays[: len(first.inputs)])
    wanted = [each for each in along if each is not None]
    found = sum(float(np.sum(g * d)) for g, d in zip(flows, wanted))
    assert found == pytest.approx(slope, rel=1e-3 if single else 1e-6, abs=1e-7)


@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_a_gradient_of_gradients_equals_that_of_jax(
    quick_engine: Engine, sample: Sample
) -> None:
    graph, arrays = drawn(sample)
    found = quick_engine.compile(second_order(graph))(*arrays)
    single = any(each.dtype == np.float32 for each in graph.outputs)
    assert_close(found, expected(sample)[2], 1e-6 if single else 1e-9)


def _graphs(sample: Sample) -> list[Graph]:
    graph = sample.graph("f32")
    graphs = [graph, first_order(graph)] if sample.smooth else [graph]
    return [*graphs, *map(simplify, graphs)]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_graph_is_well_typed_and_its_text_reads_back(sample: Sample) -> None:
    for graph in _graphs(sample):
        check(graph)
        text = render(graph)
        assert parse(text) == graph
        assert render(parse(text)) == text
        assert parse(render(graph, births=True)) == graph


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_typing_rule_answers_for_empty_and_for_full(sample: Sample) -> None:
    graph = sample.graph("f64")
    assert all(each.shape == tuple(map(int, each.shape)) for each in graph.outputs)
    assert sample.graph("f64") == graph
    assert hash(sample.graph("f64")) == hash(graph)
