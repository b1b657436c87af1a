"""Products of integers: three plain loops."""

from __future__ import annotations

from pellucid.engines.llvm.emit import Kind, memory_type
from pellucid.engines.llvm.kernels import Kernel
from pellucid.engines.llvm.products import Operand, product_of
from pellucid.ir.graph import Node

__all__ = ["plain_product"]


def plain_product(kernel: Kernel, node: Node, x: Operand, y: Operand) -> None:
    """Write a product of integers: three loops."""
    shape, f, kind = product_of(node), kernel.f, Kind(node.dtype)
    memory = memory_type(kind)
    pointers = [kernel.pointer(each) for each in (x.source, y.source, node)]
    cell = f.let(f"alloca {kind}", f.blocks[0])

    def at(base: str, start: int, *steps: tuple[str, int]) -> str:
        place = str(start)
        for counter, step in steps:
            moved = f.let(f"mul nsw i64 {counter}, {step}")
            place = f.let(f"add nsw i64 {place}, {moved}")
        return f.let(f"getelementptr {memory}, ptr {base}, i64 {place}")

    with f.loop(shape.batch) as b, f.loop(shape.m) as i, f.loop(shape.n) as j:
        f.do(f"store {kind} 0, ptr {cell}")
        if shape.k:
            with f.loop(shape.k) as k:
                left = at(pointers[0], x.start, (b, x.batch), (i, x.row), (k, x.column))
                right = at(
                    pointers[1], y.start, (b, y.batch), (k, y.row), (j, y.column)
                )
                one = f.let(f"load {kind}, ptr {left}")
                two = f.let(f"load {kind}, ptr {right}")
                part = f.let(f"mul {kind} {one}, {two}")
                old = f.let(f"load {kind}, ptr {cell}")
                f.do(f"store {kind} {f.let(f'add {kind} {old}, {part}')}, ptr {cell}")
        total = f.let(f"load {kind}, ptr {cell}")
        size = shape.m * shape.n
        f.do(
            f"store {kind} {total}, ptr "
            f"{at(pointers[2], 0, (b, size), (i, shape.n), (j, 1))}"
        )
