"""Keeping gradients, or steps, small: by value, by norm, by the norm of all."""

from __future__ import annotations

from pellucid.optim.base import Context, Tensors, Transform, declared, stateless
from pellucid.tensors import Tensor, apply, meet

__all__ = ["clip_global_norm", "clip_norm", "clip_value"]


def _share(squares: Tensor, limit: float) -> Tensor:
    """The share of a vector to keep, min(1, limit / norm), from its squared norm."""
    norm = apply("sqrt", squares)
    return limit / apply("maximum", *meet(norm, float(limit)))


@declared
def clip_value(limit: float) -> Transform:
    """Cut each entry to [−limit, limit]. Equals optax's `clip`.

    >>> clip_value(0.5)
    clip_value(limit=0.5)
    """

    def cut(u: Tensor, p: Tensor, t: Tensor) -> Tensor:
        below = apply("minimum", *meet(u, float(limit)))
        return apply("maximum", *meet(below, -float(limit)))

    return stateless(cut)


@declared
def clip_norm(limit: float) -> Transform:
    """Scale each tensor down to a norm of at most `limit`, keeping its direction."""
    return stateless(lambda u, p, t: u * _share((u * u).sum(), limit))


@declared
def clip_global_norm(limit: float) -> Transform:
    """Scale all tensors together to a joint norm of at most `limit`.

    Equals optax's `clip_by_global_norm`. Source: Pascanu et al., "On the difficulty
    of training recurrent neural networks", https://arxiv.org/abs/1211.5063.
    """

    def update(context: Context) -> tuple[Tensors, tuple[()]]:
        squares = [(u * u).sum() for u in context.grads.values()]
        share = _share(sum(squares[1:], squares[0]), limit)
        scaled = {k: u * share.astype(u.dtype) for k, u in context.grads.items()}
        return scaled, ()

    return Transform(lambda params: (), update)
