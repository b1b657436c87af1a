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


@dataclass(frozen=True)
class Settings:
    """How long everything may take."""

    rounds: int
    seconds: float
    """The time that one measurement fills, at least one epoch or call."""
    limit: float
    """The most seconds for a peer to start, or to compile a row."""
    every_variant: bool


FULL = Settings(9, 0.4, 300.0, True)
QUICK = Settings(3, 0.05, 90.0, False)


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
        return 1e6 * found["seconds"] / (self.calls * each)

    def calibrate(self, seconds: float) -> None:
        """Choose how often to repeat so that a measurement fills `seconds`."""
        for _ in range(2):
            each = self.row.steps if self.row.kind == "train" else 1
            self.calls = calls_for(seconds, self.once() * each / 1e6)
        self.busy = 0.0

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
    results: dict[str, PeerResult] = {}
    runners: dict[str, _Runner] = {}
    for peer in peers:
        if row.kind in peer.kinds:
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
    variants = peer.variants if settings.every_variant else peer.variants[:1]
    ready: list[tuple[float, _Runner]] = []
    failure: PeerError | None = None
    for variant in variants:
        try:
            runner = _prepare(row, peer, variant, workers, settings)
            probes = [runner.once() for _ in range(_PROBES if len(variants) > 1 else 1)]
            ready.append((median(probes), runner))
        except PeerError as error:
            failure = error
    if not ready:
        assert failure is not None
        raise failure
    best = min(ready, key=lambda each: each[0])[1]
    for _, runner in ready:
        if runner is not best:
            runner.worker.ask("release", settings.limit)
    best.calibrate(settings.seconds)
    return best


def _prepare(
    row: Row, peer: Peer, variant: Variant, workers: Workers, settings: Settings
) -> _Runner:
    worker = workers.of(peer, variant)
    worker.ask("prepare", settings.limit, row=row.name)
    runner = _Runner(peer, worker, row, settings.limit)
    runner.calibrate(settings.seconds / 4)
    return runner


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
