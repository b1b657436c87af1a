"""One table of samples: what every suite, and every engine, tries on each gate.

A sample says which operands a gate gets (shape, dtype, domain), its metadata, and how
closely two right answers agree. A domain keeps clear of the points where a gate has
no derivative; those points are in `gates.edges`, with their answers.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pellucid.dtypes import DTYPES, DType, as_dtype
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.xla.engine import XlaEngine
from pellucid.ir.graph import Graph, Node, bind, input_node, results
from pellucid.ir.types import TensorType

__all__ = ["ENGINES", "QUICK", "SAMPLES", "Operand", "Sample"]

QUICK: list[Any] = [NumpyEngine, LlvmEngine]
"""The engines that see every graph of every suite.

XLA takes long to compile: with `PELLUCID_EVERY_GRAPH=1` it sees them all too, in
some minutes.
"""
if os.environ.get("PELLUCID_EVERY_GRAPH"):
    QUICK.append(XlaEngine)

ENGINES = [
    NumpyEngine,
    LlvmEngine,
    pytest.param(XlaEngine, marks=pytest.mark.slow),
]
"""Every engine that must pass the gates' suites."""

Domain = Callable[[np.random.Generator, tuple[int, ...]], Any]


# --- domains -------------------------------------------------------------------------


def real(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw numbers of either sign, none near 0."""
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw numbers above 0."""
    return rng.uniform(0.4, 2.5, shape)


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw numbers that keep a distance from each other: no ties."""
    count = math.prod(shape)
    return rng.permutation(np.linspace(-1.9, 2.0, count)).reshape(shape)


def between(low: int, high: int) -> Domain:
    """Draw whole numbers from low to high − 1."""
    return lambda rng, shape: rng.integers(low, high, shape)


def truth(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw truth values, both of them."""
    return rng.permutation(np.arange(math.prod(shape)) % 2 == 0).reshape(shape)


# --- samples -------------------------------------------------------------------------


@dataclass(frozen=True)
class Operand:
    """An operand; without a dtype it takes the float type under test."""

    shape: tuple[int, ...]
    dtype: str | None = None
    domain: Domain = real


@dataclass(frozen=True, eq=False)
class Sample:
    """A gate, its operands, its metadata (or a function of the float type)."""

    op: str
    name: str
    operands: tuple[Operand, ...]
    attrs: dict[str, Any] | Callable[[DType], dict[str, Any]] = field(
        default_factory=dict
    )
    f32: float = 2e-6
    """The relative tolerance of `f32` values."""
    smooth: bool = True
    """Whether some input has a gradient that is not zero everywhere."""

    def __str__(self) -> str:
        return f"{self.op}-{self.name}" if self.name else self.op

    def types(self, dtype: Any) -> list[TensorType]:
        """Return the operands' types."""
        return [TensorType(o.shape, o.dtype or dtype) for o in self.operands]

    def arrays(self, dtype: Any, seed: int = 0) -> list[Any]:
        """Return operands drawn from their domains."""
        rng = np.random.default_rng([seed, zlib.crc32(str(self).encode())])
        return [
            np.asarray(o.domain(rng, o.shape), type_.dtype)
            for o, type_ in zip(self.operands, self.types(dtype))
        ]

    def graph(self, dtype: Any) -> Graph:
        """Return the graph that is this gate alone; every result is an output."""
        attrs = self.attrs
        given = attrs(as_dtype(dtype)) if callable(attrs) else attrs
        inputs = [input_node(t, f"x{i}") for i, t in enumerate(self.types(dtype))]
        if self.op == "input":
            return Graph(tuple(inputs), tuple(inputs))
        node = bind(self.op, *inputs, **given)
        outputs = results(node) if isinstance(node.type, tuple) else (node,)
        return Graph(tuple(inputs), outputs)


# --- bodies of scans and calls -------------------------------------------------------


def _inputs(dtype: DType, *shapes: tuple[int, ...]) -> list[Node]:
    return [input_node(TensorType(s, dtype), f"b{i}") for i, s in enumerate(shapes)]


def _recurrence(dtype: DType) -> Graph:
    """Return h' = tanh(w · h + x), and h'·x stacked."""
    w, h, x = _inputs(dtype, (3, 3), (3,), (3,))
    product = bind("dot", w, h, contract=((1,), (0,)), batch=((), ()))
    new = bind("tanh", product + x)
    return Graph((w, h, x), (new, new * x))


def _two_carries(dtype: DType) -> Graph:
    """Carry a number, a counter and a vector; the stack depends on all."""
    a, x = _inputs(dtype, (), (2,))
    count = input_node(TensorType((), "i32"), "count")
    v = input_node(TensorType((2,), dtype), "v")
    one = bind("cast", count, dtype=dtype)
    spread = bind("broadcast", bind("reshape", a * one, shape=(1,)), shape=(2,))
    new = bind("sin", v * x) + spread
    grown = a + bind("sum", new, axes=(0,)) * 0.25
    return Graph((a, count, v, x), (grown, count + 1, new, new * new))


def _nested(dtype: DType) -> Graph:
    """A scan in a scan: the inner one runs over the rows that the outer one has."""
    w, h, rows = _inputs(dtype, (3, 3), (3,), (2, 3))
    inner = bind("scan", w, h, rows, **_scan(_recurrence, 1, 1, 2)(dtype))
    last, stack = results(inner)
    return Graph((w, h, rows), (last, bind("sum", stack, axes=(0,))))


def _branching(dtype: DType) -> Graph:
    x, y = _inputs(dtype, (2, 3), (2, 3))
    both = x * y
    return Graph((x, y), (bind("sum", both, axes=(1,)), bind("tanh", both + x)))


def _halver(dtype: DType) -> Graph:
    """x/2 as a user's gate."""
    (x,) = _inputs(dtype, (2, 3))
    return Graph((x,), (x * 0.5,))


def _halver_backward(dtype: DType) -> Graph:
    """Inputs, outputs, gradients of outputs: g/2."""
    x, y, g = _inputs(dtype, (2, 3), (2, 3), (2, 3))
    return Graph((x, y, g), (g * 0.5,))


def _scan(
    body: Callable[[DType], Graph],
    consts: int,
    carries: int,
    length: int,
    reverse: bool = False,
    keep: str = "all",
) -> Callable[[DType], dict[str, Any]]:
    return lambda dtype: {
        "body": body(dtype),
        "consts": consts,
        "carries": carries,
        "length": length,
        "reverse": reverse,
        "keep": keep,
    }


def _call(dtype: DType) -> dict[str, Any]:
    return {"body": _branching(dtype), "name": "branching", "backward": None}


def _call_with_backward(dtype: DType) -> dict[str, Any]:
    backward = _halver_backward(dtype)
    return {"body": _halver(dtype), "name": "halver", "backward": backward}


# --- the table -----------------------------------------------------------------------

_M = Operand((2, 3))
_P = Operand((2, 3), None, positive)
_D = Operand((4, 3), None, distinct)
_I = Operand((2, 3), "i32", between(-9, 9))
_U = Operand((2, 3), "u32", between(0, 99))
_B = Operand((2, 3), "bool", truth)
_ROW = Operand((3,))
_SQUARE = Operand((3, 3))


def _conv(
    name: str, x: tuple[int, ...], w: tuple[int, ...], groups: int = 1, **given: Any
) -> Sample:
    space = len(x) - 2
    default = {"stride": 1, "low": 0, "high": 0, "x_dilation": 1, "w_dilation": 1}
    attrs = {key: given.get(key, (value,) * space) for key, value in default.items()}
    attrs["groups"] = groups
    return Sample("conv", name, (Operand(x), Operand(w)), attrs, f32=1e-5)


def _dot(name: str, x: Any, y: Any, contract: Any, batch: Any = ((), ())) -> Sample:
    attrs = {"contract": contract, "batch": batch}
    return Sample("dot", name, (Operand(x), Operand(y)), attrs, f32=1e-5)


def _step(op: str, name: str, *operands: Operand, **attrs: Any) -> Sample:
    """Return a sample of a gate that no gradient passes."""
    return Sample(op, name, operands, attrs, smooth=False)


SAMPLES: list[Sample] = [
    # leaves
    Sample("input", "", (_M,)),
    # elementwise
    Sample("add", "", (_M, _M)),
    Sample("add", "scalar", (Operand(()), Operand(()))),
    Sample("add", "one", (Operand((1,)), Operand((1,)))),
    Sample("add", "empty", (Operand((0, 3)), Operand((0, 3)))),
    _step("add", "integers", _I, _I),
    Sample("mul", "", (_M, _M)),
    _step("mul", "integers", _U, _U),
    Sample("div", "", (_M, _M)),
    Sample("pow", "", (_P, _M), f32=1e-5),
    Sample("maximum", "", (_M, _M)),
    _step("maximum", "integers", _I, _I),
    Sample("minimum", "", (_M, _M)),
    _step("minimum", "integers", _U, _U),
    Sample("neg", "", (_M,)),
    _step("neg", "integers", _I),
    Sample("exp", "", (_M,)),
    Sample("log", "", (_P,)),
    Sample("sqrt", "", (_P,)),
    Sample("sin", "", (_M,)),
    Sample("cos", "", (_M,)),
    Sample("tanh", "", (_M,)),
    Sample("erf", "", (_M,)),
    Sample("abs", "", (_M,)),
    _step("abs", "integers", _I),
    _step("floor", "", _M),
    _step("sign", "", _M),
    _step("sign", "integers", _I),
    _step("eq", "", _M, _M),
    _step("eq", "integers", _I, _I),
    _step("eq", "truth", _B, _B),
    _step("lt", "", _M, _M),
    _step("lt", "integers", _I, _I),
    _step("le", "", _M, _M),
    _step("le", "integers", _U, _U),
    _step("and", "", _B, _B),
    _step("and", "integers", _I, _I),
    _step("or", "", _B, _B),
    _step("or", "integers", _U, _U),
    _step("xor", "", _B, _B),
    _step("xor", "integers", _I, _I),
    _step("not", "", _B),
    _step("not", "integers", _U),
    Sample("where", "", (_B, _M, _M)),
    Sample("cast", "to f64", (_M,), {"dtype": DTYPES["f64"]}),
    Sample("cast", "to f32", (_M,), {"dtype": DTYPES["f32"]}),
    _step("cast", "to integers", _M, dtype=DTYPES["i32"]),
    _step("cast", "to truth", _I, dtype=DTYPES["bool"]),
    _step("cast", "from truth", _B, dtype=DTYPES["f32"]),
    _step("cast", "from integers", _U, dtype=DTYPES["f64"]),
    _step("stop", "", _M),
    # reductions
    Sample("sum", "", (_M,), {"axes": (0, 1)}),
    Sample("sum", "an axis", (Operand((2, 3, 4)),), {"axes": (1,)}),
    Sample("sum", "two axes", (Operand((2, 3, 4)),), {"axes": (0, 2)}),
    Sample("sum", "no axis", (_M,), {"axes": ()}),
    Sample("sum", "long", (Operand((3, 400)),), {"axes": (1,)}, f32=1e-4),
    Sample("sum", "empty", (Operand((3, 0)),), {"axes": (1,)}),
    _step("sum", "integers", _I, axes=(1,)),
    Sample("max", "", (_D,), {"axes": (0, 1)}),
    Sample("max", "an axis", (_D,), {"axes": (1,)}),
    Sample("max", "no axis", (_D,), {"axes": ()}),
    _step("max", "integers", _U, axes=(0,)),
    _step("argmax", "", _D, axis=0),
    _step("argmax", "integers", _I, axis=1),
    # shape
    Sample("reshape", "", (_M,), {"shape": (3, 1, 2)}),
    Sample("reshape", "to scalar", (Operand((1, 1)),), {"shape": ()}),
    Sample("reshape", "empty", (Operand((0, 3)),), {"shape": (2, 0)}),
    Sample("transpose", "", (_M,), {"axes": (1, 0)}),
    Sample("transpose", "three", (Operand((2, 3, 4)),), {"axes": (2, 0, 1)}),
    Sample("broadcast", "", (Operand((2, 1)),), {"shape": (2, 3)}),
    Sample("broadcast", "both", (Operand((1, 1, 2)),), {"shape": (4, 3, 2)}),
    Sample("broadcast", "empty", (Operand((1, 2)),), {"shape": (0, 2)}),
    Sample(
        "slice",
        "",
        (Operand((5, 7)),),
        {"start": (1, 0), "stop": (4, 7), "step": (1, 3)},
    ),
    Sample(
        "slice",
        "empty",
        (Operand((5, 2)),),
        {"start": (5, 0), "stop": (5, 2), "step": (2, 1)},
    ),
    Sample(
        "pad",
        "",
        (_M, Operand(())),
        {"low": (1, 0), "high": (0, 2), "interior": (0, 0)},
    ),
    Sample(
        "pad",
        "interior",
        (_M, Operand(())),
        {"low": (0, 1), "high": (2, 0), "interior": (1, 2)},
    ),
    Sample(
        "pad",
        "empty",
        (Operand((0, 2)), Operand(())),
        {"low": (1, 1), "high": (2, 0), "interior": (3, 1)},
    ),
    Sample("concat", "", (_M, Operand((2, 1)), _M), {"axis": 1}),
    Sample("concat", "of one", (_M,), {"axis": 0}),
    Sample("concat", "empty", (_M, Operand((0, 3))), {"axis": 0}),
    Sample("reverse", "", (_M,), {"axes": (1,)}),
    Sample("reverse", "both", (_M,), {"axes": (0, 1)}),
    # contraction
    _dot("", (2, 3), (3, 4), ((1,), (0,))),
    _dot("transposed", (3, 2), (4, 3), ((0,), (1,))),
    _dot("vectors", (3,), (3,), ((0,), (0,))),
    _dot("vector", (2, 3), (3,), ((1,), (0,))),
    _dot("outer", (2,), (3,), ((), ())),
    _dot("batch", (5, 2, 3), (5, 3, 4), ((2,), (1,)), ((0,), (0,))),
    _dot("batch inside", (2, 5, 3), (3, 4, 5), ((2,), (0,)), ((1,), (2,))),
    _dot("two axes", (2, 3, 4, 5), (4, 6, 3), ((1, 2), (2, 0))),
    _dot("all", (2, 3, 4, 2), (4, 2, 3, 2), ((1, 2), (2, 0)), ((0, 3), (1, 3))),
    _dot("nothing summed", (2, 0), (0, 3), ((1,), (0,))),
    _step(
        "dot",
        "integers",
        _I,
        Operand((3, 2), "i32", between(-9, 9)),
        contract=((1,), (0,)),
        batch=((), ()),
    ),
    _conv("", (2, 3, 7), (4, 3, 3)),
    _conv("image", (2, 2, 5, 6), (3, 2, 3, 2), low=(1, 0), high=(1, 1)),
    _conv("stride", (1, 2, 8, 7), (2, 2, 3, 3), stride=(2, 3), low=(0, 1)),
    _conv("negative padding", (2, 1, 9), (2, 1, 3), low=(-1,), high=(-2,)),
    _conv("wide padding", (2, 1, 3), (2, 1, 2), low=(4,), high=(3,), stride=(2,)),
    _conv("kernel dilation", (1, 2, 9), (2, 2, 3), w_dilation=(3,), high=(1,)),
    _conv("image dilation", (1, 2, 4), (2, 2, 3), x_dilation=(3,), low=(1,)),
    _conv("groups", (2, 4, 6), (6, 2, 3), groups=2, stride=(2,), low=(1,)),
    _conv("depthwise", (1, 3, 4, 4), (6, 1, 2, 2), groups=3),
    _conv(
        "everything",
        (2, 4, 7, 6),
        (2, 2, 2, 3),
        groups=2,
        stride=(2, 1),
        low=(-1, 2),
        high=(3, -1),
        x_dilation=(2, 1),
        w_dilation=(1, 2),
    ),
    # indexing and randomness
    Sample(
        "gather",
        "",
        (Operand((5, 2)), Operand((4,), "i32", between(0, 5))),
        {"axis": 0},
    ),
    Sample(
        "gather",
        "a matrix of indices",
        (Operand((2, 5, 2)), Operand((3, 2), "i64", between(0, 5))),
        {"axis": 1},
    ),
    Sample("gather", "one", (_ROW, Operand((), "u8", between(0, 3))), {"axis": 0}),
    Sample("gather", "none", (_ROW, Operand((0,), "i32", between(0, 3))), {"axis": 0}),
    Sample(
        "scatter_add",
        "",
        (Operand((3, 2)), Operand((7,), "i32", between(0, 3)), Operand((7, 2))),
        {"axis": 0},
    ),
    Sample(
        "scatter_add",
        "a matrix of indices",
        (
            Operand((2, 4, 2)),
            Operand((3, 2), "u32", between(0, 4)),
            Operand((2, 3, 2, 2)),
        ),
        {"axis": 1},
    ),
    _step(
        "scatter_add",
        "integers",
        Operand((4,), "i32", between(0, 9)),
        Operand((6,), "i32", between(0, 4)),
        Operand((6,), "i32", between(0, 9)),
        axis=0,
    ),
    _step(
        "random_bits",
        "",
        Operand((2,), "u32", between(0, 2**32)),
        Operand((2,), "u32", between(0, 2**32)),
        shape=(3, 7),
    ),
    # control
    Sample("scan", "", (_SQUARE, _ROW, Operand((4, 3))), _scan(_recurrence, 1, 1, 4)),
    Sample(
        "scan",
        "reversed",
        (_SQUARE, _ROW, Operand((4, 3))),
        _scan(_recurrence, 1, 1, 4, reverse=True),
    ),
    Sample(
        "scan",
        "recomputed",
        (_SQUARE, _ROW, Operand((4, 3))),
        _scan(_recurrence, 1, 1, 4, keep="carry"),
    ),
    Sample(
        "scan",
        "no step",
        (_SQUARE, _ROW, Operand((0, 3))),
        _scan(_recurrence, 1, 1, 0),
    ),
    Sample(
        "scan",
        "several carries",
        (
            Operand(()),
            Operand((), "i32", between(1, 3)),
            Operand((2,)),
            Operand((3, 2)),
        ),
        _scan(_two_carries, 0, 3, 3),
    ),
    Sample(
        "scan",
        "nested",
        (_SQUARE, _ROW, Operand((3, 2, 3))),
        _scan(_nested, 1, 1, 3),
        f32=1e-5,
    ),
    Sample("call", "", (_M, _M), _call),
    Sample("call", "own backward", (_M,), _call_with_backward),
]
