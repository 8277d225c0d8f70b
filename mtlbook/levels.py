"""Levels: what penalised intercepts need, a penalty on the levels and moments around the means.

Notation: l (n,) holds the level of each task, c (n,) the weights of the tasks and D = diag(c). If the slopes
leave r_i of the mean of task i, then the best levels are

.. code-block:: text

    l = argmin sum_i c_i (l_i - r_i)^2 + strength * l^T P l = (D + strength P)^{-1} D r.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.tasks import Tasks

NO_CURVATURE = 1e-13


@dataclass(frozen=True, eq=False, init=False, repr=False)
class LevelPenalty:
    """A penalty on the levels of n tasks, ``strength * l^T P l``.

    ``LevelPenalty(relations.to_mean(n), s)`` shrinks each level towards their mean: with pooled slopes, that
    is the *random intercept* of statistics. Strength 0 leaves all levels free; an infinite strength allows
    only levels that P does not charge, for `to_mean` one common level.

    Parameters
    ----------
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        At least zero; ``numpy.inf`` is allowed.

    Attributes
    ----------
    P, strength : ndarray of shape (n, n), float
        What was given, checked.

    Raises
    ------
    ValueError
        If P is not symmetric positive semidefinite, or strength is negative or no number.
    """

    P: FloatArray
    strength: float

    def __init__(self, P: ArrayLike, strength: float) -> None:
        object.__setattr__(self, "P", checks.frozen(checks.semidefinite(P, "P of the levels")))
        object.__setattr__(self, "strength", _level_strength(strength))
        object.__setattr__(self, "_spectra", {})

    def __repr__(self) -> str:
        return f"LevelPenalty({len(self.P)} tasks, strength {self.strength:g})"

    def at(self, strength: float) -> LevelPenalty:
        """The same penalty at another strength.

        Parameters
        ----------
        strength : float
            At least zero; ``numpy.inf`` is allowed.

        Returns
        -------
        LevelPenalty

        Raises
        ------
        ValueError
            If strength is negative or no number.
        """
        other = copy(self)
        object.__setattr__(other, "strength", _level_strength(strength))
        return other

    def answer(self, weights: FloatArray) -> FloatArray:
        """The matrix that takes the tasks' own levels r to the penalised ones, l = (D + strength P)^{-1} D r.

        Parameters
        ----------
        weights : ndarray of shape (n,)
            The diagonal of D, at least zero; a task of weight zero takes the level that P alone gives it.

        Returns
        -------
        ndarray of shape (n, n)
        """
        if weights.min() > 0:
            root = np.sqrt(weights)
            k, U = self._spectrum(weights)
            kept = 1 / (1 + np.where(k > 0, self.strength, 0.0) * k)
            return ((U * kept) @ U.T) * (root / root[:, None])
        if np.isinf(self.strength):
            p, U = np.linalg.eigh(self.P)
            N = U[:, p <= NO_CURVATURE * p[-1]]
            return N @ np.linalg.pinv((N.T * weights) @ N, hermitian=True) @ (N.T * weights)
        system = np.diag(weights) + self.strength * self.P
        return np.linalg.pinv(system, hermitian=True) * weights

    def _spectrum(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues and eigenvectors of D^{-1/2} P D^{-1/2}, which all strengths share."""
        spectra: dict[bytes, tuple[FloatArray, FloatArray]] = self._spectra  # type: ignore[attr-defined]
        key = weights.tobytes()
        if key not in spectra:
            spectra.clear()
            root = np.sqrt(weights)
            k, U = np.linalg.eigh(self.P / (root * root[:, None]))
            spectra[key] = np.where(k > NO_CURVATURE * k[-1], k, 0.0), U
        return spectra[key]


@dataclass(frozen=True, eq=False, repr=False)
class LevelMoments:
    """All that squared loss with levels needs of the data: moments around the means, and the means.

    A task may be without rows: it then has weight zero, and only the relation speaks for it.

    Attributes
    ----------
    C : ndarray of shape (n, d, d)
        Second moments of the inputs of each task around their mean.
    B : ndarray of shape (d, n)
        Moments of inputs and targets around their means.
    s : ndarray of shape (n,)
        Variance of the targets of each task.
    m : ndarray of shape (n,)
        Numbers of rows.
    X_mean : ndarray of shape (d, n)
        Mean inputs of each task.
    y_mean : ndarray of shape (n,)
        Mean targets of each task.
    """

    C: FloatArray
    B: FloatArray
    s: FloatArray
    m: FloatArray
    X_mean: FloatArray
    y_mean: FloatArray

    def __post_init__(self) -> None:
        for field in ("C", "B", "s", "m", "X_mean", "y_mean"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))

    @classmethod
    def from_tasks(cls, tasks: Tasks) -> LevelMoments:
        """Moments of all rows of `tasks`.

        Parameters
        ----------
        tasks : Tasks
            The rows.

        Returns
        -------
        LevelMoments

        Raises
        ------
        TypeError
            If `tasks` is not a Tasks.
        """
        given = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
        index = np.repeat(np.arange(len(given)), given.n_rows)
        return cls.from_rows(np.concatenate(given.X), np.concatenate(given.y), index, len(given))

    @classmethod
    def from_rows(cls, X: FloatArray, y: FloatArray, index: np.ndarray, n: int) -> LevelMoments:
        """Moments of a long table, whose tasks are numbered and may be without rows.

        Parameters
        ----------
        X, y : ndarrays of shape (rows, d) and (rows,)
            Inputs and targets.
        index : ndarray of shape (rows,)
            The number of each row's task, below n.
        n : int
            How many tasks there are.

        Returns
        -------
        LevelMoments
        """
        d = X.shape[1]
        m = np.bincount(index, minlength=n).astype(float)
        C, B, s, X_mean, y_mean = (np.zeros(shape) for shape in ((n, d, d), (d, n), n, (d, n), n))
        order = np.argsort(index, kind="stable")
        ends = np.cumsum(m).astype(int)
        for i in np.flatnonzero(m):
            rows = order[ends[i] - int(m[i]) : ends[i]]
            x, t = X[rows], y[rows]
            X_mean[:, i], y_mean[i] = x.mean(axis=0), t.mean()
            x, t = x - X_mean[:, i], t - y_mean[i]
            C[i], B[:, i], s[i] = x.T @ x / m[i], t @ x / m[i], t @ t / m[i]
        return cls(C, B, s, m, X_mean, y_mean)

    def __len__(self) -> int:
        return len(self.y_mean)

    def errors(self, W: FloatArray, levels: FloatArray) -> FloatArray:
        """Mean squared error of each task, ``(1/m_i) |X_i w_i + l_i - y_i|^2``; zero where it has no rows.

        Parameters
        ----------
        W, levels : ndarrays of shape (d, n) and (n,)
            Slopes and levels.

        Returns
        -------
        ndarray of shape (n,)
        """
        inside = np.sum(W * (columns(self.C, W) - 2 * self.B), axis=0) + self.s
        outside = self.y_mean - np.sum(self.X_mean * W, axis=0) - levels
        return np.where(self.m > 0, np.maximum(inside, 0.0) + outside**2, 0.0)


def columns(C: FloatArray, W: FloatArray) -> FloatArray:
    """The columns C_i w_i.

    Parameters
    ----------
    C, W : ndarrays of shape (n, d, d) and (d, n)
        A matrix and a vector for each task.

    Returns
    -------
    ndarray of shape (d, n)
    """
    return np.matmul(C, W.T[:, :, None])[:, :, 0].T


def _level_strength(value: float) -> float:
    if isinstance(value, float) and value == np.inf:
        return value
    return checks.number(value, "strength of the levels", at_least=0.0)
