"""Keeping weights small: L1, L2, weight decay and a limit on norms.

`l1` and `l2` add to gradients and stand before the optimiser. `weight_decay` and
`max_norm` change its steps and stand behind it; a chain in another order is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pellucid.optim.base import Transform, declared, stateless
from pellucid.optim.schedules import Rate, as_schedule
from pellucid.tensors import Tensor, apply, meet, whole_axes

__all__ = ["l1", "l2", "max_norm", "weight_decay"]


@declared
def l1(strength: float) -> Transform:
    """Add the gradient of strength · Σ|p|, which drives weights to exactly 0.

    >>> l1(1e-4)
    l1(strength=0.0001)
    """
    if not strength:
        return stateless(lambda u, p, t: u)
    penalty = stateless(lambda u, p, t: u + strength * apply("sign", p))
    return replace(penalty, acts_on="gradients")


@declared
def l2(strength: float) -> Transform:
    """Add the gradient of ½ · strength · Σp², as PyTorch's `weight_decay` does."""
    if not strength:
        return stateless(lambda u, p, t: u)
    penalty = stateless(lambda u, p, t: u + strength * p)
    return replace(penalty, acts_on="gradients")


@declared
def weight_decay(rate: float, lr: Rate = 1.0) -> Transform:
    """Shrink the parameters by the share lr · rate a step, apart from the gradient.

    With the optimiser's own `lr` this is AdamW's decay. Source: Loshchilov & Hutter,
    "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101.
    """
    if not rate:
        return stateless(lambda u, p, t: u)
    schedule = as_schedule(lr)
    decay = stateless(lambda u, p, t: u - (rate * schedule(t - 1.0)) * p)
    return replace(decay, acts_on="steps")


@declared
def max_norm(limit: float, axis: int | Sequence[int] | None = None) -> Transform:
    """Scale each unit's incoming weights back to a norm of at most `limit`.

    `axis` names the axes that hold one unit's weights: all but the first by default,
    as weights are `[out, in, …]`. Parameters of fewer than two axes, biases, are left
    alone. Source: Srivastava et al., "Dropout", 2014, section 5.1.
    """

    def project(u: Tensor, p: Tensor, t: Tensor) -> Tensor:
        if p.ndim < 2:
            return u
        axes = tuple(range(1, p.ndim)) if axis is None else whole_axes(p, axis)
        moved = p + u
        norm = apply("sqrt", (moved * moved).sum(axes, keepdims=True))
        return moved * (limit / apply("maximum", *meet(norm, float(limit)))) - p

    return replace(stateless(project), acts_on="steps")
