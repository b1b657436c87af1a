"""What a product on a matrix unit looks like: its operands, and when it pays.

The unit multiplies tiles of 16 by 16 pairs of bf16 numbers. A float is the sum of
three such numbers, so each block of an operand, 16 rows (or columns) by 32 inner
positions, becomes three tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.engines.llvm.kernels import Target
from pellucid.engines.llvm.products import Operand, product_of
from pellucid.ir.graph import Node

__all__ = [
    "BLOCK",
    "CHUNK",
    "DEPTH",
    "LINE",
    "PAIR",
    "PASS",
    "THIRDS",
    "Side",
    "own_bytes",
    "sides",
    "strip_of",
    "suits_unit",
]

BLOCK, DEPTH = 16, 32
"""Rows or columns of a tile, and the inner positions of a block."""

LINE = 64
"""Bytes of a line of a tile, and of the cache."""

THIRDS = 3 * BLOCK * LINE
"""Bytes of the three tiles of a block."""

PAIR = 2 * BLOCK
"""Rows, and columns, of the result that the unit holds."""

PASS, CHUNK = 16, 256
"""Blocks of inner positions that a pass goes through, and rows (or columns) of the one
operand that stay in the second cache in the meantime."""

_UNIT, _REGISTERS, _BRING = 55.0, 30.0, 0.8
"""Multiplications a cycle on the unit and in vector registers, and the cycles that it
takes to bring a number into tiles: measured, and rough."""


@dataclass(frozen=True)
class Side:
    """An operand of a product: `count` rows or columns, `depth` inner positions, and
    its strides in elements."""

    source: Node
    start: int
    batch: int
    batches: int
    free: int
    inner: int
    count: int
    depth: int
    by_pairs: bool
    """Whether a tile has a line for each pair of inner positions, as those of the right
    operand have, and not for each row."""

    @property
    def blocks(self) -> int:
        """The blocks of rows or columns of one batch."""
        return -(-self.count // BLOCK)

    @property
    def deep(self) -> int:
        """The blocks of inner positions."""
        return -(-self.depth // DEPTH)

    @property
    def tiles(self) -> int:
        """The bytes of all tiles of a batch."""
        return self.blocks * self.deep * THIRDS

    @property
    def marks(self) -> int:
        """The bytes of what says how large the numbers are: a line for each block."""
        return self.batches * self.blocks * LINE

    @property
    def room(self) -> int:
        """The bytes of all of it."""
        return self.marks + self.batches * self.tiles


def sides(node: Node, left: Operand, right: Operand) -> tuple[Side, Side]:
    """Return the operands of a product as a matrix unit sees them."""
    shape, x, y = product_of(node), left, right
    b, k = shape.batch, shape.k
    return (
        Side(x.source, x.start, x.batch, b, x.row, x.column, shape.m, k, False),
        Side(y.source, y.start, y.batch, b, y.column, y.row, shape.n, k, True),
    )


def suits_unit(
    node: Node, left: Operand, right: Operand, target: Target, ready: bool = False
) -> bool:
    """Return whether a product is sooner done on the processor's matrix unit.

    `ready` says that the right operand is in tiles already.
    """
    if not target.matrix_unit or node.dtype.name != "float32":
        return False
    both = sides(node, left, right)
    if not all(1 in (side.free, side.inner) for side in both):
        return False
    x, y = both
    less, more = sorted((x.count, y.count))
    brought = x.count if ready else less + more * -(-less // CHUNK)
    unit = BLOCK * x.blocks * BLOCK * y.blocks * DEPTH * x.deep / _UNIT
    unit += brought * x.depth * _BRING
    return unit < x.count * y.count * x.depth / _REGISTERS


def own_bytes(node: Node, ready: bool) -> int:
    """Return the room that each thread needs for itself: a line that says how large its
    numbers are, a chunk of the one operand and a strip of the other."""
    shape = product_of(node)
    deep = min(PASS, -(-shape.k // DEPTH))
    chunk = min(CHUNK, shape.m if ready else min(shape.m, shape.n))
    blocks = (-(-chunk // PAIR) * PAIR + strip_of(False)) // BLOCK
    return LINE + blocks * deep * THIRDS


def strip_of(shared: bool) -> int:
    """Return the rows (or columns) of the other operand that come in at a time: more
    are read more quickly, fewer are more evenly shared."""
    return 2 * PAIR if shared else 4 * PAIR
