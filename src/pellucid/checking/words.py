"""What a comparison means, in words: how a gradient is wrong, and a verdict a row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pellucid.checking.compare import Comparison, Probe
from pellucid.checking.problem import Problem
from pellucid.checking.report import BAD, Entry, Kink, Row, Status
from pellucid.ir.graph import Array
from pellucid.ir.types import TensorType

__all__ = ["kind_of", "kinks_of", "row_of"]

_SAME = 1e-5
"""The relative difference within which two lists of slopes are called the same."""


# --- how a gradient is wrong -----------------------------------------------------


def kind_of(compared: Comparison, shape: tuple[int, ...]) -> str:
    """Say how a gradient differs from the slopes: by a factor, a sign, …"""
    gradient = compared.gradient
    if gradient.shape != shape:
        turned = gradient.shape == shape[::-1]
        return (
            f"its gradient has shape {gradient.shape}, it has {shape}"
            f"{': transposed' if turned else ''}"
        )
    known = [each for each in compared.probes if each.status != Status.KINK]
    if any(not math.isfinite(each.analytic) for each in known):
        return "its gradient is not finite"
    if any(not math.isfinite(each.numeric) for each in known):
        return "the loss is not finite beside it"
    a = np.array([each.analytic for each in known])
    n = np.array([each.numeric for each in known])
    if not a.any():
        return "missing: its gradient is zero, and the loss changes with it"
    return (
        _factor(a, n)
        or _turned(compared)
        or _partial(a, n)
        or "different: not by a factor, a sign or a transposition"
    )


def _same(a: Array, n: Array, tolerance: float = _SAME) -> bool:
    return bool(np.linalg.norm(a - n) <= tolerance * np.linalg.norm(n))


def _factor(a: Array, n: Array) -> str:
    """Fit one factor. The fit is by least squares."""
    square = float(n @ n)
    factor = float(a @ n) / square if square else 0.0
    off = abs(factor - 1)
    if not factor or not _same(a, factor * n, min(_SAME, 0.01 * off)):
        return ""
    if abs(factor + 1) <= _SAME:
        return "wrong sign"
    return f"wrong by a constant factor {factor:{'.6g' if off > _SAME else '.10g'}}"


def _turned(compared: Comparison) -> str:
    """Say whether the gradient fits when it is transposed, or read so."""
    gradient, entries = compared.gradient, compared.entries
    if gradient.ndim < 2 or not entries:
        return ""
    read = gradient.reshape(gradient.shape[::-1]).T
    swapped = np.swapaxes(gradient, -1, -2)
    n = np.array([each.numeric for each in entries])
    for turned in (gradient.T, swapped, read):
        if turned.shape == gradient.shape and _same(
            np.array([turned[each.place] for each in entries]), n
        ):
            return "transposed"
    return ""


def _partial(a: Array, n: Array) -> str:
    """Say whether some entries are right and the rest get nothing."""
    scale = max(float(np.abs(n).max()), float(np.abs(a).max()))
    fits = np.abs(a - n) <= _SAME * np.maximum(np.abs(n), 1e-6 * scale)
    right, counted = int((fits & (a != 0)).sum()), a.size
    if not right:
        return ""
    if right == counted:
        return "close and not equal: a rounded constant, or an approximation"
    if not a[~fits].any():
        return (
            f"part is missing: right in {right} of {counted} places, "
            f"zero in {int((~fits).sum())} where it should not be"
        )
    return f"right in {right} of {counted} places, different in the rest"


# --- a row -----------------------------------------------------------------------


def row_of(problem: Problem, compared: Comparison) -> Row:
    """Return what is known of a tensor."""
    value = problem.values[compared.position]
    status = _status(compared, value)
    seen = [p for p in compared.probes if p.status in BAD or p.status == Status.RIGHT]
    relative = max((p.error / p.scale for p in seen), default=math.nan)
    ranked = sorted(seen, key=lambda p: -_rank(p))
    return Row(
        name=problem.names[compared.position],
        type=TensorType(value.shape, value.dtype),
        checked=_checked(compared.probes),
        error=_norm_error(compared.probes),
        relative=relative,
        status=status,
        verdict=_verdict(compared, status, value.shape, relative),
        worst=tuple(_entry(p) for p in ranked[:5]),
    )


def _rank(probe: Probe) -> float:
    relative = probe.error / probe.scale
    return relative if math.isfinite(relative) else math.inf


def _entry(probe: Probe) -> Entry:
    relative = probe.error / probe.scale
    return Entry(probe.place, probe.analytic, probe.numeric, relative, probe.status)


def _checked(probes: Sequence[Probe]) -> str:
    entries = sum(not isinstance(each.place, int) for each in probes)
    counts = ((len(probes) - entries, "direction"), (entries, "entry"))
    names = {"direction": "directions", "entry": "entries"}
    parts = [f"{n} {names[name] if n > 1 else name}" for n, name in counts if n]
    return ", ".join(parts) or "nothing"


def _norm_error(probes: Sequence[Probe]) -> float:
    known = [p for p in probes if p.status != Status.KINK]
    a = np.array([p.analytic for p in known])
    n = np.array([p.numeric for p in known])
    if not known or not np.isfinite([a, n]).all():
        return math.nan
    size = max(np.linalg.norm(a), np.linalg.norm(n))
    return float(np.linalg.norm(a - n) / size) if size else 0.0


def _status(compared: Comparison, value: Array) -> Status:
    if not compared.used:
        return Status.UNUSED
    if compared.gradient.shape != value.shape:
        return Status.WRONG
    found = {each.status for each in compared.probes}
    order = (Status.NOT_FINITE, Status.WRONG, Status.DOUBTFUL)
    for each in order:
        if each in found:
            return each
    if not any(p.analytic or p.numeric for p in compared.probes if not p.crossed):
        return Status.KINK if Status.KINK in found else Status.ZERO
    for each in (Status.RIGHT, Status.KINK):
        if each in found:
            return each
    return Status.UNCLEAR


def _verdict(
    compared: Comparison, status: Status, shape: tuple[int, ...], relative: float
) -> str:
    if status == Status.WRONG or status == Status.NOT_FINITE:
        kind = kind_of(compared, shape)
        return kind if kind.startswith(status) else f"{status}: {kind}"
    if status == Status.DOUBTFUL:
        return f"doubtful ({relative:.1g}): {_advice(relative)}"
    if status == Status.UNCLEAR:
        return _unclear(compared.probes)
    if status == Status.RIGHT:
        at_kink = sum(p.status == Status.KINK for p in compared.probes)
        return f"right, {at_kink} at a kink left out" if at_kink else "right"
    return _PLAIN[status]


_PLAIN = {
    Status.KINK: "at a kink wherever it counts: move the data a little and check again",
    Status.ZERO: "zero, and so is the slope: dead, saturated or cut off here",
    Status.UNUSED: "unused: no path leads from it to the loss",
}


def _advice(relative: float) -> str:
    if relative < 1e-6:
        return "about the rounding of float32: look for a constant given to 7 digits"
    if relative < 1e-4:
        return "look for an approximation or a rounded constant in a backward"
    return "look for a small term that a backward leaves out, or a sharp bend nearby"


def _unclear(probes: Sequence[Probe]) -> str:
    slope = max(max(abs(p.analytic), abs(p.numeric)) for p in probes)
    floor = max(p.doubt for p in probes)
    return (
        f"too small to tell: the gradient is up to {slope:.1g}, and rounding hides "
        f"what is below {floor:.1g}"
    )


# --- kinks -----------------------------------------------------------------------


def kinks_of(problem: Problem, compared: Sequence[Comparison]) -> Iterator[Kink]:
    """Return the gates that stood at a kink, a line for each tensor."""
    for each in compared:
        counts = Counter(node for p in each.probes for node in p.crossed)
        for node, count in counts.items():
            name = problem.names[each.position]
            yield Kink(node.op.name, str(node.birth), name, count)
