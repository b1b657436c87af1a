"""The gradient by the chain rule against the slope by differences, tensor by tensor.

Most entries are settled by one slope. Those that look wrong are looked at again:
over a ladder of steps, and with the gates that change their winner in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pellucid.checking.differences import LADDER, Line, Loss, climb, slope, trusted
from pellucid.checking.problem import Problem
from pellucid.checking.report import BAD, RIGHT, WRONG, Status
from pellucid.engines.numpy_ import NumpyProgram
from pellucid.grad import transform
from pellucid.ir.graph import Array, Graph, Node

__all__ = ["Comparison", "Plan", "Probe", "compare", "gradients_of"]

_TINY = 1e-300
_ENOUGH = 8
"""Wrong entries of a tensor after which no more are looked at again."""
_NAMED = 24
"""Entries compared one by one where directions leave a question open."""


@dataclass(frozen=True)
class Plan:
    """How to compare: every entry of a tensor, or random directions through it.

    `every` None chooses by size: every entry where all tensors together have at most
    `small` of them. `step` None chooses a step for each tensor.
    """

    every: bool | None = None
    directions: int = 8
    step: float | None = None
    seed: int = 0
    small: int = 2000

    def takes_every(self, problem: Problem, position: int) -> bool:
        """Whether every entry of this tensor is compared."""
        if self.every or problem.values[position].size <= self.directions:
            return True
        total = sum(problem.values[i].size for i in problem.checked)
        return self.every is None and total <= self.small


@dataclass(frozen=True)
class Probe:
    """One comparison along a line: the two slopes, and what to make of them.

    `doubt` is how far the numeric slope may be off. `crossed` are the gates that change
    their winner here.
    """

    line: Line
    place: tuple[int, ...] | int
    analytic: float
    numeric: float = math.nan
    doubt: float = math.nan
    crossed: tuple[Node, ...] = ()

    @property
    def error(self) -> float:
        """How far apart the two slopes are."""
        return abs(self.analytic - self.numeric)

    @property
    def scale(self) -> float:
        """What errors are relative to."""
        return max(abs(self.analytic), abs(self.numeric), _TINY)

    @cached_property
    def status(self) -> Status:
        """What the two slopes tell."""
        if not math.isfinite(self.error):
            return Status.NOT_FINITE
        if self.crossed:
            return Status.KINK
        if self.error <= RIGHT * self.scale:
            return Status.RIGHT
        if self.error <= 4 * self.doubt:
            seen = 4 * self.doubt <= 1e-4 * self.scale
            return Status.RIGHT if seen else Status.UNCLEAR
        return Status.WRONG if self.error > WRONG * self.scale else Status.DOUBTFUL


@dataclass(frozen=True)
class Comparison:
    """All that was compared of one tensor. Nothing where its gradient does not fit."""

    position: int
    gradient: Array
    probes: tuple[Probe, ...] = ()
    used: bool = True

    @property
    def entries(self) -> list[Probe]:
        """The comparisons of single entries."""
        return [each for each in self.probes if not isinstance(each.place, int)]


def gradients_of(problem: Problem) -> list[Array]:
    """Return the gradient of every checked input, by the chain rule."""
    inputs = problem.graph.inputs
    wanted = [inputs[i] for i in problem.checked]
    found = transform.gradients(problem.graph.outputs[0], wanted)
    return list(NumpyProgram(Graph(inputs, tuple(found)))(*problem.values))


def compare(
    problem: Problem, gradients: Sequence[Array], plan: Plan
) -> list[Comparison]:
    """Compare the gradients of the checked inputs with differences."""
    loss, needed = Loss(problem), set(problem.graph.nodes)
    found = []
    for position, gradient in zip(problem.checked, gradients):
        if problem.graph.inputs[position] not in needed:
            found.append(Comparison(position, gradient, used=False))
        elif gradient.shape != problem.values[position].shape:
            found.append(Comparison(position, gradient))
        else:
            every = plan.takes_every(problem, position)
            probes = _tensor(loss, position, gradient, plan, every)
            found.append(Comparison(position, gradient, tuple(probes)))
    return found


def _tensor(
    loss: Loss, position: int, gradient: Array, plan: Plan, every: bool
) -> list[Probe]:
    draw = np.random.default_rng([plan.seed, position])
    rung = plan.step or _rung(Line(loss, position, draw.normal(size=gradient.shape)))
    if every:
        return _settled(_entries(loss, position, gradient, range(gradient.size)), rung)
    along = [draw.normal(size=gradient.shape) for _ in range(plan.directions)]
    probes = _settled(_directions(loss, position, gradient, along), rung)
    if all(each.status == Status.RIGHT for each in probes):
        return probes
    largest = np.argsort(-np.abs(gradient), axis=None)[: _NAMED // 2]
    others = draw.choice(gradient.size, _NAMED // 2)
    named = dict.fromkeys(int(i) for i in (*largest, *others))
    return probes + _settled(_entries(loss, position, gradient, named), rung)


def _rung(line: Line) -> float:
    """Return the relative step that suits a tensor, by one line through it."""
    best, _ = trusted(climb(line))
    return best.step / line.steps[0] * LADDER[0]


def _entries(
    loss: Loss, position: int, gradient: Array, wanted: Iterable[int]
) -> Iterator[Probe]:
    flat = gradient.reshape(-1)
    for i in wanted:
        place = tuple(int(j) for j in np.unravel_index(i, gradient.shape))
        yield Probe(Line(loss, position, i), place, float(flat[i]))


def _directions(
    loss: Loss, position: int, gradient: Array, along: Sequence[Array]
) -> Iterator[Probe]:
    for number, each in enumerate(along):
        analytic = float((gradient * each).sum())
        yield Probe(Line(loss, position, each), number, analytic)


# --- one look, and another -------------------------------------------------------


def _settled(probes: Iterable[Probe], rung: float) -> list[Probe]:
    """Compare each by one slope; look again at those that seem wrong, worst first."""
    found = []
    for probe in probes:
        first = slope(probe.line, rung * probe.line.size)
        found.append(replace(probe, numeric=first.value, doubt=first.rounding))
    odd = [i for i, each in enumerate(found) if each.status in BAD]
    odd.sort(key=lambda i: -found[i].error if math.isfinite(found[i].error) else 0.0)
    wrong = 0
    for i in odd:
        found[i] = _looked_at_again(found[i])
        wrong += found[i].status in BAD
        if wrong >= _ENOUGH:
            break
    return found


def _looked_at_again(probe: Probe) -> Probe:
    """Compare by the most trusted slope that crosses no kink."""
    rungs = climb(probe.line)
    best, doubt = trusted(rungs)
    again = replace(probe, numeric=best.value, doubt=doubt)
    if again.status == Status.RIGHT or not math.isfinite(probe.analytic):
        return again
    if not probe.line.crossed(best.step):
        return again
    stuck = probe.line.crossed(rungs[-1].step)
    if stuck:
        return replace(again, crossed=tuple(stuck))
    smaller = (i for i, each in enumerate(rungs) if each.step < best.step)
    clear = next(i for i in smaller if not probe.line.crossed(rungs[i].step))
    best, doubt = trusted(rungs[clear:])
    return replace(probe, numeric=best.value, doubt=doubt)
