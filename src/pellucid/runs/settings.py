"""How a network is trained: a frozen record that is checked where it is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeAlias, TypeVar

from pellucid.engines.choose import check_engine_name
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn.activations import activation_layer

__all__ = ["COUNT", "WIDTHS", "Check", "RunSettings"]

Check: TypeAlias = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and the words for what is."""

Self = TypeVar("Self", bound="RunSettings")


def _is_count(value: object, least: int = 1) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= least  # type: ignore[operator]


def _is_number(value: object) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)  # type: ignore[arg-type]


def _are_widths(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_count, value))


COUNT: Check = (_is_count, "a whole number from 1")
WIDTHS: Check = (
    _are_widths,
    "a whole number from 1 for each layer, such as 64,64",
)

_ALLOWED: dict[str, Check] = {
    "epochs": COUNT,
    "batch_size": COUNT,
    "patience": COUNT,
    "dropout": (lambda x: _is_number(x) and 0 <= x < 1, "a share from 0 to below 1"),
    "lr": (lambda x: _is_number(x) and x > 0, "a number above 0"),
    "weight_decay": (lambda x: _is_number(x) and x >= 0, "a number from 0"),
    "validation": (lambda x: _is_number(x) and 0 < x < 1, "a share between 0 and 1"),
    "test_size": (lambda x: _is_number(x) and 0 <= x < 1, "a share below 1"),
    "seed": (lambda x: _is_count(x, 0) and x < 2**63, "a whole number from 0"),
}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What decides any training besides its data. A subclass adds its own.

    Raises `ArgumentError` for a value that is not allowed.
    """

    allowed: ClassVar[Mapping[str, Check]] = {}
    """The checks of the fields that a subclass adds."""

    epochs: int
    """The most passes over the training part; the learning rate falls towards it."""
    batch_size: int
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
    """The share held out for the report; 0 where other data are."""
    seed: int = 0
    engine: str = "auto"

    @property
    def network(self) -> str:
        """The network in words."""
        raise NotImplementedError(f"{type(self).__name__} has no words for it")

    def __post_init__(self) -> None:
        for name, (allowed, expected) in {**_ALLOWED, **self.allowed}.items():
            value = getattr(self, name)
            if not allowed(value):
                text = f"expected {expected}"
                raise ArgumentError(message(f"{name}={value!r}", expected=text))
        activation_layer(self.activation)
        # Its name only: a file is read also where its engine does not run.
        check_engine_name(self.engine)

    @classmethod
    def _chosen(
        cls: type[Self], defaults: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Self:
        """Return the defaults with what is given in their place."""
        names = [each.name for each in fields(cls)]
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ArgumentError(message(f"no setting named {name!r}", hint=hint))
        chosen = {**defaults, **given}
        if _is_count(chosen["epochs"]):
            # The loss may rest while the rate is high, and falls once it falls.
            chosen.setdefault("patience", max(10, chosen["epochs"] // 3))
        return cls(**{"patience": 10, **chosen})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        plain = asdict(self).items()
        return {k: [*v] if isinstance(v, tuple) else v for k, v in plain}

    @classmethod
    def from_dict(cls: type[Self], plain: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` described."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**values)
