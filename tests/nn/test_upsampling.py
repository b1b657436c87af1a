"""Upsampling: NumPy's interpolation along each axis, JAX's numbers, engines, errors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pellucid as pel
from pellucid import functional as F
from pellucid import nn
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import grad, tensor
from pellucid.tracing import graph_of, symbol

Array = np.ndarray[Any, Any]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
RNG = np.random.default_rng(0)


def both(layer: Any, x: Array) -> list[Array]:
    """Return the value, and the gradient for a random upstream one."""
    source = tensor(x, requires_grad=True)
    y = layer(source)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    return [y.value, grad(y, [source], upstream)[0].value]


def between(x: Array, axis: int, places: Array) -> Array:
    """Return NumPy's interpolation along an axis."""
    along = np.arange(x.shape[axis])
    return np.apply_along_axis(lambda row: np.interp(places, along, row), axis, x)


def test_upsampling_repeats_and_its_gradient_adds() -> None:
    x = RNG.normal(size=(2, 1, 2, 3))
    y, dx = both(nn.Upsample(scale_factor=(2, 3)), x)
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(3, 3))
    upstream = np.random.default_rng(1).normal(size=y.shape)
    blocks = upstream.reshape(2, 1, 2, 2, 3, 3)
    np.testing.assert_allclose(dx, blocks.sum((3, 5)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(3, 7), (7, 3), (4, 4), (5, 1), (1, 3)])
def test_the_nearest_entry_is_the_one_before(n: int, m: int) -> None:
    x = RNG.normal(size=(2, 1, n))
    expected = x[:, :, [i * n // m for i in range(m)]]
    np.testing.assert_array_equal(nn.Upsample(m)(x).value, expected)


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("corners", [False, True])
def test_entries_lie_on_lines_between_their_neighbours(
    space: int, corners: bool
) -> None:
    old, new = (4, 3, 5)[:space], (7, 3, 2)[:space]
    x = expected = RNG.normal(size=(2, 2, *old))
    for axis, (n, m) in enumerate(zip(old, new), 2):
        places = (np.arange(m) + 0.5) * n / m - 0.5
        places = np.linspace(0, n - 1, m) if corners else places
        expected = between(expected, axis, places)
    layer = nn.Upsample(new, mode=LINEAR[space], align_corners=corners)
    np.testing.assert_allclose(layer(x).value, expected, rtol=1e-12, atol=1e-14)


def test_a_factor_says_how_far_apart_places_lie_though_sizes_are_rounded() -> None:
    x = RNG.normal(size=(1, 1, 5))
    found = nn.Upsample(scale_factor=1.5, mode="linear")(x).value
    places = (np.arange(7) + 0.5) / 1.5 - 0.5
    np.testing.assert_allclose(found, between(x, 2, places), rtol=1e-12)
    assert nn.Upsample(scale_factor=(2.5, 0.5))(np.zeros((1, 1, 3, 5))).shape[2:] == (
        7,
        2,
    )


def test_an_axis_that_keeps_its_size_keeps_its_entries() -> None:
    x = RNG.normal(size=(1, 1, 4))
    for mode in ("nearest", "linear"):
        found = nn.Upsample(scale_factor=1.2, mode=mode)(x)
        np.testing.assert_array_equal(found.value, x)
    twice = nn.Upsample(scale_factor=2.2)(x)
    np.testing.assert_array_equal(twice.value, x.repeat(2, 2))


@pytest.mark.parametrize("size", [(8, 9), (5, 7)])
def test_values_and_gradients_are_those_of_jax(size: tuple[int, int]) -> None:
    x = RNG.normal(size=(2, 3, 4, 5))

    def theirs(x: Any) -> Any:
        shape = (*x.shape[:2], *size)
        return jax.image.resize(x, shape, "linear", antialias=False)

    y, back = jax.vjp(theirs, x)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    found = both(nn.Upsample(size, mode="bilinear"), x)
    np.testing.assert_allclose(found[0], y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], back(upstream)[0], rtol=1e-9, atol=1e-12)


def test_whole_numbers_become_floats_where_they_are_interpolated() -> None:
    pixels = np.array([[[0, 255]]], np.uint8)
    assert F.upsample(pixels, 2).dtype == np.uint8
    found = F.upsample(pixels, size=3, mode="linear", align_corners=True)
    assert found.dtype == np.float32
    assert found.value.tolist() == [[[0.0, 127.5, 255.0]]]


# --- gradients, engines, files ---------------------------------------------------

VARIED: dict[str, nn.Module] = {
    "repeated": nn.Upsample(scale_factor=2),
    "nearest": nn.Upsample((7, 4)),
    "bilinear": nn.Upsample(scale_factor=(1.5, 2.0), mode="bilinear"),
    "corners": nn.Upsample((9, 3), mode="bilinear", align_corners=True),
}


@pytest.mark.parametrize("name", VARIED)
def test_the_gradient_checker_passes(name: str) -> None:
    assert pel.gradcheck(VARIED[name], RNG.normal(size=(2, 2, 6, 5)), directions=4).ok


@pytest.mark.parametrize("name", VARIED)
def test_the_engines_agree(name: str) -> None:
    x = RNG.normal(size=(2, 2, 6, 5)).astype(np.float32)
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
    x = RNG.normal(size=(2, 2, 6, 5)).astype(np.float32)
    loaded = nn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded(x).value, net(x).value)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "size=None and scale_factor=None: give one of them"),
        ({"size": 3, "scale_factor": 2}, "size=3 and scale_factor=2: give one"),
        ({"scale_factor": 0}, "scale_factor must be above 0, not 0"),
        ({"scale_factor": (2, -1)}, r"scale_factor must be above 0, not \(2, -1\)"),
        ({"size": 0}, "size must be a whole number ≥ 1, not 0"),
        ({"size": 3, "mode": "bilinaer"}, "no mode .* did you mean 'bilinear'"),
        ({"size": 3, "align_corners": True}, "nothing of mode='nearest' · leave it o"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        nn.Upsample(**options)


def test_images_that_do_not_fit_say_what_to_try() -> None:
    with pytest.raises(ShapeError, match="got 1 axes, expected 3"):
        F.upsample([1.0], 2)
    words = r"mode='linear' of f64\[1,1,4,4\] · .* 1 axes .* take mode='bilinear'"
    with pytest.raises(ShapeError, match=words):
        nn.Upsample(8, mode="linear")(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ShapeError, match=r"cannot be brought to the sizes \[0\]"):
        nn.Upsample(scale_factor=0.2)(np.zeros((1, 1, 4)))
    with pytest.raises(ArgumentError, match="one number, or 2 of them, not"):
        nn.Upsample(scale_factor=(2.0,), mode="bilinear")(np.zeros((1, 1, 4, 4)))
