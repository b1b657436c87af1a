"""Where a model's rows came from, so that its training can be found and repeated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pellucid.data.table import read_table
from pellucid.errors import DataError, message

__all__ = ["Source", "find_table", "read_source"]


@dataclass(frozen=True)
class Source:
    """The file that a model was trained on: its path as given, its hash, its rows."""

    path: str
    sha256: str
    rows: int


def read_source(path: str | Path) -> tuple[pl.DataFrame, Source]:
    """Read a table and note which file it was. Raises `DataError` as `read_table`."""
    table = read_table(path)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return table, Source(str(path), digest, len(table))


def find_table(
    source: Source | None, model: str | Path, given: str | Path | None = None
) -> pl.DataFrame:
    """Return the table that a model was trained on, from its file.

    It is looked for under `given`; without that, under the path that training had,
    from here and from the folder of the model file. Raises `DataError` where it is not
    there, or is another one.
    """
    hint = "name the file that it was trained on (--data FILE)"
    if source is None and given is None:
        raise DataError(message("the model does not say what it was trained on",
                                hint=hint))  # fmt: skip
    if given is None and source is not None:
        places = [Path(source.path), Path(model).parent / Path(source.path).name]
        given = next((each for each in places if each.is_file()), None)
        if given is None:
            raise DataError(
                message(f"the training data {source.path!r} is not there", hint=hint)
            )
    assert given is not None
    table, found = read_source(given)
    if source is not None and found.sha256 != source.sha256:
        raise DataError(
            message(
                f"{str(given)!r} is not what the model was trained on",
                expected=f"expected {source.rows} rows with SHA-256 "
                f"{source.sha256[:12]}…, found {found.rows} with {found.sha256[:12]}…",
                hint=hint,
            )
        )
    return table
