"""Moments: the sums of outer products that squared loss needs, and nothing else of the data.

Notation: C_i = X_i^T X_i / m_i (d, d), b_i = X_i^T y_i / m_i (d,) and ``s_i = |y_i|^2 / m_i``, so that
``(1/m_i) |X_i w - y_i|^2 = w^T C_i w - 2 b_i^T w + s_i``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.tasks import Tasks

LARGEST = 1e140


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """Sufficient statistics of squared loss for n tasks over d features.

    Moments of the same tasks add, so that rows may come in pieces, from disk or from a cluster.

    Attributes
    ----------
    C : ndarray of shape (n, d, d)
        C_i = X_i^T X_i / m_i, a mean of outer products x x^T.
    B : ndarray of shape (d, n)
        Columns b_i = X_i^T y_i / m_i.
    s : ndarray of shape (n,)
        Mean squares of the targets, ``|y_i|^2 / m_i``.
    m : ndarray of shape (n,)
        Numbers of rows, or the weight that they have together.
    names : tuple of length n
        Names of the tasks.
    """

    C: FloatArray
    B: FloatArray
    s: FloatArray
    m: FloatArray
    names: tuple[Hashable, ...]

    def __post_init__(self) -> None:
        B = checks.array(self.B, "B", ("d", "n"))
        d, n = B.shape
        C = checks.array(self.C, "C", (n, d, d))
        s, m = checks.array(self.s, "s", (n,)), checks.array(self.m, "m", (n,))
        for i in range(n):
            checks.symmetric(C[i], f"C[{i}]")
            for name, value in (("least entry on the diagonal", C[i].diagonal().min()), ("s", s[i])):
                if value < 0:
                    remedy = "Means of squares are not negative; build it with Moments.from_tasks."
                    checks.fail("moments", f"a {name} of at least 0 for task {i}", f"{value:g}", remedy)
        # Rows that were forgotten in part weigh less than one.
        if m.min() <= 0:
            remedy = "Leave tasks without rows out."
            checks.fail("m", "a positive weight of rows a task", f"{m.min():g}", remedy)
        if len(self.names) != n:
            checks.fail("names", f"{n} names", str(len(self.names)), "Name every task.")
        _fit_squares(C, B, s)
        self._set(C, B, s, m, tuple(self.names))

    def _set(
        self, C: FloatArray, B: FloatArray, s: FloatArray, m: FloatArray, names: tuple[Hashable, ...]
    ) -> None:
        for field, value in (("C", C), ("B", B), ("s", s), ("m", m)):
            object.__setattr__(self, field, checks.frozen(value))
        object.__setattr__(self, "names", names)

    @classmethod
    def _made(
        cls, C: FloatArray, B: FloatArray, s: FloatArray, m: FloatArray, names: tuple[Hashable, ...]
    ) -> Moments:
        """Moments of parts that are right by construction: nothing is checked but their range."""
        _fit_squares(C, B, s)
        moments = object.__new__(cls)
        moments._set(C, B, s, m, names)
        return moments

    @classmethod
    def from_tasks(cls, tasks: Tasks) -> Moments:
        """Moments of all rows of `tasks`.

        Parameters
        ----------
        tasks : Tasks
            The rows.

        Returns
        -------
        Moments

        Raises
        ------
        TypeError
            If `tasks` is not a Tasks.
        """
        given = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
        n, d, m = len(given), given.n_features, np.array(given.n_rows, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            s = np.array([y @ y for y in given.y]) / m
            if shared(given):
                X = given.X[0]
                C = np.broadcast_to(X.T @ X / len(X), (n, d, d))
                B = X.T @ np.stack(given.y, axis=1) / len(X)
            else:
                C, B = products(given)
        return cls._made(C, B, s, m, given.names)

    @classmethod
    def from_chunks(cls, chunks: Iterable[Tasks]) -> Moments:
        """Moments of rows that come in pieces; only one piece is held at a time.

        Parameters
        ----------
        chunks : iterable of Tasks
            Each holds some rows of every task, under the same names in the same order.

        Returns
        -------
        Moments

        Raises
        ------
        TypeError
            If `chunks` is not iterable, or holds something else than Tasks.
        ValueError
            If there is no chunk, or chunks hold different tasks.
        """
        if not isinstance(chunks, Iterable):
            raise TypeError(f"chunks: wanted an iterable of Tasks, found {chunks!r}. Wrap it in a list.")
        parts = map(cls.from_tasks, chunks)
        first = next(iter(parts), None)
        if first is None:
            checks.fail("chunks", "at least one Tasks", "none", "Check that the source holds rows.")
        return reduce(add, parts, first)

    def __add__(self, other: Moments) -> Moments:
        """Moments of the rows of both."""
        if not isinstance(other, Moments):
            return NotImplemented
        self._same(other)
        m = self.m + other.m
        mine, theirs = self.m / m, other.m / m
        return Moments._made(
            C=mine[:, None, None] * self.C + theirs[:, None, None] * other.C,
            B=mine * self.B + theirs * other.B,
            s=mine * self.s + theirs * other.s,
            m=m,
            names=self.names,
        )

    def __sub__(self, other: Moments) -> Moments:
        """Moments of the rows of `self` that are not rows of `other`, which must all be rows of `self`.

        Digits are lost where `other` outweighs what is left; adding the other parts is then the better way.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        self._same(other)
        m = self.m - other.m
        if m.min() < 1:
            i = int(m.argmin())
            wanted = f"fewer than the {self.m[i]:.0f} rows of {self.names[i]!r}"
            checks.fail("other", wanted, f"{other.m[i]:.0f}", "Take away only a part of the rows.")
        mine, theirs = self.m / m, other.m / m
        C = mine[:, None, None] * self.C - theirs[:, None, None] * other.C
        s = mine * self.s - theirs * other.s
        left = np.concatenate([C.diagonal(axis1=1, axis2=2), s[:, None]], axis=1)
        whole = np.concatenate([self.C.diagonal(axis1=1, axis2=2), self.s[:, None]], axis=1)
        lost = left < -1e-8 * mine[:, None] * whole
        if lost.any():
            i = int(lost.any(axis=1).argmax())
            found = f"a mean square of {left[i].min():.3g} left for {self.names[i]!r}"
            checks.fail("other", "moments of some of the same rows", found, "Subtract only what was added.")
        return Moments._made(C, mine * self.B - theirs * other.B, np.maximum(s, 0.0), m, self.names)

    def _same(self, other: Moments) -> None:
        if self.names != other.names or self.n_features != other.n_features:
            checks.fail("other", f"the tasks of {self!r}", repr(other), "Add moments of the same tasks.")

    def __len__(self) -> int:
        return len(self.m)

    def __repr__(self) -> str:
        return f"Moments({len(self)} tasks, {self.m.sum():.0f} rows, {self.n_features} features)"

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return int(self.B.shape[0])


def sums_of_others(parts: Sequence[Moments]) -> list[Moments]:
    """For each of k parts the moments of all other parts together.

    Nothing is subtracted, so that no digit is lost to a part that outweighs the rest. It matters for
    cross-validation: the rows to train on in one fold are those that the other folds test on, so that one
    pass over the rows serves all folds.

    Parameters
    ----------
    parts : sequence of k Moments, k at least two
        Of the same tasks.

    Returns
    -------
    list of k Moments
    """
    first = parts[0]
    for part in parts[1:]:
        first._same(part)
    total = _others([part.m for part in parts])
    C = [np.empty(first.C.shape) for _ in parts]
    scaled = np.empty((len(parts), *first.C.shape[1:]))
    for i in range(len(first)):
        # All parts of one task fit the cache.
        for part, one in zip(parts, scaled, strict=True):
            np.multiply(part.C[i], part.m[i], out=one)
        for m, one in zip(total, _others(list(scaled), [one[i] for one in C]), strict=True):
            one /= m[i]
    B = [b / m for b, m in zip(_others([part.B * part.m for part in parts]), total, strict=True)]
    s = [t / m for t, m in zip(_others([part.s * part.m for part in parts]), total, strict=True)]
    return [Moments._made(*fields, first.names) for fields in zip(C, B, s, total, strict=True)]


def _others(values: Sequence[FloatArray], out: Sequence[FloatArray] = ()) -> Sequence[FloatArray]:
    """For each of some arrays the sum of all others, by sums from both ends."""
    found = out or [np.empty_like(value) for value in values]
    running = np.zeros_like(values[0])
    for value, one in zip(values, found, strict=True):
        one[...] = running
        running += value
    running[...] = 0.0
    for value, one in zip(values[::-1], found[::-1], strict=True):
        one += running
        running += value
    return found


def shared(tasks: Tasks) -> bool:
    """Whether all tasks have the same inputs: the same memory, or equal numbers in the same order.

    Parameters
    ----------
    tasks : Tasks
        The rows.

    Returns
    -------
    bool
    """
    first, *others = tasks.X
    return all(
        X.shape == first.shape
        and (
            (X.ctypes.data == first.ctypes.data and X.strides == first.strides)
            or (np.array_equal(X[0], first[0]) and np.array_equal(X, first))
        )
        for X in others
    )


def products(tasks: Tasks, dtype: Any = np.float64) -> tuple[FloatArray, FloatArray]:
    """C and B, in one pass over the rows.

    Parameters
    ----------
    tasks : Tasks
        The rows.
    dtype : dtype
        Precision of C; B is in float64 in any case.

    Returns
    -------
    (ndarray of shape (n, d, d), ndarray of shape (d, n))
    """
    n, d = len(tasks), tasks.n_features
    C, B = np.empty((n, d, d), dtype), np.empty((n, d))
    # X_i is still in the cache when its other products are due.
    for X, y, C_i, b_i in zip(tasks.X, tasks.y, C, B, strict=True):
        Z = X.astype(dtype, copy=False)
        np.matmul(Z.T, Z, C_i)
        np.matmul(y, X, b_i)
    m = np.array(tasks.n_rows, dtype=np.float64)
    C /= m[:, None, None].astype(dtype)
    return C, np.ascontiguousarray(B.T) / m


def _fit_squares(C: FloatArray, B: FloatArray, s: FloatArray) -> None:
    """Refuse what is so large that its square does not fit a float64."""
    largest = np.max([C.diagonal(axis1=1, axis2=2).max(), np.abs(B).max(), s.max()])
    if not largest <= LARGEST:
        wanted = f"inputs and targets with mean squares below {LARGEST:g}"
        checks.fail("tasks", wanted, f"{largest:g}", "Choose larger units for features or targets.")
