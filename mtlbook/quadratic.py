"""Quadratic: the linear systems behind the trace-regularised objective, in the form that suits their sizes.

Notation: half the gradient of F vanishes where C_i w_i + strength (W P)_:i = b_i for every task i. Here the
tasks come first and the strengths last: V has shape (n, d, s), so that one product with C_i serves all
strengths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbook.checks import FloatArray
from mtlbook.moments import Moments, products, shared
from mtlbook.penalty import Penalty
from mtlbook.tasks import Tasks

DAMPING = 1.5
MOST_DEGREES = 12
WIDE = 100
LEAST_WIDTH = 32
MUCH_MEMORY = 10**6
MANY = 8
# Mean squares within these bounds leave float32 room to spare.
TINY = 1e-18


class Curvature(Protocol):
    """The data's part of the system: C_1, ..., C_n, formed or not."""

    B: FloatArray
    s: FloatArray
    route: str
    dtype: Any

    def times(self, V: FloatArray) -> FloatArray:
        """C_i V_i for every task, of shape (n, d, s)."""

    def exactly(self, V: FloatArray) -> FloatArray:
        """The same in float64."""

    def basis(self) -> tuple[FloatArray, FloatArray | None]:
        """Curvatures c of the tasks' mean, and the directions Q they belong to (None: the features)."""

    def precise(self) -> Curvature | None:
        """What to take instead if this was not precise enough."""


class Formed:
    """C_i as matrices: best where tasks have more rows than features.

    Parameters
    ----------
    moments : Moments
        Where they stand.

    Attributes
    ----------
    dtype : dtype
        The precision of the steps.
    """

    dtype: Any = np.float64

    def __init__(self, moments: Moments) -> None:
        self.C, self.B, self.s = moments.C, moments.B, moments.s
        self.shared = self.C.strides[0] == 0 or len(self.C) == 1
        self.route = (
            "one Gram matrix, since all tasks share their inputs"
            if self.shared
            else "Gram matrices, since rows outnumber features"
        )

    def times(self, V: FloatArray) -> FloatArray:
        """C_i V_i for every task.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        if self.shared and V.shape[-1] == 1:
            return (V[:, :, 0] @ self.C[0])[:, :, None]
        return np.matmul(self.C, V)

    def basis(self) -> tuple[FloatArray, FloatArray | None]:
        """Eigenvalues and eigenvectors of the mean of C_i.

        Returns
        -------
        (ndarray of shape (d,), ndarray of shape (d, d))
        """
        mean = self.C[0] if self.shared else self.C.mean(axis=0)
        c, Q = np.linalg.eigh(mean.astype(np.float64, copy=False))
        return np.maximum(c, 0.0), Q

    def exactly(self, V: FloatArray) -> FloatArray:
        """C_i V_i for every task, in float64.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        return self.times(V)

    def precise(self) -> Curvature | None:
        """Nothing: there is none that is more precise.

        Returns
        -------
        None
        """
        return None


class Single(Formed):
    """C_i in float32, half the time and memory, for steps towards an answer that is held to float64.

    What the steps reach is measured by `exactly`, on the rows themselves or on C_i in float64, and corrected:
    it is the residual that decides how good the answer is, not the matrix that led there [H02]_.

    Parameters
    ----------
    source : Tasks or Moments
        The rows, or what was formed of them.

    Attributes
    ----------
    dtype : dtype
        The precision of the steps.

    References
    ----------
    .. [H02] N. J. Higham. Accuracy and Stability of Numerical Algorithms, chapter 12. SIAM, second edition,
       2002.
    """

    dtype: Any = np.float32
    shared = False

    def __init__(self, source: Tasks | Moments) -> None:
        self.source = source
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if isinstance(source, Moments):
                self.C, self.B, self.s = source.C.astype(np.float32), source.B, source.s
            else:
                self.C, self.B = products(source, np.float32)
                self.s = np.array([y.dot(y) for y in source.y]) / source.n_rows
        self.sound = bool(TINY < self.C.diagonal(axis1=1, axis2=2).max() < 1 / TINY)
        self.route = "Gram matrices in float32, corrected in float64 on "
        self.route += "Gram matrices" if isinstance(source, Moments) else "the rows"

    def exactly(self, V: FloatArray) -> FloatArray:
        """C_i V_i for every task, in float64.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        if isinstance(self.source, Moments):
            return np.matmul(self.source.C, V)
        return along_rows(self.source, V)

    def precise(self) -> Curvature | None:
        """C_i in float64.

        Returns
        -------
        Formed
        """
        source = self.source
        return Formed(source if isinstance(source, Moments) else Moments.from_tasks(source))


class Rows:
    """C_i as products with X_i and its transpose: best where tasks have fewer rows than features.

    Parameters
    ----------
    tasks : Tasks
        The rows themselves; nothing is copied.

    Attributes
    ----------
    dtype : dtype
        The precision of the steps.
    """

    route = "the rows themselves, since features outnumber them"

    dtype: Any = np.float64

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        n, d = len(tasks), tasks.n_features
        self.B, self.diagonal = np.empty((d, n)), np.zeros(d)
        for i, (X, y) in enumerate(tasks):
            self.B[:, i] = y @ X / len(y)
            self.diagonal += np.einsum("rk,rk->k", X, X) / (len(y) * n)
        self.s = np.array([y @ y / len(y) for y in tasks.y])

    def times(self, V: FloatArray) -> FloatArray:
        """``X_i^T (X_i V_i) / m_i`` for every task.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        return along_rows(self.tasks, V)

    def exactly(self, V: FloatArray) -> FloatArray:
        """The same.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        return along_rows(self.tasks, V)

    def precise(self) -> Curvature | None:
        """Nothing: there is none that is more precise.

        Returns
        -------
        None
        """
        return None

    def basis(self) -> tuple[FloatArray, FloatArray | None]:
        """The mean curvature along each feature.

        Returns
        -------
        (ndarray of shape (d,), None)
        """
        return self.diagonal, None


def along_rows(tasks: Tasks, V: FloatArray) -> FloatArray:
    """``X_i^T (X_i V_i) / m_i`` for every task.

    Parameters
    ----------
    tasks : Tasks
        The rows.
    V : ndarray of shape (n, d, s)
        Vectors.

    Returns
    -------
    ndarray of shape (n, d, s)
    """
    found = np.empty(V.shape)
    if V.shape[-1] == 1:
        # Products with vectors are so short where tasks are small that calls must be few and plain.
        for X, v, out in zip(tasks.X, V[:, :, 0], found[:, :, 0], strict=True):
            np.dot(X.dot(v), X, out)
    else:
        for X, v, out in zip(tasks.X, V, found, strict=True):
            np.matmul(X.T, X @ v, out)
    found /= np.array(tasks.n_rows, dtype=np.float64)[:, None, None]
    return found


def chosen(data: Tasks | Moments, moments: Callable[[], Moments], count: int) -> Curvature:
    """The form of the data that suits their sizes and the number of strengths.

    Parameters
    ----------
    data : Tasks or Moments
        The data.
    moments : callable
        Gives their moments, formed once and kept.
    count : int
        How many strengths iterate together.

    Returns
    -------
    Curvature
    """
    if isinstance(data, Tasks) and few_rows(data):
        return Rows(data)
    n, d = len(data), data.n_features
    if (
        n > 1
        and d >= LEAST_WIDTH
        and n * d**2 >= MUCH_MEMORY
        and not (isinstance(data, Tasks) and shared(data))
    ):
        # What many strengths would do to the rows costs more than forming C_i in float64.
        source = data if isinstance(data, Tasks) and count < MANY else moments()
        if isinstance(source, Tasks) or (count >= MANY and source.C.strides[0] > 0):
            single = Single(source)
            if single.sound:
                return single
    return Formed(moments())


def few_rows(tasks: Tasks) -> bool:
    """Whether forming C_i would cost more than it saves: many features, and fewer rows than features.

    Parameters
    ----------
    tasks : Tasks
        The data.

    Returns
    -------
    bool
    """
    return tasks.n_features >= WIDE and sum(tasks.n_rows) < len(tasks) * tasks.n_features


@dataclass(frozen=True, eq=False)
class Normal:
    """The normal equations of s strengths: (C_i + strength P) for the engine in `krylov`.

    The preconditioner is the system that tasks would have if they shared their mean C:
    M = I (x) C + strength P (x) I, diagonal in the eigenvectors Q of C, and in those of P where these
    are known. Where P is sparse they are not: a few Chebyshev steps [SS85]_ in P stand in for its inverse.

    Parameters
    ----------
    curvature : Curvature
        The data's part.
    penalty : Penalty
        P.
    strengths : ndarray of shape (s,)
        One for each system.

    Attributes
    ----------
    curvature, penalty, strengths
        As given.

    References
    ----------
    .. [SS85] Y. Saad. Practical use of polynomial preconditionings for the conjugate gradient method.
       SIAM Journal on Scientific and Statistical Computing 6, 865-881, 1985.
    """

    curvature: Curvature
    penalty: Penalty
    strengths: FloatArray

    @property
    def right(self) -> FloatArray:
        """The right-hand sides b_i, of shape (n, d, s)."""
        return np.repeat(self.curvature.B.T[:, :, None], len(self.strengths), axis=2)

    @property
    def least(self) -> FloatArray:
        """Proven lower bounds on the curvature, strength times the least eigenvalue of P, of shape (s,)."""
        return self.strengths * self.penalty.least

    @property
    def start(self) -> float:
        """F(0), the mean squares of the targets."""
        return float(self.curvature.s.sum())

    @property
    def route(self) -> str:
        """What the system is made of, in words."""
        side = f"sparse, met by {self.degree} Chebyshev steps" if self.penalty.sparse else "diagonalised"
        return f"{self.curvature.route}; P {side}"

    @property
    def dtype(self) -> Any:
        """The precision of the steps."""
        return self.curvature.dtype

    @cached_property
    def _basis(self) -> tuple[FloatArray, FloatArray | None]:
        c, Q = self.curvature.basis()
        return c, None if Q is None else Q.astype(self.dtype, copy=False)

    def apply(self, V: FloatArray) -> FloatArray:
        """The left-hand sides at V.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        HV = self.curvature.times(V)
        HV += self.strengths.astype(V.dtype) * self._along_tasks(V)
        return HV

    def residual(self, V: FloatArray) -> FloatArray:
        """b_i less the left-hand sides at V, in float64.

        Parameters
        ----------
        V : ndarray of shape (n, d, s)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        R = self.curvature.exactly(V)
        R += self.strengths * self._along_tasks(V)
        return self.right - R

    def precise(self) -> Normal | None:
        """The same systems in higher precision, if there is one.

        Returns
        -------
        Normal or None
        """
        curvature = self.curvature.precise()
        return None if curvature is None else replace(self, curvature=curvature)

    def precondition(self, R: FloatArray) -> FloatArray:
        """M^-1 R.

        Parameters
        ----------
        R : ndarray of shape (n, d, s)
            Residuals. Directions without curvature are left out.

        Returns
        -------
        ndarray of shape (n, d, s)
        """
        Q = self._basis[1]
        T = R if Q is None else _along_features(Q.T, R)
        if self.penalty.sparse:
            T = self._chebyshev(T)
        else:
            T = self.penalty.rotate(T.reshape(len(T), -1)).reshape(T.shape)
            T *= self._inverse
            T = self.penalty.rotate(T.reshape(len(T), -1), back=True).reshape(T.shape)
        return T if Q is None else _along_features(Q, T)

    def keep(self, running: NDArray[np.bool_]) -> Normal:
        """The systems of some strengths only.

        Parameters
        ----------
        running : ndarray of shape (s,)
            Which to keep.

        Returns
        -------
        Normal
        """
        kept = replace(self, strengths=self.strengths[running])
        kept.__dict__["_basis"] = self._basis
        if "_inverse" in self.__dict__:
            kept.__dict__["_inverse"] = np.ascontiguousarray(self._inverse[..., running])
        return kept

    @cached_property
    def _inverse(self) -> FloatArray:
        c = self._basis[0][:, None]
        p = self.penalty.eigenvalues[:, None, None]
        curvature = c + self.strengths * p
        flat = curvature <= 1e-14 * curvature.max(axis=(0, 1))
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=~flat)
        return inverse.astype(self.dtype, copy=False)

    @cached_property
    def _discs(self) -> tuple[FloatArray, FloatArray]:
        """Inverse centre and relative radius of the eigenvalues of c_k + strength P, of shape (d, s)."""
        c = self._basis[0][:, None]
        least, largest = self.strengths * self.penalty.least, self.strengths * self.penalty.largest
        centre = c + (least + largest) / 2
        flat = centre <= 1e-14 * centre.max(axis=0)
        inverse = np.divide(1.0, centre, out=np.zeros_like(centre), where=~flat)
        radius = (largest - least) / 2 * inverse
        return inverse.astype(self.dtype, copy=False), radius.astype(self.dtype, copy=False)

    @cached_property
    def degree(self) -> int:
        """How many Chebyshev steps leave at most 1 / `DAMPING` of an error."""
        radius = min(float(self._discs[1].max()), 1 - 1e-6)
        if radius <= 0:
            return 1
        return min(int(np.ceil(np.arccosh(DAMPING) / np.arccosh(1 / radius))), MOST_DEGREES)

    def _chebyshev(self, R: FloatArray) -> FloatArray:
        """Nearly (c_k + strength P)^-1 on every direction k: a fixed polynomial in P."""
        inverse, radius = self._discs
        c = self._basis[0][:, None].astype(self.dtype)
        strengths = self.strengths.astype(self.dtype)
        step = R * inverse
        V, R, weight = step.copy(), R.copy(), radius
        for _ in range(self.degree - 1):
            R -= c * step
            R -= strengths * self._along_tasks(step)
            grown = 2 - radius * weight
            weight, last = radius / grown, weight
            step *= weight * last
            step += (2 * inverse / grown) * R
            V += step
        return V

    def _along_tasks(self, V: FloatArray) -> FloatArray:
        return self.penalty.product(V.reshape(len(V), -1)).reshape(V.shape)


def _along_features(M: FloatArray, V: FloatArray) -> FloatArray:
    """M along the features; one vector a task makes one product of matrices."""
    return (V[:, :, 0] @ M.T)[:, :, None] if V.shape[-1] == 1 else np.matmul(M, V)


def rotated(moments: Moments, P: FloatArray, strength: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Half the Hessian and half the steepest descent at 0, in the eigenvectors U of P along the tasks, and U.

    There the penalty is diagonal, so that what the penalty does not see is not drowned by what it does: the
    curvature of features in small units survives beside a large strength.

    Parameters
    ----------
    moments : Moments
        The data's part.
    P : ndarray of shape (n, n)
        The penalty.
    strength : float
        Regularisation strength.

    Returns
    -------
    (ndarray of shape (dn, dn), ndarray of shape (dn,), ndarray of shape (n, n))
        The unknowns are the columns of W U one after another.
    """
    p, U = np.linalg.eigh(P)
    p = np.where(p <= len(p) * np.finfo(float).eps * p[-1], 0.0, p)
    n, d = len(moments), moments.n_features
    pairs = (U[:, :, None] * U[:, None, :]).reshape(n, n * n)
    H = (pairs.T @ moments.C.reshape(n, d * d)).reshape(n, n, d, d).transpose(0, 2, 1, 3).reshape(n * d, -1)
    H[np.diag_indices(n * d)] += strength * np.repeat(p, d)
    return H, (U.T @ moments.B.T).ravel(), U
