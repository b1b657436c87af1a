"""Who is measured: each peer, the ways to run it, and what it takes part in.

A peer's module offers `prepare(row, **options)`, which returns a `Session` for rows
that train and a function from inputs to outputs for rows that predict. It is imported
only in a process of its own, whose environment the variant sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["OURS", "PEERS", "Peer", "Session", "Variant", "select"]

OURS = "pellucid"


class Session(Protocol):
    """A network ready to train: compiled where the peer compiles."""

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimiser; not timed."""

    def run(self, epochs: int, orders: Sequence[Any] | None) -> list[float]:
        """Train; return each epoch's mean loss, or the last one's alone.

        Without `orders` (one `i32[rows]` an epoch) the peer draws its own.
        """


@dataclass(frozen=True)
class Variant:
    """One way to run a peer; of several the fastest counts, row by row."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset({"train", "predict"})
    """The kinds of rows in which it differs from the other ways."""


@dataclass(frozen=True)
class Peer:
    """A library, used in one way that its documentation shows."""

    name: str
    module: str
    variants: tuple[Variant, ...]
    kinds: frozenset[str] = frozenset({"train"})
    own_order: bool = False
    """Whether the peer cannot take our order of rows: its loss is judged widely."""
    nets: bool = False
    """Whether it takes part in rows of more than linear layers."""
    slow: bool = False
    """Whether it compiles for so long that a quick run leaves it out."""


_BOTH = frozenset({"train", "predict"})
_TRAIN = frozenset({"train"})
_WHOLE = {"whole": True}
_PREDICT = frozenset({"predict"})
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_ONE_CORE = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

_TABLE = (
    Peer(OURS, "ours", (Variant("llvm"),), _BOTH, nets=True),
    Peer(
        "torch",
        "pytorch",
        (
            Variant("fused, 1 thread", {"fused": True, "threads": 1}),
            Variant("fused, 2 threads", {"fused": True, "threads": 2}),
            Variant("default, 1 thread", {"threads": 1}, kinds=_TRAIN),
            Variant("default, 2 threads", {"threads": 2}, kinds=_TRAIN),
            Variant("foreach, 1 thread", {"foreach": True, "threads": 1}, kinds=_TRAIN),
            Variant(
                "foreach, 2 threads", {"foreach": True, "threads": 2}, kinds=_TRAIN
            ),
        ),
        _BOTH,
        nets=True,
    ),
    Peer(
        "torch-compile",
        "pytorch_compiled",
        (
            Variant("fused optimizer, 1 thread", {"threads": 1}),
            Variant("fused optimizer, 2 threads", {"threads": 2}),
            Variant(
                "compiled optimizer, 1 thread", _WHOLE | {"threads": 1}, kinds=_TRAIN
            ),
            Variant(
                "compiled optimizer, 2 threads", _WHOLE | {"threads": 2}, kinds=_TRAIN
            ),
        ),
        _BOTH,
        nets=True,
        slow=True,
    ),
    Peer(
        "jax-step",
        "jax_step",
        (Variant("all cores"), Variant("one core", environment=_ONE_CORE)),
        _BOTH,
    ),
    Peer(
        "jax-scan",
        "jax_scan",
        (Variant("all cores"), Variant("one core", environment=_ONE_CORE)),
        nets=True,
    ),
    Peer(
        "keras",
        "keras_",
        (
            Variant("32 steps a call", {"together": 32}),
            Variant("1 step a call", {"together": 1}),
        ),
        own_order=True,
    ),
    Peer(
        "sklearn",
        "sklearn_",
        (Variant("all threads"), Variant("1 thread", environment=_ONE_THREAD)),
        _BOTH,
        own_order=True,
    ),
    Peer("tinygrad", "tinygrad_", (Variant("TinyJit"),), slow=True),
    Peer(
        "numpy",
        "numpy_",
        (Variant("1 thread", environment=_ONE_THREAD), Variant("all threads")),
        _BOTH,
    ),
    Peer(
        "onnxruntime",
        "onnxruntime_",
        (Variant("1 thread", {"threads": 1}), Variant("2 threads", {"threads": 2})),
        _PREDICT,
    ),
)

PEERS: dict[str, Peer] = {peer.name: peer for peer in _TABLE}
"""Every peer by its name, ours first."""


def select(names: str) -> list[Peer]:
    """Return ours and the peers of a comma-separated list; all for an empty one.

    A name also stands for what begins with it and a hyphen.

    >>> [peer.name for peer in select("jax")]
    ['pellucid', 'jax-step', 'jax-scan']
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if not any(_named(peer, name) for peer in _TABLE):
            raise SystemExit(
                f"no peer named {name!r}; the peers are {', '.join(PEERS)}"
            )
    return [
        peer
        for peer in _TABLE
        if not asked or peer.name == OURS or any(_named(peer, each) for each in asked)
    ]


def _named(peer: Peer, name: str) -> bool:
    return peer.name == name or peer.name.startswith(name + "-")
