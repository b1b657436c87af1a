"""The networks in PyTorch, as its tutorials write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.nets import sizes

__all__ = ["module"]


class Recurrent(nn.Module):
    """A class for each series."""

    def __init__(self, name: str) -> None:
        super().__init__()
        made: Any = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[name]
        width = sizes.HIDDEN[name]
        self.cell = made(sizes.FEATURES[name], width, batch_first=True)
        self.head = nn.Linear(width, sizes.CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cell(x)
        return self.head(outputs[:, -1])


class Text(nn.Module):
    """Scores for the next letter at every position, classes on axis 1."""

    def __init__(self) -> None:
        super().__init__()
        width = sizes.WIDTH
        self.embed = nn.Embedding(sizes.LETTERS, width)
        self.place = nn.Embedding(sizes.TOKENS, width)
        layer = nn.TransformerEncoderLayer(
            width, sizes.HEADS, 4 * width, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(
            layer, sizes.BLOCKS, enable_nested_tensor=False
        )
        self.head = nn.Linear(width, sizes.LETTERS)
        mask = nn.Transformer.generate_square_subsequent_mask(sizes.TOKENS)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x) + self.place.weight
        x = self.blocks(x, mask=self.mask, is_causal=True)
        return self.head(x).transpose(1, 2)


class Table(nn.Module):
    """A row's numbers and the vectors of its categories."""

    def __init__(self) -> None:
        super().__init__()
        counts = sizes.CATEGORIES
        self.tables = nn.ModuleList(nn.Embedding(n, sizes.COMPONENTS) for n in counts)
        into = sizes.COMPONENTS * len(counts) + sizes.NUMBERS
        self.hidden, self.head = nn.Linear(into, 64), nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kinds = x[:, sizes.NUMBERS :].long()
        parts = [each(kinds[:, i]) for i, each in enumerate(self.tables)]
        inputs = torch.cat([x[:, : sizes.NUMBERS], *parts], 1)
        return self.head(torch.relu(self.hidden(inputs)))


def _lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, 10),
    )


def module(name: str) -> nn.Module:
    """Return a network."""
    if name in sizes.HIDDEN:
        return Recurrent(name)
    return {"lenet": _lenet, "transformer": Text, "embedding": Table}[name]()
