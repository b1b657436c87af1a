"""Rows of a small table are worked on once each: smaller products, the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.grad.transform import gradients
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, Node, bind, input_node
from pellucid.ir.types import TensorType
from pellucid.passes.rows import share_rows
from pellucid.passes.simplify import simplify

ROWS, WIDTH, OUT, SHAPE = 7, 16, 40, (16, 40)


def leaf(*shape: int, dtype: str = "f64") -> Node:
    return input_node(TensorType(shape, dtype), "x")


def dot(x: Node, y: Node, *axes: tuple[int, ...]) -> Node:
    return bind("dot", x, y, contract=axes, batch=((), ()))


def taken(table: Node, numbers: Node) -> Node:
    return bind("gather", table, numbers, axis=0)


def turned(x: Node) -> Node:
    return bind("transpose", x, axes=(1, 0, 2))


def flat(x: Node) -> Node:
    return bind("reshape", x, shape=(SHAPE[0] * SHAPE[1], WIDTH))


FUNCTIONS: dict[str, Callable[[Node, Node], Node]] = {
    "rows times a weight": lambda rows, w: dot(rows, w, (2,), (0,)),
    "a weight times rows": lambda rows, w: dot(w, rows, (0,), (2,)),
    "turned rows": lambda rows, w: dot(turned(rows), w, (2,), (0,)),
    "rows in a row": lambda rows, w: dot(flat(rows), w, (1,), (0,)),
    "turned, then in a row": lambda rows, w: dot(flat(turned(rows)), w, (1,), (0,)),
    "a weight the other way": lambda rows, w: dot(
        turned(rows), bind("transpose", w, axes=(1, 0)), (2,), (1,)
    ),
}


def layer(name: str) -> Graph:
    """Return a layer behind an embedding, and its gradients by table and weight."""
    table, w, numbers = leaf(ROWS, WIDTH), leaf(WIDTH, OUT), leaf(*SHAPE, dtype="i32")
    y = bind("sin", FUNCTIONS[name](taken(table, numbers), w))
    loss = bind("sum", y * y, axes=tuple(range(y.ndim)))
    flows = gradients(loss, [table, w])
    return simplify(Graph((table, w, numbers), (y, *flows)))


def drawn(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, ROWS, x.shape).astype(x.dtype)
        if x.dtype.kind == "i"
        else rng.normal(size=x.shape)
        for x in graph.inputs
    ]


def largest_product(graph: Graph) -> int:
    """Return how many rows or columns a product's operands have at most."""
    dots = [node for node in graph.nodes if node.op.name == "dot"]
    return max(max(each.shape) for node in dots for each in (node, *node.inputs))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_layer_behind_an_embedding_and_its_gradients(name: str) -> None:
    graph = layer(name)
    shared = check(share_rows(graph))
    assert largest_product(graph) >= SHAPE[1]
    assert largest_product(shared) == OUT  # no product has an axis of all places
    assert sum(node.op.name == "scatter_add" for node in shared.nodes) == 1
    arrays = drawn(graph)
    wanted = NumpyEngine().compile(graph)(*arrays)
    for engine, other in ((NumpyEngine(), shared), (LlvmEngine(), graph)):
        found = engine.compile(other)(*arrays)
        for each, value in zip(found, wanted, strict=True):
            np.testing.assert_allclose(each, value, rtol=1e-11, atol=1e-11)


def test_in_the_body_of_a_scan_too() -> None:
    graph = layer("rows times a weight")
    table, w, numbers = (input_node(x.type, "x") for x in graph.inputs)
    scan = bind(
        "scan",
        table,
        w,
        numbers,
        body=Graph(graph.inputs, graph.outputs),
        consts=3,
        carries=0,
        length=2,
        reverse=False,
        keep="all",
    )
    outer = Graph((table, w, numbers), (bind("get", scan, index=1),))
    (body,) = (n.attrs["body"] for n in share_rows(outer).nodes if n.op.name == "scan")
    assert largest_product(body) == OUT


UNCHANGED: dict[str, Callable[[Node, Node, Node], Node]] = {
    "a large table": lambda table, w, numbers: dot(
        taken(bind("concat", *[table] * 60, axis=0), numbers), w, (2,), (0,)
    ),
    "columns of a table": lambda table, w, numbers: dot(
        bind("gather", w, numbers, axis=1), table, (0,), (1,)
    ),
    "a part of each row": lambda table, w, numbers: dot(
        bind(
            "slice",
            taken(table, numbers),
            start=(0, 0, 1),
            stop=(*SHAPE, WIDTH),
            step=(1, 1, 1),
        ),
        bind("slice", w, start=(1, 0), stop=(WIDTH, OUT), step=(1, 1)),
        (2,),
        (0,),
    ),
    "one axis of places of two": lambda table, w, numbers: dot(
        taken(table, numbers), taken(table, numbers), (0,), (0,)
    ),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_is_no_product_of_a_small_table_stays(name: str) -> None:
    table, w, numbers = leaf(ROWS, WIDTH), leaf(WIDTH, OUT), leaf(*SHAPE, dtype="i32")
    y = UNCHANGED[name](table, w, numbers)
    graph = Graph((table, w, numbers), (y,))
    assert share_rows(graph) is graph


def test_a_small_product_stays() -> None:
    table, numbers = leaf(2, 3), leaf(9, dtype="i32")
    y = dot(taken(table, numbers), leaf_weight := leaf(3, 4), (1,), (0,))
    graph = Graph((table, numbers, leaf_weight), (y,))
    assert share_rows(graph) is graph
