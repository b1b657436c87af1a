"""A process of several that train one model: started by `test_xla_hosts.py`.

Its arguments: the file with the rows, the checkpoint, the epoch in which it dies (0:
never) and its number. What brings it together with the others is in the environment.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from pellucid import nn, optim, random
from pellucid.errors import LostHostError
from pellucid.train.trainer import Trainer

__all__ = ["FIT", "make_trainer"]

FIT = {"epochs": 10, "batch_size": 60, "validation": 42, "verbose": 0}


def make_trainer(**options: Any) -> Trainer:
    """Return a regression of ten features, always the same."""
    with random.keys_from(random.key_of(7)):
        model = nn.Sequential(
            nn.Standardize(10), nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1),
            nn.Unstandardize(1),
        )  # fmt: skip
    return Trainer(model, nn.MSELoss(), optim.Adam(lr=3e-3), seed=3, **options)


def main(rows: str, checkpoint: str, dies: int, number: int) -> None:
    """Train on this process's part of the rows, and tell how it went."""
    data = np.load(rows)
    X, y = (np.array_split(data[name], [150])[number] for name in "Xy")
    trainer = make_trainer(engine="xla", device="cpu", coordinator="auto", rows="own")
    evaluate, epochs = trainer.programs.evaluate, iter(range(1, 100))

    def evaluate_or_die(*arguments: Any) -> Any:
        if next(epochs) == dies:
            os._exit(9)
        return evaluate(*arguments)

    trainer.programs.evaluate = evaluate_or_die  # type: ignore[method-assign]
    try:
        trainer.fit(X, y, checkpoint=checkpoint, **FIT)
    except LostHostError as error:
        print(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
