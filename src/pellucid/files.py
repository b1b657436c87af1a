"""Model files: named arrays and a JSON header in one safetensors file.

Knows how a file is written without ever leaving half of one, and how to tell what
is wrong with a file that cannot be read. Refuses to know what the arrays mean: the
header belongs to whoever writes it. Nothing in a file is ever executed.

On disk: a safetensors file (https://github.com/huggingface/safetensors) whose
metadata has one key, `pellucid`, with `{"format": 1, "header": …}` as JSON. Any
other safetensors reader reads the arrays.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from pellucid.errors import (
    ArgumentError,
    DTypeError,
    ModelFileError,
    did_you_mean,
    message,
)

__all__ = ["FORMAT", "read_file", "read_tensors", "write_file", "write_whole"]

FORMAT = 1
"""The number of the format that is written; every smaller one can be read."""

Arrays = dict[str, npt.NDArray[Any]]

_KEY = "pellucid"
_SUFFIXES = (".pellucid", ".safetensors")
_MOST_HEADER_BYTES = 2**27
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_file(
    path: str | os.PathLike[str],
    tensors: Mapping[str, npt.ArrayLike],
    header: Mapping[str, Any],
) -> None:
    """Write arrays and a header to one file, whole or not at all.

    The file is written beside its place, flushed to the disk and renamed, so that a
    full disk or an interruption leaves an older file as it was. The same arrays with
    the same header (its keys in the same order) give the same bytes.

    Args:
        path: where to; its folder must exist.
        tensors: arrays of any shape, of a boolean, integer or float dtype.
        header: what JSON can hold; keys are strings, floats are finite.

    Raises:
        ArgumentError: a header that would not come back as it is.
        DTypeError: an array that is not of numbers.
        ModelFileError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(f"{folder}/a.pellucid", {"w": [1.0, 2.0]}, {"task": "demo"})
    ...     read_file(f"{folder}/a.pellucid")
    ({'w': array([1., 2.])}, {'task': 'demo'})
    """
    write_whole(path, _encode(tensors, header))


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: beside its place, then renamed.

    Raises `ModelFileError` where it cannot be written.
    """
    name, place = repr(os.fspath(path)), Path(os.path.realpath(path))
    try:
        if os.path.exists(place) and not os.path.isfile(place):
            raise ModelFileError(f"{name} is not a regular file")
        _replace(place, content)
    except FileNotFoundError:
        cause = f"there is no folder {str(place.parent)!r}"
        raise ModelFileError(message(f"cannot write {name}: {cause}")) from None
    except OSError as error:
        what = f"cannot write {name}: {_cause(error)}"
        kept = "the file of this name is as it was" if os.path.isfile(place) else ""
        raise ModelFileError(message(what, expected=kept)) from error


def read_file(
    path: str | os.PathLike[str], content: bytes | None = None
) -> tuple[Arrays, dict[str, Any]]:
    """Read the arrays, in order of their names, and the header of a file.

    `content` is what the file holds, where that was read before.

    Raises:
        ModelFileError: the file is missing, empty, cut short, damaged, of another
            program, or of a newer Pellucid; the message says which.
    """
    tensors, metadata = _read(path, content)
    return tensors, _header(metadata, repr(os.fspath(path)))


def read_tensors(path: str | os.PathLike[str]) -> Arrays:
    """Read the arrays of any safetensors file, in order of their names.

    Raises:
        ModelFileError: as `read_file`, save that no header of ours is needed.
    """
    return _read(path)[0]


def _encode(tensors: Mapping[str, npt.ArrayLike], header: Mapping[str, Any]) -> bytes:
    for fault in _json_faults(header, "header"):
        raise ArgumentError(
            message(fault, expected="str, int, finite float, bool, None, list or dict")
        )
    arrays = {name: _storable(name, value) for name, value in tensors.items()}
    text = json.dumps({"format": FORMAT, "header": header})
    return safetensors.numpy.save(arrays, metadata={_KEY: text})


def _storable(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the value as an array in the machine's byte order, without gaps."""
    array = np.asarray(value, order="C")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DTypeError(
            message(
                f"an array of dtype {array.dtype} cannot be stored",
                where=f"array {name!r}",
                expected="booleans, integers or floats of at most 64 bits",
            )
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _json_faults(value: Any, where: str) -> Iterator[str]:
    """Say what in a header would be refused by JSON or silently changed."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                yield f"a key of {where} is {key!r}, not a string"
            yield from _json_faults(child, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _json_faults(child, f"{where}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{where} is {value}"
    elif not (value is None or isinstance(value, bool | int | str)):
        yield f"{where} is of type {type(value).__name__}"


def _replace(place: Path, content: bytes) -> None:
    beside = place.with_name(f".pellucid-{secrets.token_hex(8)}.tmp")
    mode = place.stat().st_mode & 0o777 if place.exists() else None
    try:
        with open(beside, "xb") as file:
            _fill(file, content)
        if mode is not None:
            beside.chmod(mode)
        os.replace(beside, place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _fill(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _cause(error: OSError) -> str:
    return _CAUSES.get(error.errno or 0) or (error.strerror or str(error)).lower()


def _read(
    path: str | os.PathLike[str], content: bytes | None = None
) -> tuple[Arrays, dict[str, str]]:
    name = repr(os.fspath(path))
    if content is None:
        content = _content(Path(path), name)
    metadata = _check_layout(content, name)
    try:
        found = safetensors.numpy.load(content)
    except KeyError as error:
        what = f"{name} holds arrays of dtype {error.args[0]}"
        raise ModelFileError(
            message(what, expected="NumPy has no such dtype")
        ) from None
    except safetensors.SafetensorError as error:
        what = f"{name} is damaged"
        raise ModelFileError(message(what, expected=str(error))) from error
    # Arrays from the buffer of a file are read-only; a model's are not.
    return {name: found[name].copy() for name in sorted(found)}, metadata


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(message(f"no file {name}", hint=_beside(path))) from None
    except OSError as error:
        cause = "it is a folder" if path.is_dir() else _cause(error)
        raise ModelFileError(message(f"cannot read {name}: {cause}")) from error


def _beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}"
    suffixes = {*_SUFFIXES, path.suffix}
    names = sorted(
        each.name for each in path.parent.iterdir() if each.suffix in suffixes
    )
    return did_you_mean(path.name, names)


def _check_layout(content: bytes, name: str) -> dict[str, str]:
    """Tell an empty, a foreign and a shortened file apart; return the metadata.

    The layout: eight bytes with the length of a JSON object, the object, the arrays.
    The object has the place of each array, and so the length that the file must have.
    """
    if not content:
        raise ModelFileError(f"{name} is empty")
    start = 8 + int.from_bytes(content[:8], "little")
    if content[8:9] != b"{" or start > _MOST_HEADER_BYTES:
        raise _foreign(name) if len(content) > 8 else _cut_short(name, content, 9)
    if start > len(content):
        raise _cut_short(name, content, start)
    try:
        table = json.loads(content[8:start])
        metadata = dict(table.pop("__metadata__", {}))
        ends = [int(each["data_offsets"][1]) for each in table.values()]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise _foreign(name) from None
    if start + max(ends, default=0) > len(content):
        raise _cut_short(name, content, start + max(ends))
    return metadata


def _foreign(name: str) -> ModelFileError:
    return ModelFileError(
        message(
            f"{name} is not a model file",
            expected="expected a file that Pellucid wrote (safetensors)",
        )
    )


def _cut_short(name: str, content: bytes, length: int) -> ModelFileError:
    return ModelFileError(
        message(
            f"{name} is cut short",
            expected=f"expected at least {length} bytes, found {len(content)}",
            hint="copy it again or train again",
        )
    )


def _header(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    if _KEY not in metadata:
        raise ModelFileError(
            message(
                f"{name} was not written by Pellucid",
                expected="it is a safetensors file without Pellucid's header",
                hint="read_tensors reads its arrays",
            )
        )
    try:
        content = json.loads(metadata[_KEY])
        number, header = int(content["format"]), content.get("header")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        number, header = 0, None
    if number > FORMAT:
        raise _newer(name, number)
    if not isinstance(header, dict):
        raise ModelFileError(f"the header of {name} is damaged")
    return header


def _newer(name: str, number: int) -> ModelFileError:
    return ModelFileError(
        message(
            f"{name} was written by a newer Pellucid",
            expected=f"file format {number}, this version reads up to {FORMAT}",
            hint="pip install --upgrade pellucid",
        )
    )
