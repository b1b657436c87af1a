"""IDX files, the format of MNIST: a magic number, sizes, then big-endian values.

http://yann.lecun.com/exdb/mnist describes it. Only whole, well-formed files pass.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import DataError, message

__all__ = ["is_idx", "labels_beside", "read_idx"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_GZIP_MAGIC = b"\x1f\x8b"
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
"""The dtype that the third byte of a file names."""


def read_idx(path: str | Path) -> Array:
    """Return the array in an IDX file, compressed by gzip or not.

    MNIST's images are uint8 `[n, 28, 28]`, its labels uint8 `[n]`. Raises `DataError`
    for a file that is missing, truncated, longer than it says, or something else.
    """
    where = str(path)
    try:
        data = Path(path).read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError(message("no such file", where=where)) from None
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot read the file: {error}"
        raise DataError(message(what, where=where)) from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise DataError(
            message(
                "this is not an IDX file",
                where=where,
                expected=f"expected two zero bytes and a type, got {data[:4].hex(' ')}",
            )
        )
    dtype, axes = _DTYPES[data[2]], data[3]
    start = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", data[4:start]) if len(data) >= start else None
    wanted = start + (math.prod(shape) * dtype.itemsize if shape is not None else 0)
    if shape is None or len(data) != wanted:
        kind = "cut short" if len(data) < wanted else "longer than it says"
        raise DataError(
            message(
                f"the IDX file is {kind}",
                where=where,
                expected=f"expected {wanted} bytes, got {len(data)}",
            )
        )
    values = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def is_idx(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is an IDX file, compressed or not."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        if start.startswith(_GZIP_MAGIC):
            with gzip.open(path) as file:
                start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _DTYPES


def labels_beside(path: str | Path) -> Path:
    """Return the file beside one of images that has their labels, by its name.

    `train-images-idx3-ubyte.gz` goes with `train-labels-idx1-ubyte.gz`, or with that
    name without `.gz`. Raises `DataError` where there is none.
    """
    place = Path(path)
    name = place.name.removesuffix(".gz")
    name = re.sub(r"idx\d", "idx1", name.replace("images", "labels"))
    tried = [place.with_name(each) for each in (f"{name}.gz", name)]
    found = [each for each in tried if each.is_file() and each.name != place.name]
    if not found:
        raise DataError(
            message(
                "the file with the labels is not beside the images",
                where=str(path),
                expected=f"expected {tried[0].name} or {tried[1].name}",
                hint="name it: labels=…, or --labels FILE",
            )
        )
    return min(found, key=lambda each: each.suffix != place.suffix)
