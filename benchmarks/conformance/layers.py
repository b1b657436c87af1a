"""The layers: one row each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.conformance.row import Draw, Options, Row
from pellucid import nn

__all__ = ["LAYERS"]

Inputs = tuple[Any, ...]
SPACES = (1, 2, 3)


# --- what is drawn ---------------------------------------------------------------


def vectors(d: Draw, o: Options) -> Inputs:
    return (d.normal(*d.wholes(d.whole(0, 2), 1, 4), o["in_features"]),)


def sizes(space: int, low: int, high: int) -> Callable[[Draw], Any]:
    """Draw one number, or one for each axis of space."""
    return lambda d: d.whole(low, high) if d.coin() else d.wholes(space, low, high)


def conv(space: int, d: Draw) -> Options:
    groups = d.whole(1, 3)
    mode = d.one_of("zeros", "zeros", "reflect", "replicate", "circular")
    same = d.whole(0, 4) == 0
    return {
        "in_channels": groups * d.whole(1, 3),
        "out_channels": groups * d.whole(1, 3),
        "kernel_size": sizes(space, 1, 3)(d),
        "stride": 1 if same else sizes(space, 1, 3)(d),
        "padding": "same" if same else sizes(space, 0, 2)(d),
        "dilation": sizes(space, 1, 2)(d),
        "groups": groups,
        "bias": d.coin(),
        "padding_mode": mode,
    }


def conv_transpose(space: int, d: Draw) -> Options:
    groups, stride = d.whole(1, 3), d.whole(1, 3)
    return {
        "in_channels": groups * d.whole(1, 3),
        "out_channels": groups * d.whole(1, 3),
        "kernel_size": sizes(space, 2, 4)(d),
        "stride": stride,
        "padding": sizes(space, 0, 1)(d),
        "output_padding": d.whole(0, stride - 1),
        "dilation": sizes(space, 1, 2)(d),
        "groups": groups,
        "bias": d.coin(),
    }


def pool(space: int, d: Draw, **more: Any) -> Options:
    kernel = sizes(space, 2, 3)(d)
    return {
        "kernel_size": kernel,
        "stride": None if d.coin() else sizes(space, 1, 3)(d),
        "padding": d.whole(0, 1),
        "ceil_mode": d.coin(),
        **{name: choose(d) for name, choose in more.items()},
    }


def upsampling(space: int, mode: str, d: Draw) -> Options:
    lined = {} if mode == "nearest" else {"align_corners": d.one_of(None, True, False)}
    if d.coin():
        return {"size": sizes(space, 1, 9)(d), "mode": mode, **lined}
    one, each = d.between(0.6, 2.5), tuple(d.between(0.6, 2.5) for _ in range(space))
    return {"scale_factor": one if d.coin() else each, "mode": mode, **lined}


def images(space: int, low: int, high: int) -> Callable[[Draw, Options], Inputs]:
    """Draw a batch of images (or lines, or volumes) of the channels asked for."""

    def inputs(d: Draw, o: Options) -> Inputs:
        channels = o.get("in_channels") or o.get("num_features") or d.whole(1, 3)
        return (d.normal(d.whole(1, 3), channels, *d.wholes(space, low, high)),)

    return inputs


def normed(d: Draw, o: Options) -> Inputs:
    """Draw what `normalized_shape` fits."""
    shape = o["normalized_shape"]
    last = (shape,) if isinstance(shape, int) else shape
    return (d.normal(*d.wholes(d.whole(1, 2), 1, 4), *last),)


def batch(space: int) -> Callable[[Draw, Options], Inputs]:
    def inputs(d: Draw, o: Options) -> Inputs:
        around = d.wholes(d.whole(0, 1) if space == 1 else space, 2, 4)
        return (d.normal(d.whole(2, 5), o["num_features"], *around) + 0.5,)

    return inputs


def batch_norm(d: Draw) -> Options:
    return {
        "num_features": d.whole(1, 5),
        "eps": d.one_of(1e-5, 1e-3),
        "momentum": d.one_of(0.1, 0.3, None),
        "affine": d.coin(),
        "track_running_stats": d.whole(0, 3) > 0,
    }


def sequences(states: int) -> Callable[[Draw, Options], Inputs]:
    """Draw sequences, in half of all cases with the states to start from."""

    def inputs(d: Draw, o: Options) -> Inputs:
        time, count = d.whole(1, 5), d.wholes(d.whole(0, 1), 1, 3)
        first = o.get("batch_first")
        x = d.normal(*((*count, time) if first else (time, *count)), o["input_size"])
        deep = o["num_layers"] * (1 + o["bidirectional"])
        widths = [o.get("proj_size") or o["hidden_size"], o["hidden_size"]][:states]
        held = [d.normal(deep, *count, width) for width in widths]
        return (x,) if d.coin() else (x, held[0] if states == 1 else tuple(held))

    return inputs


def steps(states: int) -> Callable[[Draw, Options], Inputs]:
    """Draw one step of some sequences, for a cell."""

    def inputs(d: Draw, o: Options) -> Inputs:
        count = d.wholes(d.whole(0, 1), 1, 4)
        held = [d.normal(*count, o["hidden_size"]) for _ in range(states)]
        x = d.normal(*count, o["input_size"])
        return (x,) if d.coin() else (x, held[0] if states == 1 else tuple(held))

    return inputs


def cell(d: Draw, **more: Any) -> Options:
    return {
        "input_size": d.whole(1, 4),
        "hidden_size": d.whole(1, 4),
        "bias": d.coin(),
        **{name: choose(d) for name, choose in more.items()},
    }


def recurrent(d: Draw, **more: Any) -> Options:
    return {
        **cell(d, **more),
        "num_layers": d.whole(1, 3),
        "bidirectional": d.coin(),
        "batch_first": d.coin(),
    }


def projected(d: Draw) -> Options:
    width = d.whole(2, 5)
    return {**recurrent(d), "hidden_size": width, "proj_size": d.whole(1, width - 1)}


def ragged(d: Draw, o: Options) -> Inputs:
    shape = (d.whole(1, 3), d.whole(2, 5))
    x = d.normal(*(shape if o["batch_first"] else shape[::-1]), o["input_size"])
    return (x,)


def lengths(d: Draw, o: Options, given: Inputs) -> Options:
    time, count = given[0].shape[:2]
    if o["batch_first"]:
        time, count = count, time
    return {"lengths": 1 + d.below(time, count)}


class Packed(torch.nn.Module):
    """A recurrent layer of PyTorch over sequences of several lengths."""

    def __init__(self, kind: type[torch.nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.layer = kind(**options)
        self.state_dict = self.layer.state_dict
        self.load_state_dict = self.layer.load_state_dict

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Any:
        first = self.layer.batch_first
        time = x.shape[1 if first else 0]
        utils = torch.nn.utils.rnn
        packed = utils.pack_padded_sequence(
            x, lengths, batch_first=first, enforce_sorted=False
        )
        outputs, last = self.layer(packed)
        full = utils.pad_packed_sequence(outputs, first, total_length=time)
        return full[0], last


nonlinear = {"nonlinearity": lambda d: d.one_of("tanh", "relu")}


# --- attention -------------------------------------------------------------------


def heads(d: Draw) -> Options:
    count = d.whole(1, 3)
    width, other = count * d.whole(1, 3), d.coin()
    return {
        "embed_dim": width,
        "num_heads": count,
        "bias": d.coin(),
        "kdim": d.whole(1, 5) if other else None,
        "vdim": d.whole(1, 5) if other else None,
        "batch_first": d.coin(),
    }


def rows_of(d: Draw, o: Options, time: int, count: int, width: int) -> Any:
    return d.normal(*((count, time) if o["batch_first"] else (time, count)), width)


def attended(d: Draw, o: Options) -> Inputs:
    (queries, keys, count), width = d.wholes(3, 1, 5), o["embed_dim"]
    return (
        rows_of(d, o, queries, count, width),
        rows_of(d, o, keys, count, o["kdim"] or width),
        rows_of(d, o, keys, count, o["vdim"] or width),
    )


def counts(o: Options, x: Any) -> tuple[int, int]:
    """Return the batch and the time of a batch of sequences."""
    return x.shape[:2] if o["batch_first"] else x.shape[1::-1]


def forbidden(d: Draw, *shape: int) -> Any:
    """Draw a mask that is true where nothing may be looked at, the first key never.

    Or else none, or floats to be added to the scores.
    """
    kind = d.whole(0, 2)
    if kind == 2:
        return d.normal(*shape)
    mask = d.uniform(*shape) < 0.4
    mask[..., 0] = False
    return mask if kind else None


def padding(d: Draw, count: int, time: int) -> Any:
    mask = d.uniform(count, time) < 0.4
    mask[:, 0] = False
    return mask if d.coin() else None


def alike(mask: Any, padded: Any) -> Any:
    """Return padding as floats where the mask is of floats: PyTorch wants one kind."""
    if mask is None or padded is None or mask.dtype == bool:
        return padded
    return (padded * -1e3).astype(float)


def masks(d: Draw, o: Options, given: Inputs) -> Options:
    (count, queries), (_, keys) = counts(o, given[0]), counts(o, given[1])
    each = (count * o["num_heads"], queries, keys)
    mask = forbidden(d, *(each if d.coin() else (queries, keys)))
    return {
        "attn_mask": mask,
        "key_padding_mask": alike(mask, padding(d, count, keys)),
        "need_weights": d.coin(),
        "average_attn_weights": d.coin(),
    }


def block(d: Draw) -> Options:
    count = d.whole(1, 3)
    return {
        "d_model": count * 2 * d.whole(1, 2),
        "nhead": count,
        "dim_feedforward": d.whole(2, 6),
        "dropout": 0.0,
        "activation": d.one_of("relu", "gelu"),
        "batch_first": d.coin(),
        "norm_first": d.coin(),
        "bias": d.coin(),
    }


def stacked(d: Draw) -> Options:
    return {**block(d), "num_layers": d.whole(1, 3), "normed": d.coin()}


def source(d: Draw, o: Options) -> Inputs:
    return (rows_of(d, o, *d.wholes(2, 1, 5), o["d_model"]),)


def target_and_memory(d: Draw, o: Options) -> Inputs:
    (target, memory, count), width = d.wholes(3, 1, 5), o["d_model"]
    return rows_of(d, o, target, count, width), rows_of(d, o, memory, count, width)


def source_masks(name: str) -> Callable[[Draw, Options, Inputs], Options]:
    def keywords(d: Draw, o: Options, given: Inputs) -> Options:
        count, time = counts(o, given[0])
        mask = forbidden(d, time, time)
        padded = alike(mask, padding(d, count, time))
        return {name: mask, "src_key_padding_mask": padded}

    return keywords


def target_masks(d: Draw, o: Options, given: Inputs) -> Options:
    (count, target), (_, memory) = counts(o, given[0]), counts(o, given[1])
    own, other = forbidden(d, target, target), forbidden(d, target, memory)
    return {
        "tgt_mask": own,
        "memory_mask": other,
        "tgt_key_padding_mask": alike(own, padding(d, count, target)),
        "memory_key_padding_mask": alike(other, padding(d, count, memory)),
    }


def pair(d: Draw) -> Options:
    deep = {"num_encoder_layers": d.whole(1, 2), "num_decoder_layers": d.whole(1, 2)}
    return {**block(d), **deep}


def pair_masks(d: Draw, o: Options, given: Inputs) -> Options:
    """Draw masks of a source, which comes first here, of a target, and across."""
    own = source_masks("src_mask")(d, o, given)
    return {**own, **target_masks(d, o, given[::-1])}


def stack_of(library: Any, kind: str, num_layers: int, normed: bool, **o: Any) -> Any:
    """Make a stack of a library: layers, and half the time a norm behind them."""
    layer = getattr(library, f"{kind}Layer")(**o)
    norm = library.LayerNorm(o["d_model"], bias=o["bias"]) if normed else None
    nested = library is torch.nn and kind == "TransformerEncoder"
    more = {"enable_nested_tensor": False} if nested else {}
    return getattr(library, kind)(layer, num_layers, norm, **more)


def network(library: Any, width: int) -> Any:
    return library.Sequential(
        library.Conv2d(2, width, 3, padding=1, bias=False),
        library.BatchNorm2d(width),
        library.ReLU(),
        library.MaxPool2d(2),
        library.Flatten(),
        library.Linear(width * 4, 3),
    )


# --- the table -------------------------------------------------------------------

LAYERS = [
    Row(
        "Linear",
        vectors,
        lambda d: {
            "in_features": d.whole(1, 6),
            "out_features": d.whole(1, 6),
            "bias": d.coin(),
        },
    ),
    *(Row(f"Conv{n}d", images(n, 5, 7), partial(conv, n)) for n in SPACES),
    *(
        Row(f"ConvTranspose{n}d", images(n, 2, 4), partial(conv_transpose, n))
        for n in SPACES
    ),
    *(
        Row(
            f"MaxPool{n}d",
            images(n, 5, 8),
            partial(pool, n, dilation=sizes(n, 1, 2)),
        )
        for n in SPACES
    ),
    *(
        Row(
            f"AvgPool{n}d",
            images(n, 4, 8),
            partial(pool, n, count_include_pad=Draw.coin),
        )
        for n in SPACES
    ),
    *(
        Row(
            f"Adaptive{kind}Pool{n}d",
            images(n, 1, 8),
            lambda d, n=n: {"output_size": sizes(n, 1, 6)(d)},
        )
        for kind in ("Avg", "Max")
        for n in SPACES
    ),
    *(
        Row(f"BatchNorm{n}d{mode}", batch(n), batch_norm, training=not mode)
        for n in SPACES
        for mode in ("", ", evaluated")
    ),
    *(
        Row(
            f"InstanceNorm{n}d",
            images(n, 3, 5),
            lambda d: {"num_features": d.whole(1, 4), "affine": d.coin()},
        )
        for n in SPACES
    ),
    Row(
        "LayerNorm",
        normed,
        lambda d: {
            "normalized_shape": d.one_of(d.whole(2, 6), d.wholes(2, 2, 4)),
            "eps": d.one_of(1e-5, 1e-3),
            "elementwise_affine": d.coin(),
            "bias": d.coin(),
        },
    ),
    Row(
        "RMSNorm",
        normed,
        lambda d: {
            "normalized_shape": d.one_of(d.whole(2, 6), d.wholes(2, 2, 4)),
            "eps": d.one_of(None, 1e-5, 1e-3),
            "elementwise_affine": d.coin(),
        },
    ),
    Row(
        "GroupNorm",
        lambda d, o: (
            d.normal(d.whole(1, 3), o["num_channels"], *d.wholes(d.whole(1, 2), 2, 4)),
        ),
        lambda d: {
            "num_groups": (groups := d.whole(1, 3)),
            "num_channels": groups * d.whole(1, 3),
            "affine": d.coin(),
        },
    ),
    Row(
        "Embedding",
        lambda d, o: (d.below(o["num_embeddings"], *d.wholes(d.whole(1, 3), 1, 4)),),
        lambda d: {
            "num_embeddings": d.whole(1, 6),
            "embedding_dim": d.whole(1, 4),
            "padding_idx": d.one_of(None, 0),
        },
    ),
    Row("RNN", sequences(1), partial(recurrent, **nonlinear)),
    Row("LSTM", sequences(2), recurrent),
    Row("LSTM, projected", sequences(2), projected),
    Row("GRU", sequences(1), recurrent),
    *(
        Row(
            f"{kind}, lengths",
            ragged,
            recurrent,
            theirs=partial(Packed, getattr(torch.nn, kind)),
            keywords=lengths,
        )
        for kind in ("RNN", "LSTM", "GRU")
    ),
    Row("RNNCell", steps(1), partial(cell, **nonlinear)),
    Row("LSTMCell", steps(2), cell),
    Row("GRUCell", steps(1), cell),
    Row("MultiheadAttention", attended, heads, keywords=masks),
    Row(
        "TransformerEncoderLayer",
        source,
        block,
        keywords=source_masks("src_mask"),
    ),
    Row(
        "TransformerDecoderLayer",
        target_and_memory,
        block,
        keywords=target_masks,
    ),
    Row(
        "TransformerEncoder",
        source,
        stacked,
        partial(stack_of, nn, "TransformerEncoder"),
        partial(stack_of, torch.nn, "TransformerEncoder"),
        source_masks("mask"),
    ),
    Row(
        "TransformerDecoder",
        target_and_memory,
        stacked,
        partial(stack_of, nn, "TransformerDecoder"),
        partial(stack_of, torch.nn, "TransformerDecoder"),
        target_masks,
    ),
    Row(
        "Transformer",
        target_and_memory,
        pair,
        keywords=pair_masks,
    ),
    Row(
        "Sequential",
        lambda d, o: (d.normal(d.whole(2, 4), 2, 4, 5),),
        lambda d: {"width": d.whole(1, 4)},
        partial(network, nn),
        partial(network, torch.nn),
    ),
    Row(
        "Flatten",
        lambda d, o: (d.normal(*d.wholes(4, 1, 3)),),
        lambda d: {"start_dim": d.whole(0, 2), "end_dim": d.one_of(-1, -2)},
    ),
    Row(
        "Unflatten",
        lambda d, o: (d.normal(d.whole(1, 3), 6, d.whole(1, 3)),),
        lambda d: {"dim": 1, "unflattened_size": d.one_of((2, 3), (6, 1), (3, 1, 2))},
    ),
    Row(
        "Upsample",
        images(2, 1, 4),
        lambda d: {"scale_factor": sizes(2, 1, 3)(d)},
    ),
    *(
        Row(f"Upsample, {mode}", images(space, 2, 5), partial(upsampling, space, mode))
        for space, mode in enumerate(("linear", "bilinear", "trilinear"), 1)
    ),
    Row("Upsample, nearest", images(2, 2, 5), partial(upsampling, 2, "nearest")),
    Row(
        "Dropout, evaluated",
        lambda d, o: (d.normal(3, 4),),
        lambda d: {"p": d.between(0, 1)},
        training=False,
    ),
    Row("Identity", lambda d, o: (d.normal(3, 4),)),
]
