"""Tensors: arithmetic, NumPy beside them, symbols, gradients, and how they travel."""

from __future__ import annotations

import copy
import inspect
import io
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pellucid.configuration import config
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import (
    DTypeError,
    GradientError,
    GraphError,
    NoValueError,
    ShapeError,
)
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, inside
from pellucid.ir.ops import OPS
from pellucid.ir.types import TensorType
from pellucid.tensors import (
    Buffer,
    Parameter,
    Tensor,
    apply,
    apply_many,
    as_tensor,
    expand,
    grad,
    meet,
    tensor,
    whole_axes,
)
from pellucid.tracing import bound, graph_of, symbol, symbols, trace

Operator = Callable[[Any, Any], Any]

ARITHMETIC: list[Operator] = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
]
LOGIC: list[Operator] = [operator.and_, operator.or_, operator.xor]
A = np.array([[1.5, 2.0, 0.5], [3.0, 1.0, 2.5]])
B = np.array([[2.0, 2.0, 1.5], [0.5, 1.0, 3.0]])


def values(*tensors: Tensor) -> list[Any]:
    return [each.value.tolist() for each in tensors]


# --- arithmetic ----------------------------------------------------------------------


@pytest.mark.parametrize("op", ARITHMETIC)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (A, B),
        (A, B[0]),
        (A, B[:, :1]),
        (A[:, None], B),
        (A, np.array(2.0)),
        (A[:0], B[:1]),
    ],
)
def test_an_operator_gives_what_numpy_gives(op: Operator, x: Any, y: Any) -> None:
    wanted = op(x, y)
    for found in (op(tensor(x), tensor(y)), op(tensor(x), y), op(x, tensor(y))):
        assert isinstance(found, Tensor)
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.value, wanted, rtol=1e-15)


@pytest.mark.parametrize("op", ARITHMETIC)
@pytest.mark.parametrize("scalar", [2, 2.0, 0.5, True, 4.0])
def test_a_python_scalar_stands_on_either_side(op: Operator, scalar: Any) -> None:
    np.testing.assert_allclose(op(tensor(A), scalar).value, op(A, scalar), rtol=1e-15)
    np.testing.assert_allclose(op(scalar, tensor(A)).value, op(scalar, A), rtol=1e-15)


@pytest.mark.parametrize("op", LOGIC)
def test_logic_gives_what_numpy_gives(op: Operator) -> None:
    x, y = np.array([1, 6, 12]), np.array([3, 3, 10])
    assert np.array_equal(op(tensor(x), tensor(y)).value, op(x, y))
    assert np.array_equal(op(tensor(x > 5), y > 5).value, op(x > 5, y > 5))
    assert np.array_equal((~tensor(x > 5)).value, ~(x > 5))


def test_signs() -> None:
    assert values(-tensor(A), abs(-tensor(A))) == [(-A).tolist(), A.tolist()]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        *[((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,))],
        *[((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4))],
        *[((1, 2, 3), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4))],
        *[((5, 2, 3), (3,)), ((2, 0), (0, 3)), ((6, 5, 2, 3), (6, 5, 3, 1))],
    ],
)
def test_a_matrix_product_gives_what_numpy_gives(x: Any, y: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=x), rng.normal(size=y)
    wanted = a @ b
    for found in (tensor(a) @ tensor(b), tensor(a) @ b, a @ tensor(b)):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.value, wanted, rtol=1e-12, atol=1e-12)


def test_products_that_do_not_fit_say_so() -> None:
    with pytest.raises(ShapeError, match=r"matmul of f32.*: scalars use"):
        tensor(2.0) @ tensor([1.0])
    with pytest.raises(ShapeError, match=r"contracted sizes differ: f64\[2,3\]"):
        tensor(A) @ tensor(A)
    with pytest.raises(ShapeError, match=r"the batches \(2,\) and \(4,\) of f64"):
        tensor(np.ones((2, 3, 3))) @ tensor(np.ones((4, 3, 3)))


def test_shapes_that_do_not_broadcast_are_named_with_the_line() -> None:
    x = tensor(A)
    with pytest.raises(ShapeError) as error:
        x + tensor([1.0, 2.0])
    text = "f64[2,3] and f32[2] do not broadcast together · test_tensor.py:"
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("x", "y", "wanted"),
    [
        *[("f32", "f64", "f64"), ("i64", "f32", "f32"), ("bool", "u8", "u8")],
        *[("u32", "i32", "i64"), ("u8", "i32", "i32"), ("bool", "f32", "f32")],
        *[("i32", "i64", "i64"), ("u8", "u32", "u32"), ("u8", "f64", "f64")],
    ],
)
def test_two_dtypes_meet_in_the_wider_and_floats_beat_integers(
    x: str, y: str, wanted: str
) -> None:
    one = np.ones(2)
    for left, right in ((x, y), (y, x)):
        assert (tensor(one, left) + tensor(one, right)).dtype == TensorType(
            (), wanted
        ).dtype


@pytest.mark.parametrize(
    ("dtype", "scalar", "wanted"),
    [
        *[
            ("f64", 2.5, "f64"),
            ("f32", 2.5, "f32"),
            ("f32", 2, "f32"),
            ("i32", 2, "i32"),
        ],
        *[
            ("u8", 2, "u8"),
            ("i64", 0.5, "f32"),
            ("bool", 0.5, "f32"),
            ("bool", 2, "i64"),
        ],
        *[("i32", True, "i32"), ("f64", True, "f64"), ("bool", True, "bool")],
    ],
)
def test_a_python_scalar_is_weak(dtype: str, scalar: Any, wanted: str) -> None:
    x, y = meet(tensor(np.ones(2), dtype), scalar)
    assert x.dtype == y.dtype == TensorType((), wanted).dtype
    assert meet(scalar, tensor(np.ones(2), dtype))[0].dtype == x.dtype
    assert as_tensor(scalar, like=tensor(np.ones(2), dtype)).value.item() == scalar


def test_dividing_integers_gives_floats_of_the_configured_dtype() -> None:
    assert (tensor([1, 2]) / 2).dtype == np.float32
    assert (1 / tensor([1, 2])).dtype == np.float32
    with config(dtype="f64"):
        assert (tensor([1, 2]) / 2).dtype == np.float64
        assert tensor([1.0]).dtype == np.float64
        assert (tensor([1, 2]) ** 0.5).dtype == np.float64


def test_an_integer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError):
        tensor([1], "u8") + 300


# --- shape and reductions ------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), ()])
@pytest.mark.parametrize("name", ["sum", "max", "min", "mean"])
def test_a_reduction_gives_what_numpy_gives(
    name: str, axis: Any, keepdims: bool
) -> None:
    found = getattr(tensor(A), name)(axis, keepdims)
    wanted = getattr(A, name)(axis=axis, keepdims=keepdims)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.value, wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["u8", "i32", "i64", "u32"])
def test_the_smallest_integer_is_found_even_the_lowest_of_all(dtype: str) -> None:
    limits = np.iinfo(TensorType((), dtype).dtype)
    x = tensor(np.array([limits.max, limits.min, 3], limits.dtype))
    assert (x.min().item(), x.max().item()) == (limits.min, limits.max)


def test_reductions_over_nothing() -> None:
    nothing = tensor(np.zeros((2, 0), np.float32))
    assert nothing.sum(1).value.tolist() == [0, 0]
    assert nothing.min(1).value.tolist() == [np.inf, np.inf]
    assert np.isnan(nothing.mean().item())


def test_reshape_takes_sizes_or_a_sequence_and_fills_in_one() -> None:
    x = tensor(np.arange(6))
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == (2, 3)
    assert x.reshape(3, -1).shape == (3, 2)
    assert x.reshape(-1).shape == (6,)
    assert tensor(1.0).reshape(()).shape == ()
    assert tensor(np.zeros((0, 3))).reshape(0, -1).shape == (0, 0)
    with pytest.raises(ShapeError, match=r"cannot reshape i64\[6\] to \(4,\)"):
        x.reshape(4)


def test_axes_are_counted_from_either_end() -> None:
    assert whole_axes(tensor(A), -1) == (1,)
    assert whole_axes(tensor(A), None) == (0, 1)
    with pytest.raises(ShapeError, match=r"axis 2 is not an axis of f64\[2,3\]"):
        tensor(A).sum(2)


def test_expand_adds_axes_in_front() -> None:
    assert expand(tensor([1.0, 2.0]), (3, 2)).value.tolist() == [[1, 2]] * 3
    with pytest.raises(ShapeError, match="cannot broadcast"):
        expand(tensor([1.0, 2.0]), (3,))


def test_what_a_tensor_is() -> None:
    x = tensor([[1, 2], [3, 4]], "f32")
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 2), 2, 4, np.float32)
    assert repr(x) == "Tensor([[1., 2.],\n        [3., 4.]], f32[2,2])"
    assert x.T.value.tolist() == [[1, 3], [2, 4]]
    assert x.astype("i32").dtype == np.int32
    assert x.astype("f32") is x
    assert (float(x[0, 1]), int(x[1, 1]), bool(x[0, 0] == 1)) == (2.0, 4, True)
    assert len({x, tensor(1.0), x}) == 2


def test_unknown_dtypes_are_refused() -> None:
    with pytest.raises(DTypeError, match="unknown dtype"):
        tensor([1.0], "f31")
    with pytest.raises(DTypeError, match="unknown dtype"):
        tensor(np.array(["a"]))


# --- NumPy and others ----------------------------------------------------------------


def test_numpy_reads_a_tensor_and_leaves_arithmetic_to_it() -> None:
    t = tensor(A)
    assert np.array_equal(np.asarray(t), A)
    assert np.asarray(t, np.float32).dtype == np.float32
    for found in (
        np.ones(3) * t,
        np.float32(2) * t,
        np.ones(3) - t,
        np.ones((3, 2)) @ t,
    ):
        assert isinstance(found, Tensor)
    assert np.array_equal((np.ones(3) - t).value, 1 - A)
    assert np.mean(np.array(t)) == A.mean()
    with pytest.raises(TypeError):
        np.exp(t)  # a ufunc would lose the history: `pellucid.exp` keeps it


def test_numpy_can_have_its_own_copy() -> None:
    t = tensor(A)
    mine = np.array(t, copy=True)
    mine[0, 0] = 99
    assert t.value[0, 0] == A[0, 0]


def test_arrays_keep_their_dtype_and_python_floats_take_the_configured_one() -> None:
    assert tensor(np.zeros(2)).dtype == np.float64
    assert tensor([0.0]).dtype == tensor(1.0).dtype == np.float32
    assert tensor([1]).dtype == np.int64
    assert tensor(True).dtype == np.bool_
    assert tensor(tensor([1, 2]), "f32").dtype == np.float32
    assert tensor(np.zeros(2, ">f4")).dtype == np.float32


def test_dlpack_hands_the_same_memory_over() -> None:
    t = tensor(A.copy())
    taken = np.from_dlpack(t)
    assert np.array_equal(taken, A)
    assert np.shares_memory(taken, t.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: tensor(A),
        lambda: tensor(A, requires_grad=True),
        lambda: Parameter(A),
        lambda: Buffer(A),
        lambda: tensor(A, requires_grad=True) * 2.0,
    ],
)
@pytest.mark.parametrize(
    "way", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_the_value_and_a_life_of_its_own(made: Any, way: Any) -> None:
    x = made()
    y = way(x)
    assert type(y) is type(x)
    assert np.array_equal(y.value, x.value)
    assert y.value.dtype == x.value.dtype
    assert y.requires_grad == x.requires_grad
    assert y.node is not x.node
    if isinstance(y, Parameter):
        y.value = y.value * 0
        assert x.value.any()


def test_a_deep_copy_keeps_shared_parameters_shared() -> None:
    p = Parameter([1.0])
    first, second = copy.deepcopy([p, p])
    assert first is second
    assert first is not p


def test_a_symbol_cannot_be_pickled() -> None:
    with pytest.raises(NoValueError):
        pickle.dump(symbol(TensorType((), "f32")), io.BytesIO())


# --- symbols -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        *(bool, float, int, np.asarray, lambda x: x.value, lambda x: x.numpy()),
        *(lambda x: x.item(), lambda x: np.ones(2) + np.asarray(x)),
        lambda x: np.from_dlpack(x),
    ],
)
def test_a_symbol_asked_for_its_number_names_the_line(use: Any) -> None:
    x = symbol(TensorType((2,), "f32"))
    with inside("encoder"):
        y = x * 2
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    with pytest.raises(NoValueError) as error:
        use(y)
    assert str(error.value).startswith(
        f"f32[2] is a symbol and has no value yet · encoder · test_tensor.py:{line} · "
        "inside a traced function use tensor operations"
    )
    assert not y.has_value
    assert repr(y) == "Tensor(f32[2], symbol)"


def test_the_same_code_computes_with_values_and_builds_with_symbols() -> None:
    def function(x: Tensor) -> Tensor:
        return ((x @ x.T - 1.0) ** 2 / (2 + x[:, :1])).max(0)

    graph = check(trace(function, TensorType((2, 3), "f64")))
    (found,) = NumpyEngine().compile(graph)(A)
    assert found.tobytes() == function(tensor(A)).value.tobytes()


def test_numbers_in_a_traced_function_stay_small_constants() -> None:
    row = tensor(np.arange(3.0))
    big = TensorType((500, 3), "f64")
    graph = trace(lambda x: (x * 2.0 + row) / 3, big)
    constants = [n.attrs["value"].array for n in graph.nodes if n.op.name == "const"]
    assert sorted(each.size for each in constants) == [1, 1, 3]
    x = np.ones((500, 3))
    (found,) = NumpyEngine().compile(graph)(x)
    np.testing.assert_allclose(found, (x * 2 + np.arange(3)) / 3)


def test_parameters_are_symbols_within_a_block_and_themselves_again_after() -> None:
    w, b = Parameter([1.0, 2.0]), Buffer([3.0, 4.0])
    node = w.node
    with symbols({"w": w, "b": b}) as named:
        assert [each.node for each in named.values()] == [w.node, b.node]
        y = w * b
        assert not w.has_value
        graph = graph_of([w, b], [y])
    assert [each.attrs["name"] for each in graph.inputs] == ["w", "b"]
    assert w.node is node
    assert values(w, b) == [[1, 2], [3, 4]]
    with pytest.raises(ZeroDivisionError), symbols({"w": w}):
        _ = 1 / 0
    assert w.has_value


def test_parameters_can_be_other_tensors_within_a_block() -> None:
    w = Parameter([1.0, 2.0])
    with bound({"w": w}, {"w": tensor([10.0, 20.0])}):
        assert (w * 2.0).value.tolist() == [20, 40]
    assert values(w) == [[1, 2]]


def test_values_that_a_graph_uses_become_constants() -> None:
    x, known = symbol(TensorType((2,), "f64")), tensor(np.array([5.0, 7.0]))
    graph = graph_of([x], [x + known])
    assert len(graph.inputs) == 1
    (found,) = NumpyEngine().compile(graph)(np.ones(2))
    assert found.tolist() == [6, 8]


def test_a_parameter_that_is_not_an_input_is_refused_by_name() -> None:
    w, x = Parameter([1.0]), symbol(TensorType((1,), "f32"))
    text = r"Parameter f32\[1\] is used and not an input · test_tensor.py:\d+ · a param"
    with pytest.raises(GraphError, match=text):
        graph_of([x], [x * w])


def test_a_traced_function_may_return_several_values_and_numbers() -> None:
    graph = trace(lambda x, y: [x, y + x, 2.0], *[TensorType((), "f32")] * 2)
    assert [str(each) for each in graph.output_types] == ["f32[]"] * 3
    assert [each.attrs["name"] for each in graph.inputs] == ["x0", "x1"]


def test_gates_of_many_results_compute_at_once_too() -> None:
    body = trace(lambda h, x: (h * x, h + x), *[TensorType((), "f64")] * 2)
    attrs = {"consts": 0, "carries": 1, "length": 3, "reverse": False, "keep": "all"}
    x = tensor(np.float64(2.0), requires_grad=True)
    last, stack = apply_many(
        "scan", x, tensor(np.array([1.0, 2.0, 3.0])), body=body, **attrs
    )
    assert values(last, stack) == [12, [3, 4, 7]]
    (last + stack.sum()).backward()
    assert x.grad is not None
    assert x.grad.item() == 6 + 1 + 1 + 2


# --- gradients -----------------------------------------------------------------------


def test_backward_adds_to_what_is_there() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    for times in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [2 * times, 4 * times]


def test_backward_reaches_every_leaf_that_wants_it_and_no_other() -> None:
    w, b, known = Parameter([2.0]), Buffer([3.0]), tensor([5.0])
    x = tensor([7.0], requires_grad=True)
    (w * x * b + known * x).sum().backward()
    assert w.grad is not None
    assert x.grad is not None
    assert (w.grad.tolist(), x.grad.tolist()) == ([21], [11])
    assert b.grad is None
    assert known.grad is None


def test_backward_takes_a_seed() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * 3.0).backward([10.0, 100.0])
    assert x.grad is not None
    assert x.grad.tolist() == [30, 300]
    y = tensor([1.0, 2.0], requires_grad=True)
    (y * 3.0).backward(2.0)
    assert y.grad is not None
    assert y.grad.tolist() == [6, 6]


def test_backward_without_a_leaf_or_a_scalar_says_so() -> None:
    with pytest.raises(GradientError, match=r"nothing here requires a gradient"):
        (tensor(1.0) * 2.0).backward()
    with pytest.raises(GradientError, match=r"the gradient of f32\[2\] needs a seed"):
        (tensor([1.0, 2.0], requires_grad=True) * 2.0).backward()
    with pytest.raises(GradientError, match="only floats have gradients, not int64"):
        tensor([1], requires_grad=True)


def test_the_gradient_of_a_gradient_of_a_gradient() -> None:
    x = tensor(np.float64(0.4), requires_grad=True)
    y, wanted = x, [np.sin(0.4), np.cos(0.4), -np.sin(0.4), -np.cos(0.4), np.sin(0.4)]
    y = apply("sin", x)
    for each in wanted:
        assert y.item() == pytest.approx(each, rel=1e-14)
        (y,) = grad(y, [x])


def test_a_gradient_by_something_computed() -> None:
    x = tensor(np.float64(3.0), requires_grad=True)
    y = x * x
    by_y, by_x = grad(y * y + x, [y, x])
    assert (by_y.item(), by_x.item()) == (18, 109)


def test_the_gradient_of_symbols_is_symbols() -> None:
    x = symbol(TensorType((), "f64"))
    (slope,) = grad(x * x * x, [x])
    graph = graph_of([x], [slope])
    assert NumpyEngine().compile(graph)(np.float64(2))[0] == 12


def test_a_detached_tensor_and_an_integer_pass_no_gradient() -> None:
    x = tensor(np.array([1.5, 2.5]), requires_grad=True)
    whole = x.astype("i64").astype("f64")
    (x.detach() * x + whole).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.5, 2.5]
    s = symbol(TensorType((), "f64"))
    assert grad(s.detach() * s, [s])[0].node is not None


@pytest.mark.parametrize(
    "op", [operator.add, operator.mul, operator.truediv, operator.pow]
)
def test_the_gradient_of_a_broadcast_has_the_shape_of_what_was_broadcast(
    op: Operator,
) -> None:
    x = tensor(A, requires_grad=True)
    y = tensor(B[:, :1].copy(), requires_grad=True)
    op(x, y).sum().backward()
    step, wanted = 1e-6, np.zeros((2, 1))
    for i in range(2):
        up, down = B[:, :1].copy(), B[:, :1].copy()
        up[i] += step
        down[i] -= step
        wanted[i] = (op(A, up).sum() - op(A, down).sum()) / (2 * step)
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.shape, y.grad.shape) == ((2, 3), (2, 1))
    np.testing.assert_allclose(y.grad, wanted, rtol=1e-7)


def test_no_history_is_kept_where_no_gradient_is_wanted() -> None:
    x = tensor([1.0])
    y = x
    for _ in range(50):
        y = y * 2.0
    assert not y.requires_grad
    assert len(graph_of([], [y]).nodes) == 1


# --- parameters ----------------------------------------------------------------------


def test_a_parameter_takes_a_value_of_its_shape_in_its_dtype() -> None:
    p = Parameter([1.0, 2.0])
    p.value = np.array([3.0, 4.0])
    assert p.dtype == p.value.dtype == np.float32
    text = r"the value does not fit the parameter · expected f32\[2\], got shape \(3,\)"
    with pytest.raises(ShapeError, match=text):
        p.value = np.zeros(3)
    assert values(p) == [[3, 4]]
    assert repr(Buffer([1.0])) == "Buffer([1.], f32[1])"


def test_a_parameter_wants_a_gradient_and_a_buffer_does_not() -> None:
    assert Parameter([1.0]).requires_grad
    assert not Buffer([1.0]).requires_grad


def test_every_operator_names_a_gate_that_exists() -> None:
    graph = trace(lambda x: [op(x, x) for op in ARITHMETIC], TensorType((2,), "f64"))
    assert isinstance(graph, Graph)
    assert {node.op.name for node in graph.nodes} <= {*OPS}
