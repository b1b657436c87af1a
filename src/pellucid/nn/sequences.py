"""Named models of sequences: to a sequence, to a vector, from a vector.

Each is recurrent layers with a linear layer behind them, and vectors for tokens in
front where it reads tokens. `generate` lets a model go on by itself, each output being
its next input; it runs as one compiled program. The encoder-decoder stands in
`encoder_decoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pellucid.dtypes import DType
from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import (
    arange,
    concat,
    dropout,
    expand_dims,
    full,
    permute_dims,
    scan,
    tanh,
)
from pellucid.ir.graph import Array
from pellucid.nn.embedding import Embedding, check_tokens
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.nn.programs import Programs
from pellucid.nn.reading import steps_to_read, vectors_of
from pellucid.nn.recurrent import layers_named
from pellucid.nn.sampling import chosen, controls
from pellucid.tensors import Tensor, as_tensor

__all__ = ["SequenceToSequence", "SequenceToVector", "VectorToSequence"]

State: TypeAlias = Any


# --- what all have ---------------------------------------------------------------


class _Sequences(Module):
    """Vectors for tokens where there are any, recurrent layers, a linear layer."""

    embedding: Embedding | None

    def _start(
        self,
        sizes: tuple[int, int, int],
        cell: str,
        num_layers: int,
        rate: float,
        embedding_dim: int | None,
        padding_idx: int | None = None,
        bidirectional: bool = False,
        dtype: Any = None,
    ) -> None:
        width, hidden, outputs = sizes
        positive(input_size=width, hidden_size=hidden, output_size=outputs)
        layers_of = layers_named(cell)
        if padding_idx is not None and embedding_dim is None:
            raise ArgumentError(
                message(
                    f"padding_idx={padding_idx!r} of a model of numbers",
                    hint="pass lengths or a mask, or make it with an embedding_dim",
                )
            )
        self.input_size, self.output_size, self._rate = width, outputs, rate
        self.embedding, inner = None, width
        if embedding_dim is not None:
            inner = embedding_dim
            self.embedding = Embedding(width, inner, padding_idx, dtype=dtype)
        self.recurrent = layers_of(
            inner,
            hidden,
            num_layers,
            batch_first=True,
            dropout=rate,
            bidirectional=bidirectional,
            dtype=dtype,
        )
        self.head = Linear(hidden * (2 if bidirectional else 1), outputs, dtype=dtype)
        self._programs = Programs()

    @property
    def _padding(self) -> int | None:
        return None if self.embedding is None else self.embedding.padding_idx

    def _scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(dropout(x, self._rate, self.training))
        return scores

    def _next(self, output: Tensor, place: Any, taste: Sequence[Tensor]) -> Tensor:
        """Return an output as the next input: of tokens one that is chosen."""
        return output if self.embedding is None else chosen(output, place, taste)

    def _go_on(
        self, x: Tensor, state: State, steps: int, taste: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """Read an input `[batch, …]`, then each output as the next input.

        Returns outputs, and what was read of them, of all steps, batch first.
        """

        def step(carry: Any, place: Any) -> Any:
            x, state = carry
            x_t = x if self.embedding is None else self.embedding(x)
            outputs, state = self.recurrent(expand_dims(x_t, 1), state)
            y = self._scores(outputs[:, 0])
            after = self._next(y, place, taste).astype(x.dtype)
            return (after, state), (y, after)

        places = arange(1, steps + 1, dtype="i32") if taste else None
        length = None if taste else steps
        outputs, read = scan(step, (x, state), places, length=length)[1]
        turned = [1, 0, *range(2, read.ndim)]
        return permute_dims(outputs, (1, 0, 2)), permute_dims(read, turned)

    def _taste(
        self, temperature: float, top_k: int | None, top_p: float | None, seed: int
    ) -> list[Array]:
        """Return what a program that writes takes besides, checked."""
        found = controls(temperature, top_k, top_p, seed)
        if found and self.embedding is None:
            raise ArgumentError(
                message(
                    f"temperature={temperature!r} of a model of numbers",
                    expected="its outputs are read as they are, nothing is drawn",
                    hint="leave it out, or make it with an embedding_dim",
                )
            )
        return found


class _Reader(_Sequences):
    """A model that reads a sequence, and can go on from it."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        embedding_dim: int | None = None,
        padding_idx: int | None = None,
        dtype: DType | str | None = None,
    ) -> None:
        sizes = input_size, hidden_size, output_size
        tokens = embedding_dim, padding_idx
        self._start(sizes, cell, num_layers, dropout, *tokens, bidirectional, dtype)

    def _read(self, x: Tensor, lengths: Any, mask: Any) -> tuple[Tensor, State]:
        vectors = vectors_of(x, self.embedding, self.input_size, "input_size")
        real = steps_to_read(x, lengths, mask, self._padding)
        found: tuple[Tensor, State] = self.recurrent(vectors, mask=real)
        return found

    def _last(self, state: State) -> Tensor:
        """Return the last hidden state of the last layer, directions side by side."""
        hidden: Tensor = state[0] if isinstance(state, tuple) else state
        if not self.recurrent.bidirectional:
            return hidden[-1]
        return concat([hidden[-2], hidden[-1]], 1)

    def generate(
        self,
        x: Any,
        steps: int,
        lengths: Any = None,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Array:
        """Go on from sequences: return what follows, each output read as the next step.

        Args:
            x: as for a call; `lengths` too. Padding is left out.
            steps: how many to write.
            temperature: 0 takes the likeliest token; else each is drawn, by scores
                divided by it.
            top_k: draw from so many likeliest tokens.
            top_p: draw from the fewest likeliest that together have this probability.
            seed: the same seed draws the same tokens.

        Returns numbers `[batch, steps, output]`, or tokens `[batch, steps]`. Raises
        `ArgumentError` where outputs cannot be inputs.
        """
        positive(steps=steps)
        self._check_turns()
        taste = self._taste(temperature, top_k, top_p, seed)
        given = _numbers(x, self.embedding, self.head)
        vectors_of(as_tensor(given), self.embedding, self.input_size, "input_size")
        real = steps_to_read(as_tensor(given), lengths, None, self._padding)
        mask = [] if real is None else [real.value]

        def written(x: Tensor, mask: list[Tensor], taste: list[Tensor]) -> Tensor:
            _, state = self._read(x, None, mask[0] if mask else None)
            first = self._next(self._scores(self._last(state)), 0, taste)
            if steps == 1:
                return expand_dims(first, 1)
            _, after = self._go_on(first, state, steps - 1, taste)
            return concat([expand_dims(first, 1), after], 1)

        found: Array = self._programs.run(self, steps, written, given, mask, taste)
        return found

    def _check_turns(self) -> None:
        if self.recurrent.bidirectional:
            raise ArgumentError(
                message(
                    "a model that also reads from the end cannot go on from it",
                    hint="make it with bidirectional=False",
                )
            )
        if self.input_size != self.output_size:
            raise ArgumentError(
                message(
                    "outputs cannot be read as inputs",
                    expected=f"input_size is {self.input_size}, output_size "
                    f"{self.output_size}",
                )
            )


def _numbers(x: Any, embedding: Embedding | None, head: Linear) -> Array:
    """Return an array of what a model reads: tokens in range, or its own floats."""
    given = as_tensor(x)
    if embedding is None:
        return np.asarray(given.value, head.weight.dtype)
    check_tokens(given, embedding.num_embeddings, "input_size")
    return given.value


# --- the models ------------------------------------------------------------------


class SequenceToSequence(_Reader):
    """An output at each step of a sequence.

    Args:
        input_size: the width of a step; with an `embedding_dim` the size of the
            vocabulary.
        hidden_size: the width of the recurrent layers.
        output_size: the width of an output: of tokens, a score for each.
        cell: `lstm`, `gru` or `rnn`.
        num_layers: how many recurrent layers.
        dropout: the share that training drops between layers and behind them.
        bidirectional: whether each layer reads the sequence from its end too.
        embedding_dim: None for numbers `[batch, time, input]`. Else x is tokens
            `[batch, time]`, and their vectors are so wide.
        padding_idx: a token that does not count: the state goes past it unchanged.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `model(x, lengths=None, *, mask=None)`; returns `[batch, time, output]`.
    `lengths [batch]`, or a mask `[batch, time]` that is true where steps count, says
    how far padded sequences go. Where a step does not count the output is the bias
    alone: leave it out of the loss with `Trainer(missing="mask")`.

    >>> model = SequenceToSequence(2, 8, 3)
    >>> model(np.zeros((4, 5, 2), np.float32), lengths=[5, 3, 2, 1]).shape
    (4, 5, 3)
    >>> writer = SequenceToSequence(10, 8, 10, "gru", embedding_dim=4)
    >>> writer.generate(np.array([[3, 1, 2]]), 6).shape
    (1, 6)
    """

    def forward(self, x: Tensor, lengths: Any = None, *, mask: Any = None) -> Tensor:
        """Return an output for each step."""
        outputs, _ = self._read(x, lengths, mask)
        return self._scores(outputs)


class SequenceToVector(_Reader):
    """One output for a whole sequence, from the last state of the recurrent layers.

    The arguments, and what stands for the lengths of padded sequences, are those of
    `SequenceToSequence`. Where it reads in both directions the output depends on the
    last state of each. Called as `model(x, lengths=None, *, mask=None)`; returns
    `[batch, output]`. Trained on the step to come, it can write a sequence.

    >>> model = SequenceToVector(2, 8, 3, "gru", bidirectional=True)
    >>> model(np.zeros((4, 5, 2), np.float32)).shape
    (4, 3)
    >>> forecaster = SequenceToVector(1, 8, 1)
    >>> forecaster.generate(np.zeros((4, 5, 1)), 12).shape
    (4, 12, 1)
    """

    def forward(self, x: Tensor, lengths: Any = None, *, mask: Any = None) -> Tensor:
        """Return one output for each sequence."""
        _, state = self._read(x, lengths, mask)
        return self._scores(self._last(state))


class VectorToSequence(_Sequences):
    """A sequence from a vector, which starts the state; each output is read next.

    The first state is tanh of a product of the vector, for each layer.

    Args:
        input_size: the width of the vector.
        hidden_size, cell, num_layers, dropout, dtype: as for `SequenceToSequence`.
            In a sequence that is written in training, each step drops the same units.
        output_size: the width of a step; with an `embedding_dim` the size of the
            vocabulary.
        length: how many steps are written where nothing else says it.
        embedding_dim: None for sequences of numbers; else they are of tokens, and
            their vectors are so wide.
        start_token: what a sequence of tokens reads at its first step. One of numbers
            reads zeros.

    Called as `model(vector, previous=None)`; returns `[batch, time, output]`.

        vector: `[batch, input]`.
        previous: what each step reads, as `shift_right` makes it of the targets:
            teacher forcing. None: the model reads what it writes, of tokens the
            likeliest, and the gradient flows back through numbers that are read.

    >>> model = VectorToSequence(3, 8, 2, length=5)
    >>> model(np.zeros((4, 3), np.float32)).shape
    (4, 5, 2)
    >>> writer = VectorToSequence(3, 8, 10, 5, "gru", embedding_dim=4)
    >>> writer.generate(np.zeros((4, 3)), 7).shape
    (4, 7)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        length: int,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        start_token: int = 0,
        dtype: DType | str | None = None,
    ) -> None:
        positive(input_size=input_size, length=length)
        sizes = output_size, hidden_size, output_size
        self._start(sizes, cell, num_layers, dropout, embedding_dim, dtype=dtype)
        self.length, self.start_token = length, start_token
        if self.embedding is not None:
            check_tokens(as_tensor(np.array([start_token])), output_size, "output_size")
        parts = len(self.recurrent.unit.states) * num_layers
        self.vector_size = input_size
        self.start = Linear(input_size, parts * hidden_size, dtype=dtype)
        self.start.followed_by("tanh")

    def forward(self, vector: Tensor, previous: Any = None) -> Tensor:
        """Return the sequence of each vector."""
        state = self._first_state(vector)
        if previous is None:
            return self._alone(vector, state, self.length)[0]
        read, width = as_tensor(previous), self.input_size
        steps = vectors_of(read, self.embedding, width, "output_size")
        if steps.shape[0] != vector.shape[0]:
            raise ShapeError(
                message(
                    f"vector {vector.type} and previous {as_tensor(previous).type}",
                    expected="expected as many rows of each",
                )
            )
        outputs, _ = self.recurrent(steps, state)
        return self._scores(outputs)

    def generate(
        self,
        vector: Any,
        length: int | None = None,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Array:
        """Return the sequences of vectors, of `length` steps, as the model writes them.

        Numbers `[batch, length, output]`, or tokens `[batch, length]`, chosen as
        `SequenceToSequence.generate` does.
        """
        steps = self.length if length is None else length
        positive(length=steps)
        taste = self._taste(temperature, top_k, top_p, seed)
        given = _numbers(vector, None, self.head)
        self._check_vector(as_tensor(given))

        def written(vector: Tensor, taste: list[Tensor]) -> Tensor:
            state = self._first_state(vector)
            return self._alone(vector, state, steps, taste)[1]

        found: Array = self._programs.run(self, steps, written, given, taste)
        return found

    def _alone(
        self, vector: Tensor, state: State, steps: int, taste: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        batch = vector.shape[0]
        if self.embedding is not None:
            first = full((batch,), self.start_token, "i32")
        else:
            first = full((batch, self.output_size), 0.0, self.head.weight.dtype)
        return self._go_on(first, state, steps, taste)

    def _check_vector(self, vector: Tensor) -> None:
        if vector.ndim != 2:
            raise ShapeError(
                message(
                    f"got {vector.type}",
                    expected=f"expected [batch, {self.vector_size}]",
                    hint="one vector is a batch of one: x[None]",
                )
            )

    def _first_state(self, vector: Tensor) -> State:
        """Return the state that a vector stands for, each part `[layers, batch, …]`."""
        self._check_vector(vector)
        net = self.recurrent
        flat = tanh(self.start(vector)).astype(self.head.weight.dtype)
        shape = vector.shape[0], len(net.unit.states), net.num_layers, net.hidden_size
        parts = permute_dims(flat.reshape(shape), (1, 2, 0, 3))
        state = tuple(parts[i] for i in range(parts.shape[0]))
        return state if len(state) > 1 else state[0]
