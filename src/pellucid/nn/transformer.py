"""Transformers: `TransformerEncoderLayer`, `TransformerDecoderLayer`, and stacks of
them, `TransformerEncoder` and `TransformerDecoder`.

Source: Vaswani et al., "Attention is all you need" (2017); normalisation before each
block: Xiong et al., "On layer normalization in the transformer architecture" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pellucid.dtypes import DType
from pellucid.functional import activation_named, dropout
from pellucid.nn.attention import Cache, MultiheadAttention
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.nn.norm import LayerNorm
from pellucid.nn.spec import from_spec, to_spec
from pellucid.tensors import Tensor

__all__ = [
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

# --- layers ----------------------------------------------------------------------


class _TransformerLayer(Module):
    """Blocks of attention and a feed-forward net, each with a residual and a norm."""

    looks_across = False

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rotary: bool = False,
        dtype: DType | str | None = None,
    ) -> None:
        positive(d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward)
        activation_named(activation)
        self._dropout, self._activate = dropout, activation
        self.norm_first = bool(norm_first)

        def attention(rotary: bool = False) -> MultiheadAttention:
            return MultiheadAttention(
                d_model,
                nhead,
                dropout,
                bias,
                batch_first=batch_first,
                rotary=rotary,
                dtype=dtype,
            )

        self.self_attn = attention(rotary)
        if self.looks_across:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.linear1.followed_by(activation)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        for number in range(1, 4 if self.looks_across else 3):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{number}", norm)

    def _around(
        self, x: Tensor, number: int, block: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return x with what a block makes of it added, normalised before or after."""
        norm = getattr(self, f"norm{number}")
        if self.norm_first:
            return x + self._dropped(block(norm(x)))
        normalised: Tensor = norm(x + self._dropped(block(x)))
        return normalised

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self._dropout, self.training)

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = activation_named(self._activate)(self.linear1(x))
        output: Tensor = self.linear2(self._dropped(hidden))
        return output


class TransformerEncoderLayer(_TransformerLayer):
    """Attention of a sequence to itself, then a net at each position.

    Each block's input is added to its output; `norm_first` normalises what enters a
    block (steadier to train), else the sum is normalised, as in the first paper.

    Args:
        d_model: the width of inputs and outputs.
        nhead: how many heads attention has.
        dim_feedforward: the width of the hidden layer of the net.
        dropout: the share that training drops, of attention weights, of hidden units
            and of each block's output.
        activation: the name of the net's activation.
        layer_norm_eps: added to variances.
        batch_first: whether inputs are `[batch, time, width]`; as in PyTorch the
            default is `[time, batch, width]`.
        norm_first: normalise before each block.
        bias: whether linear layers, attention and norms have a bias.
        rotary: turn queries and keys by their positions (`functional.rotary`).
        dtype: `f32` or `f64`; the configured one by default.

    State, as in PyTorch: `self_attn` (see `MultiheadAttention`), `linear1`, `linear2`,
    `norm1`, `norm2`.

    >>> import numpy as np
    >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(np.zeros((5, 3, 8), np.float32)).shape
    (5, 3, 8)
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence transformed.

        Args:
            src: `[batch, time, d_model]` with `batch_first`, else `[time, batch,
                d_model]`; or one sequence alone, `[time, d_model]`.
            src_mask: `[time, time]`, true where a position may not look at another.
            src_key_padding_mask: `[batch, time]`, true where a position is padding.
            is_causal: each position looks at itself and those before.
        """

        def look(x: Tensor) -> Tensor:
            return _attend(
                self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal
            )

        return self._around(self._around(src, 1, look), 2, self._feed_forward)

    def step(self, x: Tensor, cache: Cache, position: Tensor) -> tuple[Tensor, Cache]:
        """Return the output of one more position; see `MultiheadAttention.step`."""
        kept: list[Cache] = []

        def look(x: Tensor) -> Tensor:
            output, new = self.self_attn.step(x, cache, position)
            kept.append(new)
            return output

        output = self._around(self._around(x, 1, look), 2, self._feed_forward)
        return output, kept[0]


class TransformerDecoderLayer(_TransformerLayer):
    """Attention of a sequence to itself, then to another, then a net at each position.

    The arguments are those of `TransformerEncoderLayer`; `rotary` turns queries and
    keys of the first attention alone.

    State, as in PyTorch: `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1`,
    `norm2`, `norm3`.

    >>> import numpy as np
    >>> layer = TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> memory = np.zeros((5, 7, 8), np.float32)
    >>> layer(np.zeros((5, 3, 8), np.float32), memory, tgt_is_causal=True).shape
    (5, 3, 8)
    """

    looks_across = True

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence `tgt` transformed, in view of the sequence `memory`.

        The masks of each are those of `TransformerEncoderLayer`; `memory_mask` is
        `[time of tgt, time of memory]`.
        """

        def look(x: Tensor) -> Tensor:
            return _attend(
                self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal
            )

        def look_across(x: Tensor) -> Tensor:
            return _attend(
                self.multihead_attn,
                x,
                memory,
                memory_mask,
                memory_key_padding_mask,
                memory_is_causal,
            )

        x = self._around(self._around(tgt, 1, look), 2, look_across)
        return self._around(x, 3, self._feed_forward)


def _attend(
    attention: MultiheadAttention,
    x: Tensor,
    memory: Tensor,
    mask: Any,
    padding: Any,
    is_causal: bool,
) -> Tensor:
    output, _ = attention(
        x,
        memory,
        memory,
        key_padding_mask=padding,
        need_weights=False,
        attn_mask=mask,
        is_causal=is_causal,
    )
    found: Tensor = output
    return found


# --- stacks ----------------------------------------------------------------------


class _Stack(Module):
    """Layers of one kind, one on the other, and a norm behind them."""

    def _start(self, layer: Module, count: int, norm: Module | None) -> None:
        positive(num_layers=count)
        spec = to_spec(layer)
        self.layers = [from_spec(spec) for _ in range(count)]
        self.norm = norm

    def _normalised(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Encoder layers one on the other.

    Args:
        encoder_layer: what each layer is like. Each is made anew with its arguments,
            and draws weights of its own (PyTorch starts all from the same).
        num_layers: how many.
        norm: a module behind the last layer.

    State: `layers.0`, `layers.1`, …, and `norm`, as in PyTorch.

    >>> import numpy as np
    >>> from pellucid import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    >>> net = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8))
    >>> net(np.zeros((5, 3, 8), np.float32), is_causal=True).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: Module | None = None,
    ) -> None:
        self._start(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence transformed; see `TransformerEncoderLayer.forward`."""
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal)
        return self._normalised(x)

    def step(
        self, x: Tensor, caches: Sequence[Cache], position: Tensor
    ) -> tuple[Tensor, tuple[Cache, ...]]:
        """Return the output of one more position; see `MultiheadAttention.step`.

        There is a cache for each layer.
        """
        kept = []
        for layer, cache in zip(self.layers, caches):
            x, new = layer.step(x, cache, position)
            kept.append(new)
        return self._normalised(x), tuple(kept)


class TransformerDecoder(_Stack):
    """Decoder layers one on the other, each looking at the same memory.

    Args:
        decoder_layer: what each layer is like. Each is made anew with its arguments,
            and draws weights of its own (PyTorch starts all from the same).
        num_layers: how many.
        norm: a module behind the last layer.

    State: `layers.0`, `layers.1`, …, and `norm`, as in PyTorch.

    >>> import numpy as np
    >>> from pellucid import nn
    >>> net = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2)
    >>> memory = np.zeros((7, 5, 8), np.float32)
    >>> net(np.zeros((3, 5, 8), np.float32), memory, tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        decoder_layer: TransformerDecoderLayer,
        num_layers: int,
        norm: Module | None = None,
    ) -> None:
        self._start(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence transformed; see `TransformerDecoderLayer.forward`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                tgt_is_causal,
                memory_is_causal,
            )
        return self._normalised(x)
