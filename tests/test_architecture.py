"""The house stands: imports point down, fences hold, functions and files are small.

The tables below are the plan. `docs/architecture.md` draws it; a wall that moves is
moved in both. The second half tests the checks themselves on trees with a fault each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HEIGHT = {
    "errors": 0,
    "configuration": 0.5,
    "dtypes": 1,
    "tree": 1,
    "files": 1,
    "closures": 1,
    "indexing": 1,
    "memory": 1,
    "operators": 1,
    "ir": 2,
    "grad": 3,
    "passes": 3,
    "engines": 4,
    "tensors": 5,
    "random": 5.5,
    "tracing": 5.5,
    "functional": 6,
    "nn": 7,
    "optim": 7,
    "data": 7,
    "checking": 8,
    "train": 8,
    "doctor": 9,
    "inspect": 9,
    "tune": 9,
    "interop": 9,
    "runs": 8.5,
    "images": 9,
    "series": 9,
    "tabular": 9,
    "text": 9,
    "sklearn": 10,
    "": 11,  # pellucid/__init__.py
    "cli": 12,
    "__main__": 13,
}
"""How high each package or module stands: it imports from smaller numbers only."""

ORDER = {"ir": ("types", "ops", "graph", "text", "check")}
"""Packages whose files import only from files listed before them."""

FENCES = {
    "llvmlite": ("engines.llvm",),
    "jax": ("engines.xla",),
    "scipy": ("engines",),
    "safetensors": ("files",),
    "PIL": ("data.images",),
    "polars": ("data", "images", "series", "tabular"),
    "narwhals": ("data", "tabular"),
    "sklearn": ("sklearn", "data.samples"),
    "typer": ("cli",),
    "rich": ("cli",),
}
"""Third-party packages, and the only places that import them.

These are slow to load or optional. So an import may stand inside a function where it
crosses a fence: of such a package, or of a module that stands behind its fence.
"""

LATE = {("cli", None), ("", "__getattr__")}
"""Where any import may stand inside a function: (package, function or None for all)."""

LONGEST_FUNCTION = 50
LONGEST_FILE = 600

SOURCE = Path(__file__).parents[1] / "src" / "pellucid"


@dataclass(frozen=True)
class Import:
    """One import: who, whom (`a.b` for `pellucid.a.b`), and the function it is in."""

    module: str
    line: int
    target: str
    ours: bool
    function: str | None

    def __str__(self) -> str:
        who, whom = self.module or "pellucid", self.target or "pellucid"
        return f"{who}:{self.line} imports {whom}"


@dataclass
class House:
    """The modules of a source tree by dotted name, and what they import."""

    root: Path
    sources: dict[str, str] = field(default_factory=dict, repr=False)
    packages: set[str] = field(default_factory=set, repr=False)
    imports: list[Import] = field(default_factory=list, repr=False)

    @classmethod
    def read(cls, root: Path) -> House:
        house = cls(root)
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            house.sources[name] = path.read_text(encoding="utf-8")
            if path.name == "__init__.py":
                house.packages.add(name)
        for name, source in house.sources.items():
            house.imports.extend(house._find(name, ast.parse(source), None))
        return house

    def _find(
        self, module: str, node: ast.AST, function: str | None
    ) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for name in self._names(module, child):
                    target = self._resolve(name)
                    ours = target is not None
                    shown = target if target is not None else name
                    yield Import(module, child.lineno, shown, ours, function)
            inside = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inside = function or getattr(child, "name", "lambda")
            yield from self._find(module, child, inside)

    def _names(self, module: str, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [each.name for each in node.names]
        base = node.module or ""
        if node.level:
            parts = f"pellucid.{module}".rstrip(".").split(".")
            parts = parts[: len(parts) - node.level + (module in self.packages)]
            base = ".".join([*parts, *([base] if base else [])])
        return [f"{base}.{each.name}" for each in node.names]

    def _resolve(self, name: str) -> str | None:
        """Return the module of ours that a name lies in; None where it is not ours."""
        first, *parts = name.split(".")
        if first != "pellucid":
            return None
        while parts and ".".join(parts) not in self.sources:
            parts.pop()
        return ".".join(parts)


def unit(module: str) -> str:
    """Return what has a height: the package, or the module at the top."""
    return module.split(".")[0]


def lies_in(module: str, places: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{place}.") for place in places)


def missing_heights(house: House) -> Iterator[str]:
    for name in sorted({unit(module) for module in house.sources} - set(HEIGHT)):
        yield f"{name} has no height"


def arrows_that_point_up(house: House) -> Iterator[str]:
    for each in house.imports:
        here, there = unit(each.module), unit(each.target)
        known = each.ours and here != there and {here, there} <= set(HEIGHT)
        if known and HEIGHT[there] >= HEIGHT[here]:
            yield f"{each}, which does not stand lower"


def files_out_of_order(house: House) -> Iterator[str]:
    for package, files in ORDER.items():
        rank = {f"{package}.{file}": index for index, file in enumerate(files)}
        rank[package] = len(files)
        for module in house.sources:
            if unit(module) == package and module not in rank:
                yield f"{module} has no place in the order of {package}"
        for each in house.imports:
            listed = each.ours and {each.module, each.target} <= set(rank)
            if listed and rank[each.target] >= rank[each.module]:
                yield f"{each}, which is not listed before it"


def cycles(house: House) -> Iterator[str]:
    below: dict[str, set[str]] = {module: set() for module in house.sources}
    for each in house.imports:
        if each.ours and unit(each.module) == unit(each.target):
            below[each.module].add(each.target)
    while free := {module for module, needs in below.items() if not needs}:
        below = {module: needs - free for module, needs in below.items() if needs}
    if below:
        yield f"a cycle of imports runs through {', '.join(sorted(below))}"


def fences_climbed(house: House) -> Iterator[str]:
    for each in house.imports:
        package = each.target.split(".")[0]
        places = FENCES.get(package, ())
        if not each.ours and places and not lies_in(each.module, places):
            yield f"{each}, which is fenced in {' and '.join(places)}"


def imports_inside_functions(house: House) -> Iterator[str]:
    doors = tuple(place for places in FENCES.values() for place in places)
    for each in house.imports:
        fenced = each.target.split(".")[0] in FENCES and not each.ours
        door = each.ours and lies_in(each.target, doors)
        here = unit(each.module)
        late = (here, None) in LATE or (here, each.function) in LATE
        if each.function and not (fenced or door or late):
            yield f"{each} inside {each.function}()"


def long_functions(house: House) -> Iterator[str]:
    for module, source in house.sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > LONGEST_FUNCTION:
                    yield f"{module}:{node.lineno} {node.name}() has {lines} lines"


def long_files(house: House) -> Iterator[str]:
    for module, source in house.sources.items():
        if (lines := source.count("\n")) > LONGEST_FILE:
            yield f"{module or 'pellucid'} has {lines} lines"


CHECKS = {
    check.__name__: check
    for check in (
        missing_heights,
        arrows_that_point_up,
        files_out_of_order,
        cycles,
        fences_climbed,
        imports_inside_functions,
        long_functions,
        long_files,
    )
}


@pytest.fixture(scope="module")
def ours() -> House:
    return House.read(SOURCE)


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_has_no(check: str, ours: House) -> None:
    assert list(CHECKS[check](ours)) == []


def faults(tmp_path: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """Return what each check says of a tree, where it says anything."""
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    house = House.read(tmp_path)
    found = {name: list(check(house)) for name, check in CHECKS.items()}
    return {name: words for name, words in found.items() if words}


SOUND = {
    "__init__.py": "def __getattr__(name):\n    import pellucid.nn",
    "errors.py": "",
    "files.py": "import safetensors",
    "ir/__init__.py": "from pellucid.ir.ops import add",
    "ir/types.py": "from .. import errors",
    "ir/ops.py": "import math\nfrom .types import T\nfrom pellucid import errors",
    "nn/__init__.py": "from . import linear",
    "nn/linear.py": "def save():\n    from pellucid.files import write",
    "data/table.py": "def read():\n    import polars",
    "cli/__init__.py": "import pellucid\ndef run():\n    import pellucid.nn.linear",
    "sklearn/__init__.py": "import sklearn.base",
}

FAULTS = {
    "a package without a height": (
        {"attic.py": ""},
        {"missing_heights": ["attic has no height"]},
    ),
    "an arrow up": (
        {"grad/rules.py": "\nfrom pellucid.nn.linear import Linear"},
        {
            "arrows_that_point_up": [
                "grad.rules:2 imports nn.linear, which does not stand lower"
            ]
        },
    ),
    "an arrow up, relative": (
        {"grad/rules.py": "from ..nn import linear"},
        {
            "arrows_that_point_up": [
                "grad.rules:1 imports nn.linear, which does not stand lower"
            ]
        },
    ),
    "an arrow to the top": (
        {"nn/linear.py": "from pellucid import __version__"},
        {
            "arrows_that_point_up": [
                "nn.linear:1 imports pellucid, which does not stand lower"
            ]
        },
    ),
    "a sibling": (
        {"optim/adam.py": "import pellucid.nn"},
        {
            "arrows_that_point_up": [
                "optim.adam:1 imports nn, which does not stand lower"
            ]
        },
    ),
    "a file out of order": (
        {"ir/types.py": "from pellucid.ir.text import show", "ir/text.py": ""},
        {
            "files_out_of_order": [
                "ir.types:1 imports ir.text, which is not listed before it"
            ]
        },
    ),
    "a file without a place": (
        {"ir/more.py": ""},
        {"files_out_of_order": ["ir.more has no place in the order of ir"]},
    ),
    "a cycle": (
        {"nn/a.py": "import pellucid.nn.b", "nn/b.py": "from .a import x"},
        {"cycles": ["a cycle of imports runs through nn.a, nn.b"]},
    ),
    "a cycle through a package": (
        {"nn/linear.py": "from pellucid.nn import Module"},
        {"cycles": ["a cycle of imports runs through nn, nn.linear"]},
    ),
    "a fence climbed": (
        {"nn/linear.py": "import jax.numpy as jnp"},
        {
            "fences_climbed": [
                "nn.linear:1 imports jax.numpy, which is fenced in engines.xla"
            ]
        },
    ),
    "a fence climbed inside a function": (
        {"data/table.py": "def f():\n    from sklearn import datasets"},
        {
            "fences_climbed": [
                "data.table:2 imports sklearn.datasets, which is fenced in "
                "sklearn and data.samples"
            ]
        },
    ),
    "a place whose name only begins like a fence's": (
        {"data/samples_more.py": "import sklearn"},
        {
            "fences_climbed": [
                "data.samples_more:1 imports sklearn, which is fenced in "
                "sklearn and data.samples"
            ]
        },
    ),
    "an import inside a function": (
        {"nn/linear.py": "class A:\n  def f(self):\n    if self:\n      import json"},
        {"imports_inside_functions": ["nn.linear:4 imports json inside f()"]},
    ),
    "an import inside another function of the top": (
        {"__init__.py": "def load():\n    import pellucid.nn"},
        {"imports_inside_functions": ["pellucid:2 imports nn inside load()"]},
    ),
    "a long function": (
        {"errors.py": "def f():\n    '''Do.'''\n" + "    x = 1\n" * 51},
        {"long_functions": ["errors:1 f() has 51 lines"]},
    ),
    "a long file": (
        {"errors.py": "x = 1\n" * 601},
        {"long_files": ["errors has 601 lines"]},
    ),
}


def test_a_sound_house_has_no_fault(tmp_path: Path) -> None:
    longest = "def f():\n    '''Do.'''\n" + "    x = 1\n" * 50 + "\n" * 548
    assert faults(tmp_path, {**SOUND, "errors.py": longest}) == {}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_named(tmp_path: Path, name: str) -> None:
    files, expected = FAULTS[name]
    assert faults(tmp_path, {**SOUND, **files}) == expected


def test_every_check_has_a_fault_that_it_finds() -> None:
    assert {check for _, found in FAULTS.values() for check in found} == set(CHECKS)


def test_every_fence_is_around_a_place_with_a_height() -> None:
    assert {unit(place) for places in FENCES.values() for place in places} <= set(
        HEIGHT
    )
