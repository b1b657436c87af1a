"""Train a network on its text again, as far as a step, to look inside that step."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from pellucid.runs.repeat import repeat_step
from pellucid.text.model import TextModel
from pellucid.text.preparing import fit, prepare_text, trainer_for
from pellucid.train.replay import Replay
from pellucid.train.trainer import Trainer

__all__ = ["replay_step"]


def replay_step(model: TextModel, text: str, step: int) -> Replay:
    """Return every gate of one step of a model's training, counted from 0.

    `text` is the one that the model was trained on.

    Raises:
        ArgumentError: the training had no such step.
        DataError: the losses differ from those recorded, so the text, or the version
            of Pellucid, are others.
    """
    return repeat_step(model.history, step, partial(_trained, model, text), "text")


def _trained(model: TextModel, text: str, epochs: int) -> Trainer:
    prepared = prepare_text(text, asdict(model.settings))
    trainer = trainer_for(prepared)
    fit(trainer, prepared, epochs)
    return trainer
