"""Equations of the chapter probabilistic-view."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from mtlbook import Tasks, TraceRegularized, relations, solve
from mtlbook.posterior import Posterior, likely_noise

STRENGTH, NOISE = 0.4, 0.8
PENALTIES = {
    "independent": np.eye(3),
    "coupled": relations.precision(relations.similarity([[1.0, 0.0], [2.0, -1.0], [0.0, 1.0]]), 0.3),
}


@pytest.fixture(params=PENALTIES.values(), ids=PENALTIES)
def P(request: pytest.FixtureRequest) -> np.ndarray:
    return request.param


def ragged(sizes: tuple[int, ...] = (5, 1, 3), d: int = 2) -> Tasks:
    rng = np.random.default_rng(sum(sizes))
    return Tasks([rng.normal(size=(m, d)) for m in sizes], [rng.normal(size=m) for m in sizes])


def parts(tasks: Tasks, P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows over vec(W), the prior covariance of vec(W), and the noise variance of each row."""
    n, d, m = len(tasks), tasks.n_features, np.array(tasks.n_rows)
    c = m.mean() / NOISE**2
    rows = [np.kron(np.eye(n)[i], x) for i, (X, _) in enumerate(tasks) for x in X]
    return np.array(rows), np.kron(np.linalg.inv(P), np.eye(d)) / (c * STRENGTH), np.repeat(m / c, m)


@pytest.mark.equation("probabilistic-view-posterior")
def test_the_minimiser_is_the_mean_and_the_inverse_hessian_the_covariance(P):
    """Both equal the conditional of a joint normal, written with the covariances of weights and targets."""
    tasks = ragged()
    phi, prior, noises = parts(tasks, P)
    gain = prior @ phi.T @ np.linalg.inv(phi @ prior @ phi.T + np.diag(noises))
    F = TraceRegularized(tasks, P, STRENGTH)
    c = np.mean(tasks.n_rows) / NOISE**2
    assert_allclose(solve(F).W.ravel(order="F"), gain @ np.concatenate(tasks.y), atol=1e-9)
    assert_allclose(2 / c * np.linalg.inv(F.hessian()), prior - gain @ phi @ prior, atol=1e-9)


@pytest.mark.equation("probabilistic-view-predict")
def test_predictions_have_the_variance_of_an_outer_product_in_the_inverse_hessian(P):
    """The deviation at x of task i is that of u = vec(x e_i^T), for every task."""
    tasks = ragged()
    model, x = Posterior(tasks, P, STRENGTH, NOISE), np.array([0.3, -2.0])
    c, H = np.mean(tasks.n_rows) / NOISE**2, model.objective.hessian()
    for i, name in enumerate(tasks.names):
        u = np.outer(x, np.eye(3)[i]).ravel(order="F")
        (mean,), (deviation,) = model.predict([x], name)
        assert_allclose(mean, x @ solve(model.objective).W[:, i])
        assert_allclose(deviation**2, 2 / c * u @ np.linalg.solve(H, u))


@pytest.mark.equation("probabilistic-view-coregionalisation")
@pytest.mark.parametrize("shape", [(3, 2), (2, 5), (4, 1)])
def test_the_inverse_penalty_is_a_sum_of_outer_products_plus_a_part_of_ones_own(shape):
    """The inverse of precision(A, eps) is the sum over the columns b_q of A's factor, plus eps I."""
    B = np.random.default_rng(1).normal(size=shape)
    P = relations.precision(relations.similarity(B), 0.3)
    expected = sum(np.outer(b, b) for b in B.T) + 0.3 * np.eye(shape[0])
    assert_allclose(np.linalg.inv(P), expected)


@pytest.mark.equation("probabilistic-view-kernel")
def test_functions_of_two_tasks_covary_by_a_task_factor_times_an_input_factor(P):
    """The covariance of x . w_i and x' . w_j under the prior of vec(W), for all pairs of tasks."""
    tasks = ragged(d=4)
    _, prior, _ = parts(tasks, P)
    c, (x, other) = np.mean(tasks.n_rows) / NOISE**2, np.random.default_rng(2).normal(size=(2, 4))
    for i, j in product(range(3), repeat=2):
        u, v = np.kron(np.eye(3)[i], x), np.kron(np.eye(3)[j], other)
        assert_allclose(u @ prior @ v, np.linalg.inv(P)[i, j] * (x @ other) / (c * STRENGTH), atol=1e-12)


@pytest.mark.equation("probabilistic-view-kronecker")
@pytest.mark.parametrize("rows", [6, 2])
def test_with_shared_inputs_outer_products_of_eigenvectors_give_the_covariance(P, rows):
    """The sum over pairs of eigenvectors of C and P equals the dense inverse, with few rows as well."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(rows, 4))
    tasks = Tasks([X] * 3, [rng.normal(size=rows) for _ in range(3)])
    c = rows / NOISE**2
    values_c, Q = np.linalg.eigh(X.T @ X / rows)
    values_p, U = np.linalg.eigh(P)
    total = np.zeros((12, 12))
    for k, j in product(range(4), range(3)):
        v = np.outer(Q[:, k], U[:, j]).ravel(order="F")
        total += np.outer(v, v) / (c * (values_c[k] + STRENGTH * values_p[j]))
    H = TraceRegularized(tasks, P, STRENGTH).hessian()
    assert_allclose(total, 2 / c * np.linalg.inv(H), atol=1e-10)
    assert_allclose(total, Posterior(tasks, P, STRENGTH, NOISE).covariance(), atol=1e-10)


@pytest.mark.equation("probabilistic-view-evidence")
@pytest.mark.parametrize("sizes", [(5, 1, 3), (1, 1, 1)])
def test_the_evidence_is_the_density_of_the_targets(P, sizes):
    """The formula equals the density of all targets under their joint normal distribution."""
    tasks = ragged(sizes)
    phi, prior, noises = parts(tasks, P)
    y = np.concatenate(tasks.y)
    expected = multivariate_normal(np.zeros(len(y)), phi @ prior @ phi.T + np.diag(noises)).logpdf(y)
    F, m = TraceRegularized(tasks, P, STRENGTH), np.array(sizes)
    c, (d, n) = m.mean() / NOISE**2, F.shape
    (_, log_p), (_, log_h) = np.linalg.slogdet(P), np.linalg.slogdet(F.hessian())
    formula = d * n * np.log(2 * STRENGTH) + d * log_p - log_h - c * F.value(solve(F).W)
    formula -= np.sum(m * np.log(2 * np.pi * m / c))
    assert_allclose(formula / 2, expected)
    assert_allclose(Posterior(tasks, P, STRENGTH, NOISE).log_evidence(), expected)


@pytest.mark.equation("probabilistic-view-likely")
def test_the_likely_noise_is_the_least_objective_per_task(P):
    """The variance min F / n has more evidence than any other on a fine grid around it."""
    tasks = ragged()
    F = TraceRegularized(tasks, P, STRENGTH)
    best = F.value(solve(F).W) / 3
    assert_allclose(likely_noise(tasks, P, STRENGTH) ** 2, best)
    grid = best * np.linspace(0.5, 2, 151)
    evidence = [Posterior(tasks, P, STRENGTH, np.sqrt(v)).log_evidence() for v in grid]
    assert_allclose(grid[np.argmax(evidence)], best, rtol=1e-2)
