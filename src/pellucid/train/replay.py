"""Replay: any step of a finished run, gate by gate, with values and gradients.

A run is a pure function of data, settings and seed, and the state at the start of
each epoch is kept. So a step is reached by running forward from the nearest kept
state, and is then run once more in the numpy engine, which shows every value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from pellucid.engines.numpy_ import NumpyProgram
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.ir.graph import Array, Graph, Node
from pellucid.train.plan import Plan
from pellucid.train.programs import Programs
from pellucid.train.state import TrainState
from pellucid.train.step import replay_graph, traced_step
from pellucid.train.steps import Steps, watch_steps

__all__ = ["Gate", "Journal", "Replay", "Snapshot", "first_fault", "replay_step"]


@dataclass(frozen=True)
class Gate:
    """One gate of a replayed step: what came in, what went out, what flowed back.

    `inputs` are positions in the replay's list of gates. `gradient` is d loss /
    d output, or None where no gradient flows. `path` is the layer, `place` the line
    of code that built the gate. `role` is `forward`, `backward` or `update`.
    """

    index: int
    op: str
    name: str
    path: str
    place: str
    inputs: tuple[int, ...]
    output: Array
    gradient: Array | None
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """A step of a run: its gates in order, its loss, its parameters.

    Prints as a table, layer by layer.
    """

    step: int
    epoch: int
    rows: Array
    loss: float
    gates: tuple[Gate, ...]
    before: TrainState
    after: TrainState
    watch: Callable[[str], Steps] = field(repr=False, compare=False)
    """What `steps` calls: it runs the step again, which takes time."""

    def __iter__(self) -> Iterator[Gate]:
        return iter(self.gates)

    def __len__(self) -> int:
        return len(self.gates)

    def layer(self, path: str) -> tuple[Gate, ...]:
        """Return the gates of one layer and of the layers inside it."""
        found = tuple(
            gate
            for gate in self.gates
            if gate.path == path or gate.path.startswith(f"{path}.")
        )
        if not found:
            known = dict.fromkeys(gate.path for gate in self.gates if gate.path)
            raise ArgumentError(
                message(f"no layer {path!r}", hint=did_you_mean(path, known))
            )
        return found

    def steps(self, path: str = "") -> Steps:
        """Return what a recurrent layer computes at each time step, and its gradients.

        `path` names the layer, or one that holds it; without it every loop of the model
        is shown. The gates and states are found by name:

            cell = trainer.replay(100).steps("lstm")["cell"]
            cell.value, cell.gradient    # [time, batch, hidden] each

        A gradient is d loss / d that value at that step, by all ways that lead on from
        there. Raises `ArgumentError` where the layer has no loop over time.
        """
        return self.watch(path)

    def computed(self) -> Iterator[Gate]:
        """Return the gates whose value is not the same in every step."""
        fixed: set[int] = set()
        for gate in self.gates:
            if gate.op == "const" or (gate.inputs and fixed.issuperset(gate.inputs)):
                fixed.add(gate.index)
            else:
                yield gate

    def gradient(self, parameter: str) -> Array:
        """Return d loss / d a parameter, by its name in the state dict."""
        named = {gate.name: gate for gate in self.gates if gate.name}
        full = f"params.{parameter}"
        if full not in named or named[full].gradient is None:
            hint = did_you_mean(parameter, self.before.params)
            raise ArgumentError(message(f"no parameter {parameter!r}", hint=hint))
        return np.asarray(named[full].gradient)

    def update(self, parameter: str) -> Array:
        """Return what the optimiser added to a parameter."""
        return np.asarray(self.after.params[parameter] - self.before.params[parameter])

    def __str__(self) -> str:
        head = (
            f"step {self.step} · epoch {self.epoch + 1} · {len(self.rows)} rows · "
            f"loss {self.loss:.6g}"
        )
        lines = [
            head,
            "",
            _row(
                "gate", "what", "in", "value: mean", "std", "gradient: std", "largest"
            ),
        ]
        layer = None
        for gate in self.computed():
            if gate.path != layer:
                layer = gate.path
                lines.append(layer or "(outside the layers)")
            lines.append(_gate_row(gate))
        return "\n".join(lines)


def _row(*cells: str) -> str:
    widths = (8, 34, 16, 12, 11, 13, 11)
    parts = [
        f"{cell:<{width}}" if i < 3 else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(cells, widths))
    ]
    return "  " + " ".join(parts).rstrip()


def _gate_row(gate: Gate) -> str:
    shape = "×".join(map(str, gate.output.shape)) or "scalar"
    sources = ", ".join(f"%{i}" for i in gate.inputs)
    value = _moments(gate.output)
    back = _moments(gate.gradient)
    largest = "" if gate.gradient is None else _short(_absolute(gate.gradient))
    what = f"{gate.name or gate.op} [{shape}]"
    return _row(f"%{gate.index}", what, sources, *value, back[1], largest)


def _absolute(array: Array) -> float:
    return float(np.abs(array).max(initial=0))


def _moments(array: Array | None) -> tuple[str, str]:
    if array is None or array.dtype.kind != "f" or not array.size:
        return "", ""
    with np.errstate(all="ignore"):
        return _short(float(array.mean())), _short(float(array.std()))


def _short(value: float) -> str:
    return f"{value:.4g}"


# --- where a run can be picked up ------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """The state at the start of an epoch, and what the epoch knew."""

    plan: Plan
    epoch: int
    monitor: float
    state: TrainState

    @property
    def step(self) -> int:
        """The number of updates made before."""
        return int(self.state.step)


class Journal:
    """Keeps snapshots within a number of bytes: when full, every second one goes."""

    def __init__(self, limit: int = 512 << 20) -> None:
        self.limit = limit
        self.snapshots: list[Snapshot] = []

    def add(self, snapshot: Snapshot) -> None:
        """Keep the start of an epoch."""
        self.snapshots.append(snapshot)
        if len(self.snapshots) * snapshot.state.nbytes > self.limit:
            self._thin()

    def _thin(self) -> None:
        """Drop every second snapshot but the first of each plan."""
        kept = self.snapshots[:1]
        for i, each in enumerate(self.snapshots[1:]):
            if i % 2 or each.plan is not kept[-1].plan:
                kept.append(each)
        self.snapshots = kept

    def before(self, step: int) -> Snapshot:
        """Return the last snapshot at or before a step."""
        found = [each for each in self.snapshots if each.step <= step]
        if not found:
            raise ArgumentError(
                message(
                    f"step {step} lies before what this trainer has seen",
                    hint="a resumed training can be replayed from where it resumed",
                )
            )
        return found[-1]


def advance(programs: Programs, start: Snapshot, step: int) -> Snapshot:
    """Run one step after the other from a snapshot up to a step of its epoch."""
    state, plan = start.state, start.plan
    run = programs.run_of(plan, start.epoch, start.monitor, state)
    for each in range(step - start.step):
        part = programs.feed(plan).part(plan.rows_of(start.epoch, each))
        state = programs.steps(state, plan, run, part).state
    return Snapshot(plan, start.epoch, start.monitor, state)


# --- one step, observed ----------------------------------------------------------


def replay_step(programs: Programs, at: Snapshot, first: int) -> Replay:
    """Run one step in the numpy engine and keep every wire.

    `at` holds the state before the step; `first` is the number of the epoch's first
    step.
    """
    at = replace(at, state=programs.fetched(at.state))
    rows = at.plan.rows_of(at.epoch, at.step - first)
    built = replay_graph(programs.recipe, at.state, at.plan.layout, len(rows))
    arrays = _inputs(programs, at, rows)
    values = _observe(built.graph, arrays)
    number = {node: i for i, node in enumerate(built.gradients)}
    gates = tuple(
        _gate(node, grad, number, values) for node, grad in built.gradients.items()
    )
    outputs = [values[each] for each in built.graph.outputs]
    count = len(at.state.leaves())
    after = at.state.with_leaves([np.asarray(each) for each in outputs[:count]])
    loss = float(outputs[count])
    watch = partial(_watch, programs, at, rows, arrays)
    return Replay(at.step, at.epoch, rows, loss, gates, at.state, after, watch)


def _watch(
    programs: Programs, at: Snapshot, rows: Array, arrays: list[Any], path: str
) -> Steps:
    step = traced_step(programs.recipe, at.state, at.plan.layout, len(rows))
    return watch_steps(step, arrays, path)


def _inputs(programs: Programs, at: Snapshot, rows: Array) -> list[Any]:
    """Return the arrays that a step takes."""
    run = programs.run_of(at.plan, at.epoch, at.monitor, at.state)
    return [*at.state.leaves(), *at.plan.arrays, *run, rows]


def _observe(graph: Graph, arrays: Sequence[Any]) -> dict[Node, Any]:
    values: dict[Node, Any] = {}

    def keep(node: Node, value: Any, steps: Sequence[int]) -> None:
        if not steps:
            values[node] = value

    program = NumpyProgram(graph)
    program.observe(arrays, keep)
    return values


def _gate(
    node: Node, gradient: Node | None, number: dict[Node, int], values: dict[Node, Any]
) -> Gate:
    birth = node.birth
    name = str(node.attrs["name"]) if node.op.name == "input" else ""
    owner, _, rest = name.partition(".")
    return Gate(
        index=number[node],
        op=node.op.name,
        name=name,
        path=rest.rpartition(".")[0] if owner in ("params", "buffers") else birth.path,
        place=f"{birth.file}:{birth.line}" if birth.file else "",
        inputs=tuple(number[each] for each in node.inputs if each in number),
        output=np.asarray(values[node]),
        gradient=None if gradient is None else np.asarray(values[gradient]),
        attrs=dict(node.attrs),
    )


# --- the first gate that went wrong ----------------------------------------------


def first_fault(programs: Programs, at: Snapshot, first: int) -> str:
    """Name the first gate of a step that made a NaN or an infinity of finite inputs."""
    at = replace(at, state=programs.fetched(at.state))
    rows = at.plan.rows_of(at.epoch, at.step - first)
    graph = replay_graph(programs.recipe, at.state, at.plan.layout, len(rows)).graph
    found: list[str] = []
    values: dict[Node, Any] = {}

    def watch(node: Node, value: Any, steps: Sequence[int]) -> None:
        values[node] = value
        if found or not node.inputs or _finite(value):
            return
        inputs = [values[each] for each in node.inputs if each in values]
        if all(_finite(each) for each in inputs):
            found.append(_fault(node, value, inputs))

    program = NumpyProgram(graph)
    program.observe(_inputs(programs, at, rows), watch)
    return found[0] if found else "no single gate: the numbers came in from outside"


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_finite(each) for each in value)
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _fault(node: Node, value: Any, inputs: Sequence[Any]) -> str:
    array = np.asarray(value)
    bad = array[~np.isfinite(array)].flat[0]
    what = "NaN" if np.isnan(bad) else "an infinity"
    took = ", ".join(_range(each) for each in inputs)
    role = " (backward)" if node.birth.role == "backward" else ""
    where = f" · {node.birth}" if str(node.birth) else ""
    return f"the gate {node.op.name}{role} made {what} from {took}{where}"


def _range(value: Any) -> str:
    array = np.asarray(value)
    if not array.size:
        return "nothing"
    low, high = array.min(), array.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} … {high:.4g}"
