"""Convolutions: JAX's numbers over random settings, PyTorch's layouts, fans, errors."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pellucid as pel
from pellucid import functional as F
from pellucid import nn
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, symbols

Array = np.ndarray[Any, Any]

JAX_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def leaf(value: Any) -> Tensor:
    return tensor(np.asarray(value, np.float64), requires_grad=True)


def by_jax(
    x: Any,
    w: Any,
    b: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str = "zeros",
) -> Any:
    """The same by `lax.conv_general_dilated`; padding is pairs, `SAME` or `VALID`."""
    if padding_mode != "zeros":
        x = jnp.pad(x, ((0, 0), (0, 0), *padding), JAX_MODES[padding_mode])
        padding = "VALID"
    y = lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups
    )
    return y if b is None else y + b.reshape(-1, *(1,) * (x.ndim - 2))


def agree(ours: Tensor, leaves: list[Tensor], theirs: Any) -> None:
    """Check the value, and all gradients for random upstream ones, to 1e-9."""
    upstream = np.random.default_rng(0).normal(size=ours.shape)

    def program(*values: Any) -> Any:
        y, back = jax.vjp(theirs, *values)
        return y, *back(upstream)

    found = [ours, *grad(ours, leaves, upstream)]
    expected = jax.jit(program)(*(each.value for each in leaves))
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.value, other, rtol=1e-9, atol=1e-11)


# --- convolution -----------------------------------------------------------------


def settings(seed: int) -> dict[str, Any]:
    """Draw everything that a convolution can be asked for."""
    rng = np.random.default_rng(seed)
    space = 1 + seed % 3
    groups = int(rng.integers(1, 4))
    kernel = tuple(map(int, rng.integers(1, 4, space)))
    dilation = tuple(map(int, rng.integers(1, 3, space)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sizes = [int(rng.integers(max(2, r - 2), r + 4)) for r in reach]
    least = [max(0, -((n - r) // 2)) for n, r in zip(sizes, reach)]
    return {
        "x": rng.normal(size=(2, groups * int(rng.integers(1, 3)), *sizes)),
        "out": groups * int(rng.integers(1, 3)),
        "kernel": kernel,
        "stride": tuple(map(int, rng.integers(1, 4, space))),
        "padding": tuple(p + int(rng.integers(0, 2)) for p in least),
        "dilation": dilation,
        "groups": groups,
        "bias": bool(rng.integers(0, 4)),
    }


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(9))
def test_a_convolution_and_its_gradients_are_jax_s(seed: int) -> None:
    s = settings(seed)
    x, kernel, groups = s["x"], s["kernel"], s["groups"]
    layer = LAYERS[x.ndim - 2](
        x.shape[1],
        s["out"],
        kernel,
        stride=s["stride"],
        padding=s["padding"],
        dilation=s["dilation"],
        groups=groups,
        bias=s["bias"],
        dtype="f64",
    )
    assert layer.weight.shape == (s["out"], x.shape[1] // groups, *kernel)
    if layer.bias is not None:
        layer.bias.value = np.arange(s["out"])
    pairs = [(p, p) for p in s["padding"]]
    steps = s["stride"], pairs, s["dilation"], groups
    leaves = [leaf(x), *layer.parameters()]
    agree(
        layer(leaves[0]),
        leaves,
        lambda x, w, b=None: by_jax(x, w, b, *steps),
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("mode", "padding"),
    [("reflect", (1, 2)), ("replicate", "same"), ("circular", (1, 2))],
)
def test_padding_modes_are_those_of_jax(mode: str, padding: Any) -> None:
    x = np.random.default_rng(3).normal(size=(2, 2, 5, 4))
    layer = nn.Conv2d(2, 3, (2, 4), padding=padding, padding_mode=mode, dtype="f64")
    pairs = [(0, 1), (1, 2)] if padding == "same" else [(1, 1), (2, 2)]
    leaves = [leaf(x), layer.weight]
    steps = None, (1, 1), pairs, (1, 1), 1, mode
    agree(layer(leaves[0]), leaves, lambda x, w: by_jax(x, w, *steps))


@pytest.mark.parametrize(("padding", "size"), [("same", 9), ("valid", 3)])
def test_padding_by_name_keeps_the_size_or_pads_nothing(
    padding: str, size: int
) -> None:
    x = np.random.default_rng(4).normal(size=(1, 1, 9))
    layer = nn.Conv1d(1, 2, 4, padding=padding, dilation=2, bias=False, dtype="f64")
    leaves = [leaf(x), layer.weight]
    assert layer(leaves[0]).shape == (1, 2, size)
    steps = None, (1,), padding.upper(), (2,), 1
    agree(layer(leaves[0]), leaves, lambda x, w: by_jax(x, w, *steps))


def test_a_depthwise_convolution_filters_each_channel_alone() -> None:
    x = np.random.default_rng(5).normal(size=(2, 4, 6, 6))
    layer = nn.Conv2d(4, 8, 3, groups=4, dtype="f64")
    found = layer(x).value
    for channel in range(4):
        alone = nn.Conv2d(1, 2, 3, bias=False, dtype="f64")
        pair = slice(2 * channel, 2 * channel + 2)
        alone.weight.value = layer.weight.value[pair]
        one = alone(x[:, channel : channel + 1]).value
        np.testing.assert_allclose(found[:, pair], one, rtol=1e-12, atol=1e-14)


# --- its transpose ---------------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(6))
def test_a_transpose_and_its_gradients_are_those_of_jax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space, groups = 1 + seed % 3, int(rng.integers(1, 3))
    kernel, stride = (tuple(map(int, rng.integers(1, 4, space))) for _ in range(2))
    dilation = tuple(map(int, rng.integers(1, 3, space)))
    more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    padding = tuple(int(rng.integers(0, 2)) if r > 2 else 0 for r in reach)
    x = rng.normal(size=(2, groups * 2, *map(int, rng.integers(2, 5, space))))
    layer = TRANSPOSED[space](
        x.shape[1],
        groups,
        kernel,
        stride,
        padding,
        more,
        groups,
        True,
        dilation,
        dtype="f64",
    )
    layer.bias.value = rng.normal(size=groups)
    assert layer.weight.shape == (x.shape[1], 1, *kernel)
    sizes = [
        (n - 1) * s - 2 * p + r + extra
        for n, s, p, r, extra in zip(x.shape[2:], stride, padding, reach, more)
    ]
    pairs = [(p, p) for p in padding]

    def theirs(x: Any, w: Any, b: Any) -> Any:
        image = jnp.zeros((2, groups, *sizes))
        _, back = jax.vjp(
            lambda z: by_jax(z, w, None, stride, pairs, dilation, groups), image
        )
        return back(x)[0] + b.reshape(-1, *(1,) * space)

    leaves = [leaf(x), *layer.parameters()]
    agree(layer(leaves[0]), leaves, theirs)


def test_a_transpose_undoes_the_shape_of_a_convolution() -> None:
    x = np.zeros((1, 3, 14, 15), np.float32)
    down = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    up = nn.ConvTranspose2d(5, 3, 3, stride=2, padding=1, output_padding=(1, 0))
    assert up(down(x)).shape == x.shape


# --- gradients, engines, states --------------------------------------------------

VARIED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "strided, dilated, in groups": (
        nn.Conv2d(4, 6, (3, 2), 2, 1, (1, 2), 2, padding_mode="reflect"),
        (2, 4, 6, 5),
    ),
    "depthwise": (nn.Conv1d(3, 6, 3, padding="same", groups=3), (2, 3, 5)),
    "transposed": (nn.ConvTranspose2d(4, 2, 3, 2, 1, 1, groups=2), (2, 4, 3, 2)),
}


@pytest.mark.parametrize("name", VARIED)
def test_the_gradient_checker_passes(name: str) -> None:
    layer, shape = VARIED[name]
    x = np.random.default_rng(0).normal(size=shape)
    assert pel.gradcheck(layer, x, directions=4).ok


@pytest.mark.parametrize("name", VARIED)
def test_the_engines_agree(name: str) -> None:
    layer, shape = VARIED[name]

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image, leaves = symbol(tensor(x).type), dict(layer.named_parameters())
    with symbols(leaves) as stand_ins:
        y = layer(image)
        inputs = [image, *stand_ins.values()]
        graph = graph_of(inputs, [y, *grad((y * y).sum(), inputs)])
    values = [x, *(each.value for each in leaves.values())]
    results = [engine_named(each).compile(graph)(*values) for each in ("numpy", "llvm")]
    for first, second in zip(*results):
        np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", VARIED)
def test_a_layer_is_saved_and_loaded(name: str, tmp_path: Any) -> None:
    layer, shape = VARIED[name]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer.save(tmp_path / "layer.safetensors")
    loaded = nn.load(tmp_path / "layer.safetensors")
    np.testing.assert_array_equal(loaded(x).value, layer(x).value)
    assert repr(loaded) == repr(layer)


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x = np.zeros((0, 2, 5, 5), np.float32)
    assert nn.Conv2d(2, 3, 3)(x).shape == (0, 3, 3, 3)
    assert nn.ConvTranspose2d(2, 3, 3)(x).shape == (0, 3, 7, 7)


def test_whole_numbers_become_floats() -> None:
    pixels = np.full((1, 1, 3, 3), 255, np.uint8)
    layer = nn.Conv2d(1, 1, 3, init="constant")
    layer.weight.value = np.ones((1, 1, 3, 3))
    assert layer(pixels).value.tolist() == [[[[2295.0]]]]
    assert F.conv([[[1, 2]]], [[[1, 1]]]).dtype == np.float32


# --- initial weights -------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "variance"),
    [
        (nn.Conv2d(32, 64, 5), 2 / ((32 + 64) * 25)),
        (nn.Conv2d(128, 128, 5, groups=128), 2 / (25 + 25)),
        (nn.Conv2d(64, 128, 3, groups=4, init="he_normal"), 2 / (16 * 9)),
        (nn.ConvTranspose2d(64, 32, 4, 2, init="he_normal"), 2 / (64 * 16 / 4)),
        (nn.ConvTranspose1d(64, 64, 4, groups=2, init="lecun_uniform"), 1 / (32 * 4)),
    ],
)
def test_weights_are_drawn_by_the_fans_of_the_window(
    layer: nn.Module, variance: float
) -> None:
    assert layer.weight.value.var() == pytest.approx(variance, rel=0.08)


def test_what_follows_decides_the_initialiser_through_pooling_and_says_so() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Tanh())
    table = net.summary((2, 1, 9, 9))
    assert "he_normal, because relu follows" in table
    assert "xavier_uniform, because tanh follows" in table
    assert "f32[2,4,5,5]" in table


def test_he_s_rule_keeps_the_scale_through_layers_up_and_down() -> None:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Conv2d(32, 32, 4, stride=2, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1), nn.ReLU()]
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    y = nn.Sequential(*layers)(x).value
    assert 0.2 < math.sqrt((y**2).mean()) < 3


# --- padding ---------------------------------------------------------------------


def test_zeros_are_put_around_the_last_axes() -> None:
    x = np.arange(6.0).reshape(2, 3)
    found = F.pad(x, [(1, 0), (0, 2)], value=7.0).value
    np.testing.assert_array_equal(
        found, np.pad(x, [(1, 0), (0, 2)], constant_values=7.0)
    )
    np.testing.assert_array_equal(
        F.pad(x, [(2, 1)], "circular").value, np.pad(x, [(0, 0), (2, 1)], "wrap")
    )


@pytest.mark.parametrize(
    ("mode", "width", "most"), [("reflect", 3, 2), ("circular", 4, 3)]
)
def test_an_axis_too_short_to_be_padded_says_how_far_it_goes(
    mode: str, width: int, most: int
) -> None:
    x = np.arange(3.0)
    assert F.pad(x, [(most, most)], mode).shape == (3 + 2 * most,)
    with pytest.raises(ShapeError, match=rf"{mode} padding of {width} .* most {most}"):
        F.pad(x, [(width, 0)], mode)


def test_padding_with_an_unknown_mode_or_widths_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no padding mode 'mirror'"):
        F.pad([1.0], [(1, 1)], "mirror")
    with pytest.raises(ArgumentError, match="pairs of whole numbers ≥ 0"):
        F.pad([1.0], [(1, -1)])
    with pytest.raises(ArgumentError, match="pairs of whole numbers ≥ 0"):
        F.pad([1.0], [(1, 1), (1, 1)])


# --- errors ----------------------------------------------------------------------

IMAGES = "batch, channels, height, width"

BAD_INPUT: dict[str, tuple[tuple[int, ...], tuple[int, ...], str]] = {
    "no channels": (
        (1, 6, 5),
        (2, 28, 28),
        rf"got 3 axes, expected 4: \[{IMAGES}\] · try x\[:, None\]",
    ),
    "no batch": ((3, 6, 5), (3, 28, 28), r"try x\[None\] for a single image"),
    "flat rows": ((1, 6, 5), (2, 784), r"try x.reshape\(-1, 1, 28, 28\)"),
    "flat rows of no square": ((1, 6, 5), (2, 783), r"expected 4: \[[^·]*\] · input"),
    "channels last": (
        (3, 6, 5),
        (2, 28, 28, 3),
        r"got 28 channels, expected 3 · .*permute_dims\(x, \(0, 3, 1, 2\)\)",
    ),
    "wrong channels": ((3, 6, 5), (2, 1, 28, 28), "got 1 channels, expected 3 · check"),
    "too small": (
        (3, 6, 5),
        (2, 3, 28, 4),
        r"reaches over 5 entries, axis 3 of f32\[2,3,28,4\] has 4 · use a smaller",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_images_that_do_not_fit_say_what_to_try(name: str) -> None:
    sizes, shape, text = BAD_INPUT[name]
    net = nn.Sequential(nn.Identity(), nn.Conv2d(*sizes))
    with pytest.raises(ShapeError, match=text) as caught:
        net(np.zeros(shape, np.float32))
    assert str(caught.value).startswith("1 (Conv2d(in_channels=")


def test_a_kernel_larger_than_its_padded_image_names_the_padding() -> None:
    layer = nn.Conv1d(1, 1, 3, padding=1, dilation=4)
    with pytest.raises(ShapeError, match=r"over 9 entries, .* has 7 with padding 2"):
        layer(np.zeros((1, 1, 5), np.float32))


BAD_SETTINGS: dict[str, tuple[Any, str]] = {
    "groups and in": (
        lambda: nn.Conv2d(4, 6, 3, groups=3),
        "in_channels 4 does not divide into 3 groups · try groups=2",
    ),
    "groups and out": (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=4),
        "out_channels 6 does not divide into 4 groups · try groups=2",
    ),
    "no group": (lambda: nn.Conv2d(4, 6, 3, groups=0), "groups must be a whole"),
    "kernel": (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "kernel_size .* or 2 of them"),
    "kernel 0": (lambda: nn.Conv1d(1, 1, 0), "kernel_size must be a whole number ≥ 1,"),
    "stride": (lambda: nn.Conv2d(1, 1, 3, stride=1.5), "stride must be a whole"),
    "padding": (lambda: nn.Conv2d(1, 1, 3, padding=-1), "padding must be .* ≥ 0"),
    "padding's name": (lambda: nn.Conv2d(1, 1, 3, padding="sam"), "not 'sam'"),
    "same with a stride": (
        lambda: nn.Conv2d(1, 1, 3, stride=2, padding="same"),
        r"padding='same' needs stride 1, not \(2, 2\)",
    ),
    "mode": (
        lambda: nn.Conv2d(1, 1, 3, padding_mode="reflected"),
        "no padding mode 'reflected' · did you mean 'reflect'?",
    ),
    "output padding": (
        lambda: nn.ConvTranspose2d(1, 1, 3, 2, output_padding=(1, 2)),
        r"less than the stride or the dilation, not \(1, 2\)",
    ),
    "channels": (lambda: nn.Conv2d(0, 1, 3), "in_channels must be a whole number"),
    "init": (lambda: nn.Conv2d(1, 1, 3, init="he"), "no initialiser 'he'"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_that_do_not_fit_are_refused_when_a_layer_is_made(name: str) -> None:
    make, text = BAD_SETTINGS[name]
    with pytest.raises(ArgumentError, match=text):
        make()


def test_the_functions_check_what_no_layer_has_checked() -> None:
    x = np.zeros((1, 4, 5, 5))
    with pytest.raises(ShapeError, match=r"kernels are \[out, channels, kernel…\]"):
        F.conv(x, np.zeros((4, 4)))
    with pytest.raises(ArgumentError, match="out_channels 3 does not divide"):
        F.conv(x, np.zeros((3, 2, 1, 1)), groups=2)
    with pytest.raises(ArgumentError, match="in_channels 4 does not divide"):
        F.conv_transpose(x, np.zeros((4, 2, 1, 1)), groups=3)
    with pytest.raises(ShapeError, match=r"the bias is f64\[1\], expected \[4\]"):
        F.conv(x, np.zeros((4, 4, 1, 1)), np.zeros(1))
    with pytest.raises(ShapeError, match="nothing of the output is left"):
        F.conv_transpose(x, np.zeros((4, 2, 1, 1)), padding=3)
