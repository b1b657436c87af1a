"""The chain-rule table: for every gate, what flows back into each input.

A rule takes the upstream gradient `g`, the gate's node `y`, and its inputs, and
returns one node for each input, or None where no gradient flows (integers, truth
values, steps). `RULES` holds the simple ones in a line each; longer ones are named
functions above it. `scan` and `call`, which have many results, stand in
`grad/control.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from pellucid.dtypes import is_float
from pellucid.ir.graph import Node, bind, constant, fill

__all__ = ["RULES", "Rule"]

Flow: TypeAlias = tuple[Node | None, ...]
Rule: TypeAlias = Callable[..., Flow]


_ERF_SLOPE = 2 / math.sqrt(math.pi)


def _zeros(like: Node) -> Node:
    return fill(0.0, like.type)


def _where(condition: Node, x: Node, y: Node) -> Node:
    return bind("where", condition, x, y)


def _sum_to(x: Node, shape: Sequence[int]) -> Node:
    """Sum the axes that a broadcast to `x.shape` repeated."""
    axes = tuple(i for i, size in enumerate(shape) if size == 1 != x.shape[i])
    return bind("reshape", bind("sum", x, axes=axes), shape=tuple(shape))


def _spread(x: Node, like: Node, axes: tuple[int, ...]) -> Node:
    """Repeat a reduced value along the axes that the reduction removed."""
    kept = tuple(1 if i in axes else size for i, size in enumerate(like.shape))
    return bind("broadcast", bind("reshape", x, shape=kept), shape=like.shape)


# --- elementwise, the longer ones ------------------------------------------------


def _pow(g: Node, y: Node, x: Node, p: Node) -> Flow:
    """d/dx = p·x^(p−1), 0 where p = 0; d/dp = xᵖ·log x, 0 where x = 0."""
    zero, one = _zeros(x), fill(1.0, x.type)
    flat = bind("eq", p, zero)
    dx = _where(flat, zero, p * x ** _where(flat, one, p - 1.0))
    dp = y * bind("log", _where(bind("eq", x, zero), one, x))
    return g * dx, g * dp


def _maximum(g: Node, y: Node, a: Node, b: Node) -> Flow:
    first = bind("lt", b, a)
    return _where(first, g, _zeros(g)), _where(first, _zeros(g), g)


def _minimum(g: Node, y: Node, a: Node, b: Node) -> Flow:
    first = bind("lt", a, b)
    return _where(first, g, _zeros(g)), _where(first, _zeros(g), g)


def _cast(g: Node, y: Node, x: Node) -> Flow:
    return (bind("cast", g, dtype=x.dtype) if is_float(y.dtype) else None,)


# --- reductions and shape --------------------------------------------------------


def _max(g: Node, y: Node, x: Node) -> Flow:
    """Tied entries share the gradient evenly."""
    axes = y.attrs["axes"]
    winners = bind("cast", bind("eq", x, _spread(y, x, axes)), dtype=x.dtype)
    count = _spread(bind("sum", winners, axes=axes), x, axes)
    return (winners * _spread(g, x, axes) / count,)


def _transpose(g: Node, y: Node, x: Node) -> Flow:
    axes = y.attrs["axes"]
    back = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    return (bind("transpose", g, axes=back),)


def _slice(g: Node, y: Node, x: Node) -> Flow:
    start, step = y.attrs["start"], y.attrs["step"]
    interior = tuple(each - 1 for each in step)
    high = tuple(
        size - begin - (max(0, n - 1) * skip + bool(n))
        for size, begin, n, skip in zip(x.shape, start, y.shape, step)
    )
    low = start
    zero = constant(0.0, g.dtype)
    return (bind("pad", g, zero, low=low, high=high, interior=interior),)


def _pad(g: Node, y: Node, x: Node, value: Node) -> Flow:
    low, interior = y.attrs["low"], y.attrs["interior"]
    step = tuple(gap + 1 for gap in interior)
    stop = tuple(
        begin + max(0, n - 1) * skip + bool(n)
        for begin, n, skip in zip(low, x.shape, step)
    )
    dx = bind("slice", g, start=low, stop=stop, step=step)
    return dx, bind("sum", g, axes=_all(g)) - bind("sum", dx, axes=_all(dx))


def _all(x: Node) -> tuple[int, ...]:
    return tuple(range(x.ndim))


def _concat(g: Node, y: Node, *parts: Node) -> Flow:
    axis, begin, flows = y.attrs["axis"], 0, []
    for part in parts:
        start = tuple(begin if i == axis else 0 for i in range(g.ndim))
        begin += part.shape[axis]
        stop = tuple(begin if i == axis else n for i, n in enumerate(g.shape))
        flows.append(bind("slice", g, start=start, stop=stop, step=(1,) * g.ndim))
    return tuple(flows)


# --- contraction -----------------------------------------------------------------


def _dot(g: Node, y: Node, x: Node, w: Node) -> Flow:
    """Each gradient is a product of `g` with the other operand."""
    (cx, cw), (bx, bw) = y.attrs["contract"], y.attrs["batch"]
    free_x = [i for i in range(x.ndim) if i not in (*cx, *bx)]
    free_w = [i for i in range(w.ndim) if i not in (*cw, *bw)]
    batch = tuple(range(len(bx)))
    from_x = tuple(range(len(bx), len(bx) + len(free_x)))
    from_w = tuple(range(len(bx) + len(free_x), g.ndim))
    dx = _dot_back(g, w, from_w, free_w, batch, bw, cw, (bx, free_x, cx))
    dw = _dot_back(g, x, from_x, free_x, batch, bx, cx, (bw, free_w, cw))
    return dx, dw


def _dot_back(
    g: Node,
    other: Node,
    g_axes: Sequence[int],
    free: Sequence[int],
    g_batch: Sequence[int],
    batch: Sequence[int],
    contract: Sequence[int],
    target: tuple[Sequence[int], Sequence[int], Sequence[int]],
) -> Node:
    product = bind(
        "dot",
        g,
        other,
        contract=(tuple(g_axes), tuple(free)),
        batch=(tuple(g_batch), tuple(batch)),
    )
    # The product's axes are: batch, the target's free axes, then the contracted ones
    # in the order in which they stand in `other`.
    to_batch, to_free, to_contract = target
    stand = [
        to_contract[i] for i in sorted(range(len(contract)), key=contract.__getitem__)
    ]
    places = [*to_batch, *to_free, *stand]
    axes = tuple(sorted(range(len(places)), key=places.__getitem__))
    return bind("transpose", product, axes=axes)


def _conv(g: Node, y: Node, x: Node, w: Node) -> Flow:
    return _conv_input(g, y, x, w), _conv_weight(g, y, x, w)


def _dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1 if size else 0


def _conv_input(g: Node, y: Node, x: Node, w: Node) -> Node:
    """dx: `g`, spread by the stride, the kernel reversed and its channels swapped."""
    attrs, groups, spatial = y.attrs, y.attrs["groups"], x.shape[2:]
    out, inner, *kernel = w.shape
    flipped = bind("reverse", w, axes=tuple(range(2, w.ndim)))
    split = bind("reshape", flipped, shape=(groups, out // groups, inner, *kernel))
    swapped = bind("transpose", split, axes=(0, 2, 1, *range(3, w.ndim + 1)))
    turned = bind("reshape", swapped, shape=(groups * inner, out // groups, *kernel))
    low, high = [], []
    for i, size in enumerate(spatial):
        window = _dilated(kernel[i], attrs["w_dilation"][i])
        spread = _dilated(size, attrs["x_dilation"][i])
        low.append(window - 1 - attrs["low"][i])
        reach = _dilated(g.shape[2 + i], attrs["stride"][i])
        high.append(spread + window - 1 - reach - low[-1])
    return bind(
        "conv",
        g,
        turned,
        stride=attrs["x_dilation"],
        low=tuple(low),
        high=tuple(high),
        x_dilation=attrs["stride"],
        w_dilation=attrs["w_dilation"],
        groups=groups,
    )


def _conv_weight(g: Node, y: Node, x: Node, w: Node) -> Node:
    """dw: `x` with `g` as its kernel; batch and channel axes change places."""
    attrs, groups = y.attrs, y.attrs["groups"]
    n, channels, *space = x.shape
    inner = channels // groups
    split = bind("reshape", x, shape=(n, groups, inner, *space))
    turned = bind("transpose", split, axes=(2, 1, 0, *range(3, x.ndim + 1)))
    image = bind("reshape", turned, shape=(inner, groups * n, *space))
    kernel = bind("transpose", g, axes=(1, 0, *range(2, g.ndim)))
    high = []
    for i, size in enumerate(w.shape[2:]):
        spread = _dilated(space[i], attrs["x_dilation"][i])
        reach = _dilated(g.shape[2 + i], attrs["stride"][i])
        high.append(
            _dilated(size, attrs["w_dilation"][i])
            + reach
            - 1
            - spread
            - attrs["low"][i]
        )
    dw = bind(
        "conv",
        image,
        kernel,
        stride=attrs["w_dilation"],
        low=attrs["low"],
        high=tuple(high),
        x_dilation=attrs["x_dilation"],
        w_dilation=attrs["stride"],
        groups=groups,
    )
    return bind("transpose", dw, axes=(1, 0, *range(2, w.ndim)))


# --- indexing --------------------------------------------------------------------


def _gather(g: Node, y: Node, x: Node, indices: Node) -> Flow:
    axis = y.attrs["axis"]
    return bind("scatter_add", _zeros(x), indices, g, axis=axis), None


def _scatter_add(g: Node, y: Node, x: Node, indices: Node, updates: Node) -> Flow:
    return g, None, bind("gather", g, indices, axis=y.attrs["axis"])


# --- the table -------------------------------------------------------------------


def _nothing(g: Node, y: Node, *inputs: Node) -> Flow:
    return (None,) * len(inputs)


RULES: dict[str, Rule] = {
    # elementwise
    "add":       lambda g, y, a, b: (g, g),
    "mul":       lambda g, y, a, b: (g * b, g * a),
    "div":       lambda g, y, a, b: (g / b, -(g * y / b)),
    "pow":       _pow,
    "maximum":   _maximum,
    "minimum":   _minimum,
    "neg":       lambda g, y, x: (-g,),
    "exp":       lambda g, y, x: (g * y,),
    "log":       lambda g, y, x: (g / x,),
    "sqrt":      lambda g, y, x: (g * 0.5 / y,),
    "sin":       lambda g, y, x: (g * bind("cos", x),),
    "cos":       lambda g, y, x: (-(g * bind("sin", x)),),
    "tanh":      lambda g, y, x: (g * (1.0 - y * y),),
    "erf":       lambda g, y, x: (g * bind("exp", -(x * x)) * _ERF_SLOPE,),
    "abs":       lambda g, y, x: (g * bind("sign", x),),
    "floor":     _nothing,
    "sign":      _nothing,
    "eq":        _nothing,
    "lt":        _nothing,
    "le":        _nothing,
    "and":       _nothing,
    "or":        _nothing,
    "xor":       _nothing,
    "not":       _nothing,
    "where":     lambda g, y, c, a, b: (None, _where(c, g, _zeros(g)),
                                        _where(c, _zeros(g), g)),
    "cast":      _cast,
    "stop":      _nothing,
    # reductions
    "sum":       lambda g, y, x: (_spread(g, x, y.attrs["axes"]),),
    "max":       _max,
    "argmax":    _nothing,
    # shape
    "reshape":   lambda g, y, x: (bind("reshape", g, shape=x.shape),),
    "transpose": _transpose,
    "broadcast": lambda g, y, x: (_sum_to(g, x.shape),),
    "slice":     _slice,
    "pad":       _pad,
    "concat":    _concat,
    "reverse":   lambda g, y, x: (bind("reverse", g, axes=y.attrs["axes"]),),
    # contraction
    "dot":       _dot,
    "conv":      _conv,
    # indexing and randomness
    "gather":      _gather,
    "scatter_add": _scatter_add,
    "random_bits": _nothing,
}  # fmt: skip
"""The rule of every gate with inputs, but `scan`, `call` and `get`."""
