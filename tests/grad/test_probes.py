"""Probes in loops: they change nothing, and show values and gradients of every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid import functional as F
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.grad.probes import probed
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Graph, Node
from pellucid.tensors import Tensor, tensor
from pellucid.tracing import symbol

XS = np.random.default_rng(0).normal(size=(4, 3))


def loss_of(xs: Tensor) -> Tensor:
    def body(c: Tensor, x: Tensor) -> Any:
        count = (x > 0).astype("i32")
        return F.sin(c * x) + count.astype("f64"), count

    last, _ = F.scan(body, xs[0], xs)
    return (last * last).sum()


def of(*names: str) -> Any:
    def choose(scan: Node, depth: int) -> dict[str, Node]:
        return {
            node.op.name: node
            for node in scan.attrs["body"].nodes
            if node.op.name in names
        }

    return choose


def test_values_and_gradients_are_those_of_the_loop_written_out() -> None:
    xs = symbol(tensor(XS).type)
    loss, found = probed(loss_of(xs).node, of("sin", "add"))
    probes = {each.name: each for each in found}
    assert set(probes) == {"sin", "add"}
    heads = [each.zeros for each in probes.values() if each.zeros is not None]
    flows = gradients(loss, heads)
    outputs = (loss, *(each.value for each in probes.values()), *flows)
    graph = Graph((xs.node, *heads), outputs)
    number, *arrays = NumpyEngine().compile(graph)(
        XS, *(np.zeros(each.shape) for each in heads)
    )
    carry, slopes, sines, sums = XS[0], [], [], []
    for x in XS:
        sines.append(np.sin(carry * x))
        slopes.append(np.cos(carry * x) * x)
        carry = sines[-1] + (x > 0)
        sums.append(carry)
    flow, back = 2 * carry, []
    for slope in slopes[::-1]:
        back.append(flow)
        flow = flow * slope
    by_name = {"sin": sines, "add": sums}
    for name, value, gradient in zip(probes, arrays[:2], arrays[2:]):
        np.testing.assert_allclose(value, by_name[name], rtol=1e-14)
        np.testing.assert_allclose(gradient, back[::-1], rtol=1e-13)
    assert number == (carry**2).sum()


def test_whole_numbers_have_a_value_and_no_gradient() -> None:
    xs = symbol(tensor(XS).type)

    def choose(scan: Node, depth: int) -> dict[str, Node]:
        return {"count": scan.attrs["body"].outputs[1]}

    loss, (probe,) = probed(loss_of(xs).node, choose)
    assert probe.zeros is None
    counts, _ = NumpyEngine().compile(Graph((xs.node,), (probe.value, loss)))(XS)
    assert (counts == (XS > 0)).all()


def test_a_loop_in_which_nothing_is_chosen_stays_as_it_is() -> None:
    loss = loss_of(symbol(tensor(XS).type)).node
    assert probed(loss, of("nothing")) == (loss, [])
