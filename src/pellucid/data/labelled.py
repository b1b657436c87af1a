"""Labelled images: a folder for each class, or a pair of IDX files.

root/cat/1.png            root/train/cat/1.png
root/dog/2.png            root/val/dog/2.png
                          root/test/cat/3.png
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.idx import labels_beside, read_idx
from pellucid.data.images import Size, is_image, read_images
from pellucid.errors import DataError, message

__all__ = [
    "ImageParts",
    "Images",
    "find_images",
    "idx_pixels",
    "left_out",
    "read_idx_images",
    "read_image_folder",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The part of the data that a folder of this name holds."""

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Images:
    """Images of one size with a class each.

    `pixels` is u8 `[n, channels, height, width]`, `labels` the number of each one's
    class in `classes`, i64 `[n]`; `files` the path of each, none for IDX files.
    """

    pixels: Array
    labels: Array
    classes: tuple[str | int, ...]
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> Size:
        """Height and width."""
        height, width = self.pixels.shape[2:]
        return height, width

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return int(self.pixels.shape[1])

    def part(self, rows: Array) -> Images:
        """Return the images of some rows."""
        files = tuple(self.files[i] for i in rows) if self.files else ()
        return Images(self.pixels[rows], self.labels[rows], self.classes, files)

    def among(self, classes: tuple[str | int, ...], name: str = "the data") -> Images:
        """Return the images with their labels as numbers in other classes.

        Raises `DataError` for a class that is not among them; `name` says where.

        >>> two = Images(np.zeros((1, 1, 2, 2), np.uint8), np.array([0]), ("b",))
        >>> two.among(("a", "b")).labels
        array([1])
        """
        unknown = [each for each in self.classes if each not in classes]
        if unknown:
            known = ", ".join(map(repr, classes[:12]))
            more = ", …" if len(classes) > 12 else ""
            what = f"{name} has the class {unknown[0]!r}"
            raise DataError(message(what, expected=f"training has {known}{more}"))
        number = np.array([classes.index(each) for each in self.classes], np.int64)
        return Images(self.pixels, number[self.labels], classes, self.files)


@dataclass(frozen=True)
class ImageParts:
    """Images to learn from and, where they are kept apart, to judge by and test on.

    All have the size, the channels and the classes of `train`. `notes` say what was
    stretched or left out.
    """

    train: Images
    validation: Images | None = None
    test: Images | None = None
    notes: tuple[str, ...] = ()


# --- folders ---------------------------------------------------------------------


def read_image_folder(
    root: str | Path, size: Size | None = None, channels: int | None = None
) -> ImageParts:
    """Read a folder that has a folder for each class, named by it.

    Below `root` there may first be `train`, `test` and `val` (or `training`,
    `testing`, `valid`, `validation`). Hidden files are passed over. `size` and
    `channels` are as for `read_images`; the training part decides them. Images that
    cannot be read are left out, with a note.

    Raises `DataError` for a folder that is missing, has no folders of images, or an
    empty one; and for a test class that training does not have.
    """
    place = Path(root)
    if not place.is_dir():
        what = "this is not a folder" if place.exists() else "no such folder"
        raise DataError(message(what, where=str(place)))
    met = _Met()
    parts = {part: _class_files(folder, met) for part, folder in _parts(place).items()}
    read: dict[str, Images] = {}
    for part, files in parts.items():
        names = tuple(sorted(files, key=_in_order))
        found = _read_part(place, files, names, size, channels, met)
        classes = read["train"].classes if read else names
        read[part] = found.among(classes, f"the {part} part")
        size, channels = found.size, found.channels
    return ImageParts(**read, notes=tuple(met.notes(read["train"].size)))


@dataclass
class _Met:
    """What was met while reading: noted once for all parts."""

    loose: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)

    def notes(self, size: Size) -> Iterator[str]:
        """Return what a reader should know, in words."""
        yield from _passed_over(self.loose, "outside of the classes")
        yield from _passed_over(self.others, "of other kinds")
        if self.failed:
            yield left_out(self.failed)
        yield from _stretched(self.sizes, size)


def find_images(folder: str | Path) -> list[Path]:
    """Return every image below a folder, in the order of their paths.

    Raises `DataError` where there is none.
    """
    found = _images_below(Path(folder))[0]
    if not found:
        raise DataError(message("there are no images in it", where=str(folder)))
    return found


def left_out(failed: dict[str, str]) -> str:
    """Say which images could not be read.

    >>> left_out({"cat/1.png": "the file is empty"})
    '1 image cannot be read and was left out: cat/1.png (the file is empty)'
    """
    shown = [f"{path} ({why})" for path, why in list(failed.items())[:_MOST_SHOWN]]
    more = ", …" if len(failed) > _MOST_SHOWN else ""
    was = "image cannot be read and was" if len(failed) == 1 else (
        "images cannot be read and were"
    )  # fmt: skip
    return f"{len(failed)} {was} left out: {', '.join(shown)}{more}"


def _parts(root: Path) -> dict[str, Path]:
    """Return the folder of each part, `train` first; the root alone is all training."""
    folders = _folders(root)
    named = {_PARTS.get(each.name.lower(), ""): each for each in folders}
    if "train" not in named or "" in named:
        return {"train": root}
    if len(named) < len(folders):
        names = ", ".join(each.name for each in folders)
        raise DataError(
            message(f"two folders for one part of the data: {names}", where=str(root))
        )
    return {
        part: named[part] for part in dict.fromkeys(_PARTS.values()) if part in named
    }


def _folders(root: Path) -> list[Path]:
    return sorted(
        each for each in root.iterdir() if each.is_dir() and each.name[0] != "."
    )


def _class_files(root: Path, met: _Met) -> dict[str, list[Path]]:
    """Return the images of each class."""
    loose = [each for each in root.iterdir() if each.is_file() and is_image(each)]
    found = {each.name: _images_below(each) for each in _folders(root)}
    if not any(images for images, _ in found.values()):
        what = (
            f"{len(loose)} images lie in it" if loose else "there are no images in it"
        )
        raise DataError(
            message(
                what,
                where=str(root),
                expected="expected a folder for each class, named by it",
                hint=f"such as {root.name}/apple/1.png and {root.name}/pear/2.png",
            )
        )
    for name, (images, _) in found.items():
        if not images:
            raise DataError(
                message(
                    f"the class {name!r} has no images",
                    where=str(root / name),
                    hint="put images into the folder, or remove it",
                )
            )
    met.loose.extend(loose)
    met.others.extend(each for _, others in found.values() for each in others)
    return {name: images for name, (images, _) in found.items()}


def _passed_over(files: list[Path], which: str) -> list[str]:
    """Note files that were passed over, where there are any."""
    count = f"{len(files)} file{'s' * (len(files) > 1)}"
    return [f"passed over {count} {which}, such as {each}" for each in files[:1]]


def _images_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images in a folder and the folders below, and its other files."""
    images, others = [], []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if is_image(path):
                images.append(path)
            elif not name.startswith("."):
                others.append(path)
    return images, others


def _in_order(name: str) -> tuple[bool, int, str]:
    """Sort numbers by their value, in front of words."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _read_part(
    root: Path,
    files: dict[str, list[Path]],
    classes: tuple[str, ...],
    size: Size | None,
    channels: int | None,
    met: _Met,
) -> Images:
    paths = [path for name in classes for path in files.get(name, ())]
    number = [k for k, name in enumerate(classes) for _ in files.get(name, ())]
    found = read_images(paths, size, channels)
    labels = np.asarray(number, np.int64)[list(found.kept)]
    for k, name in enumerate(classes):
        if name in files and k not in labels:
            raise DataError(f"no image of the class {name!r} can be read · "
                            + left_out(found.failed))  # fmt: skip
    kept = tuple(str(paths[i].relative_to(root)) for i in found.kept)
    met.failed |= found.failed
    met.sizes |= dict(zip(kept, found.sizes))
    return Images(found.pixels, labels, classes, kept)


def _stretched(sizes: dict[str, Size], size: Size) -> list[str]:
    """Note that images were of another size, with the smallest and the largest."""
    other = {file: each for file, each in sizes.items() if each != size}
    if not other:
        return []
    ordered = sorted(other, key=lambda file: other[file][0] * other[file][1])
    differ = other[ordered[0]] != other[ordered[-1]]
    ends = [ordered[0], ordered[-1]] if differ else ordered[:1]
    words = " to ".join(f"{_words(other[file])} ({file})" for file in ends)
    count = f"{len(other)} of {len(sizes)}"
    return [f"{count} images were stretched to {_words(size)}, from {words}"]


def _words(size: Size) -> str:
    return f"{size[1]}×{size[0]}"


# --- IDX -------------------------------------------------------------------------


def idx_pixels(path: str | Path) -> Array:
    """Return the images in an IDX file, u8 `[n, channels, height, width]`.

    Raises `DataError` for a file that is missing or damaged or holds something else.
    """
    pixels = read_idx(path)
    if pixels.ndim != 3 and not (pixels.ndim == 4 and pixels.shape[3] in (1, 3)):
        raise _wrong(path, pixels, "expected images, [n, height, width]")
    if pixels.dtype != np.uint8 or not pixels.size:
        raise _wrong(path, pixels, "expected images of bytes")
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def read_idx_images(path: str | Path, labels: str | Path | None = None) -> Images:
    """Read images and their labels from a pair of IDX files, such as MNIST's.

    Without `labels` their file is looked for beside the images, by its name. The
    images are bytes `[n, height, width]`, or with 3 channels behind.

    Raises `DataError` where a file is missing or damaged, holds something else, or
    where there is not one label for each image.
    """
    pixels = idx_pixels(path)
    place = labels or labels_beside(path)
    found = read_idx(place)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise _wrong(place, found, "expected a whole number for each image")
    if len(found) != len(pixels):
        raise DataError(
            message(
                f"there are {len(pixels)} images and {len(found)} labels",
                where=str(place),
            )
        )
    classes, numbers = np.unique(found, return_inverse=True)
    return Images(pixels, numbers.astype(np.int64), tuple(classes.tolist()))


def _wrong(path: str | Path, found: Array, expected: str) -> DataError:
    what = f"the IDX file holds {found.dtype} {list(found.shape)}"
    return DataError(message(what, where=str(path), expected=expected))
