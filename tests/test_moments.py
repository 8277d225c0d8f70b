"""Moments: literal means of outer products, which add in any order and chunking."""

import dataclasses
from functools import reduce
from operator import add

import numpy as np
import pytest
from helpers import SIZES, D, N, make_tasks, refused, unchanged
from hypothesis import given
from hypothesis import strategies as st

from mtlbook import Moments, Tasks


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
