"""From a sample's graph to graphs of its gradients, ours and the oracle's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from gates import oracle
from pellucid.dtypes import is_float
from pellucid.grad.transform import adjoints
from pellucid.ir.graph import Graph, Node, fill, input_node

__all__ = [
    "first_order",
    "float_inputs",
    "float_outputs",
    "oracle_orders",
    "random_like",
    "second_order",
]


def float_inputs(graph: Graph) -> list[Node]:
    """Return the inputs that can have a gradient."""
    return [each for each in graph.inputs if is_float(each.dtype)]


def float_outputs(graph: Graph) -> list[Node]:
    """Return the outputs that a gradient can enter."""
    return [each for each in graph.outputs if is_float(each.dtype)]


def random_like(nodes: Sequence[Node], seed: int) -> list[Any]:
    """Return an array of each node's type."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=n.shape), n.dtype) for n in nodes]


def _pull(seeds: Sequence[tuple[Node, Node]], wrt: Sequence[Node]) -> list[Node]:
    found = adjoints(seeds, wrt)
    return [found[each] if each in found else fill(0.0, each.type) for each in wrt]


def first_order(graph: Graph) -> Graph:
    """Return (inputs, a seed per float output) → a gradient per float input."""
    outputs = float_outputs(graph)
    seeds = [input_node(each.type, "seed") for each in outputs]
    flows = _pull(list(zip(outputs, seeds)), float_inputs(graph))
    return Graph((*graph.inputs, *seeds), tuple(flows))


def second_order(graph: Graph) -> Graph:
    """Differentiate ⟨gradients, directions⟩ by every float input and every seed.

    Its inputs are the graph's, the seeds, and a direction for each gradient.
    """
    first = first_order(graph)
    directions = [input_node(each.type, "direction") for each in first.outputs]
    flows = _pull(list(zip(first.outputs, directions)), float_inputs(first))
    return Graph((*first.inputs, *directions), tuple(flows))


def oracle_orders(graph: Graph, arrays: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return JAX's values, gradients and second-order gradients of a graph.

    `arrays` are the graph's inputs, the seeds and the directions.
    """
    at = [i for i, each in enumerate(graph.inputs) if is_float(each.dtype)]
    count, seeded = len(graph.inputs), len(float_outputs(graph))

    def function(*floats: Any) -> list[Any]:
        inputs: list[Any] = list(arrays[:count])
        for i, each in zip(at, floats):
            inputs[i] = each
        found = oracle.run(graph, *inputs)
        return [y for y, node in zip(found, graph.outputs) if is_float(node.dtype)]

    def first(floats: Any, seeds: Any) -> Any:
        return jax.vjp(function, *floats)[1](list(seeds))

    def everything(floats: Any, seeds: Any, directions: Any) -> Any:
        flows, back = jax.vjp(first, floats, seeds)
        d_floats, d_seeds = back(tuple(directions))
        return flows, (*d_floats, *d_seeds)

    values = jax.jit(lambda *each: oracle.run(graph, *each))(*arrays[:count])
    floats = tuple(arrays[i] for i in at)
    if not floats or not seeded:
        return values, (), ()
    seeds = tuple(arrays[count : count + seeded])
    flows, bends = jax.jit(everything)(floats, seeds, tuple(arrays[count + seeded :]))
    return values, flows, bends
