"""Attention with several heads, as a layer: `MultiheadAttention`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float
from pellucid.errors import ArgumentError, DataError, DTypeError, ShapeError, message
from pellucid.functional import (
    arange,
    attention_weights,
    concat,
    dropout,
    expand_dims,
    linear,
    permute_dims,
    rotary,
    where,
    zeros,
)
from pellucid.ir.graph import Array, within
from pellucid.nn.checks import place_of, verify
from pellucid.nn.init import xavier_uniform
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.random import fold_in, next_key
from pellucid.tensors import Parameter, Tensor, as_tensor

__all__ = ["Cache", "MultiheadAttention"]

Cache: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of earlier positions."""


class MultiheadAttention(Module):
    """Attention with several heads: each compares and mixes in a space of its own.

    softmax(Q Kᵀ / √d + mask) V for each head, with Q, K and V products of the inputs
    with weights of the head, d wide; the heads are joined and multiplied once more.
    Source: Vaswani et al., "Attention is all you need" (2017).

    Args:
        embed_dim: the width of queries and outputs, the heads side by side.
        num_heads: how many heads; they share `embed_dim` evenly.
        dropout: the share of attention weights that training drops.
        bias: whether projections add a bias; it starts at 0.
        kdim, vdim: the widths of keys and values; `embed_dim` by default.
        batch_first: whether inputs are `[batch, time, width]`; as in PyTorch the
            default is `[time, batch, width]`.
        rotary: turn queries and keys by their positions (`functional.rotary`).
        dtype: `f32` or `f64`; the configured one by default.

    State, as in PyTorch: `in_proj_weight [3 · embed_dim, embed_dim]`, the rows of
    queries, keys and values; `in_proj_bias [3 · embed_dim]`; `out_proj.weight
    [embed_dim, embed_dim]`, `out_proj.bias [embed_dim]`. With a `kdim` or a `vdim`
    there are `q_proj_weight [embed_dim, embed_dim]`, `k_proj_weight [embed_dim,
    kdim]` and `v_proj_weight [embed_dim, vdim]` in the place of the first.

    >>> layer = MultiheadAttention(8, 2, batch_first=True)
    >>> x = np.ones((5, 3, 8), np.float32)
    >>> output, weights = layer(x, x, x, is_causal=True)
    >>> output.shape, weights.shape, weights.value[0, 1].tolist()
    ((5, 3, 8), (5, 3, 3), [0.5, 0.5, 0.0])
    """

    returns_more = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rotary: bool = False,
        dtype: DType | str | None = None,
    ) -> None:
        positive(embed_dim=embed_dim, num_heads=num_heads)
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        positive(kdim=self.kdim, vdim=self.vdim)
        _check_heads(embed_dim, num_heads, dropout, rotary)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.batch_first, self.rotary = bool(batch_first), bool(rotary)
        self._start(as_dtype(dtype or current().dtype), bias)
        self.out_proj = Linear(embed_dim, embed_dim, bias, "xavier_uniform", dtype)

    def _start(self, dtype: DType, bias: bool) -> None:
        if not is_float(dtype):
            raise ArgumentError(f"weights are f32 or f64, not {dtype}")
        key, width = next_key(), self.embed_dim
        drawn = [
            xavier_uniform(fold_in(key, i), (width, size), dtype).value
            for i, size in enumerate((width, self.kdim, self.vdim))
        ]
        self._packed = self.kdim == self.vdim == width
        if self._packed:
            self.in_proj_weight = Parameter(np.concatenate(drawn))
        else:
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
                Parameter(each) for each in drawn
            )
        self.in_proj_bias = Parameter(np.zeros(3 * width, dtype)) if bias else None

    @property
    def initialised(self) -> str:
        """The initialiser."""
        return "xavier_uniform, each projection alone"

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output, of the query's shape, and the attention weights.

        Args:
            query: `[batch, L, embed_dim]` with `batch_first`, else `[L, batch,
                embed_dim]`; or one sequence alone, `[L, embed_dim]`.
            key: `[batch, S, kdim]` and so on; the query by default.
            value: `[batch, S, vdim]` and so on; the key by default.
            key_padding_mask: `[batch, S]`, true where a key is padding.
            need_weights: whether to return the weights, else None.
            attn_mask: `[L, S]` or `[batch · num_heads, L, S]`, true where a query may
                not look at a key. Floats in a mask are added to the scores.
            average_attn_weights: `[batch, L, S]`, the mean over the heads; else
                `[batch, num_heads, L, S]`. They are those before dropout.
            is_causal: query i looks at keys 0 to i only, besides the masks.

        A query that may look at no key gets what `out_proj` makes of 0; a mask known
        to do that is a `DataError`. A replay shows the gates of the weights under the
        path of the layer and `.weights`.
        """
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value)
        q, k, v = self._heads_of(query, key, value)
        mask = self._mask(key_padding_mask, attn_mask, k, query.shape)
        with within("weights"):
            weights = attention_weights(q, k, mask, is_causal)
        mixed = dropout(weights, self.dropout, self.training) @ v
        output = self._swapped(self.out_proj(_joined(mixed)))
        if not need_weights:
            return output, None
        return output, weights.mean(-3) if average_attn_weights else weights

    def step(self, x: Tensor, cache: Cache, position: Tensor) -> tuple[Tensor, Cache]:
        """Return the output of one more position, which looks at those before it.

        What each position showed to the others is kept, so a sequence can be written
        one position at a time: outputs are those of `forward` with `is_causal`, as
        long as the cache holds all positions. Needs `rotary`, or no positions at all.

        Args:
            x: `[batch, embed_dim]`.
            cache: keys and values of the last positions, see `first_cache`.
            position: how many came before, a scalar integer.
        """
        keys, values = cache
        q, k, v = self._project([expand_dims(x, 1)] * 3)
        if self.rotary:
            place = position.reshape(1)
            q, k = rotary(q, place), rotary(k, place)
        keys, values = (
            concat([old[:, :, 1:], new], 2) for old, new in ((keys, k), (values, v))
        )
        room = keys.shape[2]
        filled = arange(room) >= (room - 1) - position.astype("i64")
        with within("weights"):
            weights = attention_weights(q, keys, filled)
        mixed = weights @ values
        return self.out_proj(_joined(mixed)[:, 0]), (keys, values)

    def first_cache(self, batch: int, length: int) -> Cache:
        """Return an empty cache for `step`, with room for `length` positions.

        Keys and values, each `[batch, heads, length, width of a head]`.
        """
        shape = (batch, self.num_heads, length, self.embed_dim // self.num_heads)
        empty = zeros(shape, self.out_proj.weight.dtype)
        return empty, empty

    # --- from inputs to heads ---

    def _swapped(self, x: Tensor) -> Tensor:
        """Exchange time and batch where the batch does not come first."""
        if self.batch_first or x.ndim == 2:
            return x
        return permute_dims(x, (1, 0, 2))

    def _heads_of(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of each head, turned by their positions."""
        if query is key and key is value:
            q, k, v = self._project([self._swapped(query)] * 3)
        else:
            q, k, v = self._project([*map(self._swapped, (query, key, value))])
        return (rotary(q), rotary(k), v) if self.rotary else (q, k, v)

    def _project(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of each head, `[…, heads, time, width]`."""
        bias, width = self.in_proj_bias, self.embed_dim
        if self._packed and inputs[0] is inputs[1] is inputs[2]:
            rows = linear(inputs[0], self.in_proj_weight, bias)
            found = [rows[..., i * width : (i + 1) * width] for i in range(3)]
        else:
            parts = zip(inputs, self._weights(), _thirds(bias))
            found = [linear(x, weight, b) for x, weight, b in parts]
        q, k, v = (self._heads(each) for each in found)
        return q, k, v

    def _weights(self) -> list[Tensor]:
        if self._packed:
            return _thirds(self.in_proj_weight)
        return [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]

    def _heads(self, x: Tensor) -> Tensor:
        """Return `[…, time, embed_dim]` as `[…, heads, time, width of a head]`."""
        width = self.embed_dim // self.num_heads
        rows = x.reshape(*x.shape[:-1], self.num_heads, width)
        front = range(x.ndim - 2)
        return permute_dims(rows, (*front, x.ndim - 1, x.ndim - 2, x.ndim))

    # --- masks ---

    def _mask(
        self, padding: Any, hidden: Any, keys: Tensor, shape: tuple[int, ...]
    ) -> Tensor | None:
        """Return both masks as one for `attention_weights`."""
        masks = []
        if padding is not None:
            masks.append(self._padding(as_tensor(padding), keys))
        if hidden is not None:
            masks.append(self._hidden(as_tensor(hidden), keys, shape))
        if not masks:
            return None
        if all(each.dtype.kind == "b" for each in masks):
            return ~(masks[0] | masks[-1])
        floats = [_added(each, keys.dtype) for each in masks]
        return floats[0] if len(floats) == 1 else floats[0] + floats[1]

    def _padding(self, mask: Tensor, keys: Tensor) -> Tensor:
        *batch, _, length, _ = keys.shape
        _check_mask("key_padding_mask", mask, [(*batch, length)])
        return mask.reshape(*batch, 1, 1, length)

    def _hidden(self, mask: Tensor, keys: Tensor, shape: tuple[int, ...]) -> Tensor:
        *batch, heads, length, _ = keys.shape
        queries = shape[-2] if self.batch_first or len(shape) == 2 else shape[0]
        flat = math.prod(batch) * heads, queries, length
        _check_mask("attn_mask", mask, [flat[1:], flat])
        return mask if mask.ndim == 2 else mask.reshape(*batch, heads, *flat[1:])

    # --- what cannot be attended to ---

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        inputs = (
            ("query", query, self.embed_dim),
            ("key", key, self.kdim),
            ("value", value, self.vdim),
        )
        for name, x, width in inputs:
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != width:
                layout = "[batch, time, " if self.batch_first else "[time, batch, "
                raise ShapeError(
                    message(
                        f"the {name} is {x.type}",
                        expected=f"expected {layout}{width}], or [time, {width}] for "
                        "all three",
                    )
                )
            if not x.shape[-2 if self.batch_first or x.ndim == 2 else 0]:
                raise ShapeError(
                    message(
                        f"the {name} is {x.type}: a sequence of length zero",
                        expected="expected one position or more",
                        hint="leave out empty sequences",
                    )
                )
        batch = 0 if self.batch_first else 1
        alike = query.ndim == 2 or query.shape[batch] == key.shape[batch]
        if not alike or key.shape[:-1] != value.shape[:-1]:
            raise ShapeError(
                message(
                    f"query {query.type}, key {key.type}, value {value.type}",
                    expected="expected one batch size, and a value for each key",
                    hint=""
                    if self.batch_first
                    else "batch_first=True is another order of the axes",
                )
            )


def _check_heads(width: int, heads: int, dropout: float, rotary: bool) -> None:
    if width % heads:
        raise ArgumentError(
            message(
                f"embed_dim={width} does not divide into {heads} heads",
                hint=f"try embed_dim={-(-width // heads) * heads}",
            )
        )
    if not 0.0 <= dropout <= 1.0:
        raise ArgumentError(f"dropout must be between 0 and 1, not {dropout!r}")
    if rotary and width // heads % 2:
        raise ArgumentError(
            f"rotary positions need heads of even width, not {width // heads}"
        )


def _thirds(x: Tensor | None) -> list[Any]:
    """Return the rows of queries, of keys and of values."""
    if x is None:
        return [None] * 3
    size = x.shape[0] // 3
    return [x[i * size : (i + 1) * size] for i in range(3)]


def _joined(x: Tensor) -> Tensor:
    """Return `[…, heads, time, width]` as `[…, time, heads · width]`."""
    *front, heads, length, width = range(x.ndim)
    turned = permute_dims(x, (*front, length, heads, width))
    return turned.reshape(*turned.shape[:-2], x.shape[heads] * x.shape[width])


def _check_mask(name: str, mask: Tensor, shapes: list[tuple[int, ...]]) -> None:
    if mask.dtype.kind != "b" and not is_float(mask.dtype):
        raise DTypeError(
            message(
                f"{name} is {mask.type}",
                expected="expected truth values, true where a key is hidden, or floats",
                hint=f"{name} != 0",
            )
        )
    if mask.shape not in shapes:
        expected = " or ".join(str(list(each)) for each in shapes)
        raise ShapeError(
            message(f"{name} is {mask.type}", expected=f"expected {expected}")
        )
    verify(mask, partial(_check_open, name=name))


def _check_open(mask: Array, first: int, name: str) -> None:
    """Refuse a mask that leaves nothing to look at."""
    hides = (mask if mask.dtype == bool else mask == -math.inf).all(-1)
    if not hides.any():
        return
    raise DataError(
        message(
            f"{name} hides every key",
            where=place_of(np.argwhere(hides)[0], first),
            expected="true means hidden, false means seen",
            hint="leave out empty sequences, or invert the mask: ~mask",
        )
    )


def _added(mask: Tensor, dtype: DType) -> Tensor:
    """Return a mask as numbers to add to the scores."""
    if mask.dtype.kind != "b":
        return mask.astype(dtype)
    return where(mask, as_tensor(np.array(-math.inf, dtype)), 0.0)
