"""Windows of a long series: rows that overlap, without a copy of any of them.

A window is known by where it starts. What a network reads of it, and what it shall
say, are each a stretch of numbers at a fixed distance from there. So a program gets
the series once, and a batch of windows costs only itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from pellucid.data.arrays import as_arrays
from pellucid.errors import ArgumentError, DataError, did_you_mean, message

__all__ = ["Column", "Slices", "Windows", "part_in_time"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Slices:
    """An array of rows that are stretches of one table: `table[start + offset]`.

    Args:
        table: `[time, …]`; all rows read from it.
        starts: where each row's window starts, `i32[rows]`.
        first: the first offset from there.
        length: how many offsets follow; None: one, without an axis of its own.

    >>> table = np.arange(6.0)
    >>> rows = Slices(table, np.array([0, 2], np.int32), 1, 3)
    >>> rows.shape, np.asarray(rows[1:]).tolist()
    ((2, 3), [[3.0, 4.0, 5.0]])
    """

    table: Array
    starts: Array
    first: int
    length: int | None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the rows have as an array."""
        axis = () if self.length is None else (self.length,)
        return (len(self), *axis, *self.table.shape[1:])

    @property
    def ndim(self) -> int:
        """How many axes the rows have as an array."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the table."""
        return self.table.dtype

    def __getitem__(self, rows: Any) -> Slices:
        """Return some of the rows; a slice, or an array of their numbers."""
        return replace(self, starts=self.starts[rows])

    def thinned(self, most: int) -> Slices:
        """Return at most so many rows, evenly spread."""
        if len(self) <= most:
            return self
        return self[np.linspace(0, len(self) - 1, most).astype(np.int64)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("the rows of a series are not an array: they are copied")
        places = self.starts[:, None] + np.arange(self.first, self.end, dtype=np.int32)
        rows: Array = self.table[places[:, 0] if self.length is None else places]
        return rows if dtype is None else rows.astype(dtype)

    @property
    def end(self) -> int:
        """The offset behind the last one."""
        return self.first + (1 if self.length is None else self.length)


Column: TypeAlias = Array | Slices
"""What holds an entry for each row: an array, or stretches of a table."""

_TARGETS = ("next", "shifted")


class Windows:
    """Every window of a series, as the rows to train on: no window is copied.

    `Trainer.fit`, `evaluate` and `predict` take it in the place of `X` and `y`. Its
    `inputs` and `targets` stand for arrays of rows, and may be passed by themselves,
    beside other arrays too. A share held out for validation is the end of the series,
    and no training window reaches into what is to be predicted there.

    Args:
        series: `[time]` or `[time, features]`. Whole numbers stay whole: they are
            tokens. Quantities are given as floats.
        length: how many steps a window shows.
        horizon: how many steps behind them are predicted.
        stride: the distance from one window to the next.
        targets: `next`: the `horizon` values behind the window, `[rows, horizon, …]`
            (whole numbers one step ahead: `[rows]`, which is what a classifier is
            compared with). `shifted`: for each position the value `horizon` later,
            `[rows, length, …]`, as a model of text is trained.
        target: take the targets from this feature of the series, by its position, or
            from another series of the same length; None: from the series itself.

    >>> windows = Windows(np.arange(6.0), length=3, horizon=2)
    >>> np.asarray(windows.inputs).tolist(), np.asarray(windows.targets).tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0, 4.0], [4.0, 5.0]])
    >>> text = Windows(np.array([7, 8, 9, 7]), length=3, targets="shifted")
    >>> np.asarray(text.inputs).tolist(), np.asarray(text.targets).tolist()
    ([[7, 8, 9]], [[8, 9, 7]])
    """

    def __init__(
        self,
        series: Any,
        length: int,
        horizon: int = 1,
        stride: int = 1,
        *,
        targets: Literal["next", "shifted"] = "next",
        target: Any = None,
    ) -> None:
        for name, value in (("length", length), ("horizon", horizon),
                            ("stride", stride)):  # fmt: skip
            _check_count(name, value)
        if targets not in _TARGETS:
            hint = did_you_mean(targets, _TARGETS)
            raise ArgumentError(message(f"targets={targets!r}", hint=hint))
        table = _table(series, "series")
        aim = _aim(table, target)
        rows = 1 + (len(table) - length - horizon) // stride
        if rows < 1:
            raise DataError(
                message(
                    f"a series of {len(table)} steps has no window of {length} and "
                    f"the {horizon} behind it",
                    expected=f"expected at least {length + horizon} steps",
                    hint="choose a smaller length or horizon",
                )
            )
        starts = np.arange(0, rows * stride, stride, dtype=np.int32)
        self.inputs = Slices(table, starts, 0, length)
        """What the network reads, `[rows, length]` or `[rows, length, features]`."""
        self.targets = _targets(aim, starts, length, horizon, targets)
        """What it shall say."""

    def __len__(self) -> int:
        return len(self.inputs)


def _table(series: Any, name: str) -> Array:
    """Return a series as a table of numbers that graphs know, checked."""
    given = np.asarray(series)
    dtype = given.dtype if given.dtype in (np.float32, np.float64) else "f64"
    try:
        return as_arrays(given, dtype=dtype, least=1)[0]
    except DataError as error:
        raise DataError(f"{name}{str(error).removeprefix('X')}") from None


def _aim(table: Array, target: Any) -> Array:
    """Return the table that targets are taken from."""
    if target is None:
        return table
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        width = table.shape[1] if table.ndim == 2 else 0
        if not -width <= target < width:
            raise ArgumentError(
                message(
                    f"target={target}",
                    expected=f"the series has {width} features, counted from 0"
                    if width
                    else "the series has no axis of features",
                )
            )
        return np.ascontiguousarray(table[:, target])
    other = _table(target, "target")
    if len(other) != len(table):
        raise DataError(
            f"the series has {len(table)} steps, its target {len(other)}: they go "
            "side by side"
        )
    return other


def _targets(
    table: Array, starts: Array, length: int, horizon: int, targets: str
) -> Slices:
    if targets == "shifted":
        return Slices(table, starts, horizon, length)
    is_class = horizon == 1 and table.ndim == 1 and table.dtype.kind in "iu"
    return Slices(table, starts, length, None if is_class else horizon)


def _check_count(name: str, value: Any) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        expected = "expected a whole number of at least 1"
        raise ArgumentError(message(f"{name}={value!r}", expected=expected))


def part_in_time(
    windows: list[Slices], targets: list[Slices], size: float | int
) -> tuple[Array, Array]:
    """Return the rows to train on and the rows to judge by: those that start last.

    `size` is a share, or a count. Rows that reach behind the first target of the
    held-out part are in neither, so that nothing there is known before. `targets` are
    those of the `windows` that are predicted.
    """
    starts = windows[0].starts
    held, kept = _last(starts, size), np.arange(len(starts))
    border = starts[held].min() + min(each.first for each in targets or windows)
    kept = kept[starts + max(each.end for each in windows) <= border]
    if not len(kept):
        raise DataError(
            message(
                f"no window ends before the {len(held)} that are held out begin",
                hint="choose a smaller validation, or shorter windows",
            )
        )
    return kept, held


def _last(starts: Array, size: float | int) -> Array:
    rows, share = len(starts), isinstance(size, float | np.floating)
    count = max(1, round(size * rows)) if share else int(size)
    if (share and not 0 < size < 1) or not 1 <= count < rows:
        raise ArgumentError(
            message(
                f"validation={size!r} of {rows} windows",
                expected="expected a share between 0 and 1, or a count of windows",
            )
        )
    return np.sort(np.argsort(starts, kind="stable")[rows - count :])
