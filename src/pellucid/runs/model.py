"""A trained network with all it needs to predict, in one file.

The file is a safetensors file: the network's weights, and a JSON header with its
architecture, what stands before and behind it, the settings, where the data came
from, and the record of the training. Nothing in it is executed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np

from pellucid.errors import ModelFileError, PellucidError, message
from pellucid.files import read_file, write_file
from pellucid.nn import Module, from_spec, to_spec
from pellucid.random import key_of, keys_from
from pellucid.runs.report import RunReport
from pellucid.runs.settings import RunSettings
from pellucid.runs.source import Source
from pellucid.train.history import History

__all__ = ["RunModel", "load_model"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Model = TypeVar("Model", bound="RunModel")


@dataclass(frozen=True, kw_only=True)
class RunModel:
    """A network, its settings, and the record of its training.

    A subclass knows what stands before and behind the network.
    """

    kind: ClassVar[str]
    """What the header of a file calls it."""
    data: ClassVar[str]
    """What it is a model of, in words."""
    noun: ClassVar[str] = "rows"
    """What one learns from, in words."""
    batch_noun: ClassVar[str] = ""
    """What a batch is made of, where that is something else."""

    module: Module
    settings: RunSettings
    history: History
    report: RunReport
    source: Source | None = None

    def header(self) -> dict[str, Any]:
        """Return what a subclass keeps besides, as plain JSON values."""
        raise NotImplementedError(f"{type(self).__name__} has no header()")

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a subclass from what `header` wrote."""
        raise NotImplementedError(f"{cls.__name__} has no parts()")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, whole or not at all.

        Raises `ModelFileError` where the file cannot be written.
        """
        header = {
            "kind": self.kind,
            "spec": to_spec(self.module),
            **self.header(),
            "settings": self.settings.to_dict(),
            "history": _writable(self.history),
            "report": self.report.to_json(),
            "source": asdict(self.source) if self.source else None,
        }
        write_file(path, self.module.state_dict(), header)

    @classmethod
    def load(cls: type[Model], path: str | os.PathLike[str]) -> Model:
        """Read what `save` wrote; it predicts the same bits.

        Raises `ModelFileError` for a file that is missing, cut short, damaged, or
        holds something else.
        """
        return load_model(path, cls)

    @classmethod
    def _restore(
        cls: type[Model], tensors: Mapping[str, Array], header: Mapping[str, Any]
    ) -> Model:
        with keys_from(key_of(0)):
            module: Module = from_spec(header["spec"])
        module.load_state_dict(tensors)
        source = header["source"]
        return cls(
            module=module.eval(),
            history=_readable(header["history"]),
            source=Source(**source) if source else None,
            **cls.parts(header),
        )


def load_model(path: str | os.PathLike[str], *classes: type[Model]) -> Model:
    """Read a model of one of these classes, by what the file says that it holds.

    Raises `ModelFileError` as `RunModel.load`.
    """
    tensors, header = read_file(path)
    name = repr(os.fspath(path))
    for cls in classes:
        if header.get("kind") != cls.kind:
            continue
        try:
            return cls._restore(tensors, header)
        except (LookupError, TypeError, ValueError, PellucidError) as error:
            what = f"the header of {name} is damaged"
            raise ModelFileError(message(what, expected=str(error))) from None
    known = " or ".join(cls.data for cls in classes)
    held = str(header.get("kind", "something unknown"))
    raise ModelFileError(
        message(
            f"{name} does not hold a model of {known}",
            expected=f"it holds {held!r}",
            hint="give a file that 'pellucid train' wrote",
        )
    )


def _writable(history: History) -> dict[str, Any]:
    """Return a record as JSON can hold it: a loss that was not finite is null."""
    plain = history.to_dict()
    rows = [
        {name: value if math.isfinite(value) else None for name, value in row.items()}
        for row in plain["rows"]
    ]
    return {**plain, "rows": rows}


def _readable(plain: Mapping[str, Any]) -> History:
    rows = [
        {name: math.nan if value is None else value for name, value in row.items()}
        for row in plain["rows"]
    ]
    return History.from_dict({**plain, "rows": rows})
