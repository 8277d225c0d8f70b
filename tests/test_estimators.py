"""The estimator is the book's objective in the units given, chooses without a leak, obeys scikit-learn."""

import doctest
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from helpers import full_penalty, make_tasks, refused, unchanged
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlbook import Tasks, cross_validate, estimators, fit, relations, standardize
from mtlbook.estimators import LEVEL_STRENGTHS, STRENGTHS, MultiTaskRidge
from mtlbook.levels import LevelPenalty

SIZES = (15, 18, 21)
NAMES = ("beach", "forest", "summit")


def table(tasks: Tasks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.concatenate(tasks.X), np.concatenate(tasks.y), np.repeat(tasks.names, tasks.n_rows)


@pytest.fixture
def tasks() -> Tasks:
    """Three tasks in awkward units, at levels of their own."""
    plain = make_tasks(SIZES, scales=np.array([1.0, 100.0, 0.01, 3.0]))
    shifts = (
        np.array([0.0, 50.0, 1.0, 2.0]),
        np.array([1.0, 20.0, 1.2, 0.0]),
        np.array([-1.0, 10.0, 1.1, 1.0]),
    )
    X = [x + shift for x, shift in zip(plain.X, shifts, strict=True)]
    return Tasks(X, [y + level for y, level in zip(plain.y, (30.0, 28.0, 33.0), strict=True)], NAMES)


@pytest.fixture
def rows(tasks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as a long table, shuffled."""
    X, y, task = table(tasks)
    order = np.random.default_rng(4).permutation(len(y))
    return X[order], y[order], task[order]


def in_units(found, tasks: Tasks) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and intercepts of standardized tasks, taken back to the units of the table."""
    X, y = np.concatenate(tasks.X), np.concatenate(tasks.y)
    coef = found.W / X.std(axis=0)[:, None]
    return coef, y.mean() + found.levels - X.mean(axis=0) @ coef


# The book's objective ---------------------------------------------------------


@pytest.mark.parametrize("weigh", ["tasks", "rows"])
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_with_numbers_for_strengths_it_is_the_fit_of_the_book_in_the_units_given(tasks, rows, weigh, rho):
    X, y, task = rows
    model = MultiTaskRidge(
        full_penalty(), 0.3, rho=rho, levels=np.diag([1.0, 2.0, 0.0]), level_strength=0.4, weigh=weigh
    ).fit(X, y, task=task)
    (scaled,) = standardize(tasks, together=True)
    weights = np.array(SIZES) / np.mean(SIZES) if weigh == "rows" else None
    P = (1 - rho) * full_penalty() + rho * np.eye(3)
    levels = LevelPenalty(np.diag([1.0, 2.0, 0.0]), 0.4)
    coef, intercept = in_units(fit(scaled, P, 0.3, levels=levels, weights=weights), tasks)
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-8)
    assert (model.strength_, model.level_strength_, model.rho_) == (0.3, 0.4, rho)
    assert model.cv_results_ is None
    np.testing.assert_array_equal(model.tasks_, NAMES)


def test_predictions_are_the_literal_loop(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    found = model.predict(X[:9], task=task[:9])
    for guess, x, label in zip(found, X, task, strict=False):
        i = NAMES.index(label)
        assert guess == pytest.approx(sum(x[k] * model.coef_[k, i] for k in range(4)) + model.intercept_[i])


def test_independent_tasks_with_free_levels_are_ridge_regressions_of_their_own(tasks, rows):
    X, y, task = rows
    model = MultiTaskRidge("independent", 0.3, levels="free").fit(X, y, task=task)
    scale = X.std(axis=0)
    for i, (x, t) in enumerate(tasks):
        ridge = Ridge(alpha=0.3 * len(t), tol=1e-12).fit(x / scale, t)
        np.testing.assert_allclose(model.coef_[:, i], ridge.coef_ / scale, rtol=1e-7)
        assert model.intercept_[i] == pytest.approx(ridge.intercept_)


def test_the_pooled_line_is_one_ridge_regression_on_all_rows(rows):
    X, y, task = rows
    model = MultiTaskRidge("pooled", 0.3, levels="common", weigh="rows").fit(X, y, task=task)
    scale = X.std(axis=0)
    ridge = Ridge(alpha=0.3 * len(y), tol=1e-12).fit(X / scale, y)
    np.testing.assert_allclose(model.coef_, np.tile(ridge.coef_[:, None] / scale[:, None], 3), rtol=1e-7)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_)


def test_the_random_intercept_is_that_of_statistics(tasks, rows):
    """Generalised least squares for slopes, best linear unbiased predictions for levels, variances given."""
    ratio = 5.0
    m = np.array(SIZES)
    X, y, _ = table(tasks)
    X1, members = np.column_stack([X, np.ones(len(y))]), np.repeat(np.eye(3), m, axis=0)
    V = np.eye(len(y)) + members @ members.T / ratio
    slopes = np.linalg.solve(X1.T @ np.linalg.solve(V, X1), X1.T @ np.linalg.solve(V, y))
    own = members.T @ np.linalg.solve(V, y - X1 @ slopes) / ratio
    model = MultiTaskRidge("pooled", 0.0, level_strength=ratio / m.mean(), weigh="rows")
    model.fit(rows[0], rows[1], task=rows[2])
    np.testing.assert_allclose(model.coef_, np.tile(slopes[:-1, None], 3), rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, slopes[-1] + own, rtol=1e-6)


def test_free_and_common_levels_are_the_ends_of_the_strength_of_levels(rows):
    X, y, task = rows
    for kind, end in (("free", 0.0), ("common", np.inf)):
        model, other = (
            MultiTaskRidge(strength=0.3, **options).fit(X, y, task=task)
            for options in ({"levels": kind}, {"level_strength": end})
        )
        np.testing.assert_array_equal(model.coef_, other.coef_)
        assert model.level_strength_ == end


def test_tied_levels_use_the_relation_and_strength_of_the_slopes(rows):
    X, y, task = rows
    tied = MultiTaskRidge(full_penalty(), 0.3, levels="tied", rho=0.1).fit(X, y, task=task)
    P = 0.9 * full_penalty() + 0.1 * np.eye(3)
    stated = MultiTaskRidge(full_penalty(), 0.3, levels=P, level_strength=0.3, rho=0.1).fit(X, y, task=task)
    np.testing.assert_allclose(tied.coef_, stated.coef_, rtol=1e-9)
    np.testing.assert_allclose(tied.intercept_, stated.intercept_, rtol=1e-9)


def test_a_callable_gets_the_sorted_labels(rows):
    X, y, task = rows
    seen = []

    def relation(labels):
        seen.append(labels.tolist())
        return full_penalty()

    one = MultiTaskRidge(relation, 0.3, levels=relation, level_strength=1.0).fit(X, y, task=task)
    other = MultiTaskRidge(full_penalty(), 0.3, levels=full_penalty(), level_strength=1.0).fit(
        X, y, task=task
    )
    assert seen == [list(NAMES)] * 2
    np.testing.assert_array_equal(one.coef_, other.coef_)


# Choosing ---------------------------------------------------------------------


def splits(task: np.ndarray, k: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that hold as many rows of each task as every other fold."""
    parts = [np.concatenate([np.flatnonzero(task == name)[f::k] for name in NAMES]) for f in range(k)]
    return [(np.setdiff1d(np.arange(len(task)), part), np.sort(part)) for part in parts]


def test_strengths_are_chosen_as_cross_validate_chooses_them(rows):
    X, y, task = rows
    folds = splits(task)
    model = MultiTaskRidge(
        full_penalty(), [0.1, 1.0], rho=[0.0, 0.5], level_strength=[0.0, 0.3, np.inf], cv=folds
    )
    model.fit(X, y, task=task)
    pairs = [
        standardize(*(Tasks.from_table(X[part], y[part], task[part]) for part in fold), together=True)
        for fold in folds
    ]
    levels = [LevelPenalty(relations.to_mean(3), s) for s in (0.0, 0.3, np.inf)]
    found = [
        cross_validate(pairs, (1 - rho) * full_penalty() + rho * np.eye(3), [0.1, 1.0], levels=levels)
        for rho in (0.0, 0.5)
    ]
    results = model.cv_results_
    np.testing.assert_allclose(results["error"], np.concatenate([part.mean for part in found]), rtol=1e-6)
    np.testing.assert_array_equal(results["rho"], np.repeat([0.0, 0.5], 6))
    np.testing.assert_array_equal(results["strength"], np.tile(np.repeat([0.1, 1.0], 3), 2))
    np.testing.assert_array_equal(results["level_strength"], np.tile([0.0, 0.3, np.inf], 4))
    best = int(np.argmin(results["error"]))
    chosen = (model.rho_, model.strength_, model.level_strength_)
    assert chosen == tuple(results[key][best] for key in ("rho", "strength", "level_strength"))
    fixed = MultiTaskRidge(full_penalty(), chosen[1], rho=chosen[0], level_strength=chosen[2]).fit(
        X, y, task=task
    )
    np.testing.assert_array_equal(model.coef_, fixed.coef_)


@pytest.mark.parametrize("weigh", ["tasks", "rows"])
def test_errors_of_unequal_folds_count_tasks_or_rows_alike(rows, weigh):
    X, y, task = rows
    rng = np.random.default_rng(0)
    folds = [
        (train := rng.permutation(len(y))[:40], np.setdiff1d(np.arange(len(y)), train)) for _ in range(2)
    ]
    model = MultiTaskRidge(strength=[0.1, 1.0], level_strength=0.2, cv=folds, weigh=weigh).fit(
        X, y, task=task
    )
    for strength, error in zip((0.1, 1.0), model.cv_results_["error"], strict=True):
        part = MultiTaskRidge(strength=strength, level_strength=0.2, weigh=weigh)
        squares, labels = [], []
        for train, test in folds:
            part.fit(X[train], y[train], task=task[train])
            squares += list((part.predict(X[test], task=task[test]) - y[test]) ** 2)
            labels += list(task[test])
        each = pd.Series(squares).groupby(labels).mean()
        assert error == pytest.approx(np.mean(squares) if weigh == "rows" else each.mean(), rel=1e-6)


def test_tied_candidates_are_one_for_each_strength(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=[0.1, 1.0, 10.0], levels="tied").fit(X, y, task=task)
    np.testing.assert_array_equal(model.cv_results_["strength"], [0.1, 1.0, 10.0])
    np.testing.assert_array_equal(model.cv_results_["level_strength"], [0.1, 1.0, 10.0])
    best = int(np.argmin(model.cv_results_["error"]))
    assert model.strength_ == model.level_strength_ == [0.1, 1.0, 10.0][best]


def test_defaults_try_all_pairs_of_strengths(rows):
    model = MultiTaskRidge().fit(rows[0], rows[1], task=rows[2])
    assert len(model.cv_results_["error"]) == len(STRENGTHS) * len(LEVEL_STRENGTHS) == 105
    assert np.all(np.diff(STRENGTHS) > 0)
    assert np.all(np.diff(LEVEL_STRENGTHS) > 0)


def test_folds_deal_out_the_rows_of_every_task_in_turn():
    task = np.repeat(["a", "b", "c", "d"], [10, 7, 2, 1])
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0)
    model = MultiTaskRidge(cv=4)
    model.tasks_ = np.unique(task)
    given = estimators._Table(X, y, np.unique(task, return_inverse=True)[1], 4)
    folds = model._folds(given)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(20))
    for name in "abcd":
        tested = [np.sum(task[test] == name) for _, test in folds]
        assert max(tested) - min(tested) <= 1
    assert {len(test) for _, test in folds} == {5}
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(20))
    again, other = model._folds(given), MultiTaskRidge(cv=4, random_state=1)
    other.tasks_ = model.tasks_
    assert all(np.array_equal(one[1], two[1]) for one, two in zip(folds, again, strict=True))
    assert not all(
        np.array_equal(one[1], two[1]) for one, two in zip(folds, other._folds(given), strict=True)
    )


def test_there_are_no_more_folds_than_rows():
    model = MultiTaskRidge(cv=5).fit([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0])
    assert np.isfinite(model.coef_).all()


def test_a_row_to_be_held_out_moves_nothing_that_judges_it(rows):
    """Held-out rows far away change errors by their own predictions alone, not through means or scales."""
    X, y, task = rows
    (train, test), *_ = splits(task)
    far = X.copy()
    far[test] *= 1e3
    part = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X[train], y[train], task=task[train])
    literal = pd.Series((part.predict(far[test], task=task[test]) - y[test]) ** 2).groupby(task[test]).mean()
    model = MultiTaskRidge(strength=[0.3, 1.0], level_strength=0.1, cv=[(train, test)]).fit(far, y, task=task)
    assert model.cv_results_["error"][0] == pytest.approx(literal.mean(), rel=1e-6)


def test_validation_refuses_a_false_relation_when_the_dial_lets_it():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(6), 40)
    X, signs = rng.normal(size=(240, 3)), np.array([1, -1, 1, -1, 1, -1])
    y = X.sum(axis=1) * signs[task] + 0.1 * rng.normal(size=240)
    pairs = relations.clusters([0, 0, 1, 1, 2, 2])
    model = MultiTaskRidge(pairs, rho=[0.01, 1.0]).fit(X, y, task=task)
    true = MultiTaskRidge(relations.clusters(signs), rho=[0.01, 1.0]).fit(X, y, task=task)
    assert min(model.strength_, model.strength_ * model.rho_) <= STRENGTHS[1]
    assert true.strength_ > model.strength_


def test_the_same_table_gives_the_same_model(rows):
    one, two = (MultiTaskRidge().fit(rows[0], rows[1], task=rows[2]) for _ in range(2))
    assert one.coef_.tobytes() == two.coef_.tobytes()


# Labels -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        list,
        pd.Series,
        pd.Categorical,
        lambda task: pd.Series(task, index=np.arange(len(task))[::-1]),
        lambda task: task.astype(object),
        lambda task: np.searchsorted(NAMES, task),
        lambda task: np.searchsorted(NAMES, task).astype(float),
    ],
    ids=["list", "Series", "Categorical", "another index", "object", "int", "float"],
)
def test_labels_may_come_in_any_form(rows, form):
    X, y, task = rows
    plain = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    other = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=form(task))
    np.testing.assert_array_equal(plain.coef_, other.coef_)
    np.testing.assert_array_equal(plain.predict(X, task=task), other.predict(X, task=form(task)))


def test_the_order_of_rows_does_not_matter_to_a_fit(tasks, rows):
    one, two = (
        MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
        for X, y, task in (rows, table(tasks))
    )
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-9)
    np.testing.assert_allclose(one.intercept_, two.intercept_, rtol=1e-9)


def test_unknown_labels_are_refused_or_predicted_by_the_mean(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    for label in ("harbour", "aaa", "zzz"):
        with refused("task", "labels among the 3 seen in fit", repr(label), "unknown='mean'"):
            model.predict(X[:2], task=["beach", label])
    model.set_params(unknown="mean")
    found = model.predict(X[:2], task=["beach", "harbour"])
    assert found[0] == pytest.approx(X[0] @ model.coef_[:, 0] + model.intercept_[0])
    assert found[1] == pytest.approx(X[1] @ model.coef_.mean(axis=1) + model.intercept_.mean())


def test_without_labels_all_rows_are_one_task(rows):
    X, y, _ = rows
    alone = MultiTaskRidge("independent", 0.3, levels="free").fit(X, y)
    assert alone.coef_.shape == (4, 1)
    scale = X.std(axis=0)
    np.testing.assert_allclose(
        alone.predict(X), Ridge(alpha=0.3 * len(y)).fit(X / scale, y).predict(X / scale)
    )
    named = MultiTaskRidge("independent", 0.3, levels="free").fit(X, y, task=["one"] * len(y))
    np.testing.assert_array_equal(named.predict(X), named.predict(X, task=["one"] * len(y)))


def test_labels_that_are_missing_or_of_another_kind_are_refused(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    with refused("task", "labels, of the 3 tasks seen in fit", "none", "Pass task="):
        model.predict(X)
    with refused("task", f"a vector of {len(y)} labels"):
        model.predict(X, task=task[:3])
    with refused("task", f"a vector of {len(y)} labels"):
        MultiTaskRidge().fit(X, y, task=task[:3])
    with refused("task", "text or a number for each", "nan"):
        MultiTaskRidge().fit(X, y, task=[np.nan, *task[1:]])
    numbers = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=np.searchsorted(NAMES, task))
    with refused("task", "numbers, as in fit", "text"):
        numbers.predict(X, task=task)
    with refused("task", "text, as in fit", "numbers"):
        model.predict(X, task=np.zeros(len(y)))


# Options ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name", "wanted", "found"),
    [
        ({"relation": "median"}, "relation", "'mean', 'independent', 'pooled'", "'median'"),
        ({"levels": "median"}, "levels", "'mean', 'free', 'common', 'tied'", "'median'"),
        ({"relation": np.eye(2)}, "relation", "an array of shape (3, 3)", "(2, 2)"),
        ({"relation": -np.eye(3)}, "relation", "a positive semidefinite matrix", "-1"),
        ({"levels": lambda labels: np.eye(2)}, "levels", "an array of shape (3, 3)", "(2, 2)"),
        ({"weigh": "both"}, "weigh", "'tasks', 'rows'", "'both'"),
        ({"unknown": "ignore"}, "unknown", "'raise', 'mean'", "'ignore'"),
        ({"strength": []}, "strength", "at least one number", "none"),
        ({"strength": -1.0}, "strength", "a finite number of at least 0", "-1.0"),
        ({"strength": [1.0, np.inf]}, "strength", "a finite number of at least 0", "inf"),
        ({"strength": "strong"}, "strength", "a finite number", "'strong'"),
        ({"level_strength": -1.0}, "strength of the levels", "a finite number of at least 0", "-1.0"),
        ({"rho": 1.5}, "rho", "numbers from 0 to 1", "1.5"),
        ({"rho": -0.1}, "rho", "a finite number of at least 0", "-0.1"),
        ({"rho": []}, "rho", "at least one number", "none"),
        ({"cv": 1}, "cv", "a whole number of at least 2", "1"),
        ({"cv": []}, "cv", "at least one pair of row indices", "none"),
    ],
)
def test_options_that_make_no_sense_are_refused(rows, options, name, wanted, found):
    X, y, task = rows
    with refused(name, wanted, found):
        MultiTaskRidge(**options).fit(X, y, task=task)


def test_one_row_has_nothing_to_choose_by():
    with refused("X", "at least two rows", "1 sample", "a number for each strength"):
        MultiTaskRidge().fit([[1.0]], [2.0])
    assert MultiTaskRidge(strength=1.0, level_strength=0.0).fit([[1.0]], [2.0]).predict([[5.0]]) == [2.0]


# scikit-learn's own -----------------------------------------------------------


class ByFirstFeature(MultiTaskRidge):
    """The checks know no task column: here each row's task is read from its first feature."""

    @staticmethod
    def _labels(X):
        try:
            found = np.asarray(X)
            return (
                None if found.dtype.kind == "c" else np.where(found.astype(float)[:, 0] > 0.3, "high", "low")
            )
        except (TypeError, ValueError, IndexError):
            return None

    def fit(self, X, y):
        return super().fit(X, y, task=self._labels(X))

    def predict(self, X, task=None):
        return super().predict(X, task=self._labels(X))


KINDS = [
    MultiTaskRidge(),
    MultiTaskRidge("independent", levels="free", strength=(0.01, 0.1, 1.0)),
    MultiTaskRidge("pooled", weigh="rows", strength=0.1),
    MultiTaskRidge(levels="tied", strength=(0.01, 0.1)),
    ByFirstFeature(unknown="mean", strength=(0.01, 0.1), level_strength=(0.0, 0.1)),
]


# No check is expected to fail. What they do not reach: none passes a task column, which is why the last
# kind reads it from the inputs, and those of several outputs do not apply to one column of targets.
@parametrize_with_checks(KINDS, expected_failed_checks=lambda estimator: {})
def test_scikit_learn_finds_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def requested(**options) -> MultiTaskRidge:
    model = MultiTaskRidge(**options).set_fit_request(task=True).set_predict_request(task=True)
    return model.set_score_request(task=True)


def test_a_pipeline_passes_the_labels_on(rows, routing):
    X, y, task = rows
    pipe = make_pipeline(StandardScaler(), requested(strength=0.3, level_strength=0.1)).fit(X, y, task=task)
    alone = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    np.testing.assert_allclose(pipe.predict(X, task=task), alone.predict(X, task=task), rtol=1e-9)
    assert pipe.score(X, y, task=task) == pytest.approx(alone.score(X, y, task=task))


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_grid_search_passes_each_fold_its_labels(rows, routing, in_pipeline):
    X, y, task = rows
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, task))
    grid, model = [0.1, 1.0, 10.0], requested(level_strength=0.1)
    key = "strength"
    if in_pipeline:
        model, key = make_pipeline(StandardScaler(), model), "multitaskridge__strength"
    search = GridSearchCV(model, {key: grid}, cv=folds).fit(X, y, task=task)
    literal = np.zeros((3, 3))
    for i, strength in enumerate(grid):
        for k, (train, test) in enumerate(folds):
            part = MultiTaskRidge(strength=strength, level_strength=0.1).fit(
                X[train], y[train], task=task[train]
            )
            literal[i, k] = r2_score(y[test], part.predict(X[test], task=task[test]))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], literal.mean(axis=1), rtol=1e-9)
    assert search.best_params_ == {key: grid[literal.mean(axis=1).argmax()]}
    best = MultiTaskRidge(strength=search.best_params_[key], level_strength=0.1).fit(X, y, task=task)
    found = search.best_estimator_.predict(X, task=task)
    np.testing.assert_allclose(found, best.predict(X, task=task), rtol=1e-9)


def test_scores_can_be_cross_validated_and_tasks_left_out_as_groups(rows, routing):
    X, y, task = rows
    model = requested(strength=0.3, level_strength=0.1, unknown="mean")
    scores = cross_val_score(
        model, X, y, cv=GroupKFold(3).set_split_request(groups=True), params={"task": task, "groups": task}
    )
    assert scores.shape == (3,)
    for train, test in GroupKFold(3).split(X, y, groups=task):
        part = clone(model).fit(X[train], y[train], task=task[train])
        assert any(part.score(X[test], y[test], task=task[test]) == pytest.approx(score) for score in scores)
    with pytest.warns(UserWarning, match="unknown='mean'"):
        cross_val_score(
            requested(strength=0.3, level_strength=0.1),
            X,
            y,
            cv=GroupKFold(3).set_split_request(groups=True),
            params={"task": task, "groups": task},
        )


def test_an_inner_splitter_sees_the_labels_as_groups(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=[0.1, 1.0], cv=GroupKFold(3)).fit(X, y, task=task)
    pairs = list(GroupKFold(3).split(X, y, groups=task))
    literal = MultiTaskRidge(strength=[0.1, 1.0], cv=pairs).fit(X, y, task=task)
    np.testing.assert_array_equal(model.cv_results_["error"], literal.cv_results_["error"])


def test_the_score_is_r2_over_all_rows(rows):
    X, y, task = rows
    model = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(X, y, task=task)
    guess = model.predict(X, task=task)
    literal = 1 - np.sum((guess - y) ** 2) / np.sum((y - y.mean()) ** 2)
    assert model.score(X, y, task=task) == pytest.approx(literal)
    weights = np.arange(1.0, len(y) + 1)
    assert model.score(X, y, task=task, sample_weight=weights) == pytest.approx(
        r2_score(y, guess, sample_weight=weights)
    )


def test_a_data_frame_gives_its_names(rows):
    X, y, task = rows
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MultiTaskRidge(strength=0.3, level_strength=0.1).fit(frame, pd.Series(y), task=pd.Series(task))
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict(frame, task=task), model.predict(frame, task=pd.Series(task)))


def test_models_are_cloned_pickled_and_asked_too_early(rows):
    X, y, task = rows
    model = MultiTaskRidge(full_penalty(), 0.3, level_strength=0.1)
    with pytest.raises(NotFittedError):
        model.predict(X, task=task)
    copy = clone(model).fit(X, y, task=task)
    assert not hasattr(model, "coef_")
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(copy)).predict(X, task=task), copy.predict(X, task=task)
    )


def test_nothing_given_is_changed(rows):
    X, y, task = rows
    P, strengths = full_penalty(), np.array([0.1, 1.0])
    with unchanged(X, y, task, P, strengths):
        MultiTaskRidge(P, strengths).fit(X, y, task=task).predict(X, task=task)


def test_the_example_of_the_docstring_runs():
    found = doctest.testmod(estimators)
    assert found.attempted >= 3
    assert found.failed == 0


def test_without_scikit_learn_the_room_names_the_command_that_installs_it():
    code = "import sys; sys.modules['sklearn'] = None; import mtlbook.estimators"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install scikit-learn" in run.stderr


# Tables of other shapes -------------------------------------------------------


def planted(sizes, d, seed=0, level=1.0, spread=0.3, noise=1.0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(task), d))
    W = rng.normal(size=d)[:, None] + spread * rng.normal(size=(d, len(sizes)))
    levels = level * rng.normal(size=len(sizes))
    return X, np.einsum("rk,rk->r", X, W.T[task]) + levels[task] + noise * rng.normal(size=len(task)), task


def test_a_table_like_the_schools_is_fitted():
    """139 tasks of 22 to 251 rows over 27 features, yes or no, some of them the same for a whole task."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(22, 199, size=139)
    task = np.repeat([f"school {i}" for i in range(139)], sizes)
    X = (rng.random((len(task), 27)) < 0.3).astype(float)
    X[:, 20:] = np.repeat((rng.random((139, 7)) < 0.3).astype(float), sizes, axis=0)
    y = X @ rng.normal(size=27) + np.repeat(rng.normal(size=139), sizes) + 3 * rng.normal(size=len(task))
    test = rng.random(len(task)) < 0.25
    model = MultiTaskRidge().fit(X[~test], y[~test], task=task[~test])
    alone = MultiTaskRidge("independent", levels="free").fit(X[~test], y[~test], task=task[~test])
    scores = [m.score(X[test], y[test], task=task[test]) for m in (alone, model)]
    assert scores[1] > scores[0]
    assert model.coef_.shape == (27, 139)


def test_a_table_like_the_robot_arm_is_fitted():
    """7 tasks over 21 features that share all their inputs."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(6000, 21))
    X, task = np.tile(shared, (7, 1)), np.repeat(np.arange(7), 6000)
    W = rng.normal(size=(21, 7))
    y = np.einsum("rk,rk->r", X, W.T[task]) + rng.normal(size=len(task))
    model = MultiTaskRidge().fit(X, y, task=task)
    for i in range(7):
        line = LinearRegression().fit(shared, y[task == i])
        np.testing.assert_allclose(model.coef_[:, i], line.coef_, atol=0.01)


def test_a_table_like_the_survey_is_fitted():
    """180 people who rate 20 computers by 13 features: 8 to learn from, 12 to predict."""
    X, y, task = planted([20] * 180, 13, level=2.0, spread=0.5)
    X = (X > 0).astype(float)
    kept = np.arange(len(y)) % 20 < 8
    scores = {
        name: MultiTaskRidge(**options)
        .fit(X[kept], y[kept], task=task[kept])
        .score(X[~kept], y[~kept], task=task[~kept])
        for name, options in {
            "mean": {},
            "apart": {"relation": "independent", "levels": "free"},
            "pooled": {"relation": "pooled", "levels": "common"},
        }.items()
    }
    assert scores["mean"] > max(scores["apart"], scores["pooled"])


@pytest.mark.parametrize("relation", ["mean", "independent", "pooled"])
@pytest.mark.parametrize("levels", ["mean", "free", "common", "tied"])
def test_tasks_of_one_or_two_rows_are_fitted_and_validated(relation, levels):
    X, y, task = planted([1, 2, 1, 9, 2, 12], 3)
    model = MultiTaskRidge(relation, levels=levels).fit(X, y, task=task)
    assert np.isfinite(model.cv_results_["error"]).all()
    assert np.isfinite(model.predict(X, task=task)).all()


@pytest.mark.parametrize("relation", ["mean", "independent", "pooled"])
def test_more_features_than_rows_are_fitted(relation):
    X, y, task = planted([5, 4, 6], 40)
    model = MultiTaskRidge(relation, rho=[0.0, 0.01]).fit(X, y, task=task)
    assert np.isfinite(model.coef_).all()
    assert np.abs(model.predict(X, task=task)).max() <= 100 * np.abs(y).max()


def test_a_feature_that_is_constant_everywhere_gets_no_slope():
    X, y, task = planted([9, 7, 8], 3)
    X[:, 1] = 1e6 / 3
    model = MultiTaskRidge().fit(X, y, task=task)
    np.testing.assert_array_equal(model.coef_[1], 0.0)
    without = MultiTaskRidge().fit(X[:, [0, 2]], y, task=task)
    np.testing.assert_allclose(model.coef_[[0, 2]], without.coef_, rtol=1e-6)


def test_a_feature_that_is_constant_in_each_task_still_tells_tasks_apart():
    rng = np.random.default_rng(0)
    sizes = [3] * 60
    place = np.repeat(rng.normal(size=60), sizes)
    X = np.column_stack([rng.normal(size=180), place])
    task = np.repeat(np.arange(60), sizes)
    y = X @ [1.0, 5.0] + rng.normal(size=180)
    model = MultiTaskRidge().fit(X, y, task=task)
    assert model.coef_[1].mean() == pytest.approx(5.0, rel=0.1)
