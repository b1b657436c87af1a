"""What each gate means: one row a gate, a function of NumPy arrays.

A row takes the node, reads its metadata once, and returns the function that runs.
Every other engine is tested against this table.

A result is a function of the operands' values, never of how they lie in memory:
NumPy sums, multiplies and even exponentiates in another order, with other last bits,
where an array is a view. Rows that meet such a case copy first, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pellucid.dtypes import DType, is_float, is_integer
from pellucid.engines.philox import random_words
from pellucid.errors import EngineError, message
from pellucid.ir.graph import Array, Node

__all__ = ["KERNELS", "Kernel", "lowest"]

Kernel: TypeAlias = Callable[..., Any]


# --- elementwise -----------------------------------------------------------------


def _erf(node: Node) -> Kernel:
    from scipy.special import erf

    kernel: Kernel = erf
    return kernel


def _pow(node: Node) -> Kernel:
    """Raise to a power; NumPy's short cut for a repeated exponent errs at −inf."""
    shape, dtype = node.shape, node.dtype

    def kernel(x: Array, y: Array) -> Array:
        exponents = np.empty(shape or (1,), dtype)
        exponents[...] = y
        found: Array = np.power(np.reshape(x, (1,)) if not shape else x, exponents)
        return found.reshape(shape)

    return kernel


def _cast(node: Node) -> Kernel:
    source, target = node.inputs[0].dtype, node.dtype
    if is_float(source) and is_integer(target):
        return lambda x: _truncate(x, target)
    if target.kind == "b":
        return lambda x: x != 0
    return lambda x: np.asarray(x).astype(target)


def _truncate(x: Array, target: DType) -> Array:
    """Cast floats to integers: towards zero, saturating, NaN to 0."""
    limits = np.iinfo(target)
    floor, ceiling = float(limits.min), float(limits.max) + 1.0
    inside = (x > floor - 1) & (x < ceiling)
    whole = np.where(inside, x, 0).astype(target)
    whole = np.where(x >= ceiling, limits.max, whole)
    return np.where(x <= floor, limits.min, whole).astype(target)


# --- reductions and shape --------------------------------------------------------


def lowest(dtype: DType) -> Any:
    """Return the value that `max` has over nothing."""
    return -np.inf if is_float(dtype) else np.iinfo(dtype).min


def _sum(node: Node) -> Kernel:
    axes, dtype = node.attrs["axes"], node.dtype
    # The order of the additions follows the strides, so these are made the same.
    return lambda x: np.add.reduce(np.asarray(x, order="C"), axis=axes, dtype=dtype)


def _max(node: Node) -> Kernel:
    axes = node.attrs["axes"]
    if node.inputs[0].type.size:
        return lambda x: np.maximum.reduce(x, axis=axes)
    return lambda x: np.maximum.reduce(x, axis=axes, initial=lowest(node.dtype))


def _argmax(node: Node) -> Kernel:
    axis = node.attrs["axis"]
    return lambda x: np.argmax(x, axis=axis).astype(np.int32)


def _slice(node: Node) -> Kernel:
    bounds = zip(node.attrs["start"], node.attrs["stop"], node.attrs["step"])
    where = tuple(slice(*each) for each in bounds)
    return lambda x: x[where]


def _pad(node: Node) -> Kernel:
    low, interior, sizes = node.attrs["low"], node.attrs["interior"], node.shape
    inner = node.inputs[0].shape
    where = tuple(
        slice(
            start,
            start + max(0, (size - 1) * (gap + 1) + 1) if size else start,
            gap + 1,
        )
        for start, gap, size in zip(low, interior, inner)
    )

    def kernel(x: Array, value: Array) -> Array:
        out = np.full(sizes, value, x.dtype)
        out[where] = x
        return out

    return kernel


def _reverse(node: Node) -> Kernel:
    axes = node.attrs["axes"]
    where = tuple(
        slice(None, None, -1 if axis in axes else 1) for axis in range(node.ndim)
    )
    # `exp` and `log` have other last bits where a stride is negative.
    return lambda x: np.array(x[where], order="C")


# --- contraction -----------------------------------------------------------------


def _dot(node: Node) -> Kernel:
    """Return a product of operands brought to [batch, row, column]."""
    x, y = node.inputs
    contract, batch = node.attrs["contract"], node.attrs["batch"]
    if not batch[0] and x.ndim == y.ndim == 2 and len(contract[0]) == 1:
        ready_x = _turn if contract[0] == (0,) else _tidy
        ready_y = _turn if contract[1] == (1,) else _tidy
        return lambda x, y: _matmul(ready_x(x), ready_y(y))
    shape = node.shape
    plan_x = _plan(x, batch[0], contract[0], contract_last=True)
    plan_y = _plan(y, batch[1], contract[1], contract_last=False)
    return lambda x, y: _matmul(plan_x(x), plan_y(y)).reshape(shape)


def _matmul(x: Array, y: Array) -> Array:
    """Multiply; where both are one array and its transpose, NumPy rounds otherwise."""
    if x.shape[-2] == y.shape[-1] and np.may_share_memory(x, y):
        y = y.copy(order="K")
    product: Array = np.matmul(x, y)
    return product


def _tidy(x: Array) -> Array:
    """Return the array without gaps, laid out as an elementwise gate would.

    `matmul` takes another path, with other last bits, where there are gaps.
    """
    x = np.asarray(x)
    flags = x.flags
    return x if flags.c_contiguous or flags.f_contiguous else np.positive(x)


def _turn(x: Array) -> Array:
    return _tidy(x).T


def _plan(
    operand: Node, batch: Sequence[int], contract: Sequence[int], contract_last: bool
) -> Kernel:
    free = [i for i in range(operand.ndim) if i not in (*batch, *contract)]
    groups = [batch, free, contract] if contract_last else [batch, contract, free]
    order = [axis for group in groups for axis in group]
    shape = [math.prod(operand.shape[axis] for axis in group) for group in groups]
    return lambda array: np.transpose(_tidy(array), order).reshape(shape)


def _conv(node: Node) -> Kernel:
    attrs, x = node.attrs, node.inputs[0]
    spatial = x.ndim - 2
    inner = [
        (n - 1) * d + 1 if n else 0 for n, d in zip(x.shape[2:], attrs["x_dilation"])
    ]
    padded = [
        max(0, lo + n + hi) for lo, n, hi in zip(attrs["low"], inner, attrs["high"])
    ]
    out, groups = node.shape[2:], attrs["groups"]

    def kernel(x: Array, w: Array) -> Array:
        if node.type.size == 0 or x.size == 0 or w.size == 0:
            return np.zeros(node.shape, node.dtype)
        ready = _spread(x, padded, attrs["low"], attrs["x_dilation"])
        windows = _windows(
            ready, out, w.shape[2:], attrs["stride"], attrs["w_dilation"]
        )
        axes = [1, *range(2 + spatial, 2 + 2 * spatial)], [1, *range(2, 2 + spatial)]
        parts = [
            np.tensordot(part, weight, axes)
            for part, weight in zip(
                np.split(windows, groups, axis=1), np.split(w, groups, axis=0)
            )
        ]
        return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)

    return kernel


def _spread(
    x: Array, sizes: Sequence[int], low: Sequence[int], dilation: Sequence[int]
) -> Array:
    """Put a dilated image into a larger or smaller frame of zeros."""
    out = np.zeros((*x.shape[:2], *sizes), x.dtype)
    target, source = [slice(None)] * 2, [slice(None)] * 2
    for n, size, start, step in zip(x.shape[2:], sizes, low, dilation):
        first = max(0, -(start // step))  # entries before it fall outside
        last = min(n, -((start - size) // step))
        begin = start + first * step
        target.append(slice(begin, begin + max(0, last - first) * step, step))
        source.append(slice(first, max(first, last)))
    out[tuple(target)] = x[tuple(source)]
    return out


def _windows(
    x: Array,
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Array:
    """Return a view [batch, channel, out…, kernel…] of every window."""
    steps = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *out, *kernel),
        (
            *x.strides[:2],
            *(s * k for s, k in zip(steps, stride)),
            *(s * k for s, k in zip(steps, dilation)),
        ),
        writeable=False,
    )


# --- indexing and randomness -----------------------------------------------------


def _check_bounds(node: Node, indices: Array) -> None:
    size = node.inputs[0].shape[node.attrs["axis"]]
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        bad = indices[(indices < 0) | (indices >= size)]
        raise EngineError(
            message(
                f"{node.op}: index {bad.flat[0]} is outside",
                where=str(node.birth),
                expected=f"expected 0 to {size - 1}",
            )
        )


def _gather(node: Node) -> Kernel:
    axis = node.attrs["axis"]

    def kernel(x: Array, indices: Array) -> Array:
        _check_bounds(node, indices)
        return np.take(x, indices, axis=axis)

    return kernel


def _scatter_add(node: Node) -> Kernel:
    before = (slice(None),) * node.attrs["axis"]

    def kernel(x: Array, indices: Array, updates: Array) -> Array:
        _check_bounds(node, indices)
        out = np.array(x)
        np.add.at(out, (*before, indices), updates)
        return out

    return kernel


def _random_bits(node: Node) -> Kernel:
    shape, count = node.shape, node.type.size
    return lambda key, counter: random_words(key, counter, count).reshape(shape)


# --- the table -------------------------------------------------------------------


def _plain(function: Kernel) -> Callable[[Node], Kernel]:
    return lambda node: function


KERNELS: dict[str, Callable[[Node], Kernel]] = {
    "add": _plain(np.add),
    "mul": _plain(np.multiply),
    "div": _plain(np.divide),
    "pow": _pow,
    "maximum": _plain(np.maximum),
    "minimum": _plain(np.minimum),
    "neg": _plain(np.negative),
    "exp": _plain(np.exp),
    "log": _plain(np.log),
    "sqrt": _plain(np.sqrt),
    "sin": _plain(np.sin),
    "cos": _plain(np.cos),
    "tanh": _plain(np.tanh),
    "erf": _erf,
    "abs": _plain(np.abs),
    "floor": _plain(np.floor),
    "sign": _plain(np.sign),
    "eq": _plain(np.equal),
    "lt": _plain(np.less),
    "le": _plain(np.less_equal),
    "and": _plain(np.bitwise_and),
    "or": _plain(np.bitwise_or),
    "xor": _plain(np.bitwise_xor),
    "not": _plain(np.invert),
    "where": _plain(np.where),
    "cast": _cast,
    "stop": _plain(lambda x: x),
    "sum": _sum,
    "max": _max,
    "argmax": _argmax,
    "reshape": lambda node: lambda x, shape=node.shape: np.reshape(x, shape),
    "transpose": lambda node: lambda x, axes=node.attrs["axes"]: np.transpose(x, axes),
    "broadcast": lambda node: lambda x, shape=node.shape: np.broadcast_to(x, shape),
    "slice": _slice,
    "pad": _pad,
    "concat": lambda node: (
        lambda *parts: np.concatenate(parts, axis=node.attrs["axis"])
    ),
    "reverse": _reverse,
    "dot": _dot,
    "conv": _conv,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "random_bits": _random_bits,
    "get": lambda node: lambda results, index=node.attrs["index"]: results[index],
}
"""Every gate but the leaves and the two that run a body, which `numpy_` runs."""
