"""The inside of loops in a replay: gates, states and their gradients at each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import functional as F
from pellucid import nn, optim
from pellucid.errors import ArgumentError
from pellucid.tensors import Tensor
from pellucid.train.trainer import Trainer

RNG = np.random.default_rng(0)
TIME, BATCH, WIDTH, HIDDEN = 5, 3, 2, 4
X = RNG.normal(size=(2 * BATCH, TIME, WIDTH))
Y = X.sum((1, 2))[:, None]


class Net(nn.Module):
    """A recurrent layer, and a linear one on its output of the last step."""

    def __init__(self, kind: Any, **options: Any) -> None:
        self.memory = kind(WIDTH, HIDDEN, batch_first=True, **options)
        self.out = nn.Linear(HIDDEN * (1 + self.memory.bidirectional), 1)
        self.to("f64")

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        return self.out(self.memory(x, lengths=lengths)[0][:, TIME // 2])


def trained(model: Any, X: Any = X) -> Trainer:
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.1))
    trainer.fit(X, Y, epochs=1, batch_size=BATCH, verbose=0)
    return trainer


def before(trainer: Trainer, replay: Any) -> Any:
    """Return the model with the weights that it had before a step, and its rows."""
    replay.before.put_into(trainer.model)
    return trainer.model, X[replay.rows], Y[replay.rows]


@pytest.mark.slow
def test_the_gradient_on_the_memory_cell_is_the_numeric_one_at_every_step() -> None:
    trainer = trained(Net(nn.LSTM))
    replay = trainer.replay(1)
    steps = replay.steps("memory")
    model, x, y = before(trainer, replay)
    cell, gate = steps["cell"], steps["output gate"].value

    def loss(t: int, added: Any) -> float:
        """Run on from step t with something added to the cell."""
        after = cell.value[t] + added
        hidden = gate[t] * np.tanh(after)
        outputs = [hidden]
        if t + 1 < TIME:
            rest, _ = model.memory(x[:, t + 1 :], (hidden[None], after[None]))
            outputs += list(rest.value.swapaxes(0, 1))
        at = TIME // 2 - t
        known = hidden if at == 0 else outputs[at] if at > 0 else None
        if known is None:
            return 0.0
        return float(((model.out(known).value - y) ** 2).mean())

    assert cell.value.shape == cell.gradient.shape == (TIME, BATCH, HIDDEN)
    for t in range(TIME):
        numeric = np.zeros((BATCH, HIDDEN))
        for index in np.ndindex(numeric.shape):
            tip = np.zeros_like(numeric)
            tip[index] = 1e-5
            numeric[index] = (loss(t, tip) - loss(t, -tip)) / 2e-5
        np.testing.assert_allclose(cell.gradient[t], numeric, rtol=1e-6, atol=1e-10)
    assert np.abs(cell.gradient[0]).max() > 1e-6


def test_gates_and_their_gradients_add_up_to_those_of_the_weights() -> None:
    trainer = trained(Net(nn.LSTM))
    replay = trainer.replay(1)
    steps = replay.steps("memory")
    flows = []
    for name in ("input gate", "forget gate", "cell gate", "output gate"):
        value, gradient = steps[name].value, steps[name].gradient
        slope = 1 - value**2 if name == "cell gate" else value * (1 - value)
        flows.append(gradient * slope)
    flow = np.concatenate(flows, 2)  # of the sums that enter the gates
    np.testing.assert_allclose(
        flow.sum((0, 1)), replay.gradient("memory.bias_hh_l0"), rtol=1e-10
    )
    hidden = steps["hidden"].value
    shifted = np.concatenate([np.zeros((1, BATCH, HIDDEN)), hidden[:-1]])
    np.testing.assert_allclose(
        np.einsum("tbg,tbh->gh", flow, shifted),
        replay.gradient("memory.weight_hh_l0"),
        rtol=1e-10,
        atol=1e-15,
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (nn.RNN, {"hidden"}),
        (nn.GRU, {"reset gate", "update gate", "new gate", "hidden"}),
    ],
)
def test_other_units_name_their_gates_too(kind: Any, names: set[str]) -> None:
    trainer = trained(Net(kind))
    replay = trainer.replay(0)
    steps = replay.steps("memory")
    assert set(steps) == names
    assert len(steps) == len(names)
    model, x, _ = before(trainer, replay)
    np.testing.assert_allclose(
        steps["hidden"].value, model.memory(x)[0].value.swapaxes(0, 1), rtol=1e-14
    )


@pytest.mark.slow
def test_layers_and_directions_have_names_of_their_own() -> None:
    trainer = trained(Net(nn.GRU, num_layers=2, bidirectional=True))
    replay = trainer.replay(0)
    steps = replay.steps("memory")
    assert {name.split(".")[0] for name in steps} == {
        "l0",
        "l0_reverse",
        "l1",
        "l1_reverse",
    }
    model, x, _ = before(trainer, replay)
    outputs = model.memory(x)[0].value.swapaxes(0, 1)
    for name, part in (
        ("l1", np.s_[..., :HIDDEN]),
        ("l1_reverse", np.s_[..., HIDDEN:]),
    ):
        hidden = replay.steps(f"memory.{name}")["hidden"]
        np.testing.assert_allclose(hidden.value, outputs[part], rtol=1e-14)
        assert (hidden.value == steps[f"{name}.hidden"].value).all()
    # Backwards nothing that is read later depends on the steps before the middle.
    flow = steps["l1_reverse.hidden"].gradient
    assert flow[TIME // 2 :].all()
    assert not flow[: TIME // 2].any()
    assert set(replay.steps()) == {f"memory.{name}" for name in steps}


def test_in_the_padding_the_state_stays_and_its_gradient_passes_through() -> None:
    lengths = np.array([TIME, 2, 1] * 2)
    trainer = trained(Last(), (X, lengths))
    replay = trainer.replay(0)
    steps = replay.steps("memory")
    for b, length in enumerate(lengths[replay.rows]):
        for name in ("cell", "hidden"):
            value, gradient = steps[name].value[:, b], steps[name].gradient[:, b]
            assert (value[length:] == value[length - 1]).all()
            assert gradient[:length].all()
        # The loss reads the last hidden state, which is that of the last real step.
        assert (gradient[length:] == gradient[length - 1]).all()
        assert not steps["cell"].gradient[length:, b].any()


class Last(nn.Module):
    def __init__(self) -> None:
        self.memory = nn.LSTM(WIDTH, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 1)
        self.to("f64")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        _, (hidden, _) = self.memory(x, lengths=lengths)
        return self.out(hidden[0])


# --- loops of users --------------------------------------------------------------


class Loops(nn.Module):
    """A loop in a loop, a cell in a loop, and a loop without names."""

    def __init__(self) -> None:
        self.cell = nn.GRUCell(WIDTH, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)
        self.to("f64")

    def forward(self, x: Tensor) -> Tensor:
        by_time = F.permute_dims(x, (1, 0, 2))
        hidden, _ = F.scan(self._step, F.zeros((x.shape[0], HIDDEN), "f64"), by_time)
        return self.out(hidden)

    def _step(self, hidden: Tensor, x: Tensor) -> tuple[Tensor, None]:
        for_all, _ = F.scan(
            lambda c, part: (c + F.sin(part), None), hidden[:, 0] * 0.0, x.T
        )
        return self.cell(x, hidden) * 0.5 + F.expand_dims(for_all, 1) * 0.1, None


@pytest.mark.slow
def test_loops_of_users_show_what_they_carry_and_the_layers_in_them() -> None:
    trainer = trained(Loops())
    replay = trainer.replay(1)
    steps = replay.steps()
    assert {"carry", "inner carry", "cell.update gate", "cell.hidden"} <= set(steps)
    rows = X[replay.rows].swapaxes(0, 1)
    inner = steps["inner carry"]
    assert inner.value.shape == (TIME, WIDTH, BATCH)
    sums = np.cumsum(np.sin(rows).swapaxes(1, 2), 1)
    np.testing.assert_allclose(inner.value, sums, rtol=1e-13)
    outer = steps["carry"]
    np.testing.assert_allclose(
        steps["cell.hidden"].gradient, outer.gradient * 0.5, rtol=1e-13
    )
    np.testing.assert_allclose(
        inner.gradient[:, -1], outer.gradient.sum(2) * 0.1, rtol=1e-13
    )


# --- what people read ------------------------------------------------------------


def test_steps_print_as_a_table_of_sizes() -> None:
    replay = trained(Net(nn.RNN)).replay(0)
    steps = replay.steps("memory")
    lines = str(steps).splitlines()
    assert lines[0] == "memory.l0: values, root of the mean square"
    assert lines[1].split() == ["step", "hidden"]
    size = np.sqrt((steps["hidden"].value[0] ** 2).mean())
    assert lines[2].split() == ["0", f"{size:.3g}"]
    assert len(lines) == 2 * (2 + TIME) + 1
    assert lines[-1].split() == ["4", "0"]


def test_a_layer_without_a_loop_and_a_wire_without_a_name_are_errors() -> None:
    replay = trained(Net(nn.RNN)).replay(0)
    with pytest.raises(ArgumentError, match="no loop over time in the layer 'out'"):
        replay.steps("out")
    with pytest.raises(ArgumentError, match=r"did you mean 'memory\.l0'"):
        replay.steps("memory.l1")
    with pytest.raises(ArgumentError, match="no wire 'cell' · known: 'hidden'"):
        replay.steps("memory")["cell"]
    plain = trained(nn.Sequential(nn.Flatten(), nn.Linear(TIME * WIDTH, 1)).to("f64"))
    with pytest.raises(ArgumentError, match=r"^no loop$"):
        plain.replay(0).steps()
