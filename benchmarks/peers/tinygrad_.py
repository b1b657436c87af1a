"""tinygrad on the CPU: the step in a `TinyJit`. It needs clang to compile.

The data lie on the device, put in a new order once an epoch: a copy takes longer than
a step. A bound variable says where a batch begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.data import examples, weights
from benchmarks.rows import Row

_CLANGS = ("clang", *(f"clang-{version}" for version in range(25, 13, -1)))

os.environ["DEV"] = "CPU"
os.environ.setdefault("CC", next(filter(shutil.which, _CLANGS), "clang"))

from tinygrad import Context, Tensor, TinyJit, Variable  # noqa: E402 - the device is chosen before
from tinygrad.nn import optim  # noqa: E402

OPTIMIZERS = {"adam": optim.Adam, "sgd": optim.SGD}


class Session:
    """Weights, optimiser and the captured step."""

    def __init__(self, row: Row) -> None:
        if shutil.which(os.environ["CC"]) is None:
            raise RuntimeError("tinygrad needs clang, which is not installed")
        self.row = row
        self.x, self.y = examples(row)
        self.random = np.random.default_rng(3)

        self.layers = [
            (Tensor(weight).contiguous().realize(), Tensor(bias).contiguous().realize())
            for weight, bias in weights(row)
        ]
        leaves = [each for layer in self.layers for each in layer]
        self.optimizer = OPTIMIZERS[row.optimizer](leaves, lr=row.learning_rate)
        self.kept = [*leaves, *self._states()]
        self.first = [each.numpy().copy() for each in self.kept]
        self.x_now = Tensor(self.x).contiguous().realize()
        self.y_now = Tensor(self.y).contiguous().realize()
        self.total = Tensor.zeros(1).contiguous().realize()
        self.first_row = Variable("first", 0, max(1, row.rows - row.batch))
        self.step = TinyJit(self._step)

    def _states(self) -> list[Tensor]:
        names = ("m", "v", "b1_t", "b2_t", "b")
        found: list[Tensor] = []
        for name in names:
            value = getattr(self.optimizer, name, [])
            found += [value] if isinstance(value, Tensor) else value
        return [each.realize() for each in found]

    def reset(self) -> None:
        """Go back to the first weights and state; the captured step is kept."""
        for each, value in zip(self.kept, self.first):
            each.assign(Tensor(value)).realize()

    def _step(self, first: Any) -> None:
        """Make one update with the rows from `first`; add its loss to the total."""
        x, y = self.x_now, self.y_now
        if self.row.shuffle:
            x = x[first : first + self.row.batch].contiguous()
            y = y[first : first + self.row.batch].contiguous()
        for weight, bias in self.layers[:-1]:
            x = x.linear(weight.T, bias)
            x = x.relu() if self.row.activation == "relu" else x.tanh()
        weight, bias = self.layers[-1]
        x = x.linear(weight.T, bias)
        if self.row.task == "values":
            loss = (x - y).square().mean()
        else:
            loss = x.sparse_categorical_crossentropy(y)
        self.optimizer.zero_grad()
        loss.backward()
        self.total.assign(self.total + loss)
        Tensor.realize(self.total, *self.optimizer.schedule_step())

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        with Context(TRAINING=1):
            return [
                self._epoch(None if orders is None else orders[i])
                for i in range(epochs)
            ]

    def _epoch(self, order: Any) -> float:
        row = self.row
        if row.shuffle:
            if order is None:
                order = self.random.permutation(row.rows)
            self.x_now.assign(Tensor(self.x[order])).realize()
            self.y_now.assign(Tensor(self.y[order])).realize()
        self.total.assign(Tensor.zeros(1)).realize()
        for first in range(0, row.rows, row.batch):
            self.step(self.first_row.bind(first) if row.shuffle else 0)
        return float(self.total.item()) / row.steps


def prepare(row: Row) -> Session:
    """Return a session."""
    return Session(row)
