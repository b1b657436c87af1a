"""Truncated backpropagation through time: a state that goes on from batch to batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import nn, optim, random
from pellucid.data import stream_order
from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.context import Memory
from pellucid.tensors import Tensor, grad, tensor
from pellucid.train.trainer import Trainer

RNG = np.random.default_rng(0)
STREAMS, PIECE, PIECES, WIDTH = 2, 3, 4, 2
SERIES = RNG.normal(size=(STREAMS, PIECE * PIECES, WIDTH))
TARGET = np.cumsum(SERIES[..., :1], 1)


class Net(nn.Module):
    def __init__(self, kind: Any = nn.LSTM, stateful: int = 0) -> None:
        self.memory = kind(WIDTH, 4, batch_first=True, dtype="f64", stateful=stateful)
        self.output = nn.Linear(4, 1, dtype="f64")

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.memory(x)[0])


def made(stateful: int = STREAMS, kind: Any = nn.LSTM) -> Net:
    with random.keys_from(random.key_of(3)):
        return Net(kind, stateful)


def cut(series: Any) -> Any:
    """Return the stretches of all streams, each batch the next of every stream."""
    rows = series.reshape(STREAMS * PIECES, PIECE, -1)
    return rows[stream_order(len(rows), STREAMS)]


def fitted(model: Net, X: Any, y: Any, **options: Any) -> tuple[Trainer, Any]:
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=0.05))
    options = {"batch_size": STREAMS, "shuffle": False, "verbose": 0, **options}
    return trainer, trainer.fit(X, y, **options)


def projected(width: int, hidden: int, **options: Any) -> nn.LSTM:
    return nn.LSTM(width, 6, proj_size=hidden, **options)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, projected])
def test_pieces_one_after_the_other_give_the_outputs_of_the_whole(kind: Any) -> None:
    whole, model = made(0, kind), made(STREAMS, kind)
    batches = cut(SERIES).reshape(PIECES, STREAMS, PIECE, WIDTH)
    for _ in range(2):
        found = np.concatenate([model(each).value for each in batches], 1)
        np.testing.assert_allclose(found, whole(SERIES).value, rtol=1e-13)
        model.memory.reset_state()


def test_training_is_the_loop_written_by_hand() -> None:
    model, by_hand = made(), made(0)
    trainer, history = fitted(model, cut(SERIES), cut(TARGET), epochs=2)
    layer, leaves = by_hand.memory, list(by_hand.parameters())
    losses = []
    for _ in range(2):
        hx = None
        for x, y in zip(*(cut(each).reshape(PIECES, STREAMS, PIECE, -1)
                          for each in (SERIES, TARGET))):  # fmt: skip
            outputs, (h, c) = layer(tensor(x), hx)
            loss = nn.MSELoss()(by_hand.output(outputs), tensor(y))
            for each, flow in zip(leaves, grad(loss, leaves)):
                each.value = each.value - 0.05 * flow.value
            hx = tensor(h.value), tensor(c.value)
            losses.append(loss.item())
    assert history["loss"] == pytest.approx(np.mean(np.reshape(losses, (2, -1)), 1))
    for ours, theirs in zip(model.parameters(), leaves):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-10)
    np.testing.assert_allclose(model.memory.cell_state.value, hx[1].value, rtol=1e-10)
    assert [trainer.replay(i).loss for i in (1, PIECES, PIECES + 2)] == pytest.approx(
        [losses[i] for i in (1, PIECES, PIECES + 2)], rel=1e-12
    )


@pytest.mark.slow
def test_a_cut_as_long_as_the_series_is_backpropagation_through_all_of_it() -> None:
    carried, plain = made(), made(0)
    losses = [
        fitted(model, SERIES, TARGET, epochs=3)[1]["loss"] for model in (carried, plain)
    ]
    assert losses[0] == losses[1]
    for one, other in zip(carried.parameters(), plain.parameters()):
        assert np.array_equal(one.value, other.value)
    shorter, _ = fitted(made(), cut(SERIES), cut(TARGET), epochs=3)
    assert shorter.model.output.weight.value != pytest.approx(
        carried.output.weight.value, rel=1e-3
    )


def test_training_goes_on_from_a_file_with_the_same_numbers(
    tmp_path: Any,
) -> None:
    data = cut(SERIES), cut(TARGET)
    through, _ = fitted(made(), *data, epochs=3)
    path = tmp_path / "run"
    fitted(made(), *data, epochs=2, checkpoint=path)
    resumed, _ = fitted(made(), *data, epochs=3, checkpoint=path, resume=True)
    for name, each in through.model.state_dict().items():
        assert np.array_equal(each, resumed.model.state_dict()[name])


def test_out_of_training_each_batch_starts_at_zeros() -> None:
    model, plain = made(), made(0)
    x = SERIES[:, :PIECE]
    model(x)
    assert (model.eval()(x[:1]).value == plain(x[:1]).value).all()
    assert (model(x).value == plain(x).value).all()
    assert (model.train()(x).value != plain(x).value).any()


def test_a_state_that_is_given_comes_before_the_one_that_was_carried() -> None:
    layer, plain = made().memory, made(0).memory
    x, zeros = SERIES[:, :PIECE], np.zeros((1, STREAMS, 4))
    layer(x)
    outputs, (hidden, _) = layer(x, (zeros, zeros))
    assert (outputs.value == plain(x)[0].value).all()
    assert (layer.hidden_state.value == hidden.value).all()


def test_the_state_is_kept_with_the_weights_and_without_it_there_is_none() -> None:
    kept = made().memory.state_dict()
    assert kept["hidden_state"].shape == kept["cell_state"].shape == (1, STREAMS, 4)
    assert "cell_state" not in made(kind=nn.GRU).memory.state_dict()
    plain = made(0).memory
    assert not any("state" in name for name in plain.state_dict())
    made().memory.load_state_dict(plain.state_dict(), strict=False)
    assert all(isinstance(each, Memory) for each in made().buffers())


def test_rows_out_of_order_are_refused() -> None:
    data = cut(SERIES), cut(TARGET)
    with pytest.raises(
        ArgumentError, match=r"memory.hidden_state · pass shuffle=False"
    ):
        fitted(made(), *data, shuffle=True)
    with pytest.raises(ArgumentError, match=r"hold rows out as validation=\(X, y\)"):
        fitted(made(), *data, validation=0.5)
    with pytest.raises(
        ShapeError, match=r"got 3 sequences · the state .* is that of 2"
    ):
        fitted(made(), *data, batch_size=3)


def test_arguments_that_cannot_carry_are_refused() -> None:
    with pytest.raises(ArgumentError, match="bidirectional or stateful, not both"):
        nn.GRU(2, 3, bidirectional=True, stateful=4)
    with pytest.raises(ArgumentError, match="stateful must be a whole number ≥ 1"):
        nn.GRU(2, 3, stateful=True)
