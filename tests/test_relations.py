"""Relations: each builder against its double sum, and the identities that tie them together."""

import numpy as np
import pandas as pd
import pytest
from helpers import D, descriptors, labels, literal_trace, random_similarity, refused, similarities, unchanged
from hypothesis import given
from hypothesis import strategies as st

from mtlbook.relations import (
    chain,
    clusters,
    gaussian,
    independent,
    laplacian,
    precision,
    similarity,
    to_mean,
)

sizes = st.integers(1, 7)


def weights(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(D, n))


def distance(W: np.ndarray, i: int, j: int) -> float:
    return sum((W[k, i] - W[k, j]) ** 2 for k in range(len(W)))


def assert_penalty(P: np.ndarray) -> None:
    """P is symmetric to the last bit and semidefinite to rounding."""
    np.testing.assert_array_equal(P, P.T)
    eigenvalues = np.linalg.eigvalsh(P)
    assert eigenvalues[0] >= -1e-12 * max(1.0, eigenvalues[-1])


# Similarity -------------------------------------------------------------------


@given(descriptors)
def test_similarity_is_a_sum_of_outer_products_of_columns(Z):
    A = sum(np.array([[a * b for b in column] for a in column]) for column in Z.T)
    np.testing.assert_allclose(similarity(Z), A, atol=1e-9)


@given(descriptors)
def test_similarity_holds_the_inner_products_of_rows(Z):
    A = [[sum(a * b for a, b in zip(z, other, strict=True)) for other in Z] for z in Z]
    np.testing.assert_allclose(similarity(Z), A, atol=1e-9)


@given(descriptors)
def test_similarity_is_symmetric_semidefinite_and_of_the_rank_of_its_descriptors(Z):
    A = similarity(Z)
    assert_penalty(A)
    assert np.linalg.matrix_rank(A, tol=1e-6) <= min(Z.shape)


# Laplacian --------------------------------------------------------------------


@given(similarities)
def test_laplacian_charges_half_the_double_sum_of_differences(A):
    n = len(A)
    W = weights(n)
    double_sum = sum(A[i, j] * distance(W, i, j) for i in range(n) for j in range(n))
    assert literal_trace(W, laplacian(A)) == pytest.approx(double_sum / 2, rel=1e-9, abs=1e-9)


@given(descriptors, st.floats(0.1, 50))
def test_gaussian_similarity_fades_with_distance(Z, length):
    A = gaussian(Z, length)
    for i, z in enumerate(Z):
        for j, other in enumerate(Z):
            square = sum((a - b) ** 2 for a, b in zip(z, other, strict=True))
            assert A[i, j] == pytest.approx(np.exp(-square / (2 * length * length)), abs=1e-12)
    np.testing.assert_array_equal(A, A.T)
    np.testing.assert_array_equal(np.diag(A), 1)
    assert np.linalg.eigvalsh(A)[0] >= -1e-12 * len(Z)


def test_gaussian_similarity_refuses_a_length_of_zero_and_changes_nothing():
    Z = np.array([[1.0, 2.0], [0.0, 1.0]])
    with unchanged(Z):
        gaussian(Z, 2)
    with refused("length", "above 0", "0"):
        gaussian(Z, 0)
    with refused("Z", "(n, r)"):
        gaussian(Z[0], 1.0)


@given(similarities)
def test_laplacian_is_degree_minus_similarity(A):
    n = len(A)
    for i in range(n):
        for j in range(n):
            entry = sum(A[i, k] for k in range(n) if k != i) if i == j else -A[i, j]
            assert laplacian(A)[i, j] == pytest.approx(entry)


@given(similarities)
def test_identical_tasks_pay_nothing_under_a_laplacian(A):
    assert_penalty(laplacian(A))
    np.testing.assert_allclose(laplacian(A) @ np.ones(len(A)), 0.0, atol=1e-10)


@given(similarities)
def test_the_diagonal_of_a_similarity_plays_no_part_in_its_laplacian(A):
    np.testing.assert_array_equal(laplacian(A - np.diag(np.arange(len(A)) + 5.0)), laplacian(A))


def test_a_laplacian_has_one_null_direction_for_each_connected_component():
    A = np.zeros((5, 5))
    A[0, 1] = A[1, 0] = 2.0
    A[2, 3] = A[3, 2] = 0.5
    assert np.linalg.matrix_rank(laplacian(A)) == 5 - 3


# Precision --------------------------------------------------------------------


@given(descriptors, st.floats(0.1, 100))
def test_precision_inverts_similarity_plus_ridge(Z, eps):
    A = similarity(Z)
    P = precision(A, eps)
    assert_penalty(P)
    condition = (np.linalg.norm(A, 2) + eps) / eps
    np.testing.assert_allclose(P @ (A + eps * np.eye(len(A))), np.eye(len(A)), atol=1e-13 * condition)


def test_precision_allows_negative_similarity_and_a_definite_one_needs_no_ridge():
    A = np.array([[2.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_allclose(precision(A, 0.0), np.array([[2.0, 1.0], [1.0, 2.0]]) / 3)


def test_tasks_that_share_pay_less_than_tasks_that_oppose_under_a_precision():
    P = precision([[1.0, 0.9], [0.9, 1.0]], 0.1)
    w = np.array([[1.0], [2.0]])
    together, apart = np.hstack([w, w]), np.hstack([w, -w])
    assert literal_trace(together, P) < literal_trace(apart, P)


@pytest.mark.parametrize(("families", "c"), [(1, 4), (3, 2), (2, 5), (4, 1)])
@pytest.mark.parametrize("eps", [0.01, 1.0, 30.0])
def test_equal_families_make_precision_and_laplacian_agree(families, c, eps):
    A = similarity(np.kron(np.eye(families), np.ones((c, 1))))
    identity = np.eye(families * c)
    np.testing.assert_allclose(
        precision(A, eps), (laplacian(A) + eps * identity) / (eps * (c + eps)), atol=1e-12
    )


def test_unequal_families_make_precision_and_laplacian_disagree():
    A = similarity([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    ratio = np.diag(precision(A, 1.0)) / np.diag(laplacian(A) + np.eye(5))
    assert ratio[0] != pytest.approx(ratio[-1], rel=0.05)


# Mean, chain, clusters --------------------------------------------------------


@given(sizes)
def test_independent_charges_each_task_for_itself(n):
    W = weights(n)
    assert literal_trace(W, independent(n)) == pytest.approx(
        sum(W[k, i] ** 2 for k in range(D) for i in range(n))
    )


@given(sizes)
def test_to_mean_charges_deviations_from_the_common_mean(n):
    W = weights(n)
    mean = [sum(W[k, i] for i in range(n)) / n for k in range(D)]
    literal = sum((W[k, i] - mean[k]) ** 2 for k in range(D) for i in range(n))
    assert literal_trace(W, to_mean(n)) == pytest.approx(literal, abs=1e-12)
    assert_penalty(to_mean(n))


@given(sizes)
def test_to_mean_is_the_laplacian_of_the_complete_graph(n):
    np.testing.assert_allclose(to_mean(n), laplacian(np.full((n, n), 1 / n)), atol=1e-15)


@given(sizes)
def test_to_mean_is_one_cluster_and_independent_ones_have_no_cluster_left(n):
    np.testing.assert_array_equal(to_mean(n), clusters(["same"] * n))
    np.testing.assert_array_equal(clusters(range(n)), np.zeros((n, n)))


@given(sizes)
def test_chain_charges_steps_between_neighbours(n):
    W = weights(n)
    steps = sum(distance(W, i + 1, i) for i in range(n - 1))
    assert literal_trace(W, chain(n)) == pytest.approx(steps, abs=1e-12)
    assert_penalty(chain(n))
    assert np.linalg.matrix_rank(chain(n)) == n - 1


@given(labels)
def test_clusters_charge_deviations_from_the_mean_of_ones_own_cluster(given_labels):
    n = len(given_labels)
    W, literal = weights(n), 0.0
    for i in range(n):
        members = [j for j in range(n) if given_labels[j] == given_labels[i]]
        literal += sum((W[k, i] - sum(W[k, j] for j in members) / len(members)) ** 2 for k in range(D))
    assert literal_trace(W, clusters(given_labels)) == pytest.approx(literal, abs=1e-12)


@given(labels)
def test_clusters_are_a_projection_that_each_whole_cluster_passes_free(given_labels):
    P = clusters(given_labels)
    assert_penalty(P)
    np.testing.assert_allclose(P @ P, P, atol=1e-14)
    assert np.trace(P) == pytest.approx(len(given_labels) - len(set(given_labels)))
    for label in set(given_labels):
        members = np.array([float(other == label) for other in given_labels])
        np.testing.assert_allclose(P @ members, 0.0, atol=1e-14)


@given(labels)
def test_names_of_clusters_do_not_matter(given_labels):
    numbers = [{"a": 2.5, "b": -1.0, "c": 0.0}[label] for label in given_labels]
    np.testing.assert_array_equal(clusters(given_labels), clusters(numbers))
    np.testing.assert_array_equal(clusters(given_labels), clusters(pd.Series(given_labels)))


def test_relations_compose_with_plain_arithmetic():
    A = random_similarity(5)
    P = 0.9 * laplacian(A) + 0.1 * independent(5)
    W = weights(5)
    parts = 0.9 * literal_trace(W, laplacian(A)) + 0.1 * literal_trace(W, independent(5))
    assert literal_trace(W, P) == pytest.approx(parts)


# Input ------------------------------------------------------------------------


@pytest.mark.parametrize("build", [laplacian, lambda A: precision(A, 0.5), similarity])
def test_layout_and_type_of_a_similarity_do_not_matter(build):
    A = np.round(random_similarity(4) * 8) / 8 + 3 * np.eye(4)
    spaced = np.zeros((8, 8))
    spaced[::2, 1::2] = A
    for same in (A.tolist(), pd.DataFrame(A), np.asfortranarray(A), A.astype(np.float32), spaced[::2, 1::2]):
        np.testing.assert_allclose(build(same), build(A), rtol=1e-12)


def test_nothing_given_is_changed_and_nothing_returned_is_shared():
    A, Z, groups = random_similarity(4), random_similarity(4)[:, :3].copy(), np.array([0, 1, 1])
    with unchanged(A, Z, groups):
        built = [similarity(Z), laplacian(A), precision(A + 4 * np.eye(4), 0.5), clusters(groups)]
        for P in built:
            P[0, 0] += 1.0


@pytest.mark.parametrize("build", [independent, to_mean, chain])
@pytest.mark.parametrize("n", [0, -1, 2.0, "3", None, True])
def test_the_number_of_tasks_must_be_a_whole_one(build, n):
    with refused("n", "a whole number of at least 1", repr(n)):
        build(n)


BAD_SIMILARITIES = {
    "asymmetric": ([[1.0, 2.0], [3.0, 1.0]], "a symmetric matrix", "2 at (0, 1) but 3 at (1, 0)"),
    "not square": (np.ones((2, 3)), "a square matrix", "shape (2, 3)"),
    "vector": (np.ones(3), "an array of shape (n, n)", "shape (3,)"),
    "empty": (np.ones((0, 0)), "an array of shape (n, n)", "shape (0, 0)"),
    "ragged": ([[1.0], [1.0, 2.0]], "an array of shape (n, n)", "unequal lengths"),
    "NaN": (np.full((2, 2), np.nan), "finite numbers", "nan at (0, 0)"),
    "infinite": (np.diag([1.0, np.inf]), "finite numbers", "inf at (1, 1)"),
    "masked": (np.ma.array(np.eye(2), mask=np.eye(2)), "an array of shape (n, n)", "a masked array"),
    "complex": (np.eye(2) * 1j, "real numbers", "dtype complex128"),
    "text": ([["a"]], "real numbers", "dtype <U1"),
    "number": (3.0, "an array of shape (n, n)", "shape ()"),
}


@pytest.mark.parametrize("build", [laplacian, lambda A: precision(A, 1.0)], ids=["laplacian", "precision"])
@pytest.mark.parametrize("case", BAD_SIMILARITIES)
def test_what_is_no_similarity_is_refused(build, case):
    A, wanted, found = BAD_SIMILARITIES[case]
    with refused("A", wanted, found):
        build(A)


def test_a_laplacian_refuses_negative_weights_where_they_are_worst():
    A = np.ones((3, 3))
    A[0, 1] = A[1, 0] = -0.2
    A[1, 2] = A[2, 1] = -0.7
    with refused("A", "entries of at least zero", "-0.7 at (1, 2)", "Clip it at zero"):
        laplacian(A)


def test_a_precision_refuses_an_indefinite_similarity_and_a_bad_ridge():
    with refused("A", "a positive semidefinite matrix", "-1"):
        precision([[0.0, 1.0], [1.0, 0.0]], 2.0)
    with refused("eps", "a finite number of at least 0", "-1.0"):
        precision(np.eye(2), -1.0)
    with refused("eps", "a finite number", "'1'"):
        precision(np.eye(2), "1")


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_precision_refuses_a_singular_matrix_at_any_scale(scale):
    with refused(
        "A + eps I", "a positive definite matrix", f"eigenvalues from 0 to {scale:.3g}", "larger eps"
    ):
        precision(scale * np.diag([0.1, 0.5, 1.0, 0.0]), 0.0)
    with refused("A + eps I", "a positive definite matrix", "eigenvalues from 0 to 0"):
        precision(np.zeros((2, 2)), 0.0)
    with refused("A + eps I", "a positive definite matrix"):
        precision(scale * np.diag([1.0, 0.5e-14]), 0.0)
    almost = scale * np.array([1.0, 2e-14])
    np.testing.assert_allclose(precision(np.diag(almost), 0.0), np.diag(1 / almost))
    np.testing.assert_allclose(precision(scale * np.diag([1.0, 0.0]), scale), np.diag([0.5, 1.0]) / scale)


@pytest.mark.parametrize(
    ("Z", "wanted", "found"),
    [
        (np.ones(3), "an array of shape (n, r)", "shape (3,)"),
        ([[1.0], [1.0, 2.0]], "an array of shape (n, r)", "unequal lengths"),
        ([[np.nan]], "finite numbers", "nan at (0, 0)"),
        ([["a"]], "real numbers", "dtype <U1"),
    ],
)
def test_what_holds_no_descriptors_is_refused(Z, wanted, found):
    with refused("Z", wanted, found):
        similarity(Z)


@pytest.mark.parametrize(
    ("groups", "wanted", "found"),
    [
        ([], "a vector of labels", "shape (0,)"),
        ([[0, 1]], "a vector of labels", "shape (1, 2)"),
        (3, "a vector of labels", "shape ()"),
        ([0.0, np.nan], "text or a number", "nan at 1"),
        (["a", np.nan], "text or a number", "nan at 1"),
        (["a", 1], "all text or all numbers", "a mixture"),
    ],
)
def test_what_labels_no_clusters_is_refused(groups, wanted, found):
    with refused("labels", wanted, found):
        clusters(groups)


def test_a_laplacian_takes_rounding_below_zero_for_zero():
    A = np.array([[1.0, 2.0, -1e-16], [2.0, 1.0, 0.5], [-1e-16, 0.5, 1.0]])
    np.testing.assert_array_equal(laplacian(A), laplacian(np.maximum(A, 0)))
