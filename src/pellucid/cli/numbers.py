"""How a number is written for a reader: few digits, and an exponent where it helps."""

from __future__ import annotations

import math

__all__ = ["number"]


def number(value: float, digits: int = 4) -> str:
    """Write a number with so many significant digits.

    >>> number(0.85), number(68432.7), number(-3), number(1.5e-7), number(0.0)
    ('0.8500', '68433', '-3.000', '1.500e-07', '0')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:.0f}"
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 7:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"
