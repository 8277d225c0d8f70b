"""Learned relations and shared directions: equal to CVXPY and scikit-learn, certified, from any start."""

import cvxpy as cp
import numpy as np
import pytest
from helpers import SIZES, D, N, literal_errors, make_tasks, refused, unchanged
from scipy.linalg import svdvals
from sklearn.linear_model import MultiTaskLasso

from mtlbook import Moments, Tasks, fit, relations
from mtlbook.learning import (
    learn_relation,
    low_rank,
    low_rank_limit,
    row_sparse,
    row_sparse_limit,
)

METHODS = {"relation": learn_relation, "low rank": low_rank, "row sparse": row_sparse}
WORLDS = {
    "three ragged tasks": make_tasks(),
    "more tasks than features": make_tasks((3, 9, 4, 6, 2, 7, 5), d=3, seed=2),
    "fewer rows than features": make_tasks((1, 2, 3), d=5, seed=3),
    "one task": make_tasks((6,), seed=4),
    "one feature": make_tasks(d=1, seed=5),
    "a feature that is always zero": make_tasks(scales=np.array([1.0, 0.0, 2.0, 1.0]), seed=6),
}


@pytest.fixture(params=WORLDS.values(), ids=WORLDS)
def world(request):
    return request.param


def shared_inputs(n=3, m=9, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, d))
    Y = X @ rng.normal(size=(d, n)) + rng.normal(size=(m, n))
    return X, Y, Tasks([X] * n, list(Y.T))


def literal_norm(W, kind):
    return sum(np.sqrt(sum(x * x for x in row)) for row in W) if kind == "row sparse" else svdvals(W).sum()


def literal_value(tasks, W, kind, strength, ridge=0.0, common=None):
    V = W if common is None else W - np.asarray(common)[:, None]
    norm = literal_norm(V, kind)
    charge = strength * (norm * norm if kind == "relation" else norm)
    return sum(literal_errors(W, tasks)) + charge + ridge * sum(x * x for x in V.ravel())


def by_cvxpy(tasks, kind, strength, ridge=0.0, common=False):
    d, n = tasks.n_features, len(tasks)
    V, w_0 = cp.Variable((d, n)), cp.Variable(d)
    loss = sum(
        cp.sum_squares(X @ (V[:, i] + (w_0 if common else 0)) - y) / len(y) for i, (X, y) in enumerate(tasks)
    )
    price = {
        "relation": lambda: cp.square(cp.normNuc(V)),
        "low rank": lambda: cp.normNuc(V),
        "row sparse": lambda: cp.sum(cp.norm(V, 2, axis=1)),
    }[kind]()
    problem = cp.Problem(cp.Minimize(loss + strength * price + ridge * cp.sum_squares(V)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return problem.value


# Against independent solvers ----------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("strength", [1e-3, 0.1, 2.0])
def test_the_value_is_that_of_cvxpy(world, kind, strength):
    found = METHODS[kind](world, strength, tolerance=1e-9, max_iterations=100_000)
    assert found.converged
    assert found.values[-1] == pytest.approx(by_cvxpy(world, kind, strength), rel=1e-6, abs=1e-8)
    assert found.values[-1] == pytest.approx(literal_value(world, found.W, kind, strength), abs=1e-10)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.05, 50.0])
def test_relations_of_raw_weights_and_of_deviations_have_the_value_of_cvxpy(world, common, ridge):
    found = learn_relation(world, 0.1, ridge=ridge, common=common, tolerance=1e-9)
    assert found.converged
    value = by_cvxpy(world, "relation", 0.1, ridge, common)
    assert found.values[-1] == pytest.approx(value, rel=1e-6, abs=1e-8)
    literal = literal_value(world, found.W, "relation", 0.1, ridge, found.common)
    assert found.values[-1] == pytest.approx(literal, abs=1e-10)
    assert common or not found.common.any()


def test_the_value_is_that_of_the_problem_over_weights_and_relation_together():
    tasks = make_tasks()
    W, Omega = cp.Variable((D, N)), cp.Variable((N, N), PSD=True)
    loss = sum(cp.sum_squares(X @ W[:, i] - y) / len(y) for i, (X, y) in enumerate(tasks))
    price = 0.2 * cp.matrix_frac(W.T, Omega) + 0.03 * cp.sum_squares(W)
    problem = cp.Problem(cp.Minimize(loss + price), [cp.trace(Omega) == 1])
    problem.solve(solver=cp.CLARABEL)
    found = learn_relation(tasks, 0.2, ridge=0.03)
    assert found.values[-1] == pytest.approx(problem.value, rel=1e-6)
    np.testing.assert_allclose(found.W, W.value, atol=1e-3)
    np.testing.assert_allclose(found.relation, Omega.value, atol=1e-3)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7, 1.1])
def test_row_sparse_is_the_multi_task_lasso_where_inputs_are_shared(share):
    X, Y, tasks = shared_inputs()
    strength = share * row_sparse_limit(tasks)
    peer = MultiTaskLasso(alpha=strength / 2, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y)
    found = row_sparse(tasks, strength, tolerance=1e-13)
    # The peer minimises |Y - X W|^2 / (2 m) + alpha |W|_{2,1}: half of ours.
    theirs = np.sum((Y - X @ peer.coef_.T) ** 2) / len(X) + strength * literal_norm(
        peer.coef_.T, "row sparse"
    )
    assert found.values[-1] == pytest.approx(theirs, rel=1e-9)
    np.testing.assert_allclose(found.W, peer.coef_.T, atol=1e-6)
    assert ((found.W == 0).all(axis=1) == (peer.coef_.T == 0).all(axis=1)).all()


def test_low_rank_is_a_soft_threshold_where_inputs_are_orthonormal():
    rng = np.random.default_rng(1)
    X = np.sqrt(8) * np.linalg.qr(rng.normal(size=(8, 4)))[0]
    Y = X @ rng.normal(size=(4, 3))
    U, sigma, Vt = np.linalg.svd(X.T @ Y / 8, full_matrices=False)
    strength = 2 * sigma[1]
    found = low_rank(Tasks([X] * 3, list(Y.T)), strength, tolerance=1e-12)
    np.testing.assert_allclose(found.W, (U * np.maximum(sigma - strength / 2, 0)) @ Vt, atol=1e-6)
    assert np.linalg.matrix_rank(found.W) == 1


# The relation -------------------------------------------------------------------


@pytest.mark.parametrize("common", [False, True])
def test_the_relation_is_the_best_of_all_of_trace_one(common):
    tasks, rng = make_tasks(seed=8), np.random.default_rng(8)
    found = learn_relation(tasks, 0.05, common=common)
    V, Omega = found.W - found.common[:, None], found.relation
    np.testing.assert_array_equal(Omega, Omega.T)
    assert np.trace(Omega) == pytest.approx(1)
    assert np.linalg.eigvalsh(Omega)[0] >= -1e-12
    np.testing.assert_allclose(Omega @ Omega * literal_norm(V, "relation") ** 2, V.T @ V, atol=1e-10)
    least = literal_norm(V, "relation") ** 2
    assert np.trace(V @ np.linalg.inv(Omega + 1e-9 * np.eye(N)) @ V.T) == pytest.approx(least, rel=1e-3)
    for _ in range(50):
        half = rng.normal(size=(N, N))
        other = half @ half.T
        other = 0.5 * other / np.trace(other) + 0.5 * Omega
        assert np.trace(V @ np.linalg.pinv(other) @ V.T) >= least * (1 - 1e-9)


def test_a_relation_has_the_rank_of_its_weights():
    tasks = WORLDS["more tasks than features"]
    found = learn_relation(tasks, 0.5)
    ranks = [np.linalg.matrix_rank(M, tol=1e-9) for M in (found.W, found.relation)]
    assert ranks[0] == ranks[1] < len(tasks)


def test_the_optimum_is_a_fixed_point_of_fitting_with_the_learned_relation():
    found = learn_relation(make_tasks(seed=9), 0.05, ridge=0.02, tolerance=1e-12)
    assert np.linalg.matrix_rank(found.W) == N
    P = 0.05 * relations.precision(found.relation, 0.0) + 0.02 * relations.independent(N)
    np.testing.assert_allclose(fit(make_tasks(seed=9), P, 1.0).W, found.W, atol=1e-4)


def test_weights_that_are_all_zero_leave_the_relation_without_opinion():
    tasks = Tasks([X for X, _ in make_tasks()], [np.zeros(m) for m in SIZES])
    for common in (False, True):
        found = learn_relation(tasks, 1.0, common=common)
        assert found.converged
        assert found.gap == 0
        assert not found.W.any()
        np.testing.assert_array_equal(found.relation, np.eye(N) / N)


def test_a_common_vector_costs_nothing_and_changes_no_deviation():
    tasks, shift = make_tasks(seed=10), np.array([3.0, -50.0, 0.5, 7.0])
    moved = Tasks(tasks.X, [y + X @ shift for X, y in tasks])
    options = {"ridge": 0.1, "common": True, "tolerance": 1e-12}
    before, after = learn_relation(tasks, 0.2, **options), learn_relation(moved, 0.2, **options)
    np.testing.assert_allclose(after.W, before.W + shift[:, None], atol=1e-5)
    np.testing.assert_allclose(after.common, before.common + shift, atol=1e-5)
    np.testing.assert_allclose(after.relation, before.relation, atol=1e-5)
    raw = [learn_relation(t, 0.2, ridge=0.1).relation for t in (tasks, moved)]
    assert np.abs(raw[0] - raw[1]).max() > 0.01


def test_the_common_vector_is_the_best_for_the_deviations_found():
    tasks = make_tasks(seed=11)
    found = learn_relation(tasks, 0.2, common=True, tolerance=1e-12)
    V = found.W - found.common[:, None]
    X = np.concatenate([X / np.sqrt(len(X)) for X in tasks.X])
    left = np.concatenate([(y - X @ v) / np.sqrt(len(y)) for (X, y), v in zip(tasks, V.T, strict=True)])
    np.testing.assert_allclose(found.common, np.linalg.lstsq(X, left)[0], atol=1e-9)


def test_a_strong_relation_of_deviations_pools_all_tasks():
    tasks = make_tasks(seed=12)
    X = np.concatenate([X / np.sqrt(len(X)) for X in tasks.X])
    y = np.concatenate([y / np.sqrt(len(y)) for y in tasks.y])
    pooled = np.linalg.lstsq(X, y)[0]
    found = learn_relation(tasks, 1e8, common=True)
    np.testing.assert_allclose(found.W, np.tile(pooled[:, None], N), atol=1e-6)


def test_families_show_in_the_relation_that_is_learned():
    rng = np.random.default_rng(0)
    centres = np.array([[3.0, 0, 0, 1], [0, 3.0, -1, 0]])
    X = [rng.normal(size=(40, 4)) for _ in range(6)]
    y = [x @ centres[i % 2] + 0.1 * rng.normal(size=40) for i, x in enumerate(X)]
    Omega = learn_relation(Tasks(X, y), 1e-3).relation
    same = np.equal.outer(np.arange(6) % 2, np.arange(6) % 2)
    assert Omega[same].min() > 5 * np.abs(Omega[~same]).max()


# Certificates, starts, symmetries -------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("common", [False, True])
def test_the_gap_bounds_the_distance_to_the_minimum(kind, common):
    if common and kind != "relation":
        return
    options = {"common": True, "ridge": 0.1} if common else {}
    tasks = make_tasks(seed=13)
    best = METHODS[kind](tasks, 0.1, tolerance=1e-12, **options)
    for steps in (0, 1, 5, 12, 25):
        early = METHODS[kind](tasks, 0.1, tolerance=1e-14, max_iterations=steps, **options)
        assert early.values[-1] - best.values[-1] <= early.gap + 1e-12
    assert 0 <= best.gap <= 1e-12 * best.values[-1] + 1e-13


@pytest.mark.parametrize("kind", METHODS)
def test_every_start_leads_to_the_same_value(kind):
    tasks, rng = make_tasks(seed=14), np.random.default_rng(14)
    best = METHODS[kind](tasks, 0.1, tolerance=1e-10)
    starts = [rng.normal(size=(D, N)) * scale for scale in (0.1, 1.0, 1e9, 1e200)]
    starts += [np.outer(np.ones(D), np.arange(1.0, N + 1)), np.zeros((D, N)), best.W]
    for start in starts:
        with unchanged(start):
            found = METHODS[kind](tasks, 0.1, W0=start, tolerance=1e-10)
        assert found.converged
        assert found.values[-1] == pytest.approx(best.values[-1], rel=1e-9)


def test_a_start_of_deviations_is_taken_about_its_mean():
    tasks = make_tasks(seed=15)
    cold = learn_relation(tasks, 0.1, common=True)
    V = cold.W - cold.W.mean(axis=1, keepdims=True)
    X = np.concatenate([X / np.sqrt(len(X)) for X in tasks.X])
    left = np.concatenate([(y - X @ v) / np.sqrt(len(y)) for (X, y), v in zip(tasks, V.T, strict=True)])
    w_0 = np.linalg.lstsq(X, left)[0]
    start = literal_value(tasks, V + w_0[:, None], "relation", 0.1, common=w_0)
    assert start < cold.values[0]
    for W0 in (cold.W, V, V + np.array([[1e3], [0.0], [-20.0], [1.0]])):
        assert learn_relation(tasks, 0.1, common=True, W0=W0).values[0] == pytest.approx(start)


@pytest.mark.parametrize("kind", METHODS)
def test_moments_serve_as_well_as_rows_and_nothing_is_changed(world, kind):
    with unchanged(*world.X, *world.y):
        rows = METHODS[kind](world, 0.1)
    moments = METHODS[kind](Moments.from_tasks(world), 0.1)
    np.testing.assert_array_equal(rows.W, moments.W)


@pytest.mark.parametrize("kind", METHODS)
def test_the_order_of_tasks_and_the_axes_of_features_do_not_matter(kind):
    tasks, order = make_tasks(seed=16), [2, 0, 1]
    Q = np.linalg.qr(np.random.default_rng(16).normal(size=(D, D)))[0]
    Q = np.eye(D)[[1, 3, 0, 2]] if kind == "row sparse" else Q
    other = Tasks([tasks.X[i] @ Q for i in order], [tasks.y[i] for i in order])
    here, there = (METHODS[kind](t, 0.1, tolerance=1e-13) for t in (tasks, other))
    np.testing.assert_allclose(there.W, Q.T @ here.W[:, order], atol=1e-5)
    if kind == "relation":
        np.testing.assert_allclose(there.relation, here.relation[np.ix_(order, order)], atol=1e-5)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e8])
def test_units_of_the_targets_only_rescale_the_answer(kind, unit):
    tasks = make_tasks(seed=17)
    scaled = Tasks(tasks.X, [unit * y for y in tasks.y])
    strength = 0.1 if kind == "relation" else 0.1 * unit
    here, there = METHODS[kind](tasks, 0.1), METHODS[kind](scaled, strength)
    assert there.converged
    np.testing.assert_allclose(there.W / unit, here.W, atol=1e-6)


# Ends of the path -----------------------------------------------------------------


@pytest.mark.parametrize(("method", "limit"), [(low_rank, low_rank_limit), (row_sparse, row_sparse_limit)])
def test_from_its_limit_on_nothing_is_left_and_just_below_something_is(world, method, limit):
    for share in (1.0, 1.000001, 50.0):
        found = method(world, share * limit(world))
        assert found.converged
        assert found.gap <= 1e-12 * found.values[0]
        assert not found.W.any()
    assert method(world, 0.99 * limit(world)).W.any()


def test_limits_are_the_dual_norms_of_the_gradient_at_zero():
    tasks = make_tasks(seed=18)
    G = np.column_stack([-2 * X.T @ y / len(y) for X, y in tasks])
    assert low_rank_limit(tasks) == pytest.approx(svdvals(G)[0])
    assert row_sparse_limit(tasks) == pytest.approx(max(np.sqrt(sum(x * x for x in row)) for row in G))
    assert low_rank_limit(Moments.from_tasks(tasks)) == low_rank_limit(tasks)


def test_a_path_of_low_rank_lowers_the_rank_and_warm_starts_save_steps():
    tasks = make_tasks((30,) * 6, d=5, seed=19)
    strengths = low_rank_limit(tasks) * np.logspace(0, -3, 12)
    W, warm, cold, ranks = None, 0, 0, []
    for strength in strengths:
        found = low_rank(tasks, strength, W0=W)
        W, warm = found.W, warm + found.n_iterations
        cold += low_rank(tasks, strength).n_iterations
        ranks.append(np.linalg.matrix_rank(W, tol=1e-9))
    assert ranks[0] == 0
    assert ranks[-1] == 5
    assert np.all(np.diff(ranks) >= 0)
    assert warm < cold


@pytest.mark.parametrize("kind", METHODS)
def test_strength_zero_is_least_squares_for_each_task(kind):
    tasks = make_tasks()
    found = METHODS[kind](tasks, 0.0)
    for (X, y), w in zip(tasks, found.W.T, strict=True):
        np.testing.assert_allclose(w, np.linalg.lstsq(X, y)[0], atol=1e-9)
    assert found.converged
    assert "free" not in found.message
    assert found.values[-1] == pytest.approx(sum(literal_errors(found.W, tasks)))


@pytest.mark.parametrize("kind", METHODS)
def test_strength_zero_on_singular_data_says_how_many_directions_are_free(kind):
    tasks = WORLDS["fewer rows than features"]
    found = METHODS[kind](tasks, 0.0)
    assert found.converged
    assert "9 directions free: one of many minimisers" in found.message
    assert sum(literal_errors(found.W, tasks)) == pytest.approx(0, abs=1e-20)


def test_strength_zero_keeps_directions_that_are_thin_but_there():
    rng = np.random.default_rng(20)
    X = rng.normal(size=(9, 3))
    X[:, 1] = X[:, 0] + 1e-4 * X[:, 1]
    y = X @ np.array([1.0, 2.0, 3.0])
    found = low_rank(Tasks([X, X], [y, -y]), 0.0)
    np.testing.assert_allclose(found.W, np.outer([1, 2, 3], [1, -1]), atol=1e-4)


def test_no_value_is_negative():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6, 3))
        tasks = Tasks([X] * 4, list((X @ rng.normal(size=(3, 4))).T))
        for method in METHODS.values():
            assert method(tasks, 0.0).values[-1] >= 0


def test_strength_zero_with_a_ridge_is_ridge_regression():
    tasks = WORLDS["fewer rows than features"]
    found = learn_relation(tasks, 0.0, ridge=0.3)
    np.testing.assert_allclose(found.W, fit(tasks, relations.independent(3), 0.3).W, atol=1e-9)
    assert found.gap <= 1e-12
    assert "free" not in found.message


def test_units_of_features_hide_no_direction():
    units = np.array([1e-6, 1.0, 1e6, 1.0])
    tasks = make_tasks(scales=units)
    assert "free" not in low_rank(tasks, 0.0).message
    # With deviations priced out, the common vector is a regression, whatever the units.
    plain, found = (learn_relation(t, 1e20, common=True) for t in (make_tasks(), tasks))
    np.testing.assert_allclose(found.common * units, plain.common, rtol=1e-5)


def test_a_perfect_fit_converges():
    X = [np.eye(3), 2 * np.eye(3)]
    tasks = Tasks(X, [np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])])
    for method in METHODS.values():
        assert method(tasks, 1e-12, tolerance=1e-6).converged
        assert method(tasks, 0.0).converged


# What is refused ------------------------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
def test_bad_input_is_refused_in_a_sentence(kind):
    method, tasks = METHODS[kind], make_tasks()
    with refused("tasks", "Tasks", "ndarray", "Build it", kind=TypeError):
        method(np.ones((3, 3)), 1.0)
    for bad in (-1.0, np.nan, np.inf, "1", True, None):
        with refused("strength", "at least 0", repr(bad)):
            method(tasks, bad)
    for bad in (0, -1e-3, np.nan):
        with refused("tolerance", "above 0", repr(bad)):
            method(tasks, 1.0, tolerance=bad)
        with refused("tolerance", "above 0", repr(bad)):
            method(tasks, 0.0, tolerance=bad)
    with refused("max_iterations", "whole number", "2.5"):
        method(tasks, 1.0, max_iterations=2.5)
    with refused("W0", "(4, 3)", "(3, 4)", "transposed"):
        method(tasks, 1.0, W0=np.zeros((3, 4)))
    with refused("W0", "finite", "inf"):
        method(tasks, 1.0, W0=np.full((4, 3), np.inf))


def test_bad_options_of_a_relation_are_refused():
    tasks = make_tasks()
    with refused("ridge", "at least 0", "-1"):
        learn_relation(tasks, 1.0, ridge=-1)
    with refused("common", "bool", "str", "True or False", kind=TypeError):
        learn_relation(tasks, 1.0, common="yes")
    with refused("strength", "above 0 beside common=True", "0", "If the deviations cost nothing"):
        learn_relation(tasks, 0.0, common=True)
    for limit in (low_rank_limit, row_sparse_limit):
        with refused("tasks", "Tasks", "list", kind=TypeError):
            limit([1, 2])


@pytest.mark.parametrize("kind", METHODS)
def test_too_few_steps_are_confessed(kind):
    found = METHODS[kind](make_tasks(), 0.01, max_iterations=2)
    assert not found.converged
    assert found.n_iterations == 2
    assert "Allow more steps" in found.message


def test_learned_relations_are_frozen():
    found = learn_relation(make_tasks(), 0.1)
    for array in (found.W, found.values, found.relation, found.common):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
