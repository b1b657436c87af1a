"""JAX: `lax.scan` over an epoch's batches in one `jit`, its state donated.

Where an epoch is one step there is nothing to scan over: then the scan runs over the
epochs, in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from benchmarks.peers import jax_step
from benchmarks.rows import Row


class Session(jax_step.Session):
    """State on the device; one call an epoch."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.epoch = jax.jit(self._scan, donate_argnums=0)
        self.many = jax.jit(self._repeat, donate_argnums=0, static_argnums=3)

    def _scan(self, state: Any, x: jax.Array, y: jax.Array, order: jax.Array) -> Any:
        def body(state: Any, rows: jax.Array) -> Any:
            return self.update(state, x[rows], y[rows])

        return jax.lax.scan(body, state, order)

    def _repeat(self, state: Any, x: jax.Array, y: jax.Array, epochs: int) -> Any:
        update = partial(self.update, x=x, y=y)
        return jax.lax.scan(lambda state, _: update(state), state, length=epochs)

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train."""
        if not self.row.shuffle:
            self.state, losses = self.many(self.state, self.x, self.y, epochs)
            return [float(each) for each in jax.device_get(losses)]
        means = []
        for i in range(epochs):
            order = self.order(None if orders is None else orders[i])
            self.state, losses = self.epoch(self.state, self.x, self.y, order)
            means.append(losses.mean())
        return [float(mean) for mean in means]


def prepare(row: Row) -> Session:
    """Return a session."""
    return Session(row)
