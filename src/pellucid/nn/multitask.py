"""Several tasks on one trunk: `Heads`, and weights of losses that are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.functional import exp
from pellucid.ir.graph import Array
from pellucid.nn.module import Module, Targets
from pellucid.nn.scaling import fit_scale
from pellucid.tensors import Parameter, Tensor

__all__ = ["Heads", "UncertaintyWeights"]


class Heads(Module):
    """A trunk and a head for each task: x becomes a dict of outputs by task.

    Train it with a dict of losses and a dict of targets of the same names. A head may
    end in `Unstandardize`: then its loss is taken in standard units.

    Args:
        trunk: from the inputs to features that all tasks share.
        heads: from the features to the output of each task, by its name.

    >>> from pellucid import nn
    >>> trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> model = Heads(trunk, {"price": nn.Linear(8, 1), "kind": nn.Linear(8, 3)})
    >>> outputs = model(np.zeros((5, 4), np.float32))
    >>> {name: each.shape for name, each in outputs.items()}
    {'price': (5, 1), 'kind': (5, 3)}
    >>> list(model.state_dict())[2:]
    ['heads.price.weight', 'heads.price.bias', 'heads.kind.weight', 'heads.kind.bias']
    """

    def __init__(self, trunk: Module, heads: Mapping[str, Module]) -> None:
        if not heads:
            raise ArgumentError("a model of several tasks needs a head at least")
        for name, head in heads.items():
            if not isinstance(head, Module) or not name or "." in name:
                raise ArgumentError(
                    message(
                        f"head {name!r} is {head!r:.40}",
                        expected="expected a module, under a name without a dot",
                    )
                )
        self.trunk, self.heads = trunk, dict(heads)

    def forward(self, *inputs: Any) -> dict[str, Any]:
        """Return the output of each head by its name."""
        features = self.trunk(*inputs)
        return {name: head(features) for name, head in self.heads.items()}

    def adapt(self, inputs: Array, targets: Targets = None) -> None:
        """Let the trunk learn what is learned before training, and the last scales."""
        self.trunk.adapt(inputs)
        fit_scale(self.target_scale, targets)
        self.check_fitted()

    @property
    def target_scale(self) -> Any:
        """Those of the heads, by name."""
        found = {name: head.target_scale for name, head in self.heads.items()}
        return {name: each for name, each in found.items() if each is not None}


class UncertaintyWeights(Module):
    """Weighs each task's loss by how noisy the task is, which is learned with it.

    With s = log σ² for each task the total is Σ w·exp(−s)·loss + s / 2, where w is ½
    for a squared error and 1 for others. Where it is smallest, a task of squared
    errors has σ² = its mean squared error.
    Source: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh
    losses for scene geometry and semantics" (2018).

    Args:
        names: of the tasks.
        squared: those whose loss is a squared error.

    State: `log_variance.NAME`, a number each, which starts at 0.

    >>> from pellucid.tensors import tensor
    >>> weigh = UncertaintyWeights(["price", "kind"], squared=["price"])
    >>> parts = weigh({"price": tensor(4.0), "kind": tensor(0.5)})
    >>> {name: each.item() for name, each in parts.items()}
    {'price': 2.0, 'kind': 0.5}
    >>> weigh.weights()
    {'price': 0.5, 'kind': 1.0}
    """

    def __init__(self, names: Sequence[str], squared: Sequence[str] = ()) -> None:
        for name in squared:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ArgumentError(message(f"no task named {name!r}", hint=hint))
        self.log_variance = {name: Parameter(0.0) for name in names}
        self.squared = tuple(squared)

    def _factor(self, name: str) -> float:
        return 0.5 if name in self.squared else 1.0

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what each task adds to the total."""
        found = {}
        for name, loss in losses.items():
            if name not in self.log_variance:
                hint = did_you_mean(name, self.log_variance)
                raise ArgumentError(message(f"no task named {name!r}", hint=hint))
            s: Tensor = self.log_variance[name]
            found[name] = loss * exp(-s) * self._factor(name) + s * 0.5
        return found

    def weights(self) -> dict[str, float]:
        """Return by what each loss is multiplied now."""
        return {
            name: self._factor(name) * float(np.exp(-s.value))
            for name, s in self.log_variance.items()
        }
