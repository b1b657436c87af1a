"""The elementwise gates as LLVM instructions: one row a gate, for any number of lanes.

A row takes the function that is written, the kind of its operands, the kind of its
result and the operands' values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pellucid.engines.llvm import circular, maths, powers
from pellucid.engines.llvm.emit import Function, Kind

__all__ = ["GATES", "Row"]

Row: TypeAlias = Callable[..., str]
"""(function, kind of operands, kind of result, *values) → value."""


def _arithmetic(of_floats: str, of_integers: str) -> Row:
    def row(f: Function, kind: Kind, to: Kind, x: str, y: str) -> str:
        return f.let(f"{of_floats if kind.is_float else of_integers} {kind} {x}, {y}")

    return row


def _bitwise(name: str) -> Row:
    return lambda f, kind, to, x, y: f.let(f"{name} {kind} {x}, {y}")


def _intrinsic(name: str) -> Row:
    def row(f: Function, kind: Kind, to: Kind, *values: str) -> str:
        operands = ((str(kind), each) for each in values)
        return f.call(f"llvm.{name}.{kind.suffix}", str(kind), *operands)

    return row


def _extreme(test: str, name: str) -> Row:
    def row(f: Function, kind: Kind, to: Kind, x: str, y: str) -> str:
        if not kind.is_float:
            sign = "s" if kind.is_signed else "u"
            return _intrinsic(f"{sign}{name}")(f, kind, to, x, y)
        # The second operand wins a tie, of zeros too; a NaN in either wins.
        truth = kind.of("?")
        first = f.let(f"fcmp {test} {kind} {x}, {y}")
        lost = f.let(f"fcmp uno {kind} {x}, {x}")
        takes = f.let(f"or {truth} {first}, {lost}")
        return f.let(f"select {truth} {takes}, {kind} {x}, {kind} {y}")

    return row


def _compare(name: str) -> Row:
    def row(f: Function, kind: Kind, to: Kind, x: str, y: str) -> str:
        if kind.is_float:
            return f.let(f"fcmp o{name} {kind} {x}, {y}")
        sign = "" if name == "eq" else "s" if kind.is_signed else "u"
        return f.let(f"icmp {sign}{name} {kind} {x}, {y}")

    return row


def _neg(f: Function, kind: Kind, to: Kind, x: str) -> str:
    if kind.is_float:
        return f.let(f"fneg {kind} {x}")
    return f.let(f"sub {kind} {kind.constant(0)}, {x}")


def _abs(f: Function, kind: Kind, to: Kind, x: str) -> str:
    if kind.is_float:
        return _intrinsic("fabs")(f, kind, to, x)
    return f.call(f"llvm.abs.{kind.suffix}", str(kind), (str(kind), x), ("i1", "false"))


def _sign(f: Function, kind: Kind, to: Kind, x: str) -> str:
    above, below = (
        ("fcmp ogt", "fcmp olt") if kind.is_float else ("icmp sgt", "icmp slt")
    )
    truth, zero = kind.of("?"), kind.constant(0)
    up = f.let(f"{above} {kind} {x}, {zero}")
    down = f.let(f"{below} {kind} {x}, {zero}")
    rest = f.let(f"select {truth} {down}, {kind} {kind.constant(-1)}, {kind} {zero}")
    if kind.is_float:
        lost = f.let(f"fcmp uno {kind} {x}, {x}")
        rest = f.let(f"select {truth} {lost}, {kind} {x}, {kind} {rest}")
    return f.let(f"select {truth} {up}, {kind} {kind.constant(1)}, {kind} {rest}")


def _not(f: Function, kind: Kind, to: Kind, x: str) -> str:
    ones = "true" if kind.dtype.kind == "b" else "-1"
    full = ones if kind.lanes == 1 else f"splat ({kind.scalar} {ones})"
    return f.let(f"xor {kind} {x}, {full}")


def _where(f: Function, kind: Kind, to: Kind, c: str, x: str, y: str) -> str:
    return f.let(f"select {kind.of('?')} {c}, {to} {x}, {to} {y}")


def _cast(f: Function, kind: Kind, to: Kind, x: str) -> str:
    if kind == to:
        return x
    if to.dtype.kind == "b":
        test = "fcmp une" if kind.is_float else "icmp ne"
        return f.let(f"{test} {kind} {x}, {kind.constant(0)}")
    if kind.is_float and to.is_float:
        way = "fpext" if to.dtype.itemsize > kind.dtype.itemsize else "fptrunc"
        return f.let(f"{way} {kind} {x} to {to}")
    if to.is_float:
        way = "sitofp" if kind.is_signed else "uitofp"
        return f.let(f"{way} {kind} {x} to {to}")
    if kind.is_float:
        sign = "s" if to.is_signed else "u"
        name = f"llvm.fpto{sign}i.sat.{to.suffix}.{kind.suffix}"
        return f.call(name, str(to), (str(kind), x))
    if to.dtype.itemsize == kind.dtype.itemsize and kind.dtype.kind != "b":
        return x
    if to.dtype.itemsize < kind.dtype.itemsize:
        return f.let(f"trunc {kind} {x} to {to}")
    return f.let(f"{'sext' if kind.is_signed else 'zext'} {kind} {x} to {to}")


GATES: dict[str, Row] = {
    "add": _arithmetic("fadd", "add"),
    "mul": _arithmetic("fmul", "mul"),
    "div": _arithmetic("fdiv", "sdiv"),
    "pow": lambda f, kind, to, x, y: powers.pow(f, kind, x, y),
    "maximum": _extreme("ogt", "max"),
    "minimum": _extreme("olt", "min"),
    "neg": _neg,
    "exp": lambda f, kind, to, x: maths.exp(f, kind, x),
    "log": lambda f, kind, to, x: maths.log(f, kind, x),
    "sqrt": _intrinsic("sqrt"),
    "sin": lambda f, kind, to, x: circular.sin(f, kind, x),
    "cos": lambda f, kind, to, x: circular.cos(f, kind, x),
    "tanh": lambda f, kind, to, x: maths.tanh(f, kind, x),
    "erf": lambda f, kind, to, x: maths.erf(f, kind, x),
    "abs": _abs,
    "floor": _intrinsic("floor"),
    "sign": _sign,
    "eq": _compare("eq"),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "and": _bitwise("and"),
    "or": _bitwise("or"),
    "xor": _bitwise("xor"),
    "not": _not,
    "where": _where,
    "cast": _cast,
    "stop": lambda f, kind, to, x: x,
}
"""Every elementwise gate."""
