"""Copies that turn a value: squares of it are turned in registers.

Where neighbours of the copy lie far apart in the value, an element at a time would be
read. Some other axis has its neighbours side by side: a square of vectors is read
along it, turned, and written along the copy's last axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel, strided
from pellucid.engines.llvm.nest import lanes_for
from pellucid.engines.llvm.vectors import load, mask_of, store
from pellucid.ir.graph import Node

__all__ = ["square_turned", "turn", "turn_square", "turns"]


@dataclass(frozen=True)
class _Turn:
    """Where a value lies: in which node, from where on, in which strides; and which
    axis has its neighbours side by side."""

    source: Node
    start: int
    strides: tuple[int, ...]
    beside: int
    kind: Kind


def turns(kernel: Kernel, value: Node, place: Node) -> bool:
    """Return whether a copy of a value turns it, so that `turn` is worth it."""
    return _found(kernel, value, place) is not None


def _found(kernel: Kernel, value: Node, place: Node) -> _Turn | None:
    dtype = value.dtype
    if value.ndim < 2 or dtype.itemsize not in (4, 8) or not value.type.size:
        return None
    lies = strided(value, kernel.stored - {place})
    if lies is None:
        return None
    source, start, strides = lies
    beside = [i for i, step in enumerate(strides[:-1]) if step == 1]
    if strides[-1] in (0, 1) or not beside:
        return None
    axis = max(beside, key=value.shape.__getitem__)
    least = min(value.shape[axis], value.shape[-1])
    lanes = lanes_for([dtype], least, kernel.target.register_bytes)
    if lanes < 4:
        return None
    return _Turn(source, start, strides, axis, Kind(dtype, lanes))


def turn(kernel: Kernel, value: Node, place: Node) -> None:
    """Write the copy of a value into the memory of a node of the same shape."""
    found = _found(kernel, value, place)
    assert found is not None
    f, lanes, shape = kernel.f, found.kind.lanes, value.shape
    row_major = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    last = len(shape) - 1
    others = [i for i in range(last) if i != found.beside and shape[i] > 1]
    parts = [_parts(shape[axis], lanes) for axis in (found.beside, last)]
    for (first, blocks, columns), (begin, count, rows) in product(*parts):
        loops = [*((i, shape[i], 1) for i in others), (found.beside, blocks, lanes)]
        size = math.prod(n for _, n, _ in loops)
        with f.shared_loop(size) if kernel.shared else f.loop(size) as index:
            read, written = (
                str(found.start + first),
                str(first * row_major[found.beside]),
            )
            for axis, n, step in reversed(loops):
                counter = f.let(f"urem i64 {index}, {n}")
                index = f.let(f"udiv i64 {index}, {n}")
                read = _sum(f, read, counter, step * found.strides[axis])
                written = _sum(f, written, counter, step * row_major[axis])
            with f.loop(count) as block:
                column = _sum(f, str(begin), block, lanes)
                read = _sum(f, read, column, found.strides[-1])
                source = _moved(f, found.kind, kernel.pointer(found.source), read)
                written = _sum(f, written, column, 1)
                target = _moved(f, found.kind, kernel.pointer(place), written)
                turn_square(
                    kernel,
                    found.kind,
                    (source, found.strides[-1]),
                    (target, row_major[found.beside]),
                    rows,
                    columns,
                )


def _parts(size: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut an axis: (start, blocks, size of each), whole blocks and what remains."""
    whole, rest = divmod(size, lanes)
    parts = [(0, whole, lanes)] if whole else []
    return [*parts, (whole * lanes, 1, rest)] if rest else parts


def _sum(f: Function, total: str, counter: str, factor: int) -> str:
    moved = f.let(f"mul nsw i64 {counter}, {factor}")
    return f.let(f"add nsw i64 {total}, {moved}")


def turn_square(
    kernel: Kernel,
    kind: Kind,
    read: tuple[str, int],
    written: tuple[str, int],
    rows: int,
    columns: int,
) -> None:
    """Read rows of a square, turn it, and write its columns.

    Both are pointers, and elements from one row to the next. Kernels share the code of
    large squares: it is many instructions, which take long to compile.
    """
    if kind.lanes < _LARGE:
        _write_square(kernel.f, kind, read, written, rows, columns)
        return
    name = kernel.helper(_square(kind, rows, columns), _PLACES)
    passed = ", ".join(f"ptr {place}, i64 {step}" for place, step in (read, written))
    kernel.f.do(f"call void @{name}({passed})")


_LARGE = 8
"""Lanes of a square from which on a call takes much less time than the square."""

_PLACES = "ptr %read, i64 %read_step, ptr %written, i64 %written_step"


@cache
def _square(kind: Kind, rows: int, columns: int) -> Function:
    f = Function()
    read, written = ("%read", "%read_step"), ("%written", "%written_step")
    _write_square(f, kind, read, written, rows, columns)
    return f


def _write_square(
    f: Function,
    kind: Kind,
    read: tuple[str, int | str],
    written: tuple[str, int | str],
    rows: int,
    columns: int,
) -> None:
    lines = ["zeroinitializer"] * kind.lanes
    place, step = read
    for r in range(rows):
        lines[r] = load(f, kind, place, mask_of(kind, columns))
        place = _moved(f, kind, place, str(step))
    place, step = written
    for line in square_turned(f, kind, lines)[:columns]:
        store(f, kind, line, place, mask_of(kind, rows))
        place = _moved(f, kind, place, str(step))


def _moved(f: Function, kind: Kind, base: str, place: str) -> str:
    return f.let(f"getelementptr {kind.scalar}, ptr {base}, i64 {place}")


def square_turned(f: Function, kind: Kind, lines: Sequence[str]) -> list[str]:
    """Return the columns of a square of vectors: halves of halves change places."""
    turned, step = list(lines), kind.lanes // 2
    while step:
        low = [i if not i & step else kind.lanes + i - step for i in range(kind.lanes)]
        high = [i + step if not i & step else kind.lanes + i for i in range(kind.lanes)]
        for i in range(kind.lanes):
            if not i & step:
                x, y = turned[i], turned[i + step]
                turned[i] = _shuffle(f, kind, x, y, low)
                turned[i + step] = _shuffle(f, kind, x, y, high)
        step //= 2
    return turned


def _shuffle(f: Function, kind: Kind, x: str, y: str, order: Sequence[int]) -> str:
    lanes = ", ".join(f"i32 {i}" for i in order)
    chosen = f"<{kind.lanes} x i32> <{lanes}>"
    return f.let(f"shufflevector {kind} {x}, {kind} {y}, {chosen}")
