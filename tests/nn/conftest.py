from __future__ import annotations

import pytest

from pellucid import random


@pytest.fixture(autouse=True)
def same_first_weights():
    """Draw the same first weights in whatever order the tests run."""
    random.seed(0)
