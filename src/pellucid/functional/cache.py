"""Forward propagation that returns its cache, backward propagation from the cache.

This is how the chain rule is taught: each piece of a network has a forward that
returns its output and what its backward needs, and a backward that turns the
gradient of the output into the gradients of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.errors import GradientError, message
from pellucid.ir.graph import Array, Node, toposort
from pellucid.tensors import Tensor, TensorLike, as_tensor, grad, tensor

__all__ = ["Cache", "forward"]


@dataclass(frozen=True)
class Cache:
    """What a forward pass leaves for the backward pass: inputs, output, every wire."""

    inputs: tuple[Tensor, ...]
    output: Tensor

    def backward(self, gradient: TensorLike) -> tuple[Array, ...]:
        """Return d loss / d each input, from d loss / d output.

        >>> output, cache = forward(lambda x, w: x * w, 3.0, 2.0)
        >>> [each.item() for each in cache.backward(1.0)]
        [2.0, 3.0]
        """
        flows = grad(self.output, self.inputs, gradient)
        return tuple(flow.value for flow in flows)

    def wires(self) -> list[tuple[str, Array]]:
        """Return every gate that was computed and its value, in order.

        >>> _, cache = forward(lambda x, w: x * w + 1.0, 3.0, 2.0)
        >>> [(name, value.item()) for name, value in cache.wires()]
        [('mul', 6.0), ('add', 7.0)]
        """
        values: dict[Node, Array] = {}
        pending = [self.output]
        while pending:
            each = pending.pop()
            if each._parents and each.node not in values:
                values[each.node] = each.value
                pending.extend(each._parents)
        order = toposort([self.output.node])
        return [(node.op.name, values[node]) for node in order if node in values]


def forward(
    function: Callable[..., Tensor], *inputs: TensorLike
) -> tuple[Array, Cache]:
    """Compute `function(*inputs)`; return its output and the cache for the backward.

    Every input must be of floats.

    >>> output, cache = forward(lambda x, w: x @ w, [[1.0, 2.0]], [[3.0], [4.0]])
    >>> output
    array([[11.]], dtype=float32)
    """
    leaves = tuple(tensor(as_tensor(each).value, requires_grad=True) for each in inputs)
    output = function(*leaves)
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise GradientError(
            message(
                "the function's output does not depend on its inputs",
                expected="expected one tensor computed from them",
            )
        )
    return output.value, Cache(leaves, output)
