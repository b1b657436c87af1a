"""Keras 3 on JAX: `compile` and `fit`. It draws its own order of rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"

import keras

from benchmarks.data import examples, weights
from benchmarks.rows import Row

LOSSES = {
    "classes": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "values": keras.losses.MeanSquaredError,
}


def _optimizer(row: Row) -> Any:
    if row.optimizer == "sgd":
        return keras.optimizers.SGD(row.learning_rate)
    return keras.optimizers.Adam(row.learning_rate, epsilon=1e-8)


class Session:
    """A compiled model and its data."""

    def __init__(self, row: Row, together: int) -> None:
        self.row = row
        self.x, self.y = examples(row)
        last = len(row.widths) - 2
        layers = [
            keras.layers.Dense(out, None if i == last else row.activation)
            for i, (_, out) in enumerate(row.layers)
        ]
        self.model = keras.Sequential([keras.Input((row.widths[0],)), *layers])
        self.model.compile(
            optimizer=_optimizer(row),
            loss=LOSSES[row.task](),
            steps_per_execution=min(together, row.steps),
        )

    def reset(self) -> None:
        """Go back to the first weights and the optimiser's first state."""
        for layer, (weight, bias) in zip(self.model.layers, weights(self.row)):
            layer.set_weights([weight.T, bias])
        for each in self.model.optimizer.variables:
            if each is not self.model.optimizer.learning_rate:
                each.assign(np.zeros(each.shape, each.dtype))

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        history = self.model.fit(
            self.x,
            self.y,
            batch_size=self.row.batch,
            epochs=epochs,
            shuffle=self.row.shuffle,
            verbose=0,
        )
        return history.history["loss"]


def prepare(row: Row, together: int = 1) -> Session:
    """Return a session."""
    return Session(row, together)
