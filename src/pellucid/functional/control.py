"""Functions that take functions: `scan`, a loop as one gate, and `gate`, one's own.

What such a function closes over is found and passed in, so that gradients reach it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.closures import known_values_met
from pellucid.dtypes import is_float
from pellucid.errors import ArgumentError, GradientError, ShapeError, message
from pellucid.functional.layout import concat
from pellucid.ir.graph import Graph, Node, input_node, substitute, toposort
from pellucid.ir.types import TensorType
from pellucid.tensors import (
    Tensor,
    apply_many,
    as_tensor,
    expand,
)
from pellucid.tracing import graph_of, symbol
from pellucid.tree import flatten, leaves, map_leaves, unflatten

__all__ = ["gate", "scan"]

_CHEAP = frozenset(["reshape", "broadcast", "transpose", "cast"])
"""Gates that a body runs again rather than be given their larger result."""


# --- closing a function ----------------------------------------------------------


@dataclass(frozen=True)
class _Closed:
    """A body whose inputs are what it closed over, then its own; and its result."""

    body: Graph
    over: tuple[Tensor, ...]
    result: Any


def _close(function: Callable[[], Any], inputs: Sequence[Tensor]) -> _Closed:
    """Trace a function of these symbols; what else it uses becomes an input."""
    with known_values_met() as met:
        result = map_leaves(as_tensor, function())
    outputs = leaves(result)
    met.update((each.node, each) for each in outputs if each.has_value)
    values = {node: x for node, x in met.items() if node.op.name != "const"}
    own, tails = [x.node for x in inputs], [y.node for y in outputs]
    over = _closed_over(tails, own, values)
    stand_in = {node: input_node(node.type, "const") for node in over}
    body = Graph(
        (*stand_in.values(), *own),
        tuple(substitute(tails, {**stand_in, **{node: node for node in own}})),
    )
    return _Closed(body, tuple(values.get(each, Tensor(each)) for each in over), result)


def _closed_over(
    outputs: Sequence[Node], own: Sequence[Node], values: dict[Node, Tensor]
) -> list[Node]:
    """Return what a body must be given: tensors of known value, and nodes that depend
    on outer symbols and on nothing of its own, however they were computed.
    """
    varying, outer = set(own), set[Node]()
    for node in toposort(outputs, values):
        if not varying.isdisjoint(node.inputs):
            varying.add(node)
        elif node not in varying and (
            node.op.name == "input" or not outer.isdisjoint(node.inputs)
        ):
            outer.add(node)
    found: dict[Node, None] = {}
    seen = set(own)
    stack = list(reversed(outputs))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        # The result of a scan or a call is a tuple, which no wire carries.
        enter = node.op.name in _CHEAP or isinstance(node.type, tuple)
        if node in values or (node in outer and not enter):
            found[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(found)


# --- scan ------------------------------------------------------------------------


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    *,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: str | int | None = None,
) -> tuple[Any, Any]:
    """Run `carry, y = body(carry, x)` over the entries of `xs`, as one gate.

    Args:
        body: called once, on symbols. What it closes over is constant in the loop and
            gets its gradient. A random key that it draws is the same in every step:
            let `xs` carry keys.
        init: the first carry, a tree of tensors; the body keeps its types.
        xs: a tree of tensors, cut along axis 0; None where only `length` counts.
        length: the number of steps, where `xs` does not say it.
        reverse: from the last entry to the first; results stay in place.
        checkpoint: what the backward pass has instead of every value of every step.
            An integer cuts the steps into segments of that length, `"sqrt"` into √n
            of √n, and keeps the carries between segments alone; a segment's steps are
            run again when they are needed.

    Returns:
        The last carry, and the `y` of all steps stacked along axis 0.

    >>> from pellucid.tensors import tensor
    >>> total, sums = scan(lambda c, x: (c + x, c + x), 0.0, tensor([1.0, 2.0, 3.0]))
    >>> total.item(), sums.value.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    first, sequences = map_leaves(as_tensor, init), map_leaves(as_tensor, xs)
    steps = _steps(sequences, length)
    carries = map_leaves(lambda c: symbol(c.type, "carry"), first)
    slices = map_leaves(lambda x: symbol(_slice_type(x), "x"), sequences)
    closed = _close(
        lambda: _pair(body(carries, slices)), [*leaves(carries), *leaves(slices)]
    )
    carried, results = closed.result
    _check_carry(first, carried)
    loop = _Loop(closed.body, closed.over, len(leaves(first)), reverse)
    ends, stacks = _segmented(loop, leaves(first), leaves(sequences), steps, checkpoint)
    return unflatten(first, ends), unflatten(results, stacks)


def _slice_type(x: Tensor) -> TensorType:
    return x.type.with_shape(x.shape[1:])


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            message("the body of a scan must return (carry, y)", hint="y may be None")
        )
    return result


def _steps(sequences: Any, length: int | None) -> int:
    found = {} if length is None else {"length": length}
    for name, x in flatten(sequences).items():
        if not x.ndim:
            raise ShapeError(f"xs {name} of a scan is a scalar".replace("  ", " "))
        found[f"xs {name}".strip()] = x.shape[0]
    if len(set(found.values())) != 1:
        said = ", ".join(f"{name}: {n}" for name, n in found.items())
        raise ShapeError(
            message(
                "the number of steps of a scan is not clear",
                expected=said or "there are no xs and there is no length",
            )
        )
    return next(iter(found.values()))


def _check_carry(first: Any, carried: Any) -> None:
    before, after = flatten(first), flatten(carried)
    if list(before) != list(after):
        raise ArgumentError(
            message(
                "the body of a scan changes the form of the carry",
                expected=f"in: {list(before)}, out: {list(after)}",
            )
        )
    for name, x in before.items():
        if x.type != after[name].type:
            raise ShapeError(
                message(
                    f"the carry {name} changes its type".replace("  ", " "),
                    expected=f"in: {x.type}, out: {after[name].type}",
                    hint="let init have the type that the body returns",
                )
            )


@dataclass(frozen=True)
class _Loop:
    """A body that can be run over any number of steps."""

    body: Graph
    consts: tuple[Tensor, ...]
    carries: int
    reverse: bool

    def run(
        self,
        carries: Sequence[Tensor],
        sequences: Sequence[Tensor],
        steps: int,
        keep: str = "all",
    ) -> tuple[list[Tensor], list[Tensor]]:
        results = apply_many(
            "scan",
            *(*self.consts, *carries, *sequences),
            body=self.body,
            consts=len(self.consts),
            carries=self.carries,
            length=steps,
            reverse=self.reverse,
            keep=keep,
        )
        return list(results[: self.carries]), list(results[self.carries :])

    def segment(self, sequences: Sequence[Tensor], size: int) -> _Loop:
        """Return the loop whose one step is `size` steps of this one."""
        consts = [symbol(c.type, "const") for c in self.consts]
        first = len(consts)
        types = self.body.input_types[first : first + self.carries]
        carries = [symbol(each, "carry") for each in types]
        xs = [
            symbol(x.type.with_shape((size, *x.shape[1:])), "segment")
            for x in sequences
        ]
        inner = _Loop(self.body, tuple(consts), self.carries, self.reverse)
        ends, stacks = inner.run(carries, xs, size)
        body = graph_of([*consts, *carries, *xs], [*ends, *stacks])
        return _Loop(body, self.consts, self.carries, self.reverse)


def _segmented(
    loop: _Loop,
    carries: list[Tensor],
    sequences: list[Tensor],
    steps: int,
    checkpoint: str | int | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Run whole segments first, in the direction of the loop, then what remains."""
    size = _segment_size(checkpoint, steps)
    if size >= steps:
        return loop.run(carries, sequences, steps)
    count, rest = divmod(steps, size)
    whole, part = slice(0, count * size), slice(count * size, steps)
    if loop.reverse:
        whole, part = slice(rest, steps), slice(0, rest)
    cut = [x[whole].reshape((count, size, *x.shape[1:])) for x in sequences]
    carries, stacks = loop.segment(sequences, size).run(carries, cut, count, "carry")
    stacks = [y.reshape((count * size, *y.shape[2:])) for y in stacks]
    if not rest:
        return carries, stacks
    carries, more = loop.run(carries, [x[part] for x in sequences], rest)
    parts = zip(more, stacks) if loop.reverse else zip(stacks, more)
    return carries, [concat(pair) for pair in parts]


def _segment_size(checkpoint: str | int | None, steps: int) -> int:
    if checkpoint is None:
        return max(1, steps)
    if checkpoint == "sqrt":
        return max(1, math.isqrt(steps))
    if isinstance(checkpoint, int) and checkpoint >= 1:
        return checkpoint
    raise ArgumentError(
        message(
            f"checkpoint is {checkpoint!r}",
            expected="expected None, 'sqrt' or the length of a segment",
        )
    )


# --- one's own gates -------------------------------------------------------------


def gate(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Callable[..., Any]:
    """Make a gate of one's own, named in pictures, with a backward of one's own.

    Args:
        forward: takes tensors and returns one or a tuple of them.
        backward: takes `(inputs, outputs, grads)`, three tuples; `grads` are the
            gradients of the float outputs. Returns the gradient of each float input,
            None where there is none. Without it the chain rule goes through
            `forward`.
        name: by default that of `forward`.

    A gate with a backward cannot close over tensors that need a gradient: its
    backward could not give them one.

    >>> from pellucid.tensors import grad, tensor
    >>> cube = gate(lambda x: x * x * x, lambda xs, ys, gs: gs[0] * xs[0] * xs[0] * 3)
    >>> x = tensor(2.0, requires_grad=True)
    >>> cube(x).item(), grad(cube(x), [x])[0].item()
    (8.0, 12.0)
    """
    called = name or getattr(forward, "__name__", "gate").strip("<>")

    def apply_gate(*operands: Any) -> Any:
        inputs = [as_tensor(each) for each in operands]
        symbols = [symbol(x.type, f"x{i}") for i, x in enumerate(inputs)]
        closed = _close(lambda: forward(*symbols), symbols)
        outputs = leaves(closed.result)
        reverse = None
        if backward is not None:
            _check_open(called, closed)
            types = [x.type for x in (*closed.over, *inputs)]
            reverse = _backward_graph(
                called, backward, types, len(closed.over), outputs
            )
        results = apply_many(
            "call",
            *(*closed.over, *inputs),
            body=closed.body,
            name=called,
            backward=reverse,
        )
        return unflatten(closed.result, results)

    apply_gate.__name__ = called
    apply_gate.__doc__ = forward.__doc__
    return apply_gate


def _check_open(name: str, closed: _Closed) -> None:
    for each in closed.over:
        if is_float(each.dtype) and (each.requires_grad or not each.has_value):
            raise GradientError(
                message(
                    f"the gate {name} closes over {each.type}, to which its backward "
                    "gives no gradient",
                    hint="make it an argument of the gate",
                )
            )


def _backward_graph(
    name: str,
    backward: Callable[..., Any],
    types: Sequence[TensorType],
    over: int,
    outputs: Sequence[Tensor],
) -> Graph:
    """Trace a backward: (inputs, outputs, gradients) to gradients of float inputs."""
    inputs = [symbol(each, f"x{i}") for i, each in enumerate(types)]
    results = [symbol(y.type, f"y{i}") for i, y in enumerate(outputs)]
    incoming = [symbol(y.type, "g") for y in results if is_float(y.dtype)]
    found = backward(tuple(inputs[over:]), tuple(results), tuple(incoming))
    flows = list(found) if isinstance(found, list | tuple) else [found]
    wanted = [x for x in inputs[over:] if is_float(x.dtype)]
    if len(flows) != len(wanted):
        raise GradientError(
            message(
                f"the backward of {name} returns {len(flows)} gradients",
                expected=f"expected {len(wanted)}, one for each float input",
            )
        )
    closed = [x for x in inputs[:over] if is_float(x.dtype)]
    gradients = [*(_zeros(x) for x in closed)]
    gradients += [_flow(name, i, x, g) for i, (x, g) in enumerate(zip(wanted, flows))]
    return graph_of([*inputs, *results, *incoming], gradients)


def _zeros(x: Tensor) -> Tensor:
    return expand(as_tensor(0.0, like=x), x.shape)


def _flow(name: str, index: int, x: Tensor, flow: Any) -> Tensor:
    found = _zeros(x) if flow is None else as_tensor(flow, like=x)
    if found.type != x.type:
        raise GradientError(
            message(
                f"the backward of {name} returns {found.type} for float input {index}",
                expected=f"expected {x.type}, the input's own type",
                hint="sum over the axes that were broadcast",
            )
        )
    return found
