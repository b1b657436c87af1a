"""Python's operators, as names of gates: what `x + y`, `x < y` and `~x` mean."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["Operators"]


class Operators:
    """The operators of a class that can apply a gate to itself and another operand."""

    __slots__ = ()

    def _binary(
        self, op: str, other: Any, *, floats: bool = False, swap: bool = False
    ) -> Self:
        """Apply a gate of two operands; `swap` puts the other one first."""
        raise NotImplementedError

    def _unary(self, op: str) -> Self:
        """Apply a gate of one operand."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Self:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Self:
        return self._binary("add", other)

    def __mul__(self, other: Any) -> Self:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Self:
        return self._binary("mul", other)

    def __sub__(self, other: Any) -> Self:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Self:
        return self._binary("sub", other, swap=True)

    def __truediv__(self, other: Any) -> Self:
        return self._binary("div", other, floats=True)

    def __rtruediv__(self, other: Any) -> Self:
        return self._binary("div", other, floats=True, swap=True)

    def __pow__(self, other: Any) -> Self:
        return self._binary("pow", other, floats=True)

    def __rpow__(self, other: Any) -> Self:
        return self._binary("pow", other, floats=True, swap=True)

    def __neg__(self) -> Self:
        return self._unary("neg")

    def __abs__(self) -> Self:
        return self._unary("abs")

    def __eq__(self, other: Any) -> Self:  # type: ignore[override]
        return self._binary("eq", other)

    def __ne__(self, other: Any) -> Self:  # type: ignore[override]
        return self._binary("eq", other)._unary("not")

    def __lt__(self, other: Any) -> Self:
        return self._binary("lt", other)

    def __le__(self, other: Any) -> Self:
        return self._binary("le", other)

    def __gt__(self, other: Any) -> Self:
        return self._binary("lt", other, swap=True)

    def __ge__(self, other: Any) -> Self:
        return self._binary("le", other, swap=True)

    def __and__(self, other: Any) -> Self:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Self:
        return self._binary("or", other)

    def __xor__(self, other: Any) -> Self:
        return self._binary("xor", other)

    def __invert__(self) -> Self:
        return self._unary("not")

    __hash__ = object.__hash__
