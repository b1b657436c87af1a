"""Convolution and its transpose: one function each for any number of axes.

As everywhere in the field it is cross-correlation that is called convolution: the
kernel is not reversed. Both are one gate, `conv`, whose gradients are `conv` again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pellucid.dtypes import promote
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional.array import floating
from pellucid.functional.padding import check_padding, pad
from pellucid.functional.windows import Sizes, check_images, per_axis, reach, whole
from pellucid.tensors import Tensor, TensorLike, apply, as_tensor

__all__ = ["conv", "conv_transpose"]

Pairs = tuple[tuple[int, int], ...]


def conv(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Return the cross-correlation of images with kernels.

    y[n, o, i] = b[o] + Σ over c, k of w[o, c, k] · x[n, c, i · stride + k · dilation]

    Args:
        x: `[batch, channels, space…]`, one axis of space or more.
        weight: `[out, channels / groups, kernel…]`.
        bias: `[out]`, or None.
        stride: how far the window moves.
        padding: what is put around x, before and behind alike; `same` keeps the
            size (one more behind where it is odd), `valid` puts nothing.
        dilation: the distance of the entries that a window reads.
        groups: the channels are cut into so many groups, each with its own kernels.
        padding_mode: `zeros`, `reflect`, `replicate` or `circular`.

    Returns `[batch, out, space…]`, each size
    ⌊(size + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1.

    >>> conv([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]]).value.tolist()
    [[[-1.0, -1.0, -1.0]]]
    """
    x, w = _alike(x, weight)
    space = _space(w)
    check_groups(groups, out_channels=w.shape[0])
    check_images(x, space, w.shape[1] * groups)
    strides, dilations = check_steps(stride, dilation, space)
    widths = paddings(padding, w.shape[2:], strides, dilations)
    check_padding(padding_mode)
    if padding_mode != "zeros":
        x = pad(x, widths, padding_mode)
        widths = ((0, 0),) * space
    _check_fits(x, w.shape[2:], widths, dilations)
    low, high = zip(*widths)
    y = _correlate(x, w, strides, (low, high), (1,) * space, dilations, groups)
    return _with_bias(y, bias)


def conv_transpose(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Return the transpose of `conv`: each entry of x adds a scaled kernel to y.

    It is the gradient of `conv` with respect to its images, so with equal settings it
    goes from the shape that `conv` returns to the shape that it takes.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
    (2016).

    Args:
        x: `[batch, channels, space…]`.
        weight: `[channels, out / groups, kernel…]`.
        bias: `[out]`, or None.
        stride: how far apart in y the neighbours of x lie.
        padding: what is cut off around y, before and behind alike.
        output_padding: what y has more behind, less than the stride or the dilation.
        groups, dilation: as in `conv`.

    Returns `[batch, out, space…]`, each size (size − 1) stride − 2 padding
    + dilation (kernel − 1) + output_padding + 1.

    >>> conv_transpose([[[1.0, 2.0]]], [[[1.0, 3.0]]], stride=2).value.tolist()
    [[[1.0, 3.0, 2.0, 6.0]]]
    """
    x, w = _alike(x, weight)
    space = _space(w)
    check_groups(groups, in_channels=w.shape[0])
    check_images(x, space, w.shape[0])
    strides, dilations = check_steps(stride, dilation, space)
    cut = per_axis("padding", padding, space, least=0)
    more = check_output_padding(output_padding, strides, dilations)
    low = [reach(k, d) - 1 - each for k, d, each in zip(w.shape[2:], dilations, cut)]
    high = [each + extra for each, extra in zip(low, more)]
    turned = _turned(w, groups)
    y = _correlate(x, turned, (1,) * space, (low, high), strides, dilations, groups)
    if 0 in y.shape[2:] and 0 not in x.shape[2:]:
        raise ShapeError(
            message(f"nothing of the output is left by padding {cut}", hint="pad less")
        )
    return _with_bias(y, bias)


def _turned(w: Tensor, groups: int) -> Tensor:
    """Return kernels reversed, their two axes of channels exchanged in each group."""
    inner, outer, *kernel = w.shape
    flipped = apply("reverse", w, axes=tuple(range(2, w.ndim)))
    split = flipped.reshape(groups, inner // groups, outer, *kernel)
    swapped = apply("transpose", split, axes=(0, 2, 1, *range(3, w.ndim + 1)))
    return swapped.reshape(groups * outer, inner // groups, *kernel)


def _correlate(
    x: Tensor,
    w: Tensor,
    stride: Sequence[int],
    padding: tuple[Sequence[int], Sequence[int]],
    x_dilation: Sequence[int],
    w_dilation: Sequence[int],
    groups: int,
) -> Tensor:
    return apply(
        "conv",
        x,
        w,
        stride=tuple(stride),
        low=tuple(padding[0]),
        high=tuple(padding[1]),
        x_dilation=tuple(x_dilation),
        w_dilation=tuple(w_dilation),
        groups=groups,
    )


def _alike(x: TensorLike, weight: TensorLike) -> tuple[Tensor, Tensor]:
    x, w = as_tensor(x), floating(weight)
    dtype = promote(x.dtype, w.dtype)
    return x.astype(dtype), w.astype(dtype)


def _with_bias(y: Tensor, bias: TensorLike | None) -> Tensor:
    if bias is None:
        return y
    bias = as_tensor(bias)
    if bias.shape != y.shape[1:2]:
        raise ShapeError(f"the bias is {bias.type}, expected [{y.shape[1]}]")
    return y + bias.reshape(-1, *(1,) * (y.ndim - 2))


# --- settings --------------------------------------------------------------------


def check_groups(groups: int, **channels: int) -> None:
    """Raise `ArgumentError` unless channels divide into groups."""
    if not whole(groups, 1):
        raise ArgumentError(f"groups must be a whole number ≥ 1, not {groups!r}")
    for name, count in channels.items():
        if count % groups:
            most = math.gcd(*channels.values())
            fits = [n for n in range(1, most + 1) if most % n == 0]
            near = min(fits, key=lambda n: abs(n - groups))
            raise ArgumentError(
                message(
                    f"{name} {count} does not divide into {groups} groups",
                    hint=f"try groups={near}",
                )
            )


def check_steps(
    stride: Sizes, dilation: Sizes, space: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return stride and dilation of each axis."""
    return per_axis("stride", stride, space), per_axis("dilation", dilation, space)


def paddings(
    padding: Sizes | str,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Pairs:
    """Return what is put before and behind each axis."""
    if not isinstance(padding, str):
        sizes = per_axis("padding", padding, len(kernel), least=0)
        return tuple((each, each) for each in sizes)
    if padding not in ("same", "valid"):
        raise ArgumentError(
            f"padding is a whole number, 'same' or 'valid', not {padding!r}"
        )
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if any(each != 1 for each in stride):
        raise ArgumentError(
            message(
                f"padding='same' needs stride 1, not {tuple(stride)}",
                hint="give the padding as a number",
            )
        )
    totals = [reach(k, d) - 1 for k, d in zip(kernel, dilation)]
    return tuple((total // 2, total - total // 2) for total in totals)


def check_output_padding(
    output_padding: Sizes, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Return it for each axis: less than the stride or the dilation."""
    sizes = per_axis("output_padding", output_padding, len(stride), least=0)
    if any(each >= max(s, d) for each, s, d in zip(sizes, stride, dilation)):
        raise ArgumentError(
            f"output_padding must be less than the stride or the dilation, not {sizes}"
        )
    return sizes


def _space(w: Tensor) -> int:
    if w.ndim < 3:
        raise ShapeError(f"kernels are [out, channels, kernel…], not {w.type}")
    return w.ndim - 2


def _check_fits(
    x: Tensor, kernel: Sequence[int], widths: Pairs, dilation: Sequence[int]
) -> None:
    for axis, (k, (low, high), d) in enumerate(zip(kernel, widths, dilation), 2):
        padded = low + x.shape[axis] + high
        if reach(k, d) > padded:
            around = f" with padding {low + high}" if low + high else ""
            raise ShapeError(
                message(
                    f"the kernel reaches over {reach(k, d)} entries, axis {axis} of "
                    f"{x.type} has {padded}{around}",
                    hint="use a smaller kernel, more padding, or pool less before",
                )
            )
