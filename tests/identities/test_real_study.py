"""Equations of the chapter real-study."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, relations
from mtlbook.intercepts import LevelRegularized
from mtlbook.levels import LevelPenalty

STRENGTH, LEVEL_STRENGTH = 0.3, 0.7


@pytest.fixture
def world(tasks):
    """Tasks, slopes, penalties that are not diagonal, and mean rows, means and what slopes leave of them."""
    rng = np.random.default_rng(1)
    n = len(tasks)
    P = relations.precision(relations.similarity(rng.normal(size=(n, 2))), 0.5)
    P_levels = relations.precision(relations.similarity(rng.normal(size=(n, 2))), 0.2)
    W = rng.normal(size=(4, n))
    rows = np.column_stack([X.mean(axis=0) for X, _ in tasks])
    means = np.array([y.mean() for _, y in tasks])
    return tasks, W, P, P_levels, rows, means - np.sum(rows * W, axis=0)


def joint(tasks, W, P, P_levels, levels):
    """F(W, l), row by row."""
    loss = sum(
        sum((x @ w + level - t) ** 2 for x, t in zip(X, y, strict=True)) / len(y)
        for (X, y), w, level in zip(tasks, W.T, levels, strict=True)
    )
    return loss + STRENGTH * np.trace(W @ P @ W.T) + LEVEL_STRENGTH * levels @ P_levels @ levels


@pytest.mark.equation("real-study-levels")
def test_the_best_levels_solve_one_equation_a_task(world):
    """(I + lambda_l P_l) l = r holds where no step away from l lowers F(W, l)."""
    tasks, W, P, P_levels, _, r = world
    levels = np.linalg.solve(np.eye(len(r)) + LEVEL_STRENGTH * P_levels, r)
    least = joint(tasks, W, P, P_levels, levels)
    for k in range(len(r)):
        for step in (-1e-3, 1e-3):
            assert joint(tasks, W, P, P_levels, levels + step * np.eye(len(r))[k]) > least


@pytest.mark.equation("real-study-objective", "real-study-eliminated")
def test_with_the_best_levels_a_function_of_slopes_is_left(world):
    """Errors around the means, r^T M r and the trace add up to the least F(W, l), the package's value."""
    tasks, W, P, P_levels, _, r = world
    inverse = np.linalg.inv(np.eye(len(r)) + LEVEL_STRENGTH * P_levels)
    inside = sum(
        np.mean(((X - X.mean(axis=0)) @ w - (y - y.mean())) ** 2)
        for (X, y), w in zip(tasks, W.T, strict=True)
    )
    left = inside + r @ (np.eye(len(r)) - inverse) @ r + STRENGTH * np.trace(W @ P @ W.T)
    assert_allclose(left, joint(tasks, W, P, P_levels, inverse @ r), rtol=1e-10)
    F = LevelRegularized(
        Tasks(*zip(*tasks, strict=True)), P, STRENGTH, LevelPenalty(P_levels, LEVEL_STRENGTH)
    )
    assert_allclose(F.value(W), left, rtol=1e-10)


@pytest.mark.equation("real-study-outer")
def test_levels_couple_tasks_by_outer_products_of_mean_rows(world):
    """Block (i, j) of the Hessian of r^T M r is 2 M_ij mean(x_i) mean(x_j)^T, by second differences."""
    _, W, _, P_levels, rows, r = world
    n = len(r)
    M = np.eye(n) - np.linalg.inv(np.eye(n) + LEVEL_STRENGTH * P_levels)
    means = r + np.sum(rows * W, axis=0)

    def term(V):
        left = means - np.sum(rows * V, axis=0)
        return left @ M @ left

    step = 0.5
    for i in range(n):
        for j in range(n):
            for k in range(4):
                for q in range(4):
                    E, G = np.zeros(W.shape), np.zeros(W.shape)
                    E[k, i], G[q, j] = step, step
                    second = term(W + E + G) - term(W + E - G) - term(W - E + G) + term(W - E - G)
                    assert_allclose(second / (4 * step**2), 2 * M[i, j] * rows[k, i] * rows[q, j], atol=1e-9)


@pytest.mark.equation("real-study-shrunken")
@pytest.mark.parametrize("level_strength", [0.0, 0.7, 20.0, np.inf])
def test_levels_shrink_to_their_mean_by_one_factor(world, level_strength):
    """With to_mean, l_i is mean(r) + (r_i - mean(r)) / (1 + lambda_l), and M the same for P."""
    tasks, W, P, _, _, r = world
    penalty = LevelPenalty(relations.to_mean(len(r)), level_strength)
    F = LevelRegularized(Tasks(*zip(*tasks, strict=True)), P, STRENGTH, penalty)
    assert_allclose(F.levels_at(W), r.mean() + (r - r.mean()) / (1 + level_strength), atol=1e-12)
    share = 1.0 if level_strength == np.inf else level_strength / (1 + level_strength)
    M = np.eye(len(r)) - penalty.answer(np.ones(len(r)))
    assert_allclose(M, share * relations.to_mean(len(r)), atol=1e-12)
