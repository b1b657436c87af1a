"""From a series to a forecast: what is learned, what is never seen, what is refused."""

import numpy as np
import pytest

from pellucid.data.calendar import Grid
from pellucid.errors import ArgumentError, DataError
from pellucid.series.training import train_forecast
from series.made import series_of, wave

QUICK = {
    "epochs": 30, "lr": 6e-2, "weight_decay": 0.0, "batch_size": 128,
    "model": "linear", "hidden": (8,), "engine": "numpy",
}  # fmt: skip


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "recursive", "lr": 3e-2, "epochs": 80},
        {"model": "mlp", "scaling": "window", "lr": 2e-2, "epochs": 60},
        {"model": "gru", "lags": 12, "hidden": (4,), "epochs": 35},
    ],
)
def test_a_wave_is_forecast(settings):
    values = wave(160)
    trained = train_forecast(series_of(values), 4, {**QUICK, "epochs": 40, **settings})
    report = trained.report
    assert report.season == 12
    assert report.metrics["mae"] < report.scores["naive"]["mae"] / 7
    ahead = trained.model.ahead(series_of(values))["forecast"].to_numpy()
    np.testing.assert_allclose(ahead, wave(164)[160:], atol=0.3)


@pytest.mark.slow
def test_a_trend_goes_on():
    values = wave(160, trend=0.05, noise=0.05)
    report = train_forecast(series_of(values), 4, {**QUICK, "epochs": 50}).report
    assert report.metrics["mae"] < report.baseline["mae"] / 3
    assert report.verdict.startswith("the network beats the seasonal naive forecast by")


@pytest.mark.slow
def test_what_is_known_beforehand_is_used():
    rng = np.random.default_rng(0)
    price = rng.standard_normal((210, 1))
    values = 10 + 3 * price[:200, 0] + 0.1 * rng.standard_normal(200)
    series = series_of(values, price)
    trained = train_forecast(series, 3, {**QUICK, "season": None, "lags": 2})
    assert trained.report.metrics["mae"] < 1 < trained.report.baseline["mae"] / 3
    found = trained.model.ahead(series)["forecast"].to_numpy()
    np.testing.assert_allclose(found, 10 + 3 * price[200:203, 0], atol=1)
    with pytest.raises(DataError) as caught:
        trained.model.ahead(series_of(values, price[:202]))
    assert str(caught.value) == (
        "the forecast needs 'price' for the next 3 steps, the table has 2 · add rows "
        "with them, in which 'y' is empty"
    )


def test_noise_is_left_to_the_naive_forecast_and_the_report_says_so():
    walk = np.cumsum(np.random.default_rng(0).standard_normal(150))
    report = train_forecast(series_of(walk), 2, QUICK).report
    assert report.season is None
    mine, naive = report.scores["model"]["mae"], report.scores["naive"]["mae"]
    expected = "the naive forecast is better than" if naive < mine else "the network"
    assert report.verdict.startswith(expected)


def test_the_backtest_never_sees_what_it_forecasts():
    values = wave(200, noise=0.2)
    changed = values.copy()
    changed[170:] = 99.0
    one, other = (
        train_forecast(series_of(each), 4, {**QUICK, "epochs": 10})
        for each in (values, changed)
    )
    assert one.report.season == other.report.season == 12
    assert one.origins[0] == 160
    early = one.origins <= 170
    for name, found in one.forecasts.items():
        np.testing.assert_array_equal(found[early], other.forecasts[name][early])
    assert (one.truth[early] != other.truth[early]).any()
    late = one.origins > 171
    assert (one.forecasts["model"][late] != other.forecasts["model"][late]).all(1).any()


@pytest.fixture(scope="module")
def monthly():
    grid = Grid("2020-01-01", 1, "month")
    return train_forecast(series_of(wave(120, noise=0.1), grid=grid), 6, QUICK)


def test_each_origin_is_forecast_once_in_order(monthly):
    trained = monthly
    assert trained.origins.tolist() == list(range(96, 115))
    assert trained.report.origins == 19
    assert trained.truth.shape == trained.forecasts["model"].shape == (19, 6)
    assert len(trained.report.by_step["naive"]) == 6
    expected = np.abs(trained.forecasts["model"] - trained.truth)
    assert trained.report.metrics["mae"] == pytest.approx(expected.mean())
    assert trained.report.by_step["model"][3] == pytest.approx(expected[:, 3].mean())


@pytest.mark.slow
def test_folds_learn_from_what_came_in():
    # Something new begins in the part that is held out.
    values = np.concatenate([wave(160, noise=0.1), wave(80, noise=0.1) * 3])
    options = {**QUICK, "season": 12, "test_size": 0.33, "epochs": 15}
    once = train_forecast(series_of(values), 2, options)
    said = []
    again = train_forecast(
        series_of(values), 2, {**options, "folds": 4}, say=said.append
    )
    assert again.report.metrics["mae"] < once.report.metrics["mae"]
    np.testing.assert_array_equal(
        again.forecasts["model"][:5], once.forecasts["model"][:5]
    )
    assert sum(line.startswith("learning from") for line in said) == 7


@pytest.mark.slow
def test_the_same_seed_gives_the_same_forecasts():
    series, options = series_of(wave(70, noise=0.3)), {**QUICK, "epochs": 2}
    options |= {"model": "mlp", "batch_size": 32}
    one, other = (train_forecast(series, 3, options) for _ in range(2))
    np.testing.assert_array_equal(one.forecasts["model"], other.forecasts["model"])
    third = train_forecast(series, 3, {**options, "seed": 1})
    assert (one.forecasts["model"] != third.forecasts["model"]).any()


@pytest.mark.slow
def test_the_engines_agree():
    series = series_of(wave(120, noise=0.3))
    options = {**QUICK, "epochs": 3, "model": "mlp"}
    found = [
        train_forecast(series, 3, {**options, "engine": engine}).forecasts["model"]
        for engine in ("numpy", "llvm")
    ]
    np.testing.assert_allclose(*found, atol=1e-3)


def test_the_report_is_of_the_series(monthly):
    report = monthly.report
    assert (report.first, report.last, report.step) == (
        "2020-01-01", "2029-12-01", "a month",
    )  # fmt: skip
    assert report.season_why.startswith("the year; values one year apart: correlation")
    assert (report.rows, report.test_rows, report.lags) == (120, 24, 24)
    # 24 recent values, 4 waves of the year.
    assert report.inputs == 28
    assert list(report.scores) == ["model", "seasonal naive", "naive"]


@pytest.mark.parametrize(
    ("values", "horizon", "settings", "error", "text"),
    [
        (
            wave(30),
            10,
            {},
            DataError,
            "30 steps of 'y' are too few to forecast 10 · 6 recent values are shown, "
            "and the last 10 steps are held out · expected about 32 more · choose a "
            "smaller horizon, or fewer lags",
        ),
        (
            np.full(50, 3.0),
            2,
            {},
            DataError,
            "'y' is 3 at every step: there is nothing to forecast",
        ),
        (
            wave(100),
            2,
            {"season": 60},
            ArgumentError,
            "season=60 · 'y' has 100 steps, and a season must come twice",
        ),
        (wave(100), 2, {"season": 1}, ArgumentError, "season=1 · expected a period"),
        (wave(100), 0, {}, ArgumentError, "horizon=0 · expected a whole number from 1"),
        (wave(100), 2, {"lag": 3}, ArgumentError, "no setting named 'lag' · did you"),
        (
            wave(100),
            2,
            {"model": "tree"},
            ArgumentError,
            "model='tree' · expected one of mlp, linear, gru, lstm",
        ),
        (wave(100), 2, {"level": 1.0}, ArgumentError, "level=1.0 · expected a share"),
    ],
)
def test_what_cannot_be_forecast_is_refused(values, horizon, settings, error, text):
    with pytest.raises(error) as caught:
        train_forecast(series_of(values), horizon, settings)
    assert str(caught.value).startswith(text)


def test_an_interruption_ends_it():
    def interrupt(event):
        if event.kind == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_forecast(series_of(wave(100)), 2, QUICK, subscribers=[interrupt])
