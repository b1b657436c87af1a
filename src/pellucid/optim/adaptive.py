"""A step size for each weight, from the size of its past gradients.

Each `scale_by_…` is a rule for one tensor: u the gradient, p the parameter, t the
number of the update from 1. Scalars are worked out first, so that each weight costs
one division and one square root.
"""

from __future__ import annotations

from typing import TypeAlias

from pellucid.optim.base import (
    Transform,
    chain,
    declared,
    filled,
    per_tensor,
    scalar_one,
    zeros,
)
from pellucid.optim.gradient import momentum as heavy_ball
from pellucid.optim.gradient import scale_by_learning_rate
from pellucid.optim.regularise import l2
from pellucid.optim.regularise import weight_decay as decay
from pellucid.optim.schedules import Rate
from pellucid.tensors import Tensor, apply, meet

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "NAdam",
    "RMSprop",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_nadam",
    "scale_by_rms",
]

Results: TypeAlias = tuple[Tensor, ...]
Betas: TypeAlias = tuple[float, float]


def _root(x: Tensor) -> Tensor:
    return apply("sqrt", x)


# --- rules -----------------------------------------------------------------------


@declared
def scale_by_adagrad(
    eps: float = 1e-10, initial_accumulator_value: float = 0.0
) -> Transform:
    """u / (√Σu² + ε): Duchi et al., "Adaptive Subgradient Methods", 2011."""

    def rule(u: Tensor, p: Tensor, t: Tensor, total: Tensor) -> Results:
        total = total + u * u
        return u / (_root(total) + eps), total

    return per_tensor(rule, total=filled(initial_accumulator_value))


@declared
def scale_by_rms(
    alpha: float = 0.99, eps: float = 1e-8, centered: bool = False
) -> Transform:
    """u / (√v + ε), v the fading mean of u²; centred, of the variance.

    Source: Tieleman & Hinton, lecture 6.5, 2012; centred: Graves,
    https://arxiv.org/abs/1308.0850.
    """

    def rule(u: Tensor, p: Tensor, t: Tensor, v: Tensor) -> Results:
        v = alpha * v + (1 - alpha) * (u * u)
        return u / (_root(v) + eps), v

    def centred(u: Tensor, p: Tensor, t: Tensor, v: Tensor, m: Tensor) -> Results:
        v = alpha * v + (1 - alpha) * (u * u)
        m = alpha * m + (1 - alpha) * u
        # Rounding may leave a variance of 0 a little below it.
        variance = v - m * m
        variance = apply("maximum", *meet(variance, 0.0))
        return u / (_root(variance) + eps), v, m

    if centered:
        return per_tensor(centred, second=zeros, first=zeros)
    return per_tensor(rule, second=zeros)


@declared
def scale_by_adam(
    betas: Betas = (0.9, 0.999), eps: float = 1e-8, nesterov: bool = False
) -> Transform:
    """m̂ / (√v̂ + ε), both fading means freed of their start at 0.

    Source: Kingma & Ba, "Adam", https://arxiv.org/abs/1412.6980. `nesterov` looks
    one step ahead with a constant β₁, as optax's argument of the name does.
    """
    beta1, beta2 = betas

    def rule(u: Tensor, p: Tensor, t: Tensor, m: Tensor, v: Tensor) -> Results:
        m = beta1 * m + (1 - beta1) * u
        v = beta2 * v + (1 - beta2) * (u * u)
        size = _root(v * (1 / (1 - beta2**t))) + eps
        if not nesterov:
            return m * (1 / (1 - beta1**t)) / size, m, v
        ahead = m * (beta1 / (1 - beta1 ** (t + 1.0)))
        return (ahead + u * ((1 - beta1) / (1 - beta1**t))) / size, m, v

    return per_tensor(rule, first=zeros, second=zeros)


@declared
def scale_by_nadam(
    betas: Betas = (0.9, 0.999), eps: float = 1e-8, momentum_decay: float = 4e-3
) -> Transform:
    """Adam that looks ahead with β₁ growing: μ_t = β₁ · (1 − ½ · 0.96^(t · decay)).

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016, with the
    schedule of μ that PyTorch's `NAdam` uses.
    """
    beta1, beta2 = betas

    def mu(t: Tensor) -> Tensor:
        return beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))

    def rule(
        u: Tensor, p: Tensor, t: Tensor, m: Tensor, v: Tensor, product: Tensor
    ) -> Results:
        now, ahead = mu(t), mu(t + 1.0)
        product = product * now
        m = beta1 * m + (1 - beta1) * u
        v = beta2 * v + (1 - beta2) * (u * u)
        size = _root(v * (1 / (1 - beta2**t))) + eps
        mean = u * ((1 - now) / (1 - product)) + m * (ahead / (1 - product * ahead))
        return mean / size, m, v, product

    return per_tensor(rule, first=zeros, second=zeros, product=scalar_one)


# --- optimisers ------------------------------------------------------------------


@declared
def Adagrad(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1e-2,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
) -> Transform:
    """Steps divided by the root of all squared gradients so far: for sparse ones.

    Equals PyTorch's `Adagrad` (optax starts the sum at 0.1 and puts ε in the root).

    >>> Adagrad().learning_rate
    Constant(lr=0.01)
    """
    return chain(
        l2(weight_decay),
        scale_by_adagrad(eps, initial_accumulator_value),
        scale_by_learning_rate(lr),
    )


@declared
def RMSprop(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
) -> Transform:
    """Steps divided by the root of the fading mean of squared gradients.

    Equals PyTorch's `RMSprop`, and optax's with `eps_in_sqrt=False`.
    """
    return chain(
        l2(weight_decay),
        scale_by_rms(alpha, eps, centered),
        heavy_ball(momentum),
        scale_by_learning_rate(lr),
    )


@declared
def Adam(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Transform:
    """Momentum and a step size for each weight; weight decay is L2.

    Equals PyTorch's and optax's of the name.

    >>> Adam(lr=3e-4)
    Adam(lr=0.0003, betas=[0.9, 0.999], eps=1e-08, weight_decay=0.0)
    """
    return chain(
        l2(weight_decay), scale_by_adam(betas, eps), scale_by_learning_rate(lr)
    )


@declared
def AdamW(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> Transform:
    """Adam with the weights decayed apart from the gradient, by lr · weight_decay.

    Equals PyTorch's and optax's of the name.
    """
    return chain(
        scale_by_adam(betas, eps), scale_by_learning_rate(lr), decay(weight_decay, lr)
    )


@declared
def NAdam(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
) -> Transform:
    """Adam with Nesterov's look ahead; weight decay is L2.

    Equals PyTorch's `NAdam` (optax's keeps β₁ constant).
    """
    return chain(
        l2(weight_decay),
        scale_by_nadam(betas, eps, momentum_decay),
        scale_by_learning_rate(lr),
    )
