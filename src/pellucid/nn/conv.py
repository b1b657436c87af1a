"""Convolutions over one, two and three axes of space, and their transposes.

Arguments, weight layouts and state dicts are PyTorch's.
"""

from __future__ import annotations

import math

import numpy as np

from pellucid.dtypes import DType
from pellucid.functional import conv, conv_transpose
from pellucid.functional.conv import (
    check_groups,
    check_output_padding,
    check_steps,
    paddings,
)
from pellucid.functional.padding import check_padding
from pellucid.functional.windows import Sizes, per_axis
from pellucid.nn.init import choose
from pellucid.nn.linear import Weighted, positive
from pellucid.tensors import Parameter, Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]


class _Windowed(Weighted):
    """What both directions have: sizes, and the fans of a window."""

    space: int = 0
    """How many axes a window has."""

    def _prepare(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        steps: tuple[Sizes, Sizes],
        groups: int,
    ) -> None:
        positive(in_channels=in_channels, out_channels=out_channels)
        check_groups(groups, in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.groups = groups
        self.kernel_size = per_axis("kernel_size", kernel_size, self.space)
        self.stride, self.dilation = check_steps(*steps, self.space)

    def _fans(self) -> tuple[int, int]:
        window = math.prod(self.kernel_size)
        return (
            self.in_channels // self.groups * window,
            self.out_channels // self.groups * window,
        )


class _Conv(_Windowed):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        steps = stride, dilation
        self._prepare(in_channels, out_channels, kernel_size, steps, groups)
        paddings(padding, self.kernel_size, self.stride, self.dilation)
        check_padding(padding_mode)
        self.padding, self.padding_mode = padding, padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._start(shape, bias, choose(init, None), init == "auto", dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the cross-correlation of x with each kernel."""
        return conv(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
        )


class _ConvTranspose(_Windowed):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        init: str = "auto",
        dtype: DType | str | None = None,
    ) -> None:
        steps = stride, dilation
        self._prepare(in_channels, out_channels, kernel_size, steps, groups)
        self.padding = per_axis("padding", padding, self.space, least=0)
        self.output_padding = check_output_padding(
            output_padding, self.stride, self.dilation
        )
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self._start(shape, False, choose(init, None), init == "auto", dtype)
        if bias:
            self.bias = Parameter(np.zeros(out_channels, self.weight.dtype))

    def _fans(self) -> tuple[int, int]:
        entering, leaving = super()._fans()
        return max(1, entering // math.prod(self.stride)), leaving

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the kernels that the entries of x scale."""
        return conv_transpose(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class Conv1d(_Conv):
    """Cross-correlation along one axis: `[n, in, l]` becomes `[n, out, l']`.

    The arguments are those of `Conv2d`. State: `weight [out, in / groups, k]`,
    `bias [out]`, as in PyTorch.

    >>> Conv1d(4, 8, 3, padding="same")(np.zeros((2, 4, 10), np.float32)).shape
    (2, 8, 10)
    """

    space = 1


class Conv2d(_Conv):
    """Cross-correlation of images: `[n, in, h, w]` becomes `[n, out, h', w']`.

    y[o, i, j] = b[o] + Σ over c, k, l of w[o, c, k, l] ·
    x[c, i · stride + k · dilation, j · stride + l · dilation], and each size becomes
    ⌊(size + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1. Source: LeCun et al.,
    "Gradient-based learning applied to document recognition" (1998).

    Args:
        in_channels, out_channels: how many channels images have, and get.
        kernel_size, stride, padding, dilation: one number, or one for each axis.
            The padding may be `same`, which keeps the size, or `valid`: none.
        groups: the channels are cut into so many groups, each with its own kernels;
            as many groups as channels make it depthwise.
        bias: whether b is there; it starts at 0.
        padding_mode: what is put around x: `zeros`, `reflect`, `replicate`,
            `circular`.
        init: an initialiser's name, or `auto`: by the activation that follows.
        dtype: `f32` or `f64`; the configured one by default.

    State: `weight [out, in / groups, h, w]`, `bias [out]`, as in PyTorch. A unit's fan
    in is in / groups times the kernel's size, its fan out is out / groups times it.

    >>> layer = Conv2d(1, 6, 5)
    >>> layer.weight.shape, layer(np.zeros((2, 1, 28, 28), np.float32)).shape
    ((6, 1, 5, 5), (2, 6, 24, 24))
    """

    space = 2


class Conv3d(_Conv):
    """Cross-correlation of volumes: `[n, in, d, h, w]` becomes `[n, out, d', h', w']`.

    The arguments are those of `Conv2d`. State: `weight [out, in / groups, d, h, w]`,
    `bias [out]`, as in PyTorch.

    >>> Conv3d(1, 2, 3, stride=2)(np.zeros((1, 1, 7, 7, 7), np.float32)).shape
    (1, 2, 3, 3, 3)
    """

    space = 3


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d`: `[n, in, l]` becomes `[n, out, l']`.

    The arguments are those of `ConvTranspose2d`. State: `weight [in, out / groups, k]`,
    `bias [out]`, as in PyTorch.

    >>> ConvTranspose1d(4, 2, 4, stride=2)(np.zeros((1, 4, 5), np.float32)).shape
    (1, 2, 12)
    """

    space = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d`, which makes images larger: `[n, in, h, w]` becomes
    `[n, out, h', w']`.

    Each entry of x adds a kernel, scaled by it, to y; neighbours lie `stride` apart.
    Each size becomes (size − 1) stride − 2 padding + dilation (kernel − 1) +
    output_padding + 1. Source: Dumoulin and Visin, "A guide to convolution arithmetic
    for deep learning" (2016).

    Args:
        in_channels, out_channels, kernel_size, stride, groups, bias, dilation, init,
            dtype: as in `Conv2d`.
        padding: what is cut off around y.
        output_padding: what y has more at its end, so that a stride that rounded
            down can be undone.

    State: `weight [in, out / groups, h, w]`, `bias [out]`, as in PyTorch. A unit's fan
    in counts the entries of x that reach it: in / groups · kernel / stride.

    >>> up = ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
    >>> up(np.zeros((1, 8, 7, 7), np.float32)).shape
    (1, 4, 14, 14)
    """

    space = 2


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d`: `[n, in, d, h, w]` becomes `[n, out, d', h', w']`.

    The arguments are those of `ConvTranspose2d`. State: `weight [in, out / groups, d,
    h, w]`, `bias [out]`, as in PyTorch.

    >>> ConvTranspose3d(2, 1, 2, stride=2)(np.zeros((1, 2, 3, 3, 3), np.float32)).shape
    (1, 1, 6, 6, 6)
    """

    space = 3
