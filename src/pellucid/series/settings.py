"""How a network is trained to forecast: a frozen record, and its defaults.

The defaults were chosen by trial on the daily minimum temperatures of Melbourne, the
monthly sunspots, and made series with a trend and a season.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.configuration import current
from pellucid.runs.settings import COUNT, WIDTHS, Check, RunSettings

__all__ = ["MODELS", "SCALINGS", "STRATEGIES", "ForecastSettings"]

MODELS = ("mlp", "linear", "gru", "lstm")
"""What reads the recent values; all have a linear path beside."""
STRATEGIES = ("direct", "recursive")
"""All steps at once, or one step again and again from its own forecasts."""
SCALINGS = ("level", "window", "none")
"""What is taken out of a window: its last value; its mean and spread; nothing."""

UPDATES = 4000
"""About how many updates a training makes at most: noise is learned soon."""


def _among(names: tuple[str, ...]) -> Check:
    allowed: Callable[[Any], bool] = lambda value: value in names
    return allowed, f"one of {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class ForecastSettings(RunSettings):
    """All that decides a forecast besides the series.

    `suggest` gives the defaults for a series; those named here do not depend on it.
    """

    allowed: ClassVar[Mapping[str, Check]] = {
        "hidden": WIDTHS,
        "horizon": COUNT,
        "lags": COUNT,
        "folds": COUNT,
        "season": (lambda x: x is None or (COUNT[0](x) and x > 1), "a period from 2"),
        "level": (
            lambda x: isinstance(x, float) and 0 < x < 1,
            "a share between 0 and 1",
        ),
        "model": _among(MODELS),
        "strategy": _among(STRATEGIES),
        "scaling": _among(SCALINGS),
    }

    horizon: int
    """How many steps are forecast."""
    season: int | None
    """How many steps lie between alike values, if any."""
    lags: int
    """How many recent values the network sees."""
    model: str = "mlp"
    hidden: tuple[int, ...] = (32,)
    """The widths between; of a recurrent network its layers, of one width."""
    strategy: str = "direct"
    scaling: str = "level"
    folds: int = 1
    """How often the backtest trains again on what has come in."""
    level: float = 0.9
    """The share of values that shall lie within the intervals."""
    known: tuple[str, ...] = ()
    """Columns that are known beforehand."""

    @property
    def network(self) -> str:
        """The network in words."""
        widths = "-".join(map(str, self.hidden))
        return self.model if self.model == "linear" else f"{self.model} {widths}"

    @classmethod
    def suggest(
        cls, steps: int, horizon: int, season: int | None = None, **given: Any
    ) -> ForecastSettings:
        """Return the settings for a series of `steps` steps; `given` comes first.

        Raises `ArgumentError` for a name or a value that is not allowed.

        >>> settings = ForecastSettings.suggest(3652, 7, 365)
        >>> settings.lags, settings.batch_size, settings.epochs, settings.patience
        (24, 32, 44, 14)
        """
        known = {"horizon": horizon, "season": season}
        return cls._chosen(_defaults(steps, horizon, season) | known, given)


def _defaults(steps: int, horizon: Any, season: Any) -> dict[str, Any]:
    rows = max(steps, 2)
    batch = 2 ** min(max(round(math.log2(rows / 128)), 5), 8)
    return {
        "lags": _lags(steps, horizon, season),
        "batch_size": batch,
        "epochs": min(max(round(UPDATES * batch / (0.8 * rows)), 10), 150),
        "lr": 3e-3 if rows >= MANY_STEPS else 1e-2,
        "dropout": 0.0,
        "weight_decay": 1.0,
        "validation": 0.15,
        "engine": current().engine,
    }


MANY_STEPS = 1000
"""A shorter series has fewer updates, and gets a larger rate for them."""
LAGS, SHORT_SEASON = 24, 64
"""The fewest recent values, where the series has them, and seasons seen twice over."""


def _lags(steps: int, horizon: Any, season: Any) -> int:
    """Return how many recent values to show: twice a short season, or the horizon."""
    wanted = max(LAGS, 2 * horizon if COUNT[0](horizon) else 0)
    if COUNT[0](season) and season <= SHORT_SEASON:
        wanted = max(wanted, 2 * season)
    return max(min(wanted, steps // 5), 1)
