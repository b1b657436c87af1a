"""A learning rate that falls when learning stands still."""

from __future__ import annotations

import numpy as np

from pellucid.optim.base import Context, Tensors, Transform, declared
from pellucid.tensors import Tensor, apply, meet, tensor

__all__ = ["reduce_on_plateau"]


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return apply("where", condition, x, y)


@declared
def reduce_on_plateau(
    factor: float = 0.5,
    patience: int = 5,
    min_scale: float = 1e-4,
    threshold: float = 1e-4,
) -> Transform:
    """Scale steps by `factor` after more than `patience` epochs without progress.

    Progress is a monitored loss below the best by more than the share `threshold`.
    It looks once an epoch, at the epoch's first step, at the loss of the epoch
    before. It scales down to `min_scale` of the steps that come in, so it stands
    behind an optimiser. Counts as PyTorch's `ReduceLROnPlateau` does.

    >>> from pellucid.optim import Adam, chain
    >>> slower = chain(Adam(lr=1e-3), reduce_on_plateau(patience=10))
    """

    def init(params: Tensors) -> Tensors:
        dtype = np.result_type(np.float32, *(p.dtype for p in params.values()))
        return {
            "best": tensor(np.array(np.finfo(dtype).max, dtype)),
            "scale": tensor(np.ones((), dtype)),
            "bad_epochs": tensor(0, "i32"),
            "epoch": tensor(0, "i32"),
        }

    def update(context: Context) -> tuple[Tensors, Tensors]:
        state = _after(context.state, context.epoch, context.monitor)
        scale = state["scale"]
        scaled = {k: u * scale.astype(u.dtype) for k, u in context.grads.items()}
        return scaled, state

    def _after(state: Tensors, epoch: Tensor, monitor: Tensor) -> Tensors:
        best, scale, bad = state["best"], state["scale"], state["bad_epochs"]
        loss = monitor.astype(best.dtype)
        looks = epoch > state["epoch"]
        better = loss < best - threshold * abs(best)
        waited = _where(better, bad * 0, bad + 1)
        drops = waited > patience
        lowered = apply("maximum", *meet(scale * factor, float(min_scale)))
        return {
            "best": _where(looks & better, loss, best),
            "scale": _where(looks & drops, lowered, scale),
            "bad_epochs": _where(looks, _where(drops, bad * 0, waited), bad),
            "epoch": _where(looks, epoch, state["epoch"]),
        }

    return Transform(init, update, acts_on="steps")
