"""Where in a sequence something stands, for layers that would not know:
`SinusoidalPositions`, `LearnedPositions`, `RotaryPositions`.

Time is the axis before the last, `[batch, time, width]`, or with
`batch_first=False` the first, `[time, batch, width]`.
"""

from __future__ import annotations

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import rotary
from pellucid.ir.graph import Array
from pellucid.nn.init import normal
from pellucid.nn.linear import positive
from pellucid.nn.module import Module
from pellucid.random import next_key
from pellucid.tensors import Parameter, Tensor, tensor

__all__ = ["LearnedPositions", "RotaryPositions", "SinusoidalPositions"]


def _length(x: Tensor, width: int, batch_first: bool) -> int:
    """Return the number of positions of an input that was checked."""
    if x.ndim < 2 or x.shape[-1] != width or not (batch_first or x.ndim == 3):
        layout = "[…, time, " if batch_first else "[time, batch, "
        raise ShapeError(
            message(f"got {x.type}", expected=f"expected {layout}{width}]")
        )
    return x.shape[-2 if batch_first else 0]


def _added(x: Tensor, table: Tensor, batch_first: bool) -> Tensor:
    """Return x plus a row of the table for each position."""
    if not batch_first:
        table = table.reshape(table.shape[0], 1, table.shape[1])
    return x + table


class SinusoidalPositions(Module):
    """Adds waves of many lengths: entry 2i is sin(p / base^(2i/width)), 2i + 1 its cos.

    Nothing is learned, and sequences may be of any length.
    Source: Vaswani et al., "Attention is all you need" (2017).

    Args:
        width: the width of the input, even.
        base: the ratio of the longest wave to the shortest.
        batch_first: whether the first axis is the batch rather than time.

    >>> SinusoidalPositions(2)(np.zeros((2, 2), np.float32))
    Tensor([[0.        , 1.        ],
            [0.84147096, 0.5403023 ]], f32[2,2])
    """

    def __init__(
        self, width: int, base: float = 10000.0, batch_first: bool = True
    ) -> None:
        positive(width=width)
        if width % 2:
            raise ArgumentError(f"waves come in pairs: width={width} is not even")
        self.width, self.base, self.batch_first = width, base, bool(batch_first)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the waves added."""
        length = _length(x, self.width, self.batch_first)
        dtype = x.dtype if is_float(x.dtype) else as_dtype(current().dtype)
        waves = tensor(self._waves(length).astype(dtype))
        return _added(x, waves, self.batch_first)

    def _waves(self, length: int) -> Array:
        speed = self.base ** (np.arange(0, self.width, 2) / -self.width)
        angle = np.arange(length)[:, None] * speed
        return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, -1)


class LearnedPositions(Module):
    """Adds a vector for each position that is learned with the rest.

    Source: Gehring et al., "Convolutional sequence to sequence learning" (2017).

    Args:
        max_length: the most positions.
        width: the width of the input.
        std: the standard deviation of the normal distribution of the start.
        batch_first: whether the first axis is the batch rather than time.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [max_length, width]`. Raises `ShapeError` for a longer sequence.

    >>> LearnedPositions(5, 2)(np.zeros((7, 3, 2), np.float32)).shape
    (7, 3, 2)
    """

    def __init__(
        self,
        max_length: int,
        width: int,
        std: float = 0.02,
        batch_first: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        positive(max_length=max_length, width=width)
        target = as_dtype(dtype or current().dtype)
        if not is_float(target):
            raise ArgumentError(f"weights are f32 or f64, not {target}")
        self.max_length, self.width, self._std = max_length, width, std
        self.batch_first = bool(batch_first)
        drawn = normal(next_key(), (max_length, width), target, std=std)
        self.weight = Parameter(drawn.value)

    @property
    def initialised(self) -> str:
        """The initialiser."""
        return f"normal, standard deviation {self._std:g}"

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the vector of each position added."""
        length = _length(x, self.width, self.batch_first)
        if length > self.max_length:
            raise ShapeError(
                message(
                    f"a sequence of {length} positions",
                    expected=f"expected at most {self.max_length}",
                    hint=f"try max_length={length}, or SinusoidalPositions",
                )
            )
        return _added(x, self.weight[:length], self.batch_first)


class RotaryPositions(Module):
    """Turns queries or keys by their positions: `[…, time, width]`, the width even.

    The product of two that were turned depends on their distance alone; see
    `functional.rotary`. `MultiheadAttention(rotary=True)` does it inside.
    Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding"
    (2021).

    >>> x = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    >>> RotaryPositions()(x)
    Tensor([[1.        , 0.        ],
            [0.5403023 , 0.84147096]], f32[2,2])
    """

    def __init__(self, base: float = 10000.0) -> None:
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        """Return x turned, each row by its position."""
        return rotary(x, base=self.base)
