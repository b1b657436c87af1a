"""The checker does not cry wolf at kinks, small gradients and saturation; and it says
what is wrong with data that cannot be checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pellucid import nn, random
from pellucid.checking import Status, gradcheck
from pellucid.errors import ArgumentError, DataError, GradientError, ShapeError
from pellucid.grad.rules import RULES
from pellucid.nn.module import Module
from pellucid.tensors import Parameter, Tensor, apply, take
from pellucid.tracing import trace

DRAW = np.random.default_rng(5)
X = DRAW.normal(size=(3, 4))


def relu(x: Tensor) -> Tensor:
    return apply("maximum", x, x * 0.0)


# --- kinks -----------------------------------------------------------------------

# name: (function, operands, the gate at whose kink it stands, entries there)
KINKS: dict[str, tuple[Callable[..., Any], Any, str, int]] = {
    "a ReLU at 0": (relu, [0.0, 1.0, -1.0], "maximum", 1),
    "a ReLU at 0, everywhere": (relu, [0.0, 0.0], "maximum", 2),
    "a clamp at its end": (
        lambda x: apply("minimum", x, x * 0.0 + 1.0),
        [1.0, 2.0, 0.5],
        "minimum",
        1,
    ),
    "|x| near 0, nearer than any step": (
        lambda x: abs(x - 1.0) + x,
        [1.0 + 1e-9, 3.0],
        "abs",
        1,
    ),
    "a value apart": (
        lambda x: apply("where", x == 1.0, x * 0.0 + 3.0, x),
        [1.0, 2.0],
        "eq",
        1,
    ),
    "a step taken at its edge": (
        lambda x: x * (x <= 1.0).astype("f64") + x,
        [1.0, 4.0],
        "le",
        1,
    ),
    "an index of the largest": (
        lambda x: take(x, apply("argmax", x, axis=0)) + x[2],
        [2.0, 2.0, 1.0],
        "argmax",
        2,
    ),
    "a tie of three": (lambda x: x.max() * 3.0 + x[3], [2.0, 2.0, 2.0, 1.0], "max", 3),
    "a step": (
        lambda x: x * (x < 1.0).astype("f64") + x,
        [1.0, 4.0],
        "lt",
        1,
    ),
    "a floor at an integer": (lambda x: x + apply("floor", x), [2.0, 2.5], "floor", 1),
    "a sign at 0": (lambda x: x * 2.0 + apply("sign", x), [0.0, 1.0], "sign", 1),
    "an index that a float chooses": (
        lambda x: take(x, x[0].astype("i32")) + x[0],
        [1.0, 5.0],
        "cast",
        1,
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_not_a_fault(name: str) -> None:
    function, operands, gate, count = KINKS[name]
    report = gradcheck(function, np.array(operands))
    assert report.ok, report
    assert [(kink.gate, kink.count) for kink in report.kinks] == [(gate, count)]
    assert "test_gradcheck_calm.py:" in report.kinks[0].birth
    whole = Status.KINK if count == len(operands) else Status.RIGHT
    assert report.rows[0].status == whole


@pytest.mark.parametrize(
    ("function", "operands"),
    [(abs, [0.0, 3.0]), (lambda x: x.max() * 3.0, [2.0, 2.0, 1.0])],
    ids=["|x| at 0", "a tie of two"],
)
def test_where_the_convention_is_the_mean_of_both_sides_nothing_is_left_out(
    function: Any, operands: list[float]
) -> None:
    report = gradcheck(function, np.array(operands))
    assert report.rows[0].status == Status.RIGHT
    assert not report.kinks


def test_a_kink_is_told_in_words() -> None:
    report = gradcheck(relu, np.array([0.0, 1.0, -1.0]))
    assert report.rows[0].verdict == "right, 1 at a kink left out"
    assert "kinks:\n  maximum at test_gradcheck_calm.py:" in str(report)
    assert str(report).endswith(": 1 of input 0")
    report = gradcheck(relu, np.zeros(2))
    assert report.rows[0].verdict.startswith("at a kink wherever it counts: move")
    assert report.verdict == "nothing could be told: see each row"


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, -1e-6, -1e-3])
def test_beside_a_kink_the_gradient_is_compared_with_a_smaller_step(
    distance: float,
) -> None:
    report = gradcheck(lambda x: relu(x - 1.0) * 3.0 + x, np.array([1.0 + distance]))
    assert report.rows[0].status == Status.RIGHT, report
    assert not report.kinks
    # |x| is as smooth from far as it is kinked from near.
    report = gradcheck(lambda x: abs(x - 1.0) * 2.0 + x, np.array([1.0 + distance]))
    assert report.rows[0].status == Status.RIGHT, report
    assert not report.kinks


def test_a_kink_that_only_steps_lost_in_rounding_avoid_is_no_alarm() -> None:
    report = gradcheck(lambda x: abs(x) * 2.0 + x + 1.0, np.array([1e-9]))
    assert report.ok, report
    assert not report.kinks


def test_a_fault_beside_a_kink_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "maximum", lambda g, y, a, b: (g, None))
    report = gradcheck(relu, np.array([0.0, 1.0, -1.0]))
    assert [entry.place for entry in report.rows[0].worst][:1] == [(2,)]
    assert report.rows[0].status == Status.WRONG
    assert [(fault.gate, fault.operand) for fault in report.faults] == [
        ("maximum", "input 0"),
        ("maximum", "input 1"),
    ]


def test_a_network_of_zeros_stands_at_its_kinks() -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loss = nn.CrossEntropyLoss()
    report = gradcheck(model, np.zeros((3, 4)), np.array([0, 1, 1]), loss=loss)
    assert report.ok, report
    found = {row.name: row.status for row in report.rows}
    assert found["0.bias"] == Status.KINK
    assert found["0.weight"] == found["2.weight"] == Status.ZERO
    assert found["2.bias"] == Status.RIGHT
    assert {kink.gate for kink in report.kinks} == {"maximum"}
    assert report.kinks[0].birth.startswith("1 · ")


@pytest.mark.slow
def test_a_large_network_of_zeros_stands_at_its_kinks() -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    loss = nn.CrossEntropyLoss()
    report = gradcheck(model, np.zeros((2, 784)), np.array([3, 1]), loss=loss)
    assert report.ok, report
    assert {kink.gate for kink in report.kinks} == {"maximum"}


# --- small gradients and saturation ----------------------------------------------


def sigmoid(x: Tensor) -> Tensor:
    return 1.0 / (1.0 + apply("exp", -x))


SMALL: dict[str, tuple[Callable[..., Any], Any]] = {
    "a small factor": (lambda x: x * x * 1e-12, X),
    "a small factor beside a large sum": (lambda x: (x * x).sum() * 1e-9 + 1e3, X),
    "a factor below all rounding": (lambda x: (x * x).sum() * 1e-17 + 1.0, X),
    "denormal gradients": (lambda x: x * x * 1e-310, X),
    "a saturated sigmoid": (sigmoid, [40.0, -40.0, 18.0, -700.0]),
    "a saturated tanh": (lambda x: apply("tanh", x), [30.0, -19.0, 12.0, 0.5]),
    "saturated and unsaturated": (sigmoid, [40.0, 0.1]),
    "a sum that cancels": (lambda x: (x + 1e8).sum() - 1e8 * 12.0, X),
    "huge gradients": (lambda x: apply("exp", x * 100.0), X),
    "zero": (lambda x: x * 0.0, X),
}


@pytest.mark.parametrize("name", SMALL)
def test_no_alarm_at(name: str) -> None:
    function, operands = SMALL[name]
    report = gradcheck(function, np.array(operands))
    assert report.ok, report
    assert not report.faults
    assert not report.kinks


def test_entries_lost_in_rounding_do_not_count_as_errors() -> None:
    (row,) = gradcheck(sigmoid, np.array([40.0, 0.1])).rows
    assert row.relative < 1e-9
    assert [entry.place for entry in row.worst] == [(1,)]


def test_a_gradient_below_rounding_is_said_to_be_so() -> None:
    report = gradcheck(lambda x: (x * x).sum() * 1e-17 + 1.0, X)
    (row,) = report.rows
    assert row.status == Status.UNCLEAR
    assert row.verdict.startswith("too small to tell: the gradient is up to ")
    assert "rounding hides what is below" in row.verdict


def test_between_right_and_wrong_there_is_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = RULES["tanh"]
    words = {}
    for factor in (1 + 5e-7, 1 + 5e-5, 1 + 5e-3):
        monkeypatch.setitem(
            RULES, "tanh", lambda *given, k=factor: (right(*given)[0] * k,)
        )
        (row,) = gradcheck(lambda x: apply("tanh", x), X).rows
        assert row.status == Status.DOUBTFUL
        assert not row.ok
        words[factor] = row.verdict
    assert "rounding of float32" in words[1 + 5e-7]
    assert "rounded constant" in words[1 + 5e-5]
    assert "small term" in words[1 + 5e-3]


# --- what is not finite ----------------------------------------------------------


def test_a_loss_that_is_not_finite_names_the_gate_where_it_began() -> None:
    report = gradcheck(lambda x: apply("exp", apply("log", x) * 2.0), np.array([-1.0]))
    assert not report.ok
    expected = r"nan: it first came from log at test_gradcheck_calm.py:\d+"
    with pytest.raises(GradientError, match=expected):
        report.raise_if_wrong()


def test_a_parameter_that_is_not_finite_is_named() -> None:
    class Scale(Module):
        def __init__(self) -> None:
            self.scale = Parameter([1.0, np.nan, 1.0, 1.0])

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    with pytest.raises(GradientError, match="nan: scale holds such a value"):
        gradcheck(Scale(), X).raise_if_wrong()


def test_an_infinite_slope_is_said_to_be_so() -> None:
    report = gradcheck(lambda x: apply("sqrt", x), np.array([0.0, 1.0]))
    assert report.rows[0].status == Status.NOT_FINITE
    assert report.rows[0].verdict == "not finite: its gradient is not finite"
    assert not report.ok


# --- data and options that cannot be used ----------------------------------------

GRAPH = trace(lambda x: x * 2.0, Parameter(X).type)

# name: (call, error, its text)
MISUSE: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "NaN": (
        lambda: gradcheck(relu, np.array([[1.0, np.nan]])),
        DataError,
        r"input 0 holds nan at \[0, 1\] · no difference is defined there · fill",
    ),
    "infinity": (
        lambda: gradcheck(relu, np.array([np.inf])),
        DataError,
        r"input 0 holds inf at \[0\]",
    ),
    "an empty batch": (
        lambda: gradcheck(nn.Linear(4, 2), np.zeros((0, 4))),
        DataError,
        r"input 0 is empty: its shape is \(0, 4\) · give at least one row",
    ),
    "text": (
        lambda: gradcheck(relu, np.array(["a"])),
        DataError,
        r"input 0 holds <U1 · expected floats, integers or truth values",
    ),
    "integers only": (
        lambda: gradcheck(lambda x: x * 2.0, np.array([1, 2])),
        GradientError,
        r"nothing to check: no parameter, and no input of floats · the inputs are "
        r"int64 · only floats have gradients: write 3.0, not 3",
    ),
    "integers out": (
        lambda: gradcheck(lambda x: x < 1.0, X),
        GradientError,
        r"nothing to differentiate: the outputs are bool\[3,4\] · expected at least",
    ),
    "a loss without a target": (
        lambda: gradcheck(nn.Linear(4, 2), X, loss=nn.MSELoss()),
        ArgumentError,
        r"a loss compares with a target, and 1 array came · give the target as the",
    ),
    "a target that is none": (
        lambda: gradcheck("model", X),
        ArgumentError,
        r"str cannot be checked · expected a module, a function of tensors, a gate",
    ),
    "a graph with other arrays": (
        lambda: gradcheck(GRAPH, X[:2]),
        ShapeError,
        r"the arrays do not fit the graph · expected \(f64\[3,4\],\), got",
    ),
    "a graph with a loss": (
        lambda: gradcheck(GRAPH, X, loss=nn.MSELoss()),
        ArgumentError,
        r"a graph is checked as it is: it takes no loss",
    ),
    "a step of nothing": (
        lambda: gradcheck(relu, X, eps=0.0),
        ArgumentError,
        r"eps is a step between 0 and 1, not 0.0",
    ),
    "no directions": (
        lambda: gradcheck(relu, X, directions=0),
        ArgumentError,
        r"directions is a number of them, not 0",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_told_clearly(name: str) -> None:
    call, error, text = MISUSE[name]
    with pytest.raises(error, match=text):
        call()
