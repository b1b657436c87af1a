"""Several processes that compute together: how they meet, what they tell each other.

Each process runs the same program on its own devices; JAX moves numbers among them.
Whoever starts the processes says where the first one listens: arguments, Pellucid's
own `launch`, or what JAX finds in the environment (SLURM, Open MPI, Kubernetes, TPU).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pellucid.engines.xla.settings import Settings
from pellucid.errors import EngineError, first_line, message

__all__ = ["Hosts", "forget", "join"]

_NAMES = "PELLUCID_COORDINATOR", "PELLUCID_PROCESSES", "PELLUCID_PROCESS"
"""What `pellucid launch` tells the processes that it starts."""


@dataclass(frozen=True)
class Hosts:
    """The processes of one run: how many there are, and which one this is."""

    index: int = 0
    count: int = 1

    def gather(self, content: bytes) -> list[bytes]:
        """Return what each process brings, in their order, in every process."""
        if self.count == 1:
            return [content]
        sizes = multihost_utils.process_allgather(np.array([len(content)], np.int32))
        longest = int(sizes.max())
        mine = np.zeros(max(longest, 1), np.uint8)
        mine[: len(content)] = np.frombuffer(content, np.uint8)
        rows = np.asarray(multihost_utils.process_allgather(mine))
        pairs = zip(rows.reshape(self.count, -1), sizes.reshape(-1).tolist())
        return [row[:size].tobytes() for row, size in pairs]


def join(settings: Settings) -> None:
    """Meet the other processes, where there are any; once, before JAX starts."""
    where = _address(settings, os.environ)
    if where is None or jax.distributed.is_initialized():
        return
    coordinator, processes, process, local = where
    os.environ["XLA_PYTHON_CLIENT_ABORT_COLLECTIVES_ON_FAILURE"] = "1"
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            local_device_ids=local,
            heartbeat_timeout_seconds=settings.timeout,
        )
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            message(
                "this process cannot join the others",
                where=coordinator or "coordinator='auto'",
                expected=first_line(error),
                hint="start all processes at about the same time, each before it "
                "computes anything with JAX"
                if coordinator
                else "SLURM, Open MPI, Kubernetes and Cloud TPU are known; elsewhere "
                "give coordinator, processes and process",
            )
        ) from error


def forget() -> None:
    """Let this process end at once, though another one is gone.

    JAX would wait for it, and then end this process with a stack of its own.
    """
    with suppress(ImportError, AttributeError):
        from jax._src.distributed import global_state

        for name in ("preemption_sync_manager", "client", "service"):
            part: Any = getattr(global_state, name)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))  # never taken down
            setattr(global_state, name, None)


def _address(
    settings: Settings, environment: Mapping[str, str]
) -> tuple[str | None, int | None, int | None, list[int] | None] | None:
    """Return coordinator, processes, process and its devices; None for one alone."""
    if settings.coordinator not in (None, "auto"):
        return settings.coordinator, settings.processes, settings.process, None
    if all(name in environment for name in _NAMES):
        coordinator, processes, process = (environment[name] for name in _NAMES)
        return coordinator, int(processes), int(process), [int(process)]
    return (None, None, None, None) if settings.coordinator == "auto" else None
