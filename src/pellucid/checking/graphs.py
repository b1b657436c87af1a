"""Graphs made ready for checking: in float64, and with stopped gradients frozen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeAlias

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


def freeze(graph: Graph, values: Sequence[Array]) -> Graph:
    """Return the graph with what `stop` gates let through at `values` held fixed.

    The chain rule takes it for a constant, so a difference must do so too. Calls are
    inlined. A stop in the body of a scan becomes a sequence of what it let through.
    """
    flat = Graph(graph.inputs, tuple(inline_calls(graph.outputs)))
    outputs, lifted = _lift(flat)
    if not lifted:
        return flat
    seen: dict[tuple[Node, tuple[int, ...]], Array] = {}

    def observer(node: Node, value: Any, at: tuple[int, ...]) -> None:
        if node.op.name == "stop":
            seen[node, at] = np.array(value)

    NumpyProgram(flat).observe(values, observer)
    known = {each: each for each in flat.inputs}
    for stand_in, (stop, lengths) in lifted.items():
        steps = product(*map(range, lengths))
        stack = np.array([seen[stop, at] for at in steps], stop.dtype)
        known[stand_in] = constant(stack.reshape(stand_in.shape))
    return Graph(flat.inputs, tuple(substitute(outputs, known)))


Lifted: TypeAlias = dict[Node, tuple[Node, tuple[int, ...]]]
"""By the input that stands in for it: a stop, and the lengths of the scans around."""


def _lift(graph: Graph) -> tuple[list[Node], Lifted]:
    """Return the outputs with an input in the place of every stop."""
    lifted: Lifted = {}

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "stop":
            stand_in = input_node(node.type, "stopped")
            lifted[stand_in] = node, ()
            return stand_in
        if node.op.name != "scan":
            return bind(node.op.name, *inputs, **node.attrs)
        body, length = node.attrs["body"], node.attrs["length"]
        outputs, inner = _lift(body)
        sequences = []
        for each, (stop, lengths) in inner.items():
            type_ = each.type.with_shape((length, *each.shape))
            sequences.append(input_node(type_, "stopped"))
            lifted[sequences[-1]] = stop, (length, *lengths)
        attrs = {**node.attrs, "body": Graph((*body.inputs, *inner), tuple(outputs))}
        return bind("scan", *inputs, *sequences, **attrs)

    own = {each: each for each in graph.inputs}
    return substitute(graph.outputs, own, rebuild), lifted
