"""Equations of the chapter what-sharing-buys."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, TraceRegularized, fit, gradient_descent, relations

ROWS = (5, 8, 11)
PENALTIES = {
    "independent": relations.independent(3),
    "one mean": relations.to_mean(3),
    "two families": relations.clusters([0, 1, 1]),
    "rank one": np.outer([1.0, -2.0, 0.5], [1.0, -2.0, 0.5]),
}


def ragged(rows: tuple[int, ...] = ROWS, d: int = 4) -> Tasks:
    """Tasks of these rows over d features."""
    rng = np.random.default_rng(len(rows))
    return Tasks([rng.normal(size=(m, d)) for m in rows], [rng.normal(size=m) for m in rows])


def freedom(tasks: Tasks, P: np.ndarray, strength: float) -> float:
    """tr(H^-1 D)."""
    D, H = (TraceRegularized(tasks, P, s).hessian() for s in (0.0, strength))
    return float(np.trace(np.linalg.solve(H, D)))


@pytest.mark.equation("what-sharing-buys-df")
@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("rows", [ROWS, (2, 9, 7)], ids=["many rows", "fewer rows than features"])
def test_degrees_of_freedom_are_how_far_predictions_follow_their_targets(P, rows):
    """tr(H^-1 D) adds up how predictions move with their own targets; it falls with strength, from rank D."""
    tasks = ragged(rows)
    P = P if rows == ROWS else P + 0.1 * np.eye(3)
    W, literal = fit(tasks, P, 0.7).W, 0.0
    for i, X in enumerate(tasks.X):
        for r in range(len(X)):
            y = [t.copy() for t in tasks.y]
            y[i][r] += 1.0
            literal += X[r] @ (fit(Tasks(tasks.X, y), P, 0.7).W - W)[:, i]
    assert_allclose(freedom(tasks, P, 0.7), literal, rtol=1e-8)
    path = [freedom(tasks, P, strength) for strength in (1e-6, 0.1, 0.7, 5.0, 100.0)]
    assert np.all(np.diff(path) < 0)
    assert path[0] <= sum(min(m, 4) for m in rows)


@pytest.mark.equation("what-sharing-buys-df-limit")
@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_in_the_limit_the_freedom_that_the_penalty_does_not_charge_is_left(P):
    """At huge strengths df is d (n - rank P): one weight vector for each family under a Laplacian."""
    tasks = ragged()
    left = 4 * (3 - np.linalg.matrix_rank(P))
    assert_allclose(freedom(tasks, P, 1e9), left, atol=1e-5)


@pytest.mark.equation("what-sharing-buys-walk")
@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_the_gradient_after_any_number_of_steps_is_known_from_the_eigenvalues(P):
    """Norms of the gradient along plain descent with step 1/L are those of the formula."""
    F = TraceRegularized(ragged(), P, 0.4)
    h, U = np.linalg.eigh(F.hessian())
    g = U.T @ F.gradient(np.zeros(F.shape)).ravel(order="F")
    walked = gradient_descent(F, tolerance=1e-12, max_iterations=30).gradient_norms
    formula = [np.sqrt(np.sum((1 - h / F.lipschitz()) ** (2 * s) * g**2)) for s in range(len(walked))]
    assert len(walked) == 31
    assert_allclose(walked, formula, rtol=1e-8)


# Sharing towards the mean, with inputs whose C_i is the identity ---------------


def expected_risk(W: np.ndarray, strength: float, rho: float = 0.0, noise: float = 0.5) -> float:
    """Mean of |w - w_i|^2 over tasks and over noise, literal, with rows X = sqrt(m) I.

    The noise strikes one row at a time, up or down. Its covariance is noise^2 I; a square needs no more.
    """
    d, n = W.shape
    X = np.sqrt(d) * np.eye(d)
    P = (1 - rho) * relations.to_mean(n) + rho * np.eye(n)
    outcomes = [sign * noise * np.sqrt(d * n) * row for row in np.eye(d * n) for sign in (-1.0, 1.0)]
    risks = []
    for outcome in outcomes:
        guess = fit(Tasks([X] * n, list((X @ W).T + outcome.reshape(n, d))), P, strength).W
        risks.append(np.sum((guess - W) ** 2) / n)
    return float(np.mean(risks))


def parts(W: np.ndarray, noise: float = 0.5) -> tuple[float, float]:
    """a = (1 - 1/n) s^2 and delta^2, for d rows a task."""
    d, n = W.shape
    return (1 - 1 / n) * noise**2 / d, float(np.mean((W - W.mean(axis=1, keepdims=True)) ** 2))


WORLDS = {
    "two tasks": np.array([[1.0, 0.4], [0.2, -0.5]]),
    "near": np.array([[1.0, 1.1, 1.0], [0.2, 0.2, 0.3]]),
    "far": np.array([[1.0, -2.0, 0.0], [0.2, 3.0, -1.0]]),
    "one feature": np.array([[1.0, 1.3, 0.4, 0.9]]),
}


@pytest.mark.equation("what-sharing-buys-risk")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_the_risk_of_sharing_is_noise_of_the_mean_and_shrunken_noise_and_bias(W, strength):
    """R = d (s^2/n + a/(1+l)^2 + l^2 delta^2/(1+l)^2)."""
    d, n = W.shape
    a, apart = parts(W)
    formula = d * (0.25 / d / n + (a + strength**2 * apart) / (1 + strength) ** 2)
    assert_allclose(expected_risk(W, strength), formula, rtol=1e-9)


@pytest.mark.equation("what-sharing-buys-iff")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
def test_sharing_helps_if_and_only_if_it_is_gentle_enough(W):
    """R(l) < R(0) exactly where l (delta^2 - a) < 2 a; for near tasks at every strength."""
    a, apart = parts(W)
    edge = 2 * a / (apart - a) if apart > a else np.inf
    alone = expected_risk(W, 0.0)
    for strength in (0.1, min(0.99 * edge, 1e4), min(1.01 * edge, 1e4), 1e4):
        assert (expected_risk(W, strength) < alone) == (strength * (apart - a) < 2 * a)


@pytest.mark.equation("what-sharing-buys-best")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
def test_the_best_strength_is_noise_over_distance(W):
    """At l = a / delta^2 the risk is least, and lower than alone by d a^2 / (a + delta^2)."""
    d, _ = W.shape
    a, apart = parts(W)
    least = expected_risk(W, a / apart)
    assert least < min(expected_risk(W, 0.9 * a / apart), expected_risk(W, 1.1 * a / apart))
    assert_allclose(expected_risk(W, 0.0) - least, d * a**2 / (a + apart), rtol=1e-9)


@pytest.mark.equation("what-sharing-buys-worth")
@pytest.mark.parametrize("W", WORLDS.values(), ids=WORLDS)
def test_a_relation_is_worth_so_many_rows(W):
    """The least risk with m rows is d sigma^2 / N, with N = m (a + delta^2) / (a/n + delta^2)."""
    d, n = W.shape
    a, apart = parts(W)
    N = d * (a + apart) / (a / n + apart)
    assert_allclose(expected_risk(W, a / apart), d * 0.25 / N, rtol=1e-9)
    assert_allclose(expected_risk(W, 0.0), d * 0.25 / d, rtol=1e-9)
    assert d < N < n * d


@pytest.mark.equation("what-sharing-buys-two")
@pytest.mark.parametrize(("gap", "helps"), [(0.99, True), (1.01, False)])
def test_two_tasks_are_one_if_they_differ_by_less_than_noise_makes_them_seem_to(gap, helps):
    """Pooling helps iff |w_1 - w_2|^2 < 2 d s^2, the mean squared distance of equal tasks' estimates."""
    d, noise = 2, 0.5
    seen = 2 * d * noise**2 / d
    u = np.array([0.6, 0.8]) * np.sqrt(gap * seen)
    W = np.column_stack([u, [0.0, 0.0]]) + np.array([[1.0], [-1.0]])
    assert (expected_risk(W, 1e9) < expected_risk(W, 0.0)) == helps
