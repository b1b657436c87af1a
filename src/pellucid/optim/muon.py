"""Muon: momentum made orthogonal for matrices, AdamW for the rest."""

from __future__ import annotations

import math

from pellucid.optim.adaptive import scale_by_adam
from pellucid.optim.base import Transform, chain, declared, per_tensor, zeros
from pellucid.optim.gradient import scale_by_learning_rate
from pellucid.optim.masked import masked
from pellucid.optim.regularise import weight_decay as decay
from pellucid.optim.schedules import Rate
from pellucid.tensors import Tensor, apply

__all__ = ["Muon", "orthogonalised", "scale_by_muon"]

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Newton–Schulz steps, steepest at 0: Jordan et al., 2024."""


def orthogonalised(x: Tensor, ns_steps: int = 5, eps: float = 1e-8) -> Tensor:
    """Return a matrix with the singular vectors of `x` and singular values near 1.

    Newton–Schulz: X ← aX + (bA + cA²)X with A = XXᵀ, after X ← x / (‖x‖ + ε). The
    values end between about 0.7 and 1.2, which is near enough for a step.
    """
    a, b, c = _QUINTIC
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (apply("sqrt", (x * x).sum()) + eps)
    for _ in range(ns_steps):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if tall else x


@declared
def scale_by_muon(
    beta: float = 0.95, nesterov: bool = True, ns_steps: int = 5, eps: float = 1e-8
) -> Transform:
    """Orthogonalise the momentum of matrices `[out, in]`; taller ones step further.

    The factor √max(1, out / in) keeps the size of what a layer puts out alike.
    """

    def rule(u: Tensor, p: Tensor, t: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        m = beta * m + (1 - beta) * u
        if nesterov:
            ahead = m * (beta / (1 - beta ** (t + 1.0)))
            mean = ahead + u * ((1 - beta) / (1 - beta**t))
        else:
            mean = m * (1 / (1 - beta**t))
        factor = math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
        return factor * orthogonalised(mean, ns_steps, eps), m

    return per_tensor(rule, momentum=zeros)


@declared
def Muon(  # noqa: N802 - the name that its authors give it
    lr: Rate = 2e-2,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Transform:
    """Steepest descent in the spectral norm for matrices; AdamW with `betas` else.

    All take the same `lr`; `nesterov` makes both momenta look ahead; only matrices
    decay, by lr · weight_decay. Equals optax's `contrib.muon`. Source: Jordan et al.,
    https://kellerjordan.github.io/posts/muon, 2024.

    >>> Muon(lr=0.01).learning_rate
    Constant(lr=0.01)
    """
    matrices = chain(
        scale_by_muon(momentum, nesterov, ns_steps, eps),
        scale_by_learning_rate(lr),
        decay(weight_decay, lr),
    )
    others = chain(scale_by_adam(betas, eps, nesterov), scale_by_learning_rate(lr))
    return chain(masked(matrices, _is_matrix), masked(others, _is_no_matrix))


def _is_matrix(name: str, p: Tensor) -> bool:
    return p.ndim == 2


def _is_no_matrix(name: str, p: Tensor) -> bool:
    return p.ndim != 2
