"""The command: `python -m benchmarks.conformance [--rows a,b] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import torch

from benchmarks.conformance.compare import compare
from benchmarks.conformance.functions import ACTIVATIONS, FUNCTIONS, LOSSES
from benchmarks.conformance.layers import LAYERS
from benchmarks.conformance.optimisers import OPTIMISERS, compare_steps
from benchmarks.conformance.results import (
    HEADER,
    Result,
    as_json,
    cells,
    summary,
    total,
)
from benchmarks.conformance.row import Draw, OptimiserRow, Row
from benchmarks.machine import facts
from pellucid.engines.choose import engine_named

ROWS = [*LAYERS, *ACTIVATIONS, *FUNCTIONS, *LOSSES, *OPTIMISERS]


def main(arguments: list[str] | None = None) -> int:
    """Compare, print the table, write JSON where asked; return 1 if a row differs."""
    asked = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", message="Using padding='same'")  # slow, it says
    warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # NAdam holds a product in the default
    results = []
    _print(HEADER)
    for row in _chosen(asked.rows):
        results.append(_measure(row, asked))
        _print(cells(results[-1]))
    print(f"\n{summary(results)}")
    if asked.json:
        found = json.dumps(as_json(results, facts()), indent=1)
        Path(asked.json).write_text(found + "\n")
    return 0 if all(result.agrees for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conformance", description=__doc__
    )
    parser.add_argument("--rows", default="", help="some names; all by default")
    parser.add_argument("--configurations", type=int, default=20, help="of each row")
    parser.add_argument("--seed", type=int, default=0, help="another, other numbers")
    parser.add_argument(
        "--engine", default="", help="compile ours, but the optimisers, with it"
    )
    parser.add_argument("--json", default="", help="also write the results to a file")
    return parser


def _chosen(names: str) -> Iterator[Row | OptimiserRow]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = set(wanted) - {row.kind for row in ROWS}
    if unknown:
        known = ", ".join(dict.fromkeys(row.kind for row in ROWS))
        raise SystemExit(f"no row {', '.join(sorted(unknown))}; there are {known}")
    yield from (row for row in ROWS if not wanted or row.kind in wanted)


def _measure(row: Row | OptimiserRow, asked: argparse.Namespace) -> Result:
    gaps = []
    engine = engine_named(asked.engine) if asked.engine else None
    for index in range(asked.configurations):
        draw = Draw(asked.seed, crc32(row.name.encode()), index)
        try:
            if isinstance(row, Row):
                gaps.append(compare(row, draw, engine))
            else:
                gaps.append(compare_steps(row, draw))
        except Exception as error:
            failure = f"configuration {index}: {type(error).__name__}: {error}"
            return total(row.name, gaps, failure, row.tolerance)
    return total(row.name, gaps, tolerance=row.tolerance)


_WIDTHS = (32, 6, 9, 10, 6, 0)


def _print(row: tuple[str, ...]) -> None:
    name, *numbers, verdict = row
    middle = (text.rjust(width) for text, width in zip(numbers, _WIDTHS[1:]))
    print(name.ljust(_WIDTHS[0]), *middle, f" {verdict}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
