"""Equations of the chapter scale."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Moments, Tasks


@pytest.mark.equation("scale-add")
def test_moments_of_parts_add_up_with_their_numbers_of_rows(tasks):
    """m C = m' C' + m'' C'' and the same for b, for every way to cut the rows in two."""
    for X, y in tasks:
        whole = Moments.from_tasks(Tasks([X], [y]))
        for cut in range(1, len(y)):
            parts = [Moments.from_tasks(Tasks([X[p]], [y[p]])) for p in (slice(cut), slice(cut, None))]
            assert_allclose(whole.m * whole.C[0], sum(p.m * p.C[0] for p in parts), atol=1e-12)
            assert_allclose(whole.m * whole.B, sum(p.m * p.B for p in parts), atol=1e-12)
            assert whole.m == sum(p.m for p in parts)


@pytest.mark.equation("scale-woodbury")
@pytest.mark.parametrize("eps", [0.05, 1.0, 3.0])
def test_a_small_inverse_gives_the_penalty(M, eps):
    """(I - Z (eps I_r + Z^T Z)^-1 Z^T) / eps times (Z Z^T + eps I) is the identity."""
    n, r = M.shape
    P = (np.eye(n) - M @ np.linalg.inv(eps * np.eye(r) + M.T @ M) @ M.T) / eps
    assert_allclose(P @ (M @ M.T + eps * np.eye(n)), np.eye(n), atol=1e-9)


@pytest.mark.equation("scale-inverse")
@pytest.mark.parametrize("c", [0.0, 0.7])
@pytest.mark.parametrize("eps", [0.05, 1.0])
@pytest.mark.parametrize("strength", [0.2, 5.0])
def test_the_singular_vectors_of_Z_invert_a_shifted_penalty(M, c, eps, strength):
    """The right side times c I + strength P is the identity, P being the inverse of Z Z^T + eps I."""
    n = len(M)
    P = np.linalg.inv(M @ M.T + eps * np.eye(n))
    U, s, _ = np.linalg.svd(M, full_matrices=False)
    own = np.diag(1 / (c + strength / (s**2 + eps)))
    inverse = (np.eye(n) - U @ U.T) / (c + strength / eps) + U @ own @ U.T
    assert_allclose(inverse @ (c * np.eye(n) + strength * P), np.eye(n), atol=1e-9)


@pytest.mark.equation("scale-centre")
def test_centred_moments_are_moments_less_the_outer_product_of_means(tasks):
    """For rows with a column of ones, whose moments hold the means, against rows that are centred."""
    for X, y in tasks:
        full = Moments.from_tasks(Tasks([np.column_stack([np.ones(len(y)), X])], [y]))
        mean, level = full.C[0, 0, 1:], full.B[0, 0]
        centred = Moments.from_tasks(Tasks([X - X.mean(axis=0)], [y - y.mean()]))
        assert_allclose(full.C[0, 1:, 1:] - np.outer(mean, mean), centred.C[0], atol=1e-12)
        assert_allclose(full.B[1:, 0] - level * mean, centred.B[:, 0], atol=1e-12)
