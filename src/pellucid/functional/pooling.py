"""Pooling: the largest entry, or the mean, of each window.

Windows are rectangles, so they are reduced along one axis after another. Where they
do not overlap, an axis is cut into blocks and reduced; else the entries of all windows
are met one by one, as slices.

The gradient of a largest entry goes to where it was found. Where several are equally
large: to the first of them, in row-major order, where windows overlap, as in PyTorch;
where they do not, evenly to those that tie along an axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional.array import floating, maximum
from pellucid.functional.layout import concat, permute_dims
from pellucid.functional.padding import pad
from pellucid.functional.windows import Sizes, check_images, per_axis, reach
from pellucid.tensors import Tensor, TensorLike, tensor

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "max_pool",
]

Whole: TypeAlias = Callable[[Tensor, int], Tensor]
"""Reduces an axis."""

Pair: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Meets the next entry and what was found before."""


@dataclass(frozen=True)
class _Windows:
    """The windows along one axis."""

    size: int
    stride: int
    dilation: int
    count: int
    low: int = 0
    high: int = 0
    """What the first and the last window need around the axis."""

    @property
    def are_blocks(self) -> bool:
        """Whether they lie one behind the other, or there is only one."""
        return self.dilation == 1 and (self.stride == self.size or self.count == 1)


def max_pool(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Return the largest entry of each window; NaN wins.

    Args:
        x: `[batch, channels, space…]`.
        kernel_size: the size of the window.
        stride: how far it moves; its own size by default.
        padding: how far it reaches over the edge, half of its size at most; what
            lies there is never the largest.
        dilation: the distance of the entries that it reads.
        ceil_mode: whether a last window may reach over the end, so that no entry
            is left out.

    Returns `[batch, channels, space…]`, each size
    ⌊(size + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1, or the ceiling.

    >>> max_pool([[[1.0, 5.0, 2.0, 3.0]]], 2).value.tolist()
    [[[5.0, 3.0]]]
    """
    x = floating(x)
    windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    x = _framed(x, windows, -np.inf)
    return _pooled(x, windows, Tensor.max, lambda each, best: maximum(each, best))


def avg_pool(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window.

    The arguments are those of `max_pool`; what lies over the edge is 0. With
    `count_include_pad` the padding counts as entries; what `ceil_mode` adds never
    does.

    >>> avg_pool([[[1.0, 5.0, 2.0, 4.0]]], 2).value.tolist()
    [[[3.0, 3.0]]]
    """
    x = floating(x)
    windows = _windows(x, kernel_size, stride, padding, 1, ceil_mode)
    counts = [
        _counted(n, each, count_include_pad) for n, each in zip(x.shape[2:], windows)
    ]
    x = _framed(x, windows, 0.0)
    total = _pooled(x, windows, Tensor.sum, lambda each, sum_: sum_ + each)
    return total / _divisor(counts, total)


def adaptive_max_pool(x: TensorLike, output_size: Sizes) -> Tensor:
    """Return the largest entry of each of `output_size` windows an axis.

    Window i of m over n entries goes from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉. 1 makes it
    global.

    >>> adaptive_max_pool([[[1.0, 5.0, 2.0]]], 2).value.tolist()
    [[[5.0, 5.0]]]
    """
    return _adapted(floating(x), output_size, Tensor.max)


def adaptive_avg_pool(x: TensorLike, output_size: Sizes) -> Tensor:
    """Return the mean of each of `output_size` windows an axis.

    Window i of m over n entries goes from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉. 1 makes it
    global.

    >>> adaptive_avg_pool([[[1.0, 5.0, 3.0]]], 1).value.tolist()
    [[[3.0]]]
    """
    return _adapted(floating(x), output_size, Tensor.mean)


# --- where the windows are -------------------------------------------------------


def _space(x: Tensor, sizes: Sizes) -> int:
    """Return how many axes of space are meant: what comes one each tells it."""
    return len(sizes) if isinstance(sizes, Sequence) else max(1, x.ndim - 2)


def check_half(padding: Sequence[int], kernel: Sequence[int]) -> None:
    """Raise `ArgumentError` where a window could lie in the padding alone."""
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ArgumentError(
            message(
                f"padding {tuple(padding)} is more than half of the window "
                f"{tuple(kernel)}",
                hint="some windows would see no entry: pad less",
            )
        )


def _windows(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> list[_Windows]:
    space = _space(x, kernel_size)
    check_images(x, space)
    kernel = per_axis("kernel_size", kernel_size, space)
    strides = kernel if stride is None else per_axis("stride", stride, space)
    around = per_axis("padding", padding, space, least=0)
    dilations = per_axis("dilation", dilation, space)
    check_half(around, [reach(k, d) for k, d in zip(kernel, dilations)])
    return [
        _along(x, axis, *each, ceil_mode)
        for axis, each in enumerate(zip(kernel, strides, dilations, around), 2)
    ]


def _along(
    x: Tensor, axis: int, size: int, stride: int, dilation: int, low: int, ceil: bool
) -> _Windows:
    n, wide = x.shape[axis], reach(size, dilation)
    rest = n + 2 * low - wide
    count = (rest + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= n + low:
        count -= 1  # the last window would start behind the entries
    if count < 1:
        around = f" with padding {2 * low}" if low else ""
        raise ShapeError(
            message(
                f"the window reaches over {wide} entries, axis {axis} of {x.type} has "
                f"{n + 2 * low}{around}",
                hint="use a smaller window, or pool less before",
            )
        )
    high = max(0, (count - 1) * stride + wide - low - n)
    return _Windows(size, stride, dilation, count, low, high)


def _framed(x: Tensor, windows: Sequence[_Windows], value: float) -> Tensor:
    widths = [(each.low, each.high) for each in windows]
    return pad(x, widths, value=value) if any(map(any, widths)) else x


def _counted(n: int, windows: _Windows, padding: bool) -> list[int]:
    """Return how many entries each window along an axis counts."""
    around = windows.low if padding else 0
    starts = range(-windows.low, windows.count * windows.stride, windows.stride)
    return [
        min(start + windows.size, n + around) - max(start, -around)
        for start in starts[: windows.count]
    ]


def _divisor(counts: Sequence[Sequence[int]], like: Tensor) -> Tensor | float:
    """Return how many entries each window counts, as one number if it is the same."""
    product = reduce(np.multiply.outer, map(np.array, counts))
    first = float(product.flat[0])
    return first if (product == first).all() else tensor(product, like.dtype)


# --- reducing them ---------------------------------------------------------------


def _pooled(x: Tensor, windows: Sequence[_Windows], whole: Whole, pair: Pair) -> Tensor:
    """Reduce blocks, the first axis first: it leaves less to the last, which is slow.

    Then meet entries, the last axis first: so the first in row-major order comes first.
    """
    axes = range(2, x.ndim)
    for axis in axes:
        if windows[axis - 2].are_blocks:
            each = windows[axis - 2]
            x = _blocks(x, axis, each.size, each.count, whole)
    for axis in reversed(axes):
        if not windows[axis - 2].are_blocks:
            parts = _entries(x, axis, windows[axis - 2])
            x = reduce(lambda found, part: pair(part, found), parts)
    return x


def _part(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    return x[(*(slice(None),) * axis, slice(start, stop, step))]


def _blocks(x: Tensor, axis: int, size: int, count: int, whole: Whole) -> Tensor:
    """Reduce blocks that lie one behind the other along an axis."""
    x = _part(x, axis, 0, size * count)
    before, behind = x.shape[:axis], x.shape[axis + 1 :]
    x = x.reshape(*before, count, size, *behind)
    if behind:
        return whole(x, axis + 1)
    # In front, the axis of a block leaves neighbours in memory to neighbours in a row.
    front = permute_dims(x, (axis + 1, *range(axis + 1)))
    return whole(front, 0)


def _entries(x: Tensor, axis: int, windows: _Windows) -> list[Tensor]:
    """Return the first entry of every window, the second of every window, …"""
    over = (windows.count - 1) * windows.stride + 1
    starts = range(0, windows.size * windows.dilation, windows.dilation)
    return [_part(x, axis, i, i + over, windows.stride) for i in starts]


def _adapted(x: Tensor, output_size: Sizes, whole: Whole) -> Tensor:
    space = _space(x, output_size)
    check_images(x, space)
    sizes = per_axis("output_size", output_size, space)
    if 0 in x.shape[2:]:
        raise ShapeError(f"there is nothing to pool in {x.type}")
    for axis in range(2, x.ndim):
        n, count = x.shape[axis], sizes[axis - 2]
        if n % count == 0:
            x = _blocks(x, axis, n // count, count, whole)
            continue
        starts = [i * n // count for i in range(count)]
        stops = [-(-(i + 1) * n // count) for i in range(count)]
        parts = [whole(_part(x, axis, *ends), axis) for ends in zip(starts, stops)]
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        x = concat([each.reshape(shape) for each in parts], axis)
    return x
