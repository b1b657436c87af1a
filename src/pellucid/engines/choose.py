"""Which engine serves: by the name that was asked for, or the configured one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

from pellucid.configuration import current
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.program import Engine
from pellucid.errors import (
    ArgumentError,
    MissingExtraError,
    did_you_mean,
    message,
)

_log = logging.getLogger(__name__)

__all__ = ["ENGINES", "check_engine_name", "engine_named"]


def _llvm() -> Engine:
    from pellucid.engines.llvm.engine import LlvmEngine
    from pellucid.engines.llvm.native import target

    target()  # fails here, not in mid-training, where LLVM cannot serve
    return LlvmEngine()


def _xla(**options: Any) -> Engine:
    try:
        from pellucid.engines.xla.engine import XlaEngine
    except ImportError as error:
        raise MissingExtraError(
            message(
                "the xla engine needs JAX",
                expected=str(error),
                hint="pip install 'pellucid[xla]'",
            )
        ) from error
    return XlaEngine(**options)


def _auto() -> Engine:
    """Return the llvm engine, or, where it does not run, the numpy engine."""
    try:
        return _made("llvm")
    except (ImportError, OSError, RuntimeError) as error:
        _log.warning("the llvm engine does not run here (%s); numpy serves", error)
        return _made("numpy")


ENGINES: dict[str, Callable[[], Engine]] = {
    "auto": _auto,
    "llvm": _llvm,
    "numpy": NumpyEngine,
    "xla": _xla,
}
"""How each engine is made, by its name; none is loaded before it is asked for."""

_WITH_OPTIONS = ("xla",)


def check_engine_name(name: str) -> None:
    """Refuse a name that no engine has; whether the engine runs here is not asked."""
    if name not in ENGINES:
        raise ArgumentError(
            message(f"no engine named {name!r}", hint=did_you_mean(name, ENGINES))
        )


def engine_named(name: str | None = None, **options: Hashable) -> Engine:
    """Return the engine of a name; without one, that of the configuration.

    The options are the engine's own: only `xla` has some, those of
    `engines.xla.settings.Settings`; without any it takes those of the configuration.
    The same name and options give the same engine, so that programs are shared.

    >>> engine_named("numpy").name
    'numpy'
    """
    name = name or current().engine
    if not options and name in _WITH_OPTIONS:
        options = dict(current().options)
    return _made(name, tuple(sorted(options.items())))


@cache
def _made(name: str, given: tuple[tuple[str, Any], ...] = ()) -> Engine:
    options = dict(given)
    check_engine_name(name)
    if options and name not in _WITH_OPTIONS:
        raise ArgumentError(
            message(
                f"the {name} engine has no option {next(iter(options))!r}",
                hint=f"try engine={_WITH_OPTIONS[0]!r}",
            )
        )
    return ENGINES[name](**options)
