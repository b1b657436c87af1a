"""A forecast's file: the same bits, and on from newer data."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from pellucid.data.series import series_from
from pellucid.errors import DataError, ModelFileError
from pellucid.files import read_file, write_file
from pellucid.runs.model import load_model
from pellucid.series.model import ForecastModel
from pellucid.series.training import train_forecast
from series.made import days, wave

OPTIONS = {
    "epochs": 20, "hidden": (4,), "season": 7, "lags": 14, "lr": 3e-2,
    "batch_size": 128, "engine": "numpy",
}  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    table = days(wave(200, noise=0.1, season=7))
    return train_forecast(series_from(table, "day", "sold"), 3, OPTIONS)


@pytest.fixture
def saved(trained, tmp_path):
    place = tmp_path / "sold.pellucid"
    trained.model.save(place)
    return place


@pytest.mark.slow
def test_a_loaded_model_forecasts_the_same_bits(trained, saved):
    loaded = ForecastModel.load(saved)
    table = days(wave(200, noise=0.1, season=7))
    assert loaded.forecast(table).equals(trained.model.forecast(table))
    assert loaded.report == trained.report
    assert loaded.settings == trained.model.settings
    assert loaded.reading == trained.model.reading
    assert load_model(saved, ForecastModel).spread == trained.model.spread


def test_it_goes_on_from_newer_data(saved):
    values = wave(260, season=7)
    found = ForecastModel.load(saved).forecast(days(values[:230], "2024-05-01"))
    assert found.columns == ["day", "forecast", "low", "high"]
    assert found["day"][0] == date(2024, 5, 1) + (date(2024, 12, 17) - date(2024, 5, 1))
    np.testing.assert_allclose(found["forecast"], values[230:233], atol=0.3)
    assert (found["low"] < found["forecast"]).all()
    assert (found["high"] > found["forecast"]).all()


def test_a_window_s_length_of_data_is_enough(saved):
    model = ForecastModel.load(saved)
    values = wave(100, season=7)
    model.forecast(days(values[: model.reading.span]))
    with pytest.raises(DataError) as caught:
        model.forecast(days(values[: model.reading.span - 1]))
    assert str(caught.value) == (
        "'sold' has 13 steps · the model looks back 14 · give older values too"
    )


def test_a_series_of_another_step_is_refused(saved):
    weekly = pl.DataFrame(
        {
            "day": pl.date_range(date(2020, 1, 1), date(2021, 1, 1), "1w", eager=True),
            "sold": range(53),
        }
    )
    with pytest.raises(DataError) as caught:
        ForecastModel.load(saved).forecast(weekly)
    assert str(caught.value) == (
        "the times in 'day' are a week apart · the model was trained on steps of a day"
    )


def test_a_table_without_the_columns_is_refused(saved):
    with pytest.raises(DataError, match="no column named 'sold' · did you mean 'solt'"):
        ForecastModel.load(saved).forecast(days(wave(50)).rename({"sold": "solt"}))


def test_times_within_the_day_are_written_as_such(trained):
    hours = pl.datetime_range(
        date(2020, 1, 1), date(2020, 1, 15), "1h", eager=True
    ).alias("t")
    table = pl.DataFrame({"t": hours, "y": wave(len(hours), season=24)})
    found = train_forecast(series_from(table, "t", "y"), 2, {**OPTIONS, "epochs": 5})
    ahead = found.model.forecast(table)
    assert ahead["t"].dtype == pl.Datetime
    assert str(ahead["t"][0]) == "2020-01-15 01:00:00"


def test_a_damaged_header_is_said_so(saved):
    tensors, header = read_file(saved)
    del header["reading"]
    write_file(saved, tensors, header)
    with pytest.raises(ModelFileError, match=r"the header of .* is damaged"):
        ForecastModel.load(saved)


def test_another_model_is_refused(saved):
    tensors, header = read_file(saved)
    write_file(saved, tensors, {**header, "kind": "table"})
    with pytest.raises(ModelFileError, match="does not hold a model of a series · it"):
        ForecastModel.load(saved)
