"""Products of a few rows or columns: each element is an inner product of two lines.

A weight lies with the numbers that one output sums side by side. Where only a row or
two go through it, or it has only a few outputs, turning it costs more than the product:
it is read as it lies, a vector at a time, and the lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Kernel, Target
from pellucid.engines.llvm.maths import fma
from pellucid.engines.llvm.matmul import over
from pellucid.engines.llvm.panels import moved
from pellucid.engines.llvm.products import Operand, Product, Sharing, product_of
from pellucid.engines.llvm.vectors import load, mask_of, store, totals
from pellucid.ir.graph import Node

__all__ = ["inner", "is_inner"]

_FEW = 4
"""The most rows whose products are always written so."""

_ADDING_UP = 2
"""The cycles that adding up the lanes of one element takes."""


def is_inner(node: Node, x: Operand, y: Operand, target: Target) -> bool:
    """Return whether a product of floats is written as inner products."""
    shape = product_of(node)
    lines = x.column == 1 and y.row == 1 and y.column != 1
    if not lines or shape.n < 2 or shape.k < 2 * _FEW:
        return False
    if shape.m <= _FEW:
        return True
    # Two products of vectors a cycle; else a row and an inner position take half of
    # one, however few the columns are.
    lanes = target.register_bytes // node.dtype.itemsize
    one = shape.k / (2 * lanes) + _ADDING_UP
    return shape.n <= lanes and shape.n * one <= shape.k / 2


def inner(kernel: Kernel, node: Node, x: Operand, y: Operand, share: Sharing) -> None:
    """Write a product of floats, element by element."""
    shape, f, size = product_of(node), kernel.f, Kind(node.dtype)
    lanes = kernel.target.register_bytes // node.dtype.itemsize
    while lanes > 1 and lanes // 2 >= shape.k:
        lanes //= 2
    kind = Kind(node.dtype, max(lanes, 1))
    few_rows, few_columns = _sizes(kernel.target, shape, kind)
    wide = share in ("rows", "columns")
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

            def block(i: str, height: int) -> None:
                place = f.let(f"mul nsw i64 {i}, {x.row}")
                left = moved(kernel, size, bases[0], place)
                rows = [
                    moved(kernel, size, left, str(r * x.row)) for r in range(height)
                ]
                place = f.let(f"mul nsw i64 {i}, {shape.n}")
                place = f.let(f"add nsw i64 {place}, {j}")
                out = moved(kernel, size, bases[2], place)
                _block(kernel, kind, shape, rows, lines, out)

            over(f, shape.m, few_rows, wide and shape.m > _FEW, block)

        over(f, shape.n, few_columns, wide and shape.m <= _FEW, columns)


def _sizes(target: Target, shape: Product, kind: Kind) -> tuple[int, int]:
    """Return how many rows and columns are computed together.

    Half of the registers hold sums, so many that those of one vector can be added up
    together.
    """
    sums = target.registers // 2
    if shape.m > _FEW:
        return max(1, sums >> (shape.n - 1).bit_length()), min(shape.n, sums)
    columns = sums >> (shape.m - 1).bit_length()
    return shape.m, max(_FEW, min(columns, kind.lanes))


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
    # Rows of the result that are whole lie one behind the other.
    whole = len(lines) == shape.n
    lines_of_sums = [[each for row in cells for each in row]] if whole else cells
    for r, sums in enumerate(lines_of_sums):
        for c in range(0, len(sums), kind.lanes):
            some = sums[c : c + kind.lanes]
            values = [f.let(f"load {kind}, ptr {each}") for each in some]
            found, wide = totals(f, kind, values)
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
