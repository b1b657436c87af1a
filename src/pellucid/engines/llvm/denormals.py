"""Numbers too small for all of their digits count as 0 while a program trains.

Such denormal numbers, below 1.2e-38 in 32 bits, come up by themselves: a mean of
squares that are no more shrinks step by step. A processor takes a hundred times as
long for each. A program that loops with state has no use for them; others keep them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.kernels import Target
from pellucid.ir.graph import Graph

__all__ = ["flushed", "loops_with_state"]

_X86_BITS = 0x8040
"""Of the register MXCSR: results flushed to zero, and operands."""

_ARM_BIT = 1 << 24
"""Of the register FPCR: both."""


def loops_with_state(graph: Graph) -> bool:
    """Return whether a graph is a loop that carries something, as training does."""
    return any(n.op.name == "scan" and n.attrs["carries"] for n in graph.nodes)


@contextmanager
def flushed(f: Function, target: Target) -> Iterator[None]:
    """Let the block compute without denormal numbers, if the processor can."""
    how = {"x86": _x86, "arm": _arm}.get(target.family)
    if how is None:
        yield
        return
    with how(f):
        yield


@contextmanager
def _x86(f: Function) -> Iterator[None]:
    before, within = (f.let("alloca i32", f.blocks[0]) for _ in range(2))
    f.declared |= {
        "declare void @llvm.x86.sse.stmxcsr(ptr)",
        "declare void @llvm.x86.sse.ldmxcsr(ptr)",
    }
    f.do(f"call void @llvm.x86.sse.stmxcsr(ptr {before})")
    bits = f.let(f"or i32 {f.let(f'load i32, ptr {before}')}, {_X86_BITS}")
    f.do(f"store i32 {bits}, ptr {within}")
    f.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {within})")
    yield
    f.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {before})")


@contextmanager
def _arm(f: Function) -> Iterator[None]:
    before = f.call("llvm.aarch64.get.fpcr", "i64")
    f.declared.add("declare void @llvm.aarch64.set.fpcr(i64)")
    within = f.let(f"or i64 {before}, {_ARM_BIT}")
    f.do(f"call void @llvm.aarch64.set.fpcr(i64 {within})")
    yield
    f.do(f"call void @llvm.aarch64.set.fpcr(i64 {before})")
