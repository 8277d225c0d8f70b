"""Equations of the chapter relation-matrices."""

from math import exp, factorial

import numpy as np
import pytest
from numpy.testing import assert_allclose


@pytest.mark.equation("relation-matrices-contraction")
def test_the_outer_product_of_Z_with_its_transpose_contracts_to_the_similarity(M):
    """T_ijkl = Z_ij Zt_kl; setting the inner two indices equal and summing gives Z Z^T."""
    T = np.multiply.outer(M, M.T)
    n, r = M.shape
    contracted = [[sum(T[i, k, k, j] for k in range(r)) for j in range(n)] for i in range(n)]
    assert_allclose(contracted, M @ M.T, atol=1e-13)


@pytest.mark.equation("relation-matrices-scaled")
def test_scaling_a_descriptor_scales_its_sheet_by_the_square(M):
    """With columns multiplied by s_k, the similarity is the sum of s_k^2 z_:k z_:k^T."""
    s = np.linspace(0.0, 3.0, M.shape[1])
    sheets = sum((s[k] ** 2 * np.outer(M[:, k], M[:, k]) for k in range(len(s))), np.zeros((len(M), len(M))))
    assert_allclose((M * s) @ (M * s).T, sheets, atol=1e-13)
    assert_allclose(M @ np.diag(s**2) @ M.T, sheets, atol=1e-13)


@pytest.mark.equation("relation-matrices-distance")
def test_distances_follow_from_the_similarity(M):
    """|z_i - z_j|^2 = A_ii + A_jj - 2 A_ij for all pairs of rows."""
    A = M @ M.T
    for i in range(len(M)):
        for j in range(len(M)):
            assert_allclose(sum((M[i] - M[j]) ** 2), A[i, i] + A[j, j] - 2 * A[i, j], atol=1e-12)


@pytest.mark.equation("relation-matrices-series")
@pytest.mark.parametrize("u", [[0.0, 0.5, -1.5, 2.0], [0.3], [-1.0, -1.0, 1.0]])
def test_a_gaussian_kernel_is_a_series_of_outer_products(u):
    """The kernel equals sixty outer products of columns S_ik = exp(-u_i^2 / 2) u_i^k / sqrt(k!)."""
    columns = [[exp(-(v**2) / 2) * v**k / factorial(k) ** 0.5 for v in u] for k in range(60)]
    sheets = sum(np.outer(column, column) for column in columns)
    assert_allclose(sheets, [[exp(-((v - w) ** 2) / 2) for w in u] for v in u], atol=1e-12)
