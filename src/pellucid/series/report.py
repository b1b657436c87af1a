"""What came out of a backtest, as facts: what was found, measured and noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pellucid.runs.report import Metrics, RunReport

__all__ = ["MODEL", "ForecastReport"]

MODEL = "model"
"""What the scores call the network."""


@dataclass(frozen=True, kw_only=True)
class ForecastReport(RunReport):
    """The scores of the network and of the forecasts to beat, from many origins.

    `rows` counts the steps of the series, `train_rows` and `validation_rows` windows,
    `test_rows` the steps that the backtest forecast. `baseline` is the better of the
    naive forecasts.
    """

    target: str
    time: str
    step: str
    """How far two times are apart, in words."""
    first: str
    last: str
    """The first and the last time that has a value."""
    season: int | None
    season_why: str
    horizon: int
    lags: int
    inputs: int
    """How many numbers the network sees."""
    origins: int
    """From how many times the backtest forecast."""
    scores: dict[str, Metrics]
    """MAE, RMSE, MASE and skill by the name of the forecast."""
    by_step: dict[str, tuple[float, ...]]
    """The MAE of each step ahead, by the name of the forecast."""
    linear: Metrics = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def rivals(self) -> dict[str, Metrics]:
        """The scores of the forecasts that cost nothing."""
        return {name: each for name, each in self.scores.items() if name != MODEL}

    @property
    def best_rival(self) -> str:
        """The name of the best forecast that costs nothing, by its MAE."""
        return min(self.rivals, key=lambda name: self.rivals[name]["mae"])

    @property
    def verdict(self) -> str:
        """Which forecast won, and by how much."""
        mine, rivals = self.scores[MODEL]["mae"], self.rivals
        lost = [name for name in rivals if rivals[name]["mae"] <= mine]
        if lost:
            best = self.best_rival
            saved = 1 - rivals[best]["mae"] / mine if mine else 0.0
            return (
                f"the {best} forecast is better than the network, by {saved:.0%} of "
                "its MAE: use that one"
            )
        words = [
            f"the {name} forecast by {1 - mine / each['mae']:.0%}"
            for name, each in rivals.items()
        ]
        return f"the network beats {' and '.join(words)} of its MAE"

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ForecastReport:
        """Return the report that `to_json` described."""
        by_step = {name: tuple(each) for name, each in plain["by_step"].items()}
        return super().from_json({**plain, "by_step": by_step})
