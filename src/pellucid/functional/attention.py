"""Attention: weighted means of values, the weights found by comparing queries and keys.

Source: Vaswani et al., "Attention is all you need" (2017); rotary positions: Su et
al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
"""

from __future__ import annotations

import math

import numpy as np

from pellucid.dtypes import is_float, promote
from pellucid.errors import DTypeError, ShapeError, message
from pellucid.functional.array import abs, cos, exp, sin, stop_gradient, tanh, where
from pellucid.functional.dropout import dropout
from pellucid.functional.layout import concat, expand_dims, matrix_transpose
from pellucid.tensors import Tensor, TensorLike, as_tensor, tensor

__all__ = [
    "additive_attention_weights",
    "attention_weights",
    "rotary",
    "scaled_dot_product_attention",
]


def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(scale · Q Kᵀ + mask) V: `[…, L, width of the values]`.

    Args:
        query: `[…, L, E]`.
        key: `[…, S, E]`; axes in front broadcast.
        value: `[…, S, width]`.
        attn_mask: broadcasts to `[…, L, S]`. Truth values: whether a query may look
            at a key. Floats: added to the scores.
        dropout_p: the share of weights to drop, always: pass 0 out of training.
        is_causal: query i looks at keys 0 to i only, and where the mask allows it.
        scale: 1 / √E by default.

    A query that may look at no key gets zeros, and gives no gradient.

    >>> scaled_dot_product_attention([[1.0]], [[0.0], [0.0]], [[1.0], [3.0]])
    Tensor([[2.]], f32[1,1])
    """
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    value = as_tensor(value)
    if value.ndim < 2 or value.shape[-2] != weights.shape[-1]:
        raise ShapeError(
            message(
                f"values {value.type} do not fit the keys",
                expected=f"expected {weights.shape[-1]} of them along axis -2",
            )
        )
    return dropout(weights, dropout_p) @ value


def attention_weights(
    query: TensorLike,
    key: TensorLike,
    attn_mask: TensorLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(scale · Q Kᵀ + mask), `[…, L, S]`; each row sums to 1.

    The arguments are those of `scaled_dot_product_attention`. The row of a query that
    may look at no key is 0.

    >>> attention_weights([[1.0], [1.0]], [[0.0], [0.0]], is_causal=True).value.tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    q, k = _alike(as_tensor(query), as_tensor(key))
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q * factor) @ matrix_transpose(k)
    return _masked(scores, attn_mask, is_causal)


def additive_attention_weights(
    query: TensorLike,
    key: TensorLike,
    weight: TensorLike,
    attn_mask: TensorLike | None = None,
) -> Tensor:
    """Return softmax(tanh(q + k) · w), masked, `[…, L, S]`; each row sums to 1.

    Each query is added to each key, so a tensor `[…, L, S, E]` stands in between.

    Args:
        query: `[…, L, E]`.
        key: `[…, S, E]`.
        weight: `[E]`.
        attn_mask: as for `scaled_dot_product_attention`.

    Source: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning
    to align and translate" (2015).

    >>> additive_attention_weights([[0.0]], [[1.0], [1.0]], [2.0])
    Tensor([[0.5, 0.5]], f32[1,2])
    """
    q, k = _alike(as_tensor(query), as_tensor(key))
    w = as_tensor(weight).astype(q.dtype)
    if w.shape != q.shape[-1:]:
        raise ShapeError(
            message(
                f"an attention weight {w.type} does not fit queries {q.type}",
                expected=f"expected shape [{q.shape[-1]}]",
            )
        )
    return _masked(
        (tanh(expand_dims(q, -2) + expand_dims(k, -3)) * w).sum(-1), attn_mask
    )


def _masked(
    scores: Tensor, attn_mask: TensorLike | None, is_causal: bool = False
) -> Tensor:
    """Return the softmax of scores, over the keys that a query may look at."""
    mask = None if attn_mask is None else _mask(as_tensor(attn_mask), scores)
    if mask is not None and is_float(mask.dtype):
        scores, mask = scores + mask.astype(scores.dtype), None
    if is_causal:
        past = _past(*scores.shape[-2:])
        mask = past if mask is None else mask & past
    return _normalised(scores if mask is None else where(mask, scores, -math.inf))


def _alike(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    fits = min(query.ndim, key.ndim) >= 2 and query.shape[-1] == key.shape[-1]
    if not fits or not query.shape[-1] or not key.shape[-2]:
        raise ShapeError(
            message(
                f"queries {query.type} and keys {key.type}",
                expected="expected […, L, E] and […, S, E], with S and E at least 1",
            )
        )
    dtype = promote(query.dtype, key.dtype)
    if not is_float(dtype):
        raise DTypeError(f"attention computes with floats, not {dtype}")
    return query.astype(dtype), key.astype(dtype)


def _mask(mask: Tensor, scores: Tensor) -> Tensor:
    """Return a mask that was checked to fit the scores."""
    if mask.dtype.kind != "b" and not is_float(mask.dtype):
        raise DTypeError(
            message(
                f"an attention mask of {mask.type}",
                expected="expected truth values, or floats to add to the scores",
                hint="mask != 0",
            )
        )
    try:
        fits = np.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            message(
                f"an attention mask {mask.type} does not fit the scores",
                expected=f"expected a shape that broadcasts to {list(scores.shape)}",
            )
        )
    return mask


def _past(queries: int, keys: int) -> Tensor:
    return tensor(np.tri(queries, keys, dtype=bool))


def _normalised(scores: Tensor) -> Tensor:
    """Return the softmax along the last axis; 0 where every score is −inf."""
    peak = stop_gradient(scores.max(-1, keepdims=True))
    shares = exp(scores - where(abs(peak) == math.inf, 0.0, peak))
    total = shares.sum(-1, keepdims=True)
    return shares / where(total == 0.0, 1.0, total)


# --- positions -------------------------------------------------------------------


def rotary(
    x: TensorLike, positions: TensorLike | None = None, base: float = 10000.0
) -> Tensor:
    """Turn pairs of entries of `[…, L, E]` by angles in proportion to the position.

    Entry i and entry i + E/2 are turned by position · base^(−2i/E). Then the product
    of a query and a key, both turned, depends on their distance alone. (The paper
    pairs neighbours: the same function after a permutation of the entries.)

    Args:
        x: queries or keys; E is even.
        positions: `[L]`; 0 to L − 1 by default.
        base: how slowly the slowest pair turns.

    >>> rotary([[1.0, 0.0], [1.0, 0.0]])  # by 0 and by 1 radian
    Tensor([[1.        , 0.        ],
            [0.5403023 , 0.84147096]], f32[2,2])
    """
    x = as_tensor(x)
    if x.ndim < 2 or x.shape[-1] % 2 or not x.shape[-1] or not is_float(x.dtype):
        raise ShapeError(
            message(
                f"rotary positions of {x.type}",
                expected="expected floats […, L, E] with an even E",
            )
        )
    angle = _angles(x, positions, base)
    c, s = cos(angle).astype(x.dtype), sin(angle).astype(x.dtype)
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return concat([first * c - second * s, second * c + first * s], -1)


def _angles(x: Tensor, positions: TensorLike | None, base: float) -> Tensor:
    """Return the angle of each position and pair, `f64[L, E/2]`.

    In f32 the angle of a large position would have lost its digits.
    """
    length, width = x.shape[-2:]
    at = as_tensor(np.arange(length) if positions is None else positions)
    if at.shape != (length,):
        raise ShapeError(
            message(f"positions {at.type}", expected=f"expected {length} of them")
        )
    speed = base ** (np.arange(0, width, 2) / -width)
    return at.astype("f64").reshape(length, 1) * tensor(speed)
