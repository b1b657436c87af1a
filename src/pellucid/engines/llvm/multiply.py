"""How a product gets into a program: what brings its operands, and who computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.dtypes import is_float
from pellucid.engines.llvm.amx import amx
from pellucid.engines.llvm.inner import inner, is_inner
from pellucid.engines.llvm.integers import plain_product
from pellucid.engines.llvm.kernels import Kernel, fill
from pellucid.engines.llvm.matmul import matmul
from pellucid.engines.llvm.module import SHARED_ELEMENTS, Module, Region
from pellucid.engines.llvm.moves import copy
from pellucid.engines.llvm.panels import pack
from pellucid.engines.llvm.plan import Block, round_up
from pellucid.engines.llvm.products import (
    Operand,
    Sharing,
    brought,
    can_share,
    needs_panels,
    operand,
    panel_bytes,
    roles,
    sharing,
)
from pellucid.engines.llvm.thirds import all_fit, thirds
from pellucid.engines.llvm.unit import LINE, Side, sides
from pellucid.ir.graph import Node, bind, input_node
from pellucid.ir.types import TensorType

__all__ = ["bring_into_tiles", "write_dot"]


class _Product:
    """A product that is being written into a module."""

    def __init__(
        self,
        module: Module,
        block: Block,
        node: Node,
        label: str,
        pointers: dict[Node, str],
        scratch: Region,
    ) -> None:
        self.module, self.block, self.node, self.label = module, block, node, label
        self.pointers, self.scratch = pointers, scratch

    def kernel(self, shared: bool = False) -> Kernel:
        """Return a kernel to be written."""
        return self.module.kernel(self.block.stored, shared)

    def call(self, kernel: Kernel, label: str = "") -> None:
        """Call a kernel."""
        self.module.call(kernel, self.pointers, label or self.label)

    def room(self, type_: TensorType) -> Node:
        """Return a node that stands for memory that is free for now."""
        place = input_node(type_, "room")
        self.pointers[place] = self.scratch.at(self.module)
        self.scratch = self.scratch.behind(round_up(type_.nbytes))
        return place


def write_dot(
    module: Module,
    block: Block,
    node: Node,
    label: str,
    pointers: dict[Node, str],
    scratch: Region,
) -> None:
    """Write the calls that compute a product."""
    product = _Product(module, block, node, label, pointers, scratch)
    kernel = product.kernel()
    if node.type.size == 0:
        return
    if any(each.type.size == 0 for each in node.inputs):
        fill(kernel, node, 0)
        product.call(kernel)
        return
    found = [
        operand(each, block.stored, *axes) or _bring(product, each, axes)
        for each, axes in zip(node.inputs, roles(node))
    ]
    left, right = found
    if not is_float(node.dtype):
        plain_product(kernel, node, left, right)
        product.call(kernel)
    elif block.on_unit(node, module.target):
        _write_on_unit(product, left, right)
    else:
        _write_in_registers(product, left, right)


def _write_in_registers(product: _Product, left: Operand, right: Operand) -> None:
    """Write a product of floats that is computed in vector registers."""
    module, node = product.module, product.node
    target, panels = module.target, None
    inside = is_inner(node, left, right, target)
    if not inside and needs_panels(node, right, target):
        panels = _pack(product, right)
    how: Sharing = ""
    if module.threads and can_share(node, target):
        how = sharing(node, right, target)
    kernel = product.kernel(bool(how))
    if inside:
        inner(kernel, node, left, right, how)
    else:
        matmul(kernel, node, left, right, panels, how)
    product.call(kernel)


def _write_on_unit(product: _Product, left: Operand, right: Operand) -> None:
    """Write a product that is computed on the matrix unit, and once more in vector
    registers where a number is infinite, none, or almost too large."""
    module, node = product.module, product.node
    shared = module.threads and can_share(node, module.target)
    x, y = sides(node, left, right)
    ready, kernel = product.block.ready.get(y), product.kernel(shared)
    own = input_node(TensorType((0,), np.dtype(np.uint8)), "own")
    product.pointers[own] = module.unit_room()
    amx(kernel, node, x, y, own, ready)
    product.call(kernel)
    module.meet()
    marks = [module.unit_marks(shared)]
    if ready is not None:
        marks.append((product.pointers[ready], y.batches * y.blocks, LINE))
    fit = all_fit(module.main, marks)
    with module.either(module.main.let(f"xor i1 {fit}, true")):
        _write_in_registers(product, left, right)


def bring_into_tiles(
    module: Module, block: Block, side: Side, room: Node, pointers: dict[Node, str]
) -> None:
    """Call the kernel that brings an operand into tiles, once for many products."""
    kernel = module.kernel(block.stored, module.threads and side.room >= 1 << 16)
    thirds(kernel, side, room)
    module.call(kernel, pointers, f"thirds {side.source.type}")


def _pack(product: _Product, right: Operand) -> Node:
    """Bring the right operand of a product into panels."""
    module, node = product.module, product.node
    size = panel_bytes(node, module.target) // node.dtype.itemsize
    panels = product.room(TensorType((size,), node.dtype))
    kernel = product.kernel(module.threads and size >= SHARED_ELEMENTS)
    pack(kernel, node, right, panels)
    product.call(kernel, f"pack {node.inputs[1].type}")
    return panels


def _bring(product: _Product, node: Node, axes: Sequence[Sequence[int]]) -> Operand:
    """Copy an operand in the order [batch, row, column]."""
    order = tuple(axis for group in axes for axis in group)
    turned = bind("transpose", node, axes=order)
    place = product.room(turned.type)
    kernel = product.kernel()
    copy(kernel, turned, place)
    product.call(kernel, f"bring {turned.type}")
    return brought(node, place, axes)
