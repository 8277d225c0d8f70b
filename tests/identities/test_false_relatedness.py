"""Equations of the chapter false-relatedness."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from identities.test_what_sharing_buys import WORLDS, expected_risk, parts
from mtlbook import relations


def mean_square(W: np.ndarray) -> float:
    """The square of the mean weight vector, a weight: |mean w|^2 / d."""
    return float(np.mean(W.mean(axis=1) ** 2))


@pytest.mark.equation("false-relatedness-risk")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize(("strength", "rho"), [(0.5, 0.0), (0.5, 1.0), (2.0, 0.3)])
def test_the_dial_shrinks_the_mean_and_the_deviations_separately(W, strength, rho):
    """The risk adds up from the common mean, shrunk by lambda rho, and deviations, shrunk by lambda."""
    d, n = W.shape
    a, apart = parts(W)
    pull = strength * rho
    formula = (0.25 / d / n + pull**2 * mean_square(W)) / (1 + pull) ** 2
    formula += (a + strength**2 * apart) / (1 + strength) ** 2
    assert_allclose(expected_risk(W, strength, rho), d * formula, rtol=1e-9)


@pytest.mark.equation("false-relatedness-best")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
def test_no_dial_and_strength_beat_the_best_ones(W):
    """rho = min(1, delta^2 / ((n - 1) c)) with the best strength is at most the risk at any grid point."""
    d, n = W.shape
    a, apart = parts(W)
    s2, c = 0.25 / d, mean_square(W)
    rho = min(1.0, apart / ((n - 1) * c))
    strength = a / apart if rho < 1 else s2 / (apart + c)
    least = expected_risk(W, strength, rho)
    grid = [(s, q) for s in (0.01, 0.3, 3.0) for q in (0.0, 0.1, 1.0)]
    near = [(strength * f, min(rho * g, 1.0)) for f in (0.95, 1.05) for g in (0.95, 1.05)]
    assert all(expected_risk(W, *point) > least - 1e-12 for point in grid + near)


@pytest.mark.equation("false-relatedness-correlation")
@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("r", [0.0, 0.1, 0.5, 0.99])
def test_the_best_dial_says_how_weights_correlate(n, r):
    """E delta^2 / ((n-1) E c) is (1-r) / (1+(n-1) r), and there the penalty is R^-1 up to a factor."""
    R = (1 - r) * np.eye(n) + r
    apart, c = np.trace(R @ relations.to_mean(n)) / n, np.sum(R) / n**2
    rho = (1 - r) / (1 + (n - 1) * r)
    assert_allclose(apart / ((n - 1) * c), rho)
    P = (1 - rho) * relations.to_mean(n) + rho * np.eye(n)
    assert_allclose(P, (1 - r) * np.linalg.inv(R), atol=1e-12)
