"""What the encoders of a model do, in words: a line for each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pellucid.data.encoders import (
    BooleanEncoder,
    CategoryEncoder,
    DateEncoder,
    Encoder,
    NumberEncoder,
)
from pellucid.data.preprocess import Preprocessor
from pellucid.data.targets import ClassTarget, NumberTarget

__all__ = ["describe_encoders", "describe_target"]

MOST_SHOWN = 5


def describe_encoders(preprocessor: Preprocessor) -> list[tuple[str, str, int, str]]:
    """Return each column's name, kind, number of inputs, and what is done to it.

    >>> import polars as pl
    >>> from pellucid.data.schema import infer_schema
    >>> table = pl.DataFrame({"town": ["Ulm", "Bonn", "Ulm"]})
    >>> describe_encoders(Preprocessor.fit(table, infer_schema(table)))
    [('town', 'category', 2, "one input each for 'Bonn', 'Ulm'")]
    """
    return [
        (each.name, each.kind, len(each.names), _WORDS[type(each)](each))
        for each in preprocessor.encoders
    ]


def _number(encoder: NumberEncoder) -> str:
    parts = []
    if len(encoder.knots) > 1:
        drawn_in = encoder.unit is not None
        scale = f"logarithm beyond {encoder.unit:.4g}, " if drawn_in else ""
        parts.append(f"{scale}standardised")
    if len(encoder.knots) > 2:
        parts.append("its rank")
    mark = ", with a mark" if encoder.has_missing else ""
    return "; ".join([*parts, f"missing: {encoder.median:.4g}{mark}"])


def _category(encoder: CategoryEncoder) -> str:
    parts = [f"one input each for {_some(encoder.categories)}"]
    if encoder.has_other:
        parts.append("one for all others")
    if encoder.has_missing:
        parts.append("one for missing")
    return "; ".join(parts)


def _boolean(encoder: BooleanEncoder) -> str:
    return "0 or 1" + ("; missing: 0.5, with a mark" if encoder.has_missing else "")


def _date(encoder: DateEncoder) -> str:
    names = [part.name.removeprefix(f"{encoder.name}: ") for part in encoder.parts]
    return ", ".join(names)


_WORDS: dict[type[Encoder], Callable[[Any], str]] = {
    NumberEncoder: _number,
    CategoryEncoder: _category,
    BooleanEncoder: _boolean,
    DateEncoder: _date,
}


def describe_target(target: ClassTarget | NumberTarget) -> str:
    """Return what the network's output stands for.

    >>> describe_target(NumberTarget("price", 100.0, 20.0))
    "'price' in units of 20 around its mean 100"
    """
    if isinstance(target, ClassTarget):
        return f"{target.name!r}: {_some(target.classes)}"
    unit, mean = f"{target.scale:.4g}", f"{target.mean:.4g}"
    return f"{target.name!r} in units of {unit} around its mean {mean}"


def _some(values: Sequence[object]) -> str:
    shown = ", ".join(map(repr, values[:MOST_SHOWN]))
    more = len(values) - MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
