"""Plain descent: scaling, the learning rate, momentum, and SGD made of them."""

from __future__ import annotations

from dataclasses import replace

from pellucid.errors import ArgumentError, message
from pellucid.optim.base import Transform, chain, declared, per_tensor, stateless, zeros
from pellucid.optim.regularise import l2
from pellucid.optim.schedules import Rate, as_schedule
from pellucid.tensors import Tensor

__all__ = ["SGD", "momentum", "scale", "scale_by_learning_rate"]


@declared
def scale(scalar: float) -> Transform:
    """Multiply the updates by a number."""
    return stateless(lambda u, p, t: u * float(scalar))


@declared
def scale_by_learning_rate(lr: Rate) -> Transform:
    """Multiply the updates by −lr: from here on they point downhill."""
    schedule = as_schedule(lr)
    step = stateless(lambda u, p, t: u * -schedule(t - 1.0))
    return replace(step, learning_rate=schedule)


@declared
def momentum(beta: float, nesterov: bool = False) -> Transform:
    """Add up the updates, the older ones fading: m ← β·m + u.

    What leaves is m, or u + β·m by Nesterov's rule. Equals optax's `trace`. Source:
    Sutskever et al., "On the importance of initialization and momentum", 2013.
    """
    if not beta:
        return stateless(lambda u, p, t: u)

    def rule(u: Tensor, p: Tensor, t: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        m = beta * m + u
        return (u + beta * m if nesterov else m), m

    return per_tensor(rule, momentum=zeros)


@declared
def SGD(  # noqa: N802 - the name that PyTorch gives it
    lr: Rate = 1e-2,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Transform:
    """Gradient descent, with momentum where asked; weight decay is L2.

    Whether it is batch, mini-batch or stochastic descent is a matter of the batch
    size. Equals PyTorch's and optax's of the name.

    >>> SGD(lr=0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    """
    if nesterov and not momentum:
        raise ArgumentError(
            message(
                "Nesterov's rule needs momentum",
                where="SGD",
                hint="momentum=0.9 is a good start",
            )
        )
    return chain(
        l2(weight_decay), _momentum(momentum, nesterov), scale_by_learning_rate(lr)
    )


_momentum = momentum
