"""What came out of a training on images, as facts."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.runs.report import RunReport

__all__ = ["ImageReport"]


@dataclass(frozen=True, kw_only=True)
class ImageReport(RunReport):
    """The numbers on the held-out images, and what the images are.

    `rows` counts images. `linear` is a model that is linear in the pixels.
    """

    task: str = "classification"
    height: int
    width: int
    channels: int
    """1 for grey, 3 for colour."""
