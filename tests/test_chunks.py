"""Chunks: whatever the cut, and whichever tasks a piece knows, the sums are those of the whole."""

import re
from functools import partial

import numpy as np
import pytest
from helpers import SIZES, D, make_tasks, refused, unchanged
from hypothesis import given
from hypothesis import strategies as st

from mtlbook import Moments, Tasks, chunks
from mtlbook.chunks import Sums

Table = tuple[np.ndarray, np.ndarray, np.ndarray]


def table(tasks: Tasks, seed: int = 5) -> Table:
    """The rows of all tasks in one table, shuffled; the labels are the names."""
    labels = np.repeat(np.array(tasks.names), tasks.n_rows)
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate(tasks.X)[order], np.concatenate(tasks.y)[order], labels[order]


def cut(rows: Table, places: list[int]) -> list[Table]:
    return list(zip(*(np.split(column, places) for column in rows), strict=True))


def assert_equal(a: Moments, b: Moments) -> None:
    assert a.names == b.names
    for field in ("C", "B", "s", "m"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-12, atol=1e-14)


def named(names: str = "xyz", seed: int = 0) -> Tasks:
    tasks = make_tasks(seed=seed)
    return Tasks(tasks.X, tasks.y, list(names))


@given(st.lists(st.integers(0, sum(SIZES)), max_size=8).map(sorted))
def test_any_cut_of_a_shuffled_table_gives_the_moments_of_the_whole(places):
    """Cuts at one place twice leave chunks without a row; short chunks lack whole tasks."""
    rows = table(named())
    assert_equal(chunks.moments(cut(rows, places)), Moments.from_tasks(Tasks.from_table(*rows)))


def test_sums_are_literal_sums_of_outer_products():
    X, y, task = table(named())
    sums = Sums.of((X, y, task), 3)
    assert (sums.names, sums.chunk, sums.table) == (("x", "y", "z"), 3, True)
    for i, name in enumerate(sums.names):
        rows = [r for r in range(len(y)) if task[r] == name]
        for k in range(D):
            for q in range(D):
                assert sums.C[i, k, q] == pytest.approx(sum(X[r, k] * X[r, q] for r in rows))
            assert sums.B[i, k] == pytest.approx(sum(X[r, k] * y[r] for r in rows))
        assert sums.s[i] == pytest.approx(sum(y[r] ** 2 for r in rows))
        assert sums.m[i] == len(rows)


def test_merged_sums_know_the_tasks_of_all_and_the_first_chunk():
    tasks = named()
    parts = [
        Sums.of(Tasks([tasks.X[i]], [tasks.y[i]], [tasks.names[i]]), number)
        for number, i in ((4, 2), (5, 0), (6, 2))
    ]
    both = Sums.merge(parts)
    assert (both.names, both.chunk, both.table) == (("z", "x"), 4, False)
    np.testing.assert_array_equal(both.m, [2 * SIZES[2], SIZES[0]])
    np.testing.assert_allclose(both.C[0], 2 * tasks.X[2].T @ tasks.X[2])


def test_parts_that_are_merged_stay_as_they_were():
    parts = [Sums.of(named()), Sums.of(table(named(seed=1)))]
    with unchanged(*(getattr(part, field) for part in parts for field in ("C", "B", "s", "m"))):
        Sums.merge(parts)
        parts[0].moments()


def test_chunks_of_tasks_keep_the_order_of_tasks():
    """Sorted, "task 10" would come before "task 2", and meet the wrong row of P."""
    tasks = make_tasks(range(1, 13))
    assert_equal(chunks.moments([tasks, tasks]), Moments.from_tasks(tasks) + Moments.from_tasks(tasks))
    assert chunks.moments([named("zxy"), table(named("abc"))]).names == ("z", "x", "y", "a", "b", "c")


def test_labels_of_tables_are_sorted_and_names_set_another_order():
    rows = table(Tasks(*zip(*make_tasks(), strict=True), [10, 9, 2]))
    assert chunks.moments(cut(rows, [2])).names == (2, 9, 10)
    assert chunks.moments(cut(rows, [2]), names=[9, 10, 2]).names == (9, 10, 2)
    moments = chunks.moments(cut(rows, [2]), names=[9, 10, 2])
    np.testing.assert_array_equal(moments.m, [SIZES[1], SIZES[0], SIZES[2]])
    for i, name in enumerate(moments.names):
        mine = rows[2] == name
        np.testing.assert_allclose(moments.C[i], rows[0][mine].T @ rows[0][mine] / mine.sum())
        np.testing.assert_allclose(moments.B[:, i], rows[0][mine].T @ rows[1][mine] / mine.sum())
        np.testing.assert_allclose(moments.s[i], np.mean(rows[1][mine] ** 2))


def test_a_chunk_may_be_a_function_and_is_then_called_once_when_its_turn_comes():
    called = []

    def loader(k: int) -> Table:
        called.append(k)
        return table(named(), seed=k)

    def source():
        for k in range(3):
            yield partial(loader, k)
            assert called == list(range(k + 1))

    assert chunks.moments(source()).m.sum() == 3 * sum(SIZES)


def test_input_is_not_changed():
    rows = table(named())
    with unchanged(*rows):
        chunks.moments([rows, list(rows)])


def test_labels_may_be_plain_lists_and_text_of_any_kind():
    X, y, task = table(named())
    whole = chunks.moments([(X, y, task)])
    assert_equal(chunks.moments([(X.tolist(), y.tolist(), task.tolist())]), whole)
    assert_equal(chunks.moments([(X, y, task.astype(object))]), whole)


@pytest.mark.parametrize(
    ("spoil", "name", "wanted", "found"),
    [
        (lambda X, y, t: X.__setitem__((6, 2), np.nan), "chunk 1, X", "finite numbers", "nan at (6, 2)"),
        (lambda X, y, t: y.__setitem__(4, np.inf), "chunk 1, y", "finite numbers", "inf at (4,)"),
        (lambda X, y, t: t.__setitem__(3, "w"), "chunk 1, task", "one of the 3 names", "'w' in row 3"),
    ],
)
def test_a_bad_entry_is_named_by_chunk_row_and_column(spoil, name, wanted, found):
    good, bad = table(named()), table(named(), seed=6)
    spoil(*bad)
    with refused(name, wanted, found):
        chunks.moments([good, bad, good], names="xyz")


def test_a_missing_label_is_named_by_its_row():
    X, y, task = table(Tasks(*zip(*make_tasks(), strict=True), [1.0, 2.0, 3.0]))
    task[5] = np.nan
    with refused("chunk 0, task", "text or a number for each", "nan at 5"):
        chunks.moments([(X, y, task)])


def test_lengths_that_differ_are_refused():
    X, y, task = table(named())
    with refused("chunk 0, y", "(24,)", "(23,)"):
        chunks.moments([(X, y[1:], task)])
    with refused("chunk 0, task", "24 labels", "(23,)"):
        chunks.moments([(X, y, task[1:])])
    with refused("chunk 0, X", "(rows, d)", "(0, 4)"):
        chunks.moments([(X[:0], y, task)])


def test_a_chunk_of_another_width_is_named():
    X, y, task = table(named())
    with refused("chunk 2", "4 features, as in chunk 0", "3", "same columns"):
        chunks.moments([(X, y, task), (X, y, task), (X[:, :3], y, task)])
    with refused("chunk 1", "4 features, as in chunk 0", "3", "same columns"):
        chunks.moments([(X, y, task), (X[:0, :3], y[:0], task[:0])])


def test_a_task_that_is_not_among_the_names_is_refused_in_tasks_too():
    with refused("chunk 0, task", "one of the 2 names", "'z' in place 2", "Name it too"):
        chunks.moments([named()], names="xy")


def test_a_name_without_rows_is_refused():
    with refused("names", "tasks with rows", "no row of 'q'"):
        chunks.moments([named()], names="xqyz")


def test_repeated_names_are_refused():
    with refused("names", "distinct names", "'x' more than once"):
        chunks.moments([named()], names="xyzx")


def test_no_chunk_and_no_row_are_refused():
    with refused("chunks", "at least one chunk", "none"):
        chunks.moments([])
    X, y, task = table(named())
    with refused("chunks", "at least one row", "none"):
        chunks.moments([(X[:0], y[:0], task[:0])])


def test_labels_of_two_kinds_in_two_chunks_are_refused():
    X, y, task = table(named())
    with refused("task", "all text or all numbers", "a mixture"):
        chunks.moments([(X, y, task), (X, y, np.arange(len(y)))])


@pytest.mark.parametrize(
    ("wrong", "found"), [(5, "int"), ((1, 2), "tuple of 2"), (None, "NoneType"), (lambda: 5, "int")]
)
def test_what_is_no_chunk_is_refused(wrong, found):
    sentence = f"chunk 1: wanted a table (X, y, task) or a Tasks, found {found}. Make it one of these."
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        chunks.moments([named(), wrong])


@pytest.mark.parametrize("wrong", [5, None, make_tasks(), "rows.csv"])
def test_chunks_that_are_no_iterable_of_chunks_are_refused(wrong):
    with pytest.raises(TypeError, match=r"chunks: wanted an iterable of chunks, found .+ Wrap it in a list"):
        chunks.moments(wrong)


def test_a_loader_that_fails_names_its_chunk_and_keeps_its_cause():
    def lost() -> Table:
        raise FileNotFoundError("rows-1.npy")

    sentence = "chunk 1: wanted rows, found FileNotFoundError: rows-1.npy. Check"
    with pytest.raises(RuntimeError, match=sentence) as caught:
        chunks.moments([named(), lost])
    assert isinstance(caught.value.__cause__, FileNotFoundError)
