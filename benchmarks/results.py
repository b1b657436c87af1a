"""What a run found, as records, as JSON and as a table. Knows no library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Row
from benchmarks.timing import Timing

__all__ = ["PeerResult", "RowResult", "as_json", "as_table", "verdict"]

OWN_ORDER_BAND = 0.2
"""How far the loss of a peer with its own order of rows may be from ours."""
OUTPUT_TOLERANCE = 1e-4
"""How far predictions may differ, relative to the largest output."""


@dataclass(frozen=True)
class PeerResult:
    """One peer on one row. Without a timing, `note` says why there is none."""

    peer: str
    variant: str = ""
    timing: Timing | None = None
    difference: float | None = None
    check: str = ""
    note: str = ""
    busy: float = 0.0
    """Processors kept busy: CPU seconds over seconds."""


@dataclass(frozen=True)
class RowResult:
    """One row: ours and every peer's result, and the least time the machine needs."""

    row: Row
    ours: PeerResult
    peers: tuple[PeerResult, ...]
    floor_us: float | None = None

    @property
    def best(self) -> PeerResult | None:
        """The fastest peer whose numbers agree."""
        fit = [each for each in self.peers if each.timing and each.check != "disagrees"]
        return min(fit, key=_us, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than the best peer."""
        if self.best is None or self.ours.timing is None:
            return None
        return _us(self.best) / self.ours.timing.us

    @property
    def share(self) -> float | None:
        """Our share of the roofline, from 0 to 1."""
        if self.floor_us is None or self.ours.timing is None:
            return None
        return self.floor_us / self.ours.timing.us

    @property
    def threads(self) -> int:
        """The processors that ours kept busy."""
        return max(1, round(self.ours.busy))


def _us(result: PeerResult) -> float:
    assert result.timing is not None
    return result.timing.us


def verdict(difference: float, own_order: bool, row: Row) -> str:
    """Return what a relative difference means: `agrees`, `own order`, `disagrees`.

    >>> from benchmarks.rows import ROWS
    >>> verdict(1e-5, False, ROWS["tiny"]), verdict(0.1, True, ROWS["tiny"])
    ('agrees', 'own order')
    """
    allowed = OUTPUT_TOLERANCE if row.kind == "predict" else row.tolerance
    if own_order and row.kind != "predict":
        return "own order" if difference <= OWN_ORDER_BAND else "disagrees"
    return "agrees" if difference <= allowed else "disagrees"


# --- JSON ------------------------------------------------------------------------


def as_json(results: list[RowResult], machine: dict[str, Any]) -> dict[str, Any]:
    """Return plain data: `machine`, and `rows` by name."""
    return {"machine": machine, "rows": {r.row.name: _row_json(r) for r in results}}


def _row_json(result: RowResult) -> dict[str, Any]:
    ours = result.ours.timing
    return {
        "us": None if ours is None else ours.us,
        "spread": None if ours is None else ours.spread,
        "peers": {each.peer: _us(each) for each in result.peers if each.timing},
        "best": None if result.best is None else result.best.peer,
        "ratio": result.ratio,
        "roofline": result.share,
        "threads": result.threads,
        "details": {
            each.peer: _peer_json(each) for each in (result.ours, *result.peers)
        },
    }


def _peer_json(result: PeerResult) -> dict[str, Any]:
    timing = result.timing
    return {
        "variant": result.variant,
        "spread": None if timing is None else timing.spread,
        "rounds": 0 if timing is None else timing.rounds,
        "check": result.check,
        "difference": result.difference,
        "busy": result.busy,
        "note": result.note,
    }


# --- the table -------------------------------------------------------------------

HEADER = ("row", "peer", "µs", "± spread", "× ours", "loss", "how")


def as_table(result: RowResult) -> list[tuple[str, ...]]:
    """Return a row's lines of text cells, ours first, then from fast to slow."""
    ordered = sorted(
        result.peers, key=lambda each: each.timing.us if each.timing else float("inf")
    )
    lines = [_line(result, each) for each in (result.ours, *ordered)]
    return [(result.row.name if i == 0 else "", *line) for i, line in enumerate(lines)]


def _line(result: RowResult, each: PeerResult) -> tuple[str, ...]:
    if each.timing is None:
        return each.peer, "–", "", "", "", each.note
    ours = result.ours.timing
    if each is result.ours:
        times = "1"
        share = "" if result.share is None else f"{result.share:.0%} of roofline, "
        how = f"{share}{_threads(result.threads)}"
    else:
        times = "" if ours is None else f"{each.timing.us / ours.us:.2f}"
        how = each.variant
    marker = " ←" if each is result.best else ""
    return (
        each.peer + marker,
        _number(each.timing.us),
        _number(each.timing.spread),
        times,
        each.check,
        how,
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _number(us: float) -> str:
    """Return three significant digits or a whole number."""
    return f"{us:,.0f}" if us >= 100 else f"{us:.3g}"
