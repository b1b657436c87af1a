"""Several processes on this machine: one curve, one checkpoint, one that is lost."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from xla_worker import FIT, make_trainer

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import DataError
from pellucid.files import read_file
from pellucid.train.plan import Plan
from pellucid.train.together import check_alike, together

WORKER = Path(__file__).with_name("xla_worker.py")


def slurm(number: int, job: int) -> dict[str, str]:
    """Return what SLURM tells the processes of a job, as far as JAX reads it."""
    return {
        **os.environ,
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def free_job() -> int:
    """Return the number of a job for which SLURM's port, as JAX counts it, is free."""
    while True:
        job = random.SystemRandom().randrange(2**12)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 2**16 - 2**12 + job))
            return job


def diabetes() -> tuple[Any, Any]:
    X, y = load_diabetes(return_X_y=True)
    return X.astype("f4"), y.reshape(-1, 1).astype("f4")


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_and_survive_the_loss_of_one(
    tmp_path: Path,
) -> None:
    """Each brings its part of the rows; the second dies in its sixth epoch of ten."""
    X, y = diabetes()
    rows, path = tmp_path / "rows.npz", tmp_path / "run.safetensors"
    np.savez(rows, X=X, y=y)
    job = free_job()
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, rows, path, str(6 * number), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=slurm(number, job),
        )
        for number in (0, 1)
    ]
    words, _ = (each.communicate(timeout=300)[0] for each in processes)
    assert [each.returncode for each in processes] == [0, 9]
    assert "LostHostError: another process of this run does not answer" in words
    assert "5 epochs were done" in words
    assert f"go on from {str(path)!r} with resume" in words

    alone = make_trainer(engine="llvm").fit(X, y, **FIT)
    kept = read_file(path)[1]["history"]["rows"]
    for name in ("loss", "validation_loss"):
        found = [row[name] for row in kept]
        np.testing.assert_allclose(found, alone[name][:5], rtol=1e-5)
    resumed = make_trainer(engine="llvm")
    history = resumed.fit(X, y, checkpoint=path, resume=True, **FIT)
    np.testing.assert_allclose(history["loss"], alone["loss"], rtol=1e-5)


class Pair(NumpyEngine):
    """One of two processes that compute alike; the other brings what it is told to."""

    processes, process, own_rows = 2, 0, True  # type: ignore[assignment]

    def __init__(self, other: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.other = other

    def gather(self, content: bytes) -> list[bytes]:
        return [content, self.other(content)]


def test_rows_of_all_processes_stand_in_their_order() -> None:
    pair = Pair(lambda mine: mine)
    data = {"x": np.arange(6, dtype="f4").reshape(3, 2), "y": np.arange(3)}
    found = together(data, pair)
    assert found["y"].tolist() == [0, 1, 2, 0, 1, 2]
    assert found["x"].shape == (6, 2)
    other = Pair(lambda mine: mine.replace(b"f4", b"f8"))
    with pytest.raises(DataError, match="x is of another kind in process 1"):
        together(data, other)


def test_processes_that_start_with_other_numbers_are_found_out() -> None:
    trainer, (X, y) = make_trainer(engine="numpy"), diabetes()
    plan = Plan({"x": X, "y": y}, 10, True, 0)
    state = trainer._progress(plan.data).state
    same = Pair(lambda mine: mine)
    check_alike(plan.data, state, same)
    other = Pair(lambda mine: mine[::-1])
    with pytest.raises(DataError, match="process 1 has other data than process 0"):
        check_alike(plan.data, state, other)
