"""Identities of the chapter on shared directions."""

import numpy as np
import pytest
from scipy.linalg import svdvals

from mtlbook import Tasks
from mtlbook.learning import low_rank
from mtlbook.proximal import NormPenalty, singular_values

rng = np.random.default_rng(0)


def nuclear(M: np.ndarray) -> float:
    return float(svdvals(M).sum())


@pytest.mark.equation("low-rank-sum")
def test_a_matrix_is_a_sum_of_outer_products_of_its_singular_vectors(M: np.ndarray) -> None:
    """Singular values times outer products add up to the matrix, as many as its rank."""
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    total = np.zeros_like(M)
    for k in range(len(sigma)):
        total += sigma[k] * np.outer(U[:, k], Vt[k])
    np.testing.assert_allclose(total, M, atol=1e-12)
    assert np.sum(sigma > 1e-12) == np.linalg.matrix_rank(M)


@pytest.mark.equation("low-rank-factors")
def test_the_nuclear_norm_is_the_least_ridge_on_two_factors(M: np.ndarray) -> None:
    """No factors of W have a smaller half-sum of squares than |W|_*, and balanced ones reach it."""
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    B, Z = U * np.sqrt(sigma), Vt.T * np.sqrt(sigma)
    np.testing.assert_allclose(B @ Z.T, M, atol=1e-12)
    assert (np.sum(B**2) + np.sum(Z**2)) / 2 == pytest.approx(nuclear(M), abs=1e-12)
    for _ in range(50):
        r = len(sigma)
        mix = rng.normal(size=(r, r + 2))
        one, two = B @ mix, Z @ np.linalg.pinv(mix).T
        np.testing.assert_allclose(one @ two.T, M, atol=1e-9)
        assert (np.sum(one**2) + np.sum(two**2)) / 2 >= nuclear(M) * (1 - 1e-9)


@pytest.mark.equation("low-rank-prox")
def test_the_prox_lowers_every_singular_value_and_stops_at_zero(M: np.ndarray) -> None:
    """Lowered singular values minimise distance plus nuclear norm: no neighbour is better."""
    strength, step = 0.8, 0.5
    V, _ = NormPenalty(singular_values, strength).prox(M, step)
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    np.testing.assert_allclose(V, (U * np.maximum(s - strength * step, 0)) @ Vt, atol=1e-12)

    def cost(V: np.ndarray) -> float:
        return np.sum((V - M) ** 2) / (2 * step) + strength * nuclear(V)

    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            assert cost(V + size * rng.normal(size=M.shape)) > cost(V) - 1e-12


def value(tasks: list, W: np.ndarray) -> float:
    return sum(np.mean((X @ w - y) ** 2) for (X, y), w in zip(tasks, W.T, strict=True))


def gradient(tasks: list, W: np.ndarray) -> np.ndarray:
    return np.column_stack([2 / len(y) * X.T @ (X @ w - y) for (X, y), w in zip(tasks, W.T, strict=True)])


@pytest.mark.equation("low-rank-gap")
def test_the_gap_of_a_norm_bounds_the_distance_to_the_minimum(tasks: list) -> None:
    """For every allowed a the bound lies below the minimum, and at the minimiser a = 1 closes it."""
    strength = 0.4

    def gap(W: np.ndarray, a: float) -> float:
        G = gradient(tasks, W)
        return (1 - a) ** 2 * value(tasks, W) + a * np.sum(G * W) + strength * nuclear(W)

    best = low_rank(Tasks(*zip(*tasks, strict=True)), strength, tolerance=1e-12, max_iterations=100_000).W
    least = value(tasks, best) + strength * nuclear(best)
    for scale in (0.0, 0.3, 3.0):
        W = scale * rng.normal(size=best.shape)
        edge = strength / svdvals(gradient(tasks, W))[0]
        for a in (0, edge / 3, edge):
            assert value(tasks, W) + strength * nuclear(W) - gap(W, a) <= least * (1 + 1e-9)
    assert svdvals(gradient(tasks, best))[0] <= strength * (1 + 1e-4)
    assert abs(gap(best, 1.0)) <= 1e-4 * least


@pytest.mark.equation("low-rank-limit")
def test_nothing_is_left_exactly_from_the_limit_on(tasks: list) -> None:
    """W = 0 beats every neighbour at the limit, and loses to one just below it."""
    B = np.column_stack([X.T @ y / len(y) for X, y in tasks])
    zero = np.zeros_like(B)
    limit = 2 * svdvals(B)[0]
    for _ in range(100):
        W = rng.normal(size=B.shape) * 10 ** rng.uniform(-4, 1)
        assert value(tasks, W) + limit * nuclear(W) >= value(tasks, zero) - 1e-12
    U, _, Vt = np.linalg.svd(B)
    W = 1e-6 * np.outer(U[:, 0], Vt[0])
    assert value(tasks, W) + 0.99 * limit * nuclear(W) < value(tasks, zero)
