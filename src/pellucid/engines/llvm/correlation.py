"""A cross-correlation as a sum over axes, and how it is cut into tiles.

    out[b, g, o, p] = Σ over c, k of w[g, o, c, k] · x[b, g, c, place(p, k)]

Every axis moves through the image, the weights and the result in strides of its own.
That, and where windows meet the image, is all that is known here: not which axis the
user called a batch, and no instruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Target
from pellucid.ir.graph import Node

__all__ = [
    "ONE",
    "Axis",
    "Part",
    "Plan",
    "Window",
    "correlation",
    "cut",
    "multiplications",
]

_SECOND_CACHE = 384 << 10
"""Bytes that stay in the second cache beside what passes through it."""


def multiplications(node: Node) -> int:
    """Return the number of multiplications, those with padding among them."""
    return int(node.type.size) * math.prod(correlation(node)[0].inputs[1].shape[1:])


def correlation(node: Node) -> tuple[Node, tuple[int, ...]]:
    """Return the `conv` that a stored node is, and the order in which it is written."""
    if node.op.name == "transpose":
        return node.inputs[0], node.attrs["axes"]
    return node, tuple(range(node.ndim))


# --- axes --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Window:
    """How the windows of a result meet an image along one axis of space.

    Entry k of window p stands at `p · stride + k · dilation − low`; every `gap`-th
    place has a pixel, `size` of them, `pixel` elements from one to the next.
    """

    count: int
    taps: int
    size: int
    stride: int
    dilation: int
    gap: int
    low: int
    pixel: int

    @property
    def tap_step(self) -> int:
        """From one entry that meets a pixel to the next such entry."""
        return self.gap // math.gcd(self.gap, self.dilation)

    @property
    def pixel_step(self) -> int:
        """From the pixel that an entry meets to that of the next such entry."""
        return self.dilation // math.gcd(self.gap, self.dilation)

    @cached_property
    def met(self) -> list[tuple[int, int, int]]:
        """For each window: its first entry that meets a pixel, which, and how many."""
        return [self._met(p * self.stride - self.low) for p in range(self.count)]

    def _met(self, start: int) -> tuple[int, int, int]:
        places = range(start, start + self.taps * self.dilation, self.dilation)
        taps = [
            k
            for k, place in enumerate(places)
            if place % self.gap == 0 and 0 <= place < self.size * self.gap
        ]
        return (taps[0], places[taps[0]] // self.gap, len(taps)) if taps else (0, 0, 0)

    @property
    def always_met(self) -> range:
        """The entries that meet a pixel in every window."""
        if self.gap > 1:
            return range(0)
        start = max(first for first, _, _ in self.met)
        return range(start, max(start, min(first + n for first, _, n in self.met)))

    @property
    def share(self) -> float:
        """The part of all entries that meet a pixel."""
        return sum(n for _, _, n in self.met) / (self.count * self.taps)

    @property
    def reaches_over(self) -> bool:
        """Whether an entry may meet no pixel."""
        return self.gap > 1 or self.share < 1


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis of the sum: its size, its stride in image, weights and result.

    An axis of windows starts somewhere in the image, before it where there is padding.
    It and the axis of their entries know the window.
    """

    size: int
    x: int = 0
    w: int = 0
    out: int = 0
    start: int = 0
    window: Window | None = None

    @property
    def over(self) -> Window | None:
        """The window, where it reaches over the edge."""
        return self.window if self.window and self.window.reaches_over else None

    def blocks(self, step: int, count: int) -> Axis:
        """Return the axis that counts blocks of so many entries."""
        return Axis(count, self.x * step, self.w * step, self.out * step)


ONE = Axis(1)
"""An axis that is none."""


class _Sum(NamedTuple):
    """The axes of a cross-correlation: `rows` are the output channels of a group."""

    outer: list[Axis]
    rows: Axis
    inner: list[Axis]


def _axes(node: Node, x: Sequence[int], w: Sequence[int]) -> _Sum:
    """Return the axes of the result, and those that are summed."""
    node, order = correlation(node)
    shape, weights, groups = node.shape, node.inputs[1].shape, node.attrs["groups"]
    out = [
        math.prod(shape[each] for each in order[order.index(i) + 1 :])
        for i in range(len(shape))
    ]
    rows, channels = shape[1] // groups, weights[1]
    outer = [
        Axis(shape[0], x[0], 0, out[0]),
        Axis(groups, x[1] * channels, w[0] * rows, out[1] * rows),
    ]
    inner = [Axis(channels, x[1], w[1])]
    for i in range(2, len(shape)):
        step, see = x[i], _window(node, i - 2, x[i])
        start = -step * see.low
        outer.append(Axis(shape[i], step * see.stride, 0, out[i], start, see))
        inner.append(Axis(weights[i], step * see.dilation, w[i], 0, 0, see))
    # What lies side by side is read side by side.
    inner.sort(key=lambda axis: -abs(axis.x))
    return _Sum(_real(outer), Axis(rows, 0, w[0], out[1]), _real(inner))


def _real(axes: Sequence[Axis]) -> list[Axis]:
    return [each for each in axes if each.size > 1 or each.start or each.over]


def _window(node: Node, axis: int, pixel: int) -> Window:
    attrs = node.attrs
    return Window(
        count=node.shape[2 + axis],
        taps=node.inputs[1].shape[2 + axis],
        size=node.inputs[0].shape[2 + axis],
        stride=attrs["stride"][axis],
        dilation=attrs["w_dilation"][axis],
        gap=attrs["x_dilation"][axis],
        low=attrs["low"][axis],
        pixel=pixel,
    )


# --- cutting -----------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Some blocks of one size of an axis."""

    start: int
    count: int
    size: int


class _Tile(NamedTuple):
    rows: int
    columns: int
    vectors: int


@dataclass(frozen=True)
class Plan:
    """How a sum is cut: into tiles of rows × columns × vectors of accumulators.

    `lane` is the axis of the lanes. Where it has no stride in the result it is one
    that is summed, and each lane has a part of the sum.
    """

    kind: Kind
    outer: tuple[Axis, ...]
    row: Axis
    column: Axis
    lane: Axis
    inner: tuple[Axis, ...]
    tile: _Tile

    @property
    def sums_lanes(self) -> bool:
        """Whether each lane has a part of the sum."""
        return self.lane.out == 0 and self.lane.size > 1

    @property
    def over(self) -> Window | None:
        """The windows of the columns, if they reach over the edge and several stand
        side by side."""
        return self.column.over if self.tile.columns > 1 else None

    @property
    def left_out(self) -> list[Window]:
        """The windows of which entries are left out that meet no pixel."""
        found = [axis.over for axis in (*self.outer, self.column)]
        return [each for each in found if each and each is not self.over]

    @property
    def start(self) -> int:
        """Where in the image the first tile starts. Axes are not counted where each
        window knows its first pixel."""
        axes = (*self.outer, self.column, self.lane)
        return sum(a.start for a in axes if not a.over or a.over is self.over)

    def row_parts(self) -> list[Part]:
        """Cut the rows."""
        return _parts(self.row.size, self.tile.rows)

    def column_parts(self) -> list[Part]:
        """Cut the columns."""
        return _parts(self.column.size, self.tile.columns)

    def vector_parts(self) -> list[Part]:
        """Cut the axis of the lanes: a last vector that is not full stands alone,
        unless one tile has all."""
        whole, rest = divmod(self.lane.size, self.kind.lanes)
        if self.sums_lanes or whole + bool(rest) <= self.tile.vectors:
            return [Part(0, 1, self.tile.vectors)]
        return _parts(whole, self.tile.vectors) + ([Part(whole, 1, 1)] if rest else [])

    def strip(self, columns: Part) -> int:
        """Return how many blocks of columns are gone through side by side.

        What they read stays in the cache until the next windows of an outer axis read
        most of it again.
        """
        if self.sums_lanes:
            return columns.count
        see = self.column.window
        others = [axis.size for axis in self.inner if axis.window is not see or not see]
        size = self.kind.dtype.itemsize * self.lane.size * math.prod(others)

        def read(count: int) -> int:
            wide = count * columns.size
            if see is None:
                return wide * size
            return ((wide - 1) * see.stride + see.taps * see.dilation) * size

        fits = [n for n in range(1, columns.count + 1) if columns.count % n == 0]
        return max([n for n in fits if read(n) <= _SECOND_CACHE], default=1)

    @cached_property
    def chunk(self) -> int:
        """Return how much of the first inner axis is summed before the next tile.

        Where lanes are summed every tile reads all of the weights of its rows: as
        many as stay in the cache are read for all tiles, and then the next.
        """
        first, *others = self.inner or (ONE,)
        steps_on = first.over is not None and first.over.tap_step > 1
        if not self.sums_lanes or steps_on:
            return first.size
        rows = self.row.size * math.prod(axis.size for axis in self.outer if axis.w)
        one = rows * self.lane.size * math.prod(axis.size for axis in others)
        return max(
            1, min(first.size, _SECOND_CACHE // (one * self.kind.dtype.itemsize))
        )


def _parts(size: int, tile: int) -> list[Part]:
    """Cut an axis into whole tiles and what remains."""
    whole, rest = divmod(size, tile)
    parts = [Part(0, whole, tile)] if whole else []
    return [*parts, Part(whole * tile, 1, rest)] if rest else parts


def cut(node: Node, x: Sequence[int], w: Sequence[int], target: Target) -> Plan:
    """Return the plan of a `conv`, by the strides of its image and its weights."""
    sum_ = _axes(node, x, w)
    wide = target.register_bytes // node.dtype.itemsize
    lane = max([ONE, *sum_.outer, *sum_.inner], key=lambda axis: _worth(axis, wide))
    kind = Kind(node.dtype, _lanes(lane.size, wide))
    vectors = 1 if lane.out == 0 else min(4, -(-lane.size // kind.lanes))
    outer = [axis for axis in sum_.outer if axis is not lane]
    columns = [axis for axis in reversed(outer) if not axis.w] or [ONE]
    tiles = [
        _best(target, sum_.rows.size, each, lane, vectors, outer) for each in columns
    ]
    best = min(range(len(columns)), key=lambda i: tiles[i][0])
    return Plan(
        kind,
        tuple(
            sorted(
                (axis for axis in outer if axis is not columns[best]),
                key=lambda axis: -axis.out,
            )
        ),
        sum_.rows,
        columns[best],
        lane,
        tuple(axis for axis in sum_.inner if axis is not lane),
        tiles[best][1],
    )


def _lanes(size: int, wide: int) -> int:
    while wide > 1 and wide // 2 >= size:
        wide //= 2
    return wide


def _worth(axis: Axis, wide: int) -> float:
    """Return how many elements one instruction handles with lanes along an axis."""
    lanes = _lanes(axis.size, wide)
    full = axis.size / -(-axis.size // lanes)
    if axis.over or (axis.w and axis.out):
        return 0
    if axis.out == 1 and axis.size > 1:
        return full if axis.x == 1 else full / 4
    if axis.out == 0 and axis.x == axis.w == 1:
        return full * 0.9
    return float(axis is ONE)


def _best(
    target: Target,
    rows: int,
    column: Axis,
    lane: Axis,
    vectors: int,
    outer: Sequence[Axis],
) -> tuple[float, _Tile]:
    """Return the tile that needs the fewest cycles for a column, and those."""
    skipped = [axis.over.share for axis in outer if axis.over and axis is not column]
    sums_lanes = lane.out == 0 and lane.size > 1

    def cycles(tile: _Tile) -> float:
        total = 0.0
        cuts = _parts(rows, tile.rows), _parts(column.size, tile.columns)
        for row, col in product(*cuts):
            wide = col.size * vectors
            # Multiplications, loads, those from the second cache, the latency of one.
            far = 2 * (row.size + wide) if sums_lanes else 3 * wide
            most = max(row.size * wide, row.size + wide, far, 6) + 2
            total += row.count * col.count * most
        if column.over and tile.columns == 1:
            total *= column.over.share
        return total * math.prod(skipped) / column.size

    # Beside each other, windows over the edge read zeros that lie side by side.
    alone = column.over and (column.over.gap > 1 or lane.x > 1 or lane.x < 0)
    tiles = [
        _Tile(r, c, vectors)
        for r in range(1, min(rows, 16) + 1)
        for c in range(1, (1 if alone else min(column.size, 8)) + 1)
        if r * c * vectors + min(r, c * vectors) + 1 <= target.registers
    ]
    return min((cycles(tile), tile) for tile in tiles)
