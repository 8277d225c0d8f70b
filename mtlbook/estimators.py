"""Estimators: the book's multi-task ridge regression behind scikit-learn's interface.

The one room that needs scikit-learn. It takes a long table with a label for each row, standardizes inside,
chooses all strengths by one cross-validation, and answers in the units it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import checks, relations
from mtlbook.checks import FloatArray
from mtlbook.intercepts import LevelRegularized, minimise
from mtlbook.levels import LevelMoments, LevelPenalty
from mtlbook.model_selection import validate_levels

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.metrics import r2_score
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("The estimators need one more package: pip install scikit-learn.") from error

STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-8, 7))
LEVEL_STRENGTHS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, float("inf"))
RELATIONS = ("mean", "independent", "pooled")
LEVELS = ("mean", "free", "common", "tied")

Relation = str | ArrayLike | Callable[[NDArray[Any]], ArrayLike]
Rows = NDArray[np.intp]


class _Table(NamedTuple):
    """A long table whose tasks are numbered."""

    X: FloatArray
    y: FloatArray
    task: Rows
    n: int


class _Plan(NamedTuple):
    """A penalty on slopes, its strengths, and penalties on levels: each pair is a candidate."""

    rho: float
    P: FloatArray
    strengths: list[float]
    levels: list[LevelPenalty]


class _Scaling(NamedTuple):
    """What standardizing has learnt from training rows."""

    centre: FloatArray
    inverse: FloatArray
    level: float

    @classmethod
    def of(cls, table: _Table, rows: Rows) -> _Scaling:
        X = table.X[rows]
        centre, deviation = X.mean(axis=0), X.std(axis=0)
        constant = deviation <= 1e-12 * np.abs(X).max(axis=0)
        return cls(
            centre, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation)), table.y[rows].mean()
        )

    def moments(self, table: _Table, rows: Rows) -> LevelMoments:
        X = (table.X[rows] - self.centre) * self.inverse
        return LevelMoments.from_rows(X, table.y[rows] - self.level, table.task[rows], table.n)


class MultiTaskRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression of many tasks that share, with slopes and levels tied by strengths of their own.

    Task i predicts l_i + <x, w_i>. Slopes W = [w_1 ... w_n] and levels l minimise

    .. code-block:: text

        sum_i (c_i/m_i) |X_i w_i + l_i - y_i|^2 + strength * tr(W P W^T) + level_strength * l^T P_l l

    with P = (1 - rho) * relation + rho * I, features centred by the mean of all training rows and divided by
    their deviation from it. What is given as several numbers is chosen by one cross-validation inside `fit`,
    over all combinations, so that no row outside of `fit` is ever seen.

    Parameters
    ----------
    relation : "mean", "independent", "pooled", array of shape (n, n) or callable
        Penalty on the slopes. "mean" ties them to their common mean, "independent" is single-task ridge,
        "pooled" is one slope vector for all. An array is used as it is, in the order of the sorted labels; a
        callable gets the sorted labels and returns such an array.
    strength : None, float or sequence of floats
        Strength of the penalty on slopes; None tries `STRENGTHS`, 15 values from 1e-4 to 1e3.
    rho : float or sequence of floats
        The dial from the relation as given (0) to single-task ridge (1). The small default keeps the common
        part, which most relations do not charge, from running free; with 1 among the values, the
        cross-validation can refuse to share.
    levels : "mean", "free", "common", "tied", array of shape (n, n) or callable
        Penalty on the levels. "mean" shrinks them towards their mean, "free" leaves them to each task,
        "common" is one level for all, "tied" uses the relation and the strength of the slopes.
    level_strength : None, float or sequence of floats
        Strength of the penalty on levels, infinity included; None tries `LEVEL_STRENGTHS`. It has no effect
        with "free", "common" and "tied".
    weigh : "tasks" or "rows"
        What counts alike in the loss and in the cross-validation: each task (c_i = 1, the book's objective)
        or each row (c_i = m_i / mean(m)).
    cv : int, scikit-learn splitter, or iterable of pairs of row indices
        Folds of the inner cross-validation. A number deals out the shuffled rows of every task in turn. A
        splitter is called with the labels as `groups`.
    random_state : int, RandomState instance or None
        Shuffles the rows for the folds; the default makes the same table give the same model.
    unknown : "raise" or "mean"
        What `predict` does about a label that `fit` has not seen: refuse, or use the mean of all slopes and
        levels.

    Attributes
    ----------
    coef_ : ndarray of shape (d, n)
        Slopes in the units given; column i belongs to the task `tasks_[i]`.
    intercept_ : ndarray of shape (n,)
        Prediction of each task at x = 0.
    tasks_ : ndarray of shape (n,)
        The labels, sorted.
    strength_, level_strength_, rho_ : float
        What was given or chosen.
    cv_results_ : dict of ndarrays of shape (candidates,), or None
        "strength", "level_strength", "rho" and mean squared "error" of everything that was tried.
    n_features_in_, feature_names_in_ : int, ndarray of shape (d,)
        As everywhere in scikit-learn.

    Notes
    -----
    Without `task`, all rows are one task. For `task` to pass through a Pipeline or GridSearchCV, switch on
    ``sklearn.set_config(enable_metadata_routing=True)`` and request it: ``.set_fit_request(task=True)``,
    ``.set_predict_request(task=True)``, ``.set_score_request(task=True)``. A GridSearchCV passes labels on to
    its folds and scores, yet not to predictions: there, call its ``best_estimator_.predict(X, task=labels)``.

    All checks that scikit-learn has for a regressor pass. None of them knows a task column, so that by
    themselves they see one task; those for several columns of targets do not apply, since y has one.

    Of the baselines to beat, single-task ridge is ``relation="independent", levels="free"``; the pooled line
    is ``relation="pooled", levels="common"``; the random intercept is ``relation="pooled"``, and with
    ``weigh="rows"`` it is that of statistics.

    Examples
    --------
    >>> X, y, task = [[0.0], [1.0], [2.0], [0.0], [1.0]], [0.0, 1.0, 2.0, 5.0, 6.0], ["a", "a", "a", "b", "b"]
    >>> model = MultiTaskRidge(strength=1.0, level_strength=0.0).fit(X, y, task=task)
    >>> model.predict([[3.0], [3.0]], task=["a", "b"]).round(1)
    array([3., 8.])
    """

    def __init__(
        self,
        relation: Relation = "mean",
        strength: float | Sequence[float] | None = None,
        *,
        rho: float | Sequence[float] = 0.01,
        levels: Relation = "mean",
        level_strength: float | Sequence[float] | None = None,
        weigh: str = "tasks",
        cv: Any = 5,
        random_state: Any = 0,
        unknown: str = "raise",
    ) -> None:
        self.relation = relation
        self.strength = strength
        self.rho = rho
        self.levels = levels
        self.level_strength = level_strength
        self.weigh = weigh
        self.cv = cv
        self.random_state = random_state
        self.unknown = unknown

    def fit(self, X: ArrayLike, y: ArrayLike, task: ArrayLike | None = None) -> MultiTaskRidge:
        """Choose the strengths and fit slopes and levels.

        Parameters
        ----------
        X : array of shape (rows, d)
            Inputs.
        y : array of shape (rows,)
            Targets.
        task : array of shape (rows,), optional
            The label of the task that each row belongs to: all text or all numbers. Without it, all rows are
            one task.

        Returns
        -------
        MultiTaskRidge
            Itself, fitted.

        Raises
        ------
        ValueError
            If shapes do not match, a number is missing, or an option is none of those offered.
        """
        _one_of(self.weigh, "weigh", ("tasks", "rows"))
        _one_of(self.unknown, "unknown", ("raise", "mean"))
        inputs, targets = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        rows = len(targets)
        labels = np.zeros(rows, dtype=int) if task is None else checks.labels(task, "task", rows)
        self.tasks_, index = np.unique(labels, return_inverse=True)
        table = _Table(inputs, np.asarray(targets, dtype=np.float64), index, len(self.tasks_))
        plans = self._plans()
        best, k = plans[0], 0
        self.cv_results_ = None
        if sum(len(plan.strengths) * len(plan.levels) for plan in plans) > 1:
            self.cv_results_, owner = self._search(table, plans)
            k = int(np.argmin(self.cv_results_["error"]))
            best, k = plans[owner[k]], k - int(np.searchsorted(owner, owner[k]))
        self.rho_, self.strength_ = best.rho, best.strengths[k // len(best.levels)]
        levels = best.levels[k % len(best.levels)]
        self.level_strength_ = levels.strength
        scaling = _Scaling.of(table, np.arange(rows))
        moments = scaling.moments(table, np.arange(rows))
        F = LevelRegularized(moments, best.P, self.strength_, levels, self._weights(moments))
        found = minimise(F, pooled=self._pooled)
        self.coef_ = found.W * scaling.inverse[:, None]
        self.intercept_ = scaling.level + found.levels - scaling.centre @ self.coef_
        return self

    def predict(self, X: ArrayLike, task: ArrayLike | None = None) -> FloatArray:
        """Predictions of rows, each by its own task.

        Parameters
        ----------
        X : array of shape (rows, d)
            Inputs.
        task : array of shape (rows,), optional
            The label of each row's task; it may be left out where `fit` saw one task alone.

        Returns
        -------
        ndarray of shape (rows,)

        Raises
        ------
        ValueError
            If shapes do not match, or a label is unknown and `unknown` is "raise". Before `fit`, it is
            scikit-learn's NotFittedError.
        """
        check_is_fitted(self)
        inputs = validate_data(self, X, dtype=np.float64, reset=False)
        index = self._numbers(task, len(inputs))
        columns = np.column_stack([self.coef_, self.coef_.mean(axis=1)])
        levels = np.append(self.intercept_, self.intercept_.mean())
        return np.einsum("rk,rk->r", inputs, columns.T[index]) + levels[index]

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        task: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Explained share of the variance of y, R^2, over all rows.

        Parameters
        ----------
        X : array of shape (rows, d)
            Inputs.
        y : array of shape (rows,)
            Targets.
        task : array of shape (rows,), optional
            The label of each row's task.
        sample_weight : array of shape (rows,), optional
            Weights of the rows; one each by default.

        Returns
        -------
        float
        """
        return float(r2_score(y, self.predict(X, task=task), sample_weight=sample_weight))

    @property
    def _pooled(self) -> bool:
        return isinstance(self.relation, str) and self.relation == "pooled"

    def _penalty(self, name: str, offered: Sequence[str]) -> FloatArray:
        """The relation of slopes or levels, as a matrix."""
        given, n = getattr(self, name), len(self.tasks_)
        if isinstance(given, str):
            _one_of(given, name, offered)
            return relations.independent(n) if given in ("independent", "pooled") else relations.to_mean(n)
        return checks.semidefinite(given(self.tasks_.copy()) if callable(given) else given, name, n)

    def _plans(self) -> list[_Plan]:
        """All that is to be tried."""
        slopes, levels = self._penalty("relation", RELATIONS), self._penalty("levels", LEVELS)
        strengths = _several(self.strength, STRENGTHS, "strength")
        own = _several(self.level_strength, LEVEL_STRENGTHS, "level_strength")
        kind = self.levels if isinstance(self.levels, str) else ""
        penalty = LevelPenalty(levels, 0.0)
        tried = [penalty.at(s) for s in {"free": [0.0], "common": [np.inf]}.get(kind, own)]
        plans = []
        for rho in _several(self.rho, (), "rho"):
            P = (1 - checks.number(rho, "rho", at_least=0.0)) * slopes + rho * np.eye(len(slopes))
            if rho > 1:
                checks.fail("rho", "numbers from 0 to 1", f"{rho:g}", "Take 1 for single-task ridge.")
            if kind == "tied":
                plans += [_Plan(rho, P, [s], [LevelPenalty(P, s)]) for s in strengths]
            else:
                plans.append(_Plan(rho, P, strengths, tried))
        return plans

    def _weights(self, moments: LevelMoments) -> FloatArray | None:
        m = moments.m
        return m / m.mean() if self.weigh == "rows" else None

    def _search(self, table: _Table, plans: list[_Plan]) -> tuple[dict[str, FloatArray], Rows]:
        """Held-out errors of all candidates, and the number of the plan that each belongs to."""
        pairs = []
        for train, test in self._folds(table):
            scaling = _Scaling.of(table, train)
            pairs.append((scaling.moments(table, train), scaling.moments(table, test)))
        weights = [self._weights(train) for train, _ in pairs]
        found = [
            validate_levels(pairs, plan.P, plan.strengths, plan.levels, weights=weights, pooled=self._pooled)
            for plan in plans
        ]
        rows = np.array([test.m for _, test in pairs])
        sums = np.concatenate([np.sum(part.errors * rows, axis=1) for part in found])
        tested = rows.sum(axis=0)
        share = tested if self.weigh == "rows" else (tested > 0).astype(float)
        errors = (sums / np.maximum(tested, 1)) @ share / share.sum()
        owner = np.repeat(np.arange(len(plans)), [len(part.strengths) for part in found])
        return {
            "rho": np.array([plans[k].rho for k in owner]),
            "strength": np.concatenate([part.strengths for part in found]),
            "level_strength": np.concatenate([part.level_strengths for part in found]),
            "error": errors,
        }, owner

    def _folds(self, table: _Table) -> list[tuple[Rows, Rows]]:
        rows = len(table.y)
        if hasattr(self.cv, "split"):
            return list(self.cv.split(table.X, table.y, groups=self.tasks_[table.task]))
        if np.iterable(self.cv):
            given = [(np.asarray(train), np.asarray(test)) for train, test in self.cv]
            if not given:
                checks.fail("cv", "at least one pair of row indices", "none", "Pass a number of folds.")
            return given
        if rows < 2:
            remedy = "Give more rows, or a number for each strength."
            checks.fail("X", "at least two rows to choose strengths by cross-validation", "1 sample", remedy)
        folds = min(checks.count(self.cv, "cv", at_least=2), rows)
        order = check_random_state(self.random_state).permutation(rows)
        order = order[np.argsort(table.task[order], kind="stable")]
        fold = np.empty(rows, dtype=int)
        fold[order] = np.arange(rows) % folds
        return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]

    def _numbers(self, task: ArrayLike | None, rows: int) -> Rows:
        """The number of each row's task; that of the mean is n."""
        n = len(self.tasks_)
        if task is None:
            if n > 1:
                remedy = "Pass task= with the label of each row."
                checks.fail("task", f"labels, of the {n} tasks seen in fit", "none", remedy)
            return np.zeros(rows, dtype=int)
        labels = checks.labels(task, "task", rows)
        kinds = ["text" if array.dtype.kind == "U" else "numbers" for array in (self.tasks_, labels)]
        if kinds[0] != kinds[1]:
            checks.fail("task", f"{kinds[0]}, as in fit", kinds[1], "Convert the labels.")
        index = np.minimum(np.searchsorted(self.tasks_, labels), n - 1)
        known = self.tasks_[index] == labels
        if not known.all() and self.unknown == "raise":
            remedy = "Pass unknown='mean' to predict such rows by the mean of all tasks."
            first = labels[~known][0].item()
            checks.fail("task", f"labels among the {n} seen in fit", repr(first), remedy)
        return np.where(known, index, n)


def _one_of(value: Any, name: str, offered: Sequence[str]) -> None:
    if value not in offered:
        checks.fail(name, "one of " + ", ".join(map(repr, offered)), repr(value), "Choose one of these.")


def _several(value: Any, default: Sequence[float], name: str) -> list[float]:
    """One number or several, as a list; None is the default."""
    given = default if value is None else value
    numbers = [float(v) for v in given] if np.iterable(given) and not isinstance(given, str) else [given]
    if not numbers:
        checks.fail(name, "at least one number", "none", "Leave it out to try the default ones.")
    return numbers
