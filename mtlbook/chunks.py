"""Chunks: sums over rows that come in pieces, each with some rows of some tasks.

Notation: of the rows of task i in it, a chunk keeps ``m_i C_i = X_i^T X_i``, ``m_i b_i = X_i^T y_i``,
``|y_i|^2`` and m_i. These add up over chunks; divided by m_i at the end, they are the moments of all rows.
:meth:`mtlbook.moments.Moments.from_chunks` does the same where every chunk knows every task.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
from mtlbook.tasks import Tasks

Table = tuple[ArrayLike, ArrayLike, ArrayLike]
Chunk = Tasks | Table | Callable[[], Tasks | Table]


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the rows of one or more chunks, for the tasks that occur in them.

    Attributes
    ----------
    names : tuple of length k
        The tasks that occur.
    C : ndarray of shape (k, d, d)
        Sums of x x^T.
    B : ndarray of shape (k, d)
        Sums of y x.
    s, m : ndarrays of shape (k,)
        Sums of y^2, and numbers of rows.
    chunk : int
        Number of the first chunk, to name it in errors.
    table : bool
        Whether all chunks were tables, whose tasks have no order of their own.
    """

    names: tuple[Hashable, ...]
    C: FloatArray
    B: FloatArray
    s: FloatArray
    m: FloatArray
    chunk: int
    table: bool

    @classmethod
    def of(cls, chunk: Chunk, number: int = 0, names: Sequence[Hashable] = ()) -> Sums:
        """The sums over one chunk; its rows are let go.

        Parameters
        ----------
        chunk : Tasks, table, or function
            As for :func:`moments`.
        number : int
            What errors call it.
        names : sequence of hashable values, optional
            The tasks that may occur; any by default.

        Returns
        -------
        Sums

        Raises
        ------
        TypeError
            If the chunk is none of these.
        ValueError
            If an entry is not finite, shapes do not match, or a task is not among the names.
        RuntimeError
            If the function fails.
        """
        rows = _loaded(chunk, number)
        try:
            found, pairs = (rows.names, list(rows)) if isinstance(rows, Tasks) else _by_task(*rows)
            _refuse_strangers(rows, found, names)
        except ValueError as error:
            raise ValueError(f"chunk {number}, {error}") from None
        d = pairs[0][0].shape[1] if pairs else np.shape(rows[0])[1]
        return cls(
            names=tuple(found),
            C=np.array([X.T @ X for X, _ in pairs]).reshape(-1, d, d),
            B=np.array([X.T @ y for X, y in pairs]).reshape(-1, d),
            s=np.array([y @ y for _, y in pairs]),
            m=np.array([float(len(y)) for _, y in pairs]),
            chunk=number,
            table=not isinstance(rows, Tasks),
        )

    @classmethod
    def merge(cls, parts: Sequence[Sums]) -> Sums:
        """The sums of all parts, over the tasks that any of them knows.

        Parameters
        ----------
        parts : sequence of Sums
            At least one, in the order of their chunks.

        Returns
        -------
        Sums

        Raises
        ------
        ValueError
            If numbers of features differ.
        """
        first, d = parts[0], parts[0].C.shape[-1]
        for part in parts:
            if part.C.shape[-1] != d:
                wanted, found = f"{d} features, as in chunk {first.chunk}", str(part.C.shape[-1])
                checks.fail(f"chunk {part.chunk}", wanted, found, "Give every chunk the same columns.")
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        place = {name: i for i, name in enumerate(names)}
        n = len(names)
        C, B, s, m = np.zeros((n, d, d)), np.zeros((n, d)), np.zeros(n), np.zeros(n)
        for part in parts:
            at = [place[name] for name in part.names]
            # One task at a time: at once, the sum would need a second array as large as C.
            for i, own in zip(at, part.C, strict=True):
                C[i] += own
            B[at] += part.B
            s[at] += part.s
            m[at] += part.m
        return cls(names, C, B, s, m, first.chunk, all(part.table for part in parts))

    def moments(self, names: Sequence[Hashable] = ()) -> Moments:
        """The sums divided by the numbers of rows.

        Parameters
        ----------
        names : sequence of n hashable values, optional
            The tasks in the order wanted; else sorted if all chunks were tables, and as they came if not.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            If there is no row, a name has no rows, or labels mix text with numbers.
        """
        if not self.names:
            checks.fail("chunks", "at least one row", "none", "Check that the source holds rows.")
        order = tuple(names) or (_sorted(self.names) if self.table else self.names)
        place = {name: i for i, name in enumerate(self.names)}
        for name in order:
            if name not in place:
                checks.fail("names", "tasks with rows", f"no row of {name!r}", "Leave it out of names.")
        at = [place[name] for name in order]
        m = self.m[at]
        C, B = self.C[at], (self.B[at] / m[:, None]).T
        C /= m[:, None, None]
        return Moments(C=C, B=B, s=self.s[at] / m, m=m, names=order)


def moments(chunks: Iterable[Chunk], *, names: Sequence[Hashable] = ()) -> Moments:
    """Moments of rows that come in chunks, one of which is held at a time.

    The same as ``Moments.from_tasks`` of all rows at once, with the memory of one chunk and of the sums: rows
    may stream from a disk that holds more than memory does.

    Parameters
    ----------
    chunks : iterable
        Each chunk is a table (X, y, task) of shapes (rows, d), (rows,) and (rows,), as for
        ``Tasks.from_table``; or a Tasks; or a function without arguments that loads one of these. A chunk
        need not know all tasks.
    names : sequence of n hashable values, optional
        All tasks, in the order wanted. By default those that occur: sorted if all chunks are tables, else in
        the order in which they first occur.

    Returns
    -------
    Moments

    Raises
    ------
    TypeError
        If chunks is not iterable, or a chunk is none of these.
    ValueError
        If there is no row; a chunk has an entry that is not finite, another number of features or a task
        that is not among the names (chunk and row are named); or a name has no rows.
    RuntimeError
        If a chunk cannot be loaded.
    """
    wanted, total = checked_names(names), None
    for number, chunk in enumerate(listed(chunks)):
        part = Sums.of(chunk, number, wanted)
        total = part if total is None else Sums.merge([total, part])
    if total is None:
        checks.fail("chunks", "at least one chunk", "none", "Check that the source holds rows.")
    return total.moments(wanted)


def listed(chunks: Iterable[Any]) -> Iterable[Any]:
    """Chunks that can be gone through, one by one.

    Parameters
    ----------
    chunks : iterable
        What a caller gave.

    Returns
    -------
    iterable

    Raises
    ------
    TypeError
        If it is no iterable, or a single Tasks.
    """
    if not isinstance(chunks, Iterable) or isinstance(chunks, Tasks | str):
        raise TypeError(f"chunks: wanted an iterable of chunks, found {chunks!r}. Wrap it in a list.")
    return chunks


def checked_names(names: Sequence[Hashable]) -> tuple[Hashable, ...]:
    """Names of tasks, each given once.

    Parameters
    ----------
    names : sequence of hashable values
        What a caller gave.

    Returns
    -------
    tuple

    Raises
    ------
    ValueError
        If a name is repeated.
    """
    given = tuple(names)
    if len(set(given)) != len(given):
        twice = next(name for name in given if given.count(name) > 1)
        checks.fail("names", "distinct names", f"{twice!r} more than once", "Name every task once.")
    return given


def _loaded(chunk: Any, number: int) -> Any:
    """A Tasks or a table of three, called for if the chunk is a function."""
    rows = chunk
    if callable(chunk):
        try:
            rows = chunk()
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise RuntimeError(
                f"chunk {number}: wanted rows, found {found}. Check that its source can be read from there."
            ) from error
    several = isinstance(rows, tuple | list)
    if not isinstance(rows, Tasks) and not (several and len(rows) == 3):
        found = f"{type(rows).__name__}{f' of {len(rows)}' if several else ''}"
        raise TypeError(
            f"chunk {number}: wanted a table (X, y, task) or a Tasks, found {found}. Make it one of these."
        )
    return rows


def _by_task(X: Any, y: Any, task: Any) -> tuple[list[Hashable], list[tuple[FloatArray, FloatArray]]]:
    """The labels of a table in sorted order, and the rows of each; a filter may have left no row."""
    if np.ndim(X) == 2 and len(X) == len(y) == len(task) == 0:
        return [], []
    inputs = checks.array(X, "X", ("rows", "d"))
    targets = checks.array(y, "y", (len(inputs),))
    # Whole numbers and text cannot be missing, and looking at each label costs more than the sums.
    plain = isinstance(task, np.ndarray) and task.dtype.kind in "iuU" and task.shape == targets.shape
    labels = task if plain else checks.labels(task, "task", len(inputs))
    found, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order, cuts = np.argsort(index, kind="stable"), np.cumsum(sizes)[:-1]
    pairs = zip(np.split(inputs[order], cuts), np.split(targets[order], cuts), strict=True)
    return found.tolist(), list(pairs)


def _refuse_strangers(rows: Any, found: Sequence[Hashable], names: Sequence[Hashable]) -> None:
    strangers = set(found) - set(names) if names else set()
    if strangers:
        labels = rows.names if isinstance(rows, Tasks) else np.asarray(rows[2]).tolist()
        where = next(r for r, label in enumerate(labels) if label in strangers)
        place = f"{labels[where]!r} in {'place' if isinstance(rows, Tasks) else 'row'} {where}"
        checks.fail("task", f"one of the {len(names)} names", place, "Name it too, or leave its rows out.")


def _sorted(names: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    try:
        return tuple(sorted(names))  # type: ignore[type-var]
    except TypeError:
        checks.fail("task", "labels that are all text or all numbers", "a mixture", "Convert them to text.")
