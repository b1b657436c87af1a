"""Vectors in and out of memory: whole ones, ones with lanes that do not count."""

from __future__ import annotations

from pellucid.engines.llvm.emit import Function, Kind

__all__ = ["load", "mask_of", "splat", "store", "total"]


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
    while kind.lanes > 1:
        half = Kind(kind.dtype, kind.lanes // 2)
        low, high = (_half(f, kind, name, first) for first in (0, half.lanes))
        name, kind = f.let(f"fadd {half} {low}, {high}"), half
    return name


def _half(f: Function, kind: Kind, name: str, first: int) -> str:
    if kind.lanes == 2:
        return f.let(f"extractelement {kind} {name}, i32 {first}")
    places = ", ".join(f"i32 {first + i}" for i in range(kind.lanes // 2))
    chosen = f"<{kind.lanes // 2} x i32> <{places}>"
    return f.let(f"shufflevector {kind} {name}, {kind} poison, {chosen}")
