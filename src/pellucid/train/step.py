"""One training step, and the epoch as a scan over the steps: both are graphs.

A step gathers its rows, runs the model forward, reduces to a loss, runs the chain rule
back, and applies the optimiser. It is built from symbols, once for each batch size;
an engine compiles the whole epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from pellucid.functional.control import scan
from pellucid.grad.transform import adjoints
from pellucid.ir.graph import Graph, Node, fill, toposort
from pellucid.ir.types import TensorType
from pellucid.nn.context import Memory
from pellucid.nn.module import Module, buffer_updates
from pellucid.optim.base import Context, Transform, apply_updates
from pellucid.random import fold_in, keys_from
from pellucid.tensors import Parameter, Tensor, apply, apply_many, grad, tensor
from pellucid.tracing import bound, graph_of, symbol
from pellucid.train.columns import Entry, Inputs, Layout
from pellucid.train.objective import Losses, Objective
from pellucid.train.state import TrainState

__all__ = [
    "Recipe",
    "ReplayGraph",
    "Run",
    "TracedStep",
    "epoch_graph",
    "evaluate_graph",
    "predict_graph",
    "replay_graph",
    "step_graph",
    "traced_step",
]


@dataclass(frozen=True)
class Recipe:
    """What is trained and how: everything but the numbers."""

    model: Module
    objective: Objective
    optimizer: Transform

    def parameters(self) -> dict[str, Parameter]:
        """Return what is trained, by name: the model's parameters, then the losses'."""
        own = dict(self.model.named_parameters())
        return {**own, **self._of_losses(own, trained=True)}

    def buffers(self) -> dict[str, Parameter]:
        """Return what is carried from step to step besides, by name."""
        own: dict[str, Parameter] = dict(self.model.named_buffers())
        return {**own, **self._of_losses(own, trained=False)}

    def _of_losses(
        self, known: Mapping[str, Parameter], trained: bool
    ) -> dict[str, Parameter]:
        """Return the leaves of the losses that the model does not have."""
        seen = {id(each) for each in known.values()}
        found = {}
        for name, leaf in self.objective.leaves.items():
            if leaf.trained == trained and id(leaf) not in seen:
                found[name] = leaf
                seen.add(id(leaf))
        return found

    def leaves(self) -> dict[str, Parameter]:
        """Return parameters and buffers by name."""
        return {**self.parameters(), **self.buffers()}

    @cached_property
    def carried(self) -> tuple[str, ...]:
        """The buffers that carry a state from batch to batch, by name."""
        named = self.model.named_buffers()
        return tuple(name for name, each in named if isinstance(each, Memory))

    def fresh(self, state: TrainState) -> TrainState:
        """Return the state in which an epoch begins: nothing carried from before."""
        if not self.carried:
            return state
        zeros = {name: np.zeros_like(state.buffers[name]) for name in self.carried}
        return replace(state, buffers={**state.buffers, **zeros})


@dataclass(frozen=True)
class Run:
    """What a step knows of the run it stands in: tensors that no step changes."""

    key: Tensor
    epoch: Tensor
    monitor: Tensor

    @classmethod
    def symbols(cls, dtype: Any) -> Run:
        """Return a run without values; `dtype` is that of the monitored loss."""
        return cls(
            symbol(TensorType((2,), np.dtype(np.uint32)), "key"),
            symbol(TensorType((), np.dtype(np.int32)), "epoch"),
            symbol(TensorType((), dtype), "monitor"),
        )

    def tensors(self) -> list[Tensor]:
        """Return the tensors in the order in which programs take them."""
        return [self.key, self.epoch, self.monitor]


# --- running the model -----------------------------------------------------------


@contextmanager
def _mode(model: Module, training: bool) -> Iterator[None]:
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)


def _inputs(batch: Mapping[str, Tensor]) -> list[Tensor]:
    return [each for name, each in batch.items() if name.split(".")[0] == "x"]


# --- one step --------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    state: TrainState
    loss: Tensor
    record: list[Tensor]
    """The loss, and what is measured beside it."""
    params: dict[str, Tensor]


def _step(
    recipe: Recipe, state: TrainState, run: Run, batch: Mapping[str, Tensor]
) -> _Step:
    leaves = recipe.leaves()
    key = fold_in(run.key, state.step)

    def forward(params: dict[str, Tensor]) -> tuple[Losses, Any, dict[str, Tensor]]:
        stand_ins = {**params, **state.buffers}
        with (
            bound(leaves, stand_ins),
            keys_from(key),
            _mode(recipe.model, True),
            buffer_updates() as updates,
        ):
            outputs = recipe.model(*_inputs(batch))
            losses = recipe.objective.losses(recipe.model, outputs, batch)
        names = {id(leaf): name for name, leaf in leaves.items()}
        return losses, outputs, {names[id(leaf)]: new for leaf, new in updates.items()}

    losses, outputs, changed = forward(state.params)
    start, buffers = (
        {name: changed.get(name, each) for name, each in before.items()}
        for before in (state.params, state.buffers)
    )
    loss = losses.total
    grads = dict(zip(state.params, grad(loss, list(state.params.values()))))
    context = Context(
        grads=grads,
        params=start,
        state=state.optimizer,
        step=state.step,
        loss=loss,
        epoch=run.epoch,
        monitor=run.monitor,
        loss_of=lambda params: forward(params)[0].total,
    )
    updates, optimizer = recipe.optimizer.update(context)
    params = apply_updates(start, updates)
    new = TrainState(params, buffers, optimizer, state.step + 1)
    with bound(leaves, {**state.params, **state.buffers}):
        record = recipe.objective.record(losses, outputs, batch)
    return _Step(new, loss, record, state.params)


def _index(count: int, name: str) -> Tensor:
    return symbol(TensorType((count,), np.dtype(np.int32)), name)


Sizes: TypeAlias = tuple[int, int, int]
"""Of a part of an epoch: whole steps, the rows of each, and the rows that remain."""


# --- the epoch -------------------------------------------------------------------


def step_graph(recipe: Recipe, like: TrainState, data: Entry, batch: int) -> Graph:
    """Return one step of `batch` rows, as the body of an epoch's scan.

    Inputs: the fixed part of the data, the run, the state's leaves, what moves with
    the step. Outputs: the new state's leaves, then the record: `Objective.columns`.
    """
    state, fixed = like.as_symbols(), _symbols(data.fixed)
    run, rows = Run.symbols(_loss_dtype(like)), _symbols(data.moving, batch)
    found = _step(recipe, state, run, data.batch(fixed, rows))
    return graph_of(
        [*fixed, *run.tensors(), *state.leaves(), *rows],
        [*found.state.leaves(), *found.record],
    )


def epoch_graph(
    recipe: Recipe, like: TrainState, data: Entry, step: Graph, sizes: Sizes
) -> Graph:
    """Return the steps of a part of an epoch: `step` is one of the whole ones.

    Inputs: the state's leaves, the fixed part of the data, the run, what moves with
    the steps, `[steps, batch, …]`, and with the rest, `[rest, …]`. Outputs: the new
    state's leaves, then the record of every step: `Objective.columns`.
    """
    steps, batch, rest = sizes
    state, fixed = like.as_symbols(), _symbols(data.fixed)
    run = Run.symbols(_loss_dtype(like))
    whole = _symbols(data.moving, steps, batch) if steps else []
    tail = _symbols(data.moving, rest) if rest else []
    inputs = [*state.leaves(), *fixed, *run.tensors(), *whole, *tail]
    records: list[list[Tensor]] = []
    if steps:
        state, record = _scan_steps(step, state, [*fixed, *run.tensors()], whole)
        records.append(record)
    if rest:
        found = _step(recipe, state, run, data.batch(fixed, tail))
        state = found.state
        records.append([each.reshape(1) for each in found.record])
    joined = [apply("concat", *parts, axis=0) for parts in zip(*records)]
    return graph_of(inputs, [*state.leaves(), *joined])


def _symbols(inputs: Inputs, *sizes: int) -> list[Tensor]:
    """Return an input without a value for each, with more axes in front."""
    return [symbol(t.with_shape((*sizes, *t.shape)), name) for name, t in inputs]


def _loss_dtype(state: TrainState) -> Any:
    return next(iter(state.params.values())).dtype


def _scan_steps(
    step: Graph, state: TrainState, consts: list[Tensor], moving: list[Tensor]
) -> tuple[TrainState, list[Tensor]]:
    carried = state.leaves()
    outputs = apply_many(
        "scan",
        *consts,
        *carried,
        *moving,
        body=step,
        consts=len(consts),
        carries=len(carried),
        length=moving[0].shape[0],
        reverse=False,
        keep="all",
    )
    return state.with_leaves(outputs[: len(carried)]), list(outputs[len(carried) :])


# --- without an update -----------------------------------------------------------


def _leaves_in(like: TrainState) -> tuple[dict[str, Tensor], TrainState]:
    state = like.as_symbols()
    return {**state.params, **state.buffers}, state


def evaluate_graph(recipe: Recipe, like: TrainState, data: Layout) -> Graph:
    """Return the record of some rows, `Objective.columns`, in evaluation mode.

    Inputs: the parameters, the buffers, the data.
    """
    leaves, _ = _leaves_in(like)
    arrays = data.symbols()
    batch = data.batch(arrays)
    with bound(recipe.leaves(), leaves), _mode(recipe.model, False):
        outputs = recipe.model(*_inputs(batch))
        losses = recipe.objective.losses(recipe.model, outputs, batch)
        record = recipe.objective.record(losses, outputs, batch)
    return graph_of([*leaves.values(), *arrays], record)


def predict_graph(
    recipe: Recipe,
    like: TrainState,
    data: Layout,
    rows: int,
    block: int,
    sized: bool = False,
) -> tuple[Graph, list[str]]:
    """Return the model's outputs for some rows and their names, "" for one alone.

    Many rows go through the model a block at a time. A `sized` graph has one output
    more, the sum of the squares of its first input: where it is finite the input is.
    """
    leaves, _ = _leaves_in(like)
    arrays = data.symbols()

    def outputs(some: Tensor | None) -> dict[str, Tensor]:
        found = recipe.model(*_inputs(data.batch(arrays, some)))
        return dict(found) if isinstance(found, Mapping) else {"": found}

    with bound(recipe.leaves(), leaves), _mode(recipe.model, False):
        if rows % block or rows == block:
            named = outputs(None)
        else:
            order = tensor(np.arange(rows, dtype=np.int32).reshape(-1, block))
            _, named = scan(lambda carry, some: (carry, outputs(some)), (), order)
            named = {
                name: each.reshape(rows, *each.shape[2:])
                for name, each in named.items()
            }
    found = [*named.values()]
    if sized:
        found.append((arrays[0] * arrays[0]).sum())
    return graph_of([*leaves.values(), *arrays], found), list(named)


# --- replay ----------------------------------------------------------------------


@dataclass(frozen=True)
class TracedStep:
    """One step of training, as it was built: what goes in, and the loss.

    Inputs: the state's leaves, the data, the run, the rows.
    """

    inputs: list[Tensor]
    params: dict[str, Tensor]
    state: TrainState
    loss: Tensor


def traced_step(
    recipe: Recipe, like: TrainState, data: Layout, batch: int
) -> TracedStep:
    """Return one step of `batch` rows on symbols."""
    state, arrays = like.as_symbols(), data.symbols()
    run, rows = Run.symbols(_loss_dtype(like)), _index(batch, "rows")
    found = _step(recipe, state, run, data.batch(arrays, rows))
    inputs = [*state.leaves(), *arrays, *run.tensors(), rows]
    return TracedStep(inputs, found.params, found.state, found.loss)


@dataclass(frozen=True)
class ReplayGraph:
    """The very step that was trained, as a graph to be observed gate by gate.

    Inputs: the state's leaves, the data, the run, the rows. Outputs: the new state's
    leaves and the loss.
    """

    graph: Graph
    gradients: dict[Node, Node | None]
    """Every gate from the inputs to the loss, in order, and its gradient if any."""


def replay_graph(
    recipe: Recipe, like: TrainState, data: Layout, batch: int
) -> ReplayGraph:
    """Return one step of `batch` rows, and where each gate's gradient is computed."""
    found = traced_step(recipe, like, data, batch)
    flows = adjoints(
        [(found.loss.node, fill(1.0, found.loss.type))],
        [each.node for each in found.params.values()],
    )
    gates = [
        each for each in toposort([found.loss.node]) if not isinstance(each.type, tuple)
    ]
    results = [*found.state.leaves(), found.loss]
    # Closing the graph may rebuild nodes: gates and gradients ride along as outputs.
    pairs = [*gates, *(flows[each] for each in gates if each in flows)]
    closed = graph_of(found.inputs, [*results, *map(Tensor, pairs)]).outputs
    kept, riders = closed[: len(results)], closed[len(results) :]
    followers = iter(riders[len(gates) :])
    gradients = {
        new: next(followers) if old in flows else None
        for old, new in zip(gates, riders)
    }
    heads = tuple(each.node for each in found.inputs)
    shown = [each for each in gradients.values() if each is not None]
    return ReplayGraph(Graph(heads, (*kept, *shown)), gradients)
