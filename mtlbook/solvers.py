"""Solvers: gradient descent, which teaches, and solve, which is exact.

They know no task. An objective F offers ``shape``, ``value(W)``, ``gradient(W)`` and ``lipschitz()``;
``solve`` asks for a quadratic F and its ``hessian()`` or ``preconditioner()`` besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import checks, krylov
from mtlbook.checks import FloatArray

DENSE_LIMIT = 500
DIVERGED = 1e6
ROUNDING = 1e-15
SAFE_PIVOT = 1e-8
PATIENCE = 500
# How many strengths iterate at once, and by how much an estimated gap is taken larger than it looks.
TOGETHER = 32
MARGIN = 1e4
# A round must leave less than this share of the residual, or there is no other.
GAIN = 0.1
ROUNDS = 8


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


class _Systems(krylov.Systems, Protocol):
    """Linear systems, each half the gradient of a quadratic F set to zero, with what is known of them."""

    right: FloatArray
    start: float
    least: FloatArray
    route: str
    dtype: Any

    def residual(self, V: FloatArray) -> FloatArray:
        """B - H V in float64."""

    def keep(self, running: NDArray[np.bool_]) -> _Systems:
        """Only those systems that still run."""

    def precise(self) -> _Systems | None:
        """The same in higher precision, if that is to be had."""


@runtime_checkable
class Structured(Quadratic, Protocol):
    """What an objective offers besides where its systems at many strengths share their structure."""

    @property
    def strength(self) -> float:
        """Its regularisation strength."""

    def at(self, strength: float) -> Structured:
        """F at another strength."""

    def systems(self, strengths: FloatArray) -> Any:
        """The normal equations at each strength."""

    def rotated(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Half the Hessian and half the steepest descent at 0 in a basis U of the tasks, and U."""


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
    gap : float
        A bound on F(W) - min F, in the units of F; `message` says whether it is proven. Not a number where a
        solver knows none.
    """

    W: FloatArray
    values: FloatArray
    gradient_norms: FloatArray
    converged: bool
    n_iterations: int
    message: str
    gap: float = np.nan

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
    wanted = f"the tolerance {target:g}"
    return _result(V, values, norms, scale, converged, "gradient descent", wanted)


def solve(F: Quadratic, *, tolerance: float = 1e-10, gap: float | None = None) -> Result:
    """The minimiser of a quadratic F, by a route chosen from its size and structure.

    Up to `DENSE_LIMIT` unknowns: the inverse of the Hessian. Beyond: conjugate gradients [HS52]_ with the
    objective's own preconditioner. If many W minimise F, one of them is returned. The answer comes with a
    certificate: the gradient that is left, and in `Result.gap` a bound on F(W) - min F. Where H is at
    least mu > 0 in all directions, which a definite P proves, that bound is |grad F(W)|^2 / (2 mu).

    Parameters
    ----------
    F : Quadratic
        What to minimise.
    tolerance : float
        How near W must be: both the gradient (relative to W = 0) and the estimated error of W (relative to
        W, both in Frobenius norm) must fall below it.
    gap : float, optional
        If given, it takes the place of `tolerance`: stop once F(W) - min F is at most `gap` times min F. Half
        as many steps, where values or predictions are what counts.

    Returns
    -------
    Result
        `message` names the route taken, and why.

    Raises
    ------
    ValueError
        If the tolerance or the gap is not a positive number.

    References
    ----------
    .. [HS52] M. R. Hestenes, E. Stiefel. Methods of conjugate gradients for solving linear systems.
       Journal of Research of the National Bureau of Standards 49, 409-436, 1952.
    """
    aim = _Aim(tolerance, gap)
    if F.shape[0] * F.shape[1] <= DENSE_LIMIT:
        return _dense(F, aim)
    systems = F.systems(np.array([F.strength])) if isinstance(F, Structured) else _Plain(F)
    return _conjugate_gradients(systems, aim)[0]


def solve_path(
    F: Structured, strengths: ArrayLike, *, tolerance: float = 1e-10, gap: float | None = None
) -> tuple[Result, ...]:
    """The minimisers of F at each of several strengths, found together.

    All strengths share the data and one preconditioner, and iterate at once: what one of them must read from
    memory serves all, so that a path costs little more than its hardest strength.

    Parameters
    ----------
    F : Structured
        What to minimise, such as a TraceRegularized; its own strength does not matter.
    strengths : array of shape (s,)
        Regularisation strengths, at least zero each.
    tolerance, gap : float
        As for :func:`solve`, at each strength.

    Returns
    -------
    tuple of s Results
        In the order of `strengths`.

    Raises
    ------
    ValueError
        If strengths are no vector, one is negative, or tolerance or gap is not a positive number.
    """
    aim = _Aim(tolerance, gap)
    grid = checks.array(strengths, "strengths", ("s",))
    for strength in grid.tolist():
        checks.number(strength, "strength", at_least=0.0)
    if F.shape[0] * F.shape[1] <= DENSE_LIMIT:
        return tuple(_dense(F.at(strength), aim) for strength in grid.tolist())
    batches = [grid[k : k + TOGETHER] for k in range(0, len(grid), TOGETHER)]
    return tuple(result for batch in batches for result in _conjugate_gradients(F.systems(batch), aim))


class _Aim:
    """When to stop: at an error of W, or at a gap of F."""

    def __init__(self, tolerance: float, gap: float | None) -> None:
        self.tolerance = checks.number(tolerance, "tolerance", above=0.0)
        self.gap = None if gap is None else checks.number(gap, "gap", above=0.0)

    def wanted(self) -> str:
        return f"the tolerance {self.tolerance:g}" if self.gap is None else f"the gap {self.gap:g}"

    def goal(self, value: FloatArray | float, start: float) -> FloatArray:
        """The largest gap allowed where F is `value`: relative to F, or rounding of F(0)."""
        return np.maximum((self.gap or 0.0) * np.asarray(value), ROUNDING * start)

    def stop(self, stage: _Stage) -> Callable[[krylov.State], NDArray[np.bool_]]:
        ritz = np.full(len(stage.unit), 1.0 if self.gap is None else np.inf)

        def settled(state: krylov.State, near: NDArray[np.bool_]) -> NDArray[np.bool_]:
            """The estimate only falls as steps are added; once it falls by less than half, it holds."""
            if not near.any():
                return near
            fresh, last = state.least_ritz(), ritz[state.which]
            ritz[state.which[near]] = fresh[near]
            return near & (fresh >= last / 2)

        def error_of_W(state: krylov.State) -> NDArray[np.bool_]:
            unit = stage.unit[state.which]
            near = state.norms * unit <= self.tolerance * stage.scale[state.which]
            if near.any():
                left, moved = (unit * np.sqrt(krylov.dots(A, A)) for A in (state.S, state.V))
                size = np.maximum(moved, stage.size[state.which])
                near &= left <= self.tolerance * size * ritz[state.which] / 2
            return settled(state, near)

        def gap_of_F(state: krylov.State) -> NDArray[np.bool_]:
            unit = stage.unit[state.which]
            value = stage.value[state.which] - state.descents * unit**2
            proven = _proven(state.norms * unit, stage.least[state.which])
            done = proven <= self.goal(value - proven, stage.start)
            left = MARGIN * state.energies * unit**2 / self.goal(value, stage.start)
            near = settled(state, (left <= 1) & ~done)
            return done | near & (left <= ritz[state.which])

        return error_of_W if self.gap is None else gap_of_F


@dataclass(frozen=True, eq=False)
class _Stage:
    """Where a round of conjugate gradients starts: each array has one entry a system that runs.

    `value` is F, `unit` the norm of the residual, by which it is divided, `scale` its norm at W = 0, `size`
    the norm of W, `least` what curvature is proven, and `start` F(0).
    """

    value: FloatArray
    unit: FloatArray
    scale: FloatArray
    size: FloatArray
    least: FloatArray
    start: float


def _proven(norms: FloatArray, least: FloatArray) -> FloatArray:
    """|R|^2 / mu, infinite where no curvature mu > 0 is known."""
    with np.errstate(over="ignore"):
        return np.divide(norms**2, least, out=np.full(norms.shape, np.inf), where=least > 0)


def _dense(F: Quadratic, aim: _Aim) -> Result:
    """One solution with the exact Hessian, and one more for what rounding left."""
    d, n = F.shape
    start = np.zeros(F.shape)
    G = F.gradient(start)
    if isinstance(F, Structured):
        H, b, U = F.rotated()
    else:
        H, b, U = F.hessian() / 2, -G.ravel(order="F") / 2, np.eye(n)
    inverse, free = _inverse(H)
    v = inverse(b)
    v += inverse(b - H @ v)
    left = b - H @ v
    W = (U @ v.reshape(n, d)).T
    values, norms = [F.value(start), F.value(W)], [_norm(G), _norm(F.gradient(W))]
    bound = max(float(left @ inverse(left)), 0.0)
    route = f"dense Kronecker system of {W.size} unknowns"
    route += f", {free} of them free: one of many minimisers" if free else ""
    within = norms[1] <= aim.tolerance * norms[0] if aim.gap is None else bound <= aim.goal(*values[::-1])
    return _result(W, values, norms, norms[0], bool(within), route, aim.wanted(), (bound, "computed"))


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


class _Plain:
    """The one system behind a quadratic F that shows value, gradient and preconditioner only."""

    least = np.zeros(1)
    route = "the objective's own preconditioner"
    dtype: Any = np.float64

    def __init__(self, F: Quadratic) -> None:
        zero = np.zeros(F.shape)
        self.F, self.constant, self.start = F, F.gradient(zero), F.value(zero)
        self.right = -self.constant.T[:, :, None] / 2
        self.inverse = F.preconditioner()

    def apply(self, V: FloatArray) -> FloatArray:
        return np.ascontiguousarray((self.F.gradient(V[:, :, 0].T) - self.constant).T[:, :, None] / 2)

    def residual(self, V: FloatArray) -> FloatArray:
        return -self.F.gradient(V[:, :, 0].T).T[:, :, None] / 2

    def precondition(self, R: FloatArray) -> FloatArray:
        return np.ascontiguousarray(2 * self.inverse(R[:, :, 0].T).T[:, :, None])

    def keep(self, running: NDArray[np.bool_]) -> _Plain:
        return self

    def precise(self) -> None:
        return None


def _conjugate_gradients(systems: _Systems, aim: _Aim) -> list[Result]:
    """Conjugate gradients on H / 2, where F(W) - min F = <R, (H / 2)^-1 R> for the residual R.

    A round ends where the aim is met, or where rounding hides the residual that the steps carry along. Then
    the residual of the answer itself is measured, and what misses the aim goes another round from there.
    """
    right = systems.right
    runs = [_Run(systems, right, j) for j in range(right.shape[-1])]
    V, R = np.zeros(right.shape), right
    left = np.arange(len(runs))
    scale = np.sqrt(_squares(right))
    route = systems.route
    for _ in range(ROUNDS):
        norms = np.sqrt(_squares(R))
        unit = np.where(norms > 0, norms, 1.0)
        value = np.array([runs[j].values[-1] for j in left])
        size = np.sqrt(_squares(V[..., left]))
        stage = _Stage(value, unit, scale[left], size, systems.least, systems.start)
        B = np.ascontiguousarray((R / unit).astype(systems.dtype))
        found = krylov.conjugate_gradients(systems, B, aim.stop(stage), patience=PATIENCE)
        V[..., left] += unit * found.V
        R = systems.residual(V[..., left])
        S = systems.precondition(np.ascontiguousarray((R / unit).astype(systems.dtype)))
        energies = np.maximum(_dots(R, unit * S), 0.0)
        for k, j in enumerate(left):
            runs[j].add(found, k, unit[k], V[..., j], R[..., k], energies[k])
        missed = np.array([not runs[j].meets(aim) for j in left])
        gained = np.sqrt(_squares(R)) < GAIN * norms
        if (missed & ~gained).any() and (better := systems.precise()):
            systems, route = better, better.route
        else:
            missed &= gained
        if not missed.any():
            break
        left, systems, R = left[missed], systems.keep(missed), R[..., missed]
    return [run.result(aim, route) for run in runs]


class _Run:
    """The history of one system over all rounds, and what is known of its answer."""

    def __init__(self, systems: _Systems, right: FloatArray, j: int) -> None:
        self.right, self.start, self.least = right[..., j], systems.start, systems.least[j]
        self.values, self.norms, self.steps = [self.start], [2 * _norm(self.right)], 0
        self.ritz = 1.0

    def add(
        self, found: krylov.Solution, k: int, unit: float, V: FloatArray, R: FloatArray, energy: float
    ) -> None:
        steps = int(found.steps[k])
        self.values += list(self.values[-1] - unit**2 * found.descents[1 : steps + 1, k])
        self.norms += list(2 * unit * found.norms[1 : steps + 1, k])
        self.steps += steps
        # What counts is the answer itself, not what the steps carried along.
        self.W = V.T
        self.values[-1] = self.start - float(np.sum(V * (self.right + R)))
        self.norms[-1] = 2 * _norm(R)
        self.ritz = min(self.ritz, float(found.ritz[k]))
        self.estimated = MARGIN * energy / self.ritz
        self.proven = float(_proven(np.array(self.norms[-1] / 2), np.array(self.least)))

    def bound(self, aim: _Aim) -> tuple[float, str]:
        hidden = np.isinf(self.proven) or (aim.gap is not None and self.proven > self.goal(aim))
        return (float(self.estimated), "estimated") if hidden else (self.proven, "proven")

    def goal(self, aim: _Aim) -> float:
        return float(aim.goal(self.values[-1], self.start))

    def meets(self, aim: _Aim) -> bool:
        if aim.gap is None:
            return self.norms[-1] <= aim.tolerance * self.norms[0]
        return self.bound(aim)[0] <= self.goal(aim)

    def result(self, aim: _Aim, route: str) -> Result:
        route = f"conjugate gradients on {self.W.size} unknowns, with {route}"
        bound = self.bound(aim)
        met = self.meets(aim)
        return _result(self.W, self.values, self.norms, self.norms[0], met, route, aim.wanted(), bound)


def _dots(A: FloatArray, B: FloatArray) -> FloatArray:
    return krylov.dots(np.ascontiguousarray(A), np.ascontiguousarray(B))


def _squares(A: FloatArray) -> FloatArray:
    return _dots(A, A)


def _norm(G: FloatArray) -> float:
    return float(np.linalg.norm(G))


def _result(
    W: FloatArray,
    values: list[float],
    norms: list[float],
    scale: float,
    converged: bool,
    route: str,
    wanted: str,
    bound: tuple[float, str] | None = None,
) -> Result:
    steps = len(norms) - 1
    relative = norms[-1] / scale if scale > 0 else 0.0
    message = f"{route}: relative gradient {relative:.1e} after {steps} steps"
    if bound:
        message += f", F within {bound[0]:.1e} of its minimum ({bound[1]})"
    if not converged:
        message += f", above {wanted}. Allow more steps, loosen it, or scale the features."
    gap = bound[0] if bound else np.nan
    return Result(W, np.array(values), np.array(norms), bool(converged), steps, message, gap)
