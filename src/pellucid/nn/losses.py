"""Losses as modules: `loss(output, target, weight=None)`, `weight` for each sample.

Names and defaults are PyTorch's. How shapes are matched and means are weighted
stands in `functional.losses`.
"""

from __future__ import annotations

from pellucid import functional
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn.module import Module
from pellucid.tensors import Tensor, TensorLike, tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "RMSELoss",
    "SmoothL1Loss",
]

_REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """A loss; `reduction` is `mean`, `sum` or `none`."""

    reduction: str = "mean"

    def _reduce_by(self, reduction: str) -> None:
        if reduction not in _REDUCTIONS:
            hint = did_you_mean(reduction, _REDUCTIONS)
            raise ArgumentError(message(f"no reduction {reduction!r}", hint=hint))
        self.reduction = reduction


def _constant(given: TensorLike | None) -> Tensor | None:
    """Return weights of classes: no buffer, for a loss has no state to carry."""
    return None if given is None else tensor(given)


class MSELoss(Loss):
    """The squared error (x − y)².

    >>> from pellucid.tensors import tensor
    >>> MSELoss()(tensor([1.0, 2.0]), tensor([0.0, 4.0])).item()
    2.5
    """

    def __init__(self, reduction: str = "mean") -> None:
        self._reduce_by(reduction)

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.mse(output, target, weight, self.reduction)


class RMSELoss(Loss):
    """The root of the mean squared error; its gradient at 0 is 0."""

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.rmse(output, target, weight)


class L1Loss(Loss):
    """The absolute error |x − y|; the derivative at 0 is 0."""

    def __init__(self, reduction: str = "mean") -> None:
        self._reduce_by(reduction)

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.mae(output, target, weight, self.reduction)


class HuberLoss(Loss):
    """e²/2 where |e| ≤ δ, else δ(|e| − δ/2)."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self._reduce_by(reduction)
        self.delta = delta

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.huber(output, target, weight, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """e²/2β where |e| ≤ β, else |e| − β/2."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        self._reduce_by(reduction)
        self.beta = beta

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.smooth_l1(output, target, weight, self.reduction, self.beta)


class BCELoss(Loss):
    """Cross entropy of two classes, from probabilities."""

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        self._reduce_by(reduction)
        self.label_smoothing = label_smoothing

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.binary_cross_entropy(
            output, target, weight, self.reduction, self.label_smoothing
        )


class BCEWithLogitsLoss(Loss):
    """Cross entropy of two classes, from logits.

    `pos_weight` is the weight of the positive class.
    """

    def __init__(
        self,
        reduction: str = "mean",
        pos_weight: TensorLike | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self._reduce_by(reduction)
        self.pos_weight = _constant(pos_weight)
        self.label_smoothing = label_smoothing

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.binary_cross_entropy_with_logits(
            output,
            target,
            weight,
            self.reduction,
            self.pos_weight,
            self.label_smoothing,
        )


class CrossEntropyLoss(Loss):
    """Cross entropy of any number of classes, from logits or probabilities.

    Args:
        weight: of each class.
        label_smoothing: the share that is spread evenly over all classes.
        from_logits: False where the output is probabilities.
        reduction: `mean`, `sum` or `none`.
        axis: the axis of the classes; −1 for a sequence of them, `[batch, time,
            classes]`.

    >>> from pellucid.tensors import tensor
    >>> CrossEntropyLoss()(tensor([[0.0, 0.0]]), tensor([1])).item()
    0.6931471824645996
    """

    def __init__(
        self,
        weight: TensorLike | None = None,
        label_smoothing: float = 0.0,
        from_logits: bool = True,
        reduction: str = "mean",
        axis: int = 1,
    ) -> None:
        self._reduce_by(reduction)
        self.weight, self.axis = _constant(weight), axis
        self.label_smoothing, self.from_logits = label_smoothing, from_logits

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.cross_entropy(
            output,
            target,
            weight,
            self.reduction,
            self.weight,
            self.label_smoothing,
            self.from_logits,
            self.axis,
        )


class NLLLoss(Loss):
    """−log p of the label, from log-probabilities: behind a `LogSoftmax`.

    The arguments are those of the same names of `CrossEntropyLoss`.
    """

    def __init__(
        self,
        weight: TensorLike | None = None,
        reduction: str = "mean",
        axis: int = 1,
    ) -> None:
        self._reduce_by(reduction)
        self.weight, self.axis = _constant(weight), axis

    def forward(
        self, output: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss."""
        return functional.nll(
            output, target, weight, self.reduction, self.weight, self.axis
        )
