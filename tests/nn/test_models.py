"""Networks for images: known sizes, JAX's numbers, residual blocks, training."""

from __future__ import annotations

import runpy
import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from sklearn.datasets import load_digits

import pellucid as pel
from pellucid import nn
from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.module import buffer_updates
from pellucid.tensors import grad, tensor

Array = np.ndarray[Any, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"


def count(net: nn.Module) -> int:
    return sum(each.size for each in net.parameters())


# --- LeNet -----------------------------------------------------------------------


def test_lenet_has_the_weights_of_its_paper() -> None:
    net = nn.LeNet()
    shapes = [each.shape for each in net.parameters()]
    assert shapes[::2] == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
    assert count(net) == 61_706


def test_lenet_starts_by_the_rule_of_relu_also_before_pooling() -> None:
    rules = [each.initialised for each in nn.LeNet() if hasattr(each, "initialised")]
    assert rules[:4] == ["he_normal, because relu follows"] * 4
    assert rules[4].startswith("xavier")


@pytest.mark.parametrize(
    ("size", "features"), [(28, 400), (32, 576), (12, 16), ((14, 20), 48)]
)
def test_lenet_fits_images_of_other_sizes(size: Any, features: int) -> None:
    net = nn.LeNet(3, in_channels=2, image_size=size)
    assert net[7].in_features == features
    height, width = (size, size) if isinstance(size, int) else size
    assert net(np.zeros((2, 2, height, width), np.float32)).shape == (2, 3)


def lenet_by_jax(x: Any, *weights: Any) -> Any:
    for i, padding in ((0, "SAME"), (2, "VALID")):
        x = lax.conv_general_dilated(x, weights[i], (1, 1), padding)
        x = jax.nn.relu(x + weights[i + 1].reshape(-1, 1, 1))
        n, channels, height, width = x.shape
        x = x.reshape(n, channels, height // 2, 2, width // 2, 2).max((3, 5))
    x = x.reshape(len(x), -1)
    for i in (4, 6):
        x = jax.nn.relu(x @ weights[i].T + weights[i + 1])
    return x @ weights[8].T + weights[9]


@pytest.mark.slow
def test_lenet_and_its_gradients_are_those_of_jax() -> None:
    net = nn.LeNet(3, image_size=12).to("f64")
    x = tensor(np.random.default_rng(0).normal(size=(2, 1, 12, 12)), requires_grad=True)
    leaves = [x, *net.parameters()]
    found = net(x)
    upstream = np.random.default_rng(1).normal(size=found.shape)

    def program(*values: Any) -> Any:
        y, back = jax.vjp(lenet_by_jax, *values)
        return y, *back(upstream)

    expected = jax.jit(program)(*(each.value for each in leaves))
    for mine, other in zip([found, *grad(found, leaves, upstream)], expected):
        np.testing.assert_allclose(mine.value, other, rtol=1e-9, atol=1e-11)


def test_lenet_is_saved_and_loaded(tmp_path: Any) -> None:
    net = nn.LeNet(4, image_size=16)
    net.save(tmp_path / "lenet.safetensors")
    loaded = nn.load(tmp_path / "lenet.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)
    assert isinstance(loaded, nn.LeNet)
    np.testing.assert_array_equal(loaded(x).value, net(x).value)


def test_lenet_refuses_images_that_its_windows_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match="image_size must be a whole number ≥ 12"):
        nn.LeNet(image_size=8)
    with pytest.raises(ShapeError, match=r"got 3 axes, expected 4: .* try x\[:, None"):
        nn.LeNet()(np.zeros((2, 28, 28), np.float32))
    words = r"got images of 28×20 · expected 28×28 · .*image_size=\(28, 20\)"
    with pytest.raises(ShapeError, match=words):
        nn.LeNet()(np.zeros((2, 1, 28, 20), np.float32))


# --- ResNet ----------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "parameters"), [(8, 75_290), (20, 269_722)])
def test_a_resnet_has_the_weights_of_its_paper(depth: int, parameters: int) -> None:
    net = nn.ResNet(depth)
    assert count(net) == parameters
    matrices = [each for each in net.parameters() if each.ndim > 1]
    assert len(matrices) == depth


def test_a_resnet_halves_twice_and_has_pytorchs_names() -> None:
    net = nn.ResNet(14, num_classes=5, in_channels=1, width=4)
    table = net.summary((2, 1, 8, 8))
    for shape in ("f32[2,4,8,8]", "f32[2,8,4,4]", "f32[2,16,2,2]", "f32[2,5]"):
        assert shape in table
    names = list(net.state_dict())
    assert names[:6] == [
        "conv1.weight",
        *(f"bn1.{each}" for each in ("weight", "bias", "running_mean", "running_var")),
        "bn1.num_batches_tracked",
    ]
    assert "layer2.1.conv2.weight" in names
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert "he_normal, because relu follows" in table


def test_a_block_adds_what_came_in_thinned_and_with_zeros_behind() -> None:
    block = nn.BasicBlock(2, 3, stride=2).eval()
    block.conv2.weight.value = np.zeros((3, 3, 3, 3))
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 4)).astype(np.float32)
    y = block(x).value
    np.testing.assert_allclose(y[:, :2], np.maximum(x[:, :, ::2, ::2], 0), rtol=1e-6)
    assert y.shape == (2, 3, 3, 2)
    assert not y[:, 2].any()


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_checker_passes_a_block(training: bool) -> None:
    block = nn.BasicBlock(2, 3, stride=2).train(training)
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 4))
    with buffer_updates():
        assert pel.gradcheck(block, x, directions=3).ok


def test_a_resnet_is_saved_and_loaded(tmp_path: Any) -> None:
    net = nn.ResNet(8, in_channels=1, width=4).eval()
    net.save(tmp_path / "resnet.safetensors")
    loaded = nn.load(tmp_path / "resnet.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x).value, net(x).value)


@pytest.mark.parametrize(("depth", "near"), [(18, 20), (2, 8), (9, 8)])
def test_a_resnet_of_another_depth_names_the_nearest(depth: int, near: int) -> None:
    with pytest.raises(ArgumentError, match=rf"not {depth} · try depth={near}$"):
        nn.ResNet(depth)


def test_a_block_cannot_lose_channels() -> None:
    with pytest.raises(ArgumentError, match="as many channels or more: 4 to 2"):
        nn.BasicBlock(4, 2)


# --- training --------------------------------------------------------------------


def digits() -> tuple[Array, Array]:
    data = load_digits()
    return (data.images[:48, None] / 16.0).astype(np.float32), data.target[:48]


def small_lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [small_lenet, lambda: nn.ResNet(8, in_channels=1, width=4)]
)
def test_the_engines_train_images_alike(make: Any) -> None:
    images, labels = digits()
    losses = []
    for engine in ("numpy", "llvm"):
        with pel.random.keys_from(pel.random.key_of(0)):
            net = make()
        trainer = pel.Trainer(net, nn.CrossEntropyLoss(), engine=engine)
        history = trainer.fit(images, labels, epochs=2, batch_size=16, verbose=0)
        losses.append(history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.slow
def test_the_example_learns_digits_and_reads_idx_files(tmp_path: Any) -> None:
    example = runpy.run_path(str(EXAMPLES / "lenet.py"))
    images, labels = example["load"]()
    assert images.shape == (1797, 1, 16, 16)
    _, accuracy = example["train"](
        images[:750], labels[:750], epochs=4, batch_size=25, lr=4e-3, verbose=0
    )
    assert accuracy > 0.8
    small = images[:3, 0]
    header = struct.pack(">HBBIII", 0, 8, 3, *small.shape)
    (tmp_path / "images").write_bytes(header + small.tobytes())
    kinds = struct.pack(">HBBI", 0, 8, 1, 3) + bytes(labels[:3].tolist())
    (tmp_path / "labels").write_bytes(kinds)
    found, named = example["load"]([tmp_path / "images", tmp_path / "labels"])
    np.testing.assert_array_equal(found, images[:3])
    np.testing.assert_array_equal(named, labels[:3])
