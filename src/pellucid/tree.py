"""Trees of leaves: nested lists, tuples, dicts and dataclasses, by name.

Optimiser state, parameters and checkpoints are trees. A leaf is anything that is
not one of those containers; `None` is an empty tree. A leaf's name is its path,
joined by dots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from pellucid.errors import ArgumentError

__all__ = ["flatten", "leaves", "map_leaves", "unflatten"]


def _children(tree: Any) -> list[tuple[str, Any]] | None:
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [(str(key), child) for key, child in tree.items()]
    if isinstance(tree, list | tuple):
        return [(str(index), child) for index, child in enumerate(tree)]
    kind: Any = type(tree)
    names = _field_names(kind)
    return None if names is None else [(name, getattr(tree, name)) for name in names]


@cache
def _field_names(kind: Any) -> tuple[str, ...] | None:
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else None


def _walk(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = _children(tree)
    if children is None:
        yield ".".join(path), tree
        return
    for name, child in children:
        yield from _walk(child, (*path, name))


def flatten(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their dotted names, in order.

    >>> flatten({"a": [1, 2], "b": None})
    {'a.0': 1, 'a.1': 2}
    """
    return dict(_walk(tree, ()))


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of a tree, in order."""
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Any]) -> None:
    children = _children(tree)
    if children is None:
        found.append(tree)
        return
    for _, child in children:
        _collect(child, found)


def unflatten(like: Any, leaves: Any) -> Any:
    """Return a tree shaped as `like` with these leaves, given in order.

    >>> unflatten({"a": [1, 2], "b": None}, [10, 20])
    {'a': [10, 20], 'b': None}
    """
    iterator = iter(leaves)
    try:
        tree = _rebuild(like, iterator)
    except StopIteration:
        raise ArgumentError("too few leaves for this tree") from None
    if next(iterator, _END) is not _END:
        raise ArgumentError("too many leaves for this tree")
    return tree


_END = object()


def _rebuild(like: Any, leaves: Iterator[Any]) -> Any:
    if like is None:
        return None
    if isinstance(like, dict):
        return {key: _rebuild(child, leaves) for key, child in like.items()}
    if isinstance(like, list):
        return [_rebuild(child, leaves) for child in like]
    if isinstance(like, tuple):
        built = [_rebuild(child, leaves) for child in like]
        return type(like)(*built) if hasattr(like, "_fields") else tuple(built)
    kind: Any = type(like)
    names = _field_names(kind)
    if names is None:
        # `next` may raise StopIteration: `unflatten` turns it into our own error.
        return next(leaves)
    return replace(like, **{n: _rebuild(getattr(like, n), leaves) for n in names})


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to matching leaves of one or more trees of one shape.

    >>> map_leaves(lambda x, y: x + y, {"a": 1}, {"a": 2})
    {'a': 3}
    """
    columns = [leaves(each) for each in (tree, *others)]
    if len({len(column) for column in columns}) > 1:
        raise ArgumentError("the trees have different numbers of leaves")
    return unflatten(tree, [function(*row) for row in zip(*columns)])
