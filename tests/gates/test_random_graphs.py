"""Random graphs: passes keep every bit, gradients hold, texts read back."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from gates import oracle
from gates.derive import first_order, float_inputs, float_outputs
from gates.random_graphs import random_graph
from gates.samples import QUICK
from gates.test_edges import assert_same_bits
from pellucid.dtypes import is_float
from pellucid.engines.numpy_ import NumpyEngine, NumpyProgram
from pellucid.engines.program import Engine
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, Node
from pellucid.ir.ops import OPS
from pellucid.ir.text import parse, render
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

COUNT = int(os.environ.get("PELLUCID_RANDOM_GRAPHS", "400"))


@pytest.fixture(params=QUICK, ids=lambda engine: engine.name, scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


def assert_bits_kept(graph: Graph, arrays: list[Any]) -> None:
    """Compare the simplified run with the observed one, which runs every gate."""
    program = NumpyEngine().compile(graph)
    assert isinstance(program, NumpyProgram)
    plain = program.observe(arrays, lambda *_: None)
    for found, again, node in zip(program(*arrays), plain, graph.outputs):
        assert found.dtype == node.dtype
        assert_same_bits(found, again)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("start", range(0, COUNT, 50))
def test_simplified_and_observed_runs_give_the_same_bits(start: int) -> None:
    for seed in range(start, min(start + 50, COUNT)):
        graph, arrays = random_graph(seed)
        assert_bits_kept(check(graph), arrays)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("start", range(0, COUNT // 2, 50))
def test_simplified_and_observed_gradients_have_the_same_bits(start: int) -> None:
    for seed in range(start, min(start + 50, COUNT // 2)):
        graph, arrays = random_graph(seed)
        first = check(first_order(graph))
        seeds = [np.ones(each.shape, each.dtype) for each in float_outputs(graph)]
        check(simplify(first))
        assert_bits_kept(first, [*arrays, *seeds])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("start", range(0, COUNT, 100))
def test_a_random_graph_reads_back_from_its_text(start: int) -> None:
    for seed in range(start, min(start + 100, COUNT)):
        graph, arrays = random_graph(seed)
        text = render(graph)
        back = parse(text)
        assert back == graph
        assert render(back) == text
        assert parse(render(simplify(graph))) == simplify(graph)
        for found, again in zip(
            *(NumpyEngine().compile(g)(*arrays) for g in (graph, back))
        ):
            assert_same_bits(found, again)


@pytest.mark.sampled(16)
@pytest.mark.parametrize("start", range(0, COUNT, 25))
def test_gradients_of_random_graphs_agree_with_finite_differences(
    engine: Engine, start: int
) -> None:
    for seed in range(start, min(start + 25, COUNT)):
        graph, arrays = random_graph(seed, smooth=True)
        rng = np.random.default_rng(seed)
        seeds = [rng.normal(size=each.shape) for each in float_outputs(graph)]
        along = [rng.normal(size=x.shape) for x in arrays]
        program = engine.compile(graph)

        def moved(distance: float) -> float:
            inputs = [
                x + distance * d if is_float(x.dtype) else x
                for x, d in zip(arrays, along)  # noqa: B023 - called in this turn
            ]
            found = [y for y in program(*inputs) if is_float(y.dtype)]  # noqa: B023
            return sum(float(np.sum(s * y)) for s, y in zip(seeds, found))  # noqa: B023

        slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
        flows = engine.compile(first_order(graph))(*arrays, *seeds)
        wanted = [d for x, d in zip(arrays, along) if is_float(x.dtype)]
        assert len(flows) == len(float_inputs(graph))
        found = sum(float(np.sum(g * d)) for g, d in zip(flows, wanted))
        scale = 1 + sum(float(np.sum(np.abs(g * d))) for g, d in zip(flows, wanted))
        assert abs(found - slope) <= 1e-5 * scale, f"seed {seed}"


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 30, 10))
def test_random_graphs_compute_what_jax_computes(engine: Engine, start: int) -> None:
    for seed in range(start, start + 10):
        graph, arrays = random_graph(seed, smooth=True)
        wanted = oracle.run(graph, *arrays)
        for found, each in zip(engine.compile(graph)(*arrays), wanted):
            np.testing.assert_allclose(found, each, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_graphs_hold_every_gate_and_odd_shapes() -> None:
    graphs = [random_graph(seed)[0] for seed in range(150)]
    nodes = [node for each in graphs for node in _nodes(each)]
    assert {node.op.name for node in nodes} == {*OPS}
    tensors = [node for node in nodes if isinstance(node.type, TensorType)]
    assert {0, 1, 2, 3} <= {size for node in tensors for size in node.shape}


def _nodes(graph: Graph) -> list[Node]:
    """Return the nodes of a graph and of its bodies."""
    bodies = [node.attrs["body"] for node in graph.nodes if "body" in node.attrs]
    return [*graph.nodes, *(node for body in bodies for node in _nodes(body))]
