"""What happens during a forward pass: where it is, and what it leaves behind.

Knows paths, outputs, the new values of buffers, and in which layer an error came up.
Refuses to know modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pellucid.dtypes import DTYPES
from pellucid.errors import PellucidError, message
from pellucid.ir.graph import input_node
from pellucid.ir.types import TensorType
from pellucid.tensors import Buffer, Parameter, Tensor

__all__ = [
    "Frame",
    "Memory",
    "buffer_updates",
    "current_frame",
    "located",
    "outputs_seen",
    "update_buffer",
    "updated",
]


_PLACE = re.compile(r" · [^ ]+:\d+$")


@dataclass(frozen=True)
class Frame:
    """Where the forward pass is: the path here, every module's path, its head here."""

    path: str
    paths: dict[int, str]
    head: Callable[[], str]

    @property
    def layer(self) -> str:
        """The layer in words: its path, and what it was made with."""
        head = self.head()
        return f"{self.path} ({head})" if self.path else head


current_frame: ContextVar[Frame | None] = ContextVar("pellucid_frame", default=None)
_updates: ContextVar[dict[Parameter, Tensor] | None] = ContextVar(
    "pellucid_buffer_updates", default=None
)
outputs_seen: ContextVar[dict[str, Any] | None] = ContextVar(
    "pellucid_outputs", default=None
)


@contextmanager
def buffer_updates() -> Iterator[dict[Parameter, Tensor]]:
    """Collect the new values of buffers in this block rather than set them.

    Training uses it to carry buffers from one step to the next. A layer may change a
    parameter too: the optimiser's update starts from what it is then.
    """
    updates: dict[Parameter, Tensor] = {}
    token = _updates.set(updates)
    try:
        yield updates
    finally:
        _updates.reset(token)


def update_buffer(buffer: Parameter, new: Tensor) -> None:
    """Give a buffer a new value: at once, or in the block that collects updates.

    A symbol outside of such a block changes nothing: it has no value to set.

    >>> count = Buffer(1.0)
    >>> update_buffer(count, count + 1)
    >>> count.item()
    2.0
    >>> with buffer_updates() as updates:
    ...     update_buffer(count, count + 1)
    >>> count.item(), updates[count].item()
    (2.0, 3.0)
    """
    updates = _updates.get()
    if updates is not None:
        updates[buffer] = new
    elif new.has_value and buffer.has_value:
        buffer.value = new.value


def updated(buffer: Parameter) -> Tensor:
    """Return the value that a buffer was given last in the block that collects them.

    >>> count = Buffer(1.0)
    >>> with buffer_updates():
    ...     update_buffer(count, count + 1)
    ...     updated(count).item(), count.item()
    (2.0, 1.0)
    """
    return (_updates.get() or {}).get(buffer, buffer)


def located(error: PellucidError, frame: Frame, operands: list[Any]) -> PellucidError:
    """Say in which layer an error came up; the innermost one says it."""
    if hasattr(error, "layer"):
        return error
    types = [str(x.type) for x in operands if isinstance(x, Tensor)]
    place = str(input_node(TensorType((), DTYPES["f32"]), "here").birth)
    place = place.rpartition(" · ")[2] if ":" in place else ""
    # An error of a gate has said the path and the line in `forward` already.
    what = str(error).replace(f" · {frame.path} · ", " · ")
    text = message(
        f"{frame.layer}: {what}",
        where=f"input {', '.join(types)}" if types else "",
        expected="" if _PLACE.search(what) else place,
    )
    located = type(error)(text)
    located.layer = frame.path  # type: ignore[attr-defined]
    return located


class Memory(Buffer):
    """A buffer that carries a state from batch to batch: zeros when an epoch begins.

    What it carries depends on the order of the batches, so `fit` refuses to shuffle
    them.
    """

    __slots__ = ()
