"""Answers to questions that come one by one: what can be ready before, is.

A model that is asked for one row after the other spends its time on checks, look-ups
and new objects. Where the rows are an array of the model's own dtype, as many as last
time, and the weights are those of last time, the program is called at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter, is_
from typing import Any

import numpy as np

from pellucid.memory import assignments
from pellucid.tensors import Parameter
from pellucid.train.columns import Data
from pellucid.train.programs import Programs
from pellucid.train.state import TrainState

__all__ = ["Answers"]

_MOST = 16
"""The most shapes for which a program is kept ready."""

_value = attrgetter("value")


class Answers:
    """The programs that are ready, by the shape of the rows, for weights that stay."""

    def __init__(self, programs: Programs, leaves: Mapping[str, Parameter]) -> None:
        self._programs = programs
        self._leaves = list(leaves.values())
        self._weights: list[Any] = []
        self._seen = -1
        self._ready: dict[tuple[int, ...], Callable[[Any], Any]] = {}

    def to(self, X: Any, dtype: Any) -> Any:
        """Return the model's output for some rows; None where nothing is ready.

        What is not finite has no answer here: the long way says where it is. So do
        numbers whose squares are too large; there they have one.
        """
        if type(X) is not np.ndarray or X.dtype != dtype:
            return None
        if self._seen != assignments.count and not self._are_there(self._weights):
            return None
        answer = self._ready.get(X.shape)
        return answer(X) if answer is not None else None

    def prepare(self, X: Any, dtype: Any, state: TrainState, data: Data) -> None:
        """Be ready for more rows like these, if they are a plain array."""
        if type(X) is not np.ndarray or X.dtype != dtype or len(self._ready) >= _MOST:
            return
        weights = [*state.params.values(), *state.buffers.values()]
        answer = self._programs.answering(state, data)
        if answer is not None and self._are_there(weights):
            self._ready[X.shape], self._weights = answer, weights

    def _are_there(self, weights: list[Any]) -> bool:
        """Return whether these are still the model's weights; if not, forget all."""
        seen = assignments.count
        if all(map(is_, map(_value, self._leaves), weights)) and weights:
            self._seen = seen
            return True
        self._ready.clear()
        return False
