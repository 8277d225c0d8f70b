"""Proximal gradients: minimise a smooth part plus a penalty with edges, and certify the answer.

Notation: F is smooth and quadratic in W (d, n) with gradient G, and g is a convex penalty with edges. A norm
of W is the sum of its *sizes*, singular values or lengths of rows; its dual norm is the largest size,

.. code-block:: text

    |W|_*     = sum_k sigma_k(W),    g(W) = strength * |W|_*      or    strength * |W|_*^2
    |W|_{2,1} = sum_k |W_k:|,        g(W) = strength * |W|_{2,1}.

What is minimised is F(W) + g(W). Nothing here knows a task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray

CHECK_EVERY = 10
ROUNDING = 1e-14
SHORTEN, LENGTHEN = 1.6, 0.97

# The sizes that a norm adds up, and what puts W together again from other sizes.
Split = tuple[FloatArray, Callable[[FloatArray], FloatArray]]


class LeastSquares(Protocol):
    """A smooth part that is a sum of squares of affine functions of W."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""

    def measure(self, W: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient at W."""

    def lipschitz(self) -> float:
        """A bound on the curvature."""


@dataclass(frozen=True, eq=False)
class Certified:
    """A minimiser with a proof of how good it is.

    Attributes
    ----------
    W : ndarray of shape (d, n)
        The parameters found.
    values : ndarray of shape (n_iterations + 1,)
        The objective at the start and after each iteration.
    gap : float
        The last value lies at most so far above the minimum: it is the difference to a value of the dual
        problem, in the units of the objective.
    converged : bool
        Whether the gap meets the tolerance.
    n_iterations : int
        How many steps were taken.
    message : str
        What happened, and what to do if it was not enough.
    """

    W: FloatArray
    values: FloatArray
    gap: float
    converged: bool
    n_iterations: int
    message: str

    def __post_init__(self) -> None:
        for field in ("W", "values"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))


def singular_values(W: FloatArray) -> Split:
    """The sizes of the nuclear norm: ``W = sum_k sigma_k u_k v_k^T``, a sum of outer products.

    Parameters
    ----------
    W : ndarray of shape (d, n)
        Parameters.

    Returns
    -------
    (ndarray of shape (k,), callable)
        The singular values, the largest first, and what rebuilds W from others.
    """
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    return sigma, lambda sizes: (U * sizes) @ Vt


def row_lengths(W: FloatArray) -> Split:
    """The sizes of the norm ``|W|_{2,1}``: the lengths of the rows, one a feature.

    Parameters
    ----------
    W : ndarray of shape (d, n)
        Parameters.

    Returns
    -------
    (ndarray of shape (d,), callable)
        The lengths, and what rebuilds W from others.
    """
    lengths = np.linalg.norm(W, axis=1)
    directions = np.divide(W, lengths[:, None], out=np.zeros_like(W), where=lengths[:, None] > 0)
    return lengths, lambda sizes: directions * sizes[:, None]


@dataclass(frozen=True)
class NormPenalty:
    """Penalty made of a norm: ``g(W) = strength * |W|``, or ``strength * |W|^2`` if `squared`.

    Parameters
    ----------
    split : callable
        Gives the sizes that the norm adds up: :func:`singular_values` or :func:`row_lengths`.
    strength : float
        Above zero.
    squared : bool
        Whether the norm is squared.
    """

    split: Callable[[FloatArray], Split]
    strength: float
    squared: bool = False

    def charge(self, sizes: FloatArray) -> float:
        """g(W), from the sizes of W.

        Parameters
        ----------
        sizes : ndarray of shape (k,)
            Singular values, or lengths of rows.

        Returns
        -------
        float
        """
        return self.strength * float(sizes.sum()) ** (2 if self.squared else 1)

    def prox(self, W: FloatArray, step: float) -> tuple[FloatArray, float]:
        """The V that minimises ``|V - W|_F^2 / (2 step) + g(V)``, and g(V).

        V differs from W in its sizes alone. All are lowered by one threshold and stop at zero: by strength *
        step, or, if the norm is squared, as :func:`shrink_squared_sum` says.

        Parameters
        ----------
        W : ndarray of shape (d, n)
            Where to start.
        step : float
            How far g may pull.

        Returns
        -------
        (ndarray of shape (d, n), float)
        """
        sizes, rebuild = self.split(W)
        pull = self.strength * step
        lowered = _shrink(sizes, pull) if self.squared else np.maximum(sizes - pull, 0.0)
        return rebuild(lowered), self.charge(lowered)

    def gap(self, price: float, F: float, slope: float, G: FloatArray) -> float:
        """A bound on how far F(W) + g(W) lies above its minimum, from a point of the dual problem.

        For every a, the minimum is at least ``F - F (1 - a)^2 - a <G, W> - g*(-a G)``. The conjugate g* is
        zero up to the dual norm `strength` and infinite beyond; if the norm is squared, it is the square
        of the dual norm divided by 4 strength. The best a is taken.

        Parameters
        ----------
        price : float
            g(W).
        F : float
            F(W).
        slope : float
            ``<G, W>``.
        G : ndarray of shape (d, n)
            Gradient of F at W.

        Returns
        -------
        float
        """
        largest = float(self.split(G)[0].max())
        if self.squared:
            conjugate = largest**2 / (4 * self.strength)
            a = (F - slope / 2) / (F + conjugate) if F + conjugate > 0 else 1.0
        else:
            conjugate = 0.0
            a = 1 - slope / (2 * F) if F > 0 else 1.0
            reach = self.strength / largest if largest > 0 else abs(a)
            a = max(-reach, min(a, reach))
        return F * (1 - a) ** 2 + a * slope + price + a**2 * conjugate


def shrink_squared_sum(sizes: ArrayLike, weight: float) -> FloatArray:
    """The x of at least zero that minimises ``|x - sizes|^2 / 2 + weight * (sum_k x_k)^2``.

    All sizes are lowered by one threshold, ``2 weight sum(x)``, and stop at zero. If the r largest stay above
    it, their sum is ``(size_1 + ... + size_r) / (1 + 2 weight r)``; r is found by sorting.

    Parameters
    ----------
    sizes : array of shape (k,)
        Numbers of at least zero, in any order.
    weight : float
        At least zero.

    Returns
    -------
    ndarray of shape (k,)

    Raises
    ------
    ValueError
        If a size or the weight is negative or not finite.
    """
    start = checks.array(sizes, "sizes", ("k",))
    if start.min() < 0:
        checks.fail("sizes", "numbers of at least zero", f"{start.min():g}", "Pass singular values.")
    return _shrink(start, checks.number(weight, "weight", at_least=0.0))


def _shrink(start: FloatArray, c: float) -> FloatArray:
    ordered = np.sort(start)[::-1]
    thresholds = 2 * c * np.cumsum(ordered) / (1 + 2 * c * np.arange(1, len(ordered) + 1))
    above = int(np.sum(ordered > thresholds))
    return np.maximum(start - thresholds[max(above, 1) - 1], 0.0)


def proximal_gradient(
    F: LeastSquares, g: NormPenalty, W0: ArrayLike | None = None, *, tolerance: float, max_iterations: int
) -> Certified:
    """Minimise F + g by steps against the gradient of F, each followed by the prox of g.

    With momentum [BT09]_, restarted whenever it points uphill [ODC15]_, and with steps that grow while the
    curvature met on the way allows it. It stops by the gap, which it looks at every
    `CHECK_EVERY` steps.

    Parameters
    ----------
    F : LeastSquares
        The smooth part.
    g : NormPenalty
        The part with edges.
    W0 : array of shape (d, n), optional
        Where to start; zero by default, or if zero is better. It is not changed.
    tolerance : float
        Stop once the gap is at most `tolerance` times the value.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    Certified

    Raises
    ------
    ValueError
        If W0 has another shape or is not finite, or an option is out of range.

    References
    ----------
    .. [BT09] A. Beck, M. Teboulle. A fast iterative shrinkage-thresholding algorithm for linear inverse
       problems. SIAM Journal on Imaging Sciences 2, 183-202, 2009.
    .. [ODC15] B. O'Donoghue, E. Candes. Adaptive restart for accelerated gradient schemes. Foundations of
       Computational Mathematics 15, 715-732, 2015.
    """
    target = checks.number(tolerance, "tolerance", above=0.0)
    most = checks.count(max_iterations, "max_iterations", at_least=0)
    V, value, G, price = _start(F, g, W0)
    scale = F.measure(np.zeros(F.shape))[0]
    values = [value + price]
    limit = curve = F.lipschitz()
    ahead, G_ahead, momentum = V, G, 1.0
    while True:
        steps = len(values) - 1
        if steps % CHECK_EVERY == 0 or steps == most:
            gap = max(g.gap(price, value, float(np.sum(V * G)), G), 0.0)
            if gap <= target * values[-1] + ROUNDING * scale or steps == most:
                break
        while True:
            V_next, price = g.prox(ahead - G_ahead / curve, 1 / curve)
            value, G_next = F.measure(V_next)
            moved = V_next - ahead
            if curve >= limit or np.sum(moved * (G_next - G_ahead)) <= curve * np.sum(moved**2):
                break
            curve *= SHORTEN
        uphill = np.sum((ahead - V_next) * (V_next - V)) > 0
        momentum, last = (1.0, 1.0) if uphill else ((1 + np.sqrt(1 + 4 * momentum**2)) / 2, momentum)
        push = (last - 1) / momentum
        # F is quadratic, so its gradient at the point ahead needs no second pass over the data.
        ahead, G_ahead = V_next + push * (V_next - V), G_next + push * (G_next - G)
        V, G, curve = V_next, G_next, LENGTHEN * curve
        values.append(value + price)
    return certified(V, values, gap, target, scale, "proximal gradient")


def certified(
    W: FloatArray, values: list[float], gap: float, tolerance: float, scale: float, route: str
) -> Certified:
    """The result, judged: the gap against the tolerance, and against the rounding of numbers like `scale`.

    Parameters
    ----------
    W : ndarray of shape (d, n)
        The parameters found.
    values : list of float
        The objective at the start and after each iteration.
    gap : float
        A bound on the distance of the last value to the minimum.
    tolerance : float
        What part of the value the gap may be.
    scale : float
        The objective at zero.
    route : str
        How W was found.

    Returns
    -------
    Certified
    """
    steps = len(values) - 1
    converged = gap <= tolerance * values[-1] + ROUNDING * scale
    relative = gap / values[-1] if values[-1] > 0 else 0.0
    message = f"{route}: within {relative:.1e} of the minimum after {steps} steps"
    if not converged:
        message += f", above the tolerance {tolerance:g}. Allow more steps, loosen it, or scale the features."
    return Certified(W, np.array(values), gap, bool(converged), steps, message)


def _start(
    F: LeastSquares, g: NormPenalty, W0: ArrayLike | None
) -> tuple[FloatArray, float, FloatArray, float]:
    """The start with F, its gradient and g there: a start that is worse than zero is no help."""
    zero = np.zeros(F.shape)
    value, G = F.measure(zero)
    if W0 is not None:
        V = checks.array(W0, "W0", F.shape).copy()
        with np.errstate(over="ignore", invalid="ignore"):
            there, slope = F.measure(V)
        # An overflow is not handed on to the singular values.
        price = g.charge(g.split(V)[0]) if there <= value else np.inf
        if there + price <= value:
            return V, there, slope, price
    return zero, value, G, 0.0
