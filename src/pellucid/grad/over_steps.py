"""Sums over the steps of a scan, written outside of it.

The gradient of a constant of a scan is a sum over its steps. Where each step's part is
a product of values of that step, all steps' values together give it at once: one
product that also contracts time, instead of one at every step and an addition to an
array of the constant's size.

    Σₜ aₜᵀ·bₜ = Aᵀ·B, where A and B have the rows of all steps
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from pellucid.ir.graph import Node, bind, fill, input_node, is_zero, rebind, toposort

__all__ = ["SumsOverSteps"]

Halves: TypeAlias = tuple[Node | None, Node | None]
"""A sum over the steps in two: a value of each step that is still to be summed, and
the sum of the rest. None is nothing."""


class SumsOverSteps:
    """Writes sums over the steps outside of a scan's body.

    `invariant` are those inputs of the body that are the same in every step. The sums
    are written of them and of `stacks`: leaves that stand for a value of every step,
    along a new first axis.
    """

    def __init__(self, invariant: Iterable[Node], length: int) -> None:
        self.length = length
        self.stacks: dict[Node, Node] = {}
        self._invariant = set(invariant)
        self._varies: dict[Node, bool] = {}
        self._halves: dict[Node, Halves] = {}
        self._only_products = True

    def split(self, values: Sequence[Node]) -> list[Halves]:
        """Return of each value what is left to add up in the scan, and the sum over
        all steps of the rest.
        """
        # Products first: a sum leaves the scan where a product needs the same stack.
        for each in values:
            self._split(each)
        self._only_products = False
        self._halves.clear()
        return [self._split(each) for each in values]

    def _split(self, value: Node) -> Halves:
        pending, halves = [value], self._halves
        while pending:
            node = pending[-1]
            waiting = [each for each in self._parts(node) if each not in halves]
            if waiting:
                pending += waiting
            else:
                pending.pop()
                halves[node] = self._rule(node)
        return halves[value]

    def _parts(self, node: Node) -> tuple[Node, ...]:
        """Return the inputs whose sums make the sum of a gate."""
        if node.op.name in ("add", "concat"):
            return node.inputs
        if node.op.name in _LINEAR or node.op.name == "pad":
            return node.inputs[:1]
        if node.op.name in ("mul", "dot"):
            varying = tuple(each for each in node.inputs if self.varies(each))
            return varying if len(varying) == 1 else ()
        return ()

    def _rule(self, node: Node) -> Halves:
        parts, outside = self._parts(node), None
        if node.op.name == "add":
            (a, b), (c, d) = (self._halves[each] for each in parts)
            return _plus(a, c), _plus(b, d)
        if node.op.name == "concat":
            left, right = zip(*(self._halves[each] for each in parts))
            return _beside(node, left), _beside(node, right)
        if parts and (node.op.name != "pad" or is_zero(node.inputs[1])):
            one, all_ = (_with(node, parts[0], each) for each in self._halves[parts[0]])
            return one, all_
        if node.op.name in _RULES and self.varies(node):
            outside = _RULES[node.op.name](self, node)
        return (node, None) if outside is None else (None, outside)

    def varies(self, node: Node) -> bool:
        """Return whether a value may differ from step to step."""
        for each in toposort([node], self._varies):
            own = each.op.name == "input" and each not in self._invariant
            self._varies[each] = own or any(self._varies[i] for i in each.inputs)
        return self._varies[node]

    def stack(self, node: Node) -> Node:
        """Return a value of all steps."""
        base, views = _behind(node)
        if base not in self.stacks:
            type_ = base.type.with_shape((self.length, *base.shape))
            self.stacks[base] = input_node(type_, "stack")
        result = self.stacks[base]
        for view in reversed(views):
            if view.op.name == "transpose":
                result = bind("transpose", result, axes=_later(view.attrs["axes"], 0))
            else:
                result = bind("reshape", result, shape=(self.length, *view.shape))
        return result

    # --- rules: the sum over the steps of a gate, or None ---

    def dot(self, node: Node) -> Node | None:
        """A product within each step: time is one more axis to contract."""
        x, y = node.inputs
        if not (self.varies(x) and self.varies(y)):
            return None
        contract, batch = node.attrs["contract"], node.attrs["batch"]
        return bind(
            "dot",
            self.stack(x),
            self.stack(y),
            contract=(_later(contract[0], 0), _later(contract[1], 0)),
            batch=(_later(batch[0]), _later(batch[1])),
        )

    def sum(self, node: Node) -> Node | None:
        """A sum within each step: time is one more axis to sum."""
        (x,) = node.inputs
        if self._only_products or _behind(x)[0] not in self.stacks:
            return None
        return bind("sum", self.stack(x), axes=_later(node.attrs["axes"], 0))

    def scatter_add(self, node: Node) -> Node | None:
        """Rows added to zeros by their number: the rows of all steps."""
        x, indices, updates = node.inputs
        varying = self.varies(indices) and self.varies(updates)
        if not (varying and is_zero(x)):
            return None
        axis, rows = node.attrs["axis"], self.stack(updates)
        order = (*range(1, axis + 1), 0, *range(axis + 1, rows.ndim))
        rows = bind("transpose", rows, axes=order)
        return bind("scatter_add", x, self.stack(indices), rows, axis=axis)


_LINEAR = frozenset(["neg", "reshape", "transpose", "broadcast", "slice", "reverse"])
"""Gates of one input that may be applied to a sum instead of to what is summed."""

_RULES: dict[str, Callable[[SumsOverSteps, Node], Node | None]] = {
    "dot": SumsOverSteps.dot,
    "sum": SumsOverSteps.sum,
    "scatter_add": SumsOverSteps.scatter_add,
}


def _plus(x: Node | None, y: Node | None) -> Node | None:
    return y if x is None else x if y is None else x + y


def _beside(node: Node, parts: Sequence[Node | None]) -> Node | None:
    """Return a join of other parts, of nothing where they are nothing or zeros."""
    if all(each is None or is_zero(each) for each in parts):
        return None
    filled = [fill(0.0, x.type) if p is None else p for p, x in zip(parts, node.inputs)]
    return rebind(node, tuple(filled))


def _with(node: Node, old: Node, new: Node | None) -> Node | None:
    """Return the gate with one input exchanged, or nothing of nothing."""
    if new is None:
        return None
    return rebind(node, tuple(new if each is old else each for each in node.inputs))


def _behind(node: Node) -> tuple[Node, list[Node]]:
    """Return what views look at, and the views from the last to the first."""
    views = []
    while node.op.name in ("transpose", "reshape"):
        views.append(node)
        (node,) = node.inputs
    return node, views


def _later(axes: Sequence[int], *first: int) -> tuple[int, ...]:
    """Return axes as they are called behind a new first one."""
    return *first, *(axis + 1 for axis in axes)
