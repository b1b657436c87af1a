"""What a traced function closes over: known values that meet symbols inside it.

The body of a gate may use tensors from outside. They must be operands of the gate, or
no gradient would reach them; so whoever traces a body asks for them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["known_values_met", "note"]

_met: ContextVar[dict[Any, Any] | None] = ContextVar("pellucid_met", default=None)


@contextmanager
def known_values_met() -> Iterator[dict[Any, Any]]:
    """Collect, by node, the tensors of known value that meet symbols in this block.

    What an inner block collects, the outer one has too.
    """
    outer = _met.get()
    met: dict[Any, Any] = {}
    token = _met.set(met)
    try:
        yield met
    finally:
        _met.reset(token)
        if outer is not None:
            outer.update(met)


def note(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Tell the block, if there is one, of tensors by their nodes."""
    met = _met.get()
    if met is not None:
        met.update(pairs)
