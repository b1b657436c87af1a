"""Print the table of docs/benchmarks.md: `python -m benchmarks.markdown FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["markdown"]


def markdown(found: dict[str, Any]) -> str:
    """Return the results as a table: a row a network, a column a peer.

    A `*` marks a peer whose numbers disagree with ours.
    """
    rows = found["rows"]
    peers = list(dict.fromkeys(name for row in rows.values() for name in row["peers"]))
    header = ["row", "Pellucid, µs", "best peer ÷ ours", "of roofline", *peers]
    lines = [header, ["---", *["--:"] * (len(header) - 1)]]
    for name, row in rows.items():
        share = "" if row["roofline"] is None else f"{row['roofline']:.0%}"
        ours = f"**{_number(row['us'])}** ± {_number(row['spread'])}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            [f"`{name}`", ours, ratio, share, *(_cell(row, each) for each in peers)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, Any], peer: str) -> str:
    us = row["peers"].get(peer)
    if us is None:
        return ""
    marker = "*" if row["details"][peer]["check"] == "disagrees" else ""
    return _number(us) + marker


def _number(us: float) -> str:
    return f"{us:,.0f}" if us >= 100 else f"{us:.3g}"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
