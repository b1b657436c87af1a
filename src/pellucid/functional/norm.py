"""Normalisation: numbers brought to mean 0 and variance 1 over some of their axes.

All take the variance from centred values, so a mean that is far from 0 costs no
digits, and divide by the number of values (the variance is the biased one). Whole
numbers become floats.

Sources:
    batch     Ioffe and Szegedy, "Batch normalization" (2015)
    layer     Ba, Kiros and Hinton, "Layer normalization" (2016)
    instance  Ulyanov, Vedaldi and Lempitsky, "Instance normalization" (2016)
    group     Wu and He, "Group normalization" (2018)
    RMS       Zhang and Sennrich, "Root mean square layer normalization" (2019)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import as_dtype, is_float, promote
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional.array import sqrt
from pellucid.ir.types import Shape
from pellucid.tensors import Tensor, TensorLike, as_tensor

__all__ = [
    "batch_moments",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]

Optional: TypeAlias = "TensorLike | None"


def _floats(x: TensorLike, *others: Optional) -> Tensor:
    """Return x in the float dtype in which it meets the others."""
    found = as_tensor(x)
    dtype = found.dtype
    for each in others:
        dtype = dtype if each is None else promote(dtype, as_tensor(each).dtype)
    return found.astype(dtype if is_float(dtype) else as_dtype(current().dtype))


def _inverse_root(variance: Tensor, eps: float) -> Tensor:
    return 1.0 / sqrt(variance + eps)


def _standard(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    """Return (x − mean) / √(variance + eps) over some axes."""
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    return centred * _inverse_root(variance, eps)


def _scaled(x: Tensor, weight: Optional, bias: Optional, shape: Shape) -> Tensor:
    """Return x · weight + bias, both in a shape that broadcasts to x."""
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and as_tensor(given).size != math.prod(shape):
            raise ShapeError(
                message(
                    f"the {name} {as_tensor(given).type} does not fit {x.type}",
                    expected=f"expected {math.prod(shape)} numbers",
                )
            )
    if weight is not None:
        x = x * as_tensor(weight).reshape(shape)
    return x if bias is None else x + as_tensor(bias).reshape(shape)


# --- over the last axes ----------------------------------------------------------


def layer_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: Optional = None,
    bias: Optional = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return (x − mean) / √(variance + eps) · weight + bias over the last axes.

    `normalized_shape` is their shape, and that of `weight` and `bias`.

    >>> layer_norm([[1.0, 3.0], [5.0, 5.0]], 2, eps=0.0001).value.round(3).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    x = _floats(x, weight, bias)
    shape = _last(x, normalized_shape)
    axes = range(x.ndim - len(shape), x.ndim)
    return _scaled(_standard(x, axes, eps), weight, bias, shape)


def rms_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: Optional = None,
    eps: float | None = None,
) -> Tensor:
    """Return x / √(mean of x² + eps) · weight over the last axes.

    `normalized_shape` is their shape, and that of `weight`. Without `eps` it is the
    machine epsilon of x.

    >>> rms_norm([3.0, 4.0, 0.0, 0.0], 4)
    Tensor([1.2, 1.6, 0. , 0. ], f32[4])
    """
    x = _floats(x, weight)
    shape = _last(x, normalized_shape)
    axes = range(x.ndim - len(shape), x.ndim)
    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    square = (x * x).mean(axes, keepdims=True)
    return _scaled(x * _inverse_root(square, small), weight, None, shape)


def _last(x: Tensor, given: int | Sequence[int]) -> Shape:
    shape = (given,) if isinstance(given, int | np.integer) else tuple(given)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            message(
                f"got {x.type} to normalise over its last axes",
                expected=f"expected the sizes {list(shape)} there",
                hint="check normalized_shape, or the layer before",
            )
        )
    return shape


# --- over groups of channels -----------------------------------------------------


def group_norm(
    x: TensorLike,
    num_groups: int,
    weight: Optional = None,
    bias: Optional = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return each group of channels, `[batch, channels, space…]`, normalised alone.

    `weight` and `bias` are one for each channel.

    >>> x = [[[1.0, 3.0], [10.0, 30.0]]]
    >>> group_norm(x, 2).value.round(3).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    x = _floats(x, weight, bias)
    channels = _channels(x)
    if num_groups < 1 or channels % num_groups:
        raise ArgumentError(
            message(
                f"{channels} channels cannot be cut into {num_groups} groups",
                hint="the number of groups must divide that of channels",
            )
        )
    size = math.prod(x.shape[1:]) // num_groups
    grouped = _standard(x.reshape(x.shape[0], num_groups, size), (2,), eps)
    return _scaled(grouped.reshape(x.shape), weight, bias, _of_channels(x))


def instance_norm(
    x: TensorLike,
    weight: Optional = None,
    bias: Optional = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel of each sample normalised alone: a group a channel."""
    x = _floats(x, weight, bias)
    return group_norm(x, _channels(x), weight, bias, eps)


def _channels(x: Tensor) -> int:
    if x.ndim < 2 or not x.shape[1]:
        raise ShapeError(
            message(f"got {x.type}", expected="expected [batch, channels, space…]")
        )
    return x.shape[1]


def _of_channels(x: Tensor) -> Shape:
    """Return the shape in which a number a channel broadcasts to x."""
    return (x.shape[1], *[1] * (x.ndim - 2))


# --- over the batch --------------------------------------------------------------


def batch_moments(x: TensorLike) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel, `[channels]`, over the other axes.

    Raises `ShapeError` where a channel has one value alone: its variance says
    nothing.

    >>> mean, variance = batch_moments([[1.0], [3.0]])
    >>> mean.item(), variance.item()
    (2.0, 1.0)
    """
    x = _floats(x)
    channels = _channels(x)
    if x.size // channels < 2:
        raise ShapeError(
            message(
                f"got {x.type}: {x.size // channels} value a channel",
                expected="expected at least 2 to take mean and variance of",
                hint="choose a batch_size that leaves no last batch of one row, or "
                "call eval() to use the running statistics",
            )
        )
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes)
    centred = x - mean.reshape(_of_channels(x))
    return mean, (centred * centred).mean(axes)


def batch_norm(
    x: TensorLike,
    mean: TensorLike,
    variance: TensorLike,
    weight: Optional = None,
    bias: Optional = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return (x − mean) / √(variance + eps) · weight + bias for each channel.

    `x` is `[batch, channels, space…]`, all others `[channels]`: the moments of this
    batch, from `batch_moments`, or those of the training data.

    >>> x = [[1.0], [3.0]]
    >>> batch_norm(x, *batch_moments(x)).value.round(3).tolist()
    [[-1.0], [1.0]]
    """
    x = _floats(x, mean, variance, weight, bias)
    _channels(x)
    shape = _of_channels(x)
    scale = _inverse_root(_floats(variance), eps)
    if weight is not None:
        scale = scale * weight
    centred = x - as_tensor(mean).reshape(shape)
    return _scaled(centred * scale.reshape(shape), None, bias, shape)
