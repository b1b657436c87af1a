"""How far training is: a bar on a terminal, a line per epoch elsewhere.

Knows events only as plain facts, an object with a `kind` and a `data` dictionary:

    begin        epochs                         the most epochs there will be
    epoch        epoch, loss, validation_loss   the last may be missing
    early_stop   patience, best_epoch           no better for so many epochs
    interrupted  kept                           what the model keeps
    end          reason, epochs, iterations     `finished` or one of the two above

Other kinds, and other facts in these, are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from pellucid.cli.numbers import number
from pellucid.cli.render import console

__all__ = ["Fact", "progress"]


class Fact(Protocol):
    """What is shown of an event."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The facts."""


Subscriber = Callable[[Fact], None]


@contextmanager
def progress(quiet: bool = False) -> Iterator[Subscriber]:
    """Give a subscriber that shows each event; the bar goes when the block ends.

    with progress() as show:
        trainer.subscribe(show)
        trainer.fit(X, y, verbose=0)
    """
    target = console()
    if quiet:
        yield lambda event: None
    elif target.is_terminal:
        with _bar(target) as bar:
            yield _on_bar(bar)
    else:
        yield _as_lines(target)


def _bar(target: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(compact=True),
        console=target,
        transient=True,
        expand=True,
    )


def _on_bar(bar: Progress) -> Subscriber:
    task = bar.add_task("epoch", total=None, facts="")

    def show(event: Fact) -> None:
        data = event.data
        if event.kind == "begin":
            bar.update(task, total=data["epochs"])
        elif event.kind == "epoch":
            words = f"epoch {data['epoch']}"
            bar.update(
                task, completed=data["epoch"], description=words, facts=_facts(data)
            )
        elif event.kind in _ENDINGS:
            bar.console.print(Text(_ENDINGS[event.kind](data)))

    return show


def _as_lines(target: Console) -> Subscriber:
    def say(line: str) -> None:
        target.print(Text(line), soft_wrap=True)

    epochs = 0

    def show(event: Fact) -> None:
        nonlocal epochs
        data = event.data
        if event.kind == "begin":
            epochs = data["epochs"]
        elif event.kind == "epoch":
            of = f"/{epochs}" if epochs else ""
            say(f"epoch {data['epoch']}{of} · {_facts(data, ' · ')}")
        elif event.kind in _ENDINGS:
            say(_ENDINGS[event.kind](data))

    return show


def _facts(data: Mapping[str, Any], between: str = " ") -> str:
    shown = {"loss": "loss", "validation_loss": "validation"}
    return between.join(
        f"{word} {number(data[name])}"
        for name, word in shown.items()
        if data.get(name) is not None
    )


def _early_stop(data: Mapping[str, Any]) -> str:
    kept = f"keeping epoch {data['best_epoch']}"
    return f"no better for {data['patience']} epochs: {kept}"


def _end(data: Mapping[str, Any]) -> str:
    word = data["reason"].replace("early_stop", "stopped early")
    return f"{word} after {data['epochs']} epochs, {data['iterations']} iterations"


_ENDINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "early_stop": _early_stop,
    "interrupted": lambda data: f"interrupted: keeping {data['kept']}",
    "end": _end,
}
"""The words for each event that ends a training, or tells why it ends."""
