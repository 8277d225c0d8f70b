"""Moments: the sums of outer products that squared loss needs, and nothing else of the data.

Notation: C_i = X_i^T X_i / m_i (d, d), b_i = X_i^T y_i / m_i (d,) and ``s_i = |y_i|^2 / m_i``, so that
``(1/m_i) |X_i w - y_i|^2 = w^T C_i w - 2 b_i^T w + s_i``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.tasks import Tasks


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
        Numbers of rows.
    names : tuple of length n
        Names of the tasks.
    """

    C: FloatArray
    B: FloatArray
    s: FloatArray
    m: FloatArray
    names: tuple[Hashable, ...]

    def __post_init__(self) -> None:
        for field in ("C", "B", "s", "m"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))

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
        return cls(
            C=np.stack([X.T @ X / len(y) for X, y in given]),
            B=np.stack([X.T @ y / len(y) for X, y in given], axis=1),
            s=np.array([y @ y / len(y) for _, y in given]),
            m=np.array([float(m) for m in given.n_rows]),
            names=given.names,
        )

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
        if self.names != other.names or self.n_features != other.n_features:
            checks.fail("other", f"the tasks of {self!r}", repr(other), "Add moments of the same tasks.")
        m = self.m + other.m
        mine, theirs = self.m / m, other.m / m
        return Moments(
            C=mine[:, None, None] * self.C + theirs[:, None, None] * other.C,
            B=mine * self.B + theirs * other.B,
            s=mine * self.s + theirs * other.s,
            m=m,
            names=self.names,
        )

    def __len__(self) -> int:
        return len(self.m)

    def __repr__(self) -> str:
        return f"Moments({len(self)} tasks, {self.m.sum():.0f} rows, {self.n_features} features)"

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return int(self.B.shape[0])
