"""Every exception that Pellucid raises, and how to word one.

A message has up to four parts, in this order, joined by a middle dot:

    what happened · where · what was expected and what came · what to try

`message` builds it, so that all of them read alike. Every class derives from
`PellucidError` and from the built-in that a user would catch:

    PellucidError
    ├── ArgumentError      (ValueError)          a parameter's value is not allowed
    ├── ShapeError         (ValueError)          shapes do not fit
    ├── DTypeError         (TypeError)           number types do not fit
    ├── GraphError         (ValueError)          a graph, or its text, is malformed
    ├── NoValueError       (RuntimeError)        a number was asked of a symbol
    ├── GradientError      (RuntimeError)        a gradient that does not exist
    ├── NonFiniteError     (FloatingPointError)  a NaN or an infinity in training
    ├── DataError          (ValueError)          the user's data cannot be used
    ├── ModelFileError     (ValueError)          a model file cannot be used
    ├── NotFittedError     (RuntimeError)        asked before `fit`
    ├── EngineError        (RuntimeError)        an engine cannot run a graph
    │   └── LostHostError                        another process of the run is gone
    └── MissingExtraError  (ImportError)         an optional package is not there
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArgumentError",
    "DTypeError",
    "DataError",
    "EngineError",
    "GradientError",
    "GraphError",
    "LostHostError",
    "MissingExtraError",
    "ModelFileError",
    "NoValueError",
    "NonFiniteError",
    "NotFittedError",
    "PellucidError",
    "ShapeError",
    "did_you_mean",
    "first_line",
    "message",
]


class PellucidError(Exception):
    """Base of everything that Pellucid raises on purpose."""


class ArgumentError(PellucidError, ValueError):
    """A parameter has a value that is not allowed."""


class ShapeError(PellucidError, ValueError):
    """Two shapes do not fit each other."""


class DTypeError(PellucidError, TypeError):
    """A number type is unknown here or does not fit."""


class GraphError(PellucidError, ValueError):
    """A graph, or the text of one, is malformed."""


class NoValueError(PellucidError, RuntimeError):
    """A tensor that is only a symbol was asked for its number."""


class GradientError(PellucidError, RuntimeError):
    """A gradient was asked for where none exists."""


class NonFiniteError(PellucidError, FloatingPointError):
    """Training met a NaN or an infinity."""


class DataError(PellucidError, ValueError):
    """The data cannot be used as they are."""


class ModelFileError(PellucidError, ValueError):
    """A model file is missing, damaged or not one of ours."""


class NotFittedError(PellucidError, RuntimeError):
    """A result was asked for that only exists after fitting."""


class EngineError(PellucidError, RuntimeError):
    """An engine cannot compile or run a graph."""


class LostHostError(EngineError):
    """Another process that computes with this one does not answer any more."""


class MissingExtraError(PellucidError, ImportError):
    """An optional package is needed and not installed."""


def message(what: str, *, where: str = "", expected: str = "", hint: str = "") -> str:
    """Word an error: what happened · where · what was expected · what to try.

    >>> message("no column 'prize'", where="a.csv", hint="did you mean 'price'?")
    "no column 'prize' · a.csv · did you mean 'price'?"
    """
    return " · ".join(part for part in (what, where, expected, hint) if part)


def first_line(error: BaseException) -> str:
    """Return the first line of what another library's error says, or its kind.

    >>> first_line(OSError("no room\\n  in frame 7")), first_line(OSError())
    ('no room', 'OSError')
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Suggest the known name nearest to `name`, or list what is known.

    >>> did_you_mean("rellu", ["relu", "tanh"])
    "did you mean 'relu'?"
    >>> did_you_mean("xyz", ["relu", "tanh"])
    "known: 'relu', 'tanh'"
    """
    names = [str(each) for each in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    if not near:
        folded = {each.casefold(): each for each in names}
        near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
        near = [folded[each] for each in near]
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(repr(each) for each in names[:12])
    return f"known: {shown}" + (", …" if len(names) > 12 else "")
