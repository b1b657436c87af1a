"""From a table to the matrix that a network sees, the same way at every prediction.

A preprocessor is fitted on the training part and stored in the model file as plain
JSON. It is a row of encoders, one for each feature column; it knows no target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.encoders import ENCODERS, DateEncoder, Encoder, NumberEncoder
from pellucid.data.schema import Schema
from pellucid.errors import DataError, did_you_mean, message

__all__ = ["Preprocessor"]

Features: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Preprocessor:
    """The encoders of a table's feature columns, in order."""

    encoders: tuple[Encoder, ...]

    @classmethod
    def fit(cls, table: pl.DataFrame, schema: Schema) -> Preprocessor:
        """Learn how to encode each feature column from the training part of a table.

        Raises `DataError` where no column is left to learn from.

        >>> from pellucid.data.schema import infer_schema
        >>> table = pl.DataFrame({"age": [31, 40, 52], "town": ["Ulm", "Bonn", "Ulm"]})
        >>> Preprocessor.fit(table, infer_schema(table)).feature_names
        ('age', 'age (rank)', 'town=Bonn', 'town=Ulm')
        """
        _check_columns(table, [each.name for each in schema.features])
        fitted: list[Encoder] = [
            ENCODERS[each.kind].fit(table[each.name]) for each in schema.features
        ]
        useful = tuple(each for each in fitted if each.names)
        if not useful:
            reasons = [f"{each.name!r} ({each.reason})" for each in schema.dropped]
            same = [f"{each.name!r} (the same everywhere)" for each in fitted]
            raise DataError(
                message(
                    "no column is left to learn from",
                    where=", ".join(reasons + same),
                    hint="add columns that differ between rows",
                )
            )
        return cls(useful)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each column of the matrix."""
        return tuple(name for each in self.encoders for name in each.names)

    def transform(self, table: pl.DataFrame) -> Features:
        """Return the rows of a table as float32 `[n, features]`, in their order.

        Other columns are ignored. Raises `DataError` for a column that is not there,
        and for text where training had numbers or dates, naming row and value.
        """
        _check_columns(table, [each.name for each in self.encoders])
        features = np.empty((len(table), len(self.feature_names)), np.float32)
        start = 0
        for each in self.encoders:
            encoded = each.transform(table[each.name])
            features[:, start : start + encoded.shape[1]] = encoded
            start += encoded.shape[1]
        return features

    def to_dict(self) -> dict[str, Any]:
        """Return the preprocessor as plain JSON values, exact to the last bit."""
        return {
            "encoders": [{"kind": each.kind, **asdict(each)} for each in self.encoders]
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Preprocessor:
        """Return the preprocessor that `to_dict` described."""
        return cls(tuple(_restore(each) for each in plain["encoders"]))


def _check_columns(table: pl.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        what = "no column named" if len(missing) == 1 else "no columns named"
        shown = ", ".join(map(repr, missing))
        hint = did_you_mean(missing[0], table.columns)
        raise DataError(message(f"{what} {shown}, which training had", hint=hint))


def _restore(plain: Mapping[str, Any]) -> Encoder:
    kind = ENCODERS[plain["kind"]]
    values: dict[str, Any] = {each.name: plain[each.name] for each in fields(kind)}
    if kind is DateEncoder:
        number = {"kind": NumberEncoder.kind}
        values["parts"] = [_restore(number | part) for part in values["parts"]]
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return kind(**values)
