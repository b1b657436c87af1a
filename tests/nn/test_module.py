"""Modules: what they own, paths, errors, state, buffers, text."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from pellucid import nn, random
from pellucid.errors import ArgumentError, PellucidError, ShapeError
from pellucid.ir.graph import toposort
from pellucid.tensors import Buffer, Parameter, Tensor, tensor
from pellucid.tracing import symbol, symbols

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


class Counted(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        self.calls = Buffer(0.0)
        self.scale = Parameter(2.0)

    def forward(self, x: Tensor) -> Tensor:
        nn.update_buffer(self.calls, self.calls + 1.0)
        return x * self.scale


class Net(nn.Module):
    """Owns modules as attributes, in a list and in a dict, one of them twice."""

    def __init__(self) -> None:
        self.first = nn.Linear(3, 4)
        self.blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()), Counted()]
        self.heads = {"a": nn.Linear(4, 2), "b": nn.Linear(4, 1)}
        self.shared = self.first
        self.note = "not a module"

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return self.heads["a"](h)


NAMES = [
    *("first.weight", "first.bias", "blocks.0.0.weight", "blocks.0.0.bias"),
    *("blocks.1.calls", "blocks.1.scale"),
    *("heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias"),
]


def test_what_a_module_owns_is_found_in_order_each_once() -> None:
    net = Net()
    parameters = [name for name, _ in net.named_parameters()]
    assert parameters == [name for name in NAMES if name != "blocks.1.calls"]
    assert [name for name, _ in net.named_buffers()] == ["blocks.1.calls"]
    assert len(list(net.parameters())) == len(parameters)
    assert len(list(net.buffers())) == 1
    children = [name for name, _ in net.named_children()]
    assert children == ["first", "blocks.0", "blocks.1", "heads.a", "heads.b"]
    assert len(list(net.children())) == 5
    modules = [name for name, _ in net.named_modules()]
    assert modules == [
        *("", "first", "blocks.0", "blocks.0.0", "blocks.0.1", "blocks.1"),
        *("heads.a", "heads.b"),
    ]
    assert [name for name, _ in net.named_modules("net")][:2] == ["net", "net.first"]
    assert len(list(net.modules())) == len(modules)


def test_a_parameter_that_is_replaced_or_deleted_is_gone() -> None:
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
    del layer.weight
    assert not layer.state_dict()


def test_a_tied_weight_is_one_parameter_under_two_names_of_the_state() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert "1.weight" in net.state_dict()
    net(X).sum().backward()
    assert net[0].weight.grad is not None


def test_the_state_has_every_name_and_is_a_copy() -> None:
    net = Net()
    state = net.state_dict()
    assert [name for name in state if not name.startswith("shared")] == NAMES
    state["first.weight"][:] = 0
    assert (net.first.weight.value != 0).any()


def test_a_state_goes_round() -> None:
    first, second = Net(), Net()
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.eval()(X).value, second.eval()(X).value)


def test_loading_names_missing_and_unknown_keys_and_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    before = net.state_dict()
    wrong = {"0.weigth": np.zeros((2, 3)), "0.bias": np.ones(2)}
    with pytest.raises(
        ArgumentError,
        match=r"missing '0\.weight' and unknown '0\.weigth' · did you mean '0\.weight'",
    ):
        net.load_state_dict(wrong)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_loading_a_wrong_shape_names_it_and_changes_nothing() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(
        ShapeError, match=r"'weight' is f32\[2,3\], the state has shape \[3, 2\]"
    ):
        net.load_state_dict({"bias": np.ones(2), "weight": np.zeros((3, 2))})
    assert net.bias is not None
    assert (net.bias.value == 0).all()


def test_loading_loosely_takes_what_fits() -> None:
    net = nn.Linear(3, 2)
    net.load_state_dict({"bias": [1, 2], "other": 0}, strict=False)
    assert net.bias is not None
    assert net.bias.value.tolist() == [1.0, 2.0]
    assert net.bias.dtype == np.float32


def test_modes_reach_every_module() -> None:
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())


def test_zero_grad_forgets_gradients() -> None:
    net = nn.Linear(3, 2)
    net(X).sum().backward()
    assert net.weight.grad is not None
    net.zero_grad()
    assert net.weight.grad is None


def test_conversion_keeps_the_identity_of_parameters() -> None:
    net = Net()
    before = list(net.parameters())
    assert net.to("f64") is net
    assert all(x is y for x, y in zip(before, net.parameters()))
    assert {leaf.dtype for leaf in net.parameters()} == {np.dtype(np.float64)}
    out = net(X.astype(np.float64))
    assert out.dtype == np.float64
    out.sum().backward()
    assert before[0].grad is not None
    assert before[0].grad.dtype == np.float64
    with pytest.raises(ArgumentError, match="f32 or f64, not int64"):
        net.to("i64")


def test_conversion_leaves_flags_alone() -> None:
    layer = nn.Standardize(2).to("f64")
    assert layer.fitted.dtype == np.bool_


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_a_copy_computes_the_same_and_shares_nothing(copied: Any) -> None:
    net = Net()
    other = copied(net)
    np.testing.assert_array_equal(net(X).value, other(X).value)
    assert other.shared is other.first
    other.first.weight.value = other.first.weight.value * 0
    assert (net.first.weight.value != 0).any()
    assert nn.to_spec(other.first) == nn.to_spec(net.first)


# --- forward passes --------------------------------------------------------------


def test_a_module_takes_arrays() -> None:
    assert nn.Linear(3, 2)(X).shape == (5, 2)


def test_nodes_carry_the_path_of_their_layer() -> None:
    net = Net()
    x = symbol(tensor(X).type)
    leaves = dict([*net.named_parameters(), *net.named_buffers()])
    with symbols(leaves), nn.buffer_updates():
        y = net(x)
    dots = [n for n in toposort([y.node]) if n.op.name == "dot"]
    assert [each.birth.path for each in dots] == ["first", "blocks.0.0", "heads.a"]
    assert y.node.birth.file.endswith("test_module.py")


def test_a_root_has_the_empty_path() -> None:
    layer = nn.Linear(3, 2)
    x = symbol(tensor(X).type)
    with symbols(dict(layer.named_parameters())):
        assert layer(x).node.birth.path == ""


def test_a_module_that_nobody_owns_goes_by_its_class_under_its_caller() -> None:
    class Loose(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.Softplus()(x)

    x = symbol(tensor(X).type)
    assert nn.Sequential(Loose())(x).node.birth.path == "0.Softplus"


def test_an_error_names_the_layer_the_input_and_the_line() -> None:
    net = nn.Sequential({"encoder": nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))})
    with pytest.raises(ShapeError) as caught:
        net(X)
    assert str(caught.value).startswith(
        "encoder.1 (Linear(in_features=5, out_features=2)): got features of width 4, "
        "expected 5 · check the columns of the input, or the layer's in_features · "
        "input f32[5,4] · test_module.py:"
    )
    assert str(caught.value).count("encoder.1") == 1


def test_an_error_of_a_gate_names_the_layer_and_its_line_once() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x

    with pytest.raises(PellucidError) as caught:
        nn.Sequential(Bad())(X)
    text = str(caught.value)
    assert text.startswith("0 (Bad()): dot: contracted sizes differ: f32[5,3]")
    assert text.count("test_module.py:") == 1


def test_other_errors_pass_as_they_are() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("mine")

    with pytest.raises(KeyError, match=r"^'mine'$"):
        Bad()(X)


def test_a_module_without_a_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(\)"):
        type("Empty", (nn.Module,), {})()(X)


# --- buffers ---------------------------------------------------------------------


def test_buffers_change_at_once_at_the_prompt() -> None:
    module = Counted()
    module(X)
    module(X)
    assert module.calls.item() == 2.0


def test_buffer_updates_are_collected_where_they_are_asked_for() -> None:
    module = Counted()
    x = symbol(tensor(X).type)
    with symbols({"calls": module.calls, "scale": module.scale}):
        with nn.buffer_updates() as updates:
            module(x)
        assert list(updates) == [module.calls]
        assert not updates[module.calls].has_value
    assert module.calls.item() == 0.0


def test_a_symbol_outside_of_a_collection_changes_no_buffer() -> None:
    module = Counted()
    with symbols({"calls": module.calls}):
        module(X)
    assert module.calls.item() == 0.0


# --- text ------------------------------------------------------------------------


def test_a_module_is_printed_as_a_tree() -> None:
    assert (
        repr(Net())
        == """Net(
  (first): Linear(in_features=3, out_features=4)
  (blocks.0): Sequential(
    (0): Linear(in_features=4, out_features=4)
    (1): ReLU()
  )
  (blocks.1): Counted()
  (heads.a): Linear(in_features=4, out_features=2)
  (heads.b): Linear(in_features=4, out_features=1)
)"""
    )


def test_a_summary_shows_layers_shapes_counts_and_initialisers() -> None:
    net = nn.Sequential(
        nn.Standardize(3),
        nn.Linear(3, 4),
        nn.ReLU(),
        nn.Linear(4, 2, init="orthogonal"),
    )
    lines = net.summary((8, 3)).splitlines()
    assert [line.split()[0] for line in lines] == [
        *("layer", "Sequential", "0", "1", "2", "3", "26")
    ]
    assert lines[3].split() == [
        *("1", "Linear(in_features=3,", "out_features=4)", "f32[8,4]", "16"),
        *("he_normal,", "because", "relu", "follows"),
    ]
    assert lines[5].split()[-3:] == ["f32[8,2]", "10", "orthogonal"]
    assert lines[-1] == "26 parameters, 104 bytes"
    assert "f32[" not in net.summary()


def test_a_summary_changes_nothing() -> None:
    net = nn.Sequential(Counted(), nn.Dropout(0.5))
    random.seed(5)
    net.summary((5, 3))
    assert net[0].calls.item() == 0.0
    first = random.next_key().value
    random.seed(5)
    np.testing.assert_array_equal(random.next_key().value, first)


def test_a_shared_weight_is_counted_once_in_a_summary() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert net.summary().splitlines()[-1] == "15 parameters, 60 bytes"


def test_help_shows_the_arguments_of_a_class() -> None:
    import inspect

    assert list(inspect.signature(nn.Dropout).parameters) == ["p"]
    assert list(inspect.signature(nn.ReLU).parameters) == []
