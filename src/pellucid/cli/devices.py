"""The options that name what computes: `--engine`, `--device`, `--xla NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import typer

from pellucid.configuration import config, current
from pellucid.errors import ArgumentError, message

__all__ = ["Device", "Xla", "computing_on"]

Device = Annotated[
    str | None,
    typer.Option(
        help="Engine xla: cpu, gpu or tpu.", show_default="the quickest there is"
    ),
]
Xla = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Engine xla: another option, such as precision=high; may be repeated.",
        show_default=False,
    ),
]


def computing_on(
    engine: str | None, device: str | None, given: Sequence[str] | None
) -> AbstractContextManager[Any]:
    """Return a block in which the xla engine has these options."""
    options: dict[str, Any] = {} if device is None else {"device": device}
    for each in given or ():
        name, sign, value = each.partition("=")
        if not (name and sign and value):
            expected = "expected a name and a value, such as precision=high"
            raise ArgumentError(message(f"--xla {each}", expected=expected))
        options[name] = _value(value)
    if not options:
        return nullcontext()
    if (engine or current().engine) != "xla":
        named = "--device" if device is not None else "--xla"
        hint = "add --engine xla"
        raise ArgumentError(message(f"{named} is for the xla engine", hint=hint))
    return config(options=tuple(options.items()))


def _value(text: str) -> Any:
    """Read a whole number, a number or a word."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
