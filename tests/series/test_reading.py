"""A window shows what lies before it, and nothing behind."""

import numpy as np
import pytest

from pellucid.data.calendar import Grid
from pellucid.series.reading import Reading, Scale
from pellucid.series.settings import ForecastSettings
from series.made import series_of

UNIT = Scale(0.0, 1.0, (0.0, 0.0), (1.0, 1.0))


def a_reading(rng, season=True):
    horizon, lags = (int(each) for each in rng.integers(1, 9, 2))
    period = int(rng.integers(lags + 1, 30)) if season else 0
    around = min(horizon, 12) if season else 0
    return Reading(lags, horizon, period, around, known=2)


@pytest.mark.parametrize("seed", range(10))
def test_windows_show_the_values_at_their_distances(seed):
    rng = np.random.default_rng(seed)
    reading = a_reading(rng, season=seed % 3 > 0)
    # The value of a step is its number.
    known = np.stack([np.arange(110.0), -np.arange(110.0)], 1)
    tables = reading.tables(series_of(np.arange(100.0), known), UNIT, 10)
    starts = reading.starts(90)
    shown = [np.asarray(each) for each in reading.columns(tables, starts)]
    asked = np.asarray(reading.targets(tables, starts))
    h, span = reading.horizon, reading.span
    assert sum(each[0].size for each in shown) == reading.inputs
    assert asked.max() == 89
    for i, start in enumerate(starts):
        origin = start + span
        assert asked[i].tolist() == list(range(origin, origin + h))
        assert shown[0][i].tolist() == list(range(origin - reading.lags, origin))
        if reading.season:
            first = origin - reading.season - reading.around
            last = origin - reading.season + h + reading.around
            expected = list(range(first, min(last, origin)))
            assert shown[1][i].tolist() == expected
        ahead = [[k, -k] for k in range(origin, origin + h)]
        assert shown[-1][i].tolist() == ahead
    behind = asked[:, 0]
    assert all((each.max(axis=1) < behind).all() for each in shown[:-1])


def test_waves_are_those_of_the_first_step_asked_for():
    grid = Grid("2021-01-01", 86_400_000_000, "microsecond")
    series = series_of(np.arange(40.0), grid=grid)
    reading = Reading(3, 2, cycles=(("week", 1),))
    tables = reading.tables(series, Scale(0, 1), 2)
    assert reading.waves == 2
    assert len(tables.waves) == 42
    waves = np.asarray(reading.columns(tables, np.array([0, 5], np.int32))[1])
    weekday = (series.times(3, 4)[0].astype("M8[D]").astype(int) + 3) % 7
    assert waves[0, 0] == pytest.approx(np.sin(2 * np.pi * weekday / 7), abs=1e-6)
    np.testing.assert_allclose(waves[1], tables.waves[8])


@pytest.mark.parametrize(
    ("steps", "season", "strategy", "expected"),
    [
        (1000, None, "direct", (24, 7, 0, 0)),
        (1000, 12, "direct", (24, 7, 0, 0)),
        (1000, 40, "direct", (80, 7, 0, 0)),
        (1000, 365, "direct", (24, 7, 365, 7)),
        (700, 365, "direct", (24, 7, 0, 0)),
        (1000, 365, "recursive", (24, 1, 365, 1)),
        (60, None, "direct", (12, 7, 0, 0)),
    ],
)
def test_what_is_shown_suits_the_series(steps, season, strategy, expected):
    settings = ForecastSettings.suggest(steps, 7, season, strategy=strategy)
    reading = Reading.suited(series_of(np.zeros(steps)), steps, settings)
    found = (reading.lags, reading.horizon, reading.season, reading.around)
    assert found == expected


def test_the_calendar_is_shown_where_it_came_twice():
    daily = Grid("2021-01-01", 86_400_000_000, "microsecond")
    settings = ForecastSettings.suggest(500, 7)
    few = Reading.suited(series_of(np.zeros(500), grid=daily), 500, settings)
    many = Reading.suited(series_of(np.zeros(900), grid=daily), 900, settings)
    assert few.cycles == (("week", 3),)
    assert many.cycles == (("week", 3), ("year", 2))
    assert (few.waves, many.waves) == (6, 10)


def test_a_scale_is_learned_from_the_past_alone():
    known = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 6.0]])
    series = series_of(np.array([1.0, 3.0, 100.0]), known)
    scale = Scale.of(series, 2)
    assert (scale.mean, scale.spread) == (2, 1)
    assert scale.known_mean == (2, 5)
    assert scale.known_spread == (1, 1)
    values = np.array([1.0, 7.0])
    np.testing.assert_allclose(scale.to_unit(scale.to_standard(values)), values)


def test_a_reading_is_written_as_json():
    reading = Reading(3, 2, 12, 2, (("week", 3),), 1)
    assert Reading.from_dict(reading.to_dict()) == reading


def test_a_column_that_is_the_same_so_far_has_the_spread_one():
    same = np.full(320, 9.99)
    assert same.std() > 0  # by rounding
    scale = Scale.of(series_of(same, np.append(same, [10.5])[:, None]), 320)
    assert (scale.spread, scale.known_spread) == (1.0, (1.0,))
