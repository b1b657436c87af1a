"""Forecasts that cost nothing, and measures of any forecast, by hand."""

import numpy as np
import pytest

from pellucid.series.backtest import guesses, intervals, measure, truth


@pytest.mark.parametrize("seed", range(5))
def test_forecasts_that_cost_nothing_are_those_of_their_definitions(seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(60)
    horizon, season = rng.integers(1, 20), rng.integers(2, 20)
    origins = np.arange(25, 60 - horizon + 1)
    found = guesses(values, origins, int(horizon), int(season))
    came = truth(values, origins, horizon)
    assert list(found) == ["seasonal naive", "naive"]
    for i, origin in enumerate(origins):
        known = list(values[:origin])
        for k in range(horizon):
            assert came[i, k] == values[origin + k]
            assert found["naive"][i, k] == known[-1]
            # Go back by seasons until the value is known.
            back = origin + k
            while back >= origin:
                back -= season
            assert found["seasonal naive"][i, k] == known[back]


def test_without_a_whole_season_before_there_is_no_seasonal_forecast():
    values = np.arange(20.0)
    assert list(guesses(values, np.array([9, 12]), 2, 10)) == ["naive"]
    assert list(guesses(values, np.array([10, 12]), 2, None)) == ["naive"]
    assert len(guesses(values, np.array([10, 12]), 2, 10)) == 2


def test_measures_by_hand():
    true = np.array([[1.0, 2.0], [3.0, 4.0]])
    forecasts = {
        "model": np.array([[1.0, 3.0], [3.0, 1.0]]),  # off by 0, 1, 0, 3
        "naive": np.array([[3.0, 2.0], [5.0, 8.0]]),  # off by 2, 0, 2, 4
    }
    past = np.array([1.0, 2.0, 4.0, 1.0])
    found = measure(true, forecasts, past, 2, "naive")
    # One season back, the past is off by 3 and by 1: 2 on average.
    assert found["model"] == {
        "mae": 1.0, "rmse": pytest.approx(2.5**0.5), "mase": 0.5, "skill": 0.5,
    }  # fmt: skip
    assert found["naive"]["mae"] == 2
    assert found["naive"]["skill"] == 0
    assert found["naive"]["rmse"] == pytest.approx(6**0.5)
    # Without a season, it is off by 1, 2 and 3.
    assert measure(true, forecasts, past, None, "naive")["model"]["mase"] == 0.5
    # A season that the past has not seen is none.
    assert measure(true, forecasts, past, 9, "naive")["model"]["mase"] == 0.5


def test_measures_without_a_unit_are_not_numbers():
    true = np.array([[1.0]])
    forecasts = {"model": np.array([[2.0]]), "naive": true}
    found = measure(true, forecasts, np.ones(5), None, "naive")
    assert np.isnan(found["model"]["mase"])
    assert np.isnan(found["model"]["skill"])


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_hold_the_share_of_the_errors(level):
    rng = np.random.default_rng(0)
    true = rng.standard_normal((400, 3)) * [1, 2, 3] + 10
    low, high = intervals(true, np.full((400, 3), 10.0), level)
    inside = ((true >= 10 + low) & (true <= 10 + high)).mean(0)
    assert (inside >= level).all()
    assert (inside < level + 0.01).all()
    assert (np.diff(high) > 0).all()
    assert intervals(true[:19], true[:19], level) is None
