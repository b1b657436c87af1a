"""The text of a program: its kernels, its constants, and the main function.

`Module` is written from the first call to the last: it knows which thread runs what,
and where threads must wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from pellucid.engines.llvm.assembly import Assembly
from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.kernels import Kernel, Target
from pellucid.engines.llvm.meet import MEET
from pellucid.ir.graph import Node, input_node
from pellucid.ir.types import TensorType

__all__ = ["CELL", "SHARED_ELEMENTS", "Checked", "Module", "Region"]

_ALIGN = 64

CELL = TensorType((2,), np.dtype(np.int64))
"""The type of a cell that reports a broken bound: whether, and by which index."""

SHARED_ELEMENTS = 1 << 13
"""Elements below which threads cost more than they bring."""


class Checked(NamedTuple):
    """A gate with bounds: what to say where one is broken."""

    op: str
    place: str
    size: int


class Region(NamedTuple):
    """Memory of a block: a pointer, and how far behind it."""

    pointer: str
    start: int = 0

    def behind(self, place: int) -> Region:
        """Return the memory further on."""
        return Region(self.pointer, self.start + place)

    def at(self, module: Module, place: int = 0) -> str:
        """Return a pointer into it."""
        return module.at(self.pointer, self.start + place)


class Module:
    """The text so far: kernels by their text, constants by their bits."""

    def __init__(
        self, target: Target, threads: bool, barrier: int, cycles: int | None
    ) -> None:
        self.target = target
        self.threads = threads
        self.barrier = barrier
        """Where in the arena threads meet."""
        self._alone = ""
        """The label behind the code that only the first thread runs, inside of it."""
        self._dirty = False
        """Whether anything was computed since the threads last met."""
        self.cycles = cycles
        """Where in the arena cycles are counted, if they are."""
        self.timed: list[str] = []
        self.kernels: dict[str, str] = {}
        self.constants: dict[Node, str] = {}
        self.declared: set[str] = set()
        self.checked: list[Checked] = []
        self.main = Function()
        self._places: dict[tuple[str, int], str] = {}
        self._own, self._own_at, self._own_bytes = "%arena", 0, 0
        self.unit_at = 0
        """Where in a thread's own region its room for a matrix unit is."""

    def at(self, base: str, place: int) -> str:
        """Return a pointer into a region, computed once at the start."""
        if (base, place) not in self._places:
            entry = self.main.blocks[0]
            name = self.main.let(f"getelementptr i8, ptr {base}, i64 {place}", entry)
            self._places[base, place] = name
        return self._places[base, place]

    def own(self, arena_bytes: int, own_bytes: int, unit_at: int) -> None:
        """Give each thread a region of its own behind the arena; from `unit_at` on it
        serves a matrix unit."""
        self._own_at, self._own_bytes, self.unit_at = arena_bytes, own_bytes, unit_at
        start = self.main.let(f"mul i64 %thread, {own_bytes}")
        start = self.main.let(f"add i64 {start}, {arena_bytes}")
        self._own = self.main.let(f"getelementptr i8, ptr %arena, i64 {start}")

    def unit_room(self) -> str:
        """Return a pointer to this thread's room for a matrix unit."""
        return self.at(self._own, self.unit_at)

    def unit_marks(self, shared: bool) -> tuple[str, int | str, int]:
        """Return where the rooms of those start who did a product: a pointer, how many
        they are, and bytes from one to the next."""
        if not self.threads:
            return self.unit_room(), 1, 0
        first = self.at("%arena", self._own_at + self.unit_at)
        return first, "%threads" if shared else 1, self._own_bytes

    @contextmanager
    def apart(self) -> Iterator[str]:
        """In this block each thread works for itself, in the region that is yielded."""
        self.meet()
        threads, self.threads = self.threads, False
        yield self._own
        self.threads, self._dirty = threads, True

    def kernel(self, stored: set[Node], shared: bool = False) -> Kernel:
        """Return a kernel to be written."""
        return Kernel(self.target, stored, input_node(CELL, "error"), shared)

    def constant(self, node: Node) -> str:
        """Return a pointer to a constant's bytes."""
        return self.constants.setdefault(node, f"@c{len(self.constants)}")

    def call(self, kernel: Kernel, pointers: dict[Node, str], label: str) -> None:
        """Call a kernel; write it if its text is new."""
        text = kernel.text("K")
        for each, called in kernel.helpers.items():
            text = text.replace(f"@{called}(", f"@{self._named(each)}(")
        name = self._named(text)
        self.declared |= kernel.f.declared
        passed = ", ".join(
            "ptr "
            + (self.constant(each) if each.op.name == "const" else pointers[each])
            for each in kernel.buffers
        )
        self._gather_for(kernel.shared)
        if kernel.shared:
            passed += ", i64 %thread, i64 %threads"
        start = self._clock()
        self.main.do(f"call void @{name}({passed})")
        self._dirty = True
        self._count(start, f"{name} {label}")

    def _named(self, text: str) -> str:
        """Return the name of a function, the same for the same text."""
        return self.kernels.setdefault(text, f"k{len(self.kernels)}")

    def _gather_for(self, shared: bool) -> None:
        """Bring all threads, or the first one alone, to the next call."""
        if not self.threads or (self._alone and not shared):
            return
        self.meet()
        if not shared:
            first = self.main.let("icmp eq i64 %thread, 0")
            before, body = self.main.block, self.main.new_block("alone")
            after = self.main.new_block("together")
            before.end = f"br i1 {first}, label %{body.label}, label %{after.label}"
            self.main.block, self._alone = body, after.label

    def meet(self) -> None:
        """Let every thread wait for the others, if they have anything to wait for."""
        if not self.threads or not self._dirty:
            return
        if self._alone:
            self.main.block.end = f"br label %{self._alone}"
            self.main.block = next(
                each for each in self.main.blocks if each.label == self._alone
            )
            self._alone = ""
        place = self.at("%arena", self.barrier)
        self.main.do(f"call void @meet(ptr {place}, i64 %threads)")
        self._dirty = False

    @contextmanager
    def either(self, condition: str) -> Iterator[None]:
        """Write a block that is run where a condition holds that is the same for all
        threads. They have met."""
        with self.main.when(condition):
            yield
            if self._alone:
                self.meet()
        self._dirty = True

    def _clock(self) -> str:
        if self.cycles is None:
            return ""
        return self.main.call("llvm.readcyclecounter", "i64")

    def _count(self, start: str, label: str) -> None:
        if self.cycles is None:
            return
        cell = self.at("%arena", self.cycles + 8 * len(self.timed))
        self.timed.append(label)
        spent = self.main.let(f"sub i64 {self._clock()}, {start}")
        before = self.main.let(f"load i64, ptr {cell}")
        after = self.main.let(f"add i64 {before}, {spent}")
        self.main.do(f"store i64 {after}, ptr {cell}")

    def assembly(self) -> Assembly:
        """Return the module."""
        constants = [
            f"{name} = internal constant [{node.type.nbytes} x i8] "
            f'c"{_escaped(node)}", align {_ALIGN}'
            for node, name in self.constants.items()
        ]
        kernels = [
            text.replace("@K(", f"@{name}(") for text, name in self.kernels.items()
        ]
        if self.threads:
            kernels.append(MEET)
        main = (
            "define void @main(ptr %io, ptr %arena, i64 %thread, i64 %threads) {\n"
            f"{self.main.text()}\n}}"
        )
        return Assembly(sorted(self.declared), kernels, main, constants)


_ESCAPED = [f"\\{byte:02X}" for byte in range(256)]


def _escaped(node: Node) -> str:
    return "".join(map(_ESCAPED.__getitem__, node.attrs["value"].array.tobytes()))
