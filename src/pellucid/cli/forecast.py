"""`pellucid forecast`: a series in, what comes next and an honest backtest out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.devices import Device, Xla, computing_on
from pellucid.cli.places import check_place
from pellucid.errors import ArgumentError, message

_FOUND = "found in the series"
_CHOSEN = "chosen from the series"


def _option(help_: str, *names: str, default: str | bool = False, **more: Any) -> Any:
    return typer.Option(*names, help=help_, show_default=default, **more)


File = Annotated[
    Path, typer.Argument(help="A CSV or Parquet file.", show_default=False)
]
Time = Annotated[str | None, _option("The column of times: its name or position.")]
Target = Annotated[str | None, _option("The column to forecast: its name or position.")]
Horizon = Annotated[int | None, _option("How many steps to forecast.")]
Season = Annotated[
    int | None, _option("Steps between alike values; 0: none.", default=_FOUND)
]
Known = Annotated[
    list[str] | None,
    _option("A column that is known beforehand, also in rows whose target is still "
            "empty; may be repeated."),
]  # fmt: skip
Model = Annotated[
    str | None, _option("mlp, linear, gru or lstm.", "--model", default="mlp")
]
Hidden = Annotated[str | None, _option("Widths of the layers between.", default="32")]
Strategy = Annotated[
    str | None,
    _option("direct: all steps at once; recursive: one after the other.",
            default="direct"),
]  # fmt: skip
Scaling = Annotated[
    str | None,
    _option("What is taken out of a window: level, window (its mean and spread) or "
            "none.", default="level"),
]  # fmt: skip
Lags = Annotated[int | None, _option("Recent values to look at.", default=_CHOSEN)]
TestSize = Annotated[
    float | None, _option("The share of the steps to backtest on.", default="0.2")
]
Folds = Annotated[
    int | None, _option("Trainings within the backtest, as data come in.", default="1")
]
Level = Annotated[
    float | None, _option("The share of values within the intervals.", default="0.9")
]
Epochs = Annotated[int | None, _option("Passes over the windows.", default=_CHOSEN)]
Seed = Annotated[int | None, _option("Decides all that is random.", default="0")]
Engine = Annotated[str | None, _option("What computes.", default="auto")]
Out = Annotated[Path | None, _option("Where to write the forecast as CSV.")]
Save = Annotated[Path | None, _option("A file to keep the model in.")]
Load = Annotated[
    Path | None,
    _option("Forecast with a model that --save kept, from the data of FILE."),
]
Json = Annotated[
    bool, _option("Print one JSON object instead of the report.", "--json")
]
Quiet = Annotated[
    bool, _option("Print errors only (and what --json asks for).", "--quiet")
]


def run(
    file: File,
    time: Time = None,
    target: Target = None,
    horizon: Horizon = None,
    season: Season = None,
    known: Known = None,
    model: Model = None,
    hidden: Hidden = None,
    strategy: Strategy = None,
    scaling: Scaling = None,
    lags: Lags = None,
    test_size: TestSize = None,
    folds: Folds = None,
    level: Level = None,
    epochs: Epochs = None,
    seed: Seed = None,
    engine: Engine = None,
    device: Device = None,
    xla: Xla = None,
    out: Out = None,
    save: Save = None,
    load: Load = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forecast a series, and show how such forecasts would have done in its past.

    The last part of the series is forecast from every time in it by a network that
    was trained on what lies before, beside forecasts that cost nothing: the last
    value, and the value one season before.
    """
    settings = {
        "season": season, "model": model, "hidden": hidden, "strategy": strategy,
        "scaling": scaling, "lags": lags, "test_size": test_size, "folds": folds,
        "level": level, "epochs": epochs, "seed": seed, "engine": engine,
    }  # fmt: skip
    given = {name: value for name, value in settings.items() if value is not None}
    _check_places(file, out, save, load)
    series = {"time": time, "target": target, "horizon": horizon}
    if load is not None:
        others = {"known": known or None, "device": device, "xla": xla or None}
        _refuse_beside_load({**series, **given, **others, "save": save})
        _go_on(file, load, out, as_json, quiet)
        return
    for name, value in series.items():
        if value is None:
            what = f"--{name} is missing"
            raise ArgumentError(message(what, hint=f"see {_HINTS[name]}"))
    with computing_on(engine, device, xla):
        trained, ahead = _train(file, time, target, horizon, known or [], given, quiet)
    _keep(trained.model, ahead, out, save)
    if as_json:
        facts = {**trained.report.to_json(), "forecast": _rows(ahead)}
        print(json.dumps({**facts, "model": str(save) if save else None}))
    elif not quiet:
        _tell(trained.model, ahead, out, save)


_HINTS = {
    "time": "--time COLUMN, the column of dates",
    "target": "--target COLUMN, the column to forecast",
    "horizon": "--horizon N, how many steps to forecast",
}


def _check_places(
    file: Path, out: Path | None, save: Path | None, load: Path | None
) -> None:
    for option, path, others in (
        ("--out", out, (file, load, save)),
        ("--save", save, (file, load)),
    ):
        if path is not None:
            check_place(path, option, others)


def _refuse_beside_load(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            what = f"{option} does not go with --load"
            raise ArgumentError(message(what, hint="the model knows its own"))


def _train(
    file: Path,
    time: Any,
    target: Any,
    horizon: Any,
    known: list[str],
    given: dict[str, Any],
    quiet: bool,
) -> Any:
    from pellucid.data.series import series_from
    from pellucid.series.model import need_known
    from pellucid.series.training import train_forecast
    from pellucid.tabular.source import read_source

    if "hidden" in given:
        given["hidden"] = _widths(given["hidden"])
    if "season" in given:
        given["season"] = given["season"] or None
    table, source = read_source(file)
    series = series_from(table, time, target, known)
    need_known(series, horizon)
    say = _nothing if quiet else _say
    trained = train_forecast(series, horizon, given, source=source, say=say)
    return trained, trained.model.ahead(series)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        expected = "expected a width for each layer, such as 32,32"
        raise ArgumentError(message(f"--hidden {text}", expected=expected)) from None


def _say(line: str) -> None:
    from rich.text import Text

    from pellucid.cli.render import console

    console().print(Text(line), soft_wrap=True)


def _nothing(line: str) -> None:
    """Say nothing."""


def _go_on(
    file: Path, load: Path, out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Forecast with a model that is there already."""
    from pellucid.cli.forecasting import forecast_table
    from pellucid.cli.render import show
    from pellucid.data.table import read_table
    from pellucid.series.model import ForecastModel

    model = ForecastModel.load(load)
    series = model.series(read_table(file))
    ahead = model.ahead(series)
    _keep(model, ahead, out, None)
    if as_json:
        facts = {"notes": [*series.notes], "forecast": _rows(ahead)}
        print(json.dumps({**facts, "model": str(load)}))
    elif not quiet:
        show(*(f"note: {each}" for each in series.notes), *forecast_table(model, ahead))


def _rows(ahead: Any) -> list[dict[str, Any]]:
    named = ahead.rename({ahead.columns[0]: "time"})
    return [{**row, "time": str(row["time"])} for row in named.to_dicts()]


def _keep(model: Any, ahead: Any, out: Path | None, save: Path | None) -> None:
    """Write the files, before anything is printed."""
    from pellucid.files import write_whole

    if save is not None:
        model.save(save)
    if out is not None:
        write_whole(out, ahead.write_csv().encode())


def _tell(model: Any, ahead: Any, out: Path | None, save: Path | None) -> None:
    from pellucid.cli.forecasting import forecast_report, forecast_table
    from pellucid.cli.render import show

    places = [f"forecast: {out}"] if out else []
    if save:
        more = f"  pellucid forecast FILE --load {save}     on from newer data"
        places += [f"model file: {save}", "", "next:", more]
    show(*forecast_report(model), *forecast_table(model, ahead), *places)
