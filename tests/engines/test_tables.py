"""No gate is missing in any table of the llvm engine."""

from pellucid.engines.llvm.gates import GATES
from pellucid.engines.llvm.moves import KERNELS
from pellucid.ir.ops import ELEMENTWISE, OPS
from pellucid.passes.fuse import VIEWS

ELSEWHERE = {
    "input": "an argument",
    "const": "a literal or a global",
    "dot": "matmul.py and integers.py",
    "conv": "conv.py",
    "scan": "a loop of main",
    "get": "where the scan put it",
    "call": "inlined by simplify",
}


def test_every_gate_has_a_place_in_the_llvm_engine():
    known = {*GATES, *KERNELS, *VIEWS, *ELSEWHERE}
    assert set(OPS) - known == set(), "gates without a row in engines/llvm"
    assert known - set(OPS) == set(), "rows without a gate"


def test_the_elementwise_rows_are_the_elementwise_gates():
    assert set(GATES) == ELEMENTWISE
