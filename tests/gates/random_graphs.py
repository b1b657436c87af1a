"""Random small graphs from a seed, over nearly every gate, with odd shapes.

`random_graph(seed)` gives a graph and arrays to run it on. With `smooth=True` every
output has a derivative everywhere near the arrays; without, anything goes: NaN, ties,
integers, empty axes, gates that do nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.dtypes import DTYPES, DType, is_float, is_integer
from pellucid.ir.graph import Graph, Node, bind, constant, fill, input_node, results
from pellucid.ir.types import TensorType

__all__ = ["random_graph"]

_LARGEST = 300


@dataclass
class _Maker:
    """Nodes made so far, the choices of one seed, and how deep bodies may nest."""

    rng: np.random.Generator
    dtype: DType
    smooth: bool
    depth: int = 1
    nodes: list[Node] = field(default_factory=list)

    def pick(self, *wanted: Callable[[Node], bool]) -> Node | None:
        """Return a node that fits, the late ones more often."""
        fit = [each for each in self.nodes if all(w(each) for w in wanted)]
        if not fit:
            return None
        return fit[max(self.below(len(fit)), self.below(len(fit)))]

    def below(self, n: int) -> int:
        return int(self.rng.integers(n))

    def of(self, *choices: Any) -> Any:
        return choices[self.below(len(choices))]

    def shape(self) -> tuple[int, ...]:
        """Return up to three axes; 0 and 1 are among the sizes."""
        rank = self.of(0, 1, 1, 2, 2, 3)
        return tuple(self.of(0, 1, 1, 2, 3, 4) for _ in range(rank))

    def axes(self, x: Node) -> tuple[int, ...]:
        return tuple(i for i in range(x.ndim) if self.below(2))


def _float(x: Node) -> bool:
    return is_float(x.dtype)


def _number(x: Node) -> bool:
    return x.dtype.kind != "b"


def _signed(x: Node) -> bool:
    return x.dtype.kind in "if"


def _truth(x: Node) -> bool:
    return not _float(x)


def _some(x: Node) -> bool:
    return x.ndim > 0


def _like(x: Node) -> Callable[[Node], bool]:
    return lambda y: y.type == x.type


def random_graph(seed: int, *, smooth: bool = False) -> tuple[Graph, list[Any]]:
    """Return the graph of a seed and arrays of its input types."""
    rng = np.random.default_rng([seed, smooth])
    dtype = DTYPES["f64" if smooth else ("f32", "f64")[int(rng.integers(2))]]
    maker = _Maker(rng, dtype, smooth)
    types = [TensorType(maker.shape(), dtype) for _ in range(2)]
    types.append(TensorType(maker.shape(), maker.of("i32", "u8", "bool", "i64")))
    inputs = [input_node(each, f"x{i}") for i, each in enumerate(types)]
    maker.nodes = list(inputs)
    _grow(maker, 6 + maker.below(14))
    count = 1 + maker.below(3)
    outputs = [*maker.nodes[-2:], *(maker.of(*maker.nodes) for _ in range(count))]
    return Graph(tuple(inputs), tuple(outputs)), [_draw(maker, t) for t in types]


def _draw(maker: _Maker, type_: TensorType) -> Any:
    if type_.dtype.kind == "b":
        return maker.rng.integers(0, 2, type_.shape) > 0
    if is_integer(type_.dtype):
        return maker.rng.integers(0, 5, type_.shape).astype(type_.dtype)
    array = maker.rng.normal(size=type_.shape)
    if not maker.smooth and array.size:
        odd = maker.rng.choice([0.0, -0.0, 1.0, np.inf, np.nan, 2.0], type_.shape)
        array = np.where(maker.rng.random(type_.shape) < 0.15, odd, array)
    return np.asarray(array, type_.dtype)


def _grow(maker: _Maker, count: int) -> None:
    table = [*_SMOOTH, *([] if maker.smooth else _ROUGH)]
    for _ in range(count):
        made = maker.of(*table)(maker)
        for each in made if isinstance(made, tuple) else (made,):
            if each is not None and each.type.size <= _LARGEST:
                maker.nodes.append(each)


# --- gates ---------------------------------------------------------------------------


def _unary(maker: _Maker) -> Node | None:
    x = maker.pick(_float)
    if x is None:
        return None
    op = maker.of("sin", "cos", "tanh", "erf", "neg", "exp", "log", "sqrt", "stop")
    if not maker.smooth:
        return bind(op, x)
    if op == "stop":  # finite differences would see through it
        op = "tanh"
    if op in ("log", "sqrt"):
        x = x * x + 1.0
    if op == "exp":
        x = bind("tanh", x)
    return bind(op, x)


def _binary(maker: _Maker) -> Node | None:
    x = maker.pick(_float)
    if x is None:
        return None
    y = _partner(maker, x)
    op = maker.of("add", "mul", "add", "mul", "div", "pow")
    if maker.smooth and op == "div":
        y = y * y + 1.0
    if maker.smooth and op == "pow":
        x, y = bind("tanh", x) + 2.0, bind("sin", y)
    return bind(op, x, y)


def _partner(maker: _Maker, x: Node) -> Node:
    """Return a node of x's type: one that is there, or a broadcast one."""
    y = maker.pick(_like(x))
    if y is not None and maker.below(3):
        return y
    scalar = maker.pick(lambda each: each.type == x.type.with_shape(()))
    if scalar is None or maker.below(2):
        return fill(maker.of(0.0, -0.0, 1.0, 2.0, 0.5, -1.0), x.type)
    single = bind("reshape", scalar, shape=(1,) * x.ndim)
    return bind("broadcast", single, shape=x.shape)


def _where(maker: _Maker) -> Node | None:
    x = maker.pick(_float)
    if x is None:
        return None
    condition = maker.pick(lambda c: c.dtype.kind == "b" and c.shape == x.shape)
    if condition is None:
        return None
    return bind("where", condition, x, _partner(maker, x))


def _sum(maker: _Maker) -> Node | None:
    x = maker.pick(_number)
    return None if x is None else bind("sum", x, axes=maker.axes(x))


def _reshape(maker: _Maker) -> Node | None:
    x = maker.pick()
    if x is None:
        return None
    flat = (x.type.size,)
    ones = tuple(n for n in x.shape if n != 1)
    shape = maker.of(flat, (1, *x.shape), (*x.shape, 1), ones, x.shape)
    return bind("reshape", x, shape=shape)


def _transpose(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    if x is None:
        return None
    axes = tuple(int(i) for i in maker.rng.permutation(x.ndim))
    return bind("transpose", x, axes=axes)


def _broadcast(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    if x is None:
        return None
    shape = tuple(maker.of(0, 1, 2, 3) if n == 1 else n for n in x.shape)
    return bind("broadcast", x, shape=shape)


def _slice(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    if x is None:
        return None
    start = tuple(maker.below(n + 1) for n in x.shape)
    stop = tuple(i + maker.below(n - i + 1) for i, n in zip(start, x.shape))
    step = tuple(1 + maker.below(3) for _ in x.shape)
    return bind("slice", x, start=start, stop=stop, step=step)


def _pad(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    if x is None:
        return None
    value = maker.pick(lambda y: y.type == x.type.with_shape(()))
    low, high, inner = (tuple(maker.below(3) for _ in x.shape) for _ in range(3))
    value = constant(1, x.dtype) if value is None else value
    return bind("pad", x, value, low=low, high=high, interior=inner)


def _concat(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    if x is None:
        return None
    axis = maker.below(x.ndim)
    rest = x.shape[:axis], x.shape[axis + 1 :]
    y = maker.pick(
        lambda y: (
            y.dtype == x.dtype
            and y.ndim == x.ndim
            and (y.shape[:axis], y.shape[axis + 1 :]) == rest
        )
    )
    return bind("concat", x, x if y is None else y, axis=axis)


def _reverse(maker: _Maker) -> Node | None:
    x = maker.pick(_some)
    return None if x is None else bind("reverse", x, axes=maker.axes(x))


def _dot(maker: _Maker) -> Node | None:
    x = maker.pick(_float, _some)
    if x is None:
        return None
    axis = maker.below(x.ndim)
    y = maker.pick(_float, lambda y: y.dtype == x.dtype and x.shape[axis] in y.shape)
    y = x if y is None else y
    other = y.shape.index(x.shape[axis])
    return bind("dot", x, y, contract=((axis,), (other,)), batch=((), ()))


def _batched_dot(maker: _Maker) -> Node | None:
    x = maker.pick(_float, lambda x: x.ndim == 3)
    if x is None:
        return None
    return bind("dot", x, x, contract=((2,), (2,)), batch=((0,), (0,)))


def _conv(maker: _Maker) -> Node | None:
    x = maker.pick(_float, lambda x: x.ndim == 3)
    if x is None:
        return None
    w = maker.pick(
        lambda w: (
            w.ndim == 3
            and w.dtype == x.dtype
            and w.shape[1] == x.shape[1]
            and w.shape[2] > 0
        )
    )
    if w is None:
        return None
    attrs = {
        "low": (maker.below(4) - 1,),
        "high": (maker.below(4) - 1,),
        "stride": (1 + maker.below(2),),
        "x_dilation": (1 + maker.below(2),),
        "w_dilation": (1 + maker.below(2),),
    }
    return bind("conv", x, w, groups=1, **attrs)


def _gather(maker: _Maker) -> Node | None:
    x = maker.pick(lambda x: x.ndim > 0 and max(x.shape) > 0)
    if x is None:
        return None
    axis = max(range(x.ndim), key=x.shape.__getitem__)
    shape = maker.of((), (0,), (3,), (2, 2))
    at = maker.rng.integers(0, x.shape[axis], shape)
    return bind("gather", x, constant(at, maker.of("i32", "i64", "u8")), axis=axis)


def _scatter_add(maker: _Maker) -> Node | None:
    x = maker.pick(_number, lambda x: x.ndim > 0 and x.shape[0] > 0)
    if x is None:
        return None
    updates = maker.pick(
        lambda u: u.dtype == x.dtype and u.ndim == x.ndim and u.shape[1:] == x.shape[1:]
    )
    if updates is None:
        return None
    at = constant(maker.rng.integers(0, x.shape[0], updates.shape[0]), "i32")
    return bind("scatter_add", x, at, updates, axis=0)


def _body(maker: _Maker, types: list[TensorType]) -> _Maker:
    """Return a maker with inputs of these types and some gates on them."""
    inner = _Maker(maker.rng, maker.dtype, maker.smooth, maker.depth - 1)
    inner.nodes = [input_node(each, f"b{i}") for i, each in enumerate(types)]
    _grow(inner, 3 + maker.below(5))
    return inner


def _scan(maker: _Maker) -> tuple[Node, ...] | None:
    sequence = maker.pick(_float, _some)
    carry = maker.pick(_float, lambda c: c.dtype == maker.dtype)
    const = maker.pick()
    if not maker.depth or sequence is None or carry is None or const is None:
        return None
    types = [const.type, carry.type, sequence.type.with_shape(sequence.shape[1:])]
    body = _body(maker, types)
    inputs = tuple(body.nodes[:3])
    new = body.pick(_like(carry))
    stacked = (body.of(*body.nodes), body.of(*body.nodes))
    assert new is not None  # the carried input itself has the type
    node = bind(
        "scan",
        const,
        carry,
        sequence,
        body=Graph(inputs, (bind("tanh", new), *stacked)),
        consts=1,
        carries=1,
        length=sequence.shape[0],
        reverse=bool(maker.below(2)),
        keep=maker.of("all", "carry"),
    )
    return results(node)


def _call(maker: _Maker) -> tuple[Node, ...] | None:
    x, y = maker.pick(), maker.pick(_float)
    if not maker.depth or x is None or y is None:
        return None
    body = _body(maker, [x.type, y.type])
    outputs = (body.nodes[-1], body.of(*body.nodes))
    graph = Graph(tuple(body.nodes[:2]), outputs)
    return results(bind("call", x, y, body=graph, name="part", backward=None))


def _idle(maker: _Maker) -> Node | None:
    """Return what a pass may leave out."""
    x = maker.pick(_float)
    if x is None:
        return None
    back = tuple(range(x.ndim))[::-1]
    turned = bind("transpose", x, axes=back)
    flat = bind("reshape", x, shape=(x.type.size,))
    return maker.of(
        x * 1.0,
        fill(1.0, x.type) * x,
        x / 1.0,
        bind("neg", -x),
        bind("reshape", flat, shape=x.shape),
        bind("transpose", turned, axes=back),
        bind("cast", x, dtype=x.dtype),
        x + 0.0,
    )


# --- gates with steps, ties and integers -----------------------------------------


def _compare(maker: _Maker) -> Node | None:
    x = maker.pick()
    y = None if x is None else maker.pick(_like(x))
    return None if x is None or y is None else bind(maker.of("eq", "lt", "le"), x, y)


def _logic(maker: _Maker) -> Node | None:
    x = maker.pick(_truth)
    y = None if x is None else maker.pick(_like(x))
    return None if x is None or y is None else bind(maker.of("and", "or", "xor"), x, y)


def _not(maker: _Maker) -> Node | None:
    x = maker.pick(_truth)
    return None if x is None else bind("not", x)


def _extremum(maker: _Maker) -> Node | None:
    x = maker.pick(_number)
    y = None if x is None else maker.pick(_like(x))
    if x is None or y is None:
        return None
    return bind(maker.of("maximum", "minimum", "add", "mul"), x, y)


def _steps(maker: _Maker) -> Node | None:
    op = maker.of("abs", "sign", "neg", "floor")
    x = maker.pick(_float if op == "floor" else _signed)
    return None if x is None else bind(op, x)


def _cast(maker: _Maker) -> Node | None:
    x = maker.pick()
    if x is None:
        return None
    return bind("cast", x, dtype=maker.of(*DTYPES.values()))


def _max(maker: _Maker) -> Node | None:
    x = maker.pick(_number)
    if x is None:
        return None
    # Between 0 and −0 the larger is either: add 0, which leaves no −0.
    safe = x + fill(0, x.type) if _float(x) else x
    return bind("max", safe, axes=maker.axes(x))


def _argmax(maker: _Maker) -> Node | None:
    x = maker.pick(_number, lambda x: math.prod(x.shape) > 0 and x.ndim > 0)
    return None if x is None else bind("argmax", x, axis=maker.below(x.ndim))


def _bits(maker: _Maker) -> Node:
    key = constant(maker.rng.integers(0, 2**32, 2), "u32")
    return bind("random_bits", key, key, shape=maker.shape())


_SMOOTH: list[Callable[[_Maker], Any]] = [
    *(_unary, _binary, _binary, _where, _sum, _reshape, _transpose, _broadcast),
    *(_slice, _pad, _concat, _reverse, _dot, _dot, _batched_dot, _conv, _gather),
    *(_scatter_add, _scan, _scan, _call, _idle, _idle),
]
_ROUGH: list[Callable[[_Maker], Any]] = [
    *(_compare, _logic, _not, _extremum, _steps, _cast, _max, _argmax, _bits),
]
