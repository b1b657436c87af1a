"""The plan of a program: what is computed when, and where each value lies.

A block is a graph, or the body of a scan. It is planned from the inside out. Values
that could be in each other's way get places of their own; a place is free again
after its last reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pellucid.dtypes import is_float
from pellucid.engines.llvm.kernels import Target
from pellucid.engines.llvm.nest import accesses
from pellucid.engines.llvm.products import (
    Operand,
    brought,
    operand,
    panel_bytes,
    roles,
)
from pellucid.engines.llvm.unit import Side, sides, suits_unit
from pellucid.engines.program import cost_of
from pellucid.ir.graph import Graph, Node, bind, input_node
from pellucid.ir.ops import ELEMENTWISE
from pellucid.ir.types import TensorType
from pellucid.passes.fuse import (
    VIEWS,
    Affine,
    identity,
    is_written_turned,
    offset,
    stored_nodes,
)
from pellucid.passes.hoist import FEW

__all__ = ["Block", "Step", "plan", "results_of", "round_up"]

_ALIGN = 64

_LONG = 1 << 22
"""The arithmetic of a scan in a loop from which on its steps are shared."""


@dataclass
class Step:
    """Some values that one kernel, or one scan, computes."""

    kind: str
    targets: list[tuple[Node, Node]]
    """Pairs of a value and the node whose memory it is written to."""
    inner: Block | None = None
    scratch: int = 0
    scratch_at: int = 0
    apart: bool = False
    """Whether this is a scan whose steps do not know of each other: threads share
    them, and each works in a region of its own."""

    @property
    def node(self) -> Node:
        """The only value."""
        return self.targets[0][0]


@dataclass
class Block:
    """The plan of a graph: its steps, and where each value lies in its region."""

    graph: Graph
    stored: set[Node]
    steps: list[Step] = field(default_factory=list)
    places: dict[Node, int] = field(default_factory=dict)
    """Offsets in the region, of values that have no memory from outside."""
    given: dict[Node, int] = field(default_factory=dict)
    """Values that are written straight into an output, and its number."""
    copies: list[tuple[Node, int]] = field(default_factory=list)
    """Values that are copied into outputs at the end, and the output's number."""
    aside: dict[int, int] = field(default_factory=dict)
    """Offsets where copies wait that read what another copy overwrites."""
    ready: dict[Side, Node] = field(default_factory=dict)
    """Right operands of products that are the same in each step of a loop, and what
    stands for the memory where they are in tiles."""
    size: int = 0
    _reads: dict[Node, dict[tuple[Node, Affine], None]] = field(default_factory=dict)

    def reads(self, node: Node) -> dict[tuple[Node, Affine], None]:
        """Return what computing a stored value reads, and where."""
        if node not in self._reads:
            self._reads[node] = _reads_of(self.stored, node)
        return self._reads[node]

    def on_unit(self, node: Node, target: Target) -> bool:
        """Return whether a product is computed on the matrix unit."""
        return suits_unit(node, *self.operands(node), target, self.is_ready(node))

    def is_ready(self, node: Node) -> bool:
        """Return whether the right operand of a product is in tiles already."""
        return sides(node, *self.operands(node))[1] in self.ready

    def operands(self, node: Node) -> tuple[Operand, Operand]:
        """Return how the operands of a product lie, once they are brought."""
        pairs = zip(node.inputs, roles(node))
        left, right = (
            operand(each, self.stored, *axes) or brought(each, each, axes)
            for each, axes in pairs
        )
        return left, right


def round_up(size: int) -> int:
    """Return a size in whole lines of the cache."""
    return -(-size // _ALIGN) * _ALIGN


# --- planning a block ------------------------------------------------------------


def plan(
    graph: Graph,
    target: Target,
    carries: int = 0,
    inputs: int = 0,
    depth: int = 0,
) -> Block:
    """Plan a graph. The first `carries` outputs go to the inputs from `inputs` on.

    `depth` says in how many scans the graph is.
    """
    stored = stored_nodes(graph)
    block = Block(graph, stored)
    carried = dict(zip(graph.outputs[:carries], graph.inputs[inputs:]))
    late = _late(block, set(carried))
    order = [node for node in graph.nodes if node in stored and node.op.name != "get"]
    for node in [
        *(n for n in order if n not in late),
        *(n for n in order if n in late),
    ]:
        _add_step(block, node, target, depth)
    _give_outputs(block, carries, inputs)
    _lay_out(block, target, carries)
    return block


def _reads_of(block_stored: set[Node], node: Node) -> dict[tuple[Node, Affine], None]:
    """Return what computing a stored value reads."""
    found: dict[tuple[Node, Affine], None] = {}
    if node.op.name == "get":
        return found
    if is_written_turned(node, block_stored):
        (node,) = node.inputs
    elif node.op.name in ELEMENTWISE or node.op.name in VIEWS:
        accesses(node, identity(node), block_stored - {node}, found)
        return found
    for each in node.inputs:
        accesses(each, identity(each), block_stored, found)
    return found


def _late(block: Block, carried: set[Node]) -> set[Node]:
    """Return the new carried values that nothing else reads: they are computed last,
    so that they may overwrite the old ones."""
    stored = block.stored
    late = {each for each in carried if each in stored and each.op.name in ELEMENTWISE}
    while True:
        read = {
            source
            for node in block.graph.nodes
            if node in stored and node not in late
            for source, _ in block.reads(node)
        }
        kept = late - read
        if kept == late:
            return late
        late = kept


def _add_step(block: Block, node: Node, target: Target, depth: int) -> None:
    name = node.op.name
    if name == "scan":
        attrs = node.attrs
        carries = attrs["carries"]
        apart = not carries and attrs["length"] > 1
        apart = apart and (depth == 0 or (depth == 1 and _is_long(node)))
        within = 2 if apart else depth + 1  # who works apart shares nothing more
        inner = plan(attrs["body"], target, carries, attrs["consts"], within)
        if attrs["length"] >= FEW:
            inner.ready = _ready(inner, attrs["consts"], target)
        block.steps.append(Step("scan", [(node, node)], inner, apart=apart))
    elif is_written_turned(node, block.stored):
        block.steps.append(Step("conv", [(node, node)]))
    elif name in ELEMENTWISE or name in VIEWS:
        _add_map(block, node)
    else:
        block.steps.append(Step(name, [(node, node)]))


def _is_long(node: Node) -> bool:
    """Return whether threads may meet after a scan for what they share of it."""
    flops: int = cost_of(node.attrs["body"]).flops
    return flops * int(node.attrs["length"]) >= _LONG


def _ready(block: Block, consts: int, target: Target) -> dict[Side, Node]:
    """Return what products in a loop multiply by that does not change in it."""
    fixed = set(block.graph.inputs[:consts])
    found: dict[Side, Node] = {}
    for step in block.steps:
        if step.kind != "dot":
            continue
        left, right = block.operands(step.node)
        if right.source not in fixed:
            continue
        if suits_unit(step.node, left, right, target, ready=True):
            side = sides(step.node, left, right)[1]
            type_ = TensorType((side.room,), np.dtype(np.uint8))
            found.setdefault(side, input_node(type_, "ready"))
    return found


def _add_map(block: Block, node: Node) -> None:
    """Join the last nest of the same shape that comes late enough, or start one."""
    made = {value: i for i, step in enumerate(block.steps) for value, _ in step.targets}
    reads = block.reads(node)
    own = offset(node.shape, identity(node))
    earliest = -1
    for source, place in reads:
        at = made.get(source.inputs[0] if source.op.name == "get" else source, -1)
        same_element = source.shape == node.shape and place == own
        earliest = max(earliest, at - 1 if same_element and _is_map(block, at) else at)
    for i in range(len(block.steps) - 1, earliest, -1):
        step = block.steps[i]
        if step.kind == "map" and step.node.shape == node.shape:
            step.targets.append((node, node))
            return
    block.steps.append(Step("map", [(node, node)]))


def _is_map(block: Block, at: int) -> bool:
    return at >= 0 and block.steps[at].kind == "map"


# --- memory ----------------------------------------------------------------------


def _give_outputs(block: Block, carries: int, inputs: int) -> None:
    """Let values be written where they are wanted, where nothing is in the way."""
    graph = block.graph
    for number, node in enumerate(graph.outputs):
        if number < carries and node is graph.inputs[inputs + number]:
            continue  # carried on unchanged
        own = node in block.stored and node not in block.given
        if own and (
            number >= carries
            or _may_overwrite(block, node, graph.inputs[inputs + number])
        ):
            block.given[node] = number
        else:
            block.copies.append((node, number))
    # What is carried on is overwritten last.
    block.copies.sort(key=lambda copy: copy[1] < carries)


def _may_overwrite(block: Block, new: Node, old: Node) -> bool:
    """Return whether every reader of the old carried value has read it by then."""
    if new.op.name == "get":
        return False
    at = next(
        i
        for i, step in enumerate(block.steps)
        if any(value is new for value, _ in step.targets)
    )
    own = offset(new.shape, identity(new))
    # Only what reads the same memory is surely in one loop.
    joined = (old, own) in block.reads(new)
    for i, step in enumerate(block.steps):
        for value, _ in step.targets:
            places = [p for source, p in block.reads(value) if source is old]
            in_place = i == at and step.kind == "map" and set(places) <= {own}
            in_place = in_place and (joined or value is new)
            if places and not (i < at or in_place):
                return False
    # Copies at the block's end read whatever they read then.
    return all(old is not each for each in block.graph.outputs)


def _lay_out(block: Block, target: Target, carries: int) -> None:
    """Give every other value a place; a place is free again after the last reader."""
    last: dict[Node, int] = {}
    for i, step in enumerate(block.steps):
        for value, _ in step.targets:
            for source, _ in block.reads(value):
                last[source] = i
    end = len(block.steps)
    for node, _ in block.copies:
        found: dict[tuple[Node, Affine], None] = {}
        accesses(node, identity(node), block.stored, found)
        last |= {source: end for source, _ in found}
    free = _Free()
    carried = set(block.graph.inputs)
    for node, number in block.copies:
        found = {}
        accesses(node, identity(node), block.stored, found)
        if number < carries and any(source in carried for source, _ in found):
            block.aside[number] = free.take(round_up(node.type.nbytes))
    ending: dict[int, list[tuple[int, int]]] = {}
    for i, step in enumerate(block.steps):
        for node in results_of(step):
            if node not in block.given:
                size = round_up(node.type.nbytes)
                block.places[node] = free.take(size)
                ending.setdefault(max(i, last.get(node, i)), []).append(
                    (block.places[node], size)
                )
        step.scratch = _scratch(step, block, target)
        if step.scratch:
            step.scratch_at = free.take(round_up(step.scratch))
            free.give(step.scratch_at, round_up(step.scratch))
        for place, size in ending.pop(i, []):
            free.give(place, size)
    block.size = free.end


def results_of(step: Step) -> list[Node]:
    """Return the values that a step computes, one node each."""
    if step.kind == "scan":
        node = step.node
        return [bind("get", node, index=i) for i in range(len(node.type))]
    return [value for value, _ in step.targets]


def _scratch(step: Step, block: Block, target: Target) -> int:
    if step.inner is not None:
        own = 0 if step.apart else step.inner.size
        return own + sum(side.room for side in step.inner.ready)
    if step.kind != "dot" or any(each.type.size == 0 for each in step.node.inputs):
        return 0
    node = step.node
    size = 0
    for each, axes in zip(node.inputs, roles(node)):
        if operand(each, block.stored, *axes) is None:
            size += round_up(each.type.nbytes)
    if is_float(node.dtype):
        size += panel_bytes(node, target)
    return size


class _Free:
    """Places of a region that are free again, joined where they touch."""

    def __init__(self) -> None:
        self.end = 0
        self._gaps: dict[int, int] = {}

    def take(self, size: int) -> int:
        """Return the start of a free place."""
        fits = [
            (length, start) for start, length in self._gaps.items() if length >= size
        ]
        if not fits:
            self.end += size
            return self.end - size
        length, start = min(fits)
        del self._gaps[start]
        if length > size:
            self._gaps[start + size] = length - size
        return start

    def give(self, start: int, size: int) -> None:
        """Free a place."""
        if not size:
            return
        after = self._gaps.pop(start + size, 0)
        for other, length in self._gaps.items():
            if other + length == start:
                self._gaps[other] = length + size + after
                return
        self._gaps[start] = size + after
