"""The processes of all peers, seen from the one that measures.

Each variant of a peer has a process of its own: libraries keep threads that wait
actively for work, and would disturb each other within one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import Peer, Variant

__all__ = ["PeerError", "Worker", "Workers"]


class PeerError(Exception):
    """A peer could not do what was asked; the text says why."""


class Worker:
    """One running process of a peer."""

    def __init__(self, peer: Peer, variant: Variant, limit: float) -> None:
        self.peer, self.variant = peer, variant
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.worker",
                peer.module,
                json.dumps(dict(variant.options)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **variant.environment},
        )
        self._answer(limit)

    def ask(self, do: str, limit: float, **request: Any) -> dict[str, Any]:
        """Return the answer to a request; raise `PeerError` if there is none."""
        pipe = self._process.stdin
        assert pipe is not None
        self._signal("SIGCONT")
        try:
            pipe.write(json.dumps({"do": do, **request}) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        found = self._answer(limit)
        self._signal("SIGSTOP")
        if "error" in found:
            raise PeerError(found["error"])
        return found

    def _signal(self, name: str) -> None:
        """Stop the process until it is asked again, where the system can: threads that
        wait actively would take processors from the others."""
        if hasattr(signal, name):
            self._process.send_signal(getattr(signal, name))

    def _answer(self, limit: float) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        if not select.select([pipe], [], [], limit)[0]:
            self.close()
            raise PeerError(f"not done within {limit:.0f} s")
        line = pipe.readline()
        if not line:
            raise PeerError(self._last_words())
        found: dict[str, Any] = json.loads(line)
        return found

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "the process ended without a word"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()


@dataclass
class Workers:
    """All processes: each starts when it is first needed, and ends with the block."""

    limit: float
    """The most seconds that a peer may take to start, or to compile a row."""
    _running: dict[tuple[str, str], Worker] = field(default_factory=dict)

    def of(self, peer: Peer, variant: Variant) -> Worker:
        """Return the process of a variant."""
        key = peer.name, variant.name
        if key not in self._running or not self._running[key].alive:
            self._running[key] = Worker(peer, variant, self.limit)
        return self._running[key]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._running.values():
            if worker.alive:
                worker.close()
