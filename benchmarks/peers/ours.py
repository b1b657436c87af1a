"""Pellucid: `Trainer.fit` and `Trainer.predict`, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.data import examples, weights
from benchmarks.nets import ours as nets
from benchmarks.rows import Row
from pellucid import Trainer, nn, optim

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh}
LOSSES: dict[str, Any] = {"classes": nn.CrossEntropyLoss, "values": nn.MSELoss}
OPTIMIZERS: dict[str, Any] = {"adam": optim.Adam, "sgd": optim.SGD}


def _trainer(row: Row, engine: str) -> Trainer:
    if row.net:
        model, loss = nets.module(row.net), nets.loss(row.net)
        optimizer = optim.Adam(lr=row.learning_rate)
        return Trainer(model, loss, optimizer, seed=0, engine=engine)
    layers: list[nn.Module] = []
    for into, out in row.layers:
        layers += [nn.Linear(into, out), ACTIVATIONS[row.activation]()]
    model = nn.Sequential(*layers[:-1])
    optimizer = OPTIMIZERS[row.optimizer](lr=row.learning_rate)
    return Trainer(model, LOSSES[row.task](), optimizer, seed=0, engine=engine)


def _start(trainer: Trainer, row: Row) -> None:
    if row.net:
        trainer.model.load_state_dict(nets.first(row.net))
        return
    values = [each.copy() for layer in weights(row) for each in layer]
    for parameter, value in zip(trainer.model.parameters(), values, strict=True):
        parameter.value = value


class Session:
    """A trainer and its data. Its own order of rows is the one of seed 0."""

    def __init__(self, row: Row, engine: str) -> None:
        self.row, self.trainer = row, _trainer(row, engine)
        self.x, self.y = examples(row)

    def reset(self) -> None:
        """Go back to the first weights."""
        _start(self.trainer, self.row)
        self.trainer.progress = None

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train; the order is `Trainer`'s in either case."""
        history = self.trainer.fit(
            self.x,
            self.y,
            epochs=epochs,
            batch_size=self.row.batch,
            shuffle=self.row.shuffle,
            verbose=0,
        )
        return history["loss"]


def prepare(row: Row, engine: str = "llvm") -> Session | Callable[[Any], Any]:
    """Return a session, or `predict`."""
    if row.kind == "train":
        return Session(row, engine)
    trainer = _trainer(row, engine)
    _start(trainer, row)
    return trainer.predict
