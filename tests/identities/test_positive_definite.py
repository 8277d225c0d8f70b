"""Equations of the chapter positive-definite."""

import numpy as np
import pytest
from numpy.testing import assert_allclose


@pytest.mark.equation("positive-definite-form")
def test_the_quadratic_form_of_a_similarity_is_a_squared_length(M):
    """a^T Z Z^T a equals |Z^T a|^2 and the squared length of sum_i a_i z_i."""
    for a in np.random.default_rng(1).normal(size=(5, len(M))):
        mixture = sum(weight * row for weight, row in zip(a, M, strict=True))
        assert_allclose([a @ (M @ M.T) @ a, np.sum((M.T @ a) ** 2)], mixture @ mixture, atol=1e-12)


@pytest.mark.equation("positive-definite-condition")
@pytest.mark.parametrize("eps", [0.01, 1.0])
def test_eps_lowers_the_condition_number_as_stated(M, eps):
    """The ratio of extreme singular values of A + eps I is (alpha_1 + eps) / (alpha_n + eps)."""
    alpha = np.linalg.eigvalsh(M @ M.T)
    assert_allclose(
        np.linalg.cond(M @ M.T + eps * np.eye(len(M))), (alpha[-1] + eps) / (alpha[0] + eps), rtol=1e-9
    )


@pytest.mark.equation("positive-definite-escape")
@pytest.mark.parametrize("t", [-3.0, 0.5, 100.0])
def test_along_an_eigenvector_the_penalty_is_a_parabola(t):
    """tr(W P W^T) = mu |b|^2 t^2 for W = t b u^T, and falls without bound if mu is negative."""
    P = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.5], [0.0, 0.5, 1.0]])
    eigenvalues, U = np.linalg.eigh(P)
    b = np.array([1.0, -2.0])
    for mu, u in zip(eigenvalues, U.T, strict=True):
        W = t * np.outer(b, u)
        assert_allclose(np.trace(W @ P @ W.T), mu * (b @ b) * t**2, rtol=1e-9)
    assert eigenvalues[0] < 0
