"""A sequence of tokens read, and another one written: `EncoderDecoder`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pellucid.dtypes import DType
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional import (
    additive_attention_weights,
    attention_weights,
    concat,
    dropout,
    expand_dims,
    permute_dims,
    tanh,
)
from pellucid.ir.graph import Array, within
from pellucid.nn.decoding import BLOCK, Hypotheses, Search, traced_back
from pellucid.nn.embedding import Embedding
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.nn.programs import Programs
from pellucid.nn.reading import steps_to_read, vectors_of
from pellucid.nn.recurrent import layers_named
from pellucid.nn.sampling import controls
from pellucid.tensors import Tensor, as_tensor
from pellucid.tree import map_leaves

__all__ = ["Attention", "EncoderDecoder"]

State: TypeAlias = Any

_SCORES = ("dot", "additive")


class Attention(Module):
    """What a decoder looks up in an encoder's outputs, joined with its own.

    tanh(W [c; h] + b), with c the mean of the memory weighted by softmax of the scores:
    `dot`: h · (W_k m) / √width; `additive`: v · tanh(W_q h + W_k m). Sources: Luong,
    Pham and Manning, "Effective approaches to attention-based neural machine
    translation" (2015), whose scores are not divided; Bahdanau, Cho and Bengio, "Neural
    machine translation by jointly learning to align and translate" (2015).

    Args:
        score: `dot` or `additive`.
        width: of the decoder's outputs h and of the memory m.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `layer(outputs, memory, mask=None)` with outputs `[batch, time, width]`,
    memory `[batch, source, width]` and truth values `[batch, source]`; returns the
    shape of the outputs.

    >>> layer = Attention("dot", 4)
    >>> layer(np.zeros((2, 3, 4), np.float32), np.zeros((2, 5, 4), np.float32)).shape
    (2, 3, 4)
    """

    def __init__(
        self, score: str, width: int, dtype: DType | str | None = None
    ) -> None:
        if score not in _SCORES:
            hint = did_you_mean(score, _SCORES)
            raise ArgumentError(
                message(
                    f"no attention {score!r}",
                    expected=f"expected None, or one of {', '.join(_SCORES)}",
                    hint=hint,
                )
            )
        self.score = score
        self.key = Linear(width, width, bias=False, dtype=dtype)
        self.query = self.weight = None
        if score == "additive":
            self.query = Linear(width, width, bias=False, dtype=dtype)
            self.weight = Linear(width, 1, bias=False, dtype=dtype)
        self.join = Linear(2 * width, width, dtype=dtype)
        self.join.followed_by("tanh")

    def keys(self, memory: Tensor) -> Tensor:
        """Return what outputs are compared with."""
        keys: Tensor = self.key(memory)
        return keys

    def weights(self, outputs: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Return how much each output looks at each place, `[batch, time, source]`."""
        if mask is not None:
            mask = expand_dims(mask, 1)
        with within("attention weights"):
            if self.query is None or self.weight is None:
                return attention_weights(outputs, keys, mask)
            queries, weight = self.query(outputs), self.weight.weight.reshape(-1)
            return additive_attention_weights(queries, keys, weight, mask)

    def forward(
        self,
        outputs: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Tensor:
        """Return the outputs, joined with what they look at."""
        keys = self.keys(memory) if keys is None else keys
        context = self.weights(outputs, keys, mask) @ memory
        return tanh(self.join(concat([context, outputs], -1)))


class Read(NamedTuple):
    """What an encoder read: its outputs, its last state, and which steps count."""

    memory: Tensor
    state: State
    mask: Tensor | None


class EncoderDecoder(Module):
    """Reads tokens, then writes others, of another length.

    The decoder's recurrent layers start in the state in which the encoder's end. With
    attention, each of the decoder's outputs looks back at all of the encoder's.
    Sources: Sutskever, Vinyals and Le, "Sequence to sequence learning with neural
    networks" (2014); Cho et al., "Learning phrase representations using RNN
    encoder-decoder" (2014).

    Args:
        source_size, target_size: the sizes of the two vocabularies.
        hidden_size: the width of both nets.
        embedding_dim: the width of the tokens' vectors; `hidden_size` by default.
        cell: `lstm`, `gru` or `rnn`.
        num_layers: how many recurrent layers each net has.
        attention: None, `dot` or `additive`: see `Attention`.
        bidirectional: whether the encoder reads from the end too; each direction is
            half as wide.
        dropout: the share that training drops: of vectors, between layers, and of what
            scores are made of.
        start_token: what the decoder reads at first.
        end_token: what ends a target.
        padding_idx: the token of both vocabularies that fills up shorter sequences.
        dtype: `f32` or `f64`; the configured one by default.

    Called as `model(source, target_in, lengths=None, *, mask=None)` with tokens
    `[batch, source time]` and `[batch, time]`; returns the scores of what stands at
    each place of the target, `[batch, time, target_size]`. `target_in` is what the
    decoder reads, the targets one place later: `shift_right(targets, start_token)`.
    `lengths` or a mask say which tokens of the source count; by default all but
    `padding_idx`.

    >>> model = EncoderDecoder(12, 12, 16, attention="dot", bidirectional=True)
    >>> source = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])
    >>> model(source, np.array([[1, 6, 5], [1, 8, 7]])).shape
    (2, 3, 12)
    >>> model.decode(source, max_length=5, beam=3).shape
    (2, 5)
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        hidden_size: int,
        embedding_dim: int | None = None,
        cell: str = "lstm",
        num_layers: int = 1,
        attention: str | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        start_token: int = 1,
        end_token: int = 2,
        padding_idx: int = 0,
        dtype: DType | str | None = None,
    ) -> None:
        positive(source_size=source_size, target_size=target_size)
        positive(hidden_size=hidden_size)
        self.directions = 2 if bidirectional else 1
        if hidden_size % self.directions:
            what = f"a hidden_size of {hidden_size} has no half for each direction"
            raise ArgumentError(message(what, hint="make it even"))
        self._set_tokens(target_size, start_token, end_token, padding_idx)
        width = hidden_size if embedding_dim is None else embedding_dim
        layers_of, self._rate = layers_named(cell), dropout
        more: Any = {"batch_first": True, "dropout": dropout, "dtype": dtype}
        own = hidden_size // self.directions
        vectors = width, padding_idx
        self.source_embedding = Embedding(source_size, *vectors, dtype=dtype)
        self.target_embedding = Embedding(target_size, *vectors, dtype=dtype)
        self.encoder = layers_of(
            width, own, num_layers, bidirectional=bidirectional, **more
        )
        self.decoder = layers_of(width, hidden_size, num_layers, **more)
        self.attention = None
        if attention is not None:
            self.attention = Attention(attention, hidden_size, dtype)
        self.head = Linear(hidden_size, target_size, dtype=dtype)
        self._programs = Programs()

    def _set_tokens(self, size: int, start: int, end: int, padding: int) -> None:
        found = {"start_token": start, "end_token": end, "padding_idx": padding}
        for name, token in found.items():
            if not isinstance(token, int | np.integer) or not 0 <= token < size:
                raise ArgumentError(
                    message(
                        f"{name}={token!r}", expected=f"expected a token below {size}"
                    )
                )
        if len({*found.values()}) < 3:
            said = ", ".join(f"{name}={token}" for name, token in found.items())
            raise ArgumentError(message(said, expected="expected three unlike tokens"))
        self.start_token, self.end_token, self.padding_idx = start, end, padding

    # --- reading and writing ---

    def forward(
        self,
        source: Tensor,
        target_in: Tensor,
        lengths: Any = None,
        *,
        mask: Any = None,
    ) -> Tensor:
        """Return the scores of what stands at each place of the target."""
        read, outputs = self._outputs(source, target_in, lengths, mask)
        return self._scores(outputs, read)

    def attention_map(
        self, source: Any, target_in: Any, lengths: Any = None, *, mask: Any = None
    ) -> Array:
        """Return by how much each place of the target looks at each of the source.

        `[batch, time, source time]`; each row sums to 1.
        """
        if self.attention is None:
            hint = 'make it with attention="dot"'
            raise ArgumentError(message("the model has no attention", hint=hint))
        given = as_tensor(source), as_tensor(target_in)
        read, outputs = self._outputs(*given, lengths, mask)
        keys = self.attention.keys(read.memory)
        return self.attention.weights(outputs, keys, read.mask).value

    def _outputs(
        self, source: Tensor, target_in: Tensor, lengths: Any, mask: Any
    ) -> tuple[Read, Tensor]:
        read = self._encode(source, lengths, mask)
        vectors = self._vectors(as_tensor(target_in), self.target_embedding)
        if target_in.shape[0] != source.shape[0]:
            raise ShapeError(
                message(
                    f"source {source.type} and target_in {target_in.type}",
                    expected="expected as many rows of each",
                )
            )
        outputs, _ = self.decoder(vectors, read.state)
        return read, outputs

    def _vectors(
        self, tokens: Tensor, embedding: Embedding, name: str = "target_size"
    ) -> Tensor:
        vectors = vectors_of(tokens, embedding, embedding.num_embeddings, name)
        return dropout(vectors, self._rate, self.training)

    def _encode(self, source: Tensor, lengths: Any, mask: Any) -> Read:
        vectors = self._vectors(source, self.source_embedding, "source_size")
        real = steps_to_read(source, lengths, mask, self.padding_idx)
        memory, state = self.encoder(vectors, mask=real)
        return Read(memory, map_leaves(self._side_by_side, state), real)

    def _side_by_side(self, state: Tensor) -> Tensor:
        """Return the states of both directions of each layer as one."""
        if self.directions == 1:
            return state
        count, batch, width = state.shape
        parts = state.reshape(count // 2, 2, batch, width)
        return permute_dims(parts, (0, 2, 1, 3)).reshape(count // 2, batch, 2 * width)

    def _scores(
        self, outputs: Tensor, read: Read, keys: Tensor | None = None
    ) -> Tensor:
        """Return scores of outputs `[batch, any number, hidden]`."""
        if self.attention is not None:
            outputs = self.attention(outputs, read.memory, read.mask, keys)
        scores: Tensor = self.head(dropout(outputs, self._rate, self.training))
        return scores

    # --- decoding ---

    def decode(
        self,
        source: Any,
        lengths: Any = None,
        *,
        mask: Any = None,
        max_length: int = 64,
        beam: int = 1,
        length_penalty: float = 0.0,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Array:
        """Return what the model writes for each source, tokens `[batch, max_length]`.

        The end token stands at its end and padding behind it, so it can be compared
        with targets. With `beam=1` each token is the likeliest behind those before it,
        or, with a temperature, drawn as `SequenceToSequence.generate` does it.
        """
        taste = controls(temperature, top_k, top_p, seed)
        if taste and beam != 1:
            raise ArgumentError(
                message(
                    f"temperature={temperature!r} and beam={beam!r}",
                    expected="a beam keeps the likeliest, a temperature draws",
                    hint="leave one of them out",
                )
            )
        search = self._how(beam, length_penalty, max_length)
        return self._found(search, source, lengths, mask, taste).tokens[:, 0]

    def search(
        self,
        source: Any,
        lengths: Any = None,
        *,
        mask: Any = None,
        max_length: int = 64,
        beam: int = 4,
        length_penalty: float = 0.0,
    ) -> Hypotheses:
        """Return the likeliest targets of each source that a beam search finds.

        Args:
            source, lengths, mask: as for a call.
            max_length: the most tokens of a target, end token included.
            beam: how many hypotheses are kept at each step, and returned.
            length_penalty: a score is the sum of log-probabilities divided by the
                length to this power; 0 favours short targets, 1 compares means.
        """
        search = self._how(beam, length_penalty, max_length)
        return self._found(search, source, lengths, mask)

    def _how(self, beam: int, length_penalty: float, max_length: int) -> Search:
        special = self.start_token, self.end_token, self.padding_idx
        return Search(beam, length_penalty, max_length, *special)

    def _found(
        self,
        search: Search,
        source: Any,
        lengths: Any,
        mask: Any,
        taste: Sequence[Array] = (),
    ) -> Hypotheses:
        given = as_tensor(source)
        vectors_of(given, self.source_embedding, 0, "source_size")
        real = steps_to_read(given, lengths, mask, self.padding_idx)
        assert real is not None
        memory, keys, state = self._programs.run(
            self, "encode", self._encoded, given.value, real.value
        )
        carry = search.first(state, len(memory), memory.dtype)
        more = memory, keys, real.value, *search.limits(memory.dtype), *taste

        def block(
            carry: Any, memory: Any, keys: Any, mask: Any, *limits: Any
        ) -> tuple[Any, Any]:
            return search.block(self._writer(memory, keys, mask), carry, *limits)

        kept = []
        for _ in range(0, search.max_length, BLOCK):
            run = "block", search.beam
            carry, found = self._programs.run(self, run, block, carry, *more)
            kept.append(found)
            if carry["done"].all():
                break
        tokens, parents = (np.concatenate(each) for each in zip(*kept))
        return traced_back(tokens, parents, carry, search)

    def _encoded(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, State]:
        read = self._encode(source, None, mask)
        memory = read.memory
        keys = memory if self.attention is None else self.attention.keys(memory)
        return memory, keys, read.state

    def _writer(self, memory: Tensor, keys: Tensor, mask: Tensor) -> Any:
        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            vectors = self._vectors(tokens.reshape(-1, 1), self.target_embedding)
            outputs, state = self.decoder(vectors, state)
            # A row's hypotheses look at its memory as if they were its places.
            outputs = outputs.reshape(*tokens.shape, outputs.shape[2])
            return self._scores(outputs, Read(memory, state, mask), keys), state

        return step
