"""`pellucid predict`: a model and a table in, predictions as CSV out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.places import check_place

Model = Annotated[
    Path, typer.Argument(help="A file that 'pellucid train' wrote.", show_default=False)
]
File = Annotated[
    Path, typer.Argument(help="A CSV or Parquet file.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option(help="Where to write the CSV.", show_default="standard output"),
]


def run(model: Model, file: File, out: Out = None) -> None:
    """Predict a column of other rows, which need not have it.

    For each row: the prediction and, for classes, the probability of each. Columns
    are found by name; those that training did not use are passed over.
    """
    from pellucid.data.table import read_table
    from pellucid.files import write_whole
    from pellucid.tabular.model import TableModel

    if out is not None:
        check_place(out, "--out", (model, file))
    predicted = TableModel.load(model).predict_table(read_table(file)).write_csv()
    if out is not None:
        write_whole(out, predicted.encode())
    elif sys.stdout is not None:
        # Line by line: of one long text Python loses the news that nobody reads it.
        sys.stdout.writelines(predicted.splitlines(keepends=True))
