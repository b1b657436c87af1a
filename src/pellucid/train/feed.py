"""Brings the rows of an epoch to where the engine computes.

Data that fit there are placed once, and a program takes its rows by their numbers.
Of others only the rows of the next run are placed, in their order; while the engine
computes a run, the rows of the one behind it are on their way.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pellucid.engines.program import Engine
from pellucid.errors import EngineError, message
from pellucid.ir.graph import Array
from pellucid.train.columns import Entry, Streamed, Whole
from pellucid.train.plan import Plan

__all__ = ["Feed", "Part"]

_AT_ONCE = 3
"""The parts that are in memory together: the last, this one, the next."""


@dataclass(frozen=True)
class Part:
    """The rows of some steps, `order`, ready for a program of these sizes.

    `fixed` is what every step reads, `moving` what the whole steps and the rest bring.
    """

    order: Array
    steps: int
    rest: int
    fixed: list[Any]
    moving: list[Any]


class Feed:
    """The data of one plan on one engine."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self.plan, self.engine = plan, engine

    @cached_property
    def entry(self) -> Entry:
        """How the data enter a program: whole where there is room for them."""
        room = self.engine.room
        needed = sum(each.nbytes for each in self.plan.arrays)
        layout = self.plan.layout
        return Whole(layout) if room is None or needed <= room else Streamed(layout)

    @cached_property
    def fixed(self) -> list[Any]:
        """What every step reads, placed once."""
        arrays = self.plan.arrays
        if isinstance(self.entry, Streamed):
            arrays = self.plan.layout.parted(arrays)[0]
        return [self.engine.place(each) for each in arrays]

    def parts(self, epoch: int, most: int) -> Iterator[Part]:
        """Bring the rows of an epoch, at most `most` steps at once."""
        if isinstance(self.entry, Whole):
            yield from map(self.part, self.plan.parts(epoch, most))
            return
        orders = self.plan.parts(epoch, min(most, self._steps_that_fit()))
        with ThreadPoolExecutor(1, "pellucid-feed") as thread:
            ahead = thread.submit(self.part, next(orders))
            for order in orders:
                ready, ahead = ahead, thread.submit(self.part, order)
                yield ready.result()
            yield ahead.result()

    def _steps_that_fit(self) -> int:
        """Return how many steps' rows there is room for, with those of the next."""
        tables, rows = self.plan.layout.parted(self.plan.arrays)
        room = (self.engine.room or 0) - sum(each.nbytes for each in tables)
        step = self.plan.batch * sum(each[:1].nbytes for each in rows)
        steps = room // (_AT_ONCE * step)
        if steps < 1:
            raise EngineError(
                message(
                    f"there is no room for a batch of {self.plan.batch} rows",
                    expected=f"{_AT_ONCE} batches take {_AT_ONCE * step} bytes, "
                    f"memory for data: {max(room, 0)}",
                    hint="give more memory, or a smaller batch_size",
                )
            )
        return int(steps)

    def part(self, order: Array) -> Part:
        """Bring the rows of `order`: steps of the plan's batch size, then the rest."""
        batch = self.plan.batch
        steps, rest = divmod(len(order), batch)
        moving = []
        if steps:
            moving += self._moving(order[: steps * batch].reshape(steps, batch))
        if rest:
            moving += self._moving(order[steps * batch :])
        return Part(order, steps, rest, self.fixed, moving)

    def _moving(self, rows: Array) -> list[Any]:
        """Return what the rows bring; devices share the rows of a step."""
        split = rows.ndim - 1
        if isinstance(self.entry, Whole):
            return [self.engine.place(rows, split=split)]
        _, arrays = self.plan.layout.parted(self.plan.arrays)
        return [self.engine.place_rows(each, rows, split=split) for each in arrays]
