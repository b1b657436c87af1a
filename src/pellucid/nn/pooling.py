"""Pooling over one, two and three axes of space.

Arguments are PyTorch's. What is computed, and where gradients go at ties, stands in
`functional/pooling.py`.
"""

from __future__ import annotations

from pellucid.functional import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    max_pool,
)
from pellucid.functional.pooling import check_half
from pellucid.functional.windows import Sizes, per_axis, reach
from pellucid.nn.module import Module
from pellucid.tensors import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class _Pool(Module):
    transparent = True
    space: int = 0
    """How many axes a window has."""

    def _prepare(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes
    ) -> None:
        self.kernel_size = per_axis("kernel_size", kernel_size, self.space)
        own = self.kernel_size if stride is None else stride
        self.stride = per_axis("stride", own, self.space)
        self.padding = per_axis("padding", padding, self.space, least=0)
        self.dilation = per_axis("dilation", dilation, self.space)
        check_half(
            self.padding,
            [reach(*each) for each in zip(self.kernel_size, self.dilation)],
        )


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self._prepare(kernel_size, stride, padding, dilation)
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest entry of each window."""
        return max_pool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._prepare(kernel_size, stride, padding, 1)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each window."""
        return avg_pool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _Adaptive(Module):
    transparent = True
    space: int = 0

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = per_axis("output_size", output_size, self.space)


class _AdaptiveAvgPool(_Adaptive):
    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each window."""
        return adaptive_avg_pool(x, self.output_size)


class _AdaptiveMaxPool(_Adaptive):
    def forward(self, x: Tensor) -> Tensor:
        """Return the largest entry of each window."""
        return adaptive_max_pool(x, self.output_size)


class MaxPool1d(_MaxPool):
    """The largest entry of each window: `[n, c, l]` becomes `[n, c, l']`.

    The arguments are those of `MaxPool2d`.
    """

    space = 1


class MaxPool2d(_MaxPool):
    """The largest entry of each window: `[n, c, h, w]` becomes `[n, c, h', w']`.

    Each size becomes ⌊(size + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1,
    with `ceil_mode` the ceiling. The gradient goes to the largest entry. At ties it is
    shared where windows do not overlap; where they do the first takes it.

    Args:
        kernel_size, stride, padding, dilation: one number, or one for each axis. The
            stride is the kernel's size by default; half of the kernel is the most
            padding.
        ceil_mode: whether a last window may reach over the end.

    >>> import numpy as np
    >>> MaxPool2d(2)(np.zeros((1, 6, 24, 24), np.float32)).shape
    (1, 6, 12, 12)
    """

    space = 2


class MaxPool3d(_MaxPool):
    """The largest entry of each window: `[n, c, d, h, w]` becomes `[n, c, d', h', w']`.

    The arguments are those of `MaxPool2d`.
    """

    space = 3


class AvgPool1d(_AvgPool):
    """The mean of each window: `[n, c, l]` becomes `[n, c, l']`.

    The arguments are those of `AvgPool2d`.
    """

    space = 1


class AvgPool2d(_AvgPool):
    """The mean of each window: `[n, c, h, w]` becomes `[n, c, h', w']`.

    Args:
        kernel_size, stride, padding, ceil_mode: as in `MaxPool2d`; the padding is 0.
        count_include_pad: whether the padding counts as entries of the mean.

    >>> import numpy as np
    >>> AvgPool2d(3, stride=2, padding=1)(np.zeros((1, 6, 24, 24), np.float32)).shape
    (1, 6, 12, 12)
    """

    space = 2


class AvgPool3d(_AvgPool):
    """The mean of each window: `[n, c, d, h, w]` becomes `[n, c, d', h', w']`.

    The arguments are those of `AvgPool2d`.
    """

    space = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of `output_size` windows: `[n, c, l]` becomes `[n, c, m]`."""

    space = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of so many windows: `[n, c, h, w]` becomes
    `[n, c, *output_size]`.

    Window i of m over n entries goes from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉, so images of
    any size become one size. `AdaptiveAvgPool2d(1)` is global pooling.

    >>> import numpy as np
    >>> AdaptiveAvgPool2d((1, 3))(np.zeros((1, 6, 5, 7), np.float32)).shape
    (1, 6, 1, 3)
    """

    space = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of so many windows: `[n, c, d, h, w]` becomes
    `[n, c, *output_size]`.
    """

    space = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest entry of each of `output_size` windows: `[n, c, l]` becomes
    `[n, c, m]`.
    """

    space = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest entry of each of so many windows: `[n, c, h, w]` becomes
    `[n, c, *output_size]`, the windows being those of `AdaptiveAvgPool2d`.
    """

    space = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest entry of each of so many windows: `[n, c, d, h, w]` becomes
    `[n, c, *output_size]`.
    """

    space = 3
