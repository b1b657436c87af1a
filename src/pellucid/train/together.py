"""Several processes that train one model: they hold one data set, and start alike."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.data.windows import Slices
from pellucid.engines.program import Engine
from pellucid.errors import ArgumentError, DataError, message
from pellucid.ir.graph import Array
from pellucid.train.columns import Data, arrays_of
from pellucid.train.state import TrainState

__all__ = ["check_alike", "read_by_first", "together"]

_READ = 1 << 24
"""Bytes of an array that are read to compare it; of a longer one some rows are."""


def together(data: Data, engine: Engine | None) -> Data:
    """Return the rows of all processes, in their order, where each brings its own."""
    if engine is None or engine.processes == 1 or not engine.own_rows:
        return data
    if any(isinstance(each, Slices) for each in data.values()):
        raise ArgumentError(
            message(
                "each process brings rows of its own, and windows are no rows",
                hint="give every process the whole series, and rows='all'",
            )
        )
    return {name: _joined(name, np.asarray(data[name]), engine) for name in data}


def _joined(name: str, array: Array, engine: Engine) -> Array:
    facts = json.dumps([array.dtype.str, array.shape[1:]]).encode()
    for process, other in enumerate(engine.gather(facts)):
        if other != facts:
            raise DataError(
                message(
                    f"{name} is of another kind in process {process}",
                    where=other.decode(),
                    expected=f"process {engine.process} has {facts.decode()}",
                )
            )
    parts = engine.gather(np.ascontiguousarray(array).tobytes())
    shape = (-1, *array.shape[1:])
    return np.concatenate(
        [np.frombuffer(part, array.dtype).reshape(shape) for part in parts]
    )


def check_alike(data: Data, state: TrainState, engine: Engine) -> None:
    """Raise where processes that should begin with the same numbers do not."""
    if engine.processes == 1:
        return
    for what, arrays in (("data", arrays_of(data)), ("weights", state.leaves())):
        mine = _digest(arrays)
        for process, other in enumerate(engine.gather(mine)):
            if other != mine:
                raise DataError(
                    message(
                        f"process {process} has other {what} than "
                        f"process {engine.process}",
                        hint="give every process the same seed and the same rows, or "
                        "let each bring its own: rows='own'",
                    )
                )


def read_by_first(path: Path, engine: Engine) -> bytes | None:
    """Return what a file of the first process holds; None where it has none."""
    found = engine.process == 0 and path.is_file()
    mine = b"a file" + path.read_bytes() if found else b""
    first = engine.gather(mine)[0]
    return first.removeprefix(b"a file") if first else None


def _digest(arrays: list[Any]) -> bytes:
    digest = hashlib.sha256()
    for each in arrays:
        array = np.asarray(each)
        digest.update(f"{array.dtype} {array.shape}".encode())
        step = max(1, array.nbytes // _READ)
        digest.update((array[::step] if array.ndim else array).tobytes())
    return digest.digest()
