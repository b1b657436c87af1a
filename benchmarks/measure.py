"""How a row is measured: choose each peer's variant, check its numbers, take turns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from benchmarks.peers import OURS, Peer, Variant
from benchmarks.results import PeerResult, RowResult, verdict
from benchmarks.roofline import measure_roofline
from benchmarks.rows import Row
from benchmarks.timing import calls_for, in_turn, summarise
from benchmarks.workers import PeerError, Worker, Workers

__all__ = ["FULL", "QUICK", "Settings", "measure_row"]

_PROBES = 3
"""Short measurements by which one of several variants is chosen."""
_FAR_BEHIND = 2.0
"""A first measurement this many times another's ends a variant's hopes."""


@dataclass(frozen=True)
class Settings:
    """How long everything may take."""

    rounds: int
    seconds: float
    """The time that one measurement fills, at least one epoch or call."""
    limit: float
    """The most seconds for a peer to start, or to compile a row."""
    quick: bool
    """One variant a peer, and an eighth of the data where there are many."""


FULL = Settings(9, 0.4, 300.0, False)
QUICK = Settings(3, 0.05, 90.0, True)


@dataclass
class _Runner:
    """A chosen variant of a peer, ready to run a row."""

    peer: Peer
    worker: Worker
    row: Row
    limit: float
    calls: int = 1
    busy: float = 0.0
    failure: str = ""

    def once(self) -> float:
        """Return the microseconds a step (or a call) of one measurement."""
        found = self.worker.ask("measure", self.limit, calls=self.calls)
        self.busy = max(self.busy, found["cpu"] / found["seconds"])
        each = self.row.steps if self.row.kind == "train" else 1
        return 1e6 * float(found["seconds"]) / (self.calls * each)

    def fill(self, seconds: float, us: float) -> None:
        """Repeat so often that a measurement fills `seconds`, at `us` a step."""
        each = self.row.steps if self.row.kind == "train" else 1
        self.calls = calls_for(seconds, us * each / 1e6)

    def sample(self) -> float | None:
        """Return one measurement; None once the peer has failed."""
        try:
            return self.once()
        except PeerError as error:
            self.failure = str(error)
            return None


def measure_row(
    row: Row,
    peers: list[Peer],
    workers: Workers,
    settings: Settings,
    threads: int,
) -> RowResult:
    """Measure ours and the peers that take part in a row, in turn."""
    row = row.smaller() if settings.quick else row
    results: dict[str, PeerResult] = {}
    runners: dict[str, _Runner] = {}
    for peer in peers:
        if row.kind in peer.kinds and (peer.nets or not row.net):
            _say(f"{row.name}: {peer.name} prepares")
            try:
                runners[peer.name] = _choose(row, peer, workers, settings)
            except PeerError as error:
                results[peer.name] = PeerResult(peer.name, note=str(error))
    _check(runners, results)
    before = measure_roofline(row, threads)
    _say(f"{row.name}: {settings.rounds} rounds")
    samples = in_turn({n: each.sample for n, each in runners.items()}, settings.rounds)
    after = measure_roofline(row, threads)
    for name, runner in runners.items():
        results[name] = _timed(results[name], runner, samples[name])
    ours = results.pop(OURS)
    floor = min(before.floor_us(row), after.floor_us(row))
    return RowResult(row, ours, tuple(results.values()), floor)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _choose(row: Row, peer: Peer, workers: Workers, settings: Settings) -> _Runner:
    """Return the fastest variant, calibrated; the others let go of the row."""
    variants = [each for each in peer.variants if row.kind in each.kinds]
    variants = variants[:1] if settings.quick else variants
    ready: list[tuple[float, _Runner]] = []
    failure: PeerError | None = None
    for variant in variants:
        try:
            runner = _prepare(row, peer, variant, workers, settings)
            us = _probe(runner, settings, [each for each, _ in ready])
            ready.append((us, runner))
        except PeerError as error:
            failure = error
    if not ready:
        assert failure is not None
        raise failure
    us, best = min(ready, key=lambda each: each[0])
    for _, runner in ready:
        if runner is not best:
            runner.worker.ask("release", settings.limit)
    best.fill(settings.seconds, us)
    best.busy = 0.0
    return best


def _probe(runner: _Runner, settings: Settings, rivals: list[float]) -> float:
    """Return about how many microseconds a step takes.

    A variant that is far behind another at once is not measured with more care.
    """
    us = runner.once()
    if settings.quick or us > _FAR_BEHIND * min(rivals, default=us):
        return us
    runner.fill(settings.seconds / 4, us)
    return median(runner.once() for _ in range(_PROBES))


def _prepare(
    row: Row, peer: Peer, variant: Variant, workers: Workers, settings: Settings
) -> _Runner:
    worker = workers.of(peer, variant)
    worker.ask("prepare", settings.limit, row=row.name, smaller=settings.quick)
    return _Runner(peer, worker, row, settings.limit)


# --- do the numbers agree? -------------------------------------------------------


def _check(runners: dict[str, _Runner], results: dict[str, PeerResult]) -> None:
    """Compare every peer's numbers with ours; fill in `results`."""
    if OURS not in runners:
        raise SystemExit(f"Pellucid itself failed: {results[OURS].note}")
    ours: dict[str, Any] = {}
    for name, runner in list(runners.items()):
        try:
            found = runner.worker.ask(
                "check", runner.limit, epochs=runner.row.check_epochs
            )
        except PeerError as error:
            results[name] = PeerResult(name, note=str(error))
            del runners[name]
            continue
        if name == OURS:
            ours = found
        results[name] = _judged(runner, found, ours)


def _judged(runner: _Runner, found: dict[str, Any], ours: dict[str, Any]) -> PeerResult:
    difference = (
        found["difference"]
        if runner.row.kind == "predict"
        else _difference(found["losses"], ours["losses"], runner.peer.own_order)
    )
    return PeerResult(
        runner.peer.name,
        runner.worker.variant.name,
        difference=difference,
        check=verdict(difference, runner.peer.own_order, runner.row),
    )


def _difference(found: list[float], ours: list[float], last_only: bool) -> float:
    """Return the largest relative difference of an epoch's mean loss."""
    pairs = list(zip(found, ours, strict=True))
    pairs = pairs[-1:] if last_only else pairs
    return max(abs(theirs - mine) / abs(mine) for theirs, mine in pairs)


def _timed(result: PeerResult, runner: _Runner, samples: list[float]) -> PeerResult:
    if runner.failure or not samples:
        return PeerResult(result.peer, note=runner.failure or "no measurement")
    return replace(result, timing=summarise(samples), busy=runner.busy)
