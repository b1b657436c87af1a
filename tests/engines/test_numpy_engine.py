"""The numpy engine: programs, their errors, what an observer sees, what a run costs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from pellucid.engines.numpy_ import NumpyEngine, NumpyProgram, run_gate
from pellucid.engines.philox import philox, random_words
from pellucid.engines.program import Cost
from pellucid.errors import EngineError, ShapeError
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Graph, Node, bind, constant, fill, input_node, results
from pellucid.ir.text import parse
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

ROW = TensorType((3,), "f32")


def program(*outputs: Node, inputs: tuple[Node, ...]) -> NumpyProgram:
    made = NumpyEngine().compile(Graph(inputs, outputs))
    assert isinstance(made, NumpyProgram)
    return made


# --- programs ------------------------------------------------------------------------


def test_a_program_refuses_a_wrong_number_of_arrays() -> None:
    x = input_node(ROW, "x")
    run = program(-x, inputs=(x,))
    row = np.zeros(3, np.float32)
    with pytest.raises(EngineError, match="the program takes 1 arrays, not 0"):
        run()
    with pytest.raises(EngineError, match="the program takes 1 arrays, not 2"):
        run(row, row)


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (np.zeros(2, np.float32), "float32[2]"),
        (np.zeros(3), "float64[3]"),
        (np.float32(1), "float32[]"),
        ([1, 2, 3], "int64[3]"),
    ],
)
def test_a_program_refuses_an_array_that_does_not_fit(array: Any, shown: str) -> None:
    x = input_node(ROW, "features")
    text = f"input 'features' does not fit · expected f32[3], got {shown}"
    with pytest.raises(ShapeError, match=re.escape(text)):
        program(-x, inputs=(x,))(array)


def test_the_same_graph_compiles_to_the_same_program() -> None:
    engine = NumpyEngine()

    def build(factor: float) -> Graph:
        x = input_node(ROW, "x")
        return Graph((x,), (x * factor,))

    def steps(factor: float, **options: Any) -> Any:
        return vars(engine.compile(build(factor), **options))["_steps"]

    assert steps(2.0) is steps(2.0)
    assert steps(2.0) is not steps(3.0)
    assert steps(2.0) is not steps(2.0, donate=(0,))
    graph = build(2.0)
    assert engine.compile(graph).graph is graph


def test_a_full_cache_forgets_the_program_not_used_for_longest() -> None:
    engine = NumpyEngine(capacity=2)
    graphs = []
    for factor in (2.0, 3.0, 4.0):
        x = input_node(ROW, "x")
        graphs.append(Graph((x,), (x * factor,)))
    first, second = engine.compile(graphs[0]), engine.compile(graphs[1])
    assert engine.compile(graphs[0]) is first
    engine.compile(graphs[2])
    assert engine.compile(graphs[0]) is first
    assert engine.compile(graphs[1]) is not second


def test_a_program_can_be_run_in_threads_at_once() -> None:
    x = input_node(TensorType((500,), "f64"), "x")
    y = x
    for _ in range(50):
        y = bind("sin", y) + x
    run = program(y, inputs=(x,))
    arrays = [np.full(500, float(i)) for i in range(8)]
    wanted = [run(each)[0] for each in arrays]
    found: list[Any] = [None] * 8

    def work(i: int) -> None:
        for _ in range(20):
            (found[i],) = run(arrays[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted))


def test_inputs_and_constants_can_be_outputs() -> None:
    x = input_node(ROW, "x")
    run = program(x, constant(2.0), x, fill(1.0, ROW), inputs=(x,))
    found = run(np.arange(3, dtype=np.float32))
    assert [each.tolist() for each in found] == [[0, 1, 2], 2, [0, 1, 2], [1, 1, 1]]


def test_a_program_writes_its_graph_with_births() -> None:
    x = input_node(ROW, "x")
    text = program(bind("exp", x), inputs=(x,)).text()
    assert "# test_numpy_engine.py:" in text
    assert parse(text) == Graph((x,), (bind("exp", x),))


def test_warnings_of_numpy_stay_inside() -> None:
    x = input_node(ROW, "x")
    run = program(bind("log", x) / x, inputs=(x,))
    (found,) = run(np.array([0, -1, 1], np.float32))
    assert np.isnan(found[1])
    run_gate(bind("log", x), np.zeros(3, np.float32))


def test_a_run_does_not_change_its_arrays() -> None:
    x, i = input_node(ROW, "x"), input_node(TensorType((1,), "i32"), "i")
    updates = input_node(TensorType((1,), "f32"), "u")
    run = program(bind("scatter_add", x, i, updates, axis=0), inputs=(x, i, updates))
    row = np.zeros(3, np.float32)
    run(row, np.array([1], np.int32), np.ones(1, np.float32))
    assert row.tolist() == [0, 0, 0]


# --- the result depends on values alone, not on how they lie in memory ----------------

_RNG = np.random.default_rng(0)
TALL, WIDE = (_RNG.uniform(0.1, 3, shape) for shape in ((2001, 4), (60, 50)))

Gate = Callable[[Node], Node]
GATES: dict[str, Gate] = {
    "exp": lambda x: bind("exp", x),
    "log": lambda x: bind("log", x),
    "pow": lambda x: bind("pow", x, x),
    "square": lambda x: bind("pow", x, fill(2.0, x.type)),
    "sum": lambda x: bind("sum", x, axes=(0,)),
    "sum of all": lambda x: bind("sum", x, axes=(0, 1)),
    "dot": lambda x: bind("dot", x, x, contract=((0,), (0,)), batch=((), ())),
    "dot back": lambda x: bind("dot", x, x, contract=((1,), (1,)), batch=((), ())),
}
VIEWS: dict[str, Gate] = {
    "reversed": lambda x: bind("reverse", x, axes=(0,)),
    "reversed twice": lambda x: bind("reverse", x, axes=(0, 1)),
    "turned": lambda x: bind("transpose", x, axes=(1, 0)),
    "cut": lambda x: bind("slice", x, start=(1, 1), stop=(x.shape[0], 3), step=(1, 1)),
    "stepped": lambda x: bind("slice", x, start=(0, 0), stop=x.shape, step=(2, 2)),
    "repeated": lambda x: bind(
        "broadcast",
        bind("slice", x, start=(0, 1), stop=(x.shape[0], 2), step=(1, 1)),
        shape=(x.shape[0], 33),
    ),
    "repeated and turned": lambda x: bind(
        "transpose", VIEWS["repeated"](x), axes=(1, 0)
    ),
}


@pytest.mark.parametrize("array", [TALL, WIDE], ids=["tall", "wide"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("gate", GATES)
def test_a_view_gives_the_bits_that_its_copy_gives(
    gate: str, view: str, array: Any
) -> None:
    """A gate that does nothing makes a copy; leaving it out must not show."""
    if "dot" in gate and array is TALL:
        array = array[:90]
    x = input_node(TensorType(array.shape, "f64"), "x")
    through, copied = VIEWS[view](x), VIEWS[view](x) * 1.0
    graph = Graph((x,), (GATES[gate](through), GATES[gate](copied)))
    run = NumpyEngine().compile(graph)
    assert isinstance(run, NumpyProgram)
    lean, plain = run(array), run.observe([array], lambda *_: None)
    assert len({each.tobytes() for each in (*lean, *plain)}) == 1


def test_a_product_of_views_gives_the_bits_of_a_product_of_copies() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        m, k, n = (int(size) for size in rng.integers(1, 70, 3))
        x = input_node(TensorType((m, 2 * k), "f32"), "x")
        y = input_node(TensorType((k, n), "f32"), "y")
        cut = bind("slice", x, start=(0, 0), stop=(m, 2 * k), step=(1, 2))
        contract = {"contract": ((1,), (0,)), "batch": ((), ())}
        graph = Graph((x, y), (bind("dot", cut * 1.0, y, **contract),))
        arrays = [rng.normal(size=each.shape).astype("f4") for each in (x, y)]
        run = NumpyEngine().compile(graph)
        plain = run.observe(arrays, lambda *_: None)
        assert run(*arrays)[0].tobytes() == plain[0].tobytes()


@pytest.mark.parametrize("gate", GATES)
def test_an_argument_that_is_a_view_gives_the_bits_of_a_copy(gate: str) -> None:
    x = input_node(TensorType(WIDE.shape, "f64"), "x")
    run = program(GATES[gate](x), inputs=(x,))
    view = WIDE[::-1, ::-1]
    assert run(view)[0].tobytes() == run(view.copy())[0].tobytes()


# --- observing -----------------------------------------------------------------------


def _loop(x: Node, xs: Node, reverse: bool = False) -> tuple[Graph, tuple[Node, ...]]:
    h, s = (input_node(TensorType((), "f64"), name) for name in "hs")
    body = Graph((h, s), (h * s, h + s))
    attrs = {"consts": 0, "carries": 1, "length": 3, "reverse": reverse, "keep": "all"}
    return body, results(bind("scan", x, xs, body=body, **attrs))


def _shown(graph: Graph, *arrays: Any) -> list[tuple[Node, Any, tuple[int, ...]]]:
    rows: list[tuple[Node, Any, tuple[int, ...]]] = []
    run = NumpyEngine().compile(graph)
    assert isinstance(run, NumpyProgram)
    run.observe(list(arrays), lambda *row: rows.append(row))
    return rows


def test_an_observer_sees_every_node_once_even_idle_ones() -> None:
    x = input_node(ROW, "x")
    graph = Graph((x,), (bind("stop", x * 1.0) + bind("neg", -x),))
    rows = _shown(graph, np.arange(3, dtype=np.float32))
    assert [node for node, _, _ in rows] == [x, *graph.nodes[1:]]
    assert {at for _, _, at in rows} == {()}
    assert np.array_equal(rows[-1][1], [0, 2, 4])


@pytest.mark.parametrize("reverse", [False, True])
def test_an_observer_sees_the_steps_of_a_scan(reverse: bool) -> None:
    x = input_node(TensorType((), "f64"), "x")
    xs = input_node(TensorType((3,), "f64"), "xs")
    body, (last, stack) = _loop(x, xs, reverse)
    rows = _shown(Graph((x, xs), (last, stack)), np.float64(1), np.array([2.0, 3, 4]))
    product = body.outputs[0]
    steps = [(at, value.item()) for node, value, at in rows if node is product]
    forward = [((0,), 2), ((1,), 6), ((2,), 24)]
    assert steps == ([((2,), 4), ((1,), 12), ((0,), 24)] if reverse else forward)
    assert all(node in {n for n, _, _ in rows} for node in body.nodes)
    assert [at for node, _, at in rows if node is last] == [()]


def test_an_observer_sees_the_steps_of_nested_scans_and_calls() -> None:
    x = input_node(TensorType((), "f64"), "x")
    b, rows_in = x, input_node(TensorType((3,), "f64"), "row")
    inner_body, inner = _loop(input_node(x.type, "h"), rows_in)
    start = inner[0].inputs[0].inputs[0]
    outer_body = Graph((start, rows_in), inner)
    call_in = input_node(x.type, "c"), input_node(TensorType((2, 3), "f64"), "cs")
    attrs = {"consts": 0, "carries": 1, "length": 2, "reverse": False, "keep": "all"}
    outer = results(bind("scan", *call_in, body=outer_body, **attrs))
    made = bind(
        "call",
        b,
        table := input_node(call_in[1].type, "t"),
        body=Graph(call_in, outer),
        name="loop",
        backward=None,
    )
    rows = _shown(Graph((b, table), results(made)), np.float64(1), np.ones((2, 3)))
    steps = [at for node, _, at in rows if node is inner_body.outputs[0]]
    assert steps == [(i, j) for i in range(2) for j in range(3)]


def test_an_observer_sees_its_own_nodes_though_an_equal_graph_came_first() -> None:
    engine = NumpyEngine()
    for _ in range(2):
        x = input_node(ROW, "x")
        graph = Graph((x,), (bind("sin", x),))
        rows: list[Any] = []
        engine.compile(graph).observe([np.zeros(3, "f4")], partial(_append, rows))
        assert [node for node, _, _ in rows] == [x, graph.outputs[0]]


def _append(rows: list[Any], *row: Any) -> None:
    rows.append(row)


# --- simplify ------------------------------------------------------------------------


def test_gates_that_do_nothing_are_left_out() -> None:
    x = input_node(TensorType((2, 3), "f32"), "x")
    twice = bind("transpose", bind("transpose", x, axes=(1, 0)), axes=(1, 0))
    flat = bind("reshape", bind("reshape", x, shape=(6,)), shape=(2, 3))
    for idle in (
        x * 1.0,
        fill(1.0, x.type) * x,
        x / 1.0,
        bind("neg", -x),
        bind("stop", x),
        twice,
        flat,
        bind("cast", x, dtype=x.dtype),
        bind("broadcast", x, shape=x.shape),
    ):
        assert simplify(Graph((x,), (idle,))).outputs == (x,)


def test_gates_that_change_a_bit_stay() -> None:
    x = input_node(TensorType((2,), "f32"), "x")
    for kept in (
        x + 0.0,
        x + -0.0,
        x * -1.0,
        1.0 / x,
        x * 0.0,
        bind("pow", x, fill(1.0, x.type)),
    ):
        assert simplify(Graph((x,), (kept,))).outputs == (kept,)


def test_two_scans_that_become_one_keep_each_its_own_results() -> None:
    """Narrowed, both are the same scan, but of differently numbered results."""
    xs = input_node(TensorType((3,), "f64"), "xs")

    def loop(wide: bool) -> tuple[Node, ...]:
        s = input_node(TensorType((), "f64"), "s")
        stacked = (s * 2.0, s * 3.0, s * 5.0) if wide else (s * 5.0, s * 2.0)
        attrs = {"consts": 0, "carries": 0, "length": 3, "reverse": False}
        body = Graph((s,), stacked)
        return results(bind("scan", xs, body=body, keep="all", **attrs))

    wide, narrow = loop(True), loop(False)
    graph = Graph((xs,), (wide[2], narrow[0]))
    found = NumpyEngine().compile(graph)(np.ones(3))
    assert [each.tolist() for each in found] == [[5] * 3, [5] * 3]
    both = Graph((xs,), (narrow[0], wide[2], narrow[1], wide[0]))
    found = NumpyEngine().compile(both)(np.ones(3))
    assert [each[0] for each in found] == [5, 5, 2, 2]


def test_results_and_carries_that_nobody_reads_are_dropped() -> None:
    a, b, h = (input_node(TensorType((), "f64"), name) for name in "abh")
    body = Graph((h, a, b), (h + a, b * 2.0, b * b, a * a))
    x, y, z = (input_node(TensorType((), "f64"), name) for name in "xyz")
    zs = bind("broadcast", bind("reshape", z, shape=(1,)), shape=(4,))
    attrs = {"consts": 0, "carries": 2, "length": 4, "reverse": False, "keep": "all"}
    order = Graph((a, b, h), (a + h, b * 2.0, b * b, a * a))
    out = results(bind("scan", x, y, zs, body=order, **attrs))
    slim = simplify(Graph((x, y, z), (out[2],)))
    (loop,) = [n for n in slim.nodes if n.op.name == "scan"]
    assert (loop.attrs["carries"], len(loop.type), len(loop.inputs)) == (1, 2, 1)
    (found,) = NumpyEngine().compile(slim)(np.ones(()), np.ones(()), np.ones(()))
    assert found.tolist() == [1, 4, 16, 64]
    assert len(body.outputs) == 4


def test_a_call_is_written_out_where_it_stands() -> None:
    x, b = input_node(ROW, "x"), input_node(ROW, "b")
    call = bind("call", x, body=Graph((b,), (b * b,)), name="square", backward=None)
    graph = simplify(Graph((x,), results(call)))
    assert graph.outputs == (x * x,)


# --- cost ----------------------------------------------------------------------------


def _cost(output: Node, *inputs: Node) -> Cost:
    return NumpyEngine().compile(Graph(inputs, (output,))).cost()


def test_the_cost_counts_arithmetic_and_traffic() -> None:
    x = input_node(TensorType((8, 3), "f32"), "x")
    w = input_node(TensorType((3, 5), "f32"), "w")
    product = bind("dot", x, w, contract=((1,), (0,)), batch=((), ()))
    assert _cost(product, x, w) == Cost(2 * 8 * 3 * 5, 4 * (24 + 15 + 40))
    assert _cost(bind("exp", x), x) == Cost(24, 2 * 96)
    assert _cost(bind("sum", x, axes=(0, 1)), x) == Cost(24, 96 + 4)
    assert _cost(bind("reshape", x, shape=(24,)), x).flops == 0
    image, kernel = (
        input_node(TensorType(shape, "f64"), "x") for shape in ((1, 2, 9), (4, 2, 3))
    )
    ones = {"stride": (1,), "x_dilation": (1,), "w_dilation": (1,), "groups": 1}
    conv = bind("conv", image, kernel, low=(0,), high=(0,), **ones)
    assert _cost(conv, image, kernel).flops == 2 * 4 * 7 * 6


def test_the_cost_of_a_scan_is_its_body_times_its_length() -> None:
    x = input_node(TensorType((), "f64"), "x")
    xs = input_node(TensorType((3,), "f64"), "xs")
    _, (last, _) = _loop(x, xs)
    assert _cost(last, x, xs).flops == 3 * 2
    (flow,) = gradients(last, [x])
    assert _cost(flow, x, xs).flops == 3 * 1


# --- philox --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_paper(
    counter: str, key: str, words: str
) -> None:
    blocks, pair, wanted = (
        np.array([int(word, 16) for word in text.split()], np.uint32)
        for text in (counter, key, words)
    )
    assert np.array_equal(philox(blocks[None], pair)[0], wanted)


def test_a_draw_is_the_start_of_a_longer_draw() -> None:
    key, counter = np.array([1, 2], np.uint32), np.array([3, 4], np.uint32)
    longest = random_words(key, counter, 41)
    for count in (0, 1, 3, 4, 5, 40):
        assert np.array_equal(random_words(key, counter, count), longest[:count])
    other = random_words(key, np.array([3, 5], np.uint32), 41)
    assert not np.intersect1d(longest, other).size


def test_a_long_draw_is_cut_without_a_seam() -> None:
    key, counter = np.array([1, 2], np.uint32), np.array([3, 4], np.uint32)
    blocks = np.arange(20_000, dtype=np.uint32)
    whole = np.stack([blocks, 0 * blocks, 0 * blocks + 3, 0 * blocks + 4], axis=1)
    words = random_words(key, counter, 79_999)
    assert np.array_equal(words, philox(whole, key).reshape(-1)[:79_999])


def test_a_repeated_exponent_takes_no_short_cut() -> None:
    """NumPy takes the root where one ½ is repeated, and −inf has none."""
    x = input_node(TensorType((4,), "f64"), "x")
    program = NumpyEngine().compile(Graph((x,), (x**0.5,)))
    values = np.array([-np.inf, -0.0, 4.0, -4.0])
    (found,) = program(values)
    np.testing.assert_array_equal(found, [np.inf, 0.0, 2.0, np.nan])
    assert not np.signbit(found[1])
