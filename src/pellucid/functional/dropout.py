"""Dropout as a function: some entries at random become 0, the mean stays."""

from __future__ import annotations

from pellucid.errors import ArgumentError
from pellucid.functional.array import where
from pellucid.random import bernoulli, next_key
from pellucid.tensors import Tensor, TensorLike, as_tensor

__all__ = ["dropout"]


def dropout(x: TensorLike, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each entry to 0 with probability p and divide the others by 1 − p.

    Out of training, and with p = 0, x itself is returned. The mask comes from the
    next key, so it is drawn anew each step and is the same in a replay of it.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting" (2014).

    >>> dropout([1.0, 2.0], 0.5, training=False)
    Tensor([1., 2.], f32[2])
    """
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"p must be between 0 and 1, not {p!r}")
    x = as_tensor(x)
    if not training or p == 0.0:
        return x
    keep = 1.0 - p
    if keep == 0.0:
        return x * 0.0
    return where(bernoulli(next_key(), keep, x.shape), x / keep, 0.0)
