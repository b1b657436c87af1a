"""Beam search: the likeliest sequences that a decoder can write, found step by step.

A block of steps is one program, a scan: each step scores every token behind every
hypothesis and keeps the best. Python is asked once a block, and traces the sequences
back at the end. It knows scores and states, and refuses to know models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, message
from pellucid.functional import (
    arange,
    argmax,
    expand_dims,
    log_softmax,
    pow,
    scan,
    take,
    where,
)
from pellucid.ir.graph import Array
from pellucid.nn.linear import positive
from pellucid.nn.sampling import drawn
from pellucid.tensors import Tensor, tensor
from pellucid.tree import map_leaves

__all__ = ["BLOCK", "Hypotheses", "Search", "traced_back"]

BLOCK = 16
"""The steps that one run of the program takes."""

Carry: TypeAlias = dict[str, Any]

_NEVER = float("-inf")


class Hypotheses(NamedTuple):
    """What a beam search found, the best of each row first.

    `tokens` is `[batch, beam, length]`: behind the end token stands padding. `scores`
    is `[batch, beam]`: the sum of the log-probabilities of the tokens, end token
    included, divided by their number to the power of the length penalty. A place that
    no hypothesis took has the score −inf.
    """

    tokens: Array
    scores: Array


@dataclass(frozen=True)
class Search:
    """How hypotheses are kept: how many, and how long ones compare with short ones.

    Args:
        beam: how many are kept at each step; 1 takes the likeliest token each time.
        length_penalty: α: a score is divided by the length to the power of α. 0
            compares sums of log-probabilities, 1 means. Source: Wu et al., "Google's
            neural machine translation system" (2016).
        max_length: the most tokens of a hypothesis.
        start, end, padding: tokens. Neither start nor padding is ever written.
    """

    beam: int
    length_penalty: float
    max_length: int
    start: int
    end: int
    padding: int

    def __post_init__(self) -> None:
        positive(beam=self.beam, max_length=self.max_length)
        given = self.length_penalty
        if not isinstance(given, int | float) or not 0.0 <= given < np.inf:
            expected = "expected a finite number from 0"
            raise ArgumentError(message(f"length_penalty={given!r}", expected=expected))

    def first(self, state: Any, batch: int, dtype: Any) -> Carry:
        """Return where the search begins: one hypothesis a row, with no token.

        The leaves of the state are arrays `[layers, batch, …]`; each hypothesis gets
        its row, `[layers, batch · beam, …]`.
        """
        shape = batch, self.beam
        totals = np.full(shape, _NEVER, dtype)
        totals[:, 0] = 0.0
        return {
            "tokens": np.full(shape, self.start, np.int32),
            "totals": totals,
            "lengths": np.zeros(shape, dtype),
            "done": np.zeros(shape, bool),
            "state": map_leaves(lambda each: each.repeat(self.beam, 1), state),
            "place": np.zeros((), np.int32),
        }

    def limits(self, dtype: Any) -> tuple[Array, Array]:
        """Return what `block` takes besides: the longest length, and the penalty."""
        return np.array(self.max_length, np.int32), np.array(self.length_penalty, dtype)

    def block(
        self,
        step: Callable[[Tensor, Any], tuple[Tensor, Any]],
        carry: Carry,
        limit: Tensor,
        penalty: Tensor,
        *taste: Tensor,
    ) -> tuple[Carry, tuple[Tensor, Tensor]]:
        """Take as many steps as a block has; return the tokens and parents of each.

        `step(tokens, state)`, with tokens `[batch, beam]`, gives scores `[batch, beam,
        vocabulary]` and the new state. With a taste, `sampling.controls`, the one
        hypothesis of a row goes on with tokens that are drawn.
        """
        return scan(
            lambda before, _: self._step(step, before, limit, penalty, taste),
            carry,
            length=BLOCK,
        )

    def _step(
        self,
        step: Any,
        before: Carry,
        limit: Tensor,
        penalty: Tensor,
        taste: Sequence[Tensor],
    ) -> tuple[Carry, tuple[Tensor, Tensor]]:
        scores, state = step(before["tokens"], before["state"])
        batch, beam, size = scores.shape
        still = before["done"] | (before["place"] >= limit)
        gains = self._gains(scores, still)
        totals = expand_dims(before["totals"], 2) + gains
        lengths = before["lengths"] + where(still, 0.0, 1.0).astype(scores.dtype)
        ranks = totals / expand_dims(pow(lengths, penalty), 2)
        if taste:
            ranks = drawn(gains, before["place"], taste)
        best, alive = _best(ranks.reshape(batch, beam * size), beam)
        places = np.arange(beam * size, dtype=np.int32)
        tokens = take(tensor(places % size), best)
        parents = take(tensor(places // size), best)
        rows = tensor(np.arange(batch, dtype=np.int32)[:, None])
        of = (parents + rows * beam).reshape(-1)
        kept = take(still.reshape(-1), of).reshape(batch, beam)
        sums = take(totals.reshape(-1), best + rows * (beam * size))
        after = {
            "tokens": tokens,
            "totals": where(alive, sums, _NEVER),
            "lengths": take(lengths.reshape(-1), of).reshape(batch, beam),
            "done": kept | (tokens == self.end) | ~alive,
            "state": map_leaves(lambda each: take(each, of, axis=1), state),
            "place": before["place"] + 1,
        }
        return after, (tokens, parents)

    def _gains(self, scores: Tensor, still: Tensor) -> Tensor:
        """Return what each next token adds; what stands still gets padding."""
        numbers = np.arange(scores.shape[2])
        padding = numbers == self.padding
        written = tensor(~padding & (numbers != self.start))
        gains = where(written, log_softmax(scores, -1), _NEVER)
        stays = tensor(np.where(padding, 0.0, _NEVER).astype(scores.dtype))
        return where(expand_dims(still, 2), stays, gains)


def _best(ranks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the places of the largest of each row, the largest first.

    And whether they are above −inf: where a row has too few, a place comes again.
    """
    numbers = arange(ranks.shape[1], dtype="i32")

    def take_one(left: Tensor, _: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        place, alive = argmax(left, 1), left.max(1) > _NEVER
        return where(numbers == expand_dims(place, 1), _NEVER, left), (place, alive)

    _, (places, alive) = scan(take_one, ranks, length=count)
    return places.T, alive.T


def traced_back(
    tokens: Array, parents: Array, end: Carry, search: Search
) -> Hypotheses:
    """Return the hypotheses that stand at the end, from what each step kept.

    Tokens and parents are `[steps, batch, beam]`.
    """
    steps, batch, beam = tokens.shape
    found = np.full((batch, beam, search.max_length), search.padding, tokens.dtype)
    at = np.broadcast_to(np.arange(beam), (batch, beam))
    for place in reversed(range(steps)):
        if place < search.max_length:
            found[:, :, place] = np.take_along_axis(tokens[place], at, 1)
        at = np.take_along_axis(parents[place], at, 1)
    found[np.isneginf(end["totals"])] = search.padding
    return Hypotheses(found, end["totals"] / end["lengths"] ** search.length_penalty)
