"""Removes what need not be computed, without changing one bit of what is.

Calls are inlined, scans that repeat one another are merged, unused results of scans
are dropped, and gates that do nothing (`x · 1`, a reshape to its own shape, two
transposes that cancel) are left out. Sharing of equal nodes needs no pass: nodes
are shared from birth. `x + 0` stays: it turns −0 into 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pellucid.ir.graph import Graph, Node, bind, rebind, substitute, toposort

__all__ = ["inline_calls", "simplify"]


def simplify(graph: Graph) -> Graph:
    """Return a graph of the same inputs that computes the same bits by less.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> simplify(Graph((x,), (x * 1.0,))).nodes == (x,)
    True
    """
    outputs = graph.outputs
    for step in (inline_calls, _merge_scans, _drop_results, _drop_idle_gates):
        outputs = tuple(step(outputs))
    return Graph(graph.inputs, outputs)


# --- calls -----------------------------------------------------------------------


def inline_calls(outputs: tuple[Node, ...]) -> list[Node]:
    """Return the outputs with every call replaced by the gates of its body."""
    bodies: dict[Node, list[Node]] = {}

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "get" and inputs[0] in bodies:
            index: int = node.attrs["index"]
            return bodies[inputs[0]][index]
        new = _with_body(
            node,
            inputs,
            lambda body: Graph(body.inputs, tuple(inline_calls(body.outputs))),
        )
        if new.op.name == "call" and new not in bodies:
            body = new.attrs["body"]
            inner = dict(zip(body.inputs, new.inputs))
            bodies[new] = substitute(body.outputs, inner)
        return new

    return substitute(outputs, {}, rebuild)


def _with_body(
    node: Node, inputs: tuple[Node, ...], change: Callable[[Graph], Graph]
) -> Node:
    """Return the same gate on other inputs, its body changed."""
    body = node.attrs.get("body")
    if body is None:
        return rebind(node, inputs)
    changed = change(body)
    if changed.outputs == body.outputs:
        return rebind(node, inputs)
    return bind(node.op.name, *inputs, **{**node.attrs, "body": changed})


# --- scans -----------------------------------------------------------------------


def _scan_key(node: Node) -> Any:
    attrs = {key: value for key, value in node.attrs.items() if key != "body"}
    return node.inputs, node.attrs["body"].inputs, tuple(sorted(attrs.items()))


def _merge_scans(outputs: tuple[Node, ...]) -> list[Node]:
    """Where one scan computes all that another does, let it serve for both.

    The chain rule asks for a forward scan that also keeps values; it shares its
    inputs and its body's nodes with the scan that the user wrote.
    """
    widest: dict[Any, Node] = {}
    for node in toposort(outputs):
        if node.op.name == "scan":
            key = _scan_key(node)
            best = widest.get(key)
            if best is None or _covers(node, best):
                widest[key] = node

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "get" and node.inputs[0].op.name == "scan":
            narrow = node.inputs[0]
            wide = widest[_scan_key(narrow)]
            if wide is not narrow and _covers(wide, narrow):
                wanted = narrow.attrs["body"].outputs[node.attrs["index"]]
                carries = narrow.attrs["carries"]
                index = node.attrs["index"]
                if index >= carries:
                    index = wide.attrs["body"].outputs.index(wanted, carries)
                return bind("get", rebuilt(wide), index=index)
        return _with_body(
            node,
            inputs,
            lambda body: Graph(body.inputs, tuple(_merge_scans(body.outputs))),
        )

    done: dict[Node, Node] = {}

    def rebuilt(node: Node) -> Node:
        substitute([node], done, rebuild)
        return done[node]

    return substitute(outputs, done, rebuild)


def _covers(wide: Node, narrow: Node) -> bool:
    carries = narrow.attrs["carries"]
    more, less = wide.attrs["body"].outputs, narrow.attrs["body"].outputs
    return more[:carries] == less[:carries] and set(less[carries:]) <= set(
        more[carries:]
    )


def _drop_results(outputs: tuple[Node, ...]) -> list[Node]:
    """Drop the results of scans, and the carried values, that nobody reads."""
    used: dict[Node, set[int]] = {}
    for node in toposort(outputs):
        if node.op.name == "get":
            used.setdefault(node.inputs[0], set()).add(node.attrs["index"])
    kept: dict[Node, list[int]] = {}

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "scan":
            keep = _kept_results(node, used.get(node, set()))
            kept[node] = keep
            return _narrow(node, inputs, keep)
        if node.op.name == "get" and node.inputs[0].op.name == "scan":
            scan = node.inputs[0]
            return bind("get", inputs[0], index=kept[scan].index(node.attrs["index"]))
        return rebind(node, inputs)

    return substitute(outputs, {}, rebuild)


def _kept_results(node: Node, used: set[int]) -> list[int]:
    """Return the results to keep: those read, and the carries that they need."""
    body, consts, carries = (node.attrs[k] for k in ("body", "consts", "carries"))
    keep = set(used)
    while True:
        needed = set(toposort([body.outputs[i] for i in keep]))
        more = {i for i in range(carries) if body.inputs[consts + i] in needed} - keep
        if not more:
            return sorted(keep)
        keep |= more


def _narrow(node: Node, inputs: tuple[Node, ...], keep: list[int]) -> Node:
    """Return the scan with only these results, and only the inputs they need."""
    body, consts, carries = (node.attrs[k] for k in ("body", "consts", "carries"))
    outputs = tuple(_drop_results(tuple(body.outputs[i] for i in keep)))
    needed = set(toposort(outputs))
    carried = {consts + i for i in keep if i < carries}
    rows = [i for i, each in enumerate(body.inputs) if each in needed or i in carried]
    return bind(
        "scan",
        *(inputs[i] for i in rows),
        **{
            **node.attrs,
            "body": Graph(tuple(body.inputs[i] for i in rows), outputs),
            "consts": sum(i < consts for i in rows),
            "carries": len(carried),
        },
    )


# --- gates that do nothing -------------------------------------------------------


def _drop_idle_gates(outputs: tuple[Node, ...]) -> list[Node]:
    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        new = _with_body(
            node,
            inputs,
            lambda body: Graph(body.inputs, tuple(_drop_idle_gates(body.outputs))),
        )
        return _idle(new)

    return substitute(outputs, {}, rebuild)


def _idle(node: Node) -> Node:
    """Return what the node passes on unchanged, or the node itself."""
    name, inputs = node.op.name, node.inputs
    source = inputs[0] if inputs else node
    if name == "stop":
        return source
    if name in ("reshape", "broadcast", "cast") and source.type == node.type:
        return source
    if name == "reshape" and source.op.name == "reshape":
        return _idle(bind("reshape", source.inputs[0], shape=node.shape))
    if name == "transpose":
        return _idle_transpose(node, source)
    if name == "neg" and source.op.name == "neg":
        return source.inputs[0]
    if name == "mul":
        x, y = inputs
        return x if _scalar(y) == 1 else y if _scalar(x) == 1 else node
    if name == "div" and _scalar(inputs[1]) == 1:
        return source
    return node


def _idle_transpose(node: Node, source: Node) -> Node:
    axes = node.attrs["axes"]
    if axes == tuple(range(len(axes))):
        return source
    if source.op.name == "transpose":
        inner = source.attrs["axes"]
        both = tuple(inner[axis] for axis in axes)
        return _idle(bind("transpose", source.inputs[0], axes=both))
    return node


def _scalar(node: Node) -> Any:
    """Return the number that a constant repeats everywhere, or None."""
    while node.op.name in ("broadcast", "reshape"):
        node = node.inputs[0]
    if node.op.name == "const" and node.attrs["value"].array.size == 1:
        return node.attrs["value"].array.item()
    return None
