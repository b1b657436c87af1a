"""Running commands as a person does, on small made tables."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PELLUCID = [sys.executable, "-m", "pellucid"]


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code and what it wrote."""

    code: int
    output: str
    error: str


Run = Callable[..., Done]


def write_rows(
    place: Path, names: str, row: Callable[[int, random.Random], str], rows: int = 60
) -> Path:
    """Write a CSV file of so many rows; no names means no first line."""
    draw = random.Random(7)
    lines = [row(i, draw) for i in range(rows)]
    place.write_text("\n".join([*([names] if names else []), *lines]) + "\n")
    return place


def price_row(i: int, draw: random.Random) -> str:
    size, kind = draw.uniform(1, 9), draw.choice(["flat", "house"])
    return f"{size:.3f},{kind},{3 * size + (kind == 'house'):.3f}"


def colour_row(i: int, draw: random.Random) -> str:
    x, y = draw.uniform(-1, 1), draw.uniform(-1, 1)
    return f"{x:.3f},{y:.3f},{'red' if x + y > 0 else 'blue'}"
