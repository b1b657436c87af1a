"""Writing LLVM assembly: values, blocks and loops of one function, as text.

Text is quicker to make than objects and reads like what LLVM prints. A block's last
line is kept apart, so a value that does not change inside a loop can still be added
to the block before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from pellucid.dtypes import DType, is_float, short_name

__all__ = ["Block", "Function", "Kind", "literal", "memory_type"]

_SCALAR = {
    "bool": "i1",
    "u8": "i8",
    "u32": "i32",
    "i32": "i32",
    "i64": "i64",
    "f32": "float",
    "f64": "double",
}


@dataclass(frozen=True)
class Kind:
    """The type of a value in registers: a dtype, and how many lanes (1: a scalar)."""

    dtype: DType
    lanes: int = 1

    @property
    def scalar(self) -> str:
        """The type of one lane."""
        return _SCALAR[short_name(self.dtype)]

    def __str__(self) -> str:
        return _written(self.dtype, self.lanes)

    @property
    def suffix(self) -> str:
        """The type as it stands in the name of an intrinsic."""
        base = {"float": "f32", "double": "f64"}.get(self.scalar, self.scalar)
        return base if self.lanes == 1 else f"v{self.lanes}{base}"

    def of(self, dtype: DType | str) -> Kind:
        """Return the kind of another dtype with as many lanes."""
        return Kind(np.dtype(dtype), self.lanes)

    @property
    def is_float(self) -> bool:
        """Whether lanes are floats."""
        return is_float(self.dtype)

    @property
    def is_signed(self) -> bool:
        """Whether integers compare and convert as signed."""
        return self.dtype.kind == "i"

    def constant(self, value: object) -> str:
        """Return a constant in every lane, without its type."""
        text = literal(self.dtype, value)
        return text if self.lanes == 1 else f"splat ({self.scalar} {text})"


@cache
def _written(dtype: DType, lanes: int) -> str:
    scalar = _SCALAR[short_name(dtype)]
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def literal(dtype: DType, value: object) -> str:
    """Write a number: floats by their bits."""
    number = np.asarray(value).astype(dtype)
    if dtype.kind == "f":
        return "0x" + struct.pack(">d", float(number)).hex().upper()
    return str(int(number))


def memory_type(kind: Kind) -> str:
    """Return the type in memory: truth values take a byte."""
    if kind.dtype.kind != "b":
        return str(kind)
    return "i8" if kind.lanes == 1 else f"<{kind.lanes} x i8>"


@dataclass
class Block:
    """A basic block: its lines, and the jump at its end."""

    label: str
    lines: list[str] = field(default_factory=list)
    end: str = ""


class Function:
    """A function that is being written, and the block that is being added to."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.declared: set[str] = set()
        self._count = 0
        self.block = self.new_block("entry")

    def new_block(self, hint: str) -> Block:
        """Start a block behind the others; it is not entered yet."""
        block = Block(f"{hint}{len(self.blocks)}")
        self.blocks.append(block)
        return block

    def name(self) -> str:
        """Return a name that no value has."""
        self._count += 1
        return f"%v{self._count}"

    def let(self, text: str, block: Block | None = None) -> str:
        """Add a value; return its name."""
        name = self.name()
        (block or self.block).lines.append(f"{name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Add a line that has no value."""
        self.block.lines.append(text)

    def call(
        self,
        function: str,
        kind: str,
        *operands: tuple[str, str],
        block: Block | None = None,
    ) -> str:
        """Call a function or intrinsic on (type, value) pairs."""
        types = ", ".join(each for each, _ in operands)
        self.declared.add(f"declare {kind} @{function}({types})")
        pairs = ", ".join(f"{each} {value}" for each, value in operands)
        return self.let(f"call {kind} @{function}({pairs})", block)

    @contextmanager
    def loop(
        self, stop: int | str, step: int = 1, start: int | str = 0
    ) -> Iterator[str]:
        """Run the block for index = start, start + step, … below stop.

        `stop` is known to be above `start`, or is a value tested at entry.
        """
        index, following = self.name(), self.name()
        before, body, after = self.block, self.new_block("loop"), None
        self.block = body
        yield index
        latch, after = self.block, self.new_block("after")
        if isinstance(stop, str) or isinstance(start, str):
            entered = self.let(f"icmp slt i64 {start}, {stop}", before)
            before.end = f"br i1 {entered}, label %{body.label}, label %{after.label}"
        else:
            before.end = f"br label %{body.label}"
        body.lines.insert(
            0,
            f"{index} = phi i64 [{start}, %{before.label}], "
            f"[{following}, %{latch.label}]",
        )
        latch.lines.append(f"{following} = add nuw nsw i64 {index}, {step}")
        again = self.let(f"icmp slt i64 {following}, {stop}", latch)
        latch.end = f"br i1 {again}, label %{body.label}, label %{after.label}"
        self.block = after

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Run the block only where a truth value holds."""
        before, body = self.block, self.new_block("when")
        self.block = body
        yield
        after = self.new_block("after")
        before.end = f"br i1 {condition}, label %{body.label}, label %{after.label}"
        self.block.end = f"br label %{after.label}"
        self.block = after

    def share(self, count: int) -> tuple[str, str]:
        """Return this thread's part of a range: where it starts and stops.

        The function must have the parameters `%thread` and `%threads`.
        """
        low = self.let(f"mul i64 %thread, {count}")
        high = self.let(f"add i64 {low}, {count}")
        start = self.let(f"udiv i64 {low}, %threads")
        return start, self.let(f"udiv i64 {high}, %threads")

    def part(self, count: int, shared: bool) -> tuple[int | str, int | str]:
        """Return where a range starts and stops: this thread's part, or the whole."""
        return self.share(count) if shared else (0, count)

    @contextmanager
    def shared_loop(self, count: int) -> Iterator[str]:
        """Run the block for this thread's part of a range."""
        start, stop = self.share(count)
        with self.loop(stop, start=start) as index:
            yield index

    def is_last(self) -> str:
        """Return whether this is the last thread."""
        after = self.let("add i64 %thread, 1")
        return self.let(f"icmp eq i64 {after}, %threads")

    def define(self, name: str, parameters: str) -> str:
        """Return the function, which gives nothing back."""
        return f"define hidden void @{name}({parameters}) {{\n{self.text()}\n}}\n"

    def text(self) -> str:
        """Return the body."""
        if not self.block.end:
            self.block.end = "ret void"
        return "\n".join(
            f"{block.label}:\n"
            + "".join(f"  {line}\n" for line in block.lines)
            + f"  {block.end}"
            for block in self.blocks
        )
