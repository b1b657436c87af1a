"""Wrong gradients are caught, located to their gate, and said to be wrong how.

Faults are planted in a gate's own backward, in the table of rules, and in the rules
of scan and call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from gates.samples import SAMPLES, Sample
from pellucid import nn, random
from pellucid.checking import Report, Status, gradcheck
from pellucid.errors import GradientError
from pellucid.functional.control import gate, scan
from pellucid.grad import transform
from pellucid.grad.rules import RULES
from pellucid.ir.graph import Node, bind, fill
from pellucid.ir.types import TensorType
from pellucid.nn.module import Module
from pellucid.tensors import Tensor, apply, expand, grad, take

DRAW = np.random.default_rng(11)
X = DRAW.normal(size=(3, 4))
Y = DRAW.normal(size=(3, 4))
B = DRAW.normal(size=4)
SQUARE = DRAW.normal(size=(3, 3))
TALL = DRAW.normal(size=(4, 2))

Backward = Callable[..., Sequence[Tensor]]


def planted(
    forward: Callable[..., Tensor], backward: Backward
) -> Callable[..., Tensor]:
    """Return a gate with this backward: (inputs, output, its gradient) → gradients."""
    return gate(
        forward,
        lambda xs, ys, gs: list(backward(*xs, ys[0], gs[0])),
        name="planted",
    )


def tanh(x: Tensor) -> Tensor:
    return apply("tanh", x)


def softmax(x: Tensor) -> Tensor:
    e = apply("exp", x)
    return e / e.sum(1, keepdims=True)


def shifted(g: Tensor, low: int, high: int) -> Tensor:
    """Put g into columns of zeros, `low` before it and `high` behind."""
    parts = [g[:, :1] * 0.0] * low + [g] + [g[:, :1] * 0.0] * high
    return apply("concat", *parts, axis=1)


def only_one_entry(x: Tensor, y: Tensor, g: Tensor) -> list[Tensor]:
    wrong = np.ones((3, 4))
    wrong[1, 2] = 3.0
    return [g * (1.0 - y * y) * wrong]


# name: (forward, its wrong backward, operands, which operand, how it is wrong)
PLANTED: dict[
    str, tuple[Callable[..., Tensor], Backward, tuple[Any, ...], int, str]
] = {
    "twice": (tanh, lambda x, y, g: [g * (1.0 - y * y) * 2.0], (X,), 0, "factor 2"),
    "times 2.001": (
        tanh,
        lambda x, y, g: [g * (1.0 - y * y) * 2.001],
        (X,),
        0,
        "factor 2.001",
    ),
    "times 1.01": (
        tanh,
        lambda x, y, g: [g * (1.0 - y * y) * 1.01],
        (X,),
        0,
        "factor 1.01",
    ),
    "times 1.0001": (
        tanh,
        lambda x, y, g: [g * (1.0 - y * y) * 1.0001],
        (X,),
        0,
        "factor 1.0001",
    ),
    "sign": (tanh, lambda x, y, g: [g * (y * y - 1.0)], (X,), 0, "wrong sign"),
    "zero": (tanh, lambda x, y, g: [g * 0.0], (X,), 0, "missing"),
    "not finite": (tanh, lambda x, y, g: [g / (x - x)], (X,), 0, "not finite"),
    "stale forward value": (
        tanh,
        lambda x, y, g: [g * (1.0 - x * x)],
        (X,),
        0,
        "different",
    ),
    "one entry of twelve": (tanh, only_one_entry, (X,), 0, "right in 11 of 12"),
    "transposed": (
        lambda x, w: x @ w,
        lambda x, w, y, g: [g @ w.T, g.T @ x],
        (X[:, :3], SQUARE),
        1,
        "transposed",
    ),
    "read in the wrong order": (
        lambda x, w: x @ w,
        lambda x, w, y, g: [g @ w.T, (g.T @ x).reshape(w.shape)],
        (X, TALL),
        1,
        "transposed",
    ),
    "an operand without gradient": (
        lambda x, y: x * y,
        lambda x, y, z, g: [g * y, y * 0.0],
        (X, Y),
        1,
        "missing",
    ),
    "half of the columns": (
        lambda x: apply("sin", x),
        lambda x, y, g: [g * apply("cos", x) * np.array([1.0, 1.0, 0.0, 0.0])],
        (X,),
        0,
        "part is missing: right in 6 of 12",
    ),
    "a missing term of a product rule": (
        lambda x: x * apply("sin", x),
        lambda x, y, g: [g * apply("sin", x)],
        (X,),
        0,
        "different",
    ),
    "one side of x·xᵀ": (
        lambda x: x @ x.T,
        lambda x, y, g: [g @ x],
        (X,),
        0,
        "different",
    ),
    "a dropped sum of a broadcast": (
        lambda x, b: x + b,
        lambda x, b, y, g: [g, g[0]],
        (X, B),
        1,
        "different",
    ),
    "a mean for the sum of a broadcast": (
        lambda x, b: x + b,
        lambda x, b, y, g: [g, g.mean(0)],
        (X, B),
        1,
        "factor 0.333333",
    ),
    "the wrong operand": (
        lambda x, y: x / y,
        lambda x, y, z, g: [g / x, -g * z / y],
        (X, Y),
        0,
        "different",
    ),
    "swapped gradients": (
        lambda x, y: x * x * y,
        lambda x, y, z, g: [g * x * x, g * x * y * 2.0],
        (X, Y),
        0,
        "swapped",
    ),
    "shifted by one": (
        lambda x: x[:, 1:] * 3.0,
        lambda x, y, g: [shifted(g * 3.0, 0, 1)],
        (X,),
        0,
        "different",
    ),
    "a difference with one side": (
        lambda x: x[:, 1:] - x[:, :-1],
        lambda x, y, g: [shifted(g, 1, 0)],
        (X,),
        0,
        "right in 3 of 12",
    ),
    "the diagonal of a softmax": (
        softmax,
        lambda x, y, g: [g * y * (1.0 - y)],
        (X,),
        0,
        "different",
    ),
    "a mean that forgets to divide": (
        lambda x: (x * x).mean(0),
        lambda x, y, g: [expand(g, x.shape) * x * 2.0],
        (X,),
        0,
        "factor 3",
    ),
    "a constant to seven digits and no more": (
        lambda x: apply("erf", x),
        lambda x, y, g: [g * apply("exp", -(x * x)) * 1.12838],
        (X,),
        0,
        "factor 1.000000738",
    ),
    "an epsilon that the forward has not": (
        lambda x: apply("log", x),
        lambda x, y, g: [g / (x + 1e-3)],
        (np.abs(X) + 0.5,),
        0,
        "different",
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_gate_is_found(name: str) -> None:
    forward, backward, operands, operand, kind = PLANTED[name]
    wrong = planted(forward, backward)
    report = gradcheck(lambda *xs: tanh(wrong(*(x * 0.7 for x in xs))), *operands)
    assert not report.ok
    assert {fault.gate for fault in report.faults} == {"call 'planted'"}, report
    told = {fault.operand: fault.kind for fault in report.faults}
    assert kind in told[f"input {operand}"], report


@pytest.mark.parametrize("name", PLANTED)
def test_a_right_gate_in_its_place_passes(name: str) -> None:
    forward, _, operands, _, _ = PLANTED[name]

    def right(*given: Tensor) -> Sequence[Tensor]:
        *inputs, _, g = given
        return grad(forward(*inputs), inputs, g)

    sound = planted(forward, right)
    report = gradcheck(lambda *xs: tanh(sound(*(x * 0.7 for x in xs))), *operands)
    assert report.ok, report


# --- faults in the table of rules ------------------------------------------------


def scaled(op: str, operand: int, factor: float) -> Callable[..., Any]:
    right = RULES[op]

    def rule(g: Node, y: Node, *inputs: Node) -> tuple[Node | None, ...]:
        flows = list(right(g, y, *inputs))
        flows[operand] = flows[operand] * factor
        return tuple(flows)

    return rule


def first_float(sample: Sample) -> int:
    return next(i for i, o in enumerate(sample.operands) if o.dtype is None)


FIRST = {
    s.op: s
    for s in reversed(SAMPLES)
    if s.smooth
    and s.op in RULES
    and all(0 not in t.shape for t in (*s.types("f64"), *s.graph("f64").output_types))
}
"""One sample a gate."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("op", FIRST)
def test_a_rule_wrong_by_a_factor_of_2_001_is_found(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, operand = FIRST[op], first_float(FIRST[op])
    monkeypatch.setitem(RULES, op, scaled(op, operand, 2.001))
    report = gradcheck(sample.graph("f64"), *sample.arrays("f64"))
    assert not report.ok
    assert {fault.gate for fault in report.faults} == {op}, report
    assert all("factor 2.001" in fault.kind for fault in report.faults), report
    assert f"input {operand}" in {fault.operand for fault in report.faults}


def transposed_weight(g: Node, y: Node, x: Node, w: Node) -> tuple[Node, ...]:
    dx, dw = RIGHT_DOT(g, y, x, w)
    return dx, bind("transpose", dw, axes=(1, 0))


def narrow_slice(g: Node, y: Node, x: Node) -> tuple[Node, ...]:
    """Put the gradient one place too early."""
    (right,) = RIGHT_SLICE(g, y, x)
    rest = bind("slice", right, start=(0, 1), stop=right.shape, step=(1, 1))
    zero = fill(0.0, TensorType((), g.dtype))
    flat = bind("pad", rest, zero, low=(0, 0), high=(0, 1), interior=(0, 0))
    return (flat,)


RIGHT_DOT, RIGHT_SLICE, RIGHT_CONV = RULES["dot"], RULES["slice"], RULES["conv"]

# name: (gate, wrong rule, function, operands, how it is wrong)
RULE_FAULTS: dict[str, tuple[str, Any, Callable[..., Any], tuple[Any, ...], str]] = {
    "mul takes its own operand": (
        "mul",
        lambda g, y, a, b: (g * a, g * b),
        lambda x, y: x * y,
        (X, Y),
        "swapped",
    ),
    "div forgets the sign": (
        "div",
        lambda g, y, a, b: (g / b, g * y / b),
        lambda x, y: x / y,
        (X, Y),
        "wrong sign",
    ),
    "div forgets its divisor": (
        "div",
        lambda g, y, a, b: (g / b, None),
        lambda x, y: x / y,
        (X, Y),
        "missing",
    ),
    "tanh of a stale value": (
        "tanh",
        lambda g, y, x: (g * (1.0 - x * x),),
        lambda x: apply("tanh", x),
        (X,),
        "different",
    ),
    "exp of its input": (
        "exp",
        lambda g, y, x: (g * x,),
        lambda x: apply("exp", x),
        (X,),
        "different",
    ),
    "dot transposed": (
        "dot",
        transposed_weight,
        lambda x, w: x @ w,
        (SQUARE, SQUARE + 1.0),
        "transposed",
    ),
    "dot transposed, and not square": (
        "dot",
        transposed_weight,
        lambda x, w: x @ w,
        (X, TALL),
        "its gradient has shape (2, 4), it has (4, 2): transposed",
    ),
    "max gives to all": (
        "max",
        lambda g, y, x: (fill(1.0, x.type) * bind("sum", g, axes=(0,)),),
        lambda x: x.reshape(12).max(0, keepdims=True),
        (X,),
        "",
    ),
    "maximum gives to the loser": (
        "maximum",
        lambda g, y, a, b: RULES["minimum"](g, y, a, b),
        lambda x, y: apply("maximum", x, y),
        (X, Y),
        "swapped",
    ),
    "where gives to both": (
        "where",
        lambda g, y, c, a, b: (None, g, g),
        lambda x, y: apply("where", x < y, x, y * 2.0),
        (X, Y),
        "right in",
    ),
    "gather reads past": (
        "gather",
        lambda g, y, x, i: (
            bind(
                "reverse",
                bind("scatter_add", fill(0.0, x.type), i, g, axis=0),
                axes=(0,),
            ),
            None,
        ),
        lambda x: take(x, np.array([0, 0, 1])),
        (X,),
        "different",
    ),
    "slice off by one": (
        "slice",
        narrow_slice,
        lambda x: x[:, 1:3],
        (X,),
        "",
    ),
    "pad forgets its value": (
        "pad",
        lambda g, y, x, v: (RIGHT_PAD(g, y, x, v)[0], None),
        lambda x, v: apply("pad", x, v, low=(1, 0), high=(0, 1), interior=(0, 0)),
        (X, np.float64(0.5)),
        "missing",
    ),
    "conv forgets to turn the kernel": (
        "conv",
        lambda g, y, x, w: RIGHT_CONV(g, y, x, bind("reverse", w, axes=(2,))),
        lambda x, w: apply(
            "conv",
            x,
            w,
            stride=(1,),
            low=(1,),
            high=(1,),
            x_dilation=(1,),
            w_dilation=(1,),
            groups=1,
        ),
        (DRAW.normal(size=(2, 2, 5)), DRAW.normal(size=(3, 2, 3))),
        "different",
    ),
    "broadcast takes the first for the sum": (
        "broadcast",
        lambda g, y, x: (bind("slice", g, start=(0, 0), stop=x.shape, step=(1, 1)),),
        lambda x: expand(x, (3, 4)),
        (X[:1],),
        "different",
    ),
}
RIGHT_PAD = RULES["pad"]


@pytest.mark.parametrize("name", RULE_FAULTS)
def test_a_wrong_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, rule, function, operands, kind = RULE_FAULTS[name]
    monkeypatch.setitem(RULES, op, rule)
    report = gradcheck(function, *operands)
    assert not report.ok
    assert {fault.gate for fault in report.faults} == {op}, report
    assert any(kind in fault.kind for fault in report.faults), report


# --- faults inside scans and calls -----------------------------------------------


def recurrence(w: Tensor, x: Tensor) -> Tensor:
    last, _ = scan(lambda h, x: (apply("tanh", h @ w + x), None), x[0] * 0.0, x)
    return last


named = gate(lambda x: apply("sin", x) * 3.0, name="layer")


def test_a_fault_is_found_in_the_body_of_a_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "tanh", scaled("tanh", 0, 2.001))
    report = gradcheck(recurrence, SQUARE, X[:, :3])
    assert [str(fault.gate) for fault in report.faults] == ["tanh"], report
    assert "factor 2.001" in report.faults[0].kind


def test_a_fault_is_found_in_the_body_of_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "sin", scaled("sin", 0, -1.0))
    report = gradcheck(named, X)
    assert [fault.gate for fault in report.faults] == ["sin"], report
    assert report.faults[0].kind == "wrong sign"


@pytest.mark.parametrize(
    ("op", "function", "operands", "holder"),
    [
        ("scan", recurrence, (SQUARE, X[:, :3]), "scan"),
        ("call", named, (X,), "call 'layer'"),
    ],
)
def test_a_fault_in_the_rule_of_the_holder_is_its_own(
    op: str,
    function: Any,
    operands: Any,
    holder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = transform.CONTROL_RULES[op]

    def doubled(*given: Any) -> tuple[Node | None, ...]:
        return tuple(flow and flow * 2.0 for flow in right(*given))

    monkeypatch.setitem(transform.CONTROL_RULES, op, doubled)
    report = gradcheck(function, *operands)
    assert {fault.gate for fault in report.faults} == {holder}, report
    assert all("factor 2" in fault.kind for fault in report.faults)


def test_a_scan_that_forgets_a_constants_gradient_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = transform.CONTROL_RULES["scan"]
    monkeypatch.setitem(
        transform.CONTROL_RULES, "scan", lambda *given: (None, *right(*given)[1:])
    )
    report = gradcheck(recurrence, SQUARE, X[:, :3])
    assert [(f.gate, f.operand) for f in report.faults] == [("scan", "input 0")]
    assert "missing" in report.faults[0].kind
    assert report.rows[0].verdict.startswith("wrong: missing: its gradient is zero")


def test_a_fault_that_a_scan_shows_only_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first step is at sin 0, whose slope is 1, as this rule has it.
    monkeypatch.setitem(RULES, "sin", lambda g, y, x: (g,))
    report = gradcheck(
        lambda x: scan(lambda h, x: (apply("sin", h) + x, None), np.zeros(4), x)[0], X
    )
    assert [(fault.gate, fault.kind[:9]) for fault in report.faults] == [
        ("sin", "different")
    ]


# --- who is not to blame ---------------------------------------------------------


def test_a_gate_through_which_no_gradient_flows_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "sin", lambda g, y, x: (g,))
    monkeypatch.setitem(RULES, "tanh", scaled("tanh", 0, 2.0))
    right = planted(lambda x: apply("sin", x), lambda x, y, g: [g * apply("cos", x)])
    report = gradcheck(lambda x: tanh(right(x)) * apply("sin", x.detach()), X)
    assert [fault.gate for fault in report.faults] == ["tanh"], report


def test_a_saturated_gate_is_not_blamed_for_the_fault_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "exp", scaled("exp", 0, 2.0))
    report = gradcheck(lambda x: tanh(x * 30.0) * apply("exp", x), X)
    assert [fault.gate for fault in report.faults] == ["exp"], report


def test_a_saturated_gate_is_not_blamed_where_its_weighted_sum_cancels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nearly_equal(seed: int) -> bool:
        first, second = np.random.default_rng(seed).normal(size=2)
        return bool(abs(first - second) < 1e-3)

    seed = next(filter(nearly_equal, range(100_000)))
    monkeypatch.setitem(RULES, "exp", scaled("exp", 0, 2.0))
    report = gradcheck(
        lambda x: tanh(x) + apply("exp", x * 0.01), np.array([18.0, -18.0]), seed=seed
    )
    assert [fault.gate for fault in report.faults] == ["exp"], report


def test_equal_gradients_are_not_called_swapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "add", lambda g, y, a, b: (g * 1.000001,) * 2)
    report = gradcheck(lambda x, y: x + y, X, Y)
    assert {fault.kind for fault in report.faults} == {
        "wrong by a constant factor 1.000001"
    }


def test_where_no_gate_is_to_blame_the_tensor_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, calls = RULES["tanh"], []

    def wrong_at_first(*given: Any) -> Any:
        calls.append(given)
        (flow,) = right(*given)
        return (flow * (3.0 if len(calls) == 1 else 1.0),)

    monkeypatch.setitem(RULES, "tanh", wrong_at_first)
    report = gradcheck(lambda x: tanh(x), X)
    assert [str(fault) for fault in report.faults] == [
        "input 0: wrong by a constant factor 3 (relative error 0.67)"
    ]


def test_a_chain_rule_that_stops_for_no_gate_is_no_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, calls = RULES["tanh"], []

    def stops_at_first(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise GradientError("stopped")
        return right(*given)

    monkeypatch.setitem(RULES, "tanh", stops_at_first)
    with pytest.raises(GradientError, match="stopped"):
        gradcheck(lambda x: tanh(x), X)


def test_a_rule_that_fails_is_located(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "tanh", lambda g, y, x: (g * bind("sum", y, axes=()),))
    monkeypatch.setitem(RULES, "exp", lambda g, y, x: (bind("sum", g, axes=(9,)),))
    report = gradcheck(lambda x: tanh(apply("exp", x)), X)
    assert "exp" in {fault.gate for fault in report.faults}
    told = next(fault for fault in report.faults if fault.gate == "exp")
    assert told.kind.startswith("its rule fails: sum: axes (9,) do not fit f64[3,4]")
    assert not report.ok


# --- models ----------------------------------------------------------------------


class Planted(Module):
    """A tanh whose backward is wrong by a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return planted(tanh, lambda x, y, g: [g * (1.0 - y * y) * self.factor])(x)


def test_a_fault_in_a_layer_is_located_by_its_path_and_line() -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(4, 5), Planted(2.001), nn.Linear(5, 3))
    line = sys._getframe().f_lineno + 1
    report = gradcheck(model, X, np.array([0, 1, 2]), loss=nn.CrossEntropyLoss())
    (fault,) = report.faults
    assert fault.path == "1"
    assert "test_gradcheck_faults.py:" in fault.birth
    assert line > int(fault.birth.rpartition(":")[2]) > 0
    assert [row.name for row in report.rows if not row.ok] == [
        "0.weight",
        "0.bias",
        "input 0",
    ]
    assert report.verdict == "wrong: 0.weight, 0.bias, input 0"
    assert report.rows[0].verdict == "wrong by a constant factor 2.001"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("factor", [2.001, 1.01, -1.0])
def test_a_fault_in_a_large_model_is_located(factor: float) -> None:
    random.seed(0)
    model = nn.Sequential(nn.Linear(784, 128), Planted(factor), nn.Linear(128, 10))
    images = DRAW.random((3, 784)).astype(np.float32)
    report = gradcheck(model, images, np.array([3, 1, 4]), loss=nn.CrossEntropyLoss())
    (fault,) = report.faults
    assert (fault.gate, fault.path) == ("call 'planted'", "1")
    kind = "wrong sign" if factor < 0 else f"factor {factor:g}"
    assert kind in fault.kind
    assert [row.ok for row in report.rows] == [False, False, True, True, False]
    assert "24 entries" in report.rows[0].checked
    assert all(isinstance(e.place, tuple | int) for e in report.rows[0].worst)


def test_a_fault_is_found_where_the_gradient_is_too_small_for_differences() -> None:
    wrong = planted(tanh, lambda x, y, g: [g * (1.0 - y * y) * 2.001])
    report = gradcheck(lambda x: wrong(x).sum() * 1e-14 + 1.0, X)
    assert report.rows[0].status == Status.UNCLEAR
    assert [fault.gate for fault in report.faults] == ["call 'planted'"]
    assert not report.ok
    assert report.verdict.startswith("wrong: call 'planted', input 0 at ")


def test_two_faults_are_both_named() -> None:
    first = planted(tanh, lambda x, y, g: [g * (1.0 - y * y) * 3.0])
    second = planted(lambda x: x * x, lambda x, y, g: [g * x * -2.0])
    report = gradcheck(lambda x: second(first(x)), X)
    assert [fault.kind for fault in report.faults] == [
        "wrong by a constant factor 3",
        "wrong sign",
    ]


# --- what a report of faults says ------------------------------------------------


def wrong_report() -> Report:
    wrong = planted(tanh, lambda x, y, g: [g * (1.0 - y * y) * 2.0])
    return gradcheck(wrong, X)


def test_a_wrong_report_names_the_worst_entries() -> None:
    row = wrong_report().rows[0]
    assert row.relative == pytest.approx(0.5, abs=1e-6)
    assert row.error == pytest.approx(0.5, abs=1e-6)
    assert len(row.worst) == 5
    entry = row.worst[0]
    assert entry.status == Status.WRONG
    assert entry.analytic == pytest.approx(2 * entry.numeric)
    assert f"{list(entry.place)}: analytic" in str(wrong_report())


def test_raise_if_wrong_says_the_first_fault_in_one_line() -> None:
    expected = (
        r"^a gradient is wrong · call 'planted', input 0 at "
        r"test_gradcheck_faults.py:\d+: wrong by a constant factor 2 "
        r"\(relative error 0.5\)$"
    )
    with pytest.raises(GradientError, match=expected):
        wrong_report().raise_if_wrong()


def test_a_report_does_not_change() -> None:
    report = wrong_report()
    with pytest.raises(FrozenInstanceError):
        report.rows[0].status = Status.RIGHT  # type: ignore[misc]
