"""Posterior: the trace penalty as a matrix-normal prior, and what is left uncertain once rows are seen.

Notation: targets of task i are x^T w_i plus normal noise of variance s_i^2; the d rows of W (d, n) are normal
over tasks with covariance Omega / (c strength), where P = Omega^{-1}. The negative logarithm of the posterior
density is then c / 2 times the objective

.. code-block:: text

    F(W) = sum_i a_i (1/m_i) |X_i w_i - y_i|^2 + strength * tr(W P W^T)     with  s_i^2 = m_i / (c a_i)

so that the mean of vec(W) is the minimiser of F and its covariance is (2 / c) H^{-1}. With a_i = 1 each
*task* counts the same, as in the book's objective: that fits noise whose variance grows with m_i. With a_i in
proportion to m_i each *row* does: that fits noise of one variance. Where tasks have equal rows both are the
same. The scale is set by c = mean(m) / noise^2, so that `noise` is the deviation of a target in a task with
the mean number of rows.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
from mtlbook.objectives import TraceRegularized
from mtlbook.solvers import solve
from mtlbook.tasks import Tasks

DENSE_LIMIT = 2000
SINGULAR = 1e-13

Equal = Literal["tasks", "rows"]


class Inverse(Protocol):
    """What the posterior asks of the inverse of a Hessian."""

    log_determinant: float

    def times(self, V: FloatArray) -> FloatArray:
        """The inverse, applied to vec(V)."""

    def root(self) -> FloatArray:
        """A matrix of shape (dn, dn) which, times its transpose, is the inverse."""

    def spread(self, G: FloatArray) -> FloatArray:
        """Such a root, applied to vec(G)."""

    def diagonal(self) -> FloatArray:
        """The diagonal of the inverse, of shape (d, n)."""

    def along(self, X: FloatArray, i: int) -> FloatArray:
        """For each row x the value of the inverse's quadratic form at vec(x e_i^T)."""


class _Dense:
    """The inverse of any Hessian, from its eigenvectors after scaling to a unit diagonal."""

    def __init__(self, H: FloatArray, shape: tuple[int, int]) -> None:
        self.shape = shape
        diagonal = np.diag(H)
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        eigenvalues, U = np.linalg.eigh(scale[:, None] * H * scale)
        _identified(eigenvalues)
        self.log_determinant = float(np.log(eigenvalues).sum() - 2 * np.log(scale).sum())
        self._root = scale[:, None] * U / np.sqrt(eigenvalues)

    def times(self, V: FloatArray) -> FloatArray:
        v = V.ravel(order="F")
        return (self._root @ (self._root.T @ v)).reshape(self.shape, order="F")

    def root(self) -> FloatArray:
        return self._root

    def spread(self, G: FloatArray) -> FloatArray:
        return (self._root @ G.ravel(order="F")).reshape(self.shape, order="F")

    def diagonal(self) -> FloatArray:
        return np.sum(self._root**2, axis=1).reshape(self.shape, order="F")

    def along(self, X: FloatArray, i: int) -> FloatArray:
        d = self.shape[0]
        return np.sum((X @ self._root[i * d : (i + 1) * d]) ** 2, axis=1)


class _Shared:
    """The inverse of 2 (I (x) C + strength P (x) I), from eigenvectors of C and P; no (dn, dn) matrix."""

    def __init__(self, C: FloatArray, P: FloatArray, strength: float) -> None:
        c, self._Q = np.linalg.eigh(C)
        p, self._U = np.linalg.eigh(P)
        h = 2 * (np.maximum(c, 0)[:, None] + strength * np.maximum(p, 0)[None, :])
        _identified(h)
        self._inverse = 1 / h
        self.log_determinant = float(np.log(h).sum())

    def times(self, V: FloatArray) -> FloatArray:
        return self._Q @ (self._inverse * (self._Q.T @ V @ self._U)) @ self._U.T

    def root(self) -> FloatArray:
        return np.kron(self._U, self._Q) * np.sqrt(self._inverse.ravel(order="F"))

    def spread(self, G: FloatArray) -> FloatArray:
        return self._Q @ (np.sqrt(self._inverse) * G) @ self._U.T

    def diagonal(self) -> FloatArray:
        return self._Q**2 @ self._inverse @ (self._U**2).T

    def along(self, X: FloatArray, i: int) -> FloatArray:
        return (X @ self._Q) ** 2 @ self._inverse @ self._U[i] ** 2


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Posterior:
    """The distribution of W given the rows, under the prior that the trace penalty stands for.

    W is normal with mean argmin F and covariance (2 / c) H^{-1} of vec(W); see the top of this module. Where
    all tasks have the same inputs, eigenvectors of C and P do everything and H is never formed [ARL12]_.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty. If it is singular the prior is improper: the posterior still
        exists if the rows settle what the prior leaves open.
    strength : float
        Regularisation strength, at least zero.
    noise : float
        Deviation of the noise of a target, in units of y, above zero.
    equal : {"tasks", "rows"}
        What counts the same: each task, as in the book's objective, or each row.

    Attributes
    ----------
    objective : TraceRegularized
        F, whose minimiser is the mean.
    noise : float
        As given.
    noises : ndarray of shape (n,)
        Deviation s_i of the noise of each task.
    mean : ndarray of shape (d, n)
        Mean, and most probable value, of W.
    inverse : Inverse
        Of the Hessian of F.

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If P, strength, noise or equal are out of range, rows and penalty together leave a direction of W
        open, or inputs differ and W has more than `DENSE_LIMIT` entries.

    References
    ----------
    .. [ARL12] M. A. Alvarez, L. Rosasco, N. D. Lawrence. Kernels for vector-valued functions: a review.
       Foundations and Trends in Machine Learning 4, 195-266, 2012.
    """

    objective: TraceRegularized
    noise: float
    noises: FloatArray
    mean: FloatArray
    inverse: Inverse

    def __init__(
        self,
        tasks: Tasks | Moments,
        P: ArrayLike,
        strength: float,
        noise: float,
        equal: Equal = "tasks",
    ) -> None:
        sigma = checks.number(noise, "noise", above=0.0)
        F, a = _objective(tasks, P, strength, equal)
        inverse = _inverse(F)
        m = F.moments.m
        fields = {
            "objective": F,
            "noise": sigma,
            "noises": checks.frozen(sigma * np.sqrt(m / (m.mean() * a))),
            "mean": checks.frozen(inverse.times(2 * F.moments.B)),
            "inverse": inverse,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        d, n = self.objective.shape
        return f"Posterior({n} tasks, {d} features, noise {self.noise:g})"

    @property
    def deviations(self) -> FloatArray:
        """Standard deviation of each entry of W, of shape (d, n)."""
        return np.sqrt(self._scale * self.inverse.diagonal())

    def covariance(self) -> FloatArray:
        """Covariance of vec(W), which stacks columns: (2 / c) H^{-1}.

        Returns
        -------
        ndarray of shape (dn, dn)

        Raises
        ------
        ValueError
            If W has more than `DENSE_LIMIT` entries.
        """
        _small(self.mean.size, "Ask for deviations, predictions or samples, which need no such matrix.")
        root = self.inverse.root()
        return self._scale * (root @ root.T)

    def predict(self, X: ArrayLike, task: Hashable, *, target: bool = False) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of x^T w_i for each row x, or of a new target there.

        Parameters
        ----------
        X : array of shape (rows, d)
            Inputs.
        task : hashable
            Name of the task.
        target : bool
            Whether to add the task's noise: intervals for a target rather than for its mean.

        Returns
        -------
        (ndarray of shape (rows,), ndarray of shape (rows,))
            Means and deviations, in units of y.

        Raises
        ------
        ValueError
            If X does not fit, or no task has that name.
        """
        inputs, names = checks.array(X, "X", ("rows", self.mean.shape[0])), self.objective.moments.names
        if task not in names:
            checks.fail("task", f"one of {', '.join(map(repr, names[:5]))}, ...", repr(task), "Name a task.")
        i = names.index(task)
        variance = self._scale * self.inverse.along(inputs, i) + target * self.noises[i] ** 2
        return inputs @ self.mean[:, i], np.sqrt(variance)

    def sample(self, size: int, rng: np.random.Generator) -> FloatArray:
        """Draws of W from the posterior.

        Parameters
        ----------
        size : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray of shape (size, d, n)

        Raises
        ------
        TypeError
            If rng is not a Generator.
        ValueError
            If size is not a whole number of at least one.
        """
        source, count = checks.generator(rng, "rng"), checks.count(size, "size")
        draws = [self.inverse.spread(G) for G in source.normal(size=(count, *self.mean.shape))]
        return self.mean + np.sqrt(self._scale) * np.array(draws)

    def log_evidence(self) -> float:
        """Logarithm of the density of all targets given the inputs, W integrated out [M92]_.

        It prefers penalties under which the targets were to be expected, and needs no held-out rows.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the prior is improper: strength is zero or P is singular.

        References
        ----------
        .. [M92] D. J. C. MacKay. Bayesian interpolation. Neural Computation 4, 415-447, 1992.
        """
        F, (d, n) = self.objective, self.objective.shape
        p = np.linalg.eigvalsh(F.P)
        if F.strength == 0 or p[0] <= SINGULAR * p[-1]:
            remedy = "Use precision(A, eps), or add a multiple of independent(n)."
            checks.fail("strength * P", "a positive definite matrix", "a singular one", remedy)
        prior = d * n * np.log(2 * F.strength) + d * np.log(p).sum()
        fit = 2 * F.value(self.mean) / self._scale
        noise = np.sum(F.moments.m * np.log(2 * np.pi * self.noises**2))
        return float(0.5 * (prior - self.inverse.log_determinant - fit - noise))

    @property
    def _scale(self) -> float:
        """2 / c."""
        return 2 * self.noise**2 / float(self.objective.moments.m.mean())


def likely_noise(tasks: Tasks | Moments, P: ArrayLike, strength: float, equal: Equal = "tasks") -> float:
    """The deviation of the noise under which the evidence is greatest, ``sqrt(min F / n)``.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero.
    equal : {"tasks", "rows"}
        What counts the same: each task or each row.

    Returns
    -------
    float
        In units of y.

    Raises
    ------
    TypeError, ValueError
        As :class:`Posterior`; also if the targets are fitted without any error.
    """
    F, _ = _objective(tasks, P, strength, equal)
    least = F.value(solve(F).W)
    if least <= SINGULAR * F.moments.s.sum():
        checks.fail("tasks", "targets with some noise", "an exact fit", "Give noise yourself, or more rows.")
    return float(np.sqrt(least / len(F.moments)))


def log_evidences(
    tasks: Tasks | Moments, P: ArrayLike, strengths: ArrayLike, equal: Equal = "tasks"
) -> FloatArray:
    """Log evidence of each strength, each with its likely noise; the greatest marks the strength to take.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive definite penalty.
    strengths : array of shape (s,)
        Strengths to try, above zero each.
    equal : {"tasks", "rows"}
        What counts the same: each task or each row.

    Returns
    -------
    ndarray of shape (s,)

    Raises
    ------
    TypeError, ValueError
        As :class:`Posterior` and :func:`likely_noise`.
    """
    grid = checks.array(strengths, "strengths", ("s",)).tolist()
    noises = [likely_noise(tasks, P, strength, equal) for strength in grid]
    models = [Posterior(tasks, P, s, noise, equal) for s, noise in zip(grid, noises, strict=True)]
    return np.array([model.log_evidence() for model in models])


def _objective(
    tasks: Tasks | Moments, P: ArrayLike, strength: float, equal: Equal
) -> tuple[TraceRegularized, FloatArray]:
    """F with the weights a_i in its moments, and these weights."""
    if equal not in ("tasks", "rows"):
        checks.fail("equal", "'tasks' or 'rows'", repr(equal), "Say what is to count the same.")
    F = TraceRegularized(tasks, P, strength)
    given = F.moments
    a = given.m / given.m.mean() if equal == "rows" else np.ones(len(given))
    weighted = replace(given, C=a[:, None, None] * given.C, B=a * given.B, s=a * given.s)
    return TraceRegularized(weighted, F.P, strength), a


def _inverse(F: TraceRegularized) -> Inverse:
    C = F.moments.C
    if np.abs(C - C[0]).max() <= SINGULAR * np.abs(C).max():
        return _Shared(C[0], F.P, F.strength)
    d, n = F.shape
    _small(d * n, "Take fewer tasks or features; with the same inputs for all tasks there is no limit.")
    return _Dense(F.hessian(), F.shape)


def _small(size: int, remedy: str) -> None:
    if size > DENSE_LIMIT:
        checks.fail("W", f"at most {DENSE_LIMIT} entries for a dense covariance", str(size), remedy)


def _identified(eigenvalues: FloatArray) -> None:
    if eigenvalues.min() <= SINGULAR * max(float(eigenvalues.max()), np.finfo(float).tiny):
        found = "a direction that neither settles"
        remedy = "Add rows, or a multiple of independent(n) to P."
        checks.fail("rows and P", "a curvature in every direction of W", found, remedy)
