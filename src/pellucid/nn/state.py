"""Setting parameters and buffers from arrays, and saying what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.dtypes import DType
from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.ir.graph import Array, input_node
from pellucid.ir.types import TensorType
from pellucid.tensors import Parameter

__all__ = ["assign", "check_keys", "check_shapes"]


def assign(leaf: Parameter, array: Array, dtype: DType) -> None:
    """Set a leaf's value, and its dtype: its identity stays."""
    if dtype != leaf.dtype:
        leaf._node = input_node(TensorType(leaf.shape, dtype), type(leaf).__name__)
    leaf.value = np.array(array, dtype)


def check_keys(leaves: Mapping[str, Parameter], state: Mapping[str, Any]) -> None:
    """Raise `ArgumentError` that names what is missing and what is unknown."""
    missing = [name for name in leaves if name not in state]
    unknown = [name for name in state if name not in leaves]
    if not missing and not unknown:
        return
    faults = [
        f"{kind} {', '.join(map(repr, names))}"
        for kind, names in (("missing", missing), ("unknown", unknown))
        if names
    ]
    hint = did_you_mean(unknown[0], missing) if missing and unknown else ""
    raise ArgumentError(
        message(
            "the state does not fit the module",
            expected=" and ".join(faults),
            hint=hint,
        )
    )


def check_shapes(leaves: Mapping[str, Parameter], found: Mapping[str, Array]) -> None:
    """Raise `ShapeError` that names every value of another shape."""
    wrong = [
        f"{name!r} is {leaves[name].type}, the state has shape {list(array.shape)}"
        for name, array in found.items()
        if array.shape != leaves[name].shape
    ]
    if wrong:
        raise ShapeError(
            message("the state does not fit the module", expected="; ".join(wrong))
        )
