"""What is checked: one number as a function of named arrays, as a graph in float64.

A module, a function, a gate and a graph all become a `Problem`. The model is traced
once under one key, so a dropout's mask is the same at every point, and is left as it
was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.checking.graphs import wide_type, widen
from pellucid.configuration import config
from pellucid.dtypes import DTYPES, is_float
from pellucid.errors import ArgumentError, DataError, GradientError, ShapeError, message
from pellucid.ir.graph import Array, Graph
from pellucid.ir.types import TensorType
from pellucid.random import key_of, keys_from
from pellucid.tensors import Buffer, Parameter, Tensor, as_tensor, tensor
from pellucid.tracing import bound, graph_of, symbol
from pellucid.tree import leaves

__all__ = ["Problem", "problem_of"]


@dataclass(frozen=True)
class Problem:
    """A graph whose first output is a number, its inputs' values and names.

    `checked` are the positions of the inputs whose gradients are in question.
    """

    graph: Graph
    values: tuple[Array, ...]
    names: tuple[str, ...]
    checked: tuple[int, ...]


def problem_of(
    target: Any,
    inputs: Sequence[Any],
    loss: Callable[..., Any] | None,
    seed: int,
    check_inputs: bool,
) -> Problem:
    """Trace a target on inputs; see `gradcheck` for what may be given."""
    arrays = [_array(position, each) for position, each in enumerate(inputs)]
    if isinstance(target, Graph):
        return _of_graph(target, arrays, loss, seed)
    if not callable(target):
        raise ArgumentError(
            message(
                f"{type(target).__name__} cannot be checked",
                expected="expected a module, a function of tensors, a gate or a graph",
            )
        )
    if loss is not None and len(arrays) < 2:
        raise ArgumentError(
            message(
                f"a loss compares with a target, and {len(arrays)} array came",
                hint="give the target as the last array: gradcheck(model, X, y, "
                "loss=…)",
            )
        )
    return _of_function(target, arrays, loss, seed, check_inputs)


# --- data ------------------------------------------------------------------------


def _array(position: int, given: Any) -> Array:
    """Return data as an array of `f64`, of integers or of truth values."""
    array = np.asarray(given.value if isinstance(given, Tensor) else given)
    name = f"input {position}"
    if array.dtype.kind not in "fiub":
        raise DataError(
            message(
                f"{name} holds {array.dtype}",
                expected="expected floats, integers or truth values",
                hint="encode it first",
            )
        )
    if array.size == 0:
        raise DataError(
            message(
                f"{name} is empty: its shape is {array.shape}",
                hint="give at least one row",
            )
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
        _check_finite(name, array)
    elif array.dtype not in DTYPES.values():
        array = array.astype(np.int64)
    return array


def _check_finite(name: str, array: Array) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = [int(i) for i in bad[0]]
        raise DataError(
            message(
                f"{name} holds {array[tuple(bad[0])]} at {place}",
                expected="no difference is defined there",
                hint="fill or drop missing values first",
            )
        )


# --- tracing ---------------------------------------------------------------------


def _of_function(
    target: Callable[..., Any],
    arrays: Sequence[Array],
    loss: Callable[..., Any] | None,
    seed: int,
    check_inputs: bool,
) -> Problem:
    owned = _leaves(target, loss)
    heads = {name: symbol(wide_type(leaf.type), name) for name, leaf in owned.items()}
    data = [
        symbol(TensorType(array.shape, array.dtype), f"input {position}")
        for position, array in enumerate(arrays)
    ]
    with config(dtype="f64"), keys_from(key_of(seed)), bound(owned, heads):
        if loss is None:
            result = target(*data)
        else:
            result = loss(target(*data[:-1]), data[-1])
        number = _reduced([as_tensor(each) for each in leaves(result)], seed)
    graph = widen(graph_of([*heads.values(), *data], [number]))
    values = [leaf.value.astype(heads[name].dtype) for name, leaf in owned.items()]
    names = [*heads, *(x.node.attrs["name"] for x in data)]
    trained = [not isinstance(leaf, Buffer) for leaf in owned.values()]
    last = len(data) - (loss is not None)
    wanted = [*trained, *(check_inputs and i < last for i in range(len(data)))]
    return _problem(graph, [*values, *arrays], names, wanted)


def _leaves(*owners: Any) -> dict[str, Parameter]:
    """Return the parameters and buffers of a model and of its loss, by name."""
    found: dict[str, Parameter] = {}
    for owner, prefix in zip(owners, ("", "loss.")):
        for listing in ("named_parameters", "named_buffers"):
            pairs: Iterable[tuple[str, Parameter]] = getattr(owner, listing, tuple)()
            known = set(map(id, found.values()))
            found |= {
                f"{prefix}{name}": leaf for name, leaf in pairs if id(leaf) not in known
            }
    return found


def _reduced(outputs: Sequence[Tensor], seed: int) -> Tensor:
    """Reduce outputs to one number by fixed weights, none of which is near zero."""
    floats = [each for each in outputs if is_float(each.dtype)]
    if not floats:
        types = ", ".join(str(each.type) for each in outputs)
        raise GradientError(
            message(
                f"there is nothing to differentiate: the outputs are {types or 'none'}",
                expected="expected at least one float",
            )
        )
    if len(floats) == 1 and not floats[0].shape:
        return floats[0]
    draw = np.random.default_rng(seed)
    total: Tensor | None = None
    for each in floats:
        signs = draw.choice([-1.0, 1.0], each.shape)
        weights = tensor(signs * draw.uniform(0.5, 1.5, each.shape))
        part = (each.astype("f64") * weights).sum()
        total = part if total is None else total + part
    assert total is not None
    return total


def _of_graph(graph: Graph, arrays: list[Array], loss: Any, seed: int) -> Problem:
    if loss is not None:
        raise ArgumentError("a graph is checked as it is: it takes no loss")
    wide = widen(graph)
    given = [TensorType(each.shape, each.dtype) for each in arrays]
    if [(t.shape, t.dtype.kind) for t in given] != [
        (t.shape, t.dtype.kind) for t in wide.input_types
    ]:
        raise ShapeError(
            message(
                "the arrays do not fit the graph",
                expected=f"expected {graph.input_types}, got {tuple(given)}",
            )
        )
    arrays = [x.astype(t.dtype) for x, t in zip(arrays, wide.input_types)]
    number = _reduced([Tensor(each) for each in wide.outputs], seed)
    names = [each.attrs["name"] for each in wide.inputs]
    closed = graph_of([Tensor(each) for each in wide.inputs], [number])
    return _problem(closed, arrays, names, [True] * len(arrays))


def _problem(
    graph: Graph, values: Sequence[Array], names: Sequence[str], wanted: Sequence[bool]
) -> Problem:
    checked = tuple(
        i
        for i, (value, want) in enumerate(zip(values, wanted))
        if want and is_float(value.dtype) and value.size
    )
    if not checked:
        dtypes = ", ".join(str(each.dtype) for each in values)
        raise GradientError(
            message(
                "there is nothing to check: no parameter, and no input of floats",
                expected=f"the inputs are {dtypes or 'none'}",
                hint="only floats have gradients: write 3.0, not 3",
            )
        )
    return Problem(graph, tuple(values), tuple(names), checked)
