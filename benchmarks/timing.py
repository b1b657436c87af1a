"""Statistics of repeated measurements, and turns. Knows no library and no row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = ["Timing", "calls_for", "in_turn", "summarise"]


@dataclass(frozen=True)
class Timing:
    """The median of several measurements, and the width of their middle half."""

    us: float
    spread: float
    rounds: int


def summarise(samples: Sequence[float]) -> Timing:
    """Return the median and the interquartile range, in the samples' unit.

    >>> summarise([1.0, 2.0, 3.0, 4.0, 100.0])
    Timing(us=3.0, spread=2.0, rounds=5)
    """
    if len(samples) < 2:
        return Timing(samples[0], 0.0, 1)
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Timing(median(samples), high - low, len(samples))


def calls_for(seconds: float, once: float) -> int:
    """Return how often to repeat what takes `once` seconds to fill `seconds`.

    >>> calls_for(0.5, 0.2), calls_for(0.5, 3.0)
    (3, 1)
    """
    return max(1, -int(-seconds // max(once, 1e-7)))


def in_turn(
    measures: Mapping[str, Callable[[], float | None]], rounds: int
) -> dict[str, list[float]]:
    """Call every function once a round, and return what each gave.

    What disturbs the machine for a while so disturbs all of them. The first to go
    changes with each round. One that gives None is not asked again.

    >>> in_turn({"a": lambda: 1.0, "b": lambda: None}, 2)
    {'a': [1.0, 1.0], 'b': []}
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    alive = list(measures)
    for _ in range(rounds):
        for name in list(alive):
            sample = measures[name]()
            if sample is None:
                alive.remove(name)
            else:
                found[name].append(sample)
        alive = [*alive[1:], *alive[:1]]
    return found
