"""Layers: formulas, layouts, modes, and training by hand to known answers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import pellucid as pel
from pellucid import functional as F
from pellucid import nn, random
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import ArgumentError, DataError, NotFittedError, ShapeError
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, symbols, trace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))


# --- Linear, Maxout, Neuron ------------------------------------------------------


def test_linear_has_pytorchs_layout_and_formula() -> None:
    layer = nn.Linear(3, 2, dtype="f64")
    state = layer.state_dict()
    assert {name: each.shape for name, each in state.items()} == {
        "weight": (2, 3),
        "bias": (2,),
    }
    layer.bias.value = [1.0, -1.0]
    np.testing.assert_allclose(layer(X).value, X @ state["weight"].T + [1.0, -1.0])


def test_linear_takes_any_number_of_axes_in_front() -> None:
    layer = nn.Linear(3, 2, dtype="f64")
    x = RNG.normal(size=(4, 5, 3))
    np.testing.assert_allclose(layer(x).value, x @ layer.weight.value.T)
    np.testing.assert_allclose(layer(x[0, 0]).value, x[0, 0] @ layer.weight.value.T)


def test_linear_gradients_agree_with_jax() -> None:
    layer = nn.Linear(3, 2, dtype="f64")
    w, b = layer.weight.value, layer.bias.value
    (layer(X) ** 2.0).sum().backward()
    dw, db = jax.grad(lambda w, b: ((X @ w.T + b) ** 2).sum(), (0, 1))(w, b)
    np.testing.assert_allclose(layer.weight.grad, dw, rtol=1e-10)
    np.testing.assert_allclose(layer.bias.grad, db, rtol=1e-10)


def test_linear_without_a_bias_has_none_in_its_state() -> None:
    layer = nn.Linear(3, 2, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(in_features=3, out_features=2, bias=False)"


def test_linear_takes_whole_numbers_for_its_dtype() -> None:
    assert nn.Linear(3, 2)(np.ones((1, 3), np.int64)).dtype == np.float32


@pytest.mark.parametrize("sizes", [(0, 2), (2, -1), (2.0, 1), (True, 1)])
def test_sizes_must_be_whole_numbers(sizes: Any) -> None:
    with pytest.raises(ArgumentError, match="must be a whole number ≥ 1"):
        nn.Linear(*sizes)


def test_maxout_is_the_largest_of_linear_pieces() -> None:
    layer = nn.Maxout(3, 2, pieces=4)
    w = layer.weight.value
    assert w.shape == (8, 3)
    x = X.astype(np.float32)
    expected = (x @ w.T).reshape(6, 2, 4).max(-1)
    np.testing.assert_allclose(layer(x).value, expected, rtol=1e-6)


def test_a_perceptron_computes_logic() -> None:
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    for bias, expected in ((-1.5, [0, 0, 0, 1]), (-0.5, [0, 1, 1, 1])):
        unit = nn.Neuron(2, activation="step")
        unit.load_state_dict({"weight": [[1, 1]], "bias": [bias]})
        assert unit(inputs).value[:, 0].tolist() == expected


def test_a_sigmoid_neuron_is_a_weighted_sum_and_a_sigmoid() -> None:
    unit = nn.Neuron(3)
    expected = 1 / (1 + np.exp(-(X @ unit.weight.value.T)))
    np.testing.assert_allclose(unit(X).value, expected, rtol=1e-6)


def test_a_neuron_with_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'sigmoid'"):
        nn.Neuron(3, activation="sigmoidd")


def descend(model: nn.Module, loss: Any, rate: float, steps: int) -> None:
    for _ in range(steps):
        model.zero_grad()
        loss().backward()
        for leaf in model.parameters():
            leaf.value = leaf.value - rate * leaf.grad


@pytest.mark.slow
def test_linear_regression_is_a_layer_of_one_unit() -> None:
    y = X @ [1.0, -2.0, 0.5] + 3.0 + 0.1 * RNG.normal(size=6)
    layer = nn.Linear(3, 1, dtype="f64")
    descend(layer, lambda: nn.MSELoss()(layer(X), tensor(y)), 0.3, 800)
    reference = LinearRegression().fit(X, y)
    np.testing.assert_allclose(layer.weight.value[0], reference.coef_, atol=1e-6)
    np.testing.assert_allclose(layer.bias.value, reference.intercept_, atol=1e-6)


@pytest.mark.slow
def test_logistic_regression_is_a_sigmoid_neuron() -> None:
    x = RNG.normal(size=(40, 2))
    y = (x.sum(1) + RNG.normal(size=40) > 0).astype(float)
    unit = nn.Neuron(2, dtype="f64")

    def loss() -> Tensor:
        ridge = (unit.weight * unit.weight).sum() / 80.0
        return nn.BCELoss()(unit(x), tensor(y)) + ridge

    descend(unit, loss, 1.0, 600)
    reference = LogisticRegression(C=1.0, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(unit.weight.value, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(unit.bias.value, reference.intercept_, atol=1e-5)


# --- activations as layers -------------------------------------------------------


def test_every_activation_layer_computes_its_function() -> None:
    from pellucid.nn.activations import _LAYERS, activation_layer

    x = X.astype(np.float32)
    for name in _LAYERS:
        layer = activation_layer(name)
        found = layer(x).value
        if name == "prelu":
            np.testing.assert_array_equal(
                found, np.where(x > 0, x, x * np.float32(0.25))
            )
        else:
            np.testing.assert_array_equal(found, F.ACTIVATIONS[name](tensor(x)).value)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("layer", "theirs"),
    [
        (nn.LeakyReLU(0.3), lambda x: jax.nn.leaky_relu(x, 0.3)),
        (nn.ELU(0.5), lambda x: jax.nn.elu(x, 0.5)),
        (nn.CELU(0.5), lambda x: jax.nn.celu(x, 0.5)),
        (nn.GELU("tanh"), jax.nn.gelu),
        (nn.Softmax(dim=0), lambda x: jax.nn.softmax(x, 0)),
        (nn.LogSoftmax(dim=0), lambda x: jax.nn.log_softmax(x, 0)),
    ],
)
def test_arguments_of_activation_layers_reach_the_function(
    layer: nn.Module, theirs: Any
) -> None:
    np.testing.assert_allclose(layer(X).value, theirs(jnp.asarray(X)), rtol=1e-9)


def test_prelu_trains_its_slopes() -> None:
    layer = nn.PReLU(3, init=0.1).to("f64")
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer(X).sum().backward()
    np.testing.assert_allclose(layer.weight.grad, np.minimum(X, 0).sum(0))


def test_an_activation_takes_no_argument_that_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        nn.ReLU(5)  # type: ignore[call-arg]


# --- Dropout, Flatten, Identity --------------------------------------------------


def test_dropout_drops_a_share_and_keeps_the_mean() -> None:
    x = np.ones((200, 200), np.float32)
    with random.keys_from(random.key_of(0)):
        y = nn.Dropout(0.3)(x).value
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert y.mean() == pytest.approx(1.0, abs=0.01)


def test_dropout_out_of_training_changes_nothing() -> None:
    x = tensor(X)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_of_everything_gives_zeros_and_no_gradient() -> None:
    x = tensor(X, requires_grad=True)
    y = nn.Dropout(1.0)(x)
    assert (y.value == 0).all()
    assert (grad(y.sum(), [x])[0].value == 0).all()


def test_dropout_masks_follow_the_key_and_differ_between_draws() -> None:
    def draws(seed: int) -> Any:
        with random.keys_from(random.key_of(seed)):
            layer = nn.Dropout(0.5)
            return layer(X).value, layer(X).value

    first, second = draws(1)
    again, _ = draws(1)
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_dropout_in_a_trace_takes_its_mask_from_the_key_that_comes_in() -> None:
    layer, key = nn.Dropout(0.5), random.key_of(4)

    def run(x: Tensor, key: Tensor) -> Tensor:
        with random.keys_from(key):
            return layer(x)

    program = NumpyEngine().compile(trace(run, tensor(X).type, key.type))
    with random.keys_from(key):
        np.testing.assert_array_equal(program(X, key.value)[0], layer(X).value)
    other = program(X, random.key_of(5).value)[0]
    assert (other != program(X, key.value)[0]).any()


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_takes_a_probability(p: float) -> None:
    with pytest.raises(ArgumentError, match="p must be between 0 and 1"):
        nn.Dropout(p)


def test_flatten_joins_axes() -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0)(x).shape == (120,)
    assert nn.Flatten(1, 2)(x).shape == (2, 12, 5)
    with pytest.raises(ShapeError, match="axes 2 to 1"):
        nn.Flatten(2, 1)(x)


def test_unflatten_is_the_way_back() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    flat = nn.Flatten()(x)
    np.testing.assert_array_equal(nn.Unflatten(1, (3, 4))(flat).value, x)
    np.testing.assert_array_equal(nn.Unflatten(-1, [3, 4])(flat).value, x)
    with pytest.raises(
        ShapeError, match=r"axis 1 of f32\[2,12\] is not \[5, 2\] · exp"
    ):
        nn.Unflatten(1, (5, 2))(flat)
    assert nn.from_spec(nn.to_spec(nn.Unflatten(1, (3, 4)))).unflattened_size == (3, 4)


def test_identity_returns_its_input() -> None:
    x = tensor(X)
    assert nn.Identity()(x) is x


# --- Standardize, Unstandardize --------------------------------------------------


def test_standardize_gives_mean_zero_and_deviation_one() -> None:
    layer = nn.Standardize(3).to("f64")
    layer.fit(X * [1, 10, 1000] + [5, 0, -1e6])
    y = layer(X * [1, 10, 1000] + [5, 0, -1e6]).value
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8, -7.3])
def test_a_constant_column_has_the_scale_one(value: float) -> None:
    layer = nn.Standardize(1)
    layer.fit(np.full((1000, 1), value))
    assert layer.scale.value.tolist() == [1.0]
    assert abs(layer(np.full((2, 1), np.float32(value))).value).max() < 10


def test_a_column_that_hardly_varies_is_not_taken_for_constant() -> None:
    layer = nn.Standardize(1).to("f64")
    layer.fit(np.array([[1.0], [1.0 + 1e-9]]))
    assert layer.scale.value[0] == pytest.approx(5e-10, rel=1e-4)


def test_standardize_has_a_mean_for_each_entry_of_a_shape() -> None:
    layer = nn.Standardize((2, 3))
    layer.fit(RNG.normal(size=(50, 2, 3)))
    assert layer.mean.shape == (2, 3)
    assert layer(np.zeros((4, 2, 3), np.float32)).shape == (4, 2, 3)


@pytest.mark.parametrize("layer", [nn.Standardize(3), nn.Unstandardize(3)])
def test_a_layer_that_was_not_fitted_says_how_to_fit_it(layer: nn.Module) -> None:
    with pytest.raises(NotFittedError, match=r"call fit\(array\).*Trainer"):
        layer(X)


def test_fitting_refuses_other_widths_no_rows_and_missing_values() -> None:
    layer = nn.Standardize(2)
    with pytest.raises(ShapeError, match=r"shape \[6, 3\] · expected \['rows', 2\]"):
        layer.fit(X)
    with pytest.raises(ShapeError, match="at least one row"):
        layer.fit(np.zeros((0, 2)))
    with pytest.raises(DataError, match="NaN or infinity"):
        layer.fit([[1.0, np.nan]])
    assert not layer.is_fitted


def test_what_was_fitted_is_state_and_comes_back() -> None:
    layer = nn.Standardize(3)
    layer.fit(X)
    state = layer.state_dict()
    assert list(state) == ["mean", "scale", "fitted"]
    other = nn.Standardize(3)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other(X).value, layer(X).value)
    assert not list(layer.parameters())


def test_a_target_scale_is_found_in_the_last_of_several_sequences() -> None:
    net = nn.Sequential(
        nn.Linear(3, 1), nn.Sequential(nn.Linear(1, 1), nn.Unstandardize(1))
    )
    assert net.target_scale is net[1][1]
    net.adapt(X, X[:, 0])
    assert net.target_scale.is_fitted
    assert nn.Sequential(nn.Linear(3, 1)).target_scale is None


def test_unstandardize_is_the_inverse() -> None:
    y = RNG.normal(size=50) * 7 + 100
    layer = nn.Unstandardize(1).to("f64")
    layer.fit(y)
    units = layer.inverse(tensor(y[:, None]))
    assert units.value.mean() == pytest.approx(0, abs=1e-12)
    assert units.value.std() == pytest.approx(1)
    np.testing.assert_allclose(layer(units).value[:, 0], y)


def test_sequential_adapts_its_first_and_last_layer_once() -> None:
    net = nn.Sequential(nn.Standardize(3), nn.Linear(3, 1), nn.Unstandardize())
    y = RNG.normal(size=6) + 50
    net.adapt(X, y)
    np.testing.assert_allclose(net[0].mean.value, X.mean(0), rtol=1e-6)
    np.testing.assert_allclose(net[2].mean.value, [y.mean()], rtol=1e-6)
    net.adapt(X + 1, y + 1)
    np.testing.assert_allclose(net[0].mean.value, X.mean(0), rtol=1e-6)


@pytest.mark.parametrize(
    "front",
    [
        [nn.Flatten(), nn.Standardize(6)],
        [nn.Identity(), nn.Flatten(), nn.Sequential(nn.Standardize(6), nn.ReLU())],
        [nn.Sequential(nn.Flatten(), nn.Standardize(6))],
    ],
)
def test_a_scaling_behind_layers_that_only_move_numbers_is_fitted(front: Any) -> None:
    net = nn.Sequential(*front, nn.Linear(6, 1))
    images = RNG.normal(size=(9, 2, 3)) * 5 + 40
    net.adapt(images)
    (scale,) = (each for each in net.modules() if isinstance(each, nn.Standardize))
    np.testing.assert_allclose(
        scale.mean.value, images.reshape(9, 6).mean(0), rtol=1e-6
    )


class Scaled(nn.Module):
    def __init__(self) -> None:
        self.scale, self.output = nn.Standardize(3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.scale(x))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Scaled, r"^scale \(Standardize\(features=3\)\): nothing was learned"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Standardize(2), nn.Linear(2, 1)),
            r"^1 \(Standard",
        ),
        (
            lambda: nn.Sequential(nn.Unstandardize(3), nn.Linear(3, 1)),
            r"^0 \(Unstand.* the first layer of a Sequential, .* · call its fit\(array",
        ),
    ],
)
def test_a_scaling_that_training_would_leave_out_is_named(
    make: Any, words: str
) -> None:
    net = make()
    with pytest.raises(NotFittedError, match=words):
        pel.Trainer(net, nn.MSELoss()).fit(X, X[:, :1], epochs=1, verbose=0)
    for each in net.modules():
        if isinstance(each, nn.Standardize | nn.Unstandardize):
            each.fit(X[:, : each.mean.size])
    pel.Trainer(net, nn.MSELoss()).fit(X, X[:, :1], epochs=1, verbose=0)


def test_standardize_is_traced_with_its_buffers_as_inputs() -> None:
    layer = nn.Standardize(3)
    layer.fit(X)
    leaves = dict(layer.named_buffers())
    x = symbol(tensor(X).type)
    with symbols(leaves) as stand_ins:
        graph = graph_of([x, *stand_ins.values()], [layer(x)])
    values = [leaf.value for leaf in leaves.values()]
    found = NumpyEngine().compile(graph)(X, *values)[0]
    np.testing.assert_array_equal(found, layer(X).value)


# --- Sequential, MLP -------------------------------------------------------------


def test_sequential_is_indexed_cut_counted_and_grown() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(net) == 3
    assert net[-1] is net[2]
    assert [type(each).__name__ for each in net] == ["Linear", "ReLU", "Linear"]
    assert list(net[:2].state_dict()) == ["0.weight", "0.bias"]
    assert net.append(nn.Softmax()) is net
    assert isinstance(net[3], nn.Softmax)
    with pytest.raises(IndexError, match="no layer 4 among 4"):
        net[4]


def test_sequential_takes_names() -> None:
    net = nn.Sequential({"first": nn.Linear(3, 4), "act": nn.ReLU()})
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert net.first is net[0]
    assert net(X).shape == (6, 4)


@pytest.mark.parametrize("name", ["forward", "a.b", "", "training"])
def test_a_layer_cannot_take_the_name_of_something_else(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"cannot be named {name!r}"):
        nn.Sequential({name: nn.ReLU()})


def test_a_class_in_place_of_a_layer_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(ArgumentError, match=r"layer 1 is not a module .* put \(\)"):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU)  # type: ignore[arg-type]


def test_an_mlp_has_the_layers_it_was_asked_for() -> None:
    net = nn.MLP(5, (8, 7), 3, activation="tanh", dropout=0.2)
    kinds = [type(each).__name__ for each in net]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    shapes = [each.shape for each in net.parameters()]
    assert shapes == [(8, 5), (8,), (7, 8), (7,), (3, 7), (3,)]
    assert len(nn.MLP(5, (), 3)) == 1


@pytest.mark.slow
def test_an_mlp_equals_its_formula_and_its_gradients_those_of_jax() -> None:
    net = nn.MLP(3, (5, 4), 2, activation="tanh").to("f64")
    weights = [leaf.value for leaf in net.parameters()]

    def theirs(ws: Any) -> Any:
        h = jnp.tanh(X @ ws[0].T + ws[1])
        h = jnp.tanh(h @ ws[2].T + ws[3])
        return ((h @ ws[4].T + ws[5]) ** 2).sum()

    loss = (net(X) ** 2.0).sum()
    loss.backward()
    assert loss.item() == pytest.approx(float(theirs(weights)), rel=1e-12)
    for leaf, flow in zip(net.parameters(), jax.grad(theirs)(weights)):
        np.testing.assert_allclose(leaf.grad, flow, rtol=1e-9, atol=1e-12)


def test_an_mlp_with_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="no activation 'ReLUU' · did you mean"):
        nn.MLP(2, (2,), 1, activation="ReLUU")


def test_an_mlp_whose_widths_are_one_number_says_what_to_try() -> None:
    with pytest.raises(ArgumentError, match=r"hidden=64 · .* · try hidden=\(64,\)"):
        nn.MLP(2, 64, 1)
    assert len(nn.MLP(2, np.array([3, 4]), 1)) == 5


# --- losses as modules -----------------------------------------------------------

Y = RNG.normal(size=(6, 3))
P = RNG.uniform(0.1, 0.9, size=(6, 3))
LABELS = np.array([0, 2, 1, 1, 0, 2])
W = RNG.uniform(0.5, 2, size=6)
CLASSES = [1.0, 2.0, 3.0]

LOSSES: dict[str, tuple[nn.Module, Any, Any]] = {
    "MSE": (nn.MSELoss("sum"), (X, Y), lambda *a: F.mse(*a, reduction="sum")),
    "RMSE": (nn.RMSELoss(), (X, Y), F.rmse),
    "L1": (nn.L1Loss("none"), (X, Y), lambda *a: F.mae(*a, reduction="none")),
    "Huber": (nn.HuberLoss(delta=0.3), (X, Y), lambda *a: F.huber(*a, delta=0.3)),
    "SmoothL1": (nn.SmoothL1Loss(beta=2), (X, Y), lambda *a: F.smooth_l1(*a, beta=2)),
    "BCE": (
        nn.BCELoss(label_smoothing=0.1),
        (P, P[::-1]),
        lambda *a: F.binary_cross_entropy(*a, label_smoothing=0.1),
    ),
    "BCEWithLogits": (
        nn.BCEWithLogitsLoss(pos_weight=2.0, label_smoothing=0.1),
        (X, P),
        lambda *a: F.binary_cross_entropy_with_logits(
            *a, pos_weight=2.0, label_smoothing=0.1
        ),
    ),
    "CrossEntropy": (
        nn.CrossEntropyLoss(CLASSES, label_smoothing=0.1),
        (X, LABELS),
        lambda *a: F.cross_entropy(*a, class_weight=CLASSES, label_smoothing=0.1),
    ),
    "CrossEntropy of probabilities": (
        nn.CrossEntropyLoss(from_logits=False),
        (P, LABELS),
        lambda *a: F.cross_entropy(*a, from_logits=False),
    ),
    "NLL": (
        nn.NLLLoss(CLASSES),
        (X, LABELS),
        lambda *a: F.nll(*a, class_weight=CLASSES),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weight", [None, W])
def test_a_loss_module_is_its_function(name: str, weight: Any) -> None:
    module, operands, function = LOSSES[name]
    x, y = map(tensor, operands)
    np.testing.assert_array_equal(
        module(x, y, weight).value, function(x, y, weight).value
    )
    assert not module.state_dict()


def test_a_loss_with_an_unknown_reduction_is_refused_when_it_is_made() -> None:
    with pytest.raises(
        ArgumentError, match="no reduction 'means' · did you mean 'mean"
    ):
        nn.CrossEntropyLoss(reduction="means")


def test_a_loss_of_mismatched_shapes_says_which_loss() -> None:
    with pytest.raises(ShapeError, match=r"^MSELoss\(\): the target does not fit"):
        nn.MSELoss()(tensor(X), tensor(Y[:, 0]))
