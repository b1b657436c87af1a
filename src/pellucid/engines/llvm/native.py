"""The processor and LLVM itself: what the machine has, and text made executable."""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from pellucid.engines.llvm.kernels import Target
from pellucid.errors import EngineError

__all__ = ["Native", "compile_parts", "compile_text", "processor", "target"]

_TILES_PLEASE = 158, 0x1023, 18
"""The call `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA)` on x86-64."""


def _new_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=2, reloc="pic", jit=True
    )


class _Own(threading.local):
    """What LLVM compiles with; a thread cannot use that of another."""

    machine: Any = None


_own = _Own()


def _machine() -> Any:
    if _own.machine is None:
        _own.machine = _new_machine()
    return _own.machine


@cache
def processor() -> str:
    """Name the processor and what it has, and what of it we may use."""
    features = llvm.get_host_cpu_features().flatten()
    name = f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {features}"
    return f"{name} {target()}"


@cache
def target() -> Target:
    """Return what this processor has: asked at run time, nothing is assumed."""
    features = llvm.get_host_cpu_features()
    triple = llvm.get_default_triple()
    if features.get("avx512f"):
        unit = bool(features.get("amx-bf16")) and _asked_for_tiles()
        return Target(64, 32, "x86", unit)
    if features.get("avx"):
        return Target(32, 16, "x86")
    if triple.startswith(("aarch64", "arm64")):
        return Target(16, 32, "arm")
    return Target(16, 16, "x86" if triple.startswith("x86_64") else "")


def _asked_for_tiles() -> bool:
    """Ask the system for the matrix unit's registers; return whether we may use them.

    Linux wants to be asked once a process: its threads have more to keep.
    """
    if not sys.platform.startswith("linux"):
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(*map(ctypes.c_long, _TILES_PLEASE)) == 0)


@cache
def _linker() -> Any:
    return llvm.create_lljit_compiler(_new_machine())


_numbers = itertools.count()


class Native:
    """Linked machine code: its functions, callable while this object lives."""

    def __init__(self, codes: Sequence[bytes], *names: str) -> None:
        library = llvm.JITLibraryBuilder()
        for code in codes:
            library = library.add_object_img(code)
        for name in names:
            library = library.export_symbol(name)
        library = library.add_current_process()
        self._library = library.link(_linker(), f"pellucid{next(_numbers)}")

    def address(self, name: str) -> int:
        """Return where a function starts."""
        address: int = self._library[name]
        return address

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """Return a function, as `ctypes` calls it."""
        made: Any = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
        made.native = self
        return made


def compile_text(text: str) -> bytes:
    """Compile LLVM assembly to machine code for this processor.

    Several threads may do so at once: each has a context and a machine of its own.
    """
    machine = _machine()
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise EngineError(
            f"the llvm engine wrote assembly that LLVM refuses: {error}"
        ) from None
    module.triple = llvm.get_default_triple()
    _clean(module, machine)
    return _object(module, machine)


def compile_parts(texts: Sequence[str]) -> list[bytes]:
    """Compile modules side by side, each in a thread but the first."""
    codes: list[Any] = [None] * len(texts)
    failed: list[BaseException] = []

    def make(i: int) -> None:
        try:
            codes[i] = compile_text(texts[i])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(i,)) for i in range(1, len(texts))]
    for each in threads:
        each.start()
    make(0)
    for each in threads:
        each.join()
    if failed:
        raise failed[0]
    return codes


def _clean(module: Any, machine: Any) -> None:
    """Bring memory cells into registers and join small instructions.

    The loops are already as they should be: nothing else of LLVM's pipeline pays for
    its time.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    _unlocked(ffi.lib.LLVMPY_RunNewModulePassManager)(passes, module, builder)


def _object(module: Any, machine: Any) -> bytes:
    emit = _unlocked(ffi.lib.LLVMPY_TargetMachineEmitToMemory)
    with ffi.OutputString() as said:
        buffer = emit(machine, module, 1, said)
        if not buffer:
            raise EngineError(f"LLVM made no machine code: {said}")
    start = ffi.lib.LLVMPY_GetBufferStart(buffer)
    code = ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(buffer))
    ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
    return code


def _unlocked(function: Any) -> Any:
    """Return a function of LLVM's that does not wait for its turn, where that can be.

    llvmlite lets one thread at a time into LLVM. It need not: what works in contexts
    of its own shares nothing, and in these two functions nearly all time is spent.
    """
    return getattr(function, "_cfn", function)
