"""How much work a step is, and whether threads share it.

Work is counted in vectors: an instruction on sixteen numbers of 32 bits, or what takes
as long. Threads meet before and after a step that they share, which takes as long as
some thousand of them.
"""

from __future__ import annotations

from pellucid.dtypes import is_float
from pellucid.engines.llvm.correlation import multiplications
from pellucid.engines.llvm.kernels import Target
from pellucid.engines.llvm.moves import is_copy
from pellucid.engines.llvm.plan import Block, Step
from pellucid.engines.llvm.products import can_share, product_of
from pellucid.ir.graph import Node
from pellucid.ir.ops import ELEMENTWISE
from pellucid.passes.fuse import VIEWS

__all__ = ["is_shared", "pays"]

_WORTH_SHARING = 1 << 11
"""The least work of a loop over elements that threads share."""

_WORTH_READING = 1 << 13
"""The same of a reduction, whose memory counts more."""

_SHARED_PRODUCTS = 1 << 20
"""Multiplications of a `conv` below which threads cost more than they bring."""

_LANES, _LEAST = 16, 4
"""The numbers of a vector, and what it costs to read and write one."""

_COSTS = {
    "div": 6,
    "sqrt": 6,
    "exp": 12,
    "log": 16,
    "tanh": 16,
    "erf": 20,
    "sin": 24,
    "cos": 24,
    "pow": 40,
}
"""Instructions that a gate takes, where it is more than one."""


def is_shared(step: Step, stored: set[Node], target: Target) -> bool:
    """Return whether threads share a step's work."""
    node = step.node
    if step.kind == "dot":
        return is_float(node.dtype) and can_share(node, target)
    if step.kind in ("sum", "max"):
        return node.type.size > 1 and _work(step, stored) >= _WORTH_READING
    if step.kind == "conv":
        return multiplications(node) >= _SHARED_PRODUCTS
    if step.kind in ("map", "gather") or (step.kind == "pad" and is_copy(node)):
        return _work(step, stored) >= _WORTH_SHARING
    return False


def pays(block: Block, target: Target) -> bool:
    """Return whether threads can share so much that meeting again and again pays."""
    shared, total = _shares(block, target)
    return shared > total / 3


def _shares(block: Block, target: Target) -> tuple[int, int]:
    """Return the work that threads share and all of it."""
    shared = total = 0
    for step in block.steps:
        if step.inner is not None:
            length = step.node.attrs["length"]
            inner = _shares(step.inner, target)
            inner = (inner[1], inner[1]) if step.apart else inner
            shared, total = shared + length * inner[0], total + length * inner[1]
            continue
        own = _work(step, block.stored)
        total += own
        shared += own if is_shared(step, block.stored, target) else 0
    return shared, total


def _work(step: Step, stored: set[Node]) -> int:
    node = step.node
    if step.kind == "dot":
        return product_of(node).work // _LANES
    if step.kind == "conv":
        return multiplications(node) // _LANES
    if step.kind in ("sum", "max", "argmax"):
        (source,) = node.inputs
        gates = _gates([source], stored)
        return int(source.type.size) * max(_LEAST, gates) // _LANES
    gates = _gates([value for value, _ in step.targets], stored)
    return int(node.type.size) * max(_LEAST * len(step.targets), gates) // _LANES


def _gates(values: list[Node], stored: set[Node]) -> int:
    """Return the instructions that one element of some values takes."""
    pending, seen, total = list(values), set(values), 0
    while pending:
        node = pending.pop()
        if node.op.name in ELEMENTWISE:
            total += _COSTS.get(node.op.name, 1)
        elif node.op.name not in VIEWS:
            continue
        for each in node.inputs:
            if each not in stored and each not in seen:
                seen.add(each)
                pending.append(each)
    return total
