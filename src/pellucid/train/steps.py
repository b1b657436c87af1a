"""The inside of loops over time: what is computed at each step, and its gradient.

A recurrent layer names its gates and states. Loops that a user wrote show what they
carry and the layers called in them, or every gate where they call none; in a loop
within a loop `inner` stands before the name.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.grad.probes import Probe, probed
from pellucid.grad.transform import adjoints
from pellucid.ir.graph import Array, Node, fill
from pellucid.passes.fuse import VIEWS
from pellucid.tensors import Tensor
from pellucid.tracing import graph_of
from pellucid.train.step import TracedStep

__all__ = ["Steps", "Wire", "watch_steps"]


@dataclass(frozen=True)
class Wire:
    """A value at every step of a loop, `[time, …]`, and d loss / d that value.

    Of a loop within a loop both are `[outer time, time, …]`. `gradient` is None where
    none flows.
    """

    value: Array
    gradient: Array | None


class Steps:
    """What the loops of a layer compute at each step, by name.

    An `nn.LSTM` has `input gate`, `forget gate`, `cell gate`, `output gate`, `cell` and
    `hidden`; an `nn.GRU` `reset gate`, `update gate`, `new gate` and `hidden`; an
    `nn.RNN` `hidden`. Where there are several layers or directions the names begin with
    theirs: `l0.cell`, `l1_reverse.cell`. Prints as a table.
    """

    def __init__(self, path: str, wires: dict[str, Wire]) -> None:
        self.path = path
        self._wires = wires

    def __getitem__(self, name: str) -> Wire:
        if name not in self._wires:
            raise ArgumentError(
                message(f"no wire {name!r}", hint=did_you_mean(name, self._wires))
            )
        return self._wires[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._wires)

    def __len__(self) -> int:
        return len(self._wires)

    def __contains__(self, name: object) -> bool:
        return name in self._wires

    def items(self) -> ItemsView[str, Wire]:
        """Return the names and the wires."""
        return self._wires.items()

    def __str__(self) -> str:
        gradients = {k: w.gradient for k, w in self.items() if w.gradient is not None}
        return "\n\n".join(
            _table(f"{self.path or 'the model'}: {what}, root of the mean square", part)
            for what, part in (
                ("values", {name: wire.value for name, wire in self.items()}),
                ("gradients", gradients),
            )
        )


_MOST_ROWS = 16


def _table(title: str, wires: Mapping[str, Array]) -> str:
    """Set a table with a row for each step, or for some of them, evenly spread."""
    longest = max((len(each) for each in wires.values()), default=0)
    rows = np.unique(np.linspace(0, longest - 1, min(longest, _MOST_ROWS)).astype(int))
    widths = [max(9, len(name)) for name in wires]
    head = "  ".join(f"{name:>{width}}" for name, width in zip(wires, widths))
    lines = [title, f"  step  {head}"]
    for row in rows:
        cells = [
            f"{_size(each[row]) if row < len(each) else '':>{width}}"
            for each, width in zip(wires.values(), widths)
        ]
        lines.append(f"{row:>6}  {'  '.join(cells)}")
    return "\n".join(lines)


def _size(array: Array) -> str:
    return f"{np.sqrt(np.mean(np.square(array, dtype=np.float64))):.3g}"


# --- finding and computing them --------------------------------------------------


def watch_steps(step: TracedStep, arrays: Sequence[Array], path: str) -> Steps:
    """Run a step once more, and look into the loops of a layer and of those inside it.

    `arrays` are the step's inputs. Raises `ArgumentError` where there is no loop.
    """
    known: dict[str, bool] = {}

    def choose(scan: Node, depth: int) -> dict[str, Node]:
        where = scan.birth.path
        known[where] = _below(where, path)
        return _wires_of(scan, "inner " * depth) if known[where] else {}

    loss, probes = probed(step.loss.node, choose)
    if not any(known.values()):
        hint = did_you_mean(path, [each or "''" for each in known])
        what = f"no loop over time in the layer {path!r}" if path else "no loop"
        raise ArgumentError(message(what, hint=hint))
    here = [each for each, inside in known.items() if inside]
    base = here[0] if len(here) == 1 else path
    return Steps(base, _named(base, probes, _compute(step, arrays, loss, probes)))


def _below(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(f"{outer}.")


def _wires_of(scan: Node, loop: str) -> dict[str, Node]:
    """Return values of a body by path: the last that was born under each name.

    What has no name of its own gets that of its gate behind `loop`.
    """
    where, named, plain = scan.birth.path, {}, {}
    body, carries = scan.attrs["body"], scan.attrs["carries"]
    varying = set(body.inputs)
    for i, node in enumerate(body.nodes):
        if varying.isdisjoint(node.inputs):
            continue  # it may have been born elsewhere: constants are shared
        varying.add(node)
        if isinstance(node.type, tuple):
            continue
        path = node.birth.path
        if path != where and _below(path, where):
            named[path] = node
        elif path == where and node.op.name not in VIEWS:
            plain[f"{where}.{loop}{node.op.name} {i}".lstrip(".")] = node
    found = named or plain
    for i, node in enumerate(body.outputs[:carries]):
        if node.inputs and node not in named.values():
            number = f" {i}" if carries > 1 else ""
            found[f"{where}.{loop}carry{number}".lstrip(".")] = node
    return found


def _compute(
    step: TracedStep, arrays: Sequence[Array], loss: Node, probes: Sequence[Probe]
) -> list[Wire]:
    """Run the step with nothing added to any value; return values and gradients."""
    zeros = [each.zeros for each in probes if each.zeros is not None]
    flows = adjoints([(loss, fill(1.0, loss.type))], zeros)
    outputs = [each.value for each in probes] + list(flows.values())
    heads = [*step.inputs, *map(Tensor, zeros)]
    program = NumpyEngine().compile(graph_of(heads, map(Tensor, outputs)))
    nothing = [np.zeros(each.shape, each.dtype) for each in zeros]
    found = program(*arrays, *nothing)
    gradients = dict(zip(flows, found[len(probes) :]))
    return [
        Wire(value, None if probe.zeros is None else gradients.get(probe.zeros))
        for probe, value in zip(probes, found)
    ]


def _named(
    base: str, probes: Sequence[Probe], wires: Sequence[Wire]
) -> dict[str, Wire]:
    """Return wires by their names below a path; a name that comes again is numbered."""
    found: dict[str, Wire] = {}
    for probe, wire in zip(probes, wires):
        name = probe.name[len(base) :].lstrip(".") or "output"
        count = sum(each == name or each.startswith(f"{name} (") for each in found)
        found[f"{name} ({count + 1})" if count else name] = wire
    return found
