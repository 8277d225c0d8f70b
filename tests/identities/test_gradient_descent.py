"""Equations of the chapter gradient-descent."""

import numpy as np
import pytest
from numpy.testing import assert_allclose


@pytest.fixture(params=[(5, 3), (2, 4), (1, 3), (4, 1), (1, 1)], ids=str)
def problem(request):
    """X, y and a point w; rows more and fewer than features, one row, one feature."""
    m, d = request.param
    rng = np.random.default_rng(m)
    return rng.normal(size=(m, d)), rng.normal(size=m), rng.normal(size=d)


def loss(X, y, w):
    return sum((sum(x * w) - t) ** 2 for x, t in zip(X, y, strict=True)) / len(y)


@pytest.mark.equation("gradient-descent-mse")
def test_the_mean_squared_error_is_a_mean_over_rows(problem):
    """|X w - y|^2 / m equals the loop over rows."""
    X, y, w = problem
    assert_allclose(np.mean((X @ w - y) ** 2), loss(X, y, w))


@pytest.mark.equation(
    "gradient-descent-gradient", "gradient-descent-expansion", "gradient-descent-difference"
)
def test_the_gradient_is_exact_and_central_differences_agree(problem):
    """F(w + h) = F(w) + <g, h> + |X h|^2 / m with g = 2 X^T (X w - y) / m; differences give g for any h."""
    X, y, w = problem
    g = 2 / len(y) * X.T @ (X @ w - y)
    for h in np.random.default_rng(9).normal(size=(5, len(w))):
        assert_allclose(loss(X, y, w + h), loss(X, y, w) + g @ h + np.sum((X @ h) ** 2) / len(y), atol=1e-12)
    for k, e in enumerate(np.eye(len(w))):
        for size in (1.0, 1e-3):
            assert_allclose(
                (loss(X, y, w + size * e) - loss(X, y, w - size * e)) / (2 * size), g[k], atol=1e-9
            )


@pytest.mark.equation("gradient-descent-factor")
@pytest.mark.parametrize("eta_L", [0.5, 1.0, 1.7, 2.0, 2.5])
def test_on_a_parabola_a_step_multiplies_the_error_by_one_minus_eta_L(eta_L):
    """For F(w) = L / 2 (w - 3)^2 one step turns the error 4 into (1 - eta L) 4."""
    L, w = 2.6, 7.0
    assert_allclose(w - eta_L / L * L * (w - 3) - 3, (1 - eta_L) * 4, atol=1e-12)


@pytest.mark.equation("gradient-descent-hessian")
def test_the_hessian_is_a_mean_of_outer_products(problem):
    """Differences of the gradient equal 2 / m sum_r x_r x_r^T, column by column."""
    X, y, w = problem
    H = 2 / len(y) * sum(np.outer(x, x) for x in X)
    slope = lambda v: 2 / len(y) * X.T @ (X @ v - y)  # noqa: E731
    assert_allclose(np.stack([slope(w + e) - slope(w) for e in np.eye(len(w))], axis=1), H, atol=1e-12)


@pytest.mark.equation("gradient-descent-gap", "gradient-descent-update")
@pytest.mark.parametrize("eta", [0.05, 0.3, -0.1])
def test_the_gap_after_s_steps_is_known_exactly(problem, eta):
    """F(w_s) - F(w*) = 1/2 sum_k lambda_k (1 - eta lambda_k)^(2 s) c_k^2, for descent and for ascent."""
    X, y, w = problem
    H = 2 / len(y) * X.T @ X
    eigenvalues, U = np.linalg.eigh(H)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    c = U.T @ (w - best)
    for s in range(1, 6):
        w = w - eta * 2 / len(y) * X.T @ (X @ w - y)
        gap = 0.5 * sum(eigenvalues * (1 - eta * eigenvalues) ** (2 * s) * c**2)
        assert_allclose(loss(X, y, w) - loss(X, y, best), gap, rtol=1e-9, atol=1e-11)


@pytest.mark.equation("gradient-descent-pairs")
@pytest.mark.parametrize("m", [1, 2, 7])
def test_broadcasting_by_accident_adds_twice_the_covariance(m):
    """The mean over all pairs of (u_r - v_r')^2 exceeds the mean over rows by 2 cov(u, v)."""
    u, v = np.random.default_rng(m).normal(size=(2, m))
    pairs = sum((a - b) ** 2 for a in u for b in v) / m**2
    rows = sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) / m
    assert_allclose(pairs, rows + 2 * np.mean((u - u.mean()) * (v - v.mean())), atol=1e-12)
    assert_allclose(np.mean((u[:, None] - v) ** 2), pairs)
