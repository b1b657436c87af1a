"""Padding: what stands around an image, by PyTorch's names for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional.layout import broadcast_to, concat, flip
from pellucid.functional.windows import whole
from pellucid.tensors import Tensor, TensorLike, apply, as_tensor, tensor

__all__ = ["PADDINGS", "pad"]


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x[(*(slice(None),) * axis, slice(start, stop))]


def _mirrored(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    last = x.shape[axis] - 1
    parts = _part(x, axis, 1, low + 1), _part(x, axis, last - high, last)
    return flip(parts[0], axis), flip(parts[1], axis)


def _repeated(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    n = x.shape[axis]
    ends = (_part(x, axis, 0, 1), low), (_part(x, axis, n - 1, n), high)
    front, back = (
        broadcast_to(end, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
        for end, size in ends
    )
    return front, back


def _wrapped(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    n = x.shape[axis]
    return _part(x, axis, n - low, n), _part(x, axis, 0, high)


_Edges = Callable[[Tensor, int, int, int], tuple[Tensor, Tensor]]

_EDGES: dict[str, tuple[_Edges, Callable[[int], float]]] = {
    "reflect": (_mirrored, lambda n: max(0, n - 1)),
    "replicate": (_repeated, lambda n: math.inf if n else 0),
    "circular": (_wrapped, lambda n: n),
}
"""What stands before and behind an axis, and the most of it that an axis gives."""

PADDINGS = ("zeros", *_EDGES)
"""What can stand around an image."""


def pad(
    x: TensorLike,
    widths: Sequence[tuple[int, int]],
    mode: str = "zeros",
    value: float = 0.0,
) -> Tensor:
    """Return x with entries put before and behind its last axes.

    Args:
        x: a tensor.
        widths: (before, behind) of each of the last axes.
        mode: `zeros` puts `value`; `reflect` mirrors x at its edge, which is not
            repeated; `replicate` repeats the edge; `circular` goes round.
        value: what `zeros` puts.

    Raises:
        ShapeError: an axis is too short to be mirrored or wrapped so far.

    >>> pad([1, 2, 3], [(2, 1)], mode="reflect").value.tolist()
    [3, 2, 1, 2, 3, 2]
    """
    x = as_tensor(x)
    check_padding(mode)
    first = x.ndim - len(widths)
    if first < 0 or not all(whole(each) for pair in widths for each in pair):
        raise ArgumentError(
            f"widths are pairs of whole numbers ≥ 0 of axes of {x.type}, not {widths}"
        )
    if not widths:
        return x
    if mode == "zeros":
        low, high = zip(*[(0, 0)] * first, *widths)
        number = tensor(value, x.dtype)
        return apply("pad", x, number, low=low, high=high, interior=(0,) * x.ndim)
    for axis, (before, behind) in enumerate(widths, first):
        x = _grown(x, axis, before, behind, mode)
    return x


def check_padding(mode: str) -> None:
    """Raise `ArgumentError` unless it is the name of a padding."""
    if mode not in PADDINGS:
        raise ArgumentError(
            message(f"no padding mode {mode!r}", hint=did_you_mean(mode, PADDINGS))
        )


def _grown(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    edges, most = _EDGES[mode]
    limit = most(x.shape[axis])
    if max(low, high) > limit:
        raise ShapeError(
            message(
                f"{mode} padding of {max(low, high)} along axis {axis} of {x.type}",
                expected=f"expected at most {limit}",
                hint="pad with zeros, or less",
            )
        )
    front, back = edges(x, axis, low, high)
    return concat([each for each in (front, x, back) if each.shape[axis]], axis)
