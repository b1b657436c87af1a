"""A trained network with all it needs to tell what is in an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.images import Size, read_images
from pellucid.errors import DataError, message
from pellucid.functional import softmax
from pellucid.images.report import ImageReport
from pellucid.images.settings import ImageSettings
from pellucid.nn import CrossEntropyLoss
from pellucid.runs.model import RunModel
from pellucid.tensors import tensor
from pellucid.train.trainer import Trainer

__all__ = ["ImageModel"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class ImageModel(RunModel):
    """A network for images of one size: from their pixels to a class."""

    kind: ClassVar[str] = "images"
    data: ClassVar[str] = "images"
    noun: ClassVar[str] = "images"

    settings: ImageSettings
    report: ImageReport
    classes: tuple[str | int, ...]

    @property
    def size(self) -> Size:
        """Height and width of the images that the network sees."""
        return self.report.height, self.report.width

    @property
    def channels(self) -> int:
        """1 where it sees them in grey, 3 in colour."""
        return self.report.channels

    def predict(self, images: Any) -> Array:
        """Return the class of each image, `[n]`.

        `images` are paths of files, of any size, or pixels u8 `[n, channels, height,
        width]` as the network sees them. Raises `DataError` for what is neither, and
        for a file that cannot be read.
        """
        return self._named(self.predict_proba(images))

    def _named(self, shares: Array) -> Array:
        classes: Array = np.asarray(self.classes)
        found: Array = classes[shares.argmax(axis=1)]
        return found

    def predict_proba(self, images: Any) -> Array:
        """Return the probability of each class for each image, f32 `[n, classes]`."""
        pixels = self._pixels(images)
        if not len(pixels):
            return np.zeros((0, len(self.classes)), np.float32)
        trainer = Trainer(self.module, CrossEntropyLoss())
        return softmax(tensor(trainer.predict(pixels))).value

    def predict_table(self, images: Any, names: Iterable[Any]) -> pl.DataFrame:
        """Return a table of predictions, with a column for each class's probability.

        The columns are `file`, which has the names, `prediction`, and
        `probability_<class>`, ….
        """
        shares = self.predict_proba(images).astype(np.float64)
        columns = {"file": list(names), "prediction": self._named(shares)}
        titles = [f"probability_{each}" for each in self.classes]
        return pl.DataFrame({**columns, **dict(zip(titles, shares.T))})

    def _pixels(self, images: Any) -> Array:
        if isinstance(images, np.ndarray) and images.dtype == np.uint8:
            return self._checked(images)
        paths = [images] if isinstance(images, str | Path) else list(images)
        if not all(isinstance(each, str | Path) for each in paths):
            raise DataError(
                message(
                    "these are no images",
                    expected="expected paths of files, or pixels u8 "
                    "[n, channels, height, width]",
                )
            )
        found = read_images(paths, self.size, self.channels)
        for path, reason in found.failed.items():
            raise DataError(message(reason, where=path))
        return found.pixels

    def _checked(self, pixels: Array) -> Array:
        expected = (self.channels, *self.size)
        if pixels.shape[1:] != expected:
            raise DataError(
                message(
                    f"the pixels have shape {list(pixels.shape)}",
                    expected=f"the network was trained on {['n', *expected]}",
                    hint="one image is an array of one: pixels[None]"
                    if pixels.shape == expected
                    else "give the files: they are brought to this size",
                )
            )
        return pixels

    def summary(self) -> str:
        """Return the architecture as a table, a line for each layer."""
        return self.module.summary((1, self.channels, *self.size), dtype="u8")

    # --- files ---

    def header(self) -> dict[str, Any]:
        """Return the classes as plain JSON values."""
        return {"classes": [*self.classes]}

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the classes, the settings and the report from a header."""
        return {
            "classes": tuple(header["classes"]),
            "settings": ImageSettings.from_dict(header["settings"]),
            "report": ImageReport.from_json(header["report"]),
        }
