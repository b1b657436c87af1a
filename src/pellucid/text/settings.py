"""How a network is trained on text: a frozen record, and its defaults.

The defaults were chosen by trial on the works of Shakespeare (1.1 million characters),
by the cross-entropy of its last tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from pellucid.configuration import current
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.runs.settings import COUNT, Check, RunSettings

__all__ = ["MODELS", "TextSettings"]


class _Habit(NamedTuple):
    """What suits a kind of network."""

    batch_size: int
    lr: float
    weight_decay: float
    layers: int
    updates: int
    """The updates that it takes to learn a long text."""


MODELS: dict[str, _Habit] = {
    "transformer": _Habit(12, 2e-3, 0.1, 4, 2000),
    "lstm": _Habit(32, 4e-3, 0.01, 1, 4000),
    "gru": _Habit(32, 4e-3, 0.01, 1, 4000),
    "rnn": _Habit(32, 2e-3, 0.01, 1, 4000),
}
"""The networks by name."""

EPOCHS = 8, 60
"""The fewest epochs, so that there is something to see; the most, of a short text."""


@dataclass(frozen=True, kw_only=True)
class TextSettings(RunSettings):
    """All that decides a training besides the text.

    `suggest` gives the defaults for a text. The end of the text, `validation` of it,
    is held out: it tells which epoch was best, and what is reported.
    """

    allowed: ClassVar[Mapping[str, Check]] = {
        "layers": COUNT,
        "heads": COUNT,
        "width": COUNT,
        "context": COUNT,
        "epoch_windows": COUNT,
    }

    model: str
    """What reads the text, of `MODELS`."""
    layers: int
    width: int = 128
    heads: int = 4
    """Of a transformer's attention."""
    context: int = 64
    """How many characters a window has; a transformer looks no further back."""
    epoch_windows: int
    """How many windows an epoch draws, each from a random place."""
    activation: str = "gelu"
    test_size: float = 0.0

    def __post_init__(self) -> None:
        _check_model(self.model)
        super().__post_init__()
        if self.test_size:
            what = f"test_size={self.test_size}"
            expected = "the end of a text, held out by 'validation', is its test too"
            raise ArgumentError(message(what, expected=expected))

    @property
    def network(self) -> str:
        """The network in words."""
        sizes = f"{self.layers} layer{'s' * (self.layers > 1)} of width {self.width}"
        heads = f", {self.heads} heads" * (self.model == "transformer")
        return f"{self.model}, {sizes}{heads}, windows of {self.context} characters"

    @classmethod
    def suggest(cls, characters: int, **given: Any) -> TextSettings:
        """Return the settings for a text to learn from; `given` comes first.

        Raises `ArgumentError` for a name or a value that is not allowed.

        >>> settings = TextSettings.suggest(1_000_000, width=64)
        >>> settings.epochs, settings.epoch_windows, settings.layers, settings.width
        (8, 3000, 4, 64)
        """
        return cls._chosen(_defaults(characters, given), given)


def _check_model(name: str) -> None:
    if name not in MODELS:
        hint = did_you_mean(name, MODELS)
        raise ArgumentError(message(f"no model {name!r}", hint=hint))


def _defaults(characters: int, given: Mapping[str, Any]) -> dict[str, Any]:
    model = given.get("model", "transformer")
    _check_model(model)
    habit = MODELS[model]
    batch = given.get("batch_size", habit.batch_size)
    context = given.get("context", TextSettings.context)
    windows = _epoch_windows(characters, context, batch, habit.updates)
    fewest, most = EPOCHS
    updates = max(windows // batch, 1) if COUNT[0](batch) else 1
    return {
        "model": model,
        "layers": habit.layers,
        "batch_size": batch,
        "lr": habit.lr,
        "weight_decay": habit.weight_decay,
        "epoch_windows": windows,
        "epochs": min(max(round(habit.updates / updates), fewest), most),
        "dropout": 0.0,
        "engine": current().engine,
    }


def _epoch_windows(characters: int, context: Any, batch: Any, updates: int) -> int:
    """Return the windows of one pass over a text, but no more than is a fair part."""
    if not (COUNT[0](context) and COUNT[0](batch)):
        return 1  # what is not allowed is refused where the settings are made
    windows = min(characters // int(context), updates // EPOCHS[0] * int(batch))
    return max(windows, 1)
