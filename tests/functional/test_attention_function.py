"""Attention as a function: JAX in float64, masks, causality, rotary positions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functional_oracle import leaf

from pellucid import functional as F
from pellucid import gradcheck, random
from pellucid.engines.choose import engine_named
from pellucid.errors import DTypeError, ShapeError
from pellucid.tensors import grad, tensor
from pellucid.tracing import trace

Array = np.ndarray[Any, Any]

SHAPES = [((2, 3), 4, 5, 6, 2), ((), 1, 7, 1, 3)]
"""Axes in front, queries, keys, their width, the width of the values."""


@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def reference(
    q: Any, k: Any, v: Any, allowed: Any, bias: Any, scale: Any, pull: Any
) -> Any:
    """Return attention by JAX, and the gradients of `pull` times it."""

    def attend(q: Any, k: Any, v: Any) -> Any:
        scores = jnp.einsum("...le,...se->...ls", q, k) * scale + bias
        return jax.nn.softmax(scores, where=allowed) @ v

    found, back = jax.vjp(attend, q, k, v)
    return found, back(pull)


def operands_of(rng: np.random.Generator, shape: Any) -> list[Array]:
    front, queries, keys, width, out = shape
    sizes = (queries, width), (keys, width), (keys, out)
    return [rng.normal(size=(*front, *size)) for size in sizes]


def allowed_by(mask: Array | None, causal: bool, queries: int, keys: int) -> Array:
    """Return which keys are seen, every row seeing at least key 0."""
    seen = np.ones((queries, keys), bool) if mask is None else mask
    return seen & np.tri(queries, keys, dtype=bool) if causal else seen


def masks_of(rng: np.random.Generator, shape: Any) -> list[Array | None]:
    front, queries, keys, *_ = shape
    masks: list[Any] = [rng.random((*front, queries, keys)) < 0.6]
    masks += [rng.random((1, keys)) < 0.6, rng.normal(size=(queries, keys)), None]
    for each in masks[:2]:
        each[..., 0] = True
    return masks


@pytest.mark.sampled(4)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_and_its_gradients_agree_with_jax(shape: Any, causal: bool) -> None:
    rng = np.random.default_rng(causal)
    operands = operands_of(rng, shape)
    pull = rng.normal(size=(*shape[0], shape[1], shape[4]))
    for mask, scale in zip(masks_of(rng, shape), (None, 0.3, 2.0, None)):
        leaves = [leaf(each) for each in operands]
        found = F.scaled_dot_product_attention(*leaves, mask, 0.0, causal, scale)
        floats = mask is not None and mask.dtype == float
        expected, flows = reference(
            *operands,
            allowed_by(None if floats else mask, causal, shape[1], shape[2]),
            mask if floats else 0.0,
            shape[3] ** -0.5 if scale is None else scale,
            pull,
        )
        np.testing.assert_allclose(found.value, expected, rtol=1e-9, atol=1e-12)
        for ours, flow in zip(grad(found, leaves, pull), flows):
            np.testing.assert_allclose(ours.value, flow, rtol=1e-9, atol=1e-12)


def test_the_gradient_checker_passes_attention_and_rotary_positions() -> None:
    rng = np.random.default_rng(1)
    q, k, v = operands_of(rng, ((2,), 3, 4, 2, 3))
    mask = rng.random((3, 4)) < 0.5  # one row may hide everything
    mask[1] = False

    def attend(q: Any, k: Any, v: Any) -> Any:
        turned = F.rotary(q), F.rotary(k)
        return F.scaled_dot_product_attention(*turned, v, mask, is_causal=True)

    assert gradcheck(attend, q, k, v).ok


@pytest.mark.parametrize("hide", [False, -math.inf])
def test_a_query_that_sees_no_key_gets_zeros_and_gives_no_gradient(hide: Any) -> None:
    q, k, v = map(leaf, operands_of(np.random.default_rng(2), ((), 3, 4, 2, 3)))
    mask = np.full((3, 4), True if hide is False else 0.0)
    mask[1] = hide
    found = F.scaled_dot_product_attention(q, k, v, mask)
    assert (found.value[1] == 0.0).all()
    flows = [each.value for each in grad(found.sum(), [q, k, v])]
    assert all(np.isfinite(each).all() for each in flows)
    assert (flows[0][1] == 0.0).all()
    others = [0, 2]
    alone = F.scaled_dot_product_attention(q.value[others], k.value, v.value)
    np.testing.assert_array_equal(found.value[others], alone.value)


def test_attention_is_a_mean_of_values_with_the_weights_that_can_be_seen() -> None:
    q, k, v = operands_of(np.random.default_rng(3), ((2,), 3, 4, 2, 3))
    weights = F.attention_weights(q, k, is_causal=True).value
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    assert (weights[:, ~np.tri(3, 4, dtype=bool)] == 0.0).all()
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(found.value, weights @ v)


def test_an_output_does_not_depend_on_what_comes_later() -> None:
    rng = np.random.default_rng(4)
    q, k, v = operands_of(rng, ((), 5, 5, 2, 3))
    before = F.scaled_dot_product_attention(q, k, v, is_causal=True).value
    for each in (q, k, v):
        each[3:] = 1e3 * rng.normal(size=each[3:].shape)
    after = F.scaled_dot_product_attention(q, k, v, is_causal=True).value
    np.testing.assert_array_equal(before[:3], after[:3])
    assert not np.isclose(before[3:], after[3:]).any()


def test_large_scores_do_not_overflow() -> None:
    q, k = np.array([[1e4]], np.float32), np.array([[1e4], [-1e4]], np.float32)
    found = F.scaled_dot_product_attention(q, k, np.eye(2, dtype=np.float32))
    assert found.value.tolist() == [[1.0, 0.0]]


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    q, k = np.zeros((1, 4)), np.zeros((4000, 4))
    with random.keys_from(random.key_of(0)):
        found = F.scaled_dot_product_attention(q, k, np.ones((4000, 1)), dropout_p=0.4)
    assert found.item() == pytest.approx(1.0, abs=0.05)
    assert found.item() != pytest.approx(1.0, abs=1e-6)


def test_the_engines_agree_and_a_mask_is_not_copied_for_every_head() -> None:
    rng = np.random.default_rng(5)
    operands = [tensor(each) for each in operands_of(rng, ((6, 2), 9, 9, 4, 5))]
    mask = rng.random((9, 9)) < 0.5

    def attend(q: Any, k: Any, v: Any) -> Any:
        turned = F.rotary(q), F.rotary(k)
        found = F.scaled_dot_product_attention(*turned, v, mask, is_causal=True)
        return [found, *grad(found.sum(), [q, k, v])]

    graph = trace(attend, *(each.type for each in operands))
    consts = [each for each in graph.nodes if each.op.name == "const"]
    assert max(each.type.size for each in consts) <= mask.size
    values = [each.value for each in operands]
    plain, native = (engine_named(each).compile(graph) for each in ("numpy", "llvm"))
    for one, other in zip(plain(*values), native(*values)):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


# --- rotary positions ------------------------------------------------------------


def test_rotary_positions_turn_complex_numbers() -> None:
    x = np.random.default_rng(6).normal(size=(2, 5, 8))
    places = np.array([0, 3, 4, 90, 100000])
    speeds = 50.0 ** (-np.arange(4) / 4)
    turned = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * places[:, None] * speeds)
    found = F.rotary(x, places, base=50.0).value
    np.testing.assert_allclose(found, np.concatenate([turned.real, turned.imag], -1))


def test_after_rotary_positions_scores_depend_on_distances_alone() -> None:
    q, k = np.random.default_rng(7).normal(size=(2, 6, 4))
    here = F.rotary(q).value @ F.rotary(k).value.T
    there = (
        F.rotary(q, np.arange(6) + 17).value @ F.rotary(k, np.arange(6) + 17).value.T
    )
    np.testing.assert_allclose(here, there)
    assert not np.allclose(here, q @ k.T)


# --- what cannot be attended to --------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "options", "error", "words"),
    [
        ([(3, 4), (5, 2), (5, 2)], {}, ShapeError, r"f64\[3,4\] and keys f64\[5,2"),
        ([(3, 4), (0, 4), (0, 2)], {}, ShapeError, "S and E at least 1"),
        ([(4,), (4,), (4,)], {}, ShapeError, "L, E"),
        ([(3, 4), (5, 4), (6, 2)], {}, ShapeError, "expected 5 of them"),
        ([(3, 4), (5, 4), (5, 2)], {"attn_mask": np.ones((5, 3), bool)}, ShapeError,
         r"bool\[5,3\] does not fit the scores · expected .* \[3, 5\]"),
        ([(3, 4), (5, 4), (5, 2)], {"attn_mask": np.ones((2, 3, 5), bool)}, ShapeError,
         "does not fit the scores"),
        ([(3, 4), (5, 4), (5, 2)], {"attn_mask": np.ones((3, 5), int)}, DTypeError,
         "truth values, or floats .* mask != 0"),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit_are_named(
    shapes: Any, options: Any, error: Any, words: str
) -> None:
    operands = [np.ones(shape) for shape in shapes]
    with pytest.raises(error, match=words):
        F.scaled_dot_product_attention(*operands, **options)


def test_attention_of_whole_numbers_is_refused() -> None:
    with pytest.raises(DTypeError, match="floats, not int64"):
        F.attention_weights(np.ones((2, 2), int), np.ones((2, 2), int))


@pytest.mark.parametrize("shape", [(3, 5), (4,), (3, 0)])
def test_rotary_positions_need_pairs(shape: Any) -> None:
    with pytest.raises(ShapeError, match="an even E"):
        F.rotary(np.ones(shape))


def test_rotary_positions_must_be_one_a_row() -> None:
    with pytest.raises(ShapeError, match="expected 3 of them"):
        F.rotary(np.ones((3, 4)), np.arange(4))
