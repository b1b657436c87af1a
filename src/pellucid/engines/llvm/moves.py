"""Kernels that move elements: gathers, scatters, joins, padding, and random words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pellucid.dtypes import is_float
from pellucid.engines.llvm.emit import Function, Kind, memory_type
from pellucid.engines.llvm.kernels import Kernel, map_kernel, strided
from pellucid.engines.llvm.nest import Nest, Value, lanes_for
from pellucid.engines.llvm.reductions import argmax, reduction
from pellucid.engines.llvm.turns import turn, turns
from pellucid.ir.graph import Node
from pellucid.passes.fuse import Affine, Index, identity, offset

__all__ = ["KERNELS", "copy", "is_copy"]


# --- indexing --------------------------------------------------------------------


def _in_memory(kernel: Kernel, node: Node) -> tuple[Node, int, tuple[int, ...]]:
    found = strided(node, kernel.stored)
    assert found is not None, f"{node} is not in memory"
    return found


def _dynamic(
    kernel: Kernel, nest: Nest, base: Node, place: Affine, row: str, stride: int
) -> str:
    """Return the address of an element whose row is known only at run time."""
    f = kernel.f
    moved = f.let(f"mul nsw i64 {row}, {stride}")
    position = f.let(f"add nsw i64 {nest.position(place)}, {moved}")
    memory = memory_type(Kind(base.dtype))
    return f.let(f"getelementptr {memory}, ptr {kernel.pointer(base)}, i64 {position}")


def _row_number(kernel: Kernel, value: Value, size: int) -> str:
    """Return an index as an integer; one that is outside is reported and becomes 0."""
    f, row = kernel.f, value.name
    if value.kind.scalar != "i64":
        way = "sext" if value.kind.is_signed else "zext"
        row = f.let(f"{way} {value.kind} {row} to i64")
    outside = f.let(f"icmp uge i64 {row}, {size}")
    flag = kernel.pointer(kernel.error)
    place = f.let(f"getelementptr i64, ptr {flag}, i64 1")
    with f.when(outside):  # all threads share the cell: it is written on faults only
        first = f.let(f"icmp eq i64 {f.let(f'load i64, ptr {flag}')}, 0")
        index = f.let(f"load i64, ptr {place}")
        kept = f.let(f"select i1 {first}, i64 {row}, i64 {index}")
        f.do(f"store i64 {kept}, ptr {place}")
        f.do(f"store i64 1, ptr {flag}")
    return f.let(f"select i1 {outside}, i64 0, i64 {row}")


def _row_at(kernel: Kernel, nest: Nest, indices: Node, at: Index, size: int) -> str:
    """Return an index, read as one number in a nest of vectors."""
    plain, nest.lanes, nest.vector = (nest.lanes, nest.vector), 1, None
    row = _row_number(kernel, nest.value(indices, at), size)
    nest.lanes, nest.vector = plain
    return row


def _gather(kernel: Kernel, node: Node) -> None:
    """Copy rows by number. Bounds are checked before the program runs."""
    x, indices = node.inputs
    axis, count = node.attrs["axis"], indices.ndim
    if node.type.size == 0:
        return
    base, start, strides = _in_memory(kernel, x)
    index = identity(node)
    at = index[axis : axis + count]
    place = Affine(start)
    for i, stride in enumerate(strides[:axis]):
        place = place + index[i].times(stride)
    for i, stride in enumerate(strides[axis + 1 :]):
        place = place + index[axis + count + i].times(stride)
    vector, lanes = _row_vector(kernel, node, axis + count, strides[axis + 1 :])
    nest = kernel.nest(node.shape, vector, lanes)
    nest.split = kernel.shared
    out = offset(node.shape, index)
    with nest.over(range(axis + count)):
        row = _row_at(kernel, nest, indices, at, x.shape[axis])
        rest = [i for i in range(axis + count, node.ndim) if i != vector]
        with nest.over(rest):
            for _ in nest.vectors() if vector is not None else [None]:
                address = _dynamic(kernel, nest, base, place, row, strides[axis])
                _copy_from(nest, node, address, out)


def _row_vector(
    kernel: Kernel, node: Node, first: int, strides: Sequence[int]
) -> tuple[int | None, int]:
    last = node.ndim - 1
    if last < first or strides[-1] != 1 or node.shape[-1] == 1:
        return None, 1
    lanes = lanes_for([node.dtype], node.shape[-1], kernel.target.register_bytes)
    return (last, lanes) if lanes > 1 else (None, 1)


def _copy_from(nest: Nest, node: Node, address: str, out: Affine) -> None:
    kind = Kind(node.dtype, nest.lanes)
    value = Value(nest.read(address, kind), kind, len(nest.levels) - 1)
    nest.store(node, out, value)


def _scatter_add(kernel: Kernel, node: Node) -> None:
    """Copy x, then add the updates in the order of the indices."""
    x, indices, updates = node.inputs
    axis, count = node.attrs["axis"], indices.ndim
    map_kernel(kernel, node.shape, [(x, node)])
    if updates.type.size == 0:
        return
    first, strides = axis + count, _row_major(node.shape)
    vector, lanes = _row_vector(kernel, updates, first, strides[axis + 1 :])
    nest, index = kernel.nest(updates.shape, vector, lanes), identity(updates)
    place = Affine()
    for i in range(axis):
        place = place + index[i].times(strides[i])
    for i in range(axis + 1, node.ndim):
        place = place + index[count + i - 1].times(strides[i])
    with nest.over(range(axis, first)):
        row = _row_at(kernel, nest, indices, index[axis:first], x.shape[axis])
        rest = [i for i in (*range(axis), *range(first, updates.ndim)) if i != vector]
        with nest.over(rest):
            for _ in nest.vectors() if vector is not None else [None]:
                address = _dynamic(kernel, nest, node, place, row, strides[axis])
                _add_at(nest, address, nest.spread(nest.value(updates, index)))


def _add_at(nest: Nest, address: str, update: Value) -> None:
    kind, way = update.kind, "fadd" if is_float(update.kind.dtype) else "add"
    old = nest.read(address, kind)
    new = nest.f.let(f"{way} {kind} {old}, {update.name}")
    nest.write(address, Value(new, kind, update.level))


def _row_major(shape: Sequence[int]) -> list[int]:
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return strides


# --- joining ---------------------------------------------------------------------


def _copy_part(
    kernel: Kernel, part: Node, node: Node, start: Sequence[int], step: Sequence[int]
) -> None:
    """Write a value into a part of a node's memory."""
    if part.type.size == 0:
        return
    index = identity(part)
    moved = tuple(i.times(k, s) for i, k, s in zip(index, step, start))
    out = offset(node.shape, moved)
    last = part.ndim - 1
    vector, lanes = None, 1
    if last >= 0 and part.shape[last] > 1 and step[last] == 1:
        vector = last
        lanes = lanes_for([part.dtype], part.shape[last], kernel.target.register_bytes)
    nest = kernel.nest(part.shape, vector, lanes)
    with nest.over([i for i in range(part.ndim) if i != vector]):
        for _ in nest.vectors() if vector is not None else [None]:
            nest.store(node, out, nest.value(part, index))


def _concat(kernel: Kernel, node: Node) -> None:
    axis, begin = node.attrs["axis"], 0
    for part in node.inputs:
        start = [begin if i == axis else 0 for i in range(node.ndim)]
        _copy_part(kernel, part, node, start, [1] * node.ndim)
        begin += part.shape[axis]


def _pad(kernel: Kernel, node: Node) -> None:
    x, value = node.inputs
    if node.type.size == 0:
        return
    if is_copy(node):
        copy(kernel, x, node)
        return
    size = node.type.size
    lanes = lanes_for([node.dtype], size, kernel.target.register_bytes)
    nest = kernel.nest([size], 0, lanes)
    place = Affine.counter(0) if size > 1 else Affine()
    for _ in nest.vectors():
        nest.store(node, place, nest.value(value, ()))
    step = [gap + 1 for gap in node.attrs["interior"]]
    _copy_part(kernel, x, node, node.attrs["low"], step)


def copy(kernel: Kernel, value: Node, place: Node) -> None:
    """Compute a value into the memory of a node of the same shape."""
    if turns(kernel, value, place):
        turn(kernel, value, place)
    else:
        map_kernel(kernel, place.shape, [(value, place)])


def is_copy(node: Node) -> bool:
    """Return whether a `pad` puts nothing around or between entries."""
    return bool(node.type.size == node.inputs[0].type.size)


# --- randomness ------------------------------------------------------------------

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def _random_bits(kernel: Kernel, node: Node) -> None:
    """Philox4x32-10, a block of four words an iteration."""
    size, f = node.type.size, kernel.f
    if size == 0:
        return
    key, counter = node.inputs
    nest = kernel.nest([-(-size // 4)])
    words = [
        nest.value(each, (Affine(i),)).name for each in (key, counter) for i in range(2)
    ]
    blocks, rest = divmod(size, 4)
    if blocks:
        with f.loop(blocks) as block:
            found = _philox(f, block, words)
            _put(kernel, node, f.let(f"mul i64 {block}, 4"), found)
    if rest:
        found = _philox(f, str(blocks), words)
        _put(kernel, node, str(blocks * 4), found[:rest])


def _put(kernel: Kernel, node: Node, first: str, words: Sequence[str]) -> None:
    f, base = kernel.f, kernel.pointer(node)
    start = f.let(f"getelementptr i32, ptr {base}, i64 {first}")
    for i, word in enumerate(words):
        address = f.let(f"getelementptr i32, ptr {start}, i64 {i}")
        f.do(f"store i32 {word}, ptr {address}")


def _philox(f: Function, block: str, words: Sequence[str]) -> list[str]:
    k0, k1, c2, c3 = words
    c0 = f.let(f"trunc i64 {block} to i32")
    c1 = f.let(f"trunc i64 {f.let(f'lshr i64 {block}, 32')} to i32")
    for _ in range(10):
        high0, low0 = _multiply(f, c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(f, c2, _MULTIPLIERS[1])
        c0 = f.let(f"xor i32 {f.let(f'xor i32 {high1}, {c1}')}, {k0}")
        c2 = f.let(f"xor i32 {f.let(f'xor i32 {high0}, {c3}')}, {k1}")
        c1, c3 = low1, low0
        k0 = f.let(f"add i32 {k0}, {_WEYL[0]}")
        k1 = f.let(f"add i32 {k1}, {_WEYL[1]}")
    return [c0, c1, c2, c3]


def _multiply(f: Function, x: str, by: int) -> tuple[str, str]:
    wide = f.let(f"mul i64 {f.let(f'zext i32 {x} to i64')}, {by}")
    high = f.let(f"trunc i64 {f.let(f'lshr i64 {wide}, 32')} to i32")
    return high, f.let(f"trunc i64 {wide} to i32")


KERNELS: dict[str, Callable[[Kernel, Node], None]] = {
    "sum": reduction,
    "max": reduction,
    "argmax": argmax,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "concat": _concat,
    "pad": _pad,
    "random_bits": _random_bits,
}
"""The gates with loops of their own, but the products and the two that run a body."""
