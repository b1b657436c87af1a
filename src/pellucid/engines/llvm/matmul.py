"""Matrix products, written for their exact shape.

A tile of the result is held in registers while the inner loop adds products of a
broadcast element of the left operand with vectors of the right one. The right operand
must have its columns side by side; where it has not, or where its rows lie so far
apart that they would crowd each other out of the cache, it is first brought into
panels: a panel holds as many columns as a tile is wide, row under row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pellucid.engines.llvm.emit import Kind
from pellucid.engines.llvm.kernels import Kernel, Target, strided
from pellucid.engines.llvm.maths import fma
from pellucid.ir.graph import Node

__all__ = ["Product", "matmul"]

_DEEP = 512
"""The most rows of the right operand that one pass goes through."""

_WORTH_SHARING = 1 << 20
"""Multiplications below which threads cost more than they bring."""

_SMALL = 1 << 19
"""Multiplications below which the time to compile counts more than the last tenth."""

_FIRST_CACHE = 24 << 10
"""Bytes of a tile's rows that stay in the first cache beside the left operand."""

_SET_STRIDE = 2048
"""Bytes between rows at which they fall into few sets of the first cache."""


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


# --- writing the kernel ----------------------------------------------------------


@dataclass(frozen=True)
class _Tile:
    rows: int
    vectors: int
    kind: Kind

    @property
    def columns(self) -> int:
        return self.vectors * self.kind.lanes


def _tile(target: Target, dtype: Kind, shape: Product) -> _Tile:
    """Return the tile that fills the registers and fits the result."""
    m, n = shape.m, shape.n
    small = m * n * shape.k < _SMALL
    lanes = max(1, target.register_bytes // dtype.dtype.itemsize)
    while lanes > 1 and lanes // 2 >= n:
        lanes //= 2
    vectors = 2 if n > lanes else 1
    most = (target.registers - 1 - vectors) // vectors
    most = min(most, 14 if vectors == 2 else 16)
    # Tiles of one height are less code to compile, which counts where the product is
    # small; else they are high and even: a last row or two would idle registers.
    least = 8 if small else 11
    whole = [rows for rows in range(least, most + 1) if m % rows == 0]
    rows = max(whole, default=-(-m // max(1, -(-m // most))))
    return _Tile(rows, vectors, Kind(dtype.dtype, lanes))


def matmul(kernel: Kernel, node: Node, x: Operand, y: Operand, scratch: str) -> None:
    """Write a product of floats; `scratch` points to room for the panels."""
    shape, f = product_of(node), kernel.f
    out = kernel.pointer(node)
    left, right = kernel.pointer(x.source), kernel.pointer(y.source)
    size = Kind(node.dtype)
    loops = [shape.batch] if shape.batch > 1 else []
    if not loops:
        bases = [
            _moved(kernel, size, left, str(x.start)),
            _moved(kernel, size, right, str(y.start)),
            out,
        ]
        _one(kernel, shape, size, bases, x, y, scratch)
        return
    with f.loop(shape.batch) as b:
        bases = []
        for base, start, step in (
            (left, x.start, x.batch),
            (right, y.start, y.batch),
            (out, 0, shape.m * shape.n),
        ):
            place = f.let(f"mul nsw i64 {b}, {step}")
            place = f.let(f"add nsw i64 {place}, {start}")
            bases.append(_moved(kernel, size, base, place))
        _one(kernel, shape, size, bases, x, y, scratch)


def _moved(kernel: Kernel, size: Kind, base: str, place: str) -> str:
    if place == "0":
        return base
    return kernel.f.let(f"getelementptr {size}, ptr {base}, i64 {place}")


def can_share(node: Node, target: Target) -> bool:
    """Return whether there are panels enough to share, and work in them."""
    shape = product_of(node)
    tile = _tile(target, Kind(node.dtype), shape)
    return shape.n >= 2 * tile.columns and shape.work >= _WORTH_SHARING


def needs_panels(node: Node, y: Operand, target: Target) -> bool:
    """Return whether the right operand is brought into panels first.

    Columns that stand apart must be. Rows of a tile's width stay where they are as
    long as they fit the first cache together and do not crowd its sets.
    """
    shape, size = product_of(node), node.dtype.itemsize
    if shape.n == 1 or shape.m < 32:
        return y.column != 1 and shape.n > 1
    tile = _tile(target, Kind(node.dtype), shape)
    strip = min(shape.k, _DEEP) * tile.columns * size
    crowded = (y.row * size) % _SET_STRIDE == 0
    return y.column != 1 or strip > _FIRST_CACHE or (crowded and shape.k > 8)


def panel_bytes(node: Node, target: Target) -> int:
    """Return the room that the panels take."""
    shape = product_of(node)
    tile = _tile(target, Kind(node.dtype), shape)
    return -(-shape.n // tile.columns) * tile.columns * shape.k * node.dtype.itemsize


def _one(
    kernel: Kernel,
    shape: Product,
    size: Kind,
    bases: Sequence[str],
    x: Operand,
    y: Operand,
    scratch: str,
) -> None:
    tile = _tile(kernel.target, size, shape)
    a = Matrix(bases[0], x.row, x.column)
    b = Matrix(bases[1], y.row, y.column)
    if scratch:
        _pack(kernel, b, shape, tile, scratch)
    passes = -(-shape.k // _DEEP)
    depth = -(-shape.k // passes) if passes else 0
    for first in range(0, shape.k, depth or 1):
        _pass(
            kernel,
            shape,
            tile,
            a,
            b,
            bases[2],
            scratch,
            first,
            min(depth, shape.k - first),
        )


def _pass(
    kernel: Kernel,
    shape: Product,
    tile: _Tile,
    a: Matrix,
    b: Matrix,
    out: str,
    scratch: str,
    first: int,
    depth: int,
) -> None:
    """Add the products of `depth` inner positions to every tile."""
    f, size = kernel.f, Kind(tile.kind.dtype)
    whole, rest = divmod(shape.n, tile.columns)

    def column(j: str, panel: str, columns: int) -> None:
        if scratch:
            base = f.let(f"mul nsw i64 {panel}, {shape.k * tile.columns}")
            base = f.let(f"add nsw i64 {base}, {first * tile.columns}")
            right = Matrix(_moved(kernel, size, scratch, base), tile.columns, 1)
        else:
            place = f.let(f"add nsw i64 {j}, {first * b.row}")
            right = Matrix(_moved(kernel, size, b.pointer, place), b.row, 1)
        _rows(kernel, shape, tile, a, right, out, j, columns, first, depth)

    _over_panels(
        kernel,
        whole,
        rest,
        lambda panel: column(
            f.let(f"mul nsw i64 {panel}, {tile.columns}"), panel, tile.columns
        ),
        lambda: column(str(whole * tile.columns), str(whole), rest),
    )


def _over_panels(
    kernel: Kernel,
    whole: int,
    rest: int,
    one: Callable[[str], None],
    last: Callable[[], None],
) -> None:
    """Go over whole panels and the last, narrower one; threads share the panels.

    A thread packs the very panels that it then multiplies by.
    """
    f = kernel.f
    if whole:
        with f.shared_loop(whole) if kernel.shared else f.loop(whole) as panel:
            one(panel)
    if rest and kernel.shared:
        with f.when(f.is_last()):
            last()
    elif rest:
        last()


def _rows(
    kernel: Kernel,
    shape: Product,
    tile: _Tile,
    a: Matrix,
    right: Matrix,
    out: str,
    j: str,
    columns: int,
    first: int,
    depth: int,
) -> None:
    whole, rest = divmod(shape.m, tile.rows)

    def row(i: str, rows: int) -> None:
        _tile_loop(
            kernel, shape, tile, a, right, out, i, j, rows, columns, first, depth
        )

    if whole:
        with kernel.f.loop(whole) as block:
            row(kernel.f.let(f"mul nsw i64 {block}, {tile.rows}"), tile.rows)
    if rest:
        row(str(whole * tile.rows), rest)


def _tile_loop(
    kernel: Kernel,
    shape: Product,
    tile: _Tile,
    a: Matrix,
    right: Matrix,
    out: str,
    i: str,
    j: str,
    rows: int,
    columns: int,
    first: int,
    depth: int,
) -> None:
    """Fill one tile of the result."""
    f, kind, size = kernel.f, tile.kind, Kind(tile.kind.dtype)
    vectors = -(-columns // kind.lanes)
    masks = [_mask(kind, columns - v * kind.lanes) for v in range(vectors)]
    results = _result_places(kernel, shape, size, out, i, j, rows, kind, vectors)
    cells = [
        [f.let(f"alloca {kind}", f.blocks[0]) for _ in range(vectors)]
        for _ in range(rows)
    ]
    for r in range(rows):
        for v in range(vectors):
            start = kind.constant(0)
            if first:
                start = _load(kernel, kind, results[r][v], masks[v])
            f.do(f"store {kind} {start}, ptr {cells[r][v]}")
    place = f.let(f"mul nsw i64 {i}, {a.row}")
    place = f.let(f"add nsw i64 {place}, {first * a.column}")
    left = _moved(kernel, size, a.pointer, place)
    if depth:
        with f.loop(depth) as k:
            _step(kernel, kind, cells, masks, left, a, right, k)
    for r in range(rows):
        for v in range(vectors):
            value = f.let(f"load {kind}, ptr {cells[r][v]}")
            _store(kernel, kind, value, results[r][v], masks[v])


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
    row = _moved(kernel, size, right.pointer, f.let(f"mul nsw i64 {k}, {right.row}"))
    wide = []
    for v, mask in enumerate(masks):
        address = _moved(kernel, size, row, str(v * kind.lanes))
        wide.append(_load(kernel, kind, address, mask))
    base = _moved(kernel, size, left, f.let(f"mul nsw i64 {k}, {a.column}"))
    for r, line in enumerate(cells):
        address = _moved(kernel, size, base, str(r * a.row))
        one = _splat(kernel, kind, f.let(f"load {size}, ptr {address}"))
        for v, cell in enumerate(line):
            old = f.let(f"load {kind}, ptr {cell}")
            new = fma(f, kind, one, wide[v], old)
            f.do(f"store {kind} {new}, ptr {cell}")


def _splat(kernel: Kernel, kind: Kind, name: str) -> str:
    if kind.lanes == 1:
        return name
    one = kernel.f.let(f"insertelement {kind} poison, {kind.scalar} {name}, i32 0")
    return kernel.f.let(
        f"shufflevector {kind} {one}, {kind} poison, <{kind.lanes} x i32> "
        "zeroinitializer"
    )


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
    base = _moved(kernel, size, out, f.let(f"add nsw i64 {start}, {j}"))
    return [
        [
            _moved(kernel, size, base, str(r * shape.n + v * kind.lanes))
            for v in range(vectors)
        ]
        for r in range(rows)
    ]


def _mask(kind: Kind, active: int) -> str:
    if active >= kind.lanes:
        return ""
    lanes = ", ".join(
        f"i1 {'true' if i < active else 'false'}" for i in range(kind.lanes)
    )
    return f"<{lanes}>"


def _load(kernel: Kernel, kind: Kind, address: str, mask: str) -> str:
    size = kind.dtype.itemsize
    if not mask:
        return kernel.f.let(f"load {kind}, ptr {address}, align {size}")
    return kernel.f.call(
        f"llvm.masked.load.{kind.suffix}.p0",
        str(kind),
        ("ptr", address),
        ("i32", str(size)),
        (f"<{kind.lanes} x i1>", mask),
        (str(kind), "zeroinitializer"),
    )


def _store(kernel: Kernel, kind: Kind, value: str, address: str, mask: str) -> None:
    size = kind.dtype.itemsize
    if not mask:
        kernel.f.do(f"store {kind} {value}, ptr {address}, align {size}")
        return
    function, truth = f"llvm.masked.store.{kind.suffix}.p0", f"<{kind.lanes} x i1>"
    kernel.f.declared.add(f"declare void @{function}({kind}, ptr, i32, {truth})")
    kernel.f.do(
        f"call void @{function}({kind} {value}, ptr {address}, i32 {size}, "
        f"{truth} {mask})"
    )


# --- panels ----------------------------------------------------------------------


def _pack(kernel: Kernel, b: Matrix, shape: Product, tile: _Tile, scratch: str) -> None:
    """Bring the right operand into panels; columns beyond the end become zero."""
    f, size = kernel.f, Kind(tile.kind.dtype)
    whole, rest = divmod(shape.n, tile.columns)

    def panel(number: str, columns: int) -> None:
        place = f.let(f"mul nsw i64 {number}, {tile.columns * b.column}")
        source = Matrix(_moved(kernel, size, b.pointer, place), b.row, b.column)
        place = f.let(f"mul nsw i64 {number}, {tile.columns * shape.k}")
        target = _moved(kernel, size, scratch, place)
        _pack_panel(kernel, source, shape.k, tile, columns, target)

    _over_panels(
        kernel,
        whole,
        rest,
        lambda number: panel(number, tile.columns),
        lambda: panel(str(whole), rest),
    )


def _pack_panel(
    kernel: Kernel, b: Matrix, depth: int, tile: _Tile, columns: int, target: str
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
    kernel: Kernel, b: Matrix, tile: _Tile, target: str, k: str, v: int, columns: int
) -> None:
    """Bring one row of a vector of columns, an element at a time or at once."""
    kind, f, size = tile.kind, kernel.f, Kind(tile.kind.dtype)
    row = _moved(kernel, size, b.pointer, f.let(f"mul nsw i64 {k}, {b.row}"))
    active = min(kind.lanes, columns - v * kind.lanes)
    if b.column == 1:
        address = _moved(kernel, size, row, str(v * kind.lanes))
        value = _load(kernel, kind, address, _mask(kind, active))
    else:
        value = kind.constant(0) if kind.lanes == 1 else "zeroinitializer"
        for lane in range(active):
            place = str((v * kind.lanes + lane) * b.column)
            one = f.let(f"load {size}, ptr {_moved(kernel, size, row, place)}")
            value = (
                one
                if kind.lanes == 1
                else f.let(f"insertelement {kind} {value}, {size} {one}, i32 {lane}")
            )
    place = f.let(f"mul nsw i64 {k}, {tile.columns}")
    place = f.let(f"add nsw i64 {place}, {v * kind.lanes}")
    _store(kernel, kind, value, _moved(kernel, size, target, place), "")


def _turn(kernel: Kernel, b: Matrix, tile: _Tile, target: str, k: str, v: int) -> None:
    """Transpose a square of lanes × lanes in registers, halves of halves swapped."""
    kind, f, size = tile.kind, kernel.f, Kind(tile.kind.dtype)
    lanes = kind.lanes
    lines = []
    for lane in range(lanes):
        column = (v * lanes + lane) * b.column
        base = _moved(kernel, size, b.pointer, str(column))
        address = _moved(kernel, size, base, k)
        lines.append(f.let(f"load {kind}, ptr {address}, align {size.dtype.itemsize}"))
    step = lanes // 2
    while step:
        for i in range(lanes):
            if i & step:
                continue
            low, high = _swap_halves(lanes, step)
            x, y = lines[i], lines[i + step]
            lines[i] = _shuffle(kernel, kind, x, y, low)
            lines[i + step] = _shuffle(kernel, kind, x, y, high)
        step //= 2
    for lane, line in enumerate(lines):
        place = f.let(f"add nsw i64 {k}, {lane}")
        place = f.let(f"mul nsw i64 {place}, {tile.columns}")
        place = f.let(f"add nsw i64 {place}, {v * lanes}")
        _store(kernel, kind, line, _moved(kernel, size, target, place), "")


def _swap_halves(lanes: int, step: int) -> tuple[list[int], list[int]]:
    """Return which lanes of a pair of lines make the new pair."""
    low = [i if not i & step else lanes + i - step for i in range(lanes)]
    high = [i + step if not i & step else lanes + i for i in range(lanes)]
    return low, high


def _shuffle(kernel: Kernel, kind: Kind, x: str, y: str, order: Sequence[int]) -> str:
    places = ", ".join(f"i32 {i}" for i in order)
    return kernel.f.let(
        f"shufflevector {kind} {x}, {kind} {y}, <{kind.lanes} x i32> <{places}>"
    )
