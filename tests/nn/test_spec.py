"""Descriptions of architectures and model files: they come back as they went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid import nn, random
from pellucid.errors import ArgumentError, ModelFileError
from pellucid.files import read_file, write_file
from pellucid.tensors import Tensor, tensor

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@nn.register
class Twin(nn.Module):
    """Two branches, an option and an array."""

    def __init__(
        self,
        left: nn.Module,
        right: nn.Module,
        scale: Any = (1.0, 2.0),
        *,
        note: str = "",
    ) -> None:
        self.left, self.right = left, right
        self.scale = tensor(np.asarray(scale, np.float32))
        self.note = note

    def forward(self, x: Tensor) -> Tensor:
        return (self.left(x) + self.right(x)) * self.scale[1]


MODELS: dict[str, Any] = {
    "linear": lambda: nn.Linear(3, 2, bias=False, init="orthogonal", dtype="f64"),
    "sequential": lambda: nn.Sequential(nn.Linear(3, 4), nn.ELU(0.5), nn.Linear(4, 1)),
    "named": lambda: nn.Sequential({"a": nn.Linear(3, 4), "b": nn.Tanh()}),
    "grown": lambda: nn.Sequential(nn.Linear(3, 4)).append(nn.PReLU(4)),
    "mlp": lambda: nn.MLP(3, (4, 4), 2, activation="selu", dropout=0.1),
    "maxout": lambda: nn.Maxout(3, 2, pieces=3),
    "neuron": lambda: nn.Neuron(3, activation="step"),
    "of a user": lambda: Twin(nn.Linear(3, 2), nn.Linear(3, 2), note="hello"),
    "array": lambda: Twin(nn.Linear(3, 2), nn.Linear(3, 2), np.array([1, 3])),
    "infinite": lambda: nn.Sequential(nn.Linear(3, 1), nn.HuberLoss(delta=np.inf))[:1],
}


@pytest.mark.parametrize("name", MODELS)
def test_a_description_is_json_and_makes_the_same_model(name: str) -> None:
    model = MODELS[name]()
    spec = nn.to_spec(model)
    made = nn.from_spec(json.loads(json.dumps(spec)))
    assert repr(made) == repr(model)
    assert nn.to_spec(made) == spec
    made.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(made.eval()(X).value, model.eval()(X).value)


def test_defaults_are_written_down_so_that_they_can_change() -> None:
    assert nn.to_spec(nn.Linear(3, 2))["arguments"] == {
        "in_features": 3,
        "out_features": 2,
        "bias": True,
        "init": "auto",
        "dtype": None,
    }


def test_losses_with_weights_and_infinities_come_back() -> None:
    for loss in (
        nn.CrossEntropyLoss(np.array([1.0, 2.0, 3.0]), label_smoothing=0.1),
        nn.HuberLoss(delta=float("inf")),
        nn.BCEWithLogitsLoss(pos_weight=tensor([2.0])),
    ):
        made = nn.from_spec(json.loads(json.dumps(nn.to_spec(loss))))
        assert nn.to_spec(made) == nn.to_spec(loss)


def test_a_module_that_is_used_twice_is_one_again() -> None:
    layer = nn.Linear(3, 3)
    made = nn.from_spec(nn.to_spec(nn.Sequential(layer, nn.ReLU(), layer)))
    assert made[0] is made[2]
    assert len(list(made.parameters())) == 2


def test_a_class_that_is_not_registered_says_how_to_register_it() -> None:
    class Mine(nn.Module):
        pass

    with pytest.raises(
        ArgumentError, match=r"Mine is not registered.*Sequential.*@pel"
    ):
        nn.to_spec(nn.Sequential(Mine()))


def test_a_function_as_an_argument_cannot_be_written() -> None:
    with pytest.raises(ArgumentError, match=r"type builtin_function.* Twin.note"):
        nn.to_spec(Twin(nn.ReLU(), nn.ReLU(), note=print))  # type: ignore[arg-type]


def test_a_class_cannot_take_the_name_of_a_layer() -> None:
    with pytest.raises(ArgumentError, match=r"'Linear' belongs to pellucid.nn.linear"):
        nn.register(type("Linear", (nn.Module,), {}))


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ModelFileError, match=r"unknown layer type 'Liner'.*'Linear'"):
        nn.from_spec({"type": "Liner", "arguments": {}})


def test_arguments_that_do_not_fit_name_the_type() -> None:
    with pytest.raises(ModelFileError, match="the arguments of Dropout do not fit it"):
        nn.from_spec({"type": "Dropout", "arguments": {"q": 1}})
    with pytest.raises(ModelFileError, match="the arguments of Linear do not fit it"):
        nn.from_spec({"type": "Linear", "arguments": {}})


def test_an_entry_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ModelFileError, match="an entry that nobody knows"):
        nn.from_spec({"type": "Dropout", "arguments": {"p": {"pickle": "…"}}})


# --- files -----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_computes_the_same_bits(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    model.save(tmp_path / "m.safetensors")
    loaded = nn.load(tmp_path / "m.safetensors")
    assert loaded.training
    found, expected = loaded.eval()(X), model.eval()(X)
    assert found.type == expected.type
    np.testing.assert_array_equal(found.value, expected.value)


def test_a_loaded_model_has_its_buffers_its_mode_and_its_dtype(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Standardize(3), nn.Linear(3, 1), nn.Unstandardize())
    model.adapt(X, X[:, 0])
    model.to("f64").eval()
    model.save(tmp_path / "m.safetensors")
    loaded = nn.load(tmp_path / "m.safetensors")
    assert not loaded.training
    assert loaded[0].is_fitted
    assert loaded[1].weight.dtype == np.float64
    np.testing.assert_array_equal(loaded(X).value, model(X).value)


def test_saving_and_loading_draw_no_keys(tmp_path: Path) -> None:
    model = nn.MLP(3, (4,), 1)
    random.seed(1)
    expected = random.next_key().value
    random.seed(1)
    model.save(tmp_path / "m.safetensors")
    nn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(random.next_key().value, expected)


def test_a_model_that_was_changed_after_it_was_made_is_not_saved(
    tmp_path: Path,
) -> None:
    model = Twin(nn.Linear(3, 2), nn.Linear(3, 2))
    model.right = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with pytest.raises(ArgumentError, match="Twin was changed after it was made"):
        model.save(tmp_path / "m.safetensors")
    model = Twin(nn.Linear(3, 2), nn.Linear(3, 2))
    model.right.weight = model.left.weight
    with pytest.raises(ArgumentError, match="Twin was changed after it was made"):
        model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    write_file(tmp_path / "t.pellucid", {}, {"kind": "table"})
    with pytest.raises(
        ModelFileError, match="does not hold a module · it holds 'table'"
    ):
        nn.load(tmp_path / "t.pellucid")


def test_a_file_whose_arrays_do_not_fit_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    nn.Linear(3, 2).save(path)
    arrays, header = read_file(path)
    write_file(path, {"weight": arrays["weight"]}, header)
    with pytest.raises(ModelFileError, match=r"missing 'bias' · .*m.safetensors"):
        nn.load(path)


def test_a_file_of_a_class_that_is_not_defined_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_file(path, {}, {"kind": "module", "spec": {"type": "Gone", "arguments": {}}})
    with pytest.raises(ModelFileError, match=r"unknown layer type 'Gone'.*register"):
        nn.load(path)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"spec": {"type": "Dropout"}},
        {"spec": 7},
        {"spec": {"type": "Dropout", "arguments": {"p": 7}}},
        {"spec": {"type": "Sequential", "arguments": {"layers": {"shared": 3}}}},
        {"spec": {"type": "Linear", "arguments": {"in_features": {"float": "x"}}}},
    ],
)
def test_a_damaged_description_is_a_model_file_error(
    header: Any, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    write_file(path, {}, {"kind": "module", **header})
    with pytest.raises(ModelFileError):
        nn.load(path)
