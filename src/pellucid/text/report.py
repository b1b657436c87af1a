"""What came out of a training on text, as facts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pellucid.runs.report import Metrics, RunReport

__all__ = ["TextReport", "metrics_of"]


@dataclass(frozen=True, kw_only=True)
class TextReport(RunReport):
    """The numbers on the end of the text, and what the text is.

    `rows` counts characters. `baseline` knows how often each character comes
    (unigrams), `linear` what follows each character (bigrams): a model that is linear
    in the last character can know no more.
    """

    vocabulary: int
    """How many different characters there are."""
    parameters: int
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


def metrics_of(nats: float) -> Metrics:
    """Return a cross-entropy in the units that people use.

    >>> {name: round(value, 3) for name, value in metrics_of(1.5).items()}
    {'nats_per_character': 1.5, 'bits_per_character': 2.164, 'perplexity': 4.482}
    """
    return {
        "nats_per_character": nats,
        "bits_per_character": nats / math.log(2),
        "perplexity": math.exp(nats) if nats < 700 else math.inf,
    }
