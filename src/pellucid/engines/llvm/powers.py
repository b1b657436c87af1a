"""x to the power y on vectors: e^(y · log|x|), and the sign and corners of C and NumPy.

In single precision the logarithm is taken in double precision. In double precision it
is a sum of two numbers, exact to about 2⁻⁶⁷, because y multiplies its error.
"""

from __future__ import annotations

import math

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.lanes import Lanes
from pellucid.engines.llvm.maths import LN2, exp, exp_of_sum, log, log_edges, split

__all__ = ["pow"]

_LOG_TAIL = (
    0.3999999999999998, 0.2857142857144387, 0.22222222217778612, 0.18181818845733616,
    0.15384558290892958, 0.13336270353362856, 0.11675652865952665,
    0.11982879271970191,
)  # fmt: skip
"""(2·artanh s − 2s − ⅔·s³)/s⁵ by s²; the relative error of the logarithm is 8e-23."""

_TWO_THIRDS = 0.6666666666666666, 3.700743415417188e-17
_LARGEST = 2.0**66
"""An exponent beyond which every power is 0, 1 or infinite."""


def pow(f: Function, kind: Kind, x: str, y: str) -> str:
    """Return x to the power y."""
    v = Lanes(f, kind)
    size = v.abs(x)
    found = _double(v, size, y) if v.wide else _single(v, size, y)
    is_whole = v.test("oeq", v.floor(y), y)
    half = v.mul(y, 0.5)
    is_odd = v.both(is_whole, v.test("one", v.floor(half), half))
    found = v.select(is_odd, v.copysign(found, x), found)
    below = v.both(v.test("olt", x, 0.0), v.test("ogt", x, -math.inf))
    lost = v.both(below, v.test("une", v.floor(y), y))
    found = v.select(lost, math.nan, found)
    found = v.select(v.test("oeq", y, 0.0), 1.0, found)
    return v.select(v.test("oeq", x, 1.0), 1.0, found)


def _single(v: Lanes, x: str, y: str) -> str:
    """Return e^(y · log x), computed in double precision."""
    f, kind = v.f, v.kind
    wide = Lanes(f, kind.of("f8"))
    x, y = (f.let(f"fpext {kind} {each} to {wide.kind}") for each in (x, y))
    exponent = wide.mul(_bounded(wide, y), log(f, wide.kind, x))
    found = exp(f, wide.kind, exponent)
    return f.let(f"fptrunc {wide.kind} {found} to {kind}")


def _bounded(v: Lanes, y: str) -> str:
    """Return an exponent that is finite, so that times log 1 it is 0."""
    return v.at_most(v.at_least(y, -_LARGEST), _LARGEST)


def _double(v: Lanes, x: str, y: str) -> str:
    """Return e^(y · log x) with the logarithm as a sum of two."""
    high, low = _precise_log(v, x)
    high = log_edges(v, x, high)
    y = _bounded(v, y)
    exponent = v.mul(y, high)
    rest = v.fma(y, low, v.fma(y, high, v.neg(exponent)))
    is_small = v.test("olt", v.abs(exponent), 1024.0)
    return exp_of_sum(v, exponent, v.select(is_small, rest, 0.0))


def _precise_log(v: Lanes, x: str) -> tuple[str, str]:
    """Return log x = e·log 2 + 2s + ⅔·s³ + s⁵·P(s²), the first three as sums of two."""
    e, m = split(v, x)
    s, s_low = _ratio(v, m)
    z = v.mul(s, s)
    z_low = v.fma(v.add(s, s), s_low, v.fma(s, s, v.neg(z)))
    cube = v.mul(s, z)
    cube_low = v.fma(s, z_low, v.fma(s_low, z, v.fma(s, z, v.neg(cube))))
    third = v.mul(cube, _TWO_THIRDS[0])
    low = v.fma(cube, _TWO_THIRDS[0], v.neg(third))
    low = v.fma(cube_low, _TWO_THIRDS[0], v.fma(cube, _TWO_THIRDS[1], low))
    low = v.fma(v.mul(cube, z), v.polynomial(z, _LOG_TAIL), low)
    low = v.fma(s_low, 2.0, low)
    total, lost = _sum(v, v.add(s, s), third)
    low = v.add(low, lost)
    total, lost = _sum(v, v.mul(e, LN2[8][0]), total)
    low = v.fma(e, LN2[8][1], v.add(low, lost))
    return _sum(v, total, low)


def _ratio(v: Lanes, m: str) -> tuple[str, str]:
    """Return (m − 1)/(m + 1) as a sum of two."""
    below, above = v.sub(m, 1.0), v.add(m, 1.0)
    above_low = v.sub(m, v.sub(above, 1.0))
    inverse = v.div(1.0, above)
    s = v.mul(below, inverse)
    rest = v.fma(v.neg(s), above_low, v.fma(v.neg(s), above, below))
    return s, v.mul(rest, inverse)


def _sum(v: Lanes, x: str, y: str) -> tuple[str, str]:
    """Return x + y and what rounding lost of it; |x| ≥ |y|, or x is 0."""
    total = v.add(x, y)
    return total, v.add(v.sub(x, total), y)
