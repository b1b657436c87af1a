"""Fresh processes, timed from their start to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.data import examples
from benchmarks.measure import Settings
from benchmarks.peers import OURS
from benchmarks.results import PeerResult, RowResult
from benchmarks.rows import Row
from benchmarks.timing import in_turn, summarise

__all__ = ["COLD", "measure_cold"]

COLD = {OURS: "ours", "sklearn": "sklearn_", "torch": "torch_", "jax": "jax_"}
"""The program of each peer that takes part."""

_LOSS = (0.2, 1.2)
"""Between these lies the mean loss of an epoch from weights drawn by anyone."""


@dataclass
class _Process:
    """One peer's program; the caches of all libraries lie in folders of ours.

    Python finds bytecode, as it does where packages are installed.
    """

    peer: str
    data: Path
    home: Path
    bytecode: Path
    cached: bool
    loss: float = 0.0
    failure: str = ""

    def sample(self) -> float | None:
        """Return the microseconds of one run; None where it failed."""
        with tempfile.TemporaryDirectory() as empty:
            home = str(self.home if self.cached else empty)
            environment = {**os.environ, "XDG_CACHE_HOME": home}
            environment["PYTHONPYCACHEPREFIX"] = str(self.bytecode)
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            if self.cached:
                environment["JAX_COMPILATION_CACHE_DIR"] = home + "/jax"
                environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.cold.{COLD[self.peer]}", self.data],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.perf_counter() - start
        if done.returncode:
            self.failure = (done.stderr.strip().splitlines() or ["failed"])[-1]
            return None
        self.loss = float(done.stdout.split()[-1])
        return 1e6 * seconds


def measure_cold(row: Row, names: list[str], settings: Settings) -> RowResult:
    """Run every peer's program in turn; the first round fills the caches of files and
    of bytecode."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        x, y = examples(row)
        np.savez(data, x=x, y=y)
        processes = {
            name: _Process(name, data, *_places(folder, name), row.cached)
            for name in COLD
            if name in names
        }
        turns: dict[str, Callable[[], float | None]] = {
            name: process.sample for name, process in processes.items()
        }
        samples = in_turn(turns, settings.rounds + 1)
    results = {name: _result(each, samples[name]) for name, each in processes.items()}
    ours = results.pop(OURS)
    return RowResult(row, replace(ours, busy=1.0), tuple(results.values()))


def _places(folder: str, name: str) -> tuple[Path, Path]:
    return Path(folder, f"cache-{name}"), Path(folder, f"bytecode-{name}")


def _result(process: _Process, samples: list[float]) -> PeerResult:
    if process.failure:
        return PeerResult(process.peer, note=process.failure)
    fair = _LOSS[0] < process.loss < _LOSS[1]
    return PeerResult(
        process.peer,
        "one epoch, from start to end",
        summarise(samples[1:]),
        check="own order" if fair else "disagrees",
    )
