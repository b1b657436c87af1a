"""The text of `model.summary()`: a table with one row a layer.

Knows how to set a table; what stands in it comes from the modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

__all__ = ["Row", "render_summary"]

_TITLES = ("layer", "type", "output", "parameters", "initialised")
_RIGHT = _TITLES.index("parameters")


@dataclass(frozen=True)
class Row:
    """One layer; `parameters` is None where it has none of its own."""

    layer: str
    type: str
    output: str
    parameters: int | None
    initialised: str

    def cells(self) -> tuple[str, ...]:
        """The row as text, thousands apart."""
        count = "" if self.parameters is None else f"{self.parameters:,}"
        return (*astuple(self)[:_RIGHT], count, self.initialised)


def render_summary(rows: Sequence[Row], parameters: int, size: int) -> str:
    """Set the table, with columns that are empty everywhere left out.

    >>> print(render_summary([Row("0", "Linear", "", 9, "he_normal")], 9, 36))
    layer  type    parameters  initialised
    0      Linear           9  he_normal
    9 parameters, 36 bytes
    """
    table = [_TITLES, *(row.cells() for row in rows)]
    kept = [i for i in range(len(_TITLES)) if any(row[i] for row in table[1:])]
    widths = {i: max(len(row[i]) for row in table) for i in kept}
    lines = [
        "  ".join(
            row[i].rjust(widths[i]) if i == _RIGHT else row[i].ljust(widths[i])
            for i in kept
        ).rstrip()
        for row in table
    ]
    return "\n".join([*lines, f"{parameters:,} parameters, {size:,} bytes"])
