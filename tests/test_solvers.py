"""Solvers: solve against independent oracles, gradient descent against its theory."""

import dataclasses
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest
from helpers import (
    PENALTIES,
    D,
    N,
    assert_near_minimum,
    full_penalty,
    kronecker_solution,
    make_tasks,
    random_similarity,
    refused,
    unchanged,
)
from sklearn.linear_model import Ridge

from mtlbook import Result, Tasks, TraceRegularized, gradient_descent, krylov, relations, solve, solvers


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """F(W) = (1/2) sum_ij h_ij (w_ij - c_ij)^2: a diagonal Hessian with the entries of h, by columns."""

    h: np.ndarray
    c: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.h.shape

    def value(self, W: np.ndarray) -> float:
        return float(np.sum(self.h * (W - self.c) ** 2) / 2)

    def gradient(self, W: np.ndarray) -> np.ndarray:
        return self.h * (W - self.c)

    def lipschitz(self) -> float:
        return float(self.h.max())

    def hessian(self) -> np.ndarray:
        return np.diag(self.h.ravel(order="F"))

    def preconditioner(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda R: R


def diagonal(condition: float = 50.0) -> Quadratic:
    return Quadratic(
        np.geomspace(1.0, condition, D * N).reshape(D, N), np.arange(1.0, D * N + 1).reshape(D, N)
    )


@pytest.fixture(params=["dense", "conjugate gradients"])
def route(request, monkeypatch) -> str:
    """Send small problems down either route of `solve`."""
    if request.param == "conjugate gradients":
        monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    return request.param


# solve: oracles ---------------------------------------------------------------


@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("strength", [0.0, 1e-8, 0.3, 1e4])
def test_solve_is_the_literal_kronecker_solution(tasks, route, P, strength):
    result = solve(TraceRegularized(tasks, P, strength))
    assert result.converged
    assert route in result.message
    np.testing.assert_allclose(result.W, kronecker_solution(tasks, P, strength), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_solve_agrees_with_cvxpy(tasks, route, P):
    W = cp.Variable((D, N))
    errors = sum(cp.sum_squares(X @ W[:, i] - y) / len(y) for i, (X, y) in enumerate(tasks))
    penalty = sum(cp.quad_form(W[k], cp.psd_wrap(P)) for k in range(D))
    problem = cp.Problem(cp.Minimize(errors + 0.3 * penalty))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    F = TraceRegularized(tasks, P, 0.3)
    result = solve(F)
    np.testing.assert_allclose(result.W, W.value, atol=1e-5)
    assert F.value(result.W) <= problem.value + 1e-12


@pytest.mark.parametrize("strength", [1e-4, 0.3, 20.0])
def test_solve_is_scikit_learns_ridge_when_nothing_is_coupled(tasks, route, strength):
    W = solve(TraceRegularized(tasks, relations.independent(N), strength)).W
    for i, (X, y) in enumerate(tasks):
        ridge = Ridge(alpha=len(y) * strength, fit_intercept=False, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(W[:, i], ridge.coef_, rtol=1e-7)


def test_a_diagonal_penalty_splits_the_problem_into_ridges_of_their_own(tasks, route):
    weights = np.array([0.1, 2.0, 30.0])
    W = solve(TraceRegularized(tasks, np.diag(weights), 0.5)).W
    for i, (X, y) in enumerate(tasks):
        ridge = Ridge(alpha=len(y) * 0.5 * weights[i], fit_intercept=False, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(W[:, i], ridge.coef_, rtol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(125, 4), (150, 4)])
def test_large_problems_take_conjugate_gradients_and_stay_exact(n, d):
    sizes = np.random.default_rng(0).integers(3, 12, size=n)
    F = TraceRegularized(make_tasks(sizes, d), relations.laplacian(random_similarity(n)) / n, 0.3)
    result = solve(F)
    assert ("conjugate gradients" in result.message) == (n * d > solvers.DENSE_LIMIT == 500)
    exact = np.linalg.solve(F.hessian(), -F.gradient(np.zeros(F.shape)).ravel(order="F"))
    np.testing.assert_allclose(result.W, exact.reshape(F.shape, order="F"), atol=1e-9)
    assert result.converged


# solve: theorems --------------------------------------------------------------


def test_without_strength_each_task_gets_its_least_squares(tasks, route):
    W = solve(TraceRegularized(tasks, full_penalty(), 0.0)).W
    for i, (X, y) in enumerate(tasks):
        np.testing.assert_allclose(W[:, i], np.linalg.lstsq(X, y)[0], rtol=1e-7)


@pytest.mark.parametrize("P", [relations.to_mean(N), relations.chain(N)], ids=["to_mean", "chain"])
@pytest.mark.parametrize("strength", [1e5, 1e8])
def test_huge_strength_pools(tasks, route, P, strength):
    W = solve(TraceRegularized(tasks, P, strength)).W
    rows = np.concatenate([X / np.sqrt(len(X)) for X in tasks.X])
    targets = np.concatenate([y / np.sqrt(len(y)) for y in tasks.y])
    pooled = np.linalg.lstsq(rows, targets)[0]
    np.testing.assert_allclose(W, np.outer(pooled, np.ones(N)), atol=10 / strength + 1e-7)


def test_huge_strength_on_a_definite_penalty_shrinks_to_nothing(tasks, route):
    assert np.abs(solve(TraceRegularized(tasks, full_penalty(), 1e8)).W).max() < 1e-7


def test_clusters_pool_within_and_not_across():
    tasks = make_tasks((5, 8, 11, 7))
    W = solve(TraceRegularized(tasks, relations.clusters(["a", "b", "a", "b"]), 1e6)).W
    np.testing.assert_allclose(W[:, 0], W[:, 2], atol=1e-4)
    np.testing.assert_allclose(W[:, 1], W[:, 3], atol=1e-4)
    assert np.abs(W[:, 0] - W[:, 1]).max() > 0.1


def test_renumbered_tasks_permute_the_columns_of_W(tasks, route):
    order, P = [2, 0, 1], full_penalty()
    renumbered = Tasks([tasks.X[i] for i in order], [tasks.y[i] for i in order])
    W = solve(TraceRegularized(renumbered, P[np.ix_(order, order)], 0.3)).W
    np.testing.assert_allclose(W, solve(TraceRegularized(tasks, P, 0.3)).W[:, order], atol=1e-9)


def test_doubled_rows_change_nothing(tasks, route):
    twice = tasks.take([np.repeat(np.arange(m), 2) for m in tasks.n_rows])
    one, two = (solve(TraceRegularized(t, full_penalty(), 0.3)).W for t in (tasks, twice))
    np.testing.assert_allclose(two, one, atol=1e-9)


def test_identical_tasks_get_identical_weights(route):
    X, y = make_tasks((9,)).X[0], make_tasks((9,)).y[0]
    W = solve(TraceRegularized(Tasks([X] * N, [y] * N), relations.to_mean(N), 7.0)).W
    np.testing.assert_allclose(W, np.outer(np.linalg.lstsq(X, y)[0], np.ones(N)), atol=1e-9)


@pytest.mark.parametrize(("strength", "scales"), [(0.0, np.logspace(-8, 8, D)), (0.3, np.logspace(-3, 3, D))])
def test_units_of_features_do_not_matter_where_nothing_is_shrunk(strength, scales):
    X, y = make_tasks((9,)).X[0], make_tasks((9,)).y[0]
    plain, scaled = Tasks([X] * N, [y] * N), Tasks([X * scales] * N, [y] * N)
    W, V = (solve(TraceRegularized(t, relations.to_mean(N), strength)).W for t in (plain, scaled))
    np.testing.assert_allclose(V * scales[:, None], W, rtol=1e-6)


# solve: many minimisers, edges ------------------------------------------------

SINGULAR = {
    "fewer rows than features": (make_tasks((2, 3, 1)), relations.to_mean(N), 1.0),
    "no penalty, few rows": (make_tasks((2, 3, 1)), relations.to_mean(N), 0.0),
    "zero columns": (
        Tasks([X * [1, 0, 1, 0] for X in make_tasks().X], make_tasks().y),
        relations.chain(N),
        1.0,
    ),
    "repeated columns": (
        Tasks([X[:, [0, 0, 1, 1]] for X in make_tasks().X], make_tasks().y),
        relations.chain(N),
        0.5,
    ),
    "zero penalty": (make_tasks((2, 8, 11)), np.zeros((N, N)), 1.0),
    "zero inputs": (Tasks([X * 0 for X in make_tasks().X], make_tasks().y), relations.to_mean(N), 1.0),
}


@pytest.mark.parametrize("case", SINGULAR)
def test_where_many_minimise_one_of_them_is_found(route, case):
    tasks, P, strength = SINGULAR[case]
    F = TraceRegularized(tasks, P, strength)
    result = solve(F)
    assert result.converged
    assert_near_minimum(F, result.W)
    minimum = np.linalg.lstsq(F.hessian(), -F.gradient(np.zeros(F.shape)).ravel(order="F"))[0]
    assert F.value(result.W) == pytest.approx(F.value(minimum.reshape(F.shape, order="F")), abs=1e-9)


@pytest.mark.parametrize("case", SINGULAR)
def test_the_dense_route_counts_what_is_free(case):
    tasks, P, strength = SINGULAR[case]
    F = TraceRegularized(tasks, P, strength)
    free = D * N - np.linalg.matrix_rank(F.hessian())
    message = solve(F).message
    assert (f"{free} of them free: one of many minimisers" in message) == (free > 0)


def test_a_single_minimiser_is_not_called_one_of_many(tasks):
    assert "free" not in solve(TraceRegularized(tasks, full_penalty(), 0.3)).message


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (9,)])
@pytest.mark.parametrize("d", [1, 3])
def test_one_row_one_task_and_one_feature_are_no_special_cases(route, sizes, d):
    tasks, P = make_tasks(sizes, d), full_penalty(len(sizes))
    result = solve(TraceRegularized(tasks, P, 0.3))
    np.testing.assert_allclose(result.W, kronecker_solution(tasks, P, 0.3), rtol=1e-8, atol=1e-10)


def test_targets_of_zero_are_solved_by_zero(tasks, route):
    result = solve(TraceRegularized(Tasks(tasks.X, [0 * y for y in tasks.y]), full_penalty(), 1.0))
    assert result.converged
    assert not result.W.any()
    assert "relative gradient 0.0e+00" in result.message


def test_solve_records_where_it_starts_and_ends(tasks, route):
    F = TraceRegularized(tasks, full_penalty(), 0.3)
    result = solve(F)
    assert len(result.values) == len(result.gradient_norms) == result.n_iterations + 1
    zero = np.zeros(F.shape)
    assert result.values[0] == pytest.approx(F.value(zero))
    assert result.values[-1] == pytest.approx(F.value(result.W))
    assert result.gradient_norms[0] == pytest.approx(np.linalg.norm(F.gradient(zero)))
    assert result.gradient_norms[-1] == pytest.approx(np.linalg.norm(F.gradient(result.W)))
    assert np.all(np.diff(result.values) <= 1e-12)
    assert f"{D * N} unknowns" in result.message
    assert f"after {result.n_iterations} steps" in result.message


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_messages_state_the_gradient_relative_to_the_one_at_zero(scale):
    F = dataclasses.replace(diagonal(), c=scale * diagonal().c)
    result = gradient_descent(F, max_iterations=9)
    relative = result.gradient_norms[-1] / np.linalg.norm(F.gradient(np.zeros(F.shape)))
    assert f"relative gradient {relative:.1e} after 9 steps" in result.message


def test_conjugate_gradients_end_within_as_many_steps_as_unknowns(tasks, monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    assert 1 < solve(TraceRegularized(tasks, full_penalty(), 0.3)).n_iterations <= D * N + 2


def test_conjugate_gradients_need_one_step_for_tasks_that_share_their_inputs(monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    X, Y = make_tasks((9,)).X[0], make_tasks((9, 9, 9)).y
    assert solve(TraceRegularized(Tasks([X] * N, Y), full_penalty(), 0.3)).n_iterations <= 2


def test_conjugate_gradients_stop_sooner_at_a_looser_tolerance(tasks, monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    F = TraceRegularized(tasks, full_penalty(), 0.3)
    loose, tight = solve(F, tolerance=1e-2), solve(F, tolerance=1e-10)
    assert loose.n_iterations < tight.n_iterations
    assert np.linalg.norm(loose.W - tight.W) <= 0.1 * np.linalg.norm(tight.W)
    assert loose.gradient_norms[-1] <= 1e-2 * loose.gradient_norms[0]


def test_conjugate_gradients_wait_for_the_step_that_is_left_too(tasks, monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    lopsided = Tasks([X * scale for X, scale in zip(tasks.X, (1e3, 1.0, 1.0), strict=True)], tasks.y)
    F = TraceRegularized(lopsided, relations.to_mean(N), 0.3)
    W = solve(F, tolerance=1e-2).W
    assert np.linalg.norm(F.preconditioner()(F.gradient(W))) <= 1e-2 * np.linalg.norm(W)


def test_a_tolerance_out_of_reach_is_admitted(tasks, route):
    result = solve(TraceRegularized(tasks, full_penalty(), 0.3), tolerance=1e-300)
    assert not result.converged
    assert "above the tolerance 1e-300. Allow more steps" in result.message
    np.testing.assert_allclose(result.W, kronecker_solution(tasks, full_penalty(), 0.3), rtol=1e-9)


def test_solve_knows_no_tasks(route):
    F = diagonal()
    result = solve(F)
    assert result.converged
    np.testing.assert_allclose(result.W, F.c, rtol=1e-8)


@pytest.mark.parametrize("call", [solve, gradient_descent])
@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan, np.inf, "1", None])
def test_what_is_no_tolerance_is_refused(call, tolerance):
    with refused("tolerance", "a finite number above 0", repr(tolerance), "Choose a value"):
        call(diagonal(), tolerance=tolerance)


@pytest.mark.parametrize("call", [solve, gradient_descent, lambda F: gradient_descent(F, accelerated=True)])
def test_the_same_problem_gives_the_same_bits(tasks, route, call):
    one, two = (call(TraceRegularized(tasks, full_penalty(), 0.3)) for _ in range(2))
    assert one.W.tobytes() == two.W.tobytes()
    assert one.values.tobytes() == two.values.tobytes()


# gradient descent -------------------------------------------------------------

plain_and_accelerated = pytest.mark.parametrize("accelerated", [False, True], ids=["plain", "accelerated"])


def literal_descent(F: Quadratic, W: np.ndarray, step: float, n_steps: int) -> list[np.ndarray]:
    history = [W]
    for _ in range(n_steps):
        history.append(history[-1] - step * F.gradient(history[-1]))
    return history


def literal_acceleration(F: Quadratic, W: np.ndarray, step: float, n_steps: int) -> list[np.ndarray]:
    """Nesterov's t <- (1 + sqrt(1 + 4 t^2)) / 2, from the point ahead, restarted where it points uphill."""
    history, ahead, t = [W], W, 1.0
    for _ in range(n_steps):
        G = F.gradient(ahead)
        new = ahead - step * G
        move = new - history[-1]
        if sum(g * m for g, m in zip(G.flat, move.flat, strict=True)) > 0:
            ahead, t = new, 1.0
        else:
            t, before = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
            ahead = new + (before - 1) / t * move
        history.append(new)
    return history


@pytest.mark.parametrize(
    ("accelerated", "literal"),
    [(False, literal_descent), (True, literal_acceleration)],
    ids=["plain", "accelerated"],
)
def test_descent_is_the_literal_loop(accelerated, literal):
    F, start = diagonal(), np.full((D, N), 3.0)
    result = gradient_descent(
        F, start, step=0.015, accelerated=accelerated, max_iterations=60, tolerance=1e-12
    )
    history = literal(F, start, 0.015, 60)
    np.testing.assert_allclose(result.W, history[-1], rtol=1e-12)
    np.testing.assert_allclose(result.values, [F.value(W) for W in history], rtol=1e-11)
    np.testing.assert_allclose(
        result.gradient_norms, [np.linalg.norm(F.gradient(W)) for W in history], rtol=1e-11
    )


@plain_and_accelerated
@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_descent_agrees_with_solve(tasks, accelerated, P):
    F = TraceRegularized(tasks, P, 0.3)
    result = gradient_descent(F, accelerated=accelerated, tolerance=1e-9)
    assert result.converged
    np.testing.assert_allclose(result.W, solve(F).W, atol=1e-6)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.95])
def test_steps_below_two_over_L_never_climb(tasks, fraction):
    F = TraceRegularized(tasks, full_penalty(), 0.3)
    values = gradient_descent(F, step=2 * fraction / F.lipschitz(), tolerance=1e-7).values
    assert np.all(np.diff(values) <= 1e-13)


@pytest.mark.parametrize("step", [0.002, 0.02, 0.039])
def test_each_direction_contracts_by_one_minus_step_times_its_eigenvalue(step):
    F = diagonal()
    for n_steps in (1, 7):
        W = gradient_descent(F, step=step, max_iterations=n_steps, tolerance=1e-15).W
        np.testing.assert_allclose((W - F.c) / -F.c, (1 - step * F.h) ** n_steps, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("step", "worst"), [(0.01, 1.0), (0.0398, 50.0)])
def test_the_slowest_direction_sets_the_rate(step, worst):
    norms = gradient_descent(diagonal(), step=step, tolerance=1e-12, max_iterations=2000).gradient_norms
    assert norms[-1] / norms[-2] == pytest.approx(abs(1 - step * worst), rel=1e-6)


def test_the_default_step_is_one_over_L():
    F = diagonal()
    default, given = gradient_descent(F), gradient_descent(F, step=1 / 50.0)
    np.testing.assert_array_equal(default.values, given.values)


@pytest.mark.parametrize("excess", [1.01, 2.0, 1e10])
def test_steps_above_two_over_L_are_refused_with_the_step_to_take(excess):
    F = diagonal()
    with refused(
        "step", "a step length below 2 / L = 0.04", f"{excess * 0.04:.4g}, with which F went from", "1 / L"
    ):
        gradient_descent(F, step=excess * 0.04)


def test_divergence_is_noticed_soon_at_any_scale():
    for scale in (1e-9, 1.0, 1e9):
        F = dataclasses.replace(diagonal(), c=scale * diagonal().c)
        with pytest.raises(ValueError, match=r"in 1\d steps\. "):
            gradient_descent(F, step=0.08)


@dataclasses.dataclass(frozen=True)
class Valley:
    """F(w) = w^2 / (1 + w^2): steeper on the way down than far out."""

    shape = (1, 1)

    def value(self, W: np.ndarray) -> float:
        return float((W**2 / (1 + W**2)).sum())

    def gradient(self, W: np.ndarray) -> np.ndarray:
        return 2 * W / (1 + W**2) ** 2

    def lipschitz(self) -> float:
        return 2.0


def test_a_gradient_that_grows_on_the_way_down_is_no_divergence():
    result = gradient_descent(Valley(), [[3.0]], max_iterations=22)
    assert not result.converged
    assert result.gradient_norms[-1] > 2 * result.gradient_norms[0]
    assert result.values[-1] < result.values[0]


def test_slow_divergence_is_refused_when_the_steps_run_out():
    with refused("step", "below 2 / L = 0.04", "in 100 steps"):
        gradient_descent(diagonal(), step=0.0402, max_iterations=100)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("step", [1e200, 1e308])
@plain_and_accelerated
def test_steps_beyond_float64_are_refused_as_steps(tasks, step, accelerated):
    F = TraceRegularized(Tasks(tasks.X, [1e3 * y for y in tasks.y]), np.eye(N), 1.0)
    with refused("step", "a step length", f"{step:.4g}"):
        gradient_descent(F, step=step, accelerated=accelerated)


def test_momentum_is_told_its_own_largest_step():
    with refused("step", "a step length of at most 1 / L = 0.02", "0.036, with which", "1 / L"):
        gradient_descent(diagonal(), step=0.036, accelerated=True)


@plain_and_accelerated
def test_the_start_is_part_of_the_history(accelerated):
    F, start = diagonal(), np.full((D, N), 3.0)
    result = gradient_descent(F, start, accelerated=accelerated)
    assert result.values[0] == F.value(start)
    assert result.gradient_norms[0] == pytest.approx(np.linalg.norm(F.gradient(start)))
    assert len(result.values) == len(result.gradient_norms) == result.n_iterations + 1
    assert result.values[-1] == F.value(result.W)
    assert gradient_descent(F, accelerated=accelerated).values[0] == F.value(np.zeros((D, N)))


@plain_and_accelerated
def test_momentum_or_not_the_last_gradient_meets_the_tolerance_and_the_one_before_does_not(accelerated):
    F = diagonal()
    result = gradient_descent(F, np.full((D, N), 3.0), tolerance=1e-4, accelerated=accelerated)
    target = 1e-4 * np.linalg.norm(F.gradient(np.zeros((D, N))))
    assert result.converged
    assert result.gradient_norms[-1] <= target < result.gradient_norms[-2]


def test_momentum_takes_fewer_steps_where_conditions_are_bad():
    F = diagonal(condition=1e4)
    plain, fast = (gradient_descent(F, accelerated=a, max_iterations=200_000) for a in (False, True))
    assert plain.converged
    assert fast.converged
    assert 10 * fast.n_iterations < plain.n_iterations


@plain_and_accelerated
def test_running_out_of_steps_is_admitted(accelerated):
    result = gradient_descent(diagonal(1e4), max_iterations=5, accelerated=accelerated)
    assert not result.converged
    assert result.n_iterations == 5
    assert "after 5 steps, above the tolerance 1e-06. Allow more steps" in result.message


def test_no_step_at_all_returns_the_start():
    start = np.full((D, N), 3.0)
    result = gradient_descent(diagonal(), start, max_iterations=0)
    assert (result.n_iterations, result.converged) == (0, False)
    np.testing.assert_array_equal(result.W, start)


def test_a_start_at_the_minimum_is_enough():
    F = diagonal()
    result = gradient_descent(F, F.c)
    assert (result.n_iterations, result.converged) == (0, True)
    assert "relative gradient 0.0e+00 after 0 steps" in result.message
    assert "tolerance" not in result.message


def test_where_zero_is_the_minimum_the_start_sets_the_scale(tasks):
    F = TraceRegularized(Tasks(tasks.X, [0 * y for y in tasks.y]), full_penalty(), 1.0)
    result = gradient_descent(F, np.ones(F.shape))
    assert result.converged
    assert result.gradient_norms[-1] <= 1e-6 * result.gradient_norms[0] < result.gradient_norms[-2]
    np.testing.assert_allclose(result.W, 0.0, atol=1e-5)


def test_an_objective_without_curvature_is_at_its_minimum():
    tasks = Tasks([[[0.0]]], [[1.0]])
    result = gradient_descent(TraceRegularized(tasks, [[1.0]], 0.0))
    assert (result.n_iterations, result.converged) == (0, True)


@pytest.mark.parametrize("W", [np.ones((N, D)), np.ones(D), np.full((D, N), np.nan), np.full((D, N), "a")])
def test_what_is_no_start_is_refused(W):
    with refused("W"):
        gradient_descent(diagonal(), W)


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("step", 0.0, "a finite number above 0"),
        ("step", -0.1, "a finite number above 0"),
        ("step", np.nan, "a finite number above 0"),
        ("step", "0.1", "a finite number above 0"),
        ("max_iterations", -1, "a whole number of at least 0"),
        ("max_iterations", 1.5, "a whole number of at least 0"),
        ("max_iterations", None, "a whole number of at least 0"),
    ],
)
def test_options_out_of_range_are_refused(option, value, wanted):
    with refused(option, wanted, repr(value)):
        gradient_descent(diagonal(), **{option: value})


@pytest.mark.parametrize("n_steps", [0, 3])
def test_the_start_is_not_changed_and_the_result_does_not_share_it(n_steps):
    start = np.ones((D, N))
    with unchanged(start):
        result = gradient_descent(diagonal(), start, max_iterations=n_steps)
    assert not np.shares_memory(result.W, start)


def test_results_are_frozen_and_read_only():
    assert len({solve(diagonal()), solve(diagonal())}) == 2
    for result in (solve(diagonal()), gradient_descent(diagonal())):
        assert isinstance(result, Result)
        assert (type(result.converged), type(result.n_iterations)) == (bool, int)
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.W = None
        for array in (result.W, result.values, result.gradient_norms):
            assert not array.flags.writeable


def correlated(n: int, d: int, widest: float) -> Tasks:
    """Tasks that differ in which features vary together, with scales up to `widest`."""
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(n, d, d)) * np.geomspace(1.0, widest, d)
    X = [rng.normal(size=(2 * d, d)) @ M for M in mixing]
    return Tasks(X, [rng.normal(size=2 * d) for _ in X])


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_conjugate_gradients_bring_W_itself_within_the_tolerance(tolerance, strength, monkeypatch):
    n, d = 8, 10
    F = TraceRegularized(correlated(n, d, 30.0), relations.to_mean(n), strength)
    exact = np.linalg.solve(F.hessian(), 2 * F.moments.B.ravel(order="F")).reshape(d, n, order="F")
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    result = solve(F, tolerance=tolerance)
    assert result.converged
    assert np.linalg.norm(result.W - exact) <= tolerance * np.linalg.norm(exact)


def test_conjugate_gradients_give_up_in_a_sentence_where_rounding_stops_them(monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    monkeypatch.setattr(solvers, "PATIENCE", 20)
    result = solve(TraceRegularized(correlated(8, 10, 1e9), relations.to_mean(8), 1.0), tolerance=1e-14)
    assert not result.converged
    assert "scale the features" in result.message


def test_conjugate_gradients_go_on_beyond_their_patience_while_they_gain(monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    monkeypatch.setattr(solvers, "PATIENCE", 40)
    result = solve(TraceRegularized(correlated(8, 10, 30.0), relations.to_mean(8), 1e-3))
    assert result.converged
    assert result.n_iterations > 41


def test_conjugate_gradients_report_values_and_gradients_as_they_are(monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    for widest, tolerance in ((1.0, 0.9), (30.0, 0.3), (1e9, 1e-14)):
        F = TraceRegularized(correlated(8, 10, widest), relations.to_mean(8), 1.0)
        result = solve(F, tolerance=tolerance)
        assert result.values[-1] == pytest.approx(F.value(result.W), rel=1e-9)
        assert result.gradient_norms[-1] == pytest.approx(np.linalg.norm(F.gradient(result.W)), rel=1e-9)


def test_the_least_ritz_value_is_the_least_eigenvalue_once_all_directions_are_seen():
    eigenvalues = np.array([0.02, 0.3, 1.0, 1.7])
    R = D_ = np.ones(4)
    alphas, betas = [], []
    for _ in eigenvalues:
        alphas.append(R @ R / (D_ @ (eigenvalues * D_)))
        R_next = R - alphas[-1] * eigenvalues * D_
        betas.append(R_next @ R_next / (R @ R))
        R, D_ = R_next, R_next + betas[-1] * D_
    assert krylov.least_ritz(np.array(alphas), np.array(betas)) == pytest.approx(0.02, rel=1e-9)
    assert krylov.least_ritz(np.array(alphas[:2]), np.array(betas[:2])) > 0.02
