"""Moments: literal means of outer products, which add in any order and chunking."""

import dataclasses
from functools import reduce
from operator import add

import numpy as np
import pytest
from helpers import SIZES, D, N, make_tasks, refused, unchanged
from hypothesis import given
from hypothesis import strategies as st

from mtlbook import Moments, Tasks, moments


def assert_equal(a: Moments, b: Moments) -> None:
    assert a.names == b.names
    for field in ("C", "B", "s", "m"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-12, atol=1e-14)


def pieces(tasks: Tasks, cuts: list[list[int]]) -> list[Tasks]:
    """`tasks` cut into as many pieces as each list of row numbers has parts."""
    parts = [np.split(np.arange(m), cut) for m, cut in zip(tasks.n_rows, cuts, strict=True)]
    return [tasks.take(rows) for rows in zip(*parts, strict=True)]


def test_moments_are_literal_means_of_outer_products(tasks):
    moments = Moments.from_tasks(tasks)
    for i, (X, y) in enumerate(tasks):
        outer, m = range(len(y)), len(y)
        for k in range(D):
            for q in range(D):
                assert moments.C[i, k, q] == pytest.approx(sum(X[r, k] * X[r, q] for r in outer) / m)
            assert moments.B[k, i] == pytest.approx(sum(X[r, k] * y[r] for r in outer) / m)
        assert moments.s[i] == pytest.approx(sum(t * t for t in y) / m)
        assert moments.m[i] == m


def test_moments_know_their_tasks(tasks):
    moments = Moments.from_tasks(tasks)
    assert (len(moments), moments.n_features, moments.names) == (N, D, tasks.names)
    assert (moments.C.shape, moments.B.shape, moments.s.shape, moments.m.shape) == (
        (N, D, D),
        (D, N),
        (N,),
        (N,),
    )
    assert repr(moments) == "Moments(3 tasks, 24 rows, 4 features)"


cuts = st.integers(1, 4).flatmap(
    lambda k: st.tuples(*(st.permutations(range(1, m)).map(lambda p: sorted(p[: k - 1])) for m in SIZES)).map(
        list
    )
)


@given(cuts, st.randoms(use_true_random=False))
def test_moments_add_in_any_chunking_and_order(cuts, random):
    tasks = make_tasks()
    chunks = pieces(tasks, cuts)
    random.shuffle(chunks)
    assert_equal(Moments.from_chunks(chunks), Moments.from_tasks(tasks))


def test_addition_associates_and_commutes():
    a, b, c = map(
        Moments.from_tasks, (make_tasks((3, 1, 2)), make_tasks((5, 9, 4), seed=1), make_tasks(seed=2))
    )
    assert_equal((a + b) + c, a + (b + c))
    assert_equal(a + b, b + a)


def test_chunks_of_one_row_each_are_enough():
    tasks = make_tasks((4, 4, 4))
    assert_equal(Moments.from_chunks(tasks.take([[r]] * 3) for r in range(4)), Moments.from_tasks(tasks))


def test_doubled_rows_double_the_counts_and_change_nothing_else(tasks):
    moments = Moments.from_tasks(tasks)
    doubled = moments + moments
    np.testing.assert_array_equal(doubled.m, 2 * moments.m)
    assert_equal(doubled, dataclasses.replace(moments, m=2 * moments.m))


def test_chunks_are_asked_for_one_at_a_time(tasks):
    alive = []

    def source():
        for _ in range(3):
            alive.append(len(alive))
            yield tasks
            assert len(alive) <= 3

    chunks = source()
    total = Moments.from_chunks(chunks)
    assert next(chunks, None) is None
    np.testing.assert_array_equal(total.m, 3 * np.array(SIZES))


def test_many_chunks_do_not_drift():
    tasks = make_tasks((50, 50, 50), seed=3)
    rows = [Moments.from_tasks(tasks.take([[r]] * 3)) for r in range(50)]
    assert_equal(reduce(add, rows), Moments.from_tasks(tasks))


def test_moments_are_read_only_and_frozen(tasks):
    moments = Moments.from_tasks(tasks)
    for field in ("C", "B", "s", "m"):
        assert not getattr(moments, field).flags.writeable
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(moments, field, None)


def test_moments_are_told_apart_by_identity(tasks):
    assert len({Moments.from_tasks(tasks), Moments.from_tasks(tasks)}) == 2


def test_arrays_given_to_moments_stay_writeable():
    C, B = np.eye(2)[None], np.ones((2, 1))
    with unchanged(C, B):
        Moments(C=C, B=B, s=np.ones(1), m=np.ones(1), names=("a",))
    assert C.flags.writeable


def test_only_moments_of_the_same_tasks_add(tasks):
    moments = Moments.from_tasks(tasks)
    renamed = Moments.from_tasks(Tasks(tasks.X, tasks.y, "abc"))
    narrow = Moments.from_tasks(Tasks([X[:, :2] for X in tasks.X], tasks.y))
    for other in (renamed, narrow):
        with refused("other", f"the tasks of {moments!r}", repr(other), "Add moments of the same tasks"):
            moments + other
    with pytest.raises(TypeError, match="unsupported operand"):
        moments + 1


def test_from_chunks_wants_a_chunk_and_every_chunk_the_same_tasks(tasks):
    with refused("chunks", "at least one Tasks", "none"):
        Moments.from_chunks(iter(()))
    with refused("other", "the tasks of", "2 tasks"):
        Moments.from_chunks([tasks, make_tasks((3, 4))])


@pytest.mark.parametrize("wrong", [None, 5, "tasks", [np.eye(2)], np.ones((2, 2))])
def test_moments_are_made_of_tasks_only(wrong):
    with refused("tasks", "a Tasks", type(wrong).__name__, "Tasks(X, y)", kind=TypeError):
        Moments.from_tasks(wrong)


def test_tasks_given_are_not_changed(tasks):
    with unchanged(*tasks.X, *tasks.y):
        Moments.from_chunks([tasks, tasks])


def test_chunks_that_are_no_sequence_are_refused():
    with pytest.raises(TypeError, match="chunks: wanted an iterable of Tasks, found 5"):
        Moments.from_chunks(5)


# Differences, sums of others, checks ----------------------------------------------


def test_what_was_added_can_be_taken_away(tasks):
    other = make_tasks((3, 1, 2), seed=1)
    mine, theirs = Moments.from_tasks(tasks), Moments.from_tasks(other)
    assert_equal((mine + theirs) - theirs, mine)
    assert_equal((mine + theirs) - mine, theirs)
    for field in ("C", "B", "s", "m"):
        assert not getattr((mine + theirs) - theirs, field).flags.writeable


def test_only_rows_that_are_there_can_be_taken_away(tasks):
    moments = Moments.from_tasks(tasks)
    with refused("other", "fewer than the 5 rows of 'task 0'", "5", "only a part"):
        moments - moments
    part = Moments.from_tasks(Tasks([100 * X[:2] for X in tasks.X], [y[:2] for y in tasks.y]))
    with refused("other", "moments of some of the same rows", "left for 'task 0'", "only what was added"):
        moments - part
    loud = Moments.from_tasks(Tasks([0 * X[:2] for X in tasks.X], [100 + y[:2] for y in tasks.y]))
    with refused("other", "moments of some of the same rows", "left for 'task 0'"):
        moments - loud
    with refused("other", "the tasks of", "Moments"):
        moments - Moments.from_tasks(make_tasks((3, 4)))
    with pytest.raises(TypeError, match="unsupported operand"):
        moments - 1


@pytest.mark.parametrize("k", [2, 3, 5])
def test_sums_of_others_are_the_sums_of_all_others(k):
    parts = [Moments.from_tasks(make_tasks((2 + j, 3, 5 - j % 2), seed=j)) for j in range(k)]
    for j, found in enumerate(moments.sums_of_others(parts)):
        assert_equal(found, reduce(add, parts[:j] + parts[j + 1 :]))


def test_a_part_that_outweighs_the_rest_costs_no_digit():
    parts = [Moments.from_tasks(make_tasks(seed=j)) for j in range(3)]
    loud = Moments.from_tasks(Tasks([1e9 * X for X in make_tasks().X], make_tasks().y))
    assert_equal(moments.sums_of_others([*parts, loud])[-1], parts[0] + parts[1] + parts[2])


def test_sums_want_the_same_tasks():
    with refused("other", "the tasks of"):
        moments.sums_of_others([Moments.from_tasks(make_tasks()), Moments.from_tasks(make_tasks((3, 4)))])


RIGHT = {"C": np.eye(2)[None], "B": np.ones((2, 1)), "s": np.ones(1), "m": np.ones(1), "names": ("a",)}
WRONG = {
    "C of another shape": ({"C": np.eye(2)}, "C", "an array of shape (1, 2, 2)"),
    "C not symmetric": ({"C": np.array([[[1.0, 2.0], [0.0, 1.0]]])}, "C[0]", "a symmetric matrix"),
    "C negative": ({"C": -np.eye(2)[None]}, "moments", "a least entry on the diagonal of at least 0"),
    "B of another shape": ({"B": np.ones(2)}, "B", "an array of shape (d, n)"),
    "B not finite": ({"B": np.full((2, 1), np.nan)}, "B", "finite numbers"),
    "s negative": ({"s": -np.ones(1)}, "moments", "a s of at least 0"),
    "s of another length": ({"s": np.ones(2)}, "s", "an array of shape (1,)"),
    "m of another length": ({"m": np.ones(2)}, "m", "an array of shape (1,)"),
    "no rows": ({"m": np.zeros(1)}, "m", "a positive weight of rows a task"),
    "rows owed": ({"m": np.full(1, -0.5)}, "m", "a positive weight of rows a task"),
    "no names": ({"names": ()}, "names", "1 names"),
    "huge": ({"s": np.full(1, 1e200)}, "tasks", "mean squares below 1e+140"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_are_no_moments_is_refused(case):
    changes, name, wanted = WRONG[case]
    Moments(**RIGHT)
    with refused(name, wanted):
        Moments(**{**RIGHT, **changes})


def test_products_in_lower_precision_are_near(tasks):
    C, B = moments.products(tasks, np.float32)
    exact = Moments.from_tasks(tasks)
    assert (C.dtype, B.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(C, exact.C, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(B, exact.B)
