"""`pellucid inspect`: what a model is, how it was trained, and any step of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.errors import ArgumentError, message

Model = Annotated[
    Path, typer.Argument(help="A file that 'pellucid train' wrote.", show_default=False)
]
Step = Annotated[
    int | None,
    typer.Option("--replay", metavar="STEP", help="Show a training step, from 0."),
]
Layer = Annotated[
    str | None, typer.Option(help="With --replay: only this layer.", metavar="PATH")
]
Data = Annotated[
    Path | None,
    typer.Option(help="With --replay: the training data, if they were moved."),
]


def run(
    model: Model, replay: Step = None, layer: Layer = None, data: Data = None
) -> None:
    """Show a model: its layers, its columns or classes, its training, its scores.

    With --replay, train it again up to a step and show every gate of that step: what
    came in, what went out, and the gradient that flowed back.
    """
    from pellucid.cli.models import load
    from pellucid.cli.render import show

    if replay is None and (layer or data):
        option = "--layer" if layer else "--data"
        raise ArgumentError(message(option, expected="goes with --replay STEP"))
    loaded = load(model)
    if replay is None:
        show(*_description(loaded, model))
    else:
        step = _REPLAYS[loaded.kind](loaded, model, data, replay)
        show(*replay_pieces(step, layer))


def _of_table(model: Any, path: Path, data: Path | None, step: int) -> Any:
    from pellucid.tabular.rerun import replay_step
    from pellucid.tabular.source import find_table

    return replay_step(model, find_table(model.source, path, data), step)


def _of_images(model: Any, path: Path, data: Path | None, step: int) -> Any:
    from pellucid.images.rerun import replay_step
    from pellucid.images.source import find_source_images

    size, channels = model.size, model.channels
    images = find_source_images(model.source, path, size, channels, data)
    return replay_step(model, images, step)


def _of_text(model: Any, path: Path, data: Path | None, step: int) -> Any:
    from pellucid.text.rerun import replay_step
    from pellucid.text.source import find_text

    return replay_step(model, find_text(model.source, path, data), step)


def _of_series(model: Any, path: Path, data: Path | None, step: int) -> Any:
    from pellucid.series.training import replay_step
    from pellucid.tabular.source import find_table

    table = find_table(model.source, path, data)
    return replay_step(model, model.series(table), step)


_REPLAYS = {
    "table": _of_table,
    "images": _of_images,
    "text": _of_text,
    "forecast": _of_series,
}
"""What finds the training data of each kind of model, and trains up to a step."""


def _description(model: Any, path: Path) -> Any:
    from pellucid.cli.reporting import curve_of, facts_of, scores_of, training_of

    yield from facts_of(model.report)
    if model.source:
        yield f"trained on {model.source.path} ({model.source.rows} {model.noun})"
    yield ""
    yield model.summary()
    if model.kind == "table":
        yield from _columns(model)
    yield from scores_of(model.report)
    yield from curve_of(model)
    yield training_of(model)
    if len(model.history):
        last = model.history.iterations - 1
        yield f"pellucid inspect {path} --replay STEP shows a step, from 0 to {last}"


def _columns(model: Any) -> Any:
    from pellucid.cli.render import plain_table
    from pellucid.tabular.words import describe_encoders, describe_target

    yield f"output: {describe_target(model.target)}"
    titles = ("column", "kind", "inputs", "what the network sees")
    yield plain_table(titles, describe_encoders(model.preprocessor))


def replay_pieces(replay: Any, layer: str | None = None) -> Any:
    """Return a step gate by gate, of one layer if asked, and what each update was."""
    from pellucid.cli.render import plain_table

    shown = replace(replay, gates=replay.layer(layer)) if layer else replay
    yield str(shown)
    names = [each for each in replay.before.params if _lies_in(each, layer)]
    titles = ("parameter", "shape", "largest", "largest gradient", "largest update")
    if names:
        yield plain_table(titles, [_parameter(replay, each) for each in names])


def _lies_in(parameter: str, layer: str | None) -> bool:
    return layer is None or parameter.startswith(f"{layer}.")


def _parameter(replay: Any, name: str) -> tuple[str, ...]:
    from pellucid.cli.numbers import number

    before = replay.before.params[name]
    arrays = (before, replay.gradient(name), replay.update(name))
    largest = [number(float(abs(each).max(initial=0))) for each in arrays]
    return (name, "×".join(map(str, before.shape)), *largest)
