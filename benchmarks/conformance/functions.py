"""Activations, losses and other functions: one row each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as theirs

from benchmarks.conformance.row import Draw, Options, Row
from pellucid import functional, nn

__all__ = ["ACTIVATIONS", "FUNCTIONS", "LOSSES"]

Inputs = tuple[Any, ...]


def anything(d: Draw, o: Options) -> Inputs:
    return (d.normal(*d.wholes(d.whole(0, 2), 1, 5), d.whole(4, 8)) * 3.0,)


def channels(d: Draw, o: Options) -> Inputs:
    """Draw numbers with channels along axis 1."""
    count = o.get("num_parameters", 1)
    many = count if count > 1 else d.whole(1, 4)
    return (d.normal(d.whole(1, 4), many, *d.wholes(d.whole(0, 2), 1, 4)) * 2.0,)


def axis(d: Draw) -> Options:
    return {"dim": d.one_of(-1, 0, 1)}


def their_step() -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the step, which PyTorch has not: with a derivative, which is 0."""
    return lambda x: (x >= 0).to(x.dtype) + x * 0


def their_hardsigmoid() -> Callable[[torch.Tensor], torch.Tensor]:
    """Return its formula: the layer's own derivative is 1/6 rounded to f32."""
    return lambda x: theirs.relu6(x + 3) / 6


def their_celu(alpha: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return its formula: the layer's own derivative rounds α to f32."""
    return lambda x: theirs.relu(x) + alpha * torch.expm1(-theirs.relu(-x) / alpha)


PLAIN = (
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Mish",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Hardtanh",
    "Hardswish",
)
SINGLE = 1e-7
"""What agrees as far as the f32 in PyTorch's own rule allows."""

ACTIVATIONS = [
    *(Row(name, anything) for name in PLAIN),
    Row("Hardsigmoid", anything, tolerance=SINGLE),
    Row("Hardsigmoid, by formula", anything, theirs=their_hardsigmoid),
    Row("Step", anything, theirs=their_step),
    Row("LeakyReLU", anything, lambda d: {"negative_slope": d.between(0.0, 0.5)}),
    Row("PReLU", channels, lambda d: {"num_parameters": d.whole(1, 4)}),
    Row("ELU", anything, lambda d: {"alpha": d.between(0.2, 2.0)}),
    Row(
        "CELU",
        anything,
        lambda d: {"alpha": d.between(0.2, 2.0)},
        tolerance=SINGLE,
    ),
    Row(
        "CELU, by formula",
        anything,
        lambda d: {"alpha": d.between(0.2, 2.0)},
        theirs=their_celu,
    ),
    Row("GELU", anything, lambda d: {"approximate": d.one_of("none", "tanh")}),
    Row("Softmax", channels, axis),
    Row("LogSoftmax", channels, axis),
]


# --- losses ----------------------------------------------------------------------


def reduction(d: Draw, **more: Callable[[Draw], Any]) -> Options:
    chosen = {name: choose(d) for name, choose in more.items()}
    return {"reduction": d.one_of("mean", "sum", "none"), **chosen}


def values(d: Draw, o: Options) -> Inputs:
    shape = d.wholes(d.whole(1, 3), 1, 5)
    return d.normal(*shape) * 2.0, d.normal(*shape)


def chances(d: Draw, o: Options) -> Inputs:
    """Draw probabilities, and targets of which most are 0 or 1."""
    shape = d.wholes(2, 1, 5)
    return d.uniform(*shape), d.one_of(d.uniform, hard(d))(*shape)


def logits(d: Draw, o: Options) -> Inputs:
    width = 1 if o["pos_weight"] is None else len(o["pos_weight"])
    shape = (d.whole(1, 5), width)
    return d.normal(*shape) * 4.0, d.one_of(d.uniform, hard(d))(*shape)


def hard(d: Draw) -> Callable[..., Any]:
    return lambda *shape: d.below(2, *shape).astype(float)


CLASSES = 4


def labels(d: Draw, o: Options) -> Inputs:
    around = d.wholes(d.whole(0, 2), 1, 3)
    count = d.whole(1, 5)
    return d.normal(count, CLASSES, *around) * 2.0, d.below(CLASSES, count, *around)


def shares(d: Draw, o: Options) -> Inputs:
    """Draw outputs and probabilities of each class in place of a label."""
    shape = (d.whole(1, 5), CLASSES, *d.wholes(d.whole(0, 1), 1, 3))
    target = d.uniform(*shape)
    return d.normal(*shape) * 2.0, target / target.sum(1, keepdims=True)


def class_weights(d: Draw) -> Any:
    return d.one_of(None, d.uniform(CLASSES) * 2.0)


def positive_weights(d: Draw) -> Any:
    return d.one_of(None, d.uniform(d.whole(1, 4)) * 3.0)


def smoothing(d: Draw) -> float:
    return d.one_of(0.0, d.between(0.0, 0.5))


def their(kind: str, **options: Any) -> Any:
    """Make a loss of PyTorch; arrays among the options become tensors.

    It comes without its state: weights of classes are arguments in ours, no state.
    """
    arrays = {k: v for k, v in options.items() if hasattr(v, "dtype")}
    tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
    return getattr(torch.nn, kind)(**{**options, **tensors}).forward


def their_smoothed(kind: str, label_smoothing: float, **options: Any) -> Any:
    """Make a loss of two classes, for which PyTorch leaves smoothing to its users."""
    loss = their(kind, **options)
    return lambda x, y: loss(x, y * (1 - label_smoothing) + label_smoothing / 2)


def our_entropy_of_softmax(**options: Any) -> Any:
    loss = nn.CrossEntropyLoss(**options, from_logits=False)
    return lambda x, y: loss(functional.softmax(x, 1), y)


def their_root() -> Any:
    loss = torch.nn.MSELoss()
    return lambda x, y: loss(x, y).sqrt()


entropy = partial(reduction, weight=class_weights, label_smoothing=smoothing)

LOSSES = [
    Row("MSELoss", values, reduction),
    Row("RMSELoss", values, theirs=their_root),
    Row("L1Loss", values, reduction),
    Row("HuberLoss", values, partial(reduction, delta=lambda d: d.between(0.3, 2.0))),
    Row("SmoothL1Loss", values, partial(reduction, beta=lambda d: d.between(0.3, 2))),
    Row(
        "BCELoss",
        chances,
        partial(reduction, label_smoothing=smoothing),
        theirs=partial(their_smoothed, "BCELoss"),
        fixed=(1,),
    ),
    Row(
        "BCEWithLogitsLoss",
        logits,
        partial(reduction, pos_weight=positive_weights, label_smoothing=smoothing),
        theirs=partial(their_smoothed, "BCEWithLogitsLoss"),
        fixed=(1,),
    ),
    Row(
        "CrossEntropyLoss, labels",
        labels,
        entropy,
        theirs=partial(their, "CrossEntropyLoss"),
    ),
    Row(
        "CrossEntropyLoss, probabilities",
        shares,
        entropy,
        theirs=partial(their, "CrossEntropyLoss"),
        fixed=(1,),
    ),
    Row(
        "CrossEntropyLoss, of softmax",
        labels,
        entropy,
        our_entropy_of_softmax,
        partial(their, "CrossEntropyLoss"),
    ),
    Row(
        "NLLLoss",
        labels,
        partial(reduction, weight=class_weights),
        theirs=partial(their, "NLLLoss"),
    ),
]


# --- functions -------------------------------------------------------------------


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a callable of a function and its options."""
    return lambda **options: partial(function, **options)


def function(name: str, inputs: Any, options: Any = None, **more: Any) -> Row:
    """Return a row of a function; `theirs` where PyTorch has another name for it."""
    other = more.pop("theirs", None) or getattr(theirs, name)
    chosen = options or (lambda d: {})
    return Row(
        name,
        inputs,
        chosen,
        called(getattr(functional, name)),
        called(other),
        **more,
    )


def queries(d: Draw, o: Options) -> Inputs:
    first, (time, keys, width, out) = d.wholes(d.whole(0, 2), 1, 3), d.wholes(4, 1, 5)
    return (
        d.normal(*first, time, width),
        d.normal(*first, keys, width),
        d.normal(*first, keys, out),
    )


def allowed(d: Draw, o: Options, given: Inputs) -> Options:
    """Draw which keys may be looked at, the first always; or floats, or nothing."""
    shape, kind = (given[0].shape[-2], given[1].shape[-2]), d.whole(0, 2)
    if o["is_causal"] or not kind:
        return {}
    mask = d.uniform(*shape) < 0.6
    mask[:, 0] = True
    return {"attn_mask": mask if kind == 1 else d.normal(*shape)}


def affine(d: Draw, o: Options) -> Inputs:
    (into, out), around = d.wholes(2, 1, 5), d.wholes(d.whole(0, 2), 1, 4)
    return d.normal(*around, into), d.normal(out, into), d.normal(out)


def pair(d: Draw, o: Options) -> Inputs:
    """Draw factors of a product of matrices whose batches broadcast."""
    a, b, c, n = d.wholes(4, 1, 4)
    shapes = d.one_of(((a, b), (b, c)), ((n, a, b), (b, c)), ((n, 1, a, b), (3, b, c)))
    return tuple(d.normal(*shape) for shape in shapes)


def their_logsumexp(x: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.logsumexp(x, axis)


FUNCTIONS = [
    function("linear", affine),
    function("matmul", pair, theirs=torch.matmul),
    function("log_sigmoid", anything, theirs=theirs.logsigmoid),
    Row(
        "softmax",
        channels,
        lambda d: {"axis": d.one_of(-1, 0, 1)},
        called(functional.softmax),
        lambda axis: partial(theirs.softmax, dim=axis),
    ),
    Row(
        "log_softmax",
        channels,
        lambda d: {"axis": d.one_of(-1, 0, 1)},
        called(functional.log_softmax),
        lambda axis: partial(theirs.log_softmax, dim=axis),
    ),
    function(
        "logsumexp",
        channels,
        lambda d: {"axis": d.one_of(-1, 0, 1)},
        theirs=their_logsumexp,
    ),
    *(
        function(name, anything, theirs=getattr(torch, name))
        for name in ("erf", "exp", "expm1", "sin", "cos", "tanh", "square", "abs")
    ),
    *(
        function(
            name,
            lambda d, o: (d.uniform(*d.wholes(2, 1, 5)) * 4.0,),
            theirs=getattr(torch, name),
        )
        for name in ("log", "log1p", "sqrt")
    ),
    function(
        "scaled_dot_product_attention",
        queries,
        lambda d: {
            "is_causal": d.coin(),
            "scale": d.one_of(None, d.between(0.1, 2.0)),
        },
        keywords=allowed,
    ),
]
