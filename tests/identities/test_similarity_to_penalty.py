"""Equations of the chapter similarity-to-penalty."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, TraceRegularized, fit, relations


def weights(n, d=3, seed=1):
    return np.random.default_rng(seed).normal(size=(d, n))


def pairs(n):
    return [(i, j) for i in range(n) for j in range(n)]


@pytest.mark.equation("similarity-to-penalty-double-sum")
@pytest.mark.parametrize(("d", "n"), [(3, 5), (5, 2), (1, 4), (4, 1)])
def test_the_trace_is_a_double_sum_of_inner_products(d, n):
    """tr(W S W^T) equals sum_ij S_ij <w_i, w_j> for square S, symmetric or not."""
    W, S = weights(n, d), weights(n, n, seed=2)
    literal = sum(S[i, j] * (W[:, i] @ W[:, j]) for i, j in pairs(n))
    assert_allclose(np.trace(W @ S @ W.T), literal, atol=1e-12)


@pytest.mark.equation("similarity-to-penalty-objective", "joint-problem-objective", "notation-objective")
def test_the_objective_is_the_sum_of_mean_squared_errors_and_penalty(tasks):
    """The value equals loops over rows and pairs of tasks; the gradient meets central differences."""
    n = len(tasks)
    P, W = relations.precision(relations.similarity(weights(2, n)), 0.5), weights(n, 4)
    F = TraceRegularized(Tasks(*zip(*tasks, strict=True)), P, 0.7)
    literal = 0.7 * sum(P[i, j] * (W[:, i] @ W[:, j]) for i, j in pairs(n))
    for (X, y), w in zip(tasks, W.T, strict=True):
        literal += sum((x @ w - t) ** 2 for x, t in zip(X, y, strict=True)) / len(y)
    assert_allclose(F.value(W), literal)
    step = 1e-4
    for k, i in np.ndindex(W.shape):
        E = np.zeros_like(W)
        E[k, i] = step
        assert_allclose((F.value(W + E) - F.value(W - E)) / (2 * step), F.gradient(W)[k, i], atol=1e-8)


@pytest.mark.equation("similarity-to-penalty-similarity")
def test_a_similarity_as_penalty_charges_for_what_tasks_share(M):
    """With A = Z Z^T, tr(W A W^T) equals sum_k |sum_i Z_ik w_i|^2 and the squared norm of W Z."""
    W = weights(len(M))
    patterns = [sum(M[i, k] * W[:, i] for i in range(len(M))) for k in range(M.shape[1])]
    assert_allclose(np.trace(W @ M @ M.T @ W.T), sum(v @ v for v in patterns), atol=1e-12)
    assert_allclose(np.sum((W @ M) ** 2), sum(v @ v for v in patterns), atol=1e-12)


@pytest.mark.equation("similarity-to-penalty-two", "similarity-to-penalty-pair-gradient")
def test_of_two_tasks_the_pair_term_pushes_each_away_from_the_other():
    """The trace has three terms for two tasks; the mixed one has slopes 2 A_12 w_2 and 2 A_12 w_1."""
    W, A = weights(2), relations.similarity([[1.0, 0.5], [0.8, -0.3]])
    u, v = W.T
    mixed = 2 * A[0, 1] * (u @ v)
    assert_allclose(np.trace(W @ A @ W.T), A[0, 0] * (u @ u) + A[1, 1] * (v @ v) + mixed)
    for k, e in enumerate(np.eye(3) * 1e-5):
        slope_u = A[0, 1] * ((u + e) @ v - (u - e) @ v) / 1e-5
        slope_v = A[0, 1] * (u @ (v + e) - u @ (v - e)) / 1e-5
        assert_allclose([slope_u, slope_v], [2 * A[0, 1] * v[k], 2 * A[0, 1] * u[k]], atol=1e-9)


@pytest.mark.equation("similarity-to-penalty-laplacian-identity")
def test_the_laplacian_charges_for_differences(M):
    """tr(W (D - A) W^T) equals half the sum of A_ij |w_i - w_j|^2; the diagonal of A plays no part."""
    n, W = len(M), weights(len(M))
    A = np.abs(M) @ np.abs(M).T
    literal = sum(A[i, j] * np.sum((W[:, i] - W[:, j]) ** 2) for i, j in pairs(n)) / 2
    assert_allclose(np.trace(W @ (np.diag(A.sum(axis=1)) - A) @ W.T), literal, atol=1e-12)
    assert_allclose(np.trace(W @ relations.laplacian(A) @ W.T), literal, atol=1e-12)


@pytest.mark.equation("similarity-to-penalty-prior")
@pytest.mark.parametrize("eps", [0.1, 2.0])
def test_the_precision_penalty_is_a_gaussian_prior_on_rows(M, eps):
    """Differences of the log density of rows N(0, A + eps I) are those of -tr(W P W^T) / 2."""
    from scipy.stats import multivariate_normal

    covariance = M @ M.T + eps * np.eye(len(M))
    prior = multivariate_normal(np.zeros(len(M)), covariance)
    P = relations.precision(relations.similarity(M), eps)
    one, two = weights(len(M), seed=3), weights(len(M), seed=4)
    log_ratio = np.sum(prior.logpdf(one)) - np.sum(prior.logpdf(two))
    assert_allclose(
        log_ratio, (np.trace(two @ P @ two.T) - np.trace(one @ P @ one.T)) / 2, rtol=1e-6, atol=1e-9
    )


@pytest.mark.equation("similarity-to-penalty-prices")
def test_a_pattern_across_tasks_pays_its_price(M):
    """An eigenvector of A pays alpha_k under A, 1 under I, 1 / (alpha_k + eps) under the inverse."""
    A, eps = relations.similarity(M), 0.3
    alpha, U = np.linalg.eigh(A)
    for k, u in enumerate(U.T):
        W = u[None, :]
        prices = [np.trace(W @ P @ W.T) for P in (A, np.eye(len(A)), relations.precision(A, eps))]
        assert_allclose(prices, [alpha[k], 1.0, 1 / (alpha[k] + eps)], atol=1e-9)


@pytest.mark.equation("similarity-to-penalty-equal-families")
@pytest.mark.parametrize(("n", "c"), [(6, 3), (6, 2), (4, 1), (5, 5), (12, 4)])
@pytest.mark.parametrize("eps", [0.01, 1.0, 7.0])
def test_for_equal_families_inverse_and_laplacian_agree(n, c, eps):
    """(A + eps I)^{-1} = (D - A + eps I) / (eps (c + eps)) for families of c tasks each."""
    family = np.arange(n) // c
    A = (family[:, None] == family).astype(float)
    laplacian = np.diag(A.sum(axis=1)) - A
    assert_allclose(
        np.linalg.inv(A + eps * np.eye(n)), (laplacian + eps * np.eye(n)) / (eps * (c + eps)), atol=1e-9
    )


@pytest.mark.equation("similarity-to-penalty-shift")
def test_a_linear_penalty_only_shifts_the_answer():
    """The minimiser moves by - lambda / 2 C_i^{-1} g_i, whatever the labels."""
    rng = np.random.default_rng(5)
    X, g = rng.normal(size=(9, 3)), rng.normal(size=3)
    C = X.T @ X / 9
    for y in rng.normal(size=(2, 9)):
        plain = np.linalg.lstsq(X, y, rcond=None)[0]
        shifted = plain - 0.8 / 2 * np.linalg.solve(C, g)
        slope = 2 * X.T @ (X @ shifted - y) / 9 + 0.8 * g
        assert_allclose(slope, 0, atol=1e-12)


@pytest.mark.equation("similarity-to-penalty-quadratic")
@pytest.mark.parametrize(("d", "n"), [(3, 5), (5, 2), (1, 4)])
def test_the_trace_may_be_turned_round(d, n):
    """tr(W^T W P) equals tr(W P W^T), though one matrix is n x n and the other d x d."""
    W, P = weights(n, d), weights(n, n, seed=2)
    assert_allclose(np.trace(W.T @ W @ P), np.trace(W @ P @ W.T), atol=1e-12)


@pytest.mark.equation("similarity-to-penalty-constrained")
@pytest.mark.parametrize("strength", [0.01, 0.3, 5.0])
def test_the_penalised_answer_has_the_least_loss_within_its_own_budget(strength):
    """No random W with a penalty of at most that of the minimiser has a smaller loss than it."""
    rng = np.random.default_rng(6)
    tasks = Tasks([rng.normal(size=(m, 3)) for m in (5, 8)], [rng.normal(size=m) for m in (5, 8)])
    P = relations.precision([[1.0, 0.7], [0.7, 1.0]], 0.2)
    best = fit(tasks, P, strength).W
    loss, budget = TraceRegularized(tasks, P, 0.0), np.trace(best @ P @ best.T)
    for _ in range(300):
        W = best + rng.normal(size=best.shape) * 10 ** rng.uniform(-3, 0)
        W *= min(1.0, np.sqrt(budget / np.trace(W @ P @ W.T)))
        assert loss.value(W) >= loss.value(best) - 1e-12


@pytest.mark.equation("similarity-to-penalty-dial-equation")
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_the_dial_adds_the_price_of_differences_to_that_of_size(M, rho):
    """With P = (1 - rho)(D - A) + rho I the trace is the two literal sums, weighted 1 - rho and rho."""
    n, W = len(M), weights(len(M))
    A = np.abs(M) @ np.abs(M).T
    P = (1 - rho) * relations.laplacian(A) + rho * relations.independent(n)
    differences = sum(A[i, j] * np.sum((W[:, i] - W[:, j]) ** 2) for i, j in pairs(n))
    assert_allclose(np.trace(W @ P @ W.T), (1 - rho) / 2 * differences + rho * np.sum(W**2), atol=1e-12)
