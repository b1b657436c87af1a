"""Draws by scores: frequencies beside probabilities, what is kept, ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError
from pellucid.functional import arange, scan
from pellucid.ir.types import TensorType
from pellucid.nn.sampling import Taste, chosen, gumbel, likeliest
from pellucid.random import key_of
from pellucid.tensors import tensor
from pellucid.tracing import trace

Array = np.ndarray[Any, Any]

SCORES = np.array([1.5, -0.5, 2.0, 0.3, 2.0, -3.0], np.float32)
COUNT = 20000


def shares(temperature: float, top_k: int, top_p: float) -> Array:
    """Return the probability of each token, by sorting."""
    scaled = SCORES.astype(float) / temperature
    order = np.argsort(-scaled, kind="stable")[:top_k]
    found = np.exp(scaled[order] - scaled.max())
    found /= found.sum()
    kept = np.cumsum(found) - found < top_p
    result = np.zeros(len(SCORES))
    result[order[kept]] = found[kept] / found[kept].sum()
    return result


def drawn(
    temperature: float,
    top_k: int,
    top_p: float,
    count: int = COUNT,
    by: Array = SCORES,
) -> Array:
    """Return so many draws, each with a key of its own, as one program."""

    def many(scores: Any, *controls: Any) -> Any:
        def one(carry: Any, place: Any) -> Any:
            return carry, chosen(scores, place, [key_of(3), *controls])

        return scan(one, tensor(0.0), arange(count, dtype="i32"))[1]

    values = [
        by,
        np.array(temperature, np.float32),
        np.array(top_k, np.int32),
        np.array(top_p, np.float32),
    ]
    graph = trace(many, *(TensorType(each.shape, each.dtype) for each in values))
    found: Array = engine_named("llvm").compile(graph)(*values)[0]
    return found


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 6, 1.0), (0.5, 6, 1.0), (3.0, 3, 1.0), (1.0, 6, 0.6), (1.5, 4, 0.8)],
)
def test_tokens_come_as_often_as_they_are_probable(
    temperature: float, top_k: int, top_p: float
) -> None:
    expected = shares(temperature, top_k, top_p)
    counts = np.bincount(drawn(temperature, top_k, top_p), minlength=6)
    assert (counts[expected == 0.0] == 0).all()
    possible = expected > 0.0
    fit = scipy.stats.chisquare(counts[possible], COUNT * expected[possible])
    assert fit.pvalue > 1e-3


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.0, 6, 1.0), (1.0, 1, 1.0), (1.0, 6, 1e-6)]
)
def test_the_likeliest_token_alone_may_be_drawn(
    temperature: float, top_k: int, top_p: float
) -> None:
    # Of two that are equal it is the first.
    assert (drawn(temperature, top_k, top_p, 50) == 2).all()


def test_the_tokens_that_reach_a_probability_are_kept_and_no_more() -> None:
    scores = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    for top_p, most in ((0.5, 0), (0.51, 1), (0.76, 2), (0.95, 3)):
        assert {*drawn(1.0, 9, top_p, 200, scores)} == {*range(most + 1)}


def test_each_row_of_scores_has_a_draw_of_its_own() -> None:
    scores = np.broadcast_to(SCORES, (3000, 2, 6)).astype(np.float64)
    limits = tensor(np.int32(3)), tensor(np.float32(0.9))
    temperature = tensor(np.float32(2.0))
    kept = likeliest(tensor(scores), temperature, *limits)
    assert ((kept.value == -np.inf) == (kept.value[0, 0] == -np.inf)).all()
    found = chosen(tensor(scores), 7, [key_of(1), temperature, *limits]).value
    expected = shares(2.0, 3, 0.9)
    assert found.shape == (3000, 2)
    for column in found.T:
        counts = np.bincount(column, minlength=6)
        possible = expected > 0.0
        fit = scipy.stats.chisquare(counts[possible], 3000 * expected[possible])
        assert fit.pvalue > 1e-3


def test_no_random_number_forbids_a_token() -> None:
    for dtype in (np.float32, np.float64):
        drawn = np.array([0.0, 1.0 - np.finfo(dtype).eps], dtype)
        assert np.isfinite(gumbel(tensor(drawn)).value).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -1.0}, "temperature=-1.0 · expected a number from 0"),
        ({"temperature": None}, "temperature=None"),
        ({"temperature": True}, "temperature=True"),
        ({"temperature": np.inf}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0 · expected a whole number from 1"),
        ({"top_k": 2.5}, "top_k=2.5 · expected a whole number from 1"),
        ({"top_p": 1.5}, "top_p=1.5 · expected a number above 0 and at most 1"),
    ],
)
def test_a_taste_that_is_not_allowed_is_named(options: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        Taste(**options)


def test_a_taste_may_be_numbers_of_numpy() -> None:
    found = Taste(np.float32(0.5), np.int64(3), np.float32(0.25)).arrays()
    assert [each.item() for each in found] == [0.5, 3, 0.25]
