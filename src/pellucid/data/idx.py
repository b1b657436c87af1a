"""IDX files, the format of MNIST: a magic number, sizes, then big-endian values.

http://yann.lecun.com/exdb/mnist describes it. Only whole, well-formed files pass.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import DataError, message

__all__ = ["read_idx"]

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
