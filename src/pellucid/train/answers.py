"""Answers to questions that come one by one: what can be ready before, is.

A model that is asked for one row after the other spends its time on checks, look-ups
and new objects. Where the rows are an array of the model's own dtype, as many as last
time, and the weights are those of last time, the program is called at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from operator import attrgetter, is_
from typing import Any

import numpy as np

from pellucid.tensors import Parameter
from pellucid.train.columns import Data
from pellucid.train.programs import Programs
from pellucid.train.state import TrainState

__all__ = ["Answers"]

_MOST = 16
"""The most shapes for which a program is kept ready."""


_NOTHING: tuple[None, list[Any]] = None, []

_value = attrgetter("value")


class Answers:
    """The programs that are ready, by the shape of the rows, each with its weights."""

    def __init__(self, programs: Programs, leaves: Mapping[str, Parameter]) -> None:
        self._programs = programs
        self._leaves = list(leaves.values())
        self._ready: dict[tuple[int, ...], tuple[Callable[[Any], Any], list[Any]]] = {}

    def to(self, X: Any, dtype: Any) -> Any:
        """Return the model's output for some rows; None where nothing is ready."""
        if type(X) is not np.ndarray or X.dtype != dtype:
            return None
        answer, weights = self._ready.get(X.shape, _NOTHING)
        if answer is None:
            return None
        if not all(map(is_, map(_value, self._leaves), weights)):
            self._ready.clear()
            return None

        # What is not finite goes the long way, which says where it is. So do numbers
        # whose squares are too large; their answer is the same.
        return answer(X) if isfinite(np.vdot(X, X)) else None

    def prepare(self, X: Any, dtype: Any, state: TrainState, data: Data) -> None:
        """Be ready for more rows like these, if they are a plain array."""
        plain = type(X) is np.ndarray and X.dtype == dtype
        if not plain or len(self._ready) >= _MOST:
            return
        weights = [*state.params.values(), *state.buffers.values()]
        answer = self._programs.answering(state, data)
        if answer is not None:
            self._ready[X.shape] = answer, weights
