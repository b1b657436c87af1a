"""Several tasks: their losses, their weights, and targets that are missing."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.random import key_of, keys_from
from pellucid.tensors import grad, tensor
from pellucid.train.trainer import Trainer

NAN = float("nan")


def model(dtype="f64"):
    with keys_from(key_of(3)):
        trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        heads = {"size": nn.Linear(6, 1), "kind": nn.Linear(6, 3)}
        return nn.Heads(trunk, heads).to(dtype)


def losses():
    return {"size": nn.MSELoss(), "kind": nn.CrossEntropyLoss()}


def table(rows=60, missing=0.4):
    """Features and two targets, each with holes in places of its own."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    size = X @ [1.0, -1.0, 2.0, 0.5] + 0.3 * rng.normal(size=rows)
    kind = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    size[rng.random(rows) < missing] = NAN
    kind[rng.random(rows) < missing] = -1
    return X, {"size": size, "kind": kind}


def trainer(**options):
    settings = {"optimizer": optim.Adam(lr=0.02), "missing": "mask", **options}
    return Trainer(model(), losses(), **settings)


QUIET = {"verbose": 0, "batch_size": 16}


# --- what is missing counts nowhere ----------------------------------------------


def test_the_gradient_is_that_of_each_head_on_its_own_rows():
    X, y = table()
    one = trainer(loss_weights={"kind": 0.5})
    one.fit(X, y, epochs=1, batch_size=None, shuffle=False, verbose=0)
    replay = one.replay(0)
    alone = model()
    there, known = ~np.isnan(y["size"]), y["kind"] >= 0
    total = nn.MSELoss()(alone(X[there])["size"], tensor(y["size"][there]))
    kind = nn.CrossEntropyLoss()(alone(X[known])["kind"], tensor(y["kind"][known]))
    total = total + kind * 0.5
    assert replay.loss == pytest.approx(total.item(), rel=1e-12)
    named = dict(alone.named_parameters())
    for name, slope in zip(named, grad(total, list(named.values()))):
        np.testing.assert_allclose(
            replay.gradient(name), slope.value, rtol=1e-9, atol=1e-12
        )


@pytest.mark.slow
def test_rows_without_any_target_change_nothing():
    X, y = table()
    empty = np.full((7, 4), 1e3)
    more = {
        "size": np.append(y["size"], [NAN] * 7),
        "kind": np.append(y["kind"], [-1] * 7),
    }
    one, other = trainer(), trainer()
    options = {"epochs": 3, "batch_size": None, "shuffle": False, "verbose": 0}
    one.fit(X, y, **options)
    other.fit(np.vstack([X, empty]), more, **options)
    for name, value in one.model.state_dict().items():
        np.testing.assert_allclose(other.model.state_dict()[name], value, rtol=1e-9)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("engine", ["numpy", "llvm"])
@pytest.mark.parametrize("weights", [None, "uncertainty"])
def test_a_batch_without_a_task_leaves_its_head_alone(engine, weights):
    X, y = table(32, missing=0.0)
    y["size"][:16] = NAN
    one = trainer(engine=engine, loss_weights=weights, optimizer=optim.SGD(lr=0.1))
    before = one.model.state_dict()
    one.fit(X, y, epochs=1, shuffle=False, **QUIET)
    first = one.replay(0)
    assert (first.gradient("heads.size.weight") == 0).all()
    assert (first.gradient("trunk.0.weight") != 0).any()
    np.testing.assert_array_equal(
        first.after.params["heads.size.weight"], before["heads.size.weight"]
    )
    if weights:
        assert first.gradient("loss_weights.log_variance.size") == 0
        assert first.gradient("loss_weights.log_variance.kind") != 0
    assert one.replay(1).gradient("heads.size.weight").any()


@pytest.mark.slow
def test_the_record_has_each_loss_over_its_own_rows():
    X, y = table(2500)
    one = trainer(metrics=["size.mae", "kind.accuracy"], loss_weights={"kind": 3.0})
    history = one.fit(X, y, epochs=1, batch_size=500, validation=(X, y), verbose=0)
    outputs = one.predict(X)
    there, known = ~np.isnan(y["size"]), y["kind"] >= 0
    missed = outputs["size"][there, 0] - y["size"][there]
    chosen = outputs["kind"][known].argmax(1) == y["kind"][known]
    log_p = (
        outputs["kind"][known] - np.log(np.exp(outputs["kind"][known]).sum(1))[:, None]
    )
    entropy = -log_p[np.arange(known.sum()), y["kind"][known]].mean()
    expected = {
        "loss": np.mean(missed**2) + 3 * entropy,
        "size.loss": np.mean(missed**2),
        "kind.loss": entropy,
        "size.mae": np.mean(abs(missed)),
        "kind.accuracy": chosen.mean(),
    }
    found = one.evaluate(X, y)
    assert found == pytest.approx(expected, rel=1e-6)
    for name, value in expected.items():
        assert history[f"validation_{name}"][0] == pytest.approx(value, rel=1e-6)
        assert np.isfinite(history[name][0])
    # The mean over the epoch weighs each step by the rows that it had.
    steps = [one.replay(step) for step in range(5)]
    weights = [there[each.rows].sum() for each in steps]
    in_step = []
    for each in steps:
        each.before.put_into(one.model)
        rows = each.rows[there[each.rows]]
        error = one.model(X[rows])["size"].value[:, 0] - y["size"][rows]
        in_step.append(np.mean(error**2))
    assert history["size.loss"][0] == pytest.approx(
        np.average(in_step, weights=weights), rel=1e-6
    )


@pytest.mark.slow
def test_evaluation_in_parts_gives_the_mean_of_the_whole(monkeypatch):
    X, y = table(200, missing=0.0)
    y["size"][:150] = NAN
    one = trainer(metrics=["size.mse"], loss_weights="uncertainty")
    one.fit(X, y, epochs=1, **QUIET)
    whole = one.evaluate(X, y)
    monkeypatch.setattr("pellucid.train.programs._rows_at_once", lambda data: 64)
    assert one.evaluate(X, y) == pytest.approx(whole, rel=1e-6)


@pytest.mark.slow
def test_a_task_without_targets_has_no_mean():
    X, y = table()
    one = trainer()
    one.fit(X, y, epochs=1, **QUIET)
    some = np.flatnonzero(np.isnan(y["size"]))
    with pytest.raises(DataError, match=r"y\.size holds no value at all: all are miss"):
        one.evaluate(X[some], {name: each[some] for name, each in y.items()})


def test_weights_of_rows_and_what_is_missing_multiply():
    X, y = table(40)
    weight = np.arange(40.0)
    one = trainer()
    one.fit(X, y, epochs=1, batch_size=None, sample_weight=weight, verbose=0)
    there = ~np.isnan(y["size"])
    error = model()(X[there])["size"].value[:, 0] - y["size"][there]
    first = np.average(error**2, weights=weight[there])
    assert one.history["size.loss"][0] == pytest.approx(first, rel=1e-6)


# --- kinds of targets ------------------------------------------------------------


def alone(loss, out, y, *, net=None, **options):
    """Train one head on targets with holes; return the trainer and its first step."""
    X = np.random.default_rng(0).normal(size=(len(y), 3))
    with keys_from(key_of(0)):
        net = net or nn.Linear(3, out, dtype="f64")
    one = Trainer(net, loss, optim.SGD(lr=0.1), missing="mask", **options)
    one.fit(X, y, epochs=1, batch_size=None, shuffle=False, verbose=0)
    with keys_from(key_of(0)):
        return X, one, nn.Linear(3, out, dtype="f64")


def test_class_numbers_that_came_as_floats_are_whole():
    y = np.array([0.0, NAN, 2.0, 1.0, NAN])
    X, one, fresh = alone(nn.CrossEntropyLoss(), 3, y, metrics=["accuracy"])
    kept = [0, 2, 3]
    loss = nn.CrossEntropyLoss()(fresh(X[kept]), tensor(np.array([0, 2, 1])))
    assert one.history["loss"][0] == pytest.approx(loss.item(), rel=1e-12)
    right = (fresh(X[kept]).value.argmax(1) == [0, 2, 1]).mean()
    assert one.history["accuracy"][0] == pytest.approx(right)


def test_single_entries_of_a_row_may_be_missing():
    y = np.array([[1.0, NAN], [NAN, NAN], [2.0, 3.0]])
    X, one, fresh = alone(nn.L1Loss(), 2, y)
    error = np.nanmean(abs(fresh(X).value - y))
    assert one.history["loss"][0] == pytest.approx(error, rel=1e-12)


def test_shares_of_classes_are_missing_by_the_row():
    y = np.array([[0.2, 0.8], [NAN, NAN], [1.0, 0.0]])
    X, one, fresh = alone(nn.CrossEntropyLoss(), 2, y)
    kept = [0, 2]
    loss = nn.CrossEntropyLoss()(fresh(X[kept]), tensor(y[kept]))
    assert one.history["loss"][0] == pytest.approx(loss.item(), rel=1e-12)


def test_a_number_below_zero_is_missing_where_the_loss_takes_none():
    y = np.array([[1, -1], [0, 1], [-1, -1]])
    X, one, fresh = alone(nn.BCEWithLogitsLoss(), 2, y)
    x, kept = fresh(X).value, y >= 0
    loss = np.log1p(np.exp(-x)) + (1 - y) * x
    assert one.history["loss"][0] == pytest.approx(loss[kept].mean(), rel=1e-9)
    X, one, fresh = alone(nn.MSELoss(), 2, y)
    error = np.mean((fresh(X).value - y) ** 2)
    assert one.history["loss"][0] == pytest.approx(error, rel=1e-12)


def test_balanced_classes_are_counted_where_they_are_known():
    y = np.array([0, 0, 0, 1, -1, -1])
    X = np.random.default_rng(0).normal(size=(6, 3))
    net = nn.Linear(3, 2, dtype="f64")
    fresh = nn.Linear(3, 2, dtype="f64")
    fresh.load_state_dict(net.state_dict())
    one = Trainer(net, nn.CrossEntropyLoss(), missing="mask")
    one.fit(X, y, epochs=1, batch_size=None, class_weight="balanced", verbose=0)
    weight = np.array([4 / 6, 4 / 6, 4 / 6, 2.0])
    loss = nn.CrossEntropyLoss()(fresh(X[:4]), tensor(y[:4]), tensor(weight))
    assert one.history["loss"][0] == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.slow
def test_a_head_standardises_by_the_rows_that_it_has():
    X, y = table(200)
    y["size"] = 1e6 + 1e5 * y["size"]
    with keys_from(key_of(0)):
        trunk = nn.Sequential(nn.Standardize(4), nn.Linear(4, 8), nn.Tanh())
        size = nn.Sequential(nn.Linear(8, 1), nn.Unstandardize(1))
        net = nn.Heads(trunk, {"size": size, "kind": nn.Linear(8, 3)})
    one = Trainer(net, losses(), optim.Adam(lr=0.02), metrics=["size.mae"],
                  missing="mask")  # fmt: skip
    history = one.fit(X, y, epochs=40, **QUIET)
    there = ~np.isnan(y["size"])
    np.testing.assert_allclose(size[1].mean.value, y["size"][there].mean(), rtol=1e-6)
    assert history["size.loss"][0] < 3
    error = abs(one.predict(X)["size"][there, 0] - y["size"][there]).mean()
    assert error < 0.7e5
    assert trunk[0].is_fitted


# --- weights ---------------------------------------------------------------------


@pytest.mark.slow
def test_learned_weights_find_the_noise_of_each_task():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = {
        "calm": X @ [1.0, 2.0] + 0.1 * rng.normal(size=300),
        "wild": X @ [2.0, -1.0] + 3.0 * rng.normal(size=300),
        "rough": X @ [0.0, 1.0] + 1.0 * rng.normal(size=300),
    }
    net = nn.Heads(nn.Identity(), {name: nn.Linear(2, 1) for name in y}).to("f64")
    loss = {"calm": nn.MSELoss(), "wild": nn.MSELoss(), "rough": nn.L1Loss()}
    one = Trainer(
        net, loss, optim.Adam(lr=optim.Cosine(0.3, 400)), loss_weights="uncertainty"
    )  # fmt: skip
    one.fit(X, y, epochs=400, batch_size=None, verbose=0)
    found = one.evaluate(X, y)
    # Where w·exp(−s)·loss + s / 2 is smallest, w·exp(−s) = 1 / (2 loss).
    expected = {name: 0.5 / found[f"{name}.loss"] for name in y}
    assert one.loss_weights == pytest.approx(expected, rel=1e-3)
    assert one.loss_weights["calm"] == pytest.approx(0.5 / 0.01, rel=0.2)
    assert one.loss_weights["wild"] == pytest.approx(0.5 / 9, rel=0.2)
    total = sum(
        one.loss_weights[name] * found[f"{name}.loss"]
        + np.log(2 * found[f"{name}.loss"] * (0.5 if name != "rough" else 1)) / 2
        for name in y
    )
    assert found["loss"] == pytest.approx(total, rel=1e-3)


@pytest.mark.slow
def test_learned_weights_are_in_checkpoints_and_replays(tmp_path):
    X, y = table()
    path = tmp_path / "run.safetensors"
    whole, first, second = (trainer(loss_weights="uncertainty") for _ in range(3))
    record = whole.fit(X, y, epochs=4, **QUIET)
    first.fit(X, y, epochs=2, checkpoint=path, **QUIET)
    second.fit(X, y, epochs=4, checkpoint=path, resume=True, **QUIET)
    assert second.loss_weights == whole.loss_weights
    assert whole.loss_weights != {"size": 0.5, "kind": 1.0}
    assert second.history["loss"] == record["loss"]
    replay = whole.replay(9)
    s = replay.before.params["loss_weights.log_variance.kind"]
    gates = [g for g in replay if g.name.endswith("log_variance.kind")]
    assert gates[0].output == s
    assert replay.update("loss_weights.log_variance.kind") != 0


def test_the_engines_agree_on_masks_and_learned_weights():
    X, y = table()
    states = []
    for engine in ("numpy", "llvm"):
        one = trainer(loss_weights="uncertainty", engine=engine)
        one.fit(X, y, epochs=3, **QUIET)
        states.append({**one.model.state_dict(), **one.loss_weights})
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-8)


@pytest.mark.slow
def test_weights_of_ones_own_are_kept_by_their_owner():
    weigh = nn.UncertaintyWeights(["size", "kind"]).to("f64")
    X, y = table()
    one = trainer(loss_weights=weigh)
    one.fit(X, y, epochs=2, **QUIET)
    assert weigh.weights() == one.loss_weights
    assert weigh.log_variance["size"].item() != 0
    again = nn.from_spec(nn.to_spec(weigh))
    assert list(again.state_dict()) == ["log_variance.size", "log_variance.kind"]


class Tempered(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self):
        self.offset = nn.Parameter(0.0, "f64")

    def forward(self, output, target, weight=None):
        return nn.MSELoss()(output + self.offset, target, weight)


def test_a_loss_s_own_parameters_are_trained():
    X = np.random.default_rng(0).normal(size=(64, 2))
    net, loss = nn.Linear(2, 1, bias=False, dtype="f64"), Tempered()
    one = Trainer(net, loss, optim.Adam(lr=0.1))
    one.fit(X, X[:, 0] + 5.0, epochs=150, verbose=0)
    assert loss.offset.item() == pytest.approx(5.0, abs=1e-3)
    assert one.replay(0).gradient("loss.offset") != 0


def test_heads_are_saved_and_loaded(tmp_path):
    net = model()
    net.save(tmp_path / "a.safetensors")
    again = nn.load(tmp_path / "a.safetensors")
    x = np.ones((2, 4))
    for name, output in net(x).items():
        np.testing.assert_array_equal(again(x)[name].value, output.value)


# --- what is refused -------------------------------------------------------------


def refusal(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_a_missing_target_is_refused_where_nothing_was_said():
    X, y = table()
    one = trainer(missing="error")
    text = refusal(DataError, lambda: one.fit(X, y, epochs=1, verbose=0))
    assert text.startswith("y.size is nan · row ")
    assert text.endswith("or let Trainer(missing='mask') leave them out")
    there = {"size": np.zeros(len(X)), "kind": y["kind"]}
    text = refusal(DataError, lambda: one.fit(X, there, epochs=1, verbose=0))
    assert text.startswith("y.kind holds the class -1 · the model has outputs for")


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.zeros(60), "the losses have names and y has none · pass a dict of targets"),
        ({"size": np.zeros(60)}, "y has no 'kind' · known: 'size'"),
        (
            {"size": np.zeros(60), "kind": np.zeros(60, int), "sort": np.zeros(60)},
            "y has 'sort', for which there is no loss",
        ),
        (None, "the losses have names and y has none"),
    ],
)
def test_names_of_targets_are_those_of_losses(y, match):
    X, _ = table()
    with pytest.raises(ArgumentError, match=match):
        trainer().fit(X, y, epochs=1, verbose=0)


def test_named_targets_need_named_losses():
    X, y = table()
    one = Trainer(nn.Linear(4, 1), nn.MSELoss(), missing="mask")
    with pytest.raises(ArgumentError, match="y is a dict and there is one loss"):
        one.fit(X, {"size": y["size"]}, epochs=1, verbose=0)


def test_a_metric_of_ones_own_says_how_to_take_what_is_missing():
    def worst(output, target):
        return abs(output - target).max()

    X, y = table()
    one = trainer(metrics={"size.worst": worst})
    text = refusal(ArgumentError, lambda: one.fit(X, y, epochs=1, verbose=0))
    assert text == (
        "the metric 'size.worst' cannot leave out missing targets · "
        "let it take a third argument, weight"
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"missing": "maks"}, "did you mean 'mask'"),
        ({"loss_weights": "uncertain"}, "did you mean 'uncertainty'"),
        ({"loss_weights": {"sizes": 1.0}}, "'sizes', which no loss has · did you mean"),
        ({"loss_weights": nn.UncertaintyWeights(["sizes"])}, "which no loss has"),
    ],
)
def test_settings_are_checked(options, match):
    with pytest.raises(ArgumentError, match=match):
        trainer(**options)


def test_weights_need_several_losses():
    with pytest.raises(ArgumentError, match="loss_weights are for several losses"):
        Trainer(nn.Linear(2, 1), nn.MSELoss(), loss_weights="uncertainty")
    with pytest.raises(ArgumentError, match="no task named 'b'"):
        nn.UncertaintyWeights(["a"], squared=["b"])
    with pytest.raises(ArgumentError, match="no task named 'b'"):
        nn.UncertaintyWeights(["a"])({"b": tensor(1.0)})


@pytest.mark.parametrize(
    ("heads", "match"),
    [
        ({}, "needs a head at least"),
        ({"a.b": nn.Linear(2, 1)}, "under a name without a dot"),
        ({"a": nn.Linear}, "expected a module"),
    ],
)
def test_heads_are_modules_with_names(heads, match):
    with pytest.raises(ArgumentError, match=match):
        nn.Heads(nn.Identity(), heads)


def test_a_loss_that_is_no_number_is_refused_for_each_task():
    net = nn.Heads(nn.Identity(), {"a": nn.Linear(2, 1)})
    one = Trainer(net, {"a": nn.MSELoss(reduction="none")})
    with pytest.raises(ShapeError, match="use reduction='mean'"):
        one.fit(np.zeros((4, 2)), {"a": np.zeros(4)}, epochs=1, verbose=0)
