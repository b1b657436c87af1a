"""From labelled images to a trainer: everything up to the first update.

A run is a pure function of the images and the settings, so what prepares a training
also prepares its replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.labelled import ImageParts, Images
from pellucid.data.split import split_rows
from pellucid.errors import ArgumentError, DataError, message
from pellucid.images.settings import AUGMENTATIONS, ImageSettings
from pellucid.nn import (
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    Sequential,
    StandardizeChannels,
)
from pellucid.nn.activations import activation_layer
from pellucid.optim import AdamW, OneCycle
from pellucid.random import key_of, keys_from
from pellucid.train.trainer import Trainer

__all__ = ["PreparedImages", "linear_trainer", "prepare_images", "trainer_for"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FEWEST_IMAGES = 10
"""Fewer cannot be parted into images to learn from, to judge by, and to test on."""


@dataclass(frozen=True)
class PreparedImages:
    """Images that the network learns from, that judge when to stop, and held out."""

    settings: ImageSettings
    fitting: Images
    judging: Images
    held: Images
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str | int, ...]:
        """The classes, in the order of the network's outputs."""
        return self.fitting.classes

    def steps(self, epochs: int) -> int:
        """Return the updates of so many epochs."""
        return epochs * -(-len(self.fitting) // self.settings.batch_size)


def prepare_images(
    parts: ImageParts, settings: Mapping[str, Any], *, test: Images | None = None
) -> PreparedImages:
    """Choose the settings, and hold out images where none are kept apart.

    `settings` names those fields of `ImageSettings` that the images do not choose.
    Raises `DataError` for images that nothing can be learned from.
    """
    apart = parts.test if test is None else test
    given = dict(settings)
    if apart is not None:
        if given.get("test_size"):
            what = f"test_size={given['test_size']}, and test images are kept apart"
            raise ArgumentError(message(what, hint="leave it out"))
        given["test_size"] = 0.0
    train = parts.train
    asked = ImageSettings.suggest(len(train), train.size, **given)
    _check(train, 1 + bool(asked.test_size))
    kept, rest = _split(np.arange(len(train)), train, asked.test_size, asked.seed)
    held = train.part(rest) if apart is None else apart.among(train.classes)
    chosen = ImageSettings.suggest(len(kept), train.size, **given)
    share = chosen.validation if parts.validation is None else 0.0
    kept, rest = _split(kept, train, share, chosen.seed)
    judging = train.part(rest) if parts.validation is None else parts.validation
    return PreparedImages(chosen, train.part(kept), judging, held, parts.notes)


def _check(train: Images, fewest: int) -> None:
    """Raise `DataError` unless each class has so many images."""
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if len(counts) < 2:
        raise DataError(
            message(
                f"there is one class only: {train.classes[0]!r}",
                expected="expected images of two classes or more",
            )
        )
    if len(train) < FEWEST_IMAGES:
        raise DataError(
            message(
                f"{len(train)} images are too few to learn from",
                expected=f"expected at least {FEWEST_IMAGES}",
            )
        )
    rarest = int(counts.argmin())
    if counts[rarest] < fewest:
        words = ("no image", "a single image")[counts[rarest]]
        raise DataError(
            message(
                f"the class {train.classes[rarest]!r} has {words}",
                expected=f"expected at least {fewest}, to learn from and to test on",
                hint="add images, or remove the class",
            )
        )


def _split(rows: Array, images: Images, share: float, seed: int) -> tuple[Array, Array]:
    """Part some rows; a share of 0 is none of them."""
    if not share:
        return rows, rows[:0]
    kept, held = split_rows(len(rows), share, seed, images.labels[rows])
    return rows[kept], rows[held]


# --- networks --------------------------------------------------------------------


def trainer_for(prepared: PreparedImages) -> Trainer:
    """Return a new network for prepared images, in the trainer that will train it.

    Convolutions with halvings between, AdamW, and a learning rate of one cycle.
    """
    settings = prepared.settings
    with keys_from(key_of(settings.seed)):
        network = Sequential(*_layers(prepared))
    rate = OneCycle(settings.lr, max(prepared.steps(settings.epochs), 2))
    return _trainer(network, rate, settings, settings.weight_decay)


def linear_trainer(prepared: PreparedImages, epochs: int) -> Trainer:
    """Return a model that is linear in the pixels, in its trainer."""
    settings, images = prepared.settings, prepared.fitting
    inputs, outputs = int(np.prod(images.pixels.shape[1:])), len(prepared.classes)
    with keys_from(key_of(settings.seed)):
        scaling = StandardizeChannels(images.channels)
        network = Sequential(scaling, Flatten(), Linear(inputs, outputs))
    rate = OneCycle(5e-3, max(prepared.steps(epochs), 2))
    return _trainer(network, rate, settings, 0.1)


def _trainer(
    network: Module, rate: Any, settings: ImageSettings, weight_decay: float
) -> Trainer:
    return Trainer(
        network,
        CrossEntropyLoss(),
        AdamW(lr=rate, weight_decay=weight_decay),
        metrics=["accuracy"],
        seed=settings.seed,
        engine=settings.engine,
    )


def _layers(prepared: PreparedImages) -> list[Module]:
    settings, images = prepared.settings, prepared.fitting
    (height, width), maps = images.size, images.channels
    layers: list[Module] = [StandardizeChannels(maps)]
    layers += [AUGMENTATIONS[name](images.size) for name in settings.augment]
    for channels in settings.channels:
        activation = activation_layer(settings.activation)
        layers += [Conv2d(maps, channels, 3, padding=1), activation]
        maps = channels
        if min(height, width) > 1:
            layers.append(MaxPool2d(2))
            height, width = height // 2, width // 2
    layers.append(Flatten())
    inputs = maps * height * width
    for size in settings.hidden:
        layers += [Linear(inputs, size), activation_layer(settings.activation)]
        if settings.dropout:
            layers.append(Dropout(settings.dropout))
        inputs = size
    return [*layers, Linear(inputs, len(prepared.classes))]
