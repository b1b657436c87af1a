"""Small made images with a class that can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.labelled import ImageParts, Images

CLASSES = ("across", "down", "plain")


def make_images(count: int = 90, seed: int = 0, side: int = 8) -> Images:
    """Return noise with stripes across, down, or none."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = draw.integers(0, 100, (count, 1, side, side))
    for image, label in zip(pixels, labels):
        start = draw.integers(0, 2)
        if label == 0:
            image[:, start::2] += 120
        elif label == 1:
            image[:, :, start::2] += 120
    return Images(pixels.astype(np.uint8), labels.astype(np.int64), CLASSES)


def save_folder(root: Path, images: Images) -> Path:
    """Write a folder with a folder for each class; return it."""
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
        place = root / str(images.classes[label]) / f"{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(place)
    return root


def write_idx(place: Path, array: np.ndarray) -> Path:
    """Write bytes as an IDX file; return it."""
    start = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    place.write_bytes(start + array.astype(np.uint8).tobytes())
    return place


@pytest.fixture
def stripes() -> ImageParts:
    return ImageParts(make_images())
