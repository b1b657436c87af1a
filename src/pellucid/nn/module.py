"""Modules: parameters, buffers and other modules under names, and a forward pass.

A module is an ordinary object: what it owns is found among its attributes, in the
order in which they were set, in lists, tuples and dicts too. Names and layouts of
state dicts are PyTorch's. Refuses to know optimisers, losses and data.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np

from pellucid.dtypes import as_dtype, is_float
from pellucid.errors import (
    ArgumentError,
    NotFittedError,
    PellucidError,
    message,
)
from pellucid.ir.graph import Array, inside
from pellucid.ir.types import TensorType
from pellucid.nn.context import (
    Frame,
    buffer_updates,
    current_frame,
    located,
    outputs_seen,
    update_buffer,
)
from pellucid.nn.spec import Specified, rebuilt, to_spec
from pellucid.nn.state import assign, check_keys, check_shapes
from pellucid.nn.summary import Row, render_summary
from pellucid.random import key_of, keys_from
from pellucid.tensors import Buffer, Parameter, Tensor, as_tensor
from pellucid.tracing import symbol, symbols

__all__ = [
    "Module",
    "Targets",
    "buffer_updates",
    "evaluated",
    "update_buffer",
]

Targets: TypeAlias = "Array | Mapping[str, Array] | None"

Kind = TypeVar("Kind")
Self = TypeVar("Self", bound="Module")


# --- modules ---------------------------------------------------------------------


class Module(Specified):
    """A layer, a loss, or a network of them. Subclasses write `forward`.

    >>> from pellucid import nn
    >>> class Net(nn.Module):
    ...     def __init__(self, width):
    ...         self.hidden = nn.Linear(2, width)
    ...         self.output = nn.Linear(width, 1)
    ...
    ...     def forward(self, x):
    ...         return self.output(nn.functional.relu(self.hidden(x)))
    >>> net = Net(3)
    >>> [name for name, _ in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'output.weight', 'output.bias']
    >>> net(np.zeros((5, 2), np.float32)).shape
    (5, 1)
    """

    training: bool = True
    """Whether layers that behave differently in training do so now."""

    activation: str | None = None
    """The name of the activation that this module is, where it is one."""

    transparent: bool = False
    """Whether the layer before is followed by what comes after this one."""

    returns_more: bool = False
    """Whether it returns a tuple, of which the first entry is the output."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output. A subclass must have its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run `forward`; nodes and errors born in it carry the layer's path."""
        operands = [as_tensor(x) if isinstance(x, np.ndarray) else x for x in inputs]
        frame = self._next_frame()
        token = current_frame.set(frame)
        try:
            with inside(frame.path):
                try:
                    output = self.forward(*operands, **options)
                except PellucidError as error:
                    raise located(error, frame, operands) from error
        finally:
            current_frame.reset(token)
        seen = outputs_seen.get()
        if seen is not None:
            seen[frame.path] = output
        return output

    def _next_frame(self) -> Frame:
        outer = current_frame.get()
        if outer is None:
            paths = {id(each): name for name, each in self.named_modules()}
            return Frame("", paths, self._head)
        own = outer.paths.get(id(self))
        if own is None:
            own = ".".join(filter(None, (outer.path, type(self).__name__)))
        return Frame(own, outer.paths, self._head)

    # --- what it owns ---

    def _members(self, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
        for name, value in vars(self).items():
            yield from _found(name, value, kind)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, each once."""
        seen: set[int] = set()
        for name, child in self._members(Module):
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules that are attributes of this one, each once."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, under the prefix, and all below it, each once."""
        seen: set[int] = set()
        for name, module in self._tree(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _tree(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Walk every module by every name that it has."""
        yield prefix, self
        for name, child in self._members(Module):
            yield from child._tree(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _leaves(self) -> Iterator[tuple[str, Parameter]]:
        """Walk every parameter and buffer by every name that it has."""
        for path, module in self._tree(""):
            for name, leaf in module._members(Parameter):
                yield f"{path}.{name}" if path else name, leaf

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter below by its dotted name; a shared one is listed once."""
        return _once(
            (name, leaf)
            for name, leaf in self._leaves()
            if not isinstance(leaf, Buffer)
        )

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter below; a shared one is listed once."""
        return (leaf for _, leaf in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer below by its dotted name; a shared one is listed once."""
        return _once(
            (name, leaf) for name, leaf in self._leaves() if isinstance(leaf, Buffer)
        )

    def buffers(self) -> Iterator[Buffer]:
        """Every buffer below; a shared one is listed once."""
        return (leaf for _, leaf in self.named_buffers())

    # --- modes and gradients ---

    def train(self: Self, mode: bool = True) -> Self:
        """Put this module and all below it into training mode, or out of it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Put this module and all below it out of training mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradient of every parameter."""
        for leaf in self.parameters():
            leaf.grad = None

    def to(self: Self, dtype: Any) -> Self:
        """Convert float parameters and buffers to `f32` or `f64`, in place."""
        target = as_dtype(dtype)
        if not is_float(target):
            raise ArgumentError(f"a module is converted to f32 or f64, not {target}")
        for _, leaf in self._leaves():
            if is_float(leaf.dtype):
                assign(leaf, leaf.value, target)
        return self

    def adapt(self, inputs: Array, targets: Targets = None) -> None:
        """Learn what is learned before training, such as means, from its data.

        The trainer calls it once with the training part, of several inputs with the
        first; `targets` is a dict where they have names. Most modules learn nothing
        here; `Sequential` fits its `Standardize` and its `Unstandardize`. One that
        overrides this ends with `check_fitted`.
        """
        self.check_fitted()

    def check_fitted(self) -> None:
        """Raise `NotFittedError` for a layer below that has to learn and has not."""
        for path, each in self.named_modules():
            if not getattr(each, "is_fitted", True):
                own = f"{path} ({each._head()})" if path else each._head()
                raise NotFittedError(
                    message(
                        f"{own}: nothing was learned before training",
                        expected="fit() reaches the first layer of a Sequential, and "
                        "the last where it brings outputs to the target's units",
                        hint="call its fit(array) with the training part before",
                    )
                )

    @property
    def target_scale(self) -> Any:
        """The layer that brings outputs back to the units of the targets, if any.

        A trainer takes the loss in front of it, in standard units. A model of several
        outputs may return a dict of such layers by the output's name.
        """
        return None

    # --- state ---

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by their dotted names."""
        return {name: leaf.value.copy() for name, leaf in self._leaves()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Set parameters and buffers by their dotted names.

        Values take the dtype of the parameter. With `strict=False` keys may be
        missing or unknown. Where anything is wrong nothing is changed.

        Raises:
            ArgumentError: keys are missing or unknown.
            ShapeError: a value has another shape than its parameter.
        """
        leaves = dict(self._leaves())
        if strict:
            check_keys(leaves, state)
        found = {name: np.asarray(state[name]) for name in leaves if name in state}
        check_shapes(leaves, found)
        for name, array in found.items():
            assign(leaves[name], array, leaves[name].dtype)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the architecture and the state to one file, which `nn.load` reads.

        Raises `ArgumentError` where the constructor's arguments do not describe the
        module as it is now, and `ModelFileError` where the file cannot be written.
        """
        from pellucid.files import write_file

        spec = to_spec(self)
        self._check_rebuilt(rebuilt(spec))
        header = {"kind": "module", "spec": spec, "training": self.training}
        write_file(path, self.state_dict(), header)

    def _check_rebuilt(self, made: Module) -> None:
        same = repr(made) == repr(self)
        names = [name for name, _ in self.named_parameters()]
        if not same or names != [name for name, _ in made.named_parameters()]:
            raise ArgumentError(
                message(
                    f"{type(self).__name__} was changed after it was made, so its "
                    "constructor's arguments do not describe it",
                    expected=f"its arguments make {made!r}",
                    hint="make the change in __init__, or save its state_dict()",
                )
            )

    # --- what people read ---

    def _head(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """What stands in the parentheses: arguments that are not the defaults."""
        parameters = inspect.signature(type(self)).parameters
        return ", ".join(
            f"{name}={value!r}"
            for name, value in self.arguments().items()
            if _is_plain(value) and value != parameters[name].default
        )

    def __repr__(self) -> str:
        lines = []
        for name, child in self.named_children():
            body = repr(child).replace("\n", "\n  ")
            lines.append(f"  ({name}): {body}\n")
        if not lines:
            return self._head()
        head = self._head()[:-1]
        return f"{head}\n{''.join(lines)})"

    def summary(self, *input_shapes: tuple[int, ...], dtype: Any = "f32") -> str:
        """Return a table of layers: type, output shape, parameters, initialiser.

        Output shapes are shown where the shape of each input is given.

        >>> from pellucid import nn
        >>> print(nn.Sequential(nn.Linear(2, 3), nn.ReLU()).summary((8, 2)))
        layer  type                                   output    parameters  initialised
               Sequential                             f32[8,3]
        0      Linear(in_features=2, out_features=3)  f32[8,3]           9  he_normal, \
because relu follows
        1      ReLU()                                 f32[8,3]
        9 parameters, 36 bytes
        """
        shapes = self._output_types(input_shapes, dtype) if input_shapes else {}
        rows = []
        counted: set[int] = set()
        for path, module in self.named_modules():
            own = [leaf for _, leaf in _once(module._members(Parameter))]
            fresh = [leaf for leaf in own if id(leaf) not in counted]
            counted |= {id(leaf) for leaf in own}
            sizes = [leaf.size for leaf in fresh if not isinstance(leaf, Buffer)]
            kind = module._head() if not any(module.children()) else ""
            rows.append(
                Row(
                    path,
                    kind or type(module).__name__,
                    shapes.get(path, ""),
                    sum(sizes) if own else None,
                    str(getattr(module, "initialised", "")),
                )
            )
        parameters = list(self.parameters())
        size = sum(leaf.size for leaf in parameters)
        return render_summary(rows, size, sum(leaf.type.nbytes for leaf in parameters))

    def _output_types(
        self, shapes: tuple[tuple[int, ...], ...], dtype: Any
    ) -> dict[str, str]:
        inputs = [symbol(TensorType(shape, as_dtype(dtype))) for shape in shapes]
        seen: dict[str, Any] = {}
        token = outputs_seen.set(seen)
        try:
            leaves = dict(_once(self._leaves()))
            with keys_from(key_of(0)), buffer_updates(), symbols(leaves):
                self(*inputs)
        finally:
            outputs_seen.reset(token)
        return {path: _type_of(output) for path, output in seen.items()}


@contextmanager
def evaluated(module: Module) -> Iterator[None]:
    """Have a module and all below it out of training for a block."""
    before = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in before:
            each.training = mode


# --- helpers ---------------------------------------------------------------------


def _found(name: str, value: Any, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _found(f"{name}.{index}", each, kind)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _found(f"{name}.{key}", each, kind)


def _type_of(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(output.type)
    first = output[0] if isinstance(output, tuple) and output else None
    return f"{first.type}, …" if isinstance(first, Tensor) else "several"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _once(pairs: Iterator[tuple[str, Kind]]) -> Iterator[tuple[str, Kind]]:
    seen: set[int] = set()
    for name, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
