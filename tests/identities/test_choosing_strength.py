"""Equations of the chapter choosing-strength."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, fit, relations, squared_errors


@pytest.mark.equation("choosing-strength-order")
@pytest.mark.parametrize(
    "P", [relations.independent(3), relations.to_mean(3), np.ones((3, 3))], ids=["I", "mean", "rank one"]
)
def test_training_error_never_falls_and_the_penalty_never_rises_with_strength(P):
    """From strength 0 to 1000 training errors ascend and penalties descend, few rows included."""
    rng = np.random.default_rng(1)
    tasks = Tasks([rng.normal(size=(m, 4)) for m in (5, 8, 2)], [rng.normal(size=m) for m in (5, 8, 2)])
    weights = [fit(tasks, P, strength).W for strength in (0.0, 0.01, 0.1, 1.0, 10.0, 1000.0)]
    errors = [squared_errors(W, tasks).sum() for W in weights]
    prices = [np.trace(W @ P @ W.T) for W in weights]
    assert np.all(np.diff(errors) >= -1e-9)
    assert np.all(np.diff(prices[1:]) <= 1e-9)
    assert errors[-1] > errors[0]


@pytest.mark.equation("choosing-strength-truth")
@pytest.mark.parametrize("d", [1, 3])
def test_the_error_on_fresh_rows_is_known_without_test_rows(d):
    """The expected squared error is |w - w_i|^2 + 1, by Gauss quadrature over x and noise."""
    w, truth = np.random.default_rng(d).normal(size=(2, d))
    nodes, mass = np.polynomial.hermite_e.hermegauss(3)
    mass = mass / mass.sum()
    expected = 0.0
    for points in product(range(3), repeat=d + 1):
        x, noise = nodes[list(points[:d])], nodes[points[d]]
        expected += np.prod(mass[list(points)]) * (x @ w - x @ truth - noise) ** 2
    assert_allclose(expected, np.sum((w - truth) ** 2) + 1)


@pytest.mark.equation("choosing-strength-flatters")
@pytest.mark.parametrize("gaps", [(0.0, 0.0), (0.0, 0.3, 0.3), (1.0, 0.0, 5.0)])
def test_the_least_of_several_test_errors_flatters(gaps):
    """E T_k^ <= min R_k <= E R_k^, by adding up all outcomes of test errors R_k + fair coin."""
    outcomes = list(product((-1.0, 1.0), repeat=len(gaps)))
    chosen = [np.argmin(np.add(gaps, coins)) for coins in outcomes]
    reported = np.mean([gaps[k] + coins[k] for k, coins in zip(chosen, outcomes, strict=True)])
    real = np.mean([gaps[k] for k in chosen])
    assert reported < min(gaps) <= real
