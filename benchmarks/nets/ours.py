"""The networks in Pellucid, and the first weights that everyone starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.nets import sizes
from pellucid import nn
from pellucid.functional import concat
from pellucid.random import key_of, keys_from
from pellucid.tensors import Tensor

__all__ = ["first", "loss", "module"]


class Recurrent(nn.Module):
    """A class for each series, from the state after its last step."""

    def __init__(self, name: str) -> None:
        made = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[name]
        width = sizes.HIDDEN[name]
        self.cell = made(sizes.FEATURES[name], width, batch_first=True)
        self.head = nn.Linear(width, sizes.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each class."""
        outputs, _ = self.cell(x)
        return self.head(outputs[:, -1])


class Text(nn.Module):
    """Scores for the next letter at every position."""

    def __init__(self) -> None:
        width = sizes.WIDTH
        self.embed = nn.Embedding(sizes.LETTERS, width)
        self.place = nn.LearnedPositions(sizes.TOKENS, width)
        layer = nn.TransformerEncoderLayer(
            width, sizes.HEADS, 4 * width, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, sizes.BLOCKS)
        self.head = nn.Linear(width, sizes.LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each letter."""
        return self.head(self.blocks(self.place(self.embed(x)), is_causal=True))


class Table(nn.Module):
    """A row's numbers and the vectors of its categories, through one hidden layer."""

    def __init__(self) -> None:
        counts = sizes.CATEGORIES
        self.tables = [nn.Embedding(n, sizes.COMPONENTS) for n in counts]
        into = sizes.COMPONENTS * len(counts) + sizes.NUMBERS
        self.hidden, self.head = nn.Linear(into, 64), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each class."""
        kinds = x[:, sizes.NUMBERS :].astype("i32")
        parts = [each(kinds[:, i]) for i, each in enumerate(self.tables)]
        inputs = concat([x[:, : sizes.NUMBERS], *parts], axis=1)
        return self.head(nn.functional.relu(self.hidden(inputs)))


def module(name: str) -> nn.Module:
    """Return a network."""
    if name in sizes.HIDDEN:
        return Recurrent(name)
    made: dict[str, Any] = {
        "lenet": nn.LeNet,
        "transformer": Text,
        "embedding": Table,
    }
    return made[name]()


def loss(name: str) -> Any:
    """Return the loss of a network."""
    return nn.CrossEntropyLoss(axis=-1 if name == "transformer" else 1)


def first(name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the first weights under PyTorch's names."""
    with keys_from(key_of(0)):
        return module(name).state_dict()
