"""NumPy by hand: arrays made once, results written where they belong.

Adam works on one flat array of all parameters, of which the weights are views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.data import examples, weights
from benchmarks.rows import Row


def _views(flat: Any, row: Row) -> list[tuple[Any, Any]]:
    found, at = [], 0
    for into, out in row.layers:
        weight = flat[at : at + into * out].reshape(into, out)
        bias = flat[at + into * out :][:out]
        found.append((weight, bias))
        at += into * out + out
    return found


class Session:
    """All arrays of a training."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.x, self.y = examples(row)
        self.random = np.random.default_rng(3)
        shape = row.parameters
        self.flat, self.grad, self.mean, self.square, self.one, self.two = (
            np.zeros(shape, np.float32) for _ in range(6)
        )
        self.layers, self.grads = _views(self.flat, row), _views(self.grad, row)
        self.values = [np.empty((row.batch, n), np.float32) for n in row.widths]
        self.flows = [np.empty((row.batch, n), np.float32) for n in row.widths]
        self.masks = [np.empty((row.batch, n), bool) for n in row.widths]
        self.column = np.empty((row.batch, 1), np.float32)
        self.each = np.arange(row.batch)

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimiser."""
        for (weight, bias), (w, b) in zip(self.layers, weights(self.row)):
            weight[:], bias[:] = w.T, b
        self.mean[:] = 0
        self.square[:] = 0
        self.count = 0

    def _forward(self, x: Any) -> None:
        self.values[0] = x
        last = len(self.layers) - 1
        for i, (weight, bias) in enumerate(self.layers):
            out = self.values[i + 1]
            np.matmul(self.values[i], weight, out=out)
            out += bias
            if i < last and self.row.activation == "relu":
                np.maximum(out, 0, out=out)
            elif i < last:
                np.tanh(out, out=out)

    def _loss(self, y: Any) -> float:
        """Return the mean loss; leave its gradient by the outputs in `flows`."""
        outputs, flow = self.values[-1], self.flows[-1]
        if self.row.task == "values":
            np.subtract(outputs, y, out=flow)
            loss = float(np.vdot(flow, flow)) / flow.size
            flow *= 2 / flow.size
            return loss
        np.max(outputs, axis=1, keepdims=True, out=self.column)
        np.subtract(outputs, self.column, out=outputs)
        chosen = outputs[self.each, y].sum()
        np.exp(outputs, out=flow)
        np.sum(flow, axis=1, keepdims=True, out=self.column)
        flow /= self.column
        flow[self.each, y] -= 1
        flow *= 1 / len(y)
        np.log(self.column, out=self.column)
        return float(self.column.sum() - chosen) / len(y)

    def _backward(self) -> None:
        for i in range(len(self.layers) - 1, -1, -1):
            flow, (weight, bias) = self.flows[i + 1], self.grads[i]
            np.matmul(self.values[i].T, flow, out=weight)
            np.sum(flow, axis=0, out=bias)
            if i == 0:
                return
            before, value = self.flows[i], self.values[i]
            np.matmul(flow, self.layers[i][0].T, out=before)
            if self.row.activation == "relu":
                np.greater(value, 0, out=self.masks[i])
                before *= self.masks[i]
            else:
                np.multiply(value, value, out=value)
                np.subtract(1, value, out=value)
                before *= value

    def _update(self) -> None:
        rate = self.row.learning_rate
        if self.row.optimizer == "sgd":
            np.multiply(self.grad, rate, out=self.one)
            self.flat -= self.one
            return
        self.count += 1
        one, two = self.one, self.two
        self.mean *= 0.9
        np.multiply(self.grad, 0.1, out=one)
        self.mean += one
        self.square *= 0.999
        np.multiply(self.grad, self.grad, out=one)
        one *= 0.001
        self.square += one
        np.sqrt(self.square, out=two)
        two *= (1 - 0.999**self.count) ** -0.5
        two += 1e-8
        np.divide(self.mean, two, out=one)
        one *= rate / (1 - 0.9**self.count)
        self.flat -= one

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        return [
            self._epoch(None if orders is None else orders[i]) for i in range(epochs)
        ]

    def _epoch(self, order: Any) -> float:
        x, y, total = self.x, self.y, 0.0
        if self.row.shuffle:
            if order is None:
                order = self.random.permutation(len(x))
            x, y = x[order], y[order]
        for first in range(0, self.row.rows, self.row.batch):
            rows = slice(first, first + self.row.batch)
            self._forward(x[rows])
            total += self._loss(y[rows])
            self._backward()
            self._update()
        return total / self.row.steps


def _predictor(row: Row) -> Callable[[Any], Any]:
    """Return a function that predicts, a cache's worth of rows at a time."""
    layers = [(np.ascontiguousarray(weight.T), bias) for weight, bias in weights(row)]
    chunk = min(row.rows, 4096)
    rooms = [np.empty((chunk, n), np.float32) for n in row.widths[1:-1]]

    def predict(x: Any) -> Any:
        result = np.empty((len(x), row.widths[-1]), np.float32)
        for first in range(0, len(x), chunk):
            values, out = x[first : first + chunk], result[first : first + chunk]
            for (weight, bias), room in zip(layers, rooms):
                values = np.matmul(values, weight, out=room[: len(values)])
                values += bias
                np.maximum(values, 0, out=values)
            weight, bias = layers[-1]
            np.matmul(values, weight, out=out)
            out += bias
        return result

    return predict


def prepare(row: Row) -> Any:
    """Return a session, or a function that predicts."""
    return Session(row) if row.kind == "train" else _predictor(row)
