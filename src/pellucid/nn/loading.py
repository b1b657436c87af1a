"""Modules from files: what `Module.save` wrote, read back.

Knows the header and the arrays of a file. Refuses to know how they lie in it.
"""

from __future__ import annotations

import os
from typing import Any

from pellucid.dtypes import as_dtype
from pellucid.errors import ModelFileError, PellucidError, message
from pellucid.nn.module import Module
from pellucid.nn.spec import rebuilt
from pellucid.nn.state import assign, check_keys, check_shapes

__all__ = ["load"]


def _made(header: dict[str, Any], name: str) -> Any:
    try:
        module = rebuilt(header["spec"])
        if not isinstance(module, Module):
            raise TypeError(f"it makes {module!r}")
        return module
    except ModelFileError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            message(f"{name} describes no model that can be made", expected=str(error))
        ) from error


def load(path: str | os.PathLike[str]) -> Any:
    """Read a module that `Module.save` wrote; it computes the same bits.

    Raises `ModelFileError` for a file that is not one, or names unknown classes.
    """
    from pellucid.files import read_file

    arrays, header = read_file(path)
    if header.get("kind") != "module":
        raise ModelFileError(
            message(
                f"{os.fspath(path)!r} does not hold a module",
                expected=f"it holds {header.get('kind', 'something else')!r}",
            )
        )
    module = _made(header, repr(os.fspath(path)))
    leaves = dict(module._leaves())
    try:
        check_keys(leaves, arrays)
        check_shapes(leaves, arrays)
    except PellucidError as error:
        raise ModelFileError(message(str(error), where=repr(os.fspath(path)))) from None
    for name, array in arrays.items():
        assign(leaves[name], array, as_dtype(array.dtype))
    return module.train(bool(header.get("training", True)))
