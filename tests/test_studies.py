"""The stored numbers of every study are whole, are its own, and come out again when computed live."""

import numpy as np
import pytest
from studies import false_relatedness, learners, what_sharing_buys

from mtlbook import cross_validate, fit, k_folds, relations, squared_errors, standardize
from mtlbook.experiments import Study, recall, recheck
from mtlbook.planted import planted_families
from tools.studies import modules, studies

ALL = [study for module in modules() for study in studies(module)]
AGAIN = 2


def test_the_studies_are_found() -> None:
    assert {study.name for study in ALL} >= {"what_sharing_buys.errors", "false_relatedness.correlation"}
    assert len({study.path for study in ALL}) == len(ALL)


def test_no_stored_file_outlives_its_study() -> None:
    folder = ALL[0].path.parent
    assert sorted(folder.iterdir()) == sorted(study.path for study in ALL)


@pytest.mark.parametrize("study", ALL, ids=lambda study: study.name)
def test_stored_numbers_come_out_again(study: Study) -> None:
    # Other cases each time: what is stale does not stay hidden for long.
    recheck(study, np.random.default_rng(), AGAIN)


@pytest.mark.parametrize("study", ALL, ids=lambda study: study.name)
def test_a_study_has_at_least_ten_seeds(study: Study) -> None:
    assert len(study.axes["seed"]) >= 10
    recall(study)


# Learners ---------------------------------------------------------------------


@pytest.fixture
def planted():
    return planted_families(
        np.random.default_rng(0),
        n_tasks=5,
        n_families=2,
        n_features=3,
        n_rows=[9, 12, 10, 15, 11],
        level_spread=3.0,
    )


@pytest.fixture
def folds(planted):
    return k_folds(planted.tasks, 3, np.random.default_rng(1))


def test_held_out_errors_are_those_of_cross_validate(planted, folds) -> None:
    inside = [learners.centred(*fold) for fold in folds]
    for P in (relations.independent(5), learners.dial(planted.Z, 0.2), relations.to_mean(5)):
        expected = cross_validate(inside, P, [0.1, 1.0, 7.0]).mean
        np.testing.assert_allclose(learners.held_out(inside, P, [0.1, 1.0, 7.0]), expected, rtol=1e-9)


def test_centring_uses_the_training_rows_alone(planted, folds) -> None:
    train, test = folds[0]
    near, far = learners.centred(train, test)
    for i in range(5):
        np.testing.assert_allclose(far.X[i], test.X[i] - train.X[i].mean(axis=0))
        np.testing.assert_allclose(far.y[i], test.y[i] - train.y[i].mean())
        np.testing.assert_allclose(near.y[i].mean(), 0.0, atol=1e-12)
    scaled = standardize(train, test)[1]
    np.testing.assert_allclose(scaled.y[2], far.y[2])


def test_the_dial_leads_from_families_to_single_task(planted) -> None:
    labels = planted.Z.argmax(axis=1)
    np.testing.assert_allclose(learners.dial(planted.Z, 0.0), relations.clusters(labels), atol=1e-12)
    np.testing.assert_allclose(learners.dial(planted.Z, 1.0), np.eye(5), atol=1e-12)
    middle = 0.75 * relations.clusters(labels) + 0.25 * np.eye(5)
    np.testing.assert_allclose(learners.dial(planted.Z, 0.25), middle, atol=1e-12)


def test_every_learner_has_equally_many_candidates() -> None:
    pairs = len(learners.RHOS) * len(learners.STRENGTHS)
    assert pairs == len(learners.FINE) == len(learners.SLOPES) * len(learners.LEVELS) == 32
    assert 1.0 in learners.RHOS
    for grid in (learners.STRENGTHS, learners.FINE):
        np.testing.assert_allclose(grid[[0, -1]], [10**-2.5, 10**1.5])


def test_choices_have_the_least_error_on_the_folds(planted, folds) -> None:
    inside = [learners.centred(*fold) for fold in folds]
    P, strength = learners.coupled(planted.tasks, folds, planted.Z)
    runs = {
        rho: cross_validate(inside, learners.dial(planted.Z, rho), learners.STRENGTHS)
        for rho in learners.RHOS
    }
    best = min(runs, key=lambda rho: runs[rho].mean.min())
    np.testing.assert_allclose(P, learners.dial(planted.Z, best), atol=1e-12)
    assert strength == pytest.approx(runs[best].best)
    found = []
    for seed in range(4):
        noisy = planted_families(np.random.default_rng(seed), n_tasks=5, n_rows=9, noise=2.0).tasks
        other = k_folds(noisy, 3, np.random.default_rng(seed))
        P, strength = learners.alone(noisy, other)
        np.testing.assert_array_equal(P, np.eye(5))
        runs = cross_validate([learners.centred(*fold) for fold in other], np.eye(5), learners.FINE)
        assert strength == pytest.approx(runs.best)
        found.append(strength)
    assert max(np.abs(np.log(learners.STRENGTHS / strength)).min() for strength in found) > 0.1


def test_levels_of_fitted_weights_are_the_best_for_their_task(planted) -> None:
    """Moving a level either way only adds to the training error."""
    tasks = planted.tasks
    W, a = learners.fitted(tasks, learners.dial(planted.Z, 0.1), 0.3)
    for i, (X, y) in enumerate(tasks):
        errors = [np.mean((level + X @ W[:, i] - y) ** 2) for level in (a[i] - 1e-3, a[i], a[i] + 1e-3)]
        assert errors[1] == min(errors)
    np.testing.assert_allclose(
        W, fit(learners.centred(tasks)[0], learners.dial(planted.Z, 0.1), 0.3).W, rtol=1e-9
    )


def test_pooled_weights_are_one_ridge_regression_on_all_centred_rows(planted, folds) -> None:
    from sklearn.linear_model import Ridge

    W, a = learners.pooled(planted.tasks, folds)
    inside = learners.centred(planted.tasks)[0]
    X, y = np.concatenate(inside.X), np.concatenate(inside.y)
    one = [tuple(learners.joined(part) for part in learners.centred(*fold)) for fold in folds]
    strength = cross_validate(one, np.eye(1), learners.FINE).best
    ridge = Ridge(alpha=strength * len(y), fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(W, np.repeat(ridge.coef_[:, None], 5, axis=1), rtol=1e-8)
    np.testing.assert_allclose(a, learners.levels(W, planted.tasks))


def test_the_random_intercept_minimises_what_it_says(planted) -> None:
    """Against CVXPY, and with one level for all where the levels' penalty is huge."""
    import cvxpy as cp

    w, a = cp.Variable(3), cp.Variable(5)
    loss = sum(cp.sum_squares(a[i] + X @ w - y) / len(y) for i, (X, y) in enumerate(planted.tasks))
    penalty = 0.02 * 5 * cp.sum_squares(w) + 0.3 * cp.sum_squares(a - cp.sum(a) / 5)
    cp.Problem(cp.Minimize(loss + penalty)).solve()
    W, levels = learners.intercept(*learners.intercept_sums(planted.tasks), 0.02, 0.3)
    np.testing.assert_allclose(W, np.repeat(w.value[:, None], 5, axis=1), atol=1e-5)
    np.testing.assert_allclose(levels, a.value, atol=1e-5)
    _, level = learners.intercept(*learners.intercept_sums(planted.tasks), 0.02, 1e9)
    assert np.ptp(level) < 1e-6
    assert np.ptp(levels) > 1


def test_the_random_intercept_takes_the_pair_with_the_least_error_on_the_folds(planted, folds) -> None:
    def error(slope: float, level: float) -> float:
        total = 0.0
        for train, test in folds:
            W, a = learners.intercept(*learners.intercept_sums(train), slope, level)
            total += np.mean([np.mean((a[i] + X @ W[:, i] - y) ** 2) for i, (X, y) in enumerate(test)])
        return total

    pairs = [(slope, level) for slope in learners.SLOPES for level in learners.LEVELS]
    best = min(pairs, key=lambda pair: error(*pair))
    expected = learners.intercept(*learners.intercept_sums(planted.tasks), *best)
    for found, wanted in zip(learners.random_intercept(planted.tasks, folds), expected, strict=True):
        np.testing.assert_allclose(found, wanted)
    assert learners.random_intercept(planted.tasks, folds)[0].shape == (3, 5)


def test_a_last_feature_of_ones_carries_the_level(planted) -> None:
    W, a = np.random.default_rng(3).normal(size=(3, 5)), np.arange(5.0)
    expected = [np.mean((a[i] + X @ W[:, i] - y) ** 2) for i, (X, y) in enumerate(planted.tasks)]
    np.testing.assert_allclose(squared_errors(np.vstack([W, a]), learners.with_ones(planted.tasks)), expected)


def test_where_slopes_are_the_same_the_random_intercept_shrinks_levels_that_are_noise() -> None:
    """With one slope vector and no levels, shrunken levels beat free ones on average."""
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        planted = planted_families(rng, n_families=1, spread=0.0, n_rows=6, n_features=3)
        folds = k_folds(planted.tasks, 3, rng)
        free, shrunk = learners.pooled(planted.tasks, folds), learners.random_intercept(planted.tasks, folds)
        gains.append(planted.risks(*free).mean() - planted.risks(*shrunk).mean())
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / np.sqrt(10)


# Worlds -----------------------------------------------------------------------


def test_false_families_never_hold_two_relatives() -> None:
    together = false_relatedness.BY_TURNS @ false_relatedness.BY_TURNS.T
    claimed = false_relatedness.IN_BLOCKS @ false_relatedness.IN_BLOCKS.T
    np.testing.assert_array_equal(together * claimed, np.eye(12))


def test_the_worlds_are_what_the_chapter_says() -> None:
    rng = np.random.default_rng(0)
    sizes = {}
    for name in what_sharing_buys.WORLDS:
        planted = what_sharing_buys.world(name, 7, rng)
        assert repr(planted.tasks) == "Tasks(12 tasks, 84 rows, 10 features)"
        assert np.std(planted.levels) > 0
        sizes[name] = planted.Z.shape[1], len(np.unique(planted.W[0].round(9)))
    assert sizes == {"families": (3, 12), "one family": (1, 12), "same slopes": (1, 1), "unrelated": (3, 12)}
