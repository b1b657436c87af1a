"""Settings of the whole suite; its folder is on the import path (`gates.samples`)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `sampled(n)` keep the first of every n parameters quick."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None:
            continue
        test, _, _ = item.nodeid.partition("[")
        if seen[test] % mark.args[0]:
            item.add_marker(pytest.mark.slow)
        seen[test] += 1


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C be heard also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
