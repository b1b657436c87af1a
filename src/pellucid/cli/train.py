"""`pellucid train`: a table, images or text in, a report and a model file out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.devices import Device, Xla, computing_on
from pellucid.cli.learners import learner
from pellucid.cli.places import check_place
from pellucid.errors import ArgumentError, message

_CHOSEN = "chosen from the number of rows"


def _option(help_: str, *names: str, default: str | bool = False, **more: Any) -> Any:
    return typer.Option(*names, help=help_, show_default=default, **more)


File = Annotated[
    Path,
    typer.Argument(
        help="A CSV or Parquet file; or a folder with a folder of images for each "
        "class; or an IDX file of images; or a file of text, such as book.txt.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    _option("Table: the column to predict, by name or position (-1 is the last)."),
]
Labels = Annotated[
    Path | None, _option("IDX: the file of labels.", default="beside the images")
]
Test = Annotated[Path | None, _option("A file or folder of the same kind to test on.")]
TestSize = Annotated[
    float | None,
    _option("Without --test: the share of rows to test on.", default="0.2"),
]
Size = Annotated[
    str | None,
    _option(
        "Images: pixels, such as 32 or 64x48 (width, height).",
        default="theirs, at most 64",
    ),
]
Augment = Annotated[
    str | None,
    _option(
        "Images: change them in training: flip, updown, shift, rotate, erase, as in "
        "flip,shift; or none.",
        default="shift",
    ),
]
Channels = Annotated[
    str | None,
    _option(
        "Images: maps of each convolution, such as 16,32; 0: none.", default="by size"
    ),
]
Text = Annotated[
    bool, _option("Take FILE as text, whatever its name; .txt is text.", "--text")
]
Network = Annotated[
    str | None,
    _option("Text: transformer, lstm, gru or rnn.", "--model", default="transformer"),
]
Context = Annotated[int | None, _option("Text: characters a window.", default="64")]
Width = Annotated[int | None, _option("Text: the width of each layer.", default="128")]
Layers = Annotated[
    int | None, _option("Text: how many layers.", default="4, recurrent 1")
]
Heads = Annotated[int | None, _option("Text: a transformer's heads.", default="4")]
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
Engine = Annotated[str | None, _option("What computes.", default="auto")]
Drop = Annotated[
    list[str] | None, _option("Table: a column to leave out; may be repeated.")
]
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
    target: Target = None,
    labels: Labels = None,
    test: Test = None,
    test_size: TestSize = None,
    size: Size = None,
    augment: Augment = None,
    text: Text = False,
    model: Network = None,
    context: Context = None,
    width: Width = None,
    layers: Layers = None,
    heads: Heads = None,
    epochs: Epochs = None,
    batch_size: Batch = None,
    channels: Channels = None,
    hidden: Hidden = None,
    activation: Activation = None,
    dropout: Dropout = None,
    lr: Rate = None,
    weight_decay: Decay = None,
    seed: Seed = None,
    engine: Engine = None,
    device: Device = None,
    xla: Xla = None,
    drop: Drop = None,
    out: Out = None,
    checkpoint: Checkpoint = None,
    resume: Resume = False,
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on a table, images or text, test it on unseen data, save it.

    Images are a folder with a folder for each class, which may stand in folders
    named train, test and val; or IDX files such as MNIST's. From text a network
    learns which character comes next; its end is held out.
    """
    settings = {
        "epochs": epochs, "batch_size": batch_size,
        "hidden": _widths(hidden, "--hidden"), "activation": activation,
        "dropout": dropout, "lr": lr, "weight_decay": weight_decay, "seed": seed,
        "engine": engine, "test_size": _share(test_size, test),
    }  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "table": {"target": target, "drop": tuple(drop) if drop else None},
        "images": {
            "labels": labels, "size": _size(size), "augment": _names(augment),
            "channels": _widths(channels, "--channels"),
        },
        "text": {
            "model": model, "context": context, "width": width, "layers": layers,
            "heads": heads,
        },
    }  # fmt: skip
    place = out or Path(
        f"{file.resolve().name if file.is_dir() else file.stem}.pellucid"
    )
    _check_places(place, (file, labels, test), checkpoint, events)
    if resume and checkpoint is None:
        raise ArgumentError(
            message("--resume", hint="name the file: --checkpoint FILE")
        )
    keep = {"checkpoint": checkpoint, "resume": resume, "events": events}
    learn = learner(file, text, {kind: _given(each) for kind, each in own.items()})
    with computing_on(engine, device, xla):
        trained = learn(file, _given(settings), test, quiet, keep)
    if trained.trainer.is_first:
        _tell(trained, place, as_json, quiet)
    if trained.report.stopped == "interrupted":
        raise typer.Exit(1)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check_places(
    place: Path,
    inputs: tuple[Path | None, ...],
    checkpoint: Path | None,
    events: Path | None,
) -> None:
    check_place(place, "--out", inputs)
    for option, path in (("--checkpoint", checkpoint), ("--events", events)):
        if path is not None:
            check_place(path, option, (*inputs, place))


def _widths(text: str | None, option: str) -> tuple[int, ...] | None:
    """Read `64,64`; 0 is no such layer at all."""
    if text is None:
        return None
    try:
        widths = tuple(int(each) for each in text.split(","))
    except ValueError:
        widths = ()
    if widths != (0,) and not (widths and all(width > 0 for width in widths)):
        layers = "convolution" if option == "--channels" else "hidden layer"
        raise ArgumentError(
            message(
                f"{option} {text}",
                expected=f"expected a width for each {layers}, such as 64,64",
            )
        )
    return () if widths == (0,) else widths


def _size(text: str | None) -> tuple[int, int] | None:
    """Read `32`, or width and height, `64x48`; return height and width."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})(?:[x×]([1-9]\d{0,3}))?", text.strip().lower())
    if found is None:
        expected = "expected pixels, such as 32, or width and height, such as 64x48"
        raise ArgumentError(message(f"--size {text}", expected=expected))
    width, height = found[1], found[2] or found[1]
    return int(height), int(width)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Read `flip,shift`; `none` is none at all."""
    if text is None:
        return None
    return () if text == "none" else tuple(each.strip() for each in text.split(","))


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


def _tell(trained: Any, place: Path, as_json: bool, quiet: bool) -> None:
    """Save the model, then print the report, so that nothing printed can cost it."""
    from pellucid.cli.render import show
    from pellucid.cli.reporting import report_of

    trained.model.save(place)
    if as_json:
        print(json.dumps({**trained.report.to_json(), "model": str(place)}))
    elif not quiet:
        show(*report_of(trained), *_next(place, trained))


def _next(place: Path, trained: Any) -> list[str]:
    stopped = trained.report.stopped == "interrupted"
    kept = "the best so far is saved in" if stopped else "model file"
    return [f"{kept}: {place}", "", "next:", *_uses(place, trained.model)]


def _uses(place: Path, model: Any) -> list[str]:
    """Return the commands that go on from a model."""
    file = "PATH" if model.kind == "images" else "FILE"
    use = f"predict {place} {file}        predictions for other {model.noun}, as CSV"
    if model.kind == "text":
        use = f"generate {place}            new text, a character at a time"
    return [
        f"  pellucid {use}",
        f"  pellucid inspect {place}             what it is and how it was trained",
        f"  pellucid inspect {place} --replay 0  every gate of a training step",
    ]
