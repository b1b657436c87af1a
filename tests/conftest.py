"""Settings of the whole suite; its folder is on the import path (`gates.samples`)."""

from __future__ import annotations

import os

from hypothesis import settings

# Before anything imports JAX: the oracles compute in double precision, on the CPU.
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

settings.register_profile("pellucid", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("pellucid")
