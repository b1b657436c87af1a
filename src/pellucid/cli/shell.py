"""From the arguments to a command, and from its end to an exit code.

A command is a row of `COMMANDS` and a module beside this one with a function `run`,
annotated for typer; the docstring of `run` is its help. `PARSING`, if the module has
it, says how arguments are read. The module is imported when the command is run or the
help lists it, so it imports what computes inside `run`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pellucid.cli.failures import in_words
from pellucid.errors import ArgumentError, did_you_mean, message

__all__ = ["COMMANDS", "application", "main"]

COMMANDS: dict[str, str] = {
    name: f"pellucid.cli.{name}"
    for name in (
        "train",
        "launch",
        "forecast",
        "predict",
        "generate",
        "inspect",
        "gradcheck",
        "demo",
    )
}
"""The module of each command, by its name, in the order in which help lists them."""

_COMPLETE = "_PELLUCID_COMPLETE"


def main(
    arguments: Sequence[str] | None = None, commands: Mapping[str, str] = COMMANDS
) -> int:
    """Run one command and return the exit code; no exception leaves.

    0: done. 1: it could not be done. 2: wrong use, or data that cannot be used.
    130: interrupted. Results go to standard output, everything else to the error
    output.
    """
    group = application(commands)
    if _COMPLETE in os.environ:
        group.main(prog_name="pellucid", complete_var=_COMPLETE)
    given = sys.argv[1:] if arguments is None else list(arguments)
    with in_words() as outcome, group.make_context("pellucid", given) as context:
        group.invoke(context)
    return outcome.code


def application(commands: Mapping[str, str] = COMMANDS) -> Any:
    """Return the group of these commands; each is imported when it is looked up."""

    class Lazy(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in self.commands and cmd_name in commands:
                self.commands[cmd_name] = _load(cmd_name, commands[cmd_name])
            if cmd_name not in self.commands and not ctx.resilient_parsing:
                raise ArgumentError(
                    message(
                        f"no command {cmd_name!r}",
                        hint=did_you_mean(cmd_name, commands),
                    )
                )
            return self.commands.get(cmd_name)

    shell = typer.Typer(cls=Lazy, invoke_without_command=True)
    shell.callback()(_start)
    return get_command(shell)


def _load(name: str, module: str) -> Any:
    shell, found = typer.Typer(add_completion=False), import_module(module)
    shell.command(name, context_settings=getattr(found, "PARSING", None))(found.run)
    return get_command(shell)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pellucid {version('pellucid')}")
        raise typer.Exit


def _start(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Train neural networks on your data, and see through what they learned."""
    if context.invoked_subcommand is None:
        print(context.get_help(), end="")
