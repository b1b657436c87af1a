"""Optimisers: pure pairs (init, update) that chain, and learning-rate schedules.

An optimiser turns gradients into steps; `chain` puts penalties and clipping before
it, weight decay and limits behind it. It knows tensors by name and nothing of layers,
data or the loop.

    chain(clip_global_norm(1.0), AdamW(lr=WarmUp(Cosine(1e-3, 10_000), 500)))
"""

from pellucid.optim.adaptive import (
    Adagrad,
    Adam,
    AdamW,
    NAdam,
    RMSprop,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_nadam,
    scale_by_rms,
)
from pellucid.optim.base import Context, Transform, apply_updates, chain
from pellucid.optim.clip import clip_global_norm, clip_norm, clip_value
from pellucid.optim.gradient import SGD, momentum, scale, scale_by_learning_rate
from pellucid.optim.lbfgs import LBFGS, backtracking, scale_by_lbfgs
from pellucid.optim.masked import masked
from pellucid.optim.muon import Muon, scale_by_muon
from pellucid.optim.names import OPTIMIZERS, from_name
from pellucid.optim.plateau import reduce_on_plateau
from pellucid.optim.regularise import l1, l2, max_norm, weight_decay
from pellucid.optim.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    InverseTime,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)
from pellucid.optim.sign import Lion, scale_by_lion

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Context",
    "Cosine",
    "ExponentialDecay",
    "InverseTime",
    "Lion",
    "Muon",
    "NAdam",
    "OneCycle",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "Transform",
    "WarmUp",
    "apply_updates",
    "as_schedule",
    "backtracking",
    "chain",
    "clip_global_norm",
    "clip_norm",
    "clip_value",
    "from_name",
    "l1",
    "l2",
    "masked",
    "max_norm",
    "momentum",
    "reduce_on_plateau",
    "scale",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_muon",
    "scale_by_nadam",
    "scale_by_rms",
    "weight_decay",
]
