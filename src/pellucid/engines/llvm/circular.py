"""sin and cos on vectors: polynomials of what is left of x after quarter turns.

Up to a limit the quarter turns are taken off in three parts of π/2, by straight-line
code. Where any lane is beyond it, those lanes are asked of the C library, one by one.
The polynomials are made as those of `maths`.
"""

from __future__ import annotations

import math

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.lanes import Lanes

__all__ = ["cos", "sin"]

_QUARTER = {
    4: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    8: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
"""π/2 in three parts, each the nearest number to the rest, by bytes a number."""

_LIMIT = {4: 2.0**17, 8: 2.0**30}
"""From here on three parts of π/2 are too few."""

_SIN = {
    4: (-0.16666655, 0.0083321827, -0.00019516822),
    8: (
        -0.1666666666666663, 0.008333333333321782, -0.0001984126982927446,
        2.75573134987774e-06, -2.505072675586325e-08, 1.5894919628369814e-10,
    ),
}  # fmt: skip
"""(sin r − r)/r³ by r², where |r| ≤ 0.79; relative errors of sin 4e-9 and 3.7e-18."""

_COS = {
    4: (0.041666646, -0.0013887304, 2.4431196e-05),
    8: (
        0.04166666666666659, -0.001388888888887216, 2.4801587288268146e-05,
        -2.755731400493818e-07, 2.0875676459188043e-09, -1.135724260210459e-11,
    ),
}  # fmt: skip
"""(cos r − 1 + ½·r²)/r⁴ by r²; relative errors of cos 1.3e-10 and 6e-20."""


def sin(f: Function, kind: Kind, x: str) -> str:
    """Return sin x; that of ±inf is NaN."""
    v = Lanes(f, kind)
    found, turned = _turn(v, v.abs(x), 0)
    signs = v.integer("and", v.bits(x), -1 << (v.format.width - 1))
    flipped = v.integer("xor", turned, signs)
    return _far(v, "sin", x, v.floats(v.integer("xor", found, flipped)))


def cos(f: Function, kind: Kind, x: str) -> str:
    """Return cos x; that of ±inf is NaN."""
    v = Lanes(f, kind)
    found, turned = _turn(v, v.abs(x), 1)
    return _far(v, "cos", x, v.floats(v.integer("xor", found, turned)))


def _turn(v: Lanes, x: str, ahead: int) -> tuple[str, str]:
    """Return the bits of ±sin of x and some quarter turns, and those of its sign."""
    size, magic = v.kind.dtype.itemsize, v.format.magic
    shifted = v.fma(x, 2 / math.pi, magic)
    n, r = v.sub(shifted, magic), x
    for part in _QUARTER[size]:
        r = v.fma(n, -part, r)
    z = v.mul(r, r)
    sine = v.fma(v.mul(r, z), v.polynomial(z, _SIN[size]), r)
    cosine = v.fma(v.mul(z, z), v.polynomial(z, _COS[size]), v.fma(z, -0.5, 1.0))
    quarter = v.bits(shifted)
    if ahead:
        quarter = v.integer("add", quarter, ahead)
    lowest = v.integer("and", quarter, 1)
    is_even = v.integer("icmp eq", lowest, 0)
    sign = v.integer("shl", v.integer("and", quarter, 2), v.format.width - 2)
    return v.bits(v.select(is_even, sine, cosine)), sign


def _far(v: Lanes, name: str, x: str, found: str) -> str:
    """Return what was found, but beyond the limit what the C library says."""
    lanes, scalar, f = v.kind.lanes, v.kind.scalar, v.f
    suffix = f"v{lanes}f{v.format.width}"
    t, function = f"<{lanes} x {scalar}>", f"far.{name}.{suffix}"
    limit = Kind(v.kind.dtype).constant(_LIMIT[v.kind.dtype.itemsize])
    widen, narrow = _CASTS[scalar]
    f.declared |= {
        f"declare double @{name}(double)",
        f"declare {t} @llvm.fabs.{suffix}({t})",
        f"declare i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1>)",
        _HELPER.format(t=t, scalar=scalar, lanes=lanes, limit=limit, suffix=suffix,
                       function=function, name=name, widen=widen, narrow=narrow),
    }  # fmt: skip
    if lanes > 1:
        return f.let(f"call {t} @{function}({t} {x}, {t} {found})")
    x, found = (f.let(f"bitcast {scalar} {each} to {t}") for each in (x, found))
    result = f.let(f"call {t} @{function}({t} {x}, {t} {found})")
    return f.let(f"bitcast {t} {result} to {scalar}")


_CASTS = {"float": ("fpext float", "fptrunc double"), "double": ("bitcast double",) * 2}
"""To the type of the C library and back."""

_HELPER = """
define internal {t} @{function}({t} %x, {t} %found) noinline {{
entry:
  %size = call {t} @llvm.fabs.{suffix}({t} %x)
  %beyond = fcmp oge {t} %size, splat ({scalar} {limit})
  %any = call i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1> %beyond)
  br i1 %any, label %lane, label %done
lane:
  %i = phi i64 [0, %entry], [%next, %lane]
  %before = phi {t} [%found, %entry], [%after, %lane]
  %one = extractelement {t} %x, i64 %i
  %given = {widen} %one to double
  %answer = call double @{name}(double %given)
  %taken = {narrow} %answer to {scalar}
  %after = insertelement {t} %before, {scalar} %taken, i64 %i
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {lanes}
  br i1 %more, label %lane, label %choose
choose:
  %chosen = select <{lanes} x i1> %beyond, {t} %after, {t} %found
  br label %done
done:
  %result = phi {t} [%found, %entry], [%chosen, %choose]
  ret {t} %result
}}
"""
