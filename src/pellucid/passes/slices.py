"""Cuts the batch of a training step into slices that know nothing of each other.

Most of a step works on each row of the batch alone: the forward pass, and what flows
back. Only the gradients of parameters, and the loss, add up over rows. So the rows are
cut into a few slices, one step each of a `scan` that carries nothing, and what adds
up is added behind it. Threads take slices and meet once a training step, not once a
gate; what a slice computes stays in one processor's cache.

The cuts depend on shapes alone, so the bits do not depend on the number of threads.
Where rows do know of each other (batch normalisation does that), nothing is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeAlias

from pellucid.ir.graph import (
    Graph,
    Node,
    bind,
    constant,
    input_node,
    is_zero,
    rebind,
    substitute,
)
from pellucid.ir.ops import ELEMENTWISE
from pellucid.ir.types import TensorType
from pellucid.passes.fuse import VIEWS

__all__ = ["cut_batches"]

_LEAST = 48
"""Multiplications for each number of a slice's sums: three for each row that goes
through a weight."""

_MANY_ROWS = 64
"""The least rows of one of more than two slices."""

_MOST = 8
"""The most slices."""

_LEAST_WORK = 1 << 21
"""Multiplications of a step below which cutting costs more than it brings."""

_CACHED, _MUCH = 1 << 17, 1000
"""Numbers of all partial sums together that a cache holds; where there are more, the
multiplications for each that hide the way to memory and back."""


def cut_batches(graph: Graph) -> Graph:
    """Return a graph of the same inputs whose epochs work on slices of their batches.

    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> cut_batches(Graph((x,), (x + x,))).outputs == (x + x,)
    True
    """

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name != "scan" or not node.attrs["carries"]:
            return rebind(node, inputs)
        body = _cut(node.attrs["body"], node.attrs["consts"] + node.attrs["carries"])
        return bind("scan", *inputs, **{**node.attrs, "body": body})

    return Graph(graph.inputs, tuple(substitute(graph.outputs, {}, rebuild)))


def _cut(body: Graph, first: int) -> Graph:
    """Return the body of an epoch with its batch cut, or as it was."""
    rows = [n for n in body.inputs[first:] if n.ndim == 1 and n.dtype.kind == "i"]
    if len(rows) != 1:
        return body
    found, batch = body, rows[0].shape[0]
    for count in (2, *range(4, _MOST + 1, 2)):
        if batch % count or (count > 2 and batch // count < _MANY_ROWS):
            continue
        try:
            slices = _Slices(batch, count).walk(body, {rows[0]: _Place(0, 1)})
        except TogetherError:
            return body
        if slices.pays():
            found = slices.joined(body)
    return found


# --- where the rows are ----------------------------------------------------------


class TogetherError(Exception):
    """Rows know of each other."""


@dataclass(frozen=True)
class _Place:
    """Which axis the rows of the batch are on; an axis may hold `outer` batches, and
    several entries for each row."""

    axis: int
    outer: int

    def on(self, axis: int) -> _Place:
        """Return the same on another axis."""
        return replace(self, axis=axis)


SUM = "sum"
"""Said of a value of a slice: the value of the batch is the sum over slices."""

Known: TypeAlias = "_Place | tuple[_Place | str | None, ...]"


def _reshaped(
    old: tuple[int, ...], place: _Place, new: tuple[int, ...], batch: int
) -> _Place:
    """Return where the rows are after a reshape."""
    before = math.prod(old[: place.axis]) * place.outer
    for axis in range(len(new)):
        outside = math.prod(new[:axis])
        outer = before // outside if outside else 0
        if outer and outer * outside == before and new[axis] % (outer * batch) == 0:
            return _Place(axis, outer)
    raise TogetherError


# --- walking a graph -------------------------------------------------------------


@dataclass
class _Slices:
    """What a slice computes: the nodes of a graph for fewer rows."""

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
    sliced: dict[tuple[Node, _Place], Node] = field(default_factory=dict)

    def walk(
        self, graph: Graph, places: dict[Node, _Place], sums: Sequence[Node] = ()
    ) -> _Slices:
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
        name = node.op.name
        rule = _elementwise if name in ELEMENTWISE else _RULES.get(name)
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

    def known(self, node: Node) -> _Place | str | None:
        """Return where a value has its rows, or that it is a sum over them."""
        if node in self.sums:
            return SUM
        if node in self.after:
            raise TogetherError
        return self.place(node)

    def place(self, node: Node) -> _Place | None:
        """Return where a value has its rows, if it has any."""
        found = self.places.get(node)
        assert not isinstance(found, tuple)
        return found

    def size(self, node: Node, place: _Place) -> int:
        """Return the size that the axis of rows has in a slice."""
        return node.shape[place.axis] // self.count

    def shape(self, node: Node, place: _Place) -> tuple[int, ...]:
        """Return the shape of a value in a slice."""
        shape = list(node.shape)
        shape[place.axis] = self.size(node, place)
        return tuple(shape)

    def type(self, node: Node, place: _Place) -> TensorType:
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

    def of(self, node: Node, place: _Place) -> Node:
        """Return the part of a value that belongs to a slice's rows."""
        known = self.places.get(node)
        if known is not None:
            if known != place:
                raise TogetherError
            return self.made[node]
        if node in self.after:
            raise TogetherError
        return self._part(node, place)

    def _part(self, node: Node, place: _Place) -> Node:
        name, shape = node.op.name, self.shape(node, place)
        if name == "broadcast" and node.inputs[0].shape[place.axis] == 1:
            return bind("broadcast", self.whole(node.inputs[0]), shape=shape)
        if name == "reshape":
            (source,) = node.inputs
            inner = _reshaped(node.shape, place, source.shape, self.batch)
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

    def _input(self, node: Node, place: _Place) -> Node:
        """Return what stands in a slice for its part of a value from outside."""
        key = node, place
        if key not in self.sliced:
            self.sliced[key] = input_node(self.type(node, place), "slice")
        return self.sliced[key]

    # --- the whole step ---

    def pays(self) -> bool:
        """Return whether slices are worth their partial sums."""
        work = sum(map(_multiplications, self.made.values())) * self.count
        sums = sum(node.type.size for node in self.sums) * self.count
        enough = work >= max(_LEAST_WORK, _LEAST * sums)
        return bool(enough and (sums <= _CACHED or work >= _MUCH * sums))

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

    def _split(self, node: Node, place: _Place) -> Node:
        """Return a value with an axis of slices in front."""
        axis, outer = place.axis, place.outer
        rest = node.shape[axis] // (outer * self.count)
        apart = (*node.shape[:axis], outer, self.count, rest, *node.shape[axis + 1 :])
        cut = bind("reshape", node, shape=apart)
        others = (i for i in range(len(apart)) if i != axis + 1)
        turned = bind("transpose", cut, axes=(axis + 1, *others))
        return bind("reshape", turned, shape=(self.count, *self.shape(node, place)))

    def _united(self, node: Node, place: _Place, stack: Node) -> Node:
        """Return a value from those of its slices."""
        axis, outer = place.axis, place.outer
        rest = node.shape[axis] // (outer * self.count)
        shape = node.shape
        apart = (self.count, *shape[:axis], outer, rest, *shape[axis + 1 :])
        cut = bind("reshape", stack, shape=apart)
        order = (*range(1, axis + 2), 0, *range(axis + 2, len(apart)))
        return bind("reshape", bind("transpose", cut, axes=order), shape=shape)


def _multiplications(node: Node) -> int:
    if node.op.name == "dot":
        x: Node = node.inputs[0]
        depth: int = math.prod(x.shape[i] for i in node.attrs["contract"][0])
        return int(node.type.size) * depth
    if node.op.name == "scan":
        inner: int = sum(map(_multiplications, node.attrs["body"].nodes))
        return int(node.attrs["length"]) * inner
    return 0


# --- a rule for each gate --------------------------------------------------------

Rule: TypeAlias = Callable[[_Slices, Node], "tuple[Node, Known | str]"]


def _elementwise(slices: _Slices, node: Node) -> tuple[Node, _Place]:
    place = next(slices.place(n) for n in node.inputs if n in slices.places)
    assert place is not None
    inputs = [slices.of(each, place) for each in node.inputs]
    return bind(node.op.name, *inputs, **node.attrs), place


def _view(slices: _Slices, node: Node) -> tuple[Node, _Place]:
    """Rules of views: where the rows go, and attributes for fewer of them."""
    source, attrs = node.inputs[0], dict(node.attrs)
    place = slices.place(source)
    assert place is not None
    axis, name = place.axis, node.op.name
    to = place
    if name == "reshape":
        to = _reshaped(source.shape, place, node.shape, slices.batch)
    elif name == "transpose":
        to = place.on(attrs["axes"].index(axis))
    elif name == "slice":
        if node.shape[axis] != source.shape[axis]:
            raise TogetherError
        size = slices.size(source, place)
        attrs["stop"] = (*attrs["stop"][:axis], size, *attrs["stop"][axis + 1 :])
    elif name == "reverse" and axis in attrs["axes"]:
        raise TogetherError
    if name in ("reshape", "broadcast"):
        attrs["shape"] = slices.shape(node, to)
    return bind(name, slices.made[source], **attrs), to


def _pad(slices: _Slices, node: Node) -> tuple[Node, _Place]:
    source, value = node.inputs
    place, attrs = slices.place(source), node.attrs
    if place is None or value in slices.places:
        raise TogetherError
    if any(attrs[each][place.axis] for each in ("low", "high", "interior")):
        raise TogetherError
    return bind("pad", slices.made[source], slices.whole(value), **attrs), place


def _concat(slices: _Slices, node: Node) -> tuple[Node, _Place]:
    made, place = _elementwise(slices, node)
    if place.axis == node.attrs["axis"]:
        raise TogetherError
    return made, place


def _reduction(slices: _Slices, node: Node) -> tuple[Node, _Place | str]:
    (source,) = node.inputs
    place, attrs = slices.place(source), node.attrs
    assert place is not None
    axes = attrs["axes"] if "axes" in attrs else (attrs["axis"],)
    made = bind(node.op.name, slices.made[source], **attrs)
    if place.axis not in axes:
        return made, place.on(place.axis - sum(a < place.axis for a in axes))
    if node.op.name != "sum":
        raise TogetherError
    return made, SUM


def _dot(slices: _Slices, node: Node) -> tuple[Node, _Place | str]:
    x, y = node.inputs
    (cx, cy), (bx, by) = node.attrs["contract"], node.attrs["batch"]
    place = slices.place(x) or slices.place(y)
    assert place is not None
    mine, other, (c, b), (d, e) = x, y, (cx, bx), (cy, by)
    if x not in slices.places:
        mine, other, (c, b), (d, e) = y, x, (cy, by), (cx, bx)
    axis, result = place.axis, ""
    pair = [slices.made[mine], None]
    if axis in c:
        pair[1] = slices.of(other, place.on(d[c.index(axis)]))
        result = SUM
    elif axis in b:
        pair[1] = slices.of(other, place.on(e[b.index(axis)]))
        place = place.on(b.index(axis))
    else:
        if other in slices.places or other in slices.after:
            raise TogetherError
        pair[1] = slices.whole(other)
        free = [i for i in range(mine.ndim) if i not in (*c, *b)]
        before = len(b) if mine is x else node.ndim - len(free)
        place = place.on(before + free.index(axis))
    left, right = pair if mine is x else reversed(pair)
    assert left is not None
    assert right is not None
    return bind("dot", left, right, **node.attrs), result or place


def _gather(slices: _Slices, node: Node) -> tuple[Node, _Place]:
    table, indices = node.inputs
    axis, place = node.attrs["axis"], slices.place(indices)
    if place is None or table in slices.places:
        raise TogetherError
    made = bind("gather", slices.whole(table), slices.made[indices], axis=axis)
    return made, place.on(axis + place.axis)


def _scatter_add(slices: _Slices, node: Node) -> tuple[Node, str]:
    table, indices, updates = node.inputs
    place, axis = slices.place(indices), node.attrs["axis"]
    if place is None or not is_zero(table):
        raise TogetherError
    part = slices.of(updates, place.on(axis + place.axis))
    return (
        bind("scatter_add", table, slices.made[indices], part, axis=axis),
        SUM,
    )


def _get(slices: _Slices, node: Node) -> tuple[Node, _Place | str]:
    (source,) = node.inputs
    known, index = slices.places[source], node.attrs["index"]
    assert isinstance(known, tuple)
    place = known[index]
    if place is None:
        raise TogetherError
    return bind("get", slices.made[source], index=index), place


def _guess(slices: _Slices, start: Node) -> _Place | None:
    """Return where a carried value that starts without rows, as zeros do, gets them."""
    axes = [i for i, size in enumerate(start.shape) if size == slices.batch]
    return _Place(axes[0], 1) if axes else None


def _scan(slices: _Slices, node: Node) -> tuple[Node, Known]:
    """A scan within a slice. What it carries has its rows in one place throughout, or
    none; or it adds up, from zero on, over the rows too."""
    attrs = node.attrs
    first, last = attrs["consts"], attrs["consts"] + attrs["carries"]
    places = [slices.place(each) for each in node.inputs]
    if any(p is not None and not p.axis for p in places[last:]):
        raise TogetherError
    starts = node.inputs[first:last]
    carried = [p or _guess(slices, n) for p, n in zip(places[first:last], starts)]
    rows = [place and place.on(place.axis - 1) for place in places[last:]]
    sums = [p is None and is_zero(n) for p, n in zip(carried, starts)]
    within = [*places[:first], *carried, *rows]
    inner = _within(slices, attrs["body"], within, first, sums)
    outer = [*within[:last], *places[last:]]
    inputs = [
        slices.whole(each) if place is None else slices.of(each, place)
        for each, place in zip(node.inputs, outer)
    ]
    outputs = attrs["body"].outputs
    found = [inner.known(each) for each in outputs]
    body = Graph(
        tuple(inner.made.get(each, each) for each in attrs["body"].inputs),
        tuple(inner.made.get(each, each) for each in outputs),
    )
    stacked = []
    for place in found[attrs["carries"] :]:
        if place == SUM:
            raise TogetherError
        stacked.append(place.on(place.axis + 1) if isinstance(place, _Place) else None)
    made = bind("scan", *inputs, **{**attrs, "body": body})
    return made, (*found[: attrs["carries"]], *stacked)


def _within(
    slices: _Slices,
    body: Graph,
    places: Sequence[_Place | None],
    first: int,
    sums: list[bool],
) -> _Slices:
    """Return the body of a scan for a slice; `sums` says which of what is carried may
    add up."""
    heads, outputs = body.inputs[first:], body.outputs
    given = {n: p for n, p in zip(body.inputs, places) if p is not None}
    adding = [head for head, adds in zip(heads, sums) if adds]
    inner = _Slices(slices.batch, slices.count, inside=True).walk(body, given, adding)
    really = [adds and out in inner.sums for adds, out in zip(sums, outputs)]
    if really != sums:
        return _within(slices, body, places, first, really)
    wanted = [SUM if adds else p for adds, p in zip(sums, places[first:])]
    if [inner.known(out) for out in outputs[: len(sums)]] != wanted:
        raise TogetherError
    return inner


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("reshape", "transpose", "broadcast", "slice", "reverse"), _view),
    **dict.fromkeys(("sum", "max", "argmax"), _reduction),
    "pad": _pad,
    "concat": _concat,
    "dot": _dot,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "scan": _scan,
    "get": _get,
}
"""Gates without a row here, as `conv`, keep a batch together."""
