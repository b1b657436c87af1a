"""Writing with a model: one program reads the prompt and draws what follows.

The program takes so many characters at a time; each step reads one, carries the
model's state on, and draws the next, or takes it from the prompt. So nothing is
computed twice, and Python is asked once a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, message
from pellucid.functional import arange, scan, where
from pellucid.ir.graph import Graph
from pellucid.ir.types import TensorType
from pellucid.nn import LanguageModel
from pellucid.random import fold_in, key_of
from pellucid.text.sampling import Controls, draw
from pellucid.tracing import graph_of, symbol, symbols
from pellucid.tree import leaves, map_leaves

__all__ = ["BLOCK", "Taste", "Writer"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

BLOCK = 64
"""The characters that one run of the program takes."""

_I32 = np.dtype(np.int32)

_FREE = -1
"""Stands in the prompt's place where a character is to be drawn."""


_ALLOWED: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda x: 0 <= x < np.inf, "from 0"),
    "top_k": (lambda x: x >= 1 and x == int(x), "from 1 that is whole"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
}
"""Whether a value is allowed, and the words for what is."""


@dataclass(frozen=True)
class Taste:
    """How characters are drawn. Raises `ArgumentError` for what is not allowed."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        for name, (allowed, expected) in _ALLOWED.items():
            value = getattr(self, name)
            if value is None and name != "temperature":
                continue
            if not isinstance(value, int | float) or not allowed(value):
                text = f"expected a number {expected}"
                raise ArgumentError(message(f"{name}={value!r}", expected=text))

    def arrays(self) -> list[Array]:
        """Return what a program takes."""
        most = np.iinfo(np.int32).max
        top_k = most if self.top_k is None else min(self.top_k, most)
        top_p = 1.0 if self.top_p is None else self.top_p
        return [
            np.array(self.temperature, np.float32),
            np.array(top_k, np.int32),
            # Shares that sum to 1 but for rounding must not be cut off.
            np.array(np.inf if top_p >= 1.0 else top_p, np.float32),
        ]


class Writer:
    """Writes tokens with a language model.

    >>> from pellucid import nn
    >>> writer = Writer(nn.RecurrentLanguageModel(5, "gru", width=8))
    >>> [len(piece) for piece in writer.write(np.array([1, 2]), 100, Taste(), seed=0)]
    [63, 37]
    """

    def __init__(self, model: LanguageModel, engine: str | None = None) -> None:
        self._leaves = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._first = model.first_state(1)
        self._program = engine_named(engine).compile(self._graph(model))

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
        forced = np.concatenate([prompt[1:], np.full(length, _FREE)]).astype(np.int32)
        return self._pieces(int(prompt[0]), forced, len(prompt) - 1, given)

    def _pieces(
        self, first: int, forced: Array, known: int, given: list[Array]
    ) -> Iterator[Array]:
        values = [each.value for each in self._leaves.values()]
        token = np.array(first, np.int32)
        state = [each.value for each in leaves(self._first)]
        for start in range(0, len(forced), BLOCK):
            block = np.full(BLOCK, _FREE, np.int32)
            part = forced[start : start + BLOCK]
            block[: len(part)] = part
            place = np.array(start, np.int32)
            written, *state = self._program(
                *values, *state, token, place, block, *given
            )
            token = written[-1]
            piece = written[max(known - start, 0) : len(part)]
            if len(piece):
                yield piece

    def _graph(self, model: LanguageModel) -> Graph:
        """Return the program of one block.

        Inputs: the weights, the state, the token before, its place, what the prompt
        says, the key, the controls. Outputs: the tokens, the state.
        """
        state = map_leaves(lambda each: symbol(each.type, "state"), self._first)
        token, place = (symbol(TensorType((), _I32), name) for name in ("token", "at"))
        forced = symbol(TensorType((BLOCK,), _I32), "forced")
        key = symbol(TensorType((2,), np.dtype(np.uint32)), "key")
        numbers = np.dtype(np.float32), _I32, np.dtype(np.float32)
        controls = Controls(*(symbol(TensorType((), each)) for each in numbers))

        def step(carry: Any, given: Any) -> Any:
            (token, state), (forced, place) = carry, given
            scores, state = model.step(token.reshape(1), state)
            drawn = draw(scores[0], fold_in(key, place), controls)
            token = where(forced >= 0, forced, drawn)
            return (token, state), token

        places = place + arange(BLOCK, dtype="i32")
        with _reading(model), symbols(self._leaves) as inside:
            (_, end), written = scan(step, (token, state), (forced, places))
        inputs = [
            *inside.values(),
            *leaves(state),
            token,
            place,
            forced,
            key,
            *controls,
        ]
        return graph_of(inputs, [written, *leaves(end)])


@contextmanager
def _reading(model: LanguageModel) -> Iterator[None]:
    """Take a model out of training for a block."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
