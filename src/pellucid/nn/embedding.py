"""Vectors for tokens: `Embedding`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from pellucid import functional
from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float, is_integer
from pellucid.errors import ArgumentError, DataError, DTypeError, message
from pellucid.functional import (
    gate,
    ones_like,
    sqrt,
    stop_gradient,
    take,
    where,
    zeros_like,
)
from pellucid.ir.graph import Array
from pellucid.nn.checks import place_of, verify
from pellucid.nn.context import updated
from pellucid.nn.init import normal
from pellucid.nn.linear import positive
from pellucid.nn.module import Module, update_buffer
from pellucid.random import next_key
from pellucid.tensors import Parameter, Tensor, apply

__all__ = ["Embedding", "check_tokens"]


class Embedding(Module):
    """A vector for each token: integers `[…]` become `[…, embedding_dim]`.

    The gradient is added to the rows of the tokens that came and to no others.

    Args:
        num_embeddings: the size of the vocabulary; tokens count from 0.
        embedding_dim: the length of a vector.
        padding_idx: a token whose vector starts at 0 and gets no gradient; −1 is the
            last.
        max_norm: vectors that are longer are brought to this length where they are
            looked up. In training the weight itself changes before the optimiser's
            update; the gradient is that of the changed weight, as in PyTorch. The
            gradient checker, which knows derivatives only, calls that wrong. Another
            layer that shares the weight sees the change in the next step. Out of
            training the weight stays as it is.
        norm_type: the p of the norm (Σ |v|^p)^(1/p) that measures them; also inf.
        std: the standard deviation of the normal distribution of the start.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [num_embeddings, embedding_dim]`, as in PyTorch.

    Raises `DataError` for a token outside the vocabulary, and `DTypeError` for floats.

    >>> layer = Embedding(5, 2, padding_idx=0)
    >>> layer(np.array([[3, 0, 0]])).shape
    (1, 3, 2)
    >>> layer(np.array([0])).value.tolist()
    [[0.0, 0.0]]
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        std: float = 1.0,
        dtype: DType | str | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
    ) -> None:
        positive(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding(padding_idx, num_embeddings)
        _check_norm(max_norm, norm_type)
        self.max_norm, self.norm_type = max_norm, norm_type
        target = as_dtype(dtype or current().dtype)
        if not is_float(target):
            raise ArgumentError(f"weights are f32 or f64, not {target}")
        shape = num_embeddings, embedding_dim
        drawn = np.array(normal(next_key(), shape, target, std=std).value)
        if self.padding_idx is not None:
            drawn[self.padding_idx] = 0.0
        self.weight = Parameter(drawn)
        self._std = std

    @property
    def initialised(self) -> str:
        """The initialiser."""
        return f"normal, standard deviation {self._std:g}"

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vector of each token."""
        check_tokens(tokens, self.num_embeddings)
        if self.max_norm is not None and self.training:
            self._shorten(tokens, updated(self.weight))
        vectors = take(self.weight, tokens)
        if self.max_norm is not None:
            vectors = _scaled(vectors, self._scale(vectors))
        if self.padding_idx is None:
            return vectors
        padding = (tokens == self.padding_idx).reshape(*tokens.shape, 1)
        return where(padding, stop_gradient(vectors), vectors)

    def _scale(self, vectors: Tensor) -> Tensor:
        """Return by what vectors are multiplied to be no longer than `max_norm`."""
        assert self.max_norm is not None
        norm = _norm(stop_gradient(vectors), self.norm_type)
        return where(norm > self.max_norm, self.max_norm / (norm + 1e-7), 1.0)

    def _shorten(self, tokens: Tensor, weight: Tensor) -> None:
        """Give the weight shorter rows where they are looked up and too long."""
        at, none = tokens.reshape(-1), zeros_like(weight[:, 0])
        one = ones_like(at, weight.dtype)
        found = apply("scatter_add", none, at, one, axis=0).reshape(-1, 1) > 0.0
        shorter = where(found, weight * self._scale(weight), weight)
        update_buffer(self.weight, shorter.detach())


def _times(vectors: Tensor, scale: Tensor) -> Tensor:
    return vectors * scale


_scaled = gate(_times, lambda inputs, outputs, grads: (grads[0], None), "shortened")
"""Scaled vectors, whose gradient is that of the weight which was scaled before."""


def _norm(vectors: Tensor, p: float) -> Tensor:
    """Return the p-norm of each vector, with an axis of length 1."""
    if p == 2.0:
        return sqrt((vectors * vectors).sum(-1, keepdims=True))
    sizes = functional.abs(vectors)
    if math.isinf(p):
        return sizes.max(-1, keepdims=True)
    return (sizes**p).sum(-1, keepdims=True) ** (1.0 / p)


def _check_norm(max_norm: Any, norm_type: Any) -> None:
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if value is None and name == "max_norm":
            continue
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not value > 0:
            raise ArgumentError(f"{name} must be a number above 0, not {value!r}")


def _padding(given: Any, size: int) -> int | None:
    if given is None:
        return None
    whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not whole or not -size <= given < size:
        raise ArgumentError(
            message(
                f"padding_idx={given!r}",
                expected=f"expected a token from 0 to {size - 1}, or None",
            )
        )
    return int(given) % size


def check_tokens(tokens: Tensor, size: int, name: str = "num_embeddings") -> None:
    """Raise for tokens that are no integers, or none of so many.

    `name` is what the size is called where it can be changed.
    """
    if not is_integer(tokens.dtype):
        raise DTypeError(
            message(
                f"tokens must be integers, not {tokens.type}",
                hint="pass the tokens as an integer array: X.astype('int64')",
            )
        )
    verify(tokens, partial(_check_range, size=size, name=name))


def _check_range(tokens: Array, first: int, size: int, name: str) -> None:
    if not tokens.size or (tokens.min() >= 0 and tokens.max() < size):
        return
    low, high = int(tokens.min()), int(tokens.max())
    wrong, hint = low, "number the tokens from 0"
    if low >= 0:
        wrong = high
        hint = f"try {name}={high + 1}, or map unknown tokens to one of their own"
    raise DataError(
        message(
            f"token {wrong} is not in the vocabulary",
            where=place_of(np.argwhere(tokens == wrong)[0], first),
            expected=f"expected 0 to {size - 1}",
            hint=hint,
        )
    )
