"""Grids of times, beside Polars' own calendar."""

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from pellucid.data.calendar import Grid, infer_grid
from pellucid.errors import DataError


def dates(start, stop, step):
    """Return Polars' range of times."""
    found = pl.datetime_range(start, stop, step, eager=True).cast(pl.Datetime("us"))
    return found.to_numpy()


def steps_on(start, step, count):
    """Return so many times by Polars' own counting from the first."""
    number = int(step.rstrip("abcdefghijklmnopqrstuvwxyz"))
    unit = step.lstrip("0123456789")
    offsets = pl.Series([f"{k * number}{unit}" for k in range(count)])
    found = pl.select(pl.lit(start, pl.Datetime("us")).dt.offset_by(offsets))
    return found.to_series().to_numpy()


STEPS = {
    "1d": ("day", {"week": 7, "year": 365}),
    "1w": ("week", {"year": 52}),
    "1mo": ("month", {"year": 12}),
    "1q": ("quarter", {"year": 4}),
    "1y": ("year", {}),
    "2mo": ("2 months", {"year": 6}),
    "1h": ("hour", {"day": 24, "week": 168, "year": 8766}),
    "15m": ("15 minutes", {"day": 96, "week": 672, "year": 35063}),
    "10s": ("10 seconds", {"day": 8640, "week": 60480, "year": 3155695}),
    "2d": ("2 days", {"week": 4, "year": 183}),
    "500ms": ("500000 microseconds", {}),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("start", [datetime(1999, 11, 1, 6), datetime(2023, 1, 15)])
def test_a_grid_goes_on_as_polars_does(step, start):
    times = steps_on(start, step, 400)
    grid = infer_grid(times[:30], "t")
    assert str(grid) == STEPS[step][0]
    assert (grid.at(np.arange(len(times))) == times).all()
    assert (grid.places(times) == np.arange(len(times))).all()
    assert not grid.off(times).any()


@pytest.mark.parametrize("step", ["1d", "1w", "1mo", "1q", "1h", "15m"])
def test_the_seasons_of_a_step(step):
    grid = infer_grid(steps_on(datetime(2000, 1, 1), step, 9), "t")
    expected = STEPS[step][1]
    assert grid.seasons(10**7) == expected
    assert grid.seasons(2 * min(expected.values()) - 1) == {}


def test_ends_of_months_stay_ends_of_months():
    ends = pl.date_range(date(2023, 1, 1), date(2025, 1, 1), "1mo", eager=True)
    ends = ends.dt.month_end().cast(pl.Datetime("us")).to_numpy()
    grid = infer_grid(ends[:5], "t")
    assert (grid.at(np.arange(len(ends))) == ends).all()


def test_weekdays_leave_weekends_out():
    days = dates(datetime(2024, 1, 2), datetime(2024, 3, 1), "1d")
    work = days[np.is_busday(days.astype("M8[D]"))]
    grid = infer_grid(work[:15], "t")
    assert str(grid) == "weekday"
    assert (grid.at(np.arange(len(work))) == work).all()
    assert (grid.places(work) == np.arange(len(work))).all()
    assert grid.off(days[3:6]).tolist() == [0, np.inf, np.inf]
    assert grid.seasons(600) == {"week": 5, "year": 261}


def test_whole_numbers_count():
    grid = infer_grid(np.array([10, 15, 20, 30]), "t")
    assert (str(grid), grid.is_dated) == ("step of 5", False)
    assert grid.at(np.arange(2, 5)).tolist() == [20, 25, 30]
    assert grid.places(np.array([10, 30])).tolist() == [0, 4]
    assert grid.seasons(1000) == {}
    assert str(infer_grid(np.arange(5), "t")) == "step of 1"


def test_missing_times_leave_the_grid_as_it_is():
    days = dates(datetime(2024, 1, 1), datetime(2024, 1, 20), "1d")
    assert infer_grid(np.delete(days, [3, 4, 11]), "t") == infer_grid(days, "t")


def test_times_may_lie_a_little_off():
    minutes = dates(datetime(2024, 1, 1), datetime(2024, 1, 1, 1), "1m")
    off = np.random.default_rng(0).integers(-900_000, 900_000, len(minutes) - 2)
    # Most steps must still be a minute exactly.
    late = minutes.copy()
    late[5:10] += off[:5].astype("m8[us]")
    grid = infer_grid(late, "t")
    assert str(grid) == "minute"
    assert (grid.places(late) == np.arange(len(late))).all()


@pytest.mark.parametrize(
    ("times", "text"),
    [
        (
            np.array(["2024-01-01", "2024-01-02"], "M8[us]"),
            "2 different times in 'when' · expected at least 3 to find their step",
        ),
        (
            np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03T12:30"],
                     "M8[us]"),
            "the times in 'when' are not evenly spaced: 2024-01-03 12:30:00 after "
            "2024-01-03 · most times are a day apart · bring the series to one "
            "step first, such as means by the day",
        ),
        (
            np.array([1, 2, 4, 8, 16]),
            "the times in 'when' are not evenly spaced: 16 after 8 · most times are 1 "
            "apart",
        ),
    ],
)  # fmt: skip
def test_times_that_are_no_grid_are_refused(times, text):
    with pytest.raises(DataError) as caught:
        infer_grid(times, "when")
    assert str(caught.value).startswith(text)


def test_waves_follow_the_calendar():
    hours = dates(datetime(2023, 5, 1), datetime(2023, 5, 8), "1h")
    grid = infer_grid(hours, "t")
    waves = grid.features(hours, {"day": 1, "week": 2})
    column = pl.Series(hours)
    day = column.dt.hour().to_numpy() / 24
    week = (column.dt.weekday().to_numpy() - 1 + day) / 7
    angles = [2 * np.pi * each for each in (day, week, 2 * week)]
    expected = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    np.testing.assert_allclose(waves, np.stack(expected, 1), atol=1e-12)


@pytest.mark.parametrize("year", [2023, 2024])
def test_the_wave_of_the_year_ends_with_the_year(year):
    days = dates(datetime(year, 1, 1), datetime(year, 12, 31), "1d")
    grid = infer_grid(days, "t")
    waves = grid.features(days, {"year": 1})
    phase = (pl.Series(days).dt.ordinal_day().to_numpy() - 1) / len(days)
    np.testing.assert_allclose(waves[:, 0], np.sin(2 * np.pi * phase), atol=1e-12)


def test_the_wave_of_the_year_in_months_is_even():
    months = dates(datetime(2020, 1, 1), datetime(2022, 1, 1), "1mo")
    grid = infer_grid(months, "t")
    assert grid.harmonics(24) == {"year": 2}
    waves = grid.features(months, {"year": 2})
    np.testing.assert_allclose(waves[:12], waves[12:24], atol=1e-12)
    np.testing.assert_allclose(waves[3], [1, 0, 0, -1], atol=1e-12)


def test_few_steps_teach_no_cycle():
    days = dates(datetime(2020, 1, 1), datetime(2022, 1, 1), "1d")
    grid = infer_grid(days, "t")
    assert grid.harmonics(13) == {}
    assert grid.harmonics(14) == {"week": 3}
    assert grid.harmonics(730) == {"week": 3, "year": 2}
    assert grid.features(days, {}).shape == (len(days), 0)


def test_a_grid_is_written_as_json():
    grid = Grid("2024-01-31T00:00:00", 3, "month", 31)
    assert Grid(**grid.to_dict()) == grid
