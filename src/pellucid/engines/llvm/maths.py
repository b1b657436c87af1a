"""exp, log and tanh on vectors, by polynomials.

Each is straight-line code without a branch, right at NaN, ±inf, ±0 and denormal
numbers. The other transcendental functions go to the C library, lane by lane.
Polynomials are Taylor's where the interval is short, and interpolated for tanh.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from pellucid.engines.llvm.emit import Function, Kind

__all__ = ["exp", "fma", "horner", "log", "tanh"]

_TANH = {
    4: (
        -0.333333331721403616,
        0.133333035569157418,
        -0.0539592595772045427,
        0.0217689186510282102,
        -0.00834394551583915205,
        0.00229274481617814234,
    ),
    8: (
        -0.333333333333333329,
        0.133333333333330416,
        -0.0539682539678969917,
        0.0218694885190083058,
        -0.00886323510324087792,
        0.00359212175115496227,
        -0.00145577541204781551,
        0.000589660657775704335,
        -0.000237590649605556196,
        0.0000925711612955676827,
        -0.0000312011014257974,
        0.00000648516348279311315,
    ),
}
"""P of `tanh`, by bytes a number: interpolated at Chebyshev's nodes of [0, 25/64]."""


def fma(f: Function, kind: Kind, x: str, y: str, z: str) -> str:
    """Return x · y + z, rounded once."""
    return f.call(
        f"llvm.fma.{kind.suffix}", str(kind), *((str(kind), each) for each in (x, y, z))
    )


def horner(f: Function, kind: Kind, x: str, coefficients: Sequence[float]) -> str:
    """Return c₀ + c₁·x + c₂·x² + …"""
    total = kind.constant(coefficients[-1])
    for each in reversed(coefficients[:-1]):
        total = fma(f, kind, total, x, kind.constant(each))
    return total


def _parts(kind: Kind) -> tuple[Kind, int, int]:
    """Return the integers of a float's width, its mantissa bits and its bias."""
    wide = kind.dtype.itemsize == 8
    return kind.of("i8" if wide else "i4"), 52 if wide else 23, 1023 if wide else 127


def exp(f: Function, kind: Kind, x: str) -> str:
    """eˣ = 2ⁿ · eʳ with |r| ≤ ½·log 2; 2ⁿ is applied in two steps."""
    whole, mantissa, bias = _parts(kind)
    wide = mantissa == 52
    low, high = (-746.0, 710.0) if wide else (-104.5, 89.5)
    t = str(kind)
    x = f.call(f"llvm.maximum.{kind.suffix}", t, (t, x), (t, kind.constant(low)))
    x = f.call(f"llvm.minimum.{kind.suffix}", t, (t, x), (t, kind.constant(high)))
    # Adding 1.5 · 2^mantissa leaves the nearest integer in the lowest bits.
    magic = 1.5 * 2.0**mantissa
    shifted = fma(f, kind, x, kind.constant(1 / math.log(2)), kind.constant(magic))
    n = f.let(f"fsub {t} {shifted}, {kind.constant(magic)}")
    ln2_high = 0.693145751953125 if not wide else 0.6931471803691238
    ln2_low = math.log(2) - ln2_high if not wide else 1.9082149292705877e-10
    r = fma(f, kind, n, kind.constant(-ln2_high), x)
    r = fma(f, kind, n, kind.constant(-ln2_low), r)
    terms = 14 if wide else 8
    p = horner(f, kind, r, [1 / math.factorial(k) for k in range(terms)])
    bits = f.let(f"bitcast {t} {shifted} to {whole}")
    width = 64 if wide else 32
    shift = whole.constant(mantissa)
    lowest = f.let(f"shl {whole} {bits}, {whole.constant(width - mantissa + 1)}")
    number = f.let(f"ashr {whole} {lowest}, {whole.constant(width - mantissa + 1)}")
    half = f.let(f"ashr {whole} {number}, {whole.constant(1)}")
    rest = f.let(f"sub {whole} {number}, {half}")
    for part in (half, rest):
        exponent = f.let(f"add {whole} {part}, {whole.constant(bias)}")
        placed = f.let(f"shl {whole} {exponent}, {shift}")
        scale = f.let(f"bitcast {whole} {placed} to {t}")
        p = f.let(f"fmul {t} {p}, {scale}")
    return p


def log(f: Function, kind: Kind, x: str) -> str:
    """log x = e·log 2 + 2·artanh(s) with s = (m − 1)/(m + 1), √½ ≤ m < √2."""
    whole, mantissa, bias = _parts(kind)
    wide, t = mantissa == 52, str(kind)
    truth = str(kind.of("?"))
    tiny = 2.0 ** (1 - bias)
    small = f.let(f"fcmp olt {t} {x}, {kind.constant(tiny)}")
    grown = f.let(f"fmul {t} {x}, {kind.constant(2.0 ** (mantissa + 2))}")
    normal = f.let(f"select {truth} {small}, {t} {grown}, {t} {x}")
    bits = f.let(f"bitcast {t} {normal} to {whole}")
    one = int.from_bytes(_bits(1.0, wide), "little")
    root = int.from_bytes(_bits(math.sqrt(0.5), wide), "little")
    # Moving √½ to 1 makes the exponent field count from m = √½.
    moved = f.let(f"add {whole} {bits}, {whole.constant(one - root)}")
    field = f.let(f"ashr {whole} {moved}, {whole.constant(mantissa)}")
    e = f.let(f"sub {whole} {field}, {whole.constant(bias)}")
    power = f.let(f"shl {whole} {e}, {whole.constant(mantissa)}")
    m = f.let(f"bitcast {whole} {f.let(f'sub {whole} {bits}, {power}')} to {t}")
    shrink = f.let(
        f"select {truth} {small}, {whole} {whole.constant(mantissa + 2)}, "
        f"{whole} {whole.constant(0)}"
    )
    count = f.let(f"sitofp {whole} {f.let(f'sub {whole} {e}, {shrink}')} to {t}")
    less = f.let(f"fsub {t} {m}, {kind.constant(1.0)}")
    more = f.let(f"fadd {t} {less}, {kind.constant(2.0)}")
    s = f.let(f"fdiv {t} {less}, {more}")
    z = f.let(f"fmul {t} {s}, {s}")
    series = horner(f, kind, z, [2 / (2 * k + 3) for k in range(11 if wide else 5)])
    # log m = f − s·(f − z·series): no digit of f is lost.
    inner = fma(f, kind, f.let(f"fneg {t} {z}"), series, less)
    ln2_high = 0.6931471803691238 if wide else 0.693145751953125
    ln2_low = 1.9082149292705877e-10 if wide else math.log(2) - ln2_high
    tail = f.let(f"fmul {t} {s}, {inner}")
    tail = fma(f, kind, count, kind.constant(-ln2_low), tail)
    part = f.let(f"fsub {t} {less}, {tail}")
    found = fma(f, kind, count, kind.constant(ln2_high), part)
    return _log_edges(f, kind, x, found)


def _bits(value: float, wide: bool) -> bytes:
    return struct.pack("<d" if wide else "<f", value)


def _log_edges(f: Function, kind: Kind, x: str, found: str) -> str:
    t, truth = str(kind), str(kind.of("?"))
    for test, value in (("oeq", 0.0), ("olt", 0.0), ("oeq", math.inf)):
        hit = f.let(f"fcmp {test} {t} {x}, {kind.constant(value)}")
        answer = {"oeq": -math.inf, "olt": math.nan}[test] if value == 0 else math.inf
        found = f.let(f"select {truth} {hit}, {t} {kind.constant(answer)}, {t} {found}")
    unordered = f.let(f"fcmp uno {t} {x}, {x}")
    return f.let(f"select {truth} {unordered}, {t} {x}, {t} {found}")


def tanh(f: Function, kind: Kind, x: str) -> str:
    """tanh x = x + x³·P(x²) where |x| < ⅝, else ±(1 − 2/(e^(2|x|) + 1))."""
    t, truth = str(kind), str(kind.of("?"))
    size = f.call(f"llvm.fabs.{kind.suffix}", t, (t, x))
    z = f.let(f"fmul {t} {x}, {x}")
    p = horner(f, kind, z, _TANH[kind.dtype.itemsize])
    near = fma(f, kind, f.let(f"fmul {t} {x}, {z}"), p, x)
    power = exp(f, kind, f.let(f"fadd {t} {size}, {size}"))
    under = f.let(f"fadd {t} {power}, {kind.constant(1.0)}")
    part = f.let(f"fdiv {t} {kind.constant(2.0)}, {under}")
    far = f.let(f"fsub {t} {kind.constant(1.0)}, {part}")
    is_near = f.let(f"fcmp olt {t} {size}, {kind.constant(0.625)}")
    found = f.let(f"select {truth} {is_near}, {t} {near}, {t} {far}")
    return f.call(f"llvm.copysign.{kind.suffix}", t, (t, found), (t, x))
