"""Building graphs from functions of tensors: symbols in, a closed graph out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pellucid.errors import GraphError, message
from pellucid.ir.graph import Graph, Node, constant, input_node, substitute, toposort
from pellucid.ir.types import TensorType
from pellucid.tensors import Parameter, Tensor, as_tensor, leaf_values

__all__ = ["bound", "graph_of", "symbol", "symbols", "trace"]


def symbol(type: TensorType, name: str = "x") -> Tensor:
    """Make a tensor without a value: an input of a graph that is being built.

    >>> symbol(TensorType((8, 3), "f32")) * 2
    Tensor(f32[8,3], symbol)
    """
    return Tensor(input_node(type, name))


@contextmanager
def bound(
    leaves: Mapping[str, Parameter], stand_ins: Mapping[str, Tensor]
) -> Iterator[None]:
    """Let parameters and buffers be other tensors, by name, for a block."""
    before = {name: (leaf._node, leaf._value) for name, leaf in leaves.items()}
    try:
        for name, leaf in leaves.items():
            leaf._node, leaf._value = stand_ins[name]._node, stand_ins[name]._value
        yield
    finally:
        for name, leaf in leaves.items():
            leaf._node, leaf._value = before[name]


@contextmanager
def symbols(leaves: Mapping[str, Parameter]) -> Iterator[dict[str, Tensor]]:
    """Make parameters and buffers symbols of these names for a block.

    Code that runs in the block builds graph over them; their values come back after.
    """
    stand_ins = {name: symbol(leaf.type, name) for name, leaf in leaves.items()}
    with bound(leaves, stand_ins):
        yield stand_ins


def graph_of(inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> Graph:
    """Close a graph over tensors; known values that it uses become constants."""
    heads, tails = [x._node for x in inputs], [y._node for y in outputs]
    literals: dict[Node, Node] = {}
    for node in toposort(tails, heads):
        if node.op.name != "input":
            continue
        if node not in leaf_values:
            raise GraphError(
                message(
                    f"{node.attrs['name']} {node.type} is used and not an input",
                    where=str(node.birth),
                    hint="a parameter must belong to the model that is traced",
                )
            )
        literals[node] = constant(leaf_values[node])
    if literals:
        tails = substitute(tails, literals | {node: node for node in heads})
    return Graph(tuple(heads), tuple(tails))


def trace(function: Callable[..., Any], *types: TensorType) -> Graph:
    """Return the graph of a function of tensors of these types.

    >>> trace(lambda x: x * x, TensorType((2,), "f32"))
    <graph of 2 nodes: (f32[2],) → (f32[2],)>
    """
    inputs = [symbol(each, f"x{i}") for i, each in enumerate(types)]
    found = function(*inputs)
    outputs = found if isinstance(found, list | tuple) else [found]
    return graph_of(inputs, [as_tensor(each) for each in outputs])
