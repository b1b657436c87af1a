"""What the layers of a model ask of their inputs, asked of the data.

Inside of a program nobody notices a length of 0 or a mask that hides everything, or
says in which row a token stands that does not exist. So the model is called once on
symbols, which notes the tests that its layers would make (`nn.checks`). Where a value
follows from the inputs alone, its test is made on all rows before the program runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.data.windows import Column, Slices
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.program import Program
from pellucid.errors import PellucidError
from pellucid.ir.graph import Array, Node, toposort
from pellucid.ir.types import TensorType
from pellucid.nn.checks import Check, checks_noted
from pellucid.nn.module import buffer_updates, evaluated
from pellucid.random import key_of, keys_from
from pellucid.tensors import Tensor, leaf_values
from pellucid.tracing import graph_of, symbol, symbols
from pellucid.train.columns import Data
from pellucid.train.step import Recipe

__all__ = ["InputChecks"]

_BLOCK = 1021
"""The rows of the symbols. No other axis is likely to be so long, so what has so many
entries along its first axis has one for each row."""


class InputChecks:
    """The tests of one model's layers, noted once for each kind of inputs."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._noted: dict[Any, _Noted] = {}

    def run(self, data: Data, of: str = "") -> None:
        """Raise what a layer would raise for its inputs; rows are those of the data.

        Nothing is asked of one array of floats. `of` names the data.
        """
        inputs = {k: each for k, each in data.items() if k.split(".")[0] == "x"}
        if len(inputs) == 1 and all(each.dtype.kind == "f" for each in inputs.values()):
            return
        kind = tuple(
            (name, each.shape[1:], each.dtype, isinstance(each, Slices))
            for name, each in inputs.items()
        )
        if kind not in self._noted:
            self._noted[kind] = _Noted.of(self._recipe, inputs)
        for check, value, first in self._noted[kind].on(list(inputs.values())):
            try:
                check.test(value, first)
            except PellucidError as error:
                said = ": ".join(filter(None, (of, check.layer, str(error))))
                raise type(error)(said) from None


@dataclass(frozen=True)
class _Noted:
    """Tests of inputs, by their numbers; and those of what a program finds from some.

    The program takes the inputs `used`, a block of rows of each.
    """

    direct: list[tuple[Check, int]]
    derived: list[Check]
    program: Program
    used: list[int]

    @classmethod
    def of(cls, recipe: Recipe, inputs: Data) -> _Noted:
        """Return the tests of a model that such inputs decide, and nothing else."""
        heads = [
            symbol(TensorType((_BLOCK, *each.shape[1:]), each.dtype), name)
            for name, each in inputs.items()
        ]
        number = {each.node: i for i, each in enumerate(heads)}
        arrays = [not isinstance(each, Slices) for each in inputs.values()]
        direct, derived = [], []
        for check in _called(recipe, heads):
            i = number.get(check.value.node)
            if i is not None and arrays[i]:
                direct.append((check, i))
            elif _decided(check, number):
                derived.append(check)
        values = [each.value for each in derived]
        needed = set(toposort([each.node for each in values]))
        used = [i for node, i in number.items() if node in needed]
        graph = graph_of([heads[i] for i in used], values)
        return cls(direct, derived, NumpyEngine().compile(graph), used)

    def on(self, inputs: Sequence[Column]) -> Iterator[tuple[Check, Array, int]]:
        """Return each test, what it is made of, and the number of the first row."""
        yield from ((check, np.asarray(inputs[i]), 0) for check, i in self.direct)
        rows = len(inputs[0])
        for first in range(0, rows if self.derived else 0, _BLOCK):
            # The last row fills the last block up.
            at = np.minimum(np.arange(first, first + _BLOCK), rows - 1)
            found = self.program(*(np.asarray(inputs[i][at]) for i in self.used))
            for check, value in zip(self.derived, found):
                yield check, value[: rows - first], first


def _called(recipe: Recipe, inputs: Sequence[Tensor]) -> list[Check]:
    """Return all tests that a model's layers would make of these inputs.

    What cannot be called like this is not tested: what is wrong with it is said when
    its own program is built.
    """
    with (
        evaluated(recipe.model),
        symbols(recipe.leaves()),
        keys_from(key_of(0)),
        buffer_updates(),
        checks_noted() as noted,
        suppress(Exception),
    ):
        recipe.model(*inputs)
    return noted


def _decided(check: Check, inputs: Mapping[Node, int]) -> bool:
    """Return whether a test is of one value a row that follows from inputs alone."""
    sources = {each for each in toposort([check.value.node]) if each.op.name == "input"}
    given = sources & inputs.keys()
    known = all(each in leaf_values for each in sources - given)
    return bool(given) and known and check.value.shape[:1] == (_BLOCK,)
