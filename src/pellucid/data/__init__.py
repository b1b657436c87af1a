"""Data on its way into a network: tables, features, targets, splits, metrics."""
