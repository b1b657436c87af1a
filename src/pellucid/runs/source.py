"""Where a model's data came from, so that its training can be found and repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pellucid.errors import DataError, message

__all__ = ["Source", "find_source"]

T = TypeVar("T")

HINT = "name what it was trained on (--data PATH)"


@dataclass(frozen=True)
class Source:
    """What a model was trained on: its path as given, its hash, its rows."""

    path: str
    sha256: str
    rows: int
    labels: str = ""
    """The path of the labels, where they are a file of their own that was named."""


def find_source(
    source: Source | None,
    model: str | Path,
    given: str | Path | None,
    read: Callable[[str | Path], tuple[T, Source]],
    noun: str = "rows",
) -> T:
    """Return the data that a model was trained on.

    They are looked for under `given`; without that, under the path that training had,
    from here and from the folder of the model file. `read` returns them with their
    source. Raises `DataError` where they are not there, or are others.
    """
    if source is None and given is None:
        raise DataError(
            message("the model does not say what it was trained on", hint=HINT)
        )
    if given is None and source is not None:
        places = [Path(source.path), Path(model).parent / Path(source.path).name]
        given = next((each for each in places if each.exists()), None)
        if given is None:
            raise DataError(
                message(f"the training data {source.path!r} is not there", hint=HINT)
            )
    assert given is not None
    data, found = read(given)
    if source is not None and found.sha256 != source.sha256:
        raise DataError(
            message(
                f"{str(given)!r} is not what the model was trained on",
                expected=f"expected {source.rows} {noun} with SHA-256 "
                f"{source.sha256[:12]}…, found {found.rows} with {found.sha256[:12]}…",
                hint=HINT,
            )
        )
    return data
