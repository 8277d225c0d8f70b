"""Intercepts: levels of tasks, with a relation and a strength of their own.

Notation: task i predicts l_i + <x, w_i>; W (d, n) holds the slopes, l (n,) the levels, c (n,) the weights of
the tasks (one each, unless said otherwise), and

.. code-block:: text

    F(W, l) = sum_i (c_i/m_i) |X_i w_i + l_i - y_i|^2
              + strength * tr(W P W^T) + level_strength * l^T P_l l.

For given W the best levels solve n equations, and with them in place a function of W alone is left:

.. code-block:: text

    r_i  = mean(y_i) - <mean(x_i), w_i>               what the slopes leave of the mean of task i
    l    = (D + level_strength P_l)^{-1} D r,         D = diag(c)
    F(W) = sum_i (c_i/m_i) |centred X_i w_i - centred y_i|^2 + r^T M r + strength * tr(W P W^T)
    M    = D - D (D + level_strength P_l)^{-1} D.

Free levels (level_strength 0) have M = 0, which is centring each task by its own means. The other end, an
infinite level_strength with P_l = to_mean(n), is one common level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import checks, krylov
from mtlbook.checks import FloatArray
from mtlbook.level_systems import LevelSystems
from mtlbook.levels import LevelMoments, LevelPenalty, columns
from mtlbook.moments import Moments
from mtlbook.objectives import TraceRegularized
from mtlbook.solvers import Result, solve
from mtlbook.tasks import Tasks


@dataclass(frozen=True, eq=False)
class LevelResult(Result):
    """The outcome of a solver, with the levels that belong to its slopes.

    Attributes
    ----------
    levels : ndarray of shape (n,)
        The level of each task.
    """

    levels: FloatArray = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "levels", checks.frozen(self.levels))


@dataclass(frozen=True, eq=False, init=False, repr=False)
class LevelRegularized:
    """The trace-regularised objective with penalised levels, as a function of the slopes W alone.

    The levels are eliminated exactly: at any W they are the best ones, :meth:`levels_at`. What that leaves
    behind couples the *mean rows* of tasks by the outer products M_ij mean(x_i) mean(x_j)^T. Features
    should be centred by the mean of all rows (``standardize(..., together=True)``): then a level is what
    a task is above the common line at an average row.

    Parameters
    ----------
    tasks : Tasks or LevelMoments
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty on the slopes.
    strength : float
        Strength of the penalty on the slopes, at least zero.
    levels : LevelPenalty
        Penalty on the levels, of its own relation and strength.
    weights : array of shape (n,), optional
        Weights c_i of the tasks' errors, at least zero. By default one each; ``m / m.mean()`` lets all rows,
        rather than all tasks, count alike. A task without rows has weight zero.

    Attributes
    ----------
    moments : LevelMoments
        All that squared loss needs of the data.
    P, strength, levels, weights : ndarray of shape (n, n), float, LevelPenalty, ndarray of shape (n,)
        What was given, checked.

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor LevelMoments, or `levels` no LevelPenalty.
    ValueError
        If P, strength or weights do not fit.
    """

    moments: LevelMoments
    P: FloatArray
    strength: float
    levels: LevelPenalty
    weights: FloatArray

    def __init__(
        self,
        tasks: Tasks | LevelMoments,
        P: ArrayLike,
        strength: float,
        levels: LevelPenalty,
        weights: ArrayLike | None = None,
    ) -> None:
        moments = tasks if isinstance(tasks, LevelMoments) else LevelMoments.from_tasks(tasks)
        n = len(moments)
        remedy = "Build it with LevelPenalty(P, strength)."
        object.__setattr__(self, "moments", moments)
        object.__setattr__(self, "P", checks.frozen(checks.semidefinite(P, "P", n)))
        object.__setattr__(self, "strength", checks.number(strength, "strength", at_least=0.0))
        object.__setattr__(self, "levels", checks.instance(levels, LevelPenalty, "levels", remedy))
        checks.array(levels.P, "P of the levels", (n, n))
        object.__setattr__(self, "weights", checks.frozen(_weights(weights, moments.m)))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""
        return (self.moments.X_mean.shape[0], len(self.moments))

    def at(
        self,
        strength: float | None = None,
        *,
        levels: LevelPenalty | None = None,
        moments: LevelMoments | None = None,
        weights: ArrayLike | None = None,
    ) -> LevelRegularized:
        """The same objective with some parts exchanged; what does not change is shared, not computed again.

        Parameters
        ----------
        strength : float, optional
            Another strength of the penalty on slopes, at least zero.
        levels : LevelPenalty, optional
            Another penalty on the levels.
        moments : LevelMoments, optional
            Other rows of the same tasks and features, such as those of another fold.
        weights : array of shape (n,), optional
            Weights of the tasks for the other rows; one each by default.

        Returns
        -------
        LevelRegularized

        Raises
        ------
        ValueError
            If a part does not fit.
        """
        _ = self._spectrum, self._coupling
        other = copy(self)
        if strength is not None:
            object.__setattr__(other, "strength", checks.number(strength, "strength", at_least=0.0))
        if levels is not None:
            checks.array(levels.P, "P of the levels", self.P.shape)
            object.__setattr__(other, "levels", levels)
        if moments is not None:
            checks.array(moments.X_mean, "means of other rows", self.shape)
            object.__setattr__(other, "moments", moments)
            object.__setattr__(other, "weights", checks.frozen(_weights(weights, moments.m)))
        if levels is not None or moments is not None:
            vars(other).pop("_coupling")
        return other

    def levels_at(self, W: ArrayLike) -> FloatArray:
        """The best levels for slopes W, ``(D + level_strength P_l)^{-1} D r``.

        Parameters
        ----------
        W : array of shape (d, n)
            Slopes, one column a task.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        return self._coupling[1] @ self._left(checks.array(W, "W", self.shape))

    def value(self, W: ArrayLike) -> float:
        """F(W), the least of F(W, l) over all levels l.

        Parameters
        ----------
        W : array of shape (d, n)
            Slopes, one column a task.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        V, own = checks.array(W, "W", self.shape), self.moments
        r = self._left(V)
        errors = np.sum(V * (columns(own.C, V) - 2 * own.B), axis=0) + own.s
        return float(
            self.weights @ errors + r @ self._coupling[0] @ r + self.strength * np.sum(V * (V @ self.P))
        )

    def gradient(self, W: ArrayLike) -> FloatArray:
        """Gradient of F: column i is ``2 c_i (C_i w_i - b_i) - 2 (M r)_i mean(x_i) + 2 strength (W P)_:i``.

        C_i and b_i are the moments around the means of task i.

        Parameters
        ----------
        W : array of shape (d, n)
            Slopes, one column a task.

        Returns
        -------
        ndarray of shape (d, n)

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        V, own = checks.array(W, "W", self.shape), self.moments
        inside = self.weights * (columns(own.C, V) - own.B)
        outside = self.moments.X_mean * (self._coupling[0] @ self._left(V))
        return 2 * (inside - outside) + 2 * self.strength * (V @ self.P)

    def hessian(self) -> FloatArray:
        """Hessian of F in the order of vec(W): blocks, outer products of mean rows, a Kronecker product.

        Block (i, j) is 2 c_i C_i (on the diagonal) + 2 M_ij mean(x_i) mean(x_j)^T + 2 strength P_ij I.

        Returns
        -------
        ndarray of shape (dn, dn)
        """
        d, n = self.shape
        rows = self.moments.X_mean.T
        H = 2 * np.einsum("ij,ik,jl->ikjl", self._coupling[0], rows, rows, optimize=True)
        H[:, range(d), :, range(d)] += 2 * self.strength * self.P
        H[range(n), :, range(n), :] += 2 * self.weights[:, None, None] * self.moments.C
        return H.reshape(d * n, d * n)

    def lipschitz(self) -> float:
        """A bound on the largest eigenvalue of the Hessian.

        ``2 max_i c_i lambda_max(C_i) + 2 lambda_max(M) max_i |mean(x_i)|^2 + 2 strength lambda_max(P)``.

        Returns
        -------
        float
        """
        own = (self.weights * np.linalg.eigvalsh(self.moments.C)[:, -1]).max()
        between = np.linalg.eigvalsh(self._coupling[0])[-1] * np.sum(self.moments.X_mean**2, axis=0).max()
        return float(2 * (own + between + self.strength * self._spectrum[0][-1]))

    def preconditioner(self) -> Callable[[FloatArray], FloatArray]:
        """Sum of two approximate inverses of the Hessian: one task at a time, and what tasks have in common.

        See :class:`mtlbook.level_systems.LevelSystems`.

        Returns
        -------
        callable
            Takes and returns an ndarray of shape (d, n). Directions without curvature are left out.
        """
        systems = self.systems(np.array([self.strength]))
        return lambda R: systems.precondition(R.T[:, :, None])[:, :, 0].T / 2

    def systems(self, strengths: FloatArray) -> LevelSystems:
        """Half the gradient of F, set to zero, at each of several strengths.

        Parameters
        ----------
        strengths : ndarray of shape (s,)
            At least zero each; F's own does not matter.

        Returns
        -------
        mtlbook.level_systems.LevelSystems
        """
        own = self.weights[:, None, None] * self.moments.C
        rows = np.ascontiguousarray(self.moments.X_mean.T)
        return LevelSystems(own, rows, self._coupling[0], self.P, self._spectrum, strengths)

    def pooled(self) -> TraceRegularized:
        """The same objective of one slope vector w for all tasks, F(w 1^T); d unknowns instead of dn.

        Returns
        -------
        TraceRegularized
            Of one task, with W of shape (d, 1).
        """
        own, rows, M = self.moments, self.moments.X_mean, self._coupling[0]
        C = np.tensordot(self.weights, own.C, axes=1) + rows @ M @ rows.T
        b = own.B @ self.weights + rows @ M @ self.moments.y_mean
        s = self.weights @ own.s + self.moments.y_mean @ M @ self.moments.y_mean
        joined = Moments(C[None], b[:, None], np.array([s]), np.array([own.m.sum()]), ("all tasks",))
        return TraceRegularized(joined, [[max(self.P.sum(), 0.0)]], self.strength)

    def _left(self, W: FloatArray) -> FloatArray:
        """What slopes leave of the mean of each task."""
        return self.moments.y_mean - np.sum(self.moments.X_mean * W, axis=0)

    @cached_property
    def _coupling(self) -> tuple[FloatArray, FloatArray]:
        """M, and the matrix that takes r to the levels."""
        answer = self.levels.answer(self.weights)
        M = np.diag(self.weights) - self.weights[:, None] * answer
        return (M + M.T) / 2, answer

    @cached_property
    def _spectrum(self) -> tuple[FloatArray, FloatArray]:
        p, U = np.linalg.eigh(self.P)
        return p, U


def minimise(F: LevelRegularized, *, pooled: bool = False, tolerance: float = 1e-10) -> LevelResult:
    """The best slopes and levels of the objective, by the solver's own choice of route.

    Parameters
    ----------
    F : LevelRegularized
        What to minimise.
    pooled : bool
        Whether all tasks share one slope vector.
    tolerance : float
        As for :func:`mtlbook.solvers.solve`.

    Returns
    -------
    LevelResult
        With `W` of shape (d, n) and `levels` of shape (n,).

    Raises
    ------
    ValueError
        If the tolerance is not a positive number.
    """
    found = solve(F.pooled() if pooled else F, tolerance=tolerance)
    W = np.broadcast_to(found.W, F.shape).copy()
    return LevelResult(
        W,
        found.values,
        found.gradient_norms,
        found.converged,
        found.n_iterations,
        found.message,
        found.gap,
        levels=F.levels_at(W),
    )


def level_path(
    F: LevelRegularized, strengths: Sequence[float], *, pooled: bool = False, tolerance: float = 1e-7
) -> tuple[FloatArray, FloatArray]:
    """Slopes and levels at each of several strengths, near enough to compare their errors.

    Parameters
    ----------
    F : LevelRegularized
        The objective; its own strength does not matter.
    strengths : sequence of s floats
        Strengths of the penalty on slopes, at least zero.
    pooled : bool
        Whether all tasks share one slope vector.
    tolerance : float
        Stop once the energy of the residual, as the preconditioner sees it, is at most the square of
        `tolerance` times that at zero.

    Returns
    -------
    (ndarray of shape (s, d, n), ndarray of shape (s, n))
        Slopes and levels.
    """
    grid = np.array([F.at(strength).strength for strength in strengths])
    if pooled:
        one = F.pooled()
        c, Q = np.linalg.eigh(one.moments.C[0])
        curvature = np.maximum(c, 0.0)[:, None] + grid * one.P[0, 0]
        flat = curvature <= 1e-14 * curvature.max(axis=0)
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=~flat)
        W = np.repeat((Q @ (inverse * (Q.T @ one.moments.B))).T[:, :, None], len(F.moments), axis=2)
    else:
        systems = F.systems(grid)
        right = -np.ascontiguousarray(F.gradient(np.zeros(F.shape)).T) / 2
        start: list[FloatArray] = []

        def near(state: krylov.State) -> NDArray[np.bool_]:
            start[:] = start or [state.energies]
            return state.energies <= tolerance**2 * start[0][state.which]

        B = np.repeat(right[:, :, None], len(grid), axis=2)
        W = krylov.conjugate_gradients(systems, B, near).V.transpose(2, 1, 0)
    return W, np.stack([F.levels_at(each) for each in W])


def _weights(given: ArrayLike | None, m: FloatArray) -> FloatArray:
    if given is None:
        return (m > 0).astype(float)
    weights = np.where(m > 0, checks.array(given, "weights", (len(m),)), 0.0)
    if weights.min() < 0 or weights.max() == 0:
        found = f"{weights.min():g} to {weights.max():g}"
        checks.fail("weights", "numbers of at least zero, not all zero", found, "Give a task the weight 1.")
    return weights
