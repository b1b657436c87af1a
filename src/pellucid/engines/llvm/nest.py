"""Loop nests: where a value is computed, how it is read, how lanes are filled.

A nest has axes of static size. Its innermost axis may be cut into vectors, with a
masked one at the end. A value is computed in the outermost loop in which all that it
depends on is known, and only once there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from pellucid.dtypes import DType
from pellucid.engines.llvm.emit import Block, Function, Kind, memory_type
from pellucid.engines.llvm.gates import GATES
from pellucid.ir.graph import Node
from pellucid.ir.ops import ELEMENTWISE
from pellucid.passes.fuse import VIEWS, Affine, Index, offset, read_through

__all__ = ["Nest", "Value", "accesses"]


@dataclass(frozen=True)
class Value:
    """A value in registers: its name, its kind, and the level that computes it."""

    name: str
    kind: Kind
    level: int


class Nest:
    """A nest of loops being written, and the values computed in it so far."""

    def __init__(
        self,
        f: Function,
        sizes: Sequence[int],
        pointer: Callable[[Node], str],
        stored: set[Node],
        vector: int | None,
        lanes: int,
    ) -> None:
        self.f, self.sizes, self.pointer, self.stored = f, tuple(sizes), pointer, stored
        self.vector, self.lanes = vector, lanes
        self.counters: dict[int, str] = {}
        self.level_of: dict[int, int] = {}
        self.levels: list[Block] = [f.block]
        self.known: list[dict[object, Value]] = [{}]
        self.mask = ""
        self.active = lanes
        self.split = False
        """Whether the outermost loop is shared by the threads."""
        self.narrows = False
        """Whether a rest of two, four, … lanes is a vector of its own: what was written
        under a mask is not at hand for who reads it next."""

    # --- loops ---

    @contextmanager
    def over(self, axes: Sequence[int]) -> Iterator[None]:
        """Run loops over axes, the first outermost."""
        with ExitStack() as stack:
            for axis in axes:
                stack.enter_context(self._one(axis, 1))
            yield

    @contextmanager
    def _one(
        self, axis: int, step: int, stop: int | None = None, start: int | str = 0
    ) -> Iterator[None]:
        size: int | str = self.sizes[axis] if stop is None else stop
        if size == 1 and start == 0:
            self.counters[axis], self.level_of[axis] = "0", 0
            yield
            return
        if self._splits():
            start, size = self.f.share(int(size) // step)
            if step != 1:
                start, size = (
                    self.f.let(f"mul i64 {each}, {step}") for each in (start, size)
                )
        with self.f.loop(size, step, start) as counter:
            self.counters[axis] = counter
            self._enter(axis)
            yield
            self._leave()

    def _enter(self, axis: int) -> None:
        self.level_of[axis] = len(self.levels)
        self.levels.append(self.f.block)
        self.known.append({})

    def _leave(self) -> None:
        self.levels.pop()
        self.known.pop()

    def _splits(self) -> bool:
        """Return whether the loop that comes next is shared; only one is."""
        split, self.split = self.split, False
        return split

    def vectors(self) -> Iterator[None]:
        """Yield for whole vectors of the innermost axis, then for the masked rest."""
        assert self.vector is not None
        size = self.sizes[self.vector]
        whole, rest = divmod(size, self.lanes)
        alone = self.split and rest
        if whole:
            with self._one(self.vector, self.lanes, whole * self.lanes):
                yield
        if alone:
            self.split = False
            with self.f.when(self.f.is_last()):
                yield from self._rest(whole, rest)
        elif rest:
            yield from self._rest(whole, rest)

    def _rest(self, whole: int, rest: int) -> Iterator[None]:
        """Yield for a last vector that is not full."""
        assert self.vector is not None
        self.counters[self.vector] = str(whole * self.lanes)
        self._enter(self.vector)
        if self.narrows and rest & (rest - 1) == 0:
            wide, self.lanes, self.active = self.lanes, rest, rest
            yield
            self.lanes = self.active = wide
            self._leave()
            return
        lanes = ", ".join(
            f"i1 {'true' if i < rest else 'false'}" for i in range(self.lanes)
        )
        self.mask, self.active = f"<{lanes}>", rest
        yield
        self.mask, self.active = "", self.lanes
        self._leave()

    # --- values ---

    def value(self, node: Node, index: Index) -> Value:
        """Compute a node's element, or its lanes along the vector axis."""
        if node in self.stored or node.op.name == "input":
            return self.load(node, offset(node.shape, index))
        if node.op.name == "const":
            return self._constant(node, index)
        if node.op.name in VIEWS:
            return self._view(node, index)
        key = node, index
        for known in self.known:
            if key in known:
                return known[key]
        operands = [self.value(each, index) for each in node.inputs]
        level = max((each.level for each in operands), default=0)
        return self._remember(key, self._gate(node, operands, level))

    def _remember(self, key: object, value: Value) -> Value:
        self.known[value.level][key] = value
        return value

    def set(self, node: Node, index: Index, value: Value) -> None:
        """Say that a node's element is known in registers."""
        self.known[-1][node, index] = value

    def _view(self, node: Node, index: Index) -> Value:
        through = read_through(node, index)
        if through is not None:
            return self.value(*through)
        source = node.inputs[0]
        flat = offset(node.shape, index)
        # The source is stored, perhaps behind further reshapes: its order is its own.
        while source.op.name == "reshape" and source not in self.stored:
            source = source.inputs[0]
        return self.load(source, flat)

    def _constant(self, node: Node, index: Index) -> Value:
        array = node.attrs["value"].array
        kind = Kind(node.dtype)
        if array.size == 1:
            return Value(kind.constant(array.reshape(-1)[0]), kind, 0)
        return self.load(node, offset(node.shape, index))

    def _gate(self, node: Node, operands: Sequence[Value], level: int) -> Value:
        lanes = max(each.kind.lanes for each in operands)
        block, self.f.block = self.f.block, self._block(level)
        names = [self.spread(each, lanes).name for each in operands]
        kind = Kind(operands[0].kind.dtype, lanes)
        to = Kind(node.dtype, lanes)
        name = GATES[node.op.name](self.f, kind, to, *names)
        self.f.block = block
        return Value(name, to, level)

    def _block(self, level: int) -> Block:
        """Return the block in which values of a level are added."""
        return self.f.block if level == len(self.levels) - 1 else self.levels[level]

    def spread(self, value: Value, lanes: int | None = None) -> Value:
        """Return a value in every lane."""
        lanes = lanes or self.lanes
        if value.kind.lanes == lanes or lanes == 1:
            return value
        kind = Kind(value.kind.dtype, lanes)
        if not value.name.startswith("%"):
            return Value(f"splat ({value.kind.scalar} {value.name})", kind, value.level)
        key = "spread", value.name, lanes
        known = self.known[value.level].get(key)
        if known is not None:
            return known
        block = self._block(value.level)
        one = self.f.let(
            f"insertelement {kind} poison, {value.kind} {value.name}, i32 0", block
        )
        name = self.f.let(
            f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> "
            "zeroinitializer",
            block,
        )
        return self._remember(key, Value(name, kind, value.level))

    # --- memory ---

    def level(self, place: Affine) -> int:
        """Return the level in which a position is known."""
        return max((self.level_of[axis] for axis, _ in place.terms), default=0)

    def position(self, place: Affine) -> str:
        """Return a position as an integer."""
        total, so_far = str(place.constant), Affine(place.constant)
        ordered = sorted(place.terms, key=lambda term: self.level_of[term[0]])
        for axis, factor in ordered:
            so_far = so_far + Affine(0, ((axis, factor),))
            total = self._add_term(so_far, total, axis, factor)
        return total

    def _add_term(self, so_far: Affine, total: str, axis: int, factor: int) -> str:
        level = self.level_of[axis]
        key = "position", so_far, self.counters[axis]
        known = self.known[level].get(key)
        if known is not None:
            return known.name
        block, counter = self._block(level), self.counters[axis]
        if factor != 1:
            counter = self.f.let(f"mul nsw i64 {counter}, {factor}", block)
        name = counter
        if total != "0":
            name = self.f.let(f"add nsw i64 {total}, {counter}", block)
        whole = Kind(np.dtype(np.int64))
        return self._remember(key, Value(name, whole, level)).name

    def address(self, node: Node, place: Affine, extra: int = 0) -> str:
        """Return the address of an element."""
        memory = memory_type(Kind(node.dtype))
        position = self.position(Affine(place.constant + extra, place.terms))
        block = self._block(self.level(place))
        return self.f.let(
            f"getelementptr {memory}, ptr {self.pointer(node)}, i64 {position}", block
        )

    def load(self, node: Node, place: Affine) -> Value:
        """Read an element, or the lanes along the vector axis."""
        key = "load", node, place
        for known in self.known:
            if key in known:
                return known[key]
        step = place.factor(self.vector) if self.vector is not None else 0
        if self.lanes == 1 or step == 0:
            value = self._load_scalar(node, place)
        elif step == 1:
            value = self._load_vector(node, place)
        else:
            value = self._load_lanes(node, place, step)
        return self._remember(key, value)

    def _load_scalar(self, node: Node, place: Affine, extra: int = 0) -> Value:
        level, kind = self.level(place), Kind(node.dtype)
        address = self.address(node, place, extra)
        block = self._block(level)
        name = self.f.let(f"load {memory_type(kind)}, ptr {address}", block)
        return Value(self._from_memory(name, kind, block), kind, level)

    def _load_vector(self, node: Node, place: Affine) -> Value:
        kind, level = Kind(node.dtype, self.lanes), len(self.levels) - 1
        return Value(self.read(self.address(node, place), kind), kind, level)

    def read(self, address: str, kind: Kind) -> str:
        """Read the lanes that stand at an address, no more of them than there are."""
        memory, size = memory_type(kind), kind.dtype.itemsize
        if not self.mask:
            name = self.f.let(f"load {memory}, ptr {address}, align {size}")
        else:
            name = self.f.call(
                f"llvm.masked.load.{memory_suffix(kind)}.p0",
                memory,
                ("ptr", address),
                ("i32", str(size)),
                (f"<{self.lanes} x i1>", self.mask),
                (memory, "zeroinitializer"),
            )
        return self._from_memory(name, kind, self.f.block)

    def _load_lanes(self, node: Node, place: Affine, step: int) -> Value:
        kind, level = Kind(node.dtype, self.lanes), len(self.levels) - 1
        result = "zeroinitializer"
        for lane in range(self.active):
            one = self._load_scalar(node, place, lane * step)
            result = self.f.let(
                f"insertelement {kind} {result}, {one.kind} {one.name}, i32 {lane}"
            )
        return Value(result, kind, level)

    def _from_memory(self, name: str, kind: Kind, block: Block) -> str:
        if kind.dtype.kind != "b":
            return name
        zero = "0" if kind.lanes == 1 else "zeroinitializer"
        return self.f.let(f"icmp ne {memory_type(kind)} {name}, {zero}", block)

    def store(self, node: Node, place: Affine, value: Value) -> None:
        """Write an element, or the lanes along the vector axis."""
        step = place.factor(self.vector) if self.vector is not None else 0
        if self.lanes > 1 and step == 0 and value.kind.lanes > 1:
            raise AssertionError("lanes have no place to go")
        if self.lanes > 1 and step > 1:
            self._store_lanes(node, place, self.spread(value), step)
            return
        wide = self.spread(value) if step else value
        self.write(self.address(node, place), wide)

    def write(self, address: str, value: Value) -> None:
        """Write lanes to an address, no more of them than there are."""
        name, kind = self._to_memory(value), value.kind
        memory, size = memory_type(kind), kind.dtype.itemsize
        if not self.mask or kind.lanes == 1:
            self.f.do(f"store {memory} {name}, ptr {address}, align {size}")
            return
        mask = f"<{self.lanes} x i1>"
        function = f"llvm.masked.store.{memory_suffix(kind)}.p0"
        self.f.declared.add(f"declare void @{function}({memory}, ptr, i32, {mask})")
        self.f.do(
            f"call void @{function}({memory} {name}, ptr {address}, i32 {size}, "
            f"{mask} {self.mask})"
        )

    def _store_lanes(self, node: Node, place: Affine, value: Value, step: int) -> None:
        memory = memory_type(Kind(node.dtype))
        name, kind = self._to_memory(value), value.kind
        for lane in range(self.active):
            wide = memory_type(kind)
            one = self.f.let(f"extractelement {wide} {name}, i32 {lane}")
            address = self.address(node, place, lane * step)
            self.f.do(f"store {memory} {one}, ptr {address}")

    def _to_memory(self, value: Value) -> str:
        if value.kind.dtype.kind != "b":
            return value.name
        return self.f.let(
            f"zext {value.kind} {value.name} to {memory_type(value.kind)}"
        )


def memory_suffix(kind: Kind) -> str:
    """Return the type in memory as it stands in the name of an intrinsic."""
    if kind.dtype.kind == "b":
        return f"v{kind.lanes}i8"
    return kind.suffix


def lanes_for(dtypes: Sequence[DType], size: int, register_bytes: int) -> int:
    """Return how many lanes suit an axis of some size."""
    widest = max((each.itemsize for each in dtypes), default=4)
    lanes = max(1, register_bytes // max(4, widest))
    while lanes > 1 and lanes // 2 >= size:
        lanes //= 2
    return lanes


# --- what a value will read ------------------------------------------------------


def accesses(
    node: Node,
    index: Index,
    stored: set[Node],
    found: dict[tuple[Node, Affine], None],
    literals: bool = True,
) -> None:
    """Collect the memory that computing a value reads, without writing code.

    With `literals` a constant of one element is no memory: it stands in the code.
    """
    pending, seen = [(node, index)], set()
    while pending:
        item = pending.pop()
        if item in seen:
            continue
        seen.add(item)
        each, where = item
        if each in stored or each.op.name == "input":
            found[each, offset(each.shape, where)] = None
        elif each.op.name == "const":
            if each.attrs["value"].array.size != 1 or not literals:
                found[each, offset(each.shape, where)] = None
        elif each.op.name in ELEMENTWISE:
            pending.extend((source, where) for source in each.inputs)
        else:
            through = read_through(each, where)
            if through is not None:
                pending.append(through)
                continue
            source = each.inputs[0]
            while source.op.name == "reshape" and source not in stored:
                source = source.inputs[0]
            found[source, offset(each.shape, where)] = None
