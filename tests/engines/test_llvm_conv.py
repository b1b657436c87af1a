"""Convolution in the llvm engine beside the numpy engine: shapes, edges, threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from guarded import AtTheEdge, run_guarded

from pellucid.engines.llvm.correlation import Plan, Window, cut
from pellucid.engines.llvm.engine import LlvmEngine, LlvmProgram
from pellucid.engines.llvm.kernels import Target, strided
from pellucid.engines.llvm.threads import count
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.grad.transform import gradients
from pellucid.ir.graph import Graph, Node, bind, input_node
from pellucid.ir.types import TensorType

DEFAULTS = {"stride": 1, "low": 0, "high": 0, "x_dilation": 1, "w_dilation": 1}


def conv(x: Node, w: Node, groups: int = 1, **given: Sequence[int]) -> Node:
    attrs: dict[str, Any] = {name: (n,) * (x.ndim - 2) for name, n in DEFAULTS.items()}
    attrs |= {name: tuple(each) for name, each in given.items()}
    return bind("conv", x, w, groups=groups, **attrs)


def leaf(*shape: int, dtype: str = "f64") -> Node:
    return input_node(TensorType(shape, dtype), "x")


def with_gradients(inputs: Sequence[Node], *results: Node) -> Graph:
    """Return results and the gradients of the sum of their squares."""
    squares = [bind("sum", y * y, axes=tuple(range(y.ndim))) for y in results]
    loss = squares[0]
    for each in squares[1:]:
        loss = loss + each
    return Graph(tuple(inputs), (*results, *gradients(loss, inputs)))


def drawn(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=x.shape).astype(x.dtype) for x in graph.inputs]


def compiled(graph: Graph) -> LlvmProgram:
    program = LlvmEngine().compile(graph)
    assert isinstance(program, LlvmProgram)
    return program


def assert_close(found: Sequence[Any], wanted: Sequence[Any], tolerance: float) -> None:
    for each, other in zip(found, wanted, strict=True):
        assert each.shape == other.shape
        scale = np.abs(other).max(initial=1.0)
        np.testing.assert_allclose(each, other, rtol=tolerance, atol=tolerance * scale)


def assert_engines_agree(graph: Graph, tolerance: float = 1e-12) -> None:
    arrays = drawn(graph)
    wanted = NumpyEngine().compile(graph)(*arrays)
    assert_close(compiled(graph)(*arrays), wanted, tolerance)


# --- any shape -----------------------------------------------------------------------


def any_conv(rng: np.random.Generator, dtype: str) -> tuple[Node, Node, Node]:
    """Return operands and a convolution of any shape, step, padding and grouping."""
    space, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 1, 2, 3]))
    batch = int(rng.choice([1, 2, 5, 8, 16, 19, 32, 70]))
    inner, outer = (int(rng.choice([1, 2, 3, 7])) for _ in range(2))
    image, window = rng.integers(1, 9, space), rng.integers(1, 5, space)
    x = leaf(batch, groups * inner, *map(int, image), dtype=dtype)
    w = leaf(groups * outer, inner, *map(int, window), dtype=dtype)
    given = {
        name: [int(n) for n in rng.integers(low, 4, space)]
        for name, low, often in (
            ("stride", 1, 0.4),
            ("x_dilation", 1, 0.3),
            ("w_dilation", 1, 0.3),
            ("low", -1, 0.7),
            ("high", -1, 0.7),
        )
        if rng.random() < often
    }
    return x, w, conv(x, w, groups, **given)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 3e-5), ("f64", 1e-12)])
@pytest.mark.parametrize("seed", range(4))
def test_any_convolution_and_its_gradients_agree_with_numpy(
    dtype: str, tolerance: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = [any_conv(rng, dtype) for _ in range(6)]
    inputs = [each for x, w, _ in found for each in (x, w)]
    assert_engines_agree(with_gradients(inputs, *(y for *_, y in found)), tolerance)


LARGE = {
    "more lanes than a tile has": ((80, 3, 6, 6), (7, 3, 3, 3), {"low": (1, 1)}),
    "rows and columns that do not fit the tiles": (
        (16, 5, 9, 23),
        (17, 5, 3, 4),
        {"low": (1, 2), "high": (0, 1)},
    ),
    "a stride, whose gradient leaves out most entries": (
        (16, 6, 11, 11),
        (9, 6, 3, 3),
        {"stride": (2, 3), "low": (1, 1), "high": (1, 1)},
    ),
    "strips and chunks": ((64, 16, 20, 20), (16, 16, 3, 3), {"low": (1, 1)}),
    "one image, wide": ((1, 3, 6, 70), (5, 3, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "one image, a stride along its rows": (
        (2, 3, 6, 41),
        (5, 3, 3, 3),
        {"stride": (1, 2)},
    ),
    "each channel alone": ((16, 12, 8, 8), (24, 1, 3, 3), {"low": (1, 1)}),
    "one axis": ((32, 8, 50), (12, 8, 5), {"low": (4,), "w_dilation": (2,)}),
    "three axes": ((16, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"low": (1, 0, 1)}),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", LARGE)
def test_shapes_that_are_cut_into_tiles_agree_with_numpy(name: str) -> None:
    image, kernel, given = LARGE[name]
    x, w = leaf(*image), leaf(*kernel)
    y = conv(x, w, image[1] // kernel[1], **given)
    assert_engines_agree(with_gradients([x, w], y))


def test_convolutions_of_nothing_are_zeros() -> None:
    none, w = leaf(16, 0, 5), leaf(3, 0, 2)
    empty, v = leaf(0, 2, 5), leaf(3, 2, 2)
    over, u = leaf(16, 2, 3), leaf(3, 2, 4)
    results = [conv(none, w), conv(empty, v), conv(over, u, high=(1,))]
    graph = with_gradients([none, w, empty, v, over, u], *results)
    assert_engines_agree(graph)
    assert not compiled(graph)(*drawn(graph))[0].any()


def test_a_view_is_read_where_it_lies() -> None:
    x, w = leaf(8, 5, 4, 20), leaf(3, 6, 3, 2)
    turned = bind("transpose", x, axes=(3, 1, 0, 2))
    half = bind(
        "slice", turned, start=(0, 1, 0, 0), stop=(20, 4, 8, 4), step=(1, 1, 2, 1)
    )
    back = bind(
        "reverse",
        bind("slice", w, start=(0, 3, 0, 0), stop=(3, 6, 3, 2), step=(1, 1, 1, 1)),
        axes=(2,),
    )
    assert_engines_agree(with_gradients([x, w], conv(half, back, low=(1, 1))))


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_counts_where_it_meets_padding_too(
    batch: int, odd: float
) -> None:
    x, w = leaf(batch, 2, 4, 5), leaf(3, 2, 3, 3)
    y = conv(x, w, low=(2, 1), high=(1, 2), x_dilation=(2, 1))
    graph = with_gradients([x, w], y)
    program, definition = compiled(graph), NumpyEngine().compile(graph)
    places = [
        (0, (0, 1, 0, 3)),
        (1, (0, 0, 0, 0)),
        (1, (1, 1, 1, 1)),
        (1, (2, 0, 2, 1)),
    ]
    for operand, place in places:
        arrays = drawn(graph)
        arrays[operand][place] = odd
        found, wanted = program(*arrays), definition(*arrays)
        for each, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.isnan(each), np.isnan(other))
        assert not all(np.isfinite(each).all() for each in found)


# --- memory and threads --------------------------------------------------------------

SHAPES = {
    "a batch": ((17, 3, 7, 6), (5, 3, 3, 2)),
    "one image": ((1, 3, 7, 19), (5, 3, 3, 2)),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_kernel_reads_beyond_its_memory(name: str, dtype: str) -> None:
    x, w = (leaf(*shape, dtype=dtype) for shape in SHAPES[name])
    y = conv(x, w, low=(2, 1), high=(1, 1), stride=(1, 2))
    graph = with_gradients([x, w], y)
    program, arrays = compiled(graph), drawn(graph)
    for filling in (0, 0xFF):  # 0xFF: what was never written is NaN
        found = run_guarded(program, arrays, filling, AtTheEdge)
        for each, other in zip(found, program(*arrays), strict=True):
            assert each.tobytes() == other.tobytes()


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let programs have four threads, whatever the machine has."""
    monkeypatch.setenv("PELLUCID_THREADS", "4")
    count.cache_clear()
    yield
    monkeypatch.undo()
    count.cache_clear()


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("batch", [1, 32])
def test_bits_do_not_depend_on_the_number_of_threads(batch: int) -> None:
    x, w = leaf(batch, 7, 30, 40, dtype="f32"), leaf(11, 7, 5, 5, dtype="f32")
    graph = with_gradients([x, w], conv(x, w, low=(2, 2), high=(1, 2)))
    program, arrays = compiled(graph), drawn(graph)
    assert program._threads == 4
    found = []
    for threads in (1, 2, 3, 4):
        program._threads = threads
        found.append([each.tobytes() for each in program(*arrays)])
    assert all(each == found[0] for each in found)


# --- how a sum is cut ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_window_knows_which_of_its_entries_meet_a_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    window = Window(*map(int, rng.integers(1, 7, 6)), int(rng.integers(-3, 9)), 1)
    for p, (first, pixel, many) in enumerate(window.met):
        met = {
            k: (p * window.stride + k * window.dilation - window.low) / window.gap
            for k in range(window.taps)
        }
        met = {k: q for k, q in met.items() if q in range(window.size)}
        steps = range(many)
        assert met == {
            first + i * window.tap_step: pixel + i * window.pixel_step for i in steps
        }


def plan_of(image: Sequence[int], kernel: Sequence[int], **given: Any) -> Plan:
    """Return the plan of a convolution whose operands lie as they are written."""
    node = conv(leaf(*image, dtype="f32"), leaf(*kernel, dtype="f32"), **given)
    places = [strided(each, set()) for each in node.inputs]
    assert places[0] is not None
    assert places[1] is not None
    return cut(node, places[0][2], places[1][2], Target(64, 32))


def test_lanes_lie_where_they_are_full() -> None:
    assert plan_of((1, 3, 8, 32), (5, 3, 3, 3)).lane.size == 30  # along the rows
    gradient = plan_of((3, 2, 8, 32), (5, 2, 6, 30))
    assert gradient.lane.size == 30
    assert gradient.sums_lanes  # along the window: it is summed


def test_a_tile_fits_the_registers_and_the_shape() -> None:
    plan = plan_of((1, 3, 8, 66), (8, 3, 3, 3))
    rows, columns, vectors = plan.tile
    assert rows * columns * vectors >= 16
    assert rows * columns * vectors < 32
    assert vectors == 4
    for parts, size in ((plan.row_parts(), 8), (plan.column_parts(), 6)):
        assert sum(part.count * part.size for part in parts) == size
