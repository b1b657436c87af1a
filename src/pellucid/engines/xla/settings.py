"""What can be asked of the xla engine: a frozen record of checked arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pellucid.errors import ArgumentError, did_you_mean, message

__all__ = ["Settings"]

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Settings:
    """The options of the xla engine; each has a default that suits one device."""

    device: str | None = None
    """`cpu`, `gpu` or `tpu`; the quickest that is there by default."""
    devices: int | None = None
    """How many devices share a batch; all there are by default, of CPUs one.

    So many CPU devices can be had as are asked for: they are threads of one.
    """
    precision: str = "highest"
    """What may be rounded in products of `f32`: `highest`, `high` or `default`."""
    compute: str = "float32"
    """`bfloat16` rounds operands and results of products; parameters stay `f32`."""
    memory: int | str | None = None
    """Bytes of each device for the data set, such as `"2GB"`.

    A data set that needs more is streamed in parts. Half of a device's memory by
    default; of a CPU all it takes.
    """
    reserve: float | None = None
    """The share of a GPU's memory that is taken at once; 0: as it is needed.

    JAX decides by default: three quarters.
    """
    spread: int | None = None
    """Split a weight of at least so many numbers among the devices, and what the
    optimiser keeps of it. By default each device holds all weights."""
    coordinator: str | None = None
    """Several processes: `host:port` of the first; `auto`: as the launcher says."""
    processes: int | None = None
    """How many processes there are, beside a `coordinator`."""
    process: int | None = None
    """The number of this process, from 0, beside a `coordinator`."""
    rows: str = "all"
    """`own`: each process brings other rows, which are one data set together;
    `all`: each brings the same rows."""
    timeout: int = 100
    """Seconds without a sign of life after which a process counts as lost."""

    def __post_init__(self) -> None:
        for name, (allowed, expected) in _ALLOWED.items():
            value = getattr(self, name)
            if value is not None and not allowed(value):
                raise ArgumentError(
                    message(f"{name}={value!r}", expected=f"expected {expected}")
                )
        alone = self.coordinator in (None, "auto")
        given = self.processes is not None, self.process is not None
        if alone if any(given) else not alone:
            raise ArgumentError(
                message(
                    "coordinator, processes and process go together",
                    hint="give all three, or coordinator='auto' under a launcher",
                )
            )
        if self.process is not None and self.process >= (self.processes or 0):
            raise ArgumentError(
                message(
                    f"process={self.process}",
                    expected=f"expected 0 to {(self.processes or 0) - 1}",
                )
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Return the settings of some options by name."""
        names = [each.name for each in fields(cls)]
        for name in options:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ArgumentError(
                    message(f"the xla engine has no option {name!r}", hint=hint)
                )
        return cls(**options)

    @property
    def room(self) -> int | None:
        """The bytes of `memory`, where it says so."""
        return None if self.memory is None else _bytes(self.memory)


def _bytes(given: int | str) -> int:
    """Read a number of bytes, such as `"1.5 GB"`; 0 where it is none."""
    if isinstance(given, int):
        return given
    found = re.fullmatch(r"([\d.]+)\s*([KMGT]?B)?", given.strip().upper())
    try:
        return int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    except ValueError:
        return 0


def _is_count(least: int) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= least


def _is_size(given: Any) -> bool:
    return isinstance(given, int | str) and given is not True and _bytes(given) > 0


def _is_share(given: Any) -> bool:
    real = isinstance(given, int | float) and not isinstance(given, bool)
    return real and math.isfinite(given) and 0 <= given < 1


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda x: x in names, " or ".join(map(repr, names))


_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "device": _one_of("cpu", "gpu", "tpu"),
    "devices": (_is_count(1), "a whole number from 1"),
    "precision": _one_of("highest", "high", "default"),
    "compute": _one_of("float32", "bfloat16"),
    "memory": (_is_size, "a number of bytes, such as 2_000_000_000 or '2GB'"),
    "reserve": (_is_share, "a share from 0 to below 1"),
    "spread": (_is_count(1), "a whole number from 1"),
    "coordinator": (
        lambda x: x == "auto" or re.fullmatch(r"\S+:\d+", str(x)) is not None,
        "an address such as 10.0.0.1:1234, or 'auto'",
    ),
    "processes": (_is_count(1), "a whole number from 1"),
    "process": (_is_count(0), "a whole number from 0"),
    "rows": _one_of("all", "own"),
    "timeout": (_is_count(1), "a whole number of seconds from 1"),
}
