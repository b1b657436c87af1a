"""The settings that hold where a call does not say otherwise.

One frozen `Config`, read from the environment once, changed for a block by
`with config(...)`. It is the only global state, and it is per thread and task.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from pellucid.errors import ArgumentError, did_you_mean, message

__all__ = ["Config", "config", "current"]


@dataclass(frozen=True)
class Config:
    """The settings. Each can be set by an environment name `PELLUCID_<FIELD>`."""

    engine: str = "auto"
    """The engine that `fit` and `predict` use; `auto` is llvm where it runs."""
    options: tuple[tuple[str, Any], ...] = ()
    """Options of the engine where none are given, such as `(("device", "gpu"),)`."""
    dtype: str = "f32"
    """The dtype of parameters and of Python floats: `f32` or `f64`."""

    @classmethod
    def from_environment(cls) -> Config:
        """Read the settings that `PELLUCID_ENGINE`, `PELLUCID_DTYPE`, … name.

        Options are given to the engine that takes them, so none come from there.
        """
        names = [each.name for each in fields(cls) if each.name != "options"]
        named = {name: f"PELLUCID_{name.upper()}" for name in names}
        found: dict[str, Any] = {
            key: os.environ[name] for key, name in named.items() if os.environ.get(name)
        }
        return cls(**found)


_current: ContextVar[Config | None] = ContextVar("pellucid_config", default=None)


def current() -> Config:
    """Return the settings in force here.

    >>> current().dtype
    'f32'
    """
    settings = _current.get()
    if settings is None:
        settings = Config.from_environment()
        _current.set(settings)
    return settings


@contextmanager
def config(**changes: Any) -> Iterator[Config]:
    """Change settings for a block.

    >>> with config(dtype="f64"):
    ...     current().dtype
    'f64'
    """
    names = [each.name for each in fields(Config)]
    for name in changes:
        if name not in names:
            raise ArgumentError(
                message(f"no setting named {name!r}", hint=did_you_mean(name, names))
            )
    token = _current.set(replace(current(), **changes))
    try:
        yield current()
    finally:
        _current.reset(token)
