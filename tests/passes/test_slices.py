"""Batches in slices: the same numbers; rows that know of each other stay together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pellucid import nn, optim, random
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.ir.check import check
from pellucid.ir.graph import Graph, Node
from pellucid.passes import slices
from pellucid.passes.simplify import simplify
from pellucid.passes.slices import cut_batches
from pellucid.train.trainer import Trainer

BATCH, ROWS = 32, 96

Model = Callable[[], nn.Module]


class Last(nn.Module):
    """A recurrent layer and what a layer makes of its last output."""

    def __init__(self, kind: type[Any], **options: Any) -> None:
        self.cell = kind(5, 7, batch_first=True, **options)
        self.head = nn.Linear(14 if options.get("bidirectional") else 7, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    """Attention over few places, a norm, and a layer."""

    def __init__(self) -> None:
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.attend(x, x, x)[0] + x).mean(axis=1))


def words() -> Any:
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, (ROWS, 4))


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=(ROWS, *shape))


CUT: dict[str, tuple[Model, Any]] = {
    "layers": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)),
        numbers(6),
    ),
    "dropout": (
        lambda: nn.Sequential(
            nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.4), nn.Linear(9, 3)
        ),
        numbers(6),
    ),
    "a norm of each row": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Linear(9, 3)),
        numbers(6),
    ),
    "an embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 5), nn.Flatten(), nn.Linear(20, 3)),
        words(),
    ),
    "RNN": (lambda: Last(nn.RNN), numbers(4, 5)),
    "GRU, two layers": (lambda: Last(nn.GRU, num_layers=2), numbers(4, 5)),
    "LSTM, both ways": (lambda: Last(nn.LSTM, bidirectional=True), numbers(4, 5)),
    "attention": (Attention, numbers(4, 6)),
}

KEPT: dict[str, tuple[Model, Any]] = {
    "a norm of the batch": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 3)),
        numbers(6),
    ),
    "images": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)),
        numbers(1, 4, 4),
    ),
}


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest step be worth cutting."""
    monkeypatch.setattr(slices, "_LEAST_WORK", 0)
    monkeypatch.setattr(slices, "_LEAST", 0)


def trainer_of(model: Model, engine: str) -> Trainer:
    loss = nn.CrossEntropyLoss()
    optimizer = optim.SGD(lr=0.1, momentum=0.9)
    with random.keys_from(random.key_of(11)):
        net = model().to("f64")
    return Trainer(net, loss, optimizer, seed=3, engine=engine)


def epoch(
    monkeypatch: pytest.MonkeyPatch, model: Model, X: Any, batch: int = BATCH
) -> Graph:
    """Return the simplified graph of an epoch."""
    found: list[Graph] = []
    compile_ = LlvmEngine._compile

    def kept(engine: LlvmEngine, graph: Graph, donate: tuple[int, ...]) -> Any:
        found.append(graph)
        return compile_(engine, graph, donate)

    monkeypatch.setattr(LlvmEngine, "_compile", kept)
    trainer = trainer_of(model, "llvm")
    trainer.programs.engine = LlvmEngine()
    trainer.fit(X, np.arange(len(X)) % 3, epochs=1, batch_size=batch, verbose=0)
    epochs = [g for g in found if any(n.op.name == "scan" for n in g.nodes)]
    return simplify(epochs[-1])


def scans(graph: Graph) -> list[Node]:
    """Return the scans over slices in the steps of an epoch."""
    steps = [n.attrs["body"] for n in graph.nodes if n.op.name == "scan"]
    inside = [n for body in steps for n in body.nodes if n.op.name == "scan"]
    return [n for n in inside if not n.attrs["carries"]]


def drawn(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(1)
    found = []
    for each in graph.inputs:
        if each.attrs["name"] == "x" and each.dtype.kind in "iu":
            found.append(words().astype(each.dtype))
        elif each.dtype.kind in "iu":
            most = {"order": ROWS, "y": 3}.get(each.attrs["name"], 2)
            found.append(rng.integers(0, most, each.shape).astype(each.dtype))
        else:
            found.append(rng.normal(size=each.shape).astype(each.dtype))
    return found


@pytest.mark.usefixtures("worth_it")
@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CUT)
def test_slices_give_the_numbers_of_the_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = epoch(monkeypatch, *CUT[name])
    cut = cut_batches(graph)
    check(cut)
    assert [scan.attrs["length"] for scan in scans(cut)] == [2]
    arrays = drawn(graph)
    wanted = NumpyEngine().compile(graph)(*arrays)
    for engine in (NumpyEngine(), LlvmEngine()):
        found = engine.compile(cut)(*arrays)
        for each, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(each, other, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize("name", KEPT)
def test_rows_that_know_of_each_other_stay_together(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = epoch(monkeypatch, *KEPT[name])
    assert cut_batches(graph).outputs == graph.outputs


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize(("batch", "count"), [(33, 0), (34, 2), (512, 8)])
def test_how_many_slices_there_are_depends_on_the_rows(
    batch: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).normal(size=(2 * batch, 6))
    graph = epoch(monkeypatch, CUT["layers"][0], X, batch)
    lengths = [scan.attrs["length"] for scan in scans(cut_batches(graph))]
    assert lengths == ([count] if count else [])


def test_a_small_step_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = epoch(monkeypatch, *CUT["layers"])
    assert cut_batches(graph).outputs == graph.outputs


@pytest.mark.usefixtures("worth_it")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "LSTM, both ways"])
def test_a_training_in_slices_has_the_losses_of_the_numpy_engine(name: str) -> None:
    model, X = CUT[name]
    losses = []
    for engine in ("llvm", "numpy"):
        trainer = trainer_of(model, engine)
        y = np.arange(ROWS) % 3
        history = trainer.fit(X, y, epochs=5, batch_size=BATCH, verbose=0)
        losses.append(history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
