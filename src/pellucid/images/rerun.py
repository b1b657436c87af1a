"""Train a network on its images again, as far as a step, to look inside that step."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from pellucid.data.labelled import ImageParts
from pellucid.images.model import ImageModel
from pellucid.images.preparing import prepare_images, trainer_for
from pellucid.images.training import fit
from pellucid.runs.repeat import repeat_step
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["replay_step"]


def replay_step(model: ImageModel, images: ImageParts, step: int) -> Replay:
    """Return every gate of one step of a model's training, counted from 0.

    `images` are those that the model was trained on.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the images, or the
            version of Pellucid, are others.
    """
    train = partial(_trained, model, images)
    return repeat_step(model.history, step, train, "images")


def _trained(model: ImageModel, images: ImageParts, epochs: int) -> Trainer:
    prepared = prepare_images(images, asdict(model.settings))
    trainer = trainer_for(prepared)
    fit(trainer, prepared, epochs)
    return trainer
