"""ONNX Runtime: the network as a graph of `Gemm` and `Relu`, all optimisations on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.data import weights
from benchmarks.rows import Row

CHUNK = 16384
"""Rows of one run over many: what stays in a cache is faster than all."""


def _model(row: Row) -> bytes:
    nodes, values, before = [], [], "x"
    layers = weights(row)
    for i, (weight, bias) in enumerate(layers):
        names = f"w{i}", f"b{i}"
        values += map(numpy_helper.from_array, (weight, bias), names)
        last = i + 1 == len(layers)
        out = "y" if last else f"z{i}"
        nodes.append(helper.make_node("Gemm", [before, *names], [out], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"a{i}"]))
        before = f"a{i}"
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        row.name,
        [helper.make_tensor_value_info("x", kind, [None, row.widths[0]])],
        [helper.make_tensor_value_info("y", kind, [None, row.widths[-1]])],
        values,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.SerializeToString()


def prepare(row: Row, threads: int) -> Callable[[Any], Any]:
    """Return a function that predicts."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(row), options, providers=["CPUExecutionProvider"]
    )

    def run(x: Any) -> Any:
        return session.run(None, {"x": x})[0]

    def predict(x: Any) -> Any:
        if len(x) <= CHUNK:
            return run(x)
        parts = range(0, len(x), CHUNK)
        return np.concatenate([run(x[i : i + CHUNK]) for i in parts])

    return predict
