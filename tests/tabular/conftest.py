"""Small made tables with a known relation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest


def make_prices(rows: int = 120, seed: int = 0) -> pl.DataFrame:
    """Return a table whose price depends on a size, a kind and an age with gaps."""
    draw = np.random.default_rng(seed)
    size, age = draw.uniform(20, 200, rows), draw.uniform(0, 90, rows)
    kind = draw.choice(["flat", "house"], rows)
    price = 3 * size + 100 * (kind == "house") - age + draw.normal(0, 5, rows)
    known = draw.uniform(size=rows) < 0.9
    return pl.DataFrame(
        {
            "size": size.round(2),
            "kind": kind,
            "age": [each if there else None for each, there in zip(age, known)],
            "built": ["brick"] * rows,
            "price": price.round(2),
        }
    )


def make_classes(rows: int = 120, seed: int = 0) -> pl.DataFrame:
    """Return a table with three classes of unequal size."""
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=rows), draw.normal(size=rows)
    colour = np.where(x > 0.8, "red", np.where(x + y > 0, "green", "blue"))
    return pl.DataFrame({"x": x, "y": y, "colour": colour})


@pytest.fixture
def prices() -> pl.DataFrame:
    return make_prices()


@pytest.fixture
def classes() -> pl.DataFrame:
    return make_classes()
