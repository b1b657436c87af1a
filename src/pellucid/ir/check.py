"""Types a graph again, from its leaves, and finds what a transform broke."""

from __future__ import annotations

from pellucid.errors import GraphError, PellucidError
from pellucid.ir.graph import Constant, Graph, Node

__all__ = ["check"]


def check(graph: Graph) -> Graph:
    """Return the graph if every node in it, bodies included, is well typed.

    Raises `GraphError` that names the first node that is not.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> check(Graph((x,), (x * x,)))
    <graph of 2 nodes: (f32[2],) → (f32[2],)>
    """
    pending = [graph]
    while pending:
        each = pending.pop()
        for node in each.nodes:
            _check_node(node)
            pending.extend(v for v in node.attrs.values() if isinstance(v, Graph))
    return graph


def _check_node(node: Node) -> None:
    if node.op.arity not in (None, len(node.inputs)):
        raise GraphError(f"{node.op} has {len(node.inputs)} inputs · {node.birth}")
    try:
        inferred = node.op.infer(*(each.type for each in node.inputs), **node.attrs)
    except PellucidError as error:
        raise GraphError(f"{node.op}: {error} · {node.birth}") from None
    if inferred != node.type:
        raise GraphError(
            f"{node.op} is marked {node.type}, its inputs give {inferred} "
            f"· {node.birth}"
        )
    for value in node.attrs.values():
        if isinstance(value, Constant) and value.array.flags.writeable:
            raise GraphError(f"the constant {value} can be written to · {node.birth}")
