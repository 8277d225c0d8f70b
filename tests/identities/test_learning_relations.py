"""Identities of the chapter that learns the relation."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.linalg import svdvals
from scipy.optimize import minimize

from mtlbook import Tasks
from mtlbook.learning import learn_relation
from mtlbook.proximal import shrink_squared_sum

rng = np.random.default_rng(0)


def nuclear(M: np.ndarray) -> float:
    return float(svdvals(M).sum())


def root(S: np.ndarray) -> np.ndarray:
    """The square root of a semidefinite matrix."""
    eigenvalues, U = np.linalg.eigh(S)
    return (U * np.sqrt(np.maximum(eigenvalues, 0))) @ U.T


@pytest.mark.equation("learning-relations-squared")
def test_the_best_relation_of_trace_one_leaves_the_squared_nuclear_norm(M: np.ndarray) -> None:
    """No relation of trace one makes W cheaper than |W|_*^2, and some come as near as you like."""
    n = M.shape[1]
    for _ in range(50):
        half = rng.normal(size=(n, n)) * rng.uniform(0.01, 1, size=n)
        Omega = half @ half.T + 1e-9 * np.eye(n)
        Omega /= np.trace(Omega)
        assert np.trace(M @ np.linalg.solve(Omega, M.T)) >= nuclear(M) ** 2 * (1 - 1e-6)
    near = root(M.T @ M) + 1e-5 * np.eye(n)
    price = np.trace(M @ np.linalg.solve(near / np.trace(near), M.T))
    assert price == pytest.approx(nuclear(M) ** 2, rel=1e-3, abs=1e-3)


@pytest.mark.equation("learning-relations-best")
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (4, 1)])
def test_the_root_of_the_gram_matrix_is_the_best_relation(shape: tuple[int, int]) -> None:
    """Where W has rank n, (W^T W)^(1/2) / |W|_* costs |W|_*^2, and every other relation more."""
    W = rng.normal(size=shape)
    Omega = root(W.T @ W) / nuclear(W)
    assert np.trace(Omega) == pytest.approx(1)
    assert np.trace(W @ np.linalg.inv(Omega) @ W.T) == pytest.approx(nuclear(W) ** 2)
    for size in (0.01, 0.1):
        half = rng.normal(size=(shape[1], shape[1]))
        other = Omega + size * half @ half.T
        other /= np.trace(other)
        if shape[1] > 1:
            assert np.trace(W @ np.linalg.inv(other) @ W.T) > nuclear(W) ** 2 * (1 + 1e-9)


@pytest.mark.equation("learning-relations-reduced")
def test_the_problem_in_both_unknowns_has_the_value_of_the_one_in_weights(tasks: list) -> None:
    """Minimised over W and Omega together, or over W with the squared nuclear norm: one value."""
    d, n = 4, len(tasks)
    W, Omega = cp.Variable((d, n)), cp.Variable((n, n), PSD=True)
    loss = sum(cp.sum_squares(X @ W[:, i] - y) / len(y) for i, (X, y) in enumerate(tasks))
    problem = cp.Problem(cp.Minimize(loss + 0.3 * cp.matrix_frac(W.T, Omega)), [cp.trace(Omega) == 1])
    problem.solve(solver=cp.CLARABEL)
    found = learn_relation(Tasks(*zip(*tasks, strict=True)), 0.3)
    assert found.values[-1] == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.equation("learning-relations-threshold")
def test_the_squared_sum_lowers_all_sizes_by_one_threshold() -> None:
    """x = max(s - tau, 0) with the tau of the r sizes above it is what a brute-force minimiser finds."""
    for size in (1, 2, 5, 8):
        s, c = np.sort(rng.uniform(0, 3, size=size))[::-1], 10 ** rng.uniform(-2, 1)
        fits = [2 * c * s[:r].sum() / (1 + 2 * c * r) for r in range(1, size + 1)]
        r = max(r for r in range(1, size + 1) if s[r - 1] > fits[r - 1])
        x = np.maximum(s - fits[r - 1], 0)
        assert np.sum(x > 0) == r
        np.testing.assert_allclose(shrink_squared_sum(s, c), x, atol=1e-12)
        brute = minimize(
            lambda x, s=s, c=c: np.sum((x - s) ** 2) / 2 + c * np.sum(x) ** 2,
            np.zeros(size),
            bounds=[(0, None)] * size,
            tol=1e-13,
        )
        np.testing.assert_allclose(x, brute.x, atol=1e-4)


@pytest.mark.equation("learning-relations-gap")
def test_the_gap_bounds_the_distance_to_the_minimum_and_closes_there(tasks: list) -> None:
    """No V lies lower than the value at W minus its gap, and the gap of a minimiser is zero."""
    strength, data = 0.3, Tasks(*zip(*tasks, strict=True))

    def value(W: np.ndarray) -> float:
        return sum(np.mean((X @ w - y) ** 2) for (X, y), w in zip(tasks, W.T, strict=True))

    def gap(W: np.ndarray) -> float:
        G = np.column_stack([2 / len(y) * X.T @ (X @ w - y) for (X, y), w in zip(tasks, W.T, strict=True)])
        return np.sum(G * W) + strength * nuclear(W) ** 2 + svdvals(G)[0] ** 2 / (4 * strength)

    best = learn_relation(data, strength, tolerance=1e-12, max_iterations=100_000)
    least = value(best.W) + strength * nuclear(best.W) ** 2
    assert abs(gap(best.W)) <= 1e-5 * least
    for scale in (0.1, 1.0, 10.0):
        W = scale * rng.normal(size=(4, len(tasks)))
        assert value(W) + strength * nuclear(W) ** 2 - gap(W) <= least * (1 + 1e-9)
        assert gap(W) >= 0
