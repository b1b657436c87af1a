"""Code for processors that have less than this one: written, compiled and run here.

What a machine with narrower vectors and fewer registers runs is other code: tiles of
other sizes, other rests. So it is run on machines that have more, too.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from engines.test_llvm import arrays_for, assert_agree, both_orders, computes_in_single
from gates.random_graphs import random_graph
from pellucid import nn, optim
from pellucid.engines.llvm import engine as engines
from pellucid.engines.llvm import native
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.engines.llvm.kernels import Target
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType
from pellucid.random import key_of, keys_from
from pellucid.train.trainer import Trainer

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_HAS = llvm.get_host_cpu_features()

LESSER = [
    (name, Target(width, 16, "x86"))
    for name, width, needs in (("haswell", 32, "avx2"), ("x86-64-v2", 16, "sse4.2"))
    if _X86 and _HAS.get(needs)
]
"""Names of processors, and what they have, as far as this one can stand in for them."""


@pytest.fixture(params=LESSER, ids=lambda each: each[0])
def engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> LlvmEngine:
    """An engine that believes to be on such a processor."""
    name, lesser = request.param

    def machine() -> Any:
        return llvm.Target.from_default_triple().create_target_machine(
            cpu=name, features="", opt=2, reloc="pic", jit=True
        )

    native._linker()  # that of the real machine links all the same
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_machine", machine)
    monkeypatch.setattr(engines, "target", lambda: lesser)
    monkeypatch.setattr(engines, "processor", lambda: name)
    return LlvmEngine()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("start", range(0, 60, 10))
def test_random_graphs_agree_with_their_definition(
    engine: LlvmEngine, start: int
) -> None:
    for seed in range(start, start + 10):
        plain, arrays = random_graph(seed, smooth=seed % 4 == 0)
        graph, arrays = both_orders(plain), arrays_for(plain, arrays, seed)
        wanted = NumpyEngine().compile(graph)(*arrays)
        assert_agree(engine.compile(graph)(*arrays), wanted, computes_in_single(graph))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(0, 9, 5), (1, 40, 17), (7, 0, 3), (5, 64, 0), (33, 70, 19), (64, 300, 10),
     (130, 33, 257)],
)  # fmt: skip
def test_products_agree_with_their_definition(
    engine: LlvmEngine, shape: tuple[int, int, int], turned: bool, dtype: str
) -> None:
    m, k, n = shape
    x = input_node(TensorType((m, k), dtype), "x")
    y = input_node(TensorType((n, k) if turned else (k, n), dtype), "y")
    contract = (1,), (1 if turned else 0,)
    graph = Graph((x, y), (bind("dot", x, y, contract=contract, batch=((), ())),))
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=each.shape).astype(each.dtype) for each in (x, y)]
    (found,) = engine.compile(graph)(*arrays)
    (wanted,) = NumpyEngine().compile(graph)(*arrays)
    near = 1e-6 if dtype == "f32" else 1e-14
    np.testing.assert_allclose(
        found, wanted, rtol=near, atol=20 * near * (k + 1) ** 0.5
    )


def test_training_has_the_losses_of_the_definition(
    engine: LlvmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(200, 11)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    losses = []
    for named in (engine, NumpyEngine()):
        with keys_from(key_of(0)):
            model = nn.Sequential(
                nn.Linear(11, 37), nn.GELU(), nn.BatchNorm1d(37), nn.Linear(37, 2)
            )
        trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3))
        trainer.programs.engine = named
        losses.append(trainer.fit(X, y, epochs=4, batch_size=32, verbose=0)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
