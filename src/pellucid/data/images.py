"""Images as bytes: one file, or many of one size.

Knows how pixels come out of a file: which way is up, what is grey, what lies behind
something transparent, and what size they become. Pillow is used here and nowhere
else. Knows nothing of classes; `folders` does.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, DataError, did_you_mean, message

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "LARGEST",
    "SUFFIXES",
    "Pictures",
    "Size",
    "choose_size",
    "is_image",
    "read_image",
    "read_images",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Size: TypeAlias = tuple[int, int]
"""Height and width, in pixels."""

_NETPBM, _OTHERS = (".ppm", ".pgm", ".pbm"), (".bmp", ".webp", ".tif", ".tiff")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", *_NETPBM, *_OTHERS})
"""What the names of images end with, whatever the case."""

LARGEST = 64
"""The longest side, in pixels, of images whose size nobody chose."""

_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""

_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What turns an image upright, by the value of that tag; from 5 on its sides swap.

Source: Exif 2.3, CIPA DC-008 (2012), tag 274.
"""

_GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes without colour."""


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image, and not a hidden one.

    >>> is_image(Path("cat/1.PNG")), is_image(Path(".thumb.png"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


@dataclass(frozen=True)
class Pictures:
    """Images of one size: `pixels` u8 `[n, channels, height, width]`.

    `kept` are the positions of the `n` images among the paths that were given,
    `failed` the others, each with the reason. `sizes` are those of the files.
    """

    pixels: Array
    kept: tuple[int, ...]
    failed: dict[str, str]
    sizes: tuple[Size, ...]

    @property
    def size(self) -> Size:
        """Height and width."""
        height, width = self.pixels.shape[2:]
        return height, width


def read_image(
    path: str | Path, size: Size | None = None, channels: int | None = None
) -> Array:
    """Return the pixels of one image, u8 `[channels, height, width]`.

    An image that a camera marked as turned is turned back; of several pictures in a
    file the first is taken; what is transparent lies on white; 16 bits a channel
    become 8. With `size` the image is stretched to it. `channels` is 1 (grey) or 3
    (red, green, blue), by default as the file has it. Raises `DataError` that names
    the file where it is missing, damaged or no image.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder, "two.pgm")
    ...     _ = place.write_bytes(b"P5 2 1 255 \\x00\\xff")
    ...     read_image(place).tolist()
    [[[0, 255]]]
    """
    _check(size, channels)
    try:
        grey, found = _look(Path(path))
        return _pixels(Path(path), size or found, channels or (1 if grey else 3))
    except _UnreadableError as error:
        raise DataError(
            message(error.reason, where=str(path), hint=error.hint)
        ) from None


def read_images(
    paths: Iterable[str | Path], size: Size | None = None, channels: int | None = None
) -> Pictures:
    """Read many images as `read_image` does, all to one size and number of channels.

    By default the size is what `choose_size` says of theirs, and there is one channel
    where no image has a colour in it. A file that cannot be read is left out and
    named in `failed`; raises `DataError` where that leaves none.
    """
    _check(size, channels)
    given = [Path(each) for each in paths]
    failed: dict[str, str] = {}
    looks: dict[int, tuple[bool, Size]] = {}
    for i, path in enumerate(given):
        try:
            looks[i] = _look(path)
        except _UnreadableError as error:
            failed[str(path)] = error.reason
    if looks:
        size = size or choose_size([found for _, found in looks.values()])
        wide = channels or (1 if all(grey for grey, _ in looks.values()) else 3)
        pixels, kept = _filled(given, list(looks), size, wide, failed)
        if kept:
            if channels is None and wide == 3 and _is_grey(pixels):
                pixels = pixels[:, :1].copy()
            return Pictures(
                pixels, tuple(kept), failed, tuple(looks[i][1] for i in kept)
            )
    raise _none_readable(failed)


def choose_size(sizes: Sequence[Size]) -> Size:
    """Return the median height and width, shrunk to a longest side of at most 64.

    So images of one size that is not larger keep it.

    >>> choose_size([(28, 28), (28, 28)]), choose_size([(480, 640)])
    ((28, 28), (48, 64))
    """
    height, width = np.median(np.asarray(sizes), axis=0)
    shrink = min(1.0, LARGEST / max(height, width))
    return max(round(height * shrink), 1), max(round(width * shrink), 1)


def _check(size: Size | None, channels: int | None) -> None:
    if channels not in (None, 1, 3):
        raise ArgumentError(
            message(f"channels={channels!r}", expected="expected 1 (grey) or 3")
        )
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise ArgumentError(
            message(f"size={size!r}", expected="expected a height and a width")
        )


def _filled(
    paths: list[Path],
    chosen: list[int],
    size: Size,
    channels: int,
    failed: dict[str, str],
) -> tuple[Array, list[int]]:
    """Read the chosen files into one array; note those whose pixels are damaged."""
    pixels = np.empty((len(chosen), channels, *size), np.uint8)
    kept: list[int] = []
    for i in chosen:
        try:
            pixels[len(kept)] = _pixels(paths[i], size, channels)
        except _UnreadableError as error:
            failed[str(paths[i])] = error.reason
        else:
            kept.append(i)
    return pixels[: len(kept)], kept


def _is_grey(pixels: Array) -> bool:
    return all((pixels[:, 0] == pixels[:, k]).all() for k in (1, 2))


def _none_readable(failed: dict[str, str]) -> DataError:
    if not failed:
        return DataError(message("there are no images to read"))
    path, reason = next(iter(failed.items()))
    what = reason
    if len(failed) > 1:
        what = f"none of {len(failed)} images can be read, the first: {reason}"
    return DataError(message(what, where=path))


# --- Pillow ----------------------------------------------------------------------


class _UnreadableError(Exception):
    """A file has no pixels for us: why, and what to try."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def _open(path: Path) -> Image:
    import PIL.Image

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, _names_beside(path))
        hint = near if near.startswith("did") else ""
        raise _UnreadableError("no such file", hint) from None
    except OSError as error:
        cause = "it is a folder" if path.is_dir() else str(error.strerror).lower()
        raise _UnreadableError(f"cannot read the file: {cause}") from None
    if not content:
        raise _UnreadableError("the file is empty")
    try:
        return PIL.Image.open(io.BytesIO(content))
    except PIL.UnidentifiedImageError:
        raise _UnreadableError("this is not an image that can be read") from None
    except _faults() as error:
        raise _UnreadableError(f"the image is damaged: {error}") from None


def _names_beside(path: Path) -> list[str]:
    folder = path.parent
    return [each.name for each in folder.iterdir()] if folder.is_dir() else []


def _faults() -> tuple[type[Exception], ...]:
    """Return what Pillow's readers raise on damaged files, and on immense ones."""
    from PIL.Image import DecompressionBombError as Immense

    odd = (SyntaxError, ValueError, TypeError, EOFError, struct.error)
    return OSError, Immense, *odd


def _look(path: Path) -> tuple[bool, Size]:
    """Return whether an image is grey, and its size the right way up.

    The pixels are not decoded.
    """
    with warnings.catch_warnings(action="ignore"), _open(path) as image:
        width, height = image.size
        lying = _orientation(image) >= 5
        return image.mode in _GREY, (width, height) if lying else (height, width)


def _orientation(image: Image) -> int:
    try:
        found = int(image.getexif().get(_ORIENTATION, 1))
    except _faults():
        return 1  # marks that cannot be read mark nothing
    return found if found in _UPRIGHT else 1


def _pixels(path: Path, size: Size, channels: int) -> Array:
    from PIL.Image import Resampling, Transpose

    height, width = size
    with warnings.catch_warnings(action="ignore"), _open(path) as opened:
        try:
            # A JPEG can be decoded at a fraction of its size.
            opened.draft(opened.mode, (2 * max(size), 2 * max(size)))
            opened.load()
        except _faults() as error:
            raise _UnreadableError(f"the image is damaged: {error}") from None
        image = _flat(opened).convert("L" if channels == 1 else "RGB")
        turn = _UPRIGHT.get(_orientation(opened))
        if turn is not None:
            image = image.transpose(Transpose[turn])
        if image.size != (width, height):
            image = image.resize((width, height), Resampling.BILINEAR)
        found = np.asarray(image, np.uint8)
    return found[None] if channels == 1 else found.transpose(2, 0, 1)


def _flat(image: Image) -> Image:
    """Return an image of 8 bits a channel without anything transparent."""
    import PIL.Image

    if image.mode == "F":
        what = "the image has pixels of 32-bit floats"
        raise _UnreadableError(what, "save it with 8 bits a channel")
    if image.mode.startswith("I"):
        # Pillow would cut 16 bits off at 255.
        values = np.clip(np.asarray(image, np.float64), 0, 65535) / 257
        return PIL.Image.fromarray(np.rint(values).astype(np.uint8))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    behind = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(behind, image.convert("RGBA"))
