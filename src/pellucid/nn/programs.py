"""Programs of a model out of training: what it does at once, compiled once.

Knows leaves, graphs and engines. Refuses to know what the functions compute.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from pellucid.engines.choose import engine_named
from pellucid.engines.program import Program
from pellucid.ir.types import TensorType
from pellucid.nn.module import Module, evaluated
from pellucid.tensors import as_tensor
from pellucid.tracing import graph_of, symbol, symbols
from pellucid.tree import leaves, map_leaves, unflatten

__all__ = ["Programs"]


class Programs:
    """Runs functions of a model's leaves as programs, each compiled once.

    >>> from pellucid import nn
    >>> layer, programs = nn.Linear(2, 3), Programs()
    >>> x = np.zeros((4, 2), np.float32)
    >>> programs.run(layer, "twice", lambda x: {"y": layer(x) * 2}, x)["y"].shape
    (4, 3)
    """

    def __init__(self) -> None:
        self._ready: dict[Hashable, tuple[Program, Any]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Programs:
        return Programs()

    def run(
        self, model: Module, name: Hashable, function: Callable[..., Any], *inputs: Any
    ) -> Any:
        """Return what a function gives for trees of arrays, as a tree of arrays.

        `name` tells functions apart, and what they depend on besides their inputs.
        """
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        given = map_leaves(np.asarray, inputs)
        types = [TensorType(each.shape, each.dtype) for each in leaves(given)]
        engine = engine_named(None)
        kinds = tuple(each.type for each in named.values())
        key = (name, tuple(types), kinds, id(engine))
        if key not in self._ready:
            with evaluated(model), symbols(named) as inside:
                heads = [symbol(each) for each in types]
                found = map_leaves(as_tensor, function(*unflatten(given, heads)))
                graph = graph_of([*inside.values(), *heads], leaves(found))
            self._ready[key] = engine.compile(graph), map_leaves(lambda _: 0, found)
        program, form = self._ready[key]
        values = [each.value for each in named.values()]
        return unflatten(form, program(*values, *leaves(given)))
