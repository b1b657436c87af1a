"""Modules cut into parts: compiled side by side, linked as one program."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gates.test_edges import assert_same_bits
from pellucid.engines.llvm import assembly, native
from pellucid.engines.llvm import engine as engines
from pellucid.engines.llvm.assembly import Assembly
from pellucid.engines.llvm.engine import Compiled, LlvmEngine
from pellucid.errors import EngineError
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType


def many_kernels() -> Graph:
    """Return products turned and packed, sums, and a sine, which has a function."""
    a, b = (input_node(TensorType((70, 50), "f32"), name) for name in "ab")
    product = bind("dot", a, b, contract=((1,), (1,)), batch=((), ()))
    turned = bind("transpose", a, axes=(1, 0))
    sums = bind("sum", product, axes=(0,))
    return Graph((a, b), (product, turned, sums, bind("sin", b)))


def made(graph: Graph, compilers: int, monkeypatch: Any, place: Path) -> Any:
    monkeypatch.setenv("PELLUCID_CACHE", str(place))
    monkeypatch.setattr(engines, "_compilers", lambda: compilers)
    monkeypatch.setattr(assembly, "_PART", 1000)
    return LlvmEngine().compile(graph)


def test_parts_together_compute_what_one_module_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph, draw = many_kernels(), np.random.default_rng(0)
    arrays = [draw.normal(size=(70, 50)).astype(np.float32) for _ in "ab"]
    compilations: list[Any] = []
    whole = native.compile_parts
    monkeypatch.setattr(
        engines, "compile_parts", lambda each: compilations.append(each) or whole(each)
    )
    wanted = made(graph, 1, monkeypatch, tmp_path / "one")(*arrays)
    for compilers in (2, 3, 7):
        place = tmp_path / str(compilers)
        found = made(graph, compilers, monkeypatch, place)(*arrays)
        again = made(graph, compilers, monkeypatch, place)(*arrays)
        for one, other, third in zip(found, wanted, again):
            assert_same_bits(one, other)
            assert_same_bits(third, other)
    assert [*map(len, compilations)] == [1, 2, 3, 7]


def test_small_modules_are_not_cut_and_each_kernel_is_in_one_part() -> None:
    kernels = [
        f"define hidden void @k{i}(ptr %p0, i64 %thread) {{\n{'x' * 50 * i}}}"
        for i in range(200)
    ]
    main = "define void @main() {}"
    assert len(Assembly([], kernels[:40], main).parts(4)) == 1
    sine = "define internal float @sine(float %x) {}"
    parts = Assembly(["declare void @f()", sine], kernels, main).parts(4)
    assert len(parts) == 4
    for kernel in (*kernels, main):
        assert [kernel in part for part in parts].count(True) == 1
    for part in parts:
        assert "declare void @f()" in part
        assert sine not in part  # no kernel calls it
        for i in range(200):
            own = f"define hidden void @k{i}(" in part
            assert own != (f"declare hidden void @k{i}(ptr, i64)\n" in part)
    sizes = [*map(len, parts)]
    assert max(sizes) < 1.1 * min(sizes)


def test_parts_are_compiled_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=30)

    def compiled(text: str) -> bytes:
        together.wait()  # breaks where one waits for another
        return text.encode()

    monkeypatch.setattr(native, "compile_text", compiled)
    assert native.compile_parts(["a", "b", "c"]) == [b"a", b"b", b"c"]


def test_llvm_gives_several_threads_at_once_what_it_gives_one() -> None:
    lines = "\n".join(f"%x{i + 1} = fadd float %x{i}, 1.0" for i in range(2000))
    text = f"define float @f(float %x0) {{\n{lines}\nret float %x2000\n}}"
    wanted = native.compile_text(text)
    found: list[bytes] = []
    users = [
        threading.Thread(target=lambda: found.append(native.compile_text(text)))
        for _ in range(6)
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert found == [wanted] * 6


def test_llvmlite_still_has_a_way_around_its_lock() -> None:
    """Without one all is right, and compiling takes twice as long."""
    emit = native.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    assert native._unlocked(emit) is not emit


def test_a_part_that_llvm_refuses_is_an_error_and_the_others_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []
    compile_text = native.compile_text

    def slow(text: str) -> bytes:
        if "refused" not in text:
            time.sleep(0.05)
        code = compile_text(text)
        ended.append(text)
        return code

    monkeypatch.setattr(native, "compile_text", slow)
    good = "define void @f() {\nret void\n}"
    with pytest.raises(EngineError, match="LLVM refuses"):
        native.compile_parts([good, "refused", good])
    assert ended == [good, good]


def test_codes_are_kept_one_behind_the_other() -> None:
    kept = Compiled([b"one", b"", b"three"], 64, (), True, 8)
    assert Compiled.from_bytes(kept.to_bytes()) == kept
