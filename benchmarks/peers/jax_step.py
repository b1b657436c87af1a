"""JAX: one `jit` per step with optax, its state donated and its losses kept inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import examples, weights
from benchmarks.nets import jax_
from benchmarks.nets import ours as nets
from benchmarks.rows import Row

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}
OPTIMIZERS = {"adam": optax.adam, "sgd": optax.sgd}


def forward(row: Row, layers: Any, x: jax.Array) -> jax.Array:
    """Return the outputs for a batch; weights are `[in, out]`, as JAX's users write."""
    if row.net:
        return jax_.forward(row.net, layers, x)
    for weight, bias in layers[:-1]:
        x = ACTIVATIONS[row.activation](x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def mean_loss(row: Row, outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean loss of a batch."""
    if row.task == "values":
        return jnp.mean((outputs - y) ** 2)
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
    return losses.mean()


def first(row: Row) -> Any:
    """Return the first weights."""
    if row.net:
        return {name: jnp.asarray(each) for name, each in nets.first(row.net).items()}
    return [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in weights(row)]


class Session:
    """State on the device; the index of the step counts there too."""

    def __init__(self, row: Row) -> None:
        self.row = row
        x, y = examples(row)
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        self.optimizer = OPTIMIZERS[row.optimizer](row.learning_rate)
        self.random = np.random.default_rng(3)
        self.jitted = jax.jit(self.step, donate_argnums=0)

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimiser."""
        layers = first(self.row)
        self.state = layers, self.optimizer.init(layers)

    def outputs(self, layers: Any, x: jax.Array) -> jax.Array:
        """Return the outputs for a batch."""
        return forward(self.row, layers, x)

    def loss(self, layers: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return the mean loss of a batch."""
        return mean_loss(self.row, self.outputs(layers, x), y)

    def update(self, state: Any, x: jax.Array, y: jax.Array) -> Any:
        """Return the state after a batch, and the loss before it."""
        layers, kept = state
        loss, grads = jax.value_and_grad(self.loss)(layers, x, y)
        updates, kept = self.optimizer.update(grads, kept)
        return (optax.apply_updates(layers, updates), kept), loss

    def step(self, carried: Any, x: jax.Array, y: jax.Array, order: jax.Array) -> Any:
        """Make one update; everything that changes is carried and donated."""
        state, i, total = carried
        if self.row.shuffle:
            rows = jax.lax.dynamic_index_in_dim(order, i, keepdims=False)
            x, y = x[rows], y[rows]
        state, loss = self.update(state, x, y)
        return state, i + 1, total + loss

    def order(self, given: Any) -> jax.Array:
        """Return the rows of each step, `i32[steps, batch]`."""
        if given is None and self.row.shuffle:
            given = self.random.permutation(self.row.rows).astype(np.int32)
        if not self.row.shuffle:
            return jnp.zeros((1, 1), jnp.int32)
        return jnp.asarray(given.reshape(self.row.steps, self.row.batch))

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        return [
            self._epoch(None if orders is None else orders[i]) for i in range(epochs)
        ]

    def _epoch(self, given: Any) -> float:
        order = self.order(given)
        carried = self.state, jnp.int32(0), jnp.float32(0)
        for _ in range(self.row.steps):
            carried = self.jitted(carried, self.x, self.y, order)
        self.state, _, total = carried
        return float(total) / self.row.steps


def prepare(row: Row) -> Any:
    """Return a session, or a function that predicts."""
    if row.kind == "train":
        return Session(row)
    jitted = jax.jit(partial(forward, row, first(row)))
    return lambda x: np.asarray(jitted(x))
