"""A learning curve in characters: two lines over the epochs.

Drawn in Braille characters, each a grid of two by four dots, so that 60 columns hold
120 epochs. The training line is solid and the validation line is dotted: the two can
be told apart without colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pellucid.cli.numbers import number

__all__ = ["learning_curve"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille character, by row and column (Unicode, U+2800)."""

_LOG_RANGE = 20.0
"""From this ratio of the largest to the smallest value, the axis is logarithmic."""

Point = tuple[float, float]


def learning_curve(
    train: Sequence[float],
    validation: Sequence[float] | None = None,
    width: int = 80,
    height: int = 12,
) -> str:
    """Draw the loss of each epoch, in lines of at most `width` (from 24) characters.

    The axis is logarithmic where all values are positive and span a factor of 20.
    A value that is not finite leaves a gap. `height` counts the rows of the plot.

    >>> print(learning_curve([4, 2, 1], width=30, height=3))
    4.00 ┤⠉⠒⠢⠤⢄⣀
         │      ⠉⠑⠒⠤⠤⣀⡀
    1.00 ┤            ⠈⠉⠉⠑⠒⠒⠒⠤⠤⠤⣀⣀
         └────────────────────────
          1        epoch         3
    ⠤⠤ train 1.000
    """
    lines = {"train": train, "validation": validation or ()}
    values = [y for line in lines.values() for y in line if math.isfinite(y)]
    if not values:
        return "no finite loss to draw"
    axis, height = _Axis.of(values), max(height, 3)
    labels = axis.labels(height)
    margin = max(map(len, labels.values()))
    epochs = max(map(len, lines.values()))
    dots = _Dots(max(width, 24) - margin - 2, height)
    for step, line in enumerate(lines.values(), start=1):
        dots.draw([axis.place(y) for y in line], max(epochs - 1, 1), step)
    plot = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{text}"
        for row, text in enumerate(dots.rows())
    ]
    indent = " " * (margin + 1)
    below = [f"{indent}└{'─' * dots.columns}", f"{indent} {_epochs(epochs, dots)}"]
    return "\n".join([*plot, *below, *_legend(lines, width)])


@dataclass(frozen=True)
class _Axis:
    """The values from bottom to top, and whether their logarithms are drawn."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[float]) -> _Axis:
        low, high = min(values), max(values)
        if low == high:
            spread = abs(low) / 2 or 0.5
            return cls(low - spread, high + spread, False)
        return cls(low, high, low > 0 and high / low >= _LOG_RANGE)

    def place(self, value: float) -> float:
        """Return how far below the top a value is, from 0 to 1."""
        if not math.isfinite(value):
            return math.nan
        if self.logarithmic:
            return math.log(self.high / value) / math.log(self.high / self.low)
        return (self.high - value) / (self.high - self.low)

    def labels(self, height: int) -> dict[int, str]:
        """Return the values beside some of the rows, top and bottom among them."""
        parts = max((height - 1) // 4, 1)
        places = {round(each * (height - 1) / parts) for each in range(parts + 1)}
        return {row: number(self._at(row / (height - 1)), 3) for row in sorted(places)}

    def _at(self, place: float) -> float:
        if self.logarithmic:
            return self.high * math.exp(place * math.log(self.low / self.high))
        return self.high + place * (self.low - self.high)


class _Dots:
    """A grid of Braille characters, each of two by four dots."""

    def __init__(self, columns: int, height: int) -> None:
        self.columns = columns
        self._cells = [[0] * columns for _ in range(height)]

    def draw(self, places: Sequence[float], last: int, step: int) -> None:
        """Join the places of adjacent epochs; mark every `step`-th dot across."""
        right, bottom = 2 * self.columns - 1, 4 * len(self._cells) - 1
        points = [(right * i / last, bottom * place) for i, place in enumerate(places)]
        for start, end in pairwise(points):
            for x, y in _between(start, end):
                if x % step == 0:
                    self._mark(x, y)
        for point in points:
            for x, y in _between(point, point):
                self._mark(x - x % step, y)

    def _mark(self, x: int, y: int) -> None:
        self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def rows(self) -> Iterator[str]:
        """Return each row as text, without blanks at its end."""
        for cells in self._cells:
            yield "".join(
                chr(0x2800 + bits) if bits else " " for bits in cells
            ).rstrip()


def _between(start: Point, end: Point) -> Iterator[tuple[int, int]]:
    """Return the dots from one point to another; none where a height is missing."""
    across, down = end[0] - start[0], end[1] - start[1]
    if math.isnan(down):
        return
    steps = max(math.ceil(max(abs(across), abs(down))), 1)
    for step in range(steps + 1):
        part = step / steps
        yield round(start[0] + part * across), round(start[1] + part * down)


def _epochs(epochs: int, dots: _Dots) -> str:
    if epochs == 1:
        return "1"
    return "1" + "epoch".center(dots.columns - 1 - len(str(epochs))) + str(epochs)


def _legend(lines: dict[str, Sequence[float]], width: int) -> Iterator[str]:
    for mark, (name, line) in zip(("⠤⠤", "⠄⠄"), lines.items()):
        if not line:
            continue
        short = f"{mark} {name} {number(line[-1])}"
        finite = [
            (y, epoch) for epoch, y in enumerate(line, start=1) if math.isfinite(y)
        ]
        least, epoch = min(finite, default=(math.nan, len(line)))
        long = f"{short} · lowest {number(least)} in epoch {epoch}"
        yield long if epoch < len(line) and len(long) <= width else short
