"""The chain rule of the two gates that run a body: `scan` and `call`.

Both have many results, so a rule takes the gradients that came for some of them by
index, and which inputs want one. The reverse pass itself comes in as `pull`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pellucid.dtypes import is_float
from pellucid.ir.graph import Graph, Node, bind, fill, input_node, substitute, toposort

__all__ = ["CONTROL_RULES"]

Flow: TypeAlias = tuple[Node | None, ...]
Pull: TypeAlias = Callable[
    [Sequence[tuple[Node, Node]], Sequence[Node]], dict[Node, Node]
]

_CHEAP = frozenset(["reshape", "broadcast", "transpose", "cast"])
"""Gates that are run again in the backward pass rather than kept."""


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
    """One step of the backward scan: symbols that come in, nodes that go out.

    `carries`, `consts` and `slices` are the body's inputs that get a gradient.
    """

    carries: tuple[Node, ...]
    consts: tuple[Node, ...]
    slices: tuple[Node, ...]
    d_carries: tuple[Node, ...]
    d_consts: tuple[Node, ...]
    d_results: dict[int, Node]
    targets: tuple[Node, ...]

    @property
    def incoming(self) -> tuple[Node, ...]:
        """The symbols, in the order in which the scan brings them."""
        return *self.d_carries, *self.d_consts, *self.d_results.values()


def _back_step(
    gs: dict[int, Node], body: _Body, wanted: Sequence[bool], pull: Pull
) -> _BackStep:
    want = dict(zip(body.graph.inputs, wanted))
    consts = tuple(n for n in body.consts if want[n] and is_float(n.dtype))
    carries = tuple(n for n in body.carries if is_float(n.dtype))
    slices = tuple(n for n in body.slices if want[n] and is_float(n.dtype))
    outputs, ends = body.graph.outputs, list(body.carries)
    d_carries = tuple(input_node(n.type, "d_carry") for n in carries)
    d_consts = tuple(input_node(n.type, "d_const") for n in consts)
    d_results = {
        i: input_node(outputs[i].type, "d_result") for i in gs if i >= len(ends)
    }
    seeds = [(outputs[ends.index(n)], d) for n, d in zip(carries, d_carries)]
    seeds += [(outputs[i], d) for i, d in d_results.items()]
    found = pull(seeds, [*consts, *carries, *slices])
    sums = [d + found[n] if n in found else d for n, d in zip(consts, d_consts)]
    targets = (
        *(_or_zeros(found, n) for n in carries),
        *sums,
        *(_or_zeros(found, n) for n in slices),
    )
    return _BackStep(carries, consts, slices, d_carries, d_consts, d_results, targets)


def _scan(gs: dict[int, Node], y: Node, wanted: Sequence[bool], pull: Pull) -> Flow:
    """Run the body's backward from the last step to the first.

    What the backward pass needs of each forward step is kept: all values that it
    reads, or, with `keep="carry"`, the carried values alone, from which the step is
    run again. Gradients of constants add up over the steps.
    """
    body = _Body.of(y)
    back = _back_step(gs, body, wanted, pull)
    kept = _kept(back.targets, set(back.incoming), y.attrs["keep"] == "carry")
    stand_in = {
        each: each if each.op.name == "input" else input_node(each.type, "kept")
        for each in kept
    }
    consts = [each for each in kept if each in body.consts]
    sequences = [each for each in kept if each not in body.consts]
    backward = Graph(
        (*consts, *back.incoming, *(stand_in[each] for each in sequences)),
        tuple(substitute(back.targets, dict(stand_in))),
    )
    outside, stacks = dict(zip(body.graph.inputs, y.inputs)), _stacks(y, body, kept)
    ends = list(body.carries)
    node = bind(
        "scan",
        *(outside[each] for each in consts),
        *(_given(gs, ends.index(each), each) for each in back.carries),
        *(fill(0.0, each.type) for each in back.consts),
        *(gs[i] for i in back.d_results),
        *(stacks[each] for each in sequences),
        body=backward,
        consts=len(consts),
        carries=len(back.carries) + len(back.consts),
        length=y.attrs["length"],
        reverse=not y.attrs["reverse"],
        keep="all",
    )
    heads = (*back.carries, *back.consts, *back.slices)
    flows = {each: bind("get", node, index=i) for i, each in enumerate(heads)}
    return tuple(flows.get(each) for each in body.graph.inputs)


def _or_zeros(found: dict[Node, Node], node: Node) -> Node:
    return found[node] if node in found else fill(0.0, node.type)


def _given(gs: dict[int, Node], index: int, like: Node) -> Node:
    return gs[index] if index in gs else fill(0.0, like.type)


def _kept(
    targets: Sequence[Node], incoming: set[Node], only_inputs: bool
) -> list[Node]:
    """Return the forward values that the backward step reads, in a fixed order."""
    backward = set(incoming)
    for node in toposort(targets):
        if not backward.isdisjoint(node.inputs):
            backward.add(node)
    kept: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = list(reversed(targets))
    while stack:
        node = stack.pop()
        if node in seen or node in incoming or node.op.name == "const":
            continue
        seen.add(node)
        is_input = node.op.name == "input"
        through = node in backward or only_inputs or node.op.name in _CHEAP
        if is_input or not through:
            kept[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(kept)


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
