"""The gates: one table, a line each, and the typing rule of every one.

A gate knows types only: never a node, a number, a gradient or an engine. Operands
of elementwise gates have one and the same type: whoever builds the graph inserts
the broadcasts and the casts. What a gate computes is defined by the numpy engine;
its line here says it in words.

To add a gate: a line in `OPS`, one in the chain-rule table, one in each engine's
table, and a sample. A test names what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pellucid.dtypes import DTYPES, DType, is_float
from pellucid.errors import DTypeError, ShapeError
from pellucid.ir.types import Shape, TensorType

__all__ = ["ELEMENTWISE", "OPS", "Op"]

Types: TypeAlias = TensorType | tuple[TensorType, ...]
Infer: TypeAlias = Callable[..., Types]
Pairs: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Op:
    """A gate: its name, how many inputs it takes (None: any), its typing rule."""

    name: str
    arity: int | None
    infer: Infer
    meaning: str

    def __repr__(self) -> str:
        return self.name


# --- elementwise -----------------------------------------------------------------


def _need(condition: bool, text: str, error: type[Exception] = ShapeError) -> None:
    """Raise the text; rules that run at every step of eager code word it lazily."""
    if not condition:
        raise error(text)


def _same(*types: TensorType) -> TensorType:
    first = types[0]
    for other in types[1:]:
        if other.shape != first.shape:
            raise ShapeError(f"operands differ in shape: {types}")
        if other.dtype != first.dtype:
            raise DTypeError(f"operands differ in dtype: {types}")
    return first


def _numbers(*types: TensorType) -> TensorType:
    result = _same(*types)
    _need(result.dtype.kind != "b", "numbers are needed, not truth values", DTypeError)
    return result


def _signed(x: TensorType) -> TensorType:
    if x.dtype.kind not in "if":
        raise DTypeError(f"needs signed numbers, not {x}")
    return x


def _floats(*types: TensorType) -> TensorType:
    result = _same(*types)
    if not is_float(result.dtype):
        raise DTypeError(f"needs floats, not {result}")
    return result


def _compare(x: TensorType, y: TensorType) -> TensorType:
    return _same(x, y).with_dtype(DTYPES["bool"])


def _bits(*types: TensorType) -> TensorType:
    result = _same(*types)
    _need(
        not is_float(result.dtype),
        f"needs truth values or integers, not {result}",
        DTypeError,
    )
    return result


def _where(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    _need(
        condition.dtype.kind == "b", "the condition is not of truth values", DTypeError
    )
    _need(condition.shape == x.shape, f"operands differ in shape: {condition}, {x}")
    return _same(x, y)


def _cast(x: TensorType, *, dtype: DType) -> TensorType:
    return x.with_dtype(dtype)


def _identity(x: TensorType) -> TensorType:
    return x


# --- reductions and shape --------------------------------------------------------


def _check_axes(x: TensorType, axes: tuple[int, ...]) -> None:
    valid = len(set(axes)) == len(axes) and all(0 <= axis < x.ndim for axis in axes)
    if not valid:
        raise ShapeError(f"axes {axes} do not fit {x}")


def _reduce(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    _numbers(x)
    _check_axes(x, axes)
    kept = (size for axis, size in enumerate(x.shape) if axis not in axes)
    return x.with_shape(tuple(kept))


def _argmax(x: TensorType, *, axis: int) -> TensorType:
    result = _reduce(x, axes=(axis,))
    _need(x.shape[axis] > 0, f"argmax over the empty axis {axis} of {x}")
    return result.with_dtype(DTYPES["i32"])


def _reshape(x: TensorType, *, shape: Shape) -> TensorType:
    if math.prod(shape) != x.size:
        raise ShapeError(f"cannot reshape {x} to {shape}")
    return x.with_shape(shape)


def _transpose(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"axes {axes} do not permute {x}")
    return x.with_shape(tuple(x.shape[axis] for axis in axes))


def _broadcast(x: TensorType, *, shape: Shape) -> TensorType:
    fits = len(shape) == x.ndim and all(
        old in (1, new) for old, new in zip(x.shape, shape)
    )
    if not fits:
        raise ShapeError(f"cannot broadcast {x} to {shape}")
    return x.with_shape(shape)


def _slice(x: TensorType, *, start: Shape, stop: Shape, step: Shape) -> TensorType:
    one_each = len(start) == len(stop) == len(step) == x.ndim
    _need(one_each, f"a slice of {x} needs one start, stop and step an axis")
    inside = all(
        0 <= i <= j <= size and k >= 1
        for i, j, k, size in zip(start, stop, step, x.shape)
    )
    _need(inside, f"slice {start}:{stop}:{step} does not lie inside {x}")
    return x.with_shape(tuple(-(-(j - i) // k) for i, j, k in zip(start, stop, step)))


def _pad(
    x: TensorType, value: TensorType, *, low: Shape, high: Shape, interior: Shape
) -> TensorType:
    _need(
        value.ndim == 0 and value.dtype == x.dtype,
        f"the padding value must be a scalar of {x}'s dtype, not {value}",
    )
    _need(
        len(low) == len(high) == len(interior) == x.ndim
        and min((*low, *high, *interior), default=0) >= 0,
        f"padding {low}, {high}, {interior} does not fit {x}",
    )
    return x.with_shape(
        tuple(
            before + size + max(size - 1, 0) * between + after
            for before, size, between, after in zip(low, x.shape, interior, high)
        )
    )


def _concat(*types: TensorType, axis: int) -> TensorType:
    _need(bool(types), "concat of nothing")
    first = types[0]
    _check_axes(first, (axis,))
    for other in types[1:]:
        _need(
            other.dtype == first.dtype, f"operands differ in dtype: {types}", DTypeError
        )
        same = other.ndim == first.ndim and all(
            i == axis or a == b
            for i, (a, b) in enumerate(zip(first.shape, other.shape))
        )
        _need(same, f"operands do not join along axis {axis}: {types}")
    shape = list(first.shape)
    shape[axis] = sum(each.shape[axis] for each in types)
    return first.with_shape(tuple(shape))


def _reverse(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    _check_axes(x, axes)
    return x


# --- contraction -----------------------------------------------------------------


def _dot(x: TensorType, y: TensorType, *, contract: Pairs, batch: Pairs) -> TensorType:
    if x.dtype != y.dtype:
        raise DTypeError(f"operands differ in dtype: {x}, {y}")
    _numbers(x.with_shape(()))
    for kind, (left, right) in (("contracted", contract), ("batch", batch)):
        _check_axes(x, left)
        _check_axes(y, right)
        if [x.shape[i] for i in left] != [y.shape[j] for j in right]:
            raise ShapeError(
                f"{kind} sizes differ: {x} along {left}, {y} along {right}"
            )
    _check_axes(x, (*contract[0], *batch[0]))
    _check_axes(y, (*contract[1], *batch[1]))
    free_x = [n for i, n in enumerate(x.shape) if i not in (*contract[0], *batch[0])]
    free_y = [n for i, n in enumerate(y.shape) if i not in (*contract[1], *batch[1])]
    return x.with_shape((*(x.shape[i] for i in batch[0]), *free_x, *free_y))


def _conv(
    x: TensorType,
    w: TensorType,
    *,
    stride: Shape,
    low: Shape,
    high: Shape,
    x_dilation: Shape,
    w_dilation: Shape,
    groups: int,
) -> TensorType:
    _floats(x.with_shape(()), w.with_shape(()))
    spatial = x.ndim - 2
    _need(
        spatial >= 1 and w.ndim == x.ndim,
        f"conv of {x} with {w}: both need axes "
        "[batch, channel, space…] and [out, in, space…]",
    )
    _need(
        all(
            len(each) == spatial for each in (stride, low, high, x_dilation, w_dilation)
        ),
        f"conv of {x} needs {spatial} strides, paddings and dilations",
    )
    _need(
        min((*stride, *x_dilation, *w_dilation)) >= 1,
        "strides and dilations are at least 1",
    )
    _need(
        groups >= 1 and x.shape[1] == w.shape[1] * groups and w.shape[0] % groups == 0,
        f"channels do not fit: {x} with {w} in {groups} groups",
    )
    sizes = []
    for i in range(spatial):
        size, kernel = x.shape[2 + i], w.shape[2 + i]
        padded = low[i] + high[i] + _dilated(size, x_dilation[i])
        window = _dilated(kernel, w_dilation[i])
        sizes.append(max(0, (padded - window) // stride[i] + 1))
    return x.with_shape((x.shape[0], w.shape[0], *sizes))


def _dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1 if size else 0


# --- indexing, randomness, control -----------------------------------------------


def _indices(indices: TensorType) -> None:
    _need(
        indices.dtype.kind in "iu",
        f"indices must be integers, not {indices}",
        DTypeError,
    )


def _gather(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    _indices(indices)
    _check_axes(x, (axis,))
    return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _scatter_add(
    x: TensorType, indices: TensorType, updates: TensorType, *, axis: int
) -> TensorType:
    _numbers(x)
    expected = _gather(x, indices, axis=axis)
    _need(updates == expected, f"updates are {updates}, expected {expected}")
    return x


def _random_bits(key: TensorType, counter: TensorType, *, shape: Shape) -> TensorType:
    pair = TensorType((2,), DTYPES["u32"])
    _need(
        key == pair and counter == pair,
        f"key and counter are u32[2], not {key}, {counter}",
        DTypeError,
    )
    return pair.with_shape(shape)


def _scan(
    *types: TensorType,
    body: Any,
    consts: int,
    carries: int,
    length: int,
    reverse: bool,
    keep: str,
) -> tuple[TensorType, ...]:
    _need(keep in ("all", "carry"), f"keep is 'all' or 'carry', not {keep!r}")
    sequences = types[consts + carries :]
    for each in sequences:
        _need(
            each.ndim >= 1 and each.shape[0] == length,
            f"scan of length {length} over {each}",
        )
    expected = (
        *types[: consts + carries],
        *(each.with_shape(each.shape[1:]) for each in sequences),
    )
    _need(
        body.input_types == expected,
        f"the body takes {body.input_types}, the scan brings {expected}",
    )
    results = body.output_types
    carried = types[consts : consts + carries]
    _need(
        results[:carries] == carried,
        f"the body carries {carried} in and {results[:carries]} out: they must agree",
    )
    stacked = (each.with_shape((length, *each.shape)) for each in results[carries:])
    return (*carried, *stacked)


def _call(
    *types: TensorType, body: Any, name: str, backward: Any
) -> tuple[TensorType, ...]:
    _need(
        body.input_types == types,
        f"{name} takes {body.input_types}, the call brings {types}",
    )
    results: tuple[TensorType, ...] = body.output_types
    if backward is not None:
        expected = (*types, *results, *(r for r in results if is_float(r.dtype)))
        _need(
            backward.input_types == expected,
            f"the backward of {name} takes "
            f"{backward.input_types}, expected (inputs, outputs, output gradients) "
            f"{expected}",
        )
        floats = tuple(t for t in types if is_float(t.dtype))
        _need(
            backward.output_types == floats,
            f"the backward of {name} returns "
            f"{backward.output_types}, expected {floats}",
        )
    return results


def _get(results: tuple[TensorType, ...], *, index: int) -> TensorType:
    _need(isinstance(results, tuple), "get takes the result of a scan or a call")
    _need(0 <= index < len(results), f"no result {index} of {len(results)}")
    return results[index]


def _input(*, name: str, type: TensorType) -> TensorType:
    return type


def _const(*, value: Any) -> TensorType:
    result: TensorType = value.type
    return result


# --- the table -------------------------------------------------------------------

_TABLE: list[tuple[str, int | None, Infer, str]] = [
    # leaves
    ("input", 0, _input, "a value from outside"),
    ("const", 0, _const, "a literal, keyed by its bits"),
    # elementwise: arithmetic; integers wrap around
    ("add", 2, _numbers, "x + y"),
    ("mul", 2, _numbers, "x · y"),
    ("div", 2, _floats, "x / y by IEEE 754"),
    ("pow", 2, _floats, "x to the power y; 0⁰ = 1"),
    ("maximum", 2, _numbers, "the larger; NaN wins; at ties the gradient goes to y"),
    ("minimum", 2, _numbers, "the smaller; NaN wins; at ties the gradient goes to y"),
    ("neg", 1, _signed, "−x"),
    ("exp", 1, _floats, "eˣ"),
    ("log", 1, _floats, "natural logarithm; −inf at 0, NaN below"),
    ("sqrt", 1, _floats, "square root; NaN below 0"),
    ("sin", 1, _floats, "sine of radians"),
    ("cos", 1, _floats, "cosine of radians"),
    ("tanh", 1, _floats, "hyperbolic tangent"),
    ("erf", 1, _floats, "error function"),
    ("abs", 1, _signed, "|x|; its gradient at 0 is 0"),
    ("floor", 1, _floats, "the largest integer not above x; no gradient"),
    ("sign", 1, _signed, "−1, 0 or 1; NaN stays NaN; no gradient"),
    # elementwise: comparison and logic; NaN is unequal to and unordered with all
    ("eq", 2, _compare, "x = y; −0 equals 0"),
    ("lt", 2, _compare, "x < y"),
    ("le", 2, _compare, "x ≤ y"),
    ("and", 2, _bits, "and, bit by bit"),
    ("or", 2, _bits, "or, bit by bit"),
    ("xor", 2, _bits, "exclusive or, bit by bit"),
    ("not", 1, _bits, "not, bit by bit"),
    ("where", 3, _where, "x where the condition holds, else y"),
    (
        "cast",
        1,
        _cast,
        "to another dtype; float to integer truncates and saturates, "
        "NaN gives 0; integer to integer wraps",
    ),
    ("stop", 1, _identity, "x itself, with no gradient"),
    # reductions
    ("sum", 1, _reduce, "sum over axes; 0 over nothing"),
    (
        "max",
        1,
        _reduce,
        "largest over axes; NaN wins; the lowest value over nothing; "
        "tied entries share the gradient evenly",
    ),
    ("argmax", 1, _argmax, "index of the largest, the first at ties; NaN is largest"),
    # shape
    ("reshape", 1, _reshape, "the same elements in row-major order"),
    ("transpose", 1, _transpose, "axes permuted: axis i of the result is axes[i]"),
    ("broadcast", 1, _broadcast, "axes of size 1 repeated; the rank stays"),
    ("slice", 1, _slice, "start to stop by a positive step, an axis each"),
    ("pad", 2, _pad, "a value put before, behind and between the elements"),
    ("concat", None, _concat, "joined along an axis"),
    ("reverse", 1, _reverse, "elements in reverse order along axes"),
    # contraction
    (
        "dot",
        2,
        _dot,
        "sum of products over paired axes; result axes: batch, rest of x, rest of y",
    ),
    (
        "conv",
        2,
        _conv,
        "cross-correlation of [batch, channel, space…] with [out, in, "
        "space…]; padding may be negative",
    ),
    # indexing
    ("gather", 2, _gather, "entries along an axis by index; outside is an error"),
    (
        "scatter_add",
        3,
        _scatter_add,
        "x with updates added at indices along an axis, "
        "in row-major order of the indices",
    ),
    # randomness
    ("random_bits", 2, _random_bits, "Philox4x32-10 words of (key, counter)"),
    # control
    ("scan", None, _scan, "a body run length times over carried values and slices"),
    ("call", None, _call, "a named subgraph, which may bring its own backward"),
    ("get", 1, _get, "one result of a scan or a call"),
]

OPS: dict[str, Op] = {row[0]: Op(*row) for row in _TABLE}
"""Every gate by its name."""

_FIRST, _LAST = "add", "stop"
_NAMES = [row[0] for row in _TABLE]

ELEMENTWISE: frozenset[str] = frozenset(
    _NAMES[_NAMES.index(_FIRST) : _NAMES.index(_LAST) + 1]
)
"""The gates that act on each element alone."""
