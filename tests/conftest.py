"""Fixtures of all tests, and a hypothesis profile that draws the same examples every time."""

import numpy as np
import pytest
from helpers import make_tasks
from hypothesis import settings

from mtlbook import Tasks

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tasks() -> Tasks:
    """Three tasks of 5, 8 and 11 rows over 4 features: shapes that no transpose survives."""
    return make_tasks()
