"""What training makes small and what is measured beside it: outputs to numbers.

A model of several outputs has a loss for each and a total of them. Targets may be
missing: a column `present` (or `present.NAME`) beside `y` says where they are there,
and what is missing takes part in no loss, no gradient and no metric.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional.array import where
from pellucid.ir.graph import Array
from pellucid.nn.losses import HuberLoss, MSELoss, SmoothL1Loss
from pellucid.nn.module import Module
from pellucid.nn.multitask import UncertaintyWeights
from pellucid.tensors import Parameter, Tensor, tensor
from pellucid.train.metrics import Metric

__all__ = ["Losses", "Objective", "column", "weights_of"]

_COUNT = "count of "


@dataclass(frozen=True)
class Losses:
    """The loss of a batch; where there are several, that of each output."""

    total: Tensor
    of: dict[str, Tensor] = field(default_factory=dict)


def column(kind: str, output: str) -> str:
    """Return the name of an output's column: `y`, or `y.price`."""
    return f"{kind}.{output}" if output else kind


@dataclass(frozen=True)
class Objective:
    """A loss, or one for each named output, their weights, and metrics.

    `weights` gives each named loss its share: a dict, or `UncertaintyWeights`.
    """

    loss: Any
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    weights: Any = field(default_factory=dict)

    @property
    def named(self) -> dict[str, Any]:
        """The losses by the name of their output; one alone has the name ""."""
        return dict(self.loss) if isinstance(self.loss, Mapping) else {"": self.loss}

    @cached_property
    def leaves(self) -> dict[str, Parameter]:
        """The parameters and buffers of the losses and of their weights, by name."""
        return {
            f"{prefix}.{name}": leaf
            for prefix, module in self._modules()
            for name, leaf in module._leaves()
        }

    def _modules(self) -> Iterator[tuple[str, Module]]:
        owners = {column("loss", name): each for name, each in self.named.items()}
        owners["loss_weights"] = self.weights
        yield from ((k, each) for k, each in owners.items() if isinstance(each, Module))

    # --- what is recorded ---

    @property
    def recorded(self) -> list[str]:
        """The names of what is measured beside the loss."""
        several = isinstance(self.loss, Mapping)
        losses = [f"{name}.loss" for name in self.loss] if several else []
        return [*losses, *self.metrics]

    def columns(self, data: Iterable[str]) -> list[str]:
        """Return the names of all that a step of such data records, in order.

        Behind the values stand the counts of those of which targets may be missing.
        """
        known, names = set(data), ["loss", *self.recorded]
        counts = [
            _COUNT + name
            for name in names
            if column("present", self._output(name)) in known
        ]
        return [*names, *counts]

    def _output(self, name: str) -> str:
        """Return the output that a record is of."""
        output = name.rpartition(".")[0]
        return output if isinstance(self.loss, Mapping) else ""

    def record(
        self, losses: Losses, outputs: Any, batch: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return what a step records, in the order of `columns`."""
        dtype = losses.total.dtype
        values = {"loss": losses.total}
        values |= {f"{name}.loss": each for name, each in losses.of.items()}
        for name, metric in self.metrics.items():
            values[name] = self._measured(name, metric, outputs, batch)
        found = []
        for name in self.columns(batch):
            if name in values:
                found.append(values[name])
            else:
                found.append(self._count(name.removeprefix(_COUNT), batch))
        return [each.astype(dtype) for each in found]

    def _measured(
        self, name: str, metric: Metric, outputs: Any, batch: Mapping[str, Tensor]
    ) -> Tensor:
        output = name.rpartition(".")[0]
        of = outputs[output] if output else outputs
        target = batch.get(column("y", output), batch.get("y"))
        present = batch.get(column("present", self._output(name)))
        if present is None:
            return metric(of, target)
        if not _takes_weight(metric):
            raise ArgumentError(
                message(
                    f"the metric {name!r} cannot leave out missing targets",
                    hint="let it take a third argument, weight",
                )
            )
        return metric(of, target, _safe(_weighted(present, None))[0])

    def _count(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the weight that a record of this batch has in a mean over batches."""
        present = batch[column("present", self._output(name))]
        weight = None if name in self.metrics else batch.get("weight")
        return _weighted(present, weight).sum()

    # --- the loss ---

    def losses(
        self, model: Module, outputs: Any, batch: Mapping[str, Tensor]
    ) -> Losses:
        """Return the loss of a batch, a scalar.

        A regression target that the model standardises is compared in standard units,
        so that the size of the gradient does not depend on the target's unit.
        """
        if not isinstance(self.loss, Mapping):
            one = self._loss(self.loss, "", outputs, model.target_scale, batch)
            return Losses(one)
        scales = model.target_scale or {}
        found = {}
        for name, loss in self.loss.items():
            output = _named(outputs, name)
            found[name] = self._loss(loss, name, output, scales.get(name), batch)
        return Losses(self._sum(found, batch), found)

    def _loss(
        self,
        loss: Any,
        name: str,
        output: Any,
        scale: Any,
        batch: Mapping[str, Tensor],
    ) -> Tensor:
        target, present = batch[column("y", name)], batch.get(column("present", name))
        weight = batch.get("weight")
        if scale is not None:
            output, target = scale.inverse(output), scale.inverse(target)
        if present is None:
            return _scalar(loss(output, target, weight))
        safe, some = _safe(_weighted(present, weight))
        return where(some, _scalar(loss(output, target, safe)), 0.0)

    def _sum(self, losses: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Return the total; a task of which all targets are missing adds nothing."""
        total: Tensor | None = None
        for name, part in self.shares(losses).items():
            present = batch.get(column("present", name))
            if present is not None:
                part = where(self._count(f"{name}.loss", batch) > 0.0, part, 0.0)
            total = part if total is None else total + part
        if total is None:
            raise ArgumentError("there is no loss to train on")
        return total

    def shares(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what each named loss adds to the total."""
        if isinstance(self.weights, Module):
            found: dict[str, Tensor] = self.weights(losses)
            return found
        return {
            name: each * self.weights.get(name, 1.0) for name, each in losses.items()
        }

    # --- means over batches ---

    def means(self, record: Mapping[str, Array], sizes: Array) -> dict[str, float]:
        """Return the means over batches of these sizes, or of their own counts.

        What has no count at all has no mean: NaN.
        """
        found = {}
        for name in ("loss", *self.recorded):
            values, weights = record[name], record.get(_COUNT + name, sizes)
            total = float(weights.sum())
            found[name] = float((values * weights).sum()) / total if total else math.nan
        return found

    def totalled(self, means: dict[str, float]) -> dict[str, float]:
        """Return means whose `loss` is the total of the means of the named losses.

        A loss of which no target was there adds nothing.
        """
        if not isinstance(self.loss, Mapping):
            return means
        parts = {name: means[f"{name}.loss"] for name in self.loss}
        known = {k: tensor(each, "f64") for k, each in parts.items() if each == each}
        total = sum(each.item() for each in self.shares(known).values())
        return {**means, "loss": total}


# --- weights ---------------------------------------------------------------------


def weights_of(given: Any, loss: Any, dtype: Any) -> Any:
    """Return the weights of named losses that are meant: `Trainer`'s `loss_weights`."""
    if given is None:
        return {}
    if not isinstance(loss, Mapping):
        raise ArgumentError(
            message(
                "loss_weights are for several losses, and there is one",
                hint="pass a dict of losses, by the names of the outputs",
            )
        )
    if isinstance(given, str):
        if given != "uncertainty":
            hint = did_you_mean(given, ["uncertainty"])
            raise ArgumentError(message(f"loss_weights={given!r}", hint=hint))
        squared = [name for name, each in loss.items() if isinstance(each, _SQUARED)]
        return UncertaintyWeights([*loss], squared).to(dtype)
    names = given.log_variance if isinstance(given, UncertaintyWeights) else given
    for name in names if isinstance(names, Mapping) else ():
        if name not in loss:
            hint = did_you_mean(name, loss)
            raise ArgumentError(
                message(f"loss_weights has {name!r}, which no loss has", hint=hint)
            )
    return given


_SQUARED = (MSELoss, HuberLoss, SmoothL1Loss)
"""Losses that are squares where they are small."""


# --- missing targets -------------------------------------------------------------


def _weighted(present: Tensor, weight: Tensor | None) -> Tensor:
    """Return 0 for what is missing and for the rest the weight of its row."""
    if weight is None:
        return present.astype("f32")
    in_front = weight.reshape(weight.shape[0], *[1] * (present.ndim - 1))
    return present.astype(weight.dtype) * in_front


def _safe(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights of which a mean can be taken, and whether any was above 0."""
    some = weight.sum() > 0.0
    return where(some, weight, 1.0), some


def _takes_weight(metric: Metric) -> bool:
    try:
        parameters = inspect.signature(metric).parameters
    except (TypeError, ValueError):
        return False
    return len(parameters) >= 3


# --- checks ----------------------------------------------------------------------


def _named(outputs: Any, name: str) -> Any:
    if isinstance(outputs, Mapping) and name in outputs:
        return outputs[name]
    known = outputs if isinstance(outputs, Mapping) else ()
    raise ArgumentError(
        message(
            f"the model has no output named {name!r}",
            expected="a loss for each name needs a model that returns a dict",
            hint=did_you_mean(name, known),
        )
    )


def _scalar(loss: Tensor) -> Tensor:
    if not loss.shape:
        return loss
    raise ShapeError(
        message(
            f"the loss is {loss.type}",
            expected="expected a scalar",
            hint="use reduction='mean'",
        )
    )
