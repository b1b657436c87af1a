"""Schedules equal optax's, or their formulas, at every step and behind the last."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
import pytest

from pellucid import optim
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import ArgumentError
from pellucid.ir.types import TensorType
from pellucid.optim import Schedule
from pellucid.tensors import Tensor, tensor
from pellucid.tracing import trace

STEPS = range(61)


def warm_cosine() -> Any:
    rise = optax.linear_schedule(0.2 / 11, 0.2, 10)
    return optax.join_schedules([rise, optax.cosine_decay_schedule(0.2, 40)], [10])


REFERENCES: dict[str, tuple[Schedule, Callable[[int], Any]]] = {
    "constant": (optim.Constant(0.3), lambda i: 0.3),
    "step": (
        optim.StepDecay(0.3, every=7, factor=0.5),
        optax.exponential_decay(0.3, 7, 0.5, staircase=True),
    ),
    "exponential": (
        optim.ExponentialDecay(0.3, 0.8, every=5),
        optax.exponential_decay(0.3, 5, 0.8),
    ),
    "1/t": (optim.InverseTime(0.3, 0.25), lambda i: 0.3 / (1 + 0.25 * i)),
    "cosine": (optim.Cosine(0.3, 50), optax.cosine_decay_schedule(0.3, 50)),
    "cosine to a floor": (
        optim.Cosine(0.3, 50, final=0.06),
        optax.cosine_decay_schedule(0.3, 50, alpha=0.2),
    ),
    "warm-up": (
        optim.WarmUp(0.2, 10),
        optax.linear_schedule(0.2 / 11, 0.2, 10),
    ),
    "warm-up of a cosine": (optim.WarmUp(optim.Cosine(0.2, 40), 10), warm_cosine()),
    "one cycle": (optim.OneCycle(0.3, 50), optax.cosine_onecycle_schedule(50, 0.3)),
    "one cycle with all arguments": (
        optim.OneCycle(0.3, 47, 0.4, 10.0, 100.0),
        optax.cosine_onecycle_schedule(47, 0.3, 0.4, 10.0, 100.0),
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", REFERENCES)
def test_it_equals_its_reference_at_every_step(name: str) -> None:
    ours, reference = REFERENCES[name]
    with jax.enable_x64(True):
        expected = [float(reference(i)) for i in STEPS]
    found = [ours(tensor(np.float64(i), "f64")).item() for i in STEPS]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", REFERENCES)
def test_it_compiles_and_keeps_the_dtype_of_the_step(name: str) -> None:
    schedule, _ = REFERENCES[name]
    for dtype in ("f32", "f64"):
        graph = trace(lambda step: schedule(step), TensorType((), dtype))
        program = NumpyEngine().compile(graph)
        for i in (0, 9, 10, 60):
            step = tensor(i, dtype).value
            assert program(step)[0] == schedule(tensor(step)).value
            assert program(step)[0].dtype == step.dtype


def test_an_integer_step_gives_a_rate_of_the_configured_dtype() -> None:
    assert optim.Cosine(0.1, 10)(tensor(5, "i32")).dtype == np.float32
    assert optim.Constant(1)(5).dtype == np.float32


def test_a_step_falls_where_it_is_due_even_far_out_in_single_precision() -> None:
    schedule = optim.StepDecay(1.0, every=3, factor=1.0)
    assert schedule(tensor(2**24, "f32")).item() == 1.0
    thirds = optim.StepDecay(1.0, every=1_000_003, factor=0.5)
    assert thirds(tensor(1_000_002, "f32")).item() == 1.0
    assert thirds(tensor(1_000_003, "f32")).item() == 0.5


def test_one_cycle_without_a_rise_starts_at_the_top() -> None:
    schedule = optim.OneCycle(0.5, steps=3, pct_start=0.1)
    assert schedule(0).item() == 0.5
    assert schedule(3).item() == pytest.approx(0.5 / 25 / 1e4)


@pytest.mark.parametrize("name", REFERENCES)
def test_it_prints_as_the_call_that_made_it_and_its_spec_is_json(name: str) -> None:
    schedule, _ = REFERENCES[name]
    assert eval(repr(schedule), vars(optim)) == schedule
    spec = json.loads(json.dumps(schedule.spec))
    assert spec == schedule.spec
    assert spec["name"] == type(schedule).__name__


def test_a_schedule_inside_a_schedule_is_in_its_spec() -> None:
    assert optim.WarmUp(optim.Cosine(0.2, 40), 10).spec == {
        "name": "WarmUp",
        "schedule": {"name": "Cosine", "lr": 0.2, "steps": 40, "final": 0.0},
        "steps": 10,
    }


@dataclass(frozen=True)
class _Sawtooth(Schedule):
    lr: float

    def rate(self, step: Tensor) -> Tensor:
        return self.lr * (step + 1.0)


def test_a_user_s_own_schedule_drives_an_optimiser() -> None:
    sgd = optim.SGD(lr=_Sawtooth(0.5))
    params = {"w": tensor(np.float64(1.0), "f64")}
    state = sgd.init(params)
    for step in range(3):
        updates, state = sgd.update(optim.Context.of(params, params, state, step))
        assert updates["w"].item() == -0.5 * (step + 1)
    assert sgd.spec["lr"] == {"name": "_Sawtooth", "lr": 0.5}


def test_a_bare_function_is_not_a_schedule() -> None:
    with pytest.raises(ArgumentError, match="derive a frozen dataclass from Schedule"):
        optim.SGD(lr=math.sqrt)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optim.Constant(0.0), "lr is 0.0 · Constant · expected a number above"),
        (
            lambda: optim.StepDecay(0.1, every=0),
            "every is 0 · StepDecay · expected a w",
        ),
        (lambda: optim.StepDecay(0.1, 5, factor=1.5), "factor is 1.5 · StepDecay"),
        (lambda: optim.ExponentialDecay(0.1, 0.0), "factor is 0.0 · ExponentialDecay"),
        (lambda: optim.InverseTime(0.1, -1.0), "decay is -1.0 · InverseTime"),
        (lambda: optim.Cosine(0.1, 2.5), "steps is 2.5 · Cosine"),  # type: ignore
        (lambda: optim.Cosine(0.1, 5, final=-1.0), "final is -1.0 · Cosine"),
        (lambda: optim.WarmUp(-0.1, 5), "schedule is -0.1 · WarmUp"),
        (lambda: optim.WarmUp(0.1, True), "steps is True · WarmUp"),
        (lambda: optim.OneCycle(0.1, 5, pct_start=1.0), "pct_start is 1.0 · OneCycle"),
        (lambda: optim.OneCycle(0.1, 5, div_factor=0.5), "div_factor is 0.5"),
        (lambda: optim.OneCycle(math.nan, 5), "lr is nan"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert words in str(caught.value)
