"""The network of a forecast: a straight path and a curved one, about a level."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.functional import concat, expand_dims, sqrt
from pellucid.nn import GRU, LSTM, MLP, Linear, Module
from pellucid.tensors import Tensor

__all__ = ["Forecaster"]

LEAST_SPREAD = 1e-3
"""A window is not blown up beyond this share of the series' spread."""


class Forecaster(Module):
    """Says the next values of a series from a window of it.

    The window's level is taken out and put back behind: its last value (`level`), so
    that what is learned holds at any height; its mean and its spread (`window`), so
    that it holds for any size too (Kim et al., "Reversible instance normalization",
    2022); or nothing (`none`). The output is a linear function of all inputs, which
    starts at zero, and so at the naive forecast, plus what the model makes of them.

    Args:
        lags: how many recent values there are, `x[0]` `[batch, lags]`.
        horizon: how many values are said.
        seasonal: how many values of one season before there are, `[batch, seasonal]`.
        extra: how many other numbers there are, in one array or several.
        model: `linear`: nothing beside the linear path. `mlp`: layers of the widths
            `hidden` read all inputs. `gru`, `lstm`: recurrent layers of one width read
            the recent values in their order.
        hidden: the widths; of recurrent layers all alike.
        scaling: `level`, `window` or `none`.

    >>> import numpy as np
    >>> net = Forecaster(lags=3, horizon=2, model="linear")
    >>> net(np.array([[5, 7, 9]], np.float32)).value.tolist()
    [[9.0, 9.0]]
    """

    def __init__(
        self,
        lags: int,
        horizon: int,
        seasonal: int = 0,
        extra: int = 0,
        model: str = "mlp",
        hidden: Sequence[int] = (32,),
        scaling: str = "level",
    ) -> None:
        self.seasonal, self.extra, self.scaling = bool(seasonal), extra, scaling
        width = lags + seasonal + extra + (scaling == "level")
        self.linear = Linear(width, horizon, init="zeros")
        self.reader: Module | None = None
        self.curved: Module | None = None
        if model == "mlp":
            self.curved = MLP(width, tuple(hidden), horizon)
        elif model in _RECURRENT:
            if len(set(hidden)) != 1:
                raise ArgumentError(
                    message(
                        f"hidden={tuple(hidden)!r}",
                        expected=f"expected one width, once for each layer of {model}",
                    )
                )
            self.reader = _RECURRENT[model](1, hidden[0], len(hidden), batch_first=True)
            self.curved = MLP(hidden[0] + width - lags, (), horizon)
        elif model != "linear":
            known = ("linear", "mlp", *_RECURRENT)
            hint = did_you_mean(model, known)
            raise ArgumentError(message(f"model={model!r}", hint=hint))

    def forward(self, recent: Tensor, *others: Tensor) -> Tensor:
        """Return the next values, `[batch, horizon]`, in the recent ones' unit."""
        level, spread = self._level(recent)
        values = [recent, others[0]] if self.seasonal else [recent]
        rest = [each.reshape(len(each), -1) for each in others[self.seasonal :]]
        around = [(each - level) / spread for each in values]
        if self.scaling == "level":
            rest.append(level)
        behind = [*around[1:], *rest]
        found: Tensor = self.linear(concat([around[0], *behind], axis=1))
        if self.reader is not None and self.curved is not None:
            outputs, _ = self.reader(expand_dims(around[0], 2))
            found = found + self.curved(concat([outputs[:, -1], *behind], axis=1))
        elif self.curved is not None:
            found = found + self.curved(concat([around[0], *behind], axis=1))
        return found * spread + level

    def _level(self, recent: Tensor) -> tuple[Tensor, Tensor | float]:
        if self.scaling == "level":
            return recent[:, -1:], 1.0
        if self.scaling == "none":
            return recent[:, -1:] * 0.0, 1.0
        mean = recent.mean(axis=1, keepdims=True)
        away = recent - mean
        variance = (away * away).mean(axis=1, keepdims=True)
        return mean, sqrt(variance + LEAST_SPREAD**2)


_RECURRENT: dict[str, type[GRU] | type[LSTM]] = {"gru": GRU, "lstm": LSTM}
