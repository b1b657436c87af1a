"""Train a network on labelled images and measure it on images that it never saw."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.labelled import ImageParts, Images
from pellucid.data.metrics import classification_metrics
from pellucid.errors import DataError, message
from pellucid.functional import softmax
from pellucid.images.model import ImageModel
from pellucid.images.preparing import (
    PreparedImages,
    linear_trainer,
    prepare_images,
    trainer_for,
)
from pellucid.images.report import ImageReport
from pellucid.runs.report import confusion_of, how_it_went, trivial_guess
from pellucid.runs.source import Source
from pellucid.tensors import tensor
from pellucid.train.events import Subscriber
from pellucid.train.trainer import Trainer

__all__ = ["TrainedImages", "ends_well", "fit", "train_images"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LINEAR_STEPS = 600
"""The updates that bring a linear model to where early stopping ends it."""


@dataclass(frozen=True)
class TrainedImages:
    """A model, the trainer that can replay its steps, and the held-out predictions.

    `truth` and `predicted` `[n]` are classes by name.
    """

    model: ImageModel
    trainer: Trainer
    truth: Array
    predicted: Array

    @property
    def report(self) -> ImageReport:
        """What was found and measured."""
        return self.model.report


def train_images(
    images: ImageParts,
    settings: Mapping[str, Any] | None = None,
    *,
    test: Images | None = None,
    source: Source | None = None,
    subscribers: Sequence[Subscriber] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    events: str | Path | None = None,
) -> TrainedImages:
    """Train on labelled images and report on those that are held out.

    `settings` has fields of `ImageSettings`; the images choose the others. `test` are
    the images to report on; without them those of a part kept apart, or a share.
    `source` is kept in the model, so that its training can be found again.
    `checkpoint`, `resume` and `events` are as for `Trainer.fit`. An interruption ends
    training, not this function: the report then says `interrupted`, and the model has
    the best weights so far.

    Raises `DataError` where nothing can be learned from the images.
    """
    start = time.perf_counter()
    prepared = prepare_images(images, settings or {}, test=test)
    if not len(prepared.held):
        raise DataError(
            message("no images are held out for the report", hint="choose a test_size")
        )
    trainer = trainer_for(prepared)
    for each in subscribers:
        trainer.subscribe(each)
    keep = {"checkpoint": checkpoint, "resume": resume, "events": events}
    fit(trainer, prepared, prepared.settings.epochs, **keep)
    return _measured(prepared, trainer, source, start)


def fit(
    trainer: Trainer, prepared: PreparedImages, epochs: int, **options: Any
) -> None:
    """Train on the fitting images; the judging ones decide when to stop.

    The last weights are kept, unless those of the lowest loss on the judging images
    were right there by more than chance: as the rate falls weights still get better,
    and a loss over few images is too noisy to see it.
    """
    trainer.fit(
        prepared.fitting.pixels,
        prepared.fitting.labels,
        epochs=epochs,
        batch_size=prepared.settings.batch_size,
        validation=(prepared.judging.pixels, prepared.judging.labels),
        patience=prepared.settings.patience,
        verbose=0,
        **options,
    )
    history, progress = trainer.history, trainer.progress
    if history.stopped == "interrupted" or not history.best_epoch or progress is None:
        return
    shares = history["validation_accuracy"]
    if ends_well(shares, history.best_epoch, len(prepared.judging)):
        trainer.programs.fetched(progress.state).put_into(trainer.model)
        history.best_epoch = history.epochs


def ends_well(shares: Sequence[float], best: int, images: int) -> bool:
    """Return whether the last epoch was right about as often as the best, from 1.

    Less by one of the judging images, or by a standard error, is chance.
    """
    share = shares[best - 1]
    chance = max(math.sqrt(share * (1 - share) / images), 1 / images)
    return shares[-1] > share - chance - 1e-6


def _measured(
    prepared: PreparedImages, trainer: Trainer, source: Source | None, start: float
) -> TrainedImages:
    """Measure the network and the guesses to beat on the held-out images."""
    held, classes = prepared.held, prepared.classes
    shares = _shares(trainer, held)
    guesses = {
        "metrics": shares,
        "baseline": trivial_guess(prepared.fitting.labels, len(held)),
        "linear": _linear_guess(prepared),
    }
    scores: dict[str, Any] = {
        name: classification_metrics(held.labels, guess)
        for name, guess in guesses.items()
    }
    found = shares.argmax(axis=1)
    report = ImageReport(
        **_counts(prepared),
        **scores,
        **confusion_of(classes, held.labels, found),
        **how_it_went(trainer),
        seconds=time.perf_counter() - start,
    )
    model = ImageModel(
        classes=classes,
        module=trainer.model.eval(),
        settings=prepared.settings,
        history=trainer.history,
        report=report,
        source=source,
    )
    names: Array = np.asarray(classes)
    return TrainedImages(model, trainer, names[held.labels], names[found])


def _shares(trainer: Trainer, images: Images) -> Array:
    return softmax(tensor(trainer.predict(images.pixels))).value


def _linear_guess(prepared: PreparedImages) -> Array:
    epochs = min(max(round(LINEAR_STEPS / prepared.steps(1)), 10), 60)
    trainer = linear_trainer(prepared, epochs)
    fit(trainer, prepared, epochs)
    return _shares(trainer, prepared.held)


def _counts(prepared: PreparedImages) -> dict[str, Any]:
    parts = (prepared.fitting, prepared.judging, prepared.held)
    fitting, judging, held = map(len, parts)
    height, width = prepared.fitting.size
    return {
        "rows": fitting + judging + held,
        "train_rows": fitting,
        "validation_rows": judging,
        "test_rows": held,
        "height": height,
        "width": width,
        "channels": prepared.fitting.channels,
        "notes": prepared.notes,
    }
