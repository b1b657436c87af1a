"""`pellucid launch`: several processes, one output, one end of all when one fails."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.command import PELLUCID, Run
from pellucid.cli.launch import _Crew, _report
from pellucid.configuration import config
from pellucid.errors import EngineError
from pellucid.tabular.model import TableModel

PRICES = ("train", "prices.csv", "--target", "price", "--hidden", "0")
SHORT = (
    *("--epochs", "2", "--events", "events.jsonl", "--json", "--test-size", "0.27"),
    *("--batch-size", "10"),  # 40 rows are left: no step is of another size
)


def losses(path: str) -> list[float]:
    facts = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [each["loss"] for each in facts if each["event"] == "epoch"]


@pytest.mark.slow
def test_two_processes_train_and_one_speaks(pellucid: Run, folder: Path) -> None:
    done = pellucid("launch", "--processes", 2, "--", *PRICES, *SHORT)
    assert done.code == 0, done
    found = json.loads(done.output)
    assert (found["epochs"], found["iterations"], found["train_rows"]) == (2, 8, 40)
    assert TableModel.load("prices.pellucid").settings.engine == "xla"
    together = losses("events.jsonl")
    Path("events.jsonl").unlink()
    pellucid(*PRICES, *SHORT, "--engine", "llvm")
    assert together == pytest.approx(losses("events.jsonl"), rel=1e-5)


@pytest.mark.slow
def test_what_all_processes_refuse_is_said_once(folder: Path) -> None:
    command = ["launch", "--", "train", "prices.csv", "--target", "prize"]
    done = subprocess.run([*PELLUCID, *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("did you mean 'price'") == 1
    assert not Path("prices.pellucid").exists()


def test_a_process_that_is_killed_ends_the_run_and_is_named(folder: Path) -> None:
    crew = _Crew.start([*PRICES, "--engine", "xla"], 2)
    try:
        os.kill(crew.members[1].process.pid, signal.SIGKILL)
        first = crew.wait(grace=0)
    finally:
        crew.end()
    assert first is crew.members[1]
    assert all(each.process.poll() is not None for each in crew.members)
    words = r"process 1 of 2 was ended by signal 9 .* with --resume"
    with pytest.raises(EngineError, match=words):
        _report(first, crew, resumable=True)


class Unread(io.StringIO):
    """An output whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("output", [Unread(), None])
def test_an_output_that_nobody_reads_keeps_no_process_waiting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, output: Any
) -> None:
    monkeypatch.setattr(sys, "stdout", output)
    crew = _Crew.start(["train", "--help"], 1)
    try:
        assert crew.wait() is None
    finally:
        crew.end()
    assert [each.is_alive() for each in crew.readers] == [False]


def test_other_engines_and_missing_commands_are_refused(pellucid: Run) -> None:
    for dashes in (["--"], []):
        done = pellucid("launch", *dashes, *PRICES, "--engine", "llvm")
        assert done.code == 2
        assert "the llvm engine works alone · several processes train" in done.error
    assert pellucid("launch", "--", *PRICES, "--engine=numpy").code == 2
    assert pellucid("launch").code == 2
    done = pellucid("launch", "--", "predict", "a.pellucid", "b.csv")
    assert "cannot launch 'predict' · expected -- train FILE" in done.error
    assert pellucid("launch", "--processes", 0, "--", *PRICES).code == 2


def test_options_of_the_xla_engine_are_read(pellucid: Run) -> None:
    done = pellucid(*PRICES, "--device", "cpu")
    assert done.code == 2
    assert "--device is for the xla engine · add --engine xla" in done.error
    done = pellucid(*PRICES, "--engine", "xla", "--xla", "precision")
    assert "expected a name and a value, such as precision=high" in done.error
    done = pellucid(*PRICES, "--engine", "xla", "--xla", "devices=0")
    assert "devices=0 · expected a whole number from 1" in done.error
    done = pellucid(*PRICES, "--engine", "xla", "--xla", "reserve=2.5")
    assert "reserve=2.5 · expected a share" in done.error
    with config(engine="xla"):
        done = pellucid(*PRICES, "--xla", "devices=0")
    assert "devices=0 · expected a whole number from 1" in done.error
