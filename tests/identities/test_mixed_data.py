"""The equations of the chapter on data of different kinds."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, relations
from mtlbook.losses import Logistic, Poisson, Squared
from mtlbook.mixed import MixedRegularized
from mtlbook.newton import newton

LOSSES = (Squared(), Logistic(), Poisson())
WEIGHTS = np.array([0.7, 2.0, 1.1])
P = relations.laplacian([[0, 2, 1], [2, 0, 0.5], [1, 0.5, 0]]) + 0.3 * np.eye(3)
STRENGTH = 0.2


def charge(kind: int, s: float, y: float) -> float:
    """What a row of task 0, 1 or 2 charges, from the table of the chapter."""
    if kind == 0:
        return (s - y) ** 2
    return (
        math.log(1 + math.exp(-y * s)) if kind == 1 else math.exp(s) - y * s - (y - y * math.log(max(y, 1)))
    )


@pytest.fixture(params=[(5, 8, 11), (1, 2, 1)], ids=["ragged", "fewer rows than features"])
def F(request: pytest.FixtureRequest) -> MixedRegularized:
    """Three tasks of three kinds over four features; the second never sees the last feature."""
    rng = np.random.default_rng(7)
    X = [rng.normal(size=(m, 4)) for m in request.param]
    X[1][:, 3] = 0
    draws = (rng.normal, lambda size: rng.choice([-1.0, 1.0], size), lambda size: rng.poisson(2.0, size))
    y = [draw(size=m) for draw, m in zip(draws, request.param, strict=True)]
    return MixedRegularized(Tasks(X, y), P, STRENGTH, LOSSES, weights=WEIGHTS)


@pytest.fixture
def W() -> np.ndarray:
    """Some weights."""
    return 0.5 * np.random.default_rng(8).normal(size=(4, 3))


def literal(F: MixedRegularized, W: np.ndarray) -> float:
    """The objective, row by row."""
    total = STRENGTH * sum(P[i, j] * (W[:, i] @ W[:, j]) for i in range(3) for j in range(3))
    for i, (X, y) in enumerate(F.tasks):
        total += WEIGHTS[i] / len(y) * sum(charge(i, x @ W[:, i], t) for x, t in zip(X, y, strict=True))
    return total


@pytest.mark.equation("mixed-data-objective")
def test_the_objective_is_weighted_mean_losses_plus_the_trace_penalty(F, W):
    """F is the sum over tasks of weight times mean loss, plus lambda tr(W P W^T), row by row."""
    assert_allclose(F.value(W), literal(F, W), rtol=1e-12)


@pytest.mark.equation("mixed-data-gradient")
def test_the_gradient_is_weighted_slopes_plus_two_lambda_W_P(F, W):
    """Column i is (weight_i / m_i) X_i^T slopes + 2 lambda (W P)_i, and finite differences agree."""
    G = 2 * STRENGTH * W @ P
    for i, (X, y) in enumerate(F.tasks):
        G[:, i] += WEIGHTS[i] / len(y) * X.T @ LOSSES[i].slope(X @ W[:, i], y)
    assert_allclose(F.gradient(W), G, atol=1e-12)
    for k, i in np.ndindex(W.shape):
        E = np.zeros(W.shape)
        E[k, i] = 1e-5
        assert_allclose(G[k, i], (literal(F, W + E) - literal(F, W - E)) / 2e-5, atol=1e-7)


@pytest.mark.equation("mixed-data-hessian")
def test_the_hessian_is_weighted_outer_products_plus_a_kronecker_product(F, W):
    """Blocks sum_r curvature_r x_r x_r^T, plus 2 lambda P (x) I, is the derivative of the gradient."""
    H = 2 * STRENGTH * np.kron(P, np.eye(4))
    for i, (X, y) in enumerate(F.tasks):
        for x, bend in zip(X, LOSSES[i].curvature(X @ W[:, i], y), strict=True):
            H[4 * i : 4 * i + 4, 4 * i : 4 * i + 4] += WEIGHTS[i] / len(y) * bend * np.outer(x, x)
    assert_allclose(F.hessian(W), H, atol=1e-12)
    V = np.random.default_rng(9).normal(size=W.shape)
    moved = (F.gradient(W + 1e-5 * V) - F.gradient(W - 1e-5 * V)) / 2e-5
    assert_allclose(H @ V.ravel(order="F"), moved.ravel(order="F"), atol=1e-6)


@pytest.mark.equation("mixed-data-newton")
def test_newton_steps_end_at_a_stationary_point_and_square_the_error(F):
    """Undamped steps from near the minimiser square its distance, up to a constant."""
    best = newton(F, tolerance=1e-13).W
    assert_allclose(F.gradient(best), 0, atol=1e-11)
    W = best + 0.01
    D = np.linalg.solve(F.hessian(W), -F.gradient(W).ravel(order="F")).reshape(W.shape, order="F")
    assert np.linalg.norm(W + D - best) <= 5 * np.linalg.norm(W - best) ** 2


@pytest.mark.equation("mixed-data-excess")
def test_the_certificate_bounds_the_gap_and_is_sharp_without_data(F, W):
    """F(W) - min F <= tr(G P^-1 G^T) / (4 lambda), with equality where the losses are flat."""
    least = newton(F, tolerance=1e-13).values[-1]
    for V in (W, 0 * W, 3 * W):
        G = F.gradient(V)
        bound = np.trace(G @ np.linalg.inv(P) @ G.T) / (4 * STRENGTH)
        assert 0 <= F.value(V) - least <= bound
        assert_allclose(F.excess(G), bound, rtol=1e-9)
    flat = MixedRegularized(Tasks([0 * X for X in F.tasks.X], F.tasks.y), P, STRENGTH, LOSSES)
    assert_allclose(flat.value(W) - flat.value(0 * W), flat.excess(flat.gradient(W)), rtol=1e-9)


@pytest.mark.equation("mixed-data-unseen")
def test_a_feature_never_seen_gets_its_weight_from_the_others(F):
    """W_ki = -sum_{j != i} P_ij W_kj / P_ii where task i never sees feature k."""
    W = newton(F, tolerance=1e-13).W
    assert_allclose(W[3, 1], -(P[1, 0] * W[3, 0] + P[1, 2] * W[3, 2]) / P[1, 1], atol=1e-10)


@pytest.mark.equation("mixed-data-scale")
def test_weights_and_strength_together_scale_the_objective(F, W):
    """With c times the weights and c times the strength, F is c times what it was."""
    for c in (0.1, 7.0):
        G = MixedRegularized(F.tasks, P, c * STRENGTH, LOSSES, weights=c * WEIGHTS)
        assert_allclose(G.value(W), c * F.value(W), rtol=1e-12)
        assert_allclose(newton(G, tolerance=1e-12).W, newton(F, tolerance=1e-12).W, atol=1e-8)


@pytest.mark.equation("mixed-data-likelihood")
@pytest.mark.parametrize("sigma", [0.2, 1.0, 5.0])
def test_a_normal_target_charges_the_square_over_two_variances(sigma):
    """-log p(y | s) is (s - y)^2 / (2 sigma^2) + log sigma, up to half of log 2 pi."""
    for s, y in ((0.3, -1.0), (2.0, 2.5)):
        density = math.exp(-0.5 * ((y - s) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        claimed = (s - y) ** 2 / (2 * sigma**2) + math.log(sigma)
        assert_allclose(-math.log(density), claimed + 0.5 * math.log(2 * math.pi), rtol=1e-12)
