"""Slopes of a number along a line, by differences, and how far to trust them.

Two centred differences, over h and h/2, make one of fourth order (Richardson, 1911):

    D(h) = (f(h) − f(−h)) / 2h        slope = (4·D(h/2) − D(h)) / 3

Its truncation error falls with h⁴ and its rounding error grows with ε/h, so the best
h is near ε^(1/5) ≈ 1e-3 for a function whose derivatives are about one. Others want
another, so a ladder of steps is tried and the rung taken where two neighbours agree
best (Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pellucid.checking.decisions import Decision, changed, decisions
from pellucid.checking.graphs import freeze
from pellucid.checking.problem import Problem
from pellucid.engines.numpy_ import NumpyProgram
from pellucid.ir.graph import Array, Node

__all__ = ["LADDER", "Line", "Loss", "Slope", "climb", "slope", "trusted"]

LADDER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Steps, relative to the size of what is moved."""

_EPSILON = float(np.finfo(np.float64).eps)


class Loss:
    """The number that a problem computes, at its values and beside them."""

    def __init__(self, problem: Problem) -> None:
        self.values = problem.values
        self.program = NumpyProgram(freeze(problem.graph, problem.values))
        self._here: list[Decision] | None = None

    def at(self, position: int, array: Array) -> float:
        """Return the number with one input replaced."""
        arrays = list(self.values)
        arrays[position] = array
        return float(self.program(*arrays)[0])

    def decisions(self, position: int, array: Array) -> list[Decision]:
        """Return every decision taken with one input replaced."""
        arrays = list(self.values)
        arrays[position] = array
        return decisions(self.program, arrays)

    @property
    def here(self) -> list[Decision]:
        """Every decision taken at the values themselves."""
        if self._here is None:
            self._here = decisions(self.program, self.values)
        return self._here


@dataclass(frozen=True)
class Line:
    """A line through an input: along one entry, by its flat index, or a direction."""

    loss: Loss
    position: int
    along: int | Array

    def moved(self, t: float) -> Array:
        """Return the input moved by t."""
        array = np.array(self.loss.values[self.position], order="C")
        if isinstance(self.along, int):
            array.reshape(-1)[self.along] += t
            return array
        return np.asarray(array + t * self.along)

    def __call__(self, t: float) -> float:
        """Return the number at t."""
        return self.loss.at(self.position, self.moved(t))

    @property
    def size(self) -> float:
        """The size of what is moved, at least 1: steps are relative to it."""
        array = self.loss.values[self.position]
        if isinstance(self.along, int):
            return max(1.0, abs(float(array.reshape(-1)[self.along])))
        return max(1.0, float(np.sqrt(np.mean(array * array))))

    @property
    def steps(self) -> tuple[float, ...]:
        """The ladder of steps, the largest first.

        An entry near zero also gets steps relative to itself: a logarithm or a
        division may leave its domain over any other.
        """
        steps = [rung * self.size for rung in LADDER]
        if isinstance(self.along, int):
            x = abs(float(self.loss.values[self.position].reshape(-1)[self.along]))
            steps += [rung * x for rung in LADDER[:3] if 1e-290 < x < 0.1]
        return tuple(sorted(steps, reverse=True))

    def crossed(self, h: float) -> list[Node]:
        """Return the gates that change their winner within h of here."""
        below = self.loss.decisions(self.position, self.moved(-h))
        above = self.loss.decisions(self.position, self.moved(h))
        gates = [*changed(below, above), *changed(self.loss.here, above)]
        return list(dict.fromkeys(gates))


@dataclass(frozen=True)
class Slope:
    """A slope by differences over `step`. `rounding` bounds its rounding error."""

    value: float
    step: float
    rounding: float


def slope(line: Line, h: float) -> Slope:
    """Return the slope at 0 by four values of the function."""
    outer, inner = (line(h), line(-h)), (line(h / 2), line(-h / 2))
    wide, narrow = (outer[0] - outer[1]) / (2 * h), (inner[0] - inner[1]) / h
    largest = max(map(abs, (*outer, *inner)))
    return Slope((4 * narrow - wide) / 3, h, 8 * _EPSILON * largest / h)


def climb(line: Line) -> list[Slope]:
    """Return the slopes over every step of the ladder, the largest step first."""
    return [slope(line, h) for h in line.steps]


def trusted(rungs: Sequence[Slope]) -> tuple[Slope, float]:
    """Return the slope that agrees best with the next smaller step, and its doubt.

    The doubt is NaN where no slope is finite.
    """
    best, least = rungs[-1], math.nan
    if len(rungs) == 1:
        return best, best.rounding
    for rung, finer in pairwise(rungs):
        doubt = max(abs(rung.value - finer.value), rung.rounding)
        if math.isfinite(doubt) and not doubt >= least:
            best, least = rung, doubt
    return best, least
