"""Gradients of scans equal those of `lax.scan`, kept or recomputed, to second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.grad.transform import gradients
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, Node, bind, constant, input_node, results, toposort
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

SCALAR = TensorType((), "f64")
KEEPS = ["all", "carry"]


def leaf(*shape: int, name: str = "x", dtype: str = "f64") -> Node:
    return input_node(TensorType(shape, dtype), name)


def scan(
    step: Callable[..., tuple[list[Node], list[Node]]],
    consts: list[Node],
    carries: list[Node],
    sequences: list[Node],
    *,
    length: int = 4,
    reverse: bool = False,
    keep: str = "all",
) -> tuple[Node, ...]:
    """Scan with a body written as a function of nodes: (carried, stacked)."""
    types = [each.type for each in (*consts, *carries)]
    types += [each.type.with_shape(each.shape[1:]) for each in sequences]
    inputs = [input_node(each, f"b{i}") for i, each in enumerate(types)]
    carried, stacked = step(*inputs)
    node = bind(
        "scan",
        *consts,
        *carries,
        *sequences,
        body=Graph(tuple(inputs), (*carried, *stacked)),
        consts=len(consts),
        carries=len(carries),
        length=length,
        reverse=reverse,
        keep=keep,
    )
    return results(node)


def total(*nodes: Node) -> Node:
    parts = [bind("sum", each, axes=tuple(range(each.ndim))) for each in nodes]
    result = parts[0]
    for each in parts[1:]:
        result = result + each
    return result


def assert_equal_jax(
    inputs: list[Node], loss: Node, function: Callable[..., Any], *arrays: Any
) -> None:
    """Compare value, gradients and a directional second derivative with JAX's."""
    floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    flows = gradients(loss, [inputs[i] for i in floats])
    mixed = total(*(bind("sin", each) for each in flows))
    bends = gradients(mixed, [inputs[i] for i in floats])
    graph = check(Graph(tuple(inputs), (loss, *flows, *bends)))
    check(simplify(graph))
    found = NumpyEngine().compile(graph)(*arrays)

    def again(*given: Any) -> Any:
        slopes = jax.grad(function, floats)(*given)
        return sum(jnp.sum(jnp.sin(each)) for each in slopes)

    wanted = [
        function(*arrays),
        *jax.grad(function, floats)(*arrays),
        *jax.grad(again, floats)(*arrays),
    ]
    for each, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-10, atol=1e-12)


def drawn(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrence(keep: str, reverse: bool) -> None:
    w, h, xs = leaf(3, 3), leaf(3), leaf(4, 3)

    def step(w: Node, h: Node, x: Node) -> tuple[list[Node], list[Node]]:
        mixed = bind("dot", w, h, contract=((1,), (0,)), batch=((), ()))
        new = bind("tanh", mixed + x)
        return [new], [new * x, bind("exp", new)]

    last, *stacks = scan(step, [w], [h], [xs], reverse=reverse, keep=keep)

    def oracle(w: Any, h: Any, xs: Any) -> Any:
        def body(h: Any, x: Any) -> Any:
            new = jnp.tanh(w @ h + x)
            return new, (new * x, jnp.exp(new))

        last, stacks = lax.scan(body, h, xs, reverse=reverse)
        return jnp.sum(last) + jnp.sum(stacks[0]) + jnp.sum(stacks[1])

    arrays = drawn((3, 3), (3,), (4, 3))
    assert_equal_jax([w, h, xs], total(last, *stacks), oracle, *arrays)


@pytest.mark.slow
@pytest.mark.parametrize("keep", KEEPS)
def test_several_carries_with_an_integer_among_them(keep: str) -> None:
    a, count, v, xs = leaf(), leaf(dtype="i32"), leaf(), leaf(4)

    def step(a: Node, n: Node, v: Node, x: Node) -> tuple[list[Node], list[Node]]:
        times = bind("cast", n, dtype=a.dtype)
        grown = bind("sin", a * times + x)
        return [v * 0.5, n + 2, grown], [grown * v * times, n]

    out = scan(step, [], [a, count, v], [xs], keep=keep)
    loss = out[0] * out[2] + total(out[3])

    def oracle(a: Any, count: Any, v: Any, xs: Any) -> Any:
        def body(carry: Any, x: Any) -> Any:
            a, n, v = carry
            grown = jnp.sin(a * n + x)
            return (v * 0.5, n + 2, grown), grown * v * n

        (a, _, v), stack = lax.scan(body, (a, count, v), xs)
        return a * v + jnp.sum(stack)

    arrays = [np.float64(0.3), np.int32(1), np.float64(-0.8), *drawn((4,))]
    assert_equal_jax([a, count, v, xs], loss, oracle, *arrays)


@pytest.mark.slow
@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("inner_keep", KEEPS)
def test_a_scan_in_a_scan(keep: str, inner_keep: str) -> None:
    w, h, xs = leaf(), leaf(), leaf(3, 2)

    def outer(w: Node, h: Node, rows: Node) -> tuple[list[Node], list[Node]]:
        def inner(w: Node, h: Node, x: Node) -> tuple[list[Node], list[Node]]:
            return [bind("sin", h * w + x)], [h * x]

        last, stack = scan(inner, [w], [h], [rows], length=2, keep=inner_keep)
        return [last * w], [total(stack), h]

    out = scan(outer, [w], [h], [xs], length=3, reverse=True, keep=keep)

    def oracle(w: Any, h: Any, xs: Any) -> Any:
        def outer(h: Any, rows: Any) -> Any:
            last, stack = lax.scan(lambda h, x: (jnp.sin(h * w + x), h * x), h, rows)
            return last * w, jnp.sum(stack) + h

        last, stack = lax.scan(outer, h, xs, reverse=True)
        return last + jnp.sum(stack)

    arrays = [np.float64(1.3), np.float64(0.4), *drawn((3, 2))]
    assert_equal_jax([w, h, xs], total(*out), oracle, *arrays)


@pytest.mark.slow
def test_only_stacked_results_and_no_carry() -> None:
    xs, ys = leaf(5), leaf(5)

    def step(x: Node, y: Node) -> tuple[list[Node], list[Node]]:
        return [], [x * y * y]

    (stack,) = scan(step, [], [], [xs, ys], length=5)
    assert_equal_jax(
        [xs, ys], total(stack), lambda x, y: (x * y * y).sum(), *drawn((5,), (5,))
    )


def test_a_constant_used_at_every_step_gathers_its_gradient() -> None:
    w, h = leaf(), leaf()
    (last,) = scan(lambda w, h: ([h * w], []), [w], [h], [], length=6)
    assert_equal_jax(
        [w, h], last, lambda w, h: h * w**6, np.float64(1.1), np.float64(2)
    )


def test_no_step_passes_the_carry_and_its_gradient_through() -> None:
    w, h, xs = leaf(), leaf(), leaf(0)
    last, stack = scan(lambda w, h, x: ([h * w + x], [x]), [w], [h], [xs], length=0)
    flows = gradients(last * 3.0 + total(stack), [w, h, xs])
    graph = Graph((w, h, xs), tuple(flows))
    found = NumpyEngine().compile(graph)(np.ones(()), np.ones(()), np.ones(0))
    assert [each.tolist() for each in found] == [0, 3, []]


def test_a_carry_that_nobody_reads_gives_zeros() -> None:
    a, b = leaf(), leaf()
    first, _ = scan(lambda a, b: ([a * a, b * a], []), [], [a, b], [], length=2)
    flows = gradients(first, [a, b])
    found = NumpyEngine().compile(Graph((a, b), tuple(flows)))(
        np.float64(2), np.ones(())
    )
    assert [each.tolist() for each in found] == [32, 0]


def test_stop_inside_a_body_cuts_the_path_through_time() -> None:
    w, h = leaf(), leaf()

    def step(w: Node, h: Node) -> tuple[list[Node], list[Node]]:
        return [bind("stop", h) * w], []

    (last,) = scan(step, [w], [h], [], length=3)
    graph = Graph((w, h), tuple(gradients(last, [w, h])))
    found = NumpyEngine().compile(graph)(np.float64(2), np.float64(5))
    assert [each.tolist() for each in found] == [20, 0]  # h₂ = 5·2²; h itself: none


@pytest.mark.slow
def test_one_node_may_be_constant_carry_and_sequence_at_once() -> None:
    x = leaf(2)

    def step(c: Node, h: Node, s: Node) -> tuple[list[Node], list[Node]]:
        spread = bind("broadcast", bind("reshape", s, shape=(1,)), shape=(2,))
        return [bind("sin", h * c + spread)], []

    (last,) = scan(step, [x], [x], [x], length=2)

    def oracle(x: Any) -> Any:
        return jnp.sum(lax.scan(lambda h, s: (jnp.sin(h * x + s), None), x, x)[0])

    assert_equal_jax([x], total(last), oracle, *drawn((2,)))


def test_kept_and_recomputed_values_give_the_same_bits() -> None:
    found = []
    for keep in KEEPS:
        w, h, xs = leaf(), leaf(), leaf(4)

        def step(w: Node, h: Node, x: Node) -> tuple[list[Node], list[Node]]:
            new = bind("tanh", bind("exp", h * w) * x)
            return [new], [new + h]

        out = scan(step, [w], [h], [xs], keep=keep)
        graph = Graph((w, h, xs), tuple(gradients(total(*out), [w, h, xs])))
        arrays = [np.float64(0.7), np.float64(0.2), *drawn((4,))]
        found.append([each.tobytes() for each in NumpyEngine().compile(graph)(*arrays)])
    assert found[0] == found[1]


def _kept(keep: str) -> int:
    """Return how many numbers the forward scan of a gradient stacks."""
    h, xs = leaf(), leaf(50)

    def step(h: Node, x: Node) -> tuple[list[Node], list[Node]]:
        return [bind("sin", bind("cos", bind("exp", h * x)))], []

    (last,) = scan(step, [], [h], [xs], length=50, keep=keep)
    (flow,) = gradients(last, [h])
    scans = [n for n in toposort([flow]) if n.op.name == "scan"]
    return max(sum(t.size for t in n.type[1:]) for n in scans)


def test_recomputing_keeps_the_carry_alone() -> None:
    assert _kept("carry") == 50
    assert _kept("all") > 100


def test_after_simplifying_one_scan_forward_serves_value_and_gradient() -> None:
    h, xs = leaf(), leaf(4)
    (last,) = scan(lambda h, x: ([bind("sin", h * x)], []), [], [h], [xs])
    graph = Graph((h, xs), (last, *gradients(last, [h, xs])))
    assert sum(n.op.name == "scan" for n in graph.nodes) == 3
    assert sum(n.op.name == "scan" for n in simplify(graph).nodes) == 2


def test_a_random_draw_inside_a_scan_is_the_same_when_it_is_run_again() -> None:
    values = []
    for keep in KEEPS:
        h, key = leaf(), leaf(2, name="key", dtype="u32")
        steps = constant(np.arange(3), "u32")

        def step(key: Node, h: Node, at: Node) -> tuple[list[Node], list[Node]]:
            pair = bind("concat", *[bind("reshape", at, shape=(1,))] * 2, axis=0)
            bits = bind("random_bits", key, pair, shape=())
            odd = _odd(bits, h)
            return [bind("sin", h) * (odd + 0.5)], []

        (last,) = scan(step, [key], [h], [steps], length=3, keep=keep)
        graph = Graph((h, key), tuple(gradients(last, [h])))
        (flow,) = NumpyEngine().compile(graph)(np.float64(0.3), np.array([7, 0], "u4"))
        values.append(flow.item())
    assert values[0] == values[1] != 0


def _odd(bits: Node, like: Node) -> Node:
    return bind("cast", bind("and", bits, constant(1, "u32")), dtype=like.dtype)
