"""Vectors for tokens: `Embedding`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float, is_integer
from pellucid.errors import ArgumentError, DataError, DTypeError, message
from pellucid.functional import stop_gradient, take, where
from pellucid.ir.graph import Array
from pellucid.nn.checks import place_of, verify
from pellucid.nn.init import normal
from pellucid.nn.linear import positive
from pellucid.nn.module import Module
from pellucid.random import next_key
from pellucid.tensors import Parameter, Tensor

__all__ = ["Embedding", "check_tokens"]


class Embedding(Module):
    """A vector for each token: integers `[…]` become `[…, embedding_dim]`.

    The gradient is added to the rows of the tokens that came and to no others.

    Args:
        num_embeddings: the size of the vocabulary; tokens count from 0.
        embedding_dim: the length of a vector.
        padding_idx: a token whose vector starts at 0 and gets no gradient; −1 is the
            last.
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
    ) -> None:
        positive(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding(padding_idx, num_embeddings)
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
        vectors = take(self.weight, tokens)
        if self.padding_idx is None:
            return vectors
        padding = (tokens == self.padding_idx).reshape(*tokens.shape, 1)
        return where(padding, stop_gradient(vectors), vectors)


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
