"""How far training is: a bar on a terminal, a line per epoch elsewhere.

Knows events only as plain facts, an object with a `kind` and a `data` dictionary:

    begin   epochs                        training starts; epochs is the most there are
    epoch   epoch, loss, validation       one epoch is done; validation may be missing
    end     reason                        training is over; reason may be missing

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
        trainer.fit(X, y, on_event=show)
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
        elif event.kind == "end" and data.get("reason"):
            bar.console.print(Text(data["reason"]))

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
        elif event.kind == "end" and data.get("reason"):
            say(data["reason"])

    return show


def _facts(data: Mapping[str, Any], between: str = " ") -> str:
    names = [name for name in ("loss", "validation") if data.get(name) is not None]
    return between.join(f"{name} {number(data[name])}" for name in names)
