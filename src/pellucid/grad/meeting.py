"""What flows into a node from all who read it: the sum, and parts of it side by side.

The gradient of a slice is a padded array. Where a value is cut into pieces, as into the
gates of a recurrent unit, its gradient is their gradients joined, not a sum of arrays
that are mostly zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.ir.graph import Node, bind, fill
from pellucid.ir.types import TensorType

__all__ = ["total"]


def total(flows: Sequence[Node]) -> Node:
    """Return the sum of some gradients of one value.

    >>> from pellucid.ir.graph import input_node
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> total([x, x])
    <add: f32[2]>
    """
    result, *others = _joined(flows)
    for each in others:
        result = result + each
    return result


@dataclass(frozen=True)
class _Piece:
    """A padded array: what stands where along one axis, zeros everywhere else."""

    flow: Node
    axis: int
    start: int
    stop: int

    @property
    def part(self) -> Node:
        return self.flow.inputs[0]


def _joined(flows: Sequence[Node]) -> list[Node]:
    """Return the gradients with the pieces of each axis in one, in a fixed order."""
    found: list[Node] = []
    pieces: dict[int, list[_Piece]] = {}
    for flow in flows:
        piece = _piece(flow)
        if piece is None:
            found.append(flow)
        else:
            pieces.setdefault(piece.axis, []).append(piece)
    for group in pieces.values():
        row: list[_Piece] = []
        for each in sorted(group, key=lambda piece: piece.start):
            if row and each.start < row[-1].stop:
                found.append(each.flow)  # overlaps: they add up
            else:
                row.append(each)
        found.append(_row(row) if len(row) > 1 else row[0].flow)
    return found


def _piece(flow: Node) -> _Piece | None:
    """Return where the only values stand, if they are a stretch of one axis."""
    if flow.op.name != "pad" or any(flow.attrs["interior"]):
        return None
    value = flow.inputs[1]
    if value.op.name != "const" or value.attrs["value"].array.item() != 0:
        return None
    low, high = flow.attrs["low"], flow.attrs["high"]
    padded = [i for i in range(flow.ndim) if low[i] or high[i]]
    if len(padded) != 1 or min(*low, *high) < 0:
        return None
    (axis,) = padded
    size = flow.inputs[0].shape[axis]
    return _Piece(flow, axis, low[axis], low[axis] + size) if size else None


def _row(pieces: Sequence[_Piece]) -> Node:
    """Return pieces that do not overlap in one array, zeros between them."""
    whole, axis, at = pieces[0].flow, pieces[0].axis, 0
    parts: list[Node] = []

    def zeros_up_to(stop: int) -> None:
        if at < stop:
            shape = tuple(
                stop - at if i == axis else n for i, n in enumerate(whole.shape)
            )
            parts.append(fill(0.0, TensorType(shape, whole.dtype)))

    for piece in pieces:
        zeros_up_to(piece.start)
        parts.append(piece.part)
        at = piece.stop
    zeros_up_to(whole.shape[axis])
    return bind("concat", *parts, axis=axis)
