"""What the compiler did, for people to read: `PELLUCID_DEBUG` says how much of it.

It names what is printed to the error output, by commas: `graph`, as it was compiled;
`kernels`, the calls that are left after fusion, in their order; `ir`, LLVM's assembly;
`time`, the time of each kernel in each run; or `all`. What is timed is compiled anew,
and runs in one thread.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from pellucid.engines.llvm.lower import Lowered
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.ir.graph import Array, Graph
from pellucid.ir.text import render

__all__ = ["print_compiled", "print_times", "wanted"]

_PARTS = ("graph", "kernels", "ir", "time")
_MOST_KERNELS = 30
"""The kernels of a run whose times are printed: those that take longest."""


def wanted() -> frozenset[str]:
    """Return what the environment's `PELLUCID_DEBUG` asks for.

    Raises `ArgumentError` for a word that it does not know.
    """
    words = [each.strip() for each in os.environ.get("PELLUCID_DEBUG", "").split(",")]
    named = [each for each in words if each]
    for each in named:
        if each not in (*_PARTS, "all"):
            raise ArgumentError(
                message(
                    f"PELLUCID_DEBUG has no {each!r}",
                    expected=f"expected some of {', '.join(_PARTS)}, or all",
                    hint=did_you_mean(each, (*_PARTS, "all")),
                )
            )
    return frozenset(_PARTS if "all" in named else named)


def print_compiled(graph: Graph, lowered: Lowered, what: frozenset[str]) -> None:
    """Print what was compiled; `lowered` is of a timed program, which names calls."""
    if "graph" in what:
        _print(f"graph\n{render(graph, births=True)}")
    if "kernels" in what:
        calls = "\n".join(lowered.timed)
        threads = "several threads" if lowered.threads else "one thread"
        _print(
            f"{len(lowered.timed)} calls of {lowered.kernels} kernels, {threads}, "
            f"{lowered.arena_bytes:,} bytes\n{calls}"
        )
    if "ir" in what:
        _print(lowered.text)


def print_times(labels: tuple[str, ...], cycles: Array, seconds: float) -> None:
    """Print the time of each call in a run, from the cycles that were counted."""
    total = max(int(cycles.sum()), 1)
    order = np.argsort(cycles)[::-1][:_MOST_KERNELS]
    rows = [
        f"{1e6 * seconds * cycles[i] / total:12.1f} µs {cycles[i] / total:6.1%}  "
        f"{labels[i]}"
        for i in order
        if cycles[i]
    ]
    _print(f"a run of {1e6 * seconds:,.1f} µs\n" + "\n".join(rows))


def _print(text: str) -> None:
    print(f"pellucid llvm: {text}", file=sys.stderr, flush=True)
