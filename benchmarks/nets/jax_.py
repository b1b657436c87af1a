"""The networks in JAX: functions of weights under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.nets import sizes

__all__ = ["forward"]

Weights = dict[str, Any]


def _linear(p: Weights, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _conv(p: Weights, name: str, x: Any, padding: int) -> Any:
    pads = [(padding, padding)] * 2
    found = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), pads)
    return found + p[f"{name}.bias"][:, None, None]


def _pool(x: Any) -> Any:
    window = (1, 1, 2, 2)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def _lenet(p: Weights, x: Any) -> Any:
    x = jax.nn.relu(_pool(_conv(p, "0", x, 2)))
    x = jax.nn.relu(_pool(_conv(p, "3", x, 0))).reshape(len(x), -1)
    x = jax.nn.relu(_linear(p, "7", x))
    return _linear(p, "11", jax.nn.relu(_linear(p, "9", x)))


def _rnn(gates: Any, h: Any, w: Any, b: Any) -> Any:
    return jnp.tanh(gates + h @ w + b)


def _gru(gates: Any, h: Any, w: Any, b: Any) -> Any:
    r, z, n = jnp.split(gates, 3, 1)
    hr, hz, hn = jnp.split(h @ w + b, 3, 1)
    z = jax.nn.sigmoid(z + hz)
    return (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn) + z * h


def _lstm(gates: Any, state: Any, w: Any, b: Any) -> Any:
    h, c = state
    i, f, g, o = jnp.split(gates + h @ w + b, 4, 1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _recurrent(name: str, p: Weights, x: Any) -> Any:
    """Multiply by the input's weights outside of the loop, as is advised."""
    cell = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}[name]
    gates = x.swapaxes(0, 1) @ p["cell.weight_ih_l0"].T + p["cell.bias_ih_l0"]
    w, b = p["cell.weight_hh_l0"].T, p["cell.bias_hh_l0"]
    zero = jnp.zeros((len(x), sizes.HIDDEN[name]), gates.dtype)
    start = (zero, zero) if name == "lstm" else zero
    state, _ = lax.scan(lambda s, g: (cell(g, s, w, b), None), start, gates)
    return _linear(p, "head", state[0] if name == "lstm" else state)


def _norm(p: Weights, name: str, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def _attention(p: Weights, name: str, x: Any) -> Any:
    n, t, width = x.shape
    all_three = x @ p[f"{name}.in_proj_weight"].T + p[f"{name}.in_proj_bias"]
    heads = all_three.reshape(n, t, 3, sizes.HEADS, width // sizes.HEADS)
    q, k, v = heads.transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(2, 3) / math.sqrt(width // sizes.HEADS)
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -jnp.inf)
    mixed = jax.nn.softmax(scores) @ v
    return _linear(p, f"{name}.out_proj", mixed.swapaxes(1, 2).reshape(n, t, width))


def _transformer(p: Weights, x: Any) -> Any:
    x = p["embed.weight"][x] + p["place.weight"]
    for i in range(sizes.BLOCKS):
        name = f"blocks.layers.{i}"
        x = x + _attention(p, f"{name}.self_attn", _norm(p, f"{name}.norm1", x))
        inner = _linear(p, f"{name}.linear1", _norm(p, f"{name}.norm2", x))
        x = x + _linear(p, f"{name}.linear2", jax.nn.gelu(inner, approximate=False))
    return _linear(p, "head", x)


def _table(p: Weights, x: Any) -> Any:
    kinds = x[:, sizes.NUMBERS :].astype(jnp.int32)
    count = len(sizes.CATEGORIES)
    parts = [p[f"tables.{i}.weight"][kinds[:, i]] for i in range(count)]
    inputs = jnp.concatenate([x[:, : sizes.NUMBERS], *parts], 1)
    return _linear(p, "head", jax.nn.relu(_linear(p, "hidden", inputs)))


def forward(name: str, weights: Weights, x: Any) -> Any:
    """Return the outputs for a batch."""
    if name in sizes.HIDDEN:
        return _recurrent(name, weights, x)
    made = {"lenet": _lenet, "transformer": _transformer, "embedding": _table}
    return made[name](weights, x)
