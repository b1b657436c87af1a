"""Which rows train and which test: drawn by a seed, in proportion to the classes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, DataError, message

__all__ = ["split_rows"]

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def split_rows(
    n: int, test_size: float | int, seed: int, strata: Any = None
) -> tuple[Rows, Rows]:
    """Return the training rows and the test rows of `n` rows, each in rising order.

    `test_size` is a fraction between 0 and 1, or a count. `strata` `[n]` holds a
    label per row: each label then has its share of the test rows, to within a row,
    and at least one row in training. The same arguments give the same rows on every
    machine. Raises `DataError` where a part would be empty.

    >>> train, test = split_rows(10, 0.2, seed=0)
    >>> len(train), len(test)
    (8, 2)
    """
    count = _test_count(n, test_size)
    # Raw bits, because NumPy may change its shuffle between versions, not its Philox.
    order = np.argsort(np.random.Philox(seed).random_raw(n), kind="stable")
    if strata is None:
        chosen = order[:count]
    else:
        chosen = _stratified(order, np.asarray(strata), count)
    is_test = np.zeros(n, bool)
    is_test[chosen] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _test_count(n: int, test_size: float | int) -> int:
    fraction = isinstance(test_size, float | np.floating)
    if fraction and not 0 < test_size < 1:
        raise ArgumentError(
            message(
                f"test_size={test_size} is no fraction",
                expected="expected one between 0 and 1, or a whole number of rows",
            )
        )
    if n < 2:
        raise DataError(
            message(f"cannot split {n} rows into training and test", hint="add rows")
        )
    count = max(1, round(test_size * n)) if fraction else int(test_size)
    if not 1 <= count < n:
        raise DataError(
            message(
                f"cannot take {count} of {n} rows for the test",
                expected=f"expected 1 to {n - 1}",
                hint="choose another test_size",
            )
        )
    return count


def _stratified(order: Rows, strata: Rows, count: int) -> Rows:
    """Return the first rows of each stratum, in the order drawn."""
    if strata.shape != order.shape:
        raise ArgumentError(
            message(
                f"strata has shape {strata.shape}",
                expected=f"expected a label for each of {len(order)} rows",
            )
        )
    _, labels, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    if count > len(order) - len(sizes):
        raise DataError(
            message(
                f"cannot take {count} of {len(order)} rows for the test",
                expected=f"each of {len(sizes)} classes needs a row in training",
                hint="choose a smaller test_size",
            )
        )
    shares = _shares(sizes, count)
    grouped = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen: Rows = grouped[rank < np.repeat(shares, sizes)]
    return chosen


def _shares(sizes: Rows, count: int) -> Rows:
    """Divide `count` in proportion to `sizes` by largest remainders.

    No stratum gives its last row away.
    """
    exact = sizes * count / sizes.sum()
    shares: Rows = np.floor(exact).astype(np.int64)
    while (left := count - int(shares.sum())) > 0:
        wanting = np.where(shares < sizes - 1, exact - shares, -np.inf)
        best = np.argsort(-wanting, kind="stable")[:left]
        shares[best[wanting[best] > -np.inf]] += 1
    return shares
