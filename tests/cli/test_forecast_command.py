"""`pellucid forecast`: what it says, what it writes, what it refuses."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from cli.command import Run, write_rows
from pellucid.series.model import ForecastModel

SOLD = ("forecast", "sold.csv", "--time", "day", "--target", "sold")
WEEK = (*SOLD, "--horizon", "3")
QUICK = ("--model", "linear", "--epochs", "6", "--engine", "numpy", "--season", "7")


def sold_row(i: int, draw: random.Random) -> str:
    value = 20 + 5 * math.sin(2 * math.pi * i / 7) + draw.gauss(0, 0.5)
    month, day = divmod(i, 28)
    return f"2023-{month + 1:02}-{day + 1:02},{value:.3f},{i % 2}"


@pytest.fixture
def sold(folder: Path) -> Path:
    """Daily sales; days behind the 28th are missing."""
    return write_rows(folder / "sold.csv", "day,sold,open", sold_row, 160)


def test_a_report_can_be_read(pellucid: Run, sold: Path, folder: Path) -> None:
    done = pellucid(*WEEK, *QUICK, "--out", "next.csv", "--save", "sold.pellucid")
    assert done.code == 0, done.error
    for words in (
        "sold: 171 steps of a day each, 2023-01-01 to 2023-06-20",
        "note: 11 of 171 steps have no row, the longest gap has 3 and follows "
        "2023-01-28: filled in on a line between the neighbours",
        "season: 7 steps, as asked for (--season)",
        "network: linear, sees 24 recent values, 6 waves of the week",
        "backtest: the last 34 steps, 3 ahead from each of 32 times, trained once",
        "model  seasonal naive   naive",
        "MAE, steps ahead",
        "the network",
        "forecast; 90% of the values should lie between low and high",
        "2023-06-21",
        "forecast: next.csv",
        "model file: sold.pellucid",
        "pellucid forecast FILE --load sold.pellucid",
    ):
        assert words in done.output, words
    said = done.error.splitlines()
    assert said[0].startswith("learning from 92 windows, judging by the next 17 when")
    assert said[2] == "learning from the whole series"
    rows = (folder / "next.csv").read_text().splitlines()
    assert rows[0] == "day,forecast,low,high"
    assert [row.split(",")[0] for row in rows[1:]] == [
        "2023-06-21", "2023-06-22", "2023-06-23",
    ]  # fmt: skip
    assert not any(row.endswith(",") for row in rows)


@pytest.mark.slow
def test_a_kept_model_goes_on(pellucid: Run, sold: Path, folder: Path) -> None:
    pellucid(*WEEK, *QUICK, "--out", "one.csv", "--save", "sold.pellucid", "--quiet")
    load = ("forecast", "sold.csv", "--load", "sold.pellucid")
    done = pellucid(*load, "--out", "two.csv")
    assert done.code == 0, done.error
    assert done.output.startswith("note: 11 of 171 steps have no row")
    assert "forecast; 90% of the values" in done.output
    one, two = ((folder / f"{name}.csv").read_text() for name in ("one", "two"))
    assert one == two
    assert pellucid("predict", "sold.pellucid", "sold.csv").output == one
    sold.write_text("\n".join(sold.read_text().splitlines()[:-30]) + "\n")
    done = pellucid(*load, "--json")
    found = json.loads(done.output)
    assert found["forecast"][0]["time"] == "2023-05-19"
    assert found["model"] == "sold.pellucid"


@pytest.mark.slow
def test_a_kept_model_can_be_looked_into(pellucid: Run, sold: Path) -> None:
    pellucid(*WEEK, *QUICK, "--save", "sold.pellucid", "--quiet")
    done = pellucid("inspect", "sold.pellucid")
    assert done.code == 0, done.error
    for words in (
        "sold: 171 steps of a day each",
        "trained on sold.csv (160 steps)",
        "Forecaster",
        "seasonal naive",
        "⠤⠤ train",
        "of 32 windows",
        "pellucid inspect sold.pellucid --replay STEP",
    ):
        assert words in done.output, words
    done = pellucid("inspect", "sold.pellucid", "--replay", 5, "--layer", "linear")
    assert done.code == 0, done.error
    assert done.output.startswith("step 5 · epoch 2 · 28 rows · loss ")
    assert "linear.weight [3×31]" in done.output
    done = pellucid("gradcheck", "sold.pellucid", "sold.csv", "--rows", 2)
    assert done.code == 0, done.output
    assert "linear.weight" in done.output


def test_json_is_one_object(pellucid: Run, sold: Path) -> None:
    done = pellucid(*WEEK, *QUICK, "--json")
    assert done.output.count("\n") == 1
    found = json.loads(done.output)
    assert found["scores"].keys() == {"model", "seasonal naive", "naive"}
    assert found["metrics"]["test"] == found["scores"]["model"]
    assert [row["time"] for row in found["forecast"]] == [
        "2023-06-21", "2023-06-22", "2023-06-23",
    ]  # fmt: skip
    assert found["forecast"][0].keys() == {"time", "forecast", "low", "high"}
    assert found["model"] is None


def test_known_columns_and_options_reach_the_network(pellucid: Run, sold: Path) -> None:
    more = ("--known", "open", "--lags", "5", "--strategy", "recursive", "--folds", "2",
            "--level", "0.5", "--scaling", "none", "--test-size", "0.3")  # fmt: skip
    with sold.open("a") as file:
        file.writelines(f"2023-06-{day},,1\n" for day in (21, 22, 23))
    done = pellucid(*WEEK, *QUICK[:-2], *more, "--season", "0", "--save", "m.pellucid")
    assert done.code == 0, done.error
    assert "season: none (--season)" in done.output
    assert "5 recent values, 6 waves of the week, 1 that are known" in done.output
    assert "trained 2 times on what lies before" in done.output
    assert "50% of the values" in done.output
    settings = ForecastModel.load("m.pellucid").settings
    assert (settings.known, settings.strategy) == (("open",), "recursive")


def test_a_long_forecast_is_cut_in_the_report(pellucid: Run, folder: Path) -> None:
    write_rows(folder / "long.csv", "day,sold,open", sold_row, 320)
    options = (*QUICK, "--epochs", "1", "--lags", "2")
    done = pellucid("forecast", "long.csv", *SOLD[2:], "--horizon", "42", *options)
    assert done.code == 0, done.error
    assert "and 2 more (--out FILE.csv)" in done.output
    assert " 42 " in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (SOLD, "--horizon is missing · see --horizon N, how many steps to forecast"),
        (
            ("forecast", "sold.csv", "--target", "sold", "--horizon", "3"),
            "--time is missing · see --time COLUMN, the column of dates",
        ),
        (
            (*WEEK[:5], "sould", *WEEK[6:]),
            "no column named 'sould' · did you mean 'sold'?",
        ),
        ((*WEEK[:3], "date", *WEEK[4:]), "no column named 'date'"),
        (
            (*WEEK[:3], "open", *WEEK[4:]),
            "2 of 2 times in 'open' come more than once",
        ),
        (
            (*SOLD, "--horizon", "70"),
            "171 steps of 'sold' are too few to forecast 70",
        ),
        ((*WEEK, "--season", "100"), "season=100 · 'sold' has 171 steps, and a season"),
        ((*WEEK, "--model", "tree"), "model='tree' · expected one of mlp, linear"),
        ((*WEEK, "--hidden", "a"), "--hidden a · expected a width for each layer"),
        (
            (*WEEK, "--known", "open"),
            "the forecast needs 'open' for the next 3 steps, the table has 0 · add "
            "rows with them, in which 'sold' is empty",
        ),
        ((*WEEK, "--out", "sold.csv"), "this is another file of this command"),
        (
            ("forecast", "sold.csv", "--load", "prices.csv", "--horizon", "3"),
            "--horizon does not go with --load · the model knows its own",
        ),
        (
            ("forecast", "sold.csv", "--load", "prices.csv", "--device", "cpu"),
            "--device does not go with --load",
        ),
        ((*WEEK, "--device", "cpu"), "--device is for the xla engine · add --engine"),
        (
            (*WEEK, "--engine", "xla", "--device", "abacus", "--quiet"),
            "device='abacus' · expected 'cpu' or 'gpu' or 'tpu'",
        ),
        (("forecast", "sold.csv", "--load", "prices.csv"), "'prices.csv' is not a"),
        (("forecast", "gone.csv", *WEEK[2:]), "no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    pellucid: Run, sold: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = pellucid(*arguments)
    assert done.code == 2
    assert done.error.startswith("Error: ")
    assert words in done.error
    assert done.error.count("\n") == 1


def test_a_date_that_cannot_be_read_is_named_by_its_line(
    pellucid: Run, sold: Path
) -> None:
    lines = sold.read_text().splitlines()
    lines[10] = "yesterday,20,0"
    sold.write_text("\n".join(lines) + "\n")
    done = pellucid(*WEEK)
    assert done.code == 2
    assert "time 'day' is 'yesterday' in row 10 · line 11 of a file" in done.error
