"""The benchmark's own parts: those that need no other library."""

from __future__ import annotations

import doctest
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from benchmarks import peers, results, rows, timing
from benchmarks.__main__ import main, print_results
from benchmarks.data import examples, orders, reference_outputs, weights
from benchmarks.markdown import markdown
from benchmarks.peers import OURS, PEERS
from benchmarks.results import HEADER, PeerResult, RowResult, as_json, as_table, verdict
from benchmarks.roofline import Roofline, copy_speed, fma_speed
from benchmarks.rows import ROWS, Row
from benchmarks.timing import Timing, calls_for, in_turn, summarise
from benchmarks.worker import Bench, answer, serve

ROOT = Path(__file__).parents[1]

# --- statistics ------------------------------------------------------------------


def test_a_summary_is_the_median_and_the_interquartile_range() -> None:
    samples = np.random.default_rng(0).gamma(2.0, size=23)
    low, middle, high = np.percentile(samples, [25, 50, 75])
    found = summarise(samples.tolist())
    assert found.us == pytest.approx(middle)
    assert found.spread == pytest.approx(high - low)
    assert found.rounds == 23


def test_one_sample_has_no_spread() -> None:
    assert summarise([7.0]) == Timing(7.0, 0.0, 1)


def test_repetitions_fill_the_time_and_are_at_least_one() -> None:
    assert [calls_for(1.0, once) for once in (0.3, 1.0, 9.0)] == [4, 1, 1]
    assert calls_for(1.0, 0.0) > 10**6


def test_everyone_is_asked_once_a_round_and_the_first_to_go_changes() -> None:
    asked: list[str] = []

    def measure(name: str, answer: float | None) -> Any:
        return lambda: asked.append(name) or answer

    found = in_turn(
        {"a": measure("a", 1.0), "b": measure("b", None), "c": measure("c", 3.0)}, 3
    )
    assert found == {"a": [1.0] * 3, "b": [], "c": [3.0] * 3}
    assert "".join(asked) == "abc" + "ca" + "ac"


@pytest.mark.parametrize("module", [peers, results, rows, timing])
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# --- rows ------------------------------------------------------------------------


def test_batches_divide_the_rows_and_so_all_steps_are_alike() -> None:
    training = [row for row in ROWS.values() if row.kind == "train"]
    assert [row.name for row in training if row.rows % row.batch] == []
    assert [row.name for row in training if row.smaller().rows % row.batch] == []


def test_flops_count_products_and_the_optimiser() -> None:
    row = Row("x", (3, 5, 2), 8, 4)
    forward = 2 * 4 * (3 * 5 + 5 * 2)
    into_weights = forward
    into_values = 2 * 4 * 5 * 2
    update = 12 * (3 * 5 + 5 + 5 * 2 + 2)
    assert row.flops == forward + into_weights + into_values + update
    assert replace(row, kind="predict").flops == forward


def test_an_unknown_row_or_peer_is_named_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no row named 'tiney'; the rows are tiny"):
        rows.select("tiny,tiney")
    with pytest.raises(SystemExit, match="no peer named 'j'; the peers are pellucid"):
        peers.select("j")


def test_a_peers_first_name_selects_all_its_ways() -> None:
    names = [peer.name for peer in peers.select("torch")]
    assert names == [OURS, "torch", "torch-compile"]


def test_every_peer_has_its_module_and_takes_part_in_a_row() -> None:
    kinds = {row.kind for row in ROWS.values()}
    folder = Path(peers.__file__).parent
    for peer in PEERS.values():
        assert (folder / f"{peer.module}.py").exists()
        assert peer.kinds & kinds


# --- data ------------------------------------------------------------------------


def test_the_numbers_are_the_same_in_every_process() -> None:
    row = replace(ROWS["small"], rows=64)
    assert all(np.array_equal(a, b) for a, b in zip(examples(row), examples(row)))
    pairs = zip(weights(row), weights(row))
    assert all(np.array_equal(a[0], b[0]) for a, b in pairs)


def test_each_epoch_has_an_order_of_its_own_of_all_rows() -> None:
    first, second = orders(replace(ROWS["tiny"], rows=256), 2)
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first), np.arange(256))


# --- roofline --------------------------------------------------------------------


def test_the_loops_of_the_roofline_give_speeds_that_a_processor_can_have() -> None:
    assert 1e9 < fma_speed(1) < 1e13
    assert 1e8 < copy_speed(1 << 20, 1) < 1e13


def test_the_floor_is_the_longer_of_arithmetic_and_traffic() -> None:
    row = ROWS["mid"]
    assert Roofline(1e12, 1e30, 1).floor_us(row) == pytest.approx(row.flops / 1e6)
    assert Roofline(1e30, 1e12, 1).floor_us(row) == pytest.approx(row.bytes / 1e6)


# --- results ---------------------------------------------------------------------


def a_result() -> RowResult:
    return RowResult(
        ROWS["tiny"],
        PeerResult(OURS, "llvm", Timing(5.0, 0.5, 9), 0.0, "agrees", busy=1.2),
        (
            PeerResult("quick", "a", Timing(1.0, 0.1, 9), 0.5, "disagrees"),
            PeerResult("slow", "b", Timing(1234.0, 30.0, 9), 1e-6, "agrees"),
            PeerResult("fast", "c", Timing(20.0, 2.0, 9), 0.1, "own order"),
            PeerResult("absent", note="needs clang"),
        ),
        floor_us=2.0,
    )


def test_the_best_peer_is_the_fastest_whose_numbers_agree() -> None:
    result = a_result()
    assert result.best is result.peers[2]
    assert (result.ratio, result.share, result.threads) == (4.0, 0.4, 1)


def test_the_json_has_the_promised_shape() -> None:
    found = json.loads(json.dumps(as_json([a_result()], {"processor": "p"})))
    row = found["rows"]["tiny"]
    assert row.pop("details")["absent"]["note"] == "needs clang"
    assert row == {
        "us": 5.0,
        "spread": 0.5,
        "peers": {"quick": 1.0, "slow": 1234.0, "fast": 20.0},
        "best": "fast",
        "ratio": 4.0,
        "roofline": 0.4,
        "threads": 1,
    }
    assert found["machine"] == {"processor": "p"}


def test_a_row_where_every_peer_failed_has_no_ratio() -> None:
    result = replace(a_result(), peers=(PeerResult("absent", note="needs clang"),))
    row = as_json([result], {})["rows"]["tiny"]
    assert (row["best"], row["ratio"], row["peers"]) == (None, None, {})


def test_the_table_goes_from_fast_to_slow_and_marks_the_best(capsys: Any) -> None:
    lines = as_table(a_result())
    assert [line[1] for line in lines] == [OURS, "quick", "fast ←", "slow", "absent"]
    assert lines[0] == ("tiny", OURS, "5", "0.5", "1", "agrees", lines[0][-1])
    assert lines[0][-1] == "40% of roofline, 1 thread"
    assert lines[3][2:] == ("1,234", "30", "246.80", "agrees", "b")
    print_results([a_result()])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == " ".join(HEADER).split()
    assert printed[-1].endswith("needs clang")


def test_the_table_of_the_documentation_has_a_column_for_each_peer() -> None:
    found = markdown(as_json([a_result()], {})).splitlines()
    assert found[0].endswith("| of roofline | quick | slow | fast |")
    assert found[2] == "| `tiny` | **5** ± 0.5 | 4.00 | 40% | 1* | 1,234 | 20 |"


def test_a_loss_is_judged_by_the_rows_tolerance_or_the_wide_band() -> None:
    row = ROWS["tiny"]
    assert verdict(0.9e-3, False, row) == "agrees"
    assert verdict(1.1e-3, False, row) == "disagrees"
    assert verdict(0.19, True, row) == "own order"
    assert verdict(0.21, True, row) == "disagrees"
    assert verdict(1e-3, True, ROWS["predict1"]) == "disagrees"
    assert verdict(float("nan"), False, row) == "disagrees"


# --- a peer's process ------------------------------------------------------------


@pytest.mark.slow
def test_hand_written_numpy_and_ours_have_the_same_losses() -> None:
    found = []
    for module in ("ours", "numpy_"):
        bench = Bench(module, {})
        bench.prepare("tiny", smaller=True)
        found.append(bench.check(epochs=2)["losses"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.slow
def test_predictions_are_compared_with_the_outputs_of_the_first_weights() -> None:
    row = ROWS["predict1"]
    bench = Bench("numpy_", {})
    bench.prepare("predict1", smaller=False)
    assert bench.check(epochs=1)["difference"] < 1e-6
    bench.prepared = lambda x: 1.01 * reference_outputs(row)
    assert bench.check(epochs=1)["difference"] == pytest.approx(0.01, rel=1e-3)


def test_an_error_in_a_peer_is_an_answer(capsys: Any) -> None:
    found = answer(Bench("numpy_", {}), {"do": "check", "epochs": 1})
    assert found["error"].startswith("AssertionError")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_answers_every_line() -> None:
    requests = [
        {"do": "prepare", "row": "predict1", "smaller": True},
        {"do": "measure", "calls": 3},
        {"do": "release"},
    ]
    out = io.StringIO()
    serve(io.StringIO("\n".join(map(json.dumps, requests))), out, "numpy_", {})
    ready, prepared, measured, released = map(json.loads, out.getvalue().splitlines())
    assert ready == {"ready": True}
    assert prepared["seconds"] > 0
    assert measured["seconds"] > 0
    assert released == {}


# --- the whole -------------------------------------------------------------------


def test_a_quick_run_measures_ours_beside_numpy(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    asked = ["--quick", "--rows", "tiny", "--peers", "numpy", "--json", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("row ")
    row = json.loads(target.read_text())["rows"]["tiny"]
    assert row["best"] == "numpy"
    assert row["ratio"] == pytest.approx(row["peers"]["numpy"] / row["us"])
    assert row["details"]["numpy"]["check"] == "agrees"


def test_the_help_names_the_rows_and_the_peers(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert "simplechains" in printed
    assert "tinygrad" in printed
