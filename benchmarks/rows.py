"""What is measured: one row a network. Knows sizes and arithmetic, and no library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from benchmarks.nets.sizes import NETS

__all__ = ["ROWS", "Row", "select"]

_ADAM_FLOPS = 12
"""Per parameter: two means of three, two corrections, root, ε, quotient, step."""
_ADAM_BYTES = 24
"""Per parameter: the value and two means, each read and written once, in float32."""
_LONG = 2e9
"""The arithmetic of an epoch that is too long for a quick run."""


@dataclass(frozen=True)
class Row:
    """A network, its data, and how it is used.

    `train` counts microseconds a step, `predict` a call, `cold` a whole process.
    """

    name: str
    widths: tuple[int, ...]
    rows: int
    batch: int
    kind: Literal["train", "predict", "cold"] = "train"
    activation: Literal["relu", "tanh"] = "relu"
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    task: Literal["classes", "values"] = "classes"
    check_epochs: int = 2
    """Epochs after which every peer's loss is compared with ours."""
    tolerance: float = 1e-3
    """The largest relative difference of an epoch's mean loss, in the same order."""
    net: str = ""
    """The name of a network in `nets.sizes`; none: linear layers of these widths."""
    cached: bool = False
    """Whether a cold start may find what an earlier process compiled."""

    @property
    def steps(self) -> int:
        """The updates of one epoch; the batch divides the rows."""
        return self.rows // self.batch

    @property
    def shuffle(self) -> bool:
        """Whether an epoch draws a new order: not where a batch is all rows."""
        return self.steps > 1

    @property
    def layers(self) -> list[tuple[int, int]]:
        """The inputs and outputs of each layer."""
        return list(pairwise(self.widths))

    @property
    def parameters(self) -> int:
        """The weights and biases."""
        if self.net:
            return NETS[self.net].parameters
        return sum(into * out + out for into, out in self.layers)

    @property
    def flops(self) -> int:
        """The arithmetic of what is timed; a multiplication and an addition are two.

        Products forward; for training their two gradients too (the first layer needs
        none for its input), and the optimiser.
        """
        update = _ADAM_FLOPS if self.optimizer == "adam" else 2
        if self.net:
            products = 3 * 2 * self.batch * NETS[self.net].products
            return products + update * self.parameters
        forward = sum(2 * self.batch * into * out for into, out in self.layers)
        if self.kind == "predict":
            return forward
        first = 2 * self.batch * self.widths[0] * self.widths[1]
        return 3 * forward - first + update * self.parameters

    @property
    def bytes(self) -> int:
        """The least traffic: the batch in, and every parameter's state in and out."""
        data = 4 * self.batch * (self.widths[0] if self.widths else 0)
        if self.kind == "predict":
            return data + 4 * self.batch * self.widths[-1] + 4 * self.parameters
        update = _ADAM_BYTES if self.optimizer == "adam" else 8
        return data + update * self.parameters

    def smaller(self) -> Row:
        """Return the row with an eighth of its data where an epoch is long."""
        if self.kind == "train" and self.steps * self.flops > _LONG:
            return replace(self, rows=max(1, self.steps // 8) * self.batch)
        if self.kind == "predict" and self.rows > 1:
            return replace(self, rows=self.rows // 8, batch=self.rows // 8)
        return self

    @property
    def text(self) -> str:
        """The network in short, as in `784-128-10`."""
        if self.net:
            return self.net
        return "-".join(map(str, self.widths))


_SMALL = (20, 64, 64, 2)
_MNIST = (784, 128, 10)
_DEEP = (64, *[64] * 12, 10)

_TABLE = (
    Row("tiny", (2, 16, 16, 2), 16384, 32),
    Row("small", _SMALL, 16384, 32),
    Row(
        "simplechains",
        (4, 32, 16, 4),
        10000,
        10000,
        activation="tanh",
        task="values",
        check_epochs=50,
    ),
    Row("mnist", _MNIST, 16384, 64),
    Row("mid", (784, 256, 128, 10), 16384, 128),
    # After an epoch losses are within 1e-5 of those in float64. In the second, rounding
    # has turned some ReLU: ours are then 6e-4 away.
    Row("wide", (784, 1024, 1024, 10), 8192, 256, tolerance=2e-3),
    # Twelve layers: one unit whose input is a rounding error from 0 turns the first
    # updates another way, and float32 then ends at one of a few different losses.
    Row("deep", _DEEP, 16384, 64, tolerance=2e-2),
    Row("sgd1", _SMALL, 2048, 1, optimizer="sgd", learning_rate=1e-2),
    *(
        Row(name, (), rows, batch, net=name, tolerance=2e-2)
        for name, rows, batch in (
            ("lenet", 2048, 64),
            ("lstm", 1024, 32),
            ("gru", 1024, 32),
            ("rnn", 1024, 32),
            ("transformer", 256, 16),
            ("embedding", 16384, 256),
        )
    ),
    Row("predict1", _SMALL, 1, 1, kind="predict"),
    Row("predict1mnist", _MNIST, 1, 1, kind="predict"),
    Row("predict1m", _SMALL, 1_000_000, 1_000_000, kind="predict"),
    Row("cold", _SMALL, 1000, 32, kind="cold"),
    Row("coldcached", _SMALL, 1000, 32, kind="cold", cached=True),
)

ROWS: dict[str, Row] = {row.name: row for row in _TABLE}
"""Every row by its name."""


def select(names: str) -> list[Row]:
    """Return the rows of a comma-separated list; all of them for an empty one.

    >>> [row.name for row in select("mid,tiny")]
    ['mid', 'tiny']
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        known = ", ".join(ROWS)
        raise SystemExit(f"no row named {unknown[0]!r}; the rows are {known}")
    return [ROWS[name] for name in chosen or ROWS]
