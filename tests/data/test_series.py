"""A table becomes a series: what is mended is noted, what cannot be mended refused."""

import numpy as np
import polars as pl
import pytest

from pellucid.data.calendar import Grid
from pellucid.data.series import Series, _correlations, find_season, series_from
from pellucid.data.times import times_of
from pellucid.errors import DataError

DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]


def table(days=DAYS, values=None, **more):
    values = list(range(len(days))) if values is None else values
    return pl.DataFrame({"day": days, "sold": values, **more})


# --- times -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1981-01-31", "1981-02-01"], ["1981-01-31", "1981-02-01"]),
        (["1981/01/31", "1981/2/1"], ["1981-01-31", "1981-02-01"]),
        (["1981-01", "1981-12"], ["1981-01-01", "1981-12-01"]),
        (["1981/01", "1981/2"], ["1981-01-01", "1981-02-01"]),
        (["1981Q2", "1981-Q3"], ["1981-04-01", "1981-07-01"]),
        (["31.01.1981", "1.2.1981"], ["1981-01-31", "1981-02-01"]),
        (["1/31/1981", "2/1/1981"], ["1981-01-31", "1981-02-01"]),
        (["31/1/1981", "1/2/1981"], ["1981-01-31", "1981-02-01"]),
        (["12:30", " 12:45 "], ["12:30", "12:45"]),
        (["T12:30:15", "T12:30:16"], ["12:30:15", "12:30:16"]),
        (["12:30:15.5", "12:30:16.25"], ["12:30:15.5", "12:30:16.25"]),
        (["T12:30:00+02:00", "T12:30:00Z"], ["10:30", "12:30"]),
        ([1981, 1983], ["1981-01-01", "1983-01-01"]),
        ([19810131, 19810201], ["1981-01-31", "1981-02-01"]),
    ],
)  # fmt: skip
def test_times_are_read_as_they_come(texts, expected):
    if ":" in expected[0]:
        day = "1981-01-31"
        texts = [f"{day}{'' if 'T' in each else ' '}{each}" for each in texts]
        expected = [f"{day}T{each}" for each in expected]
    found = times_of(pl.Series("t", texts), [])
    assert found.dtype == "M8[us]"
    assert (found == np.array(expected, "M8[us]")).all()


def test_columns_of_times_are_taken_as_they_are():
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 3), "1d", eager=True)
    for column in (days, days.cast(pl.Datetime("ms"))):
        assert (times_of(column, []) == days.cast(pl.Datetime("us")).to_numpy()).all()
    zoned = days.cast(pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo")
    found = times_of(zoned, [])
    assert found[0] == np.datetime64("2023-12-31T15:00", "us")


def test_whole_numbers_that_are_no_dates_count():
    assert times_of(pl.Series("t", [5, 7, 9]), []).tolist() == [5, 7, 9]


def test_days_and_months_that_could_be_either_are_told_apart_by_their_order():
    notes = []
    found = times_of(pl.Series("t", ["1/2/2024", "1/3/2024", "1/4/2024"]), notes)
    assert found[1] == np.datetime64("2024-01-03", "us")
    assert notes == ["'t' is read as month/day/year"]
    found = times_of(pl.Series("t", ["11/1/2024", "12/1/2024", "1/2/2024"]), notes)
    assert found[0] == np.datetime64("2024-01-11", "us")
    assert notes[1] == "'t' is read as day/month/year"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (
            ["2024-01-01", "2024-01-02", "soon"],
            "time 't' is 'soon' in row 3 · line 4 of a file whose first line has the "
            "names · expected dates of one form, such as 1981-01-31, 1981-01, "
            "1981-01-31 12:30 or 31.01.1981",
        ),
        (["2024-02-28", "2024-02-30"], "time 't' is '2024-02-30' in row 2 · line 3"),
        (["2024-01-01", None], "time 't' is missing in row 2"),
        ([1.5, 2.5], "time 't' holds Float64 · expected dates, or whole numbers that"),
        (pl.Series([], dtype=pl.String), "time 't' has no rows"),
    ],
)
def test_times_that_cannot_be_read_are_named(column, text):
    with pytest.raises(DataError) as caught:
        times_of(pl.Series("t", column), [])
    assert str(caught.value).startswith(text)


# --- a series --------------------------------------------------------------------


def test_a_tidy_table_is_taken_without_a_word():
    series = series_from(table(), "day", -1)
    assert series.values.tolist() == list(range(30))
    assert (len(series), str(series.grid), series.notes) == (30, "day", ())
    assert (series.target, series.time) == ("sold", "day")
    assert series.times(29, 31)[1] == np.datetime64("2024-01-31", "us")


def test_rows_are_sorted():
    rows = table()
    mixed = rows.sample(fraction=1, shuffle=True, seed=3)
    series = series_from(mixed, "day", "sold")
    assert (series.values == series_from(rows, "day", "sold").values).all()
    assert series.notes == ("the rows were not in the order of 'day': sorted",)


def test_steps_without_a_row_are_filled_in():
    series = series_from(table()[[0, 1, 2, 5, 6, 8, *range(9, 30)]], "day", "sold")
    assert series.values.tolist() == list(range(30))
    assert series.notes == (
        "3 of 30 steps have no row, the longest gap has 2 and follows 2024-01-03: "
        "filled in on a line between the neighbours",
    )


def test_missing_values_are_filled_in():
    values = [float(each) for each in range(30)]
    values[4] = values[20] = None
    series = series_from(table(values=values), "day", "sold")
    assert series.values.tolist() == list(range(30))
    assert series.notes == (
        "'sold' is missing in 2 steps, first at 2024-01-05: filled in on a line "
        "between the neighbours",
    )


def test_values_that_are_no_numbers_are_taken_as_missing():
    values = [str(each) for each in range(30)]
    values[4] = "?0.2"
    series = series_from(table(values=values), "day", "sold")
    assert series.values.tolist() == list(range(30))
    assert series.notes[0] == "'sold' is '?0.2' in row 5: no number, taken as missing"


def test_what_is_missing_at_the_ends_is_left_out():
    values = [None, None, *range(26), None, None]
    series = series_from(table(values=values), "day", "sold")
    assert series.values.tolist() == list(range(26))
    assert series.times(0, 1)[0] == np.datetime64("2024-01-03", "us")
    assert series.notes == ()


def test_of_rows_of_one_time_the_mean_is_taken():
    rows = pl.concat([table(), table(["2024-01-03"], [8])])
    series = series_from(rows, "day", "sold")
    assert series.values[2] == 5
    assert len(series) == 30
    assert series.notes[1] == (
        "1 time comes more than once, first 2024-01-03: took the mean"
    )


def test_known_columns_reach_as_far_as_they_are_known():
    values = [*range(25), None, None, None, None, None]
    price = [1.0, None, 3.0, *range(24), None, 5, 6]
    open_ = [True, False] * 15
    rows = table(values=values, price=price, open=open_)
    series = series_from(rows, "day", "sold", ["price", "open"])
    assert len(series) == 25
    assert series.known.shape == (27, 2)
    assert series.known[:4, 0].tolist() == [1, 2, 3, 0]
    assert series.known[-2:].tolist() == [[22, 0], [23, 1]]
    assert series.known_names == ("price", "open")
    assert series.notes == (
        "'price' is missing in 1 step, first at 2024-01-02: filled in on a line "
        "between the neighbours",
    )


@pytest.mark.parametrize(
    ("rows", "asked", "text"),
    [
        (table(), ("dai", "sold"), "no column named 'dai' · did you mean 'day'?"),
        (table(), ("day", "solt"), "no column named 'solt' · did you mean 'sold'?"),
        (table(), ("day", "day"), "column 'day' is asked for twice"),
        (
            table(values=["a"] * 30),
            ("day", "sold"),
            "'sold' is 'a' in row 1 · expected a number in every row · name the column",
        ),
        (table(values=[None] * 30), ("day", "sold"), "target 'sold' has no values"),
        (
            table(values=[1.0, float("inf")] * 15),
            ("day", "sold"),
            "'sold' is infinite in row 2",
        ),
        (
            pl.concat([table(), table()]),
            ("day", "sold"),
            "30 of 30 times in 'day' come more than once, first 2024-01-01 · expected "
            "one series · keep the rows of one series, or add up those of one time",
        ),
        (
            table()[[0, 1, 2, 3, 4, *range(20, 30)]],
            ("day", "sold"),
            "15 of 30 steps are missing: the longest gap has 15 and follows 2024-01-05 "
            "· most times are a day apart · use a part of the file, or a longer step",
        ),
        (
            table(values=[1.0, *[None] * 12, *range(17)]),
            ("day", "sold"),
            "'sold' is missing in 12 steps, first at 2024-01-02 · choose another",
        ),
        (table()[:2], ("day", "sold"), "2 different times in 'day' · expected at"),
    ],
)
def test_what_makes_no_series_is_refused(rows, asked, text):
    with pytest.raises(DataError) as caught:
        series_from(rows, *asked)
    assert str(caught.value).startswith(text)


# --- seasons ---------------------------------------------------------------------


def season_of(values, grid=None):
    grid = grid or Grid(0, 1, "number")
    return find_season(Series("y", "t", grid, values, np.empty((len(values), 0))))


@pytest.mark.parametrize("period", [4, 7, 12, 53])
def test_a_season_is_found_below_noise_and_a_trend(period):
    rng = np.random.default_rng(period)
    t = np.arange(period * 12)
    shape = rng.standard_normal(period)
    shape = (shape - shape.mean()) / shape.std()
    values = 0.02 * t + shape[t % period] + 0.5 * rng.standard_normal(len(t))
    assert season_of(values).period == period


def test_the_calendar_s_season_comes_first():
    t = np.arange(3 * 365)
    values = np.sin(2 * np.pi * t / 365) + 0.2 * np.random.default_rng(
        0
    ).standard_normal(len(t))
    days = Grid("2021-01-01", 86_400_000_000, "microsecond")
    season = season_of(values, days)
    assert season.period == 365
    assert season.why.startswith("the year; values one year apart: correlation 0.8")
    assert season_of(np.tile([0, 0, 0, 0, 0, 1, 1], 30), days).period == 7


@pytest.mark.parametrize("seed", range(4))
def test_noise_a_walk_and_a_constant_have_no_season(seed):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(400)
    assert season_of(noise) is None
    assert season_of(np.ones(50)) is None
    assert season_of(np.arange(50.0)) is None


def test_autocorrelations_are_those_of_the_definition():
    y = np.random.default_rng(1).standard_normal(60) + np.arange(60) * 0.3
    rest = y - np.polyval(np.polyfit(np.arange(60), y, 1), np.arange(60))
    found = _correlations(y)
    for lag in (1, 7, 40):
        expected = (rest[lag:] * rest[:-lag]).mean() / (rest**2).mean()
        np.testing.assert_allclose(found[lag], expected, rtol=1e-9)
