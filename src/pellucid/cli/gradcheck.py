"""`pellucid gradcheck`: are the gradients of a model right on some rows of data?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.errors import DataError, message

Model = Annotated[
    Path, typer.Argument(help="A file that 'pellucid train' wrote.", show_default=False)
]
File = Annotated[
    Path,
    typer.Argument(
        help="Rows, with the target's column; or labelled images; or text.",
        show_default=False,
    ),
]
Rows = Annotated[int, typer.Option(help="How many rows to check on.", min=1)]


def run(model: Model, data: File, rows: Rows = 5) -> None:
    """Compare the gradient of each parameter with differences of the loss.

    Everything is computed in float64. A gradient that is wrong is located to its
    gate, and the exit code is then 1.
    """
    from pellucid.checking import gradcheck
    from pellucid.cli.models import load
    from pellucid.cli.render import show

    loaded = load(model)
    inputs = _ROWS[loaded.kind](loaded, data, rows)
    report = gradcheck(loaded.module, *inputs, loss=_loss(loaded))
    show(str(report))
    if not report.ok:
        raise typer.Exit(1)


def _of_table(model: Any, data: Path, rows: int) -> tuple[Any, Any]:
    """Return the first rows as the network takes them."""
    from pellucid.data.table import read_table

    few = read_table(data).head(rows)
    name = model.target.name
    if name not in few.columns:
        raise DataError(
            message(f"no column named {name!r}", expected="the loss needs the target")
        )
    y = model.target.encode(few[name])
    X = model.preprocessor.transform(few)
    return X, y if model.classes else y[:, None]


def _of_images(model: Any, data: Path, rows: int) -> tuple[Any, Any]:
    """Return images from all over the data, as the network takes them."""
    import numpy as np

    from pellucid.images.source import read_parts

    found = read_parts(data, None, model.size, model.channels).train
    chosen = np.linspace(0, len(found) - 1, min(rows, len(found))).astype(int)
    few = found.part(chosen).among(model.classes, str(data))
    return few.pixels, few.labels


def _of_text(model: Any, data: Path, rows: int) -> tuple[Any, Any]:
    """Return the first windows, short ones, and the characters behind each place."""
    import numpy as np

    from pellucid.data.text import read_text
    from pellucid.data.windows import Windows

    length = min(model.settings.context, _WINDOW)
    numbers = model.vocabulary.encode(read_text(data), str(data))
    windows = Windows(numbers[: rows * length + 1], length, stride=length,
                      targets="shifted")  # fmt: skip
    return np.asarray(windows.inputs), np.asarray(windows.targets)


def _of_series(model: Any, data: Path, rows: int) -> tuple[Any, ...]:
    """Return windows from all over the series, and what follows them."""
    from pellucid.data.table import read_table

    return model.windows(model.series(read_table(data)), rows)  # type: ignore[no-any-return]


_WINDOW = 8
"""Characters are enough of to check a gradient on: more take longer."""

_ROWS = {
    "table": _of_table,
    "images": _of_images,
    "text": _of_text,
    "forecast": _of_series,
}
"""What gives some rows and their targets, for each kind of model."""


def _loss(model: Any) -> Any:
    from pellucid.nn import CrossEntropyLoss, MSELoss

    if model.kind == "text":
        return CrossEntropyLoss(axis=-1)
    classes = model.kind != "forecast" and model.classes
    return CrossEntropyLoss() if classes else MSELoss()
