"""Learning what tasks share: their relation, their directions or their features, to a certified optimum.

Notation: W (d, n) holds one column w_i for each task, Omega (n, n) is a relation that is learned, positive
semidefinite with trace one. With ``mse_i = (1/m_i) |X_i w_i - y_i|^2``,

.. code-block:: text

    learn_relation   sum_i mse_i + strength * min over Omega of tr(W Omega^{-1} W^T) + ridge * |W|_F^2
                   = sum_i mse_i + strength * |W|_*^2 + ridge * |W|_F^2
    low_rank         sum_i mse_i + strength * |W|_*
    row_sparse       sum_i mse_i + strength * |W|_{2,1}
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
from mtlbook.proximal import (
    Certified,
    NormPenalty,
    certified,
    proximal_gradient,
    row_lengths,
    singular_values,
)
from mtlbook.tasks import Tasks


@dataclass(frozen=True, eq=False)
class LearnedRelation(Certified):
    """Weights and the relation learned with them, at a certified optimum.

    Attributes
    ----------
    relation : ndarray of shape (n, n)
        Omega = (V^T V)^{1/2} / trace, the best for this W, with V the deviations from `common`. A similarity:
        positive semidefinite, of trace one, and of the rank of V. I / n where V is zero.
    common : ndarray of shape (d,)
        The common vector w_0; zero unless it was asked for.
    """

    relation: FloatArray
    common: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("relation", "common"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))


def learn_relation(
    tasks: Tasks | Moments,
    strength: float,
    *,
    ridge: float = 0.0,
    common: bool = False,
    W0: ArrayLike | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
) -> LearnedRelation:
    """Weights W and the relation Omega of the tasks, both learned from the rows alone.

    Minimises ``sum_i mse_i + strength * tr(W Omega^{-1} W^T) + ridge * |W|_F^2`` over W and all positive
    semidefinite Omega of trace one [ZhY10]_. For given W the best Omega is ``(W^T W)^{1/2} / trace``, which
    makes the middle term ``strength * |W|_*^2`` [AEP08]_. So W is found first, by proximal gradient on the
    squared nuclear norm, and Omega follows. Alternating between the two would stall where Omega is singular.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    strength : float
        Strength of the relation, at least zero.
    ridge : float
        Strength of the plain ridge, at least zero. With `common`, on the deviations alone.
    common : bool
        Whether W = w_0 1^T + V with a common vector w_0 that costs nothing, both terms then being charged on
        the deviations V alone. Else the relation has to tell the tasks' common level as well.
    W0 : array of shape (d, n), optional
        Where to start; zero by default, or if zero is better. It is not changed.
    tolerance : float
        Stop once the objective is proved to lie within this fraction of its minimum.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    LearnedRelation

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments, or common is not a bool.
    ValueError
        If strength or ridge is negative, strength is zero beside `common`, W0 has another shape or is not
        finite, or an option is out of range.

    References
    ----------
    .. [ZhY10] Y. Zhang, D.-Y. Yeung. A convex formulation for learning task relationships in multi-task
       learning. Uncertainty in Artificial Intelligence, 2010.
    .. [AEP08] A. Argyriou, T. Evgeniou, M. Pontil. Convex multi-task feature learning. Machine Learning 73,
       243-272, 2008.
    """
    shared = checks.instance(common, bool, "common", "Pass True or False.")
    loss = _Loss(tasks, checks.number(ridge, "ridge", at_least=0.0), shared)
    charge = checks.number(strength, "strength", at_least=0.0)
    if shared and charge == 0:
        remedy = "If the deviations cost nothing, no vector is common: use fit(tasks, to_mean(n), ridge)."
        checks.fail("strength", "a number above 0 beside common=True", "0", remedy)
    found = _minimise(loss, NormPenalty(singular_values, charge, squared=True), W0, tolerance, max_iterations)
    w_0 = loss.common(found.W)
    return LearnedRelation(
        W=found.W + w_0[:, None],
        values=found.values,
        gap=found.gap,
        converged=found.converged,
        n_iterations=found.n_iterations,
        message=found.message,
        relation=_best_relation(found.W),
        common=w_0,
    )


def low_rank(
    tasks: Tasks | Moments,
    strength: float,
    *,
    W0: ArrayLike | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
) -> Certified:
    """Weights of low rank, ``W = sum_k u_k v_k^T``: few directions, mixed by each task in its own way.

    Minimises ``sum_i mse_i + strength * |W|_*``. The nuclear norm, the sum of the singular values, makes some
    of them exactly zero [ArEP08]_.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    strength : float
        Strength of the penalty, at least zero. From :func:`low_rank_limit` on, W is zero.
    W0 : array of shape (d, n), optional
        Where to start, such as the answer for a neighbouring strength; zero by default, or if zero is better.
        It is not changed.
    tolerance : float
        Stop once the objective is proved to lie within this fraction of its minimum.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    Certified

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If strength is negative, W0 has another shape or is not finite, or an option is out of range.

    References
    ----------
    .. [ArEP08] A. Argyriou, T. Evgeniou, M. Pontil. Convex multi-task feature learning. Machine Learning 73,
       243-272, 2008.
    """
    charge = checks.number(strength, "strength", at_least=0.0)
    return _minimise(_Loss(tasks), NormPenalty(singular_values, charge), W0, tolerance, max_iterations)


def row_sparse(
    tasks: Tasks | Moments,
    strength: float,
    *,
    W0: ArrayLike | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
) -> Certified:
    """Weights whose rows are zero for all tasks or for none: the tasks agree on which features matter.

    Minimises ``sum_i mse_i + strength * |W|_{2,1}``, with ``|W|_{2,1}`` the sum of the lengths of the rows
    [OTJ10]_. If all tasks have the same inputs, this is the MultiTaskLasso of
    scikit-learn with alpha = strength / 2.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.
    strength : float
        Strength of the penalty, at least zero. From :func:`row_sparse_limit` on, W is zero.
    W0 : array of shape (d, n), optional
        Where to start, such as the answer for a neighbouring strength; zero by default, or if zero is better.
        It is not changed.
    tolerance : float
        Stop once the objective is proved to lie within this fraction of its minimum.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    Certified

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If strength is negative, W0 has another shape or is not finite, or an option is out of range.

    References
    ----------
    .. [OTJ10] G. Obozinski, B. Taskar, M. I. Jordan. Joint covariate selection and joint subspace selection
       for multiple classification problems. Statistics and Computing 20, 231-252, 2010.
    """
    charge = checks.number(strength, "strength", at_least=0.0)
    return _minimise(_Loss(tasks), NormPenalty(row_lengths, charge), W0, tolerance, max_iterations)


def low_rank_limit(tasks: Tasks | Moments) -> float:
    """The least strength at which :func:`low_rank` leaves nothing, ``2 |[b_1 ... b_n]|_2``.

    At W = 0 the gradient of the loss is -2 [b_1 ... b_n], and the nuclear norm holds it as long as its
    largest singular value is at most the strength. A path of strengths starts here.

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    """
    return 2 * float(np.linalg.norm(_moments(tasks).B, 2))


def row_sparse_limit(tasks: Tasks | Moments) -> float:
    """The least strength at which :func:`row_sparse` leaves nothing: twice the longest row of [b_1 ... b_n].

    Parameters
    ----------
    tasks : Tasks or Moments
        The data of n tasks over d features.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    """
    return 2 * float(np.linalg.norm(_moments(tasks).B, axis=1).max())


class _Loss:
    """Mean squared errors plus ridge * |V|_F^2 as a function of V, with the best common vector put in."""

    def __init__(self, tasks: Tasks | Moments, ridge: float = 0.0, shared: bool = False) -> None:
        self.moments = _moments(tasks)
        self.ridge, self.shared = ridge, shared
        self.total = float(self.moments.s.sum())
        if shared:
            self.inverse, _ = _inverse(self.moments.C.sum(axis=0))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of V."""
        return (self.moments.n_features, len(self.moments))

    def lipschitz(self) -> float:
        """A bound on the curvature; putting in the best common vector only lowers it."""
        return 2 * float(np.linalg.eigvalsh(self.moments.C)[:, -1].max()) + 2 * self.ridge

    def common(self, V: FloatArray) -> FloatArray:
        """The common vector w_0 that fits best beside the deviations V; zero if there is none."""
        if not self.shared:
            return np.zeros(len(V))
        missed: FloatArray = (self.moments.B - self._curve(V)).sum(axis=1)
        return self.inverse @ missed

    def measure(self, V: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient at V."""
        W = V + self.common(V)[:, None] if self.shared else V
        curved = self._curve(W)
        value = float(np.sum(W * (curved - 2 * self.moments.B))) + self.total
        value += self.ridge * float(np.sum(V * V))
        # Where the rows are met exactly, rounding may fall below zero.
        return max(value, 0.0), 2 * (curved - self.moments.B) + 2 * self.ridge * V

    def _curve(self, W: FloatArray) -> FloatArray:
        """The columns C_i w_i."""
        return np.matmul(self.moments.C, W.T[:, :, None])[:, :, 0].T


def _minimise(
    loss: _Loss, penalty: NormPenalty, W0: ArrayLike | None, tolerance: float, max_iterations: int
) -> Certified:
    start = None if W0 is None else checks.array(W0, "W0", loss.shape)
    if start is not None and loss.shared:
        start = start - start.mean(axis=1, keepdims=True)
    if penalty.strength == 0:
        return _unpenalised(loss, checks.number(tolerance, "tolerance", above=0.0))
    return proximal_gradient(loss, penalty, start, tolerance=tolerance, max_iterations=max_iterations)


def _unpenalised(loss: _Loss, tolerance: float) -> Certified:
    """At strength zero each task is a least-squares problem of its own."""
    inverse, free = _inverse(loss.moments.C + loss.ridge * np.eye(loss.shape[0]))
    W = np.matmul(inverse, loss.moments.B.T[:, :, None])[:, :, 0].T
    value, G = loss.measure(W)
    gap = float(np.sum(G.T * np.matmul(inverse, G.T[:, :, None])[:, :, 0])) / 4
    route = "least squares for each task"
    route += f", {free} directions free: one of many minimisers" if free else ""
    return certified(W, [loss.total, value], gap, tolerance, loss.total, route)


def _inverse(H: FloatArray) -> tuple[FloatArray, int]:
    """Inverses of semidefinite matrices where they have curvature, and how many directions have none.

    Scaled to unit diagonals first, so that units of features do not matter.
    """
    diagonal = np.diagonal(H, axis1=-2, axis2=-1)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    eigenvalues, U = np.linalg.eigh(scale[..., :, None] * H * scale[..., None, :])
    flat = eigenvalues <= 10 * H.shape[-1] * np.finfo(float).eps
    weights = np.where(flat, 0.0, 1 / np.sqrt(np.where(flat, 1.0, eigenvalues)))
    roots = scale[..., :, None] * U * weights[..., None, :]
    return np.matmul(roots, np.swapaxes(roots, -1, -2)), int(flat.sum())


def _best_relation(V: FloatArray) -> FloatArray:
    """(V^T V)^{1/2} / trace, from the singular values of V."""
    _, sigma, Vt = np.linalg.svd(V, full_matrices=False)
    if sigma[0] == 0:
        return np.eye(V.shape[1]) / V.shape[1]
    Omega = (Vt.T * (sigma / sigma.sum())) @ Vt
    return (Omega + Omega.T) / 2


def _moments(tasks: Tasks | Moments) -> Moments:
    return tasks if isinstance(tasks, Moments) else Moments.from_tasks(tasks)
