"""Tables: read one from a file, or accept one from another library.

Everything above works on a `polars.DataFrame` whose columns are numbers, booleans,
strings, dates or datetimes, with null (never NaN) for a missing value. This module
makes such tables. It knows nothing of targets, kinds or features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pellucid.data.delimited import read_delimited
from pellucid.errors import DataError, did_you_mean, message

__all__ = ["as_table", "find_column", "read_table"]

_PARQUET_MAGIC = b"PAR1"
_PARQUET_SUFFIXES = (".parquet", ".pq")


def read_table(path: str | Path, *, header: bool | None = None) -> pl.DataFrame:
    """Read a CSV or Parquet file.

    A CSV's separator (comma, semicolon, tab) is detected, and so is whether its
    first line names the columns, unless `header` says it; without names they are
    called `column_1`, `column_2`, …. Spaces around values are stripped. `?`, `NA`,
    `N/A`, `NaN`, `null` and nothing at all are missing values. A column is numbers
    where every value in it is one, booleans where every one is true or false, and
    strings otherwise. Raises `DataError`, naming file and line.
    """
    path = Path(path)
    where = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(_no_file(path)) from None
    except OSError as error:
        what = f"cannot read the file: {error.strerror}"
        raise DataError(message(what, where=where)) from None
    if not data:
        raise DataError(message("the file is empty", where=where))
    if data.startswith(_PARQUET_MAGIC) or path.suffix.lower() in _PARQUET_SUFFIXES:
        return _read_parquet(data, where)
    cells, separator = read_delimited(data, where=where, header=header)
    return cells.select(
        _recognise(column, decimal_comma=separator != ",") for column in cells
    )


def _no_file(path: Path) -> str:
    folder = path.parent
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    near = did_you_mean(path.name, names)
    hint = near if near.startswith("did") else "check the path"
    return message("no such file", where=str(path), hint=hint)


def _read_parquet(data: bytes, where: str) -> pl.DataFrame:
    try:
        table = pl.read_parquet(data)
    except (pl.exceptions.PolarsError, OSError) as error:
        what = str(error).partition("\n")[0]
        raise DataError(
            message(f"not a readable Parquet file: {what}", where=where)
        ) from None
    if table.is_empty():
        raise DataError(message("the table has no rows", where=where))
    return _tidy(table)


def _recognise(column: pl.Series, *, decimal_comma: bool = False) -> pl.Series:
    """Turn a column of strings into integers, floats or booleans where all are."""
    missing = column.null_count()
    if missing == len(column):
        return column
    for dtype in (pl.Int64, pl.Float64):
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == missing:
            return numbers
    if decimal_comma and column.drop_nulls().str.contains(r"^[+-]?\d*,\d+$").any():
        numbers = column.str.replace(",", ".").cast(pl.Float64, strict=False)
        if numbers.null_count() == missing:
            return numbers
    lower = column.str.to_lowercase()
    if lower.drop_nulls().is_in(["true", "false"]).all():
        return lower == "true"
    return column


def as_table(frame: Any) -> pl.DataFrame:
    """Return a table from a polars, pandas or pyarrow frame, array or dict.

    Columns of a two-dimensional NumPy array are called `column_1`, `column_2`, ….
    A dict maps names to columns of one length.

    >>> as_table({"age": [31.0, float("nan")], "town": ["Ulm", None]}).to_dicts()
    [{'age': 31.0, 'town': 'Ulm'}, {'age': None, 'town': None}]
    """
    if isinstance(frame, np.ndarray):
        return _from_array(frame)
    if isinstance(frame, Mapping):
        return _tidy(_join({str(name): _series(frame[name]) for name in frame}))
    return _tidy(frame if isinstance(frame, pl.DataFrame) else _from_frame(frame))


def _from_frame(frame: Any) -> pl.DataFrame:
    """Return the frame of another library, in polars."""
    import narwhals.stable.v2 as nw  # only those who bring such a frame wait for it

    try:
        native = nw.from_native(frame, eager_only=True, pass_through=True)
    except (nw.exceptions.NarwhalsError, ValueError) as error:
        raise DataError(message(f"cannot use this frame: {error}")) from None
    if not isinstance(native, nw.DataFrame):
        raise DataError(
            message(
                f"a {type(frame).__name__} is not a table",
                expected="expected a polars, pandas or pyarrow frame, a 2-D NumPy "
                "array or a dict of columns",
            )
        )
    if not native.implementation.is_pandas_like():
        return native.to_polars()
    columns = {}
    for each in native.iter_columns():
        if isinstance(each.dtype, nw.Datetime):
            # Wall time is what the calendar features are made of.
            column = pl.Series(each.dt.replace_time_zone(None).to_numpy())
        else:
            column = _from_pandas(each)
        columns[str(each.name)] = column
    return _join(columns)


def _from_array(array: np.ndarray[Any, Any]) -> pl.DataFrame:
    if array.ndim != 2:
        hint = "try X.reshape(-1, 1)" if array.ndim == 1 else ""
        raise DataError(
            message(
                f"an array of shape {array.shape} is not a table",
                expected="expected two dimensions: rows and columns",
                hint=hint,
            )
        )
    columns = {f"column_{k + 1}": _series(array[:, k]) for k in range(array.shape[1])}
    return _tidy(_join(columns))


def _join(columns: dict[str, pl.Series]) -> pl.DataFrame:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r}: {rows}" for name, rows in lengths.items())
        raise DataError(message("the columns differ in length", where=shown))
    return pl.DataFrame(columns)


def _series(values: Any) -> pl.Series:
    """Return a column; what has no single type of its own becomes strings."""
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufM":
        return pl.Series(values.astype(values.dtype.newbyteorder("=")))
    listed = [None if value is None or value != value else value for value in values]
    try:
        column = pl.Series(listed, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        texts = [None if value is None else str(value) for value in listed]
        column = pl.Series(texts, dtype=pl.String)
    is_array = isinstance(values, np.ndarray)
    return _recognise(column) if is_array and column.dtype == pl.String else column


def _from_pandas(column: Any) -> pl.Series:
    """Return a pandas column without the help of pyarrow, which may be absent."""
    missing = column.is_null().to_list()
    values = column.to_list()
    return _series([None if gone else value for gone, value in zip(missing, values)])


def _tidy(table: pl.DataFrame) -> pl.DataFrame:
    """Bring columns to the few types that the rest knows; NaN becomes null."""
    if not table.width:
        raise DataError("the table has no columns")
    return table.select(_tidy_column(column) for column in table)


def _tidy_column(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    if dtype.is_decimal():
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
        return column.cast(pl.String)
    if dtype == pl.Duration:
        return column.dt.total_seconds(fractional=True)
    if dtype == pl.Time:
        return column.cast(pl.Int64) / 1e9
    return column


def find_column(table: pl.DataFrame, name: str | int) -> str:
    """Return the name of the column meant by a name or a position.

    A name comes first. Where no column has it and it is a whole number, it is a
    position: 1 is the first column, -1 the last. Raises `DataError`.

    >>> table = pl.DataFrame({"a": [1], "b": [2]})
    >>> find_column(table, "b"), find_column(table, "1"), find_column(table, -1)
    ('b', 'a', 'b')
    """
    names: Sequence[str] = table.columns
    if str(name) in names:
        return str(name)
    try:
        position = int(name)
    except ValueError:
        hint = did_you_mean(name, names)
        raise DataError(message(f"no column named {name!r}", hint=hint)) from None
    if not 1 <= abs(position) <= len(names):
        raise DataError(
            message(
                f"no column at position {position}",
                expected=f"the table has {len(names)}, counted from 1",
                hint=did_you_mean(name, names),
            )
        )
    return names[position - 1 if position > 0 else position]
