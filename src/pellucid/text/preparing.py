"""From a text to a trainer: everything up to the first update.

A run is a pure function of the text and the settings, so what prepares a training also
prepares its replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.text import Vocabulary, split_text
from pellucid.data.windows import Windows
from pellucid.errors import DataError, message
from pellucid.nn import (
    CrossEntropyLoss,
    LanguageModel,
    RecurrentLanguageModel,
    TransformerLanguageModel,
)
from pellucid.optim import AdamW, OneCycle
from pellucid.random import key_of, keys_from
from pellucid.text.settings import TextSettings
from pellucid.train.trainer import Trainer

__all__ = ["PreparedText", "fit", "prepare_text", "trainer_for", "windows_of"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

RISE = 0.1
"""The share of the updates in which the learning rate rises."""


@dataclass(frozen=True)
class PreparedText:
    """A text as numbers, `i32[n]`: what the network learns from, and what judges it."""

    settings: TextSettings
    vocabulary: Vocabulary
    fitting: Array
    judging: Array

    @property
    def training(self) -> Windows:
        """A window from every place of the part to learn from."""
        return Windows(self.fitting, self.settings.context, targets="shifted")

    @property
    def validation(self) -> Windows:
        """Windows side by side: each character is judged once."""
        return windows_of(self.judging, self.settings.context)


def windows_of(numbers: Array, context: int) -> Windows:
    """Cut a text into windows side by side; what remains at its end is left out."""
    return Windows(numbers, context, stride=context, targets="shifted")


def prepare_text(text: str, settings: Mapping[str, Any]) -> PreparedText:
    """Choose the settings, number the characters, and hold out the end.

    `settings` names those fields of `TextSettings` that the text does not choose.
    Raises `DataError` for a text that is too short.
    """
    asked = TextSettings.suggest(len(text), **settings)
    vocabulary = Vocabulary.of(text)
    fitting, judging = split_text(text, asked.validation)
    for part, name in ((fitting, "to learn from"), (judging, "to be judged by")):
        if len(part) <= asked.context:
            raise DataError(
                message(
                    f"{len(part)} of {len(text)} characters are {name}, a window is "
                    f"{asked.context} and one behind",
                    hint="choose a smaller context, or a longer text",
                )
            )
    chosen = TextSettings.suggest(len(fitting), **settings)
    parts = vocabulary.encode(fitting), vocabulary.encode(judging)
    return PreparedText(chosen, vocabulary, *parts)


def trainer_for(prepared: PreparedText) -> Trainer:
    """Return a new network for a prepared text, in the trainer that will train it.

    AdamW, and a learning rate that rises for a tenth of the updates and falls along a
    cosine.
    """
    settings = prepared.settings
    with keys_from(key_of(settings.seed)):
        module = _network(settings, len(prepared.vocabulary))
    updates = settings.epochs * -(-settings.epoch_windows // settings.batch_size)
    rate = OneCycle(settings.lr, max(updates, 2), pct_start=RISE)
    return Trainer(
        module,
        CrossEntropyLoss(axis=-1),
        AdamW(lr=rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay),
        seed=settings.seed,
        engine=settings.engine,
    )


def _network(settings: TextSettings, size: int) -> LanguageModel:
    if settings.model != "transformer":
        return RecurrentLanguageModel(
            size, settings.model, settings.layers, settings.width, settings.dropout
        )
    return TransformerLanguageModel(
        size,
        settings.context,
        settings.layers,
        settings.heads,
        settings.width,
        settings.dropout,
        activation=settings.activation,
    )


def fit(trainer: Trainer, prepared: PreparedText, epochs: int, **options: Any) -> None:
    """Train on random windows; the end of the text tells which epoch was best."""
    training, validation = prepared.training, prepared.validation
    trainer.fit(
        training,
        epochs=epochs,
        batch_size=prepared.settings.batch_size,
        epoch_rows=prepared.settings.epoch_windows,
        validation=(validation.inputs, validation.targets),
        patience=prepared.settings.patience,
        verbose=0,
        **options,
    )
