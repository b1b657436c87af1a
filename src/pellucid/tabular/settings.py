"""How a network is trained on a table: a frozen record, and its defaults.

The defaults were chosen by trial on public tables of 300 to 33,000 rows (penguins,
mpg, titanic, white wine, California housing, Adult census), several seeds each, by
the score on rows that training never saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pellucid.configuration import current
from pellucid.data.schema import Task
from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn.activations import activation_layer

__all__ = ["TableSettings"]

MANY_ROWS = 10_000
"""From here on a table bears a wider network, and a larger rate in larger batches."""


@dataclass(frozen=True)
class TableSettings:
    """All that decides a training besides the data.

    `suggest` gives the defaults for a table; those named here do not depend on it.
    """

    epochs: int
    """The most passes over the training rows; the learning rate falls towards it."""
    batch_size: int
    hidden: tuple[int, ...]
    """The width of each hidden layer."""
    dropout: float
    lr: float
    """The largest learning rate: it rises to it and falls again (one cycle)."""
    weight_decay: float
    patience: int
    """Stop after so many epochs without a better validation loss."""
    activation: str = "relu"
    validation: float = 0.1
    """The share of the training part that decides when to stop."""
    test_size: float = 0.2
    """The share of the rows held out for the report; 0 where another table is."""
    seed: int = 0
    engine: str = "numpy"
    drop: tuple[str, ...] = ()
    """Columns to leave out."""

    def __post_init__(self) -> None:
        for name, (allowed, expected) in _ALLOWED.items():
            value = getattr(self, name)
            if not allowed(value):
                text = f"expected {expected}"
                raise ArgumentError(message(f"{name}={value!r}", expected=text))
        activation_layer(self.activation)
        engine_named(self.engine)

    @classmethod
    def suggest(cls, rows: int, task: Task, **given: Any) -> TableSettings:
        """Return the settings for a training part of `rows` rows; `given` comes first.

        Raises `ArgumentError` for a name or a value that is not allowed.

        >>> settings = TableSettings.suggest(1000, "regression", epochs=20)
        >>> settings.epochs, settings.hidden, settings.batch_size, settings.patience
        (20, (64, 64), 32, 10)
        """
        names = [each.name for each in fields(cls)]
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ArgumentError(message(f"no setting named {name!r}", hint=hint))
        chosen = {**_defaults(rows, task), **given}
        if _is_count(chosen["epochs"]):
            # The loss may rest while the rate is high, and falls once it falls.
            chosen.setdefault("patience", max(10, chosen["epochs"] // 3))
        return cls(**{"patience": 10, **chosen})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {**asdict(self), "hidden": [*self.hidden], "drop": [*self.drop]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TableSettings:
        """Return the settings that `to_dict` described."""
        lists = {name: tuple(plain[name]) for name in ("hidden", "drop")}
        return cls(**{**plain, **lists})


def _defaults(rows: int, task: Task) -> dict[str, Any]:
    many = rows >= MANY_ROWS
    return {
        # About half a million rows seen is enough; a small table is seen 60 times.
        "epochs": min(max(round(500_000 / max(rows, 1)), 10), 60),
        # A power of two near rows / 128: some hundred updates an epoch.
        "batch_size": 2 ** min(max(round(math.log2(max(rows, 2) / 128)), 5), 8),
        "hidden": (128, 64) if many else (64, 64),
        "lr": 1e-2 if many else 5e-3,
        # With many rows early stopping suffices, and drawing masks takes its time.
        "dropout": 0.0 if many else 0.1,
        # Labels are noisier than quantities: a classifier gains from smaller weights.
        "weight_decay": 1.0 if task == "classification" else 0.1,
        "engine": current().engine,
    }


def _is_count(value: object, least: int = 1) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= least  # type: ignore[operator]


def _is_number(value: object) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)  # type: ignore[arg-type]


def _are_widths(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_count, value))


Check = tuple[Callable[[Any], bool], str]

_COUNT: Check = (_is_count, "a whole number from 1")

_ALLOWED: dict[str, Check] = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "patience": _COUNT,
    "hidden": (_are_widths, "a whole number from 1 for each layer, such as 64,64"),
    "dropout": (lambda x: _is_number(x) and 0 <= x < 1, "a share from 0 to below 1"),
    "lr": (lambda x: _is_number(x) and x > 0, "a number above 0"),
    "weight_decay": (lambda x: _is_number(x) and x >= 0, "a number from 0"),
    "validation": (lambda x: _is_number(x) and 0 < x < 1, "a share between 0 and 1"),
    "test_size": (lambda x: _is_number(x) and 0 <= x < 1, "a share below 1"),
    "seed": (lambda x: _is_count(x, 0) and x < 2**63, "a whole number from 0"),
}
