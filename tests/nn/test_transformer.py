"""Transformer layers and stacks: JAX from PyTorch's state, masks, engines, errors."""

from __future__ import annotations

from typing import Any

import attention_oracle
import numpy as np
import pytest

from pellucid import gradcheck, nn
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, ShapeError
from pellucid.tensors import Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, symbols

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def stirred(module: nn.Module) -> nn.Module:
    """Return a module in float64 whose scales and biases are not 1 and 0."""
    module.to("f64")
    for leaf in module.parameters():
        leaf.value = leaf.value + 0.1 * RNG.normal(size=leaf.shape)
    return module


def encoder_layer(**options: Any) -> nn.TransformerEncoderLayer:
    made: Any = stirred(
        nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True, **options)
    )
    return made


def decoder_layer(**options: Any) -> nn.TransformerDecoderLayer:
    made: Any = stirred(
        nn.TransformerDecoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True, **options)
    )
    return made


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("decodes", "before"), [(False, False), (True, True)])
def test_layers_and_all_their_gradients_agree_with_jax(
    decodes: bool, before: bool
) -> None:
    layer = (decoder_layer if decodes else encoder_layer)(norm_first=before)
    x, memory = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 5, 4))
    padding = np.array([[False, False, True], [False, False, False]])
    seen = np.ones((3, 5), bool)
    seen[1, 2:] = False
    allowed = np.tri(3, dtype=bool) & ~padding[:, None, None]
    inputs = [tensor(x, requires_grad=True)]
    if decodes:
        inputs.append(tensor(memory, requires_grad=True))
        masks = {"memory_mask": ~seen, "tgt_key_padding_mask": padding}
        found = layer(*inputs, tgt_is_causal=True, **masks)
    else:
        found = layer(*inputs, src_key_padding_mask=padding, is_causal=True)
    pull = RNG.normal(size=found.shape)

    def theirs(state: Any, x: Any, *memory: Any) -> Any:
        across = (*memory, seen) if memory else ()
        return attention_oracle.layer(state, x, 2, allowed, before, *across)

    expected, (of_state, *of_inputs) = attention_oracle.with_gradients(
        theirs, pull, layer.state_dict(), *(each.value for each in inputs)
    )
    np.testing.assert_allclose(found.value, expected, rtol=1e-9, atol=1e-12)
    names, leaves = zip(*layer.named_parameters())
    flows = grad(found, [*leaves, *inputs], pull)
    for ours, flow in zip(flows, [*(of_state[name] for name in names), *of_inputs]):
        np.testing.assert_allclose(ours.value, flow, rtol=1e-9, atol=1e-11)


def whole(**options: Any) -> nn.Transformer:
    made: Any = stirred(
        nn.Transformer(4, 2, 2, 1, 6, 0.0, "gelu", batch_first=True, **options)
    )
    return made


def test_a_transformer_and_all_its_gradients_agree_with_jax() -> None:
    model = whole(norm_first=True)
    source, target = RNG.normal(size=(2, 5, 4)), RNG.normal(size=(2, 3, 4))
    padding = np.array([[False] * 5, [False] * 3 + [True] * 2])
    allowed, past = ~padding[:, None, None], np.tri(3, dtype=bool)
    inputs = [tensor(each, requires_grad=True) for each in (source, target)]
    masks = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    found = model(*inputs, tgt_is_causal=True, **masks)
    pull = RNG.normal(size=found.shape)

    def theirs(state: Any, source: Any, target: Any) -> Any:
        part, norm = attention_oracle.part, attention_oracle.norm
        encoder, decoder = part(state, "encoder"), part(state, "decoder")
        for number in range(2):
            layer = part(encoder, f"layers.{number}")
            source = attention_oracle.layer(layer, source, 2, allowed, True)
        memory = norm(part(encoder, "norm"), source)
        layer, across = part(decoder, "layers.0"), (memory, allowed)
        target = attention_oracle.layer(layer, target, 2, past, True, *across)
        return norm(part(decoder, "norm"), target)

    expected, (of_state, *of_inputs) = attention_oracle.with_gradients(
        theirs, pull, model.state_dict(), source, target
    )
    np.testing.assert_allclose(found.value, expected, rtol=1e-9, atol=1e-12)
    names, leaves = zip(*model.named_parameters())
    flows = grad(found, [*leaves, *inputs], pull)
    for ours, flow in zip(flows, [*(of_state[name] for name in names), *of_inputs]):
        np.testing.assert_allclose(ours.value, flow, rtol=1e-9, atol=1e-11)


def test_a_transformer_is_saved_and_its_mask_hides_what_comes_later(
    tmp_path: Any,
) -> None:
    model = whole()
    model.save(tmp_path / "net.safetensors")
    same = nn.load(tmp_path / "net.safetensors")
    x = RNG.normal(size=(2, 3, 4))
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    found = same(x, x, tgt_mask=mask).value
    np.testing.assert_array_equal(found, model(x, x, tgt_mask=mask).value)
    causal = model(x, x, tgt_is_causal=True).value
    np.testing.assert_allclose(found, causal, rtol=1e-13)


def test_the_state_has_pytorchs_keys() -> None:
    attention = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    rest = ["linear1", "linear2", "norm1", "norm2"]
    plain = [f"{name}.{leaf}" for name in rest for leaf in ("weight", "bias")]
    own = [f"self_attn.{each}" for each in attention]
    assert list(encoder_layer().state_dict()) == [*own, *plain]
    across = [f"multihead_attn.{each}" for each in attention]
    expected = [*own, *across, *plain, "norm3.weight", "norm3.bias"]
    assert list(decoder_layer().state_dict()) == expected
    net = nn.TransformerEncoder(encoder_layer(), 2, nn.LayerNorm(4))
    heads = ["layers.0.", "layers.1."]
    expected = [head + each for head in heads for each in [*own, *plain]]
    assert list(net.state_dict()) == [*expected, "norm.weight", "norm.bias"]
    assert "self_attn.in_proj_bias" not in encoder_layer(bias=False).state_dict()
    assert "norm1.bias" not in encoder_layer(bias=False).state_dict()


def test_the_net_inside_is_drawn_by_the_rule_of_its_activation() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation="gelu")
    assert layer.linear1.initialised == "he_normal, because gelu follows"
    assert layer.linear2.initialised.startswith("xavier_uniform")


# --- stacks ----------------------------------------------------------------------


def test_a_stack_is_its_layers_one_after_the_other() -> None:
    net: Any = stirred(nn.TransformerEncoder(encoder_layer(), 2, nn.LayerNorm(4)))
    x = RNG.normal(size=(2, 3, 4))
    first, second = net.layers
    expected = net.norm(second(first(tensor(x), is_causal=True), is_causal=True))
    np.testing.assert_array_equal(net(x, is_causal=True).value, expected.value)
    decoder: Any = stirred(nn.TransformerDecoder(decoder_layer(), 2))
    memory = tensor(RNG.normal(size=(2, 5, 4)))
    hidden = np.triu(np.ones((3, 3), bool), 1)
    first, second = decoder.layers
    expected = second(first(tensor(x), memory, hidden), memory, hidden)
    found = decoder(x, memory, tgt_is_causal=True)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)


def test_the_layers_of_a_stack_are_drawn_apart() -> None:
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 2)
    first, second = (each.linear1.weight.value for each in net.layers)
    assert not np.isclose(first, second).any()


def test_a_file_rebuilds_a_stack(tmp_path: Any) -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, rotary=True)
    net = nn.TransformerEncoder(layer, 2, nn.LayerNorm(4)).eval()
    net.save(tmp_path / "a.safetensors")
    x = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    same = nn.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(same(x).value, net(x).value)


# --- masks -----------------------------------------------------------------------


def test_a_padded_batch_gives_the_numbers_of_each_sequence_alone() -> None:
    net: Any = stirred(nn.TransformerDecoder(decoder_layer(norm_first=True), 2))
    x, memory = RNG.normal(size=(3, 4, 4)), RNG.normal(size=(3, 5, 4))
    lengths, sources = np.array([4, 1, 3]), np.array([2, 5, 1])
    together = net(
        x,
        memory,
        tgt_key_padding_mask=np.arange(4) >= lengths[:, None],
        memory_key_padding_mask=np.arange(5) >= sources[:, None],
    ).value
    for row, (length, source) in enumerate(zip(lengths, sources)):
        alone = net(x[row, :length], memory[row, :source]).value
        np.testing.assert_allclose(together[row, :length], alone, rtol=1e-11)


@pytest.mark.parametrize("rotary", [False, True])
def test_a_causal_output_does_not_depend_on_later_inputs(rotary: bool) -> None:
    net: Any = stirred(nn.TransformerEncoder(encoder_layer(rotary=rotary), 2))
    x = tensor(RNG.normal(size=(1, 5, 4)), requires_grad=True)
    (slope,) = grad(net(x, is_causal=True)[0, 2].sum(), [x])
    assert (slope.value[0, 3:] == 0.0).all()
    assert (slope.value[0, :3] != 0.0).any(-1).all()


# --- engines, training -----------------------------------------------------------


@pytest.mark.slow
def test_the_engines_agree_on_a_net_and_its_gradients() -> None:
    net = nn.TransformerDecoder(decoder_layer(rotary=True), 2)
    leaves = dict(net.named_parameters())
    x, memory = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 5, 4))
    inputs = [symbol(tensor(each).type) for each in (x, memory)]
    with symbols(leaves) as inside:
        found: Tensor = net(*inputs, tgt_is_causal=True)
        flows = grad((found * found).sum(), [*inside.values(), *inputs])
    graph = graph_of([*inside.values(), *inputs], [found, *flows])
    values = [*(leaf.value for leaf in leaves.values()), x, memory]
    plain, native = (engine_named(each).compile(graph) for each in ("numpy", "llvm"))
    for one, other in zip(plain(*values), native(*values)):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_the_gradient_checker_passes_layers() -> None:
    x, memory = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 2, 4))
    hidden = np.triu(np.ones((3, 3), bool), 1)
    layer = nn.TransformerDecoderLayer(
        4, 2, 3, 0.2, "gelu", batch_first=True, norm_first=True, rotary=True
    )
    assert gradcheck(layer, x, memory, hidden).ok


def test_dropout_acts_in_training_alone() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.5)
    x = RNG.normal(size=(3, 2, 4)).astype(np.float32)
    assert not np.allclose(layer(x).value, layer(x).value)
    layer.eval()
    np.testing.assert_array_equal(layer(x).value, layer(x).value)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 3), "embed_dim=4 does not divide into 3 heads"),
        ((4, 2, 0), "dim_feedforward must be a whole number ≥ 1"),
        ((4, 2, 6, 2.0), "dropout must be between 0 and 1, not 2.0"),
        ((4, 2, 6, 0.1, "rellu"), "no activation 'rellu' · did you mean 'relu'"),
    ],
)
def test_arguments_that_make_no_layer_are_named(arguments: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        nn.TransformerEncoderLayer(*arguments)


def test_a_transformer_without_layers_is_refused() -> None:
    for name in ("num_encoder_layers", "num_decoder_layers"):
        with pytest.raises(ArgumentError, match=f"{name} must be a whole number ≥ 1"):
            nn.Transformer(4, 2, **{name: 0})


def test_an_error_says_in_which_layer_it_came_up() -> None:
    net = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6), 2)
    x = np.ones((3, 2, 4), np.float32)
    with pytest.raises(
        ShapeError, match=r"layers.0.multihead_attn .* the key is f32\["
    ):
        net(x, np.ones((5, 2, 3), np.float32))
    with pytest.raises(ArgumentError, match="num_layers must be a whole number ≥ 1"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 0)
