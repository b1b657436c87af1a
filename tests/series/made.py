"""Made series with a known course."""

from __future__ import annotations

import numpy as np
import polars as pl

from pellucid.data.calendar import Grid
from pellucid.data.series import Series


def series_of(values, known=None, grid=None, names=("price",)):
    known = np.empty((len(values), 0)) if known is None else known
    names = names[: known.shape[1]]
    return Series("y", "t", grid or Grid(0, 1, "number"), values, known, names)


def wave(n=240, noise=0.0, trend=0.0, season=12, seed=0):
    t = np.arange(n)
    rng = np.random.default_rng(seed)
    shape = np.sin(2 * np.pi * t / season) + 0.3 * np.cos(4 * np.pi * t / season)
    return 5 + shape + trend * t + noise * rng.standard_normal(n)


def days(values, start="2020-01-01"):
    """Return a table of daily values."""
    first = pl.Series([start]).str.to_date()[0]
    column = pl.date_range(
        first,
        interval="1d",
        end=pl.lit(first) + pl.duration(days=len(values) - 1),
        eager=True,
    )
    return pl.DataFrame({"day": column, "sold": values})
