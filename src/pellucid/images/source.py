"""Where images came from: a folder or IDX files, and how they are found again."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from pellucid.data.idx import is_idx, labels_beside
from pellucid.data.images import Size
from pellucid.data.labelled import (
    ImageParts,
    find_images,
    read_idx_images,
    read_image_folder,
)
from pellucid.errors import ArgumentError, message
from pellucid.runs.source import Source, find_source

__all__ = ["are_images", "find_source_images", "read_parts", "read_source"]


def are_images(path: str | Path) -> bool:
    """Tell whether a path is that of labelled images: a folder, or an IDX file."""
    return Path(path).is_dir() or is_idx(path)


def read_parts(
    path: str | Path,
    labels: str | Path | None = None,
    size: Size | None = None,
    channels: int | None = None,
) -> ImageParts:
    """Read labelled images from a folder, or from an IDX file and its labels.

    Raises `DataError` for what cannot be read, and `ArgumentError` for an option that
    the other of the two has.
    """
    if Path(path).is_dir():
        if labels is not None:
            what = f"{str(path)!r} is a folder: its folders are the labels"
            raise ArgumentError(message(what, hint="leave the labels out"))
        return read_image_folder(path, size, channels)
    found = read_idx_images(path, labels)
    if size not in (None, found.size) or channels not in (None, found.channels):
        height, width = found.size
        raise ArgumentError(
            message(
                "the images of an IDX file keep their size",
                where=str(path),
                expected=f"they are {width}×{height}, {found.channels} channels",
            )
        )
    return ImageParts(found)


def read_source(
    path: str | Path,
    labels: str | Path | None = None,
    size: Size | None = None,
    channels: int | None = None,
) -> tuple[ImageParts, Source]:
    """Read labelled images and note which files they were."""
    parts = read_parts(path, labels, size, channels)
    sets = (parts.train, parts.validation, parts.test)
    count = sum(len(each) for each in sets if each is not None)
    digest = _digest(Path(path), labels)
    return parts, Source(str(path), digest, count, str(labels or ""))


def _digest(path: Path, labels: str | Path | None) -> str:
    """Return the SHA-256 of the files: their contents and, in a folder, their names."""
    digest = hashlib.sha256()
    if path.is_dir():
        for each in find_images(path):
            content = each.read_bytes()
            digest.update(
                f"{each.relative_to(path).as_posix()}:{len(content)}:".encode()
            )
            digest.update(content)
    else:
        for each in (path, Path(labels or labels_beside(path))):
            digest.update(each.read_bytes())
    return digest.hexdigest()


def find_source_images(
    source: Source | None,
    model: str | Path,
    size: Size,
    channels: int,
    given: str | Path | None = None,
) -> ImageParts:
    """Return the images that a model was trained on, from their files.

    They are looked for under `given`; without that, under the path that training had,
    from here and from the folder of the model file. Raises `DataError` where they are
    not there, or are others.
    """
    labels = source.labels if source is not None and source.labels else None
    read = partial(read_source, labels=labels, size=size, channels=channels)
    return find_source(source, model, given, read, "images")
