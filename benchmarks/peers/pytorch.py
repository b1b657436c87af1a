"""PyTorch, eager: tensors gathered once an epoch, gradients set to None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.data import examples, weights
from benchmarks.nets import torch_
from benchmarks.nets.ours import first
from benchmarks.rows import Row

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
LOSSES = {"classes": nn.CrossEntropyLoss, "values": nn.MSELoss}
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
CHUNK = 16384
"""Rows of one forward pass over many: what stays in a cache is faster than all."""


def network(row: Row) -> nn.Module:
    """Return the row's network with its first weights."""
    if row.net:
        made = torch_.module(row.net)
        start(made, row)
        return made
    layers: list[nn.Module] = []
    for into, out in row.layers:
        layers += [nn.Linear(into, out), ACTIVATIONS[row.activation]()]
    model = nn.Sequential(*layers[:-1])
    start(model, row)
    return model


def start(model: nn.Module, row: Row) -> None:
    """Give a network the row's first weights."""
    if row.net:
        state = {k: torch.from_numpy(v) for k, v in first(row.net).items()}
        model.load_state_dict(state)
        return
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, (weight, bias) in zip(linear, weights(row)):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))


class Session:
    """The loop of PyTorch's own tutorial, without its data loader (which is slower)."""

    def __init__(self, row: Row, **options: Any) -> None:
        self.row, self.options = row, options
        x, y = examples(row)
        self.x = torch.from_numpy(x)
        self.y = torch.from_numpy(y)
        if row.task == "classes":
            self.y = self.y.long()
        if self.x.dtype == torch.int32:
            self.x = self.x.long()
        self.model, self.loss = network(row), LOSSES[row.task]()

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimiser."""
        start(self.model, self.row)
        self.optimizer = OPTIMIZERS[self.row.optimizer](
            self.model.parameters(), lr=self.row.learning_rate, **self.options
        )

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Make one update; return the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        return [
            self._epoch(None if orders is None else orders[i]) for i in range(epochs)
        ]

    def _epoch(self, order: Any) -> float:
        x, y = self.x, self.y
        if self.row.shuffle:
            rows = (
                torch.randperm(len(x))
                if order is None
                else torch.from_numpy(order).long()
            )
            x, y = x[rows], y[rows]
        pairs = zip(x.split(self.row.batch), y.split(self.row.batch))
        losses = [self.step(inputs, targets) for inputs, targets in pairs]
        return float(torch.stack(losses).mean())


def predictor(model: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Any]:
    """Return a function from NumPy to NumPy, without a tape, some rows at a time."""

    @torch.inference_mode()
    def predict(x: Any) -> Any:
        given = torch.from_numpy(x)
        if len(given) <= CHUNK:
            return model(given).numpy()
        return torch.cat([model(part) for part in given.split(CHUNK)]).numpy()

    return predict


def prepare(row: Row, threads: int = 1, **options: Any) -> Any:
    """Return a session, or a function that predicts."""
    torch.set_num_threads(threads)
    if row.kind == "predict":
        return predictor(network(row).eval())
    return Session(row, **options)
