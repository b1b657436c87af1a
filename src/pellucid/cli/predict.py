"""`pellucid predict`: a model and a table or images in, predictions as CSV out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.places import check_place
from pellucid.errors import ArgumentError, message

Model = Annotated[
    Path, typer.Argument(help="A file that 'pellucid train' wrote.", show_default=False)
]
File = Annotated[
    Path,
    typer.Argument(
        help="What it shall predict: a CSV or Parquet file; an image, a folder of "
        "them, or an IDX file.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Where to write the CSV.", show_default="standard output"),
]


def run(model: Model, file: File, out: Out = None) -> None:
    """Predict a column of other rows, which need not have it, or what images show.

    For each row or image: the prediction and, for classes, the probability of each.
    Columns are found by name; those that training did not use are passed over.
    """
    from pellucid.cli.models import load
    from pellucid.files import write_whole

    if out is not None:
        check_place(out, "--out", (model, file))
    loaded = load(model)
    predicted = _PREDICT[loaded.kind](loaded, file).write_csv()
    if out is not None:
        write_whole(out, predicted.encode())
    elif sys.stdout is not None:
        # Line by line: of one long text Python loses the news that nobody reads it.
        sys.stdout.writelines(predicted.splitlines(keepends=True))


def _of_table(model: Any, file: Path) -> Any:
    from pellucid.data.table import read_table

    return model.predict_table(read_table(file))


def _of_images(model: Any, path: Path) -> Any:
    from pellucid.data.idx import is_idx
    from pellucid.data.images import read_images
    from pellucid.data.labelled import find_images, idx_pixels, left_out

    if is_idx(path):
        pixels = idx_pixels(path)
        return model.predict_table(pixels, range(1, len(pixels) + 1))
    paths = find_images(path) if path.is_dir() else [path]
    found = read_images(paths, model.size, model.channels)
    if found.failed:
        _note(left_out(found.failed))
    return model.predict_table(found.pixels, [str(paths[i]) for i in found.kept])


def _note(line: str) -> None:
    from rich.text import Text

    from pellucid.cli.render import console

    console().print(Text(line), soft_wrap=True)


def _of_text(model: Any, path: Path) -> Any:
    raise ArgumentError(
        message(
            "a model of text predicts by writing",
            hint="use 'pellucid generate MODEL --prompt TEXT'",
        )
    )


def _of_series(model: Any, path: Path) -> Any:
    from pellucid.data.table import read_table

    series = model.series(read_table(path))
    for note in series.notes:
        _note(note)
    return model.ahead(series)


_PREDICT = {
    "table": _of_table,
    "images": _of_images,
    "text": _of_text,
    "forecast": _of_series,
}
"""What predicts with each kind of model."""
