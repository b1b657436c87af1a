"""Models of text: one token at a time or all at once, training, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pellucid as pel
from pellucid import gradcheck, nn, optim
from pellucid.data.windows import Windows
from pellucid.errors import ArgumentError, DataError
from pellucid.tensors import grad, tensor

SMALL: dict[str, Callable[..., nn.Module]] = {
    "transformer": lambda **more: nn.TransformerLanguageModel(
        **{"vocabulary_size": 7, "context": 9, "layers": 2, "heads": 2, "width": 8}
        | more
    ),
    "lstm": lambda **more: _recurrent("lstm", **{"layers": 2} | more),
    "gru": lambda **more: _recurrent("gru", **more),
    "rnn": lambda **more: _recurrent("rnn", **more),
}


def _recurrent(kind: str, **more: Any) -> nn.RecurrentLanguageModel:
    return nn.RecurrentLanguageModel(7, kind, **{"width": 6} | more)


every_model = pytest.mark.parametrize("kind", SMALL)


def tokens(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 7, shape)


def stepped(model: Any, text: Any) -> Any:
    """Return the scores of texts `[batch, time]`, read one token at a time."""
    state, scores = model.first_state(len(text)), []
    for column in text.T:
        found, state = model.step(tensor(column), state)
        scores.append(found.value)
    return np.stack(scores, 1)


# --- one at a time, and all at once ----------------------------------------------


@every_model
def test_steps_give_the_scores_of_the_whole_text(kind: str) -> None:
    model = SMALL[kind]().to("f64").eval()
    text = tokens(3, 9)
    np.testing.assert_allclose(stepped(model, text), model(text).value, atol=1e-12)


@every_model
def test_scores_do_not_depend_on_later_tokens(kind: str) -> None:
    model = SMALL[kind]().eval()
    text = tokens(1, 6)
    before = model(text).value
    text[0, 4:] = (text[0, 4:] + 1) % 7
    after = model(text).value
    np.testing.assert_array_equal(before[0, :4], after[0, :4])
    assert not np.allclose(before[0, 4], after[0, 4])


def test_steps_of_a_transformer_look_back_over_its_context() -> None:
    model: Any = SMALL["transformer"](layers=1, context=4).to("f64").eval()
    text = tokens(1, 11)
    found = stepped(model, text)[0]
    for end in range(4, 12):
        expected = model(text[:, end - 4 : end]).value[0, -1]
        np.testing.assert_allclose(found[end - 1], expected, atol=1e-12)


def test_the_state_of_a_transformer_does_not_grow() -> None:
    model: Any = SMALL["transformer"]()
    state = model.first_state(2)
    _, after = model.step(tensor([1, 2]), state)
    (keys, values), _ = after["caches"]
    assert keys.shape == values.shape == (2, 2, 9, 4)
    assert after["position"].item() == 1


# --- what they are made of -------------------------------------------------------


@every_model
def test_tied_scores_are_products_with_the_vectors_of_tokens(kind: str) -> None:
    free, tied = SMALL[kind](), SMALL[kind](tied=True)
    assert {*free.state_dict()} - {*tied.state_dict()} == {"head.weight", "head.bias"}
    (slope,) = grad(tied(tokens(1, 3)).sum(), [tied.embedding.weight])
    unused = np.setdiff1d(np.arange(7), tokens(1, 3))
    assert (slope.value[unused] != 0.0).any()


@pytest.mark.parametrize("tied", [False, True])
def test_a_new_model_finds_every_token_about_as_likely(tied: bool) -> None:
    text = np.random.default_rng(0).integers(0, 40, (8, 17))
    loss = nn.CrossEntropyLoss(axis=-1)
    for kind in ("transformer", "lstm"):
        found = loss(_of_forty(kind, tied)(text[:, :-1]), tensor(text[:, 1:])).item()
        assert found == pytest.approx(math.log(40), abs=1.0)


def _of_forty(kind: str, tied: bool) -> nn.Module:
    if kind == "transformer":
        return nn.TransformerLanguageModel(40, layers=2, width=32, tied=tied)
    return nn.RecurrentLanguageModel(40, width=32, tied=tied)


@pytest.mark.sampled(4)
@every_model
def test_the_gradient_checker_passes_them(kind: str) -> None:
    width = 4 if kind == "transformer" else 3
    assert gradcheck(SMALL[kind](layers=1, width=width), tokens(2, 3)).ok


@every_model
def test_a_file_rebuilds_them(kind: str, tmp_path: Any) -> None:
    model = SMALL[kind]().eval()
    model.save(tmp_path / "a.safetensors")
    same = nn.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(same(tokens(2, 5)).value, model(tokens(2, 5)).value)


# --- training --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "gru"])
def test_they_learn_a_text_that_repeats_alike_on_both_engines(kind: str) -> None:
    text = np.tile([0, 1, 2, 1, 3, 4, 5, 6], 12)
    windows = Windows(text, 8, stride=5, targets="shifted")
    losses = []
    for engine in ("numpy", "llvm"):
        pel.random.seed(0)
        trainer = pel.Trainer(
            SMALL[kind](dropout=0.05),
            nn.CrossEntropyLoss(axis=-1),
            optim.Adam(lr=0.02),
            engine=engine,
        )
        rows = trainer.fit(windows, epochs=12, batch_size=6, verbose=0).rows
        losses.append([row["loss"] for row in rows])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert losses[0][-1] < 0.5 * losses[0][0]


def test_the_axis_of_the_classes_may_be_the_last() -> None:
    scores = np.random.default_rng(1).normal(size=(2, 3, 7))
    turned, wanted = scores.swapaxes(1, 2), tokens(2, 3)
    for loss in (nn.CrossEntropyLoss, nn.NLLLoss):
        found = loss(axis=-1)(tensor(scores), tensor(wanted)).item()
        assert found == pytest.approx(loss()(tensor(turned), tensor(wanted)).item())


def test_a_token_to_come_that_has_no_score_is_named_before_training() -> None:
    text = np.array([0, 1, 2, 3, 9, 5, 6, 0, 1, 2])
    windows = Windows(text, 4, targets="shifted")
    trainer = pel.Trainer(
        nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 7)),
        nn.CrossEntropyLoss(axis=-1),
    )
    with pytest.raises(DataError, match=r"y holds the class 9 · .* classes 0 to 6"):
        trainer.fit(windows, epochs=1, verbose=0)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.RecurrentLanguageModel(7, "lstn"), "did you mean 'lstm'"),
        (lambda: nn.RecurrentLanguageModel(0), "vocabulary_size must be a whole"),
        (lambda: nn.TransformerLanguageModel(7, context=0), "context must be a whole"),
        (
            lambda: nn.TransformerLanguageModel(7, heads=3),
            "width=128 does not divide into 3 heads of even width · try width=132",
        ),
        (
            lambda: nn.TransformerLanguageModel(7, dropout=2.0),
            "dropout must be between",
        ),
    ],
)
def test_arguments_that_make_no_model_are_named(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@every_model
def test_a_token_outside_of_the_vocabulary_is_named(kind: str) -> None:
    with pytest.raises(DataError, match=r"LanguageModel\(.*: token 7 is not in"):
        SMALL[kind]()(np.array([[3, 7]]))


@every_model
def test_a_token_outside_of_the_vocabulary_is_named_before_training(kind: str) -> None:
    trainer = pel.Trainer(SMALL[kind](), nn.CrossEntropyLoss(axis=-1))
    with pytest.raises(DataError, match=r"token 7 is .* · try vocabulary_size=8"):
        trainer.fit(np.array([[3, 7]]), np.array([[7, 3]]))
