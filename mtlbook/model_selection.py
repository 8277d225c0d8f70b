"""Model selection: fit, split rows, measure errors, choose the strength.

Errors are mean squared errors of each task, averaged over tasks with equal weight, as in the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.intercepts import LevelRegularized, LevelResult, level_path, minimise
from mtlbook.levels import LevelMoments, LevelPenalty
from mtlbook.moments import Moments, sums_of_others
from mtlbook.objectives import TraceRegularized
from mtlbook.quadratic import few_rows
from mtlbook.solvers import Result, solve, solve_path
from mtlbook.tasks import Tasks, leave_one_out


@overload
def fit(tasks: Tasks, P: ArrayLike, strength: float) -> Result: ...


@overload
def fit(
    tasks: Tasks,
    P: ArrayLike,
    strength: float,
    *,
    levels: LevelPenalty,
    weights: ArrayLike | None = None,
    pooled: bool = False,
) -> LevelResult: ...


def fit(
    tasks: Tasks,
    P: ArrayLike,
    strength: float,
    *,
    levels: LevelPenalty | None = None,
    weights: ArrayLike | None = None,
    pooled: bool = False,
) -> Result:
    """The minimiser of the trace-regularised objective as given: no centring, no scaling.

    Parameters
    ----------
    tasks : Tasks
        The data of n tasks over d features.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strength : float
        Regularisation strength, at least zero.
    levels : LevelPenalty, optional
        Fit an intercept for each task as well, under this relation and strength of its own:
        :class:`mtlbook.intercepts.LevelRegularized`. Features should then be centred by the mean of all rows.
    weights : array of shape (n,), optional
        With `levels`: weights of the tasks' errors, one each by default.
    pooled : bool
        With `levels`: whether all tasks share one slope vector. With ``to_mean`` for the levels this is the
        random intercept.

    Returns
    -------
    Result
        With `W` of shape (d, n); with `levels` a LevelResult, which holds `levels` of shape (n,) besides.

    Raises
    ------
    TypeError, ValueError
        As :class:`mtlbook.objectives.TraceRegularized`; or if weights or pooled come without levels.
    """
    if levels is not None:
        return minimise(LevelRegularized(tasks, P, strength, levels, weights), pooled=pooled)
    if weights is not None or pooled:
        found = "weights" if weights is not None else "pooled"
        checks.fail(
            "levels", "a LevelPenalty", f"none, but {found}", "Pass levels=LevelPenalty(P, strength)."
        )
    return solve(TraceRegularized(tasks, P, strength))


def squared_errors(W: ArrayLike, tasks: Tasks, levels: ArrayLike | None = None) -> FloatArray:
    """Mean squared error of each task, ``(1/m_i) |X_i w_i - y_i|^2``, in squared units of y.

    Parameters
    ----------
    W : array of shape (d, n)
        Parameters, one column a task.
    tasks : Tasks
        Rows to be measured on.
    levels : array of shape (n,), optional
        An intercept to be added to the predictions of each task; zero by default.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    TypeError
        If `tasks` is not a Tasks.
    ValueError
        If W or levels have another shape or are not finite.
    """
    rows = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
    V = checks.array(W, "W", (rows.n_features, len(rows)))
    up = np.zeros(len(rows)) if levels is None else checks.array(levels, "levels", (len(rows),))
    return np.array(
        [np.mean((X @ w + level - y) ** 2) for (X, y), w, level in zip(rows, V.T, up, strict=True)]
    )


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
    level_strengths : ndarray of shape (s,), optional
        The strength of the levels that was tried along with each entry of `strengths`, where levels had one.
    """

    strengths: FloatArray
    errors: FloatArray
    level_strengths: FloatArray | None = None

    @property
    def mean(self) -> FloatArray:
        """Error of each strength, averaged over folds and tasks, of shape (s,)."""
        return self.errors.mean(axis=(1, 2))

    @property
    def best(self) -> float:
        """The strength with the least mean error; the smallest such strength if several tie."""
        return float(self.strengths[self._first])

    @property
    def best_level(self) -> float:
        """The strength of the levels that goes with :attr:`best`.

        Raises
        ------
        ValueError
            If levels had no strength.
        """
        if self.level_strengths is None:
            remedy = "Pass levels= to cross_validate."
            checks.fail("best_level", "levels with a strength of their own", "none", remedy)
        return float(self.level_strengths[self._first])

    @property
    def _first(self) -> int:
        """Of the candidates with the least mean error the one with the smallest strengths."""
        beside = self.strengths if self.level_strengths is None else self.level_strengths
        order = np.lexsort((beside, self.strengths))
        return int(order[np.argmin(self.mean[order])])


def cross_validate(
    folds: Sequence[tuple[Tasks, Tasks]],
    P: ArrayLike,
    strengths: ArrayLike,
    *,
    gap: float = 1e-8,
    levels: LevelPenalty | Sequence[LevelPenalty] | None = None,
    pooled: bool = False,
) -> CrossValidation:
    """Fit on the training part of each fold and measure on its test part, for each strength.

    To standardize without a leak, map the folds first:
    ``[standardize(train, test) for train, test in folds]``; with `levels`, add ``together=True``. All
    strengths of a fold are fitted together. Folds as k_folds made them cost one pass over the rows in all,
    since what one fold trains on is what the others test on; mapped folds cost one pass each.

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
    levels : LevelPenalty or sequence of them, optional
        Penalties on the levels to try, each together with each strength: ``[penalty.at(s) for s in grid]``.
    pooled : bool
        With `levels`: whether all tasks share one slope vector.

    Returns
    -------
    CrossValidation
        With `levels`, one entry for each pair of strengths; `best` and `best_level` are the best pair.

    Raises
    ------
    TypeError
        If levels are no LevelPenalty.
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
    if levels is not None:
        tried = [levels] if isinstance(levels, LevelPenalty) else list(levels)
        moments = [(LevelMoments.from_tasks(train), LevelMoments.from_tasks(test)) for train, test in pairs]
        return validate_levels(moments, P, grid.tolist(), tried, pooled=pooled)
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


def validate_levels(
    folds: Sequence[tuple[LevelMoments, LevelMoments]],
    P: ArrayLike,
    strengths: Sequence[float],
    levels: Sequence[LevelPenalty],
    *,
    weights: Sequence[FloatArray | None] | None = None,
    pooled: bool = False,
) -> CrossValidation:
    """:func:`cross_validate` on moments, for each pair of a strength and a penalty on the levels.

    Moments are taken once for each fold, so that the rows do not count when many pairs are tried, and a task
    may be without rows in a fold.

    Parameters
    ----------
    folds : sequence of k pairs (train, test) of LevelMoments
        Moments of the rows of each fold.
    P : array of shape (n, n)
        Symmetric positive semidefinite penalty.
    strengths : sequence of floats
        Strengths to try, at least zero each.
    levels : sequence of LevelPenalty
        Penalties on the levels to try.
    weights : sequence of k ndarrays of shape (n,), optional
        Weights of the tasks' errors in each fold; one each by default.
    pooled : bool
        Whether all tasks share one slope vector.

    Returns
    -------
    CrossValidation
        Errors are zero where a task has no test rows.

    Raises
    ------
    TypeError
        If levels are no LevelPenalty.
    ValueError
        If there is no penalty on levels, a strength is negative, or P does not fit.
    """
    if not levels:
        checks.fail("levels", "at least one LevelPenalty", "none", "Pass LevelPenalty(P, strength).")
    shares = [None] * len(folds) if weights is None else list(weights)
    errors = np.zeros((len(strengths), len(levels), len(folds), len(folds[0][0])))
    F = LevelRegularized(folds[0][0], P, strengths[0], levels[0], shares[0])
    for k, (train, test) in enumerate(folds):
        F = F.at(moments=train, weights=shares[k])
        for j, level in enumerate(levels):
            F = F.at(levels=level)
            for i, (W, up) in enumerate(zip(*level_path(F, strengths, pooled=pooled), strict=True)):
                errors[i, j, k] = test.errors(W, up)
    level_strengths = np.tile([level.strength for level in levels], len(strengths))
    return CrossValidation(
        checks.frozen(np.repeat(strengths, len(levels))),
        checks.frozen(errors.reshape(-1, *errors.shape[2:])),
        checks.frozen(level_strengths),
    )


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
