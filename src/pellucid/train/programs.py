"""Runs the graphs of training on an engine: each is built once for its shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.program import Engine, Program, cost_of
from pellucid.ir.graph import Array, Graph
from pellucid.ir.types import TensorType
from pellucid.tensors import tensor
from pellucid.tracing import bound, trace
from pellucid.train.columns import Data, Layout, arrays_of, some_rows
from pellucid.train.feed import Feed, Part
from pellucid.train.plan import Plan
from pellucid.train.state import TrainState
from pellucid.train.step import (
    Recipe,
    epoch_graph,
    evaluate_graph,
    predict_graph,
    step_graph,
)

__all__ = ["EpochResult", "Programs"]

_MOST_STEPS = 1024
"""The most steps of one run of a program."""

_MOST_EVALUATED, _MOST_PREDICTED = 4096, 65536
"""The most rows that one run evaluates, and predicts."""

_MOST_NUMBERS = 1 << 21
"""About how many numbers of wide rows, such as images, one run evaluates.

What layers make of them may be many times as many, all in memory at once.
"""


_MOST_ANSWERED = 64
"""The most rows for which a program is kept ready."""


@dataclass(frozen=True)
class EpochResult:
    """The state after some steps, and the record of each: `Objective.columns`."""

    state: TrainState
    record: dict[str, Array]


class Programs:
    """The compiled programs of one recipe on one engine."""

    def __init__(self, recipe: Recipe, engine: Engine) -> None:
        self.recipe, self.engine = recipe, engine
        self._built: dict[Any, Program] = {}
        self._steps: dict[Any, tuple[Graph, int]] = {}
        self._shapes: dict[Layout, Any] = {}
        self._outputs: list[str] = [""]
        self._feed: Feed | None = None
        self._rate: Program | None = None

    def _program(self, key: Any, build: Callable[[], Graph]) -> Program:
        if key not in self._built:
            self._built[key] = self.engine.compile(build())
        return self._built[key]

    def feed(self, plan: Plan) -> Feed:
        """Return what brings a plan's rows; the last one is kept, with its data."""
        if self._feed is None or self._feed.plan is not plan:
            self._feed = Feed(plan, self.engine)
        return self._feed

    def steps(
        self, state: TrainState, plan: Plan, run: list[Array], part: Part
    ) -> EpochResult:
        """Run the steps of a part; the new state stays where the engine keeps it."""
        entry = self.feed(plan).entry
        sizes = part.steps, plan.batch, part.rest
        program = self._program(
            ("epoch", sizes, entry),
            lambda: epoch_graph(
                self.recipe, state, entry, self._step(state, plan)[0], sizes
            ),
        )
        leaves = [self.engine.place(each, wide=True) for each in state.leaves()]
        found = program(*leaves, *part.fixed, *run, *part.moving)
        new, count = state.with_leaves(found[: len(leaves)]), len(leaves)
        names = self.recipe.objective.columns(plan.data)
        return EpochResult(new, dict(zip(names, self.engine.fetch(found[count:]))))

    def finite(self, result: EpochResult) -> bool:
        """Return whether every loss and every parameter is finite."""
        if not np.isfinite(result.record["loss"]).all():
            return False
        return self.engine.finite(list(result.state.params.values()))

    def fetched(self, state: TrainState) -> TrainState:
        """Return a state whose leaves are NumPy arrays."""
        return state.with_leaves(self.engine.fetch(state.leaves()))

    def steps_a_run(self, state: TrainState, plan: Plan) -> int:
        """Return the most steps of one run of a program.

        Between two runs training can be stopped and a lost number is noticed; so a
        run is kept to a fraction of a second, by the arithmetic of a step.
        """
        few = int(self.engine.flops_a_run) // max(1, self._step(state, plan)[1])
        return min(max(few, 1), _MOST_STEPS)

    def _step(self, state: TrainState, plan: Plan) -> tuple[Graph, int]:
        """Return the graph of a step of a plan's batch size, and its arithmetic."""
        entry = self.feed(plan).entry
        key = plan.batch, entry
        if key not in self._steps:
            graph = step_graph(self.recipe, state, entry, plan.batch)
            self._steps[key] = graph, cost_of(graph).flops
        return self._steps[key]

    def learning_rate(self, step: int) -> float | None:
        """Return the optimiser's rate at a step; None where it has no one rate.

        Reported after each epoch: a compiled schedule answers in microseconds.
        """
        schedule = self.recipe.optimizer.learning_rate
        if schedule is None:
            return None
        if self._rate is None:
            self._rate = NumpyEngine().compile(
                trace(schedule, TensorType((), np.dtype(np.float64)))
            )
        return float(self._rate(np.float64(step))[0])

    def run_of(
        self, plan: Plan, epoch: int, monitor: float, like: TrainState
    ) -> list[Array]:
        """Return what a step knows of its run, as arrays."""
        dtype = next(iter(like.params.values())).dtype
        return [
            plan.key,
            np.array(epoch, np.int32),
            np.array(monitor, dtype),
        ]

    def evaluate(self, state: TrainState, data: Data) -> dict[str, float]:
        """Return the mean loss and metrics over some rows, in evaluation mode."""
        objective, parts, sizes = self.recipe.objective, [], []
        for part, size in _parts(data, _rows_at_once(data)):
            layout = Layout.of(part)
            program = self._program(
                ("evaluate", layout),
                partial(evaluate_graph, self.recipe, state, layout),
            )
            weight = float(np.sum(part["weight"])) if "weight" in part else size
            outputs = program(*self._leaves(state), *self._placed(layout, part))
            parts.append(np.array([float(x) for x in self.engine.fetch(outputs)]))
            sizes.append(weight)
        record = dict(zip(objective.columns(data), np.transpose(parts)))
        found = objective.means(record, np.array(sizes))
        with self._losses_of(state):
            return objective.totalled(found)

    @contextmanager
    def _losses_of(self, state: TrainState) -> Iterator[None]:
        """Let the losses have their own parameters' values of a state for a block."""
        values = {**state.params, **state.buffers}
        own = {k: v for k, v in self.recipe.objective.leaves.items() if k in values}
        arrays = self.engine.fetch([values[name] for name in own])
        with bound(own, dict(zip(own, map(tensor, arrays)))):
            yield

    def predict(self, state: TrainState, data: Data) -> Any:
        """Return the model's outputs for every row; a dict where it gives one."""
        found: list[tuple[Array, ...]] = []
        for part, size in _parts(data, _MOST_PREDICTED):
            part, count = _filled(part), int(size)
            program, layout = self._predicting(state, part)
            outputs = program(*self._leaves(state), *self._placed(layout, part))
            named = self.engine.fetch(outputs[: len(self._outputs)])
            found.append(tuple(each[:count] for each in named))
        joined = [
            parts[0] if len(parts) == 1 else np.concatenate(parts)
            for parts in zip(*found)
        ]
        by_name = dict(zip(self._outputs, joined))
        return by_name.get("", by_name)

    def answering(
        self, state: TrainState, data: Data
    ) -> Callable[[Array], Array | None] | None:
        """Return what predicts for other rows of this shape, if they are finite; None
        where it takes more than one program, one array of floats and one output."""
        layout, rows = Layout.of(data), len(next(iter(data.values())))
        if not _is_asked(layout, rows) or _filled(data) is not data:
            return None
        program, _ = self._predicting(state, data)
        return program.asked(*self._leaves(state)) if self._outputs == [""] else None

    def outputs(self, state: TrainState, data: Data) -> Any:
        """Return nodes that show the shapes of what the model gives for some rows; a
        dict where it gives one. Nothing is compiled."""
        layout, rows = Layout.of(data), len(next(iter(data.values())))
        if layout not in self._shapes:
            given = self.recipe, state, layout, rows, self.engine.rows_at_once
            graph, names = predict_graph(*given)
            named = dict(zip(names, graph.outputs))
            self._shapes[layout] = named.get("", named)
        return self._shapes[layout]

    def _predicting(self, state: TrainState, data: Data) -> tuple[Program, Layout]:
        """Return the program that predicts for some rows, and how it reads them."""
        layout, rows = Layout.of(data), len(next(iter(data.values())))
        program = self._program(
            ("predict", layout, rows),
            partial(self._predict_graph, state, layout, rows),
        )
        return program, layout

    def _predict_graph(self, state: TrainState, layout: Layout, rows: int) -> Graph:
        block = self.engine.rows_at_once
        sized = _is_asked(layout, rows)
        graph, self._outputs = predict_graph(
            self.recipe, state, layout, rows, block, sized
        )
        return graph

    def _leaves(self, state: TrainState) -> list[Any]:
        leaves = (*state.params.values(), *state.buffers.values())
        return [self.engine.place(each, wide=True) for each in leaves]

    def _placed(self, layout: Layout, data: Data) -> list[Any]:
        """Return what programs take for some rows, whose work devices share."""
        tables, rows = layout.parted(arrays_of(data))
        return layout.joined(
            [self.engine.place(each) for each in tables],
            [self.engine.place(each, split=0) for each in rows],
        )


def _is_asked(layout: Layout, rows: int) -> bool:
    """Return whether a program may be kept ready for other rows like these."""
    if rows > _MOST_ANSWERED or len(layout.inputs) > 1:
        return False
    return all(type_.dtype.kind == "f" for _, type_ in layout.inputs)


def _rows_at_once(data: Data) -> int:
    """Return how many rows are evaluated together: a power of two, fewer wide ones."""
    numbers = sum(math.prod(each.shape[1:]) for each in data.values())
    fitting = 1 << max(_MOST_NUMBERS // max(numbers, 1), 64).bit_length() - 1
    return min(fitting, _MOST_EVALUATED)


def _filled(data: Data) -> Data:
    """Repeat the last row up to a power of two: few sizes are compiled, not every."""
    rows = len(next(iter(data.values())))
    more = (1 << (rows - 1).bit_length()) - rows
    if not more:
        return data
    return some_rows(data, np.minimum(np.arange(rows + more), rows - 1))


def _parts(data: Data, most: int) -> Iterator[tuple[Data, float]]:
    rows = len(next(iter(data.values())))
    for first in range(0, rows, most):
        part = some_rows(data, slice(first, first + most))
        yield part, float(min(most, rows - first))
