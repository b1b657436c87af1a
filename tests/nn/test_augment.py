"""Augmentation: each image changed by amounts of its own, in training only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import pellucid as pel
from pellucid import functional as F
from pellucid import nn
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.random import key_of, keys_from
from pellucid.tensors import Tensor, tensor
from pellucid.tracing import graph_of, symbol
from pellucid.tree import leaves

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(40, 2, 7, 6))

Layer = nn.Augmentation
MAKERS: dict[str, Callable[[], Layer]] = {
    "horizontal flip": nn.RandomHorizontalFlip,
    "vertical flip": lambda: nn.RandomVerticalFlip(0.3),
    "crop": lambda: nn.RandomCrop((5, 4)),
    "padded crop": lambda: nn.RandomCrop((7, 6), padding=(2, 1), fill=0.5),
    "mirrored crop": lambda: nn.RandomCrop(6, padding=3, padding_mode="reflect"),
    "shift": lambda: nn.RandomShift((2, 3)),
    "shift of edges": lambda: nn.RandomShift(2, padding_mode="replicate"),
    "rotation": lambda: nn.RandomRotation(40, fill=-1.0),
    "rotation of edges": lambda: nn.RandomRotation((90, 200), padding_mode="replicate"),
    "cutout": lambda: nn.Cutout((3, 2), value=9.0),
    "erasing": lambda: nn.RandomErasing(0.8, scale=(0.05, 0.6)),
}


@pytest.fixture(params=MAKERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    return MAKERS[request.param]()


def drawn(layer: Layer, x: np.ndarray, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return the amounts that a seed gives, `[amounts, n]`, and the images changed."""
    with keys_from(key_of(seed)):
        amounts = layer.draw(x.shape)
    with keys_from(key_of(seed)):
        return np.stack([each.value for each in amounts]), layer(x).value


# --- what is done with the amounts ---


@pytest.mark.parametrize(
    ("layer", "axis"), [(nn.RandomHorizontalFlip(), 2), (nn.RandomVerticalFlip(), 1)]
)
def test_a_flip_mirrors_the_images_that_were_chosen(layer: Layer, axis: int) -> None:
    (chosen,), found = drawn(layer, X)
    assert 8 < chosen.sum() < 32
    for image, flipped, changed in zip(X, chosen, found):
        expected = np.flip(image, axis) if flipped else image
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge")],
)
def test_a_crop_is_a_window_of_the_padded_image(mode: str, theirs: str) -> None:
    layer = nn.RandomCrop((5, 6), padding=(2, 1), fill=0.5, padding_mode=mode)
    amounts, found = drawn(layer, X)
    more = {"constant_values": 0.5} if mode == "zeros" else {}
    widths = [(0, 0), (0, 0), (2, 2), (1, 1)]
    padded = np.pad(X, widths, theirs, **more)  # type: ignore[call-overload]
    assert set(amounts[0]) == set(range(7))
    assert set(amounts[1]) == set(range(3))
    for image, top, left, changed in zip(padded, *amounts, found):
        expected = image[:, top : top + 5, left : left + 6]
        np.testing.assert_array_equal(changed, expected)


def test_a_shift_moves_by_whole_pixels_as_scipy_does() -> None:
    amounts, found = drawn(nn.RandomShift((2, 1), fill=3.0), X)
    assert set(amounts[0]) == set(range(5))
    for image, top, left, changed in zip(X, *amounts, found):
        move = (0, 2 - top, 1 - left)
        expected = ndimage.shift(image, move, order=0, cval=3.0)
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize(
    ("mode", "theirs"), [("zeros", "grid-constant"), ("replicate", "nearest")]
)
def test_a_rotation_interpolates_as_scipy_does(mode: str, theirs: str) -> None:
    layer = nn.RandomRotation((-180, 180), fill=0.7, padding_mode=mode)
    (angles,), found = drawn(layer, X)
    assert angles.min() < -100
    assert angles.max() > 100
    for image, angle, changed in zip(X, angles.astype(float), found):
        expected = ndimage.rotate(
            image, angle, axes=(2, 1), reshape=False, order=1, mode=theirs, cval=0.7
        )
        np.testing.assert_allclose(changed, expected, atol=1e-12)


def test_a_rotation_reads_no_pixel_of_another_image() -> None:
    x = np.stack([np.full((1, 4, 9), value) for value in (1.0, np.inf, 2.0)])
    found = F.rotate_each(x, np.array([90.0, 0.0, 30.0]), fill=-1.0).value
    assert np.isfinite(found[[0, 2]]).all()
    assert set(found[0].round(6).ravel()) <= {-1.0, 0.0, 1.0}


def test_a_quarter_turn_moves_every_pixel_counter_clockwise() -> None:
    x = X[:, :, :, :5][:, :, :5]
    found = F.rotate_each(x, np.full(40, 90.0)).value
    np.testing.assert_allclose(found, np.rot90(x, axes=(2, 3)), atol=1e-12)


def test_cutout_erases_a_square_around_a_pixel() -> None:
    (tops, lefts), found = drawn(nn.Cutout(3, value=9.0), X)
    assert (set(tops), set(lefts)) == (set(range(-1, 6)), set(range(-1, 5)))
    for image, top, left, changed in zip(X, tops, lefts, found):
        expected = image.copy()
        expected[:, max(top, 0) : top + 3, max(left, 0) : left + 3] = 9.0
        np.testing.assert_array_equal(changed, expected)


def test_erasing_sets_a_rectangle_inside_the_image_for_its_share_of_them() -> None:
    x = np.ones((2000, 1, 20, 30))
    layer = nn.RandomErasing(0.3, scale=(0.1, 0.2), ratio=(0.5, 2.0))
    (tops, lefts, heights, widths), found = drawn(layer, x)
    some = heights > 0
    assert some.mean() == pytest.approx(0.3, abs=0.05)
    assert (tops >= 0).all()
    assert (tops + heights <= 20).all()
    assert (lefts >= 0).all()
    assert (lefts + widths <= 30).all()
    share, ratio = heights[some] * widths[some] / 600, heights[some] / widths[some]
    assert 0.08 < share.min() < 0.12
    assert 0.18 < share.max() < 0.22
    assert np.exp(np.log(ratio).mean()) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal((found == 0).sum((1, 2, 3)), heights * widths)
    top, left = tops[some][0], lefts[some][0]
    assert (found[some][0, 0, top : top + heights[some][0], left] == 0).all()


# --- how it is drawn ---


def test_each_image_is_changed_by_amounts_of_its_own(layer: Layer) -> None:
    amounts, _ = drawn(layer, X)
    assert len(np.unique(amounts.T, axis=0)) > 1
    same, found = drawn(layer, np.broadcast_to(X[:1], X.shape).copy())
    np.testing.assert_array_equal(same, amounts)
    assert len(np.unique(found.reshape(40, -1), axis=0)) > 1


def test_a_key_decides_the_amounts(layer: Layer) -> None:
    first, again, other = (drawn(layer, X, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_out_of_training_images_pass_unchanged(layer: Layer) -> None:
    x = tensor(X)
    found = layer.eval()(x)
    if found.shape == x.shape:
        assert found is x
    else:
        height, width = found.shape[2:]
        top, left = (7 - height) // 2, (6 - width) // 2
        middle = X[:, :, top : top + height, left : left + width]
        np.testing.assert_array_equal(found.value, middle)


def test_a_window_larger_than_the_image_is_padded_out_of_training_too() -> None:
    layer = nn.RandomCrop(9, padding=2).eval()
    expected = np.pad(X, [(0, 0), (0, 0), (1, 1), (2, 1)])
    np.testing.assert_array_equal(layer(X).value, expected)


def traced(layer: Layer, x: Any) -> pel.Graph:
    images, key = symbol(tensor(x).type, "x"), symbol(key_of(0).type, "key")
    with keys_from(key):
        return graph_of([images, key], [layer(images)])


@pytest.mark.sampled(4)
def test_engines_agree(layer: Layer) -> None:
    graph = traced(layer, X)
    for seed in (0, 1):
        expected = drawn(layer, X, seed)[1]
        for name in ("numpy", "llvm"):
            program = engine_named(name).compile(graph)
            (found,) = program(X, key_of(seed).value)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer", [MAKERS[name]() for name in ("horizontal flip", "padded crop", "cutout")]
)
def test_bytes_stay_bytes_where_pixels_are_only_moved(layer: Layer) -> None:
    pixels = DRAW.integers(0, 256, X.shape, dtype=np.uint8)
    amounts, found = drawn(layer, pixels)
    floats = drawn(layer, pixels.astype(np.float64))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(amounts, floats[0])
    np.testing.assert_array_equal(found, floats[1].astype(np.uint8))


def test_bytes_become_floats_where_they_are_interpolated() -> None:
    pixels = DRAW.integers(0, 256, X.shape, dtype=np.uint8)
    _, found = drawn(nn.RandomRotation(30), pixels)
    floats = drawn(nn.RandomRotation(30), pixels.astype(np.float32))
    np.testing.assert_array_equal(found, floats[1])
    assert found.dtype == np.float32


@pytest.mark.sampled(4)
def test_gradients_flow_to_the_pixels_that_were_used(layer: Layer) -> None:
    few = X[:3]

    def change(x: Tensor) -> Tensor:
        with keys_from(key_of(5)):
            return layer(x)

    assert pel.gradcheck(change, few).ok


# --- in training ---


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.RandomCrop((7, 6), padding=1),
        nn.StandardizeChannels(2),
        nn.RandomRotation(15),
        nn.Flatten(),
        nn.Linear(84, 2),
    )


@pytest.mark.slow
def test_a_run_with_augmentation_repeats_and_its_steps_replay() -> None:
    pixels = DRAW.integers(0, 256, X.shape, dtype=np.uint8)
    y = np.arange(40) % 2
    weights = []
    for _ in range(2):
        pel.random.seed(0)
        net = small_net()
        trainer = pel.Trainer(net, nn.CrossEntropyLoss(), seed=4)
        history = trainer.fit(pixels, y, epochs=2, batch_size=20, verbose=0)
        weights.append(net.state_dict())
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])
    losses = [trainer.replay(step).loss for step in range(4)]
    assert np.mean(losses[:2]) == pytest.approx(history["loss"][0], rel=1e-5)
    assert np.mean(losses[2:]) == pytest.approx(history["loss"][1], rel=1e-5)


def test_the_scaling_behind_an_augmentation_is_fitted_to_the_pixels() -> None:
    pixels = DRAW.integers(0, 256, (20, 2, 9, 8), dtype=np.uint8)
    net = nn.Sequential(nn.RandomCrop((7, 6)), nn.StandardizeChannels(2))
    net.adapt(pixels)
    middle = pixels[:, :, 1:8, 1:7]
    expected = middle.mean((0, 2, 3))
    np.testing.assert_allclose(net[1].mean.value.reshape(-1), expected, rtol=1e-6)


def test_augmentation_is_saved_with_a_model(tmp_path: Any) -> None:
    pel.random.seed(0)
    net = nn.Sequential(*(make() for make in MAKERS.values()))
    net.save(tmp_path / "m.safetensors")
    assert repr(pel.load(tmp_path / "m.safetensors")) == repr(net)
    assert len(leaves(net.state_dict())) == 0


# --- bad input ---


@pytest.mark.parametrize(
    ("top", "left", "words"),
    [
        ([0, 3], [0, 0], "image 1 begins at row 3 · expected 0 to 2, so"),
        ([0, 0], [-1, 0], "image 0 begins at column -1 · expected 0 to 2, .* pad the"),
    ],
)
def test_a_window_that_does_not_lie_inside_is_refused(
    top: list[int], left: list[int], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        F.crop_each(X[:2], top, left, (5, 4))


def test_images_of_another_rank_are_refused_by_the_layer(layer: Layer) -> None:
    with pytest.raises(ShapeError, match=r"^\w+\(.*\): got 3 axes, expected 4: \[bat"):
        layer(X[0])


def test_a_window_that_does_not_fit_is_refused() -> None:
    words = r"^RandomCrop\(size=8\): got images of 7×6 · expected at least 8×8, the w"
    with pytest.raises(ShapeError, match=words):
        nn.RandomCrop(8)(X)


def test_amounts_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"amounts bool\[1\] for images f64\[40,2,7,6\]"
    ):
        F.flip_each(X, [True])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.RandomHorizontalFlip(1.5), "p must be between 0 and 1, not 1.5"),
        (lambda: nn.RandomErasing(-1), "p must be between 0 and 1, not -1"),
        (lambda: nn.RandomErasing(scale=(0.5, 2)), "two rising numbers above 0, at mo"),
        (lambda: nn.RandomErasing(ratio=(2, 1)), r"ratio=\(2, 1\) · expected two risi"),
        (lambda: nn.RandomCrop(0), "size must be a whole number ≥ 1"),
        (lambda: nn.RandomCrop(5, padding=-1), "padding must be a whole number ≥ 0"),
        (lambda: nn.RandomShift(1.5), "pixels must be a whole number ≥ 0"),
        (lambda: nn.RandomCrop(5, padding_mode="edges"), "no padding mode 'edges'"),
        (lambda: nn.Cutout((1, 2, 3)), "size must be a whole number ≥ 1"),
        (lambda: nn.RandomRotation(-5), "degrees=-5 · expected an angle from 0"),
        (lambda: nn.RandomRotation((1, 2, 3)), "expected an angle from 0, or the low"),
        (
            lambda: nn.RandomRotation(5, padding_mode="reflect")(X),
            "no padding mode 'reflect' for a rotation",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


# --- scaling by channel ---


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_channels_are_standardised_over_images_and_pixels(dtype: Any) -> None:
    x = DRAW.integers(0, 256, (2100, 3, 2, 3)).astype(dtype)
    layer = nn.StandardizeChannels(3).to("f64")
    layer.fit(x)
    found = layer(x).value
    np.testing.assert_allclose(found.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(found.std((0, 2, 3)), 1, rtol=1e-12)
    assert layer.mean.shape == (3, 1, 1)
    assert layer(x.astype(np.float64) * 1.0).dtype == np.float64


def test_a_channel_of_one_value_has_the_scale_one() -> None:
    layer = nn.StandardizeChannels(1)
    layer.fit(np.full((50, 1, 3, 3), 7, np.uint8))
    assert layer.scale.value.tolist() == [[[1.0]]]


def test_channels_fit_one_axis_of_space_too() -> None:
    layer = nn.StandardizeChannels(2, space=1)
    layer.fit(DRAW.normal(size=(30, 2, 5)))
    assert layer(np.zeros((4, 2, 5), np.float32)).shape == (4, 2, 5)


def test_images_that_do_not_fit_the_channels_are_refused() -> None:
    layer = nn.StandardizeChannels(3)
    with pytest.raises(ShapeError, match=r"shape \[40, 2, 7, 6\] · expected \['rows"):
        layer.fit(X)
    with pytest.raises(ShapeError, match="at least one row"):
        layer.fit(np.zeros((0, 3, 2, 2)))
    with pytest.raises(DataError, match="NaN or infinity in the data"):
        layer.fit(np.full((1, 3, 2, 2), np.nan))
