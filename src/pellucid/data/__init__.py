"""Data on its way into a network: tables, images, targets, splits, metrics."""

from pellucid.data.images import read_image, read_images
from pellucid.data.labelled import (
    ImageParts,
    Images,
    read_idx_images,
    read_image_folder,
)
from pellucid.data.streams import stream_order
from pellucid.data.windows import Windows

__all__ = [
    "ImageParts",
    "Images",
    "Windows",
    "read_idx_images",
    "read_image",
    "read_image_folder",
    "read_images",
    "stream_order",
]
