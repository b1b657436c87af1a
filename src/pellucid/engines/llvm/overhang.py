"""Windows over the edge, where a weight is not finite.

Outside of an image there is zero, and zero times infinity is not zero. A kernel that
leaves out entries that meet no pixel is right for finite weights alone. So it first
looks at the weights that it may leave out. Where one is not finite, which hardly ever
happens, the sum is made entry by entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from pellucid.dtypes import DType
from pellucid.engines.llvm.correlation import Axis, Window
from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.maths import fma
from pellucid.engines.llvm.vectors import load, mask_of
from pellucid.engines.llvm.walk import Place, Walk

__all__ = ["all_finite", "entry_by_entry"]


# --- looking at the weights --------------------------------------------------------


def all_finite(walk: Walk) -> str:
    """Return whether the weights are finite that a window may leave out."""
    plan, f = walk.plan, walk.f
    lanes = plan.kind.lanes if plan.sums_lanes else 1
    kind = Kind(_BITS[plan.kind.dtype.itemsize], lanes)
    largest = f.let(f"alloca {kind}", f.blocks[0])
    f.do(f"store {kind} {kind.constant(0)}, ptr {largest}")
    for window in plan.left_out:
        always = window.always_met
        for start, stop in ((0, always.start), (always.stop, window.taps)):
            if start < stop:
                _look_at(walk, kind, largest, window, range(start, stop))
    found = f.let(f"load {kind}, ptr {largest}")
    if lanes > 1:
        name = f"llvm.vector.reduce.umax.{kind.suffix}"
        found = f.call(name, kind.scalar, (str(kind), found))
    return f.let(f"icmp ult {kind.scalar} {found}, {_bits(kind, np.inf)}")


_BITS: dict[int, DType] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}
"""Whole numbers as wide as floats."""


def _bits(kind: Kind, value: float) -> int:
    """Return a float's bits as a number."""
    size = kind.dtype.itemsize
    return int(np.array(value, f"f{size}").view(kind.dtype))


def _look_at(
    walk: Walk, kind: Kind, largest: str, window: Window, entries: range
) -> None:
    """Keep the largest of some weights: as bits without a sign, above those of
    infinity stands NaN."""
    plan, f, place = walk.plan, walk.f, Place()
    with ExitStack() as stack:
        for axis in (*plan.outer, plan.row, *plan.inner):
            if axis.w:
                part = entries if axis.window is window else range(axis.size)
                counter = stack.enter_context(f.loop(part.stop, 1, part.start))
                place = walk.at(place, (axis, counter))
        address = walk.address(walk.w, place.w)
        whole, rest = divmod(plan.lane.size, kind.lanes)
        if kind.lanes == 1:
            _keep_largest(walk, kind, largest, address)
            return
        if whole:
            with f.loop(whole * kind.lanes, kind.lanes) as lane:
                _keep_largest(walk, kind, largest, walk.address(address, lane))
        if rest:
            address = walk.address(address, whole * kind.lanes)
            _keep_largest(walk, kind, largest, address, mask_of(kind, rest))


def _keep_largest(
    walk: Walk, kind: Kind, largest: str, address: str, mask: str = ""
) -> None:
    f, lanes = walk.f, str(kind)
    found = load(f, kind, address, mask)
    unsigned = kind.constant(_bits(kind, np.nan) | (_bits(kind, np.inf) - 1))
    found = f.let(f"and {kind} {found}, {unsigned}")
    before = f.let(f"load {kind}, ptr {largest}")
    after = f.call(f"llvm.umax.{kind.suffix}", lanes, (lanes, found), (lanes, before))
    f.do(f"store {kind} {after}, ptr {largest}")


# --- without leaving anything out --------------------------------------------------


def entry_by_entry(walk: Walk) -> None:
    """Write the sum with zeros read wherever there is no pixel."""
    plan, f, kind = walk.plan, walk.f, Kind(walk.plan.kind.dtype)
    lane = (plan.lane,)
    outer = [*plan.outer, plan.column, plan.row, *(() if plan.sums_lanes else lane)]
    inner = [*plan.inner, *(lane if plan.sums_lanes else ())]
    total = f.let(f"alloca {kind}", f.blocks[0])
    with walk.counters(outer) as found:
        start = Place(str(sum(axis.start for axis in outer if not axis.over)))
        place = _further(walk, start, outer, found)
        f.do(f"store {kind} {kind.constant(0)}, ptr {total}")
        with ExitStack() as stack:
            for axis in inner:
                found[axis] = stack.enter_context(f.loop(axis.size))
            _add_entry(walk, total, _further(walk, place, inner, found), found)
        value = f.let(f"load {kind}, ptr {total}")
        f.do(f"store {kind} {value}, ptr {walk.address(walk.out, place.out)}")


def _further(
    walk: Walk, place: Place, axes: Sequence[Axis], found: Mapping[Axis, str]
) -> Place:
    """Return a place moved along axes, in the image only where all is inside."""
    for axis in axes:
        moved = walk.at(place, (axis, found[axis]))
        place = replace(moved, x=place.x) if axis.over else moved
    return place


def _add_entry(walk: Walk, total: str, place: Place, found: Mapping[Axis, str]) -> None:
    """Add the product of a weight and a pixel, or zero."""
    f, kind, inside = walk.f, Kind(walk.plan.kind.dtype), "true"
    for window, counters in _windows(found).items():
        one, pixel = _pixel(walk, window, *counters)
        inside = f.let(f"and i1 {inside}, {one}")
        place = replace(place, x=walk.sum(place.x, pixel, window.pixel))
    x = f.let(f"load {kind}, ptr {walk.address(walk.x, place.x)}")
    x = f.let(f"select i1 {inside}, {kind} {x}, {kind} {kind.constant(0)}")
    w = f.let(f"load {kind}, ptr {walk.address(walk.w, place.w)}")
    before = f.let(f"load {kind}, ptr {total}")
    f.do(f"store {kind} {fma(f, kind, x, w, before)}, ptr {total}")


def _windows(found: Mapping[Axis, str]) -> dict[Window, list[str]]:
    """Return the counters of each window over the edge: which it is, which entry."""
    windows: dict[Window, list[str]] = {}
    for axis, counter in found.items():
        if axis.over:
            place = 0 if axis.out else len(windows.get(axis.over, ()))
            windows.setdefault(axis.over, []).insert(place, counter)
    return windows


def _pixel(walk: Walk, window: Window, p: str, k: str) -> tuple[str, str]:
    """Return whether an entry of a window meets a pixel, and which; else the first."""
    f = walk.f
    place = walk.sum(str(-window.low), p, window.stride)
    place = walk.sum(place, k, window.dilation)
    inside = "true"
    if window.gap > 1:
        rest = f.let(f"srem i64 {place}, {window.gap}")
        inside = f.let(f"icmp eq i64 {rest}, 0")
        place = f.let(f"sdiv i64 {place}, {window.gap}")
    fits = f.let(f"icmp ult i64 {place}, {window.size}")
    inside = f.let(f"and i1 {inside}, {fits}")
    return inside, f.let(f"select i1 {inside}, i64 {place}, i64 0")
