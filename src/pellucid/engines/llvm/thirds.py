"""Floats of 32 bits as sums of three of 16, in the order of a matrix unit's tiles.

A float has 24 significant bits, a bf16 number has 8 of them: the nearest bf16 number,
the nearest to what is left, and what is left then, add up to the float exactly. Below
1e-31 the last of them is a denormal number, which the unit takes for 0.

A tile is 16 lines of 16 pairs. Positions k and k + 16 of a block are a pair: in which
order a sum is taken is free, as long as both operands agree. The left operand has a
line for each row, the right one a line for each pair.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.turns import square_turned
from pellucid.engines.llvm.unit import BLOCK, DEPTH, LINE, THIRDS, Side
from pellucid.ir.graph import Node

__all__ = ["affine", "all_fit", "bring", "thirds"]

_LARGEST = 0x7F000000
"""The bits of 2¹²⁷: what is not below may round to infinity, or is no number."""

_KIND = Kind(np.dtype(np.float32), BLOCK)
_BITS = f"<{BLOCK} x i32>"


def thirds(kernel: Kernel, side: Side, room: Node) -> None:
    """Write the kernel that brings a whole operand into tiles, behind its marks."""
    f, to = kernel.f, kernel.pointer(room)
    source = kernel.pointer(side.source)
    start, stop = f.part(side.batches * side.blocks, kernel.shared)
    worst = f.let(f"alloca {_BITS}", f.blocks[0])
    with f.loop(stop, start=start) as part:
        f.do(f"store {_BITS} zeroinitializer, ptr {worst}")
        batch = f.let(f"udiv i64 {part}, {side.blocks}")
        block = f.let(f"urem i64 {part}, {side.blocks}")
        place = affine(f, side.start, (batch, side.batch))
        base = f.let(f"getelementptr float, ptr {source}, i64 {place}")
        place = affine(f, side.marks, (part, side.deep * THIRDS))
        tiles = f.let(f"getelementptr i8, ptr {to}, i64 {place}")
        row = f.let(f"mul nsw i64 {block}, {BLOCK}")
        bring(kernel, side, base, (row, BLOCK), (0, side.deep), tiles, worst)
        mark = f.let(f"getelementptr i8, ptr {to}, i64 {affine(f, 0, (part, LINE))}")
        found = f.let(f"load {_BITS}, ptr {worst}")
        f.do(f"store {_BITS} {found}, ptr {mark}, align {LINE}")


def bring(
    kernel: Kernel,
    side: Side,
    source: str,
    rows: tuple[str, int],
    deep: tuple[int, int],
    tiles: str,
    worst: str,
) -> None:
    """Bring some rows (or columns) and blocks of inner positions into tiles.

    Both are (start, length). Numbers beyond the edges are zero. `worst` points to the
    bits of the largest numbers so far.
    """
    name = kernel.helper(*_bringing(side))
    blocks = -(-rows[1] // BLOCK)
    sizes = side.free, side.inner, side.count, side.depth
    numbers = (rows[0], blocks, *deep, *sizes)
    passed = ", ".join(f"i64 {each}" for each in numbers)
    pointers = f"ptr {source}, ptr {tiles}, ptr {worst}"
    kernel.f.do(f"call void @{name}({pointers}, {passed})")


def _bringing(side: Side) -> tuple[Function, str]:
    """Return the function that does it for all sides of this form, and its
    parameters."""
    f = Function()
    local = f.let(f"alloca {_BITS}")
    f.do(f"store {_BITS} {f.let(f'load {_BITS}, ptr %worst')}, ptr {local}")
    with ExitStack() as stack:
        # Memory is read along its rows.
        loops = {"block": "%blocks", "k": "%length"}
        order = reversed(loops) if side.free == 1 else loops
        counters = {n: stack.enter_context(f.loop(loops[n])) for n in order}
        block, k = counters["block"], counters["k"]
        row = affine(f, 0, (block, BLOCK), ("%first", 1))
        inner = affine(f, 0, (k, DEPTH), ("%begin", DEPTH))
        place = affine(f, 0, (row, "%free"), (inner, "%inner"))
        corner = f.let(f"getelementptr float, ptr %source, i64 {place}")
        step = f.let(f"mul nsw i64 %length, {THIRDS}")
        place = affine(f, 0, (block, step), (k, THIRDS))
        tile = f.let(f"getelementptr i8, ptr %tiles, i64 {place}")
        left = (
            f.let(f"sub nsw i64 %count, {row}") if side.count % BLOCK else "",
            f.let(f"sub nsw i64 %depth, {inner}") if side.depth % DEPTH else "",
        )
        _block(f, side, corner, left, tile, local)
    f.do(f"store {_BITS} {f.let(f'load {_BITS}, ptr {local}')}, ptr %worst")
    numbers = "first", "blocks", "begin", "length", "free", "inner", "count", "depth"
    parameters = ", ".join(f"i64 %{each}" for each in numbers)
    pointers = "ptr %source, ptr %tiles, ptr %worst"
    return f, f"{pointers}, {parameters}"


def affine(f: Function, start: int, *terms: tuple[str, int | str]) -> str:
    """Return start + Σ counter · factor."""
    total = str(start)
    for counter, factor in terms:
        moved = f.let(f"mul nsw i64 {counter}, {factor}")
        total = f.let(f"add nsw i64 {total}, {moved}")
    return total


def _block(
    f: Function,
    side: Side,
    corner: str,
    left: tuple[str, str],
    tile: str,
    worst: str,
) -> None:
    """Write the three tiles of a block."""
    along = _along_row if side.inner == 1 else _along_pair
    with f.loop(BLOCK) as line:
        pair = along(f, side, corner, left, line)
        for each in pair:
            _note(f, f.let(f"bitcast {_KIND} {each} to {_BITS}"), worst)
        place = f.let(f"mul nsw i64 {line}, {LINE}")
        for i, third in enumerate(_three(f, pair)):
            at = f.let(f"add nsw i64 {place}, {i * BLOCK * LINE}")
            at = f.let(f"getelementptr i8, ptr {tile}, i64 {at}")
            f.do(f"store {_BITS} {third}, ptr {at}, align {LINE}")
    if side.by_pairs == (side.inner == 1):
        _turn(f, tile)


def _along_row(
    f: Function, side: Side, corner: str, left: tuple[str, str], line: str
) -> tuple[str, str]:
    """Return 32 inner positions of a row."""
    free, inner = left
    row = f.let(
        f"getelementptr float, ptr {corner}, i64 {affine(f, 0, (line, '%free'))}"
    )
    half = f.let(f"getelementptr float, ptr {row}, i64 {BLOCK}")
    count = inner or (str(DEPTH) if free else "")
    if free:
        there = f.let(f"icmp slt i64 {line}, {free}")
        count = f.let(f"select i1 {there}, i64 {count}, i64 0")
    beyond = f.let(f"sub nsw i64 {count}, {BLOCK}") if count else ""
    return _load(f, row, count), _load(f, half, beyond)


def _along_pair(
    f: Function, side: Side, corner: str, left: tuple[str, str], line: str
) -> tuple[str, str]:
    """Return two inner positions of 16 rows."""
    free, inner = left
    found = []
    for start in (0, BLOCK):
        k = f.let(f"add nsw i64 {line}, {start}")
        place = f.let(f"mul nsw i64 {k}, %inner")
        address = f.let(f"getelementptr float, ptr {corner}, i64 {place}")
        _fetch(f, address)
        count = free or (str(BLOCK) if inner else "")
        if inner:
            there = f.let(f"icmp slt i64 {k}, {inner}")
            count = f.let(f"select i1 {there}, i64 {count}, i64 0")
        found.append(_load(f, address, count))
    return found[0], found[1]


def _fetch(f: Function, address: str) -> None:
    """Ask for what the next block reads: no processor foresees steps of a page."""
    beyond = f.let(f"mul nsw i64 %inner, {DEPTH}")
    ahead = f.let(f"getelementptr float, ptr {address}, i64 {beyond}")
    f.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    f.do(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 2, i32 1)")


def _load(f: Function, address: str, count: str) -> str:
    """Load as many lanes as there are, 0 in the others."""
    if not count:
        return f.let(f"load {_KIND}, ptr {address}, align 4")
    counts = f"<{BLOCK} x i64>"
    one = f.let(f"insertelement {counts} poison, i64 {count}, i32 0")
    every = f"{counts} {one}, {counts} poison, <{BLOCK} x i32> zeroinitializer"
    lanes = ", ".join(f"i64 {i}" for i in range(BLOCK))
    mask = f.let(f"icmp sgt {counts} {f.let(f'shufflevector {every}')}, <{lanes}>")
    return f.call(
        f"llvm.masked.load.{_KIND.suffix}.p0",
        str(_KIND),
        ("ptr", address),
        ("i32", "4"),
        (f"<{BLOCK} x i1>", mask),
        (str(_KIND), "zeroinitializer"),
    )


def _three(f: Function, pair: tuple[str, str]) -> list[str]:
    """Return the thirds of two vectors, those of the second in the upper halves."""
    found, rests = [], list(pair)
    for last in (False, False, True):
        bits = [f.let(f"bitcast {_KIND} {each} to {_BITS}") for each in rests]
        # What is left last has eight bits, unless it is too small to have so many.
        tops = [_topmost(f, each) if last else _rounded(f, each) for each in bits]
        low = f.let(f"lshr {_BITS} {tops[0]}, splat (i32 16)")
        found.append(f.let(f"or {_BITS} {low}, {tops[1]}"))
        floats = [f.let(f"bitcast {_BITS} {each} to {_KIND}") for each in tops]
        rests = [f.let(f"fsub {_KIND} {a}, {b}") for a, b in zip(rests, floats)]
    return found


def _rounded(f: Function, bits: str) -> str:
    """Return the nearest number of 8 significant bits."""
    return _topmost(f, f.let(f"add {_BITS} {bits}, splat (i32 {1 << 15})"))


def _topmost(f: Function, bits: str) -> str:
    """Return the upper halves of floats."""
    return f.let(f"and {_BITS} {bits}, splat (i32 {-1 << 16})")


def _turn(f: Function, tile: str) -> None:
    """Turn each of three tiles: lines become pairs, and pairs lines."""
    with f.loop(3) as third:
        place = f.let(f"mul nsw i64 {third}, {BLOCK * LINE}")
        base = f.let(f"getelementptr i8, ptr {tile}, i64 {place}")
        places = [
            f.let(f"getelementptr i8, ptr {base}, i64 {i * LINE}") for i in range(BLOCK)
        ]
        lines = [f.let(f"load {_KIND}, ptr {at}, align {LINE}") for at in places]
        for at, line in zip(places, square_turned(f, _KIND, lines)):
            f.do(f"store {_KIND} {line}, ptr {at}, align {LINE}")


# --- numbers that cannot be cut ---


def _note(f: Function, bits: str, worst: str) -> None:
    """Remember the largest numbers, without their signs."""
    size = f.let(f"and {_BITS} {bits}, splat (i32 {(1 << 31) - 1})")
    before = f.let(f"load {_BITS}, ptr {worst}")
    pairs = (_BITS, before), (_BITS, size)
    f.do(f"store {_BITS} {f.call('llvm.umax.v16i32', _BITS, *pairs)}, ptr {worst}")


def all_fit(f: Function, marks: list[tuple[str, int | str, int]]) -> str:
    """Return whether all numbers are finite, and small enough to be rounded.

    Marks are (pointer, how many lines, bytes from one to the next).
    """
    worst = f.let(f"alloca {_BITS}", f.blocks[0])
    f.do(f"store {_BITS} zeroinitializer, ptr {worst}")
    for pointer, count, step in marks:
        with f.loop(count) as line:
            place = affine(f, 0, (line, step))
            at = f.let(f"getelementptr i8, ptr {pointer}, i64 {place}")
            _note(f, f.let(f"load {_BITS}, ptr {at}, align {LINE}"), worst)
    found = f.let(f"load {_BITS}, ptr {worst}")
    largest = f.call("llvm.vector.reduce.umax.v16i32", "i32", (_BITS, found))
    return f.let(f"icmp ult i32 {largest}, {_LARGEST}")
