"""Level systems: the linear systems behind an objective with penalised levels, at many strengths at once.

What the strengths share, such as the moments of the tasks and their decompositions, is read and computed
once. Half the gradient of :class:`mtlbook.intercepts.LevelRegularized` is H V - B with

.. code-block:: text

    (H V)_i = c_i C_i v_i + sum_j M_ij mean(x_i) <mean(x_j), v_j> + strength * sum_j P_ij v_j.

Arrays have the tasks first and the strengths last: V has shape (n, d, s).
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from mtlbook.checks import FloatArray

COMMON_UNKNOWNS = 64
CHEAP = 0.1
NO_CURVATURE = 1e-14


class LevelSystems:
    """The linear systems behind an objective with levels, one for each strength.

    The preconditioner is a sum of two approximate inverses. One inverts the blocks of the tasks on the
    diagonal; it is good where P is weak. The other is exact on the directions that P hardly charges, its
    eigenvectors of least eigenvalue, where blocks are not. Together they take few steps at every strength,
    however much the tasks differ.

    Parameters
    ----------
    own : ndarray of shape (n, d, d)
        The matrices c_i C_i.
    rows : ndarray of shape (n, d)
        Mean rows of the tasks.
    M, P : ndarrays of shape (n, n)
        What couples the mean rows, and the penalty on slopes.
    spectrum : pair of ndarrays of shape (n,) and (n, n)
        Eigenvalues, in rising order, and eigenvectors of P.
    strengths : ndarray of shape (s,)
        One for each system.
    """

    def __init__(
        self,
        own: FloatArray,
        rows: FloatArray,
        M: FloatArray,
        P: FloatArray,
        spectrum: tuple[FloatArray, FloatArray],
        strengths: FloatArray,
    ) -> None:
        self.own, self.rows, self.M, self.P, self.strengths = own, rows, M, P, strengths
        blocks = self.own + np.diag(self.M)[:, None, None] * self.rows[:, :, None] * self.rows[:, None, :]
        curvatures, self.axes = np.linalg.eigh(blocks)
        self.each = _inverse(
            np.maximum(curvatures, 0.0)[:, :, None] + np.diag(self.P)[:, None, None] * strengths
        )
        self.common, self.coarse = self._shared(*spectrum)

    def _shared(self, p: FloatArray, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What P hardly charges, of shape (n, r), and inverses there, of shape (s, rd, rd)."""
        n, d = self.rows.shape
        most = max(1, COMMON_UNKNOWNS // d)
        r = min(most, int(np.sum(p <= max(CHEAP * p[-1], p[0]))))
        N = U[:, :r]
        pairs = (N[:, :, None] * N[:, None, :]).reshape(n, r * r)
        H = (
            (pairs.T @ self.own.reshape(n, d * d))
            .reshape(r, r, d, d)
            .transpose(0, 2, 1, 3)
            .reshape(r * d, r * d)
        )
        between = (N[:, :, None] * self.rows[:, None, :]).reshape(n, r * d)
        H += between.T @ self.M @ between
        charge = np.repeat(np.maximum(p[:r], 0.0), d)
        stack = H + self.strengths[:, None, None] * np.diag(charge)
        inverses = np.linalg.pinv(stack, rcond=NO_CURVATURE, hermitian=True)
        return N, np.asarray(inverses, dtype=np.float64)

    def apply(self, V: FloatArray) -> FloatArray:
        """H V.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        means = np.einsum("nd,nds->ns", self.rows, V)
        charged = (self.P @ V.reshape(len(V), -1)).reshape(V.shape)
        charged *= self.strengths
        charged += np.matmul(self.own, V)
        charged += self.rows[:, :, None] * (self.M @ means)[:, None, :]
        return charged

    def precondition(self, R: FloatArray) -> FloatArray:
        """M^-1 R.

        Parameters
        ----------
        R : ndarray of shape (n, d, s)
            Residuals.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        n, d, s = R.shape
        T = np.matmul(self.axes.transpose(0, 2, 1), R)
        T *= self.each
        T = np.matmul(self.axes, T)
        shared = (self.common.T @ R.reshape(n, -1)).reshape(-1, s)
        shared = np.matmul(self.coarse, shared.T[:, :, None])[:, :, 0].T
        T += (self.common @ shared.reshape(-1, d * s)).reshape(R.shape)
        return T

    def keep(self, running: NDArray[np.bool_]) -> LevelSystems:
        """The systems of some strengths only.

        Parameters
        ----------
        running : ndarray of shape (s,)
            Which to keep.

        Returns
        -------
        LevelSystems
        """
        kept = copy(self)
        kept.strengths, kept.coarse = self.strengths[running], self.coarse[running]
        kept.each = np.ascontiguousarray(self.each[..., running])
        return kept


def _inverse(values: FloatArray) -> FloatArray:
    """One over what is not zero to rounding."""
    flat = values <= NO_CURVATURE * values.max(axis=(0, 1))
    return np.divide(1.0, values, out=np.zeros_like(values), where=~flat)
