"""Planted worlds are made as stated, and their risks are what fresh rows would show."""

from itertools import product

import numpy as np
import pytest
from helpers import refused, unchanged

from mtlbook.planted import Planted, planted_continuum, planted_correlated, planted_families

WORLDS = {
    "families": planted_families,
    "correlated": planted_correlated,
    "continuum": planted_continuum,
}
each_world = pytest.mark.parametrize("plant", WORLDS.values(), ids=WORLDS)


# All worlds -------------------------------------------------------------------


@each_world
def test_worlds_have_the_sizes_asked_for(rng, plant):
    planted = plant(rng, n_tasks=5, n_features=3, n_rows=[4, 1, 7, 2, 9])
    tasks, W, Z = planted
    assert (len(tasks), tasks.n_features, tasks.n_rows) == (5, 3, (4, 1, 7, 2, 9))
    assert (W.shape, len(Z), planted.levels.shape) == ((3, 5), 5, (5,))
    assert plant(rng, n_tasks=4, n_rows=6).tasks.n_rows == (6, 6, 6, 6)
    assert repr(plant(rng).tasks) == "Tasks(12 tasks, 240 rows, 5 features)"


@each_world
def test_without_noise_targets_are_inputs_times_planted_weights(rng, plant):
    tasks, W, _ = plant(rng, n_tasks=4, n_rows=[3, 5, 2, 6], noise=0.0)
    for i, (X, y) in enumerate(tasks):
        np.testing.assert_allclose(y, [sum(x[k] * W[k, i] for k in range(5)) for x in X], rtol=1e-12)


@each_world
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_targets_err_by_the_noise_asked_for(rng, plant, noise):
    planted = plant(rng, n_tasks=4, n_rows=4000, noise=noise)
    errors = np.concatenate([y - X @ w for (X, y), w in zip(planted.tasks, planted.W.T, strict=True)])
    assert errors.std() == pytest.approx(noise, rel=0.03)
    assert planted.noise == noise


@each_world
def test_inputs_are_standard_normal(rng, plant):
    X = np.concatenate(plant(rng, n_tasks=4, n_features=6, n_rows=2000).tasks.X)
    np.testing.assert_allclose(X.T @ X / len(X), np.eye(6), atol=0.05)
    np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=0.05)


@each_world
def test_the_same_generator_plants_the_same_world_and_the_next_draw_another(plant):
    first, second = (plant(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.W, second.W)
    np.testing.assert_array_equal(first.Z, second.Z)
    for one, other in zip((*first.tasks.X, *first.tasks.y), (*second.tasks.X, *second.tasks.y), strict=True):
        np.testing.assert_array_equal(one, other)
    source = np.random.default_rng(3)
    assert not np.array_equal(plant(source).W, plant(source).W)


@each_world
def test_noise_is_one_by_default_and_only_scales_the_errors(plant):
    default, quiet = plant(np.random.default_rng(3)), plant(np.random.default_rng(3), noise=0.0)
    stated = plant(np.random.default_rng(3), noise=3.0)
    for y, without, loud in zip(default.tasks.y, quiet.tasks.y, stated.tasks.y, strict=True):
        np.testing.assert_allclose(loud - without, 3 * (y - without), rtol=1e-10)


@each_world
@pytest.mark.parametrize(
    ("options", "name", "wanted", "found"),
    [
        ({"n_tasks": 0}, "n_tasks", "a whole number of at least 1", "0"),
        ({"n_tasks": 2.5}, "n_tasks", "a whole number", "2.5"),
        ({"n_features": 0}, "n_features", "a whole number of at least 1", "0"),
        ({"n_rows": 0}, "n_rows", "a whole number of at least 1", "0"),
        ({"n_rows": "20"}, "n_rows", "a whole number", "'20'"),
        ({"n_tasks": 4, "n_rows": [5, 5]}, "n_rows", "one number, or 4 of them", "2"),
        ({"n_tasks": 4, "n_rows": [5, 0, 5, 5]}, "n_rows", "a whole number of at least 1", "0"),
        ({"noise": -0.1}, "noise", "a finite number of at least 0", "-0.1"),
        ({"noise": np.nan}, "noise", "a finite number", "nan"),
    ],
)
def test_what_no_world_can_be_is_refused(rng, plant, options, name, wanted, found):
    with refused(name, wanted, found):
        plant(rng, **options)


@each_world
def test_a_bare_seed_is_refused(plant):
    with pytest.raises(TypeError, match=r"rng: wanted a Generator.*default_rng\(seed\)"):
        plant(0)


@each_world
def test_planting_changes_nothing_given(rng, plant):
    rows = np.full(12, 4)
    with unchanged(rows):
        plant(rng, n_rows=rows)


# The truth --------------------------------------------------------------------


def test_a_world_unpacks_into_tasks_weights_and_descriptors(rng):
    planted = planted_families(rng)
    tasks, W, Z = planted
    assert tasks is planted.tasks
    assert W is planted.W
    assert Z is planted.Z


def test_the_truth_cannot_be_changed(rng):
    planted = planted_families(rng, level_spread=1.0)
    for array in (planted.W, planted.Z, planted.levels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


@pytest.mark.parametrize("noise", [0.0, 1.0, 0.3])
def test_risks_are_the_expected_squared_error_on_a_fresh_row(rng, noise):
    """Against Gauss quadrature over two inputs and the noise, exact for squares of linear functions."""
    planted = planted_families(rng, n_tasks=3, n_features=2, noise=noise, level_spread=1.5)
    V, a = rng.normal(size=(2, 3)), rng.normal(size=3)
    nodes, mass = np.polynomial.hermite_e.hermegauss(3)
    mass = mass / mass.sum()
    for i, risk in enumerate(planted.risks(V, a)):
        expected = 0.0
        for p, q, s in product(range(3), repeat=3):
            x = nodes[[p, q]]
            y = planted.levels[i] + x @ planted.W[:, i] + noise * nodes[s]
            expected += mass[p] * mass[q] * mass[s] * (a[i] + x @ V[:, i] - y) ** 2
        assert risk == pytest.approx(expected, rel=1e-12)


def test_the_truth_errs_by_the_noise_alone_and_levels_left_out_are_zero(rng):
    planted = planted_families(rng, level_spread=2.0, noise=0.7)
    np.testing.assert_allclose(planted.risks(planted.W, planted.levels), 0.49)
    np.testing.assert_allclose(planted.risks(planted.W), 0.49 + planted.levels**2)


def test_risks_refuse_what_does_not_fit(rng):
    planted = planted_families(rng, n_tasks=4, n_features=3)
    with refused("W", "(3, 4)", "(4, 3)", "transposed"):
        planted.risks(planted.W.T)
    with refused("levels", "(4,)", "(3,)"):
        planted.risks(planted.W, np.zeros(3))


# Families ---------------------------------------------------------------------


@pytest.mark.parametrize("plant", [planted_families, planted_correlated])
def test_families_take_turns(rng, plant):
    Z = [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]
    np.testing.assert_array_equal(plant(rng, n_tasks=5, n_families=2).Z, Z)


@pytest.mark.parametrize("plant", [planted_families, planted_correlated])
def test_more_families_than_tasks_are_refused(rng, plant):
    with refused("n_families", "at most n_tasks = 2", "3"):
        plant(rng, n_tasks=2, n_families=3)
    with refused("n_families", "a whole number of at least 1", "0"):
        plant(rng, n_families=0)
    assert plant(rng, n_tasks=2, n_families=2).Z.shape == (2, 2)


def test_without_spread_a_family_shares_its_weights_and_families_differ(rng):
    W = planted_families(rng, n_tasks=7, n_families=3, spread=0.0).W
    np.testing.assert_array_equal(W[:, 3:6], W[:, :3])
    np.testing.assert_array_equal(W[:, 6], W[:, 0])
    assert len(np.unique(W[0])) == 3


def test_families_are_drawn_as_written_and_nothing_else_is_drawn():
    """Literally, draw by draw; what a chapter draws afterwards does not depend on options it does not use."""
    given, literal = np.random.default_rng(8), np.random.default_rng(8)
    planted = planted_families(given, n_tasks=3, n_families=2, n_features=4, n_rows=[5, 8, 11], noise=0.5)
    centres, own = literal.normal(size=(4, 2)), literal.normal(size=(4, 3))
    inputs = [literal.normal(size=(m, 4)) for m in (5, 8, 11)]
    for i, (X, y) in enumerate(planted.tasks):
        w = centres[:, i % 2] + 0.3 * own[:, i]
        np.testing.assert_allclose(planted.W[:, i], w)
        np.testing.assert_array_equal(X, inputs[i])
        np.testing.assert_allclose(y, X @ w + 0.5 * literal.normal(size=len(y)))
    assert given.normal() == literal.normal()


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_weights_scatter_around_their_family_as_asked(rng, spread):
    W = planted_families(rng, n_tasks=4000, n_families=1, n_features=5, n_rows=1, spread=spread).W
    deviations = W - W.mean(axis=1, keepdims=True)
    assert deviations.std() == pytest.approx(spread, rel=0.02)


def test_centres_are_standard_normal(rng):
    W = planted_families(rng, n_tasks=800, n_families=800, n_features=6, n_rows=1, spread=0.0).W
    assert W.mean() == pytest.approx(0.0, abs=0.05)
    assert W.std() == pytest.approx(1.0, rel=0.03)


def test_families_are_three_close_and_without_levels_by_default():
    default = planted_families(np.random.default_rng(3))
    stated = planted_families(np.random.default_rng(3), n_families=3, spread=0.3, outsiders=0)
    np.testing.assert_array_equal(default.W, stated.W)
    np.testing.assert_array_equal(default.levels, np.zeros(12))


def test_outsiders_are_the_last_tasks_and_keep_their_filing():
    plain, partial = (planted_families(np.random.default_rng(5), outsiders=k) for k in (0, 4))
    np.testing.assert_array_equal(plain.Z, partial.Z)
    np.testing.assert_array_equal(plain.W[:, :8], partial.W[:, :8])
    assert np.all(plain.W[:, 8:] != partial.W[:, 8:])
    for X, other in zip(plain.tasks.X, partial.tasks.X, strict=True):
        np.testing.assert_array_equal(X, other)
    for i in range(12):
        errors = [planted.tasks.y[i] - planted.tasks.X[i] @ planted.W[:, i] for planted in (plain, partial)]
        np.testing.assert_allclose(*errors, atol=1e-12)


def test_outsiders_have_weights_of_the_same_size_and_no_relatives(rng):
    W = planted_families(
        rng, n_tasks=3000, n_families=1, n_features=4, n_rows=1, spread=0.75, outsiders=2000
    ).W
    assert W[:, 1000:].std() == pytest.approx(1.25, rel=0.03)
    np.testing.assert_allclose(W[:, 1000:].mean(axis=1), 0.0, atol=0.1)
    assert np.abs(W[:, :1000].mean(axis=1)).max() > 0.5


def test_with_outsiders_alone_the_descriptors_claim_what_is_not_so(rng):
    planted = planted_families(rng, n_tasks=6, n_families=1, spread=0.0, outsiders=6)
    assert len(np.unique(planted.W[0])) == 6
    np.testing.assert_array_equal(planted.Z, np.ones((6, 1)))


@pytest.mark.parametrize("outsiders", [13, -1, 1.5])
def test_only_tasks_can_be_outsiders(rng, outsiders):
    with refused("outsiders", "", str(outsiders)):
        planted_families(rng, outsiders=outsiders)


def test_levels_lift_the_targets_of_their_task_and_change_nothing_else():
    flat, tall = (planted_families(np.random.default_rng(2), level_spread=s) for s in (0.0, 3.0))
    np.testing.assert_array_equal(flat.W, tall.W)
    for a, y, lifted in zip(tall.levels, flat.tasks.y, tall.tasks.y, strict=True):
        np.testing.assert_allclose(lifted - y, a)


def test_levels_scatter_as_asked(rng):
    levels = planted_families(rng, n_tasks=4000, n_families=1, n_rows=1, level_spread=2.5).levels
    assert levels.std() == pytest.approx(2.5, rel=0.05)
    assert levels.mean() == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("option", ["spread", "level_spread"])
def test_deviations_of_families_are_not_negative(rng, option):
    with refused(option, "a finite number of at least 0", "-0.1"):
        planted_families(rng, **{option: -0.1})


# Correlated -------------------------------------------------------------------


@pytest.mark.parametrize(("within", "between"), [(0.8, 0.0), (0.5, 0.2), (-0.4, 0.0), (1.0, 0.0), (0.0, 0.0)])
def test_weights_correlate_as_asked(rng, within, between):
    planted = planted_correlated(
        rng, n_tasks=5, n_families=2, n_features=40_000, n_rows=1, within=within, between=between
    )
    W, Z = planted.W, planted.Z
    for i, j in product(range(5), repeat=2):
        asked = 1.0 if i == j else within if np.array_equal(Z[i], Z[j]) else between
        assert W[:, i] @ W[:, j] / len(W) == pytest.approx(asked, abs=0.03)
    np.testing.assert_allclose(W.mean(axis=0), 0.0, atol=0.03)


def test_at_correlation_one_a_family_is_identical_to_rounding(rng):
    W = planted_correlated(rng, n_tasks=7, n_families=3, within=1.0).W
    np.testing.assert_allclose(W[:, 3:6], W[:, :3], atol=1e-12)
    assert np.ptp(W[:, :3]) > 0.1


def test_at_the_least_correlation_a_family_adds_up_to_zero(rng):
    W = planted_correlated(rng, n_tasks=6, n_families=2, within=-0.5).W
    np.testing.assert_allclose(W[:, ::2].sum(axis=1), 0.0, atol=1e-12)


def test_worlds_that_differ_in_correlation_have_the_same_inputs_and_noise():
    near, far = (planted_correlated(np.random.default_rng(4), within=r) for r in (0.9, 0.1))
    for i in range(12):
        np.testing.assert_array_equal(near.tasks.X[i], far.tasks.X[i])
        errors = [planted.tasks.y[i] - planted.tasks.X[i] @ planted.W[:, i] for planted in (near, far)]
        np.testing.assert_allclose(*errors, atol=1e-12)


@pytest.mark.parametrize(("within", "between"), [(1.1, 0.0), (-0.6, 0.0), (0.0, 0.9), (0.5, -0.5)])
def test_correlations_that_no_weights_have_are_refused(rng, within, between):
    with refused("within and between", "positive semidefinite", f"{within:g} and {between:g}", "nearer"):
        planted_correlated(rng, n_tasks=9, n_families=3, within=within, between=between)


# Continuum --------------------------------------------------------------------


def test_without_spread_weights_are_linear_in_the_descriptors(rng):
    _, W, Z = planted_continuum(rng, n_tasks=9, n_descriptors=3, n_features=4, spread=0.0)
    B = np.linalg.lstsq(Z, W.T, rcond=None)[0]
    np.testing.assert_allclose(Z @ B, W.T, atol=1e-10)
    assert Z.shape == (9, 3)


def test_a_continuum_scatters_as_asked(rng):
    _, W, Z = planted_continuum(rng, n_tasks=4000, n_descriptors=2, n_features=5, n_rows=1, spread=0.6)
    rest = W.T - Z @ np.linalg.lstsq(Z, W.T, rcond=None)[0]
    assert rest.std() == pytest.approx(0.6, rel=0.02)
    np.testing.assert_allclose(Z.T @ Z / len(Z), np.eye(2), atol=0.08)


def test_what_descriptors_explain_has_variance_one(rng):
    W = planted_continuum(rng, n_tasks=50, n_descriptors=3, n_features=4000, n_rows=1, spread=0.0).W
    assert np.mean(W**2) == pytest.approx(1.0, rel=0.25)
    _, W, Z = planted_continuum(rng, n_tasks=50, n_descriptors=3, n_features=4000, n_rows=1, spread=0.0)
    B = np.linalg.lstsq(Z, W.T, rcond=None)[0]
    assert B.std() == pytest.approx(1 / np.sqrt(3), rel=0.02)


def test_blur_touches_the_descriptors_shown_and_nothing_else():
    clear, dim, dimmer = (planted_continuum(np.random.default_rng(6), blur=b) for b in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(clear.W, dim.W)
    for y, other in zip(clear.tasks.y, dim.tasks.y, strict=True):
        np.testing.assert_array_equal(y, other)
    np.testing.assert_allclose(dimmer.Z - clear.Z, 2 * (dim.Z - clear.Z))
    wide = [planted_continuum(np.random.default_rng(6), n_tasks=3000, n_rows=1, blur=b).Z for b in (0.0, 0.5)]
    assert (wide[1] - wide[0]).std() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("options", "name", "found"),
    [
        ({"spread": -0.1}, "spread", "-0.1"),
        ({"blur": -0.1}, "blur", "-0.1"),
        ({"n_descriptors": 0}, "n_descriptors", "0"),
    ],
)
def test_what_no_continuum_can_be_is_refused(rng, options, name, found):
    with refused(name, "of at least", found):
        planted_continuum(rng, **options)


def test_a_planted_world_is_its_own_type(rng):
    assert isinstance(planted_continuum(rng), Planted)
