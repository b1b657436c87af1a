"""Functions of tensors under the names of the Array API standard: each element alone,
and reductions.

Nothing here has a chain rule of its own. Integers become floats where the result is
not whole. `expm1` and `log1p` give the digits that the plain formula loses as a
correction that carries no gradient: the plain formula's gradient loses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pellucid.configuration import current
from pellucid.dtypes import is_float
from pellucid.tensors import (
    Tensor,
    TensorLike,
    apply,
    as_tensor,
    expand,
    meet,
    whole_axes,
)

__all__ = [
    "abs",
    "add",
    "argmax",
    "argmin",
    "ceil",
    "clip",
    "cos",
    "divide",
    "equal",
    "erf",
    "exp",
    "expm1",
    "floor",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "pow",
    "round",
    "sign",
    "sin",
    "sqrt",
    "square",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "tan",
    "tanh",
    "var",
    "where",
]

Axis: TypeAlias = int | Sequence[int] | None

_INFINITY = float("inf")


def floating(x: TensorLike) -> Tensor:
    """Return it as floats: those it has, else the configured ones."""
    found = as_tensor(x)
    return found if is_float(found.dtype) else found.astype(current().dtype)


# --- one operand -----------------------------------------------------------------


def exp(x: TensorLike) -> Tensor:
    """Return eˣ.

    >>> exp([0.0, 1.0])
    Tensor([1.      , 2.718282], f32[2])
    """
    return apply("exp", floating(x))


def expm1(x: TensorLike) -> Tensor:
    """Return eˣ − 1, exact near 0.

    The digits come from eˣ − 1 = tanh(x / 2)(eˣ + 1).

    >>> expm1(1e-10).item() > 0.99e-10
    True
    """
    x = floating(x)
    power = exp(x)
    plain = power - 1.0
    better = tanh(x * 0.5) * (power + 1.0)
    return plain + stop_gradient(where(abs(x) < 1.0, better - plain, 0.0))


def log(x: TensorLike) -> Tensor:
    """Return the natural logarithm; −inf at 0, NaN below."""
    return apply("log", floating(x))


def log1p(x: TensorLike) -> Tensor:
    """Return log(1 + x), exact near 0.

    >>> log1p(1e-10).item() > 0.99e-10
    True
    """
    x = floating(x)
    whole = x + 1.0
    lost = (x - (whole - 1.0)) / whole
    return log(whole) + stop_gradient(where(abs(x) < 1.0, lost, 0.0))


def sqrt(x: TensorLike) -> Tensor:
    """Return the square root; NaN below 0, an infinite derivative at 0."""
    return apply("sqrt", floating(x))


def square(x: TensorLike) -> Tensor:
    """Return x · x."""
    x = as_tensor(x)
    return x * x


def sin(x: TensorLike) -> Tensor:
    """Return the sine of radians."""
    return apply("sin", floating(x))


def cos(x: TensorLike) -> Tensor:
    """Return the cosine of radians."""
    return apply("cos", floating(x))


def tan(x: TensorLike) -> Tensor:
    """Return the tangent of radians."""
    return sin(x) / cos(x)


def tanh(x: TensorLike) -> Tensor:
    """Return the hyperbolic tangent."""
    return apply("tanh", floating(x))


def erf(x: TensorLike) -> Tensor:
    """Return the error function."""
    return apply("erf", floating(x))


def abs(x: TensorLike) -> Tensor:
    """Return |x|; the derivative at 0 is 0."""
    return apply("abs", as_tensor(x))


def negative(x: TensorLike) -> Tensor:
    """Return −x."""
    return -as_tensor(x)


def sign(x: TensorLike) -> Tensor:
    """Return −1, 0 or 1; NaN stays NaN. The derivative is 0."""
    return apply("sign", as_tensor(x))


def floor(x: TensorLike) -> Tensor:
    """Return the largest whole number that is not above x. The derivative is 0."""
    x = as_tensor(x)
    return apply("floor", x) if is_float(x.dtype) else x


def ceil(x: TensorLike) -> Tensor:
    """Return the smallest whole number that is not below x. The derivative is 0."""
    x = as_tensor(x)
    return -floor(-x) if is_float(x.dtype) else x


def round(x: TensorLike) -> Tensor:
    """Return the nearest whole number, the even one at halves. The derivative is 0.

    >>> round([0.5, 1.5, -2.4])
    Tensor([ 0.,  2., -2.], f32[3])
    """
    x = as_tensor(x)
    if not is_float(x.dtype):
        return x
    below = floor(x)
    rest = x - below
    odd = floor(below * 0.5) * 2.0 != below
    up = (rest > 0.5) | ((rest == 0.5) & odd)
    # Beyond 2⁵² every float is whole; infinities leave a NaN in `rest`.
    return where(up, below + 1.0, below)


def stop_gradient(x: TensorLike) -> Tensor:
    """Return x itself, through which no gradient flows."""
    return apply("stop", as_tensor(x))


def isnan(x: TensorLike) -> Tensor:
    """Tell where x is not a number."""
    x = as_tensor(x)
    return x != x


def isinf(x: TensorLike) -> Tensor:
    """Tell where x is infinite."""
    x = as_tensor(x)
    return abs(x) == _INFINITY if is_float(x.dtype) else x != x


def isfinite(x: TensorLike) -> Tensor:
    """Tell where x is neither infinite nor NaN."""
    x = as_tensor(x)
    return abs(x) < _INFINITY if is_float(x.dtype) else x == x


# --- two operands: they meet in one dtype and one shape --------------------------


def add(x: TensorLike, y: TensorLike) -> Tensor:
    """Return x + y."""
    return as_tensor(x) + y


def subtract(x: TensorLike, y: TensorLike) -> Tensor:
    """Return x − y."""
    return as_tensor(x) - y


def multiply(x: TensorLike, y: TensorLike) -> Tensor:
    """Return x · y."""
    return as_tensor(x) * y


def divide(x: TensorLike, y: TensorLike) -> Tensor:
    """Return x / y, a float."""
    return as_tensor(x) / y


def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """Return x to the power y, a float; 0⁰ is 1."""
    return apply("pow", *meet(x, y, floats=True))


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """Return the larger; NaN wins; at ties the gradient goes to y."""
    return apply("maximum", *meet(x, y))


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """Return the smaller; NaN wins; at ties the gradient goes to y."""
    return apply("minimum", *meet(x, y))


def clip(
    x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None
) -> Tensor:
    """Return x brought into [min, max]; the derivative at the bounds is 0.

    >>> clip([-2.0, 0.5, 2.0], 0.0, 1.0)
    Tensor([0. , 0.5, 1. ], f32[3])
    """
    found = as_tensor(x)
    if min is not None:
        found = maximum(found, min)
    return found if max is None else minimum(found, max)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Return x where the condition holds, else y; no gradient enters the other.

    >>> where([True, False], 1.0, [2.0, 3.0])
    Tensor([1., 3.], f32[2])
    """
    x, y = meet(x, y)
    test = as_tensor(condition).astype("bool")
    if test.shape == x.shape:
        return apply("where", test, x, y)
    # `meet` words the error where the two do not broadcast.
    test, _ = meet(test, x.astype("bool"))
    return apply("where", test, expand(x, test.shape), expand(y, test.shape))


def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x = y."""
    return as_tensor(x) == y


def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x ≠ y."""
    return as_tensor(x) != y


def less(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x < y."""
    return as_tensor(x) < y


def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x ≤ y."""
    return as_tensor(x) <= y


def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x > y."""
    return as_tensor(x) > y


def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where x ≥ y."""
    return as_tensor(x) >= y


def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where both hold; what is not 0 holds."""
    return as_tensor(x).astype("bool") & as_tensor(y).astype("bool")


def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where one holds or both do."""
    return as_tensor(x).astype("bool") | as_tensor(y).astype("bool")


def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Tell where exactly one holds."""
    return as_tensor(x).astype("bool") ^ as_tensor(y).astype("bool")


def logical_not(x: TensorLike) -> Tensor:
    """Tell where it does not hold."""
    return ~as_tensor(x).astype("bool")


# --- reductions ------------------------------------------------------------------


def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum over axes, all by default; 0 over nothing. Truths count as 1."""
    x = as_tensor(x)
    return (x.astype("i64") if x.dtype.kind == "b" else x).sum(axis, keepdims)


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the arithmetic mean over axes, all by default; NaN over nothing."""
    return floating(x).mean(axis, keepdims)


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest over axes; NaN wins; ties share the gradient evenly."""
    return as_tensor(x).max(axis, keepdims)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest over axes; NaN wins; ties share the gradient evenly."""
    return as_tensor(x).min(axis, keepdims)


def var(
    x: TensorLike, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return Σ(x − mean)² / (n − correction) over axes.

    >>> var([1.0, 3.0]).item()
    1.0
    """
    x = floating(x)
    centred = x - x.mean(axis, keepdims=True)
    squares = (centred * centred).sum(axis, keepdims)
    count = x.size // squares.size if squares.size else 0
    return squares / (count - correction)


def std(
    x: TensorLike, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return the square root of `var`."""
    return sqrt(var(x, axis, correction, keepdims))


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the largest, the first at ties, as `i32`.

    Without an axis it is the index into the elements in row-major order.
    """
    x = as_tensor(x)
    if axis is None:
        found = apply("argmax", x.reshape(-1), axis=0)
        return found.reshape([1] * x.ndim) if keepdims else found
    (at,) = whole_axes(x, axis)
    found = apply("argmax", x, axis=at)
    sizes = [1 if i == at else n for i, n in enumerate(x.shape)]
    return found.reshape(sizes) if keepdims else found


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the smallest, the first at ties, as `i32`."""
    x = as_tensor(x)
    if is_float(x.dtype):
        return argmax(-x, axis, keepdims)
    # The smallest of the whole numbers, and those without a sign, have no negative.
    x = x.astype("i32") if x.dtype.kind == "b" else x
    return argmax((x == x.min(axis, keepdims=True)).astype("i32"), axis, keepdims)
