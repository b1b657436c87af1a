"""Drawing a token by its scores, inside of a program."""

from __future__ import annotations

from pellucid.functional import arange, argmax, expand_dims, log, softmax, where
from pellucid.functional import sum as total
from pellucid.random import uniform
from pellucid.tensors import Tensor

__all__ = ["draw", "likeliest"]

_NEVER = float("-inf")


def draw(scores: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    """Return the number of a token, drawn by scores `[tokens]`, a scalar `i32`.

    Its probability is softmax(scores / temperature); at the temperature 0 it is the
    one with the largest score, of equal ones the first. The draw adds noise to the
    scores and takes the largest. Source: Gumbel, "Statistical theory of extreme values"
    (1954).

    >>> from pellucid.random import key_of
    >>> from pellucid.tensors import tensor
    >>> draw(tensor([0.1, 0.3, 0.2]), key_of(0), tensor(0.0)).item()
    1
    """
    cold = temperature <= 0.0
    noise = -log(-log(uniform(key, scores.shape, scores.dtype)))
    noisy = scores / where(cold, 1.0, temperature) + noise
    return where(cold, argmax(scores), argmax(noisy))


def likeliest(
    scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor
) -> Tensor:
    """Return scores, those that shall not be drawn as −inf.

    The `top_k` likeliest are kept (of equal ones the first), then of these the fewest
    likeliest that together have the probability `top_p` at the temperature. Each is
    compared with each: there is no gate that sorts. Source: Holtzman et al., "The
    curious case of neural text degeneration" (2020).

    >>> from pellucid.tensors import tensor
    >>> limits = tensor(1.0), tensor(2), tensor(0.9)
    >>> likeliest(tensor([0.5, 0.3, 0.2]), *limits).value.tolist()[2]
    -inf
    """
    here, there = expand_dims(scores, 1), expand_dims(scores, 0)
    places = arange(scores.shape[0], dtype="i32")
    earlier = expand_dims(places, 0) < expand_dims(places, 1)
    above = (there > here) | ((there == here) & earlier)
    among = total(above.astype("i32"), -1) < top_k
    scaled = scores / where(temperature <= 0.0, 1.0, temperature)
    shares = softmax(where(among, scaled, _NEVER))
    before = total(where(above, expand_dims(shares, 0), 0.0), -1)
    return where(among & (before < top_p), scores, _NEVER)
