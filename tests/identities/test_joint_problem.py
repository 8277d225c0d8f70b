"""Equations of the chapter joint-problem."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, TraceRegularized, gradient_descent, relations, solve


@pytest.fixture
def F(tasks):
    """The objective of awkward tasks with a coupling that is not diagonal."""
    Z = np.random.default_rng(1).normal(size=(len(tasks), 2))
    return TraceRegularized(
        Tasks(*zip(*tasks, strict=True)), relations.precision(relations.similarity(Z), 0.5), 0.3
    )


@pytest.mark.equation("joint-problem-gradient")
def test_column_i_of_the_gradient_is_the_slope_along_w_i(F):
    """2 (C_i w_i - b_i) + 2 lambda (W P)_:i meets central differences of the value, entry by entry."""
    W = np.random.default_rng(2).normal(size=F.shape)
    C, B, step = F.moments.C, F.moments.B, 1e-4
    for i in range(F.shape[1]):
        column = 2 * (C[i] @ W[:, i] - B[:, i]) + 2 * F.strength * (W @ F.P)[:, i]
        for k in range(F.shape[0]):
            E = np.zeros(F.shape)
            E[k, i] = step
            assert_allclose((F.value(W + E) - F.value(W - E)) / (2 * step), column[k], atol=1e-8)


@pytest.mark.equation("joint-problem-vec", "joint-problem-vec-penalty")
@pytest.mark.parametrize(("p", "d", "n", "q"), [(2, 3, 4, 5), (1, 4, 2, 3), (3, 1, 1, 2), (3, 3, 3, 3)])
def test_vec_turns_products_into_kronecker_products(p, d, n, q):
    """vec(S W T) = (T^T (x) S) vec(W) for shapes that all differ; S = I gives vec(W P)."""
    rng = np.random.default_rng(3)
    S, W, T = rng.normal(size=(p, d)), rng.normal(size=(d, n)), rng.normal(size=(n, q))
    vec = W.ravel(order="F")
    assert_allclose((S @ W @ T).ravel(order="F"), np.kron(T.T, S) @ vec, atol=1e-12)
    assert_allclose((W @ T).ravel(order="F"), np.kron(T.T, np.eye(d)) @ vec, atol=1e-12)


@pytest.mark.equation("joint-problem-hessian", "joint-problem-linear")
def test_the_hessian_is_blocks_plus_a_kronecker_product(F):
    """2 blockdiag(C_i) + 2 lambda P (x) I_d times vec(W), less 2 vec(B), is the vec of the gradient."""
    d, n = F.shape
    H = 2 * F.strength * np.kron(F.P, np.eye(d))
    for i in range(n):
        H[i * d : (i + 1) * d, i * d : (i + 1) * d] += 2 * F.moments.C[i]
    assert_allclose(F.hessian(), H, atol=1e-13)
    W = np.random.default_rng(4).normal(size=(d, n))
    slope = H @ W.ravel(order="F") - 2 * F.moments.B.ravel(order="F")
    assert_allclose(F.gradient(W).ravel(order="F"), slope, atol=1e-12)


@pytest.mark.equation("joint-problem-lipschitz")
def test_L_bounds_the_largest_eigenvalue_and_is_at_most_twice_it(F):
    """lambda_max(H) <= 2 max lambda_max(C_i) + 2 lambda lambda_max(P) <= 2 lambda_max(H)."""
    top = np.linalg.eigvalsh(F.hessian())[-1]
    assert top <= F.lipschitz() * (1 + 1e-12)
    assert F.lipschitz() <= 2 * top * (1 + 1e-12)


@pytest.mark.equation("joint-problem-contraction")
def test_descent_with_step_one_over_L_contracts_the_error(F):
    """After k steps the distance to the minimiser is at most (1 - mu / L)^k times the first one."""
    best, L, mu = solve(F).W, F.lipschitz(), np.linalg.eigvalsh(F.hessian())[0]
    W = np.zeros(F.shape)
    first = np.linalg.norm(best)
    for k in range(1, 30):
        W = W - F.gradient(W) / L
        assert np.linalg.norm(W - best) <= (1 - mu / L) ** k * first + 1e-9
    assert_allclose(gradient_descent(F, max_iterations=29, tolerance=1e-15).W, W, atol=1e-12)


@pytest.mark.equation("joint-problem-split", "joint-problem-features")
@pytest.mark.parametrize("eps", [0.05, 1.0, 3.0])
def test_the_inverse_penalty_is_a_shared_map_plus_own_parts(M, eps):
    """The least |B|^2 + |V|^2 / eps over B Z^T + V = W is tr(W P W^T), reached at B = W P Z, V = eps W P."""
    rng = np.random.default_rng(5)
    n, r = M.shape
    W, P = rng.normal(size=(3, n)), relations.precision(relations.similarity(M), eps)
    B, V = W @ P @ M, eps * W @ P
    assert_allclose(B @ M.T + V, W, atol=1e-9)
    price = np.trace(W @ P @ W.T)
    assert_allclose(np.sum(B**2) + np.sum(V**2) / eps, price, rtol=1e-9, atol=1e-12)
    for _ in range(50):
        S = rng.normal(size=(3, r))
        assert np.sum((B + S) ** 2) + np.sum((V - S @ M.T) ** 2) / eps >= price - 1e-9
