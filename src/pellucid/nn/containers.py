"""Layers one after the other: `Sequential`, and `MLP`, which builds one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pellucid.errors import ArgumentError, message
from pellucid.ir.graph import Array
from pellucid.nn.activations import activation_layer
from pellucid.nn.augment import Augmentation
from pellucid.nn.linear import Linear, Weighted, positive
from pellucid.nn.module import Module, Targets, evaluated
from pellucid.nn.scaling import Standardize, Unstandardize, fit_scale
from pellucid.nn.simple import Dropout, Flatten, Identity, Unflatten
from pellucid.tensors import as_tensor

__all__ = ["MLP", "Sequential"]


class Sequential(Module):
    """Layers one after the other, numbered from 0, or named by a dict.

    Layers whose initialiser is `auto` are told which activation follows them. Where a
    layer returns more than its output, such as its state, the output alone goes on.

    >>> from pellucid import nn
    >>> net = Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> net
    Sequential(
      (0): Linear(in_features=4, out_features=8)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3)
    )
    >>> net[0].initialised
    'he_normal, because relu follows'
    >>> list(net.state_dict())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module | dict[str, Module]) -> None:
        for name, layer in _named(layers).items():
            _check_name(self, name, layer)
            setattr(self, name, layer)
        self._tell_what_follows()

    def arguments(self) -> dict[str, Any]:
        """Return the layers as they are now."""
        names = [name for name, _ in self._members(Module)]
        if names == [str(i) for i in range(len(names))]:
            return {"layers": tuple(self)}
        return {"layers": (dict(zip(names, self)),)}

    def forward(self, x: Any) -> Any:
        """Pass x through every layer."""
        for layer in self:
            x = layer(x)[0] if layer.returns_more else layer(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self._members(Module))

    def __getitem__(self, index: int | slice) -> Any:
        layers = list(self._members(Module))
        if isinstance(index, slice):
            return Sequential(dict(layers[index]))
        if not -len(layers) <= index < len(layers):
            raise IndexError(f"no layer {index} among {len(layers)}")
        return layers[index][1]

    def append(self, layer: Module) -> Sequential:
        """Put a layer behind the last one."""
        name = str(len(self))
        _check_name(self, name, layer)
        setattr(self, name, layer)
        self._tell_what_follows()
        return self

    def adapt(self, inputs: Array, targets: Targets = None) -> None:
        """Fit a leading `Standardize` to inputs, a trailing `Unstandardize` to targets.

        Layers that only move numbers, as `Flatten` and augmentation do, may stand in
        front. One that was fitted before stays as it is.
        """
        layers = list(self)
        while layers and _moves(layers[0]):
            with evaluated(layers[0]):
                inputs, layers = layers[0](as_tensor(inputs)).value, layers[1:]
        if layers and isinstance(layers[0], Standardize):
            if not layers[0].is_fitted:
                layers[0].fit(inputs)
        elif layers and not isinstance(layers[0], Unstandardize):
            layers[0].adapt(inputs, targets if len(layers) == 1 else None)
        fit_scale(self.target_scale, targets)
        self.check_fitted()

    @property
    def target_scale(self) -> Any:
        """The last layer where it is an `Unstandardize`, or what the last one says."""
        layers = list(self)
        last = layers[-1] if layers else None
        if last is None or isinstance(last, Unstandardize):
            return last
        return last.target_scale

    def _tell_what_follows(self) -> None:
        layers = list(_flat(self))
        for i, layer in enumerate(layers):
            if isinstance(layer, Weighted):
                behind = (each for each in layers[i + 1 :] if not each.transparent)
                activation = next(behind, None)
                name = None if activation is None else activation.activation
                slope = getattr(activation, "negative_slope", 0.0)
                layer.followed_by(name, slope)


def _moves(layer: Module) -> bool:
    """Return whether a layer is one that moves numbers, and learns nothing."""
    return isinstance(layer, Augmentation | Flatten | Identity | Unflatten)


def _named(layers: Sequence[Module | dict[str, Module]]) -> dict[str, Any]:
    if len(layers) == 1 and isinstance(layers[0], dict):
        return dict(layers[0])
    return {str(i): layer for i, layer in enumerate(layers)}


def _check_name(owner: Module, name: str, layer: Any) -> None:
    if not isinstance(layer, Module):
        hint = "put () behind its name" if isinstance(layer, type) else ""
        raise ArgumentError(
            message(
                f"layer {name} is not a module",
                expected=f"got {layer!r}",
                hint=hint,
            )
        )
    if "." in name or not name or hasattr(owner, name):
        raise ArgumentError(f"a layer cannot be named {name!r}")


def _flat(container: Sequential) -> Iterator[Module]:
    for layer in container:
        if isinstance(layer, Sequential):
            yield from _flat(layer)
        else:
            yield layer


class MLP(Sequential):
    """A multi-layer perceptron: linear layers with an activation between them.

    Args:
        in_features: the width of the input.
        hidden: the width of each hidden layer; none makes a linear model.
        out_features: the width of the output, which has no activation.
        activation: the name of an activation.
        dropout: the share of hidden units that training drops.

    >>> MLP(4, (8,), 3, dropout=0.1)
    MLP(
      (0): Linear(in_features=4, out_features=8)
      (1): ReLU()
      (2): Dropout(p=0.1)
      (3): Linear(in_features=8, out_features=3)
    )
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (64, 64),
        out_features: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        positive(in_features=in_features, out_features=out_features)
        if not isinstance(hidden, Iterable):
            raise ArgumentError(
                message(
                    f"hidden={hidden!r}",
                    expected="expected the widths of the hidden layers, one each",
                    hint=f"try hidden=({hidden!r},)",
                )
            )
        layers: list[Module] = []
        width = in_features
        for size in hidden:
            layers += [Linear(width, size), activation_layer(activation)]
            if dropout:
                layers.append(Dropout(dropout))
            width = size
        super().__init__(*layers, Linear(width, out_features))

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return Module.arguments(self)

    def extra_repr(self) -> str:
        """Nothing: the layers say it all."""
        return ""
