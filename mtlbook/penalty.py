"""Penalty: a checked P, with products and bounds on its eigenvalues that its zeros make cheap.

Notation: P (n, n) is symmetric positive semidefinite, p its eigenvalues, U its eigenvectors.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import checks
from mtlbook.checks import FloatArray

Indices = NDArray[np.signedinteger[Any]]
SPARSE_FROM = 200
SPARSE_SHARE = 1 / 16
NARROW = 64
PROBES = 60


class Penalty:
    """A symmetric positive semidefinite P.

    From `SPARSE_FROM` tasks on, a P with at most `SPARSE_SHARE` of its entries filled is kept by its entries
    alone, and shown to be semidefinite by diagonal dominance, or else by its Cholesky factor: no eigenvalue
    is computed, which would cost n^3. Any other P is decomposed once.

    Parameters
    ----------
    P : array of shape (n, n)
        What is charged: tr(W P W^T).
    n : int
        The number of tasks.

    Attributes
    ----------
    n : int
        The number of tasks.
    sparse : bool
        Whether P is kept by its entries alone.
    least, largest : float
        Bounds on the eigenvalues of P from below and above; exact but for rounding where P is not sparse.

    Raises
    ------
    ValueError
        If P is not symmetric positive semidefinite of size n; the sentence names its least eigenvalue.

    Warns
    -----
    UserWarning
        If no entry off the diagonal is negative and some are positive: that is a similarity, and as a
        penalty it drives related tasks apart.
    """

    def __init__(self, P: ArrayLike, n: int) -> None:
        M = checks.array(P, "P", (n, n))
        self.n = n
        entries = _entries(M) if n >= SPARSE_FROM else None
        self.sparse = entries is not None
        if entries is None:
            self.P = checks.frozen(checks.symmetric(M, "P"))
            p, U = np.linalg.eigh(self.P)
            if p[0] < -checks.DEFINITENESS_TOLERANCE * np.abs(p).max():
                checks.semidefinite(M, "P")
            flat = p <= n * np.finfo(float).eps * p[-1]
            self.eigenvalues, self.eigenvectors = np.where(flat, 0.0, p), U
            self.least, self.largest = float(self.eigenvalues[0]), float(max(p[-1], 0.0))
            off = self.P - np.diag(np.diag(self.P))
        else:
            rows, columns, off = entries
            self._where, self._filled = _padded(rows, columns, off, n)
            bounds = _dominance(rows, columns, off, n)
            if bounds is None:
                checks.semidefinite(M, "P")
                bounds = 0.0, float(np.bincount(rows, np.abs(off), n).max())
            self.least, self.largest = bounds
            off = off[rows != columns]
        _warn_of_similarity(off, self.largest)

    @cached_property
    def P(self) -> FloatArray:
        """The matrix itself, of shape (n, n)."""
        P = np.zeros((self.n, self.n))
        # Padding points at the diagonal with nothing to add.
        np.add.at(P, (np.arange(self.n)[:, None], self._where), self._filled)
        return checks.frozen(P)

    def product(self, V: FloatArray) -> FloatArray:
        """P V.

        Parameters
        ----------
        V : ndarray of shape (n, width)
            One row a task; its precision is that of the product.

        Returns
        -------
        ndarray of shape (n, width)
        """
        if not self.sparse:
            return self._cast("P", V.dtype) @ V
        filled = self._cast("_filled", V.dtype)[:, None, :]
        # Gathered rows of a narrow block stay in cache.
        blocks = [V[:, k : k + NARROW] for k in range(0, V.shape[1], NARROW)]
        return np.concatenate([np.matmul(filled, block[self._where])[:, 0] for block in blocks], axis=1)

    def rotate(self, V: FloatArray, *, back: bool = False) -> FloatArray:
        """U^T V, or U V on the way back; only where P is not sparse.

        Parameters
        ----------
        V : ndarray of shape (n, width)
            One row a task; its precision is that of the product.
        back : bool
            Which way.

        Returns
        -------
        ndarray of shape (n, width)
        """
        U = self._cast("eigenvectors", V.dtype)
        return U @ V if back else U.T @ V

    def _cast(self, field: str, dtype: Any) -> FloatArray:
        """An array of this penalty in another precision, made once."""
        name = f"{field} {dtype}"
        if name not in self.__dict__:
            self.__dict__[name] = getattr(self, field).astype(dtype, copy=False)
        return np.asarray(self.__dict__[name])


def _entries(M: FloatArray) -> tuple[Indices, Indices, FloatArray] | None:
    """Rows, columns and values of what is not zero, if that is little and exactly symmetric."""
    n = len(M)
    filled = M != 0
    if np.count_nonzero(filled) > SPARSE_SHARE * n * n:
        return None
    rows, columns = np.divmod(np.flatnonzero(filled), n)
    values: FloatArray = np.asarray(M[rows, columns], dtype=np.float64)
    return (rows, columns, values) if np.array_equal(values, M[columns, rows]) else None


def _padded(rows: Indices, columns: Indices, values: FloatArray, n: int) -> tuple[Indices, FloatArray]:
    """For each task the tasks it meets and the entries, in arrays as wide as the fullest row."""
    degrees = np.bincount(rows, minlength=n)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    where = np.repeat(np.arange(n)[:, None], max(degrees.max(initial=0), 1), axis=1)
    filled = np.zeros(where.shape)
    where[rows, place], filled[rows, place] = columns, values
    return where, filled


def _dominance(rows: Indices, columns: Indices, values: FloatArray, n: int) -> tuple[float, float] | None:
    """Bounds on the eigenvalues of P, if some positive v shows P to be dominated by its diagonal.

    Let K have the diagonal of P and minus the absolute values of the rest. Where K v >= 0 for a v > 0, the
    rows of P, scaled by v, are dominated by their diagonal, and Gershgorin's discs give
    min_i (K v)_i / v_i <= p <= max_i (|P| v)_i / v_i. Candidates for v: all ones, and K^-1 1 by a few steps
    of conjugate gradients, which is positive if K is definite.
    """
    size = np.abs(values)
    comparison = np.where(rows == columns, values, -size)

    def by(entries: FloatArray, v: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(rows, entries * v[columns], n), dtype=np.float64)

    def bounds(v: FloatArray, Kv: FloatArray) -> tuple[float, float] | None:
        least, largest = float((Kv / v).min()), float((by(size, v) / v).max())
        return (max(least, 0.0), largest) if least >= -1e-14 * largest else None

    v = np.ones(n)
    Kv = by(comparison, v)
    found = bounds(v, Kv)
    if found:
        return found
    v, r = np.zeros(n), np.ones(n)
    q, rho = r, float(n)
    for _ in range(PROBES):
        Kq = by(comparison, q)
        curvature = float(q @ Kq)
        if curvature <= 0:
            return None
        v, r = v + rho / curvature * q, r - rho / curvature * Kq
        if np.abs(r).max() < 0.3:
            return bounds(v, by(comparison, v)) if v.min() > 0 else None
        rho, last = float(r @ r), rho
        q = r + rho / last * q
    return None


def _warn_of_similarity(off: FloatArray, scale: float) -> None:
    """Warn where entries off the diagonal are those of a similarity."""
    noise = 1e-12 * scale
    if off.max(initial=0.0) > noise and off.min() >= -noise:
        warnings.warn(
            "P: no entry off the diagonal is negative and some are positive, as in a similarity. tr(W P W^T)"
            " then charges related tasks for agreeing and drives them apart. To draw them together, turn the"
            " similarity into a penalty with mtlbook.relations.laplacian or precision.",
            UserWarning,
            stacklevel=4,
        )
