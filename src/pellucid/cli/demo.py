"""`pellucid demo`: the whole way on a real table, in some seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.places import check_place

Keep = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep the table and the model there.",
        show_default="keep nothing",
    ),
]

_NAME, _TARGET = "breast-cancer", "diagnosis"


def run(keep: Keep = None) -> None:
    """Train on a table that scikit-learn carries, and look inside one step."""
    from pellucid.cli.inspect import replay_pieces
    from pellucid.cli.progress import progress
    from pellucid.cli.render import show
    from pellucid.cli.reporting import report_of
    from pellucid.data.samples import breast_cancer
    from pellucid.tabular.training import train_table

    places = _places(keep)
    table = breast_cancer()
    show("Is a tumour malignant? 569 biopsies, 30 measurements each.", "")
    with progress() as tell:
        trained = train_table(table, _TARGET, subscribers=[tell])
    show(*report_of(trained))
    step = trained.trainer.replay(trained.report.iterations // 2)
    show(
        "",
        f"Step {step.step} again, gate by gate: values, and the gradient flowing back.",
        *replay_pieces(_in_layers(step)),
    )
    show(*_next(places, table, trained.model))


def _in_layers(step: Any) -> Any:
    """Return a step without the gates that prepare data, masks and the loss."""
    gates = [each for each in step if each.path and each.gradient is not None]
    return replace(step, gates=tuple(gates))


def _places(keep: Path | None) -> tuple[Path, Path] | None:
    if keep is None:
        return None
    places = (keep / f"{_NAME}.csv", keep / f"{_NAME}.pellucid")
    for place in places:
        check_place(place, "--keep")
    return places


def _next(places: tuple[Path, Path] | None, table: Any, model: Any) -> list[str]:
    """Keep what shall be kept; say what to do next."""
    file, name = "FILE", "FILE.pellucid"
    target = "COLUMN"
    if places is not None:
        from pellucid.files import write_whole

        write_whole(places[0], table.write_csv().encode())
        model.save(places[1])
        file, name, target = str(places[0]), str(places[1]), _TARGET
    return [
        "next:" if places else "next, with a table of yours (CSV or Parquet):",
        f"  pellucid train {file} --target {target}",
        f"  pellucid predict {name} {file}",
        f"  pellucid inspect {name} --replay 0",
        f"  pellucid gradcheck {name} {file}",
    ]
