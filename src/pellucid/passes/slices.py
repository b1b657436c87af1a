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
from collections.abc import Sequence

from pellucid.ir.graph import Graph, Node, bind, is_zero, rebind, substitute
from pellucid.ir.ops import ELEMENTWISE
from pellucid.passes.cutting import (
    SUM,
    Known,
    Place,
    Rule,
    Slices,
    TogetherError,
    reshaped,
)

__all__ = ["cut_batches"]

_LEAST = 48
"""Multiplications for each number of a slice's sums: three for each row that goes
through a weight."""

_MANY_ROWS = 64
"""The least rows of one of more than two slices."""

_COUNTS = 2, 4, 8
"""How many slices there may be."""

_LEAST_WORK = 1 << 21
"""Multiplications of a step below which cutting costs more than it brings."""

_CACHED, _MUCH = 1 << 17, 1000
"""Numbers of all partial sums together that a cache holds; where there are more, the
multiplications for each that hide the way to memory and back."""


def cut_batches(graph: Graph) -> Graph:
    """Return a graph of the same inputs whose epochs work on slices of their batches.

    >>> from pellucid.ir.graph import input_node
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
    for count in _COUNTS:
        if batch % count or (count > 2 and batch // count < _MANY_ROWS):
            continue
        try:
            slices = Slices(_RULES, batch, count).walk(body, {rows[0]: Place(0, 1)})
        except TogetherError:
            return body
        if _pays(slices):
            found = slices.joined(body)
    return found


def _pays(slices: Slices) -> bool:
    """Return whether slices are worth their partial sums."""
    work = sum(map(_multiplications, slices.made.values())) * slices.count
    sums = sum(node.type.size for node in slices.sums) * slices.count
    enough = work >= max(_LEAST_WORK, _LEAST * sums)
    return bool(enough and (sums <= _CACHED or work >= _MUCH * sums))


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


def _elementwise(slices: Slices, node: Node) -> tuple[Node, Place]:
    place = next(slices.place(n) for n in node.inputs if n in slices.places)
    assert place is not None
    inputs = [slices.of(each, place) for each in node.inputs]
    return bind(node.op.name, *inputs, **node.attrs), place


def _view(slices: Slices, node: Node) -> tuple[Node, Place]:
    """Rules of views: where the rows go, and attributes for fewer of them."""
    source, attrs = node.inputs[0], dict(node.attrs)
    place = slices.place(source)
    assert place is not None
    axis, name = place.axis, node.op.name
    to = place
    if name == "reshape":
        to = reshaped(source.shape, place, node.shape, slices.batch)
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


def _pad(slices: Slices, node: Node) -> tuple[Node, Place]:
    source, value = node.inputs
    place, attrs = slices.place(source), node.attrs
    if place is None or value in slices.places:
        raise TogetherError
    if any(attrs[each][place.axis] for each in ("low", "high", "interior")):
        raise TogetherError
    return bind("pad", slices.made[source], slices.whole(value), **attrs), place


def _concat(slices: Slices, node: Node) -> tuple[Node, Place]:
    made, place = _elementwise(slices, node)
    if place.axis == node.attrs["axis"]:
        raise TogetherError
    return made, place


def _reduction(slices: Slices, node: Node) -> tuple[Node, Place | str]:
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


def _dot(slices: Slices, node: Node) -> tuple[Node, Place | str]:
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


def _gather(slices: Slices, node: Node) -> tuple[Node, Place]:
    table, indices = node.inputs
    axis, place = node.attrs["axis"], slices.place(indices)
    if place is None or table in slices.places:
        raise TogetherError
    made = bind("gather", slices.whole(table), slices.made[indices], axis=axis)
    return made, place.on(axis + place.axis)


def _scatter_add(slices: Slices, node: Node) -> tuple[Node, str]:
    table, indices, updates = node.inputs
    place, axis = slices.place(indices), node.attrs["axis"]
    if place is None or not is_zero(table):
        raise TogetherError
    part = slices.of(updates, place.on(axis + place.axis))
    return (
        bind("scatter_add", table, slices.made[indices], part, axis=axis),
        SUM,
    )


def _get(slices: Slices, node: Node) -> tuple[Node, Place | str]:
    (source,) = node.inputs
    known, index = slices.places[source], node.attrs["index"]
    assert isinstance(known, tuple)
    place = known[index]
    if place is None:
        raise TogetherError
    return bind("get", slices.made[source], index=index), place


def _guess(slices: Slices, start: Node) -> Place | None:
    """Return where a carried value that starts without rows, as zeros do, gets them."""
    axes = [i for i, size in enumerate(start.shape) if size == slices.batch]
    return Place(axes[0], 1) if axes else None


def _scan(slices: Slices, node: Node) -> tuple[Node, Known]:
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
        stacked.append(place.on(place.axis + 1) if isinstance(place, Place) else None)
    made = bind("scan", *inputs, **{**attrs, "body": body})
    return made, (*found[: attrs["carries"]], *stacked)


def _within(
    slices: Slices,
    body: Graph,
    places: Sequence[Place | None],
    first: int,
    sums: list[bool],
) -> Slices:
    """Return the body of a scan for a slice; `sums` says which of what is carried may
    add up."""
    heads, outputs = body.inputs[first:], body.outputs
    given = {n: p for n, p in zip(body.inputs, places) if p is not None}
    adding = [head for head, adds in zip(heads, sums) if adds]
    inner = Slices(slices.rules, slices.batch, slices.count, inside=True)
    inner.walk(body, given, adding)
    really = [adds and out in inner.sums for adds, out in zip(sums, outputs)]
    if really != sums:
        return _within(slices, body, places, first, really)
    wanted = [SUM if adds else p for adds, p in zip(sums, places[first:])]
    if [inner.known(out) for out in outputs[: len(sums)]] != wanted:
        raise TogetherError
    return inner


_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
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
