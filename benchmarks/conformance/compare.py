"""One configuration in both libraries, and how far their numbers are apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.conformance.row import Draw, Options, Row
from pellucid import nn
from pellucid.engines.program import Engine
from pellucid.ir.types import TensorType
from pellucid.nn import buffer_updates
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, symbols

__all__ = ["Gap", "compare", "gap"]


@dataclass(frozen=True)
class Gap:
    """How far two configurations are apart; None where there is nothing to compare."""

    forward: float
    gradient: float | None
    exchanged: bool | None
    options: Options


def gap(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """Return the largest difference, relative to the largest entry of each array.

    Where an array is small beside the others, as a gradient is that rounding alone
    keeps from 0, it is relative to a thousandth of the largest of all.

    >>> gap([np.array([1.0, 2.0])], [np.array([1.0, 2.5])])
    0.2
    >>> gap([np.zeros(3)], [np.zeros(2)])
    inf
    """
    if [np.shape(each) for each in ours] != [np.shape(each) for each in theirs]:
        return np.inf
    largest = [float(np.abs(each).max(initial=0.0)) for each in theirs]
    floor = max(max(largest, default=0.0) * 1e-3, np.finfo(np.float64).tiny)
    gaps = [
        float(np.abs(mine - other).max(initial=0.0)) / max(size, floor)
        for mine, other, size in zip(ours, theirs, largest)
    ]
    worst = max(gaps, default=0.0)
    return worst if np.isfinite(worst) else np.inf


def compare(row: Row, draw: Draw, engine: Engine | None = None) -> Gap:
    """Draw a configuration of a row, run it in both, and compare everything.

    Ours runs at the prompt, or as a program that an engine compiled.
    """
    options = row.options(draw)
    inputs = row.inputs(draw, options)
    keywords = row.keywords(draw, options, inputs)
    make = row.ours or getattr(nn, row.kind)
    ours = _trained(make(**options), row.training, "f64")
    theirs = (row.theirs or getattr(torch.nn, row.kind))(**options)
    theirs = _trained(theirs, row.training, torch.float64)
    exchanged = _exchange(ours, theirs, make(**options), draw)
    seed = draw.whole(0, 2**31)
    run = partial(_run, _OURS) if engine is None else partial(_compiled, engine)
    mine = run(ours, row, inputs, keywords, Draw(seed))
    other = _run(_THEIRS, theirs, row, inputs, keywords, Draw(seed))
    gradient = gap(mine[1], other[1]) if other[1] else None
    return Gap(gap(mine[0], other[0]), gradient, exchanged, options)


def _trained(made: Any, training: bool, dtype: Any) -> Any:
    return made.to(dtype).train(training) if hasattr(made, "state_dict") else made


# --- states ----------------------------------------------------------------------


def _exchange(ours: Any, theirs: Any, fresh: Any, draw: Draw) -> bool | None:
    """Give both the same state; return whether it went over and back unchanged."""
    if not getattr(theirs, "state_dict", dict)():
        return None
    drawn = {k: _state(draw, k, v) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(drawn)
    there = {k: torch.from_numpy(v) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(there)
    back = {k: v.numpy() for k, v in theirs.state_dict().items()}
    fresh.to("f64").load_state_dict(back)
    home = fresh.state_dict()
    return list(home) == list(drawn) and all(map(_same, home.values(), drawn.values()))


def _state(draw: Draw, name: str, value: torch.Tensor) -> Any:
    if not value.is_floating_point():
        return value.numpy().copy()
    drawn = np.asarray(draw.normal(*value.shape) * 0.5)
    return np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn


def _same(mine: Any, other: Any) -> bool:
    return mine.dtype == other.dtype and np.array_equal(mine, other)


# --- forward and backward --------------------------------------------------------


@dataclass(frozen=True)
class _Library:
    """What the two libraries call the same things."""

    tensor: type
    leaf: Callable[[Any, bool], Any]
    gradients: Callable[[Any, list[Any]], list[Any]]
    array: Callable[[Any], Any]


def _their_gradients(total: torch.Tensor, leaves: list[Any]) -> list[Any]:
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found)]


_OURS = _Library(
    Tensor,
    lambda array, asked: tensor(array, requires_grad=asked),
    grad,
    lambda found: np.asarray(found.value),
)
_THEIRS = _Library(
    torch.Tensor,
    lambda array, asked: torch.tensor(array, requires_grad=asked),
    _their_gradients,
    lambda found: found.detach().numpy(),
)


def _run(
    library: _Library,
    made: Any,
    row: Row,
    inputs: tuple[Any, ...],
    keywords: Options,
    seeds: Draw,
) -> tuple[list[Any], list[Any]]:
    """Return outputs with the buffers behind, and all gradients."""
    given = [
        _mapped(library.leaf, each, place not in row.fixed)
        for place, each in enumerate(inputs)
    ]
    named = {
        k: library.leaf(v, False) if isinstance(v, np.ndarray) else v
        for k, v in keywords.items()
    }
    outputs = list(_flat(library.tensor, made(*given, **named)))
    total = sum((each * _seed(library, each, seeds)).sum() for each in outputs)
    leaves = [x for x in _flat(library.tensor, given) if x.requires_grad]
    held = inspect.ismethod(getattr(made, "parameters", None))
    leaves += list(made.parameters()) if held else []
    gradients = library.gradients(total, leaves) if leaves else []
    buffers = list(made.buffers()) if held else []
    return (
        [library.array(each) for each in outputs + buffers],
        [library.array(each) for each in gradients],
    )


def _compiled(
    engine: Engine,
    made: Any,
    row: Row,
    inputs: tuple[Any, ...],
    keywords: Options,
    seeds: Draw,
) -> tuple[list[Any], list[Any]]:
    """Return the same as `_run`, from one program; what has no gradient is built in."""
    heads: dict[Tensor, Any] = {}

    def leaf(array: Any, asked: bool) -> Tensor:
        if not asked:
            return tensor(array)
        head = symbol(TensorType(array.shape, array.dtype))
        head.requires_grad, heads[head] = True, array
        return head

    library = _Library(Tensor, leaf, grad, lambda found: found)
    held = made.state_dict() if isinstance(made, nn.Module) else {}
    own = [*made.named_parameters(), *made.named_buffers()] if held else []
    with symbols(dict(own)) as inside, buffer_updates() as moved:
        outputs, gradients = _run(library, made, row, inputs, keywords, seeds)
        found = [moved.get(each, each) for each in outputs] + gradients
        graph = graph_of([*inside.values(), *heads], found)
    arrays = [held[name] for name in inside]
    results = engine.compile(graph)(*arrays, *heads.values())
    return list(results[: len(outputs)]), list(results[len(outputs) :])


def _seed(library: _Library, output: Any, seeds: Draw) -> Any:
    return library.leaf(np.asarray(seeds.normal(*output.shape)), False)


def _mapped(leaf: Callable[[Any, bool], Any], tree: Any, asked: bool) -> Any:
    if isinstance(tree, tuple):
        return tuple(_mapped(leaf, each, asked) for each in tree)
    return leaf(tree, asked and tree.dtype.kind == "f")


def _flat(kind: type, tree: Any) -> Iterator[Any]:
    """Yield the tensors of a tree, left to right."""
    if isinstance(tree, kind):
        yield tree
    elif isinstance(tree, tuple | list):
        for each in tree:
            yield from _flat(kind, each)
