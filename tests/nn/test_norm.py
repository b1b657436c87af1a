"""Normalisation: JAX's numbers, PyTorch's state, running statistics, engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid as pel
from pellucid import functional as F
from pellucid import nn, optim
from pellucid.errors import ArgumentError, ShapeError
from pellucid.random import key_of, keys_from
from pellucid.tensors import grad, tensor

Array = np.ndarray[Any, Any]


def standard(x: Any, axes: Any, eps: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / jnp.sqrt(
        x.var(axes, keepdims=True) + eps
    )


def by_layer(x: Any, w: Any, b: Any, axes: int, eps: float) -> Any:
    return standard(x, tuple(range(x.ndim - axes, x.ndim)), eps) * w + b


def by_rms(x: Any, w: Any, axes: int, eps: float) -> Any:
    last = tuple(range(x.ndim - axes, x.ndim))
    return x / jnp.sqrt((x**2).mean(last, keepdims=True) + eps) * w


def by_group(x: Any, w: Any, b: Any, groups: int, eps: float) -> Any:
    parts = x.reshape(x.shape[0], groups, -1)
    column = (-1, *(1,) * (x.ndim - 2))
    y = standard(parts, (2,), eps).reshape(x.shape)
    return y * w.reshape(column) + b.reshape(column)


def by_batch(x: Any, w: Any, b: Any, eps: float) -> Any:
    column = (-1, *(1,) * (x.ndim - 2))
    axes = (0, *range(2, x.ndim))
    return standard(x, axes, eps) * w.reshape(column) + b.reshape(column)


def agree(layer: nn.Module, theirs: Callable[..., Any], x: Array) -> None:
    """Check the value and every gradient beside JAX's, to 1e-9."""
    rng = np.random.default_rng(1)
    for each in layer.parameters():
        each.value = rng.normal(size=each.shape)
    leaves = [tensor(x, requires_grad=True), *layer.parameters()]
    y = layer(leaves[0])
    upstream = rng.normal(size=y.shape)

    def program(*values: Any) -> Any:
        value, back = jax.vjp(theirs, *values)
        return value, *back(upstream)

    expected = jax.jit(program)(*(each.value for each in leaves))
    found = [y, *grad(y, leaves, upstream)]
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.value, other, rtol=1e-9, atol=1e-11)


def shapes(seed: int, rank: int) -> tuple[np.random.Generator, tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return rng, tuple(map(int, rng.integers(2, 5, rank)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(2))
def test_layer_and_rms_agree_with_jax(seed: int) -> None:
    rng, shape = shapes(seed, 2 + seed % 3)
    axes = 1 + seed % 2
    x = rng.normal(3, 2, shape)
    eps = float(rng.uniform(1e-6, 0.1))
    own = shape[-axes:]
    layer = nn.LayerNorm(own, eps, dtype="f64")
    agree(layer, lambda x, w, b: by_layer(x, w, b, axes, eps), x)
    agree(nn.RMSNorm(own, eps, dtype="f64"), lambda x, w: by_rms(x, w, axes, eps), x)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", [0, 2])
def test_groups_and_instances_agree_with_jax(seed: int) -> None:
    rng, shape = shapes(seed, 3 + seed)
    groups, size = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    x = rng.normal(3, 2, (shape[0], groups * size, *shape[2:]))
    eps = float(rng.uniform(1e-6, 0.1))
    channels = groups * size
    layer = nn.GroupNorm(groups, channels, eps, dtype="f64")
    agree(layer, lambda x, w, b: by_group(x, w, b, groups, eps), x)
    kind = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[seed]
    single = kind(channels, eps, affine=True, dtype="f64")
    agree(single, lambda x, w, b: by_group(x, w, b, channels, eps), x)


BATCH = {2: nn.BatchNorm1d, 5: nn.BatchNorm3d}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("rank", BATCH)
def test_batches_agree_with_jax(rank: int) -> None:
    rng, shape = shapes(rank, rank)
    x, eps = rng.normal(3, 2, shape), float(rng.uniform(1e-6, 0.1))
    layer = BATCH[rank](shape[1], eps, dtype="f64")
    agree(layer, lambda x, w, b: by_batch(x, w, b, eps), x)
    # In evaluation the moments are constants.
    layer.running_mean.value = mean = rng.normal(size=shape[1])
    layer.running_var.value = var = rng.uniform(0.5, 2, shape[1])
    column = (-1, *(1,) * (rank - 2))

    def theirs(x: Any, w: Any, b: Any) -> Any:
        scale = (w / jnp.sqrt(var + eps)).reshape(column)
        return (x - mean.reshape(column)) * scale + b.reshape(column)

    agree(layer.eval(), theirs, x)
    assert layer.num_batches_tracked.item() == 1


LAYERS = {
    "layer": (nn.LayerNorm((3, 4)), (2, 3, 4)),
    "rms": (nn.RMSNorm(4), (3, 4)),
    "group": (nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance": (nn.InstanceNorm2d(2, affine=True), (2, 2, 3, 2)),
    "batch": (nn.BatchNorm1d(3), (4, 3)),
    "batch, evaluated": (nn.BatchNorm2d(2).eval(), (2, 2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_passes_the_gradient_checker(name: str) -> None:
    layer, shape = LAYERS[name]
    x = np.random.default_rng(0).normal(size=shape)
    assert pel.gradcheck(layer, x).ok


def test_a_large_mean_costs_no_digits() -> None:
    x = np.random.default_rng(0).normal(size=(64, 3))
    moved = (x + 1e4).astype(np.float32)
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3)):
        exact = layer(moved.astype(np.float64)).value
        np.testing.assert_allclose(layer(moved).value, exact, rtol=0.02, atol=0.02)


def test_whole_numbers_become_floats() -> None:
    x = np.array([[1, 5], [3, 9]])
    for layer in (nn.LayerNorm(2), nn.BatchNorm1d(2), nn.RMSNorm(2)):
        assert layer(x).dtype == np.float32
    plain = F.layer_norm(x.astype(np.float32), 2)
    np.testing.assert_array_equal(F.layer_norm(x, 2).value, plain.value)


# --- running statistics ----------------------------------------------------------


def test_running_statistics_move_by_the_momentum_and_are_unbiased() -> None:
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm2d(2, momentum=0.3, dtype="f64")
    mean, var = np.zeros(2), np.ones(2)
    for _ in range(3):
        x = rng.normal(5, 3, (4, 2, 3, 3))
        layer(x)
        mean = 0.7 * mean + 0.3 * x.mean((0, 2, 3))
        var = 0.7 * var + 0.3 * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean.value, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.value, var, rtol=1e-12)
    assert layer.num_batches_tracked.item() == 3
    layer.eval()(x)
    assert layer.num_batches_tracked.item() == 3


def test_without_a_momentum_the_average_of_all_batches_is_kept() -> None:
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm1d(2, momentum=None, dtype="f64")
    batches = rng.normal(5, 3, (4, 10, 2))
    for x in batches:
        layer(x)
    means = batches.mean(1)
    np.testing.assert_allclose(layer.running_mean.value, means.mean(0), rtol=1e-12)
    spread = batches.var(1, ddof=1).mean(0)
    np.testing.assert_allclose(layer.running_var.value, spread, rtol=1e-12)


def test_untracked_statistics_are_those_of_the_batch() -> None:
    layer = nn.BatchNorm1d(2, track_running_stats=False)
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = np.random.default_rng(0).normal(5, 3, (8, 2))
    np.testing.assert_array_equal(layer(x).value, layer.eval()(x).value)


def test_names_and_order_of_states_are_pytorchs() -> None:
    running = ["running_mean", "running_var", "num_batches_tracked"]
    state = nn.BatchNorm2d(3).state_dict()
    assert list(state) == ["weight", "bias", *running]
    assert state["num_batches_tracked"].dtype == np.int64
    assert list(nn.BatchNorm1d(3, affine=False).state_dict()) == running
    assert list(nn.LayerNorm(3).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.RMSNorm((2, 3)).state_dict()) == ["weight"]
    assert not nn.InstanceNorm1d(3).state_dict()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_statistics_are_carried_from_step_to_step_of_training(
    engine: str, tmp_path: Any
) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(4, 2, (48, 3)), rng.integers(0, 2, 48)

    def trainer() -> pel.Trainer:
        with keys_from(key_of(5)):
            model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).to("f64")
        return pel.Trainer(
            model, nn.CrossEntropyLoss(), optim.Adam(lr=0.1), engine=engine
        )

    options: dict[str, Any] = {"batch_size": 16, "verbose": 0, "shuffle": False}
    whole = trainer()
    whole.fit(X, y, epochs=4, **options)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        for part in X.reshape(3, 16, 3):
            mean = 0.9 * mean + 0.1 * part.mean(0)
            var = 0.9 * var + 0.1 * part.var(0, ddof=1)
    norm = whole.model[0]
    np.testing.assert_allclose(norm.running_mean.value, mean, rtol=1e-9)
    np.testing.assert_allclose(norm.running_var.value, var, rtol=1e-9)
    assert norm.num_batches_tracked.item() == 12
    # Prediction uses them, one row at a time too, and changes nothing.
    together = whole.predict(X)
    alone = np.concatenate([whole.predict(row[None]) for row in X[:3]])
    np.testing.assert_allclose(together[:3], alone, rtol=1e-9)
    assert norm.num_batches_tracked.item() == 12
    # A checkpoint keeps them.
    path = tmp_path / "run.safetensors"
    trainer().fit(X, y, epochs=2, checkpoint=path, **options)
    resumed = trainer()
    resumed.fit(X, y, epochs=4, checkpoint=path, resume=True, **options)
    np.testing.assert_array_equal(resumed.model[0].running_var.value, norm.running_var)
    assert whole.replay(7).before.buffers["0.num_batches_tracked"] == 7


@pytest.mark.slow
def test_the_engines_agree_on_training_through_every_kind() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(2, 1, (32, 4, 3)), rng.normal(size=(32, 1))
    states = []
    for engine in ("numpy", "llvm"):
        with keys_from(key_of(5)):
            model = nn.Sequential(
                nn.GroupNorm(2, 4), nn.BatchNorm1d(4), nn.InstanceNorm1d(4),
                nn.Flatten(), nn.Linear(12, 8), nn.LayerNorm(8), nn.Tanh(),
                nn.RMSNorm(8), nn.Linear(8, 1),
            ).to("f64")  # fmt: skip
        trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.01), engine=engine)
        trainer.fit(X, y, epochs=2, batch_size=8, verbose=0)
        states.append(model.state_dict())
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-8, atol=1e-9)


def test_they_are_saved_and_loaded(tmp_path: Any) -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(4, momentum=None), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4),
        nn.LayerNorm((4, 3), eps=1e-3, bias=False), nn.RMSNorm([4, 3]),
        nn.BatchNorm1d(4, affine=False, track_running_stats=False),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    model(x)
    model.eval().save(tmp_path / "a.safetensors")
    again = nn.load(tmp_path / "a.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(x).value, model(x).value)


def test_a_norm_lets_the_layer_before_see_the_activation_behind() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    assert net[0].initialised == "he_normal, because relu follows"
    assert "weight 1, bias 0" in net.summary()


# --- what is refused -------------------------------------------------------------


def refusal(layer: nn.Module, shape: tuple[int, ...]) -> str:
    with pytest.raises(ShapeError) as caught:
        layer(np.zeros(shape, np.float32))
    return str(caught.value).split(": ", 1)[1].split(" · input")[0]


def test_a_batch_of_one_row_has_no_variance() -> None:
    assert refusal(nn.BatchNorm1d(3), (1, 3)) == (
        "got f32[1,3]: 1 value a channel · expected at least 2 to take mean and "
        "variance of · choose a batch_size that leaves no last batch of one row, or "
        "call eval() to use the running statistics"
    )
    assert nn.BatchNorm1d(3).eval()(np.zeros((1, 3), np.float32)).shape == (1, 3)
    assert nn.BatchNorm1d(3)(np.zeros((1, 3, 2), np.float32)).shape == (1, 3, 2)
    assert refusal(nn.InstanceNorm1d(3), (2, 3, 1)).startswith("got f32[2,3,1]: one v")


def test_a_last_batch_of_one_row_is_refused_before_training() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    with pytest.raises(ShapeError, match="choose a batch_size that leaves no last"):
        pel.Trainer(model, nn.MSELoss()).fit(
            np.zeros((9, 3)), np.zeros(9), batch_size=4, verbose=0
        )
    assert model[0].num_batches_tracked.item() == 0


def test_ranks_and_channels_are_checked() -> None:
    assert refusal(nn.BatchNorm2d(3), (4, 3)) == (
        "got f32[4,3] · expected [batch, channels, height, width] · for [batch, "
        "features] take the 1d layer"
    )
    assert refusal(nn.BatchNorm1d(3), (4, 5)) == (
        "got 5 channels · expected 3, along axis 1 · the channels stand behind the "
        "batch; check the layer before"
    )
    assert refusal(nn.GroupNorm(1, 3), (4,)).startswith("got no channels · expected 3")
    assert refusal(nn.LayerNorm((3, 4)), (2, 4)) == (
        "got f32[2,4] to normalise over its last axes · expected the sizes [3, 4] "
        "there · check normalized_shape, or the layer before"
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.LayerNorm(()), "must name at least one axis"),
        (lambda: nn.LayerNorm((3, 0)), "normalized_shape must be a whole number"),
        (lambda: nn.LayerNorm(3, eps=0.0), "eps must be above 0"),
        (lambda: nn.GroupNorm(3, 4), "divide num_channels=4 · try num_groups=1"),
        (lambda: nn.BatchNorm1d(3, momentum=2.0), "momentum must be between 0 and 1"),
        (lambda: nn.RMSNorm(3, dtype="i32"), "weights are f32 or f64, not int32"),
        (lambda: F.group_norm(np.ones((2, 3)), 2), "cannot be cut into 2 groups"),
    ],
)
def test_arguments_are_checked(make: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        make()


def test_functions_check_the_numbers_of_weights() -> None:
    with pytest.raises(
        ShapeError, match=r"the bias f32\[2\] does not fit .* 3 numbers"
    ):
        F.layer_norm(np.ones((2, 3), np.float32), 3, bias=[1.0, 2.0])
