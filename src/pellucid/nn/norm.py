"""Normalising layers: batch, layer, group, instance and RMS.

Formulas and sources stand in `functional.norm`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid import functional
from pellucid.configuration import current
from pellucid.dtypes import DType, as_dtype, is_float
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.ir.types import Shape
from pellucid.nn.linear import positive
from pellucid.nn.module import Module, update_buffer
from pellucid.tensors import Buffer, Parameter, Tensor, tensor

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


class _Norm(Module):
    """A layer with a scale that starts at 1 and a bias that starts at 0, or without."""

    weight: Parameter | None
    bias: Parameter | None
    transparent = True

    def _start(
        self, shape: Shape, eps: float | None, affine: bool, bias: bool, dtype: Any
    ) -> DType:
        if eps is not None and not eps > 0:
            raise ArgumentError(f"eps must be above 0, not {eps!r}")
        target = as_dtype(dtype or current().dtype)
        if not is_float(target):
            raise ArgumentError(f"weights are f32 or f64, not {target}")
        self.weight = Parameter(np.ones(shape, target)) if affine else None
        self.bias = Parameter(np.zeros(shape, target)) if affine and bias else None
        return target

    @property
    def initialised(self) -> str:
        """How weight and bias start."""
        parts = [] if self.weight is None else ["weight 1"]
        return ", ".join(parts + ([] if self.bias is None else ["bias 0"]))


# --- over the last axes ----------------------------------------------------------


def _shape(given: int | Sequence[int]) -> Shape:
    shape = tuple(given) if isinstance(given, Sequence) else (given,)
    if not shape:
        raise ArgumentError("normalized_shape must name at least one axis")
    for size in shape:
        positive(normalized_shape=size)
    return tuple(int(size) for size in shape)


class LayerNorm(_Norm):
    """(x − mean) / √(variance + eps) · weight + bias over the last axes of each sample.

    Args:
        normalized_shape: the sizes of those axes, or the size of the last.
        eps: added to the variance.
        elementwise_affine: whether weight and bias are there.
        bias: whether the bias is.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight`, `bias`, both `[*normalized_shape]`, as in PyTorch.

    >>> layer = LayerNorm(3)
    >>> layer(np.array([[1.0, 2.0, 3.0]], np.float32)).value.round(3).tolist()
    [[-1.225000023841858, 0.0, 1.225000023841858]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self._start(self.normalized_shape, eps, elementwise_affine, bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, normalised."""
        shape = self.normalized_shape
        return functional.layer_norm(x, shape, self.weight, self.bias, self.eps)


class RMSNorm(_Norm):
    """x / √(mean of x² + eps) · weight over the last axes of each sample.

    Args:
        normalized_shape: the sizes of those axes, or the size of the last.
        eps: added to the mean; by default the machine epsilon.
        elementwise_affine: whether the weight is there.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [*normalized_shape]`, as in PyTorch.

    >>> RMSNorm(2)(np.array([3.0, 4.0])).value.round(3).tolist()
    [0.849, 1.131]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self._start(self.normalized_shape, eps, elementwise_affine, False, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, scaled."""
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)


# --- over groups of channels -----------------------------------------------------


class GroupNorm(_Norm):
    """Groups of channels, normalised alone in each sample; `[batch, channels, space…]`.

    Args:
        num_groups: how many; it must divide `num_channels`.
        num_channels: the size of the second axis.
        eps: added to the variance.
        affine: whether weight and bias are there.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [num_channels]`, `bias [num_channels]`, as in PyTorch.

    >>> GroupNorm(2, 4)(np.ones((3, 4, 5, 5), np.float32)).shape
    (3, 4, 5, 5)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        positive(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ArgumentError(
                message(
                    f"num_groups={num_groups} does not divide "
                    f"num_channels={num_channels}",
                    hint=f"try num_groups={math.gcd(num_groups, num_channels)}",
                )
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self._start((num_channels,), eps, affine, True, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, normalised."""
        _check_channels(x, self.num_channels)
        return functional.group_norm(
            x, self.num_groups, self.weight, self.bias, self.eps
        )


class _InstanceNorm(_Norm):
    _ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        affine: bool = False,
        dtype: DType | str | None = None,
    ) -> None:
        positive(num_features=num_features)
        self.num_features, self.eps = num_features, eps
        self._start((num_features,), eps, affine, True, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, normalised."""
        _check_channels(x, self.num_features, self._ranks)
        if x.size and x.size // (x.shape[0] * x.shape[1]) < 2:
            raise ShapeError(
                message(
                    f"got {x.type}: one value a channel",
                    expected="expected at least 2 to take mean and variance of",
                )
            )
        return functional.instance_norm(x, self.weight, self.bias, self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of `[batch, channels, length]`, normalised alone.

    Args:
        num_features: the number of channels.
        eps: added to the variance.
        affine: whether weight and bias are there, by default not.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [num_features]`, `bias [num_features]` where `affine`. There are no
    running statistics: evaluation computes what training does.

    >>> InstanceNorm1d(1)(np.array([[[1.0, 3.0]]])).value.round(3).tolist()
    [[[-1.0, 1.0]]]
    """

    _ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for images, `[batch, channels, height, width]`."""

    _ranks = (4,)


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for volumes, `[batch, channels, depth, height, width]`."""

    _ranks = (5,)


_LAYOUTS = {
    2: "[batch, features]",
    3: "[batch, channels, length]",
    4: "[batch, channels, height, width]",
    5: "[batch, channels, depth, height, width]",
}


def _check_channels(x: Tensor, channels: int, ranks: Sequence[int] = ()) -> None:
    if ranks and x.ndim not in ranks:
        wanted = " or ".join(_LAYOUTS[rank] for rank in ranks)
        raise ShapeError(
            message(f"got {x.type}", expected=f"expected {wanted}", hint=_hint(x.ndim))
        )
    if x.ndim < 2 or x.shape[1] != channels:
        raise ShapeError(
            message(
                f"got {x.shape[1] if x.ndim > 1 else 'no'} channels",
                expected=f"expected {channels}, along axis 1",
                hint="the channels stand behind the batch; check the layer before",
            )
        )


def _hint(rank: int) -> str:
    if rank not in _LAYOUTS:
        return ""
    return f"for {_LAYOUTS[rank]} take the {max(1, rank - 2)}d layer"


# --- over the batch --------------------------------------------------------------


class _BatchNorm(_Norm):
    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None
    _ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DType | str | None = None,
    ) -> None:
        positive(num_features=num_features)
        if momentum is not None and not 0.0 <= momentum <= 1.0:
            raise ArgumentError(f"momentum must be between 0 and 1, not {momentum!r}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        target = self._start((num_features,), eps, affine, True, dtype)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = Buffer(np.zeros(num_features, target))
            self.running_var = Buffer(np.ones(num_features, target))
            self.num_batches_tracked = Buffer(np.array(0, np.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, normalised; in training the running statistics move."""
        _check_channels(x, self.num_features, self._ranks)
        mean, variance = self._moments(x)
        return functional.batch_norm(
            x, mean, variance, self.weight, self.bias, self.eps
        )

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = self.running_mean, self.running_var
        if not self.training and mean is not None and variance is not None:
            return mean, variance
        found = functional.batch_moments(x)
        if self.training and mean is not None and variance is not None:
            self._track(mean, variance, *found, x.size // self.num_features)
        return found

    def _track(
        self, mean: Buffer, var: Buffer, new_mean: Tensor, new_var: Tensor, count: int
    ) -> None:
        tracked = self.num_batches_tracked
        assert tracked is not None
        share = 1.0 / (tracked + 1).astype(mean.dtype)
        if self.momentum is not None:
            share = tensor(self.momentum, mean.dtype)
        unbiased = new_var * (count / (count - 1))
        for old, new in ((mean, new_mean), (var, unbiased)):
            moved = old * (1.0 - share) + new.detach() * share
            update_buffer(old, moved.astype(old.dtype))
        update_buffer(tracked, tracked + 1)


class BatchNorm1d(_BatchNorm):
    """Each channel, brought to mean 0 and variance 1 over the batch, then scaled.

    The input is `[batch, features]` or `[batch, channels, length]`.

    Training uses the batch's own mean and variance and moves the running ones a share
    `momentum` towards them (the variance with n − 1 below). Evaluation uses the
    running ones.

    Args:
        num_features: the number of channels.
        eps: added to the variance.
        momentum: that share; None keeps the plain average of all batches.
        affine: whether weight and bias are there.
        track_running_stats: without them evaluation, too, uses its own batch.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight`, `bias`, `running_mean`, `running_var`, all `[num_features]`, and
    `num_batches_tracked`, as in PyTorch.

    Raises `ShapeError` in training where a channel has one value alone, as in a last
    batch of one row.

    >>> layer = BatchNorm1d(1)
    >>> layer(np.array([[1.0], [3.0]], np.float32)).value.round(3).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean, layer.running_var
    (Buffer([0.2], f32[1]), Buffer([1.1], f32[1]))
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images, `[batch, channels, height, width]`."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for volumes, `[batch, channels, depth, height, width]`."""

    _ranks = (5,)
