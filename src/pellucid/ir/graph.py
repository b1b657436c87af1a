"""Nodes and graphs: a gate applied to nodes, and a closed function of inputs.

Nodes are immutable and shared: the same gate on the same inputs is the same node.
Constants are keyed by dtype and bits, so `0.0` and `-0.0` stay two. Where a node
was born (file, line, layer path) is kept beside it, outside equality.

Nothing here recurses: a graph may be a chain of a hundred thousand gates.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, cast
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from pellucid.dtypes import DType, as_dtype
from pellucid.errors import GraphError, PellucidError, did_you_mean, message
from pellucid.ir.ops import OPS, Op
from pellucid.ir.types import Shape, TensorType

__all__ = [
    "Array",
    "Birth",
    "Constant",
    "Graph",
    "Node",
    "bind",
    "born_as",
    "constant",
    "fill",
    "input_node",
    "inside",
    "is_zero",
    "rebind",
    "results",
    "substitute",
    "toposort",
    "within",
]

Array: TypeAlias = npt.NDArray[Any]
_PACKAGE = str(Path(__file__).resolve().parent.parent)
_COMMANDS = str(Path(_PACKAGE) / "cli")


# --- where a node was born -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a node was born: the user's file and line, the layer's path.

    `role` is `forward`, or `backward` for a node that the chain rule made.
    """

    file: str = ""
    line: int = 0
    path: str = ""
    role: str = "forward"

    def __str__(self) -> str:
        place = f"{Path(self.file).name}:{self.line}" if self.file else ""
        return " · ".join(part for part in (self.path, place) if part)


_path: ContextVar[str] = ContextVar("pellucid_layer_path", default="")
_fixed_birth: ContextVar[Birth | None] = ContextVar("pellucid_birth", default=None)


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Nodes born in this block carry a layer path."""
    token = _path.set(path)
    try:
        yield
    finally:
        _path.reset(token)


@contextmanager
def within(part: str) -> Iterator[None]:
    """Nodes born in this block carry the layer path with one more part.

    >>> with inside("lstm"), within("cell"):
    ...     input_node(TensorType((), "f32"), "x").birth.path
    'lstm.cell'
    """
    path = _path.get()
    with inside(f"{path}.{part}" if path else part):
        yield


@contextmanager
def born_as(birth: Birth, role: str) -> Iterator[None]:
    """Nodes born in this block take the birth place of another, with this role."""
    token = _fixed_birth.set(birth if birth.role == role else replace(birth, role=role))
    try:
        yield
    finally:
        _fixed_birth.reset(token)


def _birth() -> Birth:
    fixed = _fixed_birth.get()
    if fixed is not None:
        return fixed
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith(_COMMANDS):
            return Birth(path=_path.get())  # what runs a command is not the user's code
        frame = frame.f_back
    if frame is None:
        return Birth(path=_path.get())
    return Birth(frame.f_code.co_filename, frame.f_lineno, _path.get())


@lru_cache(maxsize=4096)
def _is_ours(file: str) -> bool:
    return file.startswith(_PACKAGE)


# --- nodes -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """A literal array, read-only, equal only to one of the same type and bits."""

    array: Array
    type: TensorType
    key: tuple[TensorType, bytes]

    @classmethod
    def of(cls, value: Any, dtype: DType | None = None) -> Constant:
        """Freeze a value."""
        array = np.array(value, dtype=dtype, order="C")
        type_ = TensorType(array.shape, as_dtype(array.dtype))
        array = array.astype(type_.dtype, copy=False)
        array.flags.writeable = False
        return cls(array, type_, (type_, array.tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{self.type}{{{self.array.tobytes().hex()}}}"


Types: TypeAlias = TensorType | tuple[TensorType, ...]


class Node:
    """A gate applied to nodes. Made by `bind`; equal only to itself.

    `inputs` are data, `attrs` is hashable metadata, `type` is what comes out: one
    `TensorType`, or a tuple of them for `scan` and `call`.
    """

    __slots__ = ("__weakref__", "attrs", "birth", "inputs", "op", "type")

    op: Op
    inputs: tuple[Node, ...]
    attrs: dict[str, Any]
    type: Any
    birth: Birth

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: dict[str, Any],
        type: Types,
        birth: Birth,
    ) -> None:
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.type, self.birth = type, birth

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return cast(TensorType, self.type).shape

    @property
    def dtype(self) -> DType:
        """The dtype of the value."""
        return cast(TensorType, self.type).dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the value."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{self.op}: {self.type}>"

    # Arithmetic reads as in a formula: the chain-rule table is written with it.

    def __add__(self, other: Node | float) -> Node:
        return bind("add", self, _lift(other, self))

    def __sub__(self, other: Node | float) -> Node:
        return bind("add", self, -_lift(other, self))

    def __mul__(self, other: Node | float) -> Node:
        return bind("mul", self, _lift(other, self))

    def __truediv__(self, other: Node | float) -> Node:
        return bind("div", self, _lift(other, self))

    def __pow__(self, other: Node | float) -> Node:
        return bind("pow", self, _lift(other, self))

    def __neg__(self) -> Node:
        return bind("neg", self)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Node:
        return _lift(other, self) - self

    def __rtruediv__(self, other: float) -> Node:
        return _lift(other, self) / self


def _lift(value: Node | float, like: Node) -> Node:
    if isinstance(value, Node):
        return value
    return fill(value, like.type)


_known: WeakValueDictionary[Any, Node] = WeakValueDictionary()
_lock = threading.Lock()


def bind(op: str, *inputs: Node, **attrs: Any) -> Node:
    """Apply a gate: type it, and return the one node that means this.

    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> bind("add", x, x) is bind("add", x, x)
    True
    """
    key = (op, tuple(map(id, inputs)), tuple(sorted(attrs.items())))
    known = _known.get(key)
    if known is not None:
        return known
    if op not in OPS:
        raise GraphError(message(f"no gate named {op!r}", hint=did_you_mean(op, OPS)))
    gate = OPS[op]
    birth = _birth()
    if gate.arity is not None and len(inputs) != gate.arity:
        wrong = f"{op} takes {gate.arity} inputs, not {len(inputs)}"
        raise GraphError(message(wrong, where=str(birth)))
    try:
        type_ = gate.infer(*(each.type for each in inputs), **attrs)
    except PellucidError as error:
        raise type(error)(
            " · ".join(filter(None, (f"{op}: {error}", str(birth))))
        ) from None
    node = Node(gate, inputs, attrs, type_, birth)
    with _lock:
        return _known.setdefault(key, node)


def input_node(type: TensorType, name: str) -> Node:
    """Make a leaf whose value comes from outside. Each call makes another."""
    return Node(OPS["input"], (), {"name": name, "type": type}, type, _birth())


def constant(value: Any, dtype: Any = None) -> Node:
    """Make a leaf that is a literal.

    >>> constant(0.0, "f32") is constant(-0.0, "f32")
    False
    """
    frozen = Constant.of(value, None if dtype is None else as_dtype(dtype))
    return bind("const", value=frozen)


def fill(value: Any, type: TensorType) -> Node:
    """Make a constant scalar and broadcast it to a type."""
    scalar = constant(value, type.dtype)
    if not type.shape:
        return scalar
    ones = (1,) * len(type.shape)
    single = bind("reshape", scalar, shape=ones)
    return bind("broadcast", single, shape=type.shape) if type.shape != ones else single


def is_zero(node: Node) -> bool:
    """Return whether a value is 0 everywhere, by its form alone.

    >>> is_zero(fill(0.0, TensorType((2,), "f32"))), is_zero(constant(1.0, "f32"))
    (True, False)
    """
    while node.op.name in ("broadcast", "reshape"):
        (node,) = node.inputs
    return node.op.name == "const" and not node.attrs["value"].array.any()


def results(node: Node) -> tuple[Node, ...]:
    """Return the results of a scan or a call, one node each."""
    return tuple(bind("get", node, index=i) for i in range(len(node.type)))


# --- graphs ----------------------------------------------------------------------


def toposort(outputs: Iterable[Node], known: Iterable[Node] = ()) -> list[Node]:
    """Return every node that the outputs need, inputs before users, no recursion.

    The walk does not enter a `known` node.
    """
    order: list[Node] = []
    done = set(known)
    seen = set(done)
    stack = [*reversed([*outputs])]
    while stack:
        node = stack[-1]
        if node not in seen:
            seen.add(node)
            stack += [each for each in reversed(node.inputs) if each not in seen]
            continue
        stack.pop()
        if node not in done:
            done.add(node)
            order.append(node)
    return order


@dataclass(frozen=True, eq=False)
class Graph:
    """A closed function: nothing enters it but its inputs.

    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> Graph((x,), (x * 2.0,)).output_types
    (f32[2],)
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        if len(set(self.inputs)) != len(self.inputs):
            raise GraphError("an input is listed twice")
        for node in self.inputs:
            if node.op.name != "input":
                raise GraphError(f"{node} is not an input")
        for node in self.nodes:
            if node.op.name == "input" and node not in self._input_set:
                raise GraphError(
                    f"the graph is not closed: input {node.attrs['name']!r} "
                    f"{node.type} is used and not listed"
                )

    @cached_property
    def _input_set(self) -> frozenset[Node]:
        return frozenset(self.inputs)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that an output needs, inputs before users."""
        return tuple(toposort(self.outputs))

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        """The types of the inputs."""
        return tuple(each.type for each in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """The types of the outputs."""
        return tuple(each.type for each in self.outputs)

    @cached_property
    def key(self) -> Any:
        """A value equal for graphs that compute the same by the same gates."""
        number = {node: i for i, node in enumerate(self.inputs)}
        rows: list[Any] = []
        for node in self.nodes:
            if node in number:
                continue
            number[node] = len(number)
            attrs = tuple(sorted(node.attrs.items()))
            rows.append((node.op.name, tuple(number[i] for i in node.inputs), attrs))
        return (self.input_types, tuple(rows), tuple(number[o] for o in self.outputs))

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Graph)
            and self._hash == other._hash
            and bool(self.key == other.key)
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return (
            f"<graph of {len(self.nodes)} nodes: {self.input_types} → "
            f"{self.output_types}>"
        )


def substitute(
    outputs: Sequence[Node],
    replacement: dict[Node, Node],
    rebuild: Callable[[Node, tuple[Node, ...]], Node] | None = None,
) -> list[Node]:
    """Rebuild outputs with nodes replaced; `rebuild` may answer for any other node.

    `replacement` is extended with every node that was rebuilt.
    """
    outside = _fixed_birth.set(None)
    try:
        for node in toposort(outputs):
            if node not in replacement:
                inputs = tuple([replacement[each] for each in node.inputs])
                _fixed_birth.set(node.birth)
                make = rebind if rebuild is None else rebuild
                replacement[node] = make(node, inputs)
    finally:
        _fixed_birth.reset(outside)
    return [replacement[each] for each in outputs]


def rebind(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the same gate on other inputs."""
    if inputs == node.inputs:
        return node
    return bind(node.op.name, *inputs, **node.attrs)
