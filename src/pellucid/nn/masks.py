"""Which steps of padded sequences count: from a mask, or from their lengths."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import expand_dims
from pellucid.ir.graph import Array
from pellucid.nn.checks import place_of, verify
from pellucid.tensors import Tensor, as_tensor, tensor

__all__ = ["steps_that_count"]


def steps_that_count(
    mask: Any, lengths: Any, time: int, batch: int, alone: bool = False
) -> Tensor | None:
    """Return which steps count, `bool[time, batch]`; None where all of them do.

    Args:
        mask: truth values `[batch, time]`, or numbers that are not 0 where it holds.
        lengths: how many steps count from the first on, whole numbers `[batch]`.
        time, batch: the sizes of the sequences.
        alone: whether one sequence came without an axis of the batch.

    It is checked that each sequence has a step that counts.

    >>> steps_that_count(None, [2, 1], time=2, batch=2).value.tolist()
    [[True, True], [True, False]]
    """
    if mask is not None and lengths is not None:
        raise ArgumentError("got a mask and lengths: one of them says it all")
    if mask is not None:
        real = _from_mask(as_tensor(mask), (time,) if alone else (batch, time))
    elif lengths is not None:
        real = _from_lengths(as_tensor(lengths), time, () if alone else (batch,))
    else:
        return None
    return real.reshape(batch, time).T


def _from_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    axes = "[batch, time]" if len(shape) == 2 else "[time]"
    if mask.shape != shape:
        raise ShapeError(
            message(
                f"the mask is {mask.type}", expected=f"expected {axes} = {[*shape]}"
            )
        )
    real = mask if mask.dtype.kind == "b" else mask != 0
    verify(real, _check_steps)
    return real


def _check_steps(real: Array, first: int) -> None:
    hidden = ~real.any(-1)
    if hidden.any():
        raise ArgumentError(
            message(
                "the mask hides every step of a sequence",
                where=place_of(np.argwhere(hidden)[0], first),
                expected="expected a step that counts in each",
                hint="True marks what counts: try ~mask; or drop empty sequences",
            )
        )


def _from_lengths(lengths: Tensor, time: int, shape: tuple[int, ...]) -> Tensor:
    if lengths.shape != shape:
        raise ShapeError(
            message(
                f"the lengths are {lengths.type}",
                expected=f"expected one for each sequence: {[*shape]}",
            )
        )
    verify(lengths, partial(_check_lengths, time=time))
    steps = tensor(np.arange(time, dtype=np.int64))
    return steps < expand_dims(lengths.reshape(-1), 1)


def _check_lengths(lengths: Array, first: int, time: int) -> None:
    wrong = (lengths < 1) | (lengths > time) | (lengths != np.floor(lengths))
    if wrong.any():
        raise ArgumentError(
            message(
                f"a sequence is said to have length {lengths[wrong].flat[0]}",
                where=place_of(np.argwhere(wrong)[0], first),
                expected=f"expected 1 to {time}, the steps of the input",
                hint="drop empty sequences",
            )
        )
