"""Samples for the statistics' tests."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, so that a failure comes again."""
    return np.random.default_rng(20240117)
