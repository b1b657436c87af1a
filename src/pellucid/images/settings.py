"""How a network is trained on images: a frozen record, and its defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.configuration import current
from pellucid.data.images import Size
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn import (
    Augmentation,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
)
from pellucid.runs.settings import WIDTHS, Check, RunSettings

__all__ = ["AUGMENTATIONS", "ImageSettings"]


def _shift(size: Size) -> Augmentation:
    down, across = (max(each // 12, 1) for each in size)
    return RandomShift((down, across), padding_mode="replicate")


AUGMENTATIONS: dict[str, Callable[[Size], Augmentation]] = {
    "flip": lambda size: RandomHorizontalFlip(),
    "updown": lambda size: RandomVerticalFlip(),
    "shift": _shift,
    "rotate": lambda size: RandomRotation(10, padding_mode="replicate"),
    "erase": lambda size: RandomErasing(),
}
"""What images of a size may be changed by in training, by name."""


@dataclass(frozen=True, kw_only=True)
class ImageSettings(RunSettings):
    """All that decides a training besides the images.

    `suggest` gives the defaults for some images.
    """

    allowed: ClassVar[Mapping[str, Check]] = {"channels": WIDTHS, "hidden": WIDTHS}

    channels: tuple[int, ...]
    """The maps of each convolution; after each the sides are halved."""
    hidden: tuple[int, ...]
    """The width of each hidden layer behind the convolutions."""
    augment: tuple[str, ...]
    """What training images are changed by, of `AUGMENTATIONS`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.augment:
            if name not in AUGMENTATIONS:
                raise ArgumentError(
                    message(
                        f"no augmentation {name!r}",
                        hint=did_you_mean(name, AUGMENTATIONS),
                    )
                )

    @property
    def network(self) -> str:
        """The network in words."""
        layers = {"convolutions": self.channels, "hidden layers": self.hidden}
        widths = [f"{k} {'-'.join(map(str, v)) or 'none'}" for k, v in layers.items()]
        changes = [f"images changed by {', '.join(self.augment)}"] * bool(self.augment)
        return ", ".join([*widths, self.activation, *changes])

    @classmethod
    def suggest(cls, count: int, size: Size, **given: Any) -> ImageSettings:
        """Return the settings for `count` training images; `given` comes first.

        Raises `ArgumentError` for a name or a value that is not allowed.

        >>> settings = ImageSettings.suggest(1000, (28, 28), epochs=5)
        >>> settings.epochs, settings.channels, settings.batch_size
        (5, (16, 32), 32)
        """
        defaults = _defaults(count, size)
        epochs = given.get("epochs", defaults["epochs"])
        if isinstance(epochs, int):
            # Weights get best as the rate falls, in the second half of the epochs.
            defaults["patience"] = max(10, epochs // 2)
        return cls._chosen(defaults, given)


def _defaults(count: int, size: Size) -> dict[str, Any]:
    return {
        # About 150,000 images seen is enough; a small set is seen 60 times.
        "epochs": min(max(round(150_000 / max(count, 1)), 8), 60),
        "batch_size": 32 if count < 5000 else 64,
        # A halving for each; what is left is at least 4 pixels wide.
        "channels": (16, 32, 64)[: max((min(size) // 4).bit_length() - 1, 0)],
        "hidden": (64,),
        "lr": 1e-2,
        "dropout": 0.2,
        "weight_decay": 0.1,
        # Moved a little a class is the same class, and more is learned from few.
        "augment": ("shift",),
        "engine": current().engine,
    }
