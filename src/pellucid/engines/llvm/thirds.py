"""Floats of 32 bits as sums of three of 16: what a matrix unit multiplies.

A float has 24 significant bits, a bf16 number has 8 of them: the nearest bf16 number,
the nearest to what is left, and what is left then, add up to the float exactly.

An operand of a product is cut into blocks of 16 rows (or columns) by 32 inner
positions, three tiles each: the large, the middle and the small thirds. A tile is 16
lines of 16 pairs, a pair being two inner positions side by side. The left operand has
a line for each row, the right one a line for each pair.
"""

from __future__ import annotations

import numpy as np

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.products import BLOCK, DEPTH, LINE, THIRDS, Side
from pellucid.engines.llvm.turns import square_turned
from pellucid.ir.graph import Node

__all__ = ["all_fit", "thirds"]

_LARGEST = 0x7F000000
"""The bits of 2¹²⁷: what is not below may round to infinity, or is no number."""

_WIDE, _HALVES = Kind(np.dtype(np.float32), BLOCK), "<32 x i16>"
_WHOLE = "<16 x i32>"


def thirds(kernel: Kernel, side: Side, tiles: Node, marks: Node) -> None:
    """Write the kernel that brings an operand into tiles.

    Numbers beyond the edges are zero. Each line of `marks` holds the bits of the
    largest numbers of a block, for `all_fit`.
    """
    f, source = kernel.f, kernel.pointer(side.source)
    to, mark = kernel.pointer(tiles), kernel.pointer(marks)
    start, stop = f.part(side.batches * side.blocks, kernel.shared)
    worst = f.let(f"alloca {_WHOLE}", f.blocks[0])
    with f.loop(stop, start=start) as part:
        f.do(f"store {_WHOLE} zeroinitializer, ptr {worst}")
        batch = f.let(f"udiv i64 {part}, {side.blocks}")
        block = f.let(f"urem i64 {part}, {side.blocks}")
        place = _affine(f, side.start, (batch, side.batch), (block, BLOCK * side.free))
        rows = f.let(f"getelementptr float, ptr {source}, i64 {place}")
        left = _left(f, side.count, block, BLOCK)
        with f.loop(side.deep) as deep:
            place = _affine(f, 0, (deep, DEPTH * side.inner))
            corner = f.let(f"getelementptr float, ptr {rows}, i64 {place}")
            place = _affine(f, 0, (part, side.deep * THIRDS), (deep, THIRDS))
            tile = f.let(f"getelementptr i8, ptr {to}, i64 {place}")
            _block(f, side, corner, left, _left(f, side.depth, deep, DEPTH), tile, worst)
        found = f.let(f"load {_WHOLE}, ptr {worst}")
        place = f.let(f"mul nsw i64 {part}, {LINE}")
        place = f.let(f"getelementptr i8, ptr {mark}, i64 {place}")
        f.do(f"store {_WHOLE} {found}, ptr {place}, align 64")


def _affine(f: Function, start: int, *terms: tuple[str, int]) -> str:
    """Return start + Σ counter · factor."""
    total = str(start)
    for counter, factor in terms:
        moved = f.let(f"mul nsw i64 {counter}, {factor}")
        total = f.let(f"add nsw i64 {total}, {moved}")
    return total


def _left(f: Function, count: int, block: str, size: int) -> str:
    """Return how many of a range a block has, and more where it is full; nothing where
    all blocks are full."""
    if count % size == 0:
        return ""
    return f.let(f"sub nsw i64 {count}, {f.let(f'mul nsw i64 {block}, {size}')}")


def _block(
    f: Function, side: Side, corner: str, free: str, inner: str, tile: str, worst: str
) -> None:
    """Write the three tiles of a block."""
    with f.loop(BLOCK) as line:
        if side.inner == 1:
            x, y = _along_row(f, side, corner, free, inner, line)
        else:
            x, y = _along_pair(f, side, corner, free, inner, line)
        for each in (x, y):
            _note(f, f.let(f"bitcast {_WIDE} {each} to {_WHOLE}"), worst)
        found = _three(f, x, y, "join" if side.inner == 1 else "interleave")
        place = f.let(f"mul nsw i64 {line}, {LINE}")
        for i, third in enumerate(found):
            at = f.let(f"add nsw i64 {place}, {i * BLOCK * LINE}")
            at = f.let(f"getelementptr i8, ptr {tile}, i64 {at}")
            f.do(f"store {_HALVES} {third}, ptr {at}, align 64")
    if side.by_pairs == (side.inner == 1):
        _turn(f, tile)


def _along_row(
    f: Function, side: Side, corner: str, free: str, inner: str, line: str
) -> tuple[str, str]:
    """Return 32 inner positions of a row."""
    place = f.let(f"mul nsw i64 {line}, {side.free}")
    row = f.let(f"getelementptr float, ptr {corner}, i64 {place}")
    next_ = f.let(f"getelementptr float, ptr {row}, i64 {BLOCK}")
    count = inner or (str(DEPTH) if free else "")
    if free:
        there = f.let(f"icmp slt i64 {line}, {free}")
        count = f.let(f"select i1 {there}, i64 {count}, i64 0")
    beyond = f.let(f"sub nsw i64 {count}, {BLOCK}") if count else ""
    return _load(f, row, count), _load(f, next_, beyond)


def _along_pair(
    f: Function, side: Side, corner: str, free: str, inner: str, line: str
) -> tuple[str, str]:
    """Return two inner positions of 16 rows."""
    found = []
    for i in range(2):
        k = f.let(f"add nsw i64 {f.let(f'mul nsw i64 {line}, 2')}, {i}")
        place = f.let(f"mul nsw i64 {k}, {side.inner}")
        address = f.let(f"getelementptr float, ptr {corner}, i64 {place}")
        count = free or (str(BLOCK) if inner else "")
        if inner:
            there = f.let(f"icmp slt i64 {k}, {inner}")
            count = f.let(f"select i1 {there}, i64 {count}, i64 0")
        found.append(_load(f, address, count))
    return found[0], found[1]


def _load(f: Function, address: str, count: str) -> str:
    """Load as many lanes as there are, 0 in the others."""
    if not count:
        return f.let(f"load {_WIDE}, ptr {address}, align 4")
    counts = "<16 x i64>"
    one = f.let(f"insertelement {counts} poison, i64 {count}, i32 0")
    every = f.let(
        f"shufflevector {counts} {one}, {counts} poison, <16 x i32> zeroinitializer"
    )
    lanes = ", ".join(f"i64 {i}" for i in range(BLOCK))
    mask = f.let(f"icmp sgt {counts} {every}, <{lanes}>")
    return f.call(
        "llvm.masked.load.v16f32.p0",
        str(_WIDE),
        ("ptr", address),
        ("i32", "4"),
        ("<16 x i1>", mask),
        (str(_WIDE), "zeroinitializer"),
    )


def _three(f: Function, x: str, y: str, order: str) -> list[str]:
    """Return the thirds of two vectors, in pairs."""
    if order == "join":  # pairs lie side by side already
        places = [2 * i + 1 for i in range(32)]
    else:
        places = [2 * (i // 2) + 1 + 32 * (i % 2) for i in range(32)]
    chosen = ", ".join(f"i32 {each}" for each in places)
    thirds, rests = [], [x, y]
    for last in (False, False, True):
        tops = rests if last else [_top(f, each) for each in rests]
        halves = [f.let(f"bitcast {_WIDE} {each} to {_HALVES}") for each in tops]
        thirds.append(
            f.let(
                f"shufflevector {_HALVES} {halves[0]}, {_HALVES} {halves[1]}, "
                f"<32 x i32> <{chosen}>"
            )
        )
        if not last:
            rests = [f.let(f"fsub {_WIDE} {a}, {b}") for a, b in zip(rests, tops)]
    return thirds


def _top(f: Function, x: str) -> str:
    """Return the nearest number of 8 significant bits."""
    bits = f.let(f"bitcast {_WIDE} {x} to {_WHOLE}")
    bits = f.let(f"add {_WHOLE} {bits}, splat (i32 32768)")
    bits = f.let(f"and {_WHOLE} {bits}, splat (i32 -65536)")
    return f.let(f"bitcast {_WHOLE} {bits} to {_WIDE}")


def _note(f: Function, bits: str, worst: str) -> None:
    """Remember the largest numbers, without their signs."""
    size = f.let(f"and {_WHOLE} {bits}, splat (i32 2147483647)")
    before = f.let(f"load {_WHOLE}, ptr {worst}")
    after = f.call("llvm.umax.v16i32", _WHOLE, (_WHOLE, before), (_WHOLE, size))
    f.do(f"store {_WHOLE} {after}, ptr {worst}")


def _turn(f: Function, tile: str) -> None:
    """Turn each of three tiles: lines become pairs, and pairs lines."""
    kind = Kind(np.dtype(np.float32), BLOCK)
    with f.loop(3) as third:
        place = f.let(f"mul nsw i64 {third}, {BLOCK * LINE}")
        base = f.let(f"getelementptr i8, ptr {tile}, i64 {place}")
        at = [f.let(f"getelementptr i8, ptr {base}, i64 {i * LINE}") for i in range(16)]
        lines = [f.let(f"load {kind}, ptr {each}, align 64") for each in at]
        for each, line in zip(at, square_turned(f, kind, lines)):
            f.do(f"store {kind} {line}, ptr {each}, align 64")


def all_fit(f: Function, marks: str, size: int) -> str:
    """Return whether all numbers are finite, and small enough to be rounded."""
    worst = f.let(f"alloca {_WHOLE}", f.blocks[0])
    f.do(f"store {_WHOLE} zeroinitializer, ptr {worst}")
    with f.loop(size, LINE) as at:
        place = f.let(f"getelementptr i8, ptr {marks}, i64 {at}")
        _note(f, f.let(f"load {_WHOLE}, ptr {place}, align 64"), worst)
    found = f.let(f"load {_WHOLE}, ptr {worst}")
    largest = f.call("llvm.vector.reduce.umax.v16i32", "i32", (_WHOLE, found))
    return f.let(f"icmp ult i32 {largest}, {_LARGEST}")
