"""A walk through the arrays of a cross-correlation: pointers, places, counters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pellucid.engines.llvm.correlation import Axis, Plan
from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.kernels import Kernel

__all__ = ["Place", "Walk"]


@dataclass(frozen=True)
class Place:
    """Where something stands in the image, the weights and the result."""

    x: str = "0"
    w: str = "0"
    out: str = "0"


@dataclass
class Walk:
    """A kernel, its plan, and pointers to the image, the weights and the result."""

    kernel: Kernel
    plan: Plan
    x: str
    w: str
    out: str

    @property
    def f(self) -> Function:
        """The function that is written."""
        return self.kernel.f

    @contextmanager
    def counters(self, axes: Sequence[Axis]) -> Iterator[dict[Axis, str]]:
        """Count through several axes in one loop, which threads share."""
        f, count = self.f, math.prod(axis.size for axis in axes)
        with f.shared_loop(count) if self.kernel.shared else f.loop(count) as index:
            found = {}
            for axis in reversed(axes):
                found[axis] = "0"
                if axis.size > 1:
                    found[axis] = f.let(f"urem i64 {index}, {axis.size}")
                    index = f.let(f"udiv i64 {index}, {axis.size}")
            yield found

    def at(self, place: Place, *moves: tuple[Axis, str]) -> Place:
        """Return a place moved along axes."""
        x, w, out = place.x, place.w, place.out
        for axis, counter in moves:
            x = self.sum(x, counter, axis.x)
            w = self.sum(w, counter, axis.w)
            out = self.sum(out, counter, axis.out)
        return Place(x, w, out)

    def sum(self, total: str, counter: str, factor: int) -> str:
        """Return total + counter · factor."""
        if counter == "0" or not factor:
            return total
        if not (counter.startswith("%") or total.startswith("%")):
            return str(int(total) + int(counter) * factor)
        moved = (
            self.f.let(f"mul nsw i64 {counter}, {factor}") if factor != 1 else counter
        )
        return moved if total == "0" else self.f.let(f"add nsw i64 {total}, {moved}")

    def address(self, base: str, *places: str | int) -> str:
        """Return the address of an element."""
        for place in places:
            if place not in ("0", 0):
                scalar = self.plan.kind.scalar
                base = self.f.let(f"getelementptr {scalar}, ptr {base}, i64 {place}")
        return base
