"""Tables in a terminal, drawn from plain data.

Progress goes to the error output, so that standard output holds results only: `show`
writes what a command was asked for. Every piece fits 40 to 200 columns. Colour appears
on a terminal only, and not where `NO_COLOR` is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pellucid.cli.numbers import number

__all__ = [
    "confusion_table",
    "console",
    "error_table",
    "metric_table",
    "plain_table",
    "show",
]

NARROWEST, WIDEST = 40, 200

_MOST_CLASSES = 20


def console(error: bool = True) -> Console:
    """Return a console on the error output, or on standard output: 40 to 200 wide."""
    drawn = Console(stderr=error, highlight=False)
    drawn.width = min(max(drawn.width, NARROWEST), WIDEST)
    return drawn


def show(*pieces: str | Table) -> None:
    """Write texts and tables to standard output, one below the other.

    Texts are written as they are: no markup, and no line is broken.
    """
    target = console(error=False)
    # Rich ends the program where the reader has gone; the shell has words for that.
    with target.capture() as text:
        for piece in pieces:
            if isinstance(piece, str):
                target.print(Text(piece), soft_wrap=True)
            else:
                target.print(piece)
    print(text.get(), end="")


def metric_table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Draw what each model reached: a line per metric, a column per model.

    `rows` maps a model's name (`model`, `baseline`, `linear`) to its metrics. A
    metric that a model lacks is a dash.
    """
    table = _table("", *rows)
    metrics = dict.fromkeys(name for each in rows.values() for name in each)
    for metric in metrics:
        found = [each.get(metric) for each in rows.values()]
        cells = ["–" if value is None else number(value) for value in found]
        table.add_row(Text(metric.replace("_", " ")), *cells)
    return table


def confusion_table(
    matrix: Sequence[Sequence[int]], labels: Sequence[object], width: int = 80
) -> Table:
    """Draw how many rows of each true class were taken for each class.

    `matrix[i][j]` counts the rows of class `labels[i]` that were taken for class
    `labels[j]`. Where the matrix is wider than `width`, each class has instead the
    class that it was most often mistaken for, and only the 20 worst are shown.
    """
    names = [str(each) for each in labels]
    cells = [*names, *(str(count) for row in matrix for count in row)]
    widest = max(map(len, cells), default=0) + 2
    if max(map(len, names), default=0) + widest * (len(names) + 1) + 12 > width:
        return _mistakes(matrix, names)
    table = _table("true \\ predicted", *names, "right")
    for index, (name, row) in enumerate(zip(names, matrix)):
        counts = [
            Text(str(count), style="bold" if column == index else "")
            for column, count in enumerate(row)
        ]
        table.add_row(Text(name), *counts, _share(row[index], sum(row)))
    return table


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Draw rows of cells under titles; numbers to the right."""
    cells = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column, title in enumerate(titles):
        numbers = bool(cells) and all(isinstance(row[column], int) for row in cells)
        justify: Literal["right", "left"] = "right" if numbers else "left"
        table.add_column(Text(title), justify=justify, overflow="fold")
    for row in cells:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _mistakes(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Table:
    table = _table("true", "rows", "right", "taken for", "times")
    worst = sorted(range(len(names)), key=lambda i: matrix[i][i] - sum(matrix[i]))
    for i in sorted(worst[:_MOST_CLASSES]):
        others = [(count, j) for j, count in enumerate(matrix[i]) if j != i and count]
        count, j = max(others, default=(0, i))
        total = sum(matrix[i])
        right = _share(matrix[i][i], total)
        taken = (Text(names[j]), str(count)) if count else ("–", "–")
        table.add_row(Text(names[i]), str(total), right, *taken)
    return table


def error_table(
    truth: Iterable[float], predicted: Iterable[float], groups: int = 5
) -> Table:
    """Draw the absolute error by range of the target, in groups of equal size.

    Each line has the median, the 90 % quantile (linear between ranks, as NumPy's)
    and the largest error of the rows whose target lies above the line before.
    """
    table = _table("target up to", "rows", "median", "90 %", "largest")
    table.title = "absolute error"
    pairs = sorted((y, abs(y - guess)) for y, guess in zip(truth, predicted))
    groups = max(min(groups, len(pairs)), 1)
    cuts = [round(each * len(pairs) / groups) for each in range(groups + 1)]
    for start, end in pairwise(cuts):
        errors = sorted(error for _, error in pairs[start:end])
        if errors:
            table.add_row(
                number(pairs[end - 1][0], 3),
                str(len(errors)),
                *(number(_quantile(errors, part), 3) for part in (0.5, 0.9, 1.0)),
            )
    return table


def _quantile(ordered: Sequence[float], part: float) -> float:
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%}" if total else "–"


def _table(first: str, *others: str) -> Table:
    """Return an empty table whose columns but the first hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text(first), overflow="fold")
    for name in others:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table
