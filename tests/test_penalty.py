"""The penalty: sparse or dense, it multiplies as its matrix does and bounds its eigenvalues."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from helpers import PENALTIES, refused

from mtlbook import penalty, relations
from mtlbook.penalty import Penalty


def neighbours(n: int, k: int = 3, seed: int = 0) -> np.ndarray:
    """Similarity of each task to its k nearest of n points in the plane, made symmetric."""
    Z = np.random.default_rng(seed).normal(size=(n, 2))
    distances = np.linalg.norm(Z[:, None] - Z, axis=2) + 1e9 * np.eye(n)
    A = np.zeros((n, n))
    A[np.arange(n)[:, None], np.argsort(distances, axis=1)[:, :k]] = 1.0
    return np.maximum(A, A.T)


def normalised(A: np.ndarray) -> np.ndarray:
    root = 1 / np.sqrt(A.sum(axis=1))
    return np.eye(len(A)) - root[:, None] * A * root


N = 240
SPARSE = {
    "laplacian": relations.laplacian(neighbours(N)),
    "normalised laplacian": normalised(neighbours(N)) + 0.05 * np.eye(N),
    "chain": relations.chain(N),
    "independent": relations.independent(N),
    "opposed": np.eye(N) + 0.4 * np.eye(N, k=1) + 0.4 * np.eye(N, k=-1),
    "signs mixed": np.eye(N) + 0.3 * np.eye(N, k=1) * -1 + 0.3 * np.eye(N, k=-1) * -1,
    "zero": np.zeros((N, N)),
    "a row of zeros": np.diag(np.r_[0.0, np.ones(N - 1)]),
    "not dominated": np.kron(np.eye(N // 3), np.ones((3, 3)) * -0.4 + 1.2 * np.eye(3))[::-1, ::-1],
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "P: no entry off the diagonal")
        yield


@pytest.mark.parametrize("P", SPARSE.values(), ids=SPARSE)
@pytest.mark.parametrize("width", [1, 3, 64, 65, 130])
def test_a_sparse_penalty_multiplies_as_its_matrix_does(P, width):
    V = np.random.default_rng(0).normal(size=(N, width))
    found = Penalty(P, N)
    assert found.sparse
    np.testing.assert_allclose(found.product(V), P @ V, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found.P, P)


@pytest.mark.parametrize("P", SPARSE.values(), ids=SPARSE)
def test_bounds_of_a_sparse_penalty_hold_its_eigenvalues(P):
    found, p = Penalty(P, N), np.linalg.eigvalsh(P)
    assert 0 <= found.least <= max(p[0], 0) + 1e-12
    assert p[-1] <= found.largest * (1 + 1e-12) <= 2.5 * p[-1] + 1e-12


def test_a_definite_laplacian_is_proven_definite_without_an_eigenvalue(monkeypatch):
    monkeypatch.setattr(np.linalg, "eigvalsh", None)
    monkeypatch.setattr(np.linalg, "eigh", None)
    monkeypatch.setattr(np.linalg, "cholesky", None)
    found = Penalty(SPARSE["normalised laplacian"], N)
    assert 0.01 < found.least <= 0.05
    assert found.largest < 2.2
    assert Penalty(SPARSE["laplacian"], N).least == 0.0


@pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
def test_a_dense_penalty_knows_its_eigenvalues(P):
    found, p = Penalty(P, 3), np.linalg.eigvalsh(P)
    assert not found.sparse
    assert found.least == pytest.approx(p[0], abs=1e-12)
    assert found.largest == pytest.approx(p[-1])
    U = found.eigenvectors
    np.testing.assert_allclose(U * found.eigenvalues @ U.T, P, atol=1e-12)
    np.testing.assert_allclose(found.product(np.eye(3)), P, rtol=1e-14)


def test_what_a_semidefinite_penalty_leaves_free_has_an_eigenvalue_of_exactly_zero():
    assert Penalty(relations.to_mean(7), 7).eigenvalues[0] == 0.0
    assert Penalty(1e-12 * relations.to_mean(7), 7).eigenvalues[1] == pytest.approx(1e-12)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_full_matrices_are_kept_dense_and_small_ones_too(share):
    P = np.eye(N) * N
    full = np.random.default_rng(0).uniform(size=(N, N)) < share
    P -= (full | full.T) & ~np.eye(N, dtype=bool)
    assert not Penalty(P + N * np.eye(N), N).sparse
    assert not Penalty(np.eye(penalty.SPARSE_FROM - 1), penalty.SPARSE_FROM - 1).sparse
    assert Penalty(np.eye(penalty.SPARSE_FROM), penalty.SPARSE_FROM).sparse


INDEFINITE = {
    "by a diagonal entry": (np.diag(np.r_[-0.5, np.ones(N - 1)]), -0.5),
    "by a pair": (scipy.linalg.block_diag([[1.0, -1.5], [-1.5, 1.0]], np.eye(N - 2)), -0.5),
    "by a little": (SPARSE["normalised laplacian"] - 0.0501 * np.eye(N), -1e-4),
    "a similarity without its diagonal": (neighbours(N), np.linalg.eigvalsh(neighbours(N))[0]),
}  # fmt: skip


@pytest.mark.parametrize("case", INDEFINITE)
def test_an_indefinite_penalty_is_refused_with_its_least_eigenvalue(case):
    P, least = INDEFINITE[case]
    with refused("P", "a positive semidefinite matrix", f"a least eigenvalue of {least:.3g}"):
        Penalty(P, N)


@pytest.mark.parametrize("n", [3, N])
@pytest.mark.parametrize("size", [1e-11, 1e-9])
def test_what_rounding_may_leave_below_zero_is_forgiven_and_no_more(n, size):
    P = np.diag(np.r_[-size, np.ones(n - 1)])
    if size < 1e-10:
        assert Penalty(P, n).least == 0.0
    else:
        with refused("P", "a positive semidefinite matrix", "-1e-09"):
            Penalty(P, n)


def test_a_nearly_symmetric_penalty_is_averaged_and_a_lopsided_one_refused():
    P = SPARSE["normalised laplacian"].copy()
    i, j = np.argwhere(P < 0)[0]
    P[i, j] *= 1 + 1e-9
    np.testing.assert_array_equal(Penalty(P, N).P, (P + P.T) / 2)
    P[i, j] *= 2
    with refused("P", "a symmetric matrix"):
        Penalty(P, N)


def test_a_change_of_the_matrix_given_does_not_reach_the_penalty():
    for n in (3, N):
        P = np.eye(n)
        found = Penalty(P, n)
        P[0, 0] = 5.0
        assert found.P[0, 0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            found.P[0, 0] = 0.0


# The warning ------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, N])
def test_a_similarity_passed_as_a_penalty_earns_one_warning_about_its_sign(n):
    A = neighbours(n, min(3, n - 1)) + n * np.eye(n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Penalty(A, n)
    assert [w.category for w in caught] == [UserWarning]
    assert "drives them apart" in str(caught[0].message)
    assert "laplacian or precision" in str(caught[0].message)


@pytest.mark.parametrize("P", [*PENALTIES.values(), *(SPARSE[k] for k in SPARSE if k != "opposed")])
def test_penalties_made_from_similarities_earn_no_warning(P):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Penalty(P, len(P))


def test_rounding_beside_zero_is_no_similarity():
    P = relations.chain(5)
    P[0, 4] = P[4, 0] = 1e-16
    positive, negative = np.eye(3), np.eye(3)
    positive[0, 1] = positive[1, 0] = 1e-16
    negative[0, 1] = negative[1, 0] = -1e-16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Penalty(P, 5)
        Penalty(positive, 3)
        Penalty(negative, 3)
