"""What changes from one update to the next: a frozen record of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.ir.graph import Array
from pellucid.ir.types import TensorType
from pellucid.nn.module import Module
from pellucid.optim.base import Transform
from pellucid.tensors import Parameter, Tensor, tensor
from pellucid.tracing import symbol
from pellucid.tree import flatten, leaves, unflatten

__all__ = ["TrainState"]


@dataclass(frozen=True)
class TrainState:
    """Parameters, buffers, the optimiser's state, and the number of updates made.

    The leaves are arrays, or tensors while a graph is being built. With the data, the
    settings and the seed it decides all that follows.
    """

    params: dict[str, Any]
    buffers: dict[str, Any]
    optimizer: Any
    step: Any

    @classmethod
    def first(
        cls,
        parameters: Mapping[str, Parameter],
        buffers: Mapping[str, Parameter],
        optimizer: Transform,
    ) -> TrainState:
        """Return the state before the first update."""
        params = {name: each.value for name, each in parameters.items()}
        start = optimizer.init({name: tensor(value) for name, value in params.items()})
        arrays = unflatten(start, [each.value for each in leaves(start)])
        carried = {name: each.value for name, each in buffers.items()}
        return cls(params, carried, arrays, np.array(0, np.int32))

    def leaves(self) -> list[Any]:
        """Return the leaves, in the order in which programs take and give them."""
        return list(self._leaves)

    @cached_property
    def _leaves(self) -> tuple[Any, ...]:
        inner = leaves(self.optimizer)
        return (*self.params.values(), *self.buffers.values(), *inner, self.step)

    def with_leaves(self, given: Sequence[Any]) -> TrainState:
        """Return a state of this shape with other leaves."""
        first = len(self.params)
        second = first + len(self.buffers)
        new = TrainState(
            dict(zip(self.params, given[:first])),
            dict(zip(self.buffers, given[first:second])),
            unflatten(self.optimizer, given[second:-1]),
            given[-1],
        )
        new.__dict__["_leaves"] = tuple(given)  # known: no need to look for them
        return new

    def named(self) -> dict[str, Any]:
        """Return the leaves by name, as they stand in a file."""
        return flatten(self)

    def as_symbols(self) -> TrainState:
        """Return the state with a symbol for each array."""
        named = self.named().items()
        return self.with_leaves([symbol(_type(each), name) for name, each in named])

    def put_into(self, model: Module) -> None:
        """Give the parameters and the buffers to a model."""
        self.give({**dict(model.named_parameters()), **dict(model.named_buffers())})

    def give(self, leaves: Mapping[str, Parameter]) -> None:
        """Give their values to parameters and buffers."""
        values = {**self.params, **self.buffers}
        for name, leaf in leaves.items():
            leaf.value = values[name]

    def with_weights(self, other: TrainState) -> TrainState:
        """Return this state with the parameters and buffers of another."""
        return replace(self, params=other.params, buffers=other.buffers)

    @property
    def nbytes(self) -> int:
        """The bytes that the arrays take."""
        return sum(each.nbytes for each in self.leaves())


def _type(value: Array | Tensor) -> TensorType:
    return TensorType(value.shape, value.dtype)
