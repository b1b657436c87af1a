"""JAX with optax: one epoch, one `jit` per step."""

import sys
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

data = np.load(sys.argv[1])
x, y = data["x"], data["y"]
random = np.random.default_rng(0)
widths = [20, 64, 64, 2]
scales = [(2 / into) ** 0.5 for into in widths]
layers = [
    (random.normal(0, scale, shape).astype(np.float32), jnp.zeros(shape[1]))
    for scale, shape in zip(scales, pairwise(widths))
]
optimizer = optax.adam(1e-3)


def mean_loss(layers, x, y):
    """Return the mean loss of a batch."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    outputs = x @ weight + bias
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


@jax.jit
def step(layers, state, x, y):
    """Return the weights and the state after a batch, and its loss."""
    loss, grads = jax.value_and_grad(mean_loss)(layers, x, y)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(layers, updates), state, loss


state = optimizer.init(layers)
order = random.permutation(len(x))
losses = []
for first in range(0, len(x), 32):
    rows = order[first : first + 32]
    layers, state, loss = step(layers, state, x[rows], y[rows])
    losses.append(loss)
print(float(np.mean(jax.device_get(losses))))
