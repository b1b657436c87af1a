"""Augmentation: in training each image is changed at random, anew in every step.

Images are `[batch, channels, height, width]`. The amounts come from the next key, as
a dropout mask does, so they are part of the graph, the same on every engine, and
drawn again in a replay of the step. Out of training images pass unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, message
from pellucid.functional.array import exp, floor, minimum, round, sqrt, where
from pellucid.functional.augment import crop_each, erase_each, flip_each, rotate_each
from pellucid.functional.padding import check_padding, pad
from pellucid.functional.windows import Sizes, check_images, per_axis
from pellucid.ir.types import Shape
from pellucid.nn.module import Module
from pellucid.random import bernoulli, next_key, uniform
from pellucid.tensors import Tensor

__all__ = [
    "Augmentation",
    "Cutout",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "RandomVerticalFlip",
]

Draws: TypeAlias = tuple[Tensor, ...]


class Augmentation(Module):
    """A layer that changes images in training only, each by amounts of its own.

    A subclass says what it draws and what it does with it.
    """

    transparent = True

    def draw(self, shape: Shape) -> Draws:
        """Draw the amounts for images of a shape, each `[batch]`."""
        raise NotImplementedError(f"{type(self).__name__} has no draw()")

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the images changed by amounts that were drawn."""
        raise NotImplementedError(f"{type(self).__name__} has no change()")

    def rest(self, x: Tensor) -> Tensor:
        """Return what becomes of images out of training: themselves."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the images, in training changed at random."""
        check_images(x, 2)
        return self.change(x, *self.draw(x.shape)) if self.training else self.rest(x)


def _share(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"p must be between 0 and 1, not {p!r}")
    return p


def _below(count: Tensor | float, n: int) -> Tensor:
    """Draw whole numbers from 0 up to but not `count`, i32 `[n]`."""
    # The largest number drawn is 1 − 2⁻²⁴: times a count it rounds to below it.
    return floor(uniform(next_key(), (n,), "f32") * count).astype("i32")


def _between(low: float, high: float, n: int) -> Tensor:
    return uniform(next_key(), (n,), "f32") * (high - low) + low


class RandomHorizontalFlip(Augmentation):
    """Mirrors an image, left for right, with probability p.

    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1)(np.array([[[[1, 2, 3]]]])).value.tolist()
    [[[[3, 2, 1]]]]
    """

    axis = -1

    def __init__(self, p: float = 0.5) -> None:
        self.p = _share(p)

    def draw(self, shape: Shape) -> Draws:
        """Draw which images are mirrored, bool."""
        return (bernoulli(next_key(), self.p, shape[:1]),)

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the images with the chosen ones mirrored."""
        (chosen,) = amounts
        return flip_each(x, chosen, self.axis)


class RandomVerticalFlip(RandomHorizontalFlip):
    """Turns an image upside down, mirrored, with probability p."""

    axis = -2


class RandomCrop(Augmentation):
    """Takes a window of the image, padded first, at a random place.

    Out of training the window is the middle one.

    Args:
        size: height and width of the window, or one number for both.
        padding: rows above and below and columns at both sides, or one number.
        fill: the value of padding with `zeros`.
        padding_mode: `zeros`, `reflect`, `replicate` or `circular`.

    >>> import numpy as np
    >>> crop = RandomCrop(28, padding=2)
    >>> x = np.zeros((5, 1, 28, 28), np.float32)
    >>> crop(x).shape, bool((crop.eval()(x).value == x).all())
    ((5, 1, 28, 28), True)
    """

    def __init__(
        self,
        size: Sizes,
        padding: Sizes = 0,
        fill: float = 0.0,
        padding_mode: str = "zeros",
    ) -> None:
        check_padding(padding_mode)
        self._size = per_axis("size", size, 2)
        self._padding = per_axis("padding", padding, 2, least=0)
        self._fill, self._mode = fill, padding_mode

    def window(self, shape: Shape) -> tuple[int, int]:
        """Return the window's height and width for images of a shape."""
        return self._size[0], self._size[1]

    def _room(self, shape: Shape) -> tuple[int, int]:
        """Return in how many places the window fits, down and across."""
        height, width = self.window(shape)
        down = shape[2] + 2 * self._padding[0] - height + 1
        across = shape[3] + 2 * self._padding[1] - width + 1
        return max(down, 1), max(across, 1)

    def draw(self, shape: Shape) -> Draws:
        """Draw the rows above the window, and the columns to the left, i32."""
        down, across = self._room(shape)
        return _below(float(down), shape[0]), _below(float(across), shape[0])

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the windows."""
        top, left = amounts
        return crop_each(self._padded(x), top, left, self.window(x.shape))

    def rest(self, x: Tensor) -> Tensor:
        """Return the window in the middle; all of the image where it has its size."""
        height, width = self.window(x.shape)
        if (height, width) == x.shape[2:]:
            return x
        down, across = ((room - 1) // 2 for room in self._room(x.shape))
        top, left = np.full(x.shape[0], down), np.full(x.shape[0], across)
        return crop_each(self._padded(x), top, left, (height, width))

    def _padded(self, x: Tensor) -> Tensor:
        if not any(self._padding):
            return x
        return pad(x, [(n, n) for n in self._padding], self._mode, self._fill)


class RandomShift(RandomCrop):
    """Moves an image by up to so many whole pixels, up or down and to either side.

    Args:
        pixels: the most, for both directions or down and across.
        fill, padding_mode: what comes in at the edge, as for `RandomCrop`.

    >>> import numpy as np
    >>> RandomShift(2)(np.zeros((5, 3, 16, 24), np.float32)).shape
    (5, 3, 16, 24)
    """

    def __init__(
        self, pixels: Sizes, fill: float = 0.0, padding_mode: str = "zeros"
    ) -> None:
        super().__init__(1, per_axis("pixels", pixels, 2, least=0), fill, padding_mode)

    def window(self, shape: Shape) -> tuple[int, int]:
        """Return the image's own height and width."""
        return shape[2], shape[3]


class RandomRotation(Augmentation):
    """Turns an image around its centre by a random angle, between its pixels' values.

    Args:
        degrees: the largest angle to either side, or the two ends of the range;
            counter-clockwise is positive.
        fill: what comes in at the corners with `zeros`.
        padding_mode: `zeros`, or `replicate`, which repeats the edge.

    >>> import numpy as np
    >>> RandomRotation(10)(np.ones((5, 3, 16, 16), np.float32)).shape
    (5, 3, 16, 16)
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        fill: float = 0.0,
        padding_mode: str = "zeros",
    ) -> None:
        ends = degrees if isinstance(degrees, Sequence) else (-degrees, degrees)
        if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] > ends[1]:
            raise ArgumentError(
                message(
                    f"degrees={degrees!r}",
                    expected="expected an angle from 0, or the lower and the upper end",
                )
            )
        self._low, self._high = (float(each) for each in ends)
        self._fill, self._mode = fill, padding_mode

    def draw(self, shape: Shape) -> Draws:
        """Draw the angles in degrees, f32."""
        return (_between(self._low, self._high, shape[0]),)

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the images turned by the angles."""
        (degrees,) = amounts
        return rotate_each(x, degrees, self._mode, self._fill)


class Cutout(Augmentation):
    """Sets a square to a value, around a random pixel; it may reach over the edge.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural
    networks with cutout" (2017).

    Args:
        size: height and width of the square, or one number for both.
        value: what it is set to.
    """

    def __init__(self, size: Sizes, value: float = 0.0) -> None:
        self._size, self._value = per_axis("size", size, 2), value

    def draw(self, shape: Shape) -> Draws:
        """Draw the square's upper row and left column, i32; they may be negative."""
        (n, _, height, width), (down, across) = shape, self._size
        top, left = _below(float(height), n), _below(float(width), n)
        return top - down // 2, left - across // 2

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the images with their squares erased."""
        top, left = amounts
        height, width = (np.full(x.shape[0], each) for each in self._size)
        return erase_each(x, top, left, height, width, self._value)


class RandomErasing(Augmentation):
    """Sets a rectangle of random size and shape to a value, with probability p.

    Source: Zhong et al., "Random erasing data augmentation" (2017). A rectangle that
    is longer than the image is cut to it, not drawn again.

    Args:
        p: how many of the images.
        scale: the least and the largest share of the area.
        ratio: the least and the largest height in widths.
        value: what the rectangle is set to.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        for name, ends, most in (("scale", scale, 1.0), ("ratio", ratio, math.inf)):
            if len(ends) != 2 or not 0 < ends[0] <= ends[1] <= most:
                limit = "" if most == math.inf else f", at most {most:g}"
                raise ArgumentError(
                    message(
                        f"{name}={ends!r}",
                        expected=f"expected two rising numbers above 0{limit}",
                    )
                )
        self.p, self._value = _share(p), value
        self._scale = scale[0], scale[1]
        self._slope = math.log(ratio[0]), math.log(ratio[1])

    def draw(self, shape: Shape) -> Draws:
        """Draw top, left, height and width of the rectangles, i32; 0 × 0 for none."""
        n, _, rows, columns = shape
        chosen = bernoulli(next_key(), self.p, (n,))
        area = _between(*self._scale, n) * (rows * columns)
        slope = exp(_between(*self._slope, n))
        height = minimum(round(sqrt(area * slope)), float(rows))
        width = minimum(round(sqrt(area / slope)), float(columns))
        top, left = _below(rows + 1.0 - height, n), _below(columns + 1.0 - width, n)
        sides = [where(chosen, side, 0.0).astype("i32") for side in (height, width)]
        return (top, left, *sides)

    def change(self, x: Tensor, *amounts: Tensor) -> Tensor:
        """Return the images with their rectangles erased."""
        top, left, height, width = amounts
        return erase_each(x, top, left, height, width, self._value)
