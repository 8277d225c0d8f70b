"""Model selection: folds partition the rows and never leak, and every error equals its literal loop."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers import (
    SIZES,
    D,
    N,
    full_penalty,
    kronecker_solution,
    literal_errors,
    make_tasks,
    refused,
    unchanged,
)
from hypothesis import given
from hypothesis import strategies as st

from mtlbook import (
    CrossValidation,
    Tasks,
    cross_validate,
    fit,
    hold_out,
    k_folds,
    quadratic,
    relations,
    solve,
    solvers,
    squared_errors,
    standardize,
)
from mtlbook.moments import Moments
from mtlbook.objectives import TraceRegularized
from mtlbook.tasks import leave_one_out

seeds = st.integers(0, 2**32 - 1)


def numbered(sizes: tuple[int, ...] = SIZES) -> Tasks:
    """Tasks whose targets number the rows of each task."""
    return Tasks([np.arange(2.0 * m).reshape(m, 2) for m in sizes], [np.arange(float(m)) for m in sizes])


def rows_of(part: Tasks) -> list[list[int]]:
    """The row numbers, after a look that inputs came along with their targets."""
    for X, y in part:
        np.testing.assert_array_equal(X[:, 0], 2 * y)
    return [y.astype(int).tolist() for _, y in part]


# fit and errors ---------------------------------------------------------------


def test_fit_is_the_exact_minimiser_of_the_objective_as_given(tasks):
    P = full_penalty()
    result = fit(tasks, P, 0.3)
    np.testing.assert_array_equal(result.W, solve(TraceRegularized(tasks, P, 0.3)).W)
    np.testing.assert_allclose(result.W, kronecker_solution(tasks, P, 0.3), rtol=1e-9)


def test_squared_errors_are_the_literal_loop(tasks, rng):
    W = rng.normal(size=(D, N))
    errors = squared_errors(W, tasks)
    assert errors.shape == (N,)
    np.testing.assert_allclose(errors, literal_errors(W, tasks), rtol=1e-12)


def test_the_truth_has_no_error_without_noise(tasks, rng):
    W = rng.normal(size=(D, N))
    exact = Tasks(tasks.X, [X @ w for X, w in zip(tasks.X, W.T, strict=True)])
    np.testing.assert_array_equal(squared_errors(W, exact), 0.0)


# hold_out ---------------------------------------------------------------------


@given(seeds, st.floats(0.01, 0.99), st.lists(st.integers(2, 12), min_size=1, max_size=4).map(tuple))
def test_holding_out_splits_every_task_in_two_that_share_no_row(seed, fraction, sizes):
    kept, held = hold_out(numbered(sizes), fraction, np.random.default_rng(seed))
    for m, stay, leave in zip(sizes, rows_of(kept), rows_of(held), strict=True):
        assert sorted(stay + leave) == list(range(m))
        assert len(leave) == min(max(round(fraction * m), 1), m - 1)
        assert stay == sorted(stay)
        assert leave == sorted(leave)


@pytest.mark.parametrize(("fraction", "held_rows"), [(0.01, (1, 1, 1)), (0.5, (2, 4, 6)), (0.99, (4, 7, 10))])
def test_at_least_one_row_of_each_task_is_held_out_and_one_kept(tasks, rng, fraction, held_rows):
    kept, held = hold_out(tasks, fraction, rng)
    assert held.n_rows == held_rows
    assert kept.n_rows == tuple(m - h for m, h in zip(SIZES, held_rows, strict=True))
    assert kept.names == held.names == tasks.names


# k_folds ----------------------------------------------------------------------


@given(seeds, st.integers(2, 5))
def test_folds_partition_the_rows_and_never_leak(seed, k):
    folds = k_folds(numbered(), k, np.random.default_rng(seed))
    assert len(folds) == k
    for i, m in enumerate(SIZES):
        tested = [rows_of(test)[i] for _, test in folds]
        assert sorted(itertools.chain(*tested)) == list(range(m))
        assert max(map(len, tested)) - min(map(len, tested)) <= 1
        for (train, _), out in zip(folds, tested, strict=True):
            assert rows_of(train)[i] == [r for r in range(m) if r not in out]
            assert out == sorted(out)


def test_as_many_folds_as_rows_leave_one_out(rng):
    folds = k_folds(numbered((4, 4)), 4, rng)
    assert all(test.n_rows == (1, 1) and train.n_rows == (3, 3) for train, test in folds)


def test_folds_keep_the_names_of_tasks(tasks, rng):
    named = Tasks(tasks.X, tasks.y, "abc")
    assert all(train.names == test.names == ("a", "b", "c") for train, test in k_folds(named, 2, rng))


@pytest.mark.parametrize(
    "split", [lambda t, rng: hold_out(t, 0.4, rng), lambda t, rng: k_folds(t, 3, rng)[0]]
)
def test_splits_repeat_with_the_seed_and_differ_with_the_draw(split):
    first, again, other = (rows_of(split(numbered(), np.random.default_rng(seed))[1]) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    rng = np.random.default_rng(3)
    assert rows_of(split(numbered(), rng)[1]) != rows_of(split(numbered(), rng)[1])


def test_tasks_are_shuffled_apart_from_each_other(rng):
    rows = rows_of(hold_out(numbered((30,) * 4), 0.5, rng)[1])
    assert len(set(map(tuple, rows))) == 4


@pytest.mark.parametrize("split", [lambda t, g: hold_out(t, 0.5, g), lambda t, g: k_folds(t, 2, g)])
@pytest.mark.parametrize("generator", [0, None, np.random.RandomState(0)])
def test_a_seed_is_no_generator(tasks, split, generator):
    with refused("rng", "a Generator", type(generator).__name__, "default_rng(seed)", kind=TypeError):
        split(tasks, generator)


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, "3", None, True])
def test_folds_are_two_or_more(tasks, rng, k):
    with refused("k", "a whole number of at least 2", repr(k)):
        k_folds(tasks, k, rng)


def test_tasks_with_too_few_rows_are_named(tasks, rng):
    with refused("tasks", "at least 6 rows in each", "5 in 'task 0'", "Split less often"):
        k_folds(tasks, 6, rng)
    with refused("tasks", "at least 2 rows in each", "1 in 'task 1'"):
        hold_out(make_tasks((2, 1)), 0.5, rng)


@pytest.mark.parametrize(
    ("fraction", "wanted"),
    [
        (0.0, "a finite number above 0"),
        (-0.5, "a finite number above 0"),
        (np.nan, "a finite number above 0"),
        ("half", "a finite number above 0"),
        (1.0, "a number between 0 and 1"),
        (3, "a number between 0 and 1"),
    ],
)
def test_fractions_lie_between_zero_and_one(tasks, rng, fraction, wanted):
    with refused("fraction", wanted, repr(fraction) if fraction != 1.0 else "1"):
        hold_out(tasks, fraction, rng)


# cross_validate ---------------------------------------------------------------

GRID = [3.0, 0.0, 0.1, 100.0]


def test_cross_validated_errors_are_the_literal_loop(tasks, rng):
    folds, P = k_folds(make_tasks((15, 18, 21)), 3, rng), full_penalty()
    validation = cross_validate(folds, P, GRID)
    assert validation.errors.shape == (4, 3, N)
    for s, strength in enumerate(GRID):
        for f, (train, test) in enumerate(folds):
            literal = literal_errors(kronecker_solution(train, P, strength), test)
            np.testing.assert_allclose(validation.errors[s, f], literal, rtol=1e-7)
        mean = sum(validation.errors[s, f, i] for f in range(3) for i in range(N)) / (3 * N)
        assert validation.mean[s] == pytest.approx(mean)
    np.testing.assert_array_equal(validation.strengths, GRID)
    assert validation.best == min(zip(validation.mean, GRID, strict=True))[1]


def test_best_is_the_strength_of_least_mean_error_not_of_least_sum_over_some_axis():
    errors = np.array([[[5.0, 1.0]], [[2.0, 2.0]], [[0.0, 9.0]]])
    assert CrossValidation(np.array([7.0, 8.0, 9.0]), errors).best == 8.0


def test_validations_are_frozen_and_told_apart_by_identity():
    one, other = (CrossValidation(np.ones(1), np.ones((1, 1, 1))) for _ in range(2))
    assert len({one, other}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.errors = None


@pytest.mark.parametrize("strengths", list(itertools.permutations([0.1, 1.0, 10.0])))
def test_the_smallest_strength_wins_a_tie_in_any_order(strengths):
    means = [2.0 if strength == 0.1 else 1.0 for strength in strengths]
    errors = np.array(means)[:, None, None] * np.ones((1, 2, 3))
    assert CrossValidation(np.array(strengths), errors).best == 1.0


def test_order_of_strengths_and_folds_does_not_matter(rng):
    folds = k_folds(make_tasks((15, 18, 21)), 3, rng)
    one, other = (
        cross_validate(folds, full_penalty(), GRID),
        cross_validate(folds[::-1], full_penalty(), GRID[::-1]),
    )
    assert one.best == other.best
    np.testing.assert_array_equal(other.errors, one.errors[::-1, ::-1])


def test_sharing_wins_where_tasks_are_one_and_loses_where_they_oppose(rng):
    X = [rng.normal(size=(12, D)) for _ in range(4)]
    noise, w = [rng.normal(size=12) for _ in X], np.ones(D)
    alike = Tasks(X, [x @ w + 2 * e for x, e in zip(X, noise, strict=True)])
    opposed = Tasks(X, [x @ w * s + 0.1 * e for x, e, s in zip(X, noise, (1, -1, 3, -3), strict=True)])
    best = [
        cross_validate(k_folds(t, 4, rng), relations.to_mean(4), [1e-4, 1e4]).best for t in (alike, opposed)
    ]
    assert best == [1e4, 1e-4]


def test_errors_do_not_see_the_test_rows_through_standardizing(rng):
    folds = k_folds(make_tasks((15, 18, 21)), 3, rng)
    wild = [(train, Tasks([1e3 * X for X in test.X], test.y)) for train, test in folds]
    for (train, test), (_, other) in zip(folds, wild, strict=True):
        W, V = (fit(standardize(train, part)[0], np.eye(N), 1.0).W for part in (test, other))
        np.testing.assert_array_equal(W, V)


def test_folds_may_come_from_a_generator(rng):
    folds = k_folds(make_tasks((15, 18, 21)), 3, rng)
    lazy = cross_validate((pair for pair in folds), np.eye(N), (0.5, 1))
    np.testing.assert_array_equal(lazy.errors, cross_validate(folds, np.eye(N), [0.5, 1.0]).errors)


def test_one_fold_and_one_strength_are_enough(tasks):
    validation = cross_validate([(tasks, tasks)], np.eye(N), [0.3])
    assert validation.best == 0.3
    np.testing.assert_allclose(validation.errors[0, 0], squared_errors(fit(tasks, np.eye(N), 0.3).W, tasks))


BAD_VALIDATIONS = {
    "no fold": ({"folds": []}, "folds", "at least one (train, test) pair", "none"),
    "no sequence": ({"folds": 3}, "folds", "(train, test) pairs", "not iterable"),
    "no pairs": ({"folds": [1, 2]}, "folds", "(train, test) pairs", "int"),
    "triples": ({"folds": [(1, 2, 3)]}, "folds", "(train, test) pairs", "too many values"),
    "no strength": ({"strengths": []}, "strengths", "an array of shape (s,)", "shape (0,)"),
    "a number": ({"strengths": 1.0}, "strengths", "an array of shape (s,)", "shape ()"),
    "NaN": ({"strengths": [1.0, np.nan]}, "strengths", "finite numbers", "nan at (1,)"),
    "text": ({"strengths": ["1"]}, "strengths", "real numbers", "dtype <U1"),
    "negative": ({"strengths": [1.0, -1.0]}, "strength", "a finite number of at least 0", "-1.0"),
    "P of another size": ({"P": np.eye(2)}, "P", "an array of shape (3, 3)", "shape (2, 2)"),
    "P indefinite": ({"P": -np.eye(3)}, "P", "a positive semidefinite matrix", "-1"),
}


@pytest.mark.parametrize("case", BAD_VALIDATIONS)
def test_what_cannot_be_validated_is_refused(tasks, case):
    changes, name, wanted, found = BAD_VALIDATIONS[case]
    arguments = {"folds": [(tasks, tasks)], "P": np.eye(N), "strengths": [1.0]} | changes
    with refused(name, wanted, found):
        cross_validate(**arguments)


def test_wrong_types_are_refused(tasks, rng):
    for call in (
        lambda: fit(None, np.eye(N), 1.0),
        lambda: squared_errors(np.ones((D, N)), None),
        lambda: hold_out(None, 0.5, rng),
        lambda: k_folds(None, 2, rng),
        lambda: cross_validate([(None, tasks)], np.eye(N), [1.0]),
        lambda: cross_validate([(tasks, None)], np.eye(N), [1.0]),
    ):
        with refused("tasks", "a Tasks", "NoneType", "Tasks(X, y)", kind=TypeError):
            call()


@pytest.mark.parametrize("W", [np.ones((N, D)), np.ones(D), np.full((D, N), np.inf), "W"])
def test_parameters_that_do_not_fit_the_tasks_are_refused(tasks, W):
    with refused("W"):
        squared_errors(W, tasks)


def test_nothing_given_is_changed_and_nothing_returned_is_writeable(tasks, rng):
    P, W, grid = full_penalty(), np.ones((D, N)), np.array([2.0, 1.0])
    with unchanged(P, W, grid, *tasks.X, *tasks.y):
        fit(tasks, P, 1.0)
        squared_errors(W, tasks)[0] = 7.0
        hold_out(tasks, 0.5, rng)
        validation = cross_validate(k_folds(tasks, 2, rng), P, grid)
    assert not validation.errors.flags.writeable
    assert not validation.strengths.flags.writeable
    assert not np.shares_memory(validation.strengths, grid)


def test_the_same_folds_give_the_same_bits(tasks):
    one, two = (
        cross_validate(k_folds(tasks, 3, np.random.default_rng(1)), np.eye(N), GRID) for _ in range(2)
    )
    assert one.errors.tobytes() == two.errors.tobytes()


# The fast way through cross-validation ----------------------------------------------


def literal_validation(folds, P, strengths) -> np.ndarray:
    """Fit for each strength and fold by itself, by the literal system."""
    return np.array(
        [
            [literal_errors(kronecker_solution(train, P, strength), test) for train, test in folds]
            for strength in strengths
        ]
    )


FOLDS = {
    "k_folds": lambda tasks, rng: k_folds(tasks, 3, rng),
    "two folds": lambda tasks, rng: k_folds(tasks, 2, rng),
    "standardized": lambda tasks, rng: [standardize(*pair) for pair in k_folds(tasks, 3, rng)],
    "hold_out twice": lambda tasks, rng: [hold_out(tasks, 0.3, rng) for _ in range(2)],
    "one fold": lambda tasks, rng: k_folds(tasks, 3, rng)[:1],
    "a fold twice": lambda tasks, rng: k_folds(tasks, 3, rng)[:1] * 2,
    "train on what is tested": lambda tasks, rng: [(test, test) for _, test in k_folds(tasks, 2, rng)],
    "of two sources": lambda tasks, rng: [
        k_folds(t, 2, np.random.default_rng(5))[f]
        for f, t in enumerate((tasks, make_tasks((15, 18, 21), seed=9)))
    ],
}  # fmt: skip


@pytest.mark.parametrize("large", [False, True], ids=["dense", "conjugate gradients"])
@pytest.mark.parametrize("case", FOLDS)
def test_cross_validation_is_the_literal_one_however_folds_were_made(rng, monkeypatch, case, large):
    if large:
        monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
        monkeypatch.setattr(quadratic, "MUCH_MEMORY", 0)
        monkeypatch.setattr(quadratic, "LEAST_WIDTH", 1)
    folds, P, grid = FOLDS[case](make_tasks((15, 18, 21)), rng), full_penalty(), [0.1, 3.0, 100.0]
    found = cross_validate(folds, P, grid, gap=1e-14).errors
    np.testing.assert_allclose(found, literal_validation(folds, P, grid), rtol=1e-5)


def test_folds_are_recognised_only_where_each_trains_on_what_the_others_test(rng):
    tasks = make_tasks((15, 18, 21))
    for case, make in FOLDS.items():
        assert leave_one_out(make(tasks, rng)) == (case in ("k_folds", "two folds")), case
    folds = k_folds(tasks, 3, rng)
    assert leave_one_out(folds[::-1])
    train, test = folds[0]
    again = tasks.take([np.arange(m) for m in tasks.n_rows])
    assert not leave_one_out([(again, test), *folds[1:]])
    assert not leave_one_out([(train, again), *folds[1:]])
    masked = [(tasks.take([~m for m in masks]), tasks.take(masks)) for masks in halves(tasks)]
    assert leave_one_out(masked)
    last, rest = [[-1] for _ in tasks], [np.arange(m - 1) for m in tasks.n_rows]
    negative = [(tasks.take(last), tasks.take(rest)), (tasks.take(rest), tasks.take(last))]
    assert leave_one_out(negative)


def halves(tasks: Tasks) -> list[list[np.ndarray]]:
    first = [np.arange(m) < m // 2 for m in tasks.n_rows]
    return [first, [~mask for mask in first]]


def test_folds_of_one_source_form_each_matrix_once(rng, monkeypatch):
    folds = k_folds(make_tasks((15, 18, 21)), 3, rng)
    rows, form = [], Moments.from_tasks
    monkeypatch.setattr(Moments, "from_tasks", lambda tasks: rows.append(sum(tasks.n_rows)) or form(tasks))
    cross_validate(folds, full_penalty(), GRID)
    assert sum(rows) == 54


def test_a_narrower_gap_brings_errors_nearer(rng, monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 0)
    folds, P = k_folds(make_tasks((15, 18, 21)), 3, rng), full_penalty()
    exact = literal_validation(folds, P, [0.1])
    off = [
        np.abs(cross_validate(folds, P, [0.1], gap=gap).errors - exact).max() for gap in (1e-1, 1e-4, 1e-12)
    ]
    assert off[0] > off[1] > off[2]
    with refused("gap", "a finite number above 0"):
        cross_validate(folds, P, [0.1], gap=0.0)
