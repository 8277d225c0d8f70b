"""Newton's method: the minimiser that others find, from any start, or a sentence that says why not."""

import cvxpy as cp
import numpy as np
import pytest
from helpers import PENALTIES, SIZES, D, N, full_penalty, kronecker_solution, make_tasks, refused, unchanged
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from test_mixed import LOSSES, WEIGHTS, mixed_tasks

from mtlbook import Tasks
from mtlbook.losses import Logistic, Poisson, Squared
from mtlbook.mixed import MixedRegularized
from mtlbook.newton import newton


def labelled(tasks: Tasks) -> Tasks:
    return Tasks(tasks.X, [np.where(y >= 0, 1.0, -1.0) for y in tasks.y])


@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("strength", [0.05, 5.0])
def test_mixed_losses_have_the_minimum_that_cvxpy_finds(P, strength):
    tasks = mixed_tasks((9, 14, 12))
    W = cp.Variable((D, N))
    total = strength * cp.sum_squares(W @ np.linalg.cholesky(P + 1e-13 * np.eye(N)))
    for i, ((X, y), weight) in enumerate(zip(tasks, WEIGHTS, strict=True)):
        s = X @ W[:, i]
        logs = (y - y * np.log(np.maximum(y, 1))).sum()
        charges = (
            cp.sum_squares(s - y),
            cp.sum(cp.logistic(-cp.multiply(y, s))),
            cp.sum(cp.exp(s)) - y @ s - logs,
        )
        total += weight / len(y) * charges[i]
    problem = cp.Problem(cp.Minimize(total))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    F = MixedRegularized(tasks, P, strength, LOSSES, weights=WEIGHTS)
    result = newton(F, tolerance=1e-10)
    assert result.converged
    assert result.values[-1] == pytest.approx(problem.value, rel=1e-7)
    np.testing.assert_allclose(result.W, W.value, atol=2e-4)


@pytest.mark.parametrize("strength", [0.02, 1.0])
def test_uncoupled_logistic_tasks_are_those_of_scikit_learn(strength):
    tasks = labelled(make_tasks((25, 30, 40)))
    W = newton(MixedRegularized(tasks, np.eye(N), strength, Logistic()), tolerance=1e-12).W
    for i, (X, y) in enumerate(tasks):
        other = LogisticRegression(
            C=1 / (2 * strength * len(y)), fit_intercept=False, tol=1e-12, max_iter=10_000
        )
        np.testing.assert_allclose(W[:, i], other.fit(X, y).coef_[0], atol=1e-6)


@pytest.mark.parametrize("strength", [0.02, 1.0])
def test_uncoupled_counts_are_those_of_scikit_learn(strength):
    rng = np.random.default_rng(4)
    X = [rng.normal(size=(m, D)) for m in (25, 30, 40)]
    tasks = Tasks(X, [rng.poisson(np.exp(0.5 * x[:, 0])) for x in X])
    W = newton(MixedRegularized(tasks, np.eye(N), strength, Poisson()), tolerance=1e-12).W
    for i, (x, y) in enumerate(tasks):
        other = PoissonRegressor(alpha=2 * strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
        np.testing.assert_allclose(W[:, i], other.fit(x, y).coef_, atol=1e-6)


@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_squared_losses_have_the_solution_of_the_kronecker_system(P):
    tasks = make_tasks()
    F = MixedRegularized(tasks, P, 0.3, Squared())
    result = newton(F, tolerance=1e-12)
    assert result.converged
    np.testing.assert_allclose(result.W, kronecker_solution(tasks, P, 0.3), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("sizes", [(2, 3, 1), (1,), (1, 1, 6, 2)], ids=str)
def test_with_fewer_rows_than_features_it_agrees_with_scipy(sizes):
    tasks, n = mixed_tasks(sizes, d=7), len(sizes)
    F = MixedRegularized(tasks, full_penalty(n), 0.1, [LOSSES[i % 3] for i in range(n)])
    other = minimize(
        lambda w: F.value(w.reshape(F.shape)),
        np.zeros(7 * n),
        jac=lambda w: F.gradient(w.reshape(F.shape)).ravel(),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )
    result = newton(F, tolerance=1e-10)
    assert result.converged
    np.testing.assert_allclose(result.W, other.x.reshape(F.shape), atol=1e-6)
    assert result.values[-1] <= other.fun + 1e-14


@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(4))
def test_any_start_where_F_is_finite_ends_at_the_same_minimiser(size, seed):
    F = MixedRegularized(mixed_tasks((9, 14, 12)), full_penalty(), 0.05, LOSSES, weights=WEIGHTS)
    start = size * np.random.default_rng(seed).normal(size=F.shape)
    with unchanged(start):
        result = newton(F, W=start, tolerance=1e-11)
    assert result.converged
    assert result.values[0] == F.value(start)
    np.testing.assert_allclose(result.W, newton(F, tolerance=1e-11).W, rtol=1e-6, atol=1e-8)


def test_F_never_rises():
    for seed in range(5):
        F = MixedRegularized(mixed_tasks(seed=seed), PENALTIES["laplacian"], 0.01, LOSSES)
        values = newton(F, W=np.random.default_rng(seed).normal(size=F.shape)).values
        assert np.all(np.diff(values) <= 1e-13 * values[:-1])


def test_large_counts_do_not_overshoot():
    X = np.column_stack([np.ones(6), [-2.0, -1, 0, 1, 2, 3]])
    y = np.array([20.0, 90, 400, 1500, 8000, 30000])
    result = newton(MixedRegularized(Tasks([X], [y]), np.eye(1), 0.0, Poisson()), tolerance=1e-10)
    assert result.converged
    np.testing.assert_allclose(X.T @ np.exp(X @ result.W[:, 0]), X.T @ y, rtol=1e-8)


def test_a_start_worse_than_zero_is_left_for_zero_and_stays_in_the_record():
    F = MixedRegularized(Tasks([np.ones((3, 1))], [[1.0, 2.0, 3.0]]), np.eye(1), 0.0, Poisson())
    result = newton(F, W=[[300.0]])
    assert result.converged
    assert result.values[:2].tolist() == [F.value([[300.0]]), F.value([[0.0]])]
    assert result.W[0, 0] == pytest.approx(np.log(2.0))


def test_the_last_digits_come_quadratically():
    F = MixedRegularized(labelled(make_tasks((30, 40, 50))), full_penalty(), 0.01, Logistic())
    relative = newton(F, tolerance=1e-13).gradient_norms
    relative = relative / relative[0]
    assert relative[-1] <= 1e-13
    assert len(relative) <= 9
    assert relative[-1] <= 10 * relative[-2] ** 1.5


def test_the_record_holds_values_and_gradient_norms_of_the_path():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    result = newton(F)
    assert len(result.values) == len(result.gradient_norms) == result.n_iterations + 1
    assert result.values[0] == F.value(np.zeros(F.shape))
    assert result.values[-1] == F.value(result.W)
    assert result.gradient_norms[-1] == pytest.approx(np.linalg.norm(F.gradient(result.W)))
    assert result.gradient_norms[-1] <= 1e-8 * result.gradient_norms[0]


def test_the_message_certifies_the_excess_where_the_penalty_allows():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    rough, best = newton(F, tolerance=0.5), newton(F, tolerance=1e-13)
    bound = F.excess(F.gradient(rough.W))
    assert 0 < rough.values[-1] - best.values[-1] <= bound
    assert f"F at most {bound:.1e} above its least value" in rough.message
    free = newton(MixedRegularized(mixed_tasks(), PENALTIES["laplacian"], 0.3, LOSSES))
    assert free.converged
    assert "least value" not in free.message


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_F_changes_neither_the_path_nor_the_message(unit):
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    G = MixedRegularized(mixed_tasks(), full_penalty(), 0.3 * unit, LOSSES, weights=np.full(N, unit))
    one, other = newton(F, tolerance=1e-4), newton(G, tolerance=1e-4)
    assert one.n_iterations == other.n_iterations
    np.testing.assert_allclose(other.W, one.W, rtol=1e-8)
    assert one.message.split(", F")[0] == other.message.split(", F")[0]
    relative = one.gradient_norms[-1] / one.gradient_norms[0]
    assert one.message.startswith(f"Newton's method: relative gradient {relative:.1e} after")


def test_the_result_shares_no_memory_with_the_start():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    start = np.ones(F.shape)
    assert not np.shares_memory(newton(F, W=start, max_iterations=0).W, start)


def test_too_few_steps_are_reported():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    result = newton(F, max_iterations=1)
    assert not result.converged
    assert result.n_iterations == 1
    assert "after 1 steps" in result.message
    assert "above the tolerance 1e-08. Allow more steps" in result.message
    assert newton(F, max_iterations=0).W.tolist() == np.zeros(F.shape).tolist()


SEPARABLE = Tasks(
    [[[1.0, 0.5], [2.0, -1.0]], [[1.0, 1.0], [-1.0, 0.2], [0.5, 3.0]]], [[1.0, 1.0], [1.0, -1.0, 1.0]]
)


@pytest.mark.parametrize(
    ("P", "strength"), [(np.eye(2), 0.0), ([[1, -1], [-1, 1]], 1.0)], ids=["no penalty", "Laplacian"]
)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-8])
def test_separable_classes_that_no_penalty_holds_end_with_the_reason(P, strength, tolerance):
    result = newton(MixedRegularized(SEPARABLE, P, strength, Logistic()), tolerance=tolerance)
    assert not result.converged
    assert "has no minimiser, as where classes are separable" in result.message
    assert "Choose a strength above zero" in result.message
    assert result.n_iterations < 60


def test_counts_that_are_all_zero_end_with_the_reason():
    result = newton(MixedRegularized(Tasks([np.ones((4, 1))], [np.zeros(4)]), np.eye(1), 0.0, Poisson()))
    assert not result.converged
    assert "counts all zero" in result.message


def test_separable_classes_held_by_a_small_strength_are_solved():
    F = MixedRegularized(SEPARABLE, np.eye(2), 1e-6, Logistic())
    result = newton(F, tolerance=1e-10)
    assert result.converged
    assert np.linalg.norm(F.gradient(result.W)) <= 1e-10 * np.linalg.norm(F.gradient(np.zeros(F.shape)))


def test_classes_that_overlap_need_no_penalty():
    tasks = Tasks([[[1.0], [2.0], [0.5]]], [[1.0, -1.0, 1.0]])
    result = newton(MixedRegularized(tasks, np.eye(1), 0.0, Logistic()), tolerance=1e-12)
    assert result.converged
    (w,) = result.W[0]
    assert sum(-y * x / (1 + np.exp(y * x * w)) for x, y in [(1.0, 1), (2.0, -1), (0.5, 1)]) == pytest.approx(
        0, abs=1e-12
    )


def test_inputs_of_rank_one_leave_the_other_directions_at_zero():
    X = np.outer([1.0, -2.0, 0.5, 1.5, 1.0], [1.0, 2.0, 0.0])
    result = newton(MixedRegularized(Tasks([X], [[1.0, 1, 1, -1, -1]]), np.eye(1), 0.0, Logistic()))
    assert result.converged
    assert abs(result.W[:, 0] @ [2.0, -1.0, 0.0]) < 1e-12
    assert result.W[2, 0] == 0


def test_a_start_at_the_minimiser_stays_there():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    best = newton(F, tolerance=1e-13).W
    again = newton(F, W=best)
    assert again.converged
    np.testing.assert_allclose(again.W, best, rtol=1e-10, atol=1e-12)
    still = newton(MixedRegularized(Tasks([np.eye(2)], [np.zeros(2)]), np.eye(1), 1.0, Squared()))
    assert still.converged
    assert (still.n_iterations, still.values.tolist()) == (0, [0.0])


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_units_of_the_features_matter_little(scale):
    units = np.array([scale, 1.0, 1.0, 1 / scale])
    tasks = labelled(make_tasks((20, 30, 25)))
    scaled = Tasks([X * units for X in tasks.X], tasks.y)
    F, G = (MixedRegularized(t, np.eye(N), 0.0, Logistic()) for t in (tasks, scaled))
    W, V = newton(F, tolerance=1e-12), newton(G, tolerance=1e-12)
    assert V.values[-1] == pytest.approx(W.values[-1], rel=1e-9)


@pytest.mark.parametrize("sizes", [SIZES, (300, 100, 50)])
def test_order_of_tasks_does_not_matter(sizes):
    tasks, order, P = mixed_tasks(sizes), [2, 0, 1], full_penalty()
    other = Tasks([tasks.X[i] for i in order], [tasks.y[i] for i in order])
    W = newton(MixedRegularized(tasks, P, 0.1, LOSSES), tolerance=1e-12).W
    V = newton(
        MixedRegularized(other, P[np.ix_(order, order)], 0.1, [LOSSES[i] for i in order]), tolerance=1e-12
    ).W
    np.testing.assert_allclose(V, W[:, order], rtol=1e-8, atol=1e-10)


def test_starts_that_are_none_are_refused():
    F = MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES)
    with refused("W", "finite numbers", "nan"):
        newton(F, W=np.full(F.shape, np.nan))
    with refused("W", "an array of shape (4, 3)", "shape (3, 4)", "transposed"):
        newton(F, W=np.zeros((3, 4)))
    with refused("W", "a start where F is finite", "inf", "Start at zero"):
        newton(F, W=1e5 * np.ones(F.shape))


@pytest.mark.parametrize(
    ("options", "name", "wanted"),
    [
        ({"tolerance": 0.0}, "tolerance", "above 0"),
        ({"tolerance": np.nan}, "tolerance", "finite"),
        ({"max_iterations": -1}, "max_iterations", "at least 0"),
        ({"max_iterations": 2.5}, "max_iterations", "whole number"),
    ],
)
def test_options_out_of_range_are_refused(options, name, wanted):
    with refused(name, wanted):
        newton(MixedRegularized(mixed_tasks(), full_penalty(), 0.3, LOSSES), **options)
