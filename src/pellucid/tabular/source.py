"""The file that a table came from, and how it is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from pellucid.data.table import read_table
from pellucid.runs.source import Source, find_source

__all__ = ["Source", "find_table", "read_source"]


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
    return find_source(source, model, given, read_source)
