"""Panels: the right operand of a product, brought into the order of its tiles."""

from __future__ import annotations

from contextlib import nullcontext

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.products import Matrix, Operand, Tile, product_of, tile_of
from pellucid.engines.llvm.turns import turn_square
from pellucid.engines.llvm.vectors import load, mask_of, store
from pellucid.ir.graph import Node

__all__ = ["moved", "pack"]


def pack(kernel: Kernel, node: Node, y: Operand, panels: Node) -> None:
    """Write the kernel that brings the right operand of a product into panels.

    Columns beyond the end become zero.
    """
    f, shape, size = kernel.f, product_of(node), Kind(node.dtype)
    tile = tile_of(kernel.target, size, shape)
    whole, rest = divmod(shape.n, tile.columns)
    source, target = kernel.pointer(y.source), kernel.pointer(panels)
    # Threads share all panels of all batches.
    count = whole + bool(rest)
    start, stop = f.part(shape.batch * count, kernel.shared)
    with f.loop(stop, start=start) as part:
        batch = f.let(f"udiv i64 {part}, {count}")
        panel = f.let(f"urem i64 {part}, {count}")
        place = f.let(f"mul nsw i64 {batch}, {y.batch}")
        step = f.let(f"mul nsw i64 {panel}, {tile.columns * y.column}")
        place = f.let(f"add nsw i64 {place}, {step}")
        place = f.let(f"add nsw i64 {place}, {y.start}")
        b = Matrix(moved(kernel, size, source, place), y.row, y.column)
        place = f.let(f"mul nsw i64 {part}, {tile.columns * shape.k}")
        to = moved(kernel, size, target, place)
        full = f.let(f"icmp slt i64 {panel}, {whole}")
        if whole:
            with f.when(full) if rest else nullcontext():
                _pack_panel(kernel, b, shape.k, tile, tile.columns, to)
        if rest:
            last = f.let(f"icmp eq i64 {panel}, {whole}")
            with f.when(last) if whole else nullcontext():
                _pack_panel(kernel, b, shape.k, tile, rest, to)


def _pack_panel(
    kernel: Kernel, b: Matrix, depth: int, tile: Tile, columns: int, target: str
) -> None:
    kind, f = tile.kind, kernel.f
    vectors = -(-columns // kind.lanes)
    whole = depth // kind.lanes if b.row == 1 and kind.lanes > 1 else 0
    full = columns == tile.columns and whole
    start = 0
    if full:
        with f.loop(whole) as block:
            k = f.let(f"mul nsw i64 {block}, {kind.lanes}")
            for v in range(vectors):
                _turn(kernel, b, tile, target, k, v)
        start = whole * kind.lanes
    if start < depth:
        with f.loop(depth, start=start) as k:
            for v in range(vectors):
                _pack_row(kernel, b, tile, target, k, v, columns)


def _pack_row(
    kernel: Kernel, b: Matrix, tile: Tile, target: str, k: str, v: int, columns: int
) -> None:
    """Bring one row of a vector of columns, an element at a time or at once."""
    kind, f, size = tile.kind, kernel.f, Kind(tile.kind.dtype)
    row = moved(kernel, size, b.pointer, f.let(f"mul nsw i64 {k}, {b.row}"))
    active = min(kind.lanes, columns - v * kind.lanes)
    if b.column == 1:
        address = moved(kernel, size, row, str(v * kind.lanes))
        value = load(kernel.f, kind, address, mask_of(kind, active))
    else:
        value = kind.constant(0) if kind.lanes == 1 else "zeroinitializer"
        for lane in range(active):
            place = str((v * kind.lanes + lane) * b.column)
            one = f.let(f"load {size}, ptr {moved(kernel, size, row, place)}")
            value = (
                one
                if kind.lanes == 1
                else f.let(f"insertelement {kind} {value}, {size} {one}, i32 {lane}")
            )
    place = f.let(f"mul nsw i64 {k}, {tile.columns}")
    place = f.let(f"add nsw i64 {place}, {v * kind.lanes}")
    store(kernel.f, kind, value, moved(kernel, size, target, place))


def _turn(kernel: Kernel, b: Matrix, tile: Tile, target: str, k: str, v: int) -> None:
    """Turn a square of lanes × lanes from block `k` of the depth on."""
    kind, f, size = tile.kind, kernel.f, Kind(tile.kind.dtype)
    first = moved(kernel, size, b.pointer, str(v * kind.lanes * b.column))
    place = f.let(f"mul nsw i64 {k}, {tile.columns}")
    place = f.let(f"add nsw i64 {place}, {v * kind.lanes}")
    turn_square(
        kernel,
        kind,
        (moved(kernel, size, first, k), b.column),
        (moved(kernel, size, target, place), tile.columns),
        kind.lanes,
        kind.lanes,
    )


# --- memory ---


def moved(kernel: Kernel, size: Kind, base: str, place: str) -> str:
    """Return a pointer, so many elements further on."""
    if place == "0":
        return base
    return kernel.f.let(f"getelementptr {size}, ptr {base}, i64 {place}")
