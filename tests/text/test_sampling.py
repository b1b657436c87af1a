"""Draws by scores: frequencies beside probabilities, what is kept, ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from pellucid.engines.choose import engine_named
from pellucid.functional import arange, scan
from pellucid.ir.types import TensorType
from pellucid.random import fold_in, key_of
from pellucid.tensors import tensor
from pellucid.text.sampling import draw, likeliest
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
            kept = likeliest(scores, *controls)
            return carry, draw(kept, fold_in(key_of(3), place), controls[0])

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
