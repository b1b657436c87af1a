"""A trained network with all it needs to predict from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.preprocess import Preprocessor
from pellucid.data.schema import Schema
from pellucid.data.table import as_table
from pellucid.data.targets import ClassTarget, NumberTarget, target_from_dict
from pellucid.errors import ArgumentError, message
from pellucid.functional import softmax
from pellucid.runs.model import RunModel
from pellucid.tabular.report import TableReport
from pellucid.tabular.settings import TableSettings
from pellucid.tensors import tensor

__all__ = ["TableModel"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ROWS_AT_ONCE = 8192
"""Larger tables go through the network in parts, so that memory stays small."""


@dataclass(frozen=True, kw_only=True)
class TableModel(RunModel):
    """A network between encoders: from a table's columns to labels or quantities."""

    kind: ClassVar[str] = "table"
    data: ClassVar[str] = "a table"

    schema: Schema
    preprocessor: Preprocessor
    target: ClassTarget | NumberTarget
    settings: TableSettings
    report: TableReport

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

    def header(self) -> dict[str, Any]:
        """Return the encoders as plain JSON values."""
        return {
            "schema": self.schema.to_dict(),
            "preprocessor": self.preprocessor.to_dict(),
            "target": self.target.to_dict(),
        }

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the encoders, the settings and the report from a header."""
        return {
            "schema": Schema.from_dict(header["schema"]),
            "preprocessor": Preprocessor.from_dict(header["preprocessor"]),
            "target": target_from_dict(header["target"]),
            "settings": TableSettings.from_dict(header["settings"]),
            "report": TableReport.from_json(header["report"]),
        }
