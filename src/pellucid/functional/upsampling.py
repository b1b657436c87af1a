"""Upsampling: images brought to another size, the nearest entries or a line between.

Each axis is treated alone. Where an entry of the result stands among those of x:

    nearest                  ⌊i · ratio⌋
    linear                   (i + ½) · ratio − ½, but not before the first
    linear, corners aligned  i · (n − 1) / (m − 1): the first and the last stay

for entry i of m, made of n. The ratio is 1 / scale factor, or n / m where a size was
asked for. Whatever the factor, an axis that keeps its size keeps its entries, and of
twice its size the nearest are each of them twice. These are PyTorch's places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional.array import floating
from pellucid.functional.layout import broadcast_to
from pellucid.functional.windows import Sizes, check_images, per_axis
from pellucid.ir.graph import Array
from pellucid.tensors import Tensor, TensorLike, as_tensor, take, tensor

__all__ = ["upsample"]

Factors: TypeAlias = float | Sequence[float]
"""One factor for every axis of space, or one each."""

MODES = {"nearest": 0, "linear": 1, "bilinear": 2, "trilinear": 3}
"""How entries are made, and for how many axes of space; 0: any number."""


@dataclass(frozen=True)
class Resizing:
    """What is asked for, checked: a size or a factor, a mode."""

    scale_factor: Factors | None = None
    size: Sizes | None = None
    mode: str = "nearest"
    align_corners: bool | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            hint = did_you_mean(self.mode, MODES)
            raise ArgumentError(message(f"no mode {self.mode!r}", hint=hint))
        if (self.scale_factor is None) == (self.size is None):
            raise ArgumentError(
                f"size={self.size!r} and scale_factor={self.scale_factor!r}: give one "
                "of them"
            )
        if self.align_corners is not None and self.mode == "nearest":
            raise ArgumentError(
                message(
                    "align_corners says nothing of mode='nearest'",
                    hint="leave it out, or choose mode='linear', 'bilinear' or "
                    "'trilinear'",
                )
            )
        if self.size is not None:
            axes = len(self.size) if isinstance(self.size, Sequence) else 1
            per_axis("size", self.size, axes)
        for each in self._factors(1):
            if not 0 < each < math.inf:
                raise ArgumentError(
                    f"scale_factor must be above 0, not {self.scale_factor!r}"
                )

    def _factors(self, space: int) -> tuple[float, ...]:
        given = self.scale_factor
        if given is None:
            return ()
        return tuple(given) if isinstance(given, Sequence) else (given,) * space

    def space(self, x: Tensor) -> int:
        """Return how many axes of space are meant: what comes one each tells it."""
        given = self.size if self.scale_factor is None else self.scale_factor
        if MODES[self.mode]:
            return MODES[self.mode]
        return len(given) if isinstance(given, Sequence) else max(1, x.ndim - 2)

    def targets(self, sizes: Sequence[int]) -> list[tuple[int, float]]:
        """Return the new size of each axis, and how far apart its entries lie."""
        if self.size is not None:
            wanted = per_axis("size", self.size, len(sizes))
            return [(m, n / m) for n, m in zip(sizes, wanted)]
        factors = self._factors(len(sizes))
        if len(factors) != len(sizes):
            raise ArgumentError(
                f"scale_factor must be one number, or {len(sizes)} of them, not "
                f"{self.scale_factor!r}"
            )
        return [(math.floor(n * k), 1 / k) for n, k in zip(sizes, factors)]


def upsample(
    x: TensorLike,
    scale_factor: Factors | None = None,
    size: Sizes | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Return images in another size.

    Args:
        x: `[batch, channels, space…]`.
        scale_factor: how much larger, one number or one for each axis of space; sizes
            are rounded down.
        size: the size, in the place of a factor.
        mode: `nearest` repeats entries. `linear`, `bilinear` and `trilinear`, for one,
            two and three axes of space, go from one to the next on a line.
        align_corners: whether the first and the last entry keep their places, else the
            edges of the image do.

    >>> upsample([[[1.0, 2.0]]], 2).value.tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    >>> upsample([[[1.0, 2.0]]], 2, mode="linear").value.tolist()
    [[[1.0, 1.25, 1.75, 2.0]]]
    >>> upsample([[[1.0, 3.0]]], size=3, mode="linear", align_corners=True).value[0, 0]
    array([1., 2., 3.], dtype=float32)
    """
    x, how = as_tensor(x), Resizing(scale_factor, size, mode, align_corners)
    _check(x, how)
    targets = how.targets(x.shape[2:])
    if 0 in x.shape[2:] or any(count < 1 for count, _ in targets):
        sizes = [count for count, _ in targets]
        raise ShapeError(f"{x.type} cannot be brought to the sizes {sizes}")
    if how.mode == "nearest" and all(
        count % n == 0 and ratio == n / count
        for n, (count, ratio) in zip(x.shape[2:], targets)
    ):
        return _repeated(x, [count for count, _ in targets])
    x = x if how.mode == "nearest" else floating(x)
    for axis, (count, ratio) in enumerate(targets, 2):
        if count == x.shape[axis]:
            continue
        if how.mode == "nearest":
            x = take(x, _nearest(x.shape[axis], count, ratio), axis)
        else:
            places = _places(x.shape[axis], count, ratio, bool(how.align_corners))
            x = _between(x, axis, places)
    return x


def _check(x: Tensor, how: Resizing) -> None:
    meant = next((mode for mode, k in MODES.items() if k and k == x.ndim - 2), "")
    if MODES[how.mode] and meant and meant != how.mode:
        raise ShapeError(
            message(
                f"mode={how.mode!r} of {x.type}",
                expected=f"expected {MODES[how.mode]} axes of space",
                hint=f"for {x.ndim - 2} of them take mode={meant!r}",
            )
        )
    check_images(x, how.space(x))


def _repeated(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return each entry as often as the sizes, which it divides, ask for."""
    old = x.shape[2:]
    apart = [size for n in old for size in (n, 1)]
    wide = [size for n, m in zip(old, sizes) for size in (n, m // n)]
    spread = broadcast_to(x.reshape(*x.shape[:2], *apart), (*x.shape[:2], *wide))
    return spread.reshape(*x.shape[:2], *sizes)


def _nearest(n: int, count: int, ratio: float) -> Array:
    """Return which of n entries stands at each place; in f32, as in PyTorch."""
    ratio = 0.5 if count == 2 * n else ratio
    at = np.floor(np.arange(count, dtype=np.float32) * np.float32(ratio))
    found: Array = np.minimum(at, n - 1).astype(np.int32)
    return found


def _places(n: int, count: int, ratio: float, corners: bool) -> Array:
    """Return where each entry of the result lies among n, from 0 to n − 1."""
    numbers = np.arange(count, dtype=np.float64)
    if corners:
        return numbers * ((n - 1) / max(count - 1, 1))
    found: Array = np.clip((numbers + 0.5) * ratio - 0.5, 0.0, n - 1)
    return found


def _between(x: Tensor, axis: int, places: Array) -> Tensor:
    """Return x along an axis at places between its entries, on lines."""
    low = np.floor(places).astype(np.int32)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    share = tensor((places - low).astype(x.dtype).reshape(shape))
    return take(x, low, axis) * (1.0 - share) + take(x, high, axis) * share
