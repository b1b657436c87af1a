"""The numbers that every peer starts from: data, first weights, orders of rows.

Knows NumPy, and Pellucid's way to draw an order. Knows no peer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.nets.sizes import NETS
from benchmarks.rows import Row

__all__ = ["examples", "orders", "reference_outputs", "weights"]

Array = np.ndarray[Any, Any]

_FLIPPED = 0.2
"""The share of wrong labels: without any, losses and gradients would vanish."""


def examples(row: Row) -> tuple[Array, Array]:
    """Return inputs `f32[rows, in]`, and classes `i32[rows]` or `f32[rows, out]`."""
    if row.net:
        return NETS[row.net].examples(row.rows)
    random = np.random.default_rng(1)
    x = random.standard_normal((row.rows, row.widths[0]), dtype=np.float32)
    if row.kind == "predict":
        return x, np.zeros(row.rows, np.int32)
    mixing = random.standard_normal((row.widths[0], row.widths[-1]), dtype=np.float32)
    scores = np.tanh(x @ mixing / np.sqrt(row.widths[0], dtype=np.float32))
    if row.task == "values":
        noise = random.standard_normal(scores.shape, dtype=np.float32)
        return x, scores + np.float32(0.1) * noise
    y = scores.argmax(1).astype(np.int32)
    flipped = random.random(row.rows) < _FLIPPED
    y[flipped] = random.integers(0, row.widths[-1], flipped.sum())
    return x, y


def weights(row: Row) -> list[tuple[Array, Array]]:
    """Return each layer's weight `f32[out, in]` (He's rule) and bias `f32[out]`."""
    random = np.random.default_rng(2)
    gain = 2.0 if row.activation == "relu" else 1.0
    return [
        (
            random.normal(0, np.sqrt(gain / into), (out, into)).astype(np.float32),
            random.normal(0, 0.01, out).astype(np.float32),
        )
        for into, out in row.layers
    ]


def orders(row: Row, epochs: int) -> list[Array]:
    """Return the orders, `i32[rows]`, that our trainer takes with seed 0."""
    from pellucid.train.plan import Plan

    plan = Plan({"x": np.empty(row.rows)}, row.batch, row.shuffle, 0)
    return [plan.order(epoch) for epoch in range(epochs)]


def reference_outputs(row: Row) -> Array:
    """Return the outputs of the first weights for the data, by plain NumPy.

    A million rows are judged by their first thousand.
    """
    values = examples(row)[0][:1000]
    layers = weights(row)
    for i, (weight, bias) in enumerate(layers):
        values = values @ weight.T + bias
        if i + 1 < len(layers):
            values = np.maximum(values, 0)
    return values
