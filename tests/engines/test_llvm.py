"""The llvm engine beside the numpy engine: random graphs, memory, errors, arrays."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pytest
from guarded import AtTheEdge, Guarded, run_guarded

from gates.derive import first_order, float_outputs
from gates.random_graphs import random_graph
from gates.samples import SAMPLES, Sample
from gates.test_edges import assert_same_bits
from pellucid.dtypes import is_float
from pellucid.engines.llvm.engine import LlvmEngine, LlvmProgram
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import EngineError, ShapeError
from pellucid.ir.graph import Graph, Node, bind, constant, fill, input_node, results
from pellucid.ir.types import TensorType

COUNT = int(os.environ.get("PELLUCID_RANDOM_GRAPHS", "400")) // 2
ENGINE, DEFINITION = LlvmEngine(capacity=16), NumpyEngine(capacity=16)

TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}
"""How far results may lie apart, relative to the largest, by their dtype."""


def compiled(graph: Graph) -> LlvmProgram:
    program = ENGINE.compile(graph)
    assert isinstance(program, LlvmProgram)
    return program


def both_orders(graph: Graph) -> Graph:
    """Return a graph of a graph's outputs and, behind them, its gradients."""
    first = first_order(graph)
    return Graph(first.inputs, (*graph.outputs, *first.outputs))


def arrays_for(graph: Graph, arrays: list[Any], seed: int) -> list[Any]:
    """Add a seed for each float output."""
    rng = np.random.default_rng(seed)
    seeds = [np.asarray(rng.normal(size=n.shape), n.dtype)
             for n in float_outputs(graph)]  # fmt: skip
    return [*arrays, *seeds]


def assert_agree(found: Any, wanted: Any, single: bool) -> None:
    """Compare results; in `f64` strictly, unless some of the gates were in `f32`."""
    assert len(found) == len(wanted)
    for each, other in zip(found, wanted):
        assert (each.shape, each.dtype) == (other.shape, other.dtype)
        if not is_float(each.dtype):
            np.testing.assert_array_equal(each, other)
            continue
        finite = np.abs(other[np.isfinite(other)])
        dtype = np.dtype(np.float32) if single else each.dtype
        near = TOLERANCE[dtype] * (1 + finite.max(initial=0))
        np.testing.assert_allclose(each, other, rtol=TOLERANCE[dtype], atol=near)


def computes_in_single(graph: Graph) -> bool:
    tensors = [n for n in graph.nodes if isinstance(n.type, TensorType)]
    return any(n.dtype == np.float32 for n in tensors)


def assert_keeps_to_its_memory(graph: Graph, arrays: list[Any], found: Any) -> None:
    """Nothing beyond an array is touched; nothing unknown has a say in the results."""
    program = compiled(graph)
    for filling, kind in ((0x00, Guarded), (0xFF, Guarded), (0xFF, AtTheEdge)):
        for each, other in zip(run_guarded(program, arrays, filling, kind), found):
            assert_same_bits(each, other)


# --- random graphs -------------------------------------------------------------------


def compare_random_graph(seed: int, smooth: bool) -> None:
    """Compare values and gradients of the graph of a seed, and look at its memory."""
    plain, arrays = random_graph(seed, smooth=smooth)
    graph, arrays = both_orders(plain), arrays_for(plain, arrays, seed)
    found = compiled(graph)(*arrays)
    wanted = DEFINITION.compile(graph)(*arrays)
    assert_agree(found, wanted, computes_in_single(graph))
    assert_keeps_to_its_memory(graph, arrays, found)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("start", range(0, COUNT, 25))
def test_random_graphs_agree_with_their_definition(start: int) -> None:
    for seed in range(start, min(start + 25, COUNT)):
        compare_random_graph(seed, smooth=seed % 4 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10_000, 12_000, 50))
def test_two_thousand_random_graphs_agree_with_their_definition(start: int) -> None:
    for seed in range(start, start + 50):
        compare_random_graph(seed, smooth=seed % 4 == 0)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_gate_and_its_gradient_keep_to_their_memory(
    sample: Sample, dtype: str
) -> None:
    plain = sample.graph(dtype)
    graph = both_orders(plain) if sample.smooth else plain
    arrays = sample.arrays(dtype)
    if sample.smooth:
        arrays = arrays_for(plain, arrays, 1)
    found = compiled(graph)(*arrays)
    assert_agree(found, DEFINITION.compile(graph)(*arrays), computes_in_single(graph))
    assert_keeps_to_its_memory(graph, arrays, found)


# --- sizes about the widths of vectors and tiles -------------------------------------


def product(m: int, k: int, n: int, dtype: str, turn: bool) -> Graph:
    """Return tanh(x · y + b), perhaps of turned operands, and its sums along axes."""
    x = input_node(TensorType((k, m) if turn else (m, k), dtype), "x")
    y = input_node(TensorType((n, k) if turn else (k, n), dtype), "y")
    b = input_node(TensorType((1, n), dtype), "b")
    contract = ((0,), (1,)) if turn else ((1,), (0,))
    z = bind("dot", x, y, contract=contract, batch=((), ()))
    z = bind("tanh", z + bind("broadcast", b, shape=(m, n)))
    return Graph((x, y, b), (z, bind("sum", z, axes=(0,)), bind("sum", z, axes=(1,))))


@pytest.mark.sampled(7)
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (1, 7, 33), (17, 1, 5), (15, 16, 17), (31, 3, 2), (64, 33, 48),
     (5, 130, 95), (97, 20, 1), (2, 257, 16), (33, 64, 129)],
)  # fmt: skip
def test_a_product_of_odd_sizes_keeps_to_its_memory(
    sizes: Any, dtype: str, turn: bool
) -> None:
    graph = product(*sizes, dtype, turn)
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=n.shape), n.dtype) for n in graph.inputs]
    found = compiled(graph)(*arrays)
    wanted = DEFINITION.compile(graph)(*arrays)
    for each, other in zip(found, wanted):
        near = 1e-4 if dtype == "f32" else 1e-12
        np.testing.assert_allclose(each, other, rtol=near, atol=near)
    assert_keeps_to_its_memory(graph, arrays, found)


# --- what a scan carries -------------------------------------------------------------


def swap(h: Node, c: Node) -> tuple[Node, Node]:
    return c, h


def exchange(h: Node, c: Node) -> tuple[Node, Node]:
    return c + h, h - c


def turn(h: Node, c: Node) -> tuple[Node, Node]:
    return bind("transpose", c, axes=(1, 0)), bind("reverse", h, axes=(0, 1))


def turn_itself(h: Node, c: Node) -> tuple[Node, Node]:
    return bind("transpose", h, axes=(1, 0)) + h, bind("reverse", c, axes=(1,)) * h


def multiply(h: Node, c: Node) -> tuple[Node, Node]:
    product = bind("dot", h, c, contract=((1,), (0,)), batch=((), ()))
    return product * fill(0.1, h.type), h


def total(h: Node, c: Node) -> tuple[Node, Node]:
    sums = bind("reshape", bind("sum", h, axes=(1,)), shape=(5, 1))
    return h + bind("broadcast", sums, shape=(5, 5)) * fill(0.1, h.type), h + c


def stay(h: Node, c: Node) -> tuple[Node, Node]:
    return h, c + h


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "rule",
    [swap, exchange, turn, turn_itself, multiply, total, stay],
    ids=lambda rule: rule.__name__,
)
def test_carried_values_do_not_overwrite_what_is_still_read(
    rule: Any, reverse: bool
) -> None:
    h, c = (input_node(TensorType((5, 5), "f64"), name) for name in "hc")
    new = rule(h, c)
    body = Graph((h, c), (*new, *new, h, c * h))
    first = [input_node(each.type, "x") for each in (h, c)]
    scan = bind("scan", *first, body=body, consts=0, carries=2, length=4,
                reverse=reverse, keep="all")  # fmt: skip
    graph = Graph(tuple(first), results(scan))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(5, 5)) for _ in first]
    found = compiled(graph)(*arrays)
    assert_agree(found, DEFINITION.compile(graph)(*arrays), single=False)
    assert_keeps_to_its_memory(graph, arrays, found)


# --- bounds --------------------------------------------------------------------------


def gathering(rows: int, count: int) -> Graph:
    x = input_node(TensorType((rows, 5), "f32"), "x")
    at = input_node(TensorType((count,), "i64"), "at")
    return Graph((x, at), (bind("gather", x, at, axis=0),))


def scattering(rows: int, count: int) -> Graph:
    x = input_node(TensorType((rows, 5), "f32"), "x")
    at = input_node(TensorType((count,), "i32"), "at")
    u = input_node(TensorType((count, 5), "f32"), "u")
    return Graph((x, at, u), (bind("scatter_add", x, at, u, axis=0),))


@pytest.mark.parametrize("index", [7, -1, 2**40, -(2**63), 2**63 - 1])
def test_a_gather_outside_names_the_index_and_touches_nothing(index: int) -> None:
    graph = gathering(7, 3)
    rows, at = np.ones((7, 5), np.float32), np.array([0, index, 2])
    text = rf"gather: index {index} is outside · .*test_llvm\.py:\d+.*expected 0 to 6"
    with pytest.raises(EngineError, match=text):
        compiled(graph)(rows, at)
    run_guarded(compiled(graph), [rows, at], 0xFF)
    # The program is as good as before.
    (found,) = compiled(graph)(rows, np.array([6, 0, 3]))
    assert (found == 1).all()


@pytest.mark.parametrize("index", [3, -1, -(2**31), 2**31 - 1])
def test_a_scatter_outside_names_the_index_and_touches_nothing(index: int) -> None:
    graph = scattering(3, 2)
    arrays = [np.zeros((3, 5), np.float32), np.array([1, index], np.int32),
              np.ones((2, 5), np.float32)]  # fmt: skip
    text = rf"scatter_add: index {index} is outside.*expected 0 to 2"
    with pytest.raises(EngineError, match=text):
        compiled(graph)(*arrays)
    run_guarded(compiled(graph), arrays, 0xFF)


def test_an_index_outside_in_the_middle_of_a_scan_is_named() -> None:
    table = input_node(TensorType((4,), "f32"), "table")
    total, at = input_node(TensorType((), "f32"), "t"), input_node(
        TensorType((), "i32"), "at")  # fmt: skip
    body = Graph((table, total, at), (total + bind("gather", table, at, axis=0),))
    steps = input_node(TensorType((6,), "i32"), "steps")
    start = constant(0.0, "f32")
    scan = bind("scan", table, start, steps, body=body, consts=1, carries=1, length=6,
                reverse=False, keep="all")  # fmt: skip
    program = compiled(Graph((table, steps), results(scan)))
    row = np.arange(4, dtype=np.float32)
    assert program(row, np.array([3, 3, 1, 0, 2, 1], np.int32))[0] == 10
    with pytest.raises(EngineError, match="gather: index 4 is outside"):
        program(row, np.array([3, 3, 4, 0, 9, 1], np.int32))


def two_gathers() -> Graph:
    x = input_node(TensorType((4,), "f32"), "x")
    y = input_node(TensorType((9,), "f32"), "y")
    at = input_node(TensorType((2,), "i32"), "at")
    first = bind("gather", x, at, axis=0)
    second = bind("gather", y, at, axis=0)
    return Graph((x, y, at), (first, second))


def test_of_two_gates_the_one_whose_bound_is_broken_is_named() -> None:
    x, y = np.zeros(4, np.float32), np.zeros(9, np.float32)
    text = "gather: index {} is outside.*expected 0 to {}"
    for index, last in ((5, 3), (9, 3)):
        with pytest.raises(EngineError, match=text.format(index, last)):
            compiled(two_gathers())(x, y, np.array([1, index], np.int32))
    graph = two_gathers()
    swapped = Graph(graph.inputs, graph.outputs[::-1])
    with pytest.raises(EngineError, match=text.format(5, 3)):
        compiled(swapped)(x, y, np.array([5, 1], np.int32))


def test_code_from_the_disk_names_the_line_of_its_own_graph() -> None:
    def born_here() -> Graph:
        x, at = gathering(5, 1).inputs
        return Graph((x, at), (bind("gather", x, at, axis=0),))

    x, at = np.zeros((5, 5), np.float32), np.array([5])
    places = []
    for graph in (gathering(5, 1), born_here()):
        with pytest.raises(EngineError) as caught:
            LlvmEngine().compile(graph)(x, at)
        places.append(re.findall(r"test_llvm\.py:(\d+)", str(caught.value)))
    assert places[0] != places[1]


# --- arrays --------------------------------------------------------------------------


def doubled(*shape: int, dtype: str = "f32") -> LlvmProgram:
    x = input_node(TensorType(shape, dtype), "x")
    return compiled(Graph((x,), (x + x,)))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (2, 0, 3)])
def test_arrays_of_size_zero_stay_so(shape: tuple[int, ...]) -> None:
    (found,) = doubled(*shape)(np.zeros(shape, np.float32))
    assert (found.shape, found.dtype) == (shape, np.float32)


def test_a_scalar_goes_in_and_out_as_an_array_without_axes() -> None:
    (found,) = doubled()(np.float32(1.5))
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype, found[()]) == ((), np.float32, 3)


def test_any_layout_of_an_input_is_read_right() -> None:
    plain = np.arange(24, dtype=np.float32).reshape(4, 6)
    wide = np.zeros((8, 18), np.float32)
    wide[::2, ::3] = plain
    shifted = np.frombuffer(b"x" + plain.tobytes(), np.uint8)[1:].view(np.float32)
    layouts = {
        "fortran": np.asfortranarray(plain),
        "transposed": np.ascontiguousarray(plain.T).T,
        "strided": wide[::2, ::3],
        "reversed": plain[::-1, ::-1].copy()[::-1, ::-1],
        "off by a byte": shifted.reshape(4, 6),
        "repeated": np.broadcast_to(plain[:1], (4, 6)),
        "a list": [plain[i] for i in range(4)],
    }
    for name, layout in layouts.items():
        before = np.array(layout)
        (found,) = doubled(4, 6)(layout)
        assert_same_bits(found, 2 * before)
        assert_same_bits(np.array(layout), before)
        assert found.flags.writeable, name


def test_an_array_of_foreign_byte_order_is_refused() -> None:
    text = "input 'x' does not fit · expected f32[3], got >f4[3]"
    with pytest.raises(ShapeError, match=re.escape(text)):
        doubled(3)(np.ones(3, ">f4"))


def test_a_read_only_input_is_left_alone_and_results_are_new() -> None:
    x = np.arange(5, dtype=np.float32)
    x.flags.writeable = False
    node = input_node(TensorType((5,), "f32"), "x")
    program = compiled(Graph((node,), (node, node, -node)))
    same, again, _ = program(x)
    same[:] = 9
    assert x.tolist() == again.tolist() == [0, 1, 2, 3, 4]
    assert program(x)[0].tolist() == [0, 1, 2, 3, 4]


def test_truth_values_of_any_byte_count_as_true() -> None:
    """A `bool` array may hold other bytes than 0 and 1."""
    odd = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    node = input_node(TensorType((4,), "bool"), "x")
    number = bind("cast", node, dtype=np.dtype(np.int32))
    (found,) = compiled(Graph((node,), (number,)))(odd)
    assert found.tolist() == [0, 1, 1, 1]


def test_results_outlive_their_program() -> None:
    nodes: list[Node] = [input_node(TensorType((4,), "f32"), "x")]
    nodes.append(nodes[0] * nodes[0])
    engine = LlvmEngine(capacity=1)
    program = engine.compile(Graph((nodes[0],), (nodes[1],)))
    (found,) = program(np.full(4, 3, np.float32))
    del program
    engine.compile(Graph((nodes[0],), (-nodes[1],)))
    assert found.tolist() == [9, 9, 9, 9]
