"""Equations of the chapter many-tasks."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, TraceRegularized, fit


@pytest.mark.equation("many-tasks-single", "many-tasks-ridge")
@pytest.mark.parametrize("price", [0.1, 3.0])
def test_the_ridge_answer_of_one_task_is_a_stationary_point_of_its_objective(tasks, price):
    """At (C_i + lambda p_i I)^{-1} b_i, central differences of F_i vanish, for each task alone."""
    for X, y in tasks:
        w = np.linalg.solve(X.T @ X / len(y) + price * np.eye(4), X.T @ y / len(y))
        F = lambda v: np.mean((X @ v - y) ** 2) + price * (v @ v)  # noqa: B023, E731
        for e in np.eye(4) * 1e-3:
            assert_allclose(F(w + e) - F(w - e), 0, atol=1e-12)


@pytest.mark.equation("many-tasks-objective", "many-tasks-stationary")
def test_the_minimiser_balances_data_and_price_in_every_column(tasks):
    """At fit(...).W, C_i w_i + lambda sum_k P_ik w_k = b_i; the value is the loops over rows and pairs."""
    n = len(tasks)
    Z = np.random.default_rng(1).normal(size=(n, 2))
    P, given = Z @ Z.T + 0.3 * np.eye(n), Tasks(*zip(*tasks, strict=True))
    W = fit(given, P, 0.7).W
    for i, (X, y) in enumerate(tasks):
        pull = sum(P[i, k] * W[:, k] for k in range(n))
        assert_allclose(X.T @ X @ W[:, i] / len(y) + 0.7 * pull, X.T @ y / len(y), atol=1e-9)
    value = sum(np.mean((X @ w - y) ** 2) for (X, y), w in zip(tasks, W.T, strict=True))
    value += 0.7 * sum(P[i, j] * (W[:, i] @ W[:, j]) for i in range(n) for j in range(n))
    assert_allclose(TraceRegularized(given, P, 0.7).value(W), value)


@pytest.mark.equation("many-tasks-pair")
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_prices_1_minus_1_minus_1_1_charge_for_the_difference(d):
    """<w_1, w_1> - 2 <w_1, w_2> + <w_2, w_2> is the squared distance."""
    u, v = np.random.default_rng(d).normal(size=(2, d))
    assert_allclose(u @ u - 2 * (u @ v) + v @ v, sum((u - v) ** 2))
