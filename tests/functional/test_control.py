"""`scan` and `gate`: what a body closes over, checkpoints, one's own backward."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functional_oracle import leaf, slopes

from pellucid import functional as F
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.errors import ArgumentError, GradientError, ShapeError
from pellucid.ir.graph import Graph
from pellucid.tensors import Parameter, Tensor, grad, tensor
from pellucid.tracing import graph_of, symbol, trace

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(7, 3))
H = RNG.normal(size=4)
W = RNG.normal(size=(4, 4)) * 0.5
V = RNG.normal(size=(3, 4))
TIMES = RNG.normal(size=(7, 4))


def recur(w: Any, v: Any, h: Any, xs: Any, **options: Any) -> Tensor:
    """Run a recurrent layer that closes over its weights; sum what it returns."""
    half = w * 0.5

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = F.tanh(h @ half + x @ v)
        return new, new * new

    last, ys = F.scan(body, h, xs, **options)
    return (last * 2.0).sum() + (ys * TIMES).sum()


def jax_recur(w: Any, v: Any, h: Any, xs: Any, reverse: bool = False) -> Any:
    def body(h: Any, x: Any) -> Any:
        new = jnp.tanh(h @ w * 0.5 + x @ v)
        return new, new * new

    last, ys = jax.lax.scan(body, h, xs, reverse=reverse)
    return (last * 2.0).sum() + (ys * TIMES).sum()


@pytest.mark.sampled(7)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", [None, "sqrt", 1, 2, 3, 7, 100])
def test_scan_and_its_gradients_agree_with_jax(reverse: bool, checkpoint: Any) -> None:
    values = (W, V, H, XS)
    expected = jax_recur(*map(jnp.asarray, values), reverse=reverse)
    options = {"reverse": reverse, "checkpoint": checkpoint}
    found = recur(*map(leaf, values), **options)
    assert found.item() == pytest.approx(float(expected), rel=1e-12)
    flows = jax.grad(jax_recur, (0, 1, 2, 3))(*map(jnp.asarray, values), reverse)
    for ours, theirs in zip(slopes(lambda *a: recur(*a, **options), *values), flows):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 3])
def test_a_compiled_scan_and_its_gradients_agree_with_those_at_the_prompt(
    checkpoint: Any,
) -> None:
    values = (W, V, H, XS)

    def both(*inputs: Tensor) -> list[Tensor]:
        loss = recur(*inputs, checkpoint=checkpoint)
        return [loss, *grad(loss, inputs)]

    graph = trace(both, *(tensor(each).type for each in values))
    found = NumpyEngine().compile(graph)(*values)
    expected = [recur(*map(leaf, values)).value, *slopes(recur, *values)]
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_the_second_derivative_goes_through_scan() -> None:
    def bend(w: Any, checkpoint: Any) -> Any:
        x = leaf(w)
        loss = recur(x, tensor(V), tensor(H), tensor(XS), checkpoint=checkpoint)
        (first,) = grad(loss, [x])
        return grad((first * first).sum(), [x])[0].value

    def theirs(w: Any) -> Any:
        return (jax.grad(lambda w: jax_recur(w, V, H, XS))(w) ** 2).sum()

    for checkpoint in (None, "sqrt"):
        np.testing.assert_allclose(
            bend(W, checkpoint), jax.grad(theirs)(jnp.asarray(W)), rtol=1e-8, atol=1e-9
        )


def test_gradients_reach_a_parameter_that_the_body_closes_over() -> None:
    weight = Parameter(np.array([2.0]))
    _, ys = F.scan(lambda c, x: (c, x * weight), 0.0, tensor(XS[:, 0]))
    ys.sum().backward()
    assert weight.grad == pytest.approx(XS[:, 0].sum())


def test_gradients_reach_a_parameter_by_which_the_body_alone_computes() -> None:
    weight = Parameter(np.array(3.0))
    _, ys = F.scan(lambda c, x: (c, weight * weight), 0.0, length=4)
    assert ys.value.tolist() == [9.0] * 4
    ys.sum().backward()
    assert weight.grad == pytest.approx(4 * 6.0)


def test_gradients_reach_through_a_scan_inside_a_scan() -> None:
    weight = leaf(1.5)

    def outer(total: Tensor, row: Tensor) -> tuple[Tensor, None]:
        scale = weight * row[0]
        inner, _ = F.scan(lambda c, x: (c + x * scale * weight, None), total, row)
        return inner, None

    found, _ = F.scan(outer, tensor(np.array(0.0)), tensor(XS))
    expected = (XS[:, 0] * XS.sum(1)).sum()
    assert found.item() == pytest.approx(expected * 1.5**2)
    assert grad(found, [weight])[0].item() == pytest.approx(2 * 1.5 * expected)


def test_gradients_reach_what_only_the_inner_scan_closes_over() -> None:
    weight = leaf(1.5)

    def outer(total: Tensor, row: Tensor) -> tuple[Tensor, None]:
        def inner(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
            return c + x * F.exp(weight * row[0]), None

        return F.scan(inner, total, row)[0], None

    found, _ = F.scan(outer, tensor(np.array(0.0)), tensor(XS))
    scale = np.exp(1.5 * XS[:, 0])
    assert found.item() == pytest.approx((scale * XS.sum(1)).sum())
    expected = (scale * XS[:, 0] * XS.sum(1)).sum()
    assert grad(found, [weight])[0].item() == pytest.approx(expected)


def test_what_does_not_change_in_the_loop_is_computed_outside_of_it() -> None:
    w, xs = symbol(tensor(W).type, "w"), symbol(tensor(XS[:, :1]).type, "xs")
    power = F.exp(w)

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return c, F.broadcast_to(x, (4, 4)) * power * F.exp(w)

    _, ys = F.scan(body, tensor(np.array(0.0)), xs)
    graph = graph_of([w, xs], [ys])
    (node,) = [each for each in graph.nodes if each.op.name == "scan"]
    assert node.attrs["consts"] == 1
    inside: Graph = node.attrs["body"]
    assert [each.op.name for each in inside.nodes].count("exp") == 0


def test_a_bias_enters_the_loop_before_it_is_broadcast() -> None:
    bias, xs = (
        symbol(tensor(H).type, "bias"),
        symbol(tensor(RNG.normal(size=(5, 9, 4))).type),
    )
    _, ys = F.scan(lambda c, x: (c, x + bias), tensor(0.0), xs)
    graph = graph_of([bias, xs], [ys])
    (node,) = [each for each in graph.nodes if each.op.name == "scan"]
    assert node.inputs[0] is bias.node


def test_carries_and_results_are_trees() -> None:
    init = {"sum": tensor(0.0), "parts": [tensor(1.0), None]}

    def body(c: Any, x: Any) -> Any:
        total = c["sum"] + x["a"] * x["b"][0]
        return {"sum": total, "parts": [c["parts"][0] * 2.0, None]}, (
            total,
            {"x": x["a"]},
        )

    xs = {"a": tensor([1.0, 2.0]), "b": (tensor([3.0, 4.0]),)}
    last, (totals, rest) = F.scan(body, init, xs)
    assert last["sum"].item() == 11.0
    assert last["parts"][0].item() == 4.0
    assert last["parts"][1] is None
    assert totals.value.tolist() == [3.0, 11.0]
    assert rest["x"].value.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 2])
def test_a_scan_of_no_steps_returns_its_start_and_nothing(checkpoint: Any) -> None:
    last, ys = F.scan(
        lambda c, x: (c + x, c),
        5.0,
        tensor(np.zeros(0, np.float32)),
        checkpoint=checkpoint,
    )
    assert last.item() == 5.0
    assert ys.shape == (0,)


def test_a_reversed_scan_leaves_results_in_place() -> None:
    _, ys = F.scan(
        lambda c, x: (c + x, c + x), 0.0, tensor([1.0, 2.0, 4.0]), reverse=True
    )
    assert ys.value.tolist() == [7.0, 6.0, 4.0]


def test_a_checkpointed_scan_keeps_carries_alone() -> None:
    def kept(checkpoint: Any) -> int:
        """Count what all steps of the forward pass leave for the backward pass."""

        def gradient(h: Tensor, xs: Tensor) -> list[Tensor]:
            last, _ = F.scan(
                lambda h, x: (F.sin(F.exp(h) * x) * F.cos(h), None),
                h,
                xs,
                checkpoint=checkpoint,
            )
            return grad(last.sum(), [h])

        graph = trace(gradient, tensor(H).type, tensor(np.ones(100)).type)
        scans = [each for each in graph.nodes if each.op.name == "scan"]
        return sum(
            each.size for node in scans for each in node.type[node.attrs["carries"] :]
        )

    assert kept(None) >= 3 * 400
    assert kept("sqrt") == 10 * 4  # ten carries of four entries


def test_a_carry_that_changes_its_type_is_an_error_that_names_it() -> None:
    with pytest.raises(
        ShapeError, match=r"the carry h changes its type · in: f64\[4\]"
    ):
        F.scan(lambda c, x: ({"h": c["h"][:2]}, None), {"h": tensor(H)}, tensor(XS))


def test_a_carry_that_changes_its_form_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"in: \['0', '1'\], out: \['0'\]"):
        F.scan(lambda c, x: ([c[0]], None), [0.0, 1.0], tensor(XS))


def test_a_body_without_a_result_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"must return \(carry, y\)"):
        F.scan(lambda c, x: c + x, 0.0, tensor(XS[:, 0]))  # type: ignore[arg-type, return-value]


def test_sequences_of_different_lengths_are_an_error_that_names_both() -> None:
    with pytest.raises(ShapeError, match="xs a: 7, xs b: 4"):
        F.scan(lambda c, x: (c, None), 0.0, {"a": tensor(XS), "b": tensor(H)})


def test_a_scan_without_a_length_is_an_error() -> None:
    with pytest.raises(ShapeError, match="there are no xs and there is no length"):
        F.scan(lambda c, x: (c, None), 0.0)


@pytest.mark.parametrize("checkpoint", [0, -1, "log"])
def test_an_unknown_checkpoint_is_an_error(checkpoint: Any) -> None:
    with pytest.raises(ArgumentError, match="expected None, 'sqrt' or the length"):
        F.scan(lambda c, x: (c, None), 0.0, tensor(XS), checkpoint=checkpoint)


# --- gate ------------------------------------------------------------------------


def product(x: Tensor, y: Tensor) -> Tensor:
    """x times y."""
    return x * y


def product_backward(inputs: Any, outputs: Any, grads: Any) -> list[Tensor]:
    (x, y), (g,) = inputs, grads
    return [g * y, g * x]


@pytest.mark.parametrize("backward", [None, product_backward])
def test_a_gate_has_values_and_gradients(backward: Any) -> None:
    mine = F.gate(product, backward)
    assert mine.__name__ == "product"
    assert mine.__doc__ == "x times y."
    np.testing.assert_array_equal(mine(leaf(H), leaf(H + 1)).value, H * (H + 1))
    dx, dy = slopes(mine, H, H + 1)
    np.testing.assert_allclose(dx, H + 1)
    np.testing.assert_allclose(dy, H)


def test_the_backward_of_a_gate_is_the_one_that_is_used() -> None:
    wrong = F.gate(product, lambda xs, ys, gs: [gs[0] * 100.0, None])
    dx, dy = slopes(wrong, H, H)
    assert dx.tolist() == [100.0] * 4
    assert dy.tolist() == [0.0] * 4


def test_the_backward_of_a_gate_may_use_its_outputs_and_has_a_derivative() -> None:
    mine = F.gate(F.exp, lambda xs, ys, gs: gs[0] * ys[0])
    x = leaf(H)
    (first,) = grad(mine(x).sum(), [x])
    (bend,) = grad(first.sum(), [x])
    np.testing.assert_allclose(bend.value, np.exp(H))


def test_a_gate_compiles_under_its_name_with_its_backward() -> None:
    mine = F.gate(product, product_backward, name="scale")

    def both(x: Tensor, y: Tensor) -> list[Tensor]:
        return grad(mine(x, y).sum(), [x, y])

    graph = trace(both, tensor(H).type, tensor(H).type)
    names = {e.attrs["name"] for e in graph.nodes if e.op.name == "call"}
    assert names == {"scale", "scale.backward"}
    dx, dy = NumpyEngine().compile(graph)(H, H + 1)
    np.testing.assert_allclose(dx, H + 1)
    np.testing.assert_allclose(dy, H)


def test_a_gate_of_many_outputs_and_an_integer_input() -> None:
    def pick(x: Tensor, i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.take(x, i), F.argmax(x, 0), x * 2.0

    def backward(inputs: Any, outputs: Any, grads: Any) -> Tensor:
        x, i = inputs
        taken, doubled = grads
        hot = (F.reshape(F.arange(4), (4, 1)) == F.reshape(i, (1, 2))).astype(x.dtype)
        return hot @ taken + doubled * 2.0

    mine = F.gate(pick, backward)
    i = tensor(np.array([2, 0]))

    def total(f: Any, x: Tensor) -> Tensor:
        a, _, c = f(x, i)
        return (a * a).sum() + (c * c * c).sum()

    (ours,) = slopes(lambda x: total(mine, x), H)
    (plain,) = slopes(lambda x: total(pick, x), H)
    np.testing.assert_allclose(ours, plain)


def test_a_gate_without_a_backward_gives_gradients_to_what_it_closes_over() -> None:
    weight = leaf(3.0)
    mine = F.gate(lambda x: x * weight)
    x = leaf(H)
    assert grad(mine(x).sum(), [weight])[0].item() == pytest.approx(H.sum())


def test_a_gate_with_a_backward_cannot_close_over_a_parameter() -> None:
    weight = Parameter(np.array(3.0))
    mine = F.gate(lambda x: x * weight, lambda xs, ys, gs: gs[0], name="scale")
    with pytest.raises(
        GradientError, match=r"gate scale closes over f64\[\].*argument"
    ):
        mine(leaf(H))


def test_a_gate_with_a_backward_may_close_over_data() -> None:
    data = tensor(H)
    mine = F.gate(lambda x: x * data, lambda xs, ys, gs: gs[0] * data)
    np.testing.assert_allclose(slopes(mine, H + 1)[0], H)


def test_a_backward_of_a_wrong_shape_is_an_error_that_says_which() -> None:
    mine = F.gate(lambda x, y: x * y, lambda xs, ys, gs: [gs[0], gs[0].sum()], "scale")
    with pytest.raises(
        GradientError,
        match=r"backward of scale returns f64\[\] for float input 1 · "
        r"expected f64\[4\].*sum over the axes",
    ):
        mine(leaf(H), leaf(H))


def test_a_backward_with_too_few_gradients_is_an_error() -> None:
    mine = F.gate(product, lambda xs, ys, gs: gs[0])
    with pytest.raises(GradientError, match="returns 1 gradients · expected 2"):
        mine(leaf(H), leaf(H))


def test_a_gate_inside_a_scan_is_differentiated_by_its_backward() -> None:
    mine = F.gate(product, lambda xs, ys, gs: [gs[0] * 7.0, None])
    _, ys = F.scan(lambda c, x: (c, mine(x, x)), 0.0, x := leaf(H))
    assert grad(ys.sum(), [x])[0].value.tolist() == [7.0] * 4
