"""Where a gradient goes wrong: every gate between the checked inputs and the loss is
checked by itself, at the values that it had.

A gate is a small function, so it is checked as one: its result, weighted at random,
is a number; its rule, or a call's own backward, gives the gradient. Gates inside the
body of a scan, or of a call without a backward of its own, come before the gate that
holds them: where one of them is wrong, the holder is not to blame.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from pellucid.checking.compare import Comparison, Plan, compare
from pellucid.checking.problem import Problem
from pellucid.checking.report import Fault, Status
from pellucid.checking.words import kind_of
from pellucid.dtypes import is_float
from pellucid.engines.numpy_ import NumpyProgram
from pellucid.errors import PellucidError
from pellucid.grad.transform import adjoints
from pellucid.ir.graph import Array, Graph, Node, bind, fill, input_node, results

__all__ = ["first_not_finite", "locate"]

_PASSED_OVER = frozenset(["input", "const", "get", "stop"])


@dataclass
class _Seen:
    """What every node was, the first and the last time that it was computed."""

    first: dict[Node, Any] = field(default_factory=dict)
    last: dict[Node, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> _Seen:
        seen = cls()

        def observer(node: Node, value: Any, at: tuple[int, ...]) -> None:
            seen.first.setdefault(node, value)
            seen.last[node] = value

        NumpyProgram(problem.graph).observe(problem.values, observer)
        return seen


def locate(problem: Problem, seed: int) -> list[Fault]:
    """Return the gates whose own rule is wrong, inputs before users."""
    seen = _Seen.of(problem)
    starts = {problem.graph.inputs[i] for i in problem.checked}
    return list(_faults(problem.graph, starts, seen, seed))


def _faults(graph: Graph, starts: set[Node], seen: _Seen, seed: int) -> Iterator[Fault]:
    active = set(starts)
    for node in graph.nodes:
        if node in starts or active.isdisjoint(node.inputs) or not _carries(node):
            continue
        active.add(node)
        if node.op.name in _PASSED_OVER:
            continue
        inner = list(_inner_faults(node, active, seen, seed))
        yield from inner or _gate_faults(node, active, seen, seed)


def _carries(node: Node) -> bool:
    """Whether a gradient passes through a node."""
    if node.op.name == "stop":
        return False
    return isinstance(node.type, tuple) or is_float(node.dtype)


def _inner_faults(
    node: Node, active: set[Node], seen: _Seen, seed: int
) -> Iterator[Fault]:
    body = node.attrs.get("body")
    if body is None or node.attrs.get("backward") is not None:
        return
    starts = {own for own, given in zip(body.inputs, node.inputs) if given in active}
    if node.op.name == "scan":
        # What one step brings into a carry, the next step takes from it.
        consts, carries = node.attrs["consts"], node.attrs["carries"]
        carried = body.inputs[consts : consts + carries]
        starts |= {each for each in carried if is_float(each.dtype)}
    yield from _faults(body, starts, seen, seed)


# --- one gate --------------------------------------------------------------------


def _gate_faults(
    node: Node, active: set[Node], seen: _Seen, seed: int
) -> Iterator[Fault]:
    """Check one gate at the first values that it had, and if right at the last."""
    for values in (seen.first, seen.last):
        operands = [values.get(each) for each in node.inputs]
        if any(each is None for each in operands):
            return  # a scan of no steps
        found = list(_at(node, [np.asarray(x) for x in operands], active, seed))
        if found or values.get(node) is seen.last.get(node):
            yield from found
            return


def _at(
    node: Node, operands: Sequence[Array], active: set[Node], seed: int
) -> Iterator[Fault]:
    gate = _Gate.of(node, active)
    problem = gate.problem(operands, seed)
    if problem is None:
        return
    try:
        gradients = gate.gradients(problem)
    except PellucidError as failure:
        yield _fault(node, "", 0.0, f"its rule fails: {failure}")
        return
    compared = compare(problem, gradients, Plan(directions=4, seed=seed, small=400))
    swapped = _swapped(compared)
    for each in compared:
        shape = problem.values[each.position].shape
        error = _error(each, shape)
        if error:
            kind = swapped or kind_of(each, shape)
            yield _fault(node, problem.names[each.position], error, kind)


def _fault(node: Node, operand: str, error: float, kind: str) -> Fault:
    call = node.op.name == "call"
    name = f"call {node.attrs['name']!r}" if call else node.op.name
    return Fault(name, operand, node.birth.path, str(node.birth), error, kind)


@dataclass(frozen=True)
class _Gate:
    """One gate on inputs of its own, its float results, and a weight for each."""

    inputs: tuple[Node, ...]
    results: tuple[Node, ...]
    weights: tuple[Node, ...]
    checked: tuple[int, ...]

    @classmethod
    def of(cls, node: Node, active: set[Node]) -> _Gate:
        """Apply the gate of a node again; its active inputs are to be checked."""
        pairs = enumerate(node.inputs)
        inputs = tuple(input_node(x.type, f"input {i}") for i, x in pairs)
        gate = bind(node.op.name, *inputs, **node.attrs)
        parts = results(gate) if isinstance(gate.type, tuple) else (gate,)
        floats = tuple(x for x in parts if is_float(x.dtype) and x.type.size)
        checked = (
            i
            for i, (own, x) in enumerate(zip(inputs, node.inputs))
            if x in active and is_float(own.dtype) and own.type.size
        )
        weights = tuple(input_node(x.type, "weight") for x in floats)
        return cls(inputs, floats, weights, tuple(checked))

    def problem(self, operands: Sequence[Array], seed: int) -> Problem | None:
        """Return Σ w·y as a problem; None where nothing can be checked."""
        found = NumpyProgram(Graph(self.inputs, self.results))(*operands)
        if not found or not all(np.isfinite(each).all() for each in found):
            return None
        draw = np.random.default_rng(seed)
        weights = [draw.normal(size=each.shape) for each in found]
        terms = [
            bind("sum", w * y, axes=tuple(range(y.ndim)))
            for y, w in zip(self.results, self.weights)
        ]
        inputs = (*self.inputs, *self.weights)
        graph = Graph(inputs, (reduce(operator.add, terms),))
        names = tuple(each.attrs["name"] for each in inputs)
        return Problem(graph, (*operands, *weights), names, self.checked)

    def gradients(self, problem: Problem) -> list[Array]:
        """Return the gradients of the checked inputs by the gate's rule, alone."""
        wanted = [self.inputs[i] for i in self.checked]
        flows = adjoints(list(zip(self.results, self.weights)), wanted)
        outputs = tuple(flows.get(x) or fill(0.0, x.type) for x in wanted)
        program = NumpyProgram(Graph(problem.graph.inputs, outputs))
        return list(program(*problem.values))


def _error(compared: Comparison, shape: tuple[int, ...]) -> float:
    """Return the largest relative error that is neither a kink's nor rounding's."""
    if compared.gradient.shape != shape:
        return 1.0
    if not np.isfinite(compared.gradient).all():
        return math.inf
    wrong = (Status.WRONG, Status.DOUBTFUL)
    errors = [p.error / p.scale for p in compared.probes if p.status in wrong]
    return max(errors, default=0.0)


def _swapped(compared: Sequence[Comparison]) -> str:
    """Say whether two operands get each other's gradient."""
    if len(compared) != 2:
        return ""
    slopes = [np.array([p.numeric for p in each.entries]) for each in compared]
    given = [np.array([p.analytic for p in each.entries]) for each in compared]
    if slopes[0].shape != slopes[1].shape or not slopes[0].size:
        return ""
    if np.allclose(given[0], given[1], rtol=1e-5):
        return ""
    crossed = np.allclose(given[0], slopes[1], 1e-5) and np.allclose(
        given[1], slopes[0], 1e-5
    )
    return "swapped: its gradient is the other input's" if crossed else ""


def first_not_finite(problem: Problem) -> str:
    """Return the first gate whose value is not finite and where it was born."""
    found: list[Node] = []

    def observer(node: Node, value: Any, at: tuple[int, ...]) -> None:
        single = not isinstance(node.type, tuple)
        if single and is_float(node.dtype) and not np.isfinite(value).all():
            found.append(node)

    NumpyProgram(problem.graph).observe(problem.values, observer)
    computed = [each for each in found if each.op.name not in ("input", "const")]
    if not computed:
        return ""
    return " at ".join(filter(None, (computed[0].op.name, str(computed[0].birth))))
