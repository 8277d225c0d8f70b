"""Newton's method for smooth objectives: few steps, each a linear system solved by conjugate gradients.

It knows no task and no loss. An objective F offers ``shape``, ``expand(W)`` and ``excess(G)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.solvers import Result

LOOSE = 0.1
SHARE = 1e-4
HALVINGS = 60
ROUNDING = 1e-14
SETTLED = 0.01
PATIENCE = 6
INNER = 500


class Local(Protocol):
    """An objective around one W, to second order."""

    @property
    def value(self) -> float:
        """F(W); infinite where F has no value."""

    @property
    def gradient(self) -> FloatArray:
        """Gradient of F at W."""

    def product(self, V: FloatArray) -> FloatArray:
        """The Hessian of F at W times V."""

    def preconditioner(self) -> Callable[[FloatArray], FloatArray]:
        """An approximate inverse of that Hessian."""


class Smooth(Protocol):
    """What Newton's method asks of an objective."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""

    def expand(self, W: FloatArray) -> Local:
        """F around W."""

    def excess(self, G: FloatArray) -> float:
        """A bound on F(W) less its least value, if G is the gradient at W; infinite where unknown."""


def newton(
    F: Smooth, *, W: ArrayLike | None = None, tolerance: float = 1e-8, max_iterations: int = 100
) -> Result:
    """The minimiser of a smooth convex F, by damped Newton steps.

    Each step D solves H D = -gradient by preconditioned conjugate gradients, roughly at first and ever more
    exactly near the end [DES82]_, and is halved until F falls by enough. So F falls from any start, and
    near the minimiser each step multiplies the number of right digits. Where F is lower at zero
    than at the start, zero is the first step.

    Parameters
    ----------
    F : Smooth
        What to minimise.
    W : array of shape (d, n), optional
        Where to start; zero by default. It is not changed.
    tolerance : float
        Stop once the gradient norm is at most `tolerance` times its norm at W = 0, or, where that is zero,
        at the start, and the steps have become small beside W.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    Result
        Where F knows a bound on its excess over the least value, `message` gives it. If F has no minimiser,
        as for separable classes that no penalty holds, the steps do not become small: `message` says so.

    Raises
    ------
    ValueError
        If W has another shape or is not finite, F is not finite there, or an option is out of range.

    References
    ----------
    .. [DES82] R. S. Dembo, S. C. Eisenstat, T. Steihaug. Inexact Newton methods. SIAM Journal on Numerical
       Analysis 19, 400-408, 1982.
    """
    V = np.zeros(F.shape) if W is None else checks.array(W, "W", F.shape).copy()
    target = checks.number(tolerance, "tolerance", above=0.0)
    most = checks.count(max_iterations, "max_iterations", at_least=0)
    here = F.expand(V)
    if not (np.isfinite(here.value) and np.isfinite(here.gradient).all()):
        checks.fail(
            "W", "a start where F is finite", f"{here.value:g}", "Start at zero, or scale the features."
        )
    zero = F.expand(np.zeros(F.shape)) if V.any() else here
    values, norms, moves = [here.value], [_norm(here.gradient)], [1.0]
    scale = _norm(zero.gradient) or norms[0]
    waited = 0
    while norms[-1] > 0 and len(norms) <= most and waited < PATIENCE:
        small = norms[-1] <= target * scale
        if small and moves[-1] <= SETTLED:
            break
        waited += small
        if zero.value < here.value:
            V_next, ahead = np.zeros(F.shape), zero
        else:
            exactness = max(min(LOOSE, norms[-1] / scale), LOOSE * target * scale / norms[-1])
            V_next, ahead = _lower(F, V, here, _direction(here, min(exactness, LOOSE)))
        moves.append(_norm(V_next - V) / (_norm(V_next) or 1.0))
        if ahead is here:
            break
        V, here = V_next, ahead
        values.append(here.value)
        norms.append(_norm(here.gradient))
    settled = norms[-1] == 0 or moves[-1] <= SETTLED
    message = _message(len(norms) - 1, norms[-1] / (scale or 1.0), F.excess(here.gradient), settled, target)
    converged = bool(norms[-1] <= target * scale and settled)
    return Result(V, np.array(values), np.array(norms), converged, len(norms) - 1, message)


def _direction(here: Local, exactness: float) -> FloatArray:
    """The Newton step, by conjugate gradients until the residual has shrunk to `exactness`.

    The preconditioner measures the residual, so that units of features matter little.
    """
    precondition = here.preconditioner()
    R = -here.gradient
    S = V = precondition(R)
    D = np.zeros_like(R)
    first = rho = float(np.sum(R * S))
    for _ in range(INNER):
        HV = here.product(V)
        curvature = float(np.sum(V * HV))
        if not curvature > 0:
            break
        D, R = D + rho / curvature * V, R - rho / curvature * HV
        S = precondition(R)
        rho, last = float(np.sum(R * S)), rho
        if rho <= exactness**2 * first:
            break
        V = S + rho / last * V
    return D if D.any() else S


def _lower(F: Smooth, W: FloatArray, here: Local, D: FloatArray) -> tuple[FloatArray, Local]:
    """The first of W + D, W + D/2, W + D/4, ... where F is lower by a share of what the slope promises.

    Where rounding hides any fall, W as it was.
    """
    promise = SHARE * float(np.sum(here.gradient * D))
    noise = ROUNDING * abs(here.value)
    for halvings in range(HALVINGS):
        step = 0.5**halvings
        ahead = F.expand(W + step * D)
        if ahead.value <= here.value + step * promise + noise:
            return W + step * D, ahead
    return W, here


def _message(steps: int, relative: float, excess: float, settled: bool, tolerance: float) -> str:
    message = f"Newton's method: relative gradient {relative:.1e} after {steps} steps"
    if np.isfinite(excess):
        message += f", F at most {excess:.1e} above its least value"
    if relative > tolerance:
        remedy = "Allow more steps, loosen it, or scale the features."
        message += f", above the tolerance {tolerance:g}. {remedy}"
    elif not settled:
        remedy = "Choose a strength above zero and a definite P, such as P + 0.01 * independent(n)."
        message += (
            ", yet the steps do not become small: F falls for ever and has no minimiser, as where classes"
        )
        message += f" are separable or counts all zero. {remedy}"
    return message


def _norm(G: FloatArray) -> float:
    return float(np.linalg.norm(G))
