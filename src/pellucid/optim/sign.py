"""Steps of one size: only the sign of the momentum counts."""

from __future__ import annotations

from pellucid.optim.base import Transform, chain, declared, per_tensor, zeros
from pellucid.optim.gradient import scale_by_learning_rate
from pellucid.optim.regularise import weight_decay as decay
from pellucid.optim.schedules import Rate
from pellucid.tensors import Tensor, apply

__all__ = ["Lion", "scale_by_lion"]


@declared
def scale_by_lion(betas: tuple[float, float] = (0.9, 0.99)) -> Transform:
    """sign(β₁·m + (1 − β₁)·u), then m ← β₂·m + (1 − β₂)·u.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms",
    https://arxiv.org/abs/2302.06675.
    """
    beta1, beta2 = betas

    def rule(u: Tensor, p: Tensor, t: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        sign = apply("sign", beta1 * m + (1 - beta1) * u)
        return sign, beta2 * m + (1 - beta2) * u

    return per_tensor(rule, momentum=zeros)


@declared
def Lion(  # noqa: N802 - the name that its paper gives it
    lr: Rate = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Transform:
    """Half of Adam's memory; wants a third to a tenth of Adam's learning rate.

    Weight decay is apart from the gradient, by lr · weight_decay. Equals optax's.

    >>> Lion()
    Lion(lr=0.0001, betas=[0.9, 0.99], weight_decay=0.0)
    """
    return chain(
        scale_by_lion(betas), scale_by_learning_rate(lr), decay(weight_decay, lr)
    )
