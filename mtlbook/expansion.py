"""Expansion: an objective of mixed losses around one W, to second order.

Newton's method asks for it. Each part is computed when it is first asked for: a trial step that is rejected
costs one pass over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from mtlbook.checks import FloatArray
from mtlbook.losses import Loss
from mtlbook.tasks import Tasks

# Measured: over M rows, a step with blocks costs as much as one without where d + 14 d^2 / M = 600.
PAYS, EIGEN = 600, 14
FLAT = 1e-14


class Expansion:
    """F around W, ``F(W + V) = value + <gradient, V> + <V, product(V)> / 2 + ...``.

    Parameters
    ----------
    tasks : Tasks
        The data.
    losses : sequence of n Loss
        The loss of each task.
    shares : ndarray of shape (n,)
        What the loss of one row counts, ``weight_i / m_i``.
    coupling : ndarray of shape (n, n)
        2 strength P.
    spectrum : (ndarray of shape (n,), ndarray of shape (n, n))
        Eigenvalues of `coupling`, none below zero, and its eigenvectors.
    W : ndarray of shape (d, n)
        Where F is expanded.
    """

    def __init__(
        self,
        tasks: Tasks,
        losses: Sequence[Loss],
        shares: FloatArray,
        coupling: FloatArray,
        spectrum: tuple[FloatArray, FloatArray],
        W: FloatArray,
    ) -> None:
        self._tasks, self._losses, self._shares, self._W = tasks, losses, shares, W
        self._coupling, self._spectrum = coupling, spectrum
        # One pass over the data; value, gradient and curvature start from these scores.
        self._scores = [X @ w for X, w in zip(tasks.X, np.ascontiguousarray(W.T), strict=True)]
        self._pull = W @ coupling

    @cached_property
    def value(self) -> float:
        """F(W)."""
        rows = zip(self._losses, self._scores, self._tasks.y, strict=True)
        sums = np.array([loss.value(s, y).sum() for loss, s, y in rows])
        return float(self._shares @ sums + np.sum(self._W * self._pull) / 2)

    @cached_property
    def gradient(self) -> FloatArray:
        """Gradient of F at W, of shape (d, n)."""
        rows = zip(self._losses, self._scores, self._tasks, strict=True)
        slopes = np.stack([loss.slope(s, y) @ X for loss, s, (X, y) in rows], axis=1)
        return slopes * self._shares + self._pull

    @cached_property
    def blocks(self) -> FloatArray:
        """The Hessian of each task's loss, of shape (n, d, d)."""
        buffer = np.empty((max(self._tasks.n_rows), len(self._W)))
        blocks = np.empty((len(self._tasks), buffer.shape[1], buffer.shape[1]))
        for X, bend, block in zip(self._tasks.X, self._bends, blocks, strict=True):
            scaled = np.multiply(X, np.sqrt(bend)[:, None], out=buffer[: len(X)])
            np.matmul(scaled.T, scaled, out=block)
        return blocks

    def product(self, V: FloatArray) -> FloatArray:
        """The Hessian at W times V.

        Parameters
        ----------
        V : ndarray of shape (d, n)
            A direction.

        Returns
        -------
        ndarray of shape (d, n)
        """
        if self._forms_blocks:
            bent = np.matmul(self.blocks, V.T[:, :, None])[:, :, 0].T
        else:
            rows = zip(self._tasks.X, self._bends, np.ascontiguousarray(V.T), strict=True)
            bent = np.stack([(bend * (X @ v)) @ X for X, bend, v in rows], axis=1)
        return bent + V @ self._coupling

    def preconditioner(self) -> Callable[[FloatArray], FloatArray]:
        """Inverse of the Hessian that F would have at W if all tasks shared their mean block C.

        That is I (x) C + 2 strength P (x) I, diagonal in the eigenvectors of C and P. Where blocks are too
        dear to form, the diagonal of C stands for it.

        Returns
        -------
        callable
            Takes and returns an ndarray of shape (d, n). Directions without curvature are left out.
        """
        p, U = self._spectrum
        if self._forms_blocks:
            c, Q = np.linalg.eigh(self.blocks.mean(axis=0))
        else:
            rows = zip(self._tasks.X, self._bends, strict=True)
            c, Q = np.mean([bend @ X**2 for X, bend in rows], axis=0), np.empty((0, 0))
        curvature = np.maximum(c, 0.0)[:, None] + p
        flat = curvature <= FLAT * curvature.max()
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=~flat)
        if not Q.size:
            return lambda R: (inverse * (R @ U)) @ U.T
        return lambda R: Q @ (inverse * (Q.T @ R @ U)) @ U.T

    @cached_property
    def _forms_blocks(self) -> bool:
        """Whether the blocks are no larger than the data, and cheaper than products without them."""
        d, n = self._W.shape
        rows = sum(self._tasks.n_rows)
        return d * n <= rows and d + EIGEN * d**2 / rows <= PAYS

    @cached_property
    def _bends(self) -> list[FloatArray]:
        """Curvature of each row's share of F."""
        rows = zip(self._shares, self._losses, self._scores, self._tasks.y, strict=True)
        return [share * loss.curvature(s, y) for share, loss, s, y in rows]
