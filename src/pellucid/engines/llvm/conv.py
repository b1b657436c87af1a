"""Cross-correlation: a tile of the result in registers, for its exact shape.

The plan says how the sum is cut; here the loops are written. Where windows reach over
the edge of the image, entries that meet no pixel are left out, as long as weights are
finite: a table tells each window its first pixel and how many there are. Windows that
stand side by side in one tile cannot leave out an entry each; there, those that are
outside read zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import numpy as np

from pellucid.engines.llvm.correlation import (
    ONE,
    Axis,
    Part,
    Window,
    correlation,
    cut,
)
from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Kernel, fill, strided
from pellucid.engines.llvm.maths import fma
from pellucid.engines.llvm.overhang import all_finite, entry_by_entry
from pellucid.engines.llvm.vectors import load, mask_of, splat, store, total
from pellucid.engines.llvm.walk import Place, Walk
from pellucid.ir.graph import Node, constant

__all__ = ["conv"]


def conv(kernel: Kernel, node: Node) -> None:
    """Write a cross-correlation, or one whose axes are turned; outside of the image
    there is zero."""
    x, w = correlation(node)[0].inputs
    if node.type.size == 0:
        return
    if x.type.size == 0 or w.type.size == 0:
        fill(kernel, node, 0)
        return
    image, weights = strided(x, kernel.stored), strided(w, kernel.stored)
    assert image is not None
    assert weights is not None
    plan = cut(node, image[2], weights[2], kernel.target)
    x_base = _moved(kernel, plan.kind, image[0], image[1])
    w_base = _moved(kernel, plan.kind, weights[0], weights[1])
    loops = _Loops(kernel, plan, x_base, w_base, kernel.pointer(node))
    if not plan.left_out:
        loops.write()
        return
    finite = all_finite(loops)
    with kernel.f.when(finite):
        loops.write()
    with kernel.f.when(kernel.f.let(f"xor i1 {finite}, true")):
        entry_by_entry(loops)


def _moved(kernel: Kernel, kind: Kind, source: Node, start: int) -> str:
    pointer = kernel.pointer(source)
    if not start:
        return pointer
    return kernel.f.let(f"getelementptr {kind.scalar}, ptr {pointer}, i64 {start}")


# --- over tiles --------------------------------------------------------------------


@dataclass
class _Loops(Walk):
    """Writes the loops over tiles."""

    chunk: str | None = None
    """Where the part of the first inner axis starts that is summed, if it has any."""

    def write(self) -> None:
        """Write loops over tiles; threads share those of each size.

        With chunks a thread comes to the same tiles again, so none waits for another.
        """
        first, *_ = self.plan.inner or (ONE,)
        if self.plan.chunk >= first.size:
            self._tiles()
            return
        with self.f.loop(first.size, self.plan.chunk) as self.chunk:
            self._tiles()

    def _tiles(self) -> None:
        plan = self.plan
        parts = plan.column_parts(), plan.vector_parts(), plan.row_parts()
        for column, vector, row in product(*parts):
            place = self.at(
                Place(str(plan.start)),
                (plan.lane, str(vector.start * plan.kind.lanes)),
                (plan.row, str(row.start)),
            )
            self._tiles_of(place, column, vector, row)

    def _tiles_of(self, place: Place, column: Part, vector: Part, row: Part) -> None:
        """Write one loop over all tiles of a size.

        Strips of columns come first. Then comes what lies far apart in the result.
        """
        plan, strip = self.plan, self.plan.strip(column)
        lanes = plan.lane.blocks(plan.kind.lanes * vector.size, vector.count)
        rows = plan.row.blocks(row.size, row.count)
        strips, beside = Axis(column.count // strip), Axis(strip)
        far = [axis for axis in plan.outer if axis.out > plan.column.out]
        near = [axis for axis in plan.outer if axis not in far]
        with self.counters([strips, *far, beside, *near, lanes, rows]) as found:
            tile = _Tile(self, row.size, column.size, vector)
            place = self.at(place, (lanes, found[lanes]), (rows, found[rows]))
            for axis in plan.outer:
                place = tile.enter(place, axis, found[axis])
            first = self.sum(str(column.start), found[strips], column.size * strip)
            first = self.sum(first, found[beside], column.size)
            tile.write(tile.enter(place, plan.column, first), first)


# --- one tile ----------------------------------------------------------------------


class _Tile:
    """Writes a tile: rows × columns × vectors of accumulators."""

    def __init__(self, loops: _Loops, rows: int, columns: int, vector: Part) -> None:
        self.loops, self.plan, self.f = loops, loops.plan, loops.f
        kind, lane = self.plan.kind, self.plan.lane
        self.rows, self.columns, self.vectors = rows, columns, vector.size
        self.masks = [
            mask_of(kind, lane.size - (vector.start + v) * kind.lanes)
            for v in range(vector.size)
        ]
        entry = self.f.blocks[0]
        self.cells = [
            [self.f.let(f"alloca {kind}", entry) for _ in range(columns * vector.size)]
            for _ in range(rows)
        ]
        self.met: dict[Window, tuple[str, str]] = {}
        """The first entry of a window that meets a pixel, and how many do."""
        self.inside: list[str] = []
        """Whether the pixel of each column is inside, where one may be outside."""

    def enter(self, place: Place, axis: Axis, counter: str) -> Place:
        """Go to a window, or another place along an outer axis."""
        over, f = axis.over, self.f
        if over is None or over is self.plan.over:
            return self.loops.at(place, (axis, counter))
        rows = constant(np.array(over.met, np.int64))
        line = f.let(f"mul nsw i64 {counter}, 3")
        table = self.loops.kernel.pointer(rows)
        line = f.let(f"getelementptr i64, ptr {table}, i64 {line}")
        first, pixel, count = (
            f.let(f"load i64, ptr {f.let(f'getelementptr i64, ptr {line}, i64 {i}')}")
            for i in range(3)
        )
        self.met[over] = first, count
        entries = next(each for each in self.plan.inner if each.window is over)
        return Place(
            self.loops.sum(place.x, pixel, over.pixel),
            self.loops.sum(place.w, first, entries.w),
            self.loops.sum(place.out, counter, axis.out),
        )

    def write(self, place: Place, column: str) -> None:
        """Add up over the inner axes, and store."""
        kind, f = self.plan.kind, self.f
        for cell in (each for line in self.cells for each in line):
            f.do(f"store {kind} {kind.constant(0)}, ptr {cell}")
        with ExitStack() as stack:
            inner = place
            for i, axis in enumerate(self.plan.inner):
                inner = self._enter(stack, inner, axis, column, first=not i)
            self._add(inner)
        self._store(place)

    def _enter(
        self, stack: ExitStack, place: Place, axis: Axis, column: str, first: bool
    ) -> Place:
        """Start the loop over an inner axis, or over what counts of it."""
        over, start, stop, met = axis.over, "0", str(axis.size), "0"
        if over is not None and over in self.met:
            met, stop = self.met[over]
            axis = Axis(0, over.pixel_step * over.pixel, over.tap_step * axis.w)
        if first and self.loops.chunk is not None:
            start, stop = self._part(start, stop, met)
        whole = not (start.startswith("%") or stop.startswith("%"))
        limits = (int(stop), 1, int(start)) if whole else (stop, 1, start)
        counter = stack.enter_context(self.f.loop(*limits))
        if over is not None and over is self.plan.over:
            self._look(over, column, counter)
        return self.loops.at(place, (axis, counter))

    def _part(self, start: str, stop: str, met: str) -> tuple[str, str]:
        """Return what a chunk has of a loop whose counter 0 is the entry `met`."""
        chunk = self.f.let(f"sub i64 {self.loops.chunk}, {met}")
        end = self.f.let(f"add i64 {chunk}, {self.plan.chunk}")
        pairs = ("smax", start, chunk), ("smin", stop, end)
        low, high = (
            self.f.call(f"llvm.{name}.i64", "i64", ("i64", a), ("i64", b))
            for name, a, b in pairs
        )
        return low, high

    def _look(self, over: Window, column: str, entry: str) -> None:
        """Find which columns meet a pixel at an entry."""
        loops, f = self.loops, self.f
        place = loops.sum(str(-over.low), column, over.stride)
        place = loops.sum(place, entry, over.dilation)
        moved = (loops.sum(place, "1", c * over.stride) for c in range(self.columns))
        self.inside = [f.let(f"icmp ult i64 {each}, {over.size}") for each in moved]

    def _add(self, place: Place) -> None:
        """Add the products of one inner position, or of all that lie in lanes."""
        plan, loops = self.plan, self.loops
        w, x = loops.address(loops.w, place.w), loops.address(loops.x, place.x)
        weights = [loops.address(w, r * plan.row.w) for r in range(self.rows)]
        pixels = [loops.address(x, c * plan.column.x) for c in range(self.columns)]
        pixels = [self._or_zeros(*each) for each in zip(pixels, self.inside)] or pixels
        if not plan.sums_lanes:
            self._step(weights, pixels, self.masks)
            return
        whole, rest = divmod(plan.lane.size, plan.kind.lanes)
        if whole:
            end = whole * plan.kind.lanes
            with self.f.loop(end, plan.kind.lanes) as lane:
                self._step(*self._further(weights, pixels, lane), [""])
        if rest:
            further = self._further(weights, pixels, str(whole * plan.kind.lanes))
            self._step(*further, [mask_of(plan.kind, rest)])

    def _or_zeros(self, address: str, inside: str) -> str:
        plan = self.plan
        count = plan.lane.size if plan.sums_lanes else plan.kind.lanes * self.vectors
        zeros = self.loops.kernel.pointer(constant(np.zeros(count), plan.kind.dtype))
        return self.f.let(f"select i1 {inside}, ptr {address}, ptr {zeros}")

    def _further(
        self, weights: Sequence[str], pixels: Sequence[str], lane: str
    ) -> tuple[list[str], list[str]]:
        """Return the addresses moved along the lanes, which lie side by side."""
        address = self.loops.address
        return [address(w, lane) for w in weights], [address(x, lane) for x in pixels]

    def _step(
        self, weights: Sequence[str], pixels: Sequence[str], masks: Sequence[str]
    ) -> None:
        """Add one product to every accumulator; the shorter side stays in registers."""
        width = self.columns * self.vectors
        left = (self._weight(each, masks[0]) for each in weights)
        right = (self._pixel(pixels, c, masks) for c in range(width))
        if self.rows < width:
            held = list(left)
            pairs = (
                (r, c, held[r], x)
                for c, x in enumerate(right)
                for r in range(self.rows)
            )
        else:
            held = list(right)
            pairs = (
                (r, c, w, held[c]) for r, w in enumerate(left) for c in range(width)
            )
        f, kind = self.f, self.plan.kind
        for r, c, weight, pixel in pairs:
            old = f.let(f"load {kind}, ptr {self.cells[r][c]}")
            new = fma(f, kind, weight, pixel, old)
            f.do(f"store {kind} {new}, ptr {self.cells[r][c]}")

    def _weight(self, address: str, mask: str) -> str:
        """Return a weight in every lane, or the weights along the lanes."""
        kind = self.plan.kind
        if self.plan.sums_lanes:
            return load(self.f, kind, address, mask)
        return splat(self.f, kind, self.f.let(f"load {kind.scalar}, ptr {address}"))

    def _pixel(self, pixels: Sequence[str], column: int, masks: Sequence[str]) -> str:
        """Return a vector of pixels of a column."""
        kind, stride = self.plan.kind, self.plan.lane.x
        c, v = divmod(column, self.vectors)
        address = self.loops.address(pixels[c], v * kind.lanes * stride)
        return load(self.f, kind, address, masks[v], stride)

    def _store(self, place: Place) -> None:
        """Write the tile: vectors, or the sums of their lanes."""
        plan, f, loops = self.plan, self.f, self.loops
        out = loops.address(loops.out, place.out)
        for r, line in enumerate(self.cells):
            for column, cell in enumerate(line):
                c, v = divmod(column, self.vectors)
                move = r * plan.row.out + c * plan.column.out + v * plan.kind.lanes
                address = loops.address(out, move)
                value = f.let(f"load {plan.kind}, ptr {cell}")
                if plan.sums_lanes:
                    self._store_sum(total(f, plan.kind, value), address)
                else:
                    store(f, plan.kind, value, address, self.masks[v])

    def _store_sum(self, value: str, address: str) -> None:
        """Write a sum, or add it to that of the chunks before."""
        f, scalar, chunk = self.f, self.plan.kind.scalar, self.loops.chunk
        if chunk is not None:
            zero = Kind(self.plan.kind.dtype).constant(0)
            old = f.let(f"load {scalar}, ptr {address}")
            is_first = f.let(f"icmp eq i64 {chunk}, 0")
            old = f.let(f"select i1 {is_first}, {scalar} {zero}, {scalar} {old}")
            value = f.let(f"fadd {scalar} {old}, {value}")
        f.do(f"store {scalar} {value}, ptr {address}")
