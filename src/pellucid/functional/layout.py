"""Functions of tensors under the names of the Array API standard: shapes, joins,
products of matrices, and making tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import as_dtype, promote
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.ir.graph import fill
from pellucid.ir.types import TensorType
from pellucid.tensors import (
    Tensor,
    TensorLike,
    apply,
    as_tensor,
    expand,
    take,
    tensor,
    whole_axes,
)

__all__ = [
    "arange",
    "broadcast_to",
    "concat",
    "expand_dims",
    "eye",
    "flip",
    "full",
    "full_like",
    "linear",
    "matmul",
    "matrix_transpose",
    "one_hot",
    "ones",
    "ones_like",
    "permute_dims",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "take",
    "tensordot",
    "vecdot",
    "zeros",
    "zeros_like",
]


# --- shapes ----------------------------------------------------------------------


def reshape(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """Return the same elements in another shape; one size may be −1."""
    return as_tensor(x).reshape(tuple(shape))


def permute_dims(x: TensorLike, axes: Sequence[int]) -> Tensor:
    """Return the axes in another order: axis i of the result is `axes[i]`."""
    x = as_tensor(x)
    return apply("transpose", x, axes=whole_axes(x, axes))


def matrix_transpose(x: TensorLike) -> Tensor:
    """Return the last two axes exchanged.

    >>> matrix_transpose([[1, 2, 3]]).shape
    (3, 1)
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{x.type} is not a matrix")
    order = list(range(x.ndim))
    return apply("transpose", x, axes=(*order[:-2], order[-1], order[-2]))


def expand_dims(x: TensorLike, axis: int = 0) -> Tensor:
    """Return it with a new axis of size 1."""
    x = as_tensor(x)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise ShapeError(f"axis {axis} cannot be put into {x.type}")
    at = axis % (x.ndim + 1)
    return x.reshape((*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: TensorLike, axis: int | Sequence[int]) -> Tensor:
    """Return it without axes of size 1."""
    x = as_tensor(x)
    axes = whole_axes(x, axis)
    if any(x.shape[i] != 1 for i in axes):
        raise ShapeError(f"axes {axes} of {x.type} are not all of size 1")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


def flip(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return the elements in reverse order along axes, all by default."""
    x = as_tensor(x)
    return apply("reverse", x, axes=whole_axes(x, axis))


def roll(x: TensorLike, shift: int, axis: int | None = None) -> Tensor:
    """Return the elements moved on by `shift`; what leaves enters at the other end.

    Without an axis the elements are moved in row-major order.

    >>> roll([1, 2, 3, 4], 1).value.tolist()
    [4, 1, 2, 3]
    """
    x = as_tensor(x)
    if axis is None:
        return roll(x.reshape(-1), shift, 0).reshape(x.shape)
    (at,) = whole_axes(x, axis)
    if not x.shape[at]:
        return x
    cut = -shift % x.shape[at]
    before = (slice(None),) * at
    return concat([x[(*before, slice(cut, None))], x[(*before, slice(cut))]], at)


def broadcast_to(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """Return it repeated to a shape."""
    x = as_tensor(x)
    target = tuple(shape)
    try:
        fits = np.broadcast_shapes(x.shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{x.type} does not broadcast to {list(target)}")
    return expand(x, target)


# --- joins and products ----------------------------------------------------------


def _alike(parts: Sequence[TensorLike]) -> list[Tensor]:
    found = [as_tensor(each) for each in parts]
    if not found:
        raise ArgumentError("there is nothing to join")
    dtype = found[0].dtype
    for each in found[1:]:
        dtype = promote(dtype, each.dtype)
    return [each.astype(dtype) for each in found]


def concat(parts: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Return tensors joined along an axis; without an axis, flattened first.

    >>> concat([[1, 2], [3]]).value.tolist()
    [1, 2, 3]
    """
    found = _alike(parts)
    if axis is None:
        return apply("concat", *(each.reshape(-1) for each in found), axis=0)
    return apply("concat", *found, axis=whole_axes(found[0], axis)[0])


def stack(parts: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Return tensors of one shape joined along a new axis."""
    found = _alike(parts)
    if len({each.shape for each in found}) > 1:
        raise ShapeError(
            message(
                "stack of tensors of different shapes",
                expected=", ".join(str(each.type) for each in found),
            )
        )
    return concat(
        [expand_dims(each, axis) for each in found], axis % (found[0].ndim + 1)
    )


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """Return the product of matrices, the last two axes; the others broadcast."""
    return as_tensor(x) @ y


def linear(x: TensorLike, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b: `[…, in]` and `[out, in]` become `[…, out]`.

    >>> linear([[1.0, 2.0]], tensor([[3.0, 4.0]]), tensor([0.5])).value.tolist()
    [[11.5]]
    """
    a, w = _alike([x, weight])
    y = apply("dot", a, w, contract=((a.ndim - 1,), (1,)), batch=((), ()))
    return y if bias is None else y + bias


def tensordot(
    x: TensorLike, y: TensorLike, axes: int | Sequence[Sequence[int]] = 2
) -> Tensor:
    """Return sums of products over axes.

    `axes` is the number of last axes of x and first of y, or the two lists of axes.
    """
    a, b = _alike([x, y])
    if isinstance(axes, int):
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        left, right = whole_axes(a, tuple(axes[0])), whole_axes(b, tuple(axes[1]))
    return apply("dot", a, b, contract=(left, right), batch=((), ()))


def vecdot(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """Return the sum of x · y along an axis."""
    return (as_tensor(x) * y).sum(axis)


# --- making ----------------------------------------------------------------------


def full(shape: Sequence[int], value: float, dtype: Any = None) -> Tensor:
    """Return a tensor of one value."""
    number = tensor(value, dtype)
    return expand(number, tuple(shape))


def zeros(shape: Sequence[int], dtype: Any = None) -> Tensor:
    """Return zeros, of the configured dtype by default."""
    return full(shape, 0.0, dtype or current().dtype)


def ones(shape: Sequence[int], dtype: Any = None) -> Tensor:
    """Return ones, of the configured dtype by default."""
    return full(shape, 1.0, dtype or current().dtype)


def full_like(x: TensorLike, value: float, dtype: Any = None) -> Tensor:
    """Return a tensor of one value, of the shape and the dtype of another."""
    x = as_tensor(x)
    target = as_dtype(dtype or x.dtype)
    if not x.has_value:  # a gate, and not a literal of that size
        return Tensor(fill(value, TensorType(x.shape, target)))
    return full(x.shape, value, target)


def zeros_like(x: TensorLike, dtype: Any = None) -> Tensor:
    """Return zeros of the shape and the dtype of another tensor."""
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: Any = None) -> Tensor:
    """Return ones of the shape and the dtype of another tensor."""
    return full_like(x, 1, dtype)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None
) -> Tensor:
    """Return evenly spaced numbers from `start`, 0 by default, up to but not `stop`.

    >>> arange(3).value.tolist()
    [0, 1, 2]
    """
    first, last = (0, start) if stop is None else (start, stop)
    count = max(0, math.ceil((last - first) / step))
    whole = all(isinstance(each, int) for each in (first, last, step))
    target = as_dtype(dtype or ("i64" if whole else current().dtype))
    return tensor((first + step * np.arange(count)).astype(target))


def eye(rows: int, columns: int | None = None, dtype: Any = None) -> Tensor:
    """Return a matrix with ones on its diagonal and zeros elsewhere."""
    return tensor(np.eye(rows, columns, dtype=as_dtype(dtype or current().dtype)))


def one_hot(labels: TensorLike, classes: int, dtype: Any = None) -> Tensor:
    """Return 1 at each label along a new last axis, 0 elsewhere.

    A label outside the classes gives zeros alone.

    >>> one_hot([0, 2], 3).value.tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    found = as_tensor(labels)
    found = found.astype(promote(found.dtype, as_dtype("i32")))  # a byte ends at 255
    numbers = arange(classes, dtype=found.dtype)
    return (expand_dims(found, -1) == numbers).astype(dtype or current().dtype)
