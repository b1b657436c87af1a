"""Cross-correlation: loops over the result, the window and the channels of a group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel, fill, strided
from pellucid.engines.llvm.maths import fma
from pellucid.ir.graph import Node

__all__ = ["conv"]


def conv(kernel: Kernel, node: Node) -> None:
    """Write a cross-correlation; outside of the image there is zero."""
    x, w = node.inputs
    if node.type.size == 0:
        return
    if x.type.size == 0 or w.type.size == 0:
        fill(kernel, node, 0)
        return
    f, kind, groups = kernel.f, Kind(node.dtype), node.attrs["groups"]
    image, weights = strided(x, kernel.stored), strided(w, kernel.stored)
    assert image is not None
    assert weights is not None
    per_group = w.shape[0] // groups
    cell = f.let(f"alloca {kind}", f.blocks[0])
    with ExitStack() as outer:
        n, g, o, *out = [
            outer.enter_context(f.loop(size))
            for size in (node.shape[0], groups, per_group, *node.shape[2:])
        ]
        channel = _sum(f, [(g, per_group), (o, 1)])
        f.do(f"store {kind} {kind.constant(0)}, ptr {cell}")
        with ExitStack() as inner:
            c, *window = [inner.enter_context(f.loop(size)) for size in w.shape[1:]]
            inside, places = _places(kernel, node, out, window)
            place = _sum(
                f,
                [
                    (n, image[2][0]),
                    (g, image[2][1] * w.shape[1]),
                    (c, image[2][1]),
                    *zip(places, image[2][2:]),
                ],
                image[1],
            )
            weight = _sum(f, list(zip([channel, c, *window], weights[2])), weights[1])
            value = _read(kernel, kind, image[0], place)
            value = f.let(
                f"select i1 {inside}, {kind} {value}, {kind} {kind.constant(0)}"
            )
            old = f.let(f"load {kind}, ptr {cell}")
            by = _read(kernel, kind, weights[0], weight)
            f.do(f"store {kind} {fma(f, kind, value, by, old)}, ptr {cell}")
        total = f.let(f"load {kind}, ptr {cell}")
        strides = [1]
        for size in reversed(node.shape[1:]):
            strides.insert(0, strides[0] * size)
        to = _sum(f, list(zip([n, channel, *out], strides)))
        address = f.let(f"getelementptr {kind}, ptr {kernel.pointer(node)}, i64 {to}")
        f.do(f"store {kind} {total}, ptr {address}")


def _places(
    kernel: Kernel, node: Node, out: Sequence[str], window: Sequence[str]
) -> tuple[str, list[str]]:
    """Return whether a position of the window meets the image, and where."""
    f, attrs, x = kernel.f, node.attrs, node.inputs[0]
    inside, places = "true", []
    for i, (at, k) in enumerate(zip(out, window)):
        dilation = attrs["x_dilation"][i]
        spread = _sum(
            f, [(at, attrs["stride"][i]), (k, attrs["w_dilation"][i])], -attrs["low"][i]
        )
        place = spread
        if dilation != 1:
            place = f.let(f"sdiv i64 {spread}, {dilation}")
            rest = f.let(f"srem i64 {spread}, {dilation}")
            inside = f.let(f"and i1 {inside}, {f.let(f'icmp eq i64 {rest}, 0')}")
        fits = f.let(f"icmp ult i64 {place}, {x.shape[2 + i]}")
        inside = f.let(f"and i1 {inside}, {fits}")
        places.append(f.let(f"select i1 {fits}, i64 {place}, i64 0"))
    return inside, places


def _sum(f: Function, terms: Sequence[tuple[str, int]], start: int = 0) -> str:
    total = str(start)
    for counter, factor in terms:
        moved = f.let(f"mul nsw i64 {counter}, {factor}")
        total = f.let(f"add nsw i64 {total}, {moved}")
    return total


def _read(kernel: Kernel, kind: Kind, node: Node, place: str) -> str:
    pointer = kernel.pointer(node)
    address = kernel.f.let(f"getelementptr {kind}, ptr {pointer}, i64 {place}")
    return kernel.f.let(f"load {kind}, ptr {address}")
