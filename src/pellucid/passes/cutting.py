"""One slice of a training step: the nodes of a graph, for fewer rows of its batch.

`Slices` follows the axis of the batch through a graph. A rule for each gate says where
the rows of its result are, or that the result adds up over them; the rules are given
to it (`slices.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeAlias

from pellucid.ir.graph import (
    Graph,
    Node,
    bind,
    constant,
    input_node,
    rebind,
    substitute,
)
from pellucid.ir.ops import ELEMENTWISE
from pellucid.ir.types import TensorType
from pellucid.passes.fuse import VIEWS

__all__ = ["SUM", "Known", "Place", "Rule", "Slices", "TogetherError", "reshaped"]


class TogetherError(Exception):
    """Rows know of each other."""


@dataclass(frozen=True)
class Place:
    """Which axis the rows of the batch are on; an axis may hold `outer` batches, and
    several entries for each row."""

    axis: int
    outer: int

    def on(self, axis: int) -> Place:
        """Return the same on another axis."""
        return replace(self, axis=axis)


SUM = "sum"
"""Said of a value of a slice: the value of the batch is the sum over slices."""

Known: TypeAlias = "Place | tuple[Place | str | None, ...]"


Rule: TypeAlias = "Callable[[Slices, Node], tuple[Node, Known | str]]"
"""Makes a gate of a slice, and says where its rows are, or that it adds up."""


def reshaped(
    old: tuple[int, ...], place: Place, new: tuple[int, ...], batch: int
) -> Place:
    """Return where the rows are after a reshape."""
    before = math.prod(old[: place.axis]) * place.outer
    for axis in range(len(new)):
        outside = math.prod(new[:axis])
        outer = before // outside if outside else 0
        if outer and outer * outside == before and new[axis] % (outer * batch) == 0:
            return Place(axis, outer)
    raise TogetherError


# --- walking a graph -------------------------------------------------------------


@dataclass
class Slices:
    """What a slice computes: the nodes of a graph for fewer rows."""

    rules: Mapping[str, Rule]
    batch: int
    count: int
    inside: bool = False
    """Whether this is the body of a scan within a slice."""
    places: dict[Node, Known] = field(default_factory=dict)
    made: dict[Node, Node] = field(default_factory=dict)
    """The nodes of a slice for nodes whose rows it has, and for sums of them."""
    sums: dict[Node, None] = field(default_factory=dict)
    """What adds up over slices."""
    after: set[Node] = field(default_factory=set)
    """What depends on a sum over all rows."""
    consts: dict[Node, Node] = field(default_factory=dict)
    sliced: dict[tuple[Node, Place], Node] = field(default_factory=dict)

    def walk(
        self, graph: Graph, places: dict[Node, Place], sums: Sequence[Node] = ()
    ) -> Slices:
        """Make the nodes of a slice; `places` says which inputs have rows, and `sums`
        which are what a loop has added up so far."""
        for node in sums:
            self._add_up(node, node)
        for node, place in places.items():
            self.places[node] = place
            if self.inside:
                self.made[node] = input_node(self.type(node, place), "slice")
            else:
                self.made[node] = self._input(node, place)
        for node in graph.nodes:
            if node in self.made:
                continue
            if node.op.name == "add" and all(each in self.sums for each in node.inputs):
                if self.inside:
                    made = [self.made[each] for each in node.inputs]
                    self._add_up(node, bind("add", *made))
                else:
                    self.after.add(node)
            elif any(each in self.places for each in node.inputs):
                if any(each in self.after for each in node.inputs):
                    raise TogetherError
                self._make(node)
            elif any(each in self.after for each in node.inputs):
                self.after.add(node)
        return self

    def _make(self, node: Node) -> None:
        rule = self.rules.get(node.op.name)
        if rule is None:
            raise TogetherError
        made, place = rule(self, node)
        if isinstance(place, str):
            self._add_up(node, made)
        else:
            self.made[node], self.places[node] = made, place

    def _add_up(self, node: Node, made: Node) -> None:
        self.made[node], self.sums[node] = made, None
        self.after.add(node)

    def known(self, node: Node) -> Place | str | None:
        """Return where a value has its rows, or that it is a sum over them."""
        if node in self.sums:
            return SUM
        if node in self.after:
            raise TogetherError
        return self.place(node)

    def place(self, node: Node) -> Place | None:
        """Return where a value has its rows, if it has any."""
        found = self.places.get(node)
        assert not isinstance(found, tuple)
        return found

    def size(self, node: Node, place: Place) -> int:
        """Return the size that the axis of rows has in a slice."""
        return node.shape[place.axis] // self.count

    def shape(self, node: Node, place: Place) -> tuple[int, ...]:
        """Return the shape of a value in a slice."""
        shape = list(node.shape)
        shape[place.axis] = self.size(node, place)
        return tuple(shape)

    def type(self, node: Node, place: Place) -> TensorType:
        """Return the type of a value in a slice."""
        return TensorType(self.shape(node, place), node.dtype)

    # --- values that are the same for all slices ---

    def whole(self, node: Node) -> Node:
        """Return a value of all rows, or of none, in a slice."""
        if self.inside or node.op.name == "const":
            return node
        if node.op.name in VIEWS:
            return rebind(node, tuple(self.whole(each) for each in node.inputs))
        if node not in self.consts:
            self.consts[node] = input_node(node.type, "whole")
        return self.consts[node]

    def of(self, node: Node, place: Place) -> Node:
        """Return the part of a value that belongs to a slice's rows."""
        known = self.places.get(node)
        if known is not None:
            if known != place:
                raise TogetherError
            return self.made[node]
        if node in self.after:
            raise TogetherError
        return self._part(node, place)

    def _part(self, node: Node, place: Place) -> Node:
        name, shape = node.op.name, self.shape(node, place)
        if name == "broadcast" and node.inputs[0].shape[place.axis] == 1:
            return bind("broadcast", self.whole(node.inputs[0]), shape=shape)
        if name == "reshape":
            (source,) = node.inputs
            inner = reshaped(node.shape, place, source.shape, self.batch)
            return bind("reshape", self._part(source, inner), shape=shape)
        if name in ELEMENTWISE:
            parts = [self._part(each, place) for each in node.inputs]
            return bind(name, *parts, **node.attrs)
        if name == "const":
            values = node.attrs["value"].array
            part = values.take(range(shape[place.axis]), axis=place.axis)
            if (values == values.take([0], axis=place.axis)).all():
                return constant(part, node.dtype)
        if self.inside:
            raise TogetherError
        return self._input(node, place)

    def _input(self, node: Node, place: Place) -> Node:
        """Return what stands in a slice for its part of a value from outside."""
        key = node, place
        if key not in self.sliced:
            self.sliced[key] = input_node(self.type(node, place), "slice")
        return self.sliced[key]

    # --- the whole step ---

    def joined(self, body: Graph) -> Graph:
        """Return the step as a scan over slices, and what comes behind it."""
        kept = [n for n in dict.fromkeys(body.outputs) if n in self.places]
        given = (*self.consts.values(), *self.sliced.values())
        wanted = [*self.sums, *kept]
        inner = Graph(given, tuple(self.made[each] for each in wanted))
        scan = bind(
            "scan",
            *self.consts,
            *(self._split(node, place) for node, place in self.sliced),
            body=inner,
            consts=len(self.consts),
            carries=0,
            length=self.count,
            reverse=False,
            keep="all",
        )
        found = [bind("get", scan, index=i) for i in range(len(wanted))]
        behind = {n: self._total(s) for n, s in zip(self.sums, found)}
        for node, stack in zip(kept, found[len(self.sums) :]):
            place = self.place(node)
            assert place is not None
            behind[node] = self._united(node, place, stack)
        return Graph(body.inputs, tuple(substitute(body.outputs, behind)))

    def _total(self, stack: Node) -> Node:
        """Return the sum of what slices give, as gates, part of their reader's loop."""
        shape, ones = stack.shape[1:], (1,) * stack.ndim
        parts = [
            bind(
                "slice",
                stack,
                start=(i, *(0 for _ in shape)),
                stop=(i + 1, *shape),
                step=ones,
            )
            for i in range(self.count)
        ]
        first, *others = (bind("reshape", each, shape=shape) for each in parts)
        return reduce(partial(bind, "add"), others, first)

    def _split(self, node: Node, place: Place) -> Node:
        """Return a value with an axis of slices in front."""
        axis, outer = place.axis, place.outer
        rest = node.shape[axis] // (outer * self.count)
        apart = (*node.shape[:axis], outer, self.count, rest, *node.shape[axis + 1 :])
        cut = bind("reshape", node, shape=apart)
        others = (i for i in range(len(apart)) if i != axis + 1)
        turned = bind("transpose", cut, axes=(axis + 1, *others))
        return bind("reshape", turned, shape=(self.count, *self.shape(node, place)))

    def _united(self, node: Node, place: Place, stack: Node) -> Node:
        """Return a value from those of its slices."""
        axis, outer = place.axis, place.outer
        rest = node.shape[axis] // (outer * self.count)
        shape = node.shape
        apart = (self.count, *shape[:axis], outer, rest, *shape[axis + 1 :])
        cut = bind("reshape", stack, shape=apart)
        order = (*range(1, axis + 2), 0, *range(axis + 2, len(apart)))
        return bind("reshape", bind("transpose", cut, axes=order), shape=shape)
