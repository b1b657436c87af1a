"""What went wrong, in one line and an exit code; never a traceback.

`PELLUCID_TRACEBACK=1` in the environment shows the traceback as well.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import typer

from pellucid.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    ModelFileError,
    NotFittedError,
    PellucidError,
    ShapeError,
    message,
)

__all__ = ["Outcome", "in_words"]

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

_WRONG_USE = (
    ArgumentError,
    DataError,
    DTypeError,
    ModelFileError,
    NotFittedError,
    ShapeError,
)
# Newer versions of typer carry a click of their own; the base of the errors that are
# shown to a user is reached through the one of them that typer exports.
_ShownByTyper: type[Exception] = typer.BadParameter.__mro__[2]

_TRACEBACK = "PELLUCID_TRACEBACK"


@dataclass
class Outcome:
    """How a command ended: the exit code."""

    code: int = 0


@contextmanager
def in_words() -> Iterator[Outcome]:
    """Turn whatever ends the block into a line on the error output and a code.

    Standard output is flushed at the end of the block, so that an output that cannot
    be written is reported like any other failure.
    """
    outcome = Outcome()
    try:
        try:
            yield outcome
        except typer.Exit as end:
            outcome.code = end.exit_code
        _flush_output()
    except (KeyboardInterrupt, typer.Abort):
        outcome.code = INTERRUPTED
        _say("Interrupted")
    except Exception as error:
        if os.environ.get(_TRACEBACK, "0") != "0":
            traceback.print_exc()
        outcome.code, words = _describe(error)
        _say(f"Error: {words}")
        _drop_output_that_cannot_be_written()


def _describe(error: Exception) -> tuple[int, str]:
    if isinstance(error, PellucidError):
        # A full disk is nobody's wrong use.
        wrong = isinstance(error, _WRONG_USE) and not isinstance(
            error.__cause__, OSError
        )
        return WRONG_USE if wrong else FAILED, str(error)
    if isinstance(error, _ShownByTyper):
        return WRONG_USE, _usage(error)
    if isinstance(error, OSError):
        return FAILED, _system(error)
    if isinstance(error, MemoryError):
        return FAILED, "not enough memory"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = f"set {_TRACEBACK}=1 to see where, and please report it"
    return FAILED, message("this is a fault in Pellucid", where=what, hint=hint)


def _usage(error: Exception) -> str:
    """Word an error that typer found in the arguments."""
    words = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    hint = f"see '{context.command_path} --help'" if context else ""
    return message(words[:1].lower() + words[1:], hint=hint)


def _system(error: OSError) -> str:
    """Word an error of the operating system."""
    if isinstance(error, BrokenPipeError):
        return "the reader of the output stopped before its end"
    if error.errno == errno.ENOSPC:
        return message("the disk is full", where=str(error.filename or ""))
    words = (error.strerror or str(error)).lower()
    return message(words, where=str(error.filename or ""))


def _say(line: str) -> None:
    from rich.text import Text

    from pellucid.cli.render import console

    text = Text(line.replace("\n", " "), style="red")
    with suppress(OSError):
        console().print(text, soft_wrap=True)


def _flush_output() -> None:
    # Both are None where a program was started with its outputs closed.
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output_that_cannot_be_written() -> None:
    """Keep the interpreter from failing on it again, aloud, when it ends."""
    try:
        _flush_output()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
