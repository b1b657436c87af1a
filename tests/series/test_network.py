"""The network of a forecast: where it starts, what it does not depend on, gradients."""

import numpy as np
import pytest

import pellucid as pel
from pellucid import nn
from pellucid.errors import ArgumentError
from pellucid.series.network import Forecaster

SHAPES = {"lags": 4, "horizon": 3, "seasonal": 5, "extra": 6}
MODELS = ["linear", "mlp", "gru", "lstm"]


def inputs(batch=5, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(batch, 4), (batch, 5), (batch, 2), (batch, 2, 2)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def a_network(model="mlp", scaling="level", moved=True, **more):
    with pel.random.keys_from(pel.random.key_of(0)):
        net = Forecaster(
            **{**SHAPES, **more}, model=model, hidden=(3,), scaling=scaling
        )
    net.to("f64")
    if moved:
        rng = np.random.default_rng(1)
        weights = net.linear.weight
        weights.value = rng.standard_normal(weights.shape)
    return net


def test_the_linear_network_starts_at_the_naive_forecast():
    net = a_network("linear", moved=False)
    recent = inputs()[0]
    expected = np.repeat(recent[:, -1:], 3, axis=1)
    np.testing.assert_array_equal(net(*inputs()).value, expected)


def test_the_linear_network_by_hand():
    net = a_network("linear")
    recent, season, waves, known = inputs()
    last = recent[:, -1:]
    shown = [recent - last, season - last, waves, known.reshape(5, 4), last]
    expected = last + np.concatenate(shown, 1) @ net.linear.weight.value.T
    np.testing.assert_allclose(net(*inputs()).value, expected, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_by_windows_a_forecast_moves_and_grows_with_its_window(model):
    net = a_network(model, "window")
    recent, season, *rest = inputs()
    found = net(recent, season, *rest).value
    grown = net(10 * recent + 7, 10 * season + 7, *rest).value
    # The least spread is the only thing that does not grow.
    np.testing.assert_allclose(grown, 10 * found + 7, rtol=1e-4)


def test_a_window_without_spread_is_forecast():
    net = a_network("mlp", "window")
    recent, season, *rest = inputs()
    assert np.isfinite(net(recent * 0 + 3, season, *rest).value).all()


@pytest.mark.sampled(6)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scaling", ["level", "window", "none"])
def test_gradients_are_right(model, scaling):
    net = a_network(model, scaling)
    report = pel.gradcheck(net, *inputs(3), directions=4)
    assert report.ok, report


def test_without_anything_beside_the_recent_values():
    net = a_network(seasonal=0, extra=0)
    assert net(inputs()[0]).shape == (5, 3)
    assert net.linear.weight.shape == (3, 5)


@pytest.mark.parametrize("model", MODELS)
def test_a_network_is_saved_and_loaded(model, tmp_path):
    net = a_network(model)
    net.save(tmp_path / "net.safetensors")
    loaded = nn.load(tmp_path / "net.safetensors").to("f64")
    np.testing.assert_array_equal(loaded(*inputs()).value, net(*inputs()).value)


def test_models_that_cannot_be_built_are_refused():
    with pytest.raises(ArgumentError, match="model='mlpp' · did you mean 'mlp'"):
        a_network("mlpp")
    with pytest.raises(ArgumentError, match=r"hidden=\(3, 4\) · expected one width"):
        Forecaster(4, 1, model="gru", hidden=(3, 4))
