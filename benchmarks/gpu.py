"""Training on a GPU: `python -m benchmarks.gpu [--rows a,b] [--device gpu]`.

Pellucid's xla engine beside PyTorch (eager, compiled, and compiled into CUDA graphs)
and plain JAX with a `jit` for each step, each in a process of its own, one after the
other. Every library runs in the same numbers: all of float32, TF32 (what the device
rounds to by default), and bfloat16 with parameters in float32. What the card can do at
most is measured in the same run: a large product in each of these numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import orders
from benchmarks.machine import facts
from benchmarks.rows import ROWS, Row

NUMBERS = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2}
"""Each kind of numbers, and how far from ours a mean loss may be."""
LARGE = "wide-large"
"""The row `wide` in large batches, in bfloat16 alone."""
_NAMES = f"mnist,wide,lenet,lstm,transformer,{LARGE}"
_TURNS, _LIMIT = 5, 600.0


def rows_of(names: str, batch: int = 8192) -> list[Row]:
    """Return the rows to measure, by name."""
    known = {name: row for name, row in ROWS.items() if row.kind == "train"}
    known[LARGE] = replace(ROWS["wide"], name=LARGE, batch=batch, rows=16 * batch)
    return [known[name] for name in _chosen("row", names, known)]


def _chosen(what: str, names: str, known: Any) -> list[str]:
    """Read names between commas; end with words where one is not known."""
    chosen = [each.strip() for each in names.split(",") if each.strip()]
    for name in chosen:
        if name not in known:
            raise SystemExit(f"no {what} {name!r}; there are {', '.join(known)}")
    return chosen


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


def _torch(row: Row, numbers: str, device: str, mode: str | None = None) -> Any:
    """Return PyTorch's loop on a device, compiled where a mode says how."""
    import torch

    from benchmarks.peers import pytorch

    place = "cuda" if device == "gpu" else device
    high = numbers != "float32"
    torch.set_float32_matmul_precision("high" if high else "highest")
    torch.backends.cudnn.allow_tf32 = high
    torch.backends.cudnn.benchmark = True

    class Session(pytorch.Session):
        def __init__(self) -> None:
            super().__init__(row, fused=True)
            self.x, self.y = self.x.to(place), self.y.to(place)
            self.model.to(place)
            self.mean = torch.compile(self.whole, mode=mode) if mode else self.whole

        def whole(self, x: Any, y: Any) -> Any:
            return self.loss(self.model(x), y)

        def step(self, x: Any, y: Any) -> Any:
            self.optimizer.zero_grad(set_to_none=True)
            if mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(place, torch.bfloat16, enabled=numbers == "bfloat16"):
                loss = self.mean(x, y)
            loss.backward()
            self.optimizer.step()
            return loss.detach().clone()  # a CUDA graph writes to the same place again

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
    import jax.numpy as jnp

    known = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
    jax.config.update("jax_default_device", jax.devices(device)[0])
    jax.config.update("jax_default_matmul_precision", known[numbers])
    from benchmarks.peers import jax_step

    def halved(tree: Any) -> Any:
        return jax.tree.map(
            lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tree
        )

    class Session(jax_step.Session):
        """As JAX's users mix numbers: weights and inputs are rounded on their way in;
        gradients, parameters, the loss and the optimiser's state are float32."""

        def outputs(self, layers: Any, x: Any) -> Any:
            if numbers != "bfloat16":
                return super().outputs(layers, x)
            return super().outputs(halved(layers), halved(x)).astype(jnp.float32)

    return Session(row)


PEERS: dict[str, Callable[[Row, str, str], Any]] = {
    "pellucid": _ours,
    "torch": _torch,
    "torch-compile": lambda *asked: _torch(*asked, mode="default"),
    "torch-graphs": lambda *asked: _torch(*asked, mode="reduce-overhead"),
    "jax-step": _jax,
}
"""Everyone by name; ours is the first, for the others are compared with it."""


# --- one process ---------------------------------------------------------------------


def serve(name: str, row: Row, numbers: str, device: str, seconds: float) -> Any:
    """Train, and return the losses in our order and the times of a step in µs."""
    start = time.perf_counter()
    session = PEERS[name](row, numbers, device)
    session.reset()
    losses = [float(each) for each in session.run(2, orders(row, 2))]
    ready = time.perf_counter() - start
    return {"losses": losses, "ready": ready, **step_time(session, row, seconds)}


def step_time(session: Any, row: Row, seconds: float) -> dict[str, Any]:
    """Return what a step takes in a long training, in µs.

    The shortest training of one epoch is subtracted from the shortest of many: what a
    library does once for a training, such as bringing the data to the device, is so
    counted for nobody. Every run ends with its losses on the host, so nothing of it
    is still under way.
    """

    def timed(epochs: int) -> float:
        session.reset()
        start = time.perf_counter()
        session.run(epochs, None)
        return time.perf_counter() - start

    timed(1)
    more = 1
    while (gain := timed(1 + more) - timed(1)) < seconds / 4 and more < 10**5:
        more *= 4
    more = max(1, round(more * seconds / max(gain, seconds / 4)))
    pairs = [(timed(1), timed(1 + more)) for _ in range(_TURNS)]
    scale = 1e6 / (more * row.steps)
    short, long = (min(times) for times in zip(*pairs))
    every = [scale * (after - before) for before, after in pairs]
    return {"us": scale * (long - short), "all": every, "epochs": more, "once": short}


def peaks(device: str) -> Any:
    """Return the card's name, and its FLOP/s in one large product in all numbers."""
    import torch

    place, size = ("cuda", 8192) if device == "gpu" else ("cpu", 512)
    found = {}
    for numbers in NUMBERS:
        torch.set_float32_matmul_precision("high" if numbers == "tf32" else "highest")
        dtype = torch.bfloat16 if numbers == "bfloat16" else torch.float32
        x = torch.randn(size, size, device=place, dtype=dtype)
        best = float("inf")
        for _ in range(10):
            start = time.perf_counter()
            for _ in range(10):
                y = x @ x
            float(y[0, 0])  # waits for all of them
            best = min(best, (time.perf_counter() - start) / 10)
        found[numbers] = 2 * size**3 / best
    name = torch.cuda.get_device_name() if place == "cuda" else "the processor"
    return {"card": name, "flops": found}


def ask(batch: int, *request: Any) -> Any:
    """Do `serve` or `peaks` in a process of its own; an error is an answer too."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--batch", str(batch)]
    try:
        done = subprocess.run(
            [*command, "--serve", json.dumps(request)],
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done in {_LIMIT:.0f} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _answer(request: list[Any], batch: int) -> Any:
    if request[0] == "peaks":
        return peaks(request[1])
    name, row, *rest = request
    return serve(name, rows_of(row, batch)[0], *rest)


# --- all of them ---------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a line for each, and write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--rows", default=_NAMES)
    parser.add_argument("--peers", default=",".join(PEERS), help="ours is always there")
    parser.add_argument("--numbers", default=",".join(NUMBERS))
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement")
    parser.add_argument("--batch", type=int, default=8192, help=f"of {LARGE}")
    parser.add_argument("--json", default="", help="write the results, row by row")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.serve:
        print(json.dumps(_answer(json.loads(asked.serve), asked.batch)))
        return
    rows = rows_of(asked.rows, asked.batch)
    peers = _chosen("peer", asked.peers, PEERS)
    kinds = _chosen("kind of numbers", asked.numbers, NUMBERS)
    card = ask(asked.batch, "peaks", asked.device)
    _show_card(card)
    content: dict[str, Any] = {"machine": facts(), "card": card, "rows": []}
    for row in rows:
        for numbers in ["bfloat16"] if row.name == LARGE else kinds:
            content["rows"].append(_measured(row, numbers, peers, card, asked))
            if asked.json:
                Path(asked.json).write_text(json.dumps(content, indent=1) + "\n")


def _show_card(card: dict[str, Any]) -> None:
    if "error" in card:
        print(f"the card's peak is not known: {card['error']}")
        return
    each = (f"{numbers} {rate / 1e12:.1f}" for numbers, rate in card["flops"].items())
    print(f"{card['card']}, TFLOP/s of a large product: {', '.join(each)}", flush=True)


def _measured(
    row: Row, numbers: str, peers: list[str], card: dict[str, Any], asked: Any
) -> dict[str, Any]:
    """Ask ours and every peer for one row in one kind of numbers; print the answers."""
    ours, *others = PEERS
    results: dict[str, Any] = {}
    for name in [ours, *(each for each in others if each in peers)]:
        request = name, row.name, numbers, asked.device, asked.seconds
        answer = results[name] = ask(asked.batch, *request)
        words = answer.get("error")
        if not words:
            answer |= judged(row, numbers, answer, results[ours], card)
            words = _words(answer, name == ours)
        print(f"{row.name:12} {numbers:9} {name:14} {words}", flush=True)
    best = best_peer(results)
    if best is not None and "us" in results[ours]:
        ratio = results[best]["us"] / results[ours]["us"]
        print(f"{row.name:12} {numbers:9} best is {best}: {ratio:.2f} of ours")
    return {"row": row.name, "numbers": numbers, "best": best, "results": results}


def judged(
    row: Row,
    numbers: str,
    answer: dict[str, Any],
    mine: dict[str, Any],
    card: dict[str, Any],
) -> dict[str, Any]:
    """Return a rate, its share of the card's, and whether the losses are ours."""
    rate = 1e6 * row.flops / answer["us"]
    most = card.get("flops", {}).get(numbers)
    found = {"flops": rate, "share": rate / most if most else None}
    if "losses" not in mine:
        return {**found, "away": None, "agrees": None}
    away = float(np.abs(np.divide(answer["losses"], mine["losses"]) - 1).max())
    return {
        **found,
        "away": away,
        "agrees": bool(away <= max(NUMBERS[numbers], row.tolerance)),
    }


def best_peer(results: dict[str, Any]) -> str | None:
    """Return the quickest of the others whose losses are ours."""
    _, *others = PEERS
    fit = [name for name in others if results.get(name, {}).get("agrees")]
    return min(fit, key=lambda name: float(results[name]["us"]), default=None)


def _words(answer: dict[str, Any], is_ours: bool) -> str:
    words = f"{answer['us']:10.1f} µs a step {answer['flops'] / 1e12:8.2f} TFLOP/s"
    if answer["share"] is not None:
        words += f" ({answer['share']:4.0%} of the peak)"
    words += f"  ready in {answer['ready']:.1f} s"
    if is_ours or answer["away"] is None:
        return words
    words += f"  losses within {answer['away']:.1e}"
    return words if answer["agrees"] else f"{words}: DISAGREES"


if __name__ == "__main__":
    main()
