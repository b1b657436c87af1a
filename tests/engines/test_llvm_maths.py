"""The llvm engine's vector functions over the whole range of numbers.

An error is counted in units in the last place of the exact value. What is promised is
2 of them (erf and pow: 4); asserted is what the polynomials reach. For `f32` exact is
NumPy's and SciPy's double precision. For `f64` it is NumPy's long double where that is
wider; where it is not, the C library's double stands in and one more unit is allowed,
and the table of points computed with 60 digits still holds the bounds themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special

from gates.test_edges import assert_same_bits
from pellucid.engines.llvm.engine import LlvmEngine
from pellucid.ir.graph import Graph, bind, input_node
from pellucid.ir.types import TensorType

NAN, INF = math.nan, math.inf
EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
ENGINE = LlvmEngine()


def compute(op: str, *arrays: Any) -> Any:
    """Run one gate on arrays of their own shapes."""
    types = [TensorType(each.shape, each.dtype) for each in arrays]
    inputs = tuple(input_node(each, f"x{i}") for i, each in enumerate(types))
    program = ENGINE.compile(Graph(inputs, (bind(op, *inputs),)))
    (found,) = program(*arrays)
    return found


def erf_in_extended_precision(x: Any) -> Any:
    """erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1)/(2n+1)!!, which has no cancellation."""
    x = np.clip(x, -7, 7)  # beyond, erf is ±1 in extended precision too
    square = x * x
    term, total = x.copy(), x.copy()
    for n in range(1, 260):
        term = term * (2 * square / (2 * n + 1))
        total = total + term
    return 2 / np.sqrt(np.longdouble(np.pi) + PI_REST) * np.exp(-square) * total


PI_REST = np.longdouble(1.2246467991473532e-16)
"""π less its nearest double."""


@dataclass(frozen=True)
class Case:
    """A function, its bound in units in the last place, and where it is interesting."""

    op: str
    reference: Callable[..., Any]
    low: float
    high: float
    ulps: float

    def __str__(self) -> str:
        return self.op


CASES = [
    Case("exp", np.exp, -110.0, 90.0, 1.0),
    Case("log", np.log, 0.25, 4.0, 1.0),
    Case("tanh", np.tanh, -10.0, 10.0, 1.75),
    Case("erf", special.erf, -6.5, 6.5, 1.5),
    Case("sin", np.sin, -100.0, 100.0, 1.6),
    Case("cos", np.cos, -100.0, 100.0, 1.6),
    Case("sqrt", np.sqrt, 0.0, 10.0, 0.5),
]
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def errors(found: Any, exact: Any) -> Any:
    """Return errors in units in the last place; NaN and infinities must be the same.

    An infinity that should be a number counts as the number that comes after all.
    """
    limits = np.finfo(found.dtype)
    wide = exact.dtype
    lowest = round(math.log2(limits.smallest_normal))
    with np.errstate(all="ignore"):
        place = np.maximum(np.frexp(exact)[1] - 1, lowest)
        unit = np.ldexp(np.ones_like(exact), place - limits.nmant)
        after = np.ldexp(wide.type(1), limits.maxexp)
        value = np.where(np.isinf(found), np.copysign(after, found), found)
        off = np.abs(value.astype(wide) - np.clip(exact, -after, after)) / unit
        same = (found == exact) | (np.isnan(found) & np.isnan(exact))
    return np.where(same, 0, np.where(np.isnan(off), INF, off))


def assert_within(found: Any, exact: Any, ulps: float, *given: Any) -> None:
    off = errors(found, exact)
    worst = int(off.argmax())
    at = tuple(each[worst] for each in given)
    text = f"{off[worst]:.3f} units at {at}: {found[worst]!r} for {exact[worst]!r}"
    assert off[worst] <= ulps + 1e-4, text  # the reference is rounded too


def every_kind_of_f32() -> Any:
    """Return 2,000 numbers of every exponent and sign: denormals, infinities, NaN."""
    return np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32).view(np.float32)


def every_kind_of_f64(rng: np.random.Generator) -> Any:
    """Return 100 numbers of every exponent and sign."""
    exponents = np.arange(2**12, dtype=np.uint64) << np.uint64(52)
    fractions = rng.integers(0, 2**52, (100, 2**12), dtype=np.uint64)
    return (exponents | fractions).reshape(-1).view(np.float64)


@pytest.mark.sampled(4)
@each_case
def test_single_precision_is_near_everywhere(case: Case) -> None:
    dense = np.linspace(case.low, case.high, 400_001).astype(np.float32)
    x = np.concatenate([every_kind_of_f32(), dense])
    with np.errstate(all="ignore"):
        exact = case.reference(x.astype(np.float64))
    assert_within(compute(case.op, x), exact, case.ulps, x)


@pytest.mark.sampled(4)
@each_case
def test_double_precision_is_near_everywhere(case: Case) -> None:
    rng = np.random.default_rng(3)
    small = rng.uniform(-1, 1, 100_000) * 10.0 ** rng.uniform(-9, 9, 100_000)
    low, high = (-750, 715) if case.op == "exp" else (case.low, case.high)
    dense = rng.uniform(low, high, 200_000)
    x = np.concatenate([every_kind_of_f64(rng), small, dense])
    wide = EXTENDED and case.op == "erf"
    reference = erf_in_extended_precision if wide else case.reference
    if wide:
        x = x[::8]  # the series is long
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.longdouble))
    spare = 0 if EXTENDED else 1
    assert_within(compute(case.op, x), exact, case.ulps + spare, x)


@each_type
@pytest.mark.parametrize("op", ["sin", "cos"])
def test_zeros_of_sin_and_cos_keep_their_digits(op: str, dtype: Any) -> None:
    """Beside multiples of π/2 the last part of π decides."""
    rng = np.random.default_rng(8)
    highest = 16 if dtype == np.float32 else 29
    turns = np.rint(2.0 ** rng.uniform(0, highest, 100_000))
    x = (turns * (math.pi / 2)).astype(dtype)
    wide = np.float64 if dtype == np.float32 else np.longdouble
    spare = 0 if dtype == np.float32 or EXTENDED else 1
    exact = getattr(np, op)(x.astype(wide))
    assert_within(compute(op, x), exact, 1.6 + spare, x)


# --- powers --------------------------------------------------------------------------


def _bases_and_exponents(rng: np.random.Generator, largest: float) -> list[Any]:
    """Return pairs whose powers are numbers mostly, by the logarithm of the largest."""
    n = 60_000
    near_1 = 1 + rng.uniform(-1, 1, n) * 2.0 ** rng.integers(-22, -1, n)
    reach = rng.uniform(-1.05, 1.05, n) * largest
    anything = np.exp(rng.uniform(-1, 1, n) * largest)
    return [
        (near_1, reach / np.log(near_1)),
        (anything, reach / np.log(anything)),
        (rng.uniform(-9, 9, n), rng.integers(-40, 40, n)),
        (rng.uniform(-2, 2, n), rng.uniform(-2, 2, n)),
        (rng.integers(-9, 9, n), rng.integers(-9, 9, n)),
    ]


@pytest.mark.sampled(2)
@each_type
def test_powers_are_near_everywhere(dtype: Any) -> None:
    rng = np.random.default_rng(4)
    single = dtype == np.float32
    pairs = _bases_and_exponents(rng, 88.0 if single else 709.0)
    kinds = every_kind_of_f32() if single else every_kind_of_f64(rng)
    pairs.append((rng.permutation(kinds)[:200_000], rng.permutation(kinds)[:200_000]))
    with np.errstate(all="ignore"):
        x, y = (np.concatenate(each).astype(dtype) for each in zip(*pairs))
        wide = np.float64 if single else np.longdouble
        exact = np.power(x.astype(wide), y.astype(wide))
    spare = 0 if single or EXTENDED else 1
    assert_within(compute("pow", x, y), exact, 1.25 + spare, x, y)


# --- points computed with 60 digits --------------------------------------------------

POINTS: dict[str, dict[float, float]] = {
    "exp": {
        -744.9: 5e-324, -708.5: 2.006132305331306e-308, -20.3: 1.5269401591266087e-09,
        -0.35: 0.7046880897187134, -1e-09: 0.999999999, 0.3465: 1.4141094938303624,
        0.7: 2.0137527074704766, 88.7: 3.325986980250579e38,
        345.6: 1.2364397133326717e150, 709.7: 1.6549840276802644e308,
    },
    "log": {
        5e-324: -744.4400719213812, 3e-310: -712.7027665394861,
        2.3e-308: -708.363299519231, 0.3: -1.2039728043259361,
        0.7071: -0.346583180371942, 0.9999: -0.00010000500033334732,
        1.0001: 9.999500033329732e-05, 1.41421: 0.34657107129862735,
        10.0: 2.302585092994046, 1.7e308: 709.7268368932282,
    },
    "tanh": {
        1e-300: 1e-300, 0.01: 0.00999966667999946, 0.2: 0.197375320224904,
        0.5499: 0.5004452594871819, 0.5501: 0.5005951553906958,
        0.8: 0.664036770267849, 1.3: 0.8617231593133063, 5.5: 0.9999665971563038,
        18.5: 0.9999999999999998, 19.0: 0.9999999999999999,
    },
    "erf": {
        1e-300: 1.1283791670955126e-300, 0.01: 0.011283415555849618,
        0.2: 0.22270258921047847, 0.5: 0.5204998778130465, 0.9999: 0.8426592780487595,
        1.0001: 0.8427422995485203, 1.5: 0.9661051464753108, 2.2: 0.9981371537020182,
        4.4: 0.999999999510829, 5.9: 0.9999999999999999,
    },
    "sin": {
        1e-300: 1e-300, 0.785: 0.706825181105366, 0.786: 0.707532215844074,
        1.57: 0.9999996829318346, math.pi: 1.2246467991473532e-16,
        100.5: -0.030959966783271346, 12345.678: -0.7040813137533816,
        1e9: 0.5458434494486996, 3e9: 0.9870048864743554, 1e22: -0.8522008497671888,
    },
    "cos": {
        1e-300: 1.0, 0.785: 0.7073882691671998, 0.786: 0.7066810904097934,
        1.57: 0.0007963267107332633, math.pi / 2: 6.123233995736766e-17,
        100.5: 0.9995206253283515, 12345.678: 0.7101193587160628,
        1e9: 0.8378871813639024, 3e9: -0.16069024262768705, 1e22: 0.523214785395139,
    },
}  # fmt: skip
"""The nearest numbers to a function's exact values."""

POWERS = [
    (1.0000000001, 7e12, 1.014290763491529e304),
    (0.9999999999999999, 6e18, 5.0322248034881087e-290),
    (3.7, -200.25, 1.6504590583067865e-114),
    (1e-300, 1.01, 9.99999999999994e-304),
    (2.5e-310, 0.5, 1.581138830084195e-155),
    (1.7e308, -1.03, 3.331485e-318),
    (10.0, 308.2, 1.584893192461072e308),
    (0.3, 600.0, 1.873927704e-314),
    (-7.0, 301.0, -2.3686999140524374e254),
    (0.70711, -2001.5, 1.7857115575531354e301),
]
"""Bases, exponents, and the nearest numbers to the exact powers."""


def steps_apart(x: Any, y: Any) -> Any:
    """Count the numbers from one to another; both are of one sign."""
    return np.abs(x.view(np.int64) - y.view(np.int64))


@pytest.mark.parametrize("op", POINTS)
def test_values_are_near_to_those_of_sixty_digits(op: str) -> None:
    x, wanted = (np.array([*each]) for each in (POINTS[op], POINTS[op].values()))
    most = 4 if op == "erf" else 2
    assert steps_apart(compute(op, x), wanted).max() <= most
    if op not in ("exp", "log", "cos"):
        assert steps_apart(compute(op, -x), -wanted).max() <= most


def test_powers_are_near_to_those_of_sixty_digits() -> None:
    x, y, wanted = map(np.array, zip(*POWERS))
    assert steps_apart(compute("pow", x, y), wanted).max() <= 4


# --- corners -------------------------------------------------------------------------

CORNERS = {
    "exp": [
        (0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1e4, INF), (-1e4, 0),
    ],
    "log": [
        (0, -INF), (-0.0, -INF), (1, 0), (-1, NAN), (-INF, NAN), (INF, INF), (NAN, NAN),
        (-1e-40, NAN),
    ],
    "tanh": [
        (0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (20, 1), (-1e30, -1),
        (1e-40, 1e-40), (-1e-40, -1e-40),
    ],
    "erf": [
        (0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (6, 1), (-1e30, -1),
    ],
    "sin": [
        (0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-40, 1e-40),
    ],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-40, 1)],
    "sqrt": [(0, 0), (-0.0, -0.0), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
}  # fmt: skip
"""Pairs of a number and the function's value, exact in either precision."""

POWER_CORNERS = [
    *((x, 0.0, 1.0) for x in (0.0, -0.0, 1.0, -2.5, INF, -INF, NAN)),
    *((x, -0.0, 1.0) for x in (0.0, 3.0, NAN)),
    *((1.0, y, 1.0) for y in (5.0, -0.5, INF, -INF, NAN)),
    *((-1.0, y, 1.0) for y in (INF, -INF, 2.0, -4.0, 2.0**40)),
    *((-1.0, y, -1.0) for y in (1.0, -3.0, 2.0**20 + 1)),
    (NAN, 2.0, NAN), (2.0, NAN, NAN), (NAN, NAN, NAN), (-2.0, NAN, NAN),
    (-8.0, 1 / 3, NAN), (-1.0, 0.5, NAN), (-1e-40, 0.5, NAN), (-2.0, 1e-40, NAN),
    (-2.0, 3.0, -8.0), (-2.0, -3.0, -0.125), (-2.0, 4.0, 16.0), (3.0, 1.0, 3.0),
    (0.0, 3.0, 0.0), (-0.0, 3.0, -0.0), (-0.0, 2.0, 0.0), (-0.0, 0.5, 0.0),
    (0.0, -3.0, INF), (-0.0, -3.0, -INF), (-0.0, -2.0, INF), (-0.0, -0.5, INF),
    (0.0, INF, 0.0), (-0.0, INF, 0.0), (0.0, -INF, INF), (-0.0, -INF, INF),
    (INF, 2.0, INF), (INF, -2.0, 0.0), (INF, INF, INF), (INF, -INF, 0.0),
    (-INF, 3.0, -INF), (-INF, 2.0, INF), (-INF, -3.0, -0.0), (-INF, -2.0, 0.0),
    (-INF, 0.5, INF), (-INF, -0.5, 0.0), (-INF, INF, INF), (-INF, -INF, 0.0),
    (0.5, INF, 0.0), (0.5, -INF, INF), (2.0, INF, INF), (2.0, -INF, 0.0),
    (-0.5, INF, 0.0), (-2.0, INF, INF), (-2.0, -INF, 0.0), (-0.5, -INF, INF),
    (2.0, 1e38, INF), (2.0, -1e38, 0.0), (0.5, 1e38, 0.0), (-2.0, 1e38, INF),
    (1.5, -1e30, 0.0), (4.0, 0.5, 2.0), (16.0, -0.5, 0.25), (2.0, -126.0, 2.0**-126),
    (2.0, -149.0, 2.0**-149), (-2.0, -149.0, -(2.0**-149)), (2.0, 127.0, 2.0**127),
]  # fmt: skip
"""Base, exponent and power, by the conventions of C and NumPy."""


@each_type
@pytest.mark.parametrize("op", CORNERS)
def test_a_corner_of_a_function_is_exact(op: str, dtype: Any) -> None:
    x, wanted = (np.array(each, dtype) for each in zip(*CORNERS[op]))
    assert_same_bits(compute(op, x), wanted)


@each_type
def test_a_corner_of_powers_is_exact(dtype: Any) -> None:
    x, y, wanted = (np.array(each, dtype) for each in zip(*POWER_CORNERS))
    assert_same_bits(compute("pow", x, y), wanted)
    with np.errstate(all="ignore"):
        assert_same_bits(np.power(x, y), wanted)


def test_borders_of_overflow_and_underflow() -> None:
    """The largest number with a finite exponential, the next; the same below."""
    top = np.float32(88.72283)
    x = np.array([top, np.nextafter(top, np.float32(99)), -103.97208, -103.97209],
                 np.float32)  # fmt: skip
    found = compute("exp", x)
    assert np.isfinite(found[0])
    assert found[1] == INF
    assert found[2] == np.float32(1e-45)
    assert found[3] == 0
    wide = np.array([709.782712893384, 709.7827128933841, -745.1332191019411, -745.14])
    found = compute("exp", wide)
    assert np.isfinite(found[0])
    assert [found[1], found[2], found[3]] == [INF, 5e-324, 0]


# --- what holds between values -------------------------------------------------------


@each_type
def test_odd_functions_are_odd_and_bounded(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    x = (rng.uniform(-9, 9, 50_000) * 2.0 ** rng.integers(-20, 4, 50_000)).astype(dtype)
    for op in ("tanh", "erf", "sin"):
        found = compute(op, x)
        assert_same_bits(compute(op, -x), -found)
        assert np.abs(found).max() <= 1
    assert_same_bits(compute("cos", -x), compute("cos", x))


def mixed(dtype: Any) -> Any:
    """Return forty numbers of all kinds: far ones of `sin`, and corners."""
    rng = np.random.default_rng(7)
    odd = [0.0, -0.0, INF, -INF, NAN, 1e-40, 1.0, -1.0, 3e5, -4e12, 1e30, 89.0, -104.0]
    return np.concatenate([odd, rng.normal(size=27) * 3]).astype(dtype)


@pytest.mark.sampled(5)
@each_type
@pytest.mark.parametrize("op", [*CORNERS, "pow"])
def test_a_value_does_not_depend_on_its_vector(op: str, dtype: Any) -> None:
    """One by one, in short vectors, in masked ends, from far apart in memory."""
    x = mixed(dtype)
    operands = (x, x[::-1].copy()) if op == "pow" else (x,)
    whole = compute(op, *operands)
    for size in (1, 2, 3, 5, 7, 9, 15, 17, 23, 31, 33, 39):
        parts = [each[-size:].copy() for each in operands]
        assert_same_bits(compute(op, *parts), whole[-size:])
    alone = [
        compute(op, *(np.asarray(each[i]) for each in operands)) for i in range(40)
    ]
    assert_same_bits(np.array(alone), whole)
    types = [TensorType((40, 3), each.dtype) for each in operands]
    inputs = tuple(input_node(each, "x") for each in types)
    turned = [bind("transpose", each, axes=(1, 0)) for each in inputs]
    graph = Graph(inputs, (bind(op, *turned),))
    spread = [np.repeat(each[:, None], 3, axis=1) for each in operands]
    (found,) = ENGINE.compile(graph)(*spread)
    for row in found:
        assert_same_bits(row, whole)


@each_type
@pytest.mark.parametrize("op", [*CORNERS, "pow"])
def test_no_function_of_a_library_is_called(op: str, dtype: Any) -> None:
    """But by sin and cos, in a function of its own that looks for huge numbers."""
    inputs = tuple(input_node(TensorType((64,), dtype), "x")
                   for _ in range(2 if op == "pow" else 1))  # fmt: skip
    program = ENGINE.compile(Graph(inputs, (bind(op, *inputs),)))
    kernels = [part for part in re.split(r"(?=^define )", program.text(), flags=re.M)
               if re.match(r"define \S+ void @k", part)]  # fmt: skip
    called = {
        name for part in kernels for name in re.findall(r"call .*?@([\w.]+)", part)
    }
    instructions = {"llvm.fma", "llvm.fabs", "llvm.copysign", "llvm.floor", "llvm.sqrt"}
    assert kernels
    for name in called:
        assert name.startswith(f"far.{op}.") or name.rpartition(".")[0] in instructions
