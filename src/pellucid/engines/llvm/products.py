"""What a product looks like: its shape, its operands, and how it is cut.

A tile of the result is held in registers. The right operand must have its columns
side by side; where it has not, or where its rows lie so far apart that they would
crowd each other out of the cache, it is first brought into panels: a panel holds as
many columns as a tile is wide, row under row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Target, strided
from pellucid.ir.graph import Node

__all__ = [
    "DEEP",
    "Matrix",
    "Operand",
    "Product",
    "Sharing",
    "Tile",
    "brought",
    "can_share",
    "needs_panels",
    "operand",
    "panel_bytes",
    "panels_of",
    "product_of",
    "roles",
    "sharing",
    "tile_of",
]

DEEP = 256
"""The most rows of the right operand that one pass goes through."""

_WORTH_SHARING = 1 << 19
"""Multiplications below which threads cost more than they bring."""

_SMALL = 1 << 19
"""Multiplications below which the time to compile counts more than the last tenth."""

_FIRST_CACHE = 24 << 10
"""Bytes of a tile's rows that stay in the first cache beside the left operand."""

_SET_STRIDE = 2048
"""Bytes between rows at which they fall into few sets of the first cache."""

_PAGE, _FEW_ROWS = 4096, (6, 4)
"""Bytes between rows of the left operand at which all fall into one set of the first
cache, and the rows and vectors of a tile then: a set holds eight lines."""

_PARTS = 4
"""The pieces that should be there, so that threads get about equally many."""

Sharing = Literal["", "batches", "rows", "columns"]
"""What of a product threads share, if they do."""


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: strides in elements."""

    pointer: str
    row: int
    column: int


@dataclass(frozen=True)
class Product:
    """The shape of a product: batches of [m, k] times [k, n]."""

    batch: int
    m: int
    n: int
    k: int

    @property
    def work(self) -> int:
        """The number of multiplications."""
        return self.batch * self.m * self.n * self.k


def _joined(node: Node, axes: Sequence[int], strides: Sequence[int]) -> int | None:
    """Return the one stride in which axes are walked, in their order; None if none."""
    real = [axis for axis in axes if node.shape[axis] != 1]
    if not real:
        return 0
    for outer, inner in pairwise(real):
        if strides[outer] != strides[inner] * node.shape[inner]:
            return None
    return strides[real[-1]]


@dataclass(frozen=True)
class Operand:
    """An operand brought to [batch, row, column]; strides in elements."""

    source: Node
    start: int
    batch: int
    row: int
    column: int


def operand(
    node: Node,
    stored: set[Node],
    batch: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
) -> Operand | None:
    """Return how an operand lies in memory; None where it must be copied first."""
    found = strided(node, stored)
    if found is None:
        return None
    source, start, strides = found
    steps = [_joined(node, axes, strides) for axes in (batch, rows, columns)]
    if any(step is None for step in steps):
        return None
    return Operand(source, start, *(step or 0 for step in steps))


def brought(node: Node, place: Node, axes: Sequence[Sequence[int]]) -> Operand:
    """Return how an operand lies in a place to which it is copied row by row."""
    _, rows, columns = (math.prod(node.shape[a] for a in group) for group in axes)
    return Operand(place, 0, rows * columns, columns, 1)


def roles(node: Node) -> tuple[list[list[int]], list[list[int]]]:
    """Return the axes of both operands: [batch, row, column] each."""
    x, y = node.inputs
    (cx, cy), (bx, by) = node.attrs["contract"], node.attrs["batch"]
    free_x = [i for i in range(x.ndim) if i not in (*cx, *bx)]
    free_y = [i for i in range(y.ndim) if i not in (*cy, *by)]
    return [list(bx), free_x, list(cx)], [list(by), list(cy), free_y]


def product_of(node: Node) -> Product:
    """Return the shape of a product."""
    x, y = node.inputs
    (bx, mx, kx), (_, _, ny) = roles(node)
    size = [math.prod(x.shape[i] for i in axes) for axes in (bx, mx, kx)]
    n = math.prod(y.shape[i] for i in ny)
    return Product(size[0], size[1], n, size[2])


@dataclass(frozen=True)
class Tile:
    """The part of the result that is held in registers."""

    rows: int
    vectors: int
    kind: Kind

    @property
    def columns(self) -> int:
        """The columns of a tile."""
        return self.vectors * self.kind.lanes


def tile_of(target: Target, dtype: Kind, shape: Product) -> Tile:
    """Return the tile that fills the registers and fits the result."""
    m, n = shape.m, shape.n
    small = m * n * shape.k < _SMALL
    lanes = max(1, target.register_bytes // dtype.dtype.itemsize)
    while lanes > 1 and lanes // 2 >= n:
        lanes //= 2
    vectors = 2 if n > lanes else 1
    page = shape.k * dtype.dtype.itemsize % _PAGE == 0
    if page and target.registers >= 32 and n >= _FEW_ROWS[1] * lanes:
        return Tile(_FEW_ROWS[0], _FEW_ROWS[1], Kind(dtype.dtype, lanes))
    most = (target.registers - 1 - vectors) // vectors
    most = min(most, 14 if vectors == 2 else 16)
    # Tiles of one height are less code to compile, which counts where the product is
    # small; else they are high and even: a last row or two would idle registers.
    least = 8 if small else 11
    whole = [rows for rows in range(least, most + 1) if m % rows == 0]
    rows = max(whole, default=-(-m // max(1, -(-m // most)))) or 1
    return Tile(rows, vectors, Kind(dtype.dtype, lanes))


# --- how it is cut ---------------------------------------------------------------


def can_share(node: Node, target: Target) -> bool:
    """Return whether there is work enough in a product for threads to share it."""
    shape = product_of(node)
    tile = tile_of(target, Kind(node.dtype), shape)
    parts = shape.batch, -(-shape.m // tile.rows), -(-shape.n // tile.columns)
    return shape.work >= _WORTH_SHARING and max(parts) > 1


def sharing(node: Node, y: Operand, target: Target) -> Sharing:
    """Return what of a product threads share.

    Rows stay with the thread that has them in the loops before and after. But whoever
    brings columns into panels had better multiply by them.
    """
    shape = product_of(node)
    tile = tile_of(target, Kind(node.dtype), shape)
    rows, columns = -(-shape.m // tile.rows), -(-shape.n // tile.columns)
    parts: list[tuple[int, Sharing]] = [
        (shape.batch, "batches"),
        (rows, "rows"),
        (columns, "columns"),
    ]
    if needs_panels(node, y, target):
        parts[1:] = parts[:0:-1]
    enough: list[Sharing] = [name for count, name in parts if count >= _PARTS]
    if enough:
        return enough[0]
    most, name = max(parts)
    return name if most > 1 else ""


def needs_panels(node: Node, y: Operand, target: Target) -> bool:
    """Return whether the right operand is brought into panels first.

    Columns that stand apart must be. Rows of a tile's width stay where they are as
    long as they fit the first cache together and do not crowd its sets.
    """
    shape, size = product_of(node), node.dtype.itemsize
    if shape.n == 1 or shape.m < 32:
        return y.column != 1 and shape.n > 1
    tile = tile_of(target, Kind(node.dtype), shape)
    strip = min(shape.k, DEEP) * tile.columns * size
    crowded = (y.row * size) % _SET_STRIDE == 0
    return y.column != 1 or strip > _FIRST_CACHE or (crowded and shape.k > 8)


def panel_bytes(node: Node, target: Target) -> int:
    """Return the room that the panels take."""
    shape = product_of(node)
    tile = tile_of(target, Kind(node.dtype), shape)
    return shape.batch * panels_of(shape, tile) * node.dtype.itemsize


def panels_of(shape: Product, tile: Tile) -> int:
    """Return the elements of the panels of one right operand."""
    return -(-shape.n // tile.columns) * tile.columns * shape.k
