"""Model selection: fit, split rows, measure errors, choose the strength.

Errors are mean squared errors of each task, averaged over tasks with equal weight, as in the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.moments import Moments, sums_of_others
from mtlbook.objectives import TraceRegularized
from mtlbook.quadratic import few_rows
from mtlbook.solvers import Result, solve, solve_path
from mtlbook.tasks import Tasks, leave_one_out


def fit(tasks: Tasks, P: ArrayLike, strength: float) -> Result:
    """The minimiser of the trace-regularised objective as given: no centring, no scaling.

    Parameters
    ----------
    tasks : Tasks
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero.

    Returns
    -------
    Result
        With `W` of shape (d, n).

    Raises
    ------
    TypeError, ValueError
        As :class:`mtlbook.objectives.TraceRegularized`.
    """
    return solve(TraceRegularized(tasks, P, strength))


def squared_errors(W: ArrayLike, tasks: Tasks) -> FloatArray:
    """Mean squared error of each task, ``(1/m_i) |X_i w_i - y_i|^2``, in squared units of y.

    Parameters
    ----------
    W : array of shape (d, n)
        Parameters, one column a task.
    tasks : Tasks
        Rows to be measured on.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    TypeError
        If `tasks` is not a Tasks.
    ValueError
        If W has another shape or is not finite.
    """
    rows = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
    V = checks.array(W, "W", (rows.n_features, len(rows)))
    return np.array([np.mean((X @ w - y) ** 2) for (X, y), w in zip(rows, V.T, strict=True)])


def hold_out(tasks: Tasks, fraction: float, rng: np.random.Generator) -> tuple[Tasks, Tasks]:
    """Split the rows of every task once, at random, into a kept and a held-out part.

    Parameters
    ----------
    tasks : Tasks
        The rows to be split; every task needs at least two.
    fraction : float
        Share of each task's rows to hold out, between 0 and 1; at least one row is held out and one kept.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    (Tasks, Tasks)
        Kept rows, held-out rows.

    Raises
    ------
    TypeError
        If tasks is not a Tasks or rng not a Generator.
    ValueError
        If fraction is not between 0 and 1, or a task has one row only.
    """
    share = checks.number(fraction, "fraction", above=0.0)
    if share >= 1:
        checks.fail("fraction", "a number between 0 and 1", f"{share:g}", "Keep some rows.")
    rows = _shuffled(tasks, 2, rng)
    out = [min(max(round(share * len(r)), 1), len(r) - 1) for r in rows]
    kept = [np.sort(r[k:]) for r, k in zip(rows, out, strict=True)]
    held = [np.sort(r[:k]) for r, k in zip(rows, out, strict=True)]
    return tasks.take(kept), tasks.take(held)


def k_folds(tasks: Tasks, k: int, rng: np.random.Generator) -> list[tuple[Tasks, Tasks]]:
    """Split the rows of every task k times, so that each row is tested exactly once.

    Parameters
    ----------
    tasks : Tasks
        The rows to be split; every task needs at least k.
    k : int
        Number of folds, at least two.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of k pairs (train, test) of Tasks

    Raises
    ------
    TypeError
        If tasks is not a Tasks or rng not a Generator.
    ValueError
        If k is below two, or a task has fewer than k rows.
    """
    folds = checks.count(k, "k", at_least=2)
    parts = [np.array_split(r, folds) for r in _shuffled(tasks, folds, rng)]
    return [
        (
            tasks.take([np.sort(np.concatenate(p[:f] + p[f + 1 :])) for p in parts]),
            tasks.take([np.sort(p[f]) for p in parts]),
        )
        for f in range(folds)
    ]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Held-out errors for each strength.

    Attributes
    ----------
    strengths : ndarray of shape (s,)
        What was tried.
    errors : ndarray of shape (s, k, n)
        Mean squared error for each strength, fold and task, in squared units of y.
    """

    strengths: FloatArray
    errors: FloatArray

    @property
    def mean(self) -> FloatArray:
        """Error of each strength, averaged over folds and tasks, of shape (s,)."""
        return self.errors.mean(axis=(1, 2))

    @property
    def best(self) -> float:
        """The strength with the least mean error; the smallest such strength if several tie."""
        order = np.argsort(self.strengths, kind="stable")
        return float(self.strengths[order][np.argmin(self.mean[order])])


def cross_validate(
    folds: Sequence[tuple[Tasks, Tasks]], P: ArrayLike, strengths: ArrayLike, *, gap: float = 1e-8
) -> CrossValidation:
    """Fit on the training part of each fold and measure on its test part, for each strength.

    To standardize without a leak, map the folds first:
    ``[standardize(train, test) for train, test in folds]``. All strengths of a fold are fitted together.
    Folds as k_folds made them cost one pass over the rows in all, since what one fold trains on is what the
    others test on; mapped folds cost one pass each.

    Parameters
    ----------
    folds : sequence of k pairs (train, test) of Tasks
        As from :func:`k_folds`.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strengths : array of shape (s,)
        Strengths to try, at least zero each.
    gap : float
        How near each fit comes to its minimum, relative to it, as in :func:`mtlbook.solvers.solve`. Small
        problems are solved exactly in any case.

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError
        If there is no fold or no strength, a strength is negative, or P does not fit.
    """
    try:
        pairs = [(train, test) for train, test in folds]
    except (TypeError, ValueError) as error:
        checks.fail("folds", "(train, test) pairs", str(error), "Make them with k_folds(tasks, k, rng).")
    if not pairs:
        remedy = "Make them with k_folds(tasks, k, rng)."
        checks.fail("folds", "at least one (train, test) pair", "none", remedy)
    grid = checks.array(strengths, "strengths", ("s",))
    for part in (part for pair in pairs for part in pair):
        checks.instance(part, Tasks, "tasks", "Build it with Tasks(X, y).")
    F = TraceRegularized(pairs[0][0], P, 0.0)
    errors = []
    for train, (_, test) in zip(_training(pairs), pairs, strict=True):
        fits = solve_path(F.on(train), grid, gap=gap, proven=False)
        errors.append(_errors_of_all(np.stack([fit.W for fit in fits], axis=2), test))
    return CrossValidation(checks.frozen(grid.copy()), checks.frozen(np.stack(errors, axis=1)))


def _training(pairs: Sequence[tuple[Tasks, Tasks]]) -> Sequence[Tasks | Moments]:
    """What to train on: sums over the other test parts, where these are the same rows and cost less."""
    if any(few_rows(train) for train, _ in pairs) or not leave_one_out(pairs):
        return [train for train, _ in pairs]
    return sums_of_others([Moments.from_tasks(test) for _, test in pairs])


def _errors_of_all(W: FloatArray, tasks: Tasks) -> FloatArray:
    """Squared errors of each strength and task, of shape (s, n), for W of shape (d, n, s)."""
    V = checks.array(W, "W", (tasks.n_features, len(tasks), W.shape[2]))
    residuals = (X @ V[:, i] - y[:, None] for i, (X, y) in enumerate(tasks))
    return np.stack([np.mean(R**2, axis=0) for R in residuals], axis=1)


def _shuffled(tasks: Tasks, least: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Row indices of each task in random order."""
    checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
    source = checks.generator(rng, "rng")
    for name, m in zip(tasks.names, tasks.n_rows, strict=True):
        if m < least:
            found = f"{m} in {name!r}"
            remedy = "Split less often, or drop the task."
            checks.fail("tasks", f"at least {least} rows in each", found, remedy)
    return [source.permutation(m) for m in tasks.n_rows]
