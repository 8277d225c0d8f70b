"""Features brought into one space: by name, without a leak, with targets left as they are."""

import numpy as np
import pytest
from helpers import full_penalty, make_tasks, refused, unchanged

from mtlbook import Tasks, relations
from mtlbook.inputs import align, standardize_inputs
from mtlbook.losses import Squared
from mtlbook.mixed import MixedRegularized
from mtlbook.newton import newton

FEATURES = (("warm", "holiday"), ("holiday", "rain", "warm"), ("rain",))
rng = np.random.default_rng(0)
X = [rng.normal(size=(m, len(own))) for m, own in zip((5, 8, 11), FEATURES, strict=True)]
Y = [rng.normal(size=m) for m in (5, 8, 11)]


def test_equal_names_share_a_column_and_others_are_zero():
    tasks, features = align(X, Y, FEATURES, ["a", "b", "c"])
    assert features == ("warm", "holiday", "rain")
    assert tasks.names == ("a", "b", "c")
    for x, shared, own in zip(X, tasks.X, FEATURES, strict=True):
        for k, name in enumerate(features):
            column = x[:, own.index(name)] if name in own else np.zeros(len(x))
            np.testing.assert_array_equal(shared[:, k], column)
    for given, y in zip(Y, tasks.y, strict=True):
        np.testing.assert_array_equal(y, given)


def test_tasks_that_share_all_features_stay_as_they_are():
    given = make_tasks()
    tasks, features = align(given.X, given.y, ["abcd"] * 3)
    assert features == tuple("abcd")
    for before, after in zip(given.X, tasks.X, strict=True):
        np.testing.assert_array_equal(before, after)


def test_uncoupled_tasks_are_fitted_as_in_their_own_space():
    tasks, features = align(X, Y, FEATURES)
    W = newton(MixedRegularized(tasks, np.eye(3), 0.3, Squared()), tolerance=1e-13).W
    for i, (x, y, own) in enumerate(zip(X, Y, FEATURES, strict=True)):
        alone = np.linalg.solve(x.T @ x / len(x) + 0.3 * np.eye(len(own)), x.T @ y / len(x))
        for name, weight in zip(features, W[:, i], strict=True):
            assert weight == pytest.approx(alone[own.index(name)] if name in own else 0.0, abs=1e-10)


def test_the_weight_of_a_feature_never_asked_for_is_what_the_penalty_makes_of_the_others():
    P = relations.laplacian([[0, 2, 1], [2, 0, 1], [1, 1, 0]]) + 0.5 * np.eye(3)
    tasks, features = align(X, Y, FEATURES)
    W = newton(MixedRegularized(tasks, P, 0.3, Squared()), tolerance=1e-13).W
    for i, own in enumerate(FEATURES):
        for k, name in enumerate(features):
            if name not in own:
                others = sum(P[i, j] * W[k, j] for j in range(3) if j != i)
                assert W[k, i] == pytest.approx(-others / P[i, i], abs=1e-10)


@pytest.mark.parametrize(
    ("features", "name", "wanted", "found"),
    [
        (FEATURES[:2], "features", "3 lists of names", "2"),
        ((*FEATURES[:2], ("rain", "sun")), "X of task 2", "shape (m, 2)", "shape (11, 1)"),
        ((("warm", "warm"), *FEATURES[1:]), "features", "distinct names", "'warm' more than once for task 0"),
    ],
)
def test_features_that_do_not_match_are_refused(features, name, wanted, found):
    with refused(name, wanted, found):
        align(X, Y, features)


def test_inputs_are_scaled_by_all_training_rows_and_get_a_constant():
    train, test = make_tasks(scales=np.array([1.0, 10, 0.1, 3])), make_tasks((3, 4, 6), seed=5)
    one, two = standardize_inputs(train, test, constant=7.0)
    rows = np.concatenate(train.X)
    for before, after in ((train, one), (test, two)):
        for i in range(3):
            for r in range(len(before.y[i])):
                literal = [(before.X[i][r, k] - np.mean(rows[:, k])) / np.std(rows[:, k]) for k in range(4)]
                np.testing.assert_allclose(after.X[i][r], [*literal, 7.0], rtol=1e-12)
            np.testing.assert_array_equal(after.y[i], before.y[i])
        assert after.names == before.names
    assert standardize_inputs(train)[0].X[0][0, -1] == 10.0


def test_the_larger_the_constant_the_cheaper_the_intercept():
    tasks = Tasks([np.zeros((4, 1))], [[3.0, 3.0, 3.0, 3.0]])
    found = []
    for constant in (1.0, 10.0):
        (scaled,) = standardize_inputs(tasks, constant=constant)
        found.append(constant * newton(MixedRegularized(scaled, np.eye(1), 1.0, Squared())).W[-1, 0])
    np.testing.assert_allclose(found, [1.5, 3 / 1.01], rtol=1e-9)


def test_a_constant_feature_becomes_zero():
    tasks = Tasks([[[2.0, 1.0], [2.0, 3.0]]], [[0.0, 1.0]])
    np.testing.assert_array_equal(standardize_inputs(tasks)[0].X[0], [[0, -1, 10], [0, 1, 10]])


def test_what_cannot_be_standardized_is_refused():
    tasks = make_tasks()
    with refused("others", "4 features", "3", "Split one Tasks"):
        standardize_inputs(tasks, make_tasks(d=3))
    with refused("constant", "above 0", "0"):
        standardize_inputs(tasks, constant=0)
    with refused("train and others", "a Tasks", "list", kind=TypeError):
        standardize_inputs(tasks, [])


def test_nothing_given_is_changed():
    tasks = make_tasks()
    with unchanged(*X, *Y, *tasks.X, *tasks.y, full_penalty()):
        align(X, Y, FEATURES)
        standardize_inputs(tasks, tasks)
