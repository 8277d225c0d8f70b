"""The checks: what passes comes out clean, what does not is refused in a sentence."""

import numpy as np
import pandas as pd
import pytest
from helpers import refused, unchanged

from mtlbook import checks


def layouts(M: np.ndarray) -> dict[str, object]:
    padded = np.zeros((2 * len(M), M.shape[1] + 3))
    padded[::2, 1:-2] = M
    read_only = M.copy()
    read_only.flags.writeable = False
    return {
        "C order": M.copy(),
        "Fortran order": np.asfortranarray(M),
        "strided": padded[::2, 1:-2],
        "reversed": M[::-1].copy()[::-1],
        "read-only": read_only,
        "lists": M.tolist(),
        "tuples": tuple(map(tuple, M.tolist())),
        "frame": pd.DataFrame(M),
        "float32": M.astype(np.float32),
        "float16": M.astype(np.float16),
        "integers": M.astype(int),
        "big-endian": M.astype(">f8"),
        "long double": M.astype(np.longdouble),
    }


MATRIX = np.array([[2.0, -1.0, 0.0], [4.0, 8.0, 1.0]])


@pytest.mark.parametrize("layout", layouts(MATRIX))
def test_every_layout_and_type_of_real_numbers_gives_the_same_float64_array(layout):
    given = layouts(MATRIX)[layout]
    with unchanged(given):
        clean = checks.array(given, "M", ("n", 3))
    assert type(clean) is np.ndarray
    assert clean.dtype == np.float64
    np.testing.assert_array_equal(clean, MATRIX)


def test_booleans_count_as_zeros_and_ones():
    np.testing.assert_array_equal(checks.array([True, False], "y", ("m",)), [1.0, 0.0])


def test_float64_arrays_are_not_copied():
    assert checks.array(MATRIX, "M", ("n", "d")) is MATRIX


@pytest.mark.parametrize(
    ("value", "shape", "wanted", "found", "remedy"),
    [
        ([[1.0], [1.0, 2.0]], ("n", "d"), "array of shape (n, d)", "unequal lengths", "same length"),
        (
            np.ma.array([1.0, 2.0], mask=[True, False]),
            ("m",),
            "array of shape (m,)",
            "a masked array",
            "Fill or drop",
        ),
        ([1 + 2j], ("m",), "real numbers", "dtype complex128", "Encode"),
        (["one"], ("m",), "real numbers", "dtype <U3", "Encode"),
        ([None, 1.0], ("m",), "real numbers", "dtype object", "Encode"),
        (None, ("m",), "real numbers", "dtype object", "Encode"),
        (np.array(["2020-01-01"], "M8[D]"), ("m",), "real numbers", "dtype datetime64", "Encode"),
        (pd.DataFrame({"a": ["x"]}), ("n", "d"), "real numbers", "dtype", "Encode"),
        (3.0, ("m",), "array of shape (m,)", "shape ()", "Check which axis"),
        ([], ("m",), "array of shape (m,)", "shape (0,)", "empty array"),
        (np.zeros((3, 0)), ("n", "d"), "array of shape (n, d)", "shape (3, 0)", "empty array"),
        (np.ones((3, 1)), ("m",), "array of shape (m,)", "shape (3, 1)", ".ravel()"),
        (np.ones((1, 3)), (3,), "array of shape (3,)", "shape (1, 3)", ".ravel()"),
        (np.ones((3, 2)), ("m",), "array of shape (m,)", "shape (3, 2)", "Check which axis"),
        (np.ones((3, 4)), (4, 3), "array of shape (4, 3)", "shape (3, 4)", "transposed"),
        (np.ones((3, 4)), (4, 4), "array of shape (4, 4)", "shape (3, 4)", "Check which axis"),
        (np.ones(4), (5,), "array of shape (5,)", "shape (4,)", "Check which axis"),
        ([[1.0, 2.0], [3.0, np.nan]], ("n", "d"), "finite numbers", "nan at (1, 1)", "Drop or impute"),
        ([1.0, np.inf, np.nan], ("m",), "finite numbers", "inf at (1,)", "Drop or impute"),
        ([-np.inf], ("m",), "finite numbers", "-inf at (0,)", "Drop or impute"),
        (np.array([np.longdouble("1e400")]), ("m",), "finite numbers", "inf at (0,)", "Drop or impute"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_finite_real_array_of_the_shape_is_refused(value, shape, wanted, found, remedy):
    with refused("M", wanted, found, remedy):
        checks.array(value, "M", shape)


def test_frozen_is_a_read_only_view_and_the_array_stays_writeable():
    values = np.arange(3.0)
    view = checks.frozen(values)
    assert np.shares_memory(view, values)
    assert not view.flags.writeable
    assert values.flags.writeable


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.float64(2), np.int64(2)])
def test_every_kind_of_real_number_is_a_number(value):
    clean = checks.number(value, "strength", above=1.0, at_least=2.0)
    assert (clean, type(clean)) == (2.0, float)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, True, np.True_, "1", None, 1j, [1.0], np.ones(1)])
def test_what_is_no_finite_number_is_refused(value):
    with refused("strength", "a finite number", repr(value), "Choose a value"):
        checks.number(value, "strength")


def test_bounds_of_numbers_are_open_above_and_closed_at_least():
    assert checks.number(0, "strength", at_least=0.0) == 0.0
    assert checks.number(1e-300, "step", above=0.0) == 1e-300
    with refused("step", "a finite number above 0", "0.0"):
        checks.number(0.0, "step", above=0.0)
    with refused("strength", "a finite number of at least 0", "-1e-300"):
        checks.number(-1e-300, "strength", at_least=0.0)


@pytest.mark.parametrize("value", [1, np.int32(1), np.uint8(1)])
def test_every_kind_of_whole_number_is_a_count(value):
    clean = checks.count(value, "n")
    assert (clean, type(clean)) == (1, int)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.nan])
def test_what_counts_nothing_is_refused(value):
    with refused("n", "a whole number of at least 1", repr(value), "Choose a value"):
        checks.count(value, "n")


def test_counts_obey_their_own_bound():
    assert checks.count(0, "max_iterations", at_least=0) == 0
    with refused("k", "a whole number of at least 2", "1"):
        checks.count(1, "k", at_least=2)


def test_symmetric_averages_rounding_into_a_new_matrix():
    given = np.array([[1.0, 2.0 + 1e-9], [2.0, 3.0]])
    with unchanged(given):
        clean = checks.symmetric(given, "A")
    np.testing.assert_array_equal(clean, clean.T)
    np.testing.assert_allclose(clean, given, rtol=1e-9)
    assert clean[0, 1] == pytest.approx(2.0 + 0.5e-9, rel=1e-12)
    assert not np.shares_memory(clean, given)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_asymmetry_is_measured_against_the_largest_entry(scale):
    M = scale * np.array([[1.0, 2.0], [2.0 + 1.9e-8, -2.0]])
    checks.symmetric(M, "A")
    M[1, 0] += scale * 0.3e-8
    with refused("A", "a symmetric matrix", "at (0, 1) but", "(A + A.T) / 2"):
        checks.symmetric(M, "A")


def test_asymmetry_is_refused_where_it_is_worst():
    M = np.eye(3)
    M[0, 2], M[1, 2] = 0.1, 0.7
    with refused("A", "a symmetric matrix", "0.7 at (1, 2) but 0 at (2, 1)"):
        checks.symmetric(M, "A")


@pytest.mark.filterwarnings("error")
def test_halves_at_the_two_ends_of_float64_are_refused_without_a_warning():
    with refused("A", "a symmetric matrix"):
        checks.symmetric([[0.0, 1e308], [-1e308, 0.0]], "A")


def test_symmetric_refuses_what_is_not_square_or_not_of_size_n():
    with refused("A", "a square matrix", "shape (2, 3)", "one row and one column"):
        checks.symmetric(np.ones((2, 3)), "A")
    with refused("P", "array of shape (3, 3)", "shape (2, 2)"):
        checks.symmetric(np.eye(2), "P", 3)


@pytest.mark.parametrize("M", [np.zeros((2, 2)), np.ones((3, 3)), np.diag([1.0, -0.9e-10]), [[0.0]], [[5.0]]])
def test_semidefinite_lets_zero_eigenvalues_and_rounding_pass(M):
    np.testing.assert_array_equal(checks.semidefinite(M, "P"), M)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_semidefinite_refuses_a_negative_eigenvalue_at_any_scale(scale):
    with refused("P", "a positive semidefinite matrix", "a least eigenvalue of -", "laplacian"):
        checks.semidefinite(scale * np.diag([1.0, -1.1e-10]), "P")
    with refused("P", "a positive semidefinite matrix", f"{-scale:.3g}"):
        checks.semidefinite(scale * np.array([[0.0, 1.0], [1.0, 0.0]]), "P")


@pytest.mark.parametrize(
    "given",
    [["b", "a", "b"], ("b", "a", "b"), np.array(["b", "a", "b"]), np.array(["b", "a", "b"], object),
     pd.Series(["b", "a", "b"]), pd.Categorical(["b", "a", "b"]), pd.Index(["b", "a", "b"])],
)  # fmt: skip
def test_labels_may_be_text_in_any_sequence(given):
    np.testing.assert_array_equal(checks.labels(given, "task", 3), np.array(["b", "a", "b"]))


@pytest.mark.parametrize(
    "given", [[2, 0, 2], [2.0, 0.0, 2.0], np.array([2, 0, 2], object), pd.Series([2, 0, 2])]
)
def test_labels_may_be_numbers_in_any_sequence(given):
    np.testing.assert_array_equal(checks.labels(given, "task"), [2, 0, 2])


@pytest.mark.parametrize(
    ("given", "wanted", "found"),
    [
        (["a", np.nan], "text or a number", "nan at 1"),
        ([None, "a"], "text or a number", "None at 0"),
        ([1.0, np.inf], "text or a number", "inf at 1"),
        (pd.Series(["a", None], dtype="string"), "text or a number", "at 1"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), "text or a number", "at 0"),
        ([b"a", b"b"], "text or a number", "b'a' at 0"),
        (["a", 1], "all text or all numbers", "a mixture"),
        (np.ma.array([1, 2], mask=[False, True]), "a vector of 2 labels", "a masked array"),
        (["a"], "a vector of 2 labels", "shape (1,)"),
        ([], "a vector of 2 labels", "shape (0,)"),
        ("ab", "a vector of 2 labels", "shape ()"),
        ([["a"], ["b"]], "a vector of 2 labels", "shape (2, 1)"),
    ],
)
def test_missing_mixed_and_misshapen_labels_are_refused(given, wanted, found):
    with refused("task", wanted, found):
        checks.labels(given, "task", 2)


def test_labels_of_any_number_are_still_a_vector():
    assert checks.labels(["a"], "labels").shape == (1,)
    with refused("labels", "a vector of labels", "shape (0,)", "Give each its label"):
        checks.labels([], "labels")


def test_a_generator_passes_and_a_seed_does_not(rng):
    assert checks.generator(rng, "rng") is rng
    for seed in (0, None, np.random.RandomState(0), np.random):
        with refused("rng", "a Generator", type(seed).__name__, "default_rng(seed)", kind=TypeError):
            checks.generator(seed, "rng")


def test_a_whole_number_beyond_floats_is_refused_like_infinity():
    with pytest.raises(ValueError, match="strength: wanted a finite number"):
        checks.number(10**400, "strength")


def test_rounding_is_measured_against_the_largest_eigenvalue_not_the_largest_entry():
    n = 50
    ones = np.ones((n, n))
    centre = np.eye(n) - ones / n
    checks.semidefinite(ones - 2e-9 * centre, "P")
    with refused("P", "a positive semidefinite matrix", "-2e-08"):
        checks.semidefinite(ones - 2e-8 * centre, "P")
