"""A trained network with all it needs to predict from a table, in one file.

The file is a safetensors file: the network's weights, and a JSON header with its
architecture, the encoders, the settings, where the data came from, and the record of
the training. Nothing in it is executed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.preprocess import Preprocessor
from pellucid.data.schema import Schema
from pellucid.data.table import as_table
from pellucid.data.targets import ClassTarget, NumberTarget, target_from_dict
from pellucid.errors import ArgumentError, ModelFileError, PellucidError, message
from pellucid.files import read_file, write_file
from pellucid.functional import softmax
from pellucid.nn import Module, from_spec, to_spec
from pellucid.random import key_of, keys_from
from pellucid.tabular.report import TableReport
from pellucid.tabular.settings import TableSettings
from pellucid.tabular.source import Source
from pellucid.tensors import tensor
from pellucid.train.history import History

__all__ = ["TableModel"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

KIND = "table"

ROWS_AT_ONCE = 8192
"""Larger tables go through the network in parts, so that memory stays small."""


@dataclass(frozen=True)
class TableModel:
    """A network between encoders: from a table's columns to labels or quantities."""

    schema: Schema
    preprocessor: Preprocessor
    target: ClassTarget | NumberTarget
    module: Module
    settings: TableSettings
    history: History
    report: TableReport
    source: Source | None = None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, in the order of their probabilities; none for a quantity."""
        return self.target.classes if isinstance(self.target, ClassTarget) else ()

    def predict(self, frame: Any) -> Array:
        """Return a label, or a value in the target's unit, for each row, `[n]`.

        `frame` is any table that `pellucid.data` takes. Columns are found by name;
        others are passed over. Raises `DataError` for a column that is missing, and
        for one that does not hold what it held in training.
        """
        output = self._output(frame)
        if isinstance(self.target, ClassTarget):
            return self.target.decode(output.argmax(axis=1))
        return self.target.decode(output[:, 0])

    def predict_proba(self, frame: Any) -> Array:
        """Return the probability of each class for each row, f32 `[n, classes]`.

        Raises `ArgumentError` where the target is a quantity.
        """
        if not self.classes:
            raise ArgumentError(
                message(
                    f"target {self.target.name!r} is a quantity: it has no classes",
                    hint="use predict",
                )
            )
        return softmax(tensor(self._output(frame))).value

    def predict_table(self, frame: Any) -> pl.DataFrame:
        """Return a table of predictions, with a column for each class's probability.

        The columns are `prediction`, `probability_<label>`, ….
        """
        table = self._named(frame)
        columns = {"prediction": self.predict(table)}
        if self.classes:
            probabilities = self.predict_proba(table).astype(np.float64)
            names = [f"probability_{label}" for label in self.classes]
            columns |= dict(zip(names, probabilities.T))
        return pl.DataFrame(columns)

    def _named(self, frame: Any) -> pl.DataFrame:
        """Return a table whose columns have the names that training had.

        A file without a header numbers its columns. Where it lacks the target, those
        behind the target's place are one too low.
        """
        table = as_table(frame)
        training = [each.name for each in self.schema.columns]
        numbered = [f"column_{k + 1}" for k in range(len(training))]
        with_target = {*numbered, f"column_{len(training) + 1}"}
        if table.columns == numbered and {*training, self.target.name} == with_target:
            return table.rename(dict(zip(numbered, training)))
        return table

    def _output(self, frame: Any) -> Array:
        X = self.preprocessor.transform(self._named(frame))
        parts = [
            self.module(X[i : i + ROWS_AT_ONCE]).value
            for i in range(0, max(len(X), 1), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def summary(self) -> str:
        """Return the architecture as a table, a line for each layer."""
        return self.module.summary((1, len(self.preprocessor.feature_names)))

    # --- files ---

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, whole or not at all.

        Raises `ModelFileError` where the file cannot be written.
        """
        header = {
            "kind": KIND,
            "spec": to_spec(self.module),
            "schema": self.schema.to_dict(),
            "preprocessor": self.preprocessor.to_dict(),
            "target": self.target.to_dict(),
            "settings": self.settings.to_dict(),
            "history": _writable(self.history),
            "report": self.report.to_json(),
            "source": asdict(self.source) if self.source else None,
        }
        write_file(path, self.module.state_dict(), header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableModel:
        """Read what `save` wrote; it predicts the same bits.

        Raises `ModelFileError` for a file that is missing, cut short, damaged, or
        holds something else.
        """
        tensors, header = read_file(path)
        name = repr(os.fspath(path))
        if header.get("kind") != KIND:
            held = str(header.get("kind", "something unknown"))
            raise ModelFileError(
                message(
                    f"{name} does not hold a model of a table",
                    expected=f"it holds a {held}",
                    hint="give a file that 'pellucid train' wrote",
                )
            )
        try:
            return cls._restore(tensors, header)
        except (LookupError, TypeError, ValueError, PellucidError) as error:
            what = f"the header of {name} is damaged"
            raise ModelFileError(message(what, expected=str(error))) from None

    @classmethod
    def _restore(
        cls, tensors: Mapping[str, Array], header: Mapping[str, Any]
    ) -> TableModel:
        with keys_from(key_of(0)):
            module: Module = from_spec(header["spec"])
        module.load_state_dict(tensors)
        source = header["source"]
        return cls(
            Schema.from_dict(header["schema"]),
            Preprocessor.from_dict(header["preprocessor"]),
            target_from_dict(header["target"]),
            module.eval(),
            TableSettings.from_dict(header["settings"]),
            _readable(header["history"]),
            TableReport.from_json(header["report"]),
            Source(**source) if source else None,
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
