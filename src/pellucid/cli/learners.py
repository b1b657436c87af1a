"""What trains on a table, on images, on text, and how one is told from the other.

Knows files, and which options go with them. What computes is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, message

__all__ = ["Learner", "learner"]

Learner: TypeAlias = Callable[..., Any]
"""Takes a file, settings, a test file, whether to be quiet, and what to keep."""


def learner(file: Path, text: bool, own: dict[str, dict[str, Any]]) -> Learner:
    """Return what trains on such a file, with the options that only it has."""
    kind = _kind(file, text, "target" in own["table"])
    for other, options in own.items():
        for name in options if other != kind else ():
            raise ArgumentError(
                message(
                    f"--{name} is for {_KINDS[other]}",
                    where=f"{file} is {_KINDS[kind]}",
                )
            )
    if kind == "table" and "target" not in own["table"] and file.exists():
        hint = "see 'pellucid train --help'"
        raise ArgumentError(message("missing option '--target'", hint=hint))
    return partial(_LEARNERS[kind], **own[kind])


_KINDS = {"table": "a table", "images": "images", "text": "text"}


def _kind(file: Path, text: bool, has_target: bool) -> str:
    """Return what a file holds: text, images or a table."""
    from pellucid.data.images import is_image
    from pellucid.images.source import are_images

    if text or (file.suffix.lower() == ".txt" and not has_target):
        return "text"
    if are_images(file):
        return "images"
    if is_image(file) and file.exists():
        hint = "give the folder that has a folder for each class"
        raise ArgumentError(message("this is one image", where=str(file), hint=hint))
    return "table"


def _train_table(
    file: Path,
    settings: dict[str, Any],
    test: Path | None,
    quiet: bool,
    keep: dict[str, Any],
    target: str = "",
    drop: tuple[str, ...] = (),
) -> Any:
    from pellucid.cli.progress import progress
    from pellucid.data.table import read_table
    from pellucid.tabular.source import read_source
    from pellucid.tabular.training import train_table

    table, source = read_source(file)
    held = None if test is None else read_table(test)
    given = {**settings, "drop": drop}
    with progress(quiet) as show:
        return train_table(
            table, target, given, test=held, source=source, subscribers=[show], **keep
        )


def _train_images(
    file: Path,
    settings: dict[str, Any],
    test: Path | None,
    quiet: bool,
    keep: dict[str, Any],
    labels: Path | None = None,
    size: tuple[int, int] | None = None,
    **network: Any,
) -> Any:
    from pellucid.cli.progress import progress
    from pellucid.images.source import read_parts, read_source
    from pellucid.images.training import train_images

    images, source = read_source(file, labels, size)
    held, train = None, images.train
    if test is not None:
        parts = read_parts(test, None, train.size, train.channels)
        held = (parts.test or parts.train).among(train.classes, str(test))
    given = {**settings, **network}
    with progress(quiet) as show:
        return train_images(
            images, given, test=held, source=source, subscribers=[show], **keep
        )


def _train_text(
    file: Path,
    settings: dict[str, Any],
    test: Path | None,
    quiet: bool,
    keep: dict[str, Any],
    **network: Any,
) -> Any:
    from pellucid.cli.progress import progress
    from pellucid.text.source import read_source
    from pellucid.text.training import train_text

    refused = [name for name in ("hidden", "test_size") if name in settings]
    for name in [*refused, *(["test"] if test is not None else [])]:
        option = f"--{name.replace('_', '-')}"
        hint = "use --width and --layers" if name == "hidden" else ""
        raise ArgumentError(
            message(f"{option} is not for text", where=f"{file} is text", hint=hint)
        )
    text, source = read_source(file)
    with progress(quiet) as show:
        return train_text(
            text, {**settings, **network}, source=source, subscribers=[show], **keep
        )


_LEARNERS: dict[str, Learner] = {
    "table": _train_table,
    "images": _train_images,
    "text": _train_text,
}
"""What trains on each kind of file."""
