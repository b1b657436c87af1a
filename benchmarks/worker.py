"""A peer's own process: it prepares rows, trains them and tells how long that took.

It reads a request in JSON a line from its input and answers with one on its output.
What a library prints goes to the error output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from benchmarks.data import examples, orders, reference_outputs
from benchmarks.rows import ROWS, Row

__all__ = ["Bench", "answer", "serve"]


class Bench:
    """A peer's module, and what it prepared last."""

    def __init__(self, module: str, options: dict[str, Any]) -> None:
        self.module = importlib.import_module(f"benchmarks.peers.{module}")
        self.options = options
        self.row: Row | None = None
        self.prepared: Any = None
        self.x: Any = None

    def prepare(self, row: str, smaller: bool) -> dict[str, Any]:
        """Make the row ready, and run it once so that it is compiled and warm."""
        self.release()
        self.row = ROWS[row].smaller() if smaller else ROWS[row]
        start = time.perf_counter()
        self.prepared = self.module.prepare(self.row, **self.options)
        if self.row.kind == "predict":
            self.x = examples(self.row)[0]
            self.prepared(self.x)
        else:
            self.prepared.reset()
            self.prepared.run(1, None)
        return {"seconds": time.perf_counter() - start}

    def check(self, epochs: int) -> dict[str, Any]:
        """Return the losses with our order, or the outputs' largest difference."""
        assert self.row is not None
        if self.row.kind == "predict":
            return {"difference": self._difference()}
        self.prepared.reset()
        given = orders(self.row, epochs)
        return {"losses": [float(each) for each in self.prepared.run(epochs, given)]}

    def _difference(self) -> float:
        assert self.row is not None
        expected = reference_outputs(self.row)
        found = self.prepared(self.x)[: len(expected)]
        if np.allclose(found.sum(1), 1, atol=1e-4):
            powers = np.exp(expected - expected.max(1, keepdims=True))
            expected = powers / powers.sum(1, keepdims=True)
        return float(np.abs(found - expected).max() / np.abs(expected).max())

    def measure(self, calls: int) -> dict[str, Any]:
        """Time epochs from the first weights, or calls; once warm, without pauses."""
        assert self.row is not None
        if self.row.kind == "train":
            self.prepared.reset()
            if not self.row.shuffle:
                self.prepared.run(calls, None)
                self.prepared.reset()
            work: Callable[[], Any] = lambda: self.prepared.run(calls, None)
        else:
            work = lambda: [self.prepared(self.x) for _ in range(calls)][-1]
        gc.collect()
        before = time.process_time()
        start = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - start
        cpu = time.process_time() - before
        loss = float(found[-1]) if self.row.kind == "train" else 0.0
        return {"seconds": seconds, "cpu": cpu, "loss": loss}

    def release(self) -> dict[str, Any]:
        """Let go of what was prepared."""
        self.row = self.prepared = self.x = None
        gc.collect()
        return {}


def answer(bench: Bench, request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks; an error is an answer too."""
    try:
        action = getattr(bench, request.pop("do"))
        with contextlib.redirect_stdout(sys.stderr):
            found: dict[str, Any] = action(**request)
    except Exception as error:
        traceback.print_exc()
        last = (str(error).strip().splitlines() or [""])[0]
        return {"error": f"{type(error).__name__}: {last}"}
    return found


def serve(lines: TextIO, out: TextIO, module: str, options: dict[str, Any]) -> None:
    """Answer requests until there are no more."""
    bench = Bench(module, options)
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in lines:
        print(json.dumps(answer(bench, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    # A library's C code may print too: its output becomes the error output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers, sys.argv[1], json.loads(sys.argv[2]))
