"""Streams: relations and data that change. Every update gives a new state; the old one stays as it was.

Notation: eta is the rate of forgetting, in [0, 1). What came `age` updates ago weighs (1 - eta)^age, so that
half is forgotten after log(1/2) / log(1 - eta) updates.

.. code-block:: text

    A_t = (1 - eta) A_{t-1} + eta z z^T          the relation: a step of length eta towards z z^T
    m_t = (1 - eta) m_{t-1} + rows that came     the moments: C and b are means with these weights
    W_t = argmin F_t, sought from W_{t-1}        the weights
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments
from mtlbook.objectives import TraceRegularized
from mtlbook.relations import precision
from mtlbook.solvers import DENSE_LIMIT, Result, gradient_descent, solve
from mtlbook.tasks import Tasks

DRIFTED = 1e-9
REFIT_TOLERANCE = 1e-8
REFIT_STEPS = 2000
_END: Any = object()


def half_life(rate: float) -> float:
    """Number of updates after which half is forgotten, ``log(1/2) / log(1 - rate)``.

    Parameters
    ----------
    rate : float
        Rate of forgetting eta, at least zero and below one.

    Returns
    -------
    float
        Infinite if the rate is zero: nothing is forgotten.

    Raises
    ------
    ValueError
        If the rate is out of range.
    """
    eta = _rate(rate)
    return float("inf") if eta == 0 else float(np.log(0.5) / np.log1p(-eta))


def rate_of(life: float) -> float:
    """Rate of forgetting that forgets half in `life` updates, ``1 - 2^(-1 / life)``.

    Parameters
    ----------
    life : float
        Half-life in updates, above zero.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `life` is not above zero, or so short that all is forgotten at once.
    """
    eta = float(-np.expm1(-np.log(2) / checks.number(life, "life", above=0.0)))
    if eta >= 1:
        checks.fail("life", "a half-life that leaves something", repr(life), "Choose a longer one.")
    return eta


# The relation -----------------------------------------------------------------


@dataclass(frozen=True, eq=False, init=False, repr=False)
class MovingRelation:
    """A similarity that follows a stream of outer products, with its penalty kept in step.

    ``A_t = (1 - eta) A_{t-1} + eta z z^T`` for a vector z with one number a task, and
    ``P_t = (A_t + diag(ridge_t))^{-1}`` by the formula of Sherman and Morrison [SM50]_, which costs of the
    order of n^2 and not n^3 operations. Shrinking A shrinks the ridge with it, and an inverse without a ridge
    is lost; so each update also fills the ridge of one task up to eps, in turn, by a second outer product
    along e_k. P is computed afresh where rounding has carried it away, or a ridge has fallen below eps / 2
    since its turn comes too late: both are rare as long as eta is below log(2) / n.

    Parameters
    ----------
    A : array of shape (n, n)
        Symmetric positive semidefinite similarity to start from; zeros if nothing is known.
    eps : float
        Ridge, above zero.

    Attributes
    ----------
    A, P : ndarrays of shape (n, n)
        Similarity and penalty; both symmetric to the last bit.
    ridge : ndarray of shape (n,)
        What stands on the diagonal beside A, from eps / 2 to eps.
    eps : float
        What the ridge is filled up to.
    turn : int
        The task whose ridge is filled next.
    residual : float
        Largest entry of ``(A + diag(ridge)) P u - u`` for a probing vector u of ones and minus ones: how far
        rounding has carried P.
    anchors : int
        How often P was computed afresh, since the residual had passed `DRIFTED` or a ridge eps / 2.

    Raises
    ------
    ValueError
        If A is not symmetric positive semidefinite or eps is not above zero.

    References
    ----------
    .. [SM50] J. Sherman, W. J. Morrison. Adjustment of an inverse matrix corresponding to a change in one
       element of a given matrix. Annals of Mathematical Statistics 21, 124-127, 1950.
    """

    A: FloatArray
    P: FloatArray
    ridge: FloatArray
    eps: float
    turn: int
    residual: float
    anchors: int

    def __init__(self, A: ArrayLike, eps: float) -> None:
        clean = checks.symmetric(A, "A")
        top = checks.number(eps, "eps", above=0.0)
        ridge = np.full(len(clean), top)
        _set(self, A=clean, P=precision(clean, top), ridge=ridge, eps=top, turn=0, anchors=0)

    def __repr__(self) -> str:
        return f"MovingRelation({len(self.A)} tasks, residual {self.residual:.0e}, {self.anchors} anchors)"

    def update(self, z: ArrayLike, rate: float) -> MovingRelation:
        """The relation after one more outer product.

        Parameters
        ----------
        z : array of shape (n,)
            What came: one number a task.
        rate : float
            Rate of forgetting eta, at least zero and below one; zero changes nothing.

        Returns
        -------
        MovingRelation

        Raises
        ------
        ValueError
            If z has another length or is not finite, or the rate is out of range.
        """
        n, eta = len(self.A), _rate(rate)
        came = checks.array(z, "z", (n,))
        if eta == 0:
            return self
        unit, ridge = np.eye(n)[self.turn], (1 - eta) * self.ridge
        filled, ridge[self.turn] = self.eps - ridge[self.turn], self.eps
        new: MovingRelation = object.__new__(MovingRelation)
        # What overflows is refused by name when it is anchored.
        with np.errstate(over="ignore", invalid="ignore"):
            A = (1 - eta) * self.A + eta * np.outer(came, came)
            P = _plus_outer(_plus_outer(self.P / (1 - eta), came, eta), unit, filled)
            _set(new, A=A, P=P, ridge=ridge, eps=self.eps, turn=(self.turn + 1) % n, anchors=self.anchors)
        kept = new.residual <= DRIFTED and 2 * ridge.min() >= self.eps
        return new if kept else new.anchored()

    def anchored(self) -> MovingRelation:
        """The same relation with its ridge filled up and its penalty computed afresh, in n^3 operations.

        Returns
        -------
        MovingRelation
            With P = (A + eps I)^{-1}.
        """
        new: MovingRelation = object.__new__(MovingRelation)
        P, ridge = precision(self.A, self.eps), np.full(len(self.A), self.eps)
        _set(new, A=self.A, P=P, ridge=ridge, eps=self.eps, turn=self.turn, anchors=self.anchors + 1)
        return new


def _plus_outer(P: FloatArray, z: FloatArray, weight: float) -> FloatArray:
    """The inverse of P^{-1} + weight z z^T."""
    g = P @ z
    return P - np.outer(g, g) * (weight / (1 + weight * float(z @ g)))


def _set(state: MovingRelation, **fields: FloatArray | float) -> None:
    """Write the fields of a new state, and measure how far rounding has carried it."""
    for name, value in fields.items():
        object.__setattr__(state, name, checks.frozen(value) if isinstance(value, np.ndarray) else value)
    u = np.where(np.arange(len(state.A)) % 2, -1.0, 1.0)
    g = state.P @ u
    object.__setattr__(state, "residual", float(np.abs(state.A @ g + state.ridge * g - u).max()))


# The data ---------------------------------------------------------------------


def forget(moments: Moments, rate: float) -> Moments:
    """Moments whose rows weigh (1 - rate) times what they did.

    Means stay; the numbers of rows shrink. New rows added to the result count in full, so that
    ``forget(old, rate) + new`` is an exponentially weighted mean of outer products.

    Parameters
    ----------
    moments : Moments
        What was known.
    rate : float
        Rate of forgetting eta, at least zero and below one.

    Returns
    -------
    Moments
        `m` is now the effective number of rows.

    Raises
    ------
    TypeError
        If `moments` is not a Moments.
    ValueError
        If the rate is out of range.
    """
    known = checks.instance(moments, Moments, "moments", "Build it with Moments.from_tasks(tasks).")
    return replace(known, m=(1 - _rate(rate)) * known.m)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Stream:
    """A multi-task model that forgets: moments of the rows so far, and the weights that fit them.

    Each update forgets, adds the rows that came, and finds the new minimiser: exactly while the system is
    small, and by accelerated descent from the last W when it is large. Where descent does not arrive,
    :func:`mtlbook.solvers.solve` finishes.

    Parameters
    ----------
    tasks : Tasks or Moments
        The first rows, of every task.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero.
    rate : float
        Rate of forgetting eta, at least zero and below one.

    Attributes
    ----------
    moments : Moments
        Of the rows so far, exponentially weighted.
    P : ndarray of shape (n, n)
        The penalty in force.
    strength, rate : float
        As given.
    result : Result
        The last fit.

    Raises
    ------
    TypeError
        If `tasks` is neither Tasks nor Moments.
    ValueError
        If P does not fit, or strength or rate are out of range.
    """

    moments: Moments
    P: FloatArray
    strength: float
    rate: float
    result: Result

    def __init__(self, tasks: Tasks | Moments, P: ArrayLike, strength: float, rate: float) -> None:
        F = TraceRegularized(tasks, P, strength)
        self._hold(F, _rate(rate), solve(F))

    def __repr__(self) -> str:
        life = half_life(self.rate)
        return f"Stream({len(self.moments)} tasks, half-life {life:.3g} updates, {self.result.message})"

    @property
    def W(self) -> FloatArray:
        """The weights in force, of shape (d, n)."""
        return self.result.W

    def update(self, tasks: Tasks | Moments, P: ArrayLike | None = None) -> Stream:
        """The model after more rows.

        Parameters
        ----------
        tasks : Tasks or Moments
            The rows that came, of every task.
        P : array of shape (n, n), optional
            A new penalty; the one in force by default.

        Returns
        -------
        Stream

        Raises
        ------
        TypeError
            If `tasks` is neither Tasks nor Moments.
        ValueError
            If the rows belong to other tasks, or P does not fit.
        """
        came = tasks if isinstance(tasks, Moments) else Moments.from_tasks(tasks)
        moments = forget(self.moments, self.rate) + came
        F = TraceRegularized(moments, self.P if P is None else P, self.strength)
        new: Stream = object.__new__(Stream)
        new._hold(F, self.rate, _refit(F, self.W))
        return new

    def _hold(self, F: TraceRegularized, rate: float, result: Result) -> None:
        fields = {"moments": F.moments, "P": F.P, "strength": F.strength, "rate": rate, "result": result}
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def _refit(F: TraceRegularized, W: FloatArray) -> Result:
    """The minimiser of F; W, where the last one was, saves descent a part of its way."""
    if W.size <= DENSE_LIMIT:
        return solve(F)
    result = gradient_descent(F, W, accelerated=True, tolerance=REFIT_TOLERANCE, max_iterations=REFIT_STEPS)
    return result if result.converged else solve(F)


# Judging by the past alone ----------------------------------------------------


def prequential(
    stream: Stream, chunks: Iterable[Tasks], penalties: Iterable[ArrayLike] | None = None
) -> FloatArray:
    """Errors of predictions each made before the rows were learned: predict, then learn [D84]_.

    Parameters
    ----------
    stream : Stream
        The model before the first chunk.
    chunks : iterable of Tasks
        Rows of every task in the order in which they came.
    penalties : iterable of arrays of shape (n, n), optional
        For each chunk the penalty that comes into force when the chunk is learned; by default the stream's
        own stays. It may use what is known by then, and nothing later.

    Returns
    -------
    ndarray of shape (chunks, n)
        Mean squared error of each task on each chunk, by the weights in force before it.

    Raises
    ------
    TypeError
        If `stream` is not a Stream, or a chunk is not a Tasks.
    ValueError
        If there is no chunk, chunks hold other tasks, or there is not one penalty for each chunk.

    References
    ----------
    .. [D84] A. P. Dawid. Statistical theory: the prequential approach. Journal of the Royal Statistical
       Society A 147, 278-292, 1984.
    """
    state, errors = checks.instance(stream, Stream, "stream", "Build it with Stream(tasks, ...)."), []
    new = repeat(None) if penalties is None else iter(penalties)
    for chunk in chunks:
        rows = checks.instance(chunk, Tasks, "chunk", "Build it with Tasks(X, y).")
        errors.append([np.mean((X @ w - y) ** 2) for (X, y), w in zip(rows, state.W.T, strict=True)])
        P = next(new, _END)
        if P is _END:
            checks.fail("penalties", "one for each chunk", f"{len(errors) - 1}", "Pair them up.")
        state = state.update(rows, P)
    if not errors:
        checks.fail("chunks", "at least one Tasks", "none", "Check that the source holds rows.")
    if penalties is not None and next(new, _END) is not _END:
        checks.fail("penalties", f"{len(errors)}, one for each chunk", "more", "Pair them up.")
    return np.array(errors)


def follow_the_leader(errors: ArrayLike) -> np.ndarray:
    """At each time the candidate whose errors so far are least, by the past alone.

    Choice t uses errors of times before t only; the first choice, which has no past, is candidate 0. Of
    candidates that tie, the first.

    Parameters
    ----------
    errors : array of shape (candidates, times)
        Error of each candidate at each time.

    Returns
    -------
    ndarray of shape (times,)
        Indices of candidates.

    Raises
    ------
    ValueError
        If errors are not a finite matrix.
    """
    past = np.cumsum(checks.array(errors, "errors", ("candidates", "times")), axis=1)
    return np.concatenate([[0], past[:, :-1].argmin(axis=0)])


def _rate(value: float) -> float:
    eta = checks.number(value, "rate", at_least=0.0)
    if eta >= 1:
        remedy = "At 1 all of the past is forgotten: choose less."
        checks.fail("rate", "a number of at least 0 and below 1", f"{eta:g}", remedy)
    return eta
