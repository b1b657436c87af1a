"""Attention and transformer layers in JAX, from PyTorch's state dicts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def with_gradients(function: Any, pull: Any, *operands: Any) -> Any:
    """Return a function's results, and the gradients of all operands from `pull`.

    It is compiled once and run once, so the compiler need not try hard.
    """

    def program(*operands: Any) -> Any:
        results, back = jax.vjp(function, *operands)
        return results, back(pull)

    quick = {"xla_backend_optimization_level": 0}
    return jax.jit(program).lower(*operands).compile(quick)(*operands)


def project(state: Any, q: Any, k: Any, v: Any) -> list[Any]:
    """Return queries, keys and values, heads side by side."""
    if "in_proj_weight" in state:
        weights = jnp.split(state["in_proj_weight"], 3)
    else:
        weights = [state[f"{name}_proj_weight"] for name in "qkv"]
    biases = jnp.split(state.get("in_proj_bias", jnp.zeros(3)), 3)
    return [x @ w.T + b for x, w, b in zip((q, k, v), weights, biases)]


def attention(
    state: Any, q: Any, k: Any, v: Any, heads: int, allowed: Any
) -> tuple[Any, Any]:
    """Return output and weights, `[batch, heads, L, S]`, batch first."""
    q, k, v = (
        jnp.moveaxis(x.reshape(*x.shape[:-1], heads, -1), -2, -3)
        for x in project(state, q, k, v)
    )
    scores = q @ jnp.swapaxes(k, -1, -2) / jnp.sqrt(q.shape[-1])
    weights = jax.nn.softmax(scores, where=allowed)
    mixed = jnp.moveaxis(weights @ v, -3, -2)
    mixed = mixed.reshape(*mixed.shape[:-2], -1)
    output = mixed @ state["out_proj.weight"].T + state.get("out_proj.bias", 0.0)
    return output, weights


def part(state: Any, prefix: str) -> Any:
    """Return the entries below a name."""
    cut = f"{prefix}."
    return {k[len(cut) :]: v for k, v in state.items() if k.startswith(cut)}


def norm(state: Any, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * state["weight"] + state.get("bias", 0.0)


def feed_forward(state: Any, x: Any) -> Any:
    first, second = part(state, "linear1"), part(state, "linear2")
    hidden = jax.nn.gelu(x @ first["weight"].T + first["bias"], approximate=False)
    return hidden @ second["weight"].T + second["bias"]


def layer(
    state: Any, x: Any, heads: int, allowed: Any, before: bool,
    memory: Any = None, seen: Any = None,
) -> Any:  # fmt: skip
    """Return an encoder layer's output, or with a memory a decoder layer's."""

    def own(x: Any) -> Any:
        return attention(part(state, "self_attn"), x, x, x, heads, allowed)[0]

    def across(x: Any) -> Any:
        found = part(state, "multihead_attn")
        return attention(found, x, memory, memory, heads, seen)[0]

    blocks = [own, lambda x: feed_forward(state, x)]
    if memory is not None:
        blocks.insert(1, across)
    for number, block in enumerate(blocks, 1):
        scale = part(state, f"norm{number}")
        x = x + block(norm(scale, x)) if before else norm(scale, x + block(x))
    return x
