"""Products on Intel's matrix unit (AMX), which multiplies tiles of bf16 numbers.

Both operands come in thirds (`thirds.py`). Of the nine products of thirds, six count:
the other three are below the last bit of a float. Each is exact, and sums are floats,
so the result is as near as that of an ordinary product, in less than half the time.

Four tiles of the result are kept in the unit: two by two blocks. What is beyond an
edge of the result is beyond an edge of its tile, which is made smaller there.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.matmul import over
from pellucid.engines.llvm.products import (
    BLOCK,
    LINE,
    THIRDS,
    Product,
    Side,
    product_of,
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
class _Sides:
    """Where both operands of one product of a batch lie, and how far to the next."""

    left: str
    right: str
    deep: int

    @property
    def step(self) -> int:
        """Bytes from one block of rows or columns to the next."""
        return self.deep * THIRDS


def amx(
    kernel: Kernel, node: Node, left: Side, right: Side, tiles: tuple[Node, Node]
) -> None:
    """Write a product of operands in thirds; threads share the longer axis."""
    f, shape = kernel.f, product_of(node)
    x, y = (kernel.pointer(each) for each in tiles)
    out = kernel.pointer(node)
    columns = shape.n > shape.m
    with f.loop(shape.batch) as b:
        sides = _Sides(
            _behind(f, x, b, left.size // shape.batch),
            _behind(f, y, b, right.size // shape.batch),
            left.deep,
        )
        result = _behind(f, out, b, shape.m * shape.n * 4)

        def column(j: str, width: int) -> None:
            def row(i: str, height: int) -> None:
                _blocks(f, shape, sides, result, (i, height), (j, width))

            over(f, shape.m, 2 * BLOCK, kernel.shared and not columns, row)

        over(f, shape.n, 2 * BLOCK, kernel.shared and columns, column)
    _do(f, "tilerelease")


def _behind(f: Function, base: str, counter: str, bytes_: int) -> str:
    place = f.let(f"mul nsw i64 {counter}, {bytes_}")
    return f.let(f"getelementptr i8, ptr {base}, i64 {place}")


def _do(f: Function, name: str, *operands: str) -> None:
    """Do something with the unit's tiles."""
    types = ", ".join(each.split()[0] for each in operands)
    f.declared.add(f"declare void @llvm.x86.{name}({types})")
    f.do(f"call void @llvm.x86.{name}({', '.join(operands)})")


def _blocks(
    f: Function,
    shape: Product,
    sides: _Sides,
    out: str,
    rows: tuple[str, int],
    columns: tuple[str, int],
) -> None:
    """Write up to two by two tiles of the result."""
    (i, height), (j, width) = rows, columns
    heights = [min(BLOCK, height - r) for r in range(0, height, BLOCK)]
    widths = [min(BLOCK, width - c) for c in range(0, width, BLOCK)]
    _configure(f, heights, widths)
    cells = [(r, c) for r in range(len(heights)) for c in range(len(widths))]
    for r, c in cells:
        _do(f, "tilezero", f"i8 {2 * r + c}")
    # A block of rows or columns is `step` bytes, `BLOCK` of them.
    left = _behind(f, sides.left, i, sides.step // BLOCK)
    right = _behind(f, sides.right, j, sides.step // BLOCK)
    with f.loop(sides.deep) as k:
        place = f.let(f"mul nsw i64 {k}, {THIRDS}")
        held = (-1, -1)
        for x, y in _ORDER:
            if x != held[0]:
                _load(f, _LEFT, len(heights), left, place, x, sides.step)
            if y != held[1]:
                _load(f, _RIGHT, len(widths), right, place, y, sides.step)
            held = x, y
            for r, c in cells:
                operands = (2 * r + c, _LEFT + r, _RIGHT + c)
                _do(f, "tdpbf16ps", *(f"i8 {each}" for each in operands))
    place = f.let(f"mul nsw i64 {i}, {shape.n}")
    place = f.let(f"add nsw i64 {place}, {j}")
    corner = f.let(f"getelementptr float, ptr {out}, i64 {place}")
    for r, c in cells:
        at = BLOCK * (r * shape.n + c)
        at_ = f.let(f"getelementptr float, ptr {corner}, i64 {at}")
        operands_ = f"i8 {2 * r + c}", f"ptr {at_}", f"i64 {4 * shape.n}"
        _do(f, "tilestored64", *operands_)


def _load(
    f: Function, first: int, count: int, base: str, place: str, third: int, step: int
) -> None:
    """Load a third of one or two blocks."""
    for t in range(count):
        at = f.let(f"add nsw i64 {place}, {t * step + third}")
        address = f.let(f"getelementptr i8, ptr {base}, i64 {at}")
        operands = f"i8 {first + t}", f"ptr {address}", f"i64 {LINE}"
        _do(f, "tileloadd64", *operands)


def _configure(f: Function, heights: list[int], widths: list[int]) -> None:
    """Give the tiles their sizes: 64 bytes that say how long and how many lines are."""
    lines, lengths = [0] * 8, [0] * 8
    for r, height in enumerate(heights):
        lines[_LEFT + r], lengths[_LEFT + r] = height, LINE
        for c, width in enumerate(widths):
            lines[2 * r + c], lengths[2 * r + c] = height, 4 * width
            lines[_RIGHT + c], lengths[_RIGHT + c] = BLOCK, 4 * width
    content = bytes([1, *[0] * 15])
    content += b"".join(each.to_bytes(2, "little") for each in lengths) + bytes(16)
    content += bytes(lines) + bytes(8)
    place = f.let("alloca <64 x i8>, align 64", f.blocks[0])
    numbers = ", ".join(f"i8 {each}" for each in content)
    f.do(f"store <64 x i8> <{numbers}>, ptr {place}, align 64")
    _do(f, "ldtilecfg", f"ptr {place}")
