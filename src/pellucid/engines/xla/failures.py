"""What JAX raises, in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from pellucid.engines.xla.hosts import forget
from pellucid.errors import EngineError, LostHostError, first_line, message

__all__ = ["in_words"]

_LOST = (
    "gloo",
    "nccl",
    "connection closed by peer",
    "connection reset by peer",
    "heartbeat",
    "coordination",
    "unhealthy",
)
"""Words, in small letters, by which an error of communication is known."""


@contextmanager
def in_words() -> Iterator[None]:
    """Turn an error of the device, or of the way to another process, into ours."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        first = first_line(error)
        if "RESOURCE_EXHAUSTED" in first:
            raise EngineError(
                message(
                    "the device is out of memory",
                    where=first,
                    hint="try a smaller batch_size, or less memory for the data set",
                )
            ) from error
        if any(word in first.lower() for word in _LOST):
            forget()
            raise LostHostError(
                message("another process of this run does not answer", where=first)
            ) from error
        raise EngineError(
            message("XLA cannot run this program", where=first)
        ) from error
