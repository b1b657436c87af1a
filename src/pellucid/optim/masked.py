"""A transform for some of the parameters; the others pass by unchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.optim.base import Context, Tensors, Transform, declared
from pellucid.tensors import Tensor

__all__ = ["masked"]

Where: TypeAlias = Collection[str] | Callable[[str, Tensor], bool]


@declared
def masked(transform: Transform, where: Where) -> Transform:
    """Apply a transform to the parameters of these names, or where a test says so.

    The test takes a name and a parameter, of which it may ask the shape only. A name
    that no parameter has is an `ArgumentError` when the state is made.

    >>> from pellucid.optim import l2
    >>> masked(l2(1e-4), lambda name, p: p.ndim > 1).acts_on  # no decay on biases
    'gradients'
    """
    names = where if callable(where) else _listed(where)

    def init(params: Tensors) -> Any:
        return transform.init(_chosen(params, names))

    def update(context: Context) -> tuple[Tensors, Any]:
        params, everything = _chosen(context.params, names), context.params
        inner = replace(
            context,
            params=params,
            grads={name: context.grads[name] for name in params},
            loss_of=lambda some: context.loss_of({**everything, **some}),
        )
        updates, state = transform.update(inner)
        return {**context.grads, **updates}, state

    return replace(transform, init=init, update=update)


def _listed(where: Collection[str]) -> frozenset[str]:
    if isinstance(where, str):
        raise ArgumentError(
            message(f"{where!r} is one name", where="masked", hint=f"give [{where!r}]")
        )
    return frozenset(where)


def _chosen(
    params: Tensors, where: frozenset[str] | Callable[[str, Tensor], bool]
) -> Tensors:
    if callable(where):
        return {name: p for name, p in params.items() if where(name, p)}
    for name in sorted(where - params.keys()):
        raise ArgumentError(
            message(
                f"no parameter named {name!r}",
                where="masked",
                hint=did_you_mean(name, params),
            )
        )
    return {name: p for name, p in params.items() if name in where}
