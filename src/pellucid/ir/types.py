"""The type of a value on a wire: a static shape and a dtype."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pellucid.dtypes import DType, as_dtype, short_name
from pellucid.errors import GraphError, ShapeError

__all__ = ["Shape", "TensorType"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """A static shape and a dtype; prints as `f32[8,3]`.

    >>> TensorType((8, 3), "f32")
    f32[8,3]
    >>> TensorType.parse("f32[8,3]").size
    24
    """

    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        shape = tuple(map(int, self.shape))
        if shape and min(shape) < 0:
            raise ShapeError(f"a size is negative in shape {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", as_dtype(self.dtype))

    @classmethod
    def parse(cls, text: str) -> TensorType:
        """Read a type as it is printed."""
        found = re.fullmatch(r"(\w+)\[([\d,]*)\]", text)
        if not found:
            raise GraphError(f"not a type: {text!r} · expected one like f32[8,3]")
        sizes = found[2].split(",") if found[2] else []
        return cls(tuple(map(int, sizes)), as_dtype(found[1]))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes, unpadded."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Shape) -> TensorType:
        """Return this type with another shape."""
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        """Return this type with another dtype."""
        return TensorType(self.shape, dtype)

    def __repr__(self) -> str:
        return f"{short_name(self.dtype)}[{','.join(map(str, self.shape))}]"
