"""Data on its way into a network: tables, features, targets, splits, metrics."""

from pellucid.data.streams import stream_order
from pellucid.data.windows import Windows

__all__ = ["Windows", "stream_order"]
