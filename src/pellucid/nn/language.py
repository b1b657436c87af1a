"""Models of text: from the tokens so far to the next one.

Both take tokens `[batch, time]` and return, at each position, a score for every token
to come, `[batch, time, vocabulary]`: train them on the same tokens one position later
with `CrossEntropyLoss(axis=-1)`. `step` does the same one token at a time, with a
state that is carried on; that is how text is written.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from pellucid.dtypes import DType
from pellucid.errors import ArgumentError, message
from pellucid.functional import dropout, expand_dims, linear, zeros
from pellucid.nn.embedding import Embedding, check_tokens
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.nn.norm import LayerNorm
from pellucid.nn.recurrent import layers_named
from pellucid.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from pellucid.tensors import Tensor, tensor

__all__ = ["LanguageModel", "RecurrentLanguageModel", "TransformerLanguageModel"]

State: TypeAlias = Any


class LanguageModel(Module):
    """A model of text: vectors for tokens in front, scores for tokens behind.

    A subclass has `forward`, from tokens to scores, and the same a token at a time:
    `first_state` and `step`.
    """

    def first_state(self, batch: int = 1) -> State:
        """Return the state before the first token, a tree of tensors."""
        raise NotImplementedError(f"{type(self).__name__} has no first_state()")

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of what follows one more token of each text, and the state.

        Tokens are `[batch]`, scores `[batch, vocabulary]`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def _start(
        self, vocabulary_size: int, width: int, rate: float, tied: bool, dtype: Any
    ) -> None:
        if not 0.0 <= rate <= 1.0:
            raise ArgumentError(f"dropout must be between 0 and 1, not {rate!r}")
        self.vocabulary_size, self._dropout = vocabulary_size, rate
        # Scores are products with the same vectors: of length 1 they start near 0.
        std = 1.0 / math.sqrt(width) if tied else 1.0
        self.embedding = Embedding(vocabulary_size, width, std=std, dtype=dtype)
        self.head = None if tied else Linear(width, vocabulary_size, dtype=dtype)

    def _embedded(self, tokens: Tensor) -> Tensor:
        check_tokens(tokens, self.vocabulary_size, "vocabulary_size")
        return dropout(self.embedding(tokens), self._dropout, self.training)

    def _scores(self, x: Tensor) -> Tensor:
        if self.head is None:
            return linear(x, self.embedding.weight)
        scores: Tensor = self.head(x)
        return scores


class TransformerLanguageModel(LanguageModel):
    """A transformer that looks back: each position sees itself and those before.

    Vectors of the tokens, encoder layers that normalise before each block and turn
    queries and keys by their positions, a norm, scores. Inner layers are four times as
    wide. Source: Radford et al., "Improving language understanding by generative
    pre-training" (2018).

    Args:
        vocabulary_size: how many tokens there are, counted from 0.
        context: how many tokens back `step` looks, this one included.
        layers, heads, width: of the transformer.
        dropout: the share that training drops, of vectors, attention weights, hidden
            units and outputs of blocks.
        tied: whether scores are products with the tokens' own vectors rather than
            with weights of their own.
        activation: the name of the activation inside.
        dtype: `f32` or `f64`; the configured one by default.

    >>> import numpy as np
    >>> model = TransformerLanguageModel(65, layers=2, width=32)
    >>> model(np.array([[5, 3, 2, 8]])).shape
    (1, 4, 65)
    """

    def __init__(
        self,
        vocabulary_size: int,
        context: int = 64,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        tied: bool = False,
        activation: str = "gelu",
        dtype: DType | str | None = None,
    ) -> None:
        positive(vocabulary_size=vocabulary_size, context=context, layers=layers)
        positive(heads=heads, width=width)
        if width % (2 * heads):
            raise ArgumentError(
                message(
                    f"width={width} does not divide into {heads} heads of even width",
                    hint=f"try width={-(-width // (2 * heads)) * 2 * heads}",
                )
            )
        self.context = context
        self._start(vocabulary_size, width, dropout, tied, dtype)
        layer = TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout,
            activation,
            batch_first=True,
            norm_first=True,
            rotary=True,
            dtype=dtype,
        )
        self.transformer = TransformerEncoder(
            layer, layers, LayerNorm(width, dtype=dtype)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores of what follows each position."""
        x = self.transformer(self._embedded(tokens), is_causal=True)
        return self._scores(x)

    def first_state(self, batch: int = 1) -> State:
        """Return the state before the first token: empty caches and position 0."""
        caches = tuple(
            layer.self_attn.first_cache(batch, self.context)
            for layer in self.transformer.layers
        )
        return {"caches": caches, "position": tensor(np.array(0, np.int32))}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of what follows one more token, and the state."""
        position = state["position"]
        x, caches = self.transformer.step(
            self._embedded(tokens), state["caches"], position
        )
        return self._scores(x), {"caches": caches, "position": position + 1}


class RecurrentLanguageModel(LanguageModel):
    """A recurrent net whose state is all that it knows of the text so far.

    Vectors of the tokens, recurrent layers, scores. Source: Mikolov et al., "Recurrent
    neural network based language model" (2010).

    Args:
        vocabulary_size: how many tokens there are, counted from 0.
        kind: `lstm`, `gru` or `rnn`.
        layers, width: of the recurrent net; the vectors are as wide.
        dropout: the share that training drops, of vectors and between layers.
        tied: whether scores are products with the tokens' own vectors rather than
            with weights of their own.
        dtype: `f32` or `f64`; the configured one by default.

    >>> import numpy as np
    >>> model = RecurrentLanguageModel(65, "gru", width=32)
    >>> model(np.array([[5, 3, 2, 8]])).shape
    (1, 4, 65)
    """

    def __init__(
        self,
        vocabulary_size: int,
        kind: str = "lstm",
        layers: int = 1,
        width: int = 128,
        dropout: float = 0.0,
        tied: bool = False,
        dtype: DType | str | None = None,
    ) -> None:
        positive(vocabulary_size=vocabulary_size, layers=layers, width=width)
        layers_of = layers_named(kind)
        self._start(vocabulary_size, width, dropout, tied, dtype)
        self.recurrent = layers_of(
            width, width, layers, dropout=dropout, batch_first=True, dtype=dtype
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores of what follows each position."""
        outputs, _ = self.recurrent(self._embedded(tokens))
        return self._scores(dropout(outputs, self._dropout, self.training))

    def first_state(self, batch: int = 1) -> State:
        """Return the state before the first token: zeros, as the recurrent net's."""
        net = self.recurrent
        shape = (net.num_layers, batch, net.hidden_size)
        empty = zeros(shape, self.embedding.weight.dtype)
        states = [empty for _ in net.unit.states]
        return tuple(states) if len(states) > 1 else empty

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of what follows one more token, and the state."""
        x = expand_dims(self._embedded(tokens), 1)
        outputs, state = self.recurrent(x, state)
        return self._scores(outputs[:, 0]), state
