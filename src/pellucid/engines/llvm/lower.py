"""From a graph to a module: the kernels, and the main function that calls them.

The plan says what is computed when and where it lies. Here it is written: calls of
kernels, a loop for each scan, and the places where threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pellucid.dtypes import is_float
from pellucid.engines.llvm.amx import amx
from pellucid.engines.llvm.conv import conv
from pellucid.engines.llvm.correlation import multiplications
from pellucid.engines.llvm.emit import Function
from pellucid.engines.llvm.inner import inner, is_inner
from pellucid.engines.llvm.integers import plain_product
from pellucid.engines.llvm.kernels import Kernel, Target, fill, map_kernel
from pellucid.engines.llvm.matmul import matmul
from pellucid.engines.llvm.meet import MEET, MEET_BYTES
from pellucid.engines.llvm.moves import KERNELS, copy, is_copy
from pellucid.engines.llvm.panels import pack
from pellucid.engines.llvm.plan import Block, Step, plan, results_of, round_up
from pellucid.engines.llvm.products import (
    Operand,
    can_share,
    needs_panels,
    operand,
    panel_bytes,
    product_of,
    roles,
    sharing,
    sides,
    suits_unit,
)
from pellucid.engines.llvm.thirds import all_fit, thirds
from pellucid.ir.graph import Graph, Node, bind, input_node
from pellucid.ir.types import TensorType

__all__ = ["Checked", "Lowered", "lower"]

_ALIGN = 64


class Checked(NamedTuple):
    """A gate with bounds: what to say where one is broken."""

    op: str
    place: str
    size: int


@dataclass(frozen=True)
class Lowered:
    """A program as LLVM assembly: `main(inputs and outputs, arena)`."""

    text: str
    arena_bytes: int
    kernels: int
    checked: tuple[Checked, ...]
    """The gates with bounds: the arena starts with a cell each, 0 when all is well."""
    timed: tuple[str, ...] = ()
    """The calls whose cycles are counted."""
    cycles_at: int = 0
    """Where in the arena they are counted, eight bytes each."""
    threads: bool = False
    """Whether several threads may enter `main` together."""
    own_bytes: int = 0
    """The room that each thread has for itself, behind the arena."""


class Region(NamedTuple):
    """Memory of a block: a pointer, and how far behind it."""

    pointer: str
    start: int = 0

    def behind(self, place: int) -> Region:
        """Return the memory further on."""
        return Region(self.pointer, self.start + place)

    def at(self, module: _Module, place: int = 0) -> str:
        """Return a pointer into it."""
        return module.at(self.pointer, self.start + place)


# --- writing the module ----------------------------------------------------------


class _Module:
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
        self._own = "%arena"

    def at(self, base: str, place: int) -> str:
        """Return a pointer into a region, computed once at the start."""
        if (base, place) not in self._places:
            entry = self.main.blocks[0]
            name = self.main.let(f"getelementptr i8, ptr {base}, i64 {place}", entry)
            self._places[base, place] = name
        return self._places[base, place]

    def own(self, arena_bytes: int, own_bytes: int) -> None:
        """Give each thread a region of its own behind the arena."""
        start = self.main.let(f"mul i64 %thread, {own_bytes}")
        start = self.main.let(f"add i64 {start}, {arena_bytes}")
        self._own = self.main.let(f"getelementptr i8, ptr %arena, i64 {start}")

    @contextmanager
    def apart(self) -> Iterator[str]:
        """In this block each thread works for itself, in the region that is yielded."""
        self.meet()
        threads, self.threads = self.threads, False
        yield self._own
        self.threads, self._dirty = threads, True

    def constant(self, node: Node) -> str:
        """Return a pointer to a constant's bytes."""
        return self.constants.setdefault(node, f"@c{len(self.constants)}")

    def call(self, kernel: Kernel, pointers: dict[Node, str], label: str) -> None:
        """Call a kernel; write it if its text is new."""
        text = kernel.text("K")
        name = self.kernels.setdefault(text, f"k{len(self.kernels)}")
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
        """Write a block for all threads that is run where a condition holds, which is
        the same for all of them. They have met."""
        self._dirty = False
        with self.main.when(condition):
            yield
            if self._alone:
                self.meet()

    def joined(self) -> None:
        """Say that one of several blocks was run."""
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

    def text(self) -> str:
        """Return the module."""
        parts = [
            f"{name} = internal constant [{node.type.nbytes} x i8] "
            f'c"{_escaped(node)}", align {_ALIGN}'
            for node, name in self.constants.items()
        ]
        parts += sorted(self.declared)
        parts += [
            text.replace("@K(", f"@{name}(") for text, name in self.kernels.items()
        ]
        parts.append(
            "define void @main(ptr %io, ptr %arena, i64 %thread, i64 %threads) {\n"
            f"{self.main.text()}\n}}"
        )
        if self.threads:
            parts.append(MEET)
        return "\n".join(parts)


def _escaped(node: Node) -> str:
    return "".join(f"\\{byte:02X}" for byte in node.attrs["value"].array.tobytes())


_CELL = TensorType((2,), np.dtype(np.int64))
"""The type of a cell that reports a broken bound: whether, and by which index."""


def _bounds(block: Block) -> int:
    """Count the gates with bounds."""
    inner = sum(_bounds(step.inner) for step in block.steps if step.inner is not None)
    return inner + sum(step.kind in ("gather", "scatter_add") for step in block.steps)


_SHARED_ELEMENTS = 1 << 13
"""Elements below which threads cost more than they bring."""

_SHARED_BYTES = 6 * _SHARED_ELEMENTS
"""Bytes of an operand in thirds below which threads cost more than they bring."""

_SHARED_PRODUCTS = 1 << 20
"""Multiplications of a `conv` below which threads cost more than they bring."""


_VECTOR = 4
"""Elements of a map that cost as much as a vector of a product: there are sixteen in a
vector, and a few gates."""


def _is_shared(step: Step, target: Target) -> bool:
    """Return whether threads share a step's work."""
    node = step.node
    if step.kind == "dot":
        return is_float(node.dtype) and can_share(node, target)
    if step.kind in ("sum", "max"):
        return node.type.size > 1 and bool(
            node.inputs[0].type.size >= 4 * _SHARED_ELEMENTS
        )
    if step.kind == "conv":
        return multiplications(node) >= _SHARED_PRODUCTS
    if step.kind in ("map", "gather") or (step.kind == "pad" and is_copy(node)):
        return bool(node.type.size >= _SHARED_ELEMENTS)
    return False


def _pays(block: Block, target: Target) -> bool:
    """Return whether threads can share so much that meeting again and again pays."""
    shared, total = _work(block, target)
    return shared > total / 3


def _work(block: Block, target: Target) -> tuple[int, int]:
    """Return the work that threads share and all of it, in vectors computed."""
    shared = total = 0
    for step in block.steps:
        if step.inner is not None:
            length = step.node.attrs["length"]
            inner = _work(step.inner, target)
            inner = (inner[1], inner[1]) if step.apart else inner
            shared, total = shared + length * inner[0], total + length * inner[1]
            continue
        own = sum(node.type.size for node, _ in step.targets) // _VECTOR
        if step.kind == "dot":
            own = product_of(step.node).work // 16
        elif step.kind == "conv":
            own = multiplications(step.node) // 16
        elif step.kind in ("sum", "max", "argmax"):
            own = step.node.inputs[0].type.size // _VECTOR
        total += own
        shared += own if _is_shared(step, target) else 0
    return shared, total


def _own_bytes(block: Block) -> int:
    """Return the room that the largest scan of unrelated steps takes."""
    return max((s.inner.size for s in block.steps if s.inner and s.apart), default=0)


def _calls(block: Block) -> int:
    """Return no less than the number of calls: operands and copies count too."""
    inner = sum(_calls(step.inner) for step in block.steps if step.inner is not None)
    starts = sum(
        step.node.op.name == "scan" and len(step.node.inputs) for step in block.steps
    )
    return inner + starts + 3 * len(block.steps) + 2 * len(block.copies)


def lower(graph: Graph, target: Target, timed: bool = False) -> Lowered:
    """Write a graph as a module; a `timed` one counts the cycles of every call."""
    block = plan(graph, target)
    barrier = round_up(_CELL.nbytes * _bounds(block))
    cycles = barrier + MEET_BYTES
    prefix = cycles + (round_up(8 * _calls(block)) if timed else 0)
    threads = _pays(block, target)
    module = _Module(target, threads, barrier, cycles if timed else None)
    main = module.main
    pointers: dict[Node, str] = {}
    slots = [*graph.inputs, *graph.outputs]
    names = []
    for i in range(len(slots)):
        slot = main.let(f"getelementptr ptr, ptr %io, i64 {i}")
        names.append(main.let(f"load ptr, ptr {slot}"))
    pointers |= dict(zip(graph.inputs, names))
    own_bytes = _own_bytes(block)
    if own_bytes:
        module.own(prefix + block.size, own_bytes)
    _write_block(
        module, block, pointers, names[len(graph.inputs) :], Region("%arena", prefix)
    )
    module.meet()
    return Lowered(
        module.text(),
        prefix + block.size,
        len(module.kernels),
        tuple(module.checked),
        tuple(module.timed),
        cycles,
        threads,
        own_bytes,
    )


def _write_block(
    module: _Module,
    block: Block,
    pointers: dict[Node, str],
    outputs: Sequence[str],
    region: Region,
) -> None:
    pointers |= {node: outputs[i] for node, i in block.given.items()}
    pointers |= {node: region.at(module, at) for node, at in block.places.items()}
    for step in block.steps:
        _write_step(module, block, step, pointers, region)
    waiting = [(node, number) for node, number in block.copies if number in block.aside]
    moved: dict[int, Node] = {}
    for node, number in waiting:
        moved[number] = _stand_in(
            pointers, node, region.at(module, block.aside[number])
        )
        _copy_all(module, block, [(node, moved[number])], pointers)
    pairs = [
        (moved.get(number, node), _stand_in(pointers, node, outputs[number]))
        for node, number in block.copies
    ]
    _copy_all(module, block, pairs, pointers)


def _stand_in(pointers: dict[Node, str], node: Node, pointer: str) -> Node:
    """Return a node that stands for memory of a node's type."""
    place = input_node(node.type, "place")
    pointers[place] = pointer
    return place


def _copy_all(
    module: _Module,
    block: Block,
    pairs: Sequence[tuple[Node, Node]],
    pointers: dict[Node, str],
) -> None:
    for node, place in pairs:
        kernel = _kernel(module, block)
        copy(kernel, node, place)
        module.call(kernel, pointers, f"copy {node.type}")


def _checked(node: Node) -> Checked:
    size = node.inputs[0].shape[node.attrs["axis"]]
    return Checked(node.op.name, str(node.birth), size)


def _label(step: Step) -> str:
    names = "+".join(value.op.name for value, _ in step.targets)
    return f"{names} {step.node.type} {step.node.birth}"


def _kernel(module: _Module, block: Block) -> Kernel:
    return Kernel(module.target, block.stored, input_node(_CELL, "error"))


def _write_step(
    module: _Module, block: Block, step: Step, pointers: dict[Node, str], region: Region
) -> None:
    if step.inner is not None:
        _write_scan(module, block, step, pointers, region)
        return
    scratch = region.behind(step.scratch_at)
    kernel = _kernel(module, block)
    kernel.shared = module.threads and _is_shared(step, module.target)
    if step.kind == "map" and len(step.targets) == 1:
        copy(kernel, *step.targets[0])
    elif step.kind == "map":
        map_kernel(kernel, step.node.shape, step.targets)
    elif step.kind == "dot":
        _write_dot(module, block, step, pointers, scratch)
        return
    elif step.kind == "conv":
        conv(kernel, step.node)
    else:
        if step.kind in ("gather", "scatter_add"):
            place = _CELL.nbytes * len(module.checked)
            pointers[kernel.error] = module.at("%arena", place)
            module.checked.append(_checked(step.node))
        KERNELS[step.kind](kernel, step.node)
    module.call(kernel, pointers, _label(step))


def _write_dot(
    module: _Module,
    block: Block,
    step: Step,
    pointers: dict[Node, str],
    scratch: Region,
) -> None:
    node, kernel = step.node, _kernel(module, block)
    if node.type.size == 0:
        return
    if any(each.type.size == 0 for each in node.inputs):
        fill(kernel, node, 0)
        module.call(kernel, pointers, _label(step))
        return
    found: list[Operand] = []
    for each, axes in zip(node.inputs, roles(node)):
        brought = operand(each, block.stored, *axes)
        if brought is None:
            brought = _bring(module, block, each, axes, pointers, scratch)
            scratch = scratch.behind(round_up(each.type.nbytes))
        found.append(brought)
    if not is_float(node.dtype):
        plain_product(kernel, node, *found)
        module.call(kernel, pointers, _label(step))
        return
    left, right = found
    if suits_unit(node, left, right, module.target):
        _write_on_unit(module, block, step, (left, right), pointers, scratch)
    else:
        _write_product(module, block, step, (left, right), pointers, scratch)


def _write_product(
    module: _Module,
    block: Block,
    step: Step,
    operands: tuple[Operand, Operand],
    pointers: dict[Node, str],
    scratch: Region,
) -> None:
    """Write a product of floats that is computed in vector registers."""
    node, (left, right), target = step.node, operands, module.target
    kernel, panels, share = _kernel(module, block), None, ""
    inside = is_inner(node, left, right)
    if not inside and needs_panels(node, right, target):
        panels = _pack(module, block, node, right, pointers, scratch)
    if module.threads and can_share(node, target):
        share = sharing(node, right, target)
    kernel.shared = bool(share)
    if inside:
        inner(kernel, node, left, right, share)
    else:
        matmul(kernel, node, left, right, panels, share)
    module.call(kernel, pointers, _label(step))


def _write_on_unit(
    module: _Module,
    block: Block,
    step: Step,
    operands: tuple[Operand, Operand],
    pointers: dict[Node, str],
    scratch: Region,
) -> None:
    """Write a product of floats that is computed on the matrix unit, or in vector
    registers where a number is infinite, none, or almost too large."""
    node, both = step.node, sides(step.node, *operands)
    marks, rest, places = [], scratch, []
    for side in both:
        marks.append(_room(pointers, module, rest, side.marks))
        rest = rest.behind(side.marks)
    behind = rest
    for side, mark in zip(both, marks):
        places.append(_room(pointers, module, rest, side.size))
        rest = rest.behind(side.size)
        kernel = _kernel(module, block)
        kernel.shared = module.threads and side.size >= _SHARED_BYTES
        thirds(kernel, side, places[-1], mark)
        module.call(kernel, pointers, f"thirds {side.source.type}")
    module.meet()
    size = sum(side.marks for side in both)
    fit = all_fit(module.main, pointers[marks[0]], size)
    with module.either(fit):
        kernel = _kernel(module, block)
        kernel.shared = module.threads and can_share(node, module.target)
        amx(kernel, node, *both, (places[0], places[1]))
        module.call(kernel, pointers, _label(step))
    with module.either(module.main.let(f"xor i1 {fit}, true")):
        _write_product(module, block, step, operands, pointers, behind)
    module.joined()


def _room(
    pointers: dict[Node, str], module: _Module, region: Region, size: int
) -> Node:
    """Return a node that stands for so many bytes of a region."""
    place = input_node(TensorType((size,), np.dtype(np.uint8)), "room")
    pointers[place] = region.at(module)
    return place


def _pack(
    module: _Module,
    block: Block,
    node: Node,
    right: Operand,
    pointers: dict[Node, str],
    scratch: Region,
) -> Node:
    """Bring the right operand of a product into panels."""
    size = panel_bytes(node, module.target) // node.dtype.itemsize
    panels = input_node(TensorType((size,), node.dtype), "panels")
    pointers[panels] = scratch.at(module)
    kernel = _kernel(module, block)
    kernel.shared = module.threads and size >= _SHARED_ELEMENTS
    pack(kernel, node, right, panels)
    module.call(kernel, pointers, f"pack {node.inputs[1].type}")
    return panels


def _bring(
    module: _Module,
    block: Block,
    node: Node,
    axes: Sequence[Sequence[int]],
    pointers: dict[Node, str],
    scratch: Region,
) -> Operand:
    """Copy an operand in the order [batch, row, column]."""
    order = tuple(axis for group in axes for axis in group)
    turned = bind("transpose", node, axes=order)
    place = input_node(turned.type, "operand")
    pointers[place] = scratch.at(module)
    kernel = _kernel(module, block)
    copy(kernel, turned, place)
    module.call(kernel, pointers, f"bring {turned.type}")
    sizes = [int(np.prod([node.shape[a] for a in group])) for group in axes]
    return Operand(place, 0, sizes[1] * sizes[2], sizes[2], 1)


def _write_scan(
    module: _Module, block: Block, step: Step, pointers: dict[Node, str], region: Region
) -> None:
    node, inner, main = step.node, step.inner, module.main
    assert inner is not None
    attrs = node.attrs
    consts, carries, length = attrs["consts"], attrs["carries"], attrs["length"]
    results = results_of(step)
    starts = node.inputs[consts : consts + carries]
    _copy_all(module, block, list(zip(starts, results)), pointers)
    if not length:
        return
    if step.apart:
        with module.apart() as own, main.shared_loop(length) as counter:
            _write_turn(module, step, pointers, counter, Region(own))
        return
    module.meet()
    with main.loop(length) as counter:
        _write_turn(module, step, pointers, counter, region.behind(step.scratch_at))
        module.meet()


def _write_turn(
    module: _Module, step: Step, pointers: dict[Node, str], counter: str, region: Region
) -> None:
    """Write one step of a scan."""
    node, inner, t = step.node, step.inner, counter
    assert inner is not None
    consts, carries = node.attrs["consts"], node.attrs["carries"]
    results, body = results_of(step), node.attrs["body"]
    if node.attrs["reverse"]:
        t = module.main.let(f"sub i64 {node.attrs['length'] - 1}, {counter}")
    inside: dict[Node, str] = {}
    for i, (each, outer) in enumerate(zip(body.inputs, node.inputs)):
        if i < consts:
            inside[each] = _pointer(module, pointers, outer)
        elif i < consts + carries:
            inside[each] = pointers[results[i - consts]]
        else:
            inside[each] = _slice(module, _pointer(module, pointers, outer), t, each)
    outputs = [pointers[each] for each in results[:carries]]
    outputs += [
        _slice(module, pointers[stack], t, each)
        for stack, each in zip(results[carries:], body.outputs[carries:])
    ]
    _write_block(module, inner, inside, outputs, region)


def _pointer(module: _Module, pointers: dict[Node, str], node: Node) -> str:
    return module.constant(node) if node.op.name == "const" else pointers[node]


def _slice(module: _Module, pointer: str, t: str, one: Node) -> str:
    moved = module.main.let(f"mul nsw i64 {t}, {one.type.nbytes}")
    return module.main.let(f"getelementptr i8, ptr {pointer}, i64 {moved}")
