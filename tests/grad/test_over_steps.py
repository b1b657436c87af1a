"""Gradients of a scan's constants: products of all steps, not one at every step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_scan import drawn, leaf, scan, total

from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Graph, Node, bind, constant, fill, toposort

T, B, N, H = 4, 3, 2, 3


def dot(x: Node, y: Node, over: tuple[int, int] = (1, 0)) -> Node:
    return bind("dot", x, y, contract=((over[0],), (over[1],)), batch=((), ()))


def spread(x: Node, shape: tuple[int, ...]) -> Node:
    ones = (1,) * (len(shape) - x.ndim)
    lifted = bind("reshape", x, shape=(*ones, *x.shape))
    return bind("broadcast", lifted, shape=shape)


def gates_of(node: Node, forward: bool = False) -> list[str]:
    """Return the gates in the bodies of the scans that run backward."""
    return [
        gate.op.name
        for each in toposort([node])
        if each.op.name == "scan" and (forward or each.attrs["reverse"])
        for gate in each.attrs["body"].nodes
    ]


# --- bodies: constants, a carry [B, H], and a slice [B, N] ---------------------------


def recurrent(w: Node, u: Node, b: Node, h: Node, x: Node) -> Node:
    """tanh(x·w + h·uᵀ + b), as PyTorch lays it out."""
    mixed = dot(x, bind("transpose", w, axes=(1, 0))) + dot(h, u, (1, 1))
    return bind("tanh", mixed + spread(b, (B, H)))


def sliced(w: Node, h: Node, x: Node) -> Node:
    """One weight, cut into its two parts within the body; used twice, negated."""
    upper = bind("slice", w, start=(0, 0), stop=(N, H), step=(1, 1))
    lower = bind("slice", w, start=(N, 0), stop=(N + H, H), step=(1, 1))
    again = dot(bind("sin", h), -bind("reverse", lower, axes=(0,)))
    return bind("tanh", dot(x, upper) + dot(h, lower) + again)


def gated(w: Node, c: Node, h: Node, x: Node) -> Node:
    """A weight that is computed of constants, and one that acts on each element."""
    weight = bind("exp", w) * 0.5
    return bind("tanh", dot(x, weight) + h * spread(c, (B, H)))


def attending(memory: Node, h: Node, x: Node) -> Node:
    """Weights over rows that all steps look at: a product with a batch axis."""
    scores = bind("dot", memory, h, contract=((2,), (1,)), batch=((0,), (0,)))
    weights = bind("exp", bind("sin", scores))
    seen = bind("dot", weights, memory, contract=((1,), (1,)), batch=((0,), (0,)))
    return bind("tanh", seen + spread(bind("sum", x, axes=(0, 1)), (B, H)))


CASES = {
    "recurrent": (recurrent, [(H, N), (H, H), (H,)]),
    "sliced": (sliced, [(N + H, H)]),
    "gated": (gated, [(N, H), (H,)]),
    "attending": (attending, [(B, 5, H)]),
}


def loss_of(name: str, keep: str, reverse: bool = False) -> tuple[list[Node], Node]:
    body, shapes = CASES[name]
    consts = [leaf(*shape) for shape in shapes]
    h, xs = leaf(B, H), leaf(T, B, N)

    def step(*nodes: Node) -> tuple[list[Node], list[Node]]:
        new = body(*nodes)
        return [new], [new * nodes[-2]]

    out = scan(step, consts, [h], [xs], length=T, keep=keep, reverse=reverse)
    return [*consts, h, xs], total(*out)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_that_add_up_in_the_scan(name: str, reverse: bool) -> None:
    found = []
    arrays = drawn(*CASES[name][1], (B, H), (T, B, N))
    for keep in ("carry", "all"):
        inputs, loss = loss_of(name, keep, reverse)
        flows = gradients(loss, inputs)
        bends = gradients(total(*(bind("sin", each) for each in flows)), inputs)
        graph = Graph(tuple(inputs), (*flows, *bends))
        found.append(NumpyEngine().compile(graph)(*arrays))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_recurrent_layer_agrees_with_jax() -> None:
    inputs, loss = loss_of("recurrent", "all")

    def oracle(w: Any, u: Any, b: Any, h: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            new = jnp.tanh(x @ w.T + h @ u.T + b)
            return new, new * h

        last, stack = lax.scan(step, h, xs)
        return last.sum() + stack.sum()

    arrays = drawn((H, N), (H, H), (H,), (B, H), (T, B, N))
    graph = Graph(tuple(inputs), tuple(gradients(loss, inputs)))
    found = NumpyEngine().compile(graph)(*arrays)
    for one, other in zip(found, jax.grad(oracle, range(5))(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("recurrent", 1), ("sliced", 2), ("gated", 0), ("attending", 2)],
)
def test_only_what_the_next_step_back_reads_is_a_product_in_the_scan(
    name: str, inside: int
) -> None:
    counts = []
    for keep in ("all", "carry"):
        inputs, loss = loss_of(name, keep)
        flows = gradients(loss, inputs[:-1])  # no gradient of the sequence
        counts.append(gates_of(total(*flows)).count("dot"))
    assert counts[0] == inside < counts[1]


def test_a_bias_is_summed_where_its_product_is_and_carried_where_there_is_none() -> (
    None
):
    inputs, loss = loss_of("recurrent", "all")
    (scanned,) = {
        each
        for each in toposort(gradients(loss, inputs[:3]))
        if each.op.name == "scan" and each.attrs["reverse"]
    }
    assert scanned.attrs["carries"] == 1  # the gradient of h alone
    inputs, loss = loss_of("gated", "all")
    (scanned,) = {
        each
        for each in toposort(gradients(loss, inputs[:2]))
        if each.op.name == "scan" and each.attrs["reverse"]
    }
    assert scanned.attrs["carries"] == 2  # and that of the weight of each element


def test_a_table_that_every_step_reads_is_written_once() -> None:
    table, h = leaf(7, H), leaf(B, H)
    rows = np.random.default_rng(0).integers(0, 7, (T, B))

    def step(table: Node, h: Node, at: Node) -> tuple[list[Node], list[Node]]:
        return [bind("tanh", h + bind("gather", table, at, axis=0))], []

    (last,) = scan(step, [table], [h], [constant(rows, "i32")], length=T)
    flows = gradients(total(last), [table, h])
    assert "scatter_add" not in gates_of(total(*flows))

    def oracle(table: Any, h: Any) -> Any:
        return lax.scan(lambda h, at: (jnp.tanh(h + table[at]), None), h, rows)[0].sum()

    arrays = drawn((7, H), (B, H))
    found = NumpyEngine().compile(Graph((table, h), tuple(flows)))(*arrays)
    for one, other in zip(found, jax.grad(oracle, (0, 1))(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_columns_of_a_table_that_every_step_reads() -> None:
    table, h = leaf(H, 7), leaf(H, B)
    rows = np.random.default_rng(0).integers(0, 7, (T, B))

    def step(table: Node, h: Node, at: Node) -> tuple[list[Node], list[Node]]:
        return [bind("tanh", h + bind("gather", table, at, axis=1))], []

    (last,) = scan(step, [table], [h], [constant(rows, "i32")], length=T)
    flow, _ = gradients(total(last), [table, h])

    def oracle(table: Any, h: Any) -> Any:
        return lax.scan(lambda h, at: (jnp.tanh(h + table[:, at]), None), h, rows)[
            0
        ].sum()

    arrays = drawn((H, 7), (H, B))
    (found,) = NumpyEngine().compile(Graph((table, h), (flow,)))(*arrays)
    np.testing.assert_allclose(found, jax.grad(oracle)(*arrays), rtol=1e-10)


@pytest.mark.slow
def test_a_long_chain_of_additions_needs_no_recursion() -> None:
    w, h = leaf(H, H), leaf(B, H)

    def step(w: Node, h: Node) -> tuple[list[Node], list[Node]]:
        new = h
        for i in range(400):
            new = new + dot(h * (1 / (i + 400)), w)
        return [new * 0.1], []

    (last,) = scan(step, [w], [h], [], length=2)
    assert gates_of(gradients(total(last), [w])[0]).count("dot") <= 400


def test_scans_without_a_step_give_zeros() -> None:
    w, h, xs = leaf(H, H), leaf(B, H), leaf(0, B, H)

    def step(w: Node, h: Node, x: Node) -> tuple[list[Node], list[Node]]:
        return [dot(h + x, w)], []

    (last,) = scan(step, [w], [h], [xs], length=0)
    flows = gradients(total(last), [w, h])
    for engine in (NumpyEngine(), LlvmEngine()):
        graph = Graph((w, h, xs), tuple(flows))
        found = engine.compile(graph)(*drawn((H, H), (B, H), (0, B, H)))
        assert not found[0].any()
        assert (found[1] == 1).all()


def test_a_product_of_what_comes_in_alone_reads_it_where_it_lies() -> None:
    w, xs = leaf(H, N), leaf(T, B, H)
    (out,) = scan(lambda w, x: ([], [dot(x, w)]), [w], [], [xs], length=T)
    seed = fill(2.0, out.type)
    (flow,) = gradients(out, [w], seed)
    assert not gates_of(flow, forward=True)  # no scan is left: one product
    arrays = drawn((H, N), (T, B, H))
    (found,) = NumpyEngine().compile(Graph((w, xs), (flow,)))(*arrays)
    wanted = np.einsum("tbh,tbn->hn", arrays[1], np.full((T, B, N), 2.0))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
