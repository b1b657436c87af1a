"""An encoder and a decoder of attention alone: `Transformer`.

Source: Vaswani et al., "Attention is all you need" (2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.dtypes import DType
from pellucid.ir.graph import Array
from pellucid.nn.linear import positive
from pellucid.nn.module import Module
from pellucid.nn.norm import LayerNorm
from pellucid.nn.transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from pellucid.tensors import Tensor

__all__ = ["Transformer"]


class Transformer(Module):
    """Encoder layers read one sequence, decoder layers write another in view of it.

    Takes and returns vectors: embeddings, positions and scores are the caller's. A norm
    stands behind each stack.

    Args:
        d_model: the width of inputs and outputs.
        nhead: how many heads attention has.
        num_encoder_layers, num_decoder_layers: how many layers.
        dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, rotary, dtype: as for `TransformerEncoderLayer`.

    State, as in PyTorch: `encoder` (see `TransformerEncoder`) and `decoder`.

    >>> net = Transformer(8, 2, 2, 2, 16, batch_first=True)
    >>> read, written = (np.zeros((5, time, 8), np.float32) for time in (7, 3))
    >>> net(read, written, tgt_is_causal=True).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
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
        positive(num_encoder_layers=num_encoder_layers)
        positive(num_decoder_layers=num_decoder_layers)
        given = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps
        more: Any = {"rotary": rotary, "dtype": dtype}
        options = *given, batch_first, norm_first, bias

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = TransformerEncoder(
            TransformerEncoderLayer(*options, **more), num_encoder_layers, norm()
        )
        self.decoder = TransformerDecoder(
            TransformerDecoderLayer(*options, **more), num_decoder_layers, norm()
        )

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence `tgt` transformed, in view of the sequence `src`.

        The masks are those of the layers. Padding of `src` is usually hidden twice, as
        `src_key_padding_mask` and as `memory_key_padding_mask`.
        """
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        output: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )
        return output

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> Array:
        """Return a mask `[size, size]` that hides what comes later: −inf there, else 0.

        `tgt_is_causal=True` says the same.

        >>> Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        later = ~np.tri(size, dtype=bool)
        return np.where(later, -np.inf, 0.0).astype(np.float32)
