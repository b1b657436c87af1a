"""Training on a GPU: `python -m benchmarks.gpu [--rows a,b] [--device gpu]`.

Pellucid's xla engine beside PyTorch (eager and compiled) and plain JAX with a `jit`
for each step, each in a process of its own, one after the other. Every library runs
in the same numbers: all of float32, TF32 (what the device rounds to by default), and
bfloat16 with parameters in float32. One more row asks how near a wide network in
bfloat16 comes to the card's matrix peak, which is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import orders
from benchmarks.machine import facts
from benchmarks.rows import ROWS, Row

NUMBERS = ("float32", "tf32", "bfloat16")
_NAMES = "mnist,wide,lenet,lstm,transformer"
_TURNS, _LIMIT = 5, 1200.0


def rows_of(names: str, batch: int = 8192) -> dict[str, Row]:
    """Return the rows to measure, and `wide` in large batches."""
    found = {name: ROWS[name] for name in names.split(",")}
    if "wide" in found:
        wide = replace(ROWS["wide"], name="wide-8192", batch=batch, rows=8 * batch)
        found[wide.name] = wide
    return found


# --- the peers, each on a device -----------------------------------------------------


def _ours(row: Row, numbers: str, device: str) -> Any:
    import pellucid
    from benchmarks.peers.ours import Session

    options = {"device": device}
    if numbers == "tf32":
        options["precision"] = "default"
    if numbers == "bfloat16":
        options["compute"] = "bfloat16"
    with pellucid.config(options=tuple(options.items())):
        return Session(row, "xla")


def _torch(row: Row, numbers: str, device: str, compiled: bool = False) -> Any:
    import torch

    from benchmarks.peers import pytorch

    place = "cuda" if device == "gpu" else device
    high = numbers != "float32"
    torch.set_float32_matmul_precision("high" if high else "highest")
    torch.backends.cudnn.allow_tf32 = high
    autocast = torch.autocast(place, torch.bfloat16, enabled=numbers == "bfloat16")

    class Session(pytorch.Session):
        def __init__(self) -> None:
            super().__init__(row, fused=True)
            self.x, self.y = self.x.to(place), self.y.to(place)
            self.model.to(place)
            self.mean = torch.compile(self.whole) if compiled else self.whole

        def whole(self, x: Any, y: Any) -> Any:
            return self.loss(self.model(x), y)

        def step(self, x: Any, y: Any) -> Any:
            self.optimizer.zero_grad(set_to_none=True)
            with autocast if numbers == "bfloat16" else nullcontext():
                loss = self.mean(x, y)
            loss.backward()
            self.optimizer.step()
            return loss.detach()

        def _epoch(self, order: Any) -> float:
            x, y = self.x, self.y
            if row.shuffle:
                given = None if order is None else torch.from_numpy(order).long()
                rows = torch.randperm(len(x)) if given is None else given
                x, y = x[rows.to(place)], y[rows.to(place)]
            pairs = zip(x.split(row.batch), y.split(row.batch))
            return float(torch.stack([self.step(*pair) for pair in pairs]).mean())

    return Session()


def _jax(row: Row, numbers: str, device: str) -> Any:
    import jax

    known = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}
    jax.config.update("jax_default_device", jax.devices(device)[0])
    jax.config.update("jax_default_matmul_precision", known[numbers])
    from benchmarks.peers.jax_step import Session

    return Session(row)


PEERS: dict[str, Callable[[Row, str, str], Any]] = {
    "pellucid": _ours,
    "torch": _torch,
    "torch-compile": lambda *asked: _torch(*asked, compiled=True),
    "jax-step": _jax,
}


# --- one process ---------------------------------------------------------------------


def serve(name: str, row: Row, numbers: str, device: str, seconds: float) -> Any:
    """Train, and return the losses in our order and the times of a step in µs."""
    start = time.perf_counter()
    session = PEERS[name](row, numbers, device)
    session.reset()
    losses = [float(each) for each in session.run(2, orders(row, 2))]
    ready = time.perf_counter() - start
    session.reset()
    start = time.perf_counter()
    session.run(1, None)
    epochs = max(1, round(seconds / (time.perf_counter() - start)))
    samples = []
    for _ in range(_TURNS):
        session.reset()
        start = time.perf_counter()
        session.run(epochs, None)
        passed = time.perf_counter() - start
        samples.append(1e6 * passed / (epochs * row.steps))
    return {"losses": losses, "us": min(samples), "all": samples, "ready": ready}


def peak(device: str) -> Any:
    """Return the card's name and its bfloat16 products in FLOP/s, by one large one."""
    import torch

    place, size = ("cuda", 8192) if device == "gpu" else ("cpu", 512)
    x = torch.randn(size, size, device=place, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(10):
            y = x @ x
        float(y[0, 0])
        best = min(best, (time.perf_counter() - start) / 10)
    name = torch.cuda.get_device_name() if place == "cuda" else "the processor"
    return {"card": name, "flops": 2 * size**3 / best}


def ask(batch: int, *request: Any) -> Any:
    """Do `serve` or `peak` in a process of its own; an error is an answer too."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--batch", str(batch)]
    done = subprocess.run(
        [*command, "--serve", json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _answer(request: list[Any], batch: int) -> Any:
    if request[0] == "peak":
        return peak(request[1])
    name, row, *rest = request
    return serve(name, rows_of(_NAMES, batch)[row], *rest)


# --- all of them ---------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a line for each, and write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--rows", default=_NAMES)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--numbers", default=",".join(NUMBERS))
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement")
    parser.add_argument("--batch", type=int, default=8192, help="of the large row")
    parser.add_argument("--json", default="", help="also write the results to a file")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.serve:
        print(json.dumps(_answer(json.loads(asked.serve), asked.batch)))
        return
    card = ask(asked.batch, "peak", asked.device)
    print(f"{card.get('card')}: {card.get('flops', 0) / 1e12:.1f} TFLOP/s in bfloat16")
    found = [
        _measured(row, numbers, asked)
        for row in rows_of(asked.rows, asked.batch).values()
        for numbers in asked.numbers.split(",")
        if not row.name.endswith("8192") or numbers == "bfloat16"
    ]
    if asked.json:
        content = {"machine": facts(), "card": card, "rows": found}
        Path(asked.json).write_text(json.dumps(content, indent=1) + "\n")


def _measured(row: Row, numbers: str, asked: Any) -> dict[str, Any]:
    """Ask every peer for one row in one kind of numbers, and print the answers."""
    results: dict[str, Any] = {}
    for name in asked.peers.split(","):
        request = name, row.name, numbers, asked.device, asked.seconds
        answer = ask(asked.batch, *request)
        results[name] = answer
        mine = results.get("pellucid", {})
        words = answer.get("error") or _words(row, answer, mine)
        print(f"{row.name:12} {numbers:9} {name:14} {words}", flush=True)
    return {"row": row.name, "numbers": numbers, "results": results}


def _words(row: Row, answer: dict[str, Any], mine: dict[str, Any]) -> str:
    rate = row.flops / answer["us"] / 1e6
    words = f"{answer['us']:10.1f} µs a step {rate:8.2f} TFLOP/s"
    words += f"  ready in {answer['ready']:.1f} s"
    if answer is not mine and "us" in mine:
        pairs = zip(answer["losses"], mine["losses"])
        away = max(abs(one / other - 1) for one, other in pairs)
        words += f"  {answer['us'] / mine['us']:.2f} of ours, losses within {away:.1e}"
    return words


if __name__ == "__main__":
    main()
