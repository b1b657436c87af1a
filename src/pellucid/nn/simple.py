"""Layers without weights: `Identity`, `Flatten`, `Unflatten`, `Dropout`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import dropout
from pellucid.nn.module import Module
from pellucid.tensors import Tensor, whole_axes

__all__ = ["Dropout", "Flatten", "Identity", "Unflatten"]


class Identity(Module):
    """Returns its input."""

    transparent = True

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


class Flatten(Module):
    """Makes one axis of several: `[batch, a, b]` becomes `[batch, a · b]`.

    >>> from pellucid.tensors import tensor
    >>> Flatten()(tensor([[[1.0, 2.0], [3.0, 4.0]]])).shape
    (1, 4)
    """

    transparent = True

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the axes from `start_dim` to `end_dim` as one."""
        (first,), (last,) = whole_axes(x, self.start_dim), whole_axes(x, self.end_dim)
        if first > last:
            raise ShapeError(f"axes {self.start_dim} to {self.end_dim} of {x.type}")
        size = 1
        for each in x.shape[first : last + 1]:
            size *= each
        return x.reshape((*x.shape[:first], size, *x.shape[last + 1 :]))


class Unflatten(Module):
    """Makes several axes of one: `[batch, a · b]` becomes `[batch, a, b]`.

    >>> from pellucid.tensors import tensor
    >>> Unflatten(1, (2, 2))(tensor([[1.0, 2.0, 3.0, 4.0]])).shape
    (1, 2, 2)
    """

    transparent = True

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the axis `dim` as axes of the given sizes."""
        (axis,) = whole_axes(x, self.dim)
        if math.prod(self.unflattened_size) != x.shape[axis]:
            raise ShapeError(
                message(
                    f"axis {axis} of {x.type} is not {list(self.unflattened_size)}",
                    expected=f"expected a size of {math.prod(self.unflattened_size)}",
                )
            )
        return x.reshape(
            (*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :])
        )


class Dropout(Module):
    """In training, sets each entry to 0 with probability p and scales the others up.

    The mean stays: what is kept is divided by 1 − p. The mask comes from the next
    key, so it is drawn anew each step and is the same in a replay of it.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting" (2014).

    >>> from pellucid.tensors import tensor
    >>> Dropout(0.5).eval()(tensor([1.0, 2.0]))
    Tensor([1., 2.], f32[2])
    """

    transparent = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ArgumentError(f"p must be between 0 and 1, not {p!r}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x with entries dropped; x itself out of training."""
        return dropout(x, self.p, self.training)
