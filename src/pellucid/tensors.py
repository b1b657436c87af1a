"""Tensors: a node and, where its inputs are known, its value.

Code at the prompt computes at once and records its node where a gradient may be
asked for. The same code on a symbol, which has no value yet, only builds graph.
There is one class and one rule table for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from pellucid.closures import note
from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float, promote
from pellucid.engines.numpy_ import run_gate
from pellucid.errors import (
    DTypeError,
    GradientError,
    NoValueError,
    ShapeError,
    message,
)
from pellucid.grad.transform import gradients
from pellucid.indexing import plan_index, whole_shape
from pellucid.ir.graph import (
    Array,
    Node,
    bind,
    constant,
    fill,
    input_node,
    results,
    toposort,
)
from pellucid.ir.types import Shape, TensorType
from pellucid.memory import assignments, settled
from pellucid.operators import Operators

__all__ = [
    "Buffer",
    "Parameter",
    "Tensor",
    "TensorLike",
    "apply",
    "apply_many",
    "as_tensor",
    "expand",
    "grad",
    "meet",
    "take",
    "tensor",
    "whole_axes",
]

TensorLike: TypeAlias = "Tensor | Array | float | int | bool | Sequence[Any]"

_SCALAR = bool | int | float

leaf_values: WeakKeyDictionary[Node, Array] = WeakKeyDictionary()


class Tensor(Operators):
    """An array that knows how it was computed.

    >>> x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_node", "_parents", "_value", "grad", "requires_grad")
    __array_ufunc__ = None  # so that `array * tensor` asks the tensor

    def __init__(
        self,
        node: Node,
        value: Array | None = None,
        parents: tuple[Tensor, ...] = (),
        requires_grad: bool = False,
    ) -> None:
        self._node, self._value, self._parents = node, value, parents
        self.requires_grad = requires_grad
        self.grad: Array | None = None

    # --- what it is ---

    @property
    def node(self) -> Node:
        """The gate that computes it, or the leaf that it is."""
        return self._node

    @property
    def type(self) -> TensorType:
        """Its shape and dtype."""
        result: TensorType = self._node.type
        return result

    @property
    def shape(self) -> Shape:
        """The size of each axis."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The number type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.type.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.type.size

    @property
    def has_value(self) -> bool:
        """Whether its number is known; a symbol has none."""
        return self._value is not None

    @property
    def value(self) -> Array:
        """Its number, as a NumPy array. A symbol has none: `NoValueError`."""
        if self._value is None:
            raise NoValueError(
                message(
                    f"{self.type} is a symbol and has no value yet",
                    where=str(self._node.birth),
                    hint="inside a traced function use tensor operations, not numbers: "
                    "pellucid.where instead of if, no float(), no NumPy",
                )
            )
        return self._value

    def numpy(self) -> Array:
        """Its number, as a NumPy array."""
        return self.value

    def item(self) -> Any:
        """Its number as a Python scalar; it must have one element."""
        return self.value.item()

    def detach(self) -> Tensor:
        """The same number without its history: no gradient flows through it."""
        return apply("stop", self) if self._value is None else tensor(self._value)

    def backward(self, seed: TensorLike | None = None) -> None:
        """Add d self / d leaf to the `grad` of every leaf that requires a gradient.

        Without a `seed` it must be a scalar.
        """
        leaves = [
            each for each in _history(self) if each.requires_grad and not each._parents
        ]
        if not leaves:
            raise GradientError(
                message(
                    "nothing here requires a gradient",
                    where=str(self._node.birth),
                    hint="make a leaf with tensor(…, requires_grad=True)",
                )
            )
        for leaf, flow in zip(leaves, grad(self, leaves, seed)):
            found = flow.value
            leaf.grad = found if leaf.grad is None else leaf.grad + found

    # --- Python and NumPy ---

    def __repr__(self) -> str:
        if self._value is None:
            return f"Tensor({self.type}, symbol)"
        text = np.array2string(self._value, separator=", ", prefix="Tensor(")
        return f"Tensor({text}, {self.type})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = np.asarray(self.value, dtype=dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.value.__dlpack_device__()
        return device

    def __reduce__(self) -> Any:
        return _restore, (type(self), self.value, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied: Tensor = _restore(type(self), self.value.copy(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # --- operators ---

    def _binary(
        self, op: str, other: Any, *, floats: bool = False, swap: bool = False
    ) -> Tensor:
        x, y = meet(other, self, floats) if swap else meet(self, other, floats)
        if op == "sub":  # no gate: x + (−y) has the same bits
            return apply("add", x, apply("neg", y))
        return apply(op, x, y)

    def _unary(self, op: str) -> Tensor:
        return apply(op, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return _matmul(self, as_tensor(other, like=self))

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return _matmul(as_tensor(other, like=self), self)

    __hash__ = object.__hash__

    # --- shape and reductions ---

    def astype(self, dtype: Any) -> Tensor:
        """The same values in another dtype."""
        target = as_dtype(dtype)
        return self if target == self.dtype else apply("cast", self, dtype=target)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements in another shape; one size may be −1."""
        sizes = tuple(shape[0]) if shape and not isinstance(shape[0], int) else shape
        return apply("reshape", self, shape=whole_shape(self.shape, sizes))

    @property
    def T(self) -> Tensor:  # noqa: N802 - the name of the Array API standard
        """The axes in reverse order."""
        return apply("transpose", self, axes=tuple(range(self.ndim))[::-1])

    def sum(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Sum over axes, all by default."""
        return self._reduce("sum", axis, keepdims)

    def max(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Largest over axes, all by default."""
        return self._reduce("max", axis, keepdims)

    def min(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Smallest over axes, all by default."""
        if is_float(self.dtype):
            return -(-self).max(axis, keepdims)
        return ~(~self).max(axis, keepdims)  # −x of the lowest integer is no larger

    def mean(
        self, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Arithmetic mean over axes, all by default; NaN over nothing."""
        total = self.sum(axis, keepdims)
        count = np.prod([self.shape[i] for i in whole_axes(self, axis)], dtype=int)
        return total / int(count)

    def _reduce(
        self, op: str, axis: int | Sequence[int] | None, keepdims: bool
    ) -> Tensor:
        axes = whole_axes(self, axis)
        result = apply(op, self, axes=axes)
        if not keepdims:
            return result
        return result.reshape([1 if i in axes else n for i, n in enumerate(self.shape)])

    def __getitem__(self, index: Any) -> Tensor:
        result = self
        for op, attrs, indices in plan_index(self.shape, index):
            operands = () if indices is None else (as_tensor(indices),)
            result = apply(op, result, *operands, **attrs)
        return result


class Parameter(Tensor):
    """A leaf that training changes. Its `value` can be assigned.

    >>> weight = Parameter([1.0, 2.0])
    >>> weight.value = weight.value * 2
    >>> weight
    Parameter([2., 4.], f32[2])
    """

    __slots__ = ()
    trained = True

    def __init__(self, value: TensorLike, dtype: Any = None) -> None:
        array = _as_array(value, dtype)
        node = input_node(TensorType(array.shape, array.dtype), type(self).__name__)
        super().__init__(node, array, requires_grad=self.trained)

    @Tensor.value.setter  # type: ignore[attr-defined, untyped-decorator]
    def value(self, given: TensorLike) -> None:
        """Set its number, which must have its shape and takes its dtype.

        It may be kept in other memory than the array that is given.
        """
        array = np.asarray(given, dtype=self.dtype)
        if array.shape != self.shape:
            raise ShapeError(
                message(
                    "the value does not fit the parameter",
                    expected=f"expected {self.type}, got shape {array.shape}",
                )
            )
        self._value = settled(array)
        assignments.count += 1  # after the value: who sees the count sees it too

    def __repr__(self) -> str:
        return super().__repr__().replace("Tensor", type(self).__name__, 1)


class Buffer(Parameter):
    """A leaf that is kept with the parameters and that no gradient changes."""

    __slots__ = ()
    trained = False


def _restore(kind: type[Tensor], value: Array, requires_grad: bool) -> Tensor:
    if issubclass(kind, Parameter):
        return kind(value, value.dtype)
    return tensor(value, requires_grad=requires_grad)


# --- making tensors --------------------------------------------------------------


def _as_array(value: Any, dtype: Any = None) -> Array:
    """Return an array of a known dtype; Python floats take the configured one."""
    if dtype is None and not hasattr(value, "dtype"):
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(as_dtype(current().dtype))
    else:
        array = np.asarray(value, None if dtype is None else as_dtype(dtype))
    return array.astype(as_dtype(array.dtype), copy=False)


def tensor(
    value: TensorLike, dtype: Any = None, *, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of known value.

    Python floats become the configured dtype (`f32`); NumPy arrays keep theirs.

    >>> tensor([[1, 2], [3, 4]], "f32")
    Tensor([[1., 2.],
            [3., 4.]], f32[2,2])
    """
    array = _as_array(value.value if isinstance(value, Tensor) else value, dtype)
    if requires_grad and not is_float(array.dtype):
        raise GradientError(f"only floats have gradients, not {array.dtype}")
    return _leaf(TensorType(array.shape, array.dtype), array, requires_grad)


def _leaf(type: TensorType, array: Array, requires_grad: bool = False) -> Tensor:
    node = input_node(type, "value")
    leaf_values[node] = array
    return Tensor(node, array, requires_grad=requires_grad)


def as_tensor(value: TensorLike, like: Tensor | None = None) -> Tensor:
    """Return a tensor; a Python scalar takes the dtype of `like` where it can."""
    if isinstance(value, Tensor):
        return value
    if like is not None and isinstance(value, _SCALAR):
        node = constant(value, _weak_dtype(value, like.dtype))
        return Tensor(node, node.attrs["value"].array)
    return tensor(value)


def _weak_dtype(value: float, beside: DType) -> DType:
    """Return the dtype that a Python scalar takes beside another."""
    if isinstance(value, float) and not is_float(beside):
        return as_dtype(current().dtype)
    if not isinstance(value, bool) and beside.kind == "b":
        return as_dtype("i64")
    return beside


# --- computing -------------------------------------------------------------------


def apply(op: str, *operands: Tensor, **attrs: Any) -> Tensor:
    """Apply a gate of one result: compute at once where every operand has a value."""
    return _apply(op, operands, attrs)[0]


def apply_many(op: str, *operands: Tensor, **attrs: Any) -> tuple[Tensor, ...]:
    """Apply a gate of many results, `scan` or `call`, in the same way."""
    return _apply(op, operands, attrs)


def _apply(
    op: str, operands: tuple[Tensor, ...], attrs: dict[str, Any]
) -> tuple[Tensor, ...]:
    node = bind(op, *[each._node for each in operands], **attrs)
    many = isinstance(node.type, tuple)
    nodes = results(node) if many else (node,)
    known = [each._value for each in operands]
    if any(each is None for each in known):
        note((each._node, each) for each in operands if each.has_value)
        return tuple([Tensor(each) for each in nodes])
    found = run_gate(node, *known)
    pairs = list(zip(nodes, found)) if many else [(node, found)]
    arrays = [(each, np.asarray(part)) for each, part in pairs]
    if not any(each.requires_grad for each in operands):
        return tuple([_leaf(each.type, array) for each, array in arrays])
    return tuple(
        [
            Tensor(each, array, operands, requires_grad=is_float(each.dtype))
            for each, array in arrays
        ]
    )


def meet(x: TensorLike, y: TensorLike, floats: bool = False) -> tuple[Tensor, Tensor]:
    """Bring two operands to one dtype and one shape; `floats` wants a float dtype."""
    if not isinstance(x, Tensor):
        if isinstance(y, Tensor) and isinstance(x, _SCALAR):
            y, x = meet(y, x, floats)
            return x, y
        x = as_tensor(x)
    if isinstance(y, _SCALAR):
        x = x.astype(_common(x.dtype, _weak_dtype(y, x.dtype), floats))
        return x, _full(y, x)
    y = as_tensor(y)
    if not (x.has_value and y.has_value):
        # Broadcasts go into the graph: a literal of the full shape would be large.
        note((each._node, each) for each in (x, y) if each.has_value)
        x, y = Tensor(x._node), Tensor(y._node)
    dtype = _common(x.dtype, y.dtype, floats)
    if x.shape == y.shape:
        return x.astype(dtype), y.astype(dtype)
    shape = _broadcast_shape(x, y, x.shape, y.shape)
    return expand(x.astype(dtype), shape), expand(y.astype(dtype), shape)


def _broadcast_shape(x: Tensor, y: Tensor, one: Shape, other: Shape) -> Shape:
    try:
        return np.broadcast_shapes(one, other)
    except ValueError:
        part = "" if one == x.shape else f"the batches {one} and {other} of "
        raise ShapeError(
            message(
                f"{part}{x.type} and {y.type} do not broadcast together",
                where=str(x._node.birth),
            )
        ) from None


def _common(x: DType, y: DType, floats: bool) -> DType:
    dtype = promote(x, y)
    return as_dtype(current().dtype) if floats and not is_float(dtype) else dtype


def _full(value: float, like: Tensor) -> Tensor:
    """Repeat a Python scalar: one number in memory, whatever the shape."""
    if not like.has_value:
        return Tensor(fill(value, like.type))
    number = np.array(value, like.dtype)
    array = np.ndarray(like.shape, like.dtype, number, strides=(0,) * like.ndim)
    array.flags.writeable = False
    return _leaf(like.type, array)


def expand(x: Tensor, shape: Shape) -> Tensor:
    """Broadcast to a shape, adding axes in front."""
    if x.shape == shape:
        return x
    if x.ndim != len(shape):
        x = apply("reshape", x, shape=(1,) * (len(shape) - x.ndim) + x.shape)
    return x if x.shape == shape else apply("broadcast", x, shape=shape)


def whole_axes(x: Tensor, axis: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return axes as non-negative numbers; None means all."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    for each in axes:
        if not -x.ndim <= each < x.ndim:
            raise ShapeError(f"axis {each} is not an axis of {x.type}")
    return tuple(each % x.ndim for each in axes)


def _matmul(x: Tensor, y: Tensor) -> Tensor:
    """The matrix product of the last two axes; the others broadcast as a batch."""
    if not x.ndim or not y.ndim:
        raise ShapeError(f"matmul of {x.type} and {y.type}: scalars use *")
    dtype = promote(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    batch_x, batch_y = x.shape[:-2], y.shape[:-2]
    inner = x.ndim - 1, max(0, y.ndim - 2)
    if not batch_y:
        return apply("dot", x, y, contract=((inner[0],), (inner[1],)), batch=((), ()))
    if x.ndim == 1:
        x = x.reshape(1, -1)
        return _matmul(x, y).reshape(*y.shape[:-2], y.shape[-1])
    shape = _broadcast_shape(x, y, batch_x, batch_y)
    x = expand(x, (*shape, *x.shape[-2:]))
    y = expand(y, (*shape, *y.shape[-2:]))
    axes = tuple(range(len(shape)))
    return apply(
        "dot", x, y, contract=((x.ndim - 1,), (y.ndim - 2,)), batch=(axes, axes)
    )


# --- indexing --------------------------------------------------------------------


def take(x: Tensor, indices: TensorLike, axis: int = 0) -> Tensor:
    """Entries along an axis by non-negative integer indices of any shape.

    Source: `take` of the Array API standard.
    """
    at = as_tensor(indices)
    if at.dtype.kind not in "iu":
        raise DTypeError(f"indices must be integers, not {at.type}")
    return apply("gather", x, at, axis=whole_axes(x, axis)[0])


# --- gradients --------------------------------------------------------


def _history(output: Tensor) -> list[Tensor]:
    """Return the tensor and all that it was computed from."""
    seen, stack = {output: None}, [output]
    while stack:
        for parent in stack.pop()._parents:
            if parent not in seen:
                seen[parent] = None
                stack.append(parent)
    return list(seen)


def grad(
    output: Tensor, wrt: Sequence[Tensor], seed: TensorLike | None = None
) -> list[Tensor]:
    """Return d output / d each of `wrt`, as tensors that can be differentiated again.

    Works on values and on symbols. Without a `seed`, `output` must be a scalar.

    >>> x = tensor(3.0, requires_grad=True)
    >>> (slope,) = grad(x * x * x, [x])
    >>> (bend,) = grad(slope, [x])
    >>> slope.item(), bend.item()
    (27.0, 18.0)
    """
    upstream = None if seed is None else as_tensor(seed, like=output)
    nodes = gradients(
        output._node,
        [each._node for each in wrt],
        None if upstream is None else expand(upstream, output.shape)._node,
    )
    if not output.has_value:
        return [Tensor(node) for node in nodes]
    sources = _history(output)
    known = {each._node: each._value for each in sources}
    if upstream is not None:
        seeded = expand(upstream, output.shape)
        known[seeded._node] = seeded._value
        sources.append(seeded)
    for node in toposort(nodes, known):
        if node.op.name == "const":
            known[node] = node.attrs["value"].array
        elif node.op.name == "input":
            known[node] = leaf_values[node]
        else:
            known[node] = run_gate(node, *(known[each] for each in node.inputs))
    return [
        Tensor(node, known[node], tuple(sources), requires_grad=True) for node in nodes
    ]
