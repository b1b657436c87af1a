"""Real tables that scikit-learn carries, for the demonstration and for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

__all__ = ["breast_cancer"]


def breast_cancer() -> pl.DataFrame:
    """Return 569 tumours, 30 measurements each, and the target `diagnosis`.

    Source: Wolberg, Street and Mangasarian, Wisconsin Diagnostic Breast Cancer (1995).

    >>> table = breast_cancer()
    >>> table.shape, sorted(table["diagnosis"].unique())
    ((569, 31), ['benign', 'malignant'])
    """
    from sklearn.datasets import load_breast_cancer

    found: Any = load_breast_cancer()
    columns = dict(zip(found.feature_names.tolist(), found.data.T))
    diagnosis = np.asarray(found.target_names)[found.target]
    return pl.DataFrame({**columns, "diagnosis": diagnosis})
