"""Equations of the chapter one-theta."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, TraceRegularized, relations


def moments(tasks):
    return [X.T @ X / len(y) for X, y in tasks], [X.T @ y / len(y) for X, y in tasks]


def error(X, y, w):
    return np.mean((X @ w - y) ** 2)


@pytest.mark.equation("one-theta-weighted", "one-theta-alpha")
@pytest.mark.parametrize("alpha", [(1.0, 1.0, 1.0), (0.2, 3.0, 1.0)])
def test_the_common_answer_is_a_matrix_weighted_mean(alpha):
    """(sum a_i C_i)^{-1} sum a_i b_i minimises sum a_i mse_i and is the mean of separate answers."""
    rng = np.random.default_rng(2)
    tasks = [(rng.normal(size=(m, 3)), rng.normal(size=m)) for m in (5, 8, 2)]
    C, b = moments(tasks)
    total = sum(a * c for a, c in zip(alpha, C, strict=True))
    theta = np.linalg.solve(total, sum(a * v for a, v in zip(alpha, b, strict=True)))
    separate = [np.linalg.lstsq(X, y, rcond=None)[0] for X, y in tasks]
    mean = np.linalg.solve(total, sum(a * c @ w for a, c, w in zip(alpha, C, separate, strict=True)))
    assert_allclose(mean, theta)
    loss = lambda w: sum(a * error(X, y, w) for a, (X, y) in zip(alpha, tasks, strict=True))  # noqa: E731
    for e in np.eye(3) * 1e-3:
        assert_allclose(loss(theta + e) - loss(theta - e), 0, atol=1e-12)


@pytest.mark.equation("one-theta-price-eq")
def test_a_task_pays_its_own_quadratic_form_for_another_theta(tasks):
    """mse_i(theta) = mse_i(w_i) + (theta - w_i)^T C_i (theta - w_i), also where C_i is singular."""
    theta = np.random.default_rng(3).normal(size=4)
    for X, y in tasks:
        w = np.linalg.lstsq(X, y, rcond=None)[0]
        price = (theta - w) @ (X.T @ X / len(y)) @ (theta - w)
        assert price >= 0
        assert_allclose(error(X, y, theta), error(X, y, w) + price)


@pytest.mark.equation("one-theta-risk-exact")
@pytest.mark.parametrize(
    ("n", "m", "spread", "noise"), [(3, 5, 0.7, 0.5), (1, 4, 1.0, 1.0), (2, 3, 0.0, 2.0)]
)
def test_the_pooled_risk_is_exact_given_the_inputs(n, m, spread, noise):
    """The formula equals the trace of the error's covariance, written out over all sources of chance."""
    d = 3
    X = np.random.default_rng(n).normal(size=(n, m, d))
    C = np.einsum("imk,iml->ikl", X, X) / m
    S = C.sum(axis=0)
    G = np.linalg.solve(S, C)
    formula = spread**2 * (d - 2 * d / n + np.sum(G**2)) + noise**2 / m * np.trace(np.linalg.inv(S))
    literal = 0.0
    for j in range(n):
        for i in range(n):
            response = G[i] - (i == j) * np.eye(d)
            literal += spread**2 * np.sum(response**2) / n
            literal += noise**2 * np.sum((np.linalg.inv(S) @ X[i].T / m) ** 2) / n
    assert_allclose(formula, literal)


@pytest.mark.equation("one-theta-crossing")
@pytest.mark.parametrize(("n", "d", "m", "noise"), [(8, 4, 12, 1.0), (2, 1, 5, 0.3), (30, 3, 20, 2.0)])
def test_at_the_crossing_pooled_and_single_risks_are_equal(n, d, m, noise):
    """With the bracket at its bound d (1 - 1 / n) and mean inputs, tau_* makes both risks the same."""
    crossing = noise**2 * n / (n - 1) * (1 / (m - d - 1) - 1 / (n * m - d - 1))
    pooled = crossing * d * (1 - 1 / n) + noise**2 * d / (n * m - d - 1)
    assert_allclose(pooled, noise**2 * d / (m - d - 1))


@pytest.mark.equation("one-theta-objective")
def test_the_penalty_on_distances_from_the_mean_is_to_mean(tasks):
    """Sum of mse_i plus lambda sum |w_i - mean|^2 equals TraceRegularized with P = to_mean(n)."""
    n = len(tasks)
    W = np.random.default_rng(4).normal(size=(4, n))
    literal = sum(error(X, y, w) for (X, y), w in zip(tasks, W.T, strict=True))
    literal += 0.6 * sum(np.sum((w - W.mean(axis=1)) ** 2) for w in W.T)
    given = Tasks(*zip(*tasks, strict=True))
    assert_allclose(TraceRegularized(given, relations.to_mean(n), 0.6).value(W), literal)
