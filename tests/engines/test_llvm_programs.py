"""Programs of the llvm engine from outside: debugging, cost, binding, the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import llvmlite.binding as binding
import numpy as np
import pytest

from gates.test_edges import assert_same_bits
from pellucid import nn, optim
from pellucid.engines.llvm.cache import Cache
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.llvm.kernels import Target
from pellucid.engines.llvm.lower import lower
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.program import Program
from pellucid.errors import ArgumentError, DataError, EngineError, ShapeError
from pellucid.ir.graph import Graph, Node, bind, input_node, results
from pellucid.ir.types import TensorType
from pellucid.memory import LINE
from pellucid.passes.hoist import FEW, hoist
from pellucid.passes.split import split_sums
from pellucid.train.trainer import Trainer


def array(shape: tuple[int, ...], dtype: str = "f32", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(TensorType(shape, dtype).dtype)


def given(shape: tuple[int, ...], name: str, dtype: str = "f32") -> Node:
    return input_node(TensorType(shape, dtype), name)


def layer(rows: int = 3) -> Graph:
    """Return a layer of weights `[5, 4]` on rows of 4."""
    w, x = given((5, 4), "w"), given((rows, 4), "x")
    return Graph((w, x), (bind("tanh", product(x, w)),))


def product(x: Node, w: Node) -> Node:
    """Return x Wᵀ."""
    return bind("dot", x, w, contract=((1,), (1,)), batch=((), ()))


# --- seeing what was compiled --------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give engines an empty cache on disk."""
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    return tmp_path


def printed(what: str, monkeypatch: Any, capsys: Any) -> str:
    monkeypatch.setenv("PELLUCID_DEBUG", what)
    program = LlvmEngine().compile(layer())
    arrays = array((5, 4)), array((3, 4))
    wanted = NumpyEngine().compile(layer())(*arrays)
    np.testing.assert_allclose(program(*arrays)[0], wanted[0], rtol=1e-5)
    return str(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("what", "there", "not_there"),
    [
        ("graph", "tanh(%", "define"),
        ("kernels", "tanh f32[3,5]", "define"),
        ("ir", "define void @main", "graph("),
        ("time", "%  k", "define"),
    ],
)
def test_the_environment_says_what_is_shown(
    what: str, there: str, not_there: str, monkeypatch: Any, capsys: Any
) -> None:
    text = printed(what, monkeypatch, capsys)
    assert there in text
    assert not_there not in text


def test_all_is_shown_together(monkeypatch: Any, capsys: Any) -> None:
    text = printed("all", monkeypatch, capsys)
    assert all(each in text for each in ("tanh(%", "calls of", "define", " µs "))
    assert printed("", monkeypatch, capsys) == ""


def test_an_unknown_word_is_named(monkeypatch: Any) -> None:
    monkeypatch.setenv("PELLUCID_DEBUG", "graph,kernel")
    with pytest.raises(ArgumentError, match=r"no 'kernel' .* did you mean 'kernels'"):
        LlvmEngine().compile(layer())


def test_the_cost_counts_arithmetic_traffic_and_memory() -> None:
    cost = LlvmEngine().compile(layer()).cost()
    assert cost.flops == 2 * 3 * 5 * 4 + 3 * 5
    assert cost.bytes == 4 * (5 * 4 + 3 * 4 + 3 * 5)
    assert cost.arena >= 4 * 3 * 5


# --- a program that is asked again and again -----------------------------------------


def question(rows: int = 3) -> Graph:
    """Return a layer, and what is finite where its rows are."""
    graph = layer(rows)
    w, x = graph.inputs
    return Graph((w, x), (*graph.outputs, bind("sum", x * x, axes=(0, 1))))


@pytest.mark.parametrize("engine", [LlvmEngine(), NumpyEngine()], ids=["llvm", "numpy"])
def test_a_program_that_is_asked_answers_as_it_does_when_run(engine: Any) -> None:
    program: Program = engine.compile(question())
    w = array((5, 4))
    answer = program.asked(w)
    for seed in range(5):
        x = array((3, 4), seed=seed)
        assert_same_bits(answer(x), program(w, x)[0])
    turned = array((4, 3)).T
    assert_same_bits(answer(turned), program(w, turned)[0])
    first = answer(array((3, 4), seed=0))
    answer(array((3, 4), seed=1))
    assert_same_bits(first, program(w, array((3, 4), seed=0))[0])  # it is its own
    for bad in (np.nan, np.inf, -np.inf):
        assert answer(np.full((3, 4), bad, np.float32)) is None
    w *= 2  # what is written into an array that was given counts
    assert_same_bits(answer(x), program(w, x)[0])


def test_results_and_parameters_start_at_lines_of_the_cache() -> None:
    x = given((3, 5), "x")
    program = LlvmEngine().compile(Graph((x,), (x + x, bind("neg", x), x * x)))
    weight = nn.Linear(5, 7).weight
    room = np.zeros(36, np.float32)
    for first in (0, 1):  # one of them cannot start a line
        weight.value = room[first : first + 35].reshape(7, 5) + first
        arrays = (*program(array((3, 5))), weight.value)
        assert [each.ctypes.data % LINE for each in arrays] == [0, 0, 0, 0]
        assert (weight.value == first).all()


def test_a_state_is_found_again_where_it_was_made() -> None:
    """What is given in another place, or again, is not taken for what was made."""
    a, b = given((2, 3), "a"), given((2, 3), "b")
    program = LlvmEngine().compile(Graph((a, b), (a + b, a - b)))
    x, y = np.full((2, 3), 5, np.float32), np.full((2, 3), 3, np.float32)
    for _ in range(3):
        first, second = program(x, y)
        assert (first == x + y).all()
        assert (second == x - y).all()
        x, y = program(first, second)
        assert (x == first + second).all()
        assert (y == first - second).all()
        turned = program(y, x)
        assert (turned[0] == x + y).all()
        assert (turned[1] == y - x).all()
        x, y = np.full((2, 3), 1, np.float32), turned[1]


def test_a_program_is_not_asked_with_weights_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="'w' does not fit"):
        LlvmEngine().compile(question()).asked(array((5, 5)))


def test_a_program_that_is_asked_names_an_index_outside() -> None:
    table, at = given((4, 2), "table"), given((3,), "at", "f32")
    rows = bind("gather", table, bind("cast", at, dtype="i32"), axis=0)
    graph = Graph((table, at), (rows, bind("sum", at * at, axes=(0,))))
    answer = LlvmEngine().compile(graph).asked(array((4, 2)))
    with pytest.raises(EngineError, match="index 4 is outside"):
        answer(np.array([0, 4, 1], np.float32))
    found = answer(np.array([0, 3, 1], np.float32))
    assert found is not None
    assert found.shape == (3, 2)


def asked() -> Trainer:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.1))


def test_a_trainer_that_is_asked_again_sees_new_weights() -> None:
    trainer, x = asked(), array((1, 4))
    first = trainer.predict(x)
    assert_same_bits(trainer.predict(x), first)
    state = {name: 2 * value for name, value in trainer.model.state_dict().items()}
    trainer.model.load_state_dict(state)
    again = trainer.predict(x)
    assert not np.array_equal(again, first)
    np.testing.assert_allclose(again, trainer.model(x).value, rtol=1e-5)
    trainer.predict(x)
    for leaf in trainer.model.parameters():  # one after the other, each is seen
        before = trainer.predict(x)
        leaf.value = leaf.value + 1
        assert not np.array_equal(trainer.predict(x), before)
        np.testing.assert_allclose(trainer.predict(x), trainer.model(x).value, 1e-5)
    trainer.fit(array((8, 4)), np.arange(8) % 2, epochs=1, verbose=0)
    np.testing.assert_allclose(
        trainer.predict(x), trainer.model.eval()(x).value, rtol=1e-5
    )


def test_a_trainer_that_is_asked_again_still_refuses_bad_rows() -> None:
    trainer, x = asked(), array((1, 4))
    trainer.predict(x)
    trainer.predict(x)
    bad = x.copy()
    bad[0, 2] = np.nan
    with pytest.raises(DataError, match="X is nan · row 0, column 2"):
        trainer.predict(bad)
    huge = np.full((1, 4), 3e38, np.float32)
    assert trainer.predict(huge).shape == (1, 2)
    np.testing.assert_allclose(trainer.predict(x.tolist()), trainer.predict(x))


# --- programs written anew -----------------------------------------------------------


def repeated() -> Graph:
    """Return a scan in which a scan multiplies by a weight that never changes."""
    w, h = given((7, 7), "w"), given((3, 7), "h")

    def body(step: Node | None) -> Graph:
        weight, state = given((7, 7), "w"), given((3, 7), "h")
        new = bind("tanh", product(state, weight))
        if step is not None:
            new = results(step_of(weight, new, body(None)))[0]
        return Graph((weight, state), (new,))

    return Graph((w, h), (results(step_of(w, h, body(h)))[0],))


def step_of(w: Node, h: Node, body: Graph) -> Node:
    return bind("scan", w, h, body=body, consts=1, carries=1, length=8, reverse=False,
                keep="all")  # fmt: skip


def turns(graph: Graph) -> int:
    """Count the products of a graph's scans that turn their right operand."""
    count = 0
    for node in graph.nodes:
        if "body" in node.attrs:
            count += turns(node.attrs["body"])
        if node.op.name == "dot" and node.attrs["contract"][1] == (1,):
            count += 1
    return count


def test_a_constant_of_a_scan_is_turned_once() -> None:
    graph = repeated()
    assert turns(graph) == 2
    assert turns(hoist(graph)) == 0
    turned = [node for node in hoist(graph).nodes if node.op.name == "transpose"]
    assert len(turned) == 1
    arrays = array((7, 7)), array((3, 7))
    wanted = NumpyEngine().compile(graph)(*arrays)[0]
    assert_same_bits(NumpyEngine().compile(hoist(graph))(*arrays)[0], wanted)
    found = LlvmEngine().compile(graph)(*arrays)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("rows", [4096, 10_000, 4097, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_in_parts_are_the_sums(rows: int, axis: int) -> None:
    shapes = [(rows, n) if axis == 0 else (n, rows) for n in (3, 5)]
    x, y = (given(s, n, "f64") for s, n in zip(shapes, "xy"))
    dot = bind("dot", x, y, contract=((axis,), (axis,)), batch=((), ()))
    total = bind("sum", bind("reshape", x, shape=(*shapes[0], 1)), axes=(axis, 2))
    graph = Graph((x, y), (dot, total))
    arrays = [array(s, "f64", seed) for seed, s in enumerate(shapes)]
    wanted = NumpyEngine().compile(graph)(*arrays)
    changed = split_sums(graph)
    assert (changed.outputs != graph.outputs) == (rows != 4097)
    for found in (NumpyEngine().compile(changed), LlvmEngine().compile(graph)):
        for each, other in zip(found(*arrays), wanted):
            np.testing.assert_allclose(each, other, rtol=1e-12, atol=1e-11)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("k", [8, 16, 17, 100])
@pytest.mark.parametrize(
    ("m", "n"), [(1, 2), (1, 65), (3, 6), (4, 33), (33, 2), (70, 3), (9, 5), (19, 16)]
)
def test_few_rows_or_columns_are_multiplied_as_they_lie(
    m: int, n: int, k: int, dtype: str
) -> None:
    x, w = given((m, k), "x", dtype), given((n, k), "w", dtype)
    batch = [given((2, *each.shape), "b", dtype) for each in (x, w)]
    several = bind("dot", *batch, contract=((2,), (2,)), batch=((0,), (0,)))
    graph = Graph((x, w, *batch), (product(x, w), several))
    arrays = [array(each.shape, dtype, i) for i, each in enumerate(graph.inputs)]
    found = LlvmEngine().compile(graph)(*arrays)
    tolerance = 1e-12 if dtype == "f64" else 1e-4
    wanted = arrays[0] @ arrays[1].T, arrays[2] @ arrays[3].swapaxes(1, 2)
    for each, other in zip(found, wanted):
        np.testing.assert_allclose(each, other, rtol=tolerance, atol=tolerance)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("k", [9, 16, 50])
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_an_inner_product_is_added_up_as_if_it_were_alone(
    m: int, k: int, dtype: str
) -> None:
    """Columns are added up together, more or fewer of them: each in the same order."""
    x, w = array((m, k), dtype), array((37, k), dtype, seed=1)

    def times(columns: Any) -> Any:
        nodes = given((m, k), "x", dtype), given(columns.shape, "w", dtype)
        return LlvmEngine().compile(Graph(nodes, (product(*nodes),)))(x, columns)[0]

    whole = times(w)
    for first, last in ((0, 2), (3, 8), (7, 24), (1, 37)):
        assert_same_bits(times(w[first:last]), whole[:, first:last])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_row_of_few_columns_does_not_depend_on_the_others(n: int, dtype: str) -> None:
    x, w = array((41, 100), dtype), array((n, 100), dtype, seed=1)

    def times(rows: Any) -> Any:
        nodes = given(rows.shape, "x", dtype), given((n, 100), "w", dtype)
        return LlvmEngine().compile(Graph(nodes, (product(*nodes),)))(rows, w)[0]

    whole = times(x)
    # Of four rows and fewer the order of the sum may be another.
    for first, last in ((0, 5), (3, 9), (7, 40)):
        assert_same_bits(times(x[first:last]), whole[first:last])


# --- the disk ------------------------------------------------------------------------


def files(place: Path) -> list[Path]:
    return sorted(each for each in place.iterdir() if each.suffix != ".tmp")


def test_the_second_engine_compiles_nothing(fresh: Path) -> None:
    first, second = LlvmEngine(), LlvmEngine()
    arrays = array((5, 4)), array((3, 4))
    wanted = first.compile(layer())(*arrays)[0]
    assert_same_bits(second.compile(layer())(*arrays)[0], wanted)
    assert (first.compilations, second.compilations) == (1, 0)
    assert len(files(fresh)) == 1


@pytest.mark.parametrize("cut", [0, 10, 40, -1])
def test_a_truncated_or_foreign_entry_is_compiled_again(fresh: Path, cut: int) -> None:
    LlvmEngine().compile(layer())
    (path,) = files(fresh)
    whole = path.read_bytes()
    for content in (whole[:cut], whole[:50] + b"x" + whole[51:], b"not ours at all"):
        path.write_bytes(content)
        engine = LlvmEngine()
        program = engine.compile(layer())
        assert engine.compilations == 1
        assert np.isfinite(program(array((5, 4)), array((3, 4)))[0]).all()
        assert path.read_bytes()[:32] == whole[:32] or len(path.read_bytes()) > 1000


def test_where_nothing_can_be_written_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    monkeypatch.setenv("PELLUCID_CACHE", str(blocked / "cache"))
    program = LlvmEngine().compile(layer())
    assert np.isfinite(program(array((5, 4)), array((3, 4)))[0]).all()
    assert blocked.read_text() == "in the way of a folder"


_WRITER = """
import sys
from pathlib import Path
from pellucid.engines.llvm.cache import Cache
cache, content = Cache(Path(sys.argv[1])), bytes(range(256)) * 2_000
print("ready", flush=True)
while True:
    cache.put("entry", content)
"""


@pytest.mark.slow
def test_a_kill_while_an_entry_is_written_does_no_harm(tmp_path: Path) -> None:
    """Two processes write the same entry all the time, and are killed at any moment."""
    content, cache, whole = bytes(range(256)) * 2_000, Cache(tmp_path), 0
    for turn in range(4):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE
            )
            for _ in range(2)
        ]
        for each in writers:
            assert each.stdout is not None
            each.stdout.readline()
        end = time.monotonic() + 0.1 + 0.02 * turn
        while time.monotonic() < end:
            found = cache.get("entry")
            assert found is None or found == content
            whole += found is not None
        for each in writers:
            each.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            each.wait(30)
            assert each.stdout is not None
            each.stdout.close()
        found = cache.get("entry")
        assert found is None or found == content
    assert whole > 0


_TRAINS = """
import numpy as np
from pellucid import nn, optim
from pellucid.train.trainer import Trainer
X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
trainer = Trainer(nn.Linear(4, 2), nn.MSELoss(), optim.SGD(lr=0.1), engine="llvm")
history = trainer.fit(X, X[:, :2], epochs=3, verbose=0)
print(trainer.programs.engine.compilations, history["loss"][-1].hex())
"""


@pytest.mark.slow
def test_processes_that_share_a_cache_train_alike(tmp_path: Path) -> None:
    environment = {**os.environ, "PELLUCID_CACHE": str(tmp_path)}

    def start() -> Any:
        command = [sys.executable, "-c", _TRAINS]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    together = [start() for _ in range(2)]
    found = [each.communicate(timeout=60)[0].split() for each in together]
    later = start().communicate(timeout=60)[0].split()
    assert found[0][1] == found[1][1] == later[1]
    assert int(later[0]) == 0  # all that it needed was there


def test_what_few_steps_share_is_not_moved() -> None:
    w, h = given((7, 7), "w"), given((3, 7), "h")
    weight, state = given((7, 7), "w"), given((3, 7), "h")
    body = Graph((weight, state), (product(state, weight),))
    scan = bind("scan", w, h, body=body, consts=1, carries=1, length=FEW - 1,
                reverse=False, keep="all")  # fmt: skip
    graph = Graph((w, h), (results(scan)[0],))
    assert turns(hoist(graph)) == 1


# --- loops ---------------------------------------------------------------------------


def loop(body: Graph, carries: int, length: int, *starts: Node) -> Graph:
    """Return a scan that carries some of its inputs."""
    scan = bind("scan", *starts, body=body, consts=0, carries=carries, length=length,
                reverse=False, keep="all")  # fmt: skip
    return Graph(starts, results(scan))


def test_what_is_carried_is_overwritten_after_all_have_read_it() -> None:
    """The new value does not read the old one; a neighbour of its shape does."""
    old, one = given((40,), "a"), given((40,), "x")
    body = Graph((old, one), (one + 1.0, old * 2.0, bind("tanh", old)))
    graph = loop(body, 1, 9, given((40,), "a"), given((9, 40), "x"))
    arrays = array((40,)), array((9, 40), seed=1)
    wanted = NumpyEngine().compile(graph)(*arrays)
    for found, other in zip(LlvmEngine().compile(graph)(*arrays), wanted):
        np.testing.assert_allclose(found, other, rtol=1e-6)


def test_a_loop_with_state_has_no_denormal_numbers_and_leaves_them_to_others() -> None:
    carried = given((24,), "a")
    halved = loop(Graph((carried,), (carried * 0.5,)), 1, 30, given((24,), "a"))
    x = given((24,), "x")
    once = Graph((x,), (x * 0.5,))
    small = np.full(24, 2e-38, np.float32)
    assert not LlvmEngine().compile(halved)(small)[0].any()
    assert (LlvmEngine().compile(once)(small)[0] == small / 2).all()
    assert (small / 2 > 0).all()  # nor does NumPy, in this thread, lose them


@pytest.mark.parametrize("shape", [(5, 128), (3, 512), (4, 96), (9, 17), (1, 64)])
def test_sums_over_rows_take_several_registers_at_a_time(
    shape: tuple[int, int],
) -> None:
    x = given(shape, "x", "f64")
    graph = Graph((x,), (bind("sum", x, axes=(0,)), bind("max", x, axes=(0,))))
    values = array(shape, "f64")
    total, most = LlvmEngine().compile(graph)(values)
    np.testing.assert_allclose(total, values.sum(axis=0), rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(most, values.max(axis=0))


@pytest.mark.parametrize(
    ("triple", "target", "register"),
    [
        ("aarch64-unknown-linux-gnu", Target(16, 32, "arm"), "FPCR"),
        ("arm64-apple-macosx13", Target(16, 32, "arm"), "FPCR"),
        ("x86_64-pc-windows-msvc", Target(32, 16, "x86"), "mxcsr"),
        ("x86_64-unknown-linux-gnu", Target(16, 16, "x86"), "mxcsr"),
    ],
)
def test_other_processors_are_told_to_flush_and_to_stop(
    triple: str, target: Target, register: str
) -> None:
    carried = given((24,), "a")
    graph = loop(Graph((carried,), (carried * 0.5,)), 1, 30, given((24,), "a"))
    module = binding.parse_assembly(lower(graph, target).text)
    module.verify()
    module.triple = triple
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(triple).create_target_machine(opt=2)
    assembly = machine.emit_assembly(module)
    assert assembly.count(register) >= 3  # read, changed, and as before
