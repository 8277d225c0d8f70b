"""Mixed data: tasks with losses and inputs of their own, coupled by one penalty.

Notation: W (d, n) holds one column w_i for each task, loss_i(s, y) is what task i charges for a score,

.. code-block:: text

    F(W) = sum_i (weight_i / m_i) sum_rows loss_i(x . w_i, y) + strength * tr(W P W^T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.expansion import FLAT, Expansion
from mtlbook.losses import Loss
from mtlbook.responses import loss_of_each
from mtlbook.tasks import Tasks


@dataclass(frozen=True, eq=False, init=False, repr=False)
class MixedRegularized:
    """The trace-regularised objective with a loss for each task.

    With :class:`mtlbook.losses.Squared` for all and no weights it is
    :class:`mtlbook.objectives.TraceRegularized`. Scores of all tasks live in one space of d features, and P
    says which of them agree there, whatever is done with a score afterwards. Losses have scales of their
    own, so `weights` decide who is listened to: only their ratios to each other and to the strength matter.

    Parameters
    ----------
    tasks : Tasks
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero.
    losses : Loss or sequence of n Loss
        The loss of each task; one alone serves all.
    weights : sequence of n floats, optional
        How much the mean loss of each task counts, at least zero; 1 by default.

    Attributes
    ----------
    tasks : Tasks
        What was given.
    P : ndarray of shape (n, n)
        The penalty, checked.
    strength : float
        The strength, checked.
    losses : tuple of n Loss
        The loss of each task.
    weights : ndarray of shape (n,)
        The weights, checked.

    Raises
    ------
    TypeError
        If `tasks` is not a Tasks, or a loss lacks a member of Loss.
    ValueError
        If P is not symmetric positive semidefinite of size n, a number is out of range, losses or weights
        do not match the tasks, or a target is none of its loss.
    """

    tasks: Tasks
    P: FloatArray
    strength: float
    losses: tuple[Loss, ...]
    weights: FloatArray

    def __init__(
        self,
        tasks: Tasks,
        P: ArrayLike,
        strength: float,
        losses: Loss | Sequence[Loss],
        *,
        weights: ArrayLike | None = None,
    ) -> None:
        given = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
        each = loss_of_each(given, losses)
        shares = np.ones(len(given)) if weights is None else checks.array(weights, "weights", (len(given),))
        if shares.min() < 0:
            checks.fail("weights", "numbers of at least 0", f"{shares.min():g}", "Use 0 to silence a task.")
        object.__setattr__(self, "tasks", given)
        object.__setattr__(self, "P", checks.frozen(checks.semidefinite(P, "P", len(given))))
        object.__setattr__(self, "strength", checks.number(strength, "strength", at_least=0.0))
        object.__setattr__(self, "losses", each)
        object.__setattr__(self, "weights", checks.frozen(shares.copy()))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""
        return (self.tasks.n_features, len(self.tasks))

    def value(self, W: ArrayLike) -> float:
        """F(W).

        Parameters
        ----------
        W : array of shape (d, n)
            Parameters, one column a task.

        Returns
        -------
        float
            Infinite where a loss overflows.

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        return self.expand(checks.array(W, "W", self.shape)).value

    def gradient(self, W: ArrayLike) -> FloatArray:
        """Gradient of F at W: column i is ``(weight_i / m_i) X_i^T slope_i + 2 strength (W P)_:i``.

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
        return self.expand(checks.array(W, "W", self.shape)).gradient.copy()

    def hessian(self, W: ArrayLike) -> FloatArray:
        """Hessian of F at W in the order of vec(W), which stacks columns.

        H = blockdiag((weight_i / m_i) X_i^T diag(curvature_i) X_i) + 2 strength P (x) I_d: the losses bend
        each task by itself, the penalty couples them.

        Parameters
        ----------
        W : array of shape (d, n)
            Parameters, one column a task.

        Returns
        -------
        ndarray of shape (dn, dn)

        Raises
        ------
        ValueError
            If W has another shape or is not finite.
        """
        d = self.shape[0]
        blocks = self.expand(checks.array(W, "W", self.shape)).blocks
        H: FloatArray = np.asarray(2 * self.strength * np.kron(self.P, np.eye(d)), dtype=np.float64)
        for i, C in enumerate(blocks):
            H[i * d : (i + 1) * d, i * d : (i + 1) * d] += C
        return H

    def lipschitz(self) -> float:
        """A bound L on the largest eigenvalue of the Hessian at any W.

        ``L = max_i weight_i bound_i lambda_max(X_i^T X_i) / m_i + 2 strength lambda_max(P)``, with the
        bound of each loss on its curvature.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If a loss has no bound, as Poisson's.
        """
        for name, loss in zip(self.tasks.names, self.losses, strict=True):
            if not np.isfinite(loss.bound):
                found = f"{type(loss).__name__} for {name!r}"
                checks.fail("losses", "losses of bounded curvature", found, "Minimise with newton(F).")
        tops = [np.linalg.norm(X, 2) ** 2 / len(X) for X in self.tasks.X]
        bends = [w * loss.bound * t for w, loss, t in zip(self.weights, self.losses, tops, strict=True)]
        return float(max(bends) + 2 * self.strength * self._spectrum[0][-1])

    def excess(self, G: FloatArray) -> float:
        """A bound on F(W) less its least value, ``tr(G P^-1 G^T) / (4 strength)`` with the gradient G at W.

        F less its penalty is convex, so F lies above its tangent plane plus the penalty of the step; the
        bound is the depth of that bowl.

        Parameters
        ----------
        G : ndarray of shape (d, n)
            The gradient at some W.

        Returns
        -------
        float
            Infinite if the strength is zero or P is singular, for then no such bound holds for all data.
        """
        p, U = self._spectrum
        if self.strength == 0 or p[0] <= FLAT * len(p) * p[-1]:
            return float("inf")
        return float(np.sum((G @ U) ** 2 / p) / (4 * self.strength))

    def expand(self, W: FloatArray) -> Expansion:
        """F around W to second order, for solvers: each part is computed when it is first asked for.

        Parameters
        ----------
        W : ndarray of shape (d, n)
            Where; not checked.

        Returns
        -------
        Expansion
        """
        shares = self.weights / np.array(self.tasks.n_rows)
        p, U = self._spectrum
        return Expansion(
            self.tasks, self.losses, shares, 2 * self.strength * self.P, (2 * self.strength * p, U), W
        )

    @cached_property
    def _spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of P, none below zero, and its eigenvectors."""
        p, U = np.linalg.eigh(self.P)
        return np.maximum(p, 0.0), U
