"""From a table to a trainer: everything up to the first update, the same every time.

A run is a pure function of the table and the settings, so what prepares a training
also prepares its replay. All that is learned here comes from the training part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.preprocess import Preprocessor
from pellucid.data.schema import Column, Schema, Task, infer_schema, infer_task
from pellucid.data.split import split_rows
from pellucid.data.table import find_column
from pellucid.data.targets import TARGETS, ClassTarget, NumberTarget
from pellucid.errors import ArgumentError, DataError, message
from pellucid.nn import MLP, CrossEntropyLoss, MSELoss
from pellucid.optim import AdamW, OneCycle
from pellucid.random import key_of, keys_from
from pellucid.tabular.settings import TableSettings
from pellucid.train.trainer import Trainer

__all__ = ["Prepared", "prepare_table", "trainer_for"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ON_REQUEST = "left out on request"

FEWEST_ROWS = 10
"""Fewer rows cannot be parted into rows to learn from, to judge by, and to test on."""


@dataclass(frozen=True)
class Prepared:
    """A table's training part as arrays, how it was encoded, and its held-out rows.

    `X` is `f32[n, inputs]`; `y` class numbers `i64[n]`, or standardised quantities
    `f32[n]`. `fitting` are the rows of them that the network learns from, `judging`
    those that decide when to stop.
    """

    task: Task
    schema: Schema
    preprocessor: Preprocessor
    target: ClassTarget | NumberTarget
    settings: TableSettings
    train: pl.DataFrame
    held: pl.DataFrame
    X: Array
    y: Array
    fitting: Array
    judging: Array

    @property
    def outputs(self) -> int:
        """The width of the network's output."""
        return len(self.target.classes) if isinstance(self.target, ClassTarget) else 1

    @property
    def batches(self) -> int:
        """The updates of an epoch."""
        return -(-len(self.fitting) // self.settings.batch_size)

    def part(self, rows: Array) -> tuple[Array, Array]:
        """Return features and targets of some rows, as the network takes them."""
        y = self.y if self.task == "classification" else self.y[:, None]
        return self.X[rows], y[rows]


def prepare_table(
    table: pl.DataFrame,
    target: str | int,
    settings: Mapping[str, Any],
    *,
    test: pl.DataFrame | None = None,
) -> Prepared:
    """Infer the task, split, choose the settings, fit and apply the encoders.

    `settings` names those fields of `TableSettings` that the table does not choose.
    With a `test` table nothing of `table` is held out. Raises `DataError` for a table
    that nothing can be learned from.
    """
    name = find_column(table, target)
    task = infer_task(table[name])
    if len(table) < FEWEST_ROWS:
        raise DataError(
            message(
                f"{len(table)} rows are too few to learn from",
                expected=f"expected at least {FEWEST_ROWS}",
            )
        )
    # On the whole column, so that a message names the row of the file.
    encoder = TARGETS[task].fit(table[name])
    given = {**settings, "test_size": 0.0} if test is not None else dict(settings)
    asked = TableSettings.suggest(len(table), task, **given)
    train, held = _split(table, encoder, asked)
    chosen = TableSettings.suggest(len(train), task, **given)
    if isinstance(encoder, NumberTarget):
        encoder = NumberTarget.fit(train[name])
    schema = _without(infer_schema(train, name), table, chosen.drop)
    preprocessor = Preprocessor.fit(train, schema)
    y = encoder.encode(train[name])
    return Prepared(
        task,
        schema,
        preprocessor,
        encoder,
        chosen,
        train,
        held if test is None else test,
        preprocessor.transform(train),
        y,
        *split_rows(len(y), chosen.validation, chosen.seed, _strata(encoder, y)),
    )


def _strata(encoder: ClassTarget | NumberTarget, y: Array) -> Array | None:
    return y if isinstance(encoder, ClassTarget) else None


def _split(
    table: pl.DataFrame, encoder: ClassTarget | NumberTarget, settings: TableSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if not settings.test_size:
        return table, table.clear()
    strata = _strata(encoder, encoder.encode(table[encoder.name]))
    train, held = split_rows(len(table), settings.test_size, settings.seed, strata)
    return table[train], table[held]


def _without(schema: Schema, table: pl.DataFrame, names: tuple[str, ...]) -> Schema:
    gone = {find_column(table, name) for name in names}
    if schema.target in gone:
        raise ArgumentError(f"{schema.target!r} is the target: it cannot be left out")
    columns = tuple(
        Column(each.name, "dropped", ON_REQUEST) if each.name in gone else each
        for each in schema.columns
    )
    return Schema(columns, schema.target)


def trainer_for(prepared: Prepared) -> Trainer:
    """Return a new network for a prepared table, in the trainer that will train it.

    A multi-layer perceptron, AdamW, and a learning rate of one cycle over all epochs.
    """
    settings = prepared.settings
    with keys_from(key_of(settings.seed)):
        module = MLP(
            prepared.X.shape[1],
            settings.hidden,
            prepared.outputs,
            settings.activation,
            settings.dropout,
        )
    classify = prepared.task == "classification"
    # A cycle needs a step to rise and one to fall.
    rate = OneCycle(settings.lr, max(settings.epochs * prepared.batches, 2))
    return Trainer(
        module,
        CrossEntropyLoss() if classify else MSELoss(),
        AdamW(lr=rate, weight_decay=settings.weight_decay),
        metrics=["accuracy"] if classify else [],
        seed=settings.seed,
        engine=settings.engine,
    )
