"""Attention as a layer: JAX from PyTorch's state, masks, layouts, files, errors."""

from __future__ import annotations

import math
from typing import Any

import attention_oracle
import numpy as np
import pytest

import pellucid as pel
from pellucid import gradcheck, nn
from pellucid.errors import ArgumentError, DataError, DTypeError, ShapeError
from pellucid.tensors import grad, tensor

Array = np.ndarray[Any, Any]

CONFIGURATIONS: list[dict[str, Any]] = [
    {"embed_dim": 6, "num_heads": 3},
    {"embed_dim": 4, "num_heads": 1, "bias": False, "kdim": 3},
    {"embed_dim": 4, "num_heads": 2, "kdim": 4, "vdim": 5},
]


def layer_of(options: dict[str, Any], **more: Any) -> nn.MultiheadAttention:
    """Return a layer in float64 whose biases are not 0."""
    layer = nn.MultiheadAttention(**options, dtype="f64", **more)
    rng = np.random.default_rng(0)
    for leaf in layer.parameters():
        leaf.value = leaf.value + 0.1 * rng.normal(size=leaf.shape)
    return layer


def inputs_for(layer: nn.MultiheadAttention, batch: int, sizes: Any) -> list[Array]:
    rng = np.random.default_rng(1)
    widths = layer.embed_dim, layer.kdim, layer.vdim
    return [rng.normal(size=(batch, n, w)) for n, w in zip(sizes, widths)]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_attention_and_all_its_gradients_agree_with_jax(options: Any) -> None:
    layer = layer_of(options, batch_first=True)
    inputs = [tensor(x, requires_grad=True) for x in inputs_for(layer, 2, (3, 4, 4))]
    padding = np.array([[False, False, False, True], [False, False, False, False]])
    hidden = np.array([[True, False, False, False]] * 2 + [[False] * 4])
    output, weights = layer(
        *inputs, key_padding_mask=padding, attn_mask=hidden, average_attn_weights=False
    )
    assert weights is not None
    pulls = [np.random.default_rng(2).normal(size=y.shape) for y in (output, weights)]
    allowed = ~(padding[:, None, None] | hidden)

    def theirs(*xs: Any) -> Any:
        return attention_oracle.attention(*xs, layer.num_heads, allowed)

    found, (of_state, *of_inputs) = attention_oracle.with_gradients(
        theirs, tuple(pulls), layer.state_dict(), *(x.value for x in inputs)
    )
    for ours, expected in zip((output, weights), found):
        np.testing.assert_allclose(ours.value, expected, rtol=1e-9, atol=1e-12)
    names, leaves = zip(*layer.named_parameters())
    total = (output * pulls[0]).sum() + (weights * pulls[1]).sum()
    flows = grad(total, [*leaves, *inputs])
    for ours, flow in zip(flows, [*(of_state[name] for name in names), *of_inputs]):
        np.testing.assert_allclose(ours.value, flow, rtol=1e-9, atol=1e-11)


def test_the_state_has_pytorchs_keys_and_shapes() -> None:
    def shapes(**options: Any) -> dict[str, Any]:
        state = nn.MultiheadAttention(6, 2, **options).state_dict()
        return {name: each.shape for name, each in state.items()}

    tail = {"in_proj_bias": (18,), "out_proj.weight": (6, 6), "out_proj.bias": (6,)}
    assert shapes() == {"in_proj_weight": (18, 6), **tail}
    assert shapes(bias=False) == {"in_proj_weight": (18, 6), "out_proj.weight": (6, 6)}
    apart = {"q_proj_weight": (6, 6), "k_proj_weight": (6, 3), "v_proj_weight": (6, 6)}
    assert shapes(kdim=3) == {**apart, **tail}


def test_each_projection_is_drawn_with_fans_of_its_own() -> None:
    layer = nn.MultiheadAttention(64, 2)
    for part in np.split(layer.in_proj_weight.value, 3):
        assert abs(part).max() == pytest.approx(math.sqrt(6 / 128), rel=0.01)
    assert "xavier_uniform, each projection alone" in layer.summary()


# --- layouts ---------------------------------------------------------------------


def test_time_or_batch_comes_first_and_one_sequence_needs_no_batch() -> None:
    first = layer_of({"embed_dim": 6, "num_heads": 3}, batch_first=True)
    second = layer_of({"embed_dim": 6, "num_heads": 3})
    second.load_state_dict(first.state_dict())
    q, k, v = inputs_for(first, 2, (3, 4, 4))
    hidden = np.random.default_rng(3).random((6, 3, 4)) < 0.3
    output, weights = first(q, k, v, attn_mask=hidden)
    turned, same = second(*(x.swapaxes(0, 1) for x in (q, k, v)), attn_mask=hidden)
    np.testing.assert_allclose(turned.value.swapaxes(0, 1), output.value)
    np.testing.assert_allclose(same.value, weights.value)
    alone, of_one = second(q[1], k[1], v[1], attn_mask=hidden[3:])
    np.testing.assert_allclose(alone.value, output.value[1])
    np.testing.assert_allclose(of_one.value, weights.value[1])


def test_keys_and_values_are_the_query_where_they_are_not_given() -> None:
    layer = layer_of({"embed_dim": 6, "num_heads": 3}, batch_first=True)
    x = tensor(inputs_for(layer, 2, (3,))[0])
    expected, _ = layer(x.value, x.value, x.value)
    for found in (layer(x)[0], layer(x, x, x)[0], nn.Sequential(layer)(x)):
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)


def test_weights_are_averaged_over_the_heads_or_not_computed() -> None:
    layer = layer_of({"embed_dim": 6, "num_heads": 3}, batch_first=True)
    x = inputs_for(layer, 2, (3,))[0]
    apart = layer(x, average_attn_weights=False)[1].value
    assert apart.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(layer(x)[1].value, apart.mean(1))
    assert layer(x, need_weights=False)[1] is None


def test_a_replay_shows_the_weights_under_a_name() -> None:
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    x = inputs_for(layer, 4, (5,))[0].astype(np.float32)
    trainer = pel.Trainer(nn.Sequential(layer), nn.MSELoss())
    trainer.fit(x, x, epochs=1, batch_size=4, verbose=0)
    gates = trainer.replay(0).layer("0.weights")
    found = gates[-1].output
    assert found.shape == (4, 3, 5, 5)
    np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-6)


# --- masks -----------------------------------------------------------------------


def test_a_padded_batch_gives_the_numbers_of_each_sequence_alone() -> None:
    layer = layer_of({"embed_dim": 6, "num_heads": 3}, batch_first=True)
    x = inputs_for(layer, 3, (5,))[0]
    lengths = [5, 1, 3]
    padding = np.arange(5) >= np.array(lengths)[:, None]
    for causal in (False, True):
        together, _ = layer(x, key_padding_mask=padding, is_causal=causal)
        for row, length in enumerate(lengths):
            alone, _ = layer(x[row, :length], is_causal=causal)
            found = together.value[row, :length]
            np.testing.assert_allclose(found, alone.value, rtol=1e-12, atol=1e-14)


def test_a_causal_output_does_not_depend_on_later_inputs() -> None:
    for rotary in (False, True):
        layer = layer_of({"embed_dim": 6, "num_heads": 3}, rotary=rotary)
        x = inputs_for(layer, 5, (2,))[0]
        before = layer(x, is_causal=True)[0].value
        x[3:] = -7.0
        after = layer(x, is_causal=True)[0].value
        np.testing.assert_array_equal(before[:3], after[:3])
        assert not np.isclose(before[3:], after[3:]).any()


def test_masks_of_floats_are_added_to_the_scores() -> None:
    layer = layer_of({"embed_dim": 6, "num_heads": 3}, batch_first=True)
    x = inputs_for(layer, 2, (3,))[0]
    padding = np.array([[False, False, True], [False, False, False]])
    hidden = np.triu(np.ones((3, 3), bool), 1)
    floats = [np.where(each, -math.inf, 0.0) for each in (padding, hidden)]
    expected = layer(x, key_padding_mask=padding, attn_mask=hidden)[0].value
    for one, other in ((floats[0], hidden), (padding, floats[1]), floats):
        found = layer(x, key_padding_mask=one, attn_mask=other)[0].value
        np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(layer(x, attn_mask=floats[1])[0].value[1], expected[1])


def test_a_mask_that_hides_everything_is_refused_where_it_is_known() -> None:
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    x = np.ones((3, 2, 6), np.float32)
    padding = np.array([[False, True], [True, True], [False, False]])
    words = "hides every key · row 1, counted from 0 · true means hidden.* ~mask"
    with pytest.raises(
        DataError, match=f"MultiheadAttention.*key_padding_mask {words}"
    ):
        layer(x, key_padding_mask=padding)
    with pytest.raises(DataError, match="attn_mask hides every key · row 0"):
        layer(x, attn_mask=np.array([[-math.inf] * 2, [0.0, 0.0]]))
    # Where two masks hide everything together, the query gets zeros.
    late = np.array([[True, False], [False, False]])
    found, weights = layer(x, key_padding_mask=padding[:1].repeat(3, 0), attn_mask=late)
    assert (weights.value[:, 0] == 0.0).all()
    assert (found.value[:, 0] == layer.out_proj.bias.value).all()


# --- training --------------------------------------------------------------------


def test_dropout_acts_on_weights_in_training_alone() -> None:
    layer = nn.MultiheadAttention(6, 3, dropout=0.5, batch_first=True)
    x = inputs_for(layer, 2, (8,))[0].astype(np.float32)
    assert not np.allclose(layer(x)[0].value, layer(x)[0].value)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].value, layer(x)[0].value)


def test_the_gradient_checker_passes_attention() -> None:
    layer = nn.MultiheadAttention(4, 2, batch_first=True, rotary=True)
    x = np.random.default_rng(4).normal(size=(2, 3, 4))
    padding = np.array([[False, False, False], [False, True, False]])
    assert gradcheck(layer, x, x[:, ::-1], x * 2.0, padding).ok


def test_a_file_rebuilds_attention(tmp_path: Any) -> None:
    layer = nn.MultiheadAttention(4, 2, vdim=3, batch_first=True)
    layer.save(tmp_path / "a.safetensors")
    same = nn.load(tmp_path / "a.safetensors")
    q, _, v = (each.astype(np.float32) for each in inputs_for(layer, 2, (3, 3, 3)))
    np.testing.assert_array_equal(same(q, q, v)[0].value, layer(q, q, v)[0].value)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"num_heads": 4},
            "embed_dim=6 does not divide into 4 .* embed_dim=8",
        ),
        ({"num_heads": 0}, "num_heads must be a whole number ≥ 1"),
        ({"num_heads": 2, "kdim": 0}, "kdim must be a whole number ≥ 1"),
        ({"num_heads": 2, "dropout": 1.5}, "dropout must be between 0 and 1, not 1.5"),
        ({"num_heads": 2, "rotary": True}, "heads of even width, not 3"),
        ({"num_heads": 2, "dtype": "i32"}, "weights are f32 or f64, not int32"),
    ],
)
def test_arguments_that_make_no_attention_are_named(options: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        nn.MultiheadAttention(6, **options)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(2, 3, 5)], r"the query is f64\[2,3,5\] · expected \[batch, time, 6\], or"),
        ([(2, 3, 6), (2, 4, 5)], r"the key is f64\[2,4,5\]"),
        ([(2, 3, 6), (4, 6)], r"the key is f64\[4,6\]"),
        ([(6,)], r"the query is f64\[6\]"),
        ([(2, 3, 6), (2, 0, 6)], "the key is .*: a sequence of length zero · .* leave"),
        ([(2, 0, 6), (2, 3, 6)], "the query is .*: a sequence of length zero"),
        ([(0, 6)], "the query is .*: a sequence of length zero"),
        ([(2, 3, 6), (1, 4, 6)], "expected one batch size, and a value for each key"),
        ([(2, 3, 6), (2, 4, 6), (2, 3, 6)], "a value for each key"),
    ],
)
def test_inputs_that_do_not_fit_are_named(shapes: Any, words: str) -> None:
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    with pytest.raises(ShapeError, match=f"MultiheadAttention.*{words}"):
        layer(*map(np.ones, shapes))


def test_attention_in_a_batch_of_nothing_is_nothing() -> None:
    x = np.zeros((0, 3, 6), np.float32)
    output, weights = nn.MultiheadAttention(6, 3, batch_first=True)(x)
    assert output.shape == (0, 3, 6)
    assert weights.shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("masks", "error", "words"),
    [
        ({"attn_mask": np.zeros((4, 3), bool)}, ShapeError,
         r"attn_mask is bool\[4,3\] · expected \[3, 3\] or \[6, 3, 3\]"),
        ({"key_padding_mask": np.zeros((3, 2), bool)}, ShapeError,
         r"key_padding_mask is bool\[3,2\] · expected \[2, 3\]"),
        ({"key_padding_mask": np.zeros((2, 3), int)}, DTypeError,
         "truth values, true where a key is hidden, or floats · key_padding_mask != 0"),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit_are_named(masks: Any, error: Any, words: str) -> None:
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    with pytest.raises(error, match=words):
        layer(np.ones((2, 3, 6), np.float32), **masks)
