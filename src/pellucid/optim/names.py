"""Optimisers by name, for the command line and for files of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.optim.adaptive import Adagrad, Adam, AdamW, NAdam, RMSprop
from pellucid.optim.base import Transform
from pellucid.optim.gradient import SGD
from pellucid.optim.lbfgs import LBFGS
from pellucid.optim.muon import Muon
from pellucid.optim.sign import Lion

__all__ = ["OPTIMIZERS", "from_name"]

OPTIMIZERS: dict[str, Callable[..., Transform]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "lion": Lion,
    "muon": Muon,
    "lbfgs": LBFGS,
}
"""Every optimiser by its name in lower case."""


def from_name(name: str, **arguments: Any) -> Transform:
    """Return the optimiser of a name, with its defaults where nothing is said.

    `ArgumentError` for an unknown name or argument, with the nearest known one.

    >>> from_name("adam", lr=0.01).learning_rate
    Constant(lr=0.01)
    """
    if name.lower() not in OPTIMIZERS:
        raise ArgumentError(
            message(f"no optimiser named {name!r}", hint=did_you_mean(name, OPTIMIZERS))
        )
    make = OPTIMIZERS[name.lower()]
    known = inspect.signature(make).parameters
    for each in arguments:
        if each not in known:
            raise ArgumentError(
                message(
                    f"{name} has no argument {each!r}", hint=did_you_mean(each, known)
                )
            )
    return make(**arguments)
