"""Initialisers: variances, fans, rules, determinism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pellucid import nn, random
from pellucid.configuration import config
from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn import init
from pellucid.tensors import Tensor

KEY = random.key_of(3)
SHAPE = (300, 200)  # fan out, fan in

VARIANCE = {
    "lecun_normal": 1 / 200,
    "lecun_uniform": 1 / 200,
    "xavier_normal": 2 / 500,
    "xavier_uniform": 2 / 500,
    "he_normal": 2 / 200,
    "he_uniform": 2 / 200,
}


def draw(name: str, **options: Any) -> Any:
    return init.INITIALISERS[name](KEY, SHAPE, "f64", **options).value


@pytest.mark.parametrize("name", VARIANCE)
def test_the_variance_is_that_of_the_rule(name: str) -> None:
    drawn = draw(name)
    assert drawn.mean() == pytest.approx(0, abs=4 * math.sqrt(VARIANCE[name] / 60000))
    assert drawn.var() == pytest.approx(VARIANCE[name], rel=0.03)


@pytest.mark.parametrize("name", VARIANCE)
def test_a_gain_multiplies_the_standard_deviation(name: str) -> None:
    base = draw(name, gain=1.0)
    np.testing.assert_allclose(draw(name, gain=3.0), 3 * base, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in VARIANCE if n.endswith("uniform")])
def test_uniform_rules_keep_to_their_bound(name: str) -> None:
    bound = math.sqrt(3 * VARIANCE[name])
    drawn = np.abs(draw(name))
    assert drawn.max() <= bound
    assert drawn.max() > 0.99 * bound


def test_normal_rules_have_normal_tails() -> None:
    scaled = draw("he_normal") / math.sqrt(2 / 200)
    assert (np.abs(scaled) > 2).mean() == pytest.approx(0.0455, abs=0.005)


def test_he_can_keep_the_scale_of_the_backward_pass() -> None:
    for name in ("he_normal", "he_uniform"):
        assert draw(name, mode="fan_out").var() == pytest.approx(2 / 300, rel=0.03)
    with pytest.raises(ArgumentError, match="did you mean 'fan_in'"):
        draw("he_normal", mode="fan_inn")


def test_plain_distributions_have_their_parameters() -> None:
    assert (draw("zeros") == 0).all()
    assert (draw("constant", value=2.5) == 2.5).all()
    even = draw("uniform", low=1.0, high=3.0)
    assert even.min() >= 1.0
    assert even.max() < 3.0
    assert even.mean() == pytest.approx(2.0, abs=0.02)
    bell = draw("normal", mean=-1.0, std=0.5)
    assert bell.mean() == pytest.approx(-1.0, abs=0.02)
    assert bell.std() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 4), (6, 2, 3, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal(KEY, shape, "f64", gain=2.0).value.reshape(shape[0], -1)
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(len(short)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    # QR alone prefers one sign of the diagonal.
    corners = [
        init.orthogonal(random.key_of(i), (2, 2), "f64").value[0, 0] for i in range(200)
    ]
    assert 60 < sum(each > 0 for each in corners) < 140


def test_fans_count_the_window_of_a_convolution() -> None:
    assert init.fans((16, 8, 3, 5)) == (8 * 15, 16 * 15)


def test_a_vector_has_no_fans_and_the_error_says_what_to_use() -> None:
    with pytest.raises(ShapeError, match=r"shape \[3\] has no fans .* 'uniform'"):
        init.he_normal(KEY, (3,))


@pytest.mark.parametrize("name", init.INITIALISERS)
def test_the_same_key_draws_the_same_in_the_dtype_asked_for(name: str) -> None:
    first = init.INITIALISERS[name](KEY, (4, 3))
    assert isinstance(first, Tensor)
    assert first.dtype == np.float32
    assert init.INITIALISERS[name](KEY, (4, 3), "f64").dtype == np.float64
    np.testing.assert_array_equal(
        first.value, init.INITIALISERS[name](KEY, (4, 3)).value
    )
    with config(dtype="f64"):
        assert init.INITIALISERS[name](KEY, (4, 3)).dtype == np.float64


# --- chosen from the activation --------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.ReLU(), "he_normal, because relu follows"),
        (nn.LeakyReLU(0.2), "he_normal, because leaky_relu follows"),
        (nn.ELU(), "he_normal, because elu follows"),
        (nn.GELU(), "he_normal, because gelu follows"),
        (nn.SELU(), "lecun_normal, because selu follows"),
        (nn.Tanh(), "xavier_uniform, because tanh follows"),
        (nn.Sigmoid(), "xavier_uniform, because sigmoid follows"),
        (nn.Softmax(), "xavier_uniform, because softmax follows"),
        (nn.Step(), "xavier_uniform, because step follows"),
        (nn.Identity(), "xavier_uniform, because no activation follows"),
    ],
)
def test_the_initialiser_is_chosen_from_the_activation(
    layer: nn.Module, words: str
) -> None:
    net = nn.Sequential(nn.Linear(200, 300), layer)
    assert net[0].initialised == words
    expected = VARIANCE[words.split(",")[0]]
    if isinstance(layer, nn.LeakyReLU):
        expected = 2 / (1 + 0.2**2) / 200
    assert net[0].weight.value.var() == pytest.approx(expected, rel=0.05)


def test_every_activation_layer_has_a_rule() -> None:
    from pellucid.nn.activations import _LAYERS

    assert set(_LAYERS) <= set(init.RULES)
    assert set(init.RULES.values()) <= set(init.INITIALISERS)


def test_layers_that_do_not_change_the_scale_are_looked_through() -> None:
    net = nn.Sequential(
        nn.Linear(4, 4), nn.Dropout(0.1), nn.Flatten(), nn.Identity(), nn.ReLU()
    )
    assert net[0].initialised == "he_normal, because relu follows"


def test_a_nested_sequential_knows_what_follows_outside_of_it() -> None:
    inner = nn.Sequential(nn.Linear(4, 4))
    assert inner[0].initialised == "xavier_uniform, because no activation follows"
    nn.Sequential(inner, nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    assert inner[0].initialised == "he_normal, because relu follows"


def test_appending_an_activation_draws_again() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    net.append(nn.ReLU())
    assert net[0].initialised == "he_normal, because relu follows"


def test_an_initialiser_that_was_named_stays() -> None:
    layer = nn.Linear(4, 4, init="orthogonal")
    before = layer.weight.value
    nn.Sequential(layer, nn.ReLU())
    assert layer.weight.value is before
    assert layer.initialised == "orthogonal"


def test_a_weight_that_was_set_by_hand_is_not_drawn_again() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.value = [[1.0, 2.0], [3.0, 4.0]]
    nn.Sequential(layer, nn.ReLU())
    assert layer.weight.value.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_the_redrawn_weight_depends_on_the_key_and_the_rule_alone() -> None:
    with random.keys_from(KEY):
        late = nn.Linear(4, 8)
    nn.Sequential(late, nn.ReLU())
    with random.keys_from(KEY):
        key = random.next_key()
    np.testing.assert_array_equal(late.weight.value, init.he_normal(key, (8, 4)).value)


def test_construction_from_one_key_is_deterministic() -> None:
    def build(seed: int) -> Any:
        with random.keys_from(random.key_of(seed)):
            return nn.MLP(3, (8, 8), 2).state_dict()

    first, again, other = build(1), build(1), build(2)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert (first["0.weight"] != other["0.weight"]).any()
    assert (first["2.weight"] != 0).any()


def test_biases_start_at_zero() -> None:
    assert (nn.Linear(3, 4).bias.value == 0).all()


def test_an_unknown_initialiser_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="no initialiser 'he_norml' · did you mean"):
        nn.Linear(2, 2, init="he_norml")


def test_maxout_keeps_the_mean_square_of_its_input() -> None:
    layer = nn.Maxout(400, 300, pieces=2)
    assert layer.initialised == "lecun_normal, because maxout follows"
    x = np.random.default_rng(0).normal(size=(50, 400)).astype(np.float32)
    assert (layer(x).value ** 2).mean() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("name", VARIANCE)
def test_fans_that_the_shape_does_not_tell_are_taken_as_given(name: str) -> None:
    choice = init.Choice(name)
    same = choice.draw(KEY, SHAPE, "f64", fan=(200, 300)).value
    np.testing.assert_array_equal(same, draw(name))
    quarter = choice.draw(KEY, SHAPE, "f64", fan=(800, 1200)).value
    np.testing.assert_allclose(quarter, same / 2, rtol=1e-12, atol=1e-15)
