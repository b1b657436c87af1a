"""Images changed by known amounts, one amount for each image of a batch.

These are what augmentation does once its amounts are drawn; `nn` draws them. Images
are `[n, channels, height, width]` of any dtype, an amount is `[n]`.
"""

from __future__ import annotations

import math

from pellucid.configuration import current
from pellucid.dtypes import is_float
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional.array import clip, cos, floor, minimum, sin, where
from pellucid.functional.layout import arange, flip
from pellucid.functional.padding import pad
from pellucid.functional.windows import check_images
from pellucid.tensors import Tensor, TensorLike, as_tensor, take, tensor

__all__ = ["crop_each", "erase_each", "flip_each", "rotate_each"]


def flip_each(x: TensorLike, chosen: TensorLike, axis: int = -1) -> Tensor:
    """Return images of which the chosen ones, bool `[n]`, are mirrored along an axis.

    >>> flip_each([[[[1, 2]]], [[[3, 4]]]], [True, False]).value[:, 0, 0].tolist()
    [[2, 1], [3, 4]]
    """
    x = _images(x)
    return where(_amounts(chosen, x).reshape(-1, 1, 1, 1), flip(x, axis), x)


def crop_each(
    x: TensorLike, top: TensorLike, left: TensorLike, size: tuple[int, int]
) -> Tensor:
    """Return a window of each image, `[n, channels, *size]`.

    `top` and `left`, whole numbers `[n]`, are the rows above it and the columns to
    the left of it. It must lie inside; `pad` makes room.

    >>> crop_each([[[[1, 2, 3]]], [[[4, 5, 6]]]], [0, 0], [0, 1], (1, 2)).value.tolist()
    [[[[1, 2]]], [[[5, 6]]]]
    """
    x = _images(x)
    if size[0] > x.shape[2] or size[1] > x.shape[3]:
        raise ShapeError(
            message(
                f"got images of {x.shape[2]}×{x.shape[3]}",
                expected=f"expected at least {size[0]}×{size[1]}, the window's size",
                hint="pad the images, or take a smaller window",
            )
        )
    rows = _starts("row", top, x, size[0]) + _numbers(size[0], -2)
    columns = _starts("column", left, x, size[1]) + _numbers(size[1], -1)
    return _pixels(x, rows, columns)


def rotate_each(
    x: TensorLike,
    degrees: TensorLike,
    padding_mode: str = "zeros",
    fill: float = 0.0,
) -> Tensor:
    """Return images turned counter-clockwise around their centre, each by its angle.

    A pixel is interpolated between the four around the place that it comes from.
    What comes from outside is `fill`, or with `padding_mode="replicate"` the nearest
    pixel of the edge. Whole numbers become floats.

    >>> rotate_each([[[[1.0, 2.0], [3.0, 4.0]]]], [90.0]).value[0, 0].round().tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    if padding_mode not in ("zeros", "replicate"):
        hint = did_you_mean(padding_mode, ("zeros", "replicate"))
        raise ArgumentError(
            message(f"no padding mode {padding_mode!r} for a rotation", hint=hint)
        )
    x = _images(x)
    if not is_float(x.dtype):
        x = x.astype(current().dtype)
    rows, columns = _turned(x, _amounts(degrees, x).astype(x.dtype))
    framed = pad(x, [(1, 1), (1, 1)], padding_mode, fill)
    (top, down), (left, right) = (
        _between(rows, x.shape[2]),
        _between(columns, x.shape[3]),
    )
    upper, lower = (
        _pixels(framed, each, left) * (1.0 - right[:, None])
        + _pixels(framed, each, left + 1) * right[:, None]
        for each in (top, top + 1)
    )
    return upper * (1.0 - down[:, None]) + lower * down[:, None]


def erase_each(
    x: TensorLike,
    top: TensorLike,
    left: TensorLike,
    height: TensorLike,
    width: TensorLike,
    value: float = 0.0,
) -> Tensor:
    """Return images with a rectangle of each set to a value.

    The rectangle's place and size are whole numbers `[n]`; what lies outside of the
    image changes nothing.

    >>> erase_each([[[[1, 2, 3]]]], [0], [1], [1], [9]).value.tolist()
    [[[[1, 0, 0]]]]
    """
    x = _images(x)
    inside = _within(x, 2, top, height) & _within(x, 3, left, width)
    return where(inside, tensor(value, x.dtype), x)


# --- helpers ---------------------------------------------------------------------


def _images(x: TensorLike) -> Tensor:
    found = as_tensor(x)
    check_images(found, 2)
    return found


def _amounts(given: TensorLike, x: Tensor) -> Tensor:
    found = as_tensor(given)
    if found.shape != x.shape[:1]:
        raise ShapeError(
            message(
                f"got amounts {found.type} for images {x.type}",
                expected=f"expected one for each of {x.shape[0]} images",
            )
        )
    return found


def _starts(name: str, given: TensorLike, x: Tensor, size: int) -> Tensor:
    """Return where the windows begin, `[n, 1, 1]`; where known, inside of the image."""
    first = _amounts(given, x).astype("i32")
    last = x.shape[2 if name == "row" else 3] - size
    if first.has_value and not ((first.value >= 0) & (first.value <= last)).all():
        outside = (first.value < 0) | (first.value > last)
        image = int(outside.argmax())
        raise ArgumentError(
            message(
                f"the window of image {image} begins at {name} {first.value[image]}",
                expected=f"expected 0 to {last}, so that it lies inside",
                hint="pad the images, or take a smaller window",
            )
        )
    return first.reshape(-1, 1, 1)


def _numbers(count: int, axis: int) -> Tensor:
    """Return 0, 1, … along the last axis but one, or the last, of `[1, …, …]`."""
    return arange(count, dtype="i32").reshape(
        (1, count, 1) if axis == -2 else (1, 1, count)
    )


def _pixels(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return x at rows and columns, i32, that broadcast to `[n, height, width]`."""
    n, channels, height, width = x.shape
    planes = (arange(n * channels, dtype="i32") * (height * width)).reshape(
        n, channels, 1, 1
    )
    places = planes + (rows * width + columns)[:, None]
    return take(x.reshape(-1), places)


def _turned(x: Tensor, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and the column, `[n, height, width]`, that each pixel comes from.

    Source: the inverse of a rotation is the rotation by the opposite angle.
    """
    angle = (degrees * (math.pi / 180)).reshape(-1, 1, 1)
    height, width = x.shape[2:]
    down = _numbers(height, -2).astype(x.dtype) - (height - 1) / 2
    right = _numbers(width, -1).astype(x.dtype) - (width - 1) / 2
    rows = right * sin(angle) + down * cos(angle) + (height - 1) / 2
    columns = right * cos(angle) - down * sin(angle) + (width - 1) / 2
    return rows, columns


def _between(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the pixel before each place in a frame of one pixel, and how far behind.

    A place beyond the frame is brought onto it.
    """
    inside = clip(places, -1.0, float(size))
    before = minimum(floor(inside), size - 1.0)
    return before.astype("i32") + 1, inside - before


def _within(x: Tensor, axis: int, start: TensorLike, length: TensorLike) -> Tensor:
    """Tell which rows, or columns, lie within a stretch of each image."""
    shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
    first = _amounts(start, x).astype("i32").reshape(-1, 1, 1, 1)
    count = _amounts(length, x).astype("i32").reshape(-1, 1, 1, 1)
    numbers = arange(x.shape[axis], dtype="i32").reshape(shape)
    return (numbers >= first) & (numbers < first + count)
