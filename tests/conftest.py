"""Settings of the whole suite; its folder is on the import path (`gates.samples`)."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from pellucid import random

# Before anything imports JAX: the oracles compute in double precision, on the CPU.
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

settings.register_profile("pellucid", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("pellucid")


@pytest.fixture(autouse=True)
def same_first_weights() -> None:
    """Draw the same first weights in whatever order the tests run."""
    random.seed(0)
