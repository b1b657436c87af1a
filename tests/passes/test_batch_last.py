"""Images with the batch last: the same numbers, and no more turns than are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pellucid import tracing
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.functional import avg_pool, conv, exp, max_pool, relu, tanh
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, Node, bind, constant
from pellucid.ir.types import TensorType
from pellucid.passes.batch_last import batch_last
from pellucid.passes.simplify import simplify
from pellucid.tensors import Tensor, apply, grad
from pellucid.tracing import symbol

REGISTER = 64
BATCH = 16


def sym(*shape: int, dtype: str = "f64") -> Tensor:
    return symbol(TensorType(shape, dtype), "x")


def graph_of(function: Callable[..., Tensor], *inputs: Tensor) -> Graph:
    """Return a function's value and the gradients of the sum of its squares."""
    y = function(*inputs)
    flows = grad((y * y).sum(), list(inputs))
    return simplify(tracing.graph_of(list(inputs), [y, *flows]))


def gates(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph.nodes)


def assert_same(graph: Graph) -> Graph:
    """Check types and numbers of the rewritten graph; return it."""
    turned = check(simplify(batch_last(graph, REGISTER)))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=x.shape).astype(x.dtype) for x in graph.inputs]
    wanted = NumpyEngine().compile(graph)(*arrays)
    for engine, other in ((NumpyEngine(), turned), (LlvmEngine(), graph)):
        for each, value in zip(engine.compile(other)(*arrays), wanted, strict=True):
            np.testing.assert_allclose(each, value, rtol=1e-10, atol=1e-10)
    return turned


# --- networks ------------------------------------------------------------------------


def lenet(x: Tensor, w: Tensor, b: Tensor, v: Tensor, dense: Tensor) -> Tensor:
    y = max_pool(relu(conv(x, w, b, padding=1)), 2)
    y = avg_pool(relu(conv(y, v)), 2)
    return y.reshape(BATCH, -1) @ dense


def residual(x: Tensor, w: Tensor, v: Tensor, u: Tensor, scale: Tensor) -> Tensor:
    y = conv(x, w, stride=2, padding=1)
    mean = y.mean((0, 2, 3), keepdims=True)
    y = (y - mean) * scale.reshape(1, -1, 1, 1)
    y = conv(tanh(y), v, padding=1, groups=2) + conv(x, u, stride=2)
    return y.mean((2, 3))


def series(x: Tensor, w: Tensor, b: Tensor, keep: Tensor) -> Tensor:
    y = tanh(conv(x, w, b, dilation=2, padding=2))
    y = apply("concat", y, y[:, :, ::-1] * keep, axis=1)
    return apply("max", y, axes=(2,)) + exp(y[:, :, 3])


def windows(x: Tensor, w: Tensor) -> Tensor:
    return max_pool(conv(x, w), 3, stride=2, padding=1)


NETWORKS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "lenet": (lenet, [(BATCH, 1, 8, 8), (2, 1, 3, 3), (2,), (3, 2, 3, 3), (3, 2)]),
    "residual": (
        residual,
        [(BATCH, 2, 7, 6), (4, 2, 3, 3), (4, 2, 3, 3), (4, 2, 1, 1), (4,)],
    ),
    "series": (series, [(BATCH, 2, 9), (3, 2, 3), (3,), (BATCH, 3, 9)]),
    "windows": (windows, [(BATCH, 1, 9, 9), (2, 1, 3, 3)]),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_and_its_gradients_stay_what_they_are(name: str) -> None:
    function, shapes = NETWORKS[name]
    graph = graph_of(function, *(sym(*shape) for shape in shapes))
    turned = assert_same(graph)
    convs = [each for each in turned.nodes if each.op.name == "conv"]
    assert len(convs) == gates(graph)["conv"]
    for each in convs:  # the batch is an axis of space: the last
        sides = each.inputs[0].shape, each.shape
        assert BATCH in (sides[0][-1], sides[1][-1])


def test_what_stands_between_two_convolutions_is_not_turned() -> None:
    def between(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
        return conv(max_pool(tanh(conv(x, w)), 2), v)

    graph = graph_of(between, sym(BATCH, 1, 8, 8), sym(2, 1, 3, 3), sym(3, 2, 2, 2))
    turned = assert_same(graph)
    wide = [
        node
        for node in turned.nodes
        if node.op.name in ("tanh", "max", "mul", "add") and node.type.size > BATCH * 4
    ]
    assert wide
    assert all(node.shape[-1] == BATCH for node in wide)
    assert gates(turned)["pad"] == gates(graph)["pad"] + 1  # x is copied once


def test_rows_for_a_dense_layer_are_made_of_columns_that_lie_so() -> None:
    x, w = sym(BATCH, 1, 5, 5), sym(2, 1, 3, 3)
    graph = graph_of(lambda x, w: conv(x, w).reshape(BATCH, -1), x, w)
    turned = assert_same(graph)
    flat = [node for node in turned.nodes if node.shape == (18, BATCH)]
    assert flat  # and turned as a whole


def test_nothing_is_done_where_there_is_nothing_to_do() -> None:
    x = sym(BATCH, 3)
    graph = graph_of(lambda x: tanh(x), x)
    assert batch_last(graph, REGISTER) is graph


def test_a_small_batch_keeps_its_order_and_pads_its_rows() -> None:
    graph = graph_of(
        lambda x, w: conv(x, w, padding=1), sym(2, 1, 5, 5), sym(2, 1, 3, 3)
    )
    turned = assert_same(graph)
    convs = [each for each in turned.nodes if each.op.name == "conv"]
    assert all(each.ndim == 4 for each in convs)
    assert all(each.attrs["low"][-1] == 0 for each in convs)


def test_the_body_of_a_scan_is_rewritten_too() -> None:
    x, w = sym(BATCH, 2, 6), sym(2, 2, 3)
    y = tanh(conv(x, w, padding=1))
    body = Graph((w.node, x.node), (y.node,))
    first, kernel = sym(BATCH, 2, 6), sym(2, 2, 3)
    node = bind(
        "scan",
        kernel.node,
        first.node,
        body=body,
        consts=1,
        carries=1,
        length=3,
        reverse=False,
        keep="all",
    )
    graph = Graph((kernel.node, first.node), (bind("get", node, index=0),))
    turned = assert_same(graph)
    (scan,) = (each for each in turned.nodes if each.op.name == "scan")
    (inner,) = (n for n in scan.attrs["body"].nodes if n.op.name == "conv")
    assert inner.shape == (1, 2, 6, BATCH)


# --- gates, one by one ---------------------------------------------------------------


def spread(y: Node) -> Node:
    """Repeat the largest of each row."""
    largest = bind("max", y, axes=(3,))
    lifted = bind("reshape", largest, shape=(*largest.shape, 1))
    return bind("broadcast", lifted, shape=y.shape)


def mixed(y: Node) -> Node:
    """Choose between images that lie in two orders."""
    turned = bind("reshape", bind("transpose", y, axes=(0, 1, 3, 2)), shape=y.shape)
    return bind("where", bind("lt", y, turned), y * turned, -turned)


def cut(y: Node) -> Node:
    return bind("slice", y, start=(1, 0, 2, 1), stop=(9, 2, 4, 6), step=(2, 1, 1, 3))


def framed(y: Node) -> Node:
    around = {"low": (0, 1, 0, 2), "high": (3, 0, 1, 0), "interior": (0, 2, 0, 1)}
    return bind("pad", y, constant(1.5, y.dtype), **around)


def gathered(y: Node) -> Node:
    return bind("gather", y, constant([3, 0, 3], "i32"), axis=2)


GATES: dict[str, Callable[[Node], Node]] = {
    "arithmetic": lambda y: bind("tanh", y * 2.0 + y),
    "two orders": mixed,
    "a broadcast": lambda y: y - spread(y),
    "a sum over the batch": lambda y: bind("sum", y, axes=(0, 2)),
    "a sum over channels": lambda y: bind("sum", y, axes=(1,)),
    "a sum over all": lambda y: bind("sum", y, axes=(0, 1, 2, 3)) * 2.0,
    "the place of the largest": lambda y: bind("argmax", y, axis=2),
    "a slice": cut,
    "a frame": framed,
    "a reverse": lambda y: bind("reverse", y, axes=(0, 3)),
    "joined parts": lambda y: bind("concat", y, y * 2.0, axis=2),
    "turned axes": lambda y: bind("transpose", y, axes=(2, 0, 3, 1)) * 2.0,
    "axes cut in two": lambda y: bind("reshape", y, shape=(4, 4, 2, 2, 2, 3, 2)) * 2.0,
    "axes joined in a row": lambda y: bind("reshape", y, shape=(16, 2, 24)) * 2.0,
    "axes joined apart": lambda y: bind("reshape", y, shape=(16, 48)) * 2.0,
    "the batch joined too": lambda y: bind("reshape", y, shape=(32, 24)) * 2.0,
    "axes of one": lambda y: bind("reshape", y, shape=(1, 16, 2, 1, 4, 6, 1)) * 2.0,
    "rows by number": gathered,
    "itself alone": lambda y: y,
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", GATES)
def test_a_gate_of_an_image_means_the_same(name: str) -> None:
    x, w = sym(BATCH, 1, 5, 8).node, sym(2, 1, 2, 3).node
    one = dict.fromkeys(("stride", "x_dilation", "w_dilation"), (1, 1))
    y = bind("conv", x, w, **one, low=(0, 0), high=(0, 0), groups=1)
    assert_same(Graph((x, w), (GATES[name](y),)))
