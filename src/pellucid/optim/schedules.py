"""Learning rates as functions of the step, made of gates so that they compile.

A schedule takes the number of the step, 0 at the first, and returns the rate. A
floating-point step gives a rate of its dtype; an integer one, the configured dtype.
Steps are iterations, not epochs: an epoch has `rows / batch_size` of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from pellucid.configuration import current
from pellucid.dtypes import is_float
from pellucid.errors import ArgumentError, message
from pellucid.optim.arguments import check, described
from pellucid.tensors import Tensor, TensorLike, apply, as_tensor, meet

__all__ = [
    "Constant",
    "Cosine",
    "ExponentialDecay",
    "InverseTime",
    "OneCycle",
    "Rate",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "as_schedule",
]


@dataclass(frozen=True)
class Schedule(ABC):
    """From the step to the rate. A subclass is a frozen dataclass with a `rate`.

    >>> round(Cosine(0.1, steps=100)(50).item(), 4)
    0.05
    """

    def __post_init__(self) -> None:
        check(type(self).__name__, self._arguments())

    def __call__(self, step: TensorLike) -> Tensor:
        """Return the rate at a step."""
        at = as_tensor(step)
        return self.rate(at if is_float(at.dtype) else at.astype(current().dtype))

    def at(self, step: int) -> float:
        """Return the rate at a step as a number.

        >>> Constant(0.1).at(3)
        0.1
        """
        return float(self(np.float64(step)))

    @abstractmethod
    def rate(self, step: Tensor) -> Tensor:
        """Return the rate at a step of floating-point dtype, in that dtype."""

    @property
    def spec(self) -> dict[str, Any]:
        """A name and arguments, as JSON can hold them."""
        return {"name": type(self).__name__, **described(self._arguments())}

    def _arguments(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


Rate: TypeAlias = float | Schedule
"""A learning rate: a number, or a schedule."""


def as_schedule(lr: Rate) -> Schedule:
    """Return a schedule as it is, and a number as a constant one.

    >>> as_schedule(0.1)
    Constant(lr=0.1)
    """
    if isinstance(lr, Schedule):
        return lr
    if callable(lr):
        raise ArgumentError(
            message(
                f"{lr!r} is not a schedule",
                hint="derive a frozen dataclass from Schedule and give it a rate()",
            )
        )
    return Constant(lr)


def _minimum(x: TensorLike, y: TensorLike) -> Tensor:
    return apply("minimum", *meet(x, y))


def _maximum(x: TensorLike, y: TensorLike) -> Tensor:
    return apply("maximum", *meet(x, y))


def _half_cosine(start: float, end: float, part: Tensor) -> Tensor:
    """From `start` at part 0 to `end` at part 1 along half a wave."""
    return end + (start - end) * (0.5 * (1.0 + apply("cos", math.pi * part)))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step."""

    lr: float

    def rate(self, step: Tensor) -> Tensor:
        """Return lr."""
        return as_tensor(float(self.lr), like=step)

    def at(self, step: int) -> float:
        """Return lr: no tensor is needed."""
        return float(self.lr)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """lr · factor^⌊step / every⌋: a drop every so many steps.

    Equals PyTorch's `StepLR` and optax's `exponential_decay(…, staircase=True)`.
    """

    lr: float
    every: int
    factor: float = 0.1

    def rate(self, step: Tensor) -> Tensor:
        """Return lr · factor^⌊step / every⌋."""
        return self.lr * self.factor ** apply("floor", step / self.every)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """lr · factor^(step / every): the same share lost at each step.

    Equals optax's `exponential_decay`.
    """

    lr: float
    factor: float
    every: int = 1

    def rate(self, step: Tensor) -> Tensor:
        """Return lr · factor^(step / every)."""
        return self.lr * self.factor ** (step / self.every)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """lr / (1 + decay · step): 1/t decay.

    Source: Robbins & Monro, "A Stochastic Approximation Method", 1951, whose
    conditions on the rates it meets.
    """

    lr: float
    decay: float

    def rate(self, step: Tensor) -> Tensor:
        """Return lr / (1 + decay · step)."""
        return self.lr / (1.0 + self.decay * step)


@dataclass(frozen=True)
class Cosine(Schedule):
    """final + (lr − final) · (1 + cos(π · step / steps)) / 2, then final.

    Equals optax's `cosine_decay_schedule` with `alpha = final / lr`. Source:
    Loshchilov & Hutter, "SGDR", https://arxiv.org/abs/1608.03983.
    """

    lr: float
    steps: int
    final: float = 0.0

    def rate(self, step: Tensor) -> Tensor:
        """Return the rate on the half wave, `final` behind it."""
        return _half_cosine(self.lr, self.final, _minimum(step / self.steps, 1.0))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """schedule(0) · (step + 1) / (steps + 1) for `steps` steps, then the schedule.

    The schedule counts from the end of the warm-up. The first rate is not 0, so no
    step is wasted. Source: Goyal et al., "Accurate, Large Minibatch SGD",
    https://arxiv.org/abs/1706.02677.

    >>> [round(WarmUp(0.4, steps=3)(i).item(), 3) for i in range(5)]
    [0.1, 0.2, 0.3, 0.4, 0.4]
    """

    schedule: Rate
    steps: int

    def rate(self, step: Tensor) -> Tensor:
        """Return the rising rate, then the schedule's."""
        after = as_schedule(self.schedule)(_maximum(step - self.steps, 0.0))
        return after * _minimum((step + 1.0) / (self.steps + 1), 1.0)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from lr / div_factor to lr, then down to a tiny rate, along half waves.

    The rise takes the share `pct_start` of the steps; the last rate is
    lr / (div_factor · final_div_factor). Equals optax's `cosine_onecycle_schedule`.
    Source: Smith & Topin, "Super-Convergence", https://arxiv.org/abs/1708.07120.
    """

    lr: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def rate(self, step: Tensor) -> Tensor:
        """Return the rate on the rising, then on the falling half wave."""
        first = self.lr / self.div_factor
        last = first / self.final_div_factor
        top = int(self.pct_start * self.steps)
        rise = _half_cosine(first, self.lr, _minimum(step / max(top, 1), 1.0))
        fall = (_maximum(step - top, 0.0)) / (self.steps - top)
        falling = _half_cosine(self.lr, last, _minimum(fall, 1.0))
        return apply("where", step < top, rise, falling)
