"""Arithmetic on the lanes of one float type: a line of LLVM assembly for each call.

An operand is the name of a value, or a number that stands in every lane. Nothing
here branches, and nothing calls a library but `fma` and `floor` on processors that
have no instruction for them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pellucid.engines.llvm.emit import Function, Kind

__all__ = ["DOUBLE", "SINGLE", "Format", "Lanes", "Operand"]

Operand: TypeAlias = str | float


@dataclass(frozen=True)
class Format:
    """How a float is laid out: its width, its stored mantissa's bits, its bias."""

    width: int
    mantissa: int
    bias: int

    @property
    def magic(self) -> float:
        """1.5 · 2^mantissa: a sum with it is whole, and its lowest bits count."""
        return 1.5 * 2.0**self.mantissa

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)

    def bits(self, value: float) -> int:
        """Return the bits of a number.

        >>> hex(SINGLE.bits(1.0))
        '0x3f800000'
        """
        float_, whole = ("<d", "<q") if self.width == 64 else ("<f", "<i")
        (found,) = struct.unpack(whole, struct.pack(float_, value))
        return int(found)


SINGLE, DOUBLE = Format(32, 23, 127), Format(64, 52, 1023)


class Lanes:
    """Writes arithmetic on values of one kind into a function."""

    def __init__(self, f: Function, kind: Kind) -> None:
        self.f, self.kind = f, kind
        self.wide = kind.dtype.itemsize == 8
        self.format = DOUBLE if self.wide else SINGLE
        self.whole = kind.of("i8" if self.wide else "i4")
        self.truth = kind.of("?")

    def _binary(self, name: str, x: Operand, y: Operand) -> str:
        return self.f.let(f"{name} {self.kind} {self._name(x)}, {self._name(y)}")

    def _name(self, x: Operand) -> str:
        return x if isinstance(x, str) else self.kind.constant(x)

    def _intrinsic(self, name: str, *operands: Operand) -> str:
        t = str(self.kind)
        pairs = [(t, self._name(each)) for each in operands]
        return self.f.call(f"llvm.{name}.{self.kind.suffix}", t, *pairs)

    # --- floats ---

    def add(self, x: Operand, y: Operand) -> str:
        """Return x + y."""
        return self._binary("fadd", x, y)

    def sub(self, x: Operand, y: Operand) -> str:
        """Return x − y."""
        return self._binary("fsub", x, y)

    def mul(self, x: Operand, y: Operand) -> str:
        """Return x · y."""
        return self._binary("fmul", x, y)

    def div(self, x: Operand, y: Operand) -> str:
        """Return x / y."""
        return self._binary("fdiv", x, y)

    def fma(self, x: Operand, y: Operand, z: Operand) -> str:
        """Return x · y + z, rounded once."""
        return self._intrinsic("fma", x, y, z)

    def neg(self, x: str) -> str:
        """Return −x."""
        return self.f.let(f"fneg {self.kind} {x}")

    def abs(self, x: str) -> str:
        """Return |x|."""
        return self._intrinsic("fabs", x)

    def floor(self, x: str) -> str:
        """Return the largest whole number that is not above x."""
        return self._intrinsic("floor", x)

    def copysign(self, x: Operand, sign: str) -> str:
        """Return |x| with the sign of another number."""
        return self._intrinsic("copysign", x, sign)

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        """Return c₀ + c₁·x + c₂·x² + … by Horner's rule."""
        total: Operand = coefficients[-1]
        for each in reversed(coefficients[:-1]):
            total = self.fma(total, x, each)
        return self._name(total)

    # --- choices ---

    def test(self, name: str, x: Operand, y: Operand) -> str:
        """Compare; the name is one of `fcmp`."""
        return self._binary(f"fcmp {name}", x, y)

    def both(self, x: str, y: str) -> str:
        """Return whether two conditions hold."""
        return self.f.let(f"and {self.truth} {x}, {y}")

    def select(self, condition: str, x: Operand, y: Operand) -> str:
        """Return x where the condition holds, else y."""
        t = self.kind
        return self.f.let(
            f"select {self.truth} {condition}, {t} {self._name(x)}, {t} {self._name(y)}"
        )

    def at_most(self, x: str, limit: float) -> str:
        """Return the smaller of x and a limit; NaN stays."""
        return self.select(self.test("ogt", x, limit), limit, x)

    def at_least(self, x: str, limit: float) -> str:
        """Return the larger of x and a limit; NaN stays."""
        return self.select(self.test("olt", x, limit), limit, x)

    # --- bits ---

    def bits(self, x: str) -> str:
        """Return the bits of floats as integers."""
        return self.f.let(f"bitcast {self.kind} {x} to {self.whole}")

    def floats(self, x: str) -> str:
        """Return the floats of bits."""
        return self.f.let(f"bitcast {self.whole} {x} to {self.kind}")

    def integer(self, name: str, x: str, y: str | int) -> str:
        """Return the result of an instruction on integers of the floats' width."""
        by = y if isinstance(y, str) else self.whole.constant(y)
        return self.f.let(f"{name} {self.whole} {x}, {by}")

    def power_of_two(self, biased: str) -> str:
        """Return 2^(k − bias) for integers k whose higher bits do not count."""
        return self.floats(self.integer("shl", biased, self.format.mantissa))
