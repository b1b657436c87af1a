"""Nodes and graphs: what is shared, where it was born, what may be a graph."""

from __future__ import annotations

import gc
import inspect
from typing import Any

import numpy as np
import pytest

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import DTypeError, GraphError, ShapeError
from pellucid.grad.transform import gradients
from pellucid.ir.check import check
from pellucid.ir.graph import (
    Constant,
    Graph,
    Node,
    bind,
    born_as,
    constant,
    fill,
    input_node,
    inside,
    results,
    substitute,
    toposort,
)
from pellucid.ir.ops import OPS
from pellucid.ir.text import parse, render
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

F32, ROW = TensorType((), "f32"), TensorType((2,), "f32")
LENGTH = 100_000


def real(name: str = "x", type_: TensorType = ROW) -> Node:
    return input_node(type_, name)


# --- sharing -------------------------------------------------------------------------


def test_the_same_gate_on_the_same_inputs_is_one_node() -> None:
    x, y = real(), real()
    assert bind("add", x, y) is bind("add", x, y)
    assert bind("add", x, y) is not bind("add", y, x)
    assert bind("sum", x, axes=(0,)) is not bind("sum", x, axes=())


def test_two_inputs_of_one_name_are_two() -> None:
    assert real("x") is not real("x")


@pytest.mark.parametrize(
    ("one", "other", "dtype"),
    [
        (0.0, -0.0, "f32"),
        (np.float64(np.nan), np.frombuffer(b"\1\0\0\0\0\0\xf8\x7f", "f8")[0], "f64"),
        (1, 2, "i32"),
        ([1.0], 1.0, "f32"),
    ],
)
def test_constants_of_other_bits_or_shapes_stay_apart(
    one: Any, other: Any, dtype: str
) -> None:
    assert constant(one, dtype) is not constant(other, dtype)
    assert constant(one, dtype) is constant(one, dtype)


def test_constants_of_other_dtypes_stay_apart() -> None:
    made = [constant(1, dtype) for dtype in ("bool", "u8", "i32", "i64", "f32", "f64")]
    assert len({*made}) == 6
    assert constant(True) is not constant(1)
    assert constant(1) is not constant(1.0)


def test_a_constant_does_not_follow_the_array_it_came_from() -> None:
    array = np.zeros(2, np.float32)
    node = constant(array)
    array[0] = 7
    held = node.attrs["value"].array
    assert held.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1


def test_a_node_that_nobody_holds_is_forgotten() -> None:
    x = real()
    name = id(bind("exp", x))
    gc.collect()
    again = bind("exp", x)
    assert again.op.name == "exp"
    assert again.inputs == (x,)
    assert isinstance(name, int)


# --- births --------------------------------------------------------------------------


def test_a_node_knows_the_line_and_the_layer_where_it_was_born() -> None:
    x = real()
    with inside("encoder.0"):
        y = bind("exp", x)
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert (y.birth.file, y.birth.line) == (__file__, line)
    assert (y.birth.path, y.birth.role) == ("encoder.0", "forward")
    assert str(y.birth) == f"encoder.0 · test_graph.py:{line}"
    assert bind("log", x).birth.path == ""


def test_a_gradient_is_born_where_its_gate_was_in_the_backward_role() -> None:
    x = real()
    with inside("decoder"):
        y = bind("tanh", x)
    (flow,) = gradients(bind("sum", y, axes=(0,)), [x])
    backward = [n for n in toposort([flow], [x, y]) if n.birth.path == "decoder"]
    assert flow.birth.role == "backward"
    assert flow.birth.line == y.birth.line
    assert {n.birth.role for n in backward} == {"backward"}
    assert y.birth.role == "forward"


def test_a_birth_can_be_taken_from_another_node() -> None:
    x = real()
    with born_as(x.birth, "backward"):
        y = bind("sin", x)
    assert (y.birth.line, y.birth.role) == (x.birth.line, "backward")


def test_a_rebuilt_node_keeps_its_birth() -> None:
    x, z = real(), real("z")
    y = bind("cos", x)
    (new,) = substitute([y], {x: z})
    assert new.inputs == (z,)
    assert new.birth == y.birth


def test_births_are_written_as_comments_on_demand() -> None:
    x = real()
    with inside("a layer axis=(5,) # odd"):
        y = bind("sum", x, axes=(0,))
    text = render(Graph((x,), (y,)), births=True)
    assert (
        f"axes=(0,)  # a layer axis=(5,) # odd · test_graph.py:{y.birth.line}" in text
    )
    assert parse(text) == Graph((x,), (y,))
    assert "layer" not in render(Graph((x,), (y,)))


# --- graphs --------------------------------------------------------------------------


def test_a_graph_that_uses_an_unlisted_input_is_not_closed() -> None:
    x, y = real("x"), real("y")
    with pytest.raises(GraphError, match=r"not closed: input 'y' f32\[2\] is used"):
        Graph((x,), (x + y,))


def test_an_input_cannot_be_listed_twice() -> None:
    x = real()
    with pytest.raises(GraphError, match="listed twice"):
        Graph((x, x), (x,))


def test_only_inputs_can_be_inputs() -> None:
    x = real()
    with pytest.raises(GraphError, match=r"<neg: f32\[2\]> is not an input"):
        Graph((-x,), ())


def test_graphs_of_the_same_gates_are_equal_whatever_their_names() -> None:
    def build(name: str, factor: float) -> Graph:
        x = real(name)
        return Graph((x,), (bind("sin", x * factor),))

    assert build("x", 2.0) == build("y", 2.0)
    assert hash(build("x", 2.0)) == hash(build("y", 2.0))
    assert build("x", 2.0) != build("x", 3.0)
    assert build("x", 0.0) != build("x", -0.0)
    assert build("x", 2.0) != "graph"


def test_graphs_differ_by_the_order_of_inputs_and_outputs() -> None:
    x, y = real(), real()
    assert Graph((x, y), (x,)) != Graph((y, x), (x,))
    assert Graph((x, y), (x, y)) != Graph((x, y), (y, x))
    assert Graph((x, y), (x, y)) == Graph((y, x), (y, x))
    assert Graph((x, y), (x,)) != Graph((x,), (x,))


def test_a_graph_prints_its_size_and_types() -> None:
    x = real()
    shown = "<graph of 2 nodes: (f32[2],) → (f32[2],)>"
    assert repr(Graph((x,), (-x,))) == shown


def test_an_unknown_gate_is_named_with_the_nearest() -> None:
    with pytest.raises(GraphError, match=r"no gate named 'tan' · did you mean 'tanh'"):
        bind("tan", real())


def test_toposort_puts_inputs_before_users_and_stops_at_known_nodes() -> None:
    x = real()
    y = bind("exp", x)
    z = y * y + x
    order = toposort([z])
    assert order.index(x) < order.index(y) < order.index(z)
    assert len(order) == len({*order}) == 4
    assert toposort([z], known=[y, x]) == [y * y, z]


# --- a long chain --------------------------------------------------------------------


def chain(length: int) -> Graph:
    x = real("x", F32)
    y = x
    for _ in range(length):
        y = bind("sin", y)
    return Graph((x,), (y,))


@pytest.mark.slow
def test_a_chain_of_100_000_gates_needs_no_recursion() -> None:
    graph = chain(LENGTH)
    assert len(toposort(graph.outputs)) == len(graph.nodes) == LENGTH + 1
    assert parse(render(check(graph))) == graph
    assert hash(simplify(graph)) == hash(graph)
    (value,) = NumpyEngine().compile(graph)(np.float32(1))
    assert 0 < value < 0.01
    del graph
    gc.collect()


@pytest.mark.slow
def test_the_gradient_of_a_long_chain_needs_no_recursion() -> None:
    graph = chain(5000)
    (flow,) = gradients(graph.outputs[0], graph.inputs)
    assert len(toposort([flow])) == 15_001
    (value,) = NumpyEngine().compile(Graph(graph.inputs, (flow,)))(np.float32(0))
    assert value == 1


# --- types ---------------------------------------------------------------------------


def test_a_type_prints_and_reads_back() -> None:
    for text in ("f32[]", "bool[0]", "i64[2,3,4]", "u8[1]"):
        assert str(TensorType.parse(text)) == text


@pytest.mark.parametrize("text", ["f32", "f32[2", "f32[-1]", "[2]", "f32[2, 3]"])
def test_a_text_that_is_no_type_says_so(text: str) -> None:
    with pytest.raises(GraphError, match=r"not a type: .* expected one like f32"):
        TensorType.parse(text)


def test_a_type_knows_its_sizes() -> None:
    type_ = TensorType((2, 3), "f64")
    assert (type_.ndim, type_.size, type_.nbytes) == (2, 6, 48)
    assert TensorType((), "f32").size == 1
    assert TensorType((0, 5), "f32").nbytes == 0


def test_a_type_refuses_negative_sizes_and_unknown_dtypes() -> None:
    with pytest.raises(ShapeError, match=r"a size is negative in shape \(2, -1\)"):
        TensorType((2, -1), "f32")
    with pytest.raises(DTypeError, match="unknown dtype 'f16' · "):
        TensorType((2,), "f16")


# --- check ---------------------------------------------------------------------------


def _node(op: str, inputs: tuple[Node, ...], type_: Any, **attrs: Any) -> Node:
    """Make a node past the typing rule, as a faulty transform would."""
    return Node(OPS[op], inputs, attrs, type_, inputs[0].birth)


def test_a_check_finds_a_wrong_type() -> None:
    x = real()
    wrong = _node("exp", (x,), TensorType((3,), "f32"))
    with pytest.raises(
        GraphError, match=r"exp is marked f32\[3\], its inputs give f32\[2\] · test_gra"
    ):
        check(Graph((x,), (wrong,)))


def test_a_check_finds_wrong_operands_and_says_where() -> None:
    x = real()
    wrong = _node("sum", (x,), F32, axes=(4,))
    with pytest.raises(
        GraphError, match=r"sum: axes \(4,\) do not fit .* · test_graph"
    ):
        check(Graph((x,), (wrong,)))
    two = _node("exp", (x, x), ROW)
    with pytest.raises(GraphError, match="exp has 2 inputs"):
        check(Graph((x,), (two,)))


def test_a_check_enters_bodies() -> None:
    h = real("h", F32)
    wrong = _node("exp", (h,), TensorType((), "f64"))
    x = real("x", F32)
    body = Graph((h,), (wrong,))
    call = _node("call", (x,), (wrong.type,), body=body, name="f", backward=None)
    with pytest.raises(GraphError, match="exp is marked f64"):
        check(Graph((x,), results(call)))


def test_a_check_finds_a_constant_that_can_be_written_to() -> None:
    frozen = Constant.of(1.0)
    open_ = Constant(np.ones(()), frozen.type, frozen.key)
    x = real()
    node = Node(OPS["const"], (), {"value": open_}, frozen.type, x.birth)
    with pytest.raises(GraphError, match="can be written to"):
        check(Graph((), (node,)))


def test_fill_repeats_a_number() -> None:
    node = fill(2.0, TensorType((2, 3), "f32"))
    (value,) = NumpyEngine().compile(Graph((), (node,)))()
    assert value.tolist() == [[2, 2, 2], [2, 2, 2]]
    assert fill(2.0, F32).op.name == "const"
