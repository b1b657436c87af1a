"""What the backward pass of a scan keeps of each step, and what it runs again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import functional as F
from pellucid.ir.graph import toposort
from pellucid.passes.simplify import simplify
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol

XS = np.random.default_rng(0).normal(size=(5, 3))


def gated(carry: Any, x: Any, of: Any = F) -> Any:
    """A gate as ½ + ½ tanh: the rules ask for t, for 1 − t² and for the gate."""
    t = of.tanh(x + carry)
    gate = t * 0.5 + 0.5
    return carry * gate + gate * gate * x


def mixed(carry: Any, x: Any, of: Any = F) -> Any:
    """A sum of two kept values is one itself."""
    t, s = of.tanh(carry), of.sin(x * carry)
    return of.sin(t + s)


def loss_of(body: Any, xs: Tensor) -> Tensor:
    start = xs[0] * 0.0
    last, ys = F.scan(lambda c, x: (body(c, x), body(c, x) * 2.0), start, xs)
    return (last * last).sum() + (ys * ys).sum()


@pytest.mark.parametrize(
    ("body", "results"),
    [
        (gated, 4),  # the carry, what is returned, and what is kept: t and the carry
        (mixed, 6),  # … and the carry, t, and the arguments of both sines
    ],
)
def test_what_one_kept_value_gives_cheaply_is_not_kept_too(
    body: Any, results: int
) -> None:
    xs = symbol(tensor(XS).type)
    loss = loss_of(body, xs)
    graph = simplify(graph_of([xs], [loss, *grad(loss, [xs])]))
    scans = [each for each in toposort(graph.outputs) if each.op.name == "scan"]
    assert [len(each.type) for each in scans if not each.attrs["reverse"]] == [results]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("body", [gated, mixed])
def test_gradients_through_values_that_are_run_again_agree_with_jax(body: Any) -> None:
    def theirs(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return body(c, x, jnp), body(c, x, jnp) * 2.0

        last, ys = jax.lax.scan(step, xs[0] * 0.0, xs)
        return (last * last).sum() + (ys * ys).sum()

    xs = tensor(XS, requires_grad=True)
    (found,) = grad(loss_of(body, xs), [xs])
    np.testing.assert_allclose(found.value, jax.grad(theirs)(jnp.asarray(XS)), 1e-11)
