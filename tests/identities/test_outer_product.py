"""Equations of the chapter outer-product."""

import numpy as np
import pytest
from numpy.testing import assert_allclose


@pytest.mark.equation("outer-product-columns")
def test_columns_are_multiples_of_the_left_vector(pair):
    """Column j of np.outer(a, b) is b_j times a."""
    a, b = pair
    for j in range(len(b)):
        assert_allclose(np.outer(a, b)[:, j], [b[j] * entry for entry in a])


@pytest.mark.equation("outer-product-apply")
def test_an_outer_product_applied_to_a_vector_answers_along_the_left_one(pair):
    """(a b^T) c equals (b^T c) a, c drawn at random."""
    a, b = pair
    c = np.random.default_rng(1).normal(size=len(b))
    assert_allclose(np.outer(a, b) @ c, [sum(b * c) * entry for entry in a], atol=1e-14)


@pytest.mark.equation("outer-product-sum")
@pytest.mark.parametrize(("p", "inner", "q"), [(4, 2, 3), (1, 5, 1), (3, 1, 2), (2, 0, 3), (6, 4, 5)])
def test_a_matrix_product_is_a_sum_of_outer_products(p, inner, q):
    """S T equals the sheets s_:k t_k: added up, for shapes with one row, one sheet and no sheet."""
    rng = np.random.default_rng(1)
    S, T = rng.normal(size=(p, inner)), rng.normal(size=(inner, q))
    sheets = np.zeros((p, q))
    for k in range(inner):
        sheets += np.outer(S[:, k], T[k])
    assert_allclose(S @ T, sheets, atol=1e-14)
    assert np.linalg.matrix_rank(sheets) <= inner


@pytest.mark.equation("outer-product-gram", "relation-matrices-sum")
def test_Z_Zt_sums_outer_products_of_columns_and_holds_inner_products_of_rows(M):
    """Z Z^T is the sum over columns of z_:k z_:k^T; entry (i, j) is the inner product of rows i, j."""
    A = sum((np.outer(column, column) for column in M.T), np.zeros((len(M), len(M))))
    assert_allclose(M @ M.T, A, atol=1e-13)
    assert_allclose([[sum(u * v) for v in M] for u in M], A, atol=1e-13)


@pytest.mark.equation("outer-product-scatter")
def test_Zt_Z_sums_outer_products_of_rows(M):
    """Z^T Z equals the sum over rows of z_i z_i^T."""
    assert_allclose(M.T @ M, sum(np.outer(row, row) for row in M), atol=1e-13)


@pytest.mark.equation("outer-product-kron")
def test_the_trace_gives_the_inner_and_vec_the_kronecker_product(pair):
    """tr(a b^T) = a^T b for equal lengths; np.kron(a, b) stacks the columns of b a^T for all lengths."""
    a, b = pair
    assert_allclose(np.kron(a, b), np.outer(b, a).ravel(order="F"))
    if len(a) == len(b):
        assert_allclose(np.trace(np.outer(a, b)), sum(a * b))


@pytest.mark.equation("outer-product-cross")
@pytest.mark.parametrize("seed", range(4))
def test_the_cross_product_reads_three_entries_of_the_exterior_product(seed):
    """The entries (2, 3), (3, 1), (1, 2) of a b^T - b a^T are those of np.cross(a, b)."""
    a, b = np.random.default_rng(seed).normal(size=(2, 3))
    wedge = np.outer(a, b) - np.outer(b, a)
    assert_allclose([wedge[1, 2], wedge[2, 0], wedge[0, 1]], np.cross(a, b))


@pytest.mark.equation("outer-product-mirror")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_u_ut_projects_and_its_double_reflects(size):
    """For |u| = 1: u u^T keeps u and kills the rest; I - 2 u u^T turns u round and keeps the rest."""
    rng = np.random.default_rng(size)
    u = rng.normal(size=size)
    u /= np.linalg.norm(u)
    across = rng.normal(size=size)
    across -= (u @ across) * u
    projection, mirror = np.outer(u, u), np.eye(size) - 2 * np.outer(u, u)
    assert_allclose(projection @ (3 * u + across), 3 * u, atol=1e-14)
    assert_allclose(mirror @ (3 * u + across), -3 * u + across, atol=1e-14)


@pytest.mark.equation("outer-product-moments")
def test_the_second_moment_is_the_mean_of_outer_products_of_rows(M):
    """X^T X / m equals the mean over rows of x x^T."""
    assert_allclose(M.T @ M / len(M), np.mean([np.outer(row, row) for row in M], axis=0), atol=1e-14)


@pytest.mark.equation("outer-product-covariance")
def test_covariance_is_the_second_moment_less_that_of_the_mean(M):
    """The mean outer product of centred rows equals X^T X / m minus the mean's outer product with itself."""
    mean = M.mean(axis=0)
    centred = np.mean([np.outer(row - mean, row - mean) for row in M], axis=0)
    assert_allclose(centred, M.T @ M / len(M) - np.outer(mean, mean), atol=1e-13)
