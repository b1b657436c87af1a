"""Forecasts that cost nothing, and how well any forecast does from many origins.

An origin is the number of the first step that is forecast: all before it is known. The
measures are those of Hyndman and Koehler, "Another look at measures of forecast
accuracy" (2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "guesses",
    "intervals",
    "last_value",
    "measure",
    "one_season_before",
    "truth",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FEWEST_ORIGINS = 20
"""From fewer origins no interval is drawn."""


def truth(values: Array, origins: Array, horizon: int) -> Array:
    """Return what came, `[origins, horizon]`."""
    found: Array = values[origins[:, None] + np.arange(horizon)]
    return found


def last_value(values: Array, origins: Array, horizon: int) -> Array:
    """Forecast the last value for every step: the naive forecast.

    >>> last_value(np.array([1.0, 5.0, 3.0]), np.array([2, 3]), 2).tolist()
    [[5.0, 5.0], [3.0, 3.0]]
    """
    return np.repeat(values[origins - 1][:, None], horizon, axis=1)


def one_season_before(
    values: Array, origins: Array, horizon: int, season: int
) -> Array:
    """Forecast the last known value at the same point of the season.

    >>> one_season_before(np.array([1.0, 2.0, 3.0]), np.array([3]), 5, 2).tolist()
    [[2.0, 3.0, 2.0, 3.0, 2.0]]
    """
    found: Array = values[(origins - season)[:, None] + np.arange(horizon) % season]
    return found


def guesses(
    values: Array, origins: Array, horizon: int, season: int | None
) -> dict[str, Array]:
    """Return the forecasts to beat by name; the seasonal one first, where it exists."""
    found = {"naive": last_value(values, origins, horizon)}
    if season is None or origins.min() < season:
        return found
    seasonal = one_season_before(values, origins, horizon, season)
    return {"seasonal naive": seasonal, **found}


def measure(
    true: Array,
    forecasts: Mapping[str, Array],
    past: Array,
    season: int | None,
    against: str,
) -> dict[str, dict[str, float]]:
    """Return MAE, RMSE, MASE and skill of each forecast, over all origins and steps.

    MASE is the MAE over that of the seasonal naive forecast, one step ahead, within
    the `past` (of the naive one without a season); NaN where that is 0. The skill is
    the share of the MAE of the forecast named `against` that is saved.

    >>> found = measure(np.array([[2.0]]), {"a": np.array([[1.0]]),
    ...                 "b": np.array([[4.0]])}, np.array([0.0, 0.5, 1.0]), None, "b")
    >>> found["a"]
    {'mae': 1.0, 'rmse': 1.0, 'mase': 2.0, 'skill': 0.5}
    """
    lag = season if season is not None and season < len(past) else 1
    unit = float(np.abs(past[lag:] - past[:-lag]).mean())
    errors = {name: found - true for name, found in forecasts.items()}
    mae = {name: float(np.abs(each).mean()) for name, each in errors.items()}
    return {
        name: {
            "mae": mae[name],
            "rmse": float(np.sqrt((each**2).mean())),
            "mase": mae[name] / unit if unit else float("nan"),
            "skill": 1 - mae[name] / mae[against] if mae[against] else float("nan"),
        }
        for name, each in errors.items()
    }


def intervals(true: Array, forecast: Array, level: float) -> Array | None:
    """Return what to add to each step's forecast for the ends of its interval.

    `[2, horizon]`: the quantiles of the errors of that step that leave `level` between
    them, each pushed outwards to an error that was seen. None from too few origins.

    >>> errors = np.arange(-10.0, 11.0)[:, None]
    >>> intervals(errors, np.zeros((21, 1)), 0.5).tolist()
    [[-5.0], [5.0]]
    """
    if len(true) < FEWEST_ORIGINS:
        return None
    errors, outside = true - forecast, (1 - level) / 2
    low = np.quantile(errors, outside, axis=0, method="lower")
    high = np.quantile(errors, 1 - outside, axis=0, method="higher")
    return np.stack([low, high])
