"""Equations of the chapter drift."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Moments, Tasks, relations
from mtlbook.streams import MovingRelation, forget, half_life, rate_of

RATES = [0.01, 0.2, 0.7]


def stream(n: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, n))


@pytest.mark.equation("drift-sum")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_relation_is_a_sum_of_outer_products_weighted_by_age(n, rate):
    """A_t is (1 - eta)^t A_0 plus outer products with weights eta (1 - eta)^age, from a start of rank one."""
    start = relations.similarity(np.arange(1.0, n + 1)[:, None])
    news, moving = stream(n, 7), MovingRelation(start, 0.5)
    for z in news:
        moving = moving.update(z, rate)
    terms = [rate * (1 - rate) ** (7 - s) * np.outer(z, z) for s, z in enumerate(news, 1)]
    assert_allclose(moving.A, (1 - rate) ** 7 * start + sum(terms), atol=1e-12)


@pytest.mark.equation("drift-half-life")
@pytest.mark.parametrize("rate", RATES)
def test_after_a_half_life_half_of_the_weight_is_left(rate):
    """(1 - eta)^h = 1/2 for the half-life h, and the rate of a half-life is eta again."""
    assert_allclose((1 - rate) ** half_life(rate), 0.5)
    assert_allclose(rate_of(half_life(rate)), rate)


@pytest.mark.equation("drift-sherman")
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("c", [3.0, 0.01, -0.002])
def test_one_outer_product_changes_the_inverse_by_one_outer_product(n, c):
    """The formula times the changed matrix is the identity, from both sides, for positive and negative c."""
    z, half = stream(n, 1)[0], stream(n, n, seed=1)
    M = half @ half.T + np.eye(n)
    P = np.linalg.inv(M)
    g = P @ z
    changed = P - c / (1 + c * z @ P @ z) * np.outer(g, g)
    assert_allclose((M + c * np.outer(z, z)) @ changed, np.eye(n), atol=1e-12)
    assert_allclose(changed @ (M + c * np.outer(z, z)), np.eye(n), atol=1e-12)
    assert np.linalg.matrix_rank(changed - P, tol=1e-12) == 1


@pytest.mark.equation("drift-fading")
@pytest.mark.parametrize("rate", RATES)
def test_a_ridge_that_is_not_renewed_fades(rate):
    """M_t - A_t is (1 - eta)^t eps I for every t."""
    A, eps = relations.similarity([[1.0], [2.0], [-1.0]]), 0.3
    M = A + eps * np.eye(3)
    for t, z in enumerate(stream(3, 9), 1):
        A, M = ((1 - rate) * S + rate * np.outer(z, z) for S in (A, M))
        assert_allclose(M - A, (1 - rate) ** t * eps * np.eye(3), atol=1e-12)


@pytest.mark.equation("drift-ridge")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_a_ridge_renewed_in_turn_stays_between_its_bounds(n, rate):
    """(1 - eta)^n eps <= ridge <= eps, and P is the inverse of A plus the ridge, after each update."""
    moving = MovingRelation(np.zeros((n, n)), 0.2)
    for z in stream(n, 4 * n):
        moving = moving.update(z, rate)
        assert np.all(moving.ridge >= (1 - rate) ** n * 0.2)
        assert np.all(moving.ridge <= 0.2)
        assert_allclose(moving.P @ (moving.A + np.diag(moving.ridge)), np.eye(n), atol=1e-10)


@pytest.mark.equation("drift-moments")
@pytest.mark.parametrize("rate", [0.0, *RATES])
def test_forgotten_moments_are_means_weighted_by_rows_and_age(rate):
    """C and b of tasks with 1 to 5 rows a chunk, from sums of outer products over single rows."""
    rng, sizes = np.random.default_rng(2), [(1, 4), (5, 2), (3, 3)]
    chunks = [
        Tasks([rng.normal(size=(m, 3)) for m in pair], [rng.normal(size=m) for m in pair]) for pair in sizes
    ]
    moments = Moments.from_tasks(chunks[0])
    for chunk in chunks[1:]:
        moments = forget(moments, rate) + Moments.from_tasks(chunk)
    for i in range(2):
        weight = np.concatenate([np.full(pair[i], (1 - rate) ** (2 - t)) for t, pair in enumerate(sizes)])
        X = np.concatenate([chunk.X[i] for chunk in chunks])
        y = np.concatenate([chunk.y[i] for chunk in chunks])
        C = sum(w * np.outer(x, x) for w, x in zip(weight, X, strict=True)) / weight.sum()
        b = sum(w * target * x for w, x, target in zip(weight, X, y, strict=True)) / weight.sum()
        assert_allclose(moments.C[i], C, atol=1e-12)
        assert_allclose(moments.B[:, i], b, atol=1e-12)


def settled(rate: float, q: float, sigma: float) -> float:
    return ((1 - rate) ** 2 * q**2 + rate**2 * sigma**2) / (rate * (2 - rate))


@pytest.mark.equation("drift-error")
@pytest.mark.parametrize("rate", [*RATES, 1.0])
@pytest.mark.parametrize(("q", "sigma"), [(0.1, 1.0), (2.0, 0.5), (0.0, 1.0)])
def test_the_tracking_error_settles_at_lag_plus_wavering(rate, q, sigma):
    """The error written out as a sum over all past steps and noises has this variance."""
    ages = np.arange(6000)
    lag = q**2 * np.sum((1 - rate) ** (2 * (ages + 1)))
    wavering = sigma**2 * np.sum((rate * (1 - rate) ** ages) ** 2)
    assert_allclose(settled(rate, q, sigma), lag + wavering, rtol=1e-9)


@pytest.mark.equation("drift-best")
@pytest.mark.parametrize(("q", "sigma"), [(0.01, 1.0), (0.3, 1.0), (2.0, 0.5)])
def test_the_best_rate_balances_walk_and_noise(q, sigma):
    """On a fine grid the least point has eta^2 / (1 - eta) = q^2 / sigma^2, with the error eta sigma^2."""
    grid = np.linspace(1e-4, 1 - 1e-4, 200_001)
    values = settled(grid, q, sigma)
    best = grid[values.argmin()]
    assert_allclose(best**2 / (1 - best), (q / sigma) ** 2, rtol=1e-2)
    assert_allclose(values.min(), best * sigma**2, rtol=1e-2)
    s = (q / sigma) ** 2
    exact = (np.sqrt(s**2 + 4 * s) - s) / 2
    assert settled(exact, q, sigma) <= values.min() + 1e-12
    assert_allclose(settled(exact, q, sigma), exact * sigma**2)
