"""The command: `python -m benchmarks [--rows a,b] [--peers x,y] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import peers, rows
from benchmarks.cold_start import measure_cold
from benchmarks.machine import facts, processors
from benchmarks.measure import FULL, QUICK, Settings, measure_row
from benchmarks.results import HEADER, RowResult, as_json, as_table
from benchmarks.workers import Workers


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON where asked."""
    asked = _parser().parse_args(arguments)
    chosen_rows, chosen_peers = rows.select(asked.rows), peers.select(asked.peers)
    settings = QUICK if asked.quick else FULL
    if asked.quick and not asked.peers:
        chosen_peers = [peer for peer in chosen_peers if not peer.slow]
    machine = facts()
    results = []
    with Workers(settings.limit) as workers:
        for row in chosen_rows:
            results.append(_measure(row, chosen_peers, workers, settings))
            print_results(results[-1:], header=len(results) == 1)
            if asked.json:
                found = as_json(results, machine)
                Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")
    print(_machine_line(machine))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows", default="", help=f"some of {', '.join(rows.ROWS)}; all by default"
    )
    parser.add_argument(
        "--peers", default="", help=f"some of {', '.join(peers.PEERS)}; all by default"
    )
    parser.add_argument("--json", default="", help="also write the results to a file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few short rounds, one variant a peer, without those slow to compile",
    )
    return parser


def _measure(
    row: rows.Row, chosen: list[peers.Peer], workers: Workers, settings: Settings
) -> RowResult:
    if row.kind == "cold":
        names = {peer.name.split("-")[0] for peer in chosen}
        return measure_cold(row, sorted(names), settings)
    return measure_row(row, chosen, workers, settings, processors())


_WIDTHS = (14, 18, 10, 9, 8, 10, 0)
"""Columns: text to the left, the three numbers to the right."""


def print_results(results: list[RowResult], header: bool = True) -> None:
    """Print the rows as a plain table."""
    lines: list[tuple[str, ...]] = [HEADER] if header else []
    for result in results:
        lines += as_table(result)
    for line in lines:
        cells = [
            cell.rjust(width) if 2 <= i <= 4 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, _WIDTHS))
        ]
        print(" ".join(cells).rstrip(), flush=True)


def _machine_line(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    return (
        f"\n{machine['processor']}, {machine['processors']} processors, "
        f"{machine['system']}, Python {machine['python']}, load {machine['load']:.1f}"
        f"\n{versions}"
    )


if __name__ == "__main__":
    main()
