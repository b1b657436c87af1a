"""The file that a text came from, and how it is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pellucid.data.text import read_text
from pellucid.runs.source import Source, find_source

__all__ = ["find_text", "read_source"]


def read_source(path: str | Path) -> tuple[str, Source]:
    """Read a text and note which file it was. Raises `DataError` as `read_text`."""
    text = read_text(path)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return text, Source(str(path), digest, len(text))


def find_text(
    source: Source | None, model: str | Path, given: str | Path | None = None
) -> str:
    """Return the text that a model was trained on, from its file.

    It is looked for under `given`; without that, under the path that training had,
    from here and from the folder of the model file. Raises `DataError` where it is not
    there, or is another one.
    """
    return find_source(source, model, given, read_source, "characters")
