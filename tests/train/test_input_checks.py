"""What layers ask of lengths, masks and tokens is asked of all rows beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.data import Windows
from pellucid.errors import ArgumentError, DataError, PellucidError
from pellucid.functional import concat
from pellucid.tensors import Tensor
from pellucid.train.trainer import Trainer

RNG = np.random.default_rng(0)
ROWS, TIME, WIDTH = 300, 4, 3
X = RNG.normal(size=(ROWS, TIME, WIDTH)).astype(np.float32)
Y = X.sum((1, 2))[:, None]
LENGTHS = RNG.integers(1, TIME + 1, ROWS)
REAL = np.arange(TIME) < LENGTHS[:, None]
TOKENS = RNG.integers(1, 6, (ROWS, TIME)) * REAL
BAD = 277


class Attending(nn.Module):
    """Attention of a sequence to itself, where keys may be hidden."""

    def __init__(self) -> None:
        self.attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        found, _ = self.attention(x, x, x, key_padding_mask=hidden)
        return self.out(found.mean(1))


class Hiding(Attending):
    """The same, which is told what counts."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        return super().forward(x, ~(real != 0))


class Twice(nn.Module):
    """A model that reads each sequence twice, so its lengths are others."""

    def __init__(self) -> None:
        self.inner = nn.SequenceToVector(WIDTH, 4, 1, "gru")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.inner(concat([x, x], 1), lengths * 2)


def recurrent(**options: Any) -> nn.Module:
    return nn.SequenceToVector(WIDTH, 4, 1, "gru", **options)


def tokens() -> nn.Module:
    return nn.SequenceToVector(6, 4, 1, "gru", embedding_dim=2, padding_idx=0)


class Masked(nn.Module):
    """Recurrent layers that get a mask."""

    def __init__(self) -> None:
        self.inner = recurrent()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.inner(x, mask=mask)


def replaced(array: Any, value: Any) -> Any:
    found = array.copy()
    found[BAD] = value
    return found


CASES = {
    "lengths": (
        recurrent,
        lambda bad: (X, replaced(LENGTHS, 0) if bad else LENGTHS),
        f"a sequence is said to have length 0 · row {BAD}, counted from 0 · expected 1 "
        "to 4, the steps of the input · drop empty sequences",
    ),
    "lengths that were computed with": (
        Twice,
        lambda bad: (X, replaced(LENGTHS, 5) if bad else LENGTHS),
        f"a sequence is said to have length 10 · row {BAD}, counted from 0 · expected",
    ),
    "a mask of steps": (
        Masked,
        lambda bad: (X, replaced(REAL, False) if bad else REAL),
        f"the mask hides every step of a sequence · row {BAD}, counted from 0 · ",
    ),
    "a mask of numbers": (
        Masked,
        lambda bad: (X, np.float32(replaced(REAL, 0) if bad else REAL)),
        f"the mask hides every step of a sequence · row {BAD}, counted from 0 · ",
    ),
    "a mask of keys": (
        Attending,
        lambda bad: (X, ~(replaced(REAL, False) if bad else REAL)),
        f"key_padding_mask hides every key · row {BAD}, counted from 0 · ",
    ),
    "a mask of keys that was turned": (
        Hiding,
        lambda bad: (X, replaced(REAL, False) if bad else REAL),
        f"key_padding_mask hides every key · row {BAD}, counted from 0 · ",
    ),
    "padding": (
        tokens,
        lambda bad: replaced(TOKENS, 0) if bad else TOKENS,
        f"a sequence is padding alone, token 0 · row {BAD}, counted from 0 · ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_row_that_a_layer_refuses_is_named_and_nothing_is_lost(case: str) -> None:
    make, data, words = CASES[case]
    good, bad = data(False), data(True)
    trainer = Trainer(make(), nn.MSELoss(), optim.SGD(lr=0.01), engine="numpy")
    trainer.fit(good, Y, epochs=1, batch_size=100, verbose=0)
    before = {name: each.value for name, each in trainer.model.named_parameters()}
    expected = trainer.predict(good)
    for call in (
        lambda: trainer.fit(bad, Y, epochs=1, verbose=0),
        lambda: trainer.fit(bad, Y, epochs=1, validation=0.9, verbose=0),
        lambda: trainer.evaluate(bad, Y),
        lambda: trainer.predict(bad),
    ):
        with pytest.raises(PellucidError) as caught:
            call()
        assert words in str(caught.value)
    with pytest.raises(PellucidError) as caught:
        trainer.fit(good, Y, epochs=1, validation=(bad, Y), verbose=0)
    assert str(caught.value).startswith("validation: ")
    assert words in str(caught.value)
    assert len(trainer.history) == 1
    for name, each in trainer.model.named_parameters():
        assert each.value is before[name]
    np.testing.assert_array_equal(trainer.predict(good), expected)


def test_the_error_is_the_one_at_the_prompt_with_the_layer_in_front() -> None:
    model, lengths = recurrent(), replaced(LENGTHS, 0)
    with pytest.raises(ArgumentError) as here:
        model(X, lengths)
    with pytest.raises(ArgumentError) as there:
        Trainer(model, nn.MSELoss()).fit((X, lengths), Y, verbose=0)
    said = f"{model!r}".partition("\n")[0] + "): a sequence is said to have length 0"
    assert str(there.value).startswith(said)
    assert str(here.value).startswith(str(there.value))


def test_a_model_that_knows_its_batch_size_is_trained_as_before() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            self.out = nn.Linear(TIME * WIDTH, 1)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            if x.shape[0] != 100:
                raise ValueError("a batch of another size")
            return self.out(x.reshape(100, TIME * WIDTH)) * lengths.reshape(100, 1)

    trainer = Trainer(Rows(), nn.MSELoss(), optim.SGD(lr=0.001))
    trainer.fit((X, LENGTHS), Y, epochs=1, batch_size=100, verbose=0)
    assert trainer.history.iterations == 3


def test_a_model_is_called_for_its_checks_once_and_draws_no_key() -> None:
    calls = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            self.inner = recurrent(dropout=0.5)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            calls.append(x.shape[0])
            return self.inner(x, lengths)

    trainer = Trainer(Counting(), nn.MSELoss(), engine="numpy")
    for rows in (64, 64, 1, 300):
        trainer.predict((X[:rows], LENGTHS[:rows]))
    assert calls.count(1021) == 1


def test_a_mask_of_a_query_is_not_confused_with_one_of_rows() -> None:
    class Back(nn.Module):
        def __init__(self) -> None:
            self.attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
            self.out = nn.Linear(WIDTH, 1)

        def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
            found, _ = self.attention(x, x, x, attn_mask=hidden)
            return self.out(found.mean(1))

    late = np.triu(np.ones((TIME, TIME), bool), 1)
    masks = np.repeat(late[None], ROWS, 0)
    trainer = Trainer(Back(), nn.MSELoss())
    trainer.fit((X, masks), Y, epochs=1, verbose=0)
    masks[BAD, 2] = True
    with pytest.raises(DataError, match=f"attn_mask .* row {BAD}, position 2, counted"):
        trainer.predict((X, masks))


def test_a_window_with_a_token_that_does_not_exist_is_named() -> None:
    text = np.tile(np.arange(6), 500)
    trainer = Trainer(
        nn.RecurrentLanguageModel(6, "gru", width=4), nn.CrossEntropyLoss(axis=-1)
    )
    trainer.fit(Windows(text, 10, targets="shifted"), epochs=1, verbose=0)
    text[2222] = 6
    bad = Windows(text, 10, targets="shifted")
    words = "token 6 is not in the vocabulary · row 2213, position 9, counted from 0"
    for call in (
        lambda: trainer.fit(bad, validation=0.2, verbose=0),
        lambda: trainer.evaluate(bad),
        lambda: trainer.predict(bad),
    ):
        with pytest.raises(DataError, match=words):
            call()
