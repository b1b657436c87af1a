"""exp, log, tanh and erf on vectors, by polynomials.

Each is straight-line code, right at NaN, ±inf, ±0 and denormal numbers, within 2 units
in the last place over the whole range (erf: 4). A value does not depend on how many
lanes are computed with it.

The polynomials are minimax: Remez's exchange in 45 digits, the error weighted so that
that of the function counts, each coefficient rounded in turn and the rest fitted
again. Tables hold them by the bytes of a number; what they approximate stands behind.
"""

from __future__ import annotations

import math

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.lanes import Lanes, Operand

__all__ = [
    "LN2",
    "erf",
    "exp",
    "exp_of_sum",
    "fma",
    "log",
    "log_edges",
    "split",
    "tanh",
]

LN2 = {
    4: (0.693145751953125, 1.428606820309417e-06),
    8: (0.6931471803691238, 1.9082149292705877e-10),
}
"""log 2 in two parts; a product of the first with an exponent is exact."""

_EXP = {
    4: (1.0, 1.0, 0.49999994, 0.16666517, 0.041668102, 0.0083691925, 0.0013838903),
    8: (
        1.0, 1.0, 0.5000000000000011, 0.16666666666666438, 0.0416666666665258,
        0.008333333333473763, 0.0013888888944856416, 0.00019841269560285654,
        2.4801491759425524e-05, 2.7557530857461165e-06, 2.7630745404471746e-07,
        2.5019863437857484e-08,
    ),
}  # fmt: skip
"""eʳ where |r| ≤ ½·log 2; relative errors 3.2e-9 and 3.8e-18."""

_EXP_RANGE = {4: (-104.5, 89.0), 8: (-746.0, 710.0)}
"""Where eˣ is neither 0 nor infinite, and a little more."""

_TANH = {
    4: (-0.33333316, 0.13332544, -0.053847548, 0.021050714, -0.0062428489),
    8: (
        -0.3333333333333231, 0.13333333333168243, -0.05396825387586994,
        0.021869485970221158, -0.00886319444708697, 0.003591719266180784,
        -0.001453214733806113, 0.0005791312702885279, -0.0002102933471345762,
        5.1015406411932806e-05,
    ),
}  # fmt: skip
"""(tanh x − x)/x³ by x², below the border; relative errors of tanh 1.1e-9, 2e-17."""

_TANH_BORDER = 0.55
_TANH_LIMIT = {4: 9.02, 8: 19.07}
"""From here on tanh is 1."""

_LOG = {
    4: (0.66666776, 0.39977568, 0.29871464),
    8: (
        0.6666666666666735, 0.39999999999409347, 0.285714287436887,
        0.22222198428676984, 0.18183572373676057, 0.1531383161615109,
        0.14798264909181366,
    ),
}  # fmt: skip
"""(2·artanh s − 2s)/s³ by s², where |s| ≤ 3 − √8; relative errors 8e-10, 1.3e-18."""

_ERF_NEAR = {
    4: (
        0.12837915, -0.376125, 0.11281877, -0.02676858, 0.004995854, -0.0006003807,
    ),
    8: (
        0.12837916709551256, -0.37612638903183343, 0.11283791670936948,
        -0.026866170641957916, 0.005223977596717851, -0.000854832548370613,
        0.00012055280444287875, -1.4924464364844091e-05, 1.6444131458603627e-06,
        -1.618381894812572e-07, 1.3615844001851607e-08, -7.6060148454335e-10,
    ),
}  # fmt: skip
"""erf(x)/x − 1 by x², below the border; relative errors 1.5e-8 and 1.4e-17."""

_ERF_FAR = {
    4: (
        0.00019568180, 1.1276757, 0.63718206, 0.10393196, -0.022227235,
        0.0030433431, -0.00019595613,
    ),
    8: (
        1.0633811743488399e-06, 1.1283687141028362, 0.6366675708518155,
        0.10263766996317829, -0.018865419167749687, -0.0005840214380046909,
        0.002098738013365345, -0.0009199206958076319, 0.0002306387824520906,
        -2.7995845464659883e-05, -3.6111943742349665e-06, 2.672971666454155e-06,
        -6.877417235091835e-07, 1.0821890384280072e-07, -1.0903115382460352e-08,
        6.517999201867901e-10, -1.770380277231834e-11,
    ),
}  # fmt: skip
"""−log(1 − erf x) between border and limit; errors of erf 1.6e-9 and 3.5e-17."""

_ERF_BORDER = {4: 0.92, 8: 1.0}
_ERF_LIMIT = {4: 4.0, 8: 6.0}


def fma(f: Function, kind: Kind, x: str, y: str, z: str) -> str:
    """Return x · y + z, rounded once."""
    return Lanes(f, kind).fma(x, y, z)


# --- exp and what is made of it --------------------------------------------------


def exp(f: Function, kind: Kind, x: str) -> str:
    """Return eˣ."""
    return exp_of_sum(Lanes(f, kind), x)


def exp_of_sum(v: Lanes, x: str, rest: str | None = None) -> str:
    """Return e^(x + rest) = 2ⁿ · eʳ with |r| ≤ ½·log 2; the rest is tiny beside x.

    2ⁿ may be no float where the result is one, so it is applied in two factors.
    """
    low, high = _EXP_RANGE[v.kind.dtype.itemsize]
    x = v.at_most(v.at_least(x, low), high)
    once, twice = v.format.magic + v.format.bias, v.format.magic + 2 * v.format.bias
    # The lowest bits of these sums are n + 2·bias, and about n/2 + bias.
    shifted = v.fma(x, 1 / math.log(2), twice)
    half = v.bits(v.fma(x, 0.5 / math.log(2), once))
    r = _remainder(v, x, v.sub(shifted, twice))
    p = v.polynomial(r if rest is None else v.add(r, rest), _EXP[v.kind.dtype.itemsize])
    other = v.integer("sub", v.bits(shifted), half)
    return v.mul(v.mul(p, v.power_of_two(half)), v.power_of_two(other))


def _remainder(v: Lanes, x: str, n: str) -> str:
    """Return x − n·log 2."""
    for part in LN2[v.kind.dtype.itemsize]:
        x = v.fma(n, -part, x)
    return x


def _power(v: Lanes, x: str) -> tuple[str, str]:
    """Return two factors of eˣ where it is a normal number."""
    magic = v.format.magic + v.format.bias
    shifted = v.fma(x, 1 / math.log(2), magic)
    r = _remainder(v, x, v.sub(shifted, magic))
    scale = v.power_of_two(v.bits(shifted))
    return v.polynomial(r, _EXP[v.kind.dtype.itemsize]), scale


def tanh(f: Function, kind: Kind, x: str) -> str:
    """Return tanh x: x + x³·P(x²) near 0, ±(1 − 2/(e^(2|x|) + 1)) beyond."""
    v, size = Lanes(f, kind), kind.dtype.itemsize
    y = v.at_most(v.abs(x), _TANH_LIMIT[size])
    z = v.mul(y, y)
    near = v.fma(v.mul(y, z), v.polynomial(z, _TANH[size]), y)
    p, scale = _power(v, v.add(y, y))
    far = v.sub(1.0, v.div(2.0, v.fma(p, scale, 1.0)))
    is_near = v.test("olt", y, _TANH_BORDER)
    return v.copysign(v.select(is_near, near, far), x)


def erf(f: Function, kind: Kind, x: str) -> str:
    """Return erf x: x + x·P(x²) near 0, ±(1 − e^(−Q(|x|))) beyond."""
    v, size = Lanes(f, kind), kind.dtype.itemsize
    y = v.at_most(v.abs(x), _ERF_LIMIT[size])
    near = v.fma(y, v.polynomial(v.mul(y, y), _ERF_NEAR[size]), y)
    p, scale = _power(v, v.neg(v.polynomial(y, _ERF_FAR[size])))
    far = v.fma(v.neg(p), scale, 1.0)
    is_near = v.test("olt", y, _ERF_BORDER[size])
    return v.copysign(v.select(is_near, near, far), x)


# --- log -------------------------------------------------------------------------


def log(f: Function, kind: Kind, x: str) -> str:
    """Return log x = e·log 2 + 2·artanh s with x = 2ᵉ·m and s = (m − 1)/(m + 1)."""
    v = Lanes(f, kind)
    e, m = split(v, x)
    less = v.sub(m, 1.0)
    s = v.div(less, v.add(less, 2.0))
    z = v.mul(s, s)
    series = v.polynomial(z, _LOG[kind.dtype.itemsize])
    # log m = (m − 1) − s·((m − 1) − z·series): no digit of m − 1 is lost.
    tail = v.mul(s, v.fma(v.neg(z), series, less))
    high, low = LN2[kind.dtype.itemsize]
    part = v.sub(less, v.fma(e, -low, tail))
    return log_edges(v, x, v.fma(e, high, part))


def split(v: Lanes, x: str) -> tuple[str, str]:
    """Return e and m with x = 2ᵉ·m and √½ ≤ m < √2, both floats; x is above 0."""
    layout = v.format
    is_small = v.test("olt", x, layout.tiny)
    grown = v.mul(x, 2.0 ** (layout.mantissa + 2))
    bits = v.bits(v.select(is_small, grown, x))
    root = layout.bits(math.sqrt(0.5))
    # Moving √½ to 1 makes the exponent field count from m = √½.
    moved = v.integer("add", bits, layout.bits(1.0) - root)
    fraction = v.integer("and", moved, (1 << layout.mantissa) - 1)
    m = v.floats(v.integer("add", fraction, root))
    field = v.integer("lshr", moved, layout.mantissa)
    counted = v.floats(v.integer("add", field, layout.bits(layout.magic)))
    zero = layout.magic + layout.bias
    start = v.select(is_small, zero + layout.mantissa + 2, zero)
    return v.sub(counted, start), m


def log_edges(v: Lanes, x: str, found: Operand) -> str:
    """Return a logarithm where x is above 0 and finite, else what it should be."""
    found = v.select(v.test("uge", x, math.inf), x, found)  # NaN is itself
    found = v.select(v.test("oeq", x, 0.0), -math.inf, found)
    return v.select(v.test("olt", x, 0.0), math.nan, found)
