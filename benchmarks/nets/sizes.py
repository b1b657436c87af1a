"""What goes into each network, and what it costs. Knows NumPy and no library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["NETS", "Net"]

Array = np.ndarray[Any, Any]

HIDDEN = {"lstm": 128, "gru": 128, "rnn": 32}
FEATURES = {"lstm": 64, "gru": 64, "rnn": 8}
STEPS = {"lstm": 64, "gru": 64, "rnn": 50}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
CLASSES = 10
LETTERS, WIDTH, TOKENS, BLOCKS, HEADS = 65, 128, 64, 4, 4
CATEGORIES, NUMBERS = (9, 16, 7, 15, 6, 5, 2, 42), 6
"""The sizes of the tables of the census data, and its columns of numbers."""
COMPONENTS = 8


@dataclass(frozen=True)
class Net:
    """A network: examples by their number, multiplications forward for one, weights."""

    examples: Callable[[int], tuple[Array, Array]]
    products: int
    parameters: int


def _images(rows: int) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    y = random.integers(0, CLASSES, rows).astype(np.int32)
    x = random.normal(size=(rows, 1, 28, 28)).astype(np.float32)
    x[np.arange(rows), 0, 2 * y, 2 * y] += 3.0
    return x, y


def _series(name: str) -> Callable[[int], tuple[Array, Array]]:
    def draw(rows: int) -> tuple[Array, Array]:
        random = np.random.default_rng(1)
        shape = rows, STEPS[name], FEATURES[name]
        x = random.normal(size=shape).astype(np.float32)
        score = x[:, -8:].mean(1) @ random.normal(size=(FEATURES[name], CLASSES))
        return x, score.argmax(1).astype(np.int32)

    return draw


def _text(rows: int) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    steps = random.integers(0, 3, (rows, TOKENS + 1))
    tokens = (steps.cumsum(1) % LETTERS).astype(np.int32)
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def _table(rows: int) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    kinds = [random.integers(0, size, rows) for size in CATEGORIES]
    numbers = random.normal(size=(rows, NUMBERS))
    x = np.column_stack([numbers, *kinds]).astype(np.float32)
    y = (numbers[:, 0] + (kinds[1] % 3) > 1).astype(np.int32)
    return x, y


def _recurrent(name: str) -> Net:
    hidden, features, gates = HIDDEN[name], FEATURES[name], GATES[name]
    weights = gates * hidden * (features + hidden)
    products = STEPS[name] * weights + hidden * CLASSES
    parameters = weights + 2 * gates * hidden + (hidden + 1) * CLASSES
    return Net(_series(name), products, parameters)


def _transformer() -> Net:
    block = 12 * WIDTH * WIDTH
    products = TOKENS * (BLOCKS * (block + 2 * TOKENS * WIDTH) + WIDTH * LETTERS)
    parameters = BLOCKS * (block + 13 * WIDTH) + (2 * LETTERS + TOKENS) * WIDTH
    return Net(_text, products, parameters)


def _embedding() -> Net:
    into = COMPONENTS * len(CATEGORIES) + NUMBERS
    weights = into * 64 + 64 * 2
    return Net(_table, weights, weights + 66 + COMPONENTS * sum(CATEGORIES))


NETS: dict[str, Net] = {
    "lenet": Net(_images, 784 * 150 + 100 * 2400 + 58_920, 61_706),
    **{name: _recurrent(name) for name in ("lstm", "gru", "rnn")},
    "transformer": _transformer(),
    "embedding": _embedding(),
}
"""Every network by its name."""
