"""The GPU benchmark's own parts, on the CPU: rows, times, what counts as agreement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from benchmarks import gpu
from benchmarks.gpu import LARGE, NUMBERS, best_peer, judged, rows_of, serve, step_time
from benchmarks.rows import ROWS


def test_the_large_row_has_the_batch_that_was_asked_for() -> None:
    small, large = rows_of(f"wide, {LARGE}", batch=64)
    assert (small, large.batch, large.steps) == (ROWS["wide"], 64, 16)
    assert large.widths == small.widths


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(SystemExit, match="no row 'wid'; there are tiny, small"):
        rows_of("wid")
    with pytest.raises(SystemExit, match="no peer 'keras'; there are pellucid, torch"):
        gpu.main(["--peers", "keras"])
    with pytest.raises(SystemExit, match="no kind of numbers 'f16'"):
        gpu.main(["--numbers", "f16"])


class Slow:
    """Takes a second for each training and some milliseconds for each step."""

    def __init__(self, clock: list[float], steps: int, step: float) -> None:
        self.clock, self.steps, self.step, self.fresh = clock, steps, step, False

    def reset(self) -> None:
        self.fresh = True

    def run(self, epochs: int, orders: Any) -> None:
        assert self.fresh, "every training starts from the first weights"
        self.fresh = False
        self.clock[0] += 1.0 + epochs * self.steps * self.step


@pytest.mark.parametrize("step", [1e-6, 1e-3, 0.5])
def test_what_a_training_does_once_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    clock, row = [0.0], replace(ROWS["tiny"], rows=320)
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: clock[0])
    found = step_time(Slow(clock, row.steps, step), row, 1.0)
    assert found["us"] == pytest.approx(1e6 * step, rel=1e-6)
    assert found["epochs"] == max(1, round(1.0 / (row.steps * step)))
    assert found["once"] == pytest.approx(1.0 + row.steps * step)


def an_answer(us: float, losses: list[float]) -> dict[str, Any]:
    return {"us": us, "losses": losses, "ready": 1.0}


def test_a_peer_is_the_best_only_where_its_losses_are_ours() -> None:
    row, card = ROWS["mnist"], {"flops": {"tf32": 2e12}}
    mine = an_answer(10.0, [2.0, 1.0])
    results = {
        "pellucid": mine,
        "torch": an_answer(9.0, [2.0, 1.009]),
        "torch-compile": an_answer(2.0, [2.0, 1.011]),
        "torch-graphs": an_answer(1.0, [2.0, math.nan]),
        "jax-step": {"error": "no word"},
    }
    for name, each in results.items():
        if "us" in each:
            results[name] = each | judged(row, "tf32", each, mine, card)
    agrees = [each.get("agrees") for each in results.values()]
    assert agrees == [True, True, False, False, None]
    assert best_peer(results) == "torch"
    assert results["pellucid"]["share"] == pytest.approx(row.flops / 10e-6 / 2e12)
    assert best_peer({"pellucid": mine}) is None


def test_without_ours_nothing_is_said_about_losses() -> None:
    found = judged(ROWS["mnist"], "tf32", an_answer(9.0, [1.0]), {"error": "x"}, {})
    assert (found["share"], found["away"], found["agrees"]) == (None, None, None)


@pytest.mark.slow
def test_ours_trains_alike_in_all_kinds_of_numbers() -> None:
    row = replace(ROWS["mnist"], rows=256, name="few")
    found = {kind: serve("pellucid", row, kind, "cpu", 0.01) for kind in NUMBERS}
    exact = found["float32"]
    for kind, each in found.items():
        assert each["us"] > 0
        assert judged(row, kind, each, exact, {})["agrees"]
    assert found["bfloat16"]["losses"] != exact["losses"]
