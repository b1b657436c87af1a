"""Data on its way into a network: tables, features, targets, splits, metrics."""

from pellucid.data.windows import Windows

__all__ = ["Windows"]
