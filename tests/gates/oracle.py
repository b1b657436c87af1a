"""What each gate is in JAX: an oracle of values and, by `jax.vjp`, of gradients.

`run` interprets a graph with this table, so a whole graph has an oracle too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
from jax import lax

from pellucid.ir.graph import Graph

__all__ = ["ORACLE", "run"]


def run(graph: Graph, *arrays: Any) -> list[Any]:
    """Return the outputs of a graph, each gate computed by JAX."""
    ready = [jnp.asarray(each) for each in arrays]
    values: dict[Any, Any] = dict(zip(graph.inputs, ready, strict=True))
    for node in graph.nodes:
        if node not in values:
            operands = [values[each] for each in node.inputs]
            values[node] = ORACLE[node.op.name](*operands, **node.attrs)
    return [values[each] for each in graph.outputs]


def _scatter_add(x: Any, indices: Any, updates: Any, *, axis: int) -> Any:
    return x.at[(*(slice(None),) * axis, indices)].add(updates)


def _conv(x: Any, w: Any, **attrs: Any) -> Any:
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=attrs["stride"],
        padding=list(zip(attrs["low"], attrs["high"])),
        lhs_dilation=attrs["x_dilation"],
        rhs_dilation=attrs["w_dilation"],
        feature_group_count=attrs["groups"],
    )


def _random_bits(key: Any, counter: Any, *, shape: tuple[int, ...]) -> Any:
    """Philox4x32-10, written from the paper's formulas for 64-bit words."""
    count = math.prod(shape)
    block = jnp.arange(-(-count // 4), dtype=jnp.uint64)
    low = jnp.uint64(0xFFFFFFFF)
    words = [block & low, block >> 32, *(jnp.full_like(block, c) for c in counter)]
    k = [each.astype(jnp.uint64) for each in key]
    for _ in range(10):
        left = words[0] * jnp.uint64(0xD2511F53)
        right = words[2] * jnp.uint64(0xCD9E8D57)
        words = [
            (right >> 32) ^ words[1] ^ k[0],
            right & low,
            (left >> 32) ^ words[3] ^ k[1],
            left & low,
        ]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    flat = jnp.stack(words, axis=1).reshape(-1).astype(jnp.uint32)
    return flat[:count].reshape(shape)


def _scan(*arrays: Any, body: Graph, **attrs: Any) -> list[Any]:
    consts, carries = attrs["consts"], attrs["carries"]
    fixed, first = arrays[:consts], arrays[consts : consts + carries]

    def step(carry: Any, slices: Any) -> Any:
        found = run(body, *fixed, *carry, *slices)
        return tuple(found[:carries]), tuple(found[carries:])

    last, stacks = lax.scan(
        step,
        tuple(first),
        tuple(arrays[consts + carries :]),
        length=attrs["length"],
        reverse=attrs["reverse"],
    )
    return [*last, *stacks]


ORACLE: dict[str, Callable[..., Any]] = {
    "const": lambda *, value: jnp.asarray(value.array),
    "add": jnp.add,
    "mul": jnp.multiply,
    "div": jnp.divide,
    "pow": jnp.power,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "neg": jnp.negative,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "abs": jnp.abs,
    "floor": jnp.floor,
    "sign": jnp.sign,
    "eq": jnp.equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "and": jnp.bitwise_and,
    "or": jnp.bitwise_or,
    "xor": jnp.bitwise_xor,
    "not": jnp.bitwise_not,
    "where": jnp.where,
    "cast": lambda x, *, dtype: x.astype(dtype),
    "stop": lax.stop_gradient,
    "sum": lambda x, *, axes: jnp.sum(x, axes, dtype=x.dtype),
    "max": lambda x, *, axes: jnp.max(x, axes),
    "argmax": lambda x, *, axis: jnp.argmax(x, axis).astype(jnp.int32),
    "reshape": lambda x, *, shape: jnp.reshape(x, shape),
    "transpose": lambda x, *, axes: jnp.transpose(x, axes),
    "broadcast": lambda x, *, shape: jnp.broadcast_to(x, shape),
    "slice": lambda x, *, start, stop, step: lax.slice(x, start, stop, step),
    "pad": lambda x, value, *, low, high, interior: lax.pad(
        x, value, list(zip(low, high, interior))
    ),
    "concat": lambda *parts, axis: jnp.concatenate(parts, axis),
    "reverse": lambda x, *, axes: lax.rev(x, axes),
    "dot": lambda x, y, *, contract, batch: lax.dot_general(x, y, (contract, batch)),
    "conv": _conv,
    "gather": lambda x, indices, *, axis: jnp.take(x, indices, axis, mode="clip"),
    "scatter_add": _scatter_add,
    "random_bits": _random_bits,
    "scan": _scan,
    "call": lambda *arrays, body, name, backward: run(body, *arrays),
    "get": lambda found, *, index: found[index],
}
"""A function of arrays and metadata for every gate but `input`."""
