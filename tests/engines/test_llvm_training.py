"""The llvm engine at work: threads, many runs, many programs, whole trainings."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gates.test_edges import assert_same_bits
from pellucid import nn, optim, random
from pellucid.engines.llvm import threads as team
from pellucid.engines.llvm.engine import LlvmEngine, LlvmProgram
from pellucid.engines.llvm.native import compile_text
from pellucid.engines.llvm.threads import count
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import EngineError
from pellucid.ir.graph import Graph, bind, fill, input_node, results
from pellucid.ir.types import TensorType
from pellucid.train.trainer import Trainer


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let programs have four threads, whatever the machine has."""
    monkeypatch.setenv("PELLUCID_THREADS", "4")
    count.cache_clear()
    yield
    monkeypatch.undo()
    count.cache_clear()


def compiled(graph: Graph) -> LlvmProgram:
    program = LlvmEngine().compile(graph)
    assert isinstance(program, LlvmProgram)
    return program


def draw(graph: Graph, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        np.asarray(rng.normal(size=n.shape), n.dtype)
        if n.dtype.kind == "f"
        else rng.integers(0, 9, n.shape).astype(n.dtype)
        for n in graph.inputs
    ]


# --- threads -------------------------------------------------------------------------


def matrices(m: int, k: int, n: int) -> Graph:
    x = input_node(TensorType((m, k), "f32"), "x")
    y = input_node(TensorType((k, n), "f32"), "y")
    z = bind("tanh", bind("dot", x, y, contract=((1,), (0,)), batch=((), ())))
    turned = bind("dot", z, z, contract=((0,), (0,)), batch=((), ()))
    return Graph((x, y), (z, turned, bind("sum", z, axes=(1,))))


def few_columns() -> Graph:
    """Return inner products of many rows with three lines of a weight."""
    x = input_node(TensorType((8003, 130), "f32"), "x")
    w = input_node(TensorType((3, 130), "f32"), "w")
    return Graph((x, w), (bind("dot", x, w, contract=((1,), (1,)), batch=((), ())),))


def pieces() -> Graph:
    """Return gathers, sums along each axis, and a map with a rest, of large arrays."""
    x = input_node(TensorType((523, 131), "f32"), "x")
    at = input_node(TensorType((777,), "i32"), "at")
    rows = bind("gather", x, at, axis=0)
    sums = [bind("sum", rows, axes=axes) for axes in ((0,), (1,), (0, 1))]
    largest = bind("max", rows, axes=(1,))
    return Graph((x, at), (rows, *sums, largest, bind("exp", -x) * x))


def scanned() -> Graph:
    """Return a scan whose steps hold a large product."""
    w = input_node(TensorType((192, 192), "f32"), "w")
    h = input_node(TensorType((96, 192), "f32"), "h")
    body_w, body_h = (input_node(each.type, "b") for each in (w, h))
    product = bind("dot", body_h, body_w, contract=((1,), (0,)), batch=((), ()))
    new = bind("tanh", product * fill(0.05, product.type))
    body = Graph((body_w, body_h), (new, bind("sum", new, axes=(1,))))
    scan = bind("scan", w, h, body=body, consts=1, carries=1, length=7, reverse=False,
                keep="all")  # fmt: skip
    return Graph((w, h), results(scan))


def apart() -> Graph:
    """Return a scan whose steps do not know of each other, and a sum of its results."""
    w = input_node(TensorType((40, 24), "f32"), "w")
    x = input_node(TensorType((37, 64, 40), "f32"), "x")
    body_w, one = input_node(w.type, "w"), input_node(TensorType((64, 40), "f32"), "x")
    hidden = bind("tanh", bind("dot", one, body_w, contract=((1,), (0,)),
                               batch=((), ())))  # fmt: skip
    square = bind("dot", hidden, hidden, contract=((0,), (0,)), batch=((), ()))
    body = Graph((body_w, one), (square, bind("sum", hidden, axes=(1,))))
    scan = bind("scan", w, x, body=body, consts=1, carries=0, length=37, reverse=True,
                keep="all")  # fmt: skip
    first, second = results(scan)
    return Graph((w, x), (first, bind("sum", second, axes=(0,))))


def inside_apart() -> Graph:
    """Return a scan of unrelated steps, each with a long scan of unrelated steps."""
    w, x = (input_node(TensorType(s, "f32"), "x") for s in ((96, 96), (5, 6, 64, 96)))
    inner_w, one = (input_node(TensorType(s, "f32"), "x") for s in ((96, 96), (64, 96)))
    product = bind("dot", one, inner_w, contract=((1,), (0,)), batch=((), ()))
    turn = Graph((inner_w, one), (bind("sum", product, axes=(1,)),))
    body_w = input_node(w.type, "x")
    some = input_node(TensorType((6, 64, 96), "f32"), "x")
    scan = bind("scan", body_w, some, body=turn, consts=1, carries=0, length=6,
                reverse=False, keep="all")  # fmt: skip
    body = Graph((body_w, some), results(scan))
    whole = bind("scan", w, x, body=body, consts=1, carries=0, length=5, reverse=False,
                 keep="all")  # fmt: skip
    return Graph((w, x), results(whole))


@pytest.mark.parametrize(
    "graph",
    [apart(), matrices(129, 65, 257), matrices(2048, 64, 128),
     matrices(33, 700, 400), few_columns(), pieces(), scanned(), inside_apart()],
    ids=["apart", "odd sizes", "tall", "deep", "few columns", "pieces", "scan",
         "apart in apart"],
)  # fmt: skip
def test_bits_do_not_depend_on_the_number_of_threads(graph: Graph) -> None:
    program, arrays = compiled(graph), draw(graph)
    assert program._threads == 4
    program._threads = 1
    alone = program(*arrays)
    wanted = NumpyEngine().compile(graph)(*arrays)
    for found, other in zip(alone, wanted):
        scale = np.abs(other).max(initial=1)
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-4 * scale)
    for threads in (2, 3, 4):
        program._threads = threads
        for _ in range(3):
            for found, other in zip(program(*arrays), alone):
                assert_same_bits(found, other)


def test_what_workers_run_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each that starts: what is dropped later would take Ctrl-C along."""
    compilations: list[str] = []

    def counted(text: str) -> bytes:
        compilations.append(text)
        return compile_text(text)

    program, arrays = compiled(matrices(256, 256, 128)), draw(matrices(256, 256, 128))
    monkeypatch.setattr(team, "compile_text", counted)
    team._native.cache_clear()
    users = [threading.Thread(target=program, args=arrays) for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    time.sleep(0.1)
    assert len(compilations) == 1


def test_small_work_is_done_by_one_thread() -> None:
    assert compiled(matrices(4, 4, 4))._threads == 1


def wide_trainer(seed: int = 0) -> Trainer:
    with random.keys_from(random.key_of(3)):
        model = nn.Sequential(
            nn.Linear(70, 130), nn.GELU(), nn.Dropout(0.2), nn.Linear(130, 90),
            nn.Tanh(), nn.Linear(90, 10),
        )  # fmt: skip
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3), seed=seed)
    trainer.programs.engine = LlvmEngine()
    return trainer


def wide_data() -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(900, 70)).astype(np.float32), rng.integers(0, 10, 900)


def weights(trainer: Trainer) -> list[Any]:
    return [each.value for each in trainer.model.parameters()]


def trained(threads: int) -> tuple[list[Any], list[float]]:
    """Train for two epochs with a number of threads; return weights and losses."""
    os.environ["PELLUCID_THREADS"] = str(threads)
    count.cache_clear()
    trainer = wide_trainer()
    history = trainer.fit(*wide_data(), epochs=2, batch_size=128, verbose=0)
    programs = trainer.programs._built.values()
    most = max(each._threads for each in programs if isinstance(each, LlvmProgram))
    assert most == threads
    return weights(trainer), history["loss"]


def test_training_gives_the_same_bits_with_any_number_of_threads() -> None:
    alone, losses = trained(1)
    for threads in (2, 4):
        again, others = trained(threads)
        assert losses == others
        for found, other in zip(again, alone):
            assert_same_bits(found, other)


# --- several at once -----------------------------------------------------------------


def all_at_once(*jobs: Callable[[], None]) -> None:
    """Run jobs in Python threads of their own; raise what the first to fail raised."""
    faults: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=(each,)) for each in jobs]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    if faults:
        raise faults[0]


def runs(program: LlvmProgram, seed: int, times: int = 60) -> Callable[[], None]:
    """Return a job that runs a program again and again and compares the bits."""
    arrays = draw(program.graph, seed)
    wanted = program(*arrays)

    def job() -> None:
        for _ in range(times):
            for found, other in zip(program(*arrays), wanted):
                assert_same_bits(found, other)

    return job


@pytest.mark.slow
def test_one_program_in_several_python_threads_keeps_its_values_apart() -> None:
    program = compiled(matrices(129, 65, 257))
    assert program._arena.size > 1000
    all_at_once(*(runs(program, seed) for seed in range(4)))


def test_several_programs_run_at_once() -> None:
    graphs = [matrices(129, 65, 257), scanned(), pieces()]
    all_at_once(*(runs(compiled(each), 1) for each in graphs))


@pytest.mark.slow
def test_several_trainers_train_at_once() -> None:
    alone = wide_trainer()
    alone.fit(*wide_data(), epochs=1, batch_size=128, verbose=0)
    trainers = [wide_trainer() for _ in range(3)]
    all_at_once(*(
        lambda t=t: t.fit(*wide_data(), epochs=1, batch_size=128, verbose=0)
        for t in trainers
    ))  # fmt: skip
    for trainer in trainers:
        for found, other in zip(weights(trainer), weights(alone)):
            assert_same_bits(found, other)


def test_a_broken_bound_in_one_thread_is_not_reported_in_another() -> None:
    program = compiled(pieces())
    table, at = draw(program.graph)
    outside = at.copy()
    outside[-1] = 523
    wanted = program(table, at)

    def wrong() -> None:
        for _ in range(40):
            with pytest.raises(EngineError, match="index 523 is outside"):
                program(table, outside)

    def right() -> None:
        for _ in range(40):
            for found, other in zip(program(table, at), wanted):
                assert_same_bits(found, other)

    all_at_once(wrong, right, wrong)


def test_no_broken_bound_is_lost_among_threads() -> None:
    """All threads report in one cell, and most of them have nothing to report."""
    x = input_node(TensorType((8, 1), "f32"), "x")
    at = input_node(TensorType((20_000,), "i32"), "at")
    program = compiled(Graph((x, at), (bind("gather", x, at, axis=0),)))
    table, rows = np.zeros((8, 1), np.float32), np.zeros(20_000, np.int32)
    rows[4_321] = 99
    for _ in range(400):
        with pytest.raises(EngineError, match="index 99 is outside"):
            program(table, rows)


_FORK = """
import os, numpy as np
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType
x = input_node(TensorType((256, 256), "f32"), "x")
program = LlvmEngine().compile(Graph((x,), (bind("tanh", x),)))
array = np.ones((256, 256), np.float32)
(before,) = program(array)
child = os.fork() if hasattr(os, "fork") else 0
(after,) = program(array)
if child:
    assert os.waitpid(child, 0)[1] == 0
os._exit(0 if (after == before).all() and program._threads == 4 else 1)
"""


def test_a_program_runs_on_after_a_fork() -> None:
    process = subprocess.Popen([sys.executable, "-c", _FORK], start_new_session=True)
    try:
        assert process.wait(60) == 0
    finally:
        if process.returncode is None:  # the child waits for ever, and so its parent
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_INTERRUPT = """
import os, signal, time, numpy as np
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType
x = input_node(TensorType((128, 128), "f32"), "x")
program = LlvmEngine().compile(Graph((x,), (bind("tanh", x),)))
array = np.linspace(-3, 3, 128 * 128, dtype=np.float32).reshape(128, 128)
(wanted,) = program(array)
assert program._threads == 4
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
rng, answered, end = np.random.default_rng(1), 0, time.time() + 4
while time.time() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 2e-3))
        while True:
            assert (program(array)[0] == wanted).all()
    except KeyboardInterrupt:
        answered += 1
signal.setitimer(signal.ITIMER_REAL, 0)
os._exit(0 if answered > 100 else 1)
"""


@pytest.mark.slow
def test_ctrl_c_between_two_instructions_leaves_no_thread_waiting() -> None:
    if not hasattr(signal, "setitimer"):
        return
    command = [sys.executable, "-c", _INTERRUPT]
    process = subprocess.Popen(
        command,
        start_new_session=True,
        env={**os.environ, "PELLUCID_THREADS": "4"},
    )
    try:
        assert process.wait(60) == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- many runs -----------------------------------------------------------------------


def resident() -> int:
    """Return the bytes of memory that this process holds, where that can be asked."""
    table = Path("/proc/self/statm")
    if not table.exists():
        return 0
    return int(table.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 256])
def test_many_runs_leave_nothing_behind(size: int) -> None:
    """One thread or four, of a program with an arena, inputs and results."""
    program = compiled(matrices(size, 256, 128) if size > 8 else matrices(size, 32, 48))
    assert program._threads == (4 if size == 256 else 1)
    arrays = draw(program.graph)
    times = 10_000 if size == 8 else 300

    def run(times: int) -> None:
        for _ in range(times):
            program(*arrays)
        gc.collect()

    run(times // 3)
    before = resident()
    run(times)
    assert resident() - before < 8_000_000  # each result alone would come to more
    tracemalloc.start()
    run(times // 10)  # the free lists of Python fill up
    start, _ = tracemalloc.get_traced_memory()
    run(times // 10)
    end, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert end - start < 20_000


# --- whole trainings -----------------------------------------------------------------


def sine(dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, (160, 3))
    y = np.sin(X.sum(1, keepdims=True)) + 0.1 * rng.normal(size=(160, 1))
    return X.astype(dtype), y.astype(dtype)


def regressor(engine: str, dtype: str, activation: type[nn.Module]) -> Trainer:
    with random.keys_from(random.key_of(11)):
        model = nn.Sequential(
            nn.Linear(3, 24), activation(), nn.Dropout(0.1), nn.Linear(24, 17),
            activation(), nn.Linear(17, 1),
        ).to("f32" if dtype == "float32" else "f64")  # fmt: skip
    return Trainer(model, nn.MSELoss(), optim.Adam(lr=3e-3), seed=5, engine=engine)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU])
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-4), ("float64", 1e-10)])
def test_a_hundred_steps_have_the_losses_of_the_numpy_engine(
    activation: type[nn.Module], dtype: str, near: float
) -> None:
    losses, steps = {}, {}
    for engine in ("llvm", "numpy"):
        trainer = regressor(engine, dtype, activation)
        history = trainer.fit(*sine(dtype), epochs=25, batch_size=40, verbose=0)
        losses[engine], steps[engine] = np.array(history["loss"]), history["iterations"]
    assert steps["llvm"] == steps["numpy"]
    assert losses["llvm"][-1] < losses["llvm"][0] / 2
    np.testing.assert_allclose(losses["llvm"], losses["numpy"], rtol=near)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("dtype", "near"), [("float32", 2e-6), ("float64", 1e-14)])
def test_a_replayed_step_is_what_the_compiled_program_computed(
    dtype: str, near: float
) -> None:
    trainer = regressor("llvm", dtype, nn.GELU)
    trainer.fit(*sine(dtype), epochs=5, batch_size=40, verbose=0)
    for step in (0, 7, 18):
        replayed, next_step = trainer.replay(step), trainer.replay(step + 1)
        for name, value in replayed.after.params.items():
            wanted = next_step.before.params[name]
            np.testing.assert_allclose(value, wanted, rtol=near, atol=near)
