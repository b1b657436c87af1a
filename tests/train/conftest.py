from __future__ import annotations

import numpy as np
import pytest

from pellucid import nn, optim, random
from pellucid.train.trainer import Trainer


@pytest.fixture
def xor():
    """Two classes that no line parts: 203 rows, so that batches of 32 leave a rest."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, 6)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture
def make_trainer():
    """Make the same trainer again and again: same weights, same seed."""

    def make(*, dropout=0.0, lr=3e-3, dtype="f32", seed=0, **options):
        with random.keys_from(random.key_of(7)):
            model = nn.Sequential(
                nn.Standardize(6),
                nn.Linear(6, 16),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(16, 2),
            ).to(dtype)
        loss = nn.CrossEntropyLoss()
        return Trainer(model, loss, optim.Adam(lr=lr), seed=seed, **options)

    return make


@pytest.fixture
def same_weights():
    def same(one, other):
        pairs = zip(one.model.named_parameters(), other.model.named_parameters())
        return all((p.value == q.value).all() for (_, p), (_, q) in pairs)

    return same
