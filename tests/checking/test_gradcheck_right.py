"""Right gradients pass: gates, functions, layers, whole models; nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pellucid
from gates.samples import SAMPLES, Sample
from pellucid import nn, random
from pellucid.checking import Report, Status, gradcheck
from pellucid.functional.control import gate, scan
from pellucid.nn.module import Module, update_buffer
from pellucid.tensors import (
    Buffer,
    Parameter,
    Tensor,
    apply,
    grad,
    take,
    tensor,
)
from pellucid.tracing import trace

DRAW = np.random.default_rng(7)
X = DRAW.normal(size=(3, 4))
W = DRAW.normal(size=(4, 5))


def plainly_right(report: Report) -> bool:
    return report.ok and all(row.status == Status.RIGHT for row in report.rows)


# --- gates and functions ---------------------------------------------------------


CHECKABLE = [
    s
    for s in SAMPLES
    if s.smooth
    and all(0 not in t.shape for t in (*s.types("f64"), *s.graph("f64").output_types))
]


@pytest.mark.parametrize("sample", CHECKABLE, ids=str)
def test_the_rule_of_every_gate_is_right(sample: Sample) -> None:
    report = gradcheck(sample.graph("f32"), *sample.arrays("f32"))
    assert report.ok, report
    assert any(row.status == Status.RIGHT for row in report.rows), report


def log_sum_exp(x: Tensor) -> Tensor:
    top = x.max(1, keepdims=True).detach()
    return apply("log", apply("exp", x - top).sum(1)) + top.reshape(-1)


def straight_through(x: Tensor) -> Tensor:
    return (x + (apply("floor", x) - x).detach()) * x


def recurrence(w: Tensor, x: Tensor, cut: bool = False, **options: Any) -> Tensor:
    """Return the last state of h' = tanh(h·w + x), optionally cut at every step."""

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, None]:
        return apply("tanh", (h.detach() if cut else h) @ w + x), None

    return scan(step, x[0] * 0.0, x, **options)[0]


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a polynomial": (lambda x: x * x * x - 2.0 * x + 1.0, (X,)),
    "a product": (lambda x, w: apply("tanh", x @ w), (X, W)),
    "a quotient": (lambda x, y: x / (y * y + 1.0), (X, X[::-1])),
    "a power": (lambda x, p: (x * x + 0.5) ** p, (X, X[::-1])),
    "means and maxima": (lambda x: x.max(1) + x.mean(1) - x.min(1), (X,)),
    "indices": (lambda x: take(x, np.array([2, 0, 2])) * x[::-1, 1:2], (X,)),
    "log-sum-exp over a detached maximum": (log_sum_exp, (X,)),
    "a straight-through estimator": (straight_through, (X,)),
    "a tiny argument of a logarithm": (lambda x: apply("log", x), ([1e-9, 1e-4, 1.0],)),
    "large numbers": (lambda x: x * x / (x + 1.0), (1e6 * np.abs(X),)),
    "several outputs": (lambda x: {"a": x.sum(0), "b": [x * x, x > 0.0]}, (X,)),
    "a scan": (recurrence, (0.5 * DRAW.normal(size=(4, 4)), X)),
    "a scan with a detached state": (
        lambda w, x: recurrence(w, x, cut=True),
        (0.5 * DRAW.normal(size=(4, 4)), X),
    ),
    "a scan of scans with a detached state": (
        lambda w, x: recurrence(w, x, cut=True, reverse=True, checkpoint=2),
        (0.5 * DRAW.normal(size=(4, 4)), DRAW.normal(size=(5, 4))),
    ),
    "a gate with a detached factor": (
        lambda x: gate(lambda x: x * apply("sin", x).detach())(x) * x,
        (X,),
    ),
    "a gradient": (lambda x: grad((x * x * apply("sin", x)).sum(), [x])[0], (X,)),
    "a gradient of a scan": (
        lambda w, x: grad(recurrence(w, x).sum(), [w]),
        (0.5 * DRAW.normal(size=(3, 3)), DRAW.normal(size=(2, 3))),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_is_right_of(name: str) -> None:
    function, inputs = FUNCTIONS[name]
    report = gradcheck(function, *inputs)
    assert plainly_right(report), report


def test_every_output_matters() -> None:
    report = gradcheck(lambda x: (x[0], [x[1], {"c": x[2]}]), X[:, 0])
    assert [entry.analytic != 0 for entry in report.rows[0].worst] == [True] * 3


def test_integers_are_left_alone_and_float_inputs_are_checked() -> None:
    report = gradcheck(lambda x, i: take(x, i), X, np.array([1, 1, 0], np.int16))
    assert [row.name for row in report.rows] == ["input 0"]
    assert plainly_right(report)


def test_the_two_modes_and_a_step_can_be_chosen() -> None:
    function = FUNCTIONS["a product"][0]
    checked = [
        [row.checked for row in gradcheck(function, X, W, **options).rows]
        for options in (
            {},
            {"every": False},
            {"directions": 3},
            {"eps": 1e-4},
            {"every": True, "directions": 3},
        )
    ]
    entries, directions = ["12 entries", "20 entries"], ["8 directions"] * 2
    few = ["3 directions"] * 2
    assert checked == [entries, directions, few, entries, entries]


def test_the_graph_may_be_of_float32_and_keeps_its_names() -> None:
    graph = trace(lambda x: apply("exp", x) * 0.1, tensor(X, "f32").type)
    report = gradcheck(graph, X.astype(np.float32))
    assert plainly_right(report), report
    assert str(report.rows[0].type) == "f64[3,4]"


# --- models ----------------------------------------------------------------------

ACTIVATIONS = [name for name in nn.activations.__all__ if name[0].isupper()]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_network_is_right_with(name: str) -> None:
    random.seed(3)
    model = nn.Sequential(
        nn.Linear(4, 6), getattr(nn.activations, name)(), nn.Linear(6, 3)
    )
    report = gradcheck(model, X, np.array([0, 2, 1]), loss=nn.CrossEntropyLoss())
    assert report.ok, report
    # A step has no slope: what lies before it is cut off.
    cut = ["0.weight", "0.bias", "input 0"] if name == "Step" else []
    assert [row.name for row in report.rows if row.status == Status.ZERO] == cut


LOSSES: dict[str, tuple[Module, Any]] = {
    "MSELoss": (nn.MSELoss(), X[:, :3]),
    "RMSELoss": (nn.RMSELoss(), X[:, :3]),
    "L1Loss": (nn.L1Loss(), X[:, :3]),
    "HuberLoss": (nn.HuberLoss(), X[:, :3]),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss(), (X[:, :3] > 0) * 1.0),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), [0, 2, 1]),
    "a loss of each row": (nn.CrossEntropyLoss(reduction="none"), [0, 2, 1]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_network_is_right_under(name: str) -> None:
    loss, target = LOSSES[name]
    report = gradcheck(nn.Linear(4, 3), X, target, loss=loss)
    assert plainly_right(report), report
    assert [row.name for row in report.rows] == ["weight", "bias", "input 0"]


def test_the_mask_of_a_dropout_is_frozen_and_drawn_by_the_seed() -> None:
    model = nn.Sequential(nn.Linear(4, 40), nn.Dropout(0.5), nn.Tanh())
    reports = [gradcheck(model, X, seed=seed) for seed in (0, 0, 1)]
    assert all(map(plainly_right, reports))
    assert reports[0].loss == reports[1].loss != reports[2].loss


class Counting(Module):
    """A layer whose buffer changes at every call, and that scales by it."""

    def __init__(self) -> None:
        self.scale = Parameter([2.0, 3.0])
        self.count = Buffer(1.0)

    def forward(self, x: Tensor) -> Tensor:
        update_buffer(self.count, self.count + 1.0)
        return x * self.scale * self.count


def test_the_model_is_left_as_it_was() -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), Counting()).train()
    leaves = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: (leaf.node, leaf.value.copy()) for name, leaf in leaves.items()}
    report = gradcheck(model, X[:, :3].astype(np.float32))
    assert plainly_right(report)
    assert [row.name for row in report.rows] == [
        "0.weight",
        "0.bias",
        "2.scale",
        "input 0",
    ]
    for name, (node, value) in before.items():
        leaf = leaves[name]
        assert leaf.node is node
        assert leaf.dtype == np.float32
        assert leaf.grad is None
        np.testing.assert_array_equal(leaf.value, value)
    assert all(module.training for module in model.modules())


def test_a_model_whose_forward_fails_is_left_as_it_was() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(pellucid.PellucidError):
        gradcheck(model, X)
    assert model.weight.dtype == np.float32
    assert model.weight.has_value


def test_everything_is_computed_in_float64() -> None:
    report = gradcheck(lambda x: (x.astype("f32") * tensor(0.1)).sum(), X)
    assert plainly_right(report), report
    assert report.loss == pytest.approx(0.1 * X.sum(), rel=1e-14)


def test_a_parameter_that_the_loss_holds_too_is_checked_once() -> None:
    class Penalised(Module):
        def __init__(self, weight: Parameter) -> None:
            self.weight = weight

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return ((output - target) ** 2.0).mean() + (self.weight**2.0).sum()

    model = nn.Linear(4, 3)
    report = gradcheck(model, X, X[:, :3], loss=Penalised(model.weight))
    assert plainly_right(report), report
    assert [row.name for row in report.rows] == ["weight", "bias", "input 0"]


def test_the_inputs_of_a_model_need_not_be_checked() -> None:
    report = gradcheck(nn.Linear(4, 3), X, check_inputs=False)
    assert [row.name for row in report.rows] == ["weight", "bias"]


def test_a_shared_parameter_is_checked_once() -> None:
    layer = nn.Linear(4, 4)
    report = gradcheck(nn.Sequential(layer, nn.Tanh(), layer), X)
    assert plainly_right(report)
    assert [row.name for row in report.rows] == ["0.weight", "0.bias", "input 0"]


def test_the_parameters_of_a_loss_are_checked_too() -> None:
    class Weighted(Module):
        def __init__(self) -> None:
            self.weight = Parameter([1.0, 2.0, 3.0])

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return (self.weight * (output - target) ** 2.0).mean()

    report = gradcheck(nn.Linear(4, 3), X, X[:, :3], loss=Weighted())
    assert plainly_right(report)
    assert "loss.weight" in [row.name for row in report.rows]


def test_an_mnist_sized_network_takes_less_than_two_seconds() -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    images = DRAW.random((3, 784)).astype(np.float32)
    begin = time.process_time()
    report = gradcheck(model, images, np.array([3, 1, 4]), loss=nn.CrossEntropyLoss())
    assert time.process_time() - begin < 2
    assert plainly_right(report), report
    assert {row.checked for row in report.rows} == {"8 directions"}


# --- words -----------------------------------------------------------------------


def test_a_right_report_reads_well() -> None:
    report = gradcheck(lambda x, w: apply("tanh", x @ w).sum(), X, W)
    assert report.loss == pytest.approx(np.tanh(X @ W).sum(), rel=1e-15)
    head, title, first, second = str(report).split("\n")
    assert head.startswith("right: 2 tensors agree to ")
    assert title.split() == ["tensor", "type", "compared", "error", "verdict"]
    assert first.split()[:5] == ["input", "0", "f64[3,4]", "12", "entries"]
    assert second.endswith("right")
    report.raise_if_wrong()


def test_an_unused_input_and_one_that_is_cut_off_are_told_apart() -> None:
    report = gradcheck(lambda x, y, z: x * 2.0 + apply("floor", y), X, X + 0.01, X)
    assert [row.status for row in report.rows] == [
        Status.RIGHT,
        Status.ZERO,
        Status.UNUSED,
    ]
    assert report.rows[1].verdict.startswith("zero, and so is the slope")
    assert report.rows[2].verdict == "unused: no path leads from it to the loss"
    assert report.ok
    assert "2 could not be told" in report.verdict


def test_it_is_a_function_of_the_package() -> None:
    assert pellucid.gradcheck(lambda x: x * x, X).ok
    assert pellucid.gradcheck(lambda x: x * x, X).ok
