"""Posterior: equal to a Gaussian process and to dense formulas by every route; improper only if it may be."""

import numpy as np
import pytest
from helpers import PENALTIES, SIZES, D, N, full_penalty, make_tasks, refused, unchanged
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from mtlbook import Moments, Tasks, TraceRegularized, fit, posterior, relations, solve
from mtlbook.posterior import Posterior, likely_noise, log_evidences

P = full_penalty()
STRENGTH, NOISE = 0.3, 0.7
WAYS = ("tasks", "rows")


def shared_inputs(d: int = D, n: int = N, rows: int = 7, seed: int = 0) -> Tasks:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, d))
    return Tasks([X] * n, [X @ rng.normal(size=d) + rng.normal(size=rows) for _ in range(n)])


def variances(tasks: Tasks, equal: str) -> np.ndarray:
    """Noise variance of each row, in the order of tasks."""
    m = np.array(tasks.n_rows)
    each = NOISE**2 * (m / m.mean() if equal == "tasks" else np.ones(len(m)))
    return np.repeat(each, m)


def design(tasks: Tasks) -> np.ndarray:
    """All rows over vec(W): x of task i stands in block i."""
    n, d = len(tasks), tasks.n_features
    rows = []
    for i, (X, _) in enumerate(tasks):
        for x in X:
            row = np.zeros(n * d)
            row[i * d : (i + 1) * d] = x
            rows.append(row)
    return np.array(rows)


def prior(tasks: Tasks, P: np.ndarray, strength: float) -> np.ndarray:
    """Covariance of vec(W) before any row is seen."""
    c = np.mean(tasks.n_rows) / NOISE**2
    return np.kron(np.linalg.inv(P), np.eye(tasks.n_features)) / (c * strength)


def dense(tasks: Tasks, P: np.ndarray, strength: float, equal: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of vec(W) by conditioning the joint normal of weights and targets."""
    K, phi = prior(tasks, P, strength), design(tasks)
    S = phi @ K @ phi.T + np.diag(variances(tasks, equal))
    gain = np.linalg.solve(S, phi @ K).T
    return gain @ np.concatenate(tasks.y), K - gain @ phi @ K


PROBLEMS = {"ragged": make_tasks(), "shared inputs": shared_inputs(), "one row each": make_tasks((1, 1, 1))}


@pytest.fixture(params=PROBLEMS.values(), ids=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> Tasks:
    return request.param


# the oracle -------------------------------------------------------------------


@pytest.mark.parametrize("equal", WAYS)
def test_it_is_the_conditional_of_a_joint_normal(problem, equal):
    model = Posterior(problem, P, STRENGTH, NOISE, equal)
    mean, covariance = dense(problem, P, STRENGTH, equal)
    assert_allclose(model.mean.ravel(order="F"), mean, rtol=1e-8, atol=1e-10)
    assert_allclose(model.covariance(), covariance, rtol=1e-8, atol=1e-10)
    assert_allclose(model.deviations.ravel(order="F") ** 2, np.diag(covariance), rtol=1e-8)


@pytest.mark.parametrize("equal", WAYS)
def test_it_is_a_gaussian_process_of_scikit_learn(problem, equal):
    half = np.linalg.cholesky(prior(problem, P, STRENGTH))
    oracle = GaussianProcessRegressor(
        DotProduct(sigma_0=0.0, sigma_0_bounds="fixed"), alpha=variances(problem, equal), optimizer=None
    ).fit(design(problem) @ half, np.concatenate(problem.y))
    model = Posterior(problem, P, STRENGTH, NOISE, equal)
    X = np.random.default_rng(3).normal(size=(6, D))
    for i, name in enumerate(problem.names):
        rows = np.zeros((6, D * N))
        rows[:, i * D : (i + 1) * D] = X
        expected = oracle.predict(rows @ half, return_std=True)
        for found, want in zip(model.predict(X, name), expected, strict=True):
            assert_allclose(found, want, rtol=1e-8, atol=1e-10)
    assert_allclose(model.log_evidence(), oracle.log_marginal_likelihood_value_, rtol=1e-8)


@pytest.mark.parametrize("equal", WAYS)
def test_the_evidence_is_the_density_of_the_targets(problem, equal):
    phi, y = design(problem), np.concatenate(problem.y)
    S = phi @ prior(problem, P, STRENGTH) @ phi.T + np.diag(variances(problem, equal))
    expected = multivariate_normal(np.zeros(len(y)), S).logpdf(y)
    assert_allclose(Posterior(problem, P, STRENGTH, NOISE, equal).log_evidence(), expected, rtol=1e-8)


# the mean ---------------------------------------------------------------------


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_the_mean_is_the_minimiser_of_the_books_objective_whatever_the_noise(penalty, strength, tasks):
    for noise in (0.1, 3.0):
        model = Posterior(tasks, PENALTIES[penalty], strength, noise)
        assert_allclose(model.mean, fit(tasks, PENALTIES[penalty], strength).W, rtol=1e-8, atol=1e-10)


def test_if_rows_count_the_same_the_mean_solves_ridge_over_all_rows(tasks):
    model = Posterior(tasks, P, STRENGTH, NOISE, "rows")
    phi, y = design(tasks), np.concatenate(tasks.y)
    ridge = np.mean(SIZES) * STRENGTH * np.kron(P, np.eye(D))
    expected = np.linalg.solve(phi.T @ phi + ridge, phi.T @ y)
    assert_allclose(model.mean.ravel(order="F"), expected, atol=1e-10)


def test_tasks_of_equal_size_do_not_care_what_counts_the_same():
    even = make_tasks((6, 6, 6))
    one, other = (Posterior(even, P, STRENGTH, NOISE, equal) for equal in WAYS)
    assert_allclose(one.mean, other.mean)
    assert_allclose(one.covariance(), other.covariance())
    assert_allclose(one.noises, other.noises)
    assert_allclose(one.log_evidence(), other.log_evidence())


def test_noises_grow_with_rows_if_tasks_count_the_same_and_are_one_if_rows_do(tasks):
    assert_allclose(
        Posterior(tasks, P, STRENGTH, NOISE).noises, NOISE * np.sqrt(np.array(SIZES) / np.mean(SIZES))
    )
    assert_allclose(Posterior(tasks, P, STRENGTH, NOISE, "rows").noises, NOISE)


def test_moments_serve_as_well_as_rows(tasks):
    for equal in WAYS:
        by_rows = Posterior(tasks, P, STRENGTH, NOISE, equal)
        by_moments = Posterior(Moments.from_tasks(tasks), P, STRENGTH, NOISE, equal)
        assert_allclose(by_rows.mean, by_moments.mean)
        assert_allclose(by_rows.log_evidence(), by_moments.log_evidence())


# routes -----------------------------------------------------------------------


def test_the_kronecker_route_is_the_dense_one():
    tasks = shared_inputs()
    F = TraceRegularized(tasks, P, STRENGTH)
    by_pieces, whole = posterior._inverse(F), posterior._Dense(F.hessian(), F.shape)
    assert isinstance(by_pieces, posterior._Shared)
    rng = np.random.default_rng(4)
    V, X = rng.normal(size=(D, N)), rng.normal(size=(5, D))
    assert_allclose(by_pieces.times(V), whole.times(V), rtol=1e-9)
    assert_allclose(by_pieces.diagonal(), whole.diagonal(), rtol=1e-9)
    for i in range(N):
        assert_allclose(by_pieces.along(X, i), whole.along(X, i), rtol=1e-9)
    assert_allclose(by_pieces.log_determinant, whole.log_determinant, rtol=1e-9)
    for inverse in (by_pieces, whole):
        root = inverse.root()
        assert_allclose(root @ root.T, np.linalg.inv(F.hessian()), rtol=1e-9, atol=1e-12)
        assert_allclose(inverse.spread(V).ravel(order="F"), root @ V.ravel(order="F"), rtol=1e-9)


def test_tasks_whose_inputs_differ_a_little_take_the_dense_route():
    tasks = shared_inputs()
    X = [tasks.X[0], tasks.X[1] * (1 + 1e-9), tasks.X[2]]
    model = Posterior(Tasks(X, tasks.y), P, STRENGTH, NOISE)
    assert isinstance(model.inverse, posterior._Dense)


def test_shared_inputs_need_no_large_matrix(monkeypatch):
    monkeypatch.setattr(TraceRegularized, "hessian", lambda self: pytest.fail("formed H"))
    tasks = shared_inputs(d=60, n=50, rows=80)
    model = Posterior(tasks, relations.to_mean(50) + np.eye(50), STRENGTH, NOISE)
    assert model.deviations.shape == (60, 50)
    assert_allclose(model.mean, solve(model.objective).W, rtol=1e-7, atol=1e-9)
    mean, deviation = model.predict(tasks.X[0], "task 49")
    assert mean.shape == deviation.shape == (80,)
    assert np.isfinite(model.log_evidence())
    assert model.sample(2, np.random.default_rng(0)).shape == (2, 60, 50)
    with refused("W", "at most 2000 entries", "3000", "deviations"):
        model.covariance()


def test_large_problems_with_inputs_of_their_own_are_refused_with_a_remedy(monkeypatch, tasks):
    monkeypatch.setattr(posterior, "DENSE_LIMIT", D * N)
    Posterior(tasks, P, STRENGTH, NOISE).covariance()
    monkeypatch.setattr(posterior, "DENSE_LIMIT", D * N - 1)
    with refused("W", f"at most {D * N - 1} entries", f"{D * N}", "fewer tasks or features"):
        Posterior(tasks, P, STRENGTH, NOISE)


# predictions and samples ------------------------------------------------------


def test_a_new_target_is_less_certain_than_its_mean(tasks):
    model = Posterior(tasks, P, STRENGTH, NOISE)
    X = np.random.default_rng(5).normal(size=(6, D))
    for name, s in zip(tasks.names, model.noises, strict=True):
        mean, deviation = model.predict(X, name)
        same, wider = model.predict(X, name, target=True)
        assert_allclose(same, mean)
        assert_allclose(wider**2, deviation**2 + s**2)


@pytest.mark.parametrize("name", ["ragged", "shared inputs"])
def test_draws_have_the_mean_and_covariance_of_the_posterior(name):
    model = Posterior(PROBLEMS[name], P, STRENGTH, NOISE)
    draws = model.sample(10_000, np.random.default_rng(6))
    flat = draws.transpose(0, 2, 1).reshape(len(draws), -1)
    covariance = model.covariance()
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, (flat - model.mean.ravel(order="F")).T)
    # Means and covariances of 10 000 standard normal draws deviate by 1/100 each; five times that may be.
    assert np.abs(white.mean(axis=1)).max() < 5 / 100
    assert np.abs(white @ white.T / 10_000 - np.eye(len(root))).max() < 5 * np.sqrt(2) / 100


def test_the_same_generator_draws_the_same(tasks):
    model = Posterior(tasks, P, STRENGTH, NOISE)
    first, second = (model.sample(3, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_more_rows_of_one_task_make_its_companions_more_certain():
    tasks = make_tasks((5, 8, 11))
    rng = np.random.default_rng(8)
    longer = Tasks(
        [*tasks.X[:2], np.vstack([tasks.X[2], rng.normal(size=(40, D))])],
        [*tasks.y[:2], np.concatenate([tasks.y[2], rng.normal(size=40)])],
    )
    # In the model in which every row counts the same the prior is held fixed by strength * mean(m).
    before = Posterior(tasks, P, STRENGTH, NOISE, "rows")
    after = Posterior(longer, P, STRENGTH * np.mean(SIZES) / np.mean(longer.n_rows), NOISE, "rows")
    assert np.all(after.deviations < before.deviations)


# improper priors --------------------------------------------------------------


def test_a_singular_penalty_is_allowed_where_rows_settle_the_rest():
    tasks = make_tasks((1, 2, 4))
    laplacian = PENALTIES["laplacian"]
    model = Posterior(tasks, laplacian, STRENGTH, NOISE)
    nearly = Posterior(tasks, laplacian + 1e-9 * np.eye(N), STRENGTH, NOISE)
    assert_allclose(model.covariance(), nearly.covariance(), rtol=1e-5, atol=1e-7)
    assert_allclose(model.mean, nearly.mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tasks", [make_tasks((1, 1, 1)), shared_inputs(rows=3)], ids=["own", "shared"])
def test_a_singular_penalty_is_refused_where_rows_leave_a_direction_open(tasks):
    with refused("rows and P", "every direction of W", remedy="independent(n)"):
        Posterior(tasks, PENALTIES["to_mean"], STRENGTH, NOISE)
    with refused("rows and P"):
        Posterior(tasks, P, 0.0, NOISE)


def test_a_feature_that_never_varies_and_costs_nothing_is_refused():
    tasks = make_tasks(scales=np.array([1.0, 1.0, 0.0, 1.0]))
    with refused("rows and P"):
        Posterior(tasks, P, 0.0, NOISE)
    assert np.isfinite(Posterior(tasks, P, 1.0, NOISE).deviations).all()


def test_without_a_penalty_the_posterior_is_that_of_least_squares():
    tasks = make_tasks((9, 8, 11))
    model = Posterior(tasks, P, 0.0, NOISE, "rows")
    for i, (X, y) in enumerate(tasks):
        assert_allclose(model.mean[:, i], np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-8)
        block = model.covariance()[i * D : (i + 1) * D, i * D : (i + 1) * D]
        assert_allclose(block, NOISE**2 * np.linalg.inv(X.T @ X), rtol=1e-8)


def test_the_evidence_of_an_improper_prior_is_refused():
    tasks = make_tasks((9, 8, 11))
    for penalty, strength in ((PENALTIES["laplacian"], STRENGTH), (P, 0.0)):
        with refused("strength * P", "positive definite", "singular", "precision(A, eps)"):
            Posterior(tasks, penalty, strength, NOISE).log_evidence()


def test_units_of_features_do_not_decide_what_is_singular():
    scales = np.array([1e-6, 1.0, 1e5, 1.0])
    plain, scaled = make_tasks((9, 8, 11)), make_tasks((9, 8, 11), scales=scales)
    one, other = (Posterior(tasks, P, 0.0, NOISE) for tasks in (plain, scaled))
    assert_allclose(other.deviations * scales[:, None], one.deviations, rtol=1e-6)


# choosing noise and strength --------------------------------------------------


@pytest.mark.parametrize("equal", WAYS)
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_the_likely_noise_has_the_greatest_evidence(tasks, equal, strength):
    best = likely_noise(tasks, P, strength, equal)
    evidence = [
        Posterior(tasks, P, strength, best * factor, equal).log_evidence()
        for factor in (0.5, 0.98, 1.0, 1.02, 2.0)
    ]
    assert np.argmax(evidence) == 2


def test_log_evidences_are_those_of_each_strength_with_its_likely_noise(tasks):
    grid = [0.01, 0.1, 1.0]
    for equal in WAYS:
        expected = [
            Posterior(tasks, P, s, likely_noise(tasks, P, s, equal), equal).log_evidence() for s in grid
        ]
        assert_allclose(log_evidences(tasks, P, grid, equal), expected)


def test_targets_without_noise_have_no_likely_noise():
    tasks = make_tasks((2, 2, 2))
    with refused("tasks", "some noise", "exact fit"):
        likely_noise(tasks, P, 0.0)


# bad input --------------------------------------------------------------------


def test_inputs_stay_as_they_were_and_results_are_read_only(tasks):
    S, X = P.copy(), np.ones((2, D))
    with unchanged(S, X, *tasks.X, *tasks.y):
        model = Posterior(tasks, S, STRENGTH, NOISE, "rows")
        model.predict(X, "task 0")
        model.log_evidence()
    for values in (model.mean, model.noises):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0
    with pytest.raises(AttributeError):
        model.noise = 1.0  # type: ignore[misc]


def test_a_posterior_tells_what_it_is(tasks):
    assert repr(Posterior(tasks, P, STRENGTH, 0.5)) == "Posterior(3 tasks, 4 features, noise 0.5)"


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), "low", None])
def test_noise_that_is_none_is_refused(tasks, noise):
    with refused("noise", "above 0"):
        Posterior(tasks, P, STRENGTH, noise)


def test_other_bad_input_is_refused(tasks):
    model = Posterior(tasks, P, STRENGTH, NOISE)
    with refused("equal", "'tasks' or 'rows'", "'days'"):
        Posterior(tasks, P, STRENGTH, NOISE, "days")  # type: ignore[arg-type]
    with refused("P"):
        Posterior(tasks, -P, STRENGTH, NOISE)
    with refused("strength"):
        Posterior(tasks, P, -1.0, NOISE)
    with refused("tasks", kind=TypeError):
        Posterior([1.0], P, STRENGTH, NOISE)  # type: ignore[arg-type]
    with refused("X", found="shape (2, 3)"):
        model.predict(np.ones((2, 3)), "task 0")
    with refused("task", "'task 0', 'task 1', 'task 2'", "'summit'", "Name a task"):
        model.predict(np.ones((2, D)), "summit")
    with refused("size"):
        model.sample(0, np.random.default_rng(0))
    with refused("rng", kind=TypeError):
        model.sample(1, 0)  # type: ignore[arg-type]
    with refused("strengths"):
        log_evidences(tasks, P, [[1.0]])
