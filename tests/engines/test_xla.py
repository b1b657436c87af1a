"""The xla engine beside the numpy engine: graphs, bounds, donation, words, options."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from gates.derive import first_order, float_outputs
from gates.random_graphs import random_graph
from gates.test_edges import assert_same_bits
from pellucid.configuration import config
from pellucid.engines.choose import engine_named
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.philox import random_words
from pellucid.engines.program import Cost
from pellucid.engines.xla.devices import _prepare
from pellucid.engines.xla.engine import XlaEngine, XlaProgram
from pellucid.engines.xla.gates import GATES
from pellucid.engines.xla.hosts import _address
from pellucid.engines.xla.philox import random_words as words_in_jax
from pellucid.engines.xla.settings import Settings
from pellucid.errors import ArgumentError, EngineError, ShapeError
from pellucid.ir.graph import Graph, Node, bind, fill, input_node, results
from pellucid.ir.ops import OPS
from pellucid.ir.types import TensorType

ENGINE, DEFINITION = XlaEngine(device="cpu"), NumpyEngine()

ELSEWHERE = {
    "input": "an argument",
    "scan": "trace.py",
    "call": "inlined by simplify",
}


def node(text: str, name: str = "x") -> Node:
    return input_node(TensorType.parse(text), name)


def compiled(graph: Graph, engine: XlaEngine = ENGINE, donate: Any = ()) -> XlaProgram:
    program = engine.compile(graph, donate)
    assert isinstance(program, XlaProgram)
    return program


def test_every_gate_has_a_place_in_the_xla_engine() -> None:
    assert set(OPS) - {*GATES, *ELSEWHERE} == set(), "gates without a row"
    assert {*GATES, *ELSEWHERE} - set(OPS) == set(), "rows without a gate"


# --- graphs --------------------------------------------------------------------------


def joined(seeds: range, smooth: bool) -> tuple[Graph, list[Any]]:
    """Return many random graphs as one, so that XLA compiles once."""
    inputs, outputs, arrays = [], [], []
    for seed in seeds:
        graph, given = random_graph(seed, smooth=smooth)
        rng = np.random.default_rng(seed)
        if smooth:
            given += [rng.normal(size=each.shape) for each in float_outputs(graph)]
            first = first_order(graph)
            graph = Graph(first.inputs, (*graph.outputs, *first.outputs))
        inputs += graph.inputs
        outputs += graph.outputs
        arrays += given
    return Graph(tuple(inputs), tuple(outputs)), arrays


@pytest.mark.slow
@pytest.mark.parametrize(("smooth", "near"), [(True, 1e-9), (False, 1e-4)])
def test_random_graphs_compute_what_the_numpy_engine_computes(
    smooth: bool, near: float
) -> None:
    graph, arrays = joined(range(12), smooth)
    pairs = zip(ENGINE.compile(graph)(*arrays), DEFINITION.compile(graph)(*arrays))
    for found, wanted in pairs:
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(found, wanted, rtol=near, atol=near)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("rolled", [True, False])
def test_random_words_are_the_same_rolled_and_written_out(rolled: bool) -> None:
    key, counter = np.array([[7, 2**32 - 1], [2**31, 3]], np.uint32)
    draw = jax.jit(partial(words_in_jax, rolled=rolled), static_argnums=2)
    for count in (0, 1003):
        found = np.asarray(draw(key, counter, count))
        assert_same_bits(found, random_words(key, counter, count))


@pytest.mark.parametrize("wide", [True, False])
def test_64_bits_are_kept_whatever_jax_was_told(wide: bool) -> None:
    x, at = node("f64[3]"), node("i64[2]", "at")
    program = compiled(Graph((x, at), (bind("gather", x * 3.0, at, axis=0), at)))
    values = np.array([1 / 3, 2.0, 1e-300])
    with jax.enable_x64(wide):
        found, same = program(values, np.array([2, 0]))
        assert jax.config.jax_enable_x64 == wide
    assert (found.dtype, same.dtype) == (np.float64, np.int64)
    assert found.tolist() == [3e-300, 1.0]


def test_a_graph_of_32_bits_has_no_wider_word_in_it() -> None:
    x, at = node("f32[9]"), node("i32[4]", "at")
    text = compiled(Graph((x, at), (bind("gather", x, at, axis=0),))).text()
    assert "stablehlo" in text
    assert "f64" not in text
    assert compiled(Graph((x,), (x * x,))).cost() == Cost(9, 72)


def test_results_are_arrays_of_ones_own() -> None:
    x = node("f32[3]")
    given = np.ones(3, np.float32)
    same, twice = compiled(Graph((x,), (x, x + x)))(given)
    same += 1
    twice += 1
    assert given.tolist() == [1, 1, 1]
    assert twice.tolist() == [3, 3, 3]


def test_what_does_not_fit_is_refused_wherever_it_lies() -> None:
    program = compiled(Graph((node("f32[3]"),), (node("f32[3]"),)[:0]))
    for wrong in (np.ones(4, np.float32), ENGINE.place(np.ones(3))):
        with pytest.raises(ShapeError, match=r"'x' does not fit · expected f32\[3\]"):
            program(wrong)


# --- bounds --------------------------------------------------------------------------


def scanned(length: int = 3, nested: bool = False) -> Graph:
    """A table read by indices that a scan gets as slices, and by carried ones."""
    table, at = node("f32[5]", "table"), node("i32[2]", "at")
    carried = node("i32[]", "carried")
    body = Graph(
        (table, carried, at),
        (
            carried + 2,
            bind("sum", bind("gather", table, at, axis=0), axes=(0,)),
            bind("gather", table, carried, axis=0),
        ),
    )
    attrs = {"consts": 1, "carries": 1, "reverse": False, "keep": "all"}
    inputs = node("f32[5]", "table"), node("i32[]"), node(f"i32[{length},2]", "rows")
    scan = bind("scan", *inputs, body=body, length=length, **attrs)
    if not nested:
        return Graph(inputs, results(scan))
    outer = node("i32[2]", "starts")
    inner = inputs[0], outer, inputs[2]
    each = node("i32[]", "each")
    around = Graph((inner[0], inner[2], each), _around(inner, each, body, attrs))
    scans = bind(
        "scan", inner[0], inner[2], outer, body=around, length=2,
        **{**attrs, "consts": 2, "carries": 0},
    )  # fmt: skip
    return Graph((inner[0], outer, inner[2]), results(scans))


def _around(inner: Any, each: Node, body: Graph, attrs: Any) -> tuple[Node, ...]:
    scan = bind("scan", inner[0], each, inner[2], body=body, length=3, **attrs)
    return results(scan)


TABLE = np.arange(5, dtype=np.float32)
ROWS = np.array([[0, 4], [1, 1], [3, 2]], np.int32)


@pytest.mark.parametrize("nested", [False, True])
def test_an_index_outside_in_a_scan_is_named(nested: bool) -> None:
    graph = scanned(nested=nested)
    program = compiled(graph)
    start = np.array([0, 0] if nested else 0, np.int32)
    wanted = DEFINITION.compile(graph)(TABLE, start, ROWS)
    for found, each in zip(program(TABLE, start, ROWS), wanted):
        assert_same_bits(found, each)
    for bad in (5, -1, -(2**31)):
        rows = ROWS.copy()
        rows[1, 1] = bad
        with pytest.raises(EngineError, match=f"gather: index {bad} is outside"):
            program(TABLE, start, rows)
    with pytest.raises(EngineError, match=r"index 5 is outside · test_xla.py:\d+"):
        program(TABLE, start + 1, ROWS)
    assert_same_bits(program(TABLE, start, ROWS)[0], wanted[0])


def test_indices_from_outside_are_looked_at_beside_the_loop() -> None:
    """Of each step only what it finds itself is kept: the carried index."""
    lines = compiled(scanned()).text().splitlines()
    (loop,) = (line for line in lines if "stablehlo.while" in line)
    assert loop.count("tensor<3xui32>") == 1
    assert sum("stablehlo.reduce" in line and "ui32" in line for line in lines) >= 2


def test_a_scan_without_a_step_looks_at_no_index() -> None:
    program = compiled(scanned(0))
    last, *stacks = program(TABLE, np.array(99, np.int32), ROWS[:0])
    assert last == 99
    assert [each.shape for each in stacks] == [(0,), (0,)]


# --- donation and places -------------------------------------------------------------


def test_a_donated_array_is_used_up_and_others_are_not() -> None:
    x, y = node("f32[1000]"), node("f32[1000]", "y")
    program = compiled(Graph((x, y), (x + y,)), donate=(0,))
    mine = np.ones(1000, np.float32)
    placed, kept = ENGINE.place(mine), ENGINE.place(mine)
    (found,) = program(placed, kept)
    assert isinstance(found, jax.Array)
    assert placed.is_deleted()
    assert not kept.is_deleted()
    assert ENGINE.fetch([found])[0].tolist() == [2.0] * 1000
    assert program(mine, mine)[0].tolist() == mine.tolist() * 0 + [2.0] * 1000
    assert mine.tolist() == [1.0] * 1000


def test_an_input_that_no_result_can_replace_is_not_donated() -> None:
    x = node("f32[4]")
    program = compiled(Graph((x,), (bind("sum", x, axes=(0,)),)), donate=(0,))
    placed = ENGINE.place(np.ones(4, np.float32))
    program(placed)
    assert not placed.is_deleted()


def test_finiteness_is_found_on_the_device() -> None:
    good = [ENGINE.place(np.ones(n, np.float32)) for n in (1, 3)]
    assert ENGINE.finite(good)
    assert not ENGINE.finite([*good, ENGINE.place(np.array([1, np.nan]))])
    with jax.enable_x64(False):
        assert ENGINE.finite([ENGINE.place(np.array([1e300]))])


# --- options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "found", "missing"),
    [
        ({}, "precision = [HIGHEST, HIGHEST]", "bf16"),
        ({"precision": "default"}, "precision = [DEFAULT, DEFAULT]", "HIGHEST"),
        ({"compute": "bfloat16"}, "tensor<4x5xbf16>", "HIGHEST"),
    ],
)
def test_products_are_computed_as_asked(
    options: dict[str, str], found: str, missing: str
) -> None:
    x, w = node("f32[3,4]"), node("f32[4,5]", "w")
    plain = {"contract": ((1,), (0,)), "batch": ((), ())}
    graph = Graph((x, w), (bind("dot", x, w, **plain),))
    program = compiled(graph, XlaEngine(device="cpu", **options))
    assert found in program.text()
    assert missing not in program.text()
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)).astype("f4"), rng.normal(size=(4, 5)).astype("f4")
    near = 2e-2 if options.get("compute") else 1e-6
    np.testing.assert_allclose(program(a, b)[0], a @ b, rtol=near, atol=near)
    assert program(a, b)[0].dtype == np.float32


def test_f64_is_never_rounded_to_bfloat16() -> None:
    x = node("f64[3]")
    graph = Graph((x,), (bind("dot", x, x, contract=((0,), (0,)), batch=((), ())),))
    program = compiled(graph, XlaEngine(device="cpu", compute="bfloat16"))
    assert program(np.full(3, 1 / 3))[0] == pytest.approx(1 / 3, rel=1e-15)


WRONG = {
    "no option 'devise' · did you mean 'device'": {"devise": "gpu"},
    "device='cuda' · expected 'cpu' or 'gpu' or 'tpu'": {"device": "cuda"},
    "devices=0 · expected a whole number from 1": {"devices": 0},
    "precision='best' · expected 'highest' or 'high'": {"precision": "best"},
    "compute='float16' · expected 'float32' or 'bfloat16'": {"compute": "float16"},
    "memory='much' · expected a number of bytes": {"memory": "much"},
    r"reserve=1.5 · expected a share": {"reserve": 1.5},
    "spread=-1 · expected a whole number": {"spread": -1},
    "coordinator='here' · expected an address": {"coordinator": "here"},
    "coordinator, processes and process go together": {"coordinator": "a:1"},
    "process go together · give all three": {"processes": 2},
    "process=2 · expected 0 to 1": {
        "coordinator": "a:1", "processes": 2, "process": 2,
    },
    "rows='mine' · expected 'all' or 'own'": {"rows": "mine"},
    "timeout=0 · expected a whole number": {"timeout": 0},
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_option_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ArgumentError, match=text.replace("(", r"\(")):
        engine_named("xla", **WRONG[text])


def test_an_option_of_another_engine_is_refused() -> None:
    with pytest.raises(ArgumentError, match="llvm engine has no option 'device'"):
        engine_named("llvm", device="gpu")


@pytest.mark.parametrize(
    ("given", "count"),
    [(5, 5), ("2000", 2000), ("1.5 GB", 1_500_000_000), ("3kb", 3000)],
)
def test_memory_is_read_as_bytes(given: Any, count: int) -> None:
    assert Settings(memory=given).room == count


def test_every_option_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "xla.md").read_text()
    table = page.split("## Options")[1].split("## Data")[0]
    for each in fields(Settings):
        assert f"`{each.name}`" in table


def test_the_same_options_give_the_same_engine() -> None:
    one = engine_named("xla", device="cpu", precision="high")
    assert one is engine_named("xla", precision="high", device="cpu")
    assert one is not engine_named("xla", device="cpu")


def test_options_of_a_block_are_the_engine_s_unless_others_are_given() -> None:
    with config(engine="xla", options=(("device", "cpu"), ("memory", "2MB"))):
        inside, other = engine_named(), engine_named("xla", device="cpu")
        assert engine_named("numpy").name == "numpy"
    assert isinstance(inside, XlaEngine)
    assert inside.room == 2_000_000
    assert other.room is None


def test_a_device_that_is_not_here_is_an_error_that_says_what_is() -> None:
    x = node("f32[2]")
    with pytest.raises(EngineError, match=r"no device 'tpu' here .* JAX finds: cpu"):
        XlaEngine(device="tpu").compile(Graph((x,), (x,)))


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_where_jax_cannot_start_at_all_the_error_is_worded_too(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """As with JAX_PLATFORMS=cuda where JAX knows of no such platform."""

    def fails(*_: Any) -> Any:
        raise kind

    monkeypatch.setattr(jax, "devices", fails)
    with pytest.raises(EngineError, match=f"no device 'gpu' here · {kind.__name__} ·"):
        XlaEngine(device="gpu").devices  # noqa: B018 - asking is what fails


_WITHOUT = """
import sys
sys.modules["jax"] = None
from pellucid.configuration import config
from pellucid.engines.choose import engine_named
try:
    engine_named("xla")
except ImportError as error:
    print(type(error).__name__, error)
from pellucid.runs.settings import RunSettings
given = {"epochs": 1, "batch_size": 9, "dropout": 0.0, "lr": 0.1, "patience": 1}
print(RunSettings(**given, weight_decay=0.0, engine="xla").engine)
"""


def test_without_jax_an_error_says_how_to_install_it_and_files_can_be_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True
    )
    error, settings = done.stdout.splitlines()
    assert error.startswith("MissingExtraError the xla engine needs JAX · ")
    assert error.endswith("pip install 'pellucid[xla]'")
    assert settings == "xla"


@pytest.mark.parametrize(
    ("reserve", "at_once", "share"), [(0, "false", None), (0.5, "true", "0.5")]
)
def test_the_share_of_memory_is_told_to_jax(
    monkeypatch: pytest.MonkeyPatch, reserve: float, at_once: str, share: str | None
) -> None:
    for name in ("XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_CLIENT_MEM_FRACTION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    _prepare(Settings(reserve=reserve))
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == at_once
    assert os.environ.get("XLA_CLIENT_MEM_FRACTION") == share


def test_who_says_where_the_processes_meet() -> None:
    launched = {
        "PELLUCID_COORDINATOR": "127.0.0.1:9",
        "PELLUCID_PROCESSES": "3",
        "PELLUCID_PROCESS": "2",
    }
    assert _address(Settings(), {}) is None
    assert _address(Settings(), launched) == ("127.0.0.1:9", 3, 2, [2])
    assert _address(Settings(coordinator="auto"), {}) == (None, None, None, None)
    own = Settings(coordinator="a:1", processes=2, process=0)
    assert _address(own, launched) == ("a:1", 2, 0, None)


def test_zeros_keep_no_sign_where_the_definition_has_none() -> None:
    x = node("f32[2]")
    minus = np.array([-0.0, -0.0], np.float32)
    added = x + fill(0.0, x.type)
    total = bind("sum", x, axes=(0,))
    for found in compiled(Graph((x,), (added, total)))(minus):
        assert not np.signbit(found).any()
