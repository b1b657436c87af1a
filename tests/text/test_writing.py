"""Writing with a model: prompts, seeds, blocks, engines, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import nn, random
from pellucid.errors import ArgumentError
from pellucid.nn.sampling import Taste
from pellucid.text.writing import BLOCK, Writer

Array = np.ndarray[Any, Any]
FREE, GREEDY = Taste(), Taste(temperature=0.0)


def model_of(kind: str) -> nn.LanguageModel:
    random.seed(1)
    if kind == "transformer":
        return nn.TransformerLanguageModel(7, context=90, layers=2, heads=2, width=8)
    return nn.RecurrentLanguageModel(7, kind, 2, 8)


def written(
    model: nn.LanguageModel,
    prompt: Any,
    length: int,
    taste: Taste = FREE,
    seed: int = 0,
    engine: str = "llvm",
) -> list[int]:
    writer = Writer(model, engine)
    pieces = [*writer.write(np.array(prompt), length, taste, seed)]
    assert all(0 < len(piece) <= BLOCK for piece in pieces)
    found: list[int] = np.concatenate([[], *pieces]).astype(int).tolist()
    return found


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_the_likeliest_continuation_is_that_of_the_whole_text_read_anew(
    kind: str,
) -> None:
    model = model_of(kind).to("f64")
    text = [3, 1, 4, 1, 5]
    found = written(model, text, 70, GREEDY)
    model.eval()
    for token in found[:12]:
        scores = model(np.array([text])).value[0, -1]
        assert token == scores.argmax()
        text.append(token)
    assert len(found) == 70


def test_a_prompt_may_be_longer_than_a_block() -> None:
    model = model_of("gru")
    prompt = np.random.default_rng(0).integers(0, 7, 2 * BLOCK + 5).tolist()
    found = written(model, prompt, 9, GREEDY)
    scores = model.eval()(np.array([prompt])).value[0, -1]
    assert found[0] == scores.argmax()
    assert len(found) == 9
    assert written(model, prompt[:1], BLOCK, GREEDY) != found


@pytest.mark.slow
def test_a_seed_decides_the_text_and_its_length_does_not() -> None:
    model = model_of("transformer")
    long = written(model, [1, 2], 100, seed=5)
    assert len(long) == 100
    assert long[:70] == written(model, [1, 2], 70, seed=5)
    assert long != written(model, [1, 2], 100, seed=6)
    assert len({*long}) > 3


@pytest.mark.slow
def test_the_engines_write_the_same() -> None:
    model = model_of("transformer")
    taste = Taste(0.8, 5, 0.9)
    plain, native = (
        written(model, [0], 40, taste, engine=each) for each in ("numpy", "llvm")
    )
    assert plain == native


def test_weights_are_read_when_text_is_written() -> None:
    model = model_of("gru")
    writer = Writer(model)
    for leaf in model.parameters():
        leaf.value = 0.0 * leaf.value
    model.head.bias.value = np.eye(7)[4]  # type: ignore[union-attr]
    (piece,) = writer.write(np.array([0]), 5, GREEDY, 0)
    assert piece.tolist() == [4] * 5


def test_a_model_in_training_writes_without_dropout_and_stays_in_training() -> None:
    model = nn.RecurrentLanguageModel(7, "gru", 2, 8, dropout=0.9)
    assert written(model, [1], 30, GREEDY) == written(model.train(), [1], 30, GREEDY)
    assert model.training
    assert model.recurrent.training


def test_nothing_may_be_asked_for() -> None:
    assert written(model_of("gru"), [1, 2, 3], 0) == []


def test_lengths_and_seeds_that_are_not_allowed_are_named_at_once() -> None:
    writer = Writer(model_of("gru"))
    with pytest.raises(
        ArgumentError, match="length=-1 · expected a whole number from 0"
    ):
        writer.write(np.array([1]), -1, Taste(), 0)
    with pytest.raises(ArgumentError, match="a seed is an integer from 0"):
        writer.write(np.array([1]), 5, Taste(), -3)
