"""Gradients of pieces of a value: joined side by side, added where they overlap."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import functional as F
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Node, toposort
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import symbol

X = np.random.default_rng(0).normal(size=(4, 6))

CUTS: dict[str, tuple[Any, list[str]]] = {
    "all of it": ([np.s_[:, :2], np.s_[:, 2:5], np.s_[:, 5:]], ["concat"]),
    "in another order": ([np.s_[:, 4:], np.s_[:, :4]], ["concat"]),
    "with gaps": ([np.s_[1:2], np.s_[3:4]], ["concat"]),
    "a single row each": ([np.s_[0], np.s_[1], np.s_[3]], ["concat"]),
    "one alone": ([np.s_[:, 1:3]], ["pad"]),
    "overlapping": ([np.s_[:, :3], np.s_[:, 3:], np.s_[:, 2:4]], ["concat", "pad"]),
    "along two axes": (
        [np.s_[:2], np.s_[2:], np.s_[:, :1], np.s_[:, 3:]],
        ["concat"] * 2,
    ),
    "of both axes at once": ([np.s_[:2, :2], np.s_[2:, 2:]], ["pad"] * 2),
    "every second": ([np.s_[::2], np.s_[1::2]], ["pad"] * 2),
    "nothing": ([np.s_[:, 2:2], np.s_[:, :2], np.s_[:, 2:]], ["concat", "pad"]),
    "and the whole": ([np.s_[:2], np.s_[2:], np.s_[:]], ["concat"]),
}


def loss_of(x: Any, keys: Any, of: Any) -> Any:
    """Return a number in which each piece counts by a weight of its own."""
    total = 0.0
    for i, key in enumerate(keys):
        total = total + (of.sin(x[key] * (i + 1.0)) * (i + 2.0)).sum()
    return total


def joins(node: Node) -> list[str]:
    names = [each.op.name for each in toposort([node])]
    return sorted(name for name in names if name in ("concat", "pad"))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CUTS)
def test_gradients_of_pieces_are_joined_and_agree_with_jax(name: str) -> None:
    keys, gates = CUTS[name]
    x = tensor(X, requires_grad=True)
    (flow,) = grad(loss_of(x, keys, F), [x])
    expected = jax.grad(loss_of)(jnp.asarray(X), keys, jnp)
    np.testing.assert_allclose(flow.value, expected, rtol=1e-12)
    assert joins(flow.node) == gates
    (bend,) = grad((flow * flow).sum(), [x])
    curve = jax.grad(lambda x: (jax.grad(loss_of)(x, keys, jnp) ** 2).sum())
    np.testing.assert_allclose(
        bend.value, curve(jnp.asarray(X)), rtol=1e-11, atol=1e-12
    )


def test_a_sequence_read_step_by_step_has_a_gradient_without_sums() -> None:
    x = symbol(tensor(np.zeros((50, 3))).type)
    state: Tensor = x[0]
    for t in range(1, 50):
        state = F.tanh(state * x[t])
    (flow,) = gradients(state.sum().node, [x.node])
    sizes = [each.op.name for each in toposort([flow]) if each.type == x.type]
    assert sizes.count("concat") == 1
    assert "add" not in sizes
    assert "pad" not in sizes
