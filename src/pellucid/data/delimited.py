"""Delimited text into columns of strings: separator, quotes, header, records.

This module knows how lines become rows. It does not know what a value means:
every cell leaves as a stripped string, or null where the text says "missing".
The records are found here, on the bytes, so that a ragged one can be named by its
line; Polars then cuts the cells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.errors import DataError, message

__all__ = ["MISSING", "SEPARATORS", "read_delimited"]

MISSING = (
    *("", "?", "NA", "na", "N/A", "n/a", "#N/A", "<NA>"),
    *("NaN", "nan", "NAN", "null", "NULL", "Null"),
)
"""What stands for a missing value in a text file."""

SEPARATORS = (",", ";", "\t")
"""The separators that are recognised; the first wins a draw."""

_SAMPLE_BYTES = 1 << 16
_SAMPLE_ROWS = 1000
_PADDED = re.compile(rb' *+("[^"]*+(?:""[^"]*+)*+") *+')
_NEWLINE, _QUOTE, _SPACE = 10, 34, 32

Positions: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Records:
    """Where each record lies in the bytes, and how many fields it has."""

    starts: Positions
    ends: Positions
    fields: Positions


def read_delimited(
    data: bytes, *, where: str, header: bool | None = None
) -> tuple[pl.DataFrame, str]:
    """Return the cells of a delimited text as string columns, and the separator.

    `header` says whether the first record names the columns; None finds out.
    Columns without a name are called `column_1`, `column_2`, ….

    >>> read_delimited(b"a; b\\n1;?\\n", where="a.csv")[0].to_dicts()
    [{'a': '1', 'b': None}]
    """
    data = _normalise(data, where)
    quoted = _has_quotes(data, where)
    separator = _find_separator(data, quoted)
    records = _find_records(data, separator, quoted)
    data, width = _without_blank(data, records, where)
    raw = _cells(data, separator, quoted, width, where)
    clean = raw.with_columns(_missing_as_null(pl.all()))
    if header is None:
        header = _looks_like_header(clean.row(0), clean.slice(1, _SAMPLE_ROWS))
    if not header:
        return clean, separator
    body = clean.slice(1)
    if body.is_empty():
        raise DataError(message("the file has a header and no rows", where=where))
    return body.rename(dict(zip(raw.columns, _names(raw, where)))), separator


def _normalise(data: bytes, where: str) -> bytes:
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise DataError(
            message(
                "this is not a text file",
                where=where,
                expected="expected CSV in UTF-8, or Parquet",
            )
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            message(
                f"byte {data[error.start]:#04x} is not UTF-8 text",
                where=f"{where}, line {line}",
                hint="save the file as CSV in UTF-8",
            )
        ) from None
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _has_quotes(data: bytes, where: str) -> bool:
    """Return whether quotes enclose fields, or are ordinary characters (or absent)."""
    if b'"' not in data:
        return False
    marks = np.frombuffer(data, np.uint8)
    positions = np.flatnonzero(marks == _QUOTE)
    opening = positions[::2]
    before = opening - 1
    for k in np.flatnonzero((before >= 0) & (marks[before] == _SPACE)):
        before[k] = _skip_spaces_back(data, int(before[k]))
    starts_field = np.isin(marks[before], [_NEWLINE, *map(ord, SEPARATORS)])
    # A doubled quote inside a field reads as a close and an open side by side.
    doubled = np.isin(opening - 1, positions[1::2])
    proper = doubled | starts_field | (before < 0)
    enclosing = proper & ~doubled
    if not enclosing.any():
        return False
    if not proper.all():
        raise DataError(
            message(
                "a quote stands inside a field that does not begin with one",
                where=_line(data, int(opening[np.argmin(proper)]), where),
                hint='enclose the field in quotes and double those inside: "5"" pipe"',
            )
        )
    if len(positions) % 2:
        raise DataError(
            message(
                "a quote is opened and never closed",
                where=_line(data, int(opening[enclosing][-1]), where),
            )
        )
    return True


def _skip_spaces_back(data: bytes, position: int) -> int:
    while position >= 0 and data[position] == _SPACE:
        position -= 1
    return position


def _line(data: bytes, position: int, where: str) -> str:
    line = data.count(b"\n", 0, position) + 1
    return f"{where}, line {line}"


def _find_separator(data: bytes, quoted: bool) -> str:
    """Return the separator with which most of the first records have equal widths."""
    sample = data[:_SAMPLE_BYTES]
    if len(data) > _SAMPLE_BYTES:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    scores = {}
    for separator in SEPARATORS:
        fields = _find_records(sample, separator, quoted).fields
        widths, counts = np.unique(fields[fields > 1], return_counts=True)
        best = int(np.argmax(counts)) if len(counts) else -1
        scores[separator] = (counts[best], widths[best]) if best >= 0 else (0, 0)
    return max(scores, key=lambda separator: scores[separator])


def _find_records(data: bytes, separator: str, quoted: bool) -> Records:
    marks = np.frombuffer(data, np.uint8)
    newline, comma = marks == _NEWLINE, marks == ord(separator)
    if quoted:
        # The parity of the quotes so far; uint8 may wrap without changing it.
        outside = np.cumsum(marks == _QUOTE, dtype=np.uint8) & 1 == 0
        newline &= outside
        comma &= outside
    ends = np.flatnonzero(newline)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    before = np.searchsorted(np.flatnonzero(comma), ends)
    return Records(starts, ends, np.diff(before, prepend=0) + 1)


def _without_blank(data: bytes, records: Records, where: str) -> tuple[bytes, int]:
    """Cut out the records that hold nothing; return the width of all others too."""
    marks = np.frombuffer(data, np.uint8)
    blank = np.zeros(len(records.starts), bool)
    for k in np.flatnonzero(records.fields == 1):
        blank[k] = not data[records.starts[k] : records.ends[k]].strip()
    if blank.all():
        raise DataError(message("the file is empty", where=where))
    widths, starts = records.fields[~blank], records.starts[~blank]
    wrong = np.flatnonzero(widths != widths[0])
    if len(wrong):
        raise DataError(
            message(
                f"a row has {widths[wrong[0]]} fields",
                where=_line(data, int(starts[wrong[0]]), where),
                expected=f"the first row has {widths[0]}",
                hint="quote the values that hold the separator",
            )
        )
    if blank.any():
        kept = np.ones(len(marks), bool)
        for start, end in zip(records.starts[blank], records.ends[blank]):
            kept[start : end + 1] = False
        data = marks[kept].tobytes()
    return data, int(widths[0])


def _cells(
    data: bytes, separator: str, quoted: bool, width: int, where: str
) -> pl.DataFrame:
    if quoted and (b' "' in data or b'" ' in data):
        # Polars knows a quote only at the very edge of a field.
        data = _PADDED.sub(rb"\1", data)
    try:
        return pl.read_csv(
            data,
            separator=separator,
            has_header=False,
            quote_char='"' if quoted else None,
            schema={f"column_{k + 1}": pl.String for k in range(width)},
        )
    except pl.exceptions.PolarsError as error:
        what = str(error).partition("\n")[0]
        raise DataError(message(f"cannot read the rows: {what}", where=where)) from None


def _missing_as_null(cells: pl.Expr) -> pl.Expr:
    stripped = cells.str.strip_chars()
    return pl.when(~stripped.is_in(MISSING)).then(stripped)


def _looks_like_header(first: tuple[str | None, ...], body: pl.DataFrame) -> bool:
    """Return whether a first record reads like names for the columns below it.

    A word above numbers speaks for it. A number above numbers speaks against it,
    and so does a word that comes again below as a value.
    """
    votes = 0
    for cell, given in zip(first, body.get_columns()):
        if cell is None:
            continue
        column = given.drop_nulls()
        if len(column) and column.cast(pl.Float64, strict=False).null_count() == 0:
            votes += -1 if _is_number(cell) else 1
        elif _is_number(cell) or cell in column:
            votes -= 1
    return votes >= 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _names(raw: pl.DataFrame, where: str) -> list[str]:
    cells = [(cell or "").strip() for cell in raw.row(0)]
    names = [cell or name for cell, name in zip(cells, raw.columns)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            message(
                "two columns have the same name: " + ", ".join(map(repr, twice)),
                where=where,
                hint="rename one of them in the first line",
            )
        )
    return names
