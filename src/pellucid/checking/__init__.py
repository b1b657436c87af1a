"""Is the gradient right? Checked against differences, in float64, and located.

It knows graphs, the chain rule and the numpy engine; modules only by their
parameters. It trains nothing and changes nothing. It is slow by nature, so nothing
on the way of training uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pellucid.checking.compare import Plan, compare, gradients_of
from pellucid.checking.differences import Loss
from pellucid.checking.locate import first_not_finite, locate
from pellucid.checking.problem import Problem, problem_of
from pellucid.checking.report import (
    BAD,
    Entry,
    Fault,
    Kink,
    Report,
    Row,
    Status,
)
from pellucid.checking.words import kinks_of, row_of
from pellucid.errors import ArgumentError, PellucidError

__all__ = ["Entry", "Fault", "Kink", "Report", "Row", "Status", "gradcheck"]

_SETTLED = frozenset([Status.RIGHT, Status.ZERO, Status.UNUSED])


def gradcheck(
    target: Any,
    *inputs: Any,
    loss: Callable[..., Any] | None = None,
    eps: float | None = None,
    directions: int | None = None,
    every: bool | None = None,
    check_inputs: bool = True,
    seed: int = 0,
) -> Report:
    """Check the gradient of a module, a function of tensors, a gate or a graph.

    With a `loss` the last input is its target, as in `gradcheck(model, X, y,
    loss=…)`. Without one the outputs are reduced by fixed random weights, so that
    each matters. Everything is computed in float64, whatever the dtype of the model,
    which is left as it was. What is random in the model is drawn once, by `seed`.

    Gradients of parameters, and of inputs of floats unless `check_inputs` is false,
    are compared with centred differences: every entry where there are at most 2000 of
    them or `every` is true, else `directions` (8) random directions through each
    tensor. The step is chosen for each tensor; `eps` sets it, relative to the larger
    of 1 and the size of what is moved. Where a tensor is not plainly right, each gate
    is checked by itself, and the one whose rule is wrong is named.

    Raises:
        DataError: an input is empty, holds NaN or infinity, or no numbers.
        ArgumentError: the target, or an option, cannot be used.
        GradientError: there is nothing of floats to check.

    >>> import numpy as np
    >>> report = gradcheck(lambda x: x * x, np.array([1.0, 2.0, 3.0]))
    >>> report.ok, report.rows[0].verdict
    (True, 'right')
    """
    _check_options(eps, directions)
    problem = problem_of(target, inputs, loss, seed, check_inputs)
    number = Loss(problem).at(0, problem.values[0])
    if not math.isfinite(number):
        return _not_finite(problem, number)
    if every is None and directions is not None:
        every = False
    return _report(problem, number, Plan(every, directions or 8, eps, seed))


def _check_options(eps: float | None, directions: int | None) -> None:
    if eps is not None and not 0 < eps < 1:
        raise ArgumentError(f"eps is a step between 0 and 1, not {eps!r}")
    if directions is not None and directions < 1:
        raise ArgumentError(f"directions is a number of them, not {directions!r}")


def _report(problem: Problem, number: float, plan: Plan) -> Report:
    try:
        gradients = gradients_of(problem)
    except PellucidError:
        # A rule that does not fit its gate's shapes stops the chain rule.
        faults = locate(problem, plan.seed)
        if not faults:
            raise
        return Report(number, (), tuple(faults))
    compared = compare(problem, gradients, plan)
    rows = tuple(row_of(problem, each) for each in compared)
    kinks = tuple(kinks_of(problem, compared))
    faults = []
    if any(row.status not in _SETTLED for row in rows):
        faults = locate(problem, plan.seed)
        if not faults:
            faults = [_of_row(row) for row in rows if row.status in BAD]
    return Report(number, rows, tuple(faults), kinks)


def _of_row(row: Row) -> Fault:
    """Blame a tensor where no single gate is wrong."""
    return Fault("", row.name, "", "", row.relative, row.verdict)


def _not_finite(problem: Problem, number: float) -> Report:
    gate = first_not_finite(problem)
    held = [
        name
        for name, value in zip(problem.names, problem.values)
        if value.dtype.kind == "f" and not math.isfinite(value.sum())
    ]
    cause = f"{held[0]} holds such a value" if held else f"it first came from {gate}"
    return Report(number, (), (Fault("", "loss", "", "", 0.0, f"{number}: {cause}"),))
