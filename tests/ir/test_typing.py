"""Each gate's typing rule refuses what does not fit, by name, with the line."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from pellucid.errors import DTypeError, GraphError, PellucidError, ShapeError
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.ops import OPS
from pellucid.ir.types import TensorType

ONE_SPACE = {
    "stride": (1,),
    "low": (0,),
    "high": (0,),
    "x_dilation": (1,),
    "w_dilation": (1,),
    "groups": 1,
}
LOOP = {"consts": 0, "carries": 1, "length": 3, "reverse": False, "keep": "all"}
PLAIN = {"contract": ((1,), (0,)), "batch": ((), ())}


def body(*pairs: tuple[str, str]) -> Graph:
    """Return a graph whose outputs are casts or copies of its inputs."""
    inputs = tuple(input_node(TensorType.parse(old), "b") for old, _ in pairs)
    outputs = []
    for x, (_, new) in zip(inputs, pairs):
        type_ = TensorType.parse(new)
        y = bind("sum", x, axes=()) if type_.shape == x.shape else None
        y = bind("broadcast", x, shape=type_.shape) if y is None else y
        outputs.append(bind("cast", y, dtype=type_.dtype))
    return Graph(inputs, tuple(outputs))


SAME = body(("f32[2]", "f32[2]"))

WRONG: list[tuple[str, str, dict[str, Any], type[PellucidError], str]] = [
    # gate, operand types, metadata, class, what the text says
    ("add", "f32[2] f32[3]", {}, ShapeError, "operands differ in shape: (f32[2], f32"),
    ("add", "f32[2] f64[2]", {}, DTypeError, "operands differ in dtype: (f32[2], f64"),
    ("add", "f32[] f32[1]", {}, ShapeError, "operands differ in shape"),
    ("add", "bool[2] bool[2]", {}, DTypeError, "numbers are needed, not truth values"),
    ("add", "f32[2]", {}, GraphError, "takes 2 inputs, not 1"),
    ("mul", "i32[2] u32[2]", {}, DTypeError, "operands differ in dtype"),
    ("div", "i32[2] i32[2]", {}, DTypeError, "needs floats, not i32[2]"),
    ("pow", "i32[2] i32[2]", {}, DTypeError, "needs floats, not i32[2]"),
    ("maximum", "bool[2] bool[2]", {}, DTypeError, "numbers are needed"),
    ("minimum", "f32[2] f32[]", {}, ShapeError, "operands differ in shape"),
    ("neg", "u8[2]", {}, DTypeError, "needs signed numbers, not u8[2]"),
    ("exp", "i32[2]", {}, DTypeError, "needs floats, not i32[2]"),
    ("log", "bool[2]", {}, DTypeError, "needs floats, not bool[2]"),
    ("sqrt", "i64[]", {}, DTypeError, "needs floats"),
    ("sin", "i64[]", {}, DTypeError, "needs floats"),
    ("cos", "u8[]", {}, DTypeError, "needs floats"),
    ("tanh", "i64[]", {}, DTypeError, "needs floats"),
    ("erf", "i64[]", {}, DTypeError, "needs floats"),
    ("abs", "u32[2]", {}, DTypeError, "needs signed numbers, not u32[2]"),
    ("floor", "i32[2]", {}, DTypeError, "needs floats"),
    ("sign", "bool[]", {}, DTypeError, "needs signed numbers"),
    ("eq", "f32[2] i32[2]", {}, DTypeError, "operands differ in dtype"),
    ("lt", "f32[2] f32[1]", {}, ShapeError, "operands differ in shape"),
    ("le", "f32[2] f32[1]", {}, ShapeError, "operands differ in shape"),
    ("and", "f32[2] f32[2]", {}, DTypeError, "needs truth values or integers, not f32"),
    ("or", "f32[2] f32[2]", {}, DTypeError, "needs truth values or integers"),
    ("xor", "bool[2] i32[2]", {}, DTypeError, "operands differ in dtype"),
    ("not", "f64[]", {}, DTypeError, "needs truth values or integers, not f64[]"),
    ("where", "i32[2] f32[2] f32[2]", {}, DTypeError, "condition is not of truth val"),
    ("where", "bool[1] f32[2] f32[2]", {}, ShapeError, "operands differ in shape"),
    ("where", "bool[2] f32[2] f32[3]", {}, ShapeError, "operands differ in shape"),
    ("where", "bool[2] f32[2] f64[2]", {}, DTypeError, "operands differ in dtype"),
    ("cast", "f32[2]", {"dtype": np.dtype("c8")}, DTypeError, "unknown dtype"),
    ("stop", "", {}, GraphError, "takes 1 inputs, not 0"),
    ("sum", "f32[2]", {"axes": (1,)}, ShapeError, "axes (1,) do not fit f32[2]"),
    ("sum", "f32[2,2]", {"axes": (0, 0)}, ShapeError, "axes (0, 0) do not fit"),
    ("sum", "f32[2]", {"axes": (-1,)}, ShapeError, "axes (-1,) do not fit"),
    ("sum", "bool[2]", {"axes": (0,)}, DTypeError, "numbers are needed"),
    ("max", "f32[2]", {"axes": (2,)}, ShapeError, "axes (2,) do not fit"),
    ("argmax", "f32[2]", {"axis": 1}, ShapeError, "axes (1,) do not fit"),
    ("argmax", "f32[2,0]", {"axis": 1}, ShapeError, "argmax over the empty axis 1 of"),
    (
        "reshape",
        "f32[2,3]",
        {"shape": (7,)},
        ShapeError,
        "cannot reshape f32[2,3] to (7",
    ),
    ("reshape", "f32[4]", {"shape": (-2, -2)}, ShapeError, "size is negative"),
    ("transpose", "f32[2,3]", {"axes": (0,)}, ShapeError, "axes (0,) do not permute"),
    ("transpose", "f32[2,3]", {"axes": (0, 0)}, ShapeError, "do not permute f32[2,3]"),
    ("broadcast", "f32[2]", {"shape": (3,)}, ShapeError, "cannot broadcast f32[2] to"),
    ("broadcast", "f32[1]", {"shape": (2, 3)}, ShapeError, "cannot broadcast f32[1]"),
    (
        *("slice", "f32[4]", {"start": (0,), "stop": (5,), "step": (1,)}),
        *(ShapeError, "slice (0,):(5,):(1,) does not lie inside f32[4]"),
    ),
    (
        *("slice", "f32[4]", {"start": (3,), "stop": (2,), "step": (1,)}),
        *(ShapeError, "does not lie inside"),
    ),
    (
        *("slice", "f32[4]", {"start": (0,), "stop": (4,), "step": (0,)}),
        *(ShapeError, "does not lie inside"),
    ),
    (
        *("slice", "f32[4]", {"start": (), "stop": (), "step": ()}),
        *(ShapeError, "needs one start, stop and step an axis"),
    ),
    (
        *("pad", "f32[4] f64[]", {"low": (0,), "high": (0,), "interior": (0,)}),
        *(ShapeError, "padding value must be a scalar of f32[4]'s dtype, not f64[]"),
    ),
    (
        *("pad", "f32[4] f32[]", {"low": (-1,), "high": (0,), "interior": (0,)}),
        *(ShapeError, "padding (-1,), (0,), (0,) does not fit f32[4]"),
    ),
    ("concat", "", {"axis": 0}, ShapeError, "concat of nothing"),
    ("concat", "f32[2] f64[2]", {"axis": 0}, DTypeError, "operands differ in dtype"),
    (
        "concat",
        "f32[2,2] f32[2,3]",
        {"axis": 0},
        ShapeError,
        "do not join along axis 0",
    ),
    ("concat", "f32[2] f32[2]", {"axis": 1}, ShapeError, "axes (1,) do not fit"),
    ("reverse", "f32[2]", {"axes": (1,)}, ShapeError, "axes (1,) do not fit"),
    (
        "dot",
        "f32[2,3] f32[4,2]",
        PLAIN,
        ShapeError,
        "contracted sizes differ: f32[2,3]",
    ),
    ("dot", "f32[2,3] f64[3,2]", PLAIN, DTypeError, "operands differ in dtype"),
    ("dot", "bool[2,3] bool[3,2]", PLAIN, DTypeError, "numbers are needed"),
    (
        *("dot", "f32[2,3,4] f32[5,4,2]", {"contract": ((2,), (1,))}),
        *(ShapeError, "batch sizes differ"),
    ),
    (
        *("dot", "f32[2,2] f32[2,2]", {"contract": ((0,), (0,))}),
        *(ShapeError, "axes (0, 0) do not fit"),
    ),
    ("conv", "f32[2,3,5] f32[4,2,3]", {}, ShapeError, "channels do not fit"),
    ("conv", "f32[2,4,5] f32[3,2,3]", {"groups": 2}, ShapeError, "in 2 groups"),
    ("conv", "f32[2,3] f32[4,3]", {}, ShapeError, "both need axes [batch, channel, sp"),
    ("conv", "f32[2,3,5] f64[4,3,3]", {}, DTypeError, "operands differ in dtype"),
    ("conv", "i32[2,3,5] i32[4,3,3]", {}, DTypeError, "needs floats"),
    ("conv", "f32[2,3,5] f32[4,3,3]", {"stride": (0,)}, ShapeError, "at least 1"),
    ("conv", "f32[2,3,5] f32[4,3,3]", {"low": (0, 0)}, ShapeError, "needs 1 strides"),
    (
        "gather",
        "f32[2] f32[1]",
        {"axis": 0},
        DTypeError,
        "indices must be integers, not",
    ),
    ("gather", "f32[2] bool[1]", {"axis": 0}, DTypeError, "indices must be integers"),
    ("gather", "f32[2] i32[1]", {"axis": 1}, ShapeError, "axes (1,) do not fit"),
    (
        *("scatter_add", "f32[4] i32[3] f32[2]", {"axis": 0}),
        *(ShapeError, "updates are f32[2], expected f32[3]"),
    ),
    (
        *("scatter_add", "bool[4] i32[3] bool[3]", {"axis": 0}),
        *(DTypeError, "numbers are needed"),
    ),
    (
        *("random_bits", "u32[2] u32[3]", {"shape": (2,)}),
        *(DTypeError, "key and counter are u32[2], not u32[2], u32[3]"),
    ),
    (
        "random_bits",
        "i32[2] i32[2]",
        {"shape": (2,)},
        DTypeError,
        "key and counter are",
    ),
    ("scan", "f32[2] f32[4,2]", {"body": SAME}, ShapeError, "length 3 over f32[4,2]"),
    ("scan", "f32[2] f32[]", {"body": SAME}, ShapeError, "scan of length 3 over f32[]"),
    (
        "scan",
        "f32[3]",
        {"body": SAME},
        ShapeError,
        "the body takes (f32[2],), the scan",
    ),
    (
        *("scan", "f32[2]", {"body": body(("f32[2]", "f64[2]"))}),
        *(
            ShapeError,
            "the body carries (f32[2],) in and (f64[2],) out: they must agree",
        ),
    ),
    (
        "scan",
        "f32[2]",
        {"body": SAME, "keep": "none"},
        ShapeError,
        "keep is 'all' or 'c",
    ),
    (
        *("call", "f64[2]", {"body": SAME, "name": "soft", "backward": None}),
        *(ShapeError, "soft takes (f32[2],), the call brings (f64[2],)"),
    ),
    (
        *("call", "f32[2]", {"body": SAME, "name": "soft", "backward": SAME}),
        *(
            ShapeError,
            "the backward of soft takes (f32[2],), expected (inputs, outputs",
        ),
    ),
    (
        *("call", "f32[2]", {"name": "soft", "body": SAME}),
        *(
            ShapeError,
            "the backward of soft returns (f32[2], f32[2], f32[2]), expected",
        ),
    ),
    ("get", "f32[2]", {"index": 0}, ShapeError, "takes the result of a scan or a call"),
]
DEFAULTS: dict[str, dict[str, Any]] = {
    "conv": ONE_SPACE,
    "scan": LOOP,
    "dot": {"batch": ((0,), (0,))},
    "call": {"backward": body(*[("f32[2]", "f32[2]")] * 3)},
}


@pytest.mark.parametrize(("op", "operands", "attrs", "kind", "text"), WRONG)
def test_a_gate_refuses_operands_that_do_not_fit(
    op: str, operands: str, attrs: dict[str, Any], kind: type[PellucidError], text: str
) -> None:
    inputs = [input_node(TensorType.parse(each), "x") for each in operands.split()]
    given = {**DEFAULTS.get(op, {}), **attrs}
    with pytest.raises(kind) as error:
        bind(op, *inputs, **given)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert str(error.value).startswith(op)
    assert text in str(error.value)
    assert str(error.value).endswith(f"test_typing.py:{line}")


def test_every_gate_with_inputs_is_refused_something() -> None:
    assert {op for op, gate in OPS.items() if gate.arity != 0} == {
        row[0] for row in WRONG
    }
