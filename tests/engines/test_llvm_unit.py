"""Products large enough for a matrix unit, where the processor has one; the same tests
hold where it has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as binding
import numpy as np
import pytest
from guarded import AtTheEdge, Guarded, run_guarded

from gates.test_edges import assert_same_bits
from pellucid.engines.llvm.engine import LlvmEngine, LlvmProgram
from pellucid.engines.llvm.kernels import Target
from pellucid.engines.llvm.lower import lower
from pellucid.engines.llvm.native import target
from pellucid.engines.llvm.threads import count
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.ir.graph import Graph, Node, bind, input_node, results
from pellucid.ir.types import TensorType
from pellucid.passes.hoist import hoist

WITH_UNIT = Target(64, 32, "x86", matrix_unit=True)

SHAPES = [
    (128, 160, 256),
    (130, 257, 200),
    (300, 144, 520),
    (100, 640, 1100),
    (129, 272, 295),
    (112, 128, 64),
]
"""Rows, columns and inner positions: whole tiles, edges of one and both, passes."""


def given(*shape: int, dtype: str = "f32") -> Node:
    return input_node(TensorType(shape, dtype), "x")


def product(m: int, n: int, k: int, across: tuple[bool, bool]) -> Graph:
    """Return a product; each operand may have its inner positions in the first axis."""
    x = given(*((k, m) if across[0] else (m, k)))
    y = given(*((k, n) if across[1] else (n, k)))
    contract = (0 if across[0] else 1,), (0 if across[1] else 1,)
    return Graph((x, y), (bind("dot", x, y, contract=contract, batch=((), ())),))


def drawn(graph: Graph, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n.shape).astype(n.dtype) for n in graph.inputs]


def compiled(graph: Graph) -> LlvmProgram:
    program = LlvmEngine().compile(graph)
    assert isinstance(program, LlvmProgram)
    return program


def exact(graph: Graph, arrays: list[Any]) -> Any:
    """Return the product in 64 bits."""
    (x, y), (node,) = graph.inputs, graph.outputs
    wide = [input_node(TensorType(n.shape, "f64"), "x") for n in (x, y)]
    graph = Graph(tuple(wide), (bind("dot", *wide, **node.attrs),))
    return NumpyEngine().compile(graph)(*(each.astype(np.float64) for each in arrays))[
        0
    ]


ACROSS = [(a, b) for a in (False, True) for b in (False, True)]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("across", ACROSS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_is_as_near_as_sums_of_floats_can_be(
    shape: tuple[int, int, int], across: tuple[bool, bool]
) -> None:
    graph = product(*shape, across)
    arrays = drawn(graph)
    wanted = exact(graph, arrays)
    (found,) = compiled(graph)(*arrays)
    # A partial sum of k products is about √k, and k of them are rounded. The unit
    # rounds after 32 of them; without one each is.
    near = 2.0**-23 * shape[2] * (1 if target().matrix_unit else 2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=near)
    assert abs((found - wanted).mean()) < near / 100  # and none of them leans


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e18, 1e30])
def test_large_and_small_numbers_keep_their_digits(scale: float) -> None:
    graph = product(128, 160, 256, (False, True))
    x, y = drawn(graph)
    x = (x * scale).astype(np.float32)
    wanted = exact(graph, [x, y])
    (found,) = compiled(graph)(x, y)
    # The unit takes thirds below 1.2e-38 for 0.
    near = 6e-5 * scale + 256 * 1.2e-38
    np.testing.assert_allclose(found, wanted, rtol=0, atol=near)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_what_is_not_finite_is_where_the_definition_has_it(
    shape: tuple[int, int, int], which: int, number: float
) -> None:
    graph = product(*shape, (False, True))
    arrays = drawn(graph)
    arrays[which].flat[arrays[which].size // 2] = number
    (wanted,) = NumpyEngine().compile(graph)(*arrays)
    (found,) = compiled(graph)(*arrays)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])
    near = 1e-5 * np.abs(wanted[finite]).max(initial=1)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-4, atol=near)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
@pytest.mark.parametrize("across", [(False, False), (True, True)], ids=str)
def test_a_product_keeps_to_its_memory(
    shape: tuple[int, int, int], across: tuple[bool, bool]
) -> None:
    graph = product(*shape, across)
    program, arrays = compiled(graph), drawn(graph)
    found = program(*arrays)
    program._threads = 1
    for filling, kind in ((0x00, Guarded), (0xFF, Guarded), (0xFF, AtTheEdge)):
        for each, other in zip(run_guarded(program, arrays, filling, kind), found):
            assert_same_bits(each, other)


def steps(length: int = 9) -> Graph:
    """Return a recurrence whose products multiply by a weight that never changes."""
    w, h, x = given(384, 96), given(24, 96), given(length, 24, 96)
    body_w, old, one = given(384, 96), given(24, 96), given(24, 96)
    wide = bind("dot", old, body_w, contract=((1,), (1,)), batch=((), ()))
    back = bind("dot", wide, body_w, contract=((1,), (0,)), batch=((), ()))
    new = bind("tanh", bind("add", back, one))
    body = Graph((body_w, old, one), (new, wide))
    scan = bind("scan", w, h, x, body=body, consts=1, carries=1, length=length,
                reverse=False, keep="all")  # fmt: skip
    return Graph((w, h, x), results(scan))


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_weight_of_all_steps_is_brought_into_tiles_once(spoilt: bool) -> None:
    graph = steps()
    arrays = [each * np.float32(0.05) for each in drawn(graph)]
    if spoilt:
        arrays[0][3, 5] = np.inf
    wanted = NumpyEngine().compile(graph)(*arrays)
    for found, other in zip(compiled(graph)(*arrays), wanted):
        np.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-5)
    text = lower(hoist(graph), WITH_UNIT).text
    main = text[text.index("define void @main") :]
    before, _, inside = main.partition("loop")
    assert before.count("call void @") > 0
    assert "tdpbf16ps" in text
    assert inside.count("call void @k") >= 2


def test_bits_do_not_depend_on_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PELLUCID_THREADS", "4")
    count.cache_clear()
    try:
        for graph in (product(300, 272, 520, (True, True)), steps()):
            program, arrays = compiled(graph), drawn(graph)
            arrays = [each * np.float32(0.1) for each in arrays]
            program._threads = 1
            alone = program(*arrays)
            for threads in (2, 3, 4):
                program._threads = threads
                for found, other in zip(program(*arrays), alone):
                    assert_same_bits(found, other)
    finally:
        monkeypatch.undo()
        count.cache_clear()


@pytest.mark.sampled(6)
@pytest.mark.parametrize("across", ACROSS, ids=str)
@pytest.mark.parametrize("shape", SHAPES[1:4], ids=str)
def test_what_is_written_for_the_unit_is_llvm(
    shape: tuple[int, int, int], across: tuple[bool, bool]
) -> None:
    text = lower(product(*shape, across), WITH_UNIT).text
    assert text.count("tdpbf16ps") > 6
    binding.parse_assembly(text).verify()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((8, 8, 8), "f32"), ((64, 4, 512), "f32"), ((300, 300, 300), "f64")],
)
def test_small_products_and_those_of_64_bits_stay_in_registers(
    shape: tuple[int, int, int], dtype: str
) -> None:
    m, n, k = shape
    x, y = given(m, k, dtype=dtype), given(k, n, dtype=dtype)
    dot = bind("dot", x, y, contract=((1,), (0,)), batch=((), ()))
    assert "tdpbf16ps" not in lower(Graph((x, y), (dot,)), WITH_UNIT).text


FROM_DISK = """
import numpy as np
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType
x, y = (input_node(TensorType((256, 256), "f32"), "x") for _ in range(2))
dot = bind("dot", x, y, contract=((1,), (0,)), batch=((), ()))
engine = LlvmEngine()
program = engine.compile(Graph((x, y), (dot,)))
ones = np.ones((256, 256), np.float32)
assert (program(ones, ones)[0] == 256).all()
print(engine.compilations)
"""


def test_code_from_disk_may_use_the_unit_too(tmp_path: Path) -> None:
    """The system is asked for it once a process, not when something is compiled."""
    environment = {**os.environ, "PELLUCID_CACHE": str(tmp_path)}
    for compilations in ("1", "0"):
        done = subprocess.run(
            [sys.executable, "-c", FROM_DISK],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == compilations
