"""Matrix products, written for their exact shape.

A tile of the result is held in registers while the inner loop adds products of a
broadcast element of the left operand with vectors of the right one. The right operand
has its columns side by side, or lies in panels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.maths import fma
from pellucid.engines.llvm.panels import moved
from pellucid.engines.llvm.products import (
    DEEP,
    Matrix,
    Operand,
    Product,
    Sharing,
    Tile,
    panels_of,
    product_of,
    tile_of,
)
from pellucid.engines.llvm.vectors import load, mask_of, splat, store
from pellucid.ir.graph import Node

__all__ = ["matmul", "over"]


@dataclass(frozen=True)
class _Plan:
    """A product being written: its shape, its tile, and what threads share of it."""

    kernel: Kernel
    shape: Product
    tile: Tile
    share: Sharing

    @property
    def size(self) -> Kind:
        """The kind of one element."""
        return Kind(self.tile.kind.dtype)


def matmul(
    kernel: Kernel,
    node: Node,
    x: Operand,
    y: Operand,
    panels: Node | None,
    share: Sharing,
) -> None:
    """Write a product of floats; `panels` holds the right operand, where it must."""
    shape, f, size = product_of(node), kernel.f, Kind(node.dtype)
    plan = _Plan(kernel, shape, tile_of(kernel.target, size, shape), share)
    right, start, step = kernel.pointer(panels or y.source), y.start, y.batch
    row, panel = y.row, plan.tile.columns
    if panels is not None:
        start, step, row = 0, panels_of(shape, plan.tile), plan.tile.columns
        panel = shape.k * plan.tile.columns
    sources = (
        (kernel.pointer(x.source), x.start, x.batch),
        (right, start, step),
        (kernel.pointer(node), 0, shape.m * shape.n),
    )
    low, high = f.part(shape.batch, share == "batches")
    with f.loop(high, start=low) as b:
        bases = []
        for base, start, step in sources:
            place = f.let(f"mul nsw i64 {b}, {step}")
            place = f.let(f"add nsw i64 {place}, {start}")
            bases.append(moved(kernel, size, base, place))
        _one(
            plan,
            Matrix(bases[0], x.row, x.column),
            Matrix(bases[1], row, 1),
            panel,
            bases[2],
        )


def over(
    f: Function, count: int, size: int, shared: bool, one: Callable[[str, int], None]
) -> None:
    """Call `one(start, length)` for each piece of a range; the last may be shorter."""
    whole, rest = divmod(count, size)
    start, stop = f.part(whole + bool(rest), shared)
    if shared and rest:
        before = f.let(f"icmp slt i64 {stop}, {whole}")
        stop = f.let(f"select i1 {before}, i64 {stop}, i64 {whole}")
    if whole:
        with f.loop(stop if shared else whole, start=start) as index:
            one(f.let(f"mul nsw i64 {index}, {size}"), size)
    if rest and shared:
        with f.when(f.is_last()):
            one(str(whole * size), rest)
    elif rest:
        one(str(whole * size), rest)


def _one(plan: _Plan, a: Matrix, b: Matrix, panel: int, out: str) -> None:
    """Write one product of a batch; panels stand `panel` elements apart."""
    shape, tile, f = plan.shape, plan.tile, plan.kernel.f
    passes = -(-shape.k // DEEP)
    depth = -(-shape.k // passes) if passes else 0

    def through(first: str, deep: int) -> None:
        """Go through some inner positions."""

        def column(j: str, columns: int) -> None:
            place = f.let(f"mul nsw i64 {j}, {panel // tile.columns}")
            skipped = f.let(f"mul nsw i64 {first}, {b.row}")
            place = f.let(f"add nsw i64 {place}, {skipped}")
            right = Matrix(moved(plan.kernel, plan.size, b.pointer, place), b.row, 1)

            def row(i: str, rows: int) -> None:
                _tile_loop(
                    plan.kernel, shape, tile, a, right, out, i, j, rows, columns,
                    first, deep,
                )  # fmt: skip

            over(f, shape.m, tile.rows, plan.share == "rows", row)

        over(f, shape.n, tile.columns, plan.share == "columns", column)

    whole, rest = divmod(shape.k, depth) if depth else (0, 0)
    if whole > 1:
        with f.loop(whole) as index:
            through(f.let(f"mul nsw i64 {index}, {depth}"), depth)
    elif whole:
        through("0", depth)
    if rest:
        through(str(whole * depth), rest)


def _tile_loop(
    kernel: Kernel,
    shape: Product,
    tile: Tile,
    a: Matrix,
    right: Matrix,
    out: str,
    i: str,
    j: str,
    rows: int,
    columns: int,
    first: str,
    depth: int,
) -> None:
    """Add to one tile of the result what some inner positions bring."""
    f, kind, size = kernel.f, tile.kind, Kind(tile.kind.dtype)
    vectors = -(-columns // kind.lanes)
    masks = [mask_of(kind, columns - v * kind.lanes) for v in range(vectors)]
    results = _result_places(kernel, shape, size, out, i, j, rows, kind, vectors)
    cells = [
        [f.let(f"alloca {kind}", f.blocks[0]) for _ in range(vectors)]
        for _ in range(rows)
    ]
    for r in range(rows):
        for v in range(vectors):
            start = _before(f, kind, results[r][v], masks[v], first)
            f.do(f"store {kind} {start}, ptr {cells[r][v]}")
    place = f.let(f"mul nsw i64 {i}, {a.row}")
    skipped = f.let(f"mul nsw i64 {first}, {a.column}")
    place = f.let(f"add nsw i64 {place}, {skipped}")
    left = moved(kernel, size, a.pointer, place)
    if depth:
        with f.loop(depth) as k:
            _step(kernel, kind, cells, masks, left, a, right, k)
    for r in range(rows):
        for v in range(vectors):
            value = f.let(f"load {kind}, ptr {cells[r][v]}")
            store(f, kind, value, results[r][v], masks[v])


def _before(f: Function, kind: Kind, result: str, mask: str, first: str) -> str:
    """Return what the result has before a pass: 0 before the first."""
    zero = kind.constant(0)
    if first == "0":
        return zero
    there = load(f, kind, result, mask)
    later = f.let(f"icmp ne i64 {first}, 0")
    return f.let(f"select i1 {later}, {kind} {there}, {kind} {zero}")


def _step(
    kernel: Kernel,
    kind: Kind,
    cells: Sequence[Sequence[str]],
    masks: Sequence[str],
    left: str,
    a: Matrix,
    right: Matrix,
    k: str,
) -> None:
    """Add one inner position to the tile."""
    f, size = kernel.f, Kind(kind.dtype)
    row = moved(kernel, size, right.pointer, f.let(f"mul nsw i64 {k}, {right.row}"))
    wide = []
    for v, active in enumerate(masks):
        address = moved(kernel, size, row, str(v * kind.lanes))
        wide.append(load(f, kind, address, active))
    base = moved(kernel, size, left, f.let(f"mul nsw i64 {k}, {a.column}"))
    for r, line in enumerate(cells):
        address = moved(kernel, size, base, str(r * a.row))
        one = splat(f, kind, f.let(f"load {size}, ptr {address}"))
        for v, cell in enumerate(line):
            old = f.let(f"load {kind}, ptr {cell}")
            new = fma(f, kind, one, wide[v], old)
            f.do(f"store {kind} {new}, ptr {cell}")


def _result_places(
    kernel: Kernel,
    shape: Product,
    size: Kind,
    out: str,
    i: str,
    j: str,
    rows: int,
    kind: Kind,
    vectors: int,
) -> list[list[str]]:
    f = kernel.f
    start = f.let(f"mul nsw i64 {i}, {shape.n}")
    base = moved(kernel, size, out, f.let(f"add nsw i64 {start}, {j}"))
    return [
        [
            moved(kernel, size, base, str(r * shape.n + v * kind.lanes))
            for v in range(vectors)
        ]
        for r in range(rows)
    ]
