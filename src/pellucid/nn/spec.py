"""An architecture as JSON: each class by its name, with its constructor arguments.

Knows how to write down what an object was made of and how to make it again. Refuses
to know any layer, and to execute what a file says: only registered classes are made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from pellucid.dtypes import as_dtype, short_name
from pellucid.errors import ArgumentError, ModelFileError, did_you_mean, message
from pellucid.random import key_of, keys_from
from pellucid.tensors import Tensor

__all__ = ["Specified", "from_spec", "rebuilt", "register", "to_spec"]

_REGISTRY: dict[str, type[Specified]] = {}


class Specified:
    """Something that remembers the arguments it was made with."""

    __slots__ = ("_arguments",)

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        made = super().__new__(cls)
        made._arguments = (args, kwargs)
        return made

    def __init__(self) -> None:
        """Take no arguments: a subclass that takes some has its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            # Without this `help` would show the arguments of `__new__`.
            cls.__signature__ = _without_self(cls.__init__)  # type: ignore[attr-defined]
        if cls.__module__.startswith("pellucid."):
            _REGISTRY[cls.__name__] = cls

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, defaults included."""
        args, kwargs = self._arguments
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


Specified.__signature__ = inspect.Signature()  # type: ignore[attr-defined]


def _without_self(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    return signature.replace(parameters=parameters)


Class = TypeVar("Class", bound=type[Specified])


def register(cls: Class) -> Class:
    """Let files name a class of yours: a class decorator.

    Raises `ArgumentError` where another class has the name already.

    >>> from pellucid import nn
    >>> @nn.register
    ... class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return x * 2
    >>> nn.from_spec(nn.to_spec(Twice()))
    Twice()
    """
    name = cls.__name__
    known = _REGISTRY.get(name)
    if known is not None and known.__module__ != cls.__module__:
        raise ArgumentError(
            message(
                f"the name {name!r} belongs to {known.__module__}.{name}",
                hint="give your class another name",
            )
        )
    _REGISTRY[name] = cls
    return cls


# --- writing ---------------------------------------------------------------------


def to_spec(module: Specified) -> dict[str, Any]:
    """Describe a module by what JSON can hold.

    A module that appears twice is written once and then named by its number, so
    that what was shared is shared again.

    Raises `ArgumentError` for a class that is not registered, and for an argument
    that cannot be written down, such as a function.

    >>> from pellucid import nn
    >>> to_spec(nn.Dropout(0.5))
    {'type': 'Dropout', 'arguments': {'p': 0.5}}
    """
    written: dict[str, Any] = _write(module, type(module).__name__, {})
    return written


def _write(value: Any, where: str, seen: dict[int, int]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return _write_scalar(value)
    if isinstance(value, Specified):
        return _write_module(value, where, seen)
    if isinstance(value, list | tuple):
        items = [_write(each, f"{where}[{i}]", seen) for i, each in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        items = [[k, _write(each, f"{where}.{k}", seen)] for k, each in value.items()]
        return {"dict": items}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        array = np.asarray(value)
        entries = _write(array.tolist(), where, seen)
        return {"array": entries, "dtype": short_name(as_dtype(array.dtype))}
    if isinstance(value, np.dtype) or value in (int, float, np.float32, np.float64):
        return short_name(as_dtype(value))
    raise ArgumentError(
        message(
            f"an argument of type {type(value).__name__} cannot be written to a file",
            where=where,
            expected="numbers, text, lists, dicts, arrays and modules can",
        )
    )


def _write_scalar(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}  # JSON has no infinities
    return value


def _write_module(module: Specified, where: str, seen: dict[int, int]) -> Any:
    if id(module) in seen:
        return {"shared": seen[id(module)]}
    seen[id(module)] = len(seen)
    name = type(module).__name__
    if _REGISTRY.get(name) is not type(module):
        raise ArgumentError(
            message(
                f"the class {name} is not registered, so no file can name it",
                where=where,
                hint="put @pellucid.nn.register above the class",
            )
        )
    arguments = {
        key: _write(value, f"{where}.{key}", seen)
        for key, value in module.arguments().items()
    }
    return {"type": name, "arguments": arguments}


# --- reading ---------------------------------------------------------------------


def from_spec(spec: dict[str, Any]) -> Any:
    """Make the module that a description describes, with newly drawn weights.

    Raises `ModelFileError` for a type that is not known and for arguments that do
    not fit it.

    >>> from pellucid import nn
    >>> from_spec({"type": "Dropout", "arguments": {"p": 0.2}})
    Dropout(p=0.2)
    """
    return _read(spec, [])


def rebuilt(spec: dict[str, Any]) -> Any:
    """Make a module from its description without touching the keys in use."""
    with keys_from(key_of(0)):
        return from_spec(spec)


def _read(value: Any, seen: list[Any]) -> Any:
    if isinstance(value, list):
        return [_read(each, seen) for each in value]
    if not isinstance(value, dict):
        return value
    if "type" in value:
        return _read_module(value, seen)
    for kind, reader in _READERS.items():
        if kind in value:
            return reader(value, seen)
    raise ModelFileError(f"the description has an entry that nobody knows: {value}")


def _read_array(value: dict[str, Any], seen: list[Any]) -> Any:
    return np.array(_read(value["array"], seen), as_dtype(value["dtype"]))


_READERS: dict[str, Callable[[dict[str, Any], list[Any]], Any]] = {
    "shared": lambda value, seen: seen[value["shared"]],
    "float": lambda value, seen: float(value["float"]),
    "tuple": lambda value, seen: tuple(_read(value["tuple"], seen)),
    "dict": lambda value, seen: {k: _read(v, seen) for k, v in value["dict"]},
    "array": _read_array,
}


def _read_module(value: dict[str, Any], seen: list[Any]) -> Any:
    name = value["type"]
    if name not in _REGISTRY:
        raise ModelFileError(
            message(
                f"unknown layer type {name!r}",
                expected="a class of yours must be defined with @pellucid.nn.register "
                "before its file is read",
                hint=did_you_mean(name, _REGISTRY),
            )
        )
    number = len(seen)
    seen.append(None)
    cls = _REGISTRY[name]
    signature = inspect.signature(cls)
    bound = signature.bind_partial()
    for key, each in value["arguments"].items():
        bound.arguments[key] = _read(each, seen)
    try:
        if not set(bound.arguments) <= set(signature.parameters):
            raise TypeError(f"it takes {list(signature.parameters)}")
        module = cls(*bound.args, **bound.kwargs)
    except TypeError as error:
        raise ModelFileError(
            message(f"the arguments of {name} do not fit it", expected=str(error))
        ) from error
    seen[number] = module
    return module
