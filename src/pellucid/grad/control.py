"""The chain rule of the two gates that run a body: `scan` and `call`.

Both have many results, so a rule takes the gradients that came for some of them by
index, and which inputs want one. The reverse pass itself comes in as `pull`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pellucid.dtypes import is_float
from pellucid.grad.over_steps import SumsOverSteps
from pellucid.ir.graph import Graph, Node, bind, fill, input_node, substitute, toposort

__all__ = ["CONTROL_RULES"]

Flow: TypeAlias = tuple[Node | None, ...]
Pull: TypeAlias = Callable[
    [Sequence[tuple[Node, Node]], Sequence[Node]], dict[Node, Node]
]

_CHEAP = frozenset(["reshape", "broadcast", "transpose", "cast"])
"""Gates that are run again in the backward pass rather than kept."""

_CHEAP_OF_ONE = _CHEAP | {"add", "mul", "neg"}
"""Gates that are run again where one kept value is all they need, as 1 − t² of t."""


# --- call ------------------------------------------------------------------------


def _call(gs: dict[int, Node], y: Node, wanted: Sequence[bool], pull: Pull) -> Flow:
    body, backward = y.attrs["body"], y.attrs["backward"]
    if backward is not None:
        return _call_backward(gs, y)
    seeds = [(body.outputs[i], input_node(g.type, "seed")) for i, g in gs.items()]
    wrt = [each for each, want in zip(body.inputs, wanted) if want]
    found = pull(seeds, wrt)
    actual = dict(zip(body.inputs, y.inputs))
    actual |= {seed: g for (_, seed), g in zip(seeds, gs.values())}
    reached = [each for each in wrt if each in found]
    flows = dict(zip(reached, substitute([found[each] for each in reached], actual)))
    return tuple(flows.get(each) for each in body.inputs)


def _call_backward(gs: dict[int, Node], y: Node) -> Flow:
    """Call the backward that the user brought."""
    body, backward = y.attrs["body"], y.attrs["backward"]
    outputs = [bind("get", y, index=i) for i in range(len(y.type))]
    incoming = [
        gs.get(i, fill(0.0, type_))
        for i, type_ in enumerate(y.type)
        if is_float(type_.dtype)
    ]
    call = bind(
        "call",
        *y.inputs,
        *outputs,
        *incoming,
        body=backward,
        name=f"{y.attrs['name']}.backward",
        backward=None,
    )
    flows = iter(range(len(call.type)))
    return tuple(
        bind("get", call, index=next(flows)) if is_float(each.dtype) else None
        for each in body.inputs
    )


# --- scan ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Body:
    """A scan's body, its inputs by kind."""

    graph: Graph
    consts: tuple[Node, ...]
    carries: tuple[Node, ...]
    slices: tuple[Node, ...]

    @classmethod
    def of(cls, y: Node) -> _Body:
        graph, c, k = y.attrs["body"], y.attrs["consts"], y.attrs["carries"]
        return cls(
            graph, graph.inputs[:c], graph.inputs[c : c + k], graph.inputs[c + k :]
        )


@dataclass(frozen=True)
class _BackStep:
    """One step of the backward pass: symbols that come in, gradients that go out.

    `consts`, `carries` and `slices` are the body's inputs that get a gradient.
    """

    consts: tuple[Node, ...]
    carries: tuple[Node, ...]
    slices: tuple[Node, ...]
    d_carries: tuple[Node, ...]
    d_results: dict[int, Node]
    grads: dict[Node, Node]

    def gradient(self, node: Node) -> Node:
        """Return the gradient of an input, zeros where no path leads to it."""
        return self.grads[node] if node in self.grads else fill(0.0, node.type)


def _back_step(
    gs: dict[int, Node], body: _Body, wanted: Sequence[bool], pull: Pull
) -> _BackStep:
    want = dict(zip(body.graph.inputs, wanted))
    consts = tuple(n for n in body.consts if want[n] and is_float(n.dtype))
    carries = tuple(n for n in body.carries if is_float(n.dtype))
    slices = tuple(n for n in body.slices if want[n] and is_float(n.dtype))
    outputs, ends = body.graph.outputs, list(body.carries)
    d_carries = tuple(input_node(n.type, "d_carry") for n in carries)
    d_results = {
        i: input_node(outputs[i].type, "d_result") for i in gs if i >= len(ends)
    }
    seeds = [(outputs[ends.index(n)], d) for n, d in zip(carries, d_carries)]
    seeds += [(outputs[i], d) for i, d in d_results.items()]
    grads = pull(seeds, [*consts, *carries, *slices])
    return _BackStep(consts, carries, slices, d_carries, d_results, grads)


@dataclass(frozen=True)
class _Sums:
    """The gradients of constants: what adds up in the scan, and what is computed
    behind it, from `stacks` that hold a value of every step.
    """

    inside: dict[Node, Node]
    behind: dict[Node, Node]
    stacks: dict[Node, Node]


def _sums(y: Node, body: _Body, step: _BackStep) -> _Sums:
    """Split the gradients of constants.

    Where only carried values are kept, memory counts: then all adds up in the scan.
    """
    grads = {each: step.grads[each] for each in step.consts if each in step.grads}
    if y.attrs["keep"] == "carry":
        return _Sums(grads, {}, {})
    over = SumsOverSteps(body.consts, y.attrs["length"])
    halves = dict(zip(grads, over.split(list(grads.values()))))
    behind = {each: whole for each, (_, whole) in halves.items() if whole is not None}
    needed = set(toposort(behind.values()))
    return _Sums(
        {each: rest for each, (rest, _) in halves.items() if rest is not None},
        behind,
        {value: leaf for value, leaf in over.stacks.items() if leaf in needed},
    )


@dataclass(frozen=True)
class _Backward:
    """The body of the backward scan: what is carried, then what is stacked."""

    incoming: tuple[Node, ...]
    carried: tuple[Node, ...]
    stacked: tuple[Node, ...]
    late: frozenset[Node]
    """The values that are known only when gradients have come in."""


def _backward(step: _BackStep, sums: _Sums) -> _Backward:
    d_sums = [input_node(each.type, "d_const") for each in sums.inside]
    incoming = (*step.d_carries, *d_sums, *step.d_results.values())
    carried = [step.gradient(each) for each in step.carries]
    carried += [d + rest for d, rest in zip(d_sums, sums.inside.values())]
    stacked = [step.gradient(each) for each in step.slices]
    late = _after(incoming, [*carried, *stacked, *sums.stacks])
    at_hand = {*stacked, *step.d_results.values()}
    more = [each for each in sums.stacks if each in late and each not in at_hand]
    return _Backward(incoming, tuple(carried), (*stacked, *more), late)


def _scan(gs: dict[int, Node], y: Node, wanted: Sequence[bool], pull: Pull) -> Flow:
    """Run the body's backward from the last step to the first.

    What the backward pass needs of each forward step is kept: all values that it
    reads, or, with `keep="carry"`, the carried values alone, from which the step is
    run again. Gradients of constants add up over the steps, or are products of the
    values of all steps.
    """
    body = _Body.of(y)
    step = _back_step(gs, body, wanted, pull)
    sums = _sums(y, body, step)
    back = _backward(step, sums)
    kept = _kept(back, y.attrs["keep"] == "carry")
    early = [each for each in sums.stacks if each not in {*back.late, *kept}]
    stacks = _stacks(y, body, [*kept, *early])
    node = _backward_scan(gs, y, body, step, back, kept, stacks)
    ends = (*step.carries, *sums.inside)
    flows = {each: bind("get", node, index=i) for i, each in enumerate(ends)}
    stacks |= {d: gs[i] for i, d in step.d_results.items()}
    stacks |= {
        each: bind("get", node, index=len(ends) + i)
        for i, each in enumerate(back.stacked)
    }
    flows |= {each: stacks[step.gradient(each)] for each in step.slices}
    actual = dict(zip(body.graph.inputs, y.inputs))
    actual |= {leaf: stacks[each] for each, leaf in sums.stacks.items()}
    for each, whole in zip(sums.behind, substitute([*sums.behind.values()], actual)):
        flows[each] = flows[each] + whole if each in flows else whole
    return tuple(flows.get(each) for each in body.graph.inputs)


def _backward_scan(
    gs: dict[int, Node],
    y: Node,
    body: _Body,
    step: _BackStep,
    back: _Backward,
    kept: Sequence[Node],
    stacks: dict[Node, Node],
) -> Node:
    """Return the scan from the last step to the first."""
    stand_in = {
        each: each if each.op.name == "input" else input_node(each.type, "kept")
        for each in kept
    }
    consts = [each for each in kept if each in body.consts]
    sequences = [each for each in kept if each not in body.consts]
    outputs = substitute([*back.carried, *back.stacked], dict(stand_in))
    inputs = (*consts, *back.incoming, *(stand_in[each] for each in sequences))
    outside, ends = dict(zip(body.graph.inputs, y.inputs)), list(body.carries)
    sums = back.carried[len(step.carries) :]
    return bind(
        "scan",
        *(outside[each] for each in consts),
        *(_given(gs, ends.index(each), each) for each in step.carries),
        *(fill(0.0, each.type) for each in sums),
        *(gs[i] for i in step.d_results),
        *(stacks[each] for each in sequences),
        body=Graph(inputs, tuple(outputs)),
        consts=len(consts),
        carries=len(back.carried),
        length=y.attrs["length"],
        reverse=not y.attrs["reverse"],
        keep="all",
    )


def _given(gs: dict[int, Node], index: int, like: Node) -> Node:
    return gs[index] if index in gs else fill(0.0, like.type)


def _after(incoming: Sequence[Node], targets: Sequence[Node]) -> frozenset[Node]:
    """Return the nodes that depend on what comes in."""
    after = set(incoming)
    for node in toposort(targets):
        if not after.isdisjoint(node.inputs):
            after.add(node)
    return frozenset(after)


def _kept(back: _Backward, only_inputs: bool) -> list[Node]:
    """Return the forward values that the backward step reads, in a fixed order."""
    kept: dict[Node, None] = {}
    seen: set[Node] = set(back.incoming)
    again = _of_one([*back.stacked, *back.carried])
    stack = [*reversed(back.stacked), *reversed(back.carried)]
    while stack:
        node = stack.pop()
        if node in seen or node.op.name == "const":
            continue
        seen.add(node)
        is_input = node.op.name == "input"
        cheap = node.op.name in _CHEAP or node in again
        through = node in back.late or only_inputs or cheap
        if is_input or not through:
            kept[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(kept)


def _of_one(outputs: Sequence[Node]) -> set[Node]:
    """Return the nodes that cheap gates compute of a single other value."""
    found: set[Node] = set()
    source: dict[Node, Node | None] = {}  # None for a constant
    for node in toposort(outputs):
        source[node] = None if node.op.name == "const" else node
        if node.op.name in _CHEAP_OF_ONE:
            sources = {source[each] for each in node.inputs} - {None}
            if len(sources) < 2:
                source[node] = sources.pop() if sources else None
                found.add(node)
    return found


def _stacks(y: Node, body: _Body, kept: Sequence[Node]) -> dict[Node, Any]:
    """Return each kept value as a sequence over the steps.

    Slices are at hand. The rest is stacked by the forward scan, which is written
    again with more results; a pass lets the wider scan serve for both.
    """
    outside = dict(zip(body.graph.inputs, y.inputs))
    stacks = {each: outside[each] for each in kept if each in body.slices}
    more = [
        each for each in kept if each not in body.slices and each not in body.consts
    ]
    if more:
        wide = Graph(body.graph.inputs, (*body.graph.outputs, *more))
        node = bind("scan", *y.inputs, **{**y.attrs, "body": wide})
        first = len(body.graph.outputs)
        for i, each in enumerate(more):
            stacks[each] = bind("get", node, index=first + i)
    return stacks


CONTROL_RULES: dict[str, Callable[..., Flow]] = {"scan": _scan, "call": _call}
"""The rules of the gates with many results."""
