"""What convolution and pooling share: settings an axis, and the shape of images.

Knows `[batch, channels, space…]` and how windows step over the axes of space.
Refuses to know what is computed in a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.tensors import Tensor

__all__ = ["Sizes", "check_images", "per_axis", "reach", "whole"]

Sizes: TypeAlias = int | Sequence[int]
"""One whole number for every axis of space, or one each."""

_SPACE = {1: "length", 2: "height, width", 3: "depth, height, width"}


def whole(value: object, least: int = 0) -> bool:
    """Return whether a value is a whole number of at least `least`."""
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return number and bool(value >= least)  # type: ignore[operator]


def per_axis(name: str, value: Sizes, axes: int, least: int = 1) -> tuple[int, ...]:
    """Return a setting for each axis of space; one number stands for all.

    >>> per_axis("stride", 2, 3), per_axis("stride", (1, 2), 2)
    ((2, 2, 2), (1, 2))
    """
    sizes: tuple[Any, ...]
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(sizes) != axes or not all(whole(each, least) for each in sizes):
        each = "" if axes == 1 else f", or {axes} of them"
        raise ArgumentError(
            f"{name} must be a whole number ≥ {least}{each}, not {value!r}"
        )
    return tuple(int(each) for each in sizes)


def reach(size: int, dilation: int) -> int:
    """Return how many entries a window covers that reads every `dilation`-th."""
    return (size - 1) * dilation + 1 if size else 0


def check_images(x: Tensor, space: int, channels: int | None = None) -> None:
    """Raise `ShapeError` unless x is `[batch, channels, space…]`."""
    names = f"[batch, channels, {_SPACE.get(space, 'space…')}]"
    if x.ndim != space + 2:
        raise ShapeError(
            message(
                f"got {x.ndim} axes, expected {space + 2}: {names}",
                hint=_missing_axis(x, space, channels),
            )
        )
    if channels is not None and x.shape[1] != channels:
        order = (0, space + 1, *range(1, space + 1))
        last = f"channels last? try permute_dims(x, {order})"
        raise ShapeError(
            message(
                f"got {x.shape[1]} channels, expected {channels}",
                hint=last
                if x.shape[-1] == channels
                else "check the axis of channels, the second, or the layer's channels",
            )
        )


def _missing_axis(x: Tensor, space: int, channels: int | None) -> str:
    """Return what to try where an axis is missing."""
    if x.ndim == space + 1:
        if channels == 1:
            return "try x[:, None]"
        if channels is not None:
            return "try x[None] for a single image"
        return "try x[:, None] for one channel, x[None] for a single image"
    if x.ndim == 2 and channels is not None:
        side = round((x.shape[1] / channels) ** (1 / space))
        if side**space * channels == x.shape[1]:
            shape = ", ".join(map(str, (-1, channels, *[side] * space)))
            return f"flat rows? try x.reshape({shape})"
    return ""
