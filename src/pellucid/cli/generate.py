"""`pellucid generate`: a model of text writes on from a prompt."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.devices import Device, Xla, computing_on

Model = Annotated[
    Path,
    typer.Argument(
        help="A file that 'pellucid train' wrote from text.", show_default=False
    ),
]
Prompt = Annotated[
    str, typer.Option(help="What the text begins with.", show_default="a new line")
]
Length = Annotated[int, typer.Option(help="How many characters to write.", min=0)]
Temperature = Annotated[
    float,
    typer.Option(help="Below 1 tamer, above 1 wilder; 0: always the likeliest."),
]
TopK = Annotated[
    int | None,
    typer.Option(help="Draw from so many likeliest characters.", show_default="all"),
]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Draw from the fewest likeliest that together have this probability.",
        show_default="all",
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed draws the same text.")]
Engine = Annotated[str | None, typer.Option(help="What computes.", show_default="auto")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not say how fast it was.")]


def run(
    model: Model,
    prompt: Prompt = "",
    length: Length = 500,
    temperature: Temperature = 0.8,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = 0,
    engine: Engine = None,
    device: Device = None,
    xla: Xla = None,
    quiet: Quiet = False,
) -> None:
    """Write text with a model, on and on, as it comes.

    The prompt and what follows it go to standard output.
    """
    from pellucid.runs.model import load_model
    from pellucid.text.model import TextModel

    loaded = load_model(model, TextModel)
    with computing_on(engine, device, xla):
        pieces = loaded.write(
            prompt,
            length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            engine=engine,
        )
        start = time.perf_counter()
        count = _stream(prompt, pieces)
    if not quiet:
        _say(count, time.perf_counter() - start)


def _stream(prompt: str, pieces: Iterator[str]) -> int:
    """Write the prompt, then each piece as it comes; return how many characters."""
    count, last = 0, prompt
    if sys.stdout is None:
        return sum(map(len, pieces))
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        count, last = count + len(piece), piece
    if not last.endswith("\n"):
        sys.stdout.write("\n")
    return count


def _say(count: int, seconds: float) -> None:
    from rich.text import Text

    from pellucid.cli.render import console

    speed = f", {count / seconds:.0f} a second" if count and seconds else ""
    console().print(Text(f"{count} characters{speed}"), soft_wrap=True)
