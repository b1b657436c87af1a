"""Recurrent layers and cells: formulas, padding, layouts, engines, and bad input."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recurrent_oracle as oracle

from pellucid import functional as F
from pellucid import nn, random
from pellucid.checking import gradcheck
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, ShapeError
from pellucid.ir.graph import Graph
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, symbols

RNG = np.random.default_rng(0)
TIME, BATCH, WIDTH, HIDDEN = 3, 3, 3, 4
LENGTHS = [2, 3, 1]

CASES: dict[str, dict[str, Any]] = {
    "tanh stacked": {"num_layers": 2, "batch_first": True, "bias": False},
    "relu": {"nonlinearity": "relu", "bidirectional": True},
    "lstm": {"batch_first": True},
    "lstm stacked": {"num_layers": 2, "bidirectional": True},
    "lstm projected": {"num_layers": 2, "bidirectional": True, "proj_size": 2},
    "gru": {"bidirectional": True, "batch_first": True},
    "gru stacked": {"num_layers": 2, "bias": False},
}
KINDS = {"tanh": nn.RNN, "relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def made(case: str, **options: Any) -> Any:
    """Return a layer in f64 whose every weight, biases too, is some random number."""
    layer = KINDS[case.split()[0]](WIDTH, HIDDEN, dtype="f64", **CASES[case], **options)
    rng = np.random.default_rng(1)
    for each in layer.parameters():
        each.value = rng.normal(size=each.shape) * 0.5
    return layer


def data(layer: Any) -> tuple[Any, list[Any]]:
    """Return an input of three axes and a first state, a leaf each."""
    shape = (BATCH, TIME, WIDTH) if layer.batch_first else (TIME, BATCH, WIDTH)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or HIDDEN]
    widths += [HIDDEN] if isinstance(layer, nn.LSTM) else []
    drawn = [RNG.normal(size=(count, BATCH, width)) for width in widths]
    return leaf(RNG.normal(size=shape)), [leaf(each) for each in drawn]


def leaf(value: Any) -> Tensor:
    return tensor(np.asarray(value, np.float64), requires_grad=True)


def run(layer: Any, x: Any, state: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Return the outputs, time first, and the parts of the last state."""
    hx = tuple(state) if len(state) > 1 else state[0]
    outputs, last = layer(x, hx, **options)
    outputs = F.permute_dims(outputs, (1, 0, 2)) if layer.batch_first else outputs
    return outputs, list(last) if isinstance(last, tuple) else [last]


def loss_of(outputs: Any, last: Any, of: Any = F) -> Any:
    """Return a number in which every output and every last state counts."""
    total = of.sin(outputs * WEIGH[: outputs.shape[0], :, : outputs.shape[2]]).sum()
    for part in last:
        total = total + (part * part).sum()
    return total


WEIGH = RNG.normal(size=(TIME, BATCH, 2 * HIDDEN))


# --- the formulas ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["tanh stacked", "relu", "lstm stacked", "lstm projected", "gru"]
)
def test_layers_and_all_their_gradients_agree_with_jax(case: str) -> None:
    layer = made(case)
    x, state = data(layer)
    outputs, last = run(layer, x, state)
    loss = loss_of(outputs, last)
    leaves = [*layer.parameters(), x, *state]
    found = [each.value for each in grad(loss, leaves)]
    params = layer.state_dict()

    def total(params: Any, x: Any, state: Any) -> Any:
        by_time = x.transpose(1, 0, 2) if layer.batch_first else x
        outputs, ends = oracle.layers(case.split()[0], params, by_time, state)
        last = [jnp.stack(part) for part in zip(*ends)]
        return loss_of(outputs, last, jnp), (outputs, last)

    values = (params, x.value, tuple(each.value for each in state))
    (number, (y, ends)), (dp, dx, ds) = jax.value_and_grad(total, (0, 1, 2), True)(
        *jax.tree.map(jnp.asarray, values)
    )
    assert loss.item() == pytest.approx(float(number), rel=1e-9)
    expected = [y, *ends, *(dp[name] for name in params), dx, *ds]
    ours = [outputs.value, *(each.value for each in last), *found]
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


class Judged(nn.Module):
    """A layer on a padded batch, and a number in which all that it returns counts."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Tensor, *state: Tensor) -> Tensor:
        return loss_of(*run(self.layer, x, state, lengths=LENGTHS))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", ["relu", "lstm stacked", "lstm projected", "gru"])
def test_the_gradient_checker_passes_layers(case: str) -> None:
    layer = made(case)
    x, state = data(layer)
    report = gradcheck(Judged(layer), x, *state, directions=2)
    assert report.ok, report
    assert len(report.rows) == len(layer.state_dict()) + 1 + len(state)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", ["relu", "lstm stacked", "lstm projected", "gru"])
def test_engines_agree_on_layers_and_their_gradients(case: str) -> None:
    model = Judged(made(case))
    x, state = data(model.layer)
    leaves = dict(model.named_parameters())
    inputs = [symbol(each.type) for each in (x, *state)]
    with symbols(leaves) as stand_ins:
        loss = model(*inputs)
        heads = [*stand_ins.values(), *inputs]
        graph = graph_of(heads, [loss, *grad(loss, heads)])
    values = [each.value for each in (*leaves.values(), x, *state)]
    ours, reference = (
        engine_named(name).compile(graph)(*values) for name in ("llvm", "numpy")
    )
    assert reference[0] == pytest.approx(model(x, *state).item(), rel=1e-14)
    for one, other in zip(ours, reference, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


# --- padding ---------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_padded_batch_gives_the_numbers_of_each_sequence_alone(case: str) -> None:
    layer = made(case)
    x, state = data(layer)
    by_time = x.value.swapaxes(0, 1) if layer.batch_first else x.value
    padded = by_time.copy()
    for b, length in enumerate(LENGTHS):
        padded[length:, b] = np.nan
    given = leaf(padded.swapaxes(0, 1) if layer.batch_first else padded)
    outputs, last = run(layer, given, state, lengths=LENGTHS)
    loss_of(outputs, last).backward()
    together = {name: each.grad for name, each in layer.named_parameters()}
    flows = [each.grad for each in (given, *state)]
    layer.zero_grad()
    for b, length in enumerate(LENGTHS):
        xs, first = leaf(by_time[:length, b]), [leaf(s.value[:, b]) for s in state]
        hx = tuple(first) if len(first) > 1 else first[0]
        alone, end = layer(xs, hx)
        ends = end if isinstance(end, tuple) else (end,)
        np.testing.assert_allclose(outputs.value[:length, b], alone.value, rtol=1e-12)
        assert not outputs.value[length:, b].any()
        for part, other in zip(last, ends, strict=True):
            np.testing.assert_allclose(part.value[:, b], other.value, rtol=1e-12)
        weigh = WEIGH[:length, b, : alone.shape[1]]
        loss = F.sin(alone * weigh).sum()
        for part in ends:
            loss = loss + (part * part).sum()
        loss.backward()  # the gradients of parameters add up over the sequences
        dx = flows[0].swapaxes(0, 1) if layer.batch_first else flows[0]
        np.testing.assert_allclose(dx[:length, b], xs.grad, rtol=1e-11, atol=1e-14)
        assert not dx[length:, b].any()
        for flow, each in zip(flows[1:], first, strict=True):
            np.testing.assert_allclose(flow[:, b], each.grad, rtol=1e-11, atol=1e-14)
    for name, each in layer.named_parameters():
        np.testing.assert_allclose(together[name], each.grad, rtol=1e-11, atol=1e-13)


def test_a_mask_says_what_lengths_say_and_may_hide_steps_anywhere() -> None:
    layer = made("gru")
    x, state = data(layer)
    mask = np.arange(TIME) < np.array(LENGTHS)[:, None]
    for one, other in zip(
        run(layer, x, state, mask=mask), run(layer, x, state, lengths=LENGTHS)
    ):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    mask = np.array([[True, False, True]] * BATCH)
    outputs, (last,) = run(layer, x, state, mask=mask.astype(np.float32))
    shorter, (end,) = run(layer, x[:, ::2], state)
    np.testing.assert_allclose(outputs.value[::2], shorter.value, rtol=1e-14)
    np.testing.assert_allclose(last.value, end.value, rtol=1e-14)
    assert not outputs.value[1].any()


# --- what PyTorch's users know ---------------------------------------------------


def test_numbers_are_pytorchs_for_weights_in_its_layout() -> None:
    """The expected numbers are those of PyTorch 2.13 in float64."""
    for name, layer in {
        "lstm": nn.LSTM(2, 2, dtype="f64"),
        "gru": nn.GRU(2, 2, dtype="f64"),
        "rnn": nn.RNN(2, 2, dtype="f64"),
    }.items():
        state = {
            key: np.sin(np.arange(each.size) + i).reshape(each.shape)
            for i, (key, each) in enumerate(layer.state_dict().items())
        }
        layer.load_state_dict(state)
        outputs, _ = layer(np.cos(np.arange(6.0)).reshape(3, 1, 2))
        np.testing.assert_allclose(outputs.value[-1, 0], PYTORCH[name], rtol=1e-12)


PYTORCH = {
    "lstm": [-0.1466752810970396, 0.10057423085465741],
    "gru": [-0.48477178642907315, 0.7105112345872416],
    "rnn": [0.8446808853900921, -0.38116733265393904],
}


def test_state_dicts_have_pytorchs_keys_and_shapes_in_its_order() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    shapes = {name: each.shape for name, each in layer.state_dict().items()}
    expected = {}
    for suffix, width in (("l0", 3), ("l0_reverse", 3), ("l1", 8), ("l1_reverse", 8)):
        expected |= {
            f"weight_ih_{suffix}": (16, width),
            f"weight_hh_{suffix}": (16, 4),
            f"bias_ih_{suffix}": (16,),
            f"bias_hh_{suffix}": (16,),
        }
    assert shapes == expected
    assert list(shapes) == list(expected)
    layer = nn.LSTM(3, 4, num_layers=2, proj_size=2)
    shapes = {name: each.shape for name, each in layer.state_dict().items()}
    assert list(shapes)[3:6] == ["bias_hh_l0", "weight_hr_l0", "weight_ih_l1"]
    assert shapes["weight_hr_l0"] == (2, 4)
    assert shapes["weight_hh_l0"] == shapes["weight_ih_l1"] == (16, 2)
    assert list(nn.GRU(3, 4, bias=False).state_dict()) == [
        "weight_ih_l0",
        "weight_hh_l0",
    ]
    cell = {name: each.shape for name, each in nn.GRUCell(3, 4).state_dict().items()}
    assert cell == {
        "weight_ih": (12, 3),
        "weight_hh": (12, 4),
        "bias_ih": (12,),
        "bias_hh": (12,),
    }


def test_arguments_stand_in_pytorchs_order() -> None:
    layer = nn.RNN(3, 4, 2, "relu", False, True, 0.5, True)
    assert repr(layer) == (
        "RNN(input_size=3, hidden_size=4, num_layers=2, nonlinearity='relu', "
        "bias=False, batch_first=True, dropout=0.5, bidirectional=True)"
    )
    assert nn.LSTM(3, 4, 2, False, True, 0.5, True, 2).proj_size == 2
    assert nn.GRU(3, 4, 2, False, True, 0.5, True).dropout == 0.5
    assert nn.RNNCell(3, 4, False, "relu").nonlinearity == "relu"


def test_sizes_of_one_and_batches_of_none_work() -> None:
    outputs, (hidden, _) = nn.LSTM(1, 1, bidirectional=True)(np.ones((1, 1, 1), "f4"))
    assert outputs.shape == (1, 1, 2)
    assert hidden.value.ravel().tolist() == outputs.value.ravel().tolist()
    outputs, last = nn.GRU(3, 4)(np.ones((5, 0, 3), np.float32), lengths=[])
    assert outputs.shape == (5, 0, 4)
    assert last.shape == (1, 0, 4)


def test_one_sequence_needs_no_axis_of_the_batch() -> None:
    layer = made("lstm")
    x = RNG.normal(size=(TIME, WIDTH))
    outputs, (hidden, cell) = layer(x)
    batch, (h, c) = layer(x[None])
    np.testing.assert_allclose(outputs.value, batch.value[0], rtol=1e-14)
    np.testing.assert_allclose(hidden.value, h.value[:, 0], rtol=1e-14)
    np.testing.assert_allclose(cell.value, c.value[:, 0], rtol=1e-14)
    short, _ = layer(x, lengths=np.array(2))
    masked, _ = layer(x, mask=[True, True, False])
    np.testing.assert_allclose(short.value[:2], outputs.value[:2], rtol=1e-14)
    assert np.array_equal(short.value, masked.value)


@pytest.mark.parametrize("kind", ["tanh", "relu", "lstm", "gru"])
def test_a_cell_is_one_step_of_its_layer(kind: str) -> None:
    options = {"dtype": "f64"}
    if kind in ("tanh", "relu"):
        options["nonlinearity"] = kind
    cells = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
    layer = KINDS[kind](WIDTH, HIDDEN, **options)
    cell = cells.get(kind, nn.RNNCell)(WIDTH, HIDDEN, **options)
    state = layer.state_dict()
    cell.load_state_dict({k: state[f"{k}_l0"] for k in cell.state_dict()})
    x, hx = RNG.normal(size=(TIME, BATCH, WIDTH)), None
    outputs, _ = layer(x)
    for step in x:
        hx = cell(step, hx)
    hidden = hx[0] if kind == "lstm" else hx
    np.testing.assert_allclose(hidden.value, outputs[-1].value, rtol=1e-13)
    one = cell(x[0, 0])
    first = one[0] if kind == "lstm" else one
    np.testing.assert_allclose(first.value, outputs[0, 0].value, rtol=1e-13)


def test_layers_and_cells_come_back_from_a_file(tmp_path: Any) -> None:
    for module in (
        nn.LSTM(3, 4, num_layers=2, bidirectional=True, dtype="f64"),
        nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
        nn.GRUCell(3, 4, bias=False),
    ):
        module.save(tmp_path / "net")
        again = nn.load(tmp_path / "net")
        assert repr(again) == repr(module)
        for name, each in module.state_dict().items():
            assert np.array_equal(again.state_dict()[name], each)


def test_layers_turn_to_float64_and_take_whole_numbers() -> None:
    layer = nn.GRU(3, 4)
    assert layer(np.zeros((2, 1, 3), np.int64))[0].dtype == np.float32
    outputs, last = layer.to("f64")(np.zeros((2, 1, 3), np.float32))
    assert outputs.dtype == last.dtype == np.float64


# --- how it starts, and dropout --------------------------------------------------


def test_weights_are_drawn_gate_by_gate() -> None:
    layer = nn.LSTM(5, 8, dtype="f64")
    for gate in np.split(layer.weight_hh_l0.value, 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-12)
    bound = np.sqrt(6 / (5 + 8))
    inputs = layer.weight_ih_l0.value
    assert 0.9 * bound < np.abs(inputs).max() <= bound
    assert layer.bias_ih_l0.value.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    assert not layer.bias_hh_l0.value.any()
    assert len({gate.sum() for gate in np.split(inputs, 4)}) == 4
    assert not nn.GRU(3, 4).bias_ih_l0.value.any()


def test_weights_follow_the_seed() -> None:
    def drawn(seed: int) -> Any:
        with random.keys_from(random.key_of(seed)):
            return nn.GRU(3, 4, num_layers=2).state_dict()

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["weight_hh_l1"], other["weight_hh_l1"])
    assert not np.array_equal(one["weight_hh_l0"], one["weight_hh_l1"])


def test_the_summary_says_how_the_weights_were_drawn() -> None:
    said = nn.LSTM(3, 4).summary()
    assert "xavier_uniform and orthogonal by gate" in said
    assert "forget bias 1, so that cells remember at first" in said
    assert "forget" not in nn.GRU(3, 4).summary()
    assert "forget" not in nn.LSTM(3, 4, bias=False).summary()


def test_dropout_stands_between_layers_and_only_in_training() -> None:
    layer = nn.RNN(3, 4, num_layers=2, dropout=1.0, nonlinearity="relu")
    for each in layer.parameters():
        each.value = np.ones(each.shape)
    x = np.ones((2, 1, 3), np.float32)
    outputs, last = layer(x)
    # The second layer sees zeros alone: 2 biases; then 2 and 4 units of 2 each.
    assert outputs.value[:, 0, 0].tolist() == [2.0, 10.0]
    assert last.value[0].any()
    assert layer.eval()(x)[0].value[0, 0, 0] == 5.0 * 4 + 2


def test_each_time_step_drops_units_of_its_own() -> None:
    layer = nn.RNN(3, 64, num_layers=2, nonlinearity="relu", bias=False, dropout=0.5)
    for name, each in layer.named_parameters():
        each.value = np.full(each.shape, 0.0 if "hh" in name else 1.0)
    x = tensor(np.ones((4, 1, 3), np.float32))
    with random.keys_from(random.key_of(0)):
        first, second = layer(x)[0].value[:, 0, 0], layer(x)[0].value[:, 0, 0]
    kept = first / 6.0  # each unit of the first layer is 3, and 6 where it is kept
    assert (kept > 16).all()
    assert (kept < 48).all()
    assert len(set(first.tolist())) > 1
    assert (first != second).any()


# --- in a network ----------------------------------------------------------------


def test_in_sequential_the_outputs_go_on() -> None:
    model = nn.Sequential(nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2))
    x = np.ones((2, 5, 3), np.float32)
    outputs, _ = model[0](x)
    assert np.array_equal(model(x).value, model[1](outputs).value)
    assert model(x).shape == (2, 5, 2)


def nodes_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_a_layer_is_one_scan_with_one_product_of_all_gates_in_it() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    x = symbol(tensor(np.zeros((5, 2, 3), np.float32)).type)
    outputs, _ = layer(x)
    leaves = dict(layer.named_parameters())
    with symbols(leaves) as stand_ins:
        outputs, _ = layer(x)
        graph = graph_of([*stand_ins.values(), x], [outputs])
    found = nodes_of(graph)
    assert found.count("scan") == found.count("dot") == 4
    for node in graph.nodes:
        if node.op.name == "scan":
            assert nodes_of(node.attrs["body"]).count("dot") == 1
            (dot,) = (n for n in node.attrs["body"].nodes if n.op.name == "dot")
            assert dot.type.shape == (2, 16)
            assert dot.inputs[1].op.name == "input"  # the weights as they are


# --- bad input -------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        self.memory = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor, hx: Any = None, **options: Any) -> Any:
        return self.memory(x, hx, **options)


GOOD = np.zeros((2, 5, 3), np.float32)
SHORT = np.zeros((1, 2, 3), np.float32)
ONES = np.ones((2, 5), bool)


@pytest.mark.parametrize(
    ("x", "hx", "options", "said"),
    [
        (GOOD[0, 0], None, {}, r"got f32\[3\] .*expected \[batch, time, 3\] or \[time"),
        (GOOD[None], None, {}, r"got f32\[1,2,5,3\] .*expected \[batch, time, 3\]"),
        (GOOD[..., :2], None, {}, r"got features of width 2, expected 3 .*input_size"),
        (GOOD[:, :0], None, {}, r"f32\[2,0,3\]: a sequence of length zero"),
        (GOOD, SHORT, {}, r"the state given has the length 1 .*expected \(h, c\)"),
        (GOOD, (SHORT, SHORT), {}, r"the hidden state given is f32\[1,2,3\] .*1, 2, 4"),
        (
            GOOD,
            None,
            {"mask": ONES.T},
            r"mask is bool\[5,2\] .*\[batch, time\] = \[2, 5",
        ),
        (GOOD, None, {"mask": ~ONES}, r"hides every step of .* row 0, .*try ~mask"),
        (GOOD, None, {"lengths": [5]}, r"lengths are i64\[1\] .*one for each .*\[2\]"),
        (
            GOOD,
            None,
            {"lengths": [5, 0]},
            r"a sequence is said to have length 0 · row 1, .*1 to 5",
        ),
        (GOOD, None, {"lengths": [6, 1]}, r"have length 6 · row 0, counted from 0"),
        (GOOD, None, {"mask": ONES, "lengths": [5, 5]}, r"got a mask and lengths"),
    ],
)
def test_bad_input_names_the_layer_and_what_to_do(
    x: Any, hx: Any, options: Any, said: str
) -> None:
    with pytest.raises((ShapeError, ArgumentError), match=said) as caught:
        Net()(x, hx, **options)
    assert str(caught.value).startswith("memory (LSTM(input_size=3, hidden_size=4")


def test_cells_say_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"got f32\[2,5,3\] · .*\[batch, 3\] or \[3\]"):
        nn.GRUCell(3, 4)(GOOD)
    with pytest.raises(ShapeError, match=r"got features of width 2, expected 3"):
        nn.GRUCell(3, 4)(GOOD[0, :, :2])
    with pytest.raises(ShapeError, match=r"the hidden state given is f32\[1,2,3\]"):
        nn.GRUCell(3, 4)(GOOD[0], SHORT)


def test_arguments_that_make_no_layer_are_refused() -> None:
    words = "no nonlinearity 'tan' · expected tanh or relu · did you mean 'tanh"
    with pytest.raises(ArgumentError, match=words):
        nn.RNN(3, 4, nonlinearity="tan")
    for make in (nn.RNN, nn.RNNCell):
        with pytest.raises(ArgumentError, match=r"'gru' · .* · there is nn\.GRU"):
            make(3, 4, nonlinearity="gru")
    for size in (4, -1, 1.5):
        words = f"proj_size={size} · expected a whole number below hidden_size=4 · 0"
        with pytest.raises(ArgumentError, match=words):
            nn.LSTM(3, 4, proj_size=size)
    with pytest.raises(ArgumentError, match="num_layers must be a whole number ≥ 1"):
        nn.GRU(3, 4, num_layers=0)
    with pytest.raises(ArgumentError, match="hidden_size must be a whole number ≥ 1"):
        nn.LSTMCell(3, 0)
    with pytest.raises(ArgumentError, match="dropout must be between 0 and 1, not 2"):
        nn.LSTM(3, 4, dropout=2)
    with pytest.raises(ArgumentError, match="weights are f32 or f64, not int64"):
        nn.LSTM(3, 4, dtype="i64")
    sums, mask = tensor(np.zeros((2, 3, 1))), tensor(np.ones((3, 2), bool))
    with pytest.raises(ShapeError, match=r"the mask is bool\[3,2\] · .*= \[2, 3\]"):
        F.recur(lambda x, s, real: s, sums, (sums[0],), mask=mask)
