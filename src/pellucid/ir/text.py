"""A graph as text, and back.

    graph("x": f32[8,3], "w": f32[3,4]) {
      %2: f32[8,4] = dot(%0, %1) batch=((), ()) contract=((1,), (0,))  # encoder.0
      return %2
    }

Subgraphs (`scan`, `call`) come first, named `@0`, `@1`, … Constants are written by
their bits. `parse(render(graph)) == graph`; births are comments and are not read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pellucid.dtypes import DTYPES, short_name
from pellucid.errors import GraphError, PellucidError
from pellucid.ir.graph import Constant, Graph, Node, bind, input_node
from pellucid.ir.types import TensorType

__all__ = ["parse", "render"]


def render(graph: Graph, *, births: bool = False) -> str:
    """Write a graph as text; `births` adds where each node was born as a comment.

    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> print(render(Graph((x,), (bind("neg", x),))))
    graph("x": f32[2]) {
      %1: f32[2] = neg(%0)
      return %1
    }
    """
    order = _subgraphs(graph)
    names = {each: f"@{i}" for i, each in enumerate(order)}
    parts = [f"{names[each]} = {_one(each, names, births)}" for each in order[:-1]]
    return "\n".join([*parts, _one(graph, names, births)])


def _subgraphs(graph: Graph) -> list[Graph]:
    """Return a graph's subgraphs and itself, the inner before the outer."""
    found: list[Graph] = []
    stack: list[tuple[Graph, bool]] = [(graph, False)]
    while stack:
        each, ready = stack.pop()
        if ready:
            if each not in found:
                found.append(each)
            continue
        stack.append((each, True))
        inner = [
            value
            for node in each.nodes
            for _, value in sorted(node.attrs.items())
            if isinstance(value, Graph)
        ]
        stack.extend((one, False) for one in reversed(inner) if one not in found)
    return found


def _one(graph: Graph, names: dict[Graph, str], births: bool) -> str:
    number = {node: i for i, node in enumerate(graph.inputs)}
    for node in graph.nodes:
        number.setdefault(node, len(number))
    inputs = (f"{_quoted(each.attrs['name'])}: {each.type}" for each in graph.inputs)
    lines = [f"graph({', '.join(inputs)}) {{"]
    lines += [
        "  " + _line(node, number, names, births)
        for node in graph.nodes
        if node.op.name != "input"
    ]
    returned = ", ".join(f"%{number[each]}" for each in graph.outputs)
    return "\n".join([*lines, f"  return {returned}".rstrip(), "}"])


def _line(
    node: Node, number: dict[Node, int], names: dict[Graph, str], births: bool
) -> str:
    inputs = ", ".join(f"%{number[each]}" for each in node.inputs)
    attrs = "".join(
        f" {key}={_value(value, names)}" for key, value in sorted(node.attrs.items())
    )
    place = f"  # {node.birth}" if births and str(node.birth) else ""
    return f"%{number[node]}: {_type(node.type)} = {node.op}({inputs}){attrs}{place}"


def _type(type_: Any) -> str:
    if isinstance(type_, tuple):
        return f"({', '.join(map(str, type_))})"
    return str(type_)


def _quoted(text: str) -> str:
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def _value(value: Any, names: dict[Graph, str]) -> str:
    if isinstance(value, Graph):
        return names[value]
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, np.dtype):
        return short_name(value)
    return repr(value)


# --- back ------------------------------------------------------------------------

_STRING = r'"(?:[^"\\]|\\.)*"'
_TYPE = r"\w+\[[\d,]*\]"
_REFS = r"(?:%\d+(?:, %\d+)*)?"
_VALUE = rf"{_STRING}|@\d+|{_TYPE}\{{[0-9a-f]*\}}|\([\d, ()-]*\)|[\w-]+"
_INPUT = re.compile(rf"({_STRING}): ({_TYPE})")
_HEAD = re.compile(
    rf"(?:(@\d+) = )?graph\(((?:{_INPUT.pattern}(?:, (?!\))|(?=\))))*)\) \{{"
)
_ATTR = re.compile(rf" (\w+)=({_VALUE})")
_NODE = re.compile(
    rf"  (%\d+): (\([^)]*\)|\S+) = (\w+)\(({_REFS})\)"
    rf"((?: \w+=(?:{_VALUE}))*)(?:  \# .*)?"
)
_RETURN = re.compile(rf"  return ?({_REFS})")


def parse(text: str) -> Graph:
    """Read a graph from its text.

    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> graph = Graph((x,), (x * 2.0,))
    >>> parse(render(graph)) == graph
    True
    """
    known: dict[str, Graph] = {}
    lines = iter(enumerate(text.splitlines(), 1))
    for at, line in lines:
        with _line_named(at):
            head = _HEAD.fullmatch(line)
            if not head or "" in known:
                raise _malformed(line)
            inputs = tuple(
                input_node(TensorType.parse(found[2]), _string(found[1]))
                for found in _INPUT.finditer(head[2])
            )
        known[head[1] or ""] = _parse_one(inputs, lines, known)
    if "" not in known:
        raise GraphError("no graph in this text")
    return known[""]


def _malformed(line: str) -> GraphError:
    return GraphError(f"not a line of a graph: {line!r}")


def _parse_one(inputs: tuple[Node, ...], lines: Any, known: dict[str, Graph]) -> Graph:
    nodes = {f"%{i}": each for i, each in enumerate(inputs)}
    outputs: tuple[Node, ...] | None = None
    for at, line in lines:
        with _line_named(at):
            if outputs is not None and line == "}":
                return Graph(inputs, outputs)
            if outputs is None and (found := _RETURN.fullmatch(line)):
                outputs = tuple(nodes[name] for name in _names(found[1]))
            elif outputs is None and (found := _NODE.fullmatch(line)):
                if found[1] in nodes:
                    raise GraphError(f"{found[1]} is there already")
                nodes[found[1]] = _parse_node(found, nodes, known)
            else:
                raise _malformed(line)
    raise GraphError("the text ends inside a graph")


@contextmanager
def _line_named(at: int) -> Iterator[None]:
    """Raise what goes wrong in this block as a `GraphError` that names the line."""
    try:
        yield
    except KeyError as error:
        raise GraphError(f"line {at} uses {error} before it exists") from None
    except (PellucidError, ValueError) as error:
        raise GraphError(f"line {at}: {error}") from None


def _parse_node(
    found: re.Match[str], nodes: dict[str, Node], known: dict[str, Graph]
) -> Node:
    attrs = {key: _parse_value(value, known) for key, value in _ATTR.findall(found[5])}
    inputs = [nodes[name] for name in _names(found[4])]
    try:
        node = bind(found[3], *inputs, **attrs)
    except TypeError as error:
        if isinstance(error, PellucidError):
            raise
        raise GraphError(f"{found[3]} does not take {sorted(attrs)}") from None
    if _type(node.type) != found[2]:
        raise GraphError(f"{found[1]} says {found[2]}, its gate gives {node.type}")
    return node


def _names(text: str) -> list[str]:
    return [each for each in text.split(", ") if each]


def _string(text: str) -> str:
    return text[1:-1].replace('\\"', '"').encode("latin-1").decode("unicode_escape")


def _parse_value(text: str, known: dict[str, Graph]) -> Any:
    if text[0] == '"':
        return _string(text)
    if text[0] == "@":
        return known[text]
    if text in DTYPES:
        return DTYPES[text]
    if "{" in text:
        type_, _, bits = text.partition("{")
        found = TensorType.parse(type_)
        data = np.frombuffer(bytes.fromhex(bits[:-1]), found.dtype)
        return Constant.of(data.reshape(found.shape))
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise GraphError(f"not a value: {text!r}") from None
