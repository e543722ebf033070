"""What every test shares: repeatable hypothesis runs, and libraries that stay on their own core."""

from __future__ import annotations

import gc
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# xdist's workers share the cores: a thread pool in each of them only costs. Set before numpy and jax are loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compilers make many objects that live long: at Python's own thresholds, looking through them took a sixth of the time.
gc.set_threshold(100_000, 20, 100)

# Examples come from a fixed seed, so that a red run is red again; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=50,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

COUNTED = 1
"""Cases of one test in which lines are counted."""
WHOLE = (
    "test_examples",
    "test_driving",
    "test_docs",
    "test_highway",
    "test_gymnasiums",
    "test_rl_programs",
    "test_online",
)
"""Modules that run whole programs, whose lines the laws have run before."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lines are not counted where they would be counted again: that takes as long as to run them."""
    cases = Counter[str]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        if cases[test] > COUNTED or item.path.stem.startswith(WHOLE):
            item.add_marker("no_cover")
