"""Recurrent layers over time: `RNN`, `LSTM`, `GRU`, stacked, in one or both directions.

Each layer and direction is one `scan`; what the inputs of all time steps bring to the
gates is computed before it, in one product. Padded batches give, sequence by sequence,
the numbers of each sequence alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.dtypes import DType
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional import (
    concat,
    dropout,
    expand_dims,
    permute_dims,
    recur,
    stack,
    where,
)
from pellucid.functional.windows import whole
from pellucid.ir.graph import within
from pellucid.nn.cells import Recurrent, State, Unit, simple_unit, unit_named
from pellucid.nn.context import Memory, update_buffer
from pellucid.nn.linear import positive
from pellucid.nn.masks import steps_that_count
from pellucid.tensors import Tensor

__all__ = ["GRU", "LSTM", "RNN", "layers_named"]


class _Layers(Recurrent):
    """Layers of recurrent units, one or two directions each."""

    returns_more = True

    def _build(
        self,
        unit: Unit,
        sizes: tuple[int, int, int],
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
        stateful: int,
    ) -> None:
        input_size, hidden_size, self.num_layers = sizes
        positive(num_layers=self.num_layers)
        if not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"dropout must be between 0 and 1, not {dropout!r}")
        self._start(unit, input_size, hidden_size, bias, dtype)
        self.batch_first, self.dropout = bool(batch_first), dropout
        self.bidirectional = bool(bidirectional)
        for layer in range(self.num_layers):
            width = self._width * self._directions if layer else input_size
            for reverse in range(self._directions):
                self._add_weights(width, _suffix(layer, reverse))
        self._remember(stateful)

    def _remember(self, streams: int) -> None:
        """Make room for the state of as many sequences, if it is to be carried on."""
        self.stateful = streams
        if not streams:
            return
        positive(stateful=streams)
        if self.bidirectional:
            raise ArgumentError(
                message(
                    "a layer that also reads from the end cannot carry its state on",
                    hint="make it bidirectional or stateful, not both",
                )
            )
        for name in self.unit.states:
            shape = (self.num_layers, streams, self._state_width(name))
            zeros = np.zeros(shape, self._weights(_suffix(0, False)).input.dtype)
            setattr(self, f"{name}_state", Memory(zeros))

    def _memories(self) -> list[Memory]:
        """Return where the state stands that goes on to the next batch, if it does."""
        if not (self.stateful and self.training):
            return []
        return [getattr(self, f"{name}_state") for name in self.unit.states]

    def reset_state(self) -> None:
        """Set the carried state to zeros, as each epoch of `fit` does at its start."""
        for name in self.unit.states if self.stateful else ():
            memory = getattr(self, f"{name}_state")
            memory.value = np.zeros(memory.shape)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _run(
        self, x: Tensor, hx: Any, mask: Any, lengths: Any
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs, and each part of the last state, as PyTorch has them."""
        alone = self._check(x)
        if alone:
            x = expand_dims(x, 1)
        elif self.batch_first:
            x = permute_dims(x, (1, 0, 2))
        time, batch = x.shape[:2]
        real = steps_that_count(mask, lengths, time, batch, alone)
        x, _ = self._alike(x, self._weights(_suffix(0, False)))
        outputs, ends = self._all_layers(x, self._first_state(x, hx, alone), real)
        last = [stack(parts) for parts in zip(*ends)]
        for memory, end in zip(self._memories(), last):
            update_buffer(memory, end.detach().astype(memory.dtype))
        if alone:
            return outputs[:, 0], [each[:, 0] for each in last]
        return permute_dims(outputs, (1, 0, 2)) if self.batch_first else outputs, last

    def _first_state(self, x: Tensor, hx: Any, alone: bool) -> list[Tensor]:
        """Return the state to start from: the one given, the one carried on, zeros."""
        count, batch = self.num_layers * self._directions, x.shape[1]
        memories = self._memories()
        if memories and batch != self.stateful:
            raise ShapeError(
                message(
                    f"got {batch} sequences",
                    expected=f"the state carried on is that of {self.stateful}",
                    hint=f"train with batch_size={self.stateful} on rows that it "
                    "divides; eval() starts each batch at zeros",
                )
            )
        if hx is None and memories:
            return [each.astype(x.dtype) for each in memories]
        given = self._given_state(hx, (count,) if alone else (count, batch), x)
        return [each.reshape(count, batch, each.shape[-1]) for each in given]

    def _check(self, x: Tensor) -> bool:
        """Check the input; return whether it is one sequence without a batch axis."""
        axes = "batch, time" if self.batch_first else "time, batch"
        width = self.input_size
        self._check_input(x, {3: f"{axes}, {width}", 2: f"time, {width}"})
        if not x.shape[1 if self.batch_first and x.ndim == 3 else 0]:
            raise ShapeError(
                message(
                    f"got {x.type}: a sequence of length zero",
                    expected=f"expected [{axes}, {width}] with at least one step",
                )
            )
        return x.ndim == 2

    def _all_layers(
        self, x: Tensor, first: list[Tensor], real: Tensor | None
    ) -> tuple[Tensor, list[State]]:
        """Run `[time, batch, input]` through every layer; return all last states."""
        ends: list[State] = []
        if real is not None:
            # What stands in the padding, be it NaN, reaches neither sums nor gradients.
            x = where(expand_dims(real, 2), x, 0.0)
        for layer in range(self.num_layers):
            if layer:
                x = dropout(x, self.dropout, self.training)
            found = []
            for reverse in range(self._directions):
                state = tuple(each[len(ends)] for each in first)
                outputs, end = self._one_way(x, state, layer, bool(reverse), real)
                found.append(outputs)
                ends.append(end)
            x = concat(found, 2) if len(found) > 1 else found[0]
        return x, ends

    def _one_way(
        self, x: Tensor, state: State, layer: int, reverse: bool, real: Tensor | None
    ) -> tuple[Tensor, State]:
        suffix = _suffix(layer, reverse)
        with within(suffix[1:]):
            x, weights = self._alike(x, self._weights(suffix))
            sums = self.unit.sums(x, weights)
            step = self.unit.stepper(weights)
            return recur(step, sums, state, mask=real, reverse=reverse)


def _projection(size: int, hidden: int) -> int:
    positive(hidden_size=hidden)
    if not whole(size) or size >= hidden:
        raise ArgumentError(
            message(
                f"proj_size={size!r}",
                expected=f"expected a whole number below hidden_size={hidden}",
                hint="0 leaves the outputs as wide as hidden_size",
            )
        )
    return size


def _suffix(layer: int, reverse: bool | int) -> str:
    return f"_l{layer}{'_reverse' if reverse else ''}"


# --- the layers ------------------------------------------------------------------


class RNN(_Layers):
    """Layers of simple recurrent units.

    h_t = tanh(x_t W_ihᵀ + b_ih + h_t−1 W_hhᵀ + b_hh).

    Args:
        input_size, hidden_size: the widths of x_t and of h_t.
        num_layers: how many layers; each reads the outputs of the one before.
        nonlinearity: `tanh` or `relu`.
        bias: whether the two biases are there; they start at 0.
        batch_first: whether x is `[batch, time, input]`, and the outputs likewise. By
            default it is `[time, batch, input]`, as in PyTorch.
        dropout: the share of each layer's outputs that training drops before the next
            layer reads them; behind the last layer none.
        bidirectional: whether each layer reads the sequence from its end too. Its
            outputs are the two directions side by side, `2 · hidden`.
        dtype: `f32` or `f64`; the configured one by default.
        stateful: 0, or the number of sequences in every batch of training. Then a batch
            goes on from the state in which the one before it ended, without a gradient
            across the cut: truncated backpropagation through time. See
            `pellucid.data.stream_order`. Out of training each batch starts at zeros.

    Called as `layer(x, h0=None, *, mask=None, lengths=None)`; returns `(outputs, h_n)`.

        x: `[time, batch, input]`, or `[time, input]` for one sequence.
        h0: the first state `[layers · directions, batch, hidden]`; zeros by default.
        mask: truth values `[batch, time]`: which steps count. One that does not keeps
            the state as it is, and its output is 0. `lengths`, whole numbers
            `[batch]`, says the same of sequences that are padded at their end. A
            sequence gives the numbers that it gives alone.
        outputs: the last layer's h_t, `[time, batch, directions · hidden]`.
        h_n: every layer's last state `[layers · directions, batch, hidden]`. Backwards
            that is the state at the first step.

    State: for each layer k `weight_ih_lk`, `weight_hh_lk`, `bias_ih_lk`, `bias_hh_lk`,
    and the same with `_reverse`, as in PyTorch; where it is stateful, `hidden_state`
    too (and `cell_state`). Source: Elman, "Finding structure in
    time" (1990); for the cuts Williams and Peng, "An efficient gradient-based algorithm
    for on-line training of recurrent network trajectories" (1990).

    >>> outputs, last = RNN(3, 4, batch_first=True)(np.zeros((2, 5, 3), np.float32))
    >>> outputs.shape, last.shape
    ((2, 5, 4), (1, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DType | str | None = None,
        stateful: int = 0,
    ) -> None:
        self.nonlinearity = nonlinearity
        unit, sizes = simple_unit(nonlinearity), (input_size, hidden_size, num_layers)
        options = bias, batch_first, dropout, bidirectional, dtype, stateful
        self._build(unit, sizes, *options)

    def forward(
        self, x: Tensor, hx: Any = None, *, mask: Any = None, lengths: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden state of every step, and the last one of every layer."""
        outputs, (last,) = self._run(x, hx, mask, lengths)
        return outputs, last


class LSTM(_Layers):
    """Layers of long short-term memory, whose cells carry what they keep through time.

    i, f, o = σ(·), g = tanh(·) of x_t W_ihᵀ + b_ih + h_t−1 W_hhᵀ + b_hh;
    c_t = f c_t−1 + i g; h_t = o tanh(c_t), or, with a `proj_size`, W_hr (o tanh(c_t)).

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, dtype, stateful: as for `RNN`. The bias of the forget gate
            starts at 1.
        proj_size: how wide h_t and the outputs are, less than `hidden_size`; 0 makes
            them as wide as c_t.

    Called as `layer(x, (h0, c0)=None, *, mask=None, lengths=None)`; returns
    `(outputs, (h_n, c_n))`. Shapes are those of `RNN`, c as h, but for a projection.

    State: for each layer k `weight_ih_lk [4 · hidden, …]`, `weight_hh_lk`,
    `bias_ih_lk`, `bias_hh_lk`, gates in the order i, f, g, o, where h_t is projected
    `weight_hr_lk [proj, hidden]`, and the same with `_reverse`, as in PyTorch.
    Sources: Hochreiter and Schmidhuber, "Long short-term memory" (1997); Gers,
    Schmidhuber and Cummins, "Learning to forget" (2000); for the forget bias
    Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network
    architectures" (2015); for the projection Sak, Senior and Beaufays, "Long short-term
    memory based recurrent neural network architectures for large vocabulary speech
    recognition" (2014).

    >>> layer = LSTM(3, 4, num_layers=2, batch_first=True)
    >>> outputs, (h, c) = layer(np.zeros((2, 5, 3), np.float32), lengths=[5, 2])
    >>> outputs.shape, h.shape, c.shape
    ((2, 5, 4), (2, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: DType | str | None = None,
        stateful: int = 0,
    ) -> None:
        self.proj_size = _projection(proj_size, hidden_size)
        unit, sizes = unit_named("lstm"), (input_size, hidden_size, num_layers)
        options = bias, batch_first, dropout, bidirectional, dtype, stateful
        self._build(unit, sizes, *options)

    def forward(
        self, x: Tensor, hx: Any = None, *, mask: Any = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the hidden state of every step, and the last states of every layer."""
        outputs, (hidden, cell) = self._run(x, hx, mask, lengths)
        return outputs, (hidden, cell)


class GRU(_Layers):
    """Layers of gated recurrent units.

    r, z = σ(·) of x_t W_ihᵀ + b_ih + h_t−1 W_hhᵀ + b_hh; n = tanh(x_t W_inᵀ + b_in +
    r (h_t−1 W_hnᵀ + b_hn)); h_t = (1 − z) n + z h_t−1.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, dtype, stateful: as for `RNN`.

    Called as `layer(x, h0=None, *, mask=None, lengths=None)`; returns `(outputs, h_n)`,
    of the shapes of `RNN`.

    State: for each layer k `weight_ih_lk [3 · hidden, …]`, `weight_hh_lk`,
    `bias_ih_lk`, `bias_hh_lk`, gates in the order r, z, n, and the same with
    `_reverse`, as in PyTorch. Source: Cho et al., "Learning phrase representations
    using RNN encoder-decoder" (2014).

    >>> outputs, last = GRU(3, 4, bidirectional=True)(np.zeros((5, 2, 3), np.float32))
    >>> outputs.shape, last.shape
    ((5, 2, 8), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DType | str | None = None,
        stateful: int = 0,
    ) -> None:
        unit, sizes = unit_named("gru"), (input_size, hidden_size, num_layers)
        options = bias, batch_first, dropout, bidirectional, dtype, stateful
        self._build(unit, sizes, *options)

    def forward(
        self, x: Tensor, hx: Any = None, *, mask: Any = None, lengths: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden state of every step, and the last one of every layer."""
        outputs, (last,) = self._run(x, hx, mask, lengths)
        return outputs, last


_KINDS: dict[str, type[RNN | LSTM | GRU]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


def layers_named(kind: str) -> type[RNN | LSTM | GRU]:
    """Return the class of recurrent layers of a name: `lstm`, `gru` or `rnn`.

    >>> layers_named("gru").__name__
    'GRU'
    """
    if kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS)
        raise ArgumentError(message(f"no kind {kind!r}", hint=hint))
    return _KINDS[kind]
