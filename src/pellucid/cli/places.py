"""Whether an output can be written where it shall go, asked before the work is done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pellucid.errors import ArgumentError, message

__all__ = ["check_place"]


def check_place(place: Path, option: str, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a folder, a file that is used otherwise, and what cannot be written.

    Raises `ArgumentError`, or `OSError` where the system says no.
    """
    where = f"{option} {place}"
    if place.is_dir():
        raise ArgumentError(
            message("this is a folder", where=where, hint="name a file in it")
        )
    for each in inputs:
        if each is not None and os.path.realpath(each) == os.path.realpath(place):
            what = "this is another file of this command"
            raise ArgumentError(message(what, where=where, hint="choose another name"))
    folder = Path(os.path.realpath(place)).parent
    if not folder.is_dir():
        raise ArgumentError(message(f"there is no folder '{folder}'", where=where))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write: {error.strerror}", where) from None
