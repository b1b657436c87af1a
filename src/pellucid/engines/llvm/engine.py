"""The llvm engine: a graph becomes one native program.

What is compiled is kept: in memory by the graph, on disk by the graph's text, the
processor, the compiler's own source and the version of LLVM.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite
import numpy as np

from pellucid.engines.llvm import debug
from pellucid.engines.llvm.asked import asked
from pellucid.engines.llvm.cache import Cache, folder
from pellucid.engines.llvm.lower import Checked, Lowered, lower
from pellucid.engines.llvm.meet import PRESENT
from pellucid.engines.llvm.native import Native, compile_parts, processor, target
from pellucid.engines.llvm.threads import count, run_together
from pellucid.engines.program import Cost, Engine, Program, cost_of
from pellucid.errors import EngineError, message
from pellucid.ir.graph import Array, Graph
from pellucid.ir.text import render
from pellucid.ir.types import TensorType
from pellucid.memory import LINE, lines
from pellucid.passes.batch_last import batch_last
from pellucid.passes.hoist import hoist
from pellucid.passes.rows import share_rows
from pellucid.passes.simplify import simplify
from pellucid.passes.slices import cut_batches
from pellucid.passes.split import split_sums

__all__ = ["LlvmEngine", "LlvmProgram"]

_FLOPS_A_RUN = 5e8
"""Operations that a processor does in a fraction of a second, for each byte of a
vector."""

_FLOPS_A_LOOK = 400_000
"""Operations for which a run looks for its workers once more, a fraction of a
microsecond."""

_FIRST, _ALONE = ctypes.c_int64(0), ctypes.c_int64(1)
"""The number of the only thread, and how many there are. Objects of `ctypes` are
passed as they are, which is quicker than to say each time what an integer becomes."""


@dataclass(frozen=True)
class Compiled:
    """Machine code, the memory it needs, and what to say where a bound is broken."""

    codes: Sequence[bytes]
    """The objects that are linked together."""
    arena_bytes: int
    checked: tuple[Checked, ...]
    threads: bool
    own_bytes: int

    def to_bytes(self) -> bytes:
        """Return it as it is kept on disk."""
        sizes = self.arena_bytes, self.own_bytes, [*map(len, self.codes)]
        facts = [*sizes, self.threads, *map(list, self.checked)]
        return json.dumps(facts).encode() + b"\n" + b"".join(self.codes)

    @classmethod
    def from_bytes(cls, content: bytes) -> Compiled:
        """Read what `to_bytes` gave."""
        head, _, rest = content.partition(b"\n")
        size, own, lengths, threads, *checked = json.loads(head)
        gates = tuple(Checked(*each) for each in checked)
        ends = list(accumulate(lengths, initial=0))
        codes = [rest[start:end] for start, end in pairwise(ends)]
        return cls(codes, size, gates, threads, own)


class LlvmEngine(Engine):
    """Compiles a graph to native code by LLVM.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> program = LlvmEngine().compile(Graph((x,), (x + x,)))
    >>> program(np.array([1, 2], np.float32))
    (array([2., 4.], dtype=float32),)
    """

    name = "llvm"

    @property
    def flops_a_run(self) -> float:  # type: ignore[override]
        """The arithmetic that takes this machine's vectors a fraction of a second."""
        return _FLOPS_A_RUN * target().register_bytes * count()

    def __init__(self, capacity: int = 256) -> None:
        super().__init__(capacity)
        self.compilations = 0
        """How often LLVM ran: what was found in memory or on disk does not count."""
        self._cache = Cache(folder())

    def _compile(self, graph: Graph, donate: tuple[int, ...]) -> LlvmProgram:
        what = debug.wanted()
        if what:
            return self._shown(graph, what)
        name = _digest(graph)
        known = self._cache.get(name)
        if known is not None:
            return LlvmProgram(graph, Compiled.from_bytes(known))
        compiled = self._made(_lowered(graph))
        self._cache.put(name, compiled.to_bytes())
        return LlvmProgram(graph, compiled)

    def _made(self, lowered: Lowered) -> Compiled:
        self.compilations += 1
        return Compiled(
            compile_parts(lowered.assembly.parts(_compilers())),
            lowered.arena_bytes,
            lowered.checked,
            lowered.threads,
            lowered.own_bytes,
        )

    def _shown(self, graph: Graph, what: frozenset[str]) -> LlvmProgram:
        """Compile a graph and print what was asked for, now or when it runs."""
        timed = _lowered(graph, timed=True)
        plain = _lowered(graph)
        debug.print_compiled(graph, replace(plain, timed=timed.timed), what)
        if "time" in what:
            return TimedProgram(graph, self._made(timed), timed)
        return LlvmProgram(graph, self._made(plain))


def _compilers() -> int:
    """Return how many work side by side. Windows' linker is given one object."""
    return count() if os.name == "posix" else 1


def _lowered(graph: Graph, timed: bool = False) -> Lowered:
    machine = target()
    cut = cut_batches(simplify(graph))
    turned = batch_last(share_rows(cut), machine.register_bytes)
    return lower(split_sums(hoist(turned)), machine, timed)


def _digest(graph: Graph) -> str:
    """Return a name for all that decides the machine code of a graph."""
    facts = (_compiler(), llvmlite.__version__, processor(), render(graph))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@cache
def _compiler() -> str:
    """Return a digest of the compiler itself: another one may write other code."""
    package, digest = Path(__file__).parents[2], hashlib.sha256()
    for part in ("dtypes.py", "ir/*.py", "passes/*.py", "engines/llvm/*.py"):
        for each in sorted(package.glob(part)):
            digest.update(each.read_bytes())
    return digest.hexdigest()


class _Places:
    """Writes where the inputs of a call start into a table.

    NumPy takes a microsecond to say where an array starts. It is not asked where an
    array comes again in its place, as data do, nor where the last call made what now
    comes in the same place, as a state does.
    """

    def __init__(self, table: Array, count: int) -> None:
        self._table = table
        self._known: list[Any] = [_nothing] * count
        self._last: tuple[list[Any], Any] = self._known, table

    def put(self, arrays: Sequence[Array]) -> None:
        """Write the addresses of the inputs of a call."""
        known, table = self._known, self._table
        last, starts = self._last
        for i, (array, made) in enumerate(zip(arrays, last)):
            if known[i]() is array:
                continue
            if made() is array:
                table[i], known[i] = starts[i], made
            else:
                table[i], known[i] = array.ctypes.data, weakref.ref(array)

    def returned(self, results: Sequence[Array], starts: Array) -> None:
        """Note what a call made, and where."""
        more = len(self._known) - len(results)
        made = [*map(weakref.ref, results), *[_nothing] * more]
        self._last = made, starts  # both at once: Ctrl-C may come at any moment


def _nothing() -> None:
    """Stand for an array that is gone."""


class _Results:
    """Makes the arrays that a call returns, in one piece of memory."""

    def __init__(self, types: Sequence[TensorType]) -> None:
        sizes = [-(-each.nbytes // LINE) * LINE for each in types]
        ends = list(accumulate(sizes, initial=0))
        self._size = ends.pop()
        self._offsets = np.array(ends, np.uintp)
        self._arrays = [(t.shape, t.dtype, at) for t, at in zip(types, ends)]

    def new(self) -> tuple[tuple[Array, ...], Array]:
        """Return new arrays and their addresses."""
        room, first = lines(self._size)
        arrays = [
            np.ndarray(shape, dtype, room, first + at)
            for shape, dtype, at in self._arrays
        ]
        return tuple(arrays), self._offsets + np.uintp(room.ctypes.data + first)


class LlvmProgram(Program):
    """A native function, its memory, and how to call it."""

    def __init__(self, graph: Graph, compiled: Compiled) -> None:
        super().__init__(graph)
        self._checked_gates = compiled.checked
        self._native = Native(compiled.codes, "main")
        self._address = self._native.address("main")
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self._main = self._native.function("main", None, pointer, pointer, size, size)
        self._threads = count() if compiled.threads else 1
        whole = compiled.arena_bytes + self._threads * compiled.own_bytes
        room = np.zeros(whole + 64, np.uint8)
        start = -room.ctypes.data % 64
        self._arena = room[start : start + whole]
        cells = self._arena[: 16 * len(compiled.checked)].view(np.int64)
        self._cells = cells.reshape(-1, 2)
        self._table = np.zeros(len(graph.inputs) + len(graph.outputs), np.uintp)
        self._places = _Places(self._table, len(graph.inputs))
        self._results = _Results(graph.output_types)
        self._table_at, self._arena_at = (
            ctypes.c_void_p(each.ctypes.data) for each in (self._table, self._arena)
        )
        self._lock = Lock()

    @cached_property
    def _lowered(self) -> Lowered:
        return _lowered(self.graph)

    @cached_property
    def _patience(self) -> int:
        """How often a run looks whether its workers come: it may cost it a few
        hundredths of its time."""
        looks = cost_of(self.graph).flops // _FLOPS_A_LOOK
        return min(max(looks, PRESENT), 20 * PRESENT)

    def text(self) -> str:
        """Return the LLVM assembly."""
        return self._lowered.text

    def cost(self) -> Cost:
        """Return the arithmetic, the traffic and the memory of one run."""
        return replace(super().cost(), arena=self._arena.size)

    def _run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        outputs, starts = self._results.new()
        with self._lock:  # one arena serves one call at a time
            self._places.put(arrays)
            self._table[len(arrays) :] = starts
            self._enter(self._table_at)
            self._places.returned(outputs, starts)
        return outputs

    def asked(self, *arrays: Any) -> Callable[[Array], Array | None]:
        """Return what answers for the last input alone, with the others given."""
        given = [self._checked(i, each) for i, each in enumerate(arrays)]
        return asked(self.graph, given, self._enter, self._lock)

    def _enter(self, table: ctypes.c_void_p) -> None:
        """Run on the inputs and outputs whose addresses stand in a table."""
        if self._threads == 1:
            self._main(table, self._arena_at, _FIRST, _ALONE)
        else:
            given = self._address, table, self._arena_at, self._threads
            run_together(*given, self._patience)
        if self._checked_gates:
            self._check()

    def _check(self) -> None:
        """Raise where an index was outside."""
        cells = self._cells
        if not cells.any():
            return
        at = int(cells[:, 0].argmax())
        # Code from the cache may be that of an equal graph, born on other lines.
        gate, index = self._lowered.checked[at], int(cells[at, 1])
        cells[:] = 0
        raise EngineError(
            message(
                f"{gate.op}: index {index} is outside",
                where=gate.place,
                expected=f"expected 0 to {gate.size - 1}",
            )
        )


class TimedProgram(LlvmProgram):
    """A program that prints after each run how long each of its kernels took."""

    def __init__(self, graph: Graph, compiled: Compiled, lowered: Lowered) -> None:
        super().__init__(graph, compiled)
        self._threads, self._labels = 1, lowered.timed
        size = 8 * len(lowered.timed)
        start = lowered.cycles_at
        self._cycles = self._arena[start : start + size].view(np.int64)

    def _enter(self, table: ctypes.c_void_p) -> None:
        self._cycles[:] = 0
        start = time.perf_counter()
        super()._enter(table)
        debug.print_times(self._labels, self._cycles, time.perf_counter() - start)
