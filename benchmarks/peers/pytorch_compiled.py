"""PyTorch with `torch.compile`: the model with its loss, and at will the optimiser."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.peers import pytorch
from benchmarks.rows import Row


class Session(pytorch.Session):
    """The eager loop, its parts compiled."""

    def __init__(self, row: Row, whole: bool) -> None:
        super().__init__(row)
        self.whole = whole
        self.compiled = torch.compile(lambda x, y: self.loss(self.model(x), y))

    def reset(self) -> None:
        """Go back to the first weights; a compiled update is kept, its state is not."""
        if hasattr(self, "optimizer"):
            pytorch.start(self.model, self.row)
            for state in self.optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()
            return
        fast = {"foreach": True} if self.whole else {"fused": True}
        if self.whole and self.row.optimizer == "adam":
            fast["capturable"] = False
        self.options = fast
        super().reset()
        self.update = (
            torch.compile(self.optimizer.step) if self.whole else self.optimizer.step
        )

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Make one update; return the loss before it."""
        loss = self.compiled(x, y)
        loss.backward()
        self.update()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def prepare(row: Row, threads: int = 1, whole: bool = False) -> Any:
    """Return a session, or a function that predicts."""
    torch.set_num_threads(threads)
    if row.kind == "predict":
        return pytorch.predictor(torch.compile(pytorch.network(row).eval()))
    return Session(row, whole)
