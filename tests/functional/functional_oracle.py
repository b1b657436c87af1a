"""Compares a function of tensors with JAX's: values, first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import trace

Array = np.ndarray[Any, Any]


def leaf(value: Any) -> Tensor:
    """Return a float64 tensor of which a gradient can be asked."""
    return tensor(np.asarray(value, np.float64), requires_grad=True)


def slopes(function: Callable[..., Tensor], *values: Any) -> list[Array]:
    """Return the gradients of the sum of the output, by our rules."""
    leaves = [leaf(each) for each in values]
    return [each.value for each in grad(function(*leaves).sum(), leaves)]


def slope(function: Callable[[Tensor], Tensor], value: Any) -> Array:
    return slopes(function, value)[0]


def second(function: Callable[[Tensor], Tensor], value: Any) -> Array:
    """Return the derivative of the sum of the gradient."""
    x = leaf(value)
    (first,) = grad(function(x).sum(), [x])
    return grad(first.sum(), [x])[0].value


def agree(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Any],
    *values: Any,
    bend: bool = True,
) -> None:
    """Check values, gradients and (with `bend`) second derivatives to 1e-9."""
    arrays = [np.asarray(each, np.float64) for each in values]
    curved = bend and len(arrays) == 1
    expected, flows, curve = _oracle(theirs, len(arrays), curved)(*arrays)
    found = ours(*map(leaf, arrays)).value
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    for ours_, theirs_ in zip(slopes(ours, *arrays), flows):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-9, atol=1e-12)
    if curved:
        np.testing.assert_allclose(
            second(ours, arrays[0]), curve, rtol=1e-8, atol=1e-10
        )


def _oracle(theirs: Callable[..., Any], count: int, curved: bool) -> Any:
    """Return value, gradients and curvature as one program: JAX compiles it once."""

    def total(*xs: Any) -> Any:
        return theirs(*xs).sum()

    def program(*xs: Any) -> Any:
        flows = jax.grad(total, tuple(range(count)))(*xs)
        curve = jax.grad(lambda x: jax.grad(total)(x).sum())(xs[0]) if curved else None
        return theirs(*xs), flows, curve

    return jax.jit(program)


def compiled(function: Callable[..., Tensor], *values: Array) -> Array:
    """Return what the traced and compiled function gives."""
    types = [tensor(each).type for each in values]
    return NumpyEngine().compile(trace(function, *types))(*values)[0]
