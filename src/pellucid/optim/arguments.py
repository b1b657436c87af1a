"""What the arguments of optimisers and schedules may be: one table for all of them.

It knows names of arguments and ranges of numbers. It knows no optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, did_you_mean, message

__all__ = ["LINE_SEARCHES", "check", "described"]

LINE_SEARCHES = ("backtracking", None)

Allowed: TypeAlias = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _count(least: int) -> Allowed:
    def allowed(value: Any) -> bool:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return whole and int(value) >= least

    return allowed, f"a whole number from {least}"


def _pair_below_one(value: Any) -> bool:
    pair = isinstance(value, tuple | list) and len(value) == 2
    return pair and all(_number(each) and 0 <= each < 1 for each in value)


def _axes(value: Any) -> bool:
    if value is None or isinstance(value, int):
        return True
    return isinstance(value, tuple | list) and all(isinstance(i, int) for i in value)


_POSITIVE: Allowed = (lambda x: _number(x) and x > 0, "a number above 0")
_NOT_NEGATIVE: Allowed = (lambda x: _number(x) and x >= 0, "a number from 0")
_BELOW_ONE: Allowed = (
    lambda x: _number(x) and 0 <= x < 1,
    "a number from 0 and below 1",
)
_FRACTION: Allowed = (
    lambda x: _number(x) and 0 < x <= 1,
    "a number above 0 and at most 1",
)
_RATE: Allowed = (
    lambda x: callable(x) or (_number(x) and x > 0),
    "a number above 0 or a schedule",
)

_ALLOWED: dict[str, Allowed] = {
    "lr": _RATE,
    "schedule": _RATE,
    "betas": (_pair_below_one, "two numbers from 0 and below 1"),
    "beta": _BELOW_ONE,
    "momentum": _BELOW_ONE,
    "alpha": _BELOW_ONE,
    "eps": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "rate": _NOT_NEGATIVE,
    "strength": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE,
    "momentum_decay": _NOT_NEGATIVE,
    "limit": _POSITIVE,
    "axis": (_axes, "an axis, several, or None"),
    "scalar": (_number, "a finite number"),
    "ns_steps": _count(1),
    "history_size": _count(1),
    "line_search": (
        lambda x: x in LINE_SEARCHES,
        f"one of {', '.join(map(repr, LINE_SEARCHES))}",
    ),
    "factor": _FRACTION,
    "patience": _count(0),
    "min_scale": _NOT_NEGATIVE,
    "threshold": _NOT_NEGATIVE,
    "every": _count(1),
    "steps": _count(1),
    "decay": _NOT_NEGATIVE,
    "final": _NOT_NEGATIVE,
    "pct_start": (
        lambda x: _number(x) and 0 < x < 1,
        "a number above 0 and below 1",
    ),
    "div_factor": (lambda x: _number(x) and x >= 1, "a number from 1"),
    "final_div_factor": (lambda x: _number(x) and x >= 1, "a number from 1"),
}


def check(where: str, arguments: Mapping[str, Any]) -> None:
    """Raise `ArgumentError` for the first argument that is out of its range.

    >>> check("Adam", {"lr": -1.0})
    Traceback (most recent call last):
    pellucid.errors.ArgumentError: lr is -1.0 · Adam · expected a number above 0 or ...
    """
    for name, value in arguments.items():
        allowed, words = _ALLOWED.get(name, _ANY)
        if not allowed(value):
            near = did_you_mean(value, LINE_SEARCHES) if name == "line_search" else ""
            raise ArgumentError(
                message(
                    f"{name} is {value!r}",
                    where=where,
                    expected=f"expected {words}",
                    hint=near,
                )
            )


_ANY: Allowed = (lambda _: True, "")


def described(value: Any) -> Any:
    """Return an argument as JSON can hold it; functions go by their names.

    >>> described({"betas": (0.9, 0.999), "where": len})
    {'betas': [0.9, 0.999], 'where': 'len'}
    """
    if hasattr(value, "spec"):
        return value.spec
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [described(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(described, value))
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return value.item() if hasattr(value, "item") else value
