"""The corners of each gate, by hand: what random samples never meet.

Each edge holds operands and the one right answer, bit for bit (but for the sign and
payload of a NaN). They are the definition that every engine must meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.dtypes import DTYPES
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType

__all__ = ["EDGES", "GRADIENT_EDGES", "OUT_OF_RANGE", "Edge", "GradientEdge"]

NAN, INF = float("nan"), float("inf")
LOWEST, HIGHEST = -(2**31), 2**31 - 1


@dataclass(frozen=True, eq=False)
class Edge:
    """A gate on given arrays, and its value."""

    op: str
    name: str
    arrays: tuple[Any, ...]
    value: Any
    attrs: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"

    def graph(self) -> Graph:
        """Return the graph that is this gate alone."""
        types = [TensorType(each.shape, each.dtype) for each in self.arrays]
        inputs = tuple(input_node(each, f"x{i}") for i, each in enumerate(types))
        return Graph(inputs, (bind(self.op, *inputs, **self.attrs),))


def floats(*values: Any) -> Any:
    return np.array(values, np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def bools(*values: bool) -> Any:
    return np.array(values, np.bool_)


def empty(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def scalar(value: float) -> Any:
    return np.array(value, np.float32)


def edge(op: str, name: str, *arrays: Any, value: Any, **attrs: Any) -> Edge:
    return Edge(op, name, arrays, value, attrs)


def convolved(name: str, x: Any, w: Any, value: Any, low: int, high: int) -> Edge:
    ones = {"stride": (1,), "x_dilation": (1,), "w_dilation": (1,), "groups": 1}
    return Edge("conv", name, (x, w), value, {"low": (low,), "high": (high,), **ones})


def cast(name: str, x: Any, value: Any) -> Edge:
    return edge("cast", name, x, value=value, dtype=value.dtype)


_BESIDE = floats(0, -0.0, INF, -INF, NAN, 1)
_SIGNED = floats(0, -0.0, INF, -INF, NAN, -2.5)
_PLAIN = {"contract": ((1,), (0,)), "batch": ((), ())}
_ONE_TAP = floats(1).reshape(1, 1, 1)
_LINE = floats(1, 2, 3).reshape(1, 1, 3)

EDGES: list[Edge] = [
    # arithmetic
    edge(
        "add", "wrap", ints(HIGHEST, LOWEST), ints(1, -1), value=ints(LOWEST, HIGHEST),
    ),
    edge(
        "add", "zeros", floats(-0.0, -0.0), floats(0.0, -0.0), value=floats(0.0, -0.0),
    ),
    edge(
        "add", "infinities", floats(INF, INF), floats(-INF, 1), value=floats(NAN, INF),
    ),
    edge("mul", "wrap", ints(2**30, LOWEST), ints(4, -1), value=ints(0, LOWEST)),
    edge(
        "mul",
        "unsigned wrap",
        np.array([200, 255], np.uint8),
        np.array([2, 255], np.uint8),
        value=np.array([144, 1], np.uint8),
    ),
    edge("mul", "infinity", floats(INF, -0.0), floats(0, 5), value=floats(NAN, -0.0)),
    edge(
        "div",
        "by zero",
        floats(1, -1, 0, 1, INF),
        floats(0, 0, 0, -0.0, INF),
        value=floats(INF, -INF, NAN, -INF, NAN),
    ),
    edge(
        "pow",
        "corners",
        floats(0, NAN, 1, 0, -8, -2, -0.0, INF, -INF, 2),
        floats(0, 0, NAN, -1, 0.5, 3, -1, -1, 0.5, INF),
        value=floats(1, 1, 1, INF, NAN, -8, -INF, 0, INF, INF),
    ),
    edge("pow", "scalars", scalar(-INF), scalar(0.5), value=scalar(INF)),
    edge("pow", "root of −0", scalar(-0.0), scalar(0.5), value=scalar(0.0)),
    edge(
        "maximum",
        "NaN and infinities",
        floats(NAN, 1, INF, -INF, NAN),
        floats(1, NAN, 1, 1, NAN),
        value=floats(NAN, NAN, INF, 1, NAN),
    ),
    edge(
        "maximum", "zeros tie", floats(0, -0.0), floats(-0.0, 0), value=floats(-0.0, 0)
    ),
    edge(
        "minimum",
        "NaN and infinities",
        floats(NAN, 1, INF, -INF),
        floats(1, NAN, 1, 1),
        value=floats(NAN, NAN, 1, -INF),
    ),
    edge(
        "minimum", "zeros tie", floats(0, -0.0), floats(-0.0, 0), value=floats(-0.0, 0)
    ),
    edge("neg", "signs", _SIGNED, value=floats(-0.0, 0, -INF, INF, NAN, 2.5)),
    edge("neg", "wrap", ints(LOWEST, 1), value=ints(LOWEST, -1)),
    edge(
        "exp", "corners", floats(-INF, 0, INF, NAN, 200),
        value=floats(0, 1, INF, NAN, INF),
    ),
    edge(
        "log", "corners", floats(0, -0.0, 1, INF, -1, NAN),
        value=floats(-INF, -INF, 0, INF, NAN, NAN),
    ),
    edge("sqrt", "corners", _SIGNED, value=floats(0, -0.0, INF, NAN, NAN, NAN)),
    edge("sin", "corners", floats(0, -0.0, INF, NAN), value=floats(0, -0.0, NAN, NAN)),
    edge("cos", "corners", floats(0, -0.0, -INF, NAN), value=floats(1, 1, NAN, NAN)),
    edge(
        "tanh", "corners", floats(0, -0.0, INF, -INF, NAN, 40),
        value=floats(0, -0.0, 1, -1, NAN, 1),
    ),
    edge(
        "erf", "corners", floats(0, -0.0, INF, -INF, NAN, 9),
        value=floats(0, -0.0, 1, -1, NAN, 1),
    ),
    edge("abs", "signs", _SIGNED, value=floats(0, 0, INF, INF, NAN, 2.5)),
    edge("abs", "wrap", ints(LOWEST, -3), value=ints(LOWEST, 3)),
    edge("floor", "signs", _SIGNED, value=floats(0, -0.0, INF, -INF, NAN, -3)),
    edge("sign", "signs", _SIGNED, value=floats(0, 0, 1, -1, NAN, -1)),
    # comparison and logic
    edge(
        "eq", "corners", _SIGNED, _BESIDE,
        value=bools(True, True, True, True, False, False),
    ),
    edge(
        "lt", "corners", floats(-0.0, NAN, -INF, 1), floats(0, 1, INF, NAN),
        value=bools(False, False, True, False),
    ),
    edge(
        "le", "corners", floats(0, NAN, INF, 1), floats(-0.0, NAN, INF, NAN),
        value=bools(True, False, True, False),
    ),
    edge("and", "bits", ints(-1, 12), ints(7, 10), value=ints(7, 8)),
    edge("or", "bits", ints(-8, 12), ints(7, 10), value=ints(-1, 14)),
    edge("xor", "bits", ints(-1, 12), ints(7, 10), value=ints(-8, 6)),
    edge("not", "bits", ints(-1, 0), value=ints(0, -1)),
    edge("not", "truth", bools(True, False), value=bools(False, True)),
    edge(
        "where", "the other branch is not touched",
        bools(True, False), floats(1, NAN), floats(NAN, 2), value=floats(1, 2),
    ),
    edge(
        "where", "scalar", np.array(False), scalar(1), scalar(-0.0), value=scalar(-0.0),
    ),
    # casts
    cast(
        "float to i32 truncates and saturates",
        floats(2.9, -2.9, 3e9, -3e9, INF, -INF, NAN, -0.0),
        ints(2, -2, HIGHEST, LOWEST, HIGHEST, LOWEST, 0, 0),
    ),
    cast(
        "float to u8 truncates and saturates",
        floats(255.9, 256, -0.9, -1, NAN),
        np.array([255, 255, 0, 0, 0], np.uint8),
    ),
    cast(
        "double to i64 at the border",
        np.array([2.0**63, -(2.0**63), 2.0**62, 1e300]),
        np.array([2**63 - 1, -(2**63), 2**62, 2**63 - 1], np.int64),
    ),
    cast(
        "integers wrap",
        np.array([2**32 + 5, -1], np.int64),
        np.array([5, 2**32 - 1], np.uint32),
    ),
    cast("to truth", floats(0, -0.0, NAN, 0.1), bools(False, False, True, True)),
    cast("to f32 overflows", np.array([1e300, -1e300]), floats(INF, -INF)),
    cast("scalar", np.array(2.7, np.float32), np.array(2, np.int32)),
    edge("stop", "all", _SIGNED, value=_SIGNED),
    # reductions
    edge("sum", "nothing", empty(2, 0), value=floats(0, 0), axes=(1,)),
    edge("sum", "of −0", floats(-0.0, -0.0), value=scalar(0), axes=(0,)),
    edge("sum", "wrap", ints(HIGHEST, 1), value=np.array(LOWEST, np.int32), axes=(0,)),
    edge("sum", "infinities", floats(INF, -INF, 1), value=scalar(NAN), axes=(0,)),
    edge("sum", "of an empty result", empty(0, 3), value=empty(0), axes=(1,)),
    edge("max", "nothing", empty(2, 0), value=floats(-INF, -INF), axes=(1,)),
    edge(
        "max", "no integers", empty(0, dtype=np.int32),
        value=np.array(LOWEST, np.int32), axes=(0,),
    ),
    edge(
        "max", "no unsigned integers", empty(0, dtype=np.uint8),
        value=np.array(0, np.uint8), axes=(0,),
    ),
    edge("max", "NaN wins", floats(1, NAN, INF), value=scalar(NAN), axes=(0,)),
    edge("max", "size 1", floats(-INF), value=scalar(-INF), axes=(0,)),
    edge(
        "argmax", "first at ties", floats(1, 3, 3), value=np.array(1, np.int32), axis=0
    ),
    edge(
        "argmax", "NaN is largest", floats(INF, NAN, NAN),
        value=np.array(1, np.int32), axis=0,
    ),
    edge(
        "argmax", "empty rows", empty(0, 3), value=empty(0, dtype=np.int32), axis=1
    ),
    # shape
    edge("reshape", "nothing", empty(0, 3), value=empty(2, 0, 5), shape=(2, 0, 5)),
    edge("reshape", "scalar", scalar(-0.0), value=floats(-0.0), shape=(1,)),
    edge("transpose", "scalar", scalar(2), value=scalar(2), axes=()),
    edge("transpose", "nothing", empty(0, 3), value=empty(3, 0), axes=(1, 0)),
    edge("broadcast", "to nothing", floats(1), value=empty(0), shape=(0,)),
    edge("broadcast", "scalar", scalar(NAN), value=scalar(NAN), shape=()),
    edge(
        "slice", "at the end", floats(1, 2, 3), value=empty(0),
        start=(3,), stop=(3,), step=(2,),
    ),
    edge(
        "slice", "step beyond the end", floats(1, 2, 3), value=floats(2),
        start=(1,), stop=(3,), step=(9,),
    ),
    edge(
        "pad", "around nothing", empty(0), scalar(7), value=floats(7, 7, 7),
        low=(1,), high=(2,), interior=(5,),
    ),
    edge(
        "pad", "between", floats(1, 2), scalar(-0.0),
        value=floats(1, -0.0, -0.0, 2), low=(0,), high=(0,), interior=(2,),
    ),
    edge(
        "pad", "truth", bools(False), np.array(True), value=bools(True, False),
        low=(1,), high=(0,), interior=(0,),
    ),
    edge("concat", "with nothing", floats(1), empty(0), value=floats(1), axis=0),
    edge("concat", "of nothing", empty(0), empty(0), value=empty(0), axis=0),
    edge("reverse", "scalar", scalar(2), value=scalar(2), axes=()),
    edge("reverse", "nothing", empty(0, 2), value=empty(0, 2), axes=(0, 1)),
    # contraction
    edge(
        "dot", "sum of nothing", empty(2, 0), empty(0, 1), value=empty(2, 1), **_PLAIN,
    ),
    edge(
        "dot", "scalars", scalar(2), scalar(3), value=scalar(6),
        contract=((), ()), batch=((), ()),
    ),
    edge(
        "dot", "zero times infinity", floats(0, 1).reshape(1, 2),
        floats(INF, 1).reshape(2, 1), value=floats(NAN).reshape(1, 1), **_PLAIN,
    ),
    edge(
        "dot", "wrap", ints(2**30, 2**30).reshape(1, 2), ints(2, 3).reshape(2, 1),
        value=ints(2**30).reshape(1, 1), **_PLAIN,
    ),
    convolved("negative padding", _LINE, _ONE_TAP, floats(2).reshape(1, 1, 1), -1, -1),
    convolved("padding that leaves nothing", _LINE, _ONE_TAP, empty(1, 1, 0), -2, -2),
    convolved(
        "padding beyond the other end", _LINE, _ONE_TAP, empty(1, 1, 2), -4, 3
    ),
    convolved("padding alone", empty(1, 1, 0), _ONE_TAP, empty(1, 1, 3), 1, 2),
    convolved("no channel", empty(1, 0, 3), empty(1, 0, 1), empty(1, 1, 3), 0, 0),
    convolved(
        "a kernel wider than the image", _LINE, floats(*[1] * 5).reshape(1, 1, 5),
        empty(1, 1, 0), 0, 1,
    ),
    # indexing
    edge("gather", "from NaN", floats(NAN, 1), ints(1, 1), value=floats(1, 1), axis=0),
    edge(
        "gather", "nothing from nothing", empty(0), empty(0, dtype=np.int32),
        value=empty(0), axis=0,
    ),
    edge(
        "scatter_add", "the same place twice", floats(1, 1), ints(1, 1), floats(2, 3),
        value=floats(1, 6), axis=0,
    ),
    edge(
        "scatter_add", "order", floats(0), ints(0, 0, 0), floats(1e8, 1, -1e8),
        value=floats(0), axis=0,
    ),
    edge(
        "scatter_add", "nothing", floats(-0.0), empty(0, dtype=np.int32), empty(0),
        value=floats(-0.0), axis=0,
    ),
    edge(
        "random_bits", "known answer of zeros",
        np.zeros(2, np.uint32), np.zeros(2, np.uint32),
        value=np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32),
        shape=(4,),
    ),
    edge(
        "random_bits", "none", np.zeros(2, np.uint32), np.zeros(2, np.uint32),
        value=np.zeros((0, 2), np.uint32), shape=(0, 2),
    ),
]  # fmt: skip
"""Operands and answers."""

OUT_OF_RANGE: list[tuple[str, tuple[Any, ...], str]] = [
    ("gather", (floats(1, 2), ints(0, 2)), "gather: index 2 is outside"),
    ("gather", (floats(1, 2), ints(-1)), "gather: index -1 is outside"),
    ("gather", (empty(0), ints(0)), "gather: index 0 is outside"),
    ("gather", (floats(1), np.array(1, np.int64)), "gather: index 1 is outside"),
    (
        "scatter_add",
        (floats(1), ints(0, 7), floats(1, 1)),
        "scatter_add: index 7 is outside",
    ),
]
"""Gates along axis 0 whose indices lie outside, and the text of the error."""


@dataclass(frozen=True, eq=False)
class GradientEdge:
    """The gradients of the sum of a gate's value where that has a kink."""

    op: str
    name: str
    arrays: tuple[Any, ...]
    gradients: tuple[Any, ...]
    attrs: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"


def kink(
    op: str, name: str, *arrays: Any, gradients: tuple[Any, ...], **attrs: Any
) -> GradientEdge:
    return GradientEdge(op, name, arrays, gradients, attrs)


GRADIENT_EDGES: list[GradientEdge] = [
    kink(
        "maximum", "ties go to the second", floats(1, 0, 2), floats(1, -0.0, 1),
        gradients=(floats(0, 0, 1), floats(1, 1, 0)),
    ),
    kink(
        "minimum", "ties go to the second", floats(1, 0, 2), floats(1, -0.0, 1),
        gradients=(floats(0, 0, 0), floats(1, 1, 1)),
    ),
    kink("abs", "is flat at 0", floats(0, -0.0, -1), gradients=(floats(0, 0, -1),)),
    kink(
        "max", "ties share", floats(3, 1, 3),
        gradients=(floats(0.5, 0, 0.5),), axes=(0,),
    ),
    kink("max", "over nothing", empty(2, 0), gradients=(empty(2, 0),), axes=(1,)),
    kink(
        "pow", "at 0", floats(0, 0, 0, 2), floats(0, 1, 2, 0),
        gradients=(floats(0, 1, 0, 0), floats(0, 0, 0, np.log(2))),
    ),
    kink("sqrt", "at 0", floats(0), gradients=(floats(INF),)),
    kink("log", "at 0", floats(0, -0.0), gradients=(floats(INF, -INF),)),
    kink(
        "where", "nothing leaks from the other branch",
        bools(True, False), floats(1, NAN), floats(INF, 2),
        gradients=(floats(1, 0), floats(0, 1)),
    ),
    kink("sum", "over nothing", empty(2, 0), gradients=(empty(2, 0),), axes=(1,)),
    kink("floor", "none", floats(1.5), gradients=(floats(0),)),
    kink("sign", "none", floats(-1.5), gradients=(floats(0),)),
    kink("stop", "none", floats(3), gradients=(floats(0),)),
    kink(
        "cast", "through integers none", floats(3.5), gradients=(floats(0),),
        dtype=DTYPES["i32"],
    ),
    kink(
        "gather", "the same entry twice adds up", floats(1, 2), ints(1, 1),
        gradients=(floats(0, 2),), axis=0,
    ),
]  # fmt: skip
"""Conventions where no derivative exists, or several do."""
