"""Solvers: gradient descent, which teaches, and solve, which is exact.

They know no task. An objective F offers ``shape``, ``value(W)``, ``gradient(W)`` and ``lipschitz()``;
``solve`` asks for a quadratic F and its ``hessian()`` or ``preconditioner()`` besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray

DENSE_LIMIT = 500
DIVERGED = 1e6
ROUNDING = 1e-15
SAFE_PIVOT = 1e-8
PATIENCE = 500


class Objective(Protocol):
    """What gradient descent asks of an objective."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, n) of W."""

    def value(self, W: ArrayLike) -> float:
        """F(W)."""

    def gradient(self, W: ArrayLike) -> FloatArray:
        """Gradient of F at W."""

    def lipschitz(self) -> float:
        """A bound on how fast the gradient changes."""


class Quadratic(Objective, Protocol):
    """What the exact solver asks besides."""

    def hessian(self) -> FloatArray:
        """The constant Hessian, of shape (dn, dn)."""

    def preconditioner(self) -> Callable[[FloatArray], FloatArray]:
        """An approximate inverse of the Hessian."""


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of a solver.

    Attributes
    ----------
    W : ndarray of shape (d, n)
        The parameters found.
    values, gradient_norms : ndarrays of shape (n_iterations + 1,)
        F and the Frobenius norm of its gradient at the start and after each iteration.
    converged : bool
        Whether the tolerance was met.
    n_iterations : int
        How many steps were taken.
    message : str
        What happened, and what to do if it was not enough.
    """

    W: FloatArray
    values: FloatArray
    gradient_norms: FloatArray
    converged: bool
    n_iterations: int
    message: str

    def __post_init__(self) -> None:
        for field in ("W", "values", "gradient_norms"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))


def gradient_descent(
    F: Objective,
    W: ArrayLike | None = None,
    *,
    step: float | None = None,
    accelerated: bool = False,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
) -> Result:
    """Minimise F by steps against its gradient, ``W <- W - step * grad F(W)``.

    Parameters
    ----------
    F : Objective
        What to minimise.
    W : array of shape (d, n), optional
        Where to start; zero by default. It is not changed.
    step : float, optional
        Step length; 1 / F.lipschitz() by default. On a quadratic plain descent is stable below 2 / L, and
        momentum is up to 1 / L.
    accelerated : bool
        Whether to add Nesterov's momentum, restarted whenever it points uphill [N83]_, [OC15]_.
    tolerance : float
        Stop once the gradient norm is at most `tolerance` times its norm at W = 0, or, where that is zero,
        at the start.
    max_iterations : int
        Stop after so many steps in any case; `converged` and `message` then say so.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If W has another shape or is not finite, an option is out of range, or the steps diverge.

    References
    ----------
    .. [N83] Y. Nesterov. A method for solving the convex programming problem with convergence rate
       O(1/k^2). Soviet Mathematics Doklady 27, 372-376, 1983.
    .. [OC15] B. O'Donoghue, E. Candes. Adaptive restart for accelerated gradient schemes. Foundations of
       Computational Mathematics 15, 715-732, 2015.
    """
    V = np.zeros(F.shape) if W is None else checks.array(W, "W", F.shape).copy()
    limit = F.lipschitz()
    eta = 1 / max(limit, np.finfo(float).tiny) if step is None else checks.number(step, "step", above=0.0)
    target = checks.number(tolerance, "tolerance", above=0.0)
    most = checks.count(max_iterations, "max_iterations", at_least=0)

    G = F.gradient(V)
    values, norms = [F.value(V)], [_norm(G)]
    scale = _norm(F.gradient(np.zeros(F.shape))) or norms[0]
    roof = DIVERGED * max(scale, norms[0])
    ahead, momentum = V, 1.0
    while norms[-1] > target * scale and len(norms) <= most:
        slope = F.gradient(ahead) if accelerated else G
        V_next = ahead - eta * slope
        if accelerated:
            uphill = np.sum(slope * (V_next - V)) > 0
            momentum, last = (1.0, 1.0) if uphill else ((1 + np.sqrt(1 + 4 * momentum**2)) / 2, momentum)
            ahead = V_next + (last - 1) / momentum * (V_next - V)
        else:
            ahead = V_next
        if not np.isfinite(ahead).all():
            values.append(np.inf)
            norms.append(np.inf)
            break
        V, G = V_next, F.gradient(V_next)
        values.append(F.value(V))
        norms.append(_norm(G))
        if norms[-1] > roof:
            break
    converged = norms[-1] <= target * scale
    grown = norms[-1] > 2 * norms[0] and values[-1] > values[0]
    if norms[-1] > roof or (grown and not converged):
        stable = f"of at most 1 / L = {1 / limit:.4g}" if accelerated else f"below 2 / L = {2 / limit:.4g}"
        checks.fail(
            "step",
            f"a step length {stable}",
            f"{eta:.4g}, with which F went from {values[0]:.4g} to {values[-1]:.4g}"
            f" in {len(norms) - 1} steps",
            "Leave step out to use 1 / L.",
        )
    return _result(V, values, norms, scale, converged, "gradient descent", target)


def solve(F: Quadratic, *, tolerance: float = 1e-10) -> Result:
    """The minimiser of a quadratic F, by a route chosen from its size.

    Up to `DENSE_LIMIT` unknowns: the inverse of the Hessian. Beyond: conjugate gradients [HS52]_ with the
    objective's own preconditioner. If many W minimise F, one of them is returned.

    Parameters
    ----------
    F : Quadratic
        What to minimise.
    tolerance : float
        How near W must be: both the gradient (relative to W = 0) and the estimated error of W (relative to
        W, both in Frobenius norm) must fall below it.

    Returns
    -------
    Result
        `message` names the route taken.

    Raises
    ------
    ValueError
        If the tolerance is not a positive number.

    References
    ----------
    .. [HS52] M. R. Hestenes, E. Stiefel. Methods of conjugate gradients for solving linear systems.
       Journal of Research of the National Bureau of Standards 49, 409-436, 1952.
    """
    target = checks.number(tolerance, "tolerance", above=0.0)
    d, n = F.shape
    return _dense(F, target) if d * n <= DENSE_LIMIT else _conjugate_gradients(F, target)


def _dense(F: Quadratic, tolerance: float) -> Result:
    """Two Newton steps with the exact Hessian; the second removes the rounding of the first."""
    inverse, free = _inverse(F.hessian())
    start = W = np.zeros(F.shape)
    for _ in range(2):
        W = W - inverse(F.gradient(W).ravel(order="F")).reshape(F.shape, order="F")
    values, norms = [F.value(start), F.value(W)], [_norm(F.gradient(start)), _norm(F.gradient(W))]
    route = f"dense Kronecker system of {W.size} unknowns"
    route += f", {free} of them free: one of many minimisers" if free else ""
    return _result(W, values, norms, norms[0], norms[1] <= tolerance * norms[0], route, tolerance)


def _inverse(H: FloatArray) -> tuple[Callable[[FloatArray], FloatArray], int]:
    """What applies the inverse of H, scaled to a unit diagonal so that units of features do not matter.

    Where H is too near to singular for that, the inverse on the directions that have curvature, and the
    number of those that have none.
    """
    diagonal = np.diag(H)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = scale[:, None] * H * scale
    try:
        pivots = np.diag(np.linalg.cholesky(scaled)) ** 2
    except np.linalg.LinAlgError:
        pivots = np.zeros(len(H))
    if pivots.min() > SAFE_PIVOT:
        return lambda r: scale * np.linalg.solve(scaled, scale * r), 0
    eigenvalues, U = np.linalg.eigh(scaled)
    kept = eigenvalues > len(H) * np.finfo(float).eps * max(eigenvalues[-1], 0.0)
    roots = scale[:, None] * U[:, kept]
    return lambda r: roots @ ((roots.T @ r) / eigenvalues[kept]), len(H) - int(kept.sum())


def _conjugate_gradients(F: Quadratic, tolerance: float) -> Result:
    """Preconditioned conjugate gradients; H V is the change of the gradient from 0 to V."""
    precondition = F.preconditioner()
    W = np.zeros(F.shape)
    constant = F.gradient(W)
    start, scale = F.value(W), _norm(constant)
    R = -constant
    values, norms = [start], [scale]
    S = precondition(R)
    D, rho = S, float(np.sum(R * S))
    alphas: list[float] = []
    betas: list[float] = []
    least, ritz = 0, 1.0
    while rho > 0 and norms[-1] > ROUNDING * scale and len(norms) - least <= PATIENCE:
        if norms[-1] <= tolerance * scale and _norm(S) <= tolerance * _norm(W) * ritz / 2:
            # The estimate only falls as steps are added; once it falls by less than half, the bound holds.
            ritz, last_ritz = _least_ritz(alphas, betas), ritz
            if ritz >= last_ritz / 2:
                break
        HD = F.gradient(D) - constant
        curvature = float(np.sum(D * HD))
        if curvature <= 0:
            break
        alphas.append(rho / curvature)
        W, R = W + alphas[-1] * D, R - alphas[-1] * HD
        S = precondition(R)
        rho, last = float(np.sum(R * S)), rho
        betas.append(rho / last)
        D = S + betas[-1] * D
        norms.append(_norm(R))
        values.append(start + 0.5 * float(np.sum(W * (constant - R))))
        least = len(norms) if norms[-1] < min(norms[:-1]) else least
    norms[-1] = _norm(F.gradient(W))
    route = f"preconditioned conjugate gradients on {W.size} unknowns"
    return _result(W, values, norms, scale, norms[-1] <= tolerance * scale, route, tolerance)


def _least_ritz(alphas: list[float], betas: list[float]) -> float:
    """Estimate of the least eigenvalue of the preconditioned Hessian, from the steps of conjugate gradients.

    The error of W is at most the preconditioned step that is left, divided by this eigenvalue. The
    tridiagonal matrix below is the one that Lanczos's method would have built.
    """
    if not alphas:
        return 1.0
    a = np.array(alphas)
    ratios = np.array(betas[: len(alphas) - 1])
    diagonal = 1 / a
    diagonal[1:] += ratios / a[:-1]
    beside = np.sqrt(ratios) / a[:-1]
    return float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[0])


def _norm(G: FloatArray) -> float:
    return float(np.linalg.norm(G))


def _result(
    W: FloatArray,
    values: list[float],
    norms: list[float],
    scale: float,
    converged: bool,
    route: str,
    tolerance: float,
) -> Result:
    steps = len(norms) - 1
    relative = norms[-1] / scale if scale > 0 else 0.0
    message = f"{route}: relative gradient {relative:.1e} after {steps} steps"
    if not converged:
        message += f", above the tolerance {tolerance:g}. Allow more steps, loosen it, or scale the features."
    return Result(W, np.array(values), np.array(norms), bool(converged), steps, message)
