"""Objectives: what is minimised, with its derivatives.

Notation: W (d, n) holds one column w_i for each task,

.. code-block:: text

    F(W) = sum_i (1/m_i) |X_i w_i - y_i|^2 + strength * tr(W P W^T)
         = sum_i (w_i^T C_i w_i - 2 b_i^T w_i + s_i) + strength * sum_ij P_ij <w_i, w_j>.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
from mtlbook.penalty import Penalty
from mtlbook.quadratic import Formed, Normal, Rows, chosen, few_rows, rotated
from mtlbook.tasks import Tasks


@dataclass(frozen=True, eq=False, init=False, repr=False)
class TraceRegularized:
    """The trace-regularised objective: mean squared errors plus ``strength * tr(W P W^T)``.

    P decides what is shared. It is a *penalty*: a similarity A must first be turned into one by
    :func:`mtlbook.relations.laplacian` or :func:`mtlbook.relations.precision`, since tr(W A W^T) charges
    related tasks for agreeing.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero. No halves anywhere: the loss is the mean squared error.

    Attributes
    ----------
    moments : Moments
        All that squared loss needs of the data; formed when first asked for.
    P : ndarray of shape (n, n)
        The penalty, checked.
    penalty : mtlbook.penalty.Penalty
        The same with what makes its products cheap.
    strength : float
        The strength, checked.

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If P is not symmetric positive semidefinite of size n, or strength is negative or not finite.
    """

    penalty: Penalty
    strength: float
    _data: Tasks | Moments

    def __init__(self, tasks: Tasks | Moments, P: ArrayLike, strength: float) -> None:
        if not isinstance(tasks, Moments):
            checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
        object.__setattr__(self, "_data", tasks)
        object.__setattr__(self, "penalty", Penalty(P, len(tasks)))
        object.__setattr__(self, "strength", checks.number(strength, "strength", at_least=0.0))

    def on(self, tasks: Tasks | Moments) -> TraceRegularized:
        """The same penalty and strength on other data of as many tasks.

        Parameters
        ----------
        tasks : Tasks or Moments
            The data of n tasks.

        Returns
        -------
        TraceRegularized

        Raises
        ------
        TypeError
            If `tasks` is neither Tasks nor Moments.
        ValueError
            If it holds another number of tasks.
        """
        if not isinstance(tasks, Moments):
            checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
        if len(tasks) != self.penalty.n:
            checks.fail("tasks", f"{self.penalty.n} tasks", str(len(tasks)), "Make P of that size.")
        other = object.__new__(TraceRegularized)
        for field, value in (("_data", tasks), ("penalty", self.penalty), ("strength", self.strength)):
            object.__setattr__(other, field, value)
        return other

    def at(self, strength: float) -> TraceRegularized:
        """The same objective at another strength; what is known of data and penalty is kept.

        Parameters
        ----------
        strength : float
            Regularisation strength, at least zero.

        Returns
        -------
        TraceRegularized

        Raises
        ------
        ValueError
            If strength is negative or not finite.
        """
        other = object.__new__(TraceRegularized)
        other.__dict__.update(self.__dict__)
        object.__setattr__(other, "strength", checks.number(strength, "strength", at_least=0.0))
        return other

    @property
    def P(self) -> FloatArray:
        """The penalty as a matrix, of shape (n, n)."""
        return self.penalty.P

    @cached_property
    def moments(self) -> Moments:
        """All that squared loss needs of the data; formed when first asked for."""
        return self._data if isinstance(self._data, Moments) else Moments.from_tasks(self._data)

    @cached_property
    def _curvature(self) -> Formed | Rows:
        """Rows where forming C_i would cost more than it saves, else C_i."""
        data = self._data
        return Rows(data) if isinstance(data, Tasks) and few_rows(data) else Formed(self.moments)

    def systems(self, strengths: FloatArray) -> Normal:
        """The normal equations at each of some strengths, for :func:`mtlbook.solvers.solve`.

        Parameters
        ----------
        strengths : ndarray of shape (s,)
            At least zero each.

        Returns
        -------
        mtlbook.quadratic.Normal
        """
        data = self.moments if "moments" in self.__dict__ else self._data
        return Normal(chosen(data, lambda: self.moments, len(strengths)), self.penalty, strengths)

    def rotated(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Half the Hessian and half the steepest descent at 0 in the eigenvectors U of P, and U.

        The unknowns are the columns of W U one after another. What the penalty leaves free stands apart there
        from what it holds, and is not drowned by it.

        Returns
        -------
        (ndarray of shape (dn, dn), ndarray of shape (dn,), ndarray of shape (n, n))
        """
        return rotated(self.moments, self.P, self.strength)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""
        return (self._data.n_features, len(self._data))

    def value(self, W: ArrayLike) -> float:
        """F(W).

        Parameters
        ----------
        W : array of shape (d, n)
            Parameters, one column a task.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        V = checks.array(W, "W", self.shape)
        data = self._curvature
        errors = np.sum(V * (self._curve(V) - 2 * data.B), axis=0) + data.s
        return float(errors.sum() + self.strength * np.sum(V * self._along_tasks(V)))

    def gradient(self, W: ArrayLike) -> FloatArray:
        """Gradient of F at W: column i is ``2 (C_i w_i - b_i) + 2 strength (W P)_:i``.

        Parameters
        ----------
        W : array of shape (d, n)
            Parameters, one column a task.

        Returns
        -------
        ndarray of shape (d, n)

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        V = checks.array(W, "W", self.shape)
        return 2 * (self._curve(V) - self._curvature.B) + 2 * self.strength * self._along_tasks(V)

    def hessian(self) -> FloatArray:
        """Hessian of F in the order of vec(W), which stacks columns.

        H = 2 blockdiag(C_1, ..., C_n) + 2 strength P (x) I_d, the same at every W.

        Returns
        -------
        ndarray of shape (dn, dn)
        """
        d = self.shape[0]
        H: FloatArray = np.asarray(2 * self.strength * np.kron(self.P, np.eye(d)), dtype=np.float64)
        for i, C in enumerate(self.moments.C):
            H[i * d : (i + 1) * d, i * d : (i + 1) * d] += 2 * C
        return H

    def lipschitz(self) -> float:
        """A bound L on the largest eigenvalue of the Hessian.

        ``L = 2 max_i lambda_max(C_i) + 2 strength lambda_max(P)``. The gradient changes by at most L times
        the change of W, so that steps below 2 / L are stable.

        Returns
        -------
        float
        """
        curvature = np.linalg.eigvalsh(self.moments.C)[:, -1].max()
        return float(2 * curvature + 2 * self.strength * np.linalg.eigvalsh(self.P)[-1])

    def preconditioner(self) -> Callable[[FloatArray], FloatArray]:
        """Inverse of the Hessian that F would have if all tasks shared their mean C.

        That Hessian, 2 (I (x) C + strength P (x) I), is diagonal in the eigenvectors of C and P, so that
        applying its inverse costs four matrix products.

        Returns
        -------
        callable
            Takes and returns an ndarray of shape (d, n). Directions without curvature are left out.
        """
        systems = Normal(self._curvature, self.penalty, np.array([self.strength]))

        def inverse(R: FloatArray) -> FloatArray:
            return systems.precondition(np.ascontiguousarray(R.T)[:, :, None])[:, :, 0].T / 2

        return inverse

    def _curve(self, W: FloatArray) -> FloatArray:
        """The columns C_i w_i."""
        return self._curvature.times(np.ascontiguousarray(W.T)[:, :, None])[:, :, 0].T

    def _along_tasks(self, W: FloatArray) -> FloatArray:
        """W P."""
        return self.penalty.product(np.ascontiguousarray(W.T)).T
