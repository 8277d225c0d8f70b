"""Intercepts: levels with a penalty of their own equal their literal twins, and so do their ends."""

import cvxpy as cp
import numpy as np
import pytest
from helpers import (
    PENALTIES,
    SIZES,
    D,
    N,
    assert_gradient,
    finite_differences,
    full_penalty,
    kronecker_solution,
    literal_trace,
    make_tasks,
    random_similarity,
    refused,
    unchanged,
)

from mtlbook import Tasks, cross_validate, fit, k_folds, relations, solve, squared_errors, standardize
from mtlbook.intercepts import LevelRegularized, LevelResult, level_path, minimise
from mtlbook.levels import LevelMoments, LevelPenalty
from mtlbook.model_selection import validate_levels

WEIGHTS = np.array([0.5, 2.0, 0.7])
LEVELS = relations.laplacian(random_similarity(seed=5)) + np.diag([0.1, 0.0, 0.3])


@pytest.fixture
def tasks() -> Tasks:
    """Tasks whose rows lie far from zero, each elsewhere, at levels of their own."""
    plain, rng = make_tasks(), np.random.default_rng(9)
    X = [x + rng.normal(size=D) for x in plain.X]
    return Tasks(X, [y + level for y, level in zip(plain.y, (3.0, -1.0, 0.5), strict=True)])


# Literal twins ----------------------------------------------------------------


def literal_joint(tasks, P, strength, levels, level_strength, W, weights):
    """F(W, l), row by row."""
    total = strength * literal_trace(W, P)
    for i, (X, y) in enumerate(tasks):
        for x, target in zip(X, y, strict=True):
            error = sum(x[k] * W[k, i] for k in range(len(x))) + levels[i] - target
            total += weights[i] / len(y) * error**2
        for j in range(len(levels)):
            total += level_strength * LEVELS[i, j] * levels[i] * levels[j]
    return total


def dense_answer(tasks, P, strength, level_strength, P_levels=LEVELS, weights=(1.0, 1.0, 1.0)):
    """Slopes and levels from one linear system in all unknowns, rows of ones for the levels."""
    n, d = len(tasks), tasks.n_features + 1
    H, c = np.zeros((n * d, n * d)), np.zeros(n * d)
    for i, (X, y) in enumerate(tasks):
        block = slice(i * d, (i + 1) * d)
        for x, target in zip(np.column_stack([X, np.ones(len(y))]), y, strict=True):
            H[block, block] += weights[i] / len(y) * np.outer(x, x)
            c[block] += weights[i] / len(y) * target * x
        for j in range(n):
            for k in range(d - 1):
                H[i * d + k, j * d + k] += strength * P[i, j]
            H[i * d + d - 1, j * d + d - 1] += level_strength * P_levels[i, j]
    both = np.linalg.solve(H, c).reshape(n, d).T
    return both[:-1], both[-1]


# The objective ----------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("level_strength", [0.0, 0.4, 30.0])
def test_value_is_the_least_of_the_joint_objective_over_all_levels(
    tasks, rng, penalty, level_strength, weights
):
    P, W = PENALTIES[penalty], rng.normal(size=(D, N))
    F = LevelRegularized(tasks, P, 0.3, LevelPenalty(LEVELS, level_strength), weights)
    c = np.ones(N) if weights is None else weights

    def joint(levels):
        return literal_joint(tasks, P, 0.3, levels, level_strength, W, c)

    best = F.levels_at(W)
    assert F.value(W) == pytest.approx(joint(best), rel=1e-10)
    np.testing.assert_allclose(
        finite_differences(lambda levels: joint(levels[0]), best[None])[0],
        0.0,
        atol=1e-6 * (1 + level_strength),
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("level_strength", [0.0, 0.4, 30.0, np.inf])
def test_gradient_meets_finite_differences_and_the_hessian_is_how_it_changes(
    tasks, rng, level_strength, weights
):
    F = LevelRegularized(tasks, full_penalty(), 0.3, LevelPenalty(LEVELS, level_strength), weights)
    W, V = rng.normal(size=(2, D, N))
    assert_gradient(F.value, F.gradient(W), W)
    change = F.gradient(W + V) - F.gradient(W)
    np.testing.assert_allclose((F.hessian() @ V.ravel(order="F")).reshape(N, D).T, change, atol=1e-9)
    np.testing.assert_array_equal(F.hessian(), F.hessian().T)
    top = np.linalg.eigvalsh(F.hessian())[-1]
    assert top <= F.lipschitz() <= 3 * top


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("penalty", ["independent", "laplacian", "full"])
@pytest.mark.parametrize("level_strength", [0.0, 0.4, 1e5])
def test_slopes_and_levels_solve_the_system_in_all_unknowns(tasks, penalty, level_strength, weights):
    P, c = PENALTIES[penalty], (1.0, 1.0, 1.0) if weights is None else weights
    found = fit(tasks, P, 0.3, levels=LevelPenalty(LEVELS, level_strength), weights=weights)
    W, levels = dense_answer(tasks, P, 0.3, level_strength, weights=c)
    np.testing.assert_allclose(found.W, W, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.levels, levels, rtol=1e-7, atol=1e-9)
    assert isinstance(found, LevelResult)
    assert found.converged


def test_a_convex_program_in_slopes_and_levels_agrees(tasks):
    W, levels = cp.Variable((D, N)), cp.Variable(N)
    root, root_levels = np.linalg.cholesky(full_penalty()), np.linalg.cholesky(LEVELS + 1e-12 * np.eye(N))
    loss = sum(cp.sum_squares(X @ W[:, i] + levels[i] - y) / len(y) for i, (X, y) in enumerate(tasks))
    penalty = 0.3 * cp.sum_squares(W @ root) + 0.7 * cp.sum_squares(root_levels.T @ levels)
    cp.Problem(cp.Minimize(loss + penalty)).solve(solver=cp.CLARABEL)
    found = fit(tasks, full_penalty(), 0.3, levels=LevelPenalty(LEVELS, 0.7))
    np.testing.assert_allclose(found.W, W.value, atol=1e-5)
    np.testing.assert_allclose(found.levels, levels.value, atol=1e-5)


# The ends ---------------------------------------------------------------------


def test_free_levels_are_centring_each_task_by_its_own_means(tasks):
    centred = Tasks([X - X.mean(axis=0) for X in tasks.X], [y - y.mean() for y in tasks.y])
    free = fit(tasks, full_penalty(), 0.3, levels=LevelPenalty(relations.to_mean(N), 0.0))
    apart = fit(centred, full_penalty(), 0.3)
    np.testing.assert_allclose(free.W, apart.W, rtol=1e-9)
    np.testing.assert_allclose(
        squared_errors(free.W, tasks, free.levels), squared_errors(apart.W, centred), rtol=1e-9
    )
    for (X, y), w, level in zip(tasks, free.W.T, free.levels, strict=True):
        assert np.mean(y - X @ w - level) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_an_infinite_coupling_of_levels_is_one_common_level(tasks, weights):
    common = fit(
        tasks, full_penalty(), 0.3, levels=LevelPenalty(relations.to_mean(N), np.inf), weights=weights
    )
    assert np.ptp(common.levels) <= 1e-12
    c = (1.0, 1.0, 1.0) if weights is None else weights
    W, levels = dense_answer(tasks, full_penalty(), 0.3, 1e7, relations.to_mean(N), c)
    np.testing.assert_allclose(common.W, W, rtol=1e-4)
    np.testing.assert_allclose(common.levels, levels, rtol=1e-4)


def test_a_huge_finite_coupling_loses_no_digits(tasks):
    P = relations.to_mean(N)
    ends = [fit(tasks, full_penalty(), 0.3, levels=LevelPenalty(P, s)) for s in (1e15, np.inf)]
    np.testing.assert_allclose(ends[0].W, ends[1].W, rtol=1e-9)
    np.testing.assert_allclose(ends[0].levels, ends[1].levels, rtol=1e-9)


def test_infinite_clusters_share_a_level_each(tasks):
    found = fit(tasks, full_penalty(), 0.3, levels=LevelPenalty(relations.clusters([0, 1, 0]), np.inf))
    assert found.levels[0] == pytest.approx(found.levels[2], abs=1e-12)
    assert abs(found.levels[0] - found.levels[1]) > 0.1


def test_tied_levels_are_a_feature_of_ones(tasks):
    ones = Tasks([np.column_stack([X, np.ones(len(X))]) for X in tasks.X], tasks.y)
    W = kronecker_solution(ones, full_penalty(), 0.3)
    tied = fit(tasks, full_penalty(), 0.3, levels=LevelPenalty(full_penalty(), 0.3))
    np.testing.assert_allclose(tied.W, W[:-1], rtol=1e-9)
    np.testing.assert_allclose(tied.levels, W[-1], rtol=1e-9)


@pytest.mark.parametrize("ratio", [0.1, 3.0, 50.0])
def test_pooled_slopes_with_rows_alike_are_the_random_intercept_of_statistics(tasks, ratio):
    """Generalised least squares for the slopes, best linear unbiased predictions for the levels."""
    m = np.array(tasks.n_rows)
    X = np.column_stack([np.concatenate(tasks.X), np.ones(m.sum())])
    y, members = np.concatenate(tasks.y), np.repeat(np.eye(N), m, axis=0)
    V = np.eye(m.sum()) + members @ members.T / ratio
    slopes = np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))
    own = members.T @ np.linalg.solve(V, y - X @ slopes) / ratio
    penalty = LevelPenalty(relations.to_mean(N), ratio / m.mean())
    found = fit(tasks, np.eye(N), 0.0, levels=penalty, weights=m / m.mean(), pooled=True)
    np.testing.assert_allclose(found.W, np.tile(slopes[:-1, None], N), rtol=1e-9)
    np.testing.assert_allclose(found.levels, slopes[-1] + own, rtol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_pooled_objective_is_the_joint_one_at_equal_slopes(tasks, rng, penalty):
    F = LevelRegularized(tasks, PENALTIES[penalty], 0.3, LevelPenalty(LEVELS, 0.4), WEIGHTS)
    w = rng.normal(size=(D, 1))
    assert F.pooled().value(w) == pytest.approx(F.value(np.tile(w, N)), rel=1e-10)
    found = minimise(F, pooled=True)
    assert found.W.shape == (D, N)
    np.testing.assert_allclose(F.gradient(found.W).sum(axis=1), 0.0, atol=1e-9)


def test_levels_do_not_move_slopes_when_all_features_and_targets_shift_together(tasks):
    shifted = Tasks([X + 2.0 for X in tasks.X], [y - 5.0 for y in tasks.y])
    penalty = LevelPenalty(relations.to_mean(N), 0.4)
    one, other = (fit(t, np.eye(N), 0.3, levels=penalty, pooled=True) for t in (tasks, shifted))
    np.testing.assert_allclose(one.W, other.W, rtol=1e-9)
    np.testing.assert_allclose(other.levels, one.levels - 5.0 - 2.0 * one.W.sum(axis=0), rtol=1e-9)


# Tasks without rows -----------------------------------------------------------


@pytest.mark.parametrize("level_strength", [0.4, np.inf])
def test_a_task_without_rows_takes_what_the_relation_gives_it(tasks, level_strength):
    X, y = np.concatenate(tasks.X), np.concatenate(tasks.y)
    index = np.repeat(np.arange(N), SIZES)
    moments = LevelMoments.from_rows(X, y, index, N + 1)
    penalty = LevelPenalty(relations.to_mean(N + 1), level_strength)
    found = minimise(LevelRegularized(moments, relations.to_mean(N + 1), 0.3, penalty))
    np.testing.assert_allclose(found.W[:, -1], found.W[:, :-1].mean(axis=1), rtol=1e-8)
    assert found.levels[-1] == pytest.approx(found.levels[:-1].mean(), rel=1e-8)
    # The same as a task whose one row weighs next to nothing.
    ghost = Tasks([*tasks.X, np.zeros((1, D))], [*tasks.y, [0.0]])
    weights = [1.0, 1.0, 1.0, 1e-9]
    faint = fit(ghost, relations.to_mean(N + 1), 0.3, levels=penalty, weights=weights)
    np.testing.assert_allclose(found.W, faint.W, atol=1e-6)
    np.testing.assert_allclose(found.levels, faint.levels, atol=1e-6)


def test_free_levels_leave_a_task_without_rows_at_zero(tasks):
    moments = LevelMoments.from_rows(tasks.X[0], tasks.y[0], np.zeros(SIZES[0], dtype=int), 2)
    found = minimise(LevelRegularized(moments, np.eye(2), 0.3, LevelPenalty(np.eye(2), 0.0)))
    np.testing.assert_allclose(found.W[:, 1], 0.0, atol=1e-12)
    assert found.levels[1] == pytest.approx(0.0, abs=1e-12)


# Moments ----------------------------------------------------------------------


def test_moments_measure_the_errors_of_the_rows(tasks, rng):
    W, levels = rng.normal(size=(D, N)), rng.normal(size=N)
    moments = LevelMoments.from_tasks(tasks)
    np.testing.assert_allclose(moments.errors(W, levels), squared_errors(W, tasks, levels), rtol=1e-10)
    literal = [np.mean((X @ w + a - y) ** 2) for (X, y), w, a in zip(tasks, W.T, levels, strict=True)]
    np.testing.assert_allclose(squared_errors(W, tasks, levels), literal, rtol=1e-12)


def test_moments_of_a_shuffled_table_are_those_of_the_tasks(tasks, rng):
    index = np.repeat(np.arange(N), SIZES)
    order = rng.permutation(sum(SIZES))
    X, y = np.concatenate(tasks.X), np.concatenate(tasks.y)
    shuffled, plain = (
        LevelMoments.from_rows(X[order], y[order], index[order], N + 1),
        LevelMoments.from_tasks(tasks),
    )
    np.testing.assert_allclose(shuffled.C[:N], plain.C, atol=1e-12)
    np.testing.assert_allclose(shuffled.B[:, :N], plain.B, atol=1e-12)
    np.testing.assert_allclose(
        shuffled.X_mean[:, :N], np.transpose([x.mean(axis=0) for x in tasks.X]), atol=1e-12
    )
    np.testing.assert_array_equal(shuffled.m, [*SIZES, 0])
    assert shuffled.errors(rng.normal(size=(D, N + 1)), rng.normal(size=N + 1))[N] == 0


# Steps ------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["to_mean", "independent", "laplacian", "clusters"])
@pytest.mark.parametrize("level_strength", [0.0, 0.3, np.inf])
def test_few_steps_reach_the_answer_at_every_strength(rng, relation, level_strength):
    n, d = 60, 9
    rows = rng.integers(2, 30, size=n)
    X = [rng.normal(size=(m, d)) * rng.uniform(0.2, 3, size=d) + rng.normal(size=d) for m in rows]
    many = Tasks(X, [x @ rng.normal(size=d) + rng.normal(size=len(x)) for x in X])
    P = {
        "to_mean": relations.to_mean(n),
        "independent": np.eye(n),
        "laplacian": relations.laplacian(random_similarity(n)) / n,
        "clusters": relations.clusters(np.arange(n) % 4),
    }[relation]
    P = 0.99 * P + 0.01 * np.eye(n)
    for strength in (1e-4, 1e-2, 1.0, 1e2, 1e4):
        F = LevelRegularized(many, P, strength, LevelPenalty(relations.to_mean(n), level_strength))
        assert solve(F, gap=1e-10).n_iterations <= 100
        found = minimise(F)
        assert found.converged
        exact = np.linalg.solve(F.hessian(), -F.gradient(np.zeros(F.shape)).ravel(order="F"))
        np.testing.assert_allclose(found.W.ravel(order="F"), exact, atol=1e-7 * np.abs(exact).max())


def test_the_preconditioner_is_symmetric_and_definite(tasks):
    F = LevelRegularized(tasks, relations.to_mean(N), 0.3, LevelPenalty(LEVELS, 0.4), WEIGHTS)
    apply, size = F.preconditioner(), D * N
    columns = [apply(e.reshape(N, D).T).ravel(order="F") for e in np.eye(size)]
    np.testing.assert_allclose(columns, np.transpose(columns), atol=1e-12)
    assert np.linalg.eigvalsh(columns)[0] > 0


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_path_holds_the_answer_at_each_strength(tasks, penalty, weights, pooled):
    F = LevelRegularized(tasks, PENALTIES[penalty], 7.0, LevelPenalty(LEVELS, 0.4), weights)
    strengths = [10.0, 0.01, 0.3]
    for W, levels, strength in zip(*level_path(F, strengths, pooled=pooled), strengths, strict=True):
        found = minimise(F.at(strength), pooled=pooled)
        np.testing.assert_allclose(W, found.W, atol=1e-6 * np.abs(found.W).max())
        np.testing.assert_allclose(levels, found.levels, atol=1e-6 * np.abs(found.levels).max())


def test_systems_are_half_the_gradient_and_their_preconditioner_half_the_inverse(tasks, rng):
    F = LevelRegularized(tasks, full_penalty(), 7.0, LevelPenalty(LEVELS, 0.4), WEIGHTS)
    systems, V = F.systems(np.array([0.3, 2.0])), rng.normal(size=(N, D, 2))
    for k, strength in enumerate((0.3, 2.0)):
        other, W = F.at(strength), V[..., k].T
        slope = other.gradient(W) - other.gradient(np.zeros(F.shape))
        np.testing.assert_allclose(2 * systems.apply(V)[..., k].T, slope, atol=1e-10)
        np.testing.assert_allclose(
            systems.precondition(V)[..., k].T / 2, other.preconditioner()(W), rtol=1e-9
        )
        alone = systems.keep(np.arange(2) == k)
        np.testing.assert_allclose(alone.apply(V[..., k : k + 1])[..., 0].T, slope / 2, atol=1e-10)


def test_another_strength_shares_all_but_the_strength(tasks, rng):
    F = LevelRegularized(tasks, full_penalty(), 0.3, LevelPenalty(LEVELS, 0.4), WEIGHTS)
    W = rng.normal(size=(D, N))
    other = LevelRegularized(tasks, full_penalty(), 5.0, LevelPenalty(LEVELS, 0.4), WEIGHTS)
    assert F.at(5.0).value(W) == other.value(W)
    assert F.strength == 0.3
    assert F.at(5.0).moments is F.moments
    penalty = LevelPenalty(LEVELS, 0.4)
    assert (penalty.at(2.0).strength, penalty.strength) == (2.0, 0.4)
    for weights in (np.ones(N), WEIGHTS, np.ones(N)):
        np.testing.assert_array_equal(penalty.answer(weights), LevelPenalty(LEVELS, 0.4).answer(weights))


# Cross-validation -------------------------------------------------------------


def test_levels_are_chosen_by_the_same_cross_validation(rng):
    tasks = make_tasks((15, 18, 21))
    folds = [standardize(*fold, together=True) for fold in k_folds(tasks, 3, rng)]
    grid, own = [3.0, 0.1], [0.0, 0.5, np.inf]
    penalty = LevelPenalty(relations.to_mean(N), 1.0)
    found = cross_validate(folds, full_penalty(), grid, levels=[penalty.at(s) for s in own])
    assert found.errors.shape == (6, 3, N)
    pairs = [(s, a) for s in grid for a in own]
    assert list(zip(found.strengths, found.level_strengths, strict=True)) == pairs
    for row, (strength, level_strength) in zip(found.errors, pairs, strict=True):
        for errors, (train, test) in zip(row, folds, strict=True):
            best = fit(train, full_penalty(), strength, levels=penalty.at(level_strength))
            np.testing.assert_allclose(errors, squared_errors(best.W, test, best.levels), rtol=1e-6)
    least = min(range(6), key=lambda k: found.errors[k].mean())
    assert (found.best, found.best_level) == pairs[least]


def test_of_pairs_that_tie_the_one_with_the_smallest_strengths_wins(rng):
    far = Tasks([np.zeros((4, 1))] * 2, [np.zeros(4)] * 2)
    levels = [LevelPenalty(np.eye(2), s) for s in (2.0, 1.0)]
    found = cross_validate([(far, far)], np.eye(2), [3.0, 1.0], levels=levels)
    assert (found.best, found.best_level) == (1.0, 1.0)


def test_levels_validated_without_levels_have_no_best(tasks):
    with refused("best_level", "levels with a strength", "none", "Pass levels="):
        cross_validate([(tasks, tasks)], np.eye(N), [1.0]).best_level  # noqa: B018


def test_one_penalty_on_levels_and_pooled_slopes_are_enough(tasks):
    penalty = LevelPenalty(relations.to_mean(N), 0.5)
    found = cross_validate([(tasks, tasks)], np.eye(N), [0.3], levels=penalty, pooled=True)
    best = fit(tasks, np.eye(N), 0.3, levels=penalty, pooled=True)
    np.testing.assert_allclose(found.errors[0, 0], squared_errors(best.W, tasks, best.levels), rtol=1e-9)


def test_a_large_level_is_found_where_slopes_are_alike_and_levels_are_not(rng):
    X = [rng.normal(size=(12, D)) for _ in range(6)]
    apart = Tasks(X, [x.sum(axis=1) + 5 * i + rng.normal(size=12) for i, x in enumerate(X)])
    alike = Tasks(X, [x.sum(axis=1) + rng.normal(size=12) for x in X])
    levels = [LevelPenalty(relations.to_mean(6), s) for s in (0.0, np.inf)]
    best = [
        cross_validate(k_folds(t, 4, rng), relations.to_mean(6), [1e-4, 1e4], levels=levels)
        for t in (apart, alike)
    ]
    assert [(found.best, found.best_level) for found in best] == [(1e4, 0.0), (1e4, np.inf)]


# Standardizing together -------------------------------------------------------


def test_standardizing_together_uses_one_mean_and_the_deviation_from_it(tasks):
    train, test = standardize(tasks, tasks, together=True)
    X, y = np.concatenate(tasks.X), np.concatenate(tasks.y)
    np.testing.assert_allclose(np.concatenate(train.X), (X - X.mean(axis=0)) / X.std(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.concatenate(test.y), y - y.mean(), atol=1e-12)
    assert abs(np.mean(train.y[0])) > 0.1


def test_standardizing_together_keeps_a_feature_that_only_tells_tasks_apart():
    X = [np.full((3, 1), float(i)) for i in range(3)]
    tasks = Tasks(X, [np.arange(3.0)] * 3)
    np.testing.assert_array_equal(np.concatenate(standardize(tasks)[0].X), 0.0)
    assert np.concatenate(standardize(tasks, together=True)[0].X).std() == pytest.approx(1.0)
    same = Tasks([np.ones((3, 1))] * 2, [np.arange(3.0)] * 2)
    np.testing.assert_array_equal(np.concatenate(standardize(same, together=True)[0].X), 0.0)


# Refusals ---------------------------------------------------------------------


def test_what_does_not_fit_is_refused(tasks):
    penalty = LevelPenalty(np.eye(N), 1.0)
    for strength in (-1.0, -np.inf, np.nan, "1", None):
        with refused("strength of the levels", "a finite number of at least 0"):
            LevelPenalty(np.eye(N), strength)
        with refused("strength of the levels"):
            penalty.at(strength)
    with refused("P of the levels", "a positive semidefinite matrix"):
        LevelPenalty(-np.eye(N), 1.0)
    with refused("P of the levels", f"an array of shape ({N}, {N})", "(2, 2)"):
        fit(tasks, np.eye(N), 1.0, levels=LevelPenalty(np.eye(2), 1.0))
    with refused("levels", "a LevelPenalty", "float", "LevelPenalty(P, strength)", kind=TypeError):
        fit(tasks, np.eye(N), 1.0, levels=0.5)
    with refused("levels", "a LevelPenalty", "none, but weights"):
        fit(tasks, np.eye(N), 1.0, weights=WEIGHTS)
    with refused("levels", "a LevelPenalty", "none, but pooled"):
        fit(tasks, np.eye(N), 1.0, pooled=True)
    with refused("levels", "at least one LevelPenalty", "none"):
        cross_validate([(tasks, tasks)], np.eye(N), [1.0], levels=[])
    with refused("weights", "an array of shape (3,)"):
        fit(tasks, np.eye(N), 1.0, levels=penalty, weights=[1.0])
    for weights in ([1.0, -1.0, 1.0], [0.0, 0.0, 0.0]):
        with refused("weights", "at least zero, not all zero"):
            fit(tasks, np.eye(N), 1.0, levels=penalty, weights=weights)
    with refused("strength", "a finite number of at least 0", "-1"):
        LevelRegularized(tasks, np.eye(N), 1.0, penalty).at(-1.0)
    with refused("levels", "an array of shape (3,)"):
        squared_errors(np.zeros((D, N)), tasks, [1.0])
    with refused("tasks", "a Tasks", kind=TypeError):
        LevelRegularized(None, np.eye(N), 1.0, penalty)


def test_nothing_given_is_changed_and_nothing_returned_is_writeable(tasks):
    P, weights = full_penalty(), WEIGHTS.copy()
    with unchanged(P, LEVELS, weights, *tasks.X, *tasks.y):
        found = fit(tasks, P, 0.3, levels=LevelPenalty(LEVELS, 0.4), weights=weights)
        validate_levels([(LevelMoments.from_tasks(tasks),) * 2], P, [0.3], [LevelPenalty(LEVELS, 0.4)])
    assert not found.levels.flags.writeable
    assert not found.W.flags.writeable
    assert repr(LevelPenalty(LEVELS, np.inf)) == "LevelPenalty(3 tasks, strength inf)"
