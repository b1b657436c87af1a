"""Pooling: its definition by loops, JAX's numbers, ties, engines, errors."""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

import pellucid as pel
from pellucid import nn
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol

Array = np.ndarray[Any, Any]

MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_MAX = {
    1: nn.AdaptiveMaxPool1d,
    2: nn.AdaptiveMaxPool2d,
    3: nn.AdaptiveMaxPool3d,
}
ADAPTIVE_AVG = {
    1: nn.AdaptiveAvgPool1d,
    2: nn.AdaptiveAvgPool2d,
    3: nn.AdaptiveAvgPool3d,
}


def leaf(value: Any) -> Tensor:
    return tensor(np.asarray(value, np.float64), requires_grad=True)


def both(function: Any, x: Array, upstream: Array | None = None) -> list[Array]:
    """Return the value, and the gradient for a random upstream one."""
    source = leaf(x)
    y = function(source)
    if upstream is None:
        upstream = np.random.default_rng(1).normal(size=y.shape)
    return [y.value, grad(y, [source], upstream)[0].value]


def by_loops(x: Array, windows: Any, kind: str, counts: Any = None) -> list[Array]:
    """Reduce each window, given by the entries it reads along each axis."""
    sizes = [len(along) for along in windows]
    y, dx = np.zeros((*x.shape[:2], *sizes)), np.zeros_like(x)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    for at in itertools.product(*map(range, sizes)):
        reads = np.ix_(*(along[i] for along, i in zip(windows, at)))
        for row in itertools.product(*map(range, x.shape[:2])):
            part, flow = x[row][reads], upstream[(*row, *at)]
            if kind == "max":
                y[(*row, *at)] = part.max()
                dx[row][reads] += flow * (part == part.max())
            else:
                count = part.size if counts is None else counts[at]
                y[(*row, *at)] = part.sum() / count
                dx[row][reads] += flow / count
    return [y, dx]


def reads_along(
    n: int, size: int, stride: int, padding: int, dilation: int, ceil: bool
) -> tuple[list[list[int]], list[int]]:
    """Return what each window along an axis reads, and how many entries it spans
    that are the image's or its padding's.
    """
    found, spans, start = [], [], -padding
    while True:
        places = [start + k * dilation for k in range(size)]
        if places[-1] >= n + padding and not (ceil and start < n):
            return found, spans
        if places[-1] >= n + padding and places[-1] - stride >= n + padding - 1:
            return found, spans  # the one before has reached the end
        found.append([place for place in places if 0 <= place < n])
        spans.append(sum(place < n + padding for place in places))
        start += stride


# --- values and gradients --------------------------------------------------------


def settings(seed: int) -> tuple[Array, list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    axes = []
    for _ in range(1 + seed % 3):
        size = int(rng.integers(1, 4))
        dilation = int(rng.integers(1, 3))
        wide = (size - 1) * dilation + 1
        axes.append(
            {
                "n": wide + int(rng.integers(0, 4)),
                "size": size,
                "stride": size if rng.integers(0, 2) else int(rng.integers(1, 4)),
                "padding": int(rng.integers(0, wide // 2 + 1)),
                "dilation": dilation,
            }
        )
    x = rng.normal(size=(2, 2, *(axis["n"] for axis in axes)))
    return x, axes


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_the_largest_of_each_window_and_its_gradient(seed: int, ceil: bool) -> None:
    x, axes = settings(seed)
    names = "size", "stride", "padding", "dilation"
    layer = MAX[len(axes)](
        *(tuple(axis[name] for axis in axes) for name in names), ceil_mode=ceil
    )
    windows = [reads_along(**axis, ceil=ceil)[0] for axis in axes]
    for found, expected in zip(both(layer, x), by_loops(x, windows, "max")):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("padding_counts", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("seed", range(9))
def test_the_mean_of_each_window_and_its_gradient(
    seed: int, ceil: bool, padding_counts: bool
) -> None:
    x, axes = settings(seed)
    for axis in axes:
        axis["dilation"] = 1
        axis["padding"] = min(axis["padding"], axis["size"] // 2)
    layer = AVG[len(axes)](
        *(tuple(axis[name] for axis in axes) for name in ("size", "stride", "padding")),
        ceil_mode=ceil,
        count_include_pad=padding_counts,
    )
    windows, spans = zip(*(reads_along(**axis, ceil=ceil) for axis in axes))
    counts = None
    if padding_counts:
        counts = reduce(np.multiply.outer, map(np.array, spans))
    for found, expected in zip(both(layer, x), by_loops(x, windows, "avg", counts)):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("sizes", "output"),
    [
        ((7,), (3,)),
        ((3,), (5,)),
        ((6, 7), (3, 7)),
        ((5, 4), (1, 3)),
        ((4, 3, 5), (2, 2, 1)),
    ],
)
def test_adaptive_windows_are_cut_as_pytorch_cuts_them(
    sizes: tuple[int, ...], output: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, *sizes))
    windows = [
        [list(range(i * n // m, -((i + 1) * n // -m))) for i in range(m)]
        for n, m in zip(sizes, output)
    ]
    for kind, layers in (("max", ADAPTIVE_MAX), ("avg", ADAPTIVE_AVG)):
        layer = layers[len(sizes)](output)
        for found, expected in zip(both(layer, x), by_loops(x, windows, kind)):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_one_window_is_global() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(
        nn.AdaptiveAvgPool2d(1)(x).value, x.mean((2, 3), keepdims=True), rtol=1e-12
    )
    np.testing.assert_array_equal(
        nn.AdaptiveMaxPool2d(1)(x).value, x.max((2, 3), keepdims=True)
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("stride", [2, 3])
def test_the_largest_is_jax_s(stride: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 7, 8))
    window, steps = (1, 1, 3, 3), (1, 1, stride, stride)
    around = ((0, 0), (0, 0), (1, 1), (1, 1))

    def theirs(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, window, steps, around)

    y, back = jax.vjp(theirs, x)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    found = both(nn.MaxPool2d(3, stride, 1), x)
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_allclose(found[1], back(upstream)[0], rtol=1e-12, atol=1e-14)


# --- corners ---------------------------------------------------------------------


def test_ties_in_blocks_share_the_gradient_along_an_axis() -> None:
    x = np.array([[[[1.0, 1.0], [1.0, 0.0]]]])
    dx = both(nn.MaxPool2d(2), x, np.ones((1, 1, 1, 1)))[1]
    assert dx.tolist() == [[[[0.25, 0.5], [0.25, 0.0]]]]


def test_ties_of_windows_that_overlap_give_it_to_the_first() -> None:
    x = np.array([[[[0.0, 2.0, 2.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]]])
    dx = both(nn.MaxPool2d(3, 1, 1), x, np.ones((1, 1, 3, 3)))[1]
    assert dx.tolist() == [[[[0.0, 6.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]]


def test_padding_is_never_the_largest_and_nan_is() -> None:
    x = np.full((1, 1, 4), -7.0)
    assert nn.MaxPool1d(3, 1, 1)(x).value.tolist() == [[[-7.0] * 4]]
    x[0, 0, 2] = np.nan
    for layer in (nn.MaxPool1d(2), nn.MaxPool1d(2, 1), nn.AdaptiveMaxPool1d(3)):
        assert np.isnan(layer(x).value[0, 0, -1])
        assert not np.isnan(layer(x).value[0, 0, 0])


def test_an_infinity_stays_in_its_window() -> None:
    x = np.array([[[1.0, 3.0, np.inf, 1.0]]])
    assert nn.AvgPool1d(2)(x).value.tolist() == [[[2.0, np.inf]]]
    assert nn.AdaptiveAvgPool1d(2)(x).value.tolist() == [[[2.0, np.inf]]]


def test_pixels_of_whole_numbers_become_floats() -> None:
    x = np.array([[[1, 2, 255, 0]]], np.uint8)
    for layer in (nn.MaxPool1d(3, 1, 1), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1)):
        assert layer(x).dtype == np.float32
    assert nn.AdaptiveAvgPool1d(1)(x).value.tolist() == [[[64.5]]]


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x = np.zeros((0, 2, 5, 5), np.float32)
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(3, 1), nn.AdaptiveAvgPool2d(2)):
        assert layer(x).shape[:2] == (0, 2)


def test_a_block_that_the_size_leaves_over_is_dropped() -> None:
    x = np.arange(5.0).reshape(1, 1, 5)
    assert nn.MaxPool1d(2)(x).value.tolist() == [[[1.0, 3.0]]]
    assert nn.MaxPool1d(2, ceil_mode=True)(x).value.tolist() == [[[1.0, 3.0, 4.0]]]
    assert nn.AvgPool1d(2, ceil_mode=True)(x).value.tolist() == [[[0.5, 2.5, 4.0]]]


# --- gradients, engines, files ---------------------------------------------------

VARIED: dict[str, nn.Module] = {
    "blocks": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "mean": nn.AvgPool2d((2, 3), (2, 1), 1, count_include_pad=False),
    "adaptive": nn.AdaptiveMaxPool2d((2, 3)),
    "global": nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.parametrize("name", VARIED)
def test_the_gradient_checker_passes(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 5))
    assert pel.gradcheck(VARIED[name], x, directions=4).ok


@pytest.mark.parametrize("name", VARIED)
def test_the_engines_agree(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 5)).astype(np.float32)
    image = symbol(tensor(x).type)
    y = VARIED[name](image)
    graph = graph_of([image], [y, *grad((y * y).sum(), [image])])
    results = [engine_named(each).compile(graph)(x) for each in ("numpy", "llvm")]
    for first, second in zip(*results):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VARIED)
def test_a_layer_is_saved_and_loaded(name: str, tmp_path: Any) -> None:
    net = nn.Sequential(VARIED[name], nn.Conv2d(2, 1, 1))
    net.save(tmp_path / "net.safetensors")
    loaded = nn.load(tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x).value, net(x).value)


def test_an_activation_behind_pooling_decides_the_weights_before_it() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU())
    assert net[0].initialised == "he_normal, because relu follows"
    assert repr(net[1]) == "MaxPool2d(kernel_size=2)"


# --- errors ----------------------------------------------------------------------


def test_images_that_do_not_fit_say_what_to_try() -> None:
    net = nn.Sequential(nn.Identity(), nn.MaxPool2d(2))
    with pytest.raises(ShapeError, match=r"^1 \(MaxPool2d\(kernel_size=2\)\): got 3 a"):
        net(np.zeros((2, 8, 8)))
    for layer in (nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2)):
        with pytest.raises(ShapeError, match=r"x\[:, None\] for one channel, x\[None"):
            layer(np.zeros((2, 8, 8)))


def test_a_window_larger_than_its_image_says_so() -> None:
    with pytest.raises(ShapeError, match=r"over 4 entries, axis 3 of f64\[1,1,8,3\] h"):
        nn.MaxPool2d(4)(np.zeros((1, 1, 8, 3)))
    with pytest.raises(ShapeError, match=r"over 7 entries, .* has 6 with padding 2"):
        nn.MaxPool1d(4, padding=1, dilation=2)(np.zeros((1, 1, 4)))
    with pytest.raises(ShapeError, match="nothing to pool"):
        nn.AdaptiveAvgPool1d(2)(np.zeros((1, 1, 0)))


BAD_SETTINGS: dict[str, tuple[Any, str]] = {
    "kernel": (lambda: nn.MaxPool2d(0), "kernel_size must be a whole number ≥ 1"),
    "kernels": (lambda: nn.MaxPool1d((2, 2)), "kernel_size must be"),
    "stride": (lambda: nn.AvgPool2d(2, stride=(1, 2, 3)), "stride .* or 2 of them"),
    "stride 0": (lambda: nn.AvgPool2d(2, stride=0), "stride must be .* ≥ 1"),
    "padding": (lambda: nn.MaxPool2d(3, padding=2), r"padding \(2, 2\) is more than h"),
    "output": (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_that_do_not_fit_are_refused(name: str) -> None:
    make, text = BAD_SETTINGS[name]
    with pytest.raises(ArgumentError, match=text):
        make()
