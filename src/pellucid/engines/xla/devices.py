"""The devices of an engine, and where an array lies on them.

The devices form one line. A batch is split along it by rows; what is not split, every
device has whole. XLA finds by itself what must be summed over the devices.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pellucid.engines.xla.hosts import Hosts, join
from pellucid.engines.xla.settings import Settings
from pellucid.errors import EngineError, first_line, message
from pellucid.ir.graph import Array
from pellucid.ir.types import Shape

__all__ = ["Devices"]

_LINE = "rows"
_ABSENT = RuntimeError, AssertionError
"""What JAX raises for a device that is not there, or that it was not built for."""


@dataclass(frozen=True)
class Devices:
    """The devices that compute together, of all processes."""

    mesh: Mesh
    hosts: Hosts
    spread: int | None = None
    """From how many numbers on a weight is split among the devices."""

    @classmethod
    def of(cls, settings: Settings) -> Devices:
        """Find the devices that were asked for; start JAX if it did not run yet."""
        _prepare(settings)
        join(settings)
        found = _named(settings.device)
        hosts = Hosts(jax.process_index(), jax.process_count())
        chosen: list[Any] = []
        for process in range(hosts.count):
            its = [each for each in found if each.process_index == process]
            chosen += _some(its, settings)
        return cls(Mesh(np.array(chosen), (_LINE,)), hosts, settings.spread)

    @property
    def count(self) -> int:
        """How many devices there are."""
        return int(self.mesh.devices.size)

    @property
    def first(self) -> Any:
        """A device of this process."""
        return self.mesh.local_devices[0]

    def whole(self) -> NamedSharding:
        """Return the place of an array that every device has."""
        return self._place()

    def along(self, shape: Shape, axis: int) -> NamedSharding:
        """Return the place of an array whose axis is split, if it can be split."""
        if self.count == 1 or shape[axis] % self.count:
            return self.whole()
        return self._place(*[None] * axis, _LINE)

    def _place(self, *names: str | None) -> NamedSharding:
        axes: PartitionSpec = PartitionSpec(*names)  # type: ignore[no-untyped-call]
        return NamedSharding(self.mesh, axes)

    def of_weight(self, shape: Shape) -> NamedSharding:
        """Return the place of a weight: whole, or split where it is wide enough."""
        size = int(np.prod(shape, dtype=np.int64))
        if self.spread is None or len(shape) < 2 or size < self.spread:
            return self.whole()
        fits = [axis for axis, n in enumerate(shape) if n % self.count == 0]
        return self.along(shape, fits[0]) if fits else self.whole()

    def put(self, array: Array, place: NamedSharding) -> jax.Array:
        """Copy an array to the devices; each process sends what its own devices get."""
        with jax.enable_x64(True):
            if self.hosts.count == 1:
                put: jax.Array = jax.device_put(array, place)
                return put
            return jax.make_array_from_callback(
                array.shape, place, lambda index: array[index]
            )

    def put_rows(self, table: Array, rows: Array, axis: int) -> jax.Array:
        """Copy `table[rows]` to the devices, split along an axis of `rows`.

        A process reads only the rows that its own devices get.
        """
        shape = (*rows.shape, *table.shape[1:])
        place = self.along(rows.shape, axis)

        def part(index: Any) -> Array:
            return np.ascontiguousarray(table[rows[index[: rows.ndim]]])

        with jax.enable_x64(True):
            return jax.make_array_from_callback(shape, place, part)

    def fetch(self, arrays: Sequence[Any]) -> list[Array]:
        """Copy arrays from the devices; every process gets them whole."""
        ready = jax.device_get([self._gathered(each) for each in arrays])
        return [each if each.flags.writeable else each.copy() for each in ready]

    def _gathered(self, array: Any) -> Any:
        if self.hosts.count == 1 or array.is_fully_replicated:
            return array
        with jax.enable_x64(array.dtype.itemsize == 8):
            return jax.jit(lambda x: x, out_shardings=self.whole())(array)

    def memory(self) -> int | None:
        """Return the bytes that one device has, where it tells."""
        facts = self.first.memory_stats() or {}
        return facts.get("bytes_limit")


def _prepare(settings: Settings) -> None:
    """Say what JAX reads once, when it starts."""
    if settings.reserve is not None:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = str(settings.reserve > 0).lower()
        if settings.reserve > 0:
            os.environ.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)  # its old name
            os.environ["XLA_CLIENT_MEM_FRACTION"] = str(settings.reserve)
    if settings.device == "cpu" and settings.devices is not None:
        try:
            update: Any = jax.config.update
            update("jax_num_cpu_devices", settings.devices)
        except RuntimeError:  # JAX runs already, with the devices that it has
            pass


def _named(device: str | None) -> list[Any]:
    try:
        return list(jax.devices(device))
    except _ABSENT as error:
        there = _platforms()
        raise EngineError(
            message(
                f"no device {device!r} here" if device else "no device here",
                where=first_line(error),
                expected=f"JAX finds: {', '.join(there)}" if there else "",
                hint="pip install 'jax[cuda12]' for NVIDIA GPUs, 'jax[tpu]' for TPUs",
            )
        ) from error


def _platforms() -> list[str]:
    """Return the kinds of devices that are here; none where JAX cannot start at all."""
    try:
        return sorted({each.platform for each in jax.devices()})
    except _ABSENT:
        return []


def _some(found: list[Any], settings: Settings) -> list[Any]:
    """Return as many devices as were asked for; of CPUs one where nothing was said."""
    cpu = found[0].platform == "cpu"
    wanted = settings.devices or (1 if cpu else len(found))
    if wanted > len(found):
        raise EngineError(
            message(
                f"devices={wanted}",
                expected=f"there are {len(found)}: {found[0].device_kind}",
                hint="ask for CPU devices before JAX computes anything" if cpu else "",
            )
        )
    return found[:wanted]
