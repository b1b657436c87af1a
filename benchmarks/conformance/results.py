"""The table: what each row came to, as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.conformance.compare import Gap
from benchmarks.conformance.row import TOLERANCE

__all__ = ["HEADER", "Result", "as_json", "cells", "summary", "total"]

HEADER = ("row", "drawn", "forward", "gradients", "state", "verdict")


@dataclass(frozen=True)
class Result:
    """What a row came to over all its configurations."""

    name: str
    drawn: int
    forward: float
    gradient: float | None
    exchanged: bool | None
    note: str = ""
    """What went wrong, and where."""
    tolerance: float = TOLERANCE

    @property
    def worst(self) -> float:
        """The larger of the two errors."""
        return max(self.forward, self.gradient or 0.0)

    @property
    def agrees(self) -> bool:
        """Whether everything is the same."""
        return (
            not self.note
            and self.worst <= self.tolerance
            and self.exchanged is not False
        )


def total(
    name: str, gaps: list[Gap], failure: str = "", tolerance: float = TOLERANCE
) -> Result:
    """Return the worst of all configurations of a row.

    >>> gaps = [Gap(1e-16, None, None, {}), Gap(0.5, None, None, {"bias": False})]
    >>> total("Linear", gaps).note
    "{'bias': False}"
    """
    wrong = [
        gap
        for gap in gaps
        if max(gap.forward, gap.gradient or 0.0) > tolerance or gap.exchanged is False
    ]
    slopes = [gap.gradient for gap in gaps if gap.gradient is not None]
    states = [gap.exchanged for gap in gaps if gap.exchanged is not None]
    return Result(
        name,
        len(gaps),
        max((gap.forward for gap in gaps), default=0.0),
        max(slopes) if slopes else None,
        all(states) if states else None,
        failure or (str(wrong[0].options) if wrong else ""),
        tolerance,
    )


def cells(result: Result) -> tuple[str, ...]:
    """Return a row of the table.

    >>> cells(Result("ReLU", 20, 0.0, 2e-16, None))
    ('ReLU', '20', '0', '2.0e-16', '–', 'agrees')
    """
    state = {None: "–", True: "yes", False: "no"}[result.exchanged]
    errors = (_error(result.forward), _error(result.gradient))
    verdict = "agrees" if result.agrees else f"differs: {result.note}"
    return (result.name, str(result.drawn), *errors, state, verdict)


def _error(size: float | None) -> str:
    if size is None:
        return "–"
    return f"{size:.1e}" if size else "0"


def summary(results: list[Result]) -> str:
    """Return how many agree and the worst error of all, in a line."""
    agree = sum(result.agrees for result in results)
    drawn = sum(result.drawn for result in results)
    strict = [each for each in results if each.tolerance == TOLERANCE] or results
    worst = max(strict, key=lambda result: result.worst)
    exchanged = [r.exchanged for r in results if r.exchanged is not None]
    return (
        f"{agree} of {len(results)} rows agree over {drawn:,} configurations; "
        f"worst error {_error(worst.worst)} ({worst.name}); "
        f"states exchanged in {sum(exchanged)} of {len(exchanged)}"
    )


def as_json(results: list[Result], machine: dict[str, Any]) -> dict[str, Any]:
    """Return everything as what `json` writes."""
    rows = {
        each.name: {
            "drawn": each.drawn,
            "forward": each.forward,
            "gradient": each.gradient,
            "exchanged": each.exchanged,
            "tolerance": each.tolerance,
            "agrees": each.agrees,
            "note": each.note,
        }
        for each in results
    }
    return {"rows": rows, "machine": machine}
