"""A module in LLVM's language: as one text, or cut for compilers side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Assembly"]

_PART = 40_000
"""Characters below which a part is not worth a compiler of its own: some 20 ms."""

_HEAD = re.compile(r"define hidden void @(\w+)\(([^)]*)\)")


@dataclass(frozen=True)
class Assembly:
    """What a module is made of.

    Kernels are `hidden`: parts that are compiled apart call each other.
    """

    declared: Sequence[str]
    """What kernels call: intrinsics, and functions that each part has for itself."""
    kernels: Sequence[str]
    main: str
    """The function that calls them."""
    constants: Sequence[str] = ()
    """What only that function refers to."""

    def text(self) -> str:
        """Return the module."""
        return "\n".join((*self.constants, *self.declared, *self.kernels, self.main))

    def parts(self, most: int) -> list[str]:
        """Return modules that are this one together, no more than so many."""
        whole = len(self.main) + sum(map(len, self.kernels))
        count = min(most, whole // _PART)
        if count < 2:
            return [self.text()]
        parts: list[list[str]] = [[self.main], *([] for _ in range(count - 1))]
        sizes = [len(self.main), *[0] * (count - 1)]
        for kernel in sorted(self.kernels, key=len, reverse=True):
            least = sizes.index(min(sizes))
            parts[least].append(kernel)
            sizes[least] += len(kernel)
        first, *others = map(self._part, parts)
        return ["\n".join((*self.constants, first)), *others]

    def _part(self, functions: list[str]) -> str:
        text, own = "\n".join(functions), set(functions)
        others = [_declaration(each) for each in self.kernels if each not in own]
        needed = [each for each in self.declared if _is_called(each, text)]
        return "\n".join((*needed, *others, text))


def _declaration(function: str) -> str:
    found = _HEAD.search(function)
    assert found is not None, function
    types = ", ".join(each.split()[0] for each in found[2].split(", ") if each)
    return f"declare hidden void @{found[1]}({types})"


def _is_called(declared: str, text: str) -> bool:
    """Return whether a text needs it; declarations cost nothing."""
    found = re.match(r"define internal [^@]*@(\w+)", declared)
    return found is None or f"@{found[1]}(" in text
