"""What a gradient check found, as facts, and in words.

The limits are the field's: below 1e-7 in float64 a gradient is right, above 1e-2 it
is wrong, and between the two something wants a look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pellucid.errors import GradientError
from pellucid.ir.types import TensorType

__all__ = ["RIGHT", "WRONG", "Entry", "Fault", "Kink", "Report", "Row", "Status"]

RIGHT = 1e-7
"""The relative error below which a gradient is right."""
WRONG = 1e-2
"""The relative error above which a gradient is wrong."""


class Status(StrEnum):
    """What is known of an entry or of a tensor."""

    RIGHT = "right"
    WRONG = "wrong"
    DOUBTFUL = "doubtful"
    NOT_FINITE = "not finite"
    KINK = "kink"
    """A gate changes its winner here: both answers are right."""
    UNCLEAR = "unclear"
    """The gradient is lost in the rounding error of the difference."""
    ZERO = "zero"
    """The loss does not change, and the gradient says so."""
    UNUSED = "unused"
    """No path leads to the loss."""


BAD = frozenset([Status.WRONG, Status.DOUBTFUL, Status.NOT_FINITE])


@dataclass(frozen=True)
class Entry:
    """One comparison: an entry of a tensor, or a random direction through it.

    `place` is the entry's index, or the direction's number. `relative` is
    |analytic − numeric| / max(|analytic|, |numeric|).
    """

    place: tuple[int, ...] | int
    analytic: float
    numeric: float
    relative: float
    status: Status

    def __str__(self) -> str:
        place = self.place
        where = f"direction {place}" if isinstance(place, int) else str(list(place))
        return (
            f"{where}: analytic {self.analytic:.6g}, numeric {self.numeric:.6g}, "
            f"relative error {self.relative:.2g} ({self.status})"
        )


@dataclass(frozen=True)
class Row:
    """One tensor: what was compared, how well it agrees, the worst of it.

    `error` is ‖analytic − numeric‖ / max(‖analytic‖, ‖numeric‖) over all that was
    compared away from kinks; `relative` is the largest relative error of an entry
    that rounding lets one see.
    """

    name: str
    type: TensorType
    checked: str
    error: float
    relative: float
    status: Status
    verdict: str
    worst: tuple[Entry, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong or doubtful here."""
        return self.status not in BAD


@dataclass(frozen=True)
class Fault:
    """A gate whose rule is wrong, or a tensor whose gradient is, no gate being so.

    `gate` is the gate's name, or that of a call, and empty for a tensor. `operand`
    is the gate's input that gets a wrong gradient, or the tensor's name. `kind` says
    how it is wrong, `error` how much.
    """

    gate: str
    operand: str
    path: str
    birth: str
    error: float
    kind: str

    def __str__(self) -> str:
        head = f"{self.gate}, {self.operand}" if self.gate else self.operand
        where = f" at {self.birth}" if self.birth else ""
        known = math.isfinite(self.error) and self.error > 0
        size = f" (relative error {self.error:.2g})" if known else ""
        return f"{head}{where}: {self.kind}{size}"


@dataclass(frozen=True)
class Kink:
    """A gate that changes its winner where a tensor was compared."""

    gate: str
    birth: str
    tensor: str
    count: int

    def __str__(self) -> str:
        where = f" at {self.birth}" if self.birth else ""
        return f"{self.gate}{where}: {self.count} of {self.tensor}"


@dataclass(frozen=True)
class Report:
    """The outcome of a gradient check. Printed, it is a table.

    `loss` is the number that was differentiated. A row stands for a parameter or an
    input, a fault for what is wrong, a kink for a place where no difference can tell.
    """

    loss: float
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    kinks: tuple[Kink, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no gradient is wrong or doubtful."""
        return not self.faults and all(row.ok for row in self.rows)

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        bad = [row for row in self.rows if not row.ok]
        if bad or self.faults:
            words = self._named(Status.WRONG) or self._named(Status.NOT_FINITE)
            words = words or self._named(Status.DOUBTFUL)
            return words or f"wrong: {self.faults[0]}"
        sure = [row for row in self.rows if row.status == Status.RIGHT]
        if not sure:
            return "nothing could be told: see each row"
        worst = max(row.error for row in sure)
        rest = len(self.rows) - len(sure)
        more = f"; {rest} could not be told" if rest else ""
        return f"right: {_tensors(len(sure))} to {worst:.1e}{more}"

    def _named(self, status: Status) -> str:
        names = [row.name for row in self.rows if row.status == status]
        return f"{status}: {', '.join(names)}" if names else ""

    def raise_if_wrong(self) -> None:
        """Raise `GradientError` with the first fault, in one line."""
        if not self.ok:
            first = str(self.faults[0]) if self.faults else self.verdict
            raise GradientError(f"a gradient is wrong · {first}")

    def __str__(self) -> str:
        lines = [self.verdict, *_table(self.rows)]
        for row in self.rows:
            if not row.ok:
                lines += [f"  {row.name} {entry}" for entry in row.worst[:3]]
        for title, found in (("faults", self.faults), ("kinks", self.kinks)):
            if found:
                lines += [f"{title}:", *(f"  {each}" for each in found)]
        return "\n".join(lines)


def _tensors(count: int) -> str:
    return "1 tensor agrees" if count == 1 else f"{count} tensors agree"


def _table(rows: tuple[Row, ...]) -> list[str]:
    cells = [("tensor", "type", "compared", "error", "verdict")]
    cells += [
        (row.name, str(row.type), row.checked, _number(row.error), row.verdict)
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(each, widths)).rstrip()
        for each in cells
    ]


def _number(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "-"
