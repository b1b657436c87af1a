"""Which way a program went: the winners of its `maximum`, `abs`, `where` and kin.

A difference across a place where a gate changes its winner says nothing about the
gradient on either side: that is a kink, and not a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pellucid.dtypes import is_float
from pellucid.engines.numpy_ import NumpyProgram
from pellucid.ir.graph import Array, Node

__all__ = ["Decision", "changed", "decisions"]

Decision: TypeAlias = tuple[Node, Array]


def _result(node: Node, value: Array, *operands: Array) -> Array:
    return value


def _larger(node: Node, value: Array, x: Array, y: Array) -> Array:
    return np.asarray(np.sign(np.subtract(x, y)))


def _sign(node: Node, value: Array, x: Array) -> Array:
    return np.asarray(np.sign(x))


def _winners(node: Node, value: Array, x: Array) -> Array:
    return np.asarray(x == np.expand_dims(value, node.attrs["axes"]))


DECISIONS: dict[str, Callable[..., Array]] = {
    "lt": _result,
    "le": _result,
    "eq": _result,
    "maximum": _larger,
    "minimum": _larger,
    "abs": _sign,
    "sign": _result,
    "floor": _result,
    "max": _winners,
    "argmax": _result,
}
"""For each gate that decides: what it decided. `where` follows a gate listed here."""


def _decides(node: Node) -> bool:
    if node.op.name == "cast":
        return is_float(node.inputs[0].dtype) and not is_float(node.dtype)
    return node.op.name in DECISIONS and is_float(node.inputs[0].dtype)


def decisions(program: NumpyProgram, arrays: Sequence[Array]) -> list[Decision]:
    """Run a program and return every decision, in the order in which it was taken."""
    values: dict[Node, Any] = {}
    taken: list[Decision] = []

    def observer(node: Node, value: Any, at: tuple[int, ...]) -> None:
        values[node] = value
        if _decides(node):
            decide = DECISIONS.get(node.op.name, _result)
            operands = (values[each] for each in node.inputs)
            taken.append((node, np.array(decide(node, value, *operands))))

    with np.errstate(all="ignore"):
        program.observe(arrays, observer)
    return taken


def changed(here: Sequence[Decision], there: Sequence[Decision]) -> list[Node]:
    """Return the gates that decided otherwise in two runs, each once."""
    pairs = zip(here, there)
    nodes = (
        node
        for (node, x), (_, y) in pairs
        if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
    )
    return list(dict.fromkeys(nodes))
