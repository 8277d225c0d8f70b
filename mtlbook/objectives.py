"""Objectives: what is minimised, with its derivatives.

Notation: W (d, n) holds one column w_i for each task,

.. code-block:: text

    F(W) = sum_i (1/m_i) |X_i w_i - y_i|^2 + strength * tr(W P W^T)
         = sum_i (w_i^T C_i w_i - 2 b_i^T w_i + s_i) + strength * sum_ij P_ij <w_i, w_j>.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
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
        All that squared loss needs of the data.
    P : ndarray of shape (n, n)
        The penalty, checked.
    strength : float
        The strength, checked.

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If P is not symmetric positive semidefinite of size n, or strength is negative or not finite.
    """

    moments: Moments
    P: FloatArray
    strength: float

    def __init__(self, tasks: Tasks | Moments, P: ArrayLike, strength: float) -> None:
        moments = tasks if isinstance(tasks, Moments) else Moments.from_tasks(tasks)
        object.__setattr__(self, "moments", moments)
        object.__setattr__(self, "P", checks.frozen(checks.semidefinite(P, "P", len(moments))))
        object.__setattr__(self, "strength", checks.number(strength, "strength", at_least=0.0))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""
        return (self.moments.n_features, len(self.moments))

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
        errors = np.sum(V * (self._curve(V) - 2 * self.moments.B), axis=0) + self.moments.s
        return float(errors.sum() + self.strength * np.sum(V * (V @ self.P)))

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
        return 2 * (self._curve(V) - self.moments.B) + 2 * self.strength * (V @ self.P)

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
        c, Q = np.linalg.eigh(self.moments.C.mean(axis=0))
        p, U = np.linalg.eigh(self.P)
        curvature = 2 * (np.maximum(c, 0)[:, None] + self.strength * np.maximum(p, 0)[None, :])
        flat = curvature <= 1e-14 * curvature.max()
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=~flat)
        return lambda R: Q @ (inverse * (Q.T @ R @ U)) @ U.T

    def _curve(self, W: FloatArray) -> FloatArray:
        """The columns C_i w_i."""
        return np.matmul(self.moments.C, W.T[:, :, None])[:, :, 0].T
