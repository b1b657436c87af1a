"""What an index means: the gates that carry it out, planned from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import ShapeError

__all__ = ["plan_index", "whole_shape"]

Step = tuple[str, dict[str, Any], Any]


def plan_index(shape: Sequence[int], index: Any) -> list[Step]:
    """Return the gates of `x[index]`: name, metadata, and indices for a gather.

    Integers, slices with any step, `None`, `...` and at most one array of
    integers, as in NumPy. An array counts from the front: no negative entries.

    >>> plan_index((4, 3), (slice(None), -1))
    [('slice', {'start': (0, 2), 'stop': (4, 3), 'step': (1, 1)}, None),
     ('reshape', {'shape': (4,)}, None)]
    """
    keys = _one_key_an_axis(shape, index if isinstance(index, tuple) else (index,))
    steps, sizes = _slices(shape, [key for key in keys if key is not None])
    target: list[int] = []
    gathers: list[tuple[int, Any]] = []
    left = iter(sizes)
    for key in keys:
        size = 1 if key is None else next(left)
        if isinstance(key, int | np.integer):
            continue
        if key is not None and not isinstance(key, slice):
            gathers.append((len(target), key))
        target.append(size)
    if len(gathers) > 1:
        raise ShapeError("one array of indices at most · use pellucid.take per axis")
    if gathers and _are_apart(keys):
        raise ShapeError(
            "an integer apart from an array of indices · index twice: "
            "NumPy would move the array's axes to the front"
        )
    if target != sizes:
        steps.append(("reshape", {"shape": tuple(target)}, None))
    steps.extend(("gather", {"axis": axis}, key) for axis, key in gathers)
    return steps


def _are_apart(keys: Sequence[Any]) -> bool:
    """Return whether another key stands between an integer and an array."""
    plain = slice | None
    advanced = [i for i, key in enumerate(keys) if not isinstance(key, plain)]
    return advanced[-1] - advanced[0] >= len(advanced)


def _one_key_an_axis(shape: Sequence[int], index: tuple[Any, ...]) -> list[Any]:
    if any(isinstance(each, bool | np.bool_) for each in index):
        raise ShapeError("a truth value is no index · use pellucid.where")
    used = sum(each is not None and each is not Ellipsis for each in index)
    if used > len(shape):
        raise ShapeError(f"{used} indices for shape {tuple(shape)}")
    if not any(each is Ellipsis for each in index):
        index = (*index, Ellipsis)
    at = next(i for i, each in enumerate(index) if each is Ellipsis)
    full = [slice(None)] * (len(shape) - used)
    return [*index[:at], *full, *index[at + 1 :]]


def _slices(shape: Sequence[int], keys: Sequence[Any]) -> tuple[list[Step], list[int]]:
    bounds, backward = [], []
    for axis, (key, size) in enumerate(zip(keys, shape)):
        entries = _entries(key, size, axis)
        if entries.step < 0:
            backward.append(axis)
            entries = entries[::-1]
        # Reversed, a range may stop beyond the axis: it ends behind its last entry.
        inside = (entries[0], entries[-1] + 1) if len(entries) else (0, 0)
        bounds.append((*inside, entries.step if len(entries) > 1 else 1))
    steps: list[Step] = []
    if any(bound != (0, size, 1) for bound, size in zip(bounds, shape)):
        begin, end, stride = zip(*bounds)
        steps.append(("slice", {"start": begin, "stop": end, "step": stride}, None))
    if backward:
        steps.append(("reverse", {"axes": tuple(backward)}, None))
    return steps, [len(range(*bound)) for bound in bounds]


def _entries(key: Any, size: int, axis: int) -> range:
    if isinstance(key, slice):
        return range(size)[key]
    if not isinstance(key, int | np.integer):
        return range(size)
    if not -size <= key < size:
        raise IndexError(f"index {key} is outside axis {axis} of size {size}")
    return range(int(key) % size, int(key) % size + 1)


def whole_shape(old: Sequence[int], new: Sequence[Any]) -> tuple[int, ...]:
    """Return a new shape for as many elements, its one −1 worked out.

    >>> whole_shape((2, 3), (-1, 2))
    (3, 2)
    """
    sizes = [int(size) for size in new]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(old) // rest if rest else 0
    return tuple(sizes)
