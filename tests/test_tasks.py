"""Tasks: what is given comes back checked, and standardizing never looks past the training rows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers import SIZES, D, N, make_tasks, refused, unchanged
from hypothesis import given
from hypothesis import strategies as st

from mtlbook import Tasks, standardize

X = [np.arange(8.0).reshape(2, 4), np.ones((3, 4))]
Y = [np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])]


def assert_same(a: Tasks, b: Tasks) -> None:
    assert a.names == b.names
    for one, other in zip((*a.X, *a.y), (*b.X, *b.y), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tasks_hold_what_they_were_given():
    tasks = Tasks(X, Y, ["north", "south"])
    assert (len(tasks), tasks.n_features, tasks.n_rows, tasks.names) == (2, 4, (2, 3), ("north", "south"))
    for (x, y), given_x, given_y in zip(tasks, X, Y, strict=True):
        np.testing.assert_array_equal(x, given_x)
        np.testing.assert_array_equal(y, given_y)
    assert repr(tasks) == "Tasks(2 tasks, 5 rows, 4 features)"


def test_names_count_the_tasks_by_default():
    assert Tasks(X, Y).names == ("task 0", "task 1")
    assert Tasks(X, Y, []).names == ("task 0", "task 1")


def test_names_may_be_any_hashable_values():
    assert Tasks(X, Y, np.array([7, 9])).names == (7, 9)
    assert Tasks(X, Y, [("a", 1), 2]).names == (("a", 1), 2)


def test_float64_input_is_shared_read_only_and_the_callers_stays_writeable():
    x, y = X[0].copy(), Y[0].copy()
    tasks = Tasks([x], [y])
    assert np.shares_memory(tasks.X[0], x)
    assert x.flags.writeable
    assert y.flags.writeable
    for array in (*tasks.X, *tasks.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_tasks_are_frozen_and_told_apart_by_identity():
    assert len({Tasks(X, Y), Tasks(X, Y)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Tasks(X, Y).names = ()


@pytest.mark.parametrize(
    "inputs",
    [
        [x.tolist() for x in X],
        [pd.DataFrame(x) for x in X],
        [np.asfortranarray(x) for x in X],
        [x.astype(np.float32) for x in X],
        (x for x in X),
    ],
    ids=["lists", "frames", "Fortran", "float32", "generator"],
)
def test_inputs_may_come_in_any_sequence_of_arrays(inputs):
    assert_same(Tasks(inputs, [pd.Series(y) for y in Y]), Tasks(X, Y))


def test_a_block_of_equal_tasks_is_a_sequence_of_arrays():
    assert Tasks(np.ones((5, 3, 2)), np.ones((5, 3))).n_rows == (3,) * 5


def test_one_task_of_one_row_and_one_feature_is_enough():
    tasks = Tasks([[[2.0]]], [[3.0]])
    assert (len(tasks), tasks.n_features, tasks.n_rows) == (1, 1, (1,))


BAD_TASKS = {
    "no task": ({"X": [], "y": []}, "X", "at least one task", "none"),
    "no targets": ({"X": X, "y": []}, "y", "at least one task", "none"),
    "X no sequence": ({"X": 5, "y": Y}, "X", "a sequence of arrays", "int"),
    "y no sequence": ({"X": X, "y": None}, "y", "a sequence of arrays", "NoneType"),
    "X of rank 0": ({"X": np.array(5.0), "y": Y}, "X", "a sequence of arrays", "ndarray"),
    "fewer y than X": ({"X": X, "y": Y[:1]}, "y", "2 vectors, one for each array of X", "1"),
    "one table for all": ({"X": X[0], "y": Y}, "X of 'task 0'", "array of shape (m, d)", "shape (4,)"),
    "empty task": ({"X": [X[0], np.ones((0, 4))], "y": Y}, "X of 'task 1'", "(m, 4)", "shape (0, 4)"),
    "no feature": ({"X": [np.ones((2, 0))], "y": Y[:1]}, "X of 'task 0'", "(m, d)", "shape (2, 0)"),
    "other features": ({"X": [X[0], np.ones((3, 5))], "y": Y}, "X of 'task 1'", "(m, 4)", "shape (3, 5)"),
    "ragged rows": ({"X": [[[1, 2], [3]]], "y": Y[:1]}, "X of 'task 0'", "(m, d)", "unequal lengths"),
    "y too long": ({"X": X, "y": Y[::-1]}, "y of 'task 0'", "array of shape (2,)", "shape (3,)"),
    "y a column": (
        {"X": X, "y": [y[:, None] for y in Y]},
        "y of 'task 0'",
        "array of shape (2,)",
        "shape (2, 1)",
    ),
    "NaN in X": ({"X": [X[0], X[1] * np.nan], "y": Y}, "X of 'task 1'", "finite numbers", "nan at (0, 0)"),
    "inf in y": ({"X": X, "y": [Y[0], Y[1] + np.inf]}, "y of 'task 1'", "finite numbers", "inf at (0,)"),
    "masked X": (
        {"X": [np.ma.array(x, mask=x > 0) for x in X], "y": Y},
        "X of 'task 0'",
        "(m, d)",
        "a masked array",
    ),
    "complex X": ({"X": [x + 1j for x in X], "y": Y}, "X of 'task 0'", "real numbers", "dtype complex128"),
    "text in X": ({"X": ["ab", "c"], "y": Y}, "X of 'task 0'", "real numbers", "dtype <U2"),
    "fewer names": ({"X": X, "y": Y, "names": ["a"]}, "names", "2 names", "1"),
    "repeated names": (
        {"X": X, "y": Y, "names": ["b", "b"]},
        "names",
        "distinct names",
        "'b' more than once",
    ),
    "no names": ({"X": X, "y": Y, "names": None}, "names", "a sequence of hashable names", "NoneType"),
    "lists as names": (
        {"X": X, "y": Y, "names": [[1], [2]]},
        "names",
        "a sequence of hashable names",
        "unhashable",
    ),
}


@pytest.mark.parametrize("case", BAD_TASKS)
def test_what_makes_no_tasks_is_refused(case):
    arguments, name, wanted, found = BAD_TASKS[case]
    with refused(name, wanted, found):
        Tasks(**arguments)


def test_the_name_that_repeats_is_the_one_that_is_named(tasks):
    with refused("names", "distinct names", "'b' more than once", "Rename or merge"):
        Tasks(tasks.X, tasks.y, ["a", "b", "b"])


def test_errors_call_a_task_by_its_own_name():
    with refused("y of 'south'", "array of shape (3,)", "shape (2,)"):
        Tasks(X, [Y[0], Y[0]], ["north", "south"])


# Long tables ------------------------------------------------------------------


@given(st.lists(st.sampled_from([3, 1, 2]), min_size=1, max_size=12))
def test_a_table_falls_apart_into_its_labels_in_sorted_order(labels):
    rows = np.arange(2.0 * len(labels)).reshape(-1, 2)
    tasks = Tasks.from_table(rows, rows[:, 0] + 0.5, labels)
    assert tasks.names == tuple(sorted(set(labels)))
    for name, (x, y) in zip(tasks.names, tasks, strict=True):
        literal = [list(row) for row, label in zip(rows, labels, strict=True) if label == name]
        np.testing.assert_array_equal(x, literal)
        np.testing.assert_array_equal(y, [row[0] + 0.5 for row in literal])


def test_columns_of_a_frame_make_a_table():
    frame = pd.DataFrame(
        {"x": [1, 2, 3], "z": [4, 5, 6], "y": [7, 8, 9], "who": ["b", "a", "b"]}, index=[9, 8, 7]
    )
    tasks = Tasks.from_table(frame[["x", "z"]], frame.y, frame.who)
    assert_same(tasks, Tasks([[[2, 5]], [[1, 4], [3, 6]]], [[8], [7, 9]], ["a", "b"]))


@pytest.mark.parametrize(
    ("X", "y", "task", "name", "wanted", "found"),
    [
        (np.ones(3), np.ones(3), "abc", "X", "array of shape (rows, d)", "shape (3,)"),
        (np.ones((3, 2)), np.ones(2), list("abc"), "y", "array of shape (3,)", "shape (2,)"),
        (np.ones((3, 2)), np.ones(3), list("ab"), "task", "a vector of 3 labels", "shape (2,)"),
        (np.ones((3, 2)), np.ones(3), ["a", None, "b"], "task", "text or a number", "None at 1"),
        (np.ones((3, 2)), np.ones(3), ["a", "b", np.nan], "task", "text or a number", "nan at 2"),
        (np.ones((3, 2)), np.ones(3), ["a", 1, "b"], "task", "all text or all numbers", "a mixture"),
        (np.full((3, 2), np.nan), np.ones(3), list("abc"), "X", "finite numbers", "nan at (0, 0)"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(X, y, task, name, wanted, found):
    with refused(name, wanted, found):
        Tasks.from_table(X, y, task)


# Taking rows ------------------------------------------------------------------


def test_rows_are_taken_in_the_order_given(tasks):
    rows = [[4, 0], [-1], [3, 3, 2]]
    taken = tasks.take(rows)
    assert taken.names == tasks.names
    for (x, y), (given_x, given_y), picks in zip(taken, tasks, rows, strict=True):
        np.testing.assert_array_equal(x, [given_x[r] for r in picks])
        np.testing.assert_array_equal(y, [given_y[r] for r in picks])


def test_a_mask_takes_the_rows_it_marks(tasks):
    masks = [y > np.median(y) for y in tasks.y]
    assert_same(tasks.take(masks), tasks.take([np.flatnonzero(mask) for mask in masks]))
    assert_same(tasks.take([mask.tolist() for mask in masks]), tasks.take(masks))


def test_taking_every_row_changes_nothing(tasks):
    assert_same(tasks.take([range(m) for m in SIZES]), tasks)
    assert_same(tasks.take([np.arange(-m, 0) for m in SIZES]), tasks)


@pytest.mark.parametrize(
    ("first", "wanted", "found"),
    [
        ([], "at least one row", "none"),
        ([False] * 5, "at least one row", "none"),
        ([True] * 4, "a mask of length 5", "shape (4,)"),
        ([[True] * 5], "a mask of length 5", "shape (1, 5)"),
        ([5], "indices below 5", "5 to 5"),
        ([0, -6], "indices below 5", "-6 to 0"),
        ([0.0], "a vector of whole numbers", "shape (1,) of float64"),
        ([[0, 1]], "a vector of whole numbers", "shape (1, 2) of int64"),
        (3, "a vector of whole numbers", "shape () of int64"),
        (["a"], "a vector of whole numbers", "<U1"),
        ([[0], [1, 2]], "a vector of whole numbers", "unequal lengths"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused(tasks, first, wanted, found):
    with refused("rows of 'task 0'", wanted, found):
        tasks.take([first, [0], [0]])


def test_rows_are_wanted_for_each_task(tasks):
    with refused("rows", "3 arrays of indices, one a task", "2", "Pair them up"):
        tasks.take([[0], [0]])
    with refused("rows", "a sequence of arrays", "int"):
        tasks.take(0)


# Standardizing ----------------------------------------------------------------


def literal_scale(tasks: Tasks, k: int) -> float:
    squares, rows = 0.0, 0
    for X, _ in tasks:
        mean = sum(X[:, k]) / len(X)
        squares += sum((x - mean) ** 2 for x in X[:, k])
        rows += len(X)
    return (squares / rows) ** 0.5


def test_standardizing_is_the_literal_formula(tasks):
    test = make_tasks((3, 1, 2), seed=5)
    for part, standardized in zip((tasks, test), standardize(tasks, test), strict=True):
        assert standardized.names == part.names
        for i, (X, y) in enumerate(part):
            train_X, train_y = tasks.X[i], tasks.y[i]
            for r in range(len(y)):
                assert standardized.y[i][r] == pytest.approx(y[r] - sum(train_y) / len(train_y))
                for k in range(D):
                    centred = X[r, k] - sum(train_X[:, k]) / len(train_X)
                    assert standardized.X[i][r, k] == pytest.approx(centred / literal_scale(tasks, k))


@pytest.mark.parametrize(
    "scales", [1e-8, 1.0, 1e8, np.logspace(-8, 8, D)], ids=["tiny", "one", "huge", "mixed"]
)
def test_training_rows_come_out_centred_and_pooled_to_unit_deviation(scales):
    (train,) = standardize(make_tasks(scales=scales))
    for X, y in train:
        np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=1e-12)
        assert y.mean() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(np.mean(np.concatenate(train.X) ** 2, axis=0), 1.0)


def test_units_of_features_and_levels_of_tasks_do_not_matter(tasks):
    units, origin = np.array([1e-8, 1e3, 7.0, 1e8]), np.arange(D)
    moved = Tasks([(X + i * origin) * units for i, X in enumerate(tasks.X)], [y + 5 for y in tasks.y])
    for one, other in zip(standardize(moved)[0], standardize(tasks)[0], strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=1e-6)
        np.testing.assert_allclose(one[1], other[1], atol=1e-12)


def test_training_rows_do_not_see_the_test_rows(tasks):
    test, wild = make_tasks((3, 1, 2), seed=5), make_tasks((2, 4, 1), seed=6, scales=1e6)
    alone, first, second = (
        standardize(tasks)[0],
        standardize(tasks, test)[0],
        standardize(tasks, wild, test)[0],
    )
    assert_same(alone, first)
    assert_same(alone, second)


def test_other_rows_do_not_see_each_other(tasks):
    test, wild = make_tasks((3, 1, 2), seed=5), make_tasks((2, 4, 1), seed=6, scales=1e6)
    assert_same(standardize(tasks, test)[1], standardize(tasks, wild, test)[2])


@pytest.mark.parametrize("level", [0.0, 0.1, 1e8])
def test_a_constant_feature_becomes_zero_and_keeps_its_scale(tasks, level):
    flat = Tasks(
        [np.column_stack([np.full(len(y), level + i), X]) for i, (X, y) in enumerate(tasks)], tasks.y
    )
    test = Tasks([np.column_stack([X[:, 0] * 0 + level + i + 2, X]) for i, X in enumerate(tasks.X)], tasks.y)
    train, test = standardize(flat, test)
    for X in train.X:
        np.testing.assert_allclose(X[:, 0], 0.0, atol=1e-12)
    for X in test.X:
        np.testing.assert_allclose(X[:, 0], 2.0, atol=1e-6)


def test_a_feature_that_moves_little_about_a_large_level_still_has_a_scale():
    rng = np.random.default_rng(0)
    (train,) = standardize(Tasks([1e6 + 1e-3 * rng.normal(size=(9, 1))], [np.ones(9)]))
    assert np.std(train.X[0]) == pytest.approx(1.0)


def test_tasks_of_one_row_standardize_to_zero():
    (train,) = standardize(Tasks([[[1.0, 2.0]], [[3.0, 4.0]]], [[1.0], [2.0]]))
    for X, y in train:
        assert not X.any()
        assert not y.any()


def test_only_rows_of_the_same_tasks_are_standardized_together(tasks):
    renamed = Tasks(tasks.X, tasks.y, "abc")
    narrow = Tasks([X[:, :2] for X in tasks.X], tasks.y)
    for other in (renamed, narrow):
        with refused("others", f"the tasks of {tasks!r}", repr(other), "Split one Tasks"):
            standardize(tasks, tasks, other)
    for wrong in ((None,), (tasks, tasks.X)):
        with refused("train and others", "a Tasks", kind=TypeError):
            standardize(*wrong)


def test_nothing_given_is_changed(tasks):
    x, y, labels = X[0].copy(), Y[0].copy(), np.array(["b", "a"])
    rows = [np.array([0, 1])] * N
    with unchanged(x, y, labels, *rows, *tasks.X, *tasks.y):
        Tasks([x], [y])
        Tasks.from_table(x, y, labels)
        tasks.take(rows)
        standardize(tasks, tasks)
