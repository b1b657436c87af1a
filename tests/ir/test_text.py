"""Graphs as text: what is written, what is read, what is refused and where."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import GraphError
from pellucid.ir.graph import Graph, bind, constant, input_node, results
from pellucid.ir.text import parse, render
from pellucid.ir.types import TensorType

ROW = TensorType((2,), "f32")

TEXT = """@0 = graph("b": f32[2]) {
  %1: f32[2] = neg(%0)
  return %1
}
graph("x": f32[3,2]) {
  %1: f32[3,2] = exp(%0)
  %2: (f32[3,2]) = scan(%1) body=@0 carries=0 consts=0 keep="all" length=3 reverse=False
  %3: f32[3,2] = get(%2) index=0
  return %3
}"""

FAULTS = [
    ("exp(%0)", "expp(%0)", "line 6: no gate named 'expp' · did you mean 'exp'?"),
    ("exp(%0)", "exp(%9)", "line 6 uses '%9' before it exists"),
    ("exp(%0)", "exp(%0, %0)", "line 6: exp takes 1 inputs, not 2"),
    ("exp(%0)", "exp(%0) axis=3", "line 6: exp does not take ['axis']"),
    ("exp(%0)", "exp(%0", "line 6: not a line of a graph"),
    ("exp(%0)", "exp(0)", "line 6: not a line of a graph"),
    ("  %1: f32[3,2] = exp", "%1: f32[3,2] = exp", "line 6: not a line of a graph"),
    ("body=@0", "body=@5", "line 7 uses '@5' before it exists"),
    ("body=@0 ", "", "line 7: scan does not take"),
    ("length=3", "length=4", "line 7: scan: scan of length 4 over f32[3,2]"),
    ("carries=0", "carries=1", "line 7: scan: the body takes"),
    ('keep="all"', 'keep="some"', "line 7: scan: keep is 'all' or 'carry', not 'some'"),
    ("f32[3,2] = exp", "f32[3,3] = exp", "line 6: %1 says f32[3,3], its gate gives"),
    ("neg(%0)", "neg(%0) garbage", "line 2: not a line of a graph"),
    ("  %3:", "  %1:", "line 8: %1 is there already"),
    ("get(%2)", "get(%1)", "line 8: get: get takes the result of a scan or a call"),
    ("index=0", "index=1", "line 8: get: no result 1 of 1"),
    ("index=0", "index=(0,", "line 8: not a line of a graph"),
    ("index=0", "index=(0 0)", "line 8: not a value: '(0 0)'"),
    ("index=0", "index=wrong", "line 8: not a value: 'wrong'"),
    ("index=0", "indx=0", "line 8: get does not take ['indx']"),
    ('"x": f32', '"x": f99', "line 5: unknown dtype 'f99'"),
    ('"x": f32[3,2]', '"x" f32[3,2]', "line 5: not a line of a graph"),
    ('"x": f32[3,2]', '"x": f32[3,2], ', "line 5: not a line of a graph"),
    ('graph("x"', 'function("x"', "line 5: not a line of a graph"),
    ('graph("x"', '@1 = graph("x"', "no graph in this text"),
    ("return %3\n}", "return %3", "the text ends inside a graph"),
    ("  return %3\n}", "}", "line 9: not a line of a graph"),
    ("return %3", "return %8", "line 9 uses '%8' before it exists"),
    ("return %3", "return %3\n  return %3", "line 10: not a line of a graph"),
    ("return %3\n}", "return %3\n}\nmore", "line 11: not a line of a graph: 'more'"),
    ("return %3\n}", "return %3\n}\ngraph() {", "line 11: not a line of a graph"),
    ("exp(%0)", "const() value=f32[2]{0000}", "line 6: "),
    ("exp(%0)", "const() value=f32[1]{000}", "line 6: "),
    ("exp(%0)", "const() value=f16[1]{0000}", "line 6: unknown dtype 'f16'"),
]


def test_the_text_that_the_faults_are_made_of_is_right() -> None:
    assert render(parse(TEXT)) == TEXT


@pytest.mark.parametrize(("old", "new", "text"), FAULTS)
def test_a_malformed_text_names_its_line(old: str, new: str, text: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(GraphError) as error:
        parse(TEXT.replace(old, new))
    assert str(error.value).startswith(text)


@pytest.mark.parametrize("cut", range(1, TEXT.count("\n") + 1))
def test_a_text_that_lacks_a_line_is_refused_or_means_another_graph(cut: int) -> None:
    lines = TEXT.split("\n")
    text = "\n".join([*lines[:cut], *lines[cut + 1 :]])
    with pytest.raises(GraphError):
        parse(text)


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_text_without_a_graph_says_so(text: str) -> None:
    with pytest.raises(GraphError):
        parse(text)


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", 'say "x"', "back\\slash", "\\", '\\"', "größe", "новый", "a\nb"),
        *("a\tb", "x: f32[2], ", ") {", "# no comment", "\u2028", "\x00", "%0", "'"),
    ],
)
def test_any_name_reads_back(name: str) -> None:
    x = input_node(ROW, name)
    y = bind("call", x, body=Graph((x,), (-x,)), name=name, backward=None)
    graph = Graph((x,), results(y))
    back = parse(render(graph))
    assert back == graph
    assert back.inputs[0].attrs["name"] == name
    assert back.nodes[1].attrs["name"] == name
    assert len(render(graph).splitlines()) == 9


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, np.nan, np.inf, [], [[]], True, [1, 2], [[0.1, 5e-324]], 2**62],
)
def test_a_constant_reads_back_bit_for_bit(value: object) -> None:
    node = constant(value)
    back = parse(render(Graph((), (node,))))
    assert back.outputs[0] is node


def test_nested_bodies_come_first_and_once() -> None:
    h = input_node(TensorType((), "f32"), "h")
    inner = Graph((h,), (bind("sin", h),))
    g = input_node(h.type, "g")
    call = bind("call", g, body=inner, name="inner", backward=None)
    middle = Graph((g,), results(call))
    attrs = {"consts": 0, "carries": 1, "length": 4, "reverse": True, "keep": "carry"}
    x = input_node(h.type, "x")
    loops = [results(bind("scan", x, body=middle, **attrs))[0] for _ in range(2)]
    direct = results(bind("call", loops[0], body=inner, name="again", backward=None))
    graph = Graph((x,), (*loops, *direct))
    text = render(graph)
    assert text.count("graph(") == 3
    assert text.index("@0 = ") < text.index("@1 = ") < text.index("\ngraph(")
    assert "body=@0" in text.split("@1 = ")[1].split("}")[0]
    assert parse(text) == graph


def test_a_graph_without_inputs_outputs_or_gates_reads_back() -> None:
    x = input_node(ROW, "x")
    for graph in (Graph((), ()), Graph((x,), ()), Graph((x,), (x, x))):
        assert parse(render(graph)) == graph
