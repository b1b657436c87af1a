"""Brings images into an order that suits vectors: the batch is the last axis.

Users write images as `[batch, channel, space…]`. With the batch last, neighbours in
memory are the same pixel of other images: every lane of a vector does the same work,
whatever the width of the image, its edges, its stride or the window of a pooling.

A `conv` is rewritten so that its batch is one more axis of space, with a window of
one; the gradient of its weights, so that the batch is one more axis of the window.
Both are gates that exist. What is between them keeps the order: an elementwise gate,
a reduction, a reshape or a slice of a turned value is made of the value as it lies,
and turned itself, until something asks for the order that the user wrote.

Padding becomes a gate of its own, so that kernels of `conv` know no edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pellucid.ir.graph import Graph, Node, bind, constant, rebind, toposort
from pellucid.ir.ops import ELEMENTWISE
from pellucid.passes.simplify import simplify

__all__ = ["batch_last"]


@dataclass(frozen=True)
class _Laid:
    """A value as it lies: axis j of `node` is axis `order[j]` of the value.

    An image's order is kept by what reads it; another value may be turned too, until
    it is read.
    """

    node: Node
    order: tuple[int, ...]
    is_image: bool = False

    @classmethod
    def plain(cls, node: Node) -> _Laid:
        """Return a value that lies as the user wrote it."""
        axes = 0 if isinstance(node.type, tuple) else node.ndim
        return cls(node, tuple(range(axes)))

    @property
    def is_plain(self) -> bool:
        """Whether it lies as the user wrote it."""
        return self.order == tuple(range(len(self.order)))

    def turned(self, order: Sequence[int]) -> Node:
        """Return the value with its axes in an order."""
        return _transpose(self.node, [self.order.index(axis) for axis in order])

    def straight(self) -> Node:
        """Return the value as the user wrote it."""
        return self.turned(range(len(self.order)))

    def places(self, axes: Sequence[int]) -> tuple[int, ...]:
        """Return where axes of the value lie, in rising order."""
        return tuple(sorted(self.order.index(axis) for axis in axes))


def _transpose(node: Node, axes: Sequence[int]) -> Node:
    if tuple(axes) == tuple(range(len(axes))):
        return node
    return bind("transpose", node, axes=tuple(axes))


def _reshape(node: Node, shape: Sequence[int]) -> Node:
    if node.op.name == "reshape":
        return _reshape(node.inputs[0], shape)
    return (
        node
        if node.shape == tuple(shape)
        else bind("reshape", node, shape=tuple(shape))
    )


def batch_last(graph: Graph, register_bytes: int) -> Graph:
    """Return a graph of the same inputs and outputs whose images have the batch last.

    A batch too small for vectors of `register_bytes` keeps its order.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((16, 1, 5), "f32"), "x")
    >>> w = input_node(TensorType((2, 1, 3), "f32"), "w")
    >>> one = {key: (1,) for key in ("stride", "x_dilation", "w_dilation")}
    >>> y = bind("conv", x, w, **one, low=(1,), high=(1,), groups=1)
    >>> turned = batch_last(Graph((x, w), (y,)), 64)
    >>> [each.shape for each in turned.nodes if each.op.name == "conv"]
    [(1, 2, 5, 16)]
    """
    turned = _rewritten(graph, register_bytes)
    return graph if turned is graph else simplify(turned)


def _rewritten(graph: Graph, register_bytes: int) -> Graph:
    if not _has_conv(graph):
        return graph
    return Graph(graph.inputs, tuple(_rewrite(graph.outputs, register_bytes)))


def _has_conv(graph: Graph) -> bool:
    return any(
        node.op.name == "conv"
        or ("body" in node.attrs and _has_conv(node.attrs["body"]))
        for node in graph.nodes
    )


def _rewrite(outputs: Sequence[Node], register_bytes: int) -> list[Node]:
    laid: dict[Node, _Laid] = {}
    for node in toposort(outputs):
        found = None
        if node.op.name == "conv" and all(x.type.size for x in (node, *node.inputs)):
            found = _conv(node, laid, register_bytes)
        elif node.op.name in _RULES:
            found = _RULES[node.op.name](node, [laid[each] for each in node.inputs])
        laid[node] = found or _Laid.plain(_rebuilt(node, laid, register_bytes))
    return [laid[each].straight() for each in outputs]


def _rebuilt(node: Node, laid: dict[Node, _Laid], register_bytes: int) -> Node:
    """Return the gate on operands as the user wrote them, its body rewritten."""
    new = rebind(node, tuple(laid[each].straight() for each in node.inputs))
    body = new.attrs.get("body")
    if body is None:
        return new
    inner = _rewritten(body, register_bytes)
    return (
        new
        if inner is body
        else bind(new.op.name, *new.inputs, **{**new.attrs, "body": inner})
    )


# --- gates that keep the order of an image ---------------------------------------


Rule: TypeAlias = Callable[[Node, Sequence[_Laid]], _Laid | None]


def _of_images(rule: Rule) -> Rule:
    """Return the rule for images alone."""

    def only(node: Node, operands: Sequence[_Laid]) -> _Laid | None:
        return rule(node, operands) if any(x.is_image for x in operands) else None

    return only


def _elementwise(node: Node, operands: Sequence[_Laid]) -> _Laid:
    order = _common(operands)
    return _image(rebind(node, tuple(x.turned(order) for x in operands)), order)


def _common(operands: Sequence[_Laid]) -> tuple[int, ...]:
    """Return the order of the first image."""
    return next(each.order for each in operands if each.is_image)


def _image(node: Node, order: Sequence[int]) -> _Laid:
    return _Laid(node, tuple(order), is_image=True)


def _reduction(node: Node, operands: Sequence[_Laid]) -> _Laid:
    (x,) = operands
    axes = node.attrs["axes"]
    kept = [axis for axis in range(len(x.order)) if axis not in axes]
    order = (kept.index(axis) for axis in x.order if axis in kept)
    return _image(bind(node.op.name, x.node, axes=x.places(axes)), tuple(order))


def _argmax(node: Node, operands: Sequence[_Laid]) -> _Laid:
    (x,) = operands
    axis = node.attrs["axis"]
    order = (each - (each > axis) for each in x.order if each != axis)
    return _image(bind("argmax", x.node, axis=x.order.index(axis)), tuple(order))


def _permuted(*names: str) -> Rule:
    """Return the rule of a gate whose attributes give a number for each axis."""

    def rule(node: Node, operands: Sequence[_Laid]) -> _Laid | None:
        x, *scalars = operands
        attrs = {name: tuple(node.attrs[name][i] for i in x.order) for name in names}
        others = (each.straight() for each in scalars)
        return _image(bind(node.op.name, x.node, *others, **attrs), x.order)

    return _of_images(rule)


def _reverse(node: Node, operands: Sequence[_Laid]) -> _Laid:
    (x,) = operands
    return _image(bind("reverse", x.node, axes=x.places(node.attrs["axes"])), x.order)


def _concat(node: Node, operands: Sequence[_Laid]) -> _Laid:
    order = _common(operands)
    axis = order.index(node.attrs["axis"])
    return _image(
        bind("concat", *(x.turned(order) for x in operands), axis=axis), order
    )


def _turn(node: Node, operands: Sequence[_Laid]) -> _Laid:
    (x,) = operands
    axes = node.attrs["axes"]
    order = tuple(axes.index(axis) for axis in x.order)
    return _Laid(x.node, order, x.is_image)


def _reshaped(node: Node, operands: Sequence[_Laid]) -> _Laid | None:
    """Cut and join axes where they lie.

    Axes of an image that are joined and do not lie in a row are brought to where the
    first of them is.
    """
    (x,) = operands
    old, new = node.inputs[0].shape, node.shape
    if not node.type.size or (x.is_plain and not x.is_image):
        return None
    groups = {each: group for group in _groups(old, new) for each in group[0]}
    lying = [axis for axis in range(len(old)) if old[axis] == 1]
    order = [axis for axis in range(len(new)) if new[axis] == 1]
    for axis in x.order:
        if axis not in lying:
            joined, into = groups[axis]
            lying += joined
            order += into
    apart = [a for a in lying if old[a] != 1] != [a for a in x.order if old[a] != 1]
    if apart and not x.is_image:
        return None
    source = x.turned(lying) if apart else x.node
    shaped = _reshape(source, [new[axis] for axis in order])
    return _Laid(shaped, tuple(order), x.is_image)


def _groups(
    old: Sequence[int], new: Sequence[int]
) -> list[tuple[list[int], list[int]]]:
    """Pair the fewest axes of two shapes that count through the same entries.

    Axes of size 1 are left out.

    >>> _groups((6, 4), (2, 3, 1, 4))
    [([0], [0, 1]), ([1], [3])]
    """
    found = []
    left = [i for i, size in enumerate(old) if size != 1]
    right = [i for i, size in enumerate(new) if size != 1]
    while left:
        a, b = [left.pop(0)], [right.pop(0)]
        while (x := math.prod(old[i] for i in a)) != (
            y := math.prod(new[i] for i in b)
        ):
            side, more = (a, left) if x < y else (b, right)
            side.append(more.pop(0))
        found.append((a, b))
    return found


_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _of_images(_elementwise)),
    "sum": _of_images(_reduction),
    "max": _of_images(_reduction),
    "argmax": _of_images(_argmax),
    "broadcast": _permuted("shape"),
    "slice": _permuted("start", "stop", "step"),
    "pad": _permuted("low", "high", "interior"),
    "reverse": _of_images(_reverse),
    "concat": _of_images(_concat),
    "transpose": _turn,
    "reshape": _reshaped,
}


# --- conv ------------------------------------------------------------------------


def _conv(node: Node, laid: dict[Node, _Laid], register_bytes: int) -> _Laid:
    lanes = register_bytes // node.dtype.itemsize
    x, w = node.inputs
    if _has_batch_in_channels(node, laid) and 2 * w.shape[1] >= lanes:
        return _channels_last(node, laid)
    if 2 * x.shape[0] >= lanes:
        return _images_last(node, laid)
    return _Laid.plain(_rows_padded(node, *(laid[each].straight() for each in (x, w))))


def _has_batch_in_channels(node: Node, laid: dict[Node, _Laid]) -> bool:
    """Return whether a `conv` is the gradient of weights: what was the batch is its
    axis of channels."""
    image, kernel = _in_groups(node, laid), laid[node.inputs[1]]
    if image.is_image:
        return image.order[-1] == 2
    if kernel.is_image:
        return kernel.order[-1] == 1
    window, space = node.inputs[1].shape[2:], node.shape[2:]
    return math.prod(window) > math.prod(space)


def _images_last(node: Node, laid: dict[Node, _Laid]) -> _Laid:
    """Let the batch be an axis of space: images lie as [space…, channel, batch]."""
    x, w = (laid[each] for each in node.inputs)
    space = range(2, node.ndim)
    image = _lying(x, (*space, 1, 0), (1, *space, 0))
    kernel = w.straight()
    new = bind(
        "conv",
        _reshape(image, (1, *image.shape)),
        _reshape(kernel, (*kernel.shape, 1)),
        **_one_axis_more(node),
    )
    last = node.ndim
    written = _transpose(new, (0, *space, 1, last))
    return _image(_reshape(written, written.shape[1:]), (*space, 1, 0))


def _channels_last(node: Node, laid: dict[Node, _Laid]) -> _Laid:
    """Let the channels of a group be the last axis of the window."""
    x, w = node.inputs
    space, places = range(2, node.ndim), range(3, x.ndim + 1)
    image = _lying(_in_groups(node, laid), (*places, 1, 0, 2), (0, 1, *places, 2))
    kernel = _lying(laid[w], (*space, 0, 1), (0, *space, 1))
    kernel = _reshape(kernel, (kernel.shape[0], 1, *kernel.shape[1:]))
    new = bind("conv", image, kernel, **_one_axis_more(node))
    written = _transpose(new, (1, 0, *space, node.ndim))
    return _Laid(_reshape(written, written.shape[:-1]), (1, 0, *space))


def _in_groups(node: Node, laid: dict[Node, _Laid]) -> _Laid:
    """Return the image with an axis for its groups of channels, the second."""
    x, groups = node.inputs[0], node.attrs["groups"]
    shape = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    if x.op.name == "reshape" and x.inputs[0].shape == shape:
        return laid[x.inputs[0]]  # the chain rule has just joined them
    split = _reshaped(bind("reshape", x, shape=shape), [laid[x]])
    return split or _Laid.plain(_reshape(laid[x].straight(), shape))


_DEFAULTS = {"stride": 1, "low": 0, "high": 0, "x_dilation": 1, "w_dilation": 1}


def _one_axis_more(node: Node) -> dict[str, object]:
    """Return the attributes for one more axis of space, with nothing around it."""
    more = {name: (*node.attrs[name], each) for name, each in _DEFAULTS.items()}
    return {**more, "groups": node.attrs["groups"]}


def _lying(x: _Laid, lying: Sequence[int], order: Sequence[int]) -> Node:
    """Return a value in an order to be read in, as a view of one that lies in another.

    If it does not lie so, it is copied, else each reader would turn it again: a `pad`
    by nothing is where it is copied to.
    """
    size = {axis: x.node.shape[i] for i, axis in enumerate(x.order)}
    old, new, read = (
        [a for a in axes if size[a] != 1] for axes in (x.order, lying, order)
    )
    base = _reshape(x.node, [size[axis] for axis in old])
    if old != new:
        turned = _transpose(base, [old.index(axis) for axis in new])
        none, zero = (0,) * turned.ndim, constant(0.0, turned.dtype)
        base = bind("pad", turned, zero, low=none, high=none, interior=none)
    view = _transpose(base, [new.index(axis) for axis in read])
    return _reshape(view, [size[axis] for axis in order])


def _rows_padded(node: Node, x: Node, w: Node) -> Node:
    """Pad the last axis, along which vectors go; kernels know other edges."""
    attrs = dict(node.attrs)
    low, high = attrs["low"][-1], attrs["high"][-1]
    gap = attrs["x_dilation"][-1] - 1
    if low or high or gap:
        x = _framed(x, low, high, gap)
        for name in ("low", "high", "x_dilation"):
            attrs[name] = (*attrs[name][:-1], _DEFAULTS[name])
    return bind("conv", x, w, **attrs)


def _framed(x: Node, low: int, high: int, gap: int) -> Node:
    """Return an image with zeros around and between the entries of its last axis."""
    first = (0,) * (x.ndim - 1)
    wide = bind(
        "pad",
        x,
        constant(0.0, x.dtype),
        low=(*first, max(0, low)),
        high=(*first, max(0, high)),
        interior=(*first, gap),
    )
    start, stop = max(0, -low), wide.shape[-1] - max(0, -high)
    if wide.shape[-1] == stop - start:
        return wide
    return bind(
        "slice",
        wide,
        start=(*first, start),
        stop=(*wide.shape[:-1], stop),
        step=(1,) * x.ndim,
    )
