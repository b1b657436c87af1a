"""Products of a few rows: each element is an inner product of two lines of memory.

A weight lies with the numbers that one output sums side by side. Where only a row or
two go through it, turning it costs more than the product: it is read as it lies, a
vector at a time, and the lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.maths import fma
from pellucid.engines.llvm.matmul import over
from pellucid.engines.llvm.panels import moved
from pellucid.engines.llvm.products import Operand, Product, Sharing, product_of
from pellucid.engines.llvm.vectors import load, mask_of, store, totals
from pellucid.ir.graph import Node

__all__ = ["inner", "is_inner"]

_FEW = 4
"""The most rows, and the fewest columns that are computed together."""


def is_inner(node: Node, x: Operand, y: Operand) -> bool:
    """Return whether a product of floats is written as inner products."""
    shape = product_of(node)
    lines = x.column == 1 and y.row == 1 and y.column != 1
    return lines and shape.m <= _FEW and shape.n > 1 and shape.k >= 2 * _FEW


def inner(kernel: Kernel, node: Node, x: Operand, y: Operand, share: Sharing) -> None:
    """Write a product of floats, element by element."""
    shape, f, size = product_of(node), kernel.f, Kind(node.dtype)
    lanes = kernel.target.register_bytes // node.dtype.itemsize
    while lanes > 1 and lanes // 2 >= shape.k:
        lanes //= 2
    kind = Kind(node.dtype, max(lanes, 1))
    sources = (
        (kernel.pointer(x.source), x.start, x.batch),
        (kernel.pointer(y.source), y.start, y.batch),
        (kernel.pointer(node), 0, shape.m * shape.n),
    )
    low, high = f.part(shape.batch, share == "batches")
    with f.loop(high, start=low) as b:
        bases = []
        for base, start, step in sources:
            place = f.let(f"mul nsw i64 {b}, {step}")
            place = f.let(f"add nsw i64 {place}, {start}")
            bases.append(moved(kernel, size, base, place))

        def columns(j: str, count: int) -> None:
            place = f.let(f"mul nsw i64 {j}, {y.column}")
            right = moved(kernel, size, bases[1], place)
            lines = [
                moved(kernel, size, right, str(c * y.column)) for c in range(count)
            ]
            rows = [
                moved(kernel, size, bases[0], str(r * x.row)) for r in range(shape.m)
            ]
            out = moved(kernel, size, bases[2], j)
            _block(kernel, kind, shape, rows, lines, out)

        # Half of the registers hold sums; those of a row are added up together.
        few = kernel.target.registers // (2 << (shape.m - 1).bit_length())
        few = max(_FEW, min(few, kind.lanes))
        over(f, shape.n, few, share in ("rows", "columns"), columns)


def _block(
    kernel: Kernel,
    kind: Kind,
    shape: Product,
    rows: Sequence[str],
    lines: Sequence[str],
    out: str,
) -> None:
    """Write the elements of all rows and a few columns."""
    f, size = kernel.f, Kind(kind.dtype)
    cells = [[f.let(f"alloca {kind}", f.blocks[0]) for _ in lines] for _ in rows]
    for cell in (cell for line in cells for cell in line):
        f.do(f"store {kind} {kind.constant(0)}, ptr {cell}")
    whole, rest = divmod(shape.k, kind.lanes)
    if whole:
        with f.loop(whole * kind.lanes, kind.lanes) as k:
            _add(kernel, kind, cells, rows, lines, k, "")
    if rest:
        at, lanes = str(whole * kind.lanes), mask_of(kind, rest)
        _add(kernel, kind, cells, rows, lines, at, lanes)
    for r in range(shape.m):
        for c in range(0, len(lines), kind.lanes):
            some = cells[r][c : c + kind.lanes]
            sums = [f.let(f"load {kind}, ptr {each}") for each in some]
            found, wide = totals(f, kind, sums)
            place = moved(kernel, size, out, str(r * shape.n + c))
            store(f, wide, found, place, mask_of(wide, len(some)))


def _add(
    kernel: Kernel,
    kind: Kind,
    cells: Sequence[Sequence[str]],
    rows: Sequence[str],
    lines: Sequence[str],
    k: str,
    lanes: str,
) -> None:
    """Add the products of a vector of inner positions."""
    f, size = kernel.f, Kind(kind.dtype)
    left = [load(f, kind, moved(kernel, size, row, k), lanes) for row in rows]
    for c, line in enumerate(lines):
        right = load(f, kind, moved(kernel, size, line, k), lanes)
        for r, one in enumerate(left):
            old = f.let(f"load {kind}, ptr {cells[r][c]}")
            f.do(f"store {kind} {fma(f, kind, one, right, old)}, ptr {cells[r][c]}")
