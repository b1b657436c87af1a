"""Drawing tokens by their scores, inside of a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from pellucid.errors import ArgumentError, message
from pellucid.functional import (
    arange,
    argmax,
    expand_dims,
    log,
    maximum,
    softmax,
    where,
)
from pellucid.functional import sum as total
from pellucid.ir.graph import Array
from pellucid.random import fold_in, key_of, uniform
from pellucid.tensors import Tensor

__all__ = ["Taste", "chosen", "controls", "drawn", "gumbel", "likeliest", "noisy"]

_NEVER = float("-inf")

_ALLOWED: dict[str, tuple[type, Callable[[float], bool], str]] = {
    "temperature": (Real, lambda x: 0 <= x < np.inf, "a number from 0"),
    "top_k": (Integral, lambda x: x >= 1, "a whole number from 1"),
    "top_p": (Real, lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
}
"""Of what kind a value is, whether it is allowed, and the words for what is."""


@dataclass(frozen=True)
class Taste:
    """How tokens are drawn. Raises `ArgumentError` for what is not allowed.

    Args:
        temperature: scores are divided by it: below 1 tamer, above 1 wilder, 0 takes
            the likeliest always.
        top_k: draw from so many likeliest tokens.
        top_p: draw from the fewest likeliest that together have this probability.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        for name, (kind, allowed, expected) in _ALLOWED.items():
            value = getattr(self, name)
            if value is None and name != "temperature":
                continue
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not fits or not allowed(value):
                text = f"expected {expected}"
                raise ArgumentError(message(f"{name}={value!r}", expected=text))

    def arrays(self) -> list[Array]:
        """Return what a program takes: the temperature, and what else is limited."""
        temperature = np.array(self.temperature, np.float32)
        if self.top_k is None and self.top_p is None:
            return [temperature]
        most = np.iinfo(np.int32).max
        top_k = most if self.top_k is None else min(self.top_k, most)
        top_p = 1.0 if self.top_p is None else self.top_p
        return [
            temperature,
            np.array(top_k, np.int32),
            # Shares that sum to 1 but for rounding must not be cut off.
            np.array(np.inf if top_p >= 1.0 else top_p, np.float32),
        ]


def controls(
    temperature: float, top_k: int | None, top_p: float | None, seed: int
) -> list[Array]:
    """Return what a program that draws takes: the key of a seed, then a taste's arrays.

    Nothing where the likeliest is always taken.

    >>> [each.tolist() for each in controls(0.5, None, None, seed=3)]
    [[3, 0], 0.5]
    >>> controls(0.0, None, None, seed=3)
    []
    """
    taste, key = Taste(temperature, top_k, top_p), key_of(seed)
    return [key.value, *taste.arrays()] if temperature else []


def chosen(
    scores: Tensor, place: Tensor | int, controls: Sequence[Tensor] = ()
) -> Tensor:
    """Return the numbers of tokens by scores `[…, tokens]`: drawn, or the likeliest.

    `controls` are those of the function of that name; each place in a text has a draw
    of its own.
    """
    return argmax(drawn(scores, place, controls) if controls else scores, -1)


def drawn(scores: Tensor, place: Tensor | int, controls: Sequence[Tensor]) -> Tensor:
    """Return scores of which the largest is the token that `chosen` draws."""
    key, temperature, *limits = controls
    kept = likeliest(scores, temperature, *limits) if limits else scores
    return noisy(kept, fold_in(key, place), temperature)


def noisy(scores: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    """Return scores `[…, tokens]` of which the largest is a draw by the given ones.

    Each token is the largest with the probability softmax(scores / temperature); at
    the temperature 0 scores stay as they are. Source: Gumbel, "Statistical theory of
    extreme values" (1954).

    >>> from pellucid.tensors import tensor
    >>> argmax(noisy(tensor([0.1, 0.3, 0.2]), key_of(0), tensor(0.0))).item()
    1
    """
    cold = temperature <= 0.0
    noise = gumbel(uniform(key, scores.shape, scores.dtype))
    return where(cold, scores, scores / where(cold, 1.0, temperature) + noise)


def gumbel(u: Tensor) -> Tensor:
    """Return −log(−log u) for numbers drawn from [0, 1), 0 taken for a little more.

    At 0 itself it is −∞, which would forbid a token, be it the only one.

    >>> from pellucid.tensors import tensor
    >>> gumbel(tensor([0.0, 0.5])).value.round(2).tolist()
    [-2.8499999046325684, 0.3700000047683716]
    """
    least = float(np.finfo(u.dtype).eps) / 4
    return -log(-log(maximum(u, least)))


def likeliest(
    scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor
) -> Tensor:
    """Return scores `[…, tokens]`, those that shall not be drawn as −inf.

    The `top_k` likeliest are kept (of equal ones the first), then of these the fewest
    likeliest that together have the probability `top_p` at the temperature. Each is
    compared with each: there is no gate that sorts. Source: Holtzman et al., "The
    curious case of neural text degeneration" (2020).

    >>> from pellucid.tensors import tensor
    >>> limits = tensor(1.0), tensor(2), tensor(0.9)
    >>> likeliest(tensor([0.5, 0.3, 0.2]), *limits).value.tolist()[2]
    -inf
    """
    here, there = expand_dims(scores, -1), expand_dims(scores, -2)
    places = arange(scores.shape[-1], dtype="i32")
    earlier = expand_dims(places, 0) < expand_dims(places, 1)
    above = (there > here) | ((there == here) & earlier)
    among = total(above.astype("i32"), -1) < top_k
    scaled = scores / where(temperature <= 0.0, 1.0, temperature)
    shares = softmax(where(among, scaled, _NEVER))
    before = total(where(above, expand_dims(shares, -2), 0.0), -1)
    return where(among & (before < top_p), scores, _NEVER)
