"""Writing with a model: one program reads the prompt and draws what follows.

The program takes so many characters at a time; each step reads one, carries the
model's state on, and draws the next, or takes it from the prompt. So nothing is
computed twice, and Python is asked once a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from pellucid.engines.choose import engine_named
from pellucid.engines.program import Program
from pellucid.errors import ArgumentError, message
from pellucid.functional import arange, scan, where
from pellucid.ir.graph import Graph
from pellucid.ir.types import TensorType
from pellucid.nn import LanguageModel
from pellucid.nn.module import evaluated
from pellucid.nn.sampling import Taste, chosen
from pellucid.random import key_of
from pellucid.tracing import graph_of, symbol, symbols
from pellucid.tree import leaves, map_leaves

__all__ = ["BLOCK", "Writer"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

BLOCK = 64
"""The characters that one run of the program takes."""

_I32 = np.dtype(np.int32)

_FREE = -1
"""Stands in the prompt's place where a character is to be drawn."""


class Writer:
    """Writes tokens with a language model.

    >>> from pellucid import nn
    >>> writer = Writer(nn.RecurrentLanguageModel(5, "gru", width=8))
    >>> [len(piece) for piece in writer.write(np.array([1, 2]), 100, Taste(), seed=0)]
    [63, 37]
    """

    def __init__(self, model: LanguageModel, engine: str | None = None) -> None:
        self._model, self._engine = model, engine_named(engine)
        self._leaves = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._first = model.first_state(1)

    def write(
        self, prompt: Array, length: int, taste: Taste, seed: int
    ) -> Iterator[Array]:
        """Return an iterator over what follows a prompt, `i32` arrays of some tokens.

        The prompt has at least one token. Raises `ArgumentError` for a length or a
        seed that is not allowed, before anything is computed.
        """
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            expected = "expected a whole number from 0"
            raise ArgumentError(message(f"length={length!r}", expected=expected))
        given = [key_of(seed).value, *taste.arrays()]
        types = [TensorType(each.shape, each.dtype) for each in given]
        program = self._engine.compile(self._graph(types))
        forced = np.concatenate([prompt[1:], np.full(length, _FREE)]).astype(np.int32)
        return self._pieces(program, given, int(prompt[0]), forced, len(prompt) - 1)

    def _pieces(
        self,
        program: Program,
        given: list[Array],
        first: int,
        forced: Array,
        known: int,
    ) -> Iterator[Array]:
        values = [each.value for each in self._leaves.values()]
        token = np.array(first, np.int32)
        state = [each.value for each in leaves(self._first)]
        for start in range(0, len(forced), BLOCK):
            block = np.full(BLOCK, _FREE, np.int32)
            part = forced[start : start + BLOCK]
            block[: len(part)] = part
            place = np.array(start, np.int32)
            written, *state = program(*values, *state, token, place, block, *given)
            token = written[-1]
            piece = written[max(known - start, 0) : len(part)]
            if len(piece):
                yield piece

    def _graph(self, controls: Sequence[TensorType]) -> Graph:
        """Return the program of one block.

        Inputs: the weights, the state, the token before, its place, what the prompt
        says, and the controls: the key, the temperature, what else limits the draw.
        Outputs: the tokens, the state.
        """
        state = map_leaves(lambda each: symbol(each.type, "state"), self._first)
        token, place = (symbol(TensorType((), _I32), name) for name in ("token", "at"))
        forced = symbol(TensorType((BLOCK,), _I32), "forced")
        given = [symbol(each, "control") for each in controls]

        def step(carry: Any, x: Any) -> Any:
            (token, state), (forced, place) = carry, x
            scores, state = self._model.step(token.reshape(1), state)
            token = where(forced >= 0, forced, chosen(scores[0], place, given))
            return (token, state), token

        places = place + arange(BLOCK, dtype="i32")
        with evaluated(self._model), symbols(self._leaves) as inside:
            (_, end), written = scan(step, (token, state), (forced, places))
        inputs = [*inside.values(), *leaves(state), token, place, forced, *given]
        return graph_of(inputs, [written, *leaves(end)])
