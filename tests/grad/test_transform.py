"""The reverse pass: what meets adds up, what no path joins is zero, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import GradientError, ShapeError
from pellucid.grad.transform import adjoints, differentiate, gradients
from pellucid.ir.graph import Graph, Node, bind, constant, input_node, results
from pellucid.ir.types import TensorType

SCALAR, ROW = TensorType((), "f64"), TensorType((3,), "f64")


def run(inputs: list[Node], outputs: list[Node], *arrays: Any) -> list[Any]:
    graph = Graph(tuple(inputs), tuple(outputs))
    given = [np.asarray(a, i.dtype) for a, i in zip(arrays, inputs)]
    return [each.tolist() for each in NumpyEngine().compile(graph)(*given)]


def test_flows_that_meet_in_a_shared_input_add_up() -> None:
    x = input_node(SCALAR, "x")
    y = x * x + bind("sin", x) * x + x
    (flow,) = gradients(y, [x])
    (slope,) = run([x], [flow], 0.7)
    assert slope == pytest.approx(2 * 0.7 + np.sin(0.7) + 0.7 * np.cos(0.7) + 1)


def test_an_input_used_ten_times_over_costs_ten_sums_not_two_to_the_ten() -> None:
    x = input_node(SCALAR, "x")
    y = x
    for _ in range(10):
        y = y + y
    (flow,) = gradients(y, [x])
    assert run([x], [flow], 1.0) == [1024]
    assert len(Graph((x,), (flow,)).nodes) <= 11


def test_no_path_gives_zeros() -> None:
    x, y = input_node(ROW, "x"), input_node(SCALAR, "y")
    assert run([x, y], gradients(y * y, [x]), [1, 2, 3], 1) == [[0, 0, 0]]
    assert adjoints([(y, y)], [x]) == {}


def test_stop_lets_nothing_through() -> None:
    x = input_node(SCALAR, "x")
    y = bind("stop", x) * x
    assert run([x], gradients(y, [x]), 3.0) == [3]
    assert run([x], gradients(bind("stop", x * x), [x]), 3.0) == [0]


def test_integers_and_truth_values_carry_no_gradient() -> None:
    x = input_node(SCALAR, "x")
    whole = bind("cast", x, dtype=np.dtype(np.int32))
    back = bind("cast", whole, dtype=x.dtype)
    chosen = bind("where", bind("lt", x, back), x * 2.0, x * 5.0)
    assert run([x], gradients(back * x + chosen, [x]), 2.5) == [2 + 5]


def test_a_gradient_may_be_asked_for_an_inner_node() -> None:
    x = input_node(SCALAR, "x")
    y = x * x
    assert run([x], gradients(y * y, [y, x]), 3.0) == [18, 108]


def test_the_gradient_of_an_output_by_itself_is_its_seed() -> None:
    x = input_node(ROW, "x")
    seed = constant([1.0, 2.0, 3.0])
    assert gradients(x, [x], seed) == [seed]


def test_several_seeds_flow_together() -> None:
    x, g = input_node(SCALAR, "x"), constant(10.0)
    found = adjoints([(x * x, g), (bind("neg", x), constant(1.0)), (x, g)], [x])
    assert run([x], [found[x]], 2.0) == [40 - 1 + 10]


def test_gradients_can_be_taken_again_and_again() -> None:
    x = input_node(SCALAR, "x")
    y, wanted = bind("exp", x * 2.0), np.exp(2 * 0.3)
    for order in range(5):
        (value,) = run([x], [y], 0.3)
        assert value == pytest.approx(2**order * wanted)
        (y,) = gradients(y, [x])


def test_differentiate_adds_gradients_behind_the_outputs() -> None:
    x, w = input_node(SCALAR, "x"), input_node(SCALAR, "w")
    graph = differentiate(Graph((x, w), (x * w * w, x)), [1, 0])
    assert graph.inputs == (x, w)
    assert run([x, w], list(graph.outputs), 2.0, 3.0) == [18, 2, 12, 9]


def test_a_vector_needs_a_seed_and_the_error_says_so() -> None:
    x = input_node(ROW, "x")
    text = (
        r"the gradient of f64\[3\] needs a seed · test_transform.py:\d+ · "
        r"expected a scalar · sum it"
    )
    with pytest.raises(GradientError, match=text):
        gradients(x * x, [x])


def test_an_integer_has_no_gradient_and_the_error_says_so() -> None:
    x, n = input_node(SCALAR, "x"), input_node(TensorType((), "i32"), "n")
    with pytest.raises(GradientError, match=r"for i32\[\] · .*: cast first"):
        gradients(x, [n])
    with pytest.raises(GradientError, match=r"no gradient for i32\[\]"):
        gradients(n, [x])


# --- calls ---------------------------------------------------------------------------


def _square(x: Node, *, backward: bool = True) -> Node:
    """Return x² by a call whose own backward says 7·g: one sees who answered."""
    b, y, g = (input_node(SCALAR, name) for name in "byg")
    own = Graph((b, y, g), (g * 7.0,)) if backward else None
    body = Graph((b,), (b * b,))
    return results(bind("call", x, body=body, name="square", backward=own))[0]


def test_a_call_uses_the_backward_that_it_brings() -> None:
    x = input_node(SCALAR, "x")
    y = _square(x * 3.0)
    assert run([x], [y, *gradients(y, [x])], 2.0) == [36, 21]


def test_a_call_without_a_backward_is_differentiated_through_its_body() -> None:
    x = input_node(SCALAR, "x")
    y = _square(x * 3.0, backward=False)
    (flow,) = gradients(y, [x])
    (again,) = gradients(flow, [x])
    assert run([x], [y, flow, again], 2.0) == [36, 36, 18]


def test_the_backward_of_a_call_gets_inputs_outputs_and_gradients() -> None:
    """Two inputs, one of them integer, two results: each in its place."""
    x, n = input_node(SCALAR, "x"), input_node(TensorType((), "i32"), "n")
    whole = bind("cast", n, dtype=x.dtype)
    body = Graph((x, n), (x * whole, n, bind("sin", x)))
    given = [input_node(each, "b") for each in (*body.input_types, *body.output_types)]
    first, last = input_node(SCALAR, "g0"), input_node(SCALAR, "g2")
    flow = first * 100.0 + last * 10.0 + given[2] + given[0]
    backward = Graph((*given, first, last), (flow,))
    attrs = {"body": body, "name": "two", "backward": backward}
    a, k = input_node(SCALAR, "a"), input_node(n.type, "k")
    y = results(bind("call", a, k, **attrs))
    found = adjoints([(y[0], constant(1.0)), (y[2], constant(2.0))], [a])
    assert run([a, k], [found[a]], 3.0, 5) == [100 + 20 + 15 + 3]
    only = adjoints([(y[2], constant(2.0))], [a])
    assert run([a, k], [only[a]], 3.0, 5) == [0 + 20 + 15 + 3]


def test_a_backward_of_a_wrong_signature_is_refused_when_the_call_is_made() -> None:
    x = input_node(SCALAR, "x")
    b, y, g = (input_node(SCALAR, name) for name in "byg")
    body = Graph((b,), (b * b,))
    wide = bind("broadcast", bind("reshape", g, shape=(1,)), shape=(3,))
    for wrong, text in [
        (
            Graph((b, g), (g,)),
            r"takes \(f64\[\], f64\[\]\), expected \(inputs, outputs",
        ),
        (
            Graph((b, y, g), (g, g)),
            r"returns \(f64\[\], f64\[\]\), expected \(f64\[\],\)",
        ),
        (Graph((b, y, g), (wide,)), r"returns \(f64\[3\],\), expected \(f64\[\],\)"),
        (Graph((b, y, g), ()), r"returns \(\), expected \(f64\[\],\)"),
    ]:
        with pytest.raises(ShapeError, match=f"the backward of square {text}"):
            bind("call", x, body=body, name="square", backward=wrong)


def test_an_input_of_a_call_that_does_not_matter_gets_zeros() -> None:
    a, b = input_node(SCALAR, "a"), input_node(SCALAR, "b")
    x, y = input_node(SCALAR, "x"), input_node(SCALAR, "y")
    call = bind("call", x, y, body=Graph((a, b), (a * a,)), name="one", backward=None)
    assert run([x, y], gradients(results(call)[0], [x, y]), 3.0, 4.0) == [6, 0]


def test_a_call_with_a_backward_inside_a_scan_answers_at_every_step() -> None:
    h = input_node(SCALAR, "h")
    body = Graph((h,), (_square(h),))
    x = input_node(SCALAR, "x")
    for keep in ("all", "carry"):
        attrs = {"consts": 0, "carries": 1, "length": 3, "reverse": False, "keep": keep}
        (last,) = results(bind("scan", x, body=body, **attrs))
        assert run([x], [last, *gradients(last, [x])], 1.5) == [1.5**8, 7**3]
