"""Products on Intel's matrix unit (AMX), which multiplies tiles of bf16 numbers.

Operands are brought into thirds (`thirds.py`). Of the nine products of thirds, six
count: the other three are below the last bit of a float. Each is exact, and sums are
floats, so the result is as near as that of an ordinary product, in half the time.

Four tiles of the result are kept in the unit: two by two blocks. What is beyond an
edge of the result is beyond an edge of its tile, which is made smaller there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.matmul import over
from pellucid.engines.llvm.products import product_of
from pellucid.engines.llvm.thirds import affine, bring
from pellucid.engines.llvm.unit import (
    BLOCK,
    CHUNK,
    DEPTH,
    LINE,
    PAIR,
    PASS,
    THIRDS,
    Side,
    strip_of,
)
from pellucid.ir.graph import Node

__all__ = ["amx"]

_TILE = BLOCK * LINE
_LARGE, _MIDDLE, _SMALL = 0, _TILE, 2 * _TILE

_ORDER = (
    (_SMALL, _LARGE),
    (_MIDDLE, _LARGE),
    (_LARGE, _LARGE),
    (_LARGE, _MIDDLE),
    (_MIDDLE, _MIDDLE),
    (_LARGE, _SMALL),
)
"""Which thirds meet, left and right: neighbours have one in common."""

_LEFT, _RIGHT = 4, 6
"""The first tile register of each operand; the result has those before."""


@dataclass(frozen=True)
class _Tiles:
    """Blocks of an operand in thirds: where they start, and bytes from one to the
    next."""

    pointer: str
    step: int

    def at(self, f: Function, row: str) -> _Tiles:
        """Return those from a row (or column) on."""
        place = affine(f, 0, (row, self.step // BLOCK))
        moved = f.let(f"getelementptr i8, ptr {self.pointer}, i64 {place}")
        return _Tiles(moved, self.step)


@dataclass(frozen=True)
class _One:
    """One product of a batch: where its operands and its result lie."""

    kernel: Kernel
    left: Side
    right: Side
    sources: tuple[str, str]
    ready: str
    """Where the tiles of the right operand are, if they are there already."""
    out: str
    own: str
    """This thread's room: the chunk, and the strip behind it."""
    worst: str
    columns: bool
    """Whether chunks are of the right operand's columns."""

    @property
    def even(self) -> bool:
        """Whether all tiles of the result are whole."""
        return self.left.count % BLOCK == 0 and self.right.count % BLOCK == 0


def amx(
    kernel: Kernel, node: Node, left: Side, right: Side, own: Node, ready: Node | None
) -> None:
    """Write a product. `ready` holds the right operand in tiles, if it is.

    A chunk of the smaller operand stays in the second cache while strips of the other
    one, which threads share, come into the first.
    """
    f, shape = kernel.f, product_of(node)
    pointers = [kernel.pointer(each.source) for each in (left, right)]
    out, room = kernel.pointer(node), kernel.pointer(own)
    tiles = kernel.pointer(ready) if ready else ""
    worst = f.let("alloca <16 x i32>", f.blocks[0])
    f.do(f"store <16 x i32> zeroinitializer, ptr {worst}")
    own_ = f.let(f"getelementptr i8, ptr {room}, i64 {LINE}")
    columns = not ready and shape.n < shape.m
    one = _One(kernel, left, right, ("", ""), "", "", own_, worst, columns)
    if one.even:
        _configure(f, [BLOCK] * 2, [BLOCK] * 2)
    with f.loop(shape.batch) as b:
        x, y = (
            f.let(
                f"getelementptr float, ptr {at}, i64 {affine(f, s.start, (b, s.batch))}"
            )
            for at, s in zip(pointers, (left, right))
        )
        if ready:
            at = affine(f, right.marks, (b, right.tiles))
            tiles = f.let(f"getelementptr i8, ptr {tiles}, i64 {at}")
        place = affine(f, 0, (b, shape.m * shape.n))
        result = f.let(f"getelementptr float, ptr {out}, i64 {place}")
        _passes(replace(one, sources=(x, y), ready=tiles, out=result))
    _do(f, "tilerelease")
    f.do(f"store <16 x i32> {f.let(f'load <16 x i32>, ptr {worst}')}, ptr {room}")


def _passes(one: _One) -> None:
    """Write all passes over the inner positions."""
    passes = -(-one.left.deep // PASS)
    longest = -(-one.left.deep // passes)
    for first in range(0, one.left.deep, longest):
        _pass(one, first, min(longest, one.left.deep - first))


def _pass(one: _One, first: int, deep: int) -> None:
    """Write a pass: chunks, and the strips that meet each."""
    f, shared = one.kernel.f, one.kernel.shared
    step, wide = deep * THIRDS, strip_of(shared)
    less, more = (one.right, one.left) if one.columns else (one.left, one.right)
    sources = one.sources[::-1] if one.columns else one.sources
    biggest = -(-min(CHUNK, less.count) // PAIR) * (PAIR // BLOCK) * step
    strips = f.let(f"getelementptr i8, ptr {one.own}, i64 {biggest}")
    whole = more.deep * THIRDS

    def chunk(i: str, rows: int) -> None:
        into = (first, deep), one.own, one.worst
        bring(one.kernel, less, sources[0], (i, rows), *into)

        def strip(j: str, count: int) -> None:
            if one.ready:
                at = affine(f, first * THIRDS, (j, whole // BLOCK))
                at = f.let(f"getelementptr i8, ptr {one.ready}, i64 {at}")
                theirs = _Tiles(at, whole)
            else:
                into = (first, deep), strips, one.worst
                bring(one.kernel, more, sources[1], (j, count), *into)
                theirs = _Tiles(strips, step)

            def pair(c: str, width: int) -> None:
                def block(r: str, height: int) -> None:
                    pairs = (
                        (
                            affine(f, 0, (i, 1), (r, 1)),
                            height,
                            _Tiles(one.own, step).at(f, r),
                        ),
                        (affine(f, 0, (j, 1), (c, 1)), width, theirs.at(f, c)),
                    )
                    _blocks(one, *(pairs[::-1] if one.columns else pairs), first, deep)

                over(f, rows, PAIR, False, block)

            over(f, count, PAIR, False, pair)

        over(f, more.count, wide, shared, strip)

    over(f, less.count, CHUNK, False, chunk)


def _do(f: Function, name: str, *operands: str) -> None:
    """Do something with the unit's tiles."""
    types = ", ".join(each.split()[0] for each in operands)
    f.declared.add(f"declare void @llvm.x86.{name}({types})")
    f.do(f"call void @llvm.x86.{name}({', '.join(operands)})")


def _blocks(
    one: _One,
    rows: tuple[str, int, _Tiles],
    columns: tuple[str, int, _Tiles],
    first: int,
    deep: int,
) -> None:
    """Add to up to two by two tiles of the result what a pass brings."""
    f, n = one.kernel.f, one.right.count
    (i, height, left), (j, width, right) = rows, columns
    heights = [min(BLOCK, height - r) for r in range(0, height, BLOCK)]
    widths = [min(BLOCK, width - c) for c in range(0, width, BLOCK)]
    cells = [(r, c) for r in range(len(heights)) for c in range(len(widths))]
    place = affine(f, 0, (i, n), (j, 1))
    corner = f.let(f"getelementptr float, ptr {one.out}, i64 {place}")
    if not one.even:
        _configure(f, heights, widths)
    for r, c in cells:
        if first:
            _move(f, "tileloadd64", corner, n, r, c)
        else:
            _do(f, "tilezero", f"i8 {2 * r + c}")
    with f.loop(deep) as k:
        at, held = f.let(f"mul nsw i64 {k}, {THIRDS}"), (-1, -1)
        for x, y in _ORDER:
            if x != held[0]:
                _load(f, _LEFT, len(heights), left, at, x)
            if y != held[1]:
                _load(f, _RIGHT, len(widths), right, at, y)
            held = x, y
            for r, c in cells:
                operands = (2 * r + c, _LEFT + r, _RIGHT + c)
                _do(f, "tdpbf16ps", *(f"i8 {each}" for each in operands))
    for r, c in cells:
        _move(f, "tilestored64", corner, n, r, c)


def _move(f: Function, how: str, corner: str, n: int, r: int, c: int) -> None:
    """Load or store a tile of the result."""
    at = BLOCK * (r * n + c)
    address = f.let(f"getelementptr float, ptr {corner}, i64 {at}")
    _do(f, how, f"i8 {2 * r + c}", f"ptr {address}", f"i64 {4 * n}")


def _load(
    f: Function, first: int, count: int, tiles: _Tiles, at: str, third: int
) -> None:
    """Load a third of one or two blocks."""
    for t in range(count):
        place = f.let(f"add nsw i64 {at}, {t * tiles.step + third}")
        address = f.let(f"getelementptr i8, ptr {tiles.pointer}, i64 {place}")
        operands = f"i8 {first + t}", f"ptr {address}", f"i64 {LINE}"
        _do(f, "tileloadd64", *operands)


def _configure(f: Function, heights: list[int], widths: list[int]) -> None:
    """Give the tiles their sizes: 64 bytes that say how long and how many lines are."""
    lines, lengths = [0] * 8, [0] * 8
    for r, height in enumerate(heights):
        lines[_LEFT + r], lengths[_LEFT + r] = height, LINE
        for c, width in enumerate(widths):
            lines[2 * r + c], lengths[2 * r + c] = height, 4 * width
            lines[_RIGHT + c], lengths[_RIGHT + c] = DEPTH // 2, 4 * width
    content = bytes([1, *[0] * 15])
    content += b"".join(each.to_bytes(2, "little") for each in lengths) + bytes(16)
    content += bytes(lines) + bytes(8)
    place = f.let("alloca <64 x i8>, align 64", f.blocks[0])
    numbers = ", ".join(f"i8 {each}" for each in content)
    f.do(f"store <64 x i8> <{numbers}>, ptr {place}, align 64")
    _do(f, "ldtilecfg", f"ptr {place}")
