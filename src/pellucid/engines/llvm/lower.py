"""From a graph to a module: the kernels, and the main function that calls them.

The plan says what is computed when and where it lies. Here it is written: calls of
kernels, a loop for each scan, and the places where threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from pellucid.engines.llvm.assembly import Assembly
from pellucid.engines.llvm.conv import conv
from pellucid.engines.llvm.denormals import flushed, loops_with_state
from pellucid.engines.llvm.kernels import Target, map_kernel
from pellucid.engines.llvm.meet import MEET_BYTES
from pellucid.engines.llvm.module import CELL, Checked, Module, Region
from pellucid.engines.llvm.moves import KERNELS, copy
from pellucid.engines.llvm.multiply import bring_into_tiles, write_dot
from pellucid.engines.llvm.plan import Block, Step, plan, results_of, round_up
from pellucid.engines.llvm.unit import own_bytes
from pellucid.engines.llvm.work import is_shared, pays
from pellucid.ir.graph import Graph, Node, input_node

__all__ = ["Checked", "Lowered", "lower"]


@dataclass(frozen=True)
class Lowered:
    """A program as LLVM assembly: `main(inputs and outputs, arena)`."""

    assembly: Assembly
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

    @property
    def text(self) -> str:
        """The assembly as one module."""
        return self.assembly.text()


def _bounds(block: Block) -> int:
    """Count the gates with bounds."""
    inner = sum(_bounds(step.inner) for step in block.steps if step.inner is not None)
    return inner + sum(step.kind in ("gather", "scatter_add") for step in block.steps)


def _apart_bytes(block: Block) -> int:
    """Return the room that the largest scan of unrelated steps takes."""
    inner = [step for step in block.steps if step.inner is not None]
    found = (
        s.inner.size if s.apart else _apart_bytes(s.inner) for s in inner if s.inner
    )
    return max(found, default=0)


def _unit_bytes(block: Block, target: Target) -> int:
    """Return the room that a thread needs for products on a matrix unit."""
    found = [0]
    for step in block.steps:
        if step.inner is not None:
            found.append(_unit_bytes(step.inner, target))
        elif step.kind == "dot" and block.on_unit(step.node, target):
            found.append(own_bytes(step.node, block.is_ready(step.node)))
    return max(found)


def _calls(block: Block) -> int:
    """Return no less than the number of calls: operands and copies count too."""
    inner = sum(_calls(step.inner) for step in block.steps if step.inner is not None)
    starts = sum(
        step.node.op.name == "scan" and 2 * len(step.node.inputs)
        for step in block.steps
    )
    return inner + starts + 5 * len(block.steps) + 2 * len(block.copies)


def lower(graph: Graph, target: Target, timed: bool = False) -> Lowered:
    """Write a graph as a module; a `timed` one counts the cycles of every call."""
    block = plan(graph, target)
    barrier = round_up(CELL.nbytes * _bounds(block))
    cycles = barrier + MEET_BYTES
    prefix = cycles + (round_up(8 * _calls(block)) if timed else 0)
    threads = pays(block, target)
    module = Module(target, threads, barrier, cycles if timed else None)
    main = module.main
    pointers: dict[Node, str] = {}
    slots = [*graph.inputs, *graph.outputs]
    names = []
    for i in range(len(slots)):
        slot = main.let(f"getelementptr ptr, ptr %io, i64 {i}")
        names.append(main.let(f"load ptr, ptr {slot}"))
    pointers |= dict(zip(graph.inputs, names))
    apart = _apart_bytes(block)
    own = apart + _unit_bytes(block, target)
    if own:
        module.own(prefix + block.size, own, apart)
    outputs = names[len(graph.inputs) :]
    with flushed(main, target) if loops_with_state(graph) else nullcontext():
        _write_block(module, block, pointers, outputs, Region("%arena", prefix))
        module.meet()
    module.declared |= main.declared
    return Lowered(
        module.assembly(),
        prefix + block.size,
        len(module.kernels),
        tuple(module.checked),
        tuple(module.timed),
        cycles,
        threads,
        own,
    )


def _write_block(
    module: Module,
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
    module: Module,
    block: Block,
    pairs: Sequence[tuple[Node, Node]],
    pointers: dict[Node, str],
) -> None:
    for node, place in pairs:
        kernel = module.kernel(block.stored)
        copy(kernel, node, place)
        module.call(kernel, pointers, f"copy {node.type}")


def _checked(node: Node) -> Checked:
    size = node.inputs[0].shape[node.attrs["axis"]]
    return Checked(node.op.name, str(node.birth), size)


def _label(step: Step) -> str:
    names = "+".join(value.op.name for value, _ in step.targets)
    return f"{names} {step.node.type} {step.node.birth}"


def _write_step(
    module: Module, block: Block, step: Step, pointers: dict[Node, str], region: Region
) -> None:
    if step.inner is not None:
        _write_scan(module, block, step, pointers, region)
        return
    if step.kind == "dot":
        scratch = region.behind(step.scratch_at)
        write_dot(module, block, step.node, _label(step), pointers, scratch)
        return
    kernel = module.kernel(block.stored)
    kernel.shared = module.threads and is_shared(step, block.stored, module.target)
    if step.kind == "map" and len(step.targets) == 1:
        copy(kernel, *step.targets[0])
    elif step.kind == "map":
        map_kernel(kernel, step.node.shape, step.targets)
    elif step.kind == "conv":
        conv(kernel, step.node)
    else:
        if step.kind in ("gather", "scatter_add"):
            place = CELL.nbytes * len(module.checked)
            pointers[kernel.error] = module.at("%arena", place)
            module.checked.append(_checked(step.node))
        KERNELS[step.kind](kernel, step.node)
    module.call(kernel, pointers, _label(step))


def _write_scan(
    module: Module, block: Block, step: Step, pointers: dict[Node, str], region: Region
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
    place = region.behind(step.scratch_at)
    if not step.apart:
        place = place.behind(inner.size)
    _write_ready(module, block, step, pointers, place)
    if step.apart:
        with module.apart() as own, main.shared_loop(length) as counter:
            _write_turn(module, step, pointers, counter, Region(own))
        return
    module.meet()
    with main.loop(length) as counter:
        _write_turn(module, step, pointers, counter, region.behind(step.scratch_at))
        module.meet()


def _write_ready(
    module: Module, block: Block, step: Step, pointers: dict[Node, str], place: Region
) -> None:
    """Bring into tiles what products in each step multiply by."""
    assert step.inner is not None
    outer = dict(zip(step.node.attrs["body"].inputs, step.node.inputs))
    for side, room in step.inner.ready.items():
        pointers[room] = place.at(module)
        place = place.behind(room.type.nbytes)
        known = {
            room: pointers[room],
            side.source: _pointer(module, pointers, outer[side.source]),
        }
        bring_into_tiles(module, block, side, room, known)


def _write_turn(
    module: Module, step: Step, pointers: dict[Node, str], counter: str, region: Region
) -> None:
    """Write one step of a scan."""
    node, inner, t = step.node, step.inner, counter
    assert inner is not None
    consts, carries = node.attrs["consts"], node.attrs["carries"]
    results, body = results_of(step), node.attrs["body"]
    if node.attrs["reverse"]:
        t = module.main.let(f"sub i64 {node.attrs['length'] - 1}, {counter}")
    inside = {room: pointers[room] for room in inner.ready.values()}
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


def _pointer(module: Module, pointers: dict[Node, str], node: Node) -> str:
    return module.constant(node) if node.op.name == "const" else pointers[node]


def _slice(module: Module, pointer: str, t: str, one: Node) -> str:
    moved = module.main.let(f"mul nsw i64 {t}, {one.type.nbytes}")
    return module.main.let(f"getelementptr i8, ptr {pointer}, i64 {moved}")
