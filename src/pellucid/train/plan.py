"""Which rows each step sees: the data, the batch size and the order of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pellucid.ir.graph import Array
from pellucid.random import choices, fold_in, key_of, permutation
from pellucid.train.columns import Data, Layout, arrays_of

__all__ = ["Plan"]

_ORDER = 0xFFFFFFFF
"""Folded into the seed's key for the order of rows; no step has this number."""

_FEW = 4096
"""Rows whose order is drawn at once, in less than a tenth of a millisecond."""


@dataclass(frozen=True)
class Plan:
    """The rows of every step, a pure function of these fields."""

    data: Data
    batch: int
    shuffle: bool
    seed: int
    draw: int | None = None
    """How many rows an epoch draws at random; None: it takes every row once."""

    @cached_property
    def rows(self) -> int:
        """The number of rows that an epoch takes."""
        return self._all if self.draw is None else self.draw

    @property
    def _all(self) -> int:
        return len(next(iter(self.data.values())))

    @property
    def steps(self) -> int:
        """The steps of an epoch; the last one takes what remains."""
        return -(-self.rows // self.batch)

    @cached_property
    def key(self) -> Array:
        """The key from which a run draws."""
        return key_of(self.seed).value

    @cached_property
    def layout(self) -> Layout:
        """How the data enter a program."""
        return Layout.of(self.data)

    @cached_property
    def arrays(self) -> list[Array]:
        """What a program takes for the data."""
        return arrays_of(self.data)

    @cached_property
    def _drawer(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "pellucid-order")

    @cached_property
    def _drawn(self) -> dict[int, Future[Array]]:
        return {}

    def order(self, epoch: int) -> Array:
        """Return the rows in the order in which an epoch takes them, `i32[rows]`."""
        if not self.shuffle:
            return np.arange(self.rows, dtype=np.int32)
        key = fold_in(fold_in(key_of(self.seed), _ORDER), epoch)
        if self.draw is not None:
            return choices(key, self._all, self.draw)
        return permutation(key, self.rows)

    def parts(self, epoch: int, most: int) -> Iterator[Array]:
        """Return the order in even parts of whole steps, at most `most` steps each.

        The next epoch's order is drawn meanwhile, if that takes longer than to ask
        another thread for it: it is a pure function too.
        """
        order = self._drawn.pop(epoch, None)
        rows = self.order(epoch) if order is None else order.result()
        if self.shuffle and self.rows > _FEW:
            self._drawn.clear()
            self._drawn[epoch + 1] = self._drawer.submit(self.order, epoch + 1)
        runs = -(-self.steps // most)
        size = -(-self.steps // runs) * self.batch
        return (rows[i : i + size] for i in range(0, len(rows), size))

    def rows_of(self, epoch: int, step: int) -> Array:
        """Return the rows of one step of an epoch, counted from 0."""
        return self.order(epoch)[step * self.batch : (step + 1) * self.batch]
