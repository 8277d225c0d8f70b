"""Shapes that no transpose, wrong axis or lucky symmetry survives."""

import numpy as np
import pytest

rng = np.random.default_rng(0)

MATRICES = {
    "tall": rng.normal(size=(5, 3)),
    "wide": rng.normal(size=(2, 6)),
    "one row": rng.normal(size=(1, 4)),
    "one column": rng.normal(size=(4, 1)),
    "one entry": rng.normal(size=(1, 1)),
    "rank-deficient and not symmetric": rng.normal(size=(4, 2)) @ rng.normal(size=(2, 4)),
    "zero": np.zeros((3, 2)),
}
PAIRS = {
    f"{p} and {q}": (rng.normal(size=p), rng.normal(size=q)) for p, q in [(4, 3), (1, 5), (5, 1), (1, 1)]
}


@pytest.fixture(params=MATRICES.values(), ids=MATRICES)
def M(request: pytest.FixtureRequest) -> np.ndarray:
    """A matrix of an awkward shape."""
    return request.param


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of awkward lengths."""
    return request.param


@pytest.fixture(
    params=[(1,), (5, 8, 11), (3, 1)],
    ids=["one task, one row", "three ragged tasks", "fewer rows than features"],
)
def tasks(request: pytest.FixtureRequest) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (X, y) over d = 4 features, one pair a task."""
    source = np.random.default_rng(len(request.param))
    return [(source.normal(size=(m, 4)), source.normal(size=m)) for m in request.param]
