"""What each gate is in JAX: one row a gate, a function of traced arrays.

The numpy engine defines the meaning; a row here says it in `jax.lax`. Where JAX's own
function means something else (ties, the sign of a zero, casts that overflow), the row
spells ours. No row asks JAX for a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.dtypes import is_float, is_integer
from pellucid.engines.xla.philox import random_words
from pellucid.ir.graph import Node

__all__ = ["GATES", "Numbers"]

Lowered: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Numbers:
    """How products of `f32` are computed, and random words.

    `precision` is what the device may round in a product: `highest` is all of `f32`,
    `high` and `default` are what the device finds worth its speed (three passes and
    one pass of bfloat16 on a TPU, TF32 on some GPUs). With `bfloat16`, operands and
    results of products are rounded to bfloat16; sums inside are kept in `f32`, and
    so is everything else. The rounds of random words are `rolled` into a loop where
    that costs no time: it is sooner compiled.
    """

    precision: str = "highest"
    bfloat16: bool = False
    rolled: bool = False


# --- elementwise -----------------------------------------------------------------


def _unsigned_zero(x: Any) -> Any:
    """Return x with 0 for −0."""
    return jnp.where(x == 0, jnp.zeros_like(x), x)


def _add(node: Node, numbers: Numbers) -> Lowered:
    """Add; XLA would leave out the addition of a 0, which turns −0 into 0."""
    zeros = [_is_zero(each) for each in node.inputs]
    if any(zeros):
        return lambda x, y: _unsigned_zero(x if zeros[1] else y)
    return lax.add


def _is_zero(node: Node) -> bool:
    """Return whether a node is the constant 0, without a sign, everywhere."""
    while node.op.name in ("broadcast", "reshape"):
        node = node.inputs[0]
    if node.op.name != "const" or not is_float(node.dtype):
        return False
    array = node.attrs["value"].array
    return bool((array == 0).all() and not np.signbit(array).any())


def _maximum(x: Any, y: Any) -> Any:
    """Return the larger; y at ties, so that max(0, −0) is −0; NaN wins."""
    return jnp.where((x > y) | (x != x), x, y)


def _minimum(x: Any, y: Any) -> Any:
    return jnp.where((x < y) | (x != x), x, y)


def _sign(x: Any) -> Any:
    """Return −1, 0 or 1; a zero has no sign."""
    return _unsigned_zero(lax.sign(x))


def _cast(node: Node, numbers: Numbers) -> Lowered:
    source, target = node.inputs[0].dtype, node.dtype
    if is_float(source) and is_integer(target):
        return lambda x: _truncate(x, target)
    if target.kind == "b":
        return lambda x: x != 0
    return lambda x: lax.convert_element_type(x, target)


def _truncate(x: Any, target: Any) -> Any:
    """Cast floats to integers: towards zero, saturating, NaN to 0."""
    limits = np.iinfo(target)
    floor, ceiling = float(limits.min), float(limits.max) + 1.0
    inside = (x > floor - 1) & (x < ceiling)
    whole = lax.convert_element_type(jnp.where(inside, x, 0), target)
    whole = jnp.where(x >= ceiling, np.array(limits.max, target), whole)
    return jnp.where(x <= floor, np.array(limits.min, target), whole)


# --- reductions and shape --------------------------------------------------------


def _sum(node: Node, numbers: Numbers) -> Lowered:
    """Sum; a sum begins at 0 and so is never −0, also where XLA adds pairs alone."""
    axes = node.attrs["axes"]
    if not is_float(node.dtype):
        return lambda x: lax.reduce_sum(x, axes)
    return lambda x: _unsigned_zero(lax.reduce_sum(x, axes))


def _broadcast(node: Node, numbers: Numbers) -> Lowered:
    axes, shape = tuple(range(node.ndim)), node.shape
    return lambda x: lax.broadcast_in_dim(x, shape, axes)


def _pad(node: Node, numbers: Numbers) -> Lowered:
    attrs = node.attrs
    sizes = list(zip(attrs["low"], attrs["high"], attrs["interior"]))
    return lambda x, value: lax.pad(x, value, sizes)


def _slice(node: Node, numbers: Numbers) -> Lowered:
    bounds = node.attrs["start"], node.attrs["stop"], node.attrs["step"]
    return lambda x: lax.slice(x, *bounds)


# --- contraction -----------------------------------------------------------------


def _product(node: Node, numbers: Numbers, function: Lowered) -> Lowered:
    """Return a product in the numbers that were asked for.

    `function` takes two operands, a precision and the dtype of the result.
    """
    dtype = node.dtype
    if numbers.bfloat16 and dtype == np.float32:

        def rounded(x: Any, y: Any) -> Any:
            halves = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
            return function(*halves, None, jnp.bfloat16).astype(dtype)

        return rounded
    precision = lax.Precision(numbers.precision) if dtype == np.float32 else None
    return lambda x, y: function(x, y, precision, dtype)


def _dot(node: Node, numbers: Numbers) -> Lowered:
    axes = node.attrs["contract"], node.attrs["batch"]

    def dot(x: Any, y: Any, precision: Any, dtype: Any) -> Any:
        return lax.dot_general(
            x, y, axes, precision=precision, preferred_element_type=dtype
        )

    return _product(node, numbers, dot)


def _conv(node: Node, numbers: Numbers) -> Lowered:
    attrs = node.attrs
    if 0 in (node.type.size, *(each.type.size for each in node.inputs)):
        return lambda x, w: jnp.zeros(node.shape, node.dtype)
    padding = list(zip(attrs["low"], attrs["high"]))

    def conv(x: Any, w: Any, precision: Any, dtype: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            w,
            window_strides=attrs["stride"],
            padding=padding,
            lhs_dilation=attrs["x_dilation"],
            rhs_dilation=attrs["w_dilation"],
            feature_group_count=attrs["groups"],
            precision=precision,
            preferred_element_type=dtype,
        )

    return _product(node, numbers, conv)


# --- indexing and randomness -----------------------------------------------------


def _gather(node: Node, numbers: Numbers) -> Lowered:
    """Return the entries of indices that are known to be inside, or will be reported.

    The bounds are in `bounds.py`; what is outside reads the nearest entry.
    """
    axis, shape = node.attrs["axis"], node.shape
    if not node.inputs[0].shape[axis]:
        return lambda x, indices: jnp.zeros(shape, node.dtype)
    return lambda x, indices: jnp.take(x, indices, axis=axis, mode="clip")


def _scatter_add(node: Node, numbers: Numbers) -> Lowered:
    before = (slice(None),) * node.attrs["axis"]
    if not node.type.size or not node.inputs[1].type.size:
        return lambda x, indices, updates: x
    return lambda x, indices, updates: x.at[(*before, indices)].add(
        updates, mode="drop", wrap_negative_indices=False
    )


def _random_bits(node: Node, numbers: Numbers) -> Lowered:
    shape, rolled = node.shape, numbers.rolled

    def words(key: Any, counter: Any) -> Any:
        flat = random_words(key, counter, math.prod(shape), rolled=rolled)
        return flat.reshape(shape)

    return words


# --- the table -------------------------------------------------------------------

Row: TypeAlias = Callable[[Node, Numbers], Lowered]


def _plain(function: Lowered) -> Row:
    return lambda node, numbers: function


GATES: dict[str, Row] = {
    "const": lambda node, _: lambda: jnp.asarray(node.attrs["value"].array),
    "add": _add,
    "mul": _plain(lax.mul),
    "div": _plain(lax.div),
    "pow": _plain(lax.pow),
    "maximum": _plain(_maximum),
    "minimum": _plain(_minimum),
    "neg": _plain(lax.neg),
    "exp": _plain(lax.exp),
    "log": _plain(lax.log),
    "sqrt": _plain(lax.sqrt),
    "sin": _plain(lax.sin),
    "cos": _plain(lax.cos),
    "tanh": _plain(lax.tanh),
    "erf": _plain(lax.erf),
    "abs": _plain(lax.abs),
    "floor": _plain(lax.floor),
    "sign": _plain(_sign),
    "eq": _plain(lax.eq),
    "lt": _plain(lax.lt),
    "le": _plain(lax.le),
    "and": _plain(lax.bitwise_and),
    "or": _plain(lax.bitwise_or),
    "xor": _plain(lax.bitwise_xor),
    "not": _plain(lax.bitwise_not),
    "where": _plain(lax.select),
    "cast": _cast,
    "stop": _plain(lambda x: x),
    "sum": _sum,
    "max": lambda node, _: lambda x, axes=node.attrs["axes"]: lax.reduce_max(x, axes),
    "argmax": lambda node, _: (
        lambda x, axis=node.attrs["axis"]: lax.argmax(x, axis, np.int32)
    ),
    "reshape": lambda node, _: lambda x, shape=node.shape: lax.reshape(x, shape),
    "transpose": lambda node, _: (
        lambda x, axes=node.attrs["axes"]: lax.transpose(x, axes)
    ),
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": lambda node, _: (
        lambda *parts, axis=node.attrs["axis"]: lax.concatenate(parts, axis)
    ),
    "reverse": lambda node, _: lambda x, axes=node.attrs["axes"]: lax.rev(x, axes),
    "dot": _dot,
    "conv": _conv,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "random_bits": _random_bits,
    "get": lambda node, _: lambda found, index=node.attrs["index"]: found[index],
}
"""Every gate but `input`, `scan`, which `trace` runs, and `call`, which is inlined."""
