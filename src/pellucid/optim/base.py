"""The algebra of optimisers: pure pairs (init, update), chained.

An optimiser is a chain of transforms. Each takes the updates of the one before it,
gradients at the head, and hands on its own; what leaves the chain is added to the
parameters. It knows dictionaries of tensors. It knows no layer, no data and no loop.

Every update is made of gates only, so the same code runs at the prompt and inside
the graph of a whole epoch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, message
from pellucid.optim.arguments import check, described
from pellucid.optim.schedules import Schedule
from pellucid.tensors import Tensor, TensorLike, as_tensor, tensor
from pellucid.tree import map_leaves

__all__ = [
    "Context",
    "Tensors",
    "Transform",
    "apply_updates",
    "chain",
    "declared",
    "filled",
    "per_tensor",
    "scalar_one",
    "stateless",
    "zeros",
]

Tensors: TypeAlias = dict[str, Tensor]
"""Tensors by the names of their parameters."""

LossOf: TypeAlias = Callable[[Tensors], Tensor]
P = ParamSpec("P")


def _no_loss(params: Tensors) -> Tensor:
    raise ArgumentError(
        message(
            "a line search needs the loss at other parameters",
            hint="give loss_of, a function of parameters, to the context",
        )
    )


@dataclass(frozen=True)
class Context:
    """Everything that an update may look at; symbols while an epoch is being built.

    `loss_of` returns the loss of this batch at other parameters.
    """

    grads: Tensors
    """The incoming updates: gradients at the head of a chain."""
    params: Tensors
    state: Any
    """This transform's own state: a tree of tensors."""
    step: Tensor
    """`i32[]`, 0 at the first update."""
    loss: Tensor
    """The loss of this batch, a scalar."""
    epoch: Tensor
    """`i32[]`, 0 in the first epoch."""
    monitor: Tensor
    """The last epoch's validation loss (training loss where there is none), a scalar;
    NaN in the first epoch."""
    loss_of: LossOf = _no_loss

    @classmethod
    def of(
        cls,
        params: Tensors,
        grads: Tensors,
        state: Any,
        step: int = 0,
        *,
        loss: TensorLike = math.nan,
        epoch: int = 0,
        monitor: TensorLike = math.nan,
        loss_of: LossOf = _no_loss,
    ) -> Context:
        """Make the context of one step at the prompt.

        Values lose their history here, so a loop of steps does not pile it up.

        >>> weights = {"w": tensor([3.0, 4.0])}
        >>> halve = stateless(lambda u, p, t: u * -0.5)
        >>> updates, _ = halve.update(Context.of(weights, weights, ()))
        >>> apply_updates(weights, updates)["w"]
        Tensor([1.5, 2. ], f32[2])
        """
        params, grads, state = map_leaves(_bare, (params, grads, state))
        return cls(
            grads,
            params,
            state,
            step=tensor(step, "i32"),
            loss=_bare(as_tensor(loss)),
            epoch=tensor(epoch, "i32"),
            monitor=_bare(as_tensor(monitor)),
            loss_of=loss_of,
        )


def _bare(x: Tensor) -> Tensor:
    """Cut a value's history; a symbol stays as it is."""
    return x.detach() if x.has_value else x


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """A pure pair. It prints as the call that made it.

    `init(params)` returns the state at the start. `update(context)` returns the
    updates to ADD to the parameters, so a step downhill is negative, and the state
    of the same types. `learning_rate` is what is reported as the learning rate.
    `spec` is JSON: a name and arguments. `acts_on` says what its input has to be:
    `gradients`, the `steps` of an optimiser, or either.
    """

    init: Callable[[Tensors], Any]
    update: Callable[[Context], tuple[Tensors, Any]]
    learning_rate: Schedule | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    acts_on: Literal["gradients", "steps", "either"] = "either"

    def __repr__(self) -> str:
        return _shown(self.spec)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:
        shown = (f"{k}={_shown(v)}" for k, v in value.items() if k != "name")
        return f"{value['name']}({', '.join(shown)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


def declared(make: Callable[P, Transform]) -> Callable[P, Transform]:
    """Check the arguments of a function that makes a transform, and note them."""
    signature = inspect.signature(make)

    @wraps(make)
    def build(*args: P.args, **kwargs: P.kwargs) -> Transform:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        check(make.__name__, bound.arguments)
        spec = {"name": make.__name__, **described(bound.arguments)}
        return replace(make(*args, **kwargs), spec=spec)

    return build


def apply_updates(params: Tensors, updates: Tensors) -> Tensors:
    """Return the parameters after a step; values come without a history.

    >>> apply_updates({"w": tensor(1.0)}, {"w": tensor(-0.25)})["w"].item()
    0.75
    """
    return {name: _bare(p) + _bare(updates[name]) for name, p in params.items()}


# --- making transforms -----------------------------------------------------------

Slot: TypeAlias = Callable[[Tensor], Tensor]
"""What a piece of state is at the start, from its parameter."""


def zeros(p: Tensor) -> Tensor:
    """State of the parameter's type that starts at 0."""
    return tensor(np.zeros(p.shape, p.dtype))


def filled(value: float) -> Slot:
    """State of the parameter's type that starts at a value."""
    return lambda p: tensor(np.full(p.shape, value, p.dtype))


def scalar_one(p: Tensor) -> Tensor:
    """State of one number for each parameter, in its dtype, that starts at 1."""
    return tensor(np.ones((), p.dtype))


def per_tensor(rule: Callable[..., tuple[Tensor, ...]], **slots: Slot) -> Transform:
    """Make a transform that treats each parameter alone.

    `rule(u, p, t, *state)` takes the update, the parameter, the number of this
    update from 1 as a scalar of the parameter's dtype, and a tensor for each slot.
    It returns the new update and the new tensor of each slot.
    """

    def init(params: Tensors) -> dict[str, Tensors]:
        return {
            slot: {name: start(p) for name, p in params.items()}
            for slot, start in slots.items()
        }

    def update(context: Context) -> tuple[Tensors, dict[str, Tensors]]:
        found = {}
        for name, u in context.grads.items():
            p = context.params[name]
            t = (context.step + 1).astype(p.dtype)
            held = (context.state[slot][name] for slot in slots)
            found[name] = rule(u, p, t, *held)
        updates = {name: each[0] for name, each in found.items()}
        state = {
            slot: {name: each[i] for name, each in found.items()}
            for i, slot in enumerate(slots, start=1)
        }
        return updates, state

    return Transform(init, update)


def stateless(rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Transform:
    """Make a transform of `rule(u, p, t)`, as in `per_tensor`, that keeps nothing."""
    return per_tensor(lambda u, p, t: (rule(u, p, t),))


def chain(*transforms: Transform) -> Transform:
    """Run transforms one after the other; the state is a tuple of theirs.

    The learning rate is that of the last one that has one. `ArgumentError` where
    one that adds to gradients comes behind an optimiser, whose steps point the
    other way, or one that changes steps comes before it.

    >>> from pellucid.optim import SGD, clip_global_norm
    >>> chain(clip_global_norm(1.0), SGD(lr=0.1)).learning_rate
    Constant(lr=0.1)
    """
    _check_order(transforms)

    def init(params: Tensors) -> tuple[Any, ...]:
        return tuple(each.init(params) for each in transforms)

    def update(context: Context) -> tuple[Tensors, tuple[Any, ...]]:
        updates, states = context.grads, []
        for each, state in zip(transforms, context.state):
            updates, after = each.update(replace(context, grads=updates, state=state))
            states.append(after)
        return updates, tuple(states)

    rates = [each.learning_rate for each in transforms if each.learning_rate]
    spec = {"name": "chain", "transforms": [each.spec for each in transforms]}
    return Transform(init, update, rates[-1] if rates else None, spec)


def _check_order(transforms: tuple[Transform, ...]) -> None:
    optimisers = [i for i, each in enumerate(transforms) if each.learning_rate]
    if not optimisers:
        return
    for i, each in enumerate(transforms):
        late = each.acts_on == "gradients" and i > optimisers[0]
        early = each.acts_on == "steps" and i < optimisers[-1]
        if late or early:
            raise ArgumentError(
                message(
                    f"{each} acts on {each.acts_on}",
                    where=f"place {i} of the chain",
                    hint=f"put it {'before' if late else 'behind'} the optimiser",
                )
            )
