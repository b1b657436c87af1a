"""Input normalisation kept in the model: `Standardize`, and its inverse for targets.

Fitted once, to the training part; never trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.configuration import current
from pellucid.errors import DataError, NotFittedError, ShapeError, message
from pellucid.ir.graph import Array
from pellucid.nn.module import Module, Targets
from pellucid.tensors import Buffer, Tensor

__all__ = [
    "Standardize",
    "StandardizeChannels",
    "Unstandardize",
    "fit_scale",
    "usable_scale",
]

ROWS = 1024
"""The images that are looked at together for their mean."""


def usable_scale(mean: Array, deviation: Array, count: int) -> Array:
    """Return standard deviations of so many numbers, 1 where they are all the same.

    What rounding leaves of a constant is not a spread.

    >>> same = np.full(320, 9.99)
    >>> bool(same.std() > 0), usable_scale(same.mean(), same.std(), 320).item()
    (True, 1.0)
    """
    flat = deviation <= np.abs(mean) * math.sqrt(count) * np.finfo(np.float64).eps
    return np.where(flat, 1.0, deviation)


class _Scaling(Module):
    """A mean and a scale for each feature, and whether they were fitted."""

    mean: Buffer
    scale: Buffer
    fitted: Buffer
    transparent = True

    def _start(self, features: int | tuple[int, ...]) -> None:
        shape = (features,) if isinstance(features, int) else tuple(features)
        dtype = current().dtype
        self.mean = Buffer(np.zeros(shape), dtype)
        self.scale = Buffer(np.ones(shape), dtype)
        self.fitted = Buffer(False)

    @property
    def is_fitted(self) -> bool:
        """Whether mean and scale were learned or loaded."""
        # Inside a trace the flag has no value: who traces has fitted before.
        return not self.fitted.has_value or bool(self.fitted.value)

    def fit(self, values: Any) -> None:
        """Learn the mean and the standard deviation of each feature.

        `values` is `[rows, …features]`; for one feature `[rows]` will do. A feature
        that is the same everywhere gets the scale 1. Computed in float64.
        """
        mean, scale, count = self._moments(np.asarray(values))
        self.mean.value = mean
        self.scale.value = usable_scale(mean, scale, count)
        self.fitted.value = True

    def _moments(self, values: Array) -> tuple[Array, Array, int]:
        """Return mean, standard deviation, and of how many values they are."""
        rows = self._rows(values)
        return rows.mean(0), rows.std(0), len(rows)

    def _rows(self, values: Array) -> Array:
        shape = self.mean.shape
        if values.ndim == 1 and self.mean.size == 1:
            values = values.reshape(-1, *shape)
        if values.shape[1:] != shape or not len(values):
            raise self._misfit(values, ["rows", *shape])
        if not np.isfinite(values).all():
            raise self._not_finite()
        return values.astype(np.float64)

    def _misfit(self, values: Array, expected: list[Any]) -> ShapeError:
        what = f"cannot fit {self._head()} to an array of shape {list(values.shape)}"
        return ShapeError(
            message(what, expected=f"expected {expected}, at least one row")
        )

    def _not_finite(self) -> DataError:
        what = f"cannot fit {self._head()}: NaN or infinity in the data"
        return DataError(message(what, hint="fill in or drop the missing values"))

    def _need_fit(self) -> None:
        if not self.is_fitted:
            raise NotFittedError(
                message(
                    "mean and scale are not known yet",
                    hint="call fit(array) with the training part, or train with "
                    "Trainer, which does",
                )
            )


class Standardize(_Scaling):
    """(x − mean) / scale for each feature of the input.

    Args:
        features: how many, or the shape behind the batch axis.

    >>> layer = Standardize(1)
    >>> layer.fit([[1.0], [3.0]])
    >>> layer(np.array([[1.0], [3.0]], np.float32)).value.tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, features: int | tuple[int, ...]) -> None:
        self._start(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return x in standard units."""
        self._need_fit()
        return (x - self.mean) / self.scale


class StandardizeChannels(Standardize):
    """(x − mean) / scale for each channel of images `[batch, channels, space…]`.

    Mean and scale are over the images and all their pixels. Bytes become floats.

    Args:
        channels: how many.
        space: the number of axes behind them.

    >>> layer = StandardizeChannels(1)
    >>> layer.fit(np.array([[[[0, 255]]]], np.uint8))
    >>> layer(np.array([[[[0, 255]]]], np.uint8)).value.tolist()
    [[[[-1.0, 1.0]]]]
    """

    def __init__(self, channels: int, space: int = 2) -> None:
        super().__init__((channels, *(1,) * space))

    def _moments(self, values: Array) -> tuple[Array, Array, int]:
        channels, space = self.mean.shape[0], self.mean.ndim - 1
        fits = values.ndim == space + 2 and values.shape[1] == channels
        if not (fits and values.size):
            raise self._misfit(values, ["rows", channels, *["size"] * space])
        # In parts, so that no copy of all images in floats is needed.
        axes = (0, *range(2, values.ndim))
        parts = [values[i : i + ROWS] for i in range(0, len(values), ROWS)]
        count = values.size // channels
        mean = np.sum([each.sum(axes, dtype=np.float64) for each in parts], 0) / count
        centre = mean.reshape(self.mean.shape)
        squares = np.sum([np.square(each - centre).sum(axes) for each in parts], 0)
        if not np.isfinite(squares).all():
            raise self._not_finite()
        scale = np.sqrt(squares / count)
        return centre, scale.reshape(self.mean.shape), count


class Unstandardize(_Scaling):
    """y · scale + mean: from standard units to the target's own.

    The last layer of a regression. A trainer may take the loss in standard units,
    with `inverse`.

    >>> layer = Unstandardize(1)
    >>> layer.fit([10.0, 30.0])
    >>> layer(np.array([[-1.0], [1.0]], np.float32)).value.tolist()
    [[10.0], [30.0]]
    """

    def __init__(self, outputs: int | tuple[int, ...] = 1) -> None:
        self._start(outputs)

    def forward(self, y: Tensor) -> Tensor:
        """Return y in the target's units."""
        self._need_fit()
        return y * self.scale + self.mean

    def inverse(self, y: Tensor) -> Tensor:
        """Return y, which is in the target's units, in standard units."""
        self._need_fit()
        return (y - self.mean) / self.scale


def fit_scale(scale: Any, targets: Targets) -> None:
    """Fit a `target_scale` of a module, or a dict of them, where it was not before."""
    if isinstance(scale, Mapping):
        named = targets if isinstance(targets, Mapping) else {}
        for name, each in scale.items():
            fit_scale(each, named.get(name))
    elif scale is not None and targets is not None and not scale.is_fitted:
        scale.fit(targets)
