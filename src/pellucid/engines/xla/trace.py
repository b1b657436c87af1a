"""A graph as a function that JAX can trace: gate by gate, a `scan` as `lax.scan`.

Indices of gathers are looked at as the program runs, and the largest of each gate
comes out beside the results. Where a scan hands a gate its indices from outside, as
an epoch does with its order of rows, they are looked at once, before the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.dtypes import DType
from pellucid.engines.xla.gates import GATES, Numbers
from pellucid.errors import EngineError, message
from pellucid.ir.graph import Graph, Node

__all__ = ["Bound", "trace"]


@dataclass(frozen=True)
class Bound:
    """A gate whose indices must lie between 0 and a size."""

    op: str
    place: str
    size: int
    dtype: DType

    @classmethod
    def of(cls, node: Node) -> Bound:
        """Return the bound of a gather or a scatter."""
        size = node.inputs[0].shape[node.attrs["axis"]]
        return cls(node.op.name, str(node.birth), size, node.inputs[1].dtype)

    def check(self, largest: int) -> None:
        """Raise where the largest index, as an unsigned number, is outside."""
        if largest < self.size:
            return
        index = largest
        if self.dtype.kind == "i":
            bits = 8 * self.dtype.itemsize
            index = (largest + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
        raise EngineError(
            message(
                f"{self.op}: index {index} is outside",
                where=self.place,
                expected=f"expected 0 to {self.size - 1}",
            )
        )


Met: TypeAlias = tuple[Bound, Any]
"""A bound and the largest index met, or the number of the input that has them all."""


def trace(
    graph: Graph, arrays: Sequence[Any], numbers: Numbers
) -> tuple[list[Any], list[tuple[Bound, Any]]]:
    """Return the outputs, and for each bound the largest index that was met.

    Indices are compared as unsigned numbers: one below 0 is larger than all others.
    """
    outputs, met = _run(graph, arrays, numbers)
    return outputs, [(bound, _seen(source, arrays)) for bound, source in met]


def _seen(source: Any, arrays: Sequence[Any]) -> Any:
    return _largest(arrays[source]) if isinstance(source, int) else source


def _largest(indices: Any) -> Any:
    unsigned = np.dtype(f"u{indices.dtype.itemsize}")
    return lax.reduce_max(indices.astype(unsigned), tuple(range(indices.ndim)))


def _run(
    graph: Graph, arrays: Sequence[Any], numbers: Numbers
) -> tuple[list[Any], list[Met]]:
    values: dict[Node, Any] = dict(zip(graph.inputs, arrays))
    position = {node: i for i, node in enumerate(graph.inputs)}
    met: list[Met] = []
    for node in graph.nodes:
        if node in values:
            continue
        operands = [values[each] for each in node.inputs]
        if node.op.name == "scan":
            values[node], more = _scan(node, operands, numbers)
            met += [_from_outside(each, node, position, operands) for each in more]
            continue
        values[node] = GATES[node.op.name](node, numbers)(*operands)
        if _is_checked(node):
            met.append(_from_outside((Bound.of(node), 1), node, position, operands))
    return [values[each] for each in graph.outputs], met


def _is_checked(node: Node) -> bool:
    """Return whether a gate has indices that are not known to be inside."""
    if node.op.name not in ("gather", "scatter_add"):
        return False
    indices = node.inputs[1]
    if indices.op.name != "const":
        return bool(indices.type.size)
    known, size = indices.attrs["value"].array, Bound.of(node).size
    return bool(((known < 0) | (known >= size)).any())


def _from_outside(
    met: Met, node: Node, position: dict[Node, int], operands: Sequence[Any]
) -> Met:
    """Say in terms of a graph what is known in terms of a node's inputs."""
    bound, source = met
    if not isinstance(source, int):
        return met
    given = position.get(node.inputs[source])
    return bound, _largest(operands[source]) if given is None else given


def _scan(
    node: Node, operands: Sequence[Any], numbers: Numbers
) -> tuple[list[Any], list[Met]]:
    attrs, length = node.attrs, node.attrs["length"]
    consts, carries = attrs["consts"], attrs["carries"]
    fixed, first = operands[:consts], operands[consts : consts + carries]
    if not length:
        stacks = (jnp.zeros(each.shape, each.dtype) for each in node.type[carries:])
        return [*first, *stacks], []
    found: list[Met] = []

    def changes(source: Any) -> bool:
        return isinstance(source, int) and consts <= source < consts + carries

    def step(carry: Any, slices: Any) -> Any:
        arrays = [*fixed, *carry, *slices]
        outputs, met = _run(attrs["body"], arrays, numbers)
        found[:] = [
            (bound, _seen(source, arrays) if changes(source) else source)
            for bound, source in met
        ]
        seen = tuple(each for _, each in found if not isinstance(each, int))
        return tuple(outputs[:carries]), (tuple(outputs[carries:]), seen)

    last, (stacks, seen) = lax.scan(
        step,
        tuple(first),
        tuple(operands[consts + carries :]),
        length=length,
        reverse=attrs["reverse"],
    )
    inside = iter(seen)
    met = [
        (bound, source if isinstance(source, int) else _largest(next(inside)))
        for bound, source in found
    ]
    return [*last, *stacks], met
