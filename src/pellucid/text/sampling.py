"""Drawing a token by its scores, inside of a program."""

from __future__ import annotations

from typing import NamedTuple

from pellucid.functional import arange, argmax, expand_dims, log, softmax, where
from pellucid.functional import sum as total
from pellucid.random import uniform
from pellucid.tensors import Tensor

__all__ = ["Controls", "draw"]

_NEVER = float("-inf")


class Controls(NamedTuple):
    """What a draw is controlled by; scalars, so that one program serves all."""

    temperature: Tensor
    """Scores are divided by it; 0 takes the likeliest."""
    top_k: Tensor
    """How many of the likeliest may be drawn."""
    top_p: Tensor
    """The likeliest that together have this probability may be drawn."""


def draw(scores: Tensor, key: Tensor, controls: Controls) -> Tensor:
    """Return the number of a token, drawn by scores `[tokens]`, a scalar `i32`.

    First the scores are divided by the temperature, then the `top_k` likeliest are
    kept (of equal ones the first), then of these the fewest likeliest that together
    have the probability `top_p`. The draw adds noise to the scores and takes the
    largest. Sources: Gumbel, "Statistical theory of extreme values" (1954), for the
    draw; Holtzman et al., "The curious case of neural text degeneration" (2020), for
    `top_p`.

    >>> from pellucid.random import key_of
    >>> from pellucid.tensors import tensor
    >>> greedy = Controls(tensor(0.0), tensor(3), tensor(1.0))
    >>> draw(tensor([0.1, 0.3, 0.2]), key_of(0), greedy).item()
    1
    """
    cold = controls.temperature <= 0.0
    scaled = scores / where(cold, 1.0, controls.temperature)
    kept = _nucleus(scaled, controls.top_k, controls.top_p)
    noise = -log(-log(uniform(key, scores.shape, scores.dtype)))
    noisy = where(kept, scaled + noise, _NEVER)
    return where(cold, argmax(scores), argmax(noisy))


def _nucleus(scores: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Tell which tokens may be drawn, by comparing each with each."""
    here, there = expand_dims(scores, 1), expand_dims(scores, 0)
    places = arange(scores.shape[0], dtype="i32")
    earlier = expand_dims(places, 0) < expand_dims(places, 1)
    above = (there > here) | ((there == here) & earlier)
    among = total(above.astype("i32"), -1) < top_k
    shares = softmax(where(among, scores, _NEVER))
    before = total(where(above, expand_dims(shares, 0), 0.0), -1)
    return among & (before < top_p)
