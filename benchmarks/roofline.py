"""The machine's peak, measured in the same run: a loop of FMAs and a loop of copies.

Both are written as LLVM assembly and run on as many threads as asked for. A row's
floor is the longer of its arithmetic at peak and its traffic at the speed of a copy
of the same size (so a network that fits a cache is judged by that cache).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from benchmarks.rows import Row

__all__ = ["Roofline", "copy_speed", "fma_speed", "measure_roofline"]

_CHAINS = 12
"""Independent sums: enough to fill two FMA units of latency 4 to 6."""
_SECONDS = 0.01
_BEST_OF = 3


@cache
def _lanes() -> int:
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


def _fma_text(lanes: int) -> str:
    """Return `fma(out, count)`: `count` rounds of `_CHAINS` vector FMAs."""
    v = f"<{lanes} x float>"
    chains = range(_CHAINS)
    phis = "\n".join(
        f"  %x{i} = phi {v} [ zeroinitializer, %entry ], [ %y{i}, %loop ]"
        for i in chains
    )
    fmas = "\n".join(
        f"  %y{i} = call {v} @llvm.fma.v{lanes}f32({v} %x{i}, {v} %c, {v} %c)"
        for i in chains
    )
    stores = "\n".join(
        f"  %p{i} = getelementptr {v}, ptr %out, i64 {i}\n"
        f"  store {v} %y{i}, ptr %p{i}, align 4"
        for i in chains
    )
    return f"""
declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})
define void @fma(ptr %out, i64 %count) {{
entry:
  %c0 = insertelement {v} undef, float 0x3FEFFFFFC0000000, i32 0
  %c = shufflevector {v} %c0, {v} undef, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %n = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{fmas}
  %next = add i64 %n, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %end
end:
{stores}
  ret void
}}
"""


def _copy_text(lanes: int) -> str:
    """Return `copy(to, from, count, times)`: four vectors at a time, over and over."""
    v = f"<{lanes} x float>"
    moves = "\n".join(
        f"  %i{k} = add i64 %n, {k}\n"
        f"  %f{k} = getelementptr {v}, ptr %from, i64 %i{k}\n"
        f"  %t{k} = getelementptr {v}, ptr %to, i64 %i{k}\n"
        f"  %v{k} = load {v}, ptr %f{k}, align 64\n"
        f"  store {v} %v{k}, ptr %t{k}, align 64"
        for k in range(4)
    )
    return f"""
define void @copy(ptr %to, ptr %from, i64 %count, i64 %times) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %later, %done ]
  br label %loop
loop:
  %n = phi i64 [ 0, %again ], [ %next, %loop ]
{moves}
  %next = add i64 %n, 4
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  %later = add i64 %time, 1
  %repeat = icmp ult i64 %later, %times
  br i1 %repeat, label %again, label %end
end:
  ret void
}}
"""


@cache
def _loops() -> tuple[Any, Callable[..., None], Callable[..., None]]:
    """Return what keeps the code alive, and the two loops."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )
    module = llvm.parse_assembly(_fma_text(_lanes()) + _copy_text(_lanes()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address, number = ctypes.c_void_p, ctypes.c_int64
    fma = ctypes.CFUNCTYPE(None, address, number)
    copy = ctypes.CFUNCTYPE(None, address, address, number, number)
    return (
        engine,
        fma(engine.get_function_address("fma")),
        copy(engine.get_function_address("copy")),
    )


def _aligned(size: int) -> np.ndarray[Any, Any]:
    room = np.ones(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


def _best(work: Callable[[int], None], threads: int) -> float:
    """Return the shortest time, in seconds, in which all threads do `work`."""
    with ThreadPoolExecutor(threads) as pool:
        times = []
        for _ in range(_BEST_OF + 1):
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            times.append(time.perf_counter() - start)
    return min(times)


def fma_speed(threads: int) -> float:
    """Return the floating-point operations a second, in float32."""
    _, fma, _ = _loops()
    outs = [_aligned(_CHAINS * _lanes() * 4) for _ in range(threads)]
    rounds = 2_000_000 // _BEST_OF

    def work(i: int) -> None:
        fma(outs[i].ctypes.data, rounds)

    return 2 * _CHAINS * _lanes() * rounds * threads / _best(work, threads)


def copy_speed(footprint: int, threads: int) -> float:
    """Return the bytes read and written a second, over `footprint` bytes in all."""
    _, _, copy = _loops()
    block = 4 * _lanes() * 4
    size = max(block, footprint // 2 // threads // block * block)
    pairs = [(_aligned(size), _aligned(size)) for _ in range(threads)]
    times = max(1, int(_SECONDS * 2e10 / (2 * size)))

    def work(i: int) -> None:
        to, source = (each.ctypes.data for each in pairs[i])
        copy(to, source, size // (4 * _lanes()), times)

    return 2 * size * times * threads / _best(work, threads)


@dataclass(frozen=True)
class Roofline:
    """What the machine can do at most, and how long a row must take for it."""

    flops: float
    bytes: float
    threads: int

    def floor_us(self, row: Row) -> float:
        """Return the microseconds below which no program can go."""
        return 1e6 * max(row.flops / self.flops, row.bytes / self.bytes)


def measure_roofline(row: Row, threads: int) -> Roofline:
    """Measure both loops, the copy at the size of the row's own traffic."""
    return Roofline(fma_speed(threads), copy_speed(row.bytes, threads), threads)
