"""What a row of the table says: how both are made, and how their inputs are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["TOLERANCE", "Draw", "OptimiserRow", "Options", "Row"]

Options: TypeAlias = dict[str, Any]
TOLERANCE = 1e-9
"""How far numbers may be apart, relative to the largest."""


class Draw:
    """Random numbers in the shapes that a configuration needs.

    >>> d = Draw(0)
    >>> d.normal(2, 3).shape, 1 <= d.whole(1, 4) <= 4
    ((2, 3), True)
    """

    def __init__(self, *seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def whole(self, low: int, high: int) -> int:
        """Return a whole number; both ends are possible."""
        return int(self.random.integers(low, high + 1))

    def wholes(self, count: int, low: int, high: int) -> tuple[int, ...]:
        """Return some whole numbers."""
        return tuple(self.whole(low, high) for _ in range(count))

    def coin(self) -> bool:
        """Return True half the time."""
        return bool(self.random.integers(2))

    def one_of(self, *choices: Any) -> Any:
        """Return one of the choices."""
        return choices[self.whole(0, len(choices) - 1)]

    def between(self, low: float, high: float) -> float:
        """Return a number."""
        return float(self.random.uniform(low, high))

    def normal(self, *shape: int) -> Any:
        """Return an array of normal numbers."""
        return self.random.standard_normal(shape)

    def uniform(self, *shape: int) -> Any:
        """Return an array of numbers from 0 to 1, apart from both."""
        return self.random.uniform(0.01, 0.99, shape)

    def below(self, limit: int, *shape: int) -> Any:
        """Return an array of whole numbers from 0."""
        return self.random.integers(0, limit, shape)


def _nothing(draw: Draw) -> Options:
    return {}


def _no_keywords(draw: Draw, options: Options, inputs: tuple[Any, ...]) -> Options:
    return {}


@dataclass(frozen=True)
class Row:
    """A layer, a function or a loss.

    `ours(**options)` and `theirs(**options)` each make something to call with the
    inputs and the keywords. By default they are the classes of that name (up to a
    comma) in both `nn`.
    """

    name: str
    inputs: Callable[[Draw, Options], tuple[Any, ...]]
    """Arrays, or tuples of them; gradients are compared for those of floats."""
    options: Callable[[Draw], Options] = _nothing
    ours: Callable[..., Any] | None = None
    theirs: Callable[..., Any] | None = None
    keywords: Callable[[Draw, Options, tuple[Any, ...]], Options] = _no_keywords
    """What is never differentiated: masks, lengths, flags."""
    fixed: tuple[int, ...] = ()
    """The inputs of floats whose gradient is not asked for: targets."""
    training: bool = True
    tolerance: float = TOLERANCE

    @property
    def kind(self) -> str:
        """The name of the class in both libraries."""
        return self.name.partition(",")[0]


@dataclass(frozen=True)
class OptimiserRow:
    """An optimiser, by its name and arguments in both libraries."""

    name: str
    options: Callable[[Draw], Options]
    theirs: Callable[[Options], Options] = dict
    """PyTorch's arguments for the same."""
    convex: bool = False
    """Whether to fit a sum of weights, without a curve downwards anywhere."""
    tolerance: float = TOLERANCE

    @property
    def kind(self) -> str:
        """The name in both libraries."""
        return self.name.partition(",")[0]
