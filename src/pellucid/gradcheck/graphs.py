"""Graphs made ready for checking: in float64, and with stopped gradients frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.dtypes import DTYPES
from pellucid.engines.numpy_ import NumpyProgram
from pellucid.ir.graph import Array, Graph, Node, bind, constant, input_node, substitute
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import inline_calls

__all__ = ["freeze", "wide_type", "widen"]

_NARROW, _WIDE = DTYPES["f32"], DTYPES["f64"]


def wide_type(type: TensorType) -> TensorType:
    """Return the type with `f64` in place of `f32`.

    >>> wide_type(TensorType((2,), "f32"))
    f64[2]
    """
    return type.with_dtype(_WIDE) if type.dtype == _NARROW else type


def widen(graph: Graph) -> Graph:
    """Return the graph with `f64` wherever it had `f32`, bodies included.

    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> widen(Graph((x,), (x * x,)))
    <graph of 2 nodes: (f64[2],) → (f64[2],)>
    """
    inputs = {x: input_node(wide_type(x.type), x.attrs["name"]) for x in graph.inputs}
    outputs = substitute(graph.outputs, dict(inputs), _wide)
    return Graph(tuple(inputs.values()), tuple(outputs))


def _wide(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op.name == "const":
        array = node.attrs["value"].array
        return constant(array, _WIDE) if array.dtype == _NARROW else node
    return bind(
        node.op.name,
        *inputs,
        **{name: _wide_attr(value) for name, value in node.attrs.items()},
    )


def _wide_attr(value: Any) -> Any:
    if isinstance(value, Graph):
        return widen(value)
    return _WIDE if isinstance(value, np.dtype) and value == _NARROW else value


# --- stopped gradients -----------------------------------------------------------


Seen = dict[tuple[Node, tuple[int, ...]], Array]


def freeze(graph: Graph, values: Sequence[Array]) -> Graph:
    """Return the graph with what `stop` gates let through at `values` held fixed.

    The chain rule takes it for a constant, so a difference must do so too. Calls
    are inlined. A stop in a scan within a scan is not held fixed.
    """
    flat = Graph(graph.inputs, tuple(inline_calls(graph.outputs)))
    seen: Seen = {}

    def observer(node: Node, value: Any, at: tuple[int, ...]) -> None:
        if node.op.name == "stop":
            seen[node, at] = np.array(value)

    NumpyProgram(flat).observe(values, observer)
    if not seen:
        return flat

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "stop":
            return constant(seen[node, ()])
        if node.op.name == "scan":
            return _frozen_scan(node, inputs, seen)
        return bind(node.op.name, *inputs, **node.attrs)

    own = {each: each for each in flat.inputs}
    return Graph(flat.inputs, tuple(substitute(flat.outputs, own, rebuild)))


def _frozen_scan(node: Node, inputs: tuple[Node, ...], seen: Seen) -> Node:
    """Bring what each step's stops let through into the scan as sequences."""
    body, steps = node.attrs["body"], range(node.attrs["length"])
    stops = [
        each for each in body.nodes if each.op.name == "stop" and (each, (0,)) in seen
    ]
    stand_ins = {each: input_node(each.type, "stopped") for each in stops}
    own = {each: each for each in body.inputs}
    frozen = Graph(
        (*body.inputs, *stand_ins.values()),
        tuple(substitute(body.outputs, own | stand_ins)),
    )
    stacks = [constant(np.stack([seen[each, (i,)] for i in steps])) for each in stops]
    return bind("scan", *inputs, *stacks, **{**node.attrs, "body": frozen})
