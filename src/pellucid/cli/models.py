"""Model files of every kind that a command can use."""

from __future__ import annotations

from pathlib import Path

from pellucid.images.model import ImageModel
from pellucid.runs.model import RunModel, load_model
from pellucid.series.model import ForecastModel
from pellucid.tabular.model import TableModel
from pellucid.text.model import TextModel

__all__ = ["load"]


def load(path: Path) -> RunModel:
    """Read a model of a table, images, text or a series. Raises `ModelFileError`."""
    return load_model(path, TableModel, ImageModel, TextModel, ForecastModel)
