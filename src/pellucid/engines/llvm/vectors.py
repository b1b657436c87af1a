"""Vectors in and out of memory: whole ones, ones with lanes that do not count."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.engines.llvm.emit import Function, Kind

__all__ = ["load", "mask_of", "splat", "store", "total", "totals"]


def mask_of(kind: Kind, active: int) -> str:
    """Return which lanes count, as a constant; nothing where all do."""
    if active >= kind.lanes:
        return ""
    truth = ("true" if lane < active else "false" for lane in range(kind.lanes))
    return f"<{', '.join(f'i1 {each}' for each in truth)}>"


def load(f: Function, kind: Kind, address: str, mask: str = "", stride: int = 1) -> str:
    """Return what lies from an address on, 0 in lanes that do not count."""
    if kind.lanes > 1 and stride != 1:
        return _load_apart(f, kind, address, mask, stride)
    size = kind.dtype.itemsize
    if not mask:
        return f.let(f"load {kind}, ptr {address}, align {size}")
    return f.call(
        f"llvm.masked.load.{kind.suffix}.p0",
        str(kind),
        ("ptr", address),
        ("i32", str(size)),
        (f"<{kind.lanes} x i1>", mask),
        (str(kind), "zeroinitializer"),
    )


def _load_apart(f: Function, kind: Kind, address: str, mask: str, stride: int) -> str:
    """Return elements that do not lie side by side."""
    result, scalar = "zeroinitializer", kind.scalar
    for lane in range(mask.count("true") if mask else kind.lanes):
        place = f.let(f"getelementptr {scalar}, ptr {address}, i64 {lane * stride}")
        one = f.let(f"load {scalar}, ptr {place}")
        result = f.let(f"insertelement {kind} {result}, {scalar} {one}, i32 {lane}")
    return result


def store(f: Function, kind: Kind, value: str, address: str, mask: str = "") -> None:
    """Write the lanes that count."""
    size = kind.dtype.itemsize
    if not mask:
        f.do(f"store {kind} {value}, ptr {address}, align {size}")
        return
    function, truth = f"llvm.masked.store.{kind.suffix}.p0", f"<{kind.lanes} x i1>"
    f.declared.add(f"declare void @{function}({kind}, ptr, i32, {truth})")
    operands = f"{kind} {value}, ptr {address}, i32 {size}, {truth} {mask}"
    f.do(f"call void @{function}({operands})")


def splat(f: Function, kind: Kind, name: str) -> str:
    """Return a scalar in every lane."""
    if kind.lanes == 1:
        return name
    one = f.let(f"insertelement {kind} poison, {kind.scalar} {name}, i32 0")
    every = f"<{kind.lanes} x i32> zeroinitializer"
    return f.let(f"shufflevector {kind} {one}, {kind} poison, {every}")


def total(f: Function, kind: Kind, name: str) -> str:
    """Add the lanes of floats by halves: the same order on every machine."""
    return totals(f, kind, [name])[0]


def totals(f: Function, kind: Kind, names: Sequence[str]) -> tuple[str, Kind]:
    """Add the lanes of each of some vectors, no more than there are lanes.

    Returns the sums as lanes of one vector; up to a power of two zeros follow. All
    vectors are halved together, each in the order of `total`.
    """
    parts = [*names]
    parts += ["zeroinitializer"] * ((1 << (len(parts) - 1).bit_length()) - len(parts))
    width, lanes = kind.lanes, kind.lanes
    while width > 1:
        both, width = Kind(kind.dtype, lanes), width // 2
        starts = range(0, min(2, len(parts)) * lanes, 2 * width)
        lanes = len(starts) * width
        half = Kind(kind.dtype, lanes)
        pairs = zip(parts[::2], parts[1::2] or ["poison"])
        parts = []
        for x, y in pairs:
            low, high = (
                _chosen(
                    f, both, x, y, [i + j + first for i in starts for j in range(width)]
                )
                for first in (0, width)
            )
            parts.append(f.let(f"fadd {half} {low}, {high}"))
    return parts[0], Kind(kind.dtype, lanes)


def _chosen(f: Function, kind: Kind, x: str, y: str, places: Sequence[int]) -> str:
    """Return lanes of two vectors, one behind the other."""
    if len(places) == 1:
        return f.let(f"extractelement {kind} {x}, i32 {places[0]}")
    order = ", ".join(f"i32 {each}" for each in places)
    chosen = f"<{len(places)} x i32> <{order}>"
    return f.let(f"shufflevector {kind} {x}, {kind} {y}, {chosen}")
