"""`pellucid train`: a table in, a report and a model file out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.places import check_place
from pellucid.errors import ArgumentError, message

_CHOSEN = "chosen from the number of rows"


def _option(help_: str, *names: str, default: str | bool = False, **more: Any) -> Any:
    return typer.Option(*names, help=help_, show_default=default, **more)


File = Annotated[
    Path, typer.Argument(help="A CSV or Parquet file.", show_default=False)
]
Target = Annotated[
    str, _option("The column to predict: its name, or its position (-1 is the last).")
]
Test = Annotated[Path | None, _option("A file with the rows to test on.")]
TestSize = Annotated[
    float | None,
    _option("Without --test: the share of rows to test on.", default="0.2"),
]
Epochs = Annotated[int | None, _option("Passes over the rows.", default=_CHOSEN)]
Batch = Annotated[int | None, _option("Rows an update.", default=_CHOSEN)]
Hidden = Annotated[
    str | None,
    _option("Widths of the hidden layers, such as 64,64; 0: none.", default=_CHOSEN),
]
Activation = Annotated[str | None, _option("The activation between.", default="relu")]
Dropout = Annotated[
    float | None, _option("The share of hidden units to drop.", default=_CHOSEN)
]
Rate = Annotated[float | None, _option("The largest learning rate.", default=_CHOSEN)]
Decay = Annotated[
    float | None, _option("How strongly weights shrink.", default="by the task")
]
Seed = Annotated[int | None, _option("Decides all that is random.", default="0")]
Engine = Annotated[str | None, _option("What computes.", default="numpy")]
Drop = Annotated[list[str] | None, _option("A column to leave out; may be repeated.")]
Out = Annotated[
    Path | None, _option("The model file.", default="FILE's name with .pellucid")
]
Checkpoint = Annotated[Path | None, _option("A file written after each epoch.")]
Resume = Annotated[
    bool, _option("Go on from the checkpoint, if it is there.", "--resume")
]
Events = Annotated[Path | None, _option("A file for each event as a line of JSON.")]
Json = Annotated[
    bool, _option("Print one JSON object instead of the report.", "--json")
]
Quiet = Annotated[
    bool, _option("Print errors only (and what --json asks for).", "--quiet")
]


def run(
    file: File,
    target: Target,
    test: Test = None,
    test_size: TestSize = None,
    epochs: Epochs = None,
    batch_size: Batch = None,
    hidden: Hidden = None,
    activation: Activation = None,
    dropout: Dropout = None,
    lr: Rate = None,
    weight_decay: Decay = None,
    seed: Seed = None,
    engine: Engine = None,
    drop: Drop = None,
    out: Out = None,
    checkpoint: Checkpoint = None,
    resume: Resume = False,
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on a table, test it on rows it never saw, and save it."""
    settings = {
        "epochs": epochs, "batch_size": batch_size, "hidden": _widths(hidden),
        "activation": activation, "dropout": dropout, "lr": lr,
        "weight_decay": weight_decay, "seed": seed, "engine": engine,
        "test_size": _share(test_size, test), "drop": tuple(drop or ()),
    }  # fmt: skip
    given = {name: value for name, value in settings.items() if value is not None}
    place = out or Path(f"{file.stem}.pellucid")
    check_place(place, "--out", (file, test))
    for option, path in (("--checkpoint", checkpoint), ("--events", events)):
        if path is not None:
            check_place(path, option, (file, test, place))
    if resume and checkpoint is None:
        raise ArgumentError(
            message("--resume", hint="name the file: --checkpoint FILE")
        )
    keep = {"checkpoint": checkpoint, "resume": resume, "events": events}
    trained = _train(file, target, given, test, quiet, keep)
    _tell(trained, place, as_json, quiet)
    if trained.report.stopped == "interrupted":
        raise typer.Exit(1)


def _widths(text: str | None) -> tuple[int, ...] | None:
    """Read `64,64`; 0 is no hidden layer at all."""
    if text is None:
        return None
    try:
        widths = tuple(int(each) for each in text.split(","))
    except ValueError:
        widths = ()
    if widths != (0,) and not (widths and all(width > 0 for width in widths)):
        raise ArgumentError(
            message(
                f"--hidden {text}",
                expected="expected a width for each hidden layer, such as 64,64",
            )
        )
    return () if widths == (0,) else widths


def _share(size: float | None, test: Path | None) -> float | None:
    if size is None:
        return None
    if test is not None:
        raise ArgumentError(message("both --test and --test-size", hint="choose one"))
    if not 0 < size < 1:
        raise ArgumentError(
            message(f"--test-size {size}", expected="expected a share between 0 and 1")
        )
    return size


def _train(
    file: Path,
    target: str,
    settings: dict[str, Any],
    test: Path | None,
    quiet: bool,
    keep: dict[str, Any],
) -> Any:
    from pellucid.cli.progress import progress
    from pellucid.data.table import read_table
    from pellucid.tabular.source import read_source
    from pellucid.tabular.training import train_table

    table, source = read_source(file)
    held = None if test is None else read_table(test)
    with progress(quiet) as show:
        return train_table(
            table,
            target,
            settings,
            test=held,
            source=source,
            subscribers=[show],
            **keep,
        )


def _tell(trained: Any, place: Path, as_json: bool, quiet: bool) -> None:
    """Save the model, then print the report, so that nothing printed can cost it."""
    from pellucid.cli.render import show
    from pellucid.cli.reporting import report_of

    trained.model.save(place)
    if as_json:
        print(json.dumps({**trained.report.to_json(), "model": str(place)}))
    elif not quiet:
        show(*report_of(trained), *_next(place, trained.report.stopped))


def _next(place: Path, stopped: str) -> list[str]:
    kept = "the best so far is saved in" if stopped == "interrupted" else "model file"
    return [
        f"{kept}: {place}",
        "",
        "next:",
        f"  pellucid predict {place} FILE        predictions for other rows, as CSV",
        f"  pellucid inspect {place}             what it is and how it was trained",
        f"  pellucid inspect {place} --replay 0  every gate of a training step",
    ]
