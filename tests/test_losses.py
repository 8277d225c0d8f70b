"""Losses: their derivatives, their likelihoods, their edges, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from helpers import finite_differences, refused, unchanged
from scipy import stats
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

from mtlbook.losses import Logistic, Loss, Poisson, Squared

LOSSES = {
    "squared": (Squared(), np.array([-2.5, 0.0, 0.3, 4.0])),
    "logistic": (Logistic(), np.array([-1.0, 1.0, 1.0, -1.0])),
    "poisson": (Poisson(), np.array([0.0, 1.0, 3.0, 12.0])),
}
every_loss = pytest.mark.parametrize(("loss", "y"), LOSSES.values(), ids=LOSSES)
SCORES = np.array([-3.0, -0.4, 0.0, 0.1, 2.2])


@every_loss
def test_slopes_and_curvatures_are_the_derivatives_of_the_values(loss, y):
    for target in y:
        same = np.full(SCORES.shape, target)
        numeric = finite_differences(lambda s, same=same: loss.value(s, same).sum(), SCORES)
        np.testing.assert_allclose(loss.slope(SCORES, same), numeric, rtol=1e-6, atol=1e-8)
        numeric = finite_differences(lambda s, same=same: loss.slope(s, same).sum(), SCORES)
        np.testing.assert_allclose(loss.curvature(SCORES, same), numeric, rtol=1e-6, atol=1e-8)


@every_loss
def test_losses_are_convex_at_least_zero_and_bend_at_most_by_their_bound(loss, y):
    s = np.linspace(-8, 8, 161)
    for target in y:
        same = np.full(s.shape, target)
        assert loss.value(s, same).min() >= -1e-12
        assert loss.curvature(s, same).min() > 0
        assert loss.curvature(s, same).max() <= loss.bound
    assert loss.bound == {Squared: 2.0, Logistic: 0.25, Poisson: np.inf}[type(loss)]


def test_bounds_are_reached_where_they_are_finite():
    for loss in (Squared(), Logistic()):
        assert loss.curvature(np.zeros(1), np.ones(1))[0] == loss.bound


@every_loss
def test_a_prediction_that_is_right_in_the_mean_has_no_slope(loss, y):
    if isinstance(loss, Logistic):
        s = np.array([0.7])
        p = loss.mean(s)
        slope = p * loss.slope(s, np.ones(1)) + (1 - p) * loss.slope(s, -np.ones(1))
    else:
        s = np.array([0.7, -1.2])
        slope = loss.slope(s, loss.mean(s))
    np.testing.assert_allclose(slope, 0.0, atol=1e-15)


def test_logistic_and_poisson_losses_are_negative_log_likelihoods():
    s = np.array([-1.3, 0.2, 0.9, 2.0])
    p = 1 / (1 + np.exp(-s))
    y = np.array([1.0, -1.0, -1.0, 1.0])
    np.testing.assert_allclose(Logistic().value(s, y), -stats.bernoulli.logpmf((y + 1) / 2, p), rtol=1e-12)
    counts = np.array([0.0, 2.0, 5.0, 7.0])
    against_perfect = stats.poisson.logpmf(counts, counts) - stats.poisson.logpmf(counts, np.exp(s))
    np.testing.assert_allclose(Poisson().value(s, counts), against_perfect, rtol=1e-12)


def test_mean_losses_are_the_scores_of_scikit_learn():
    rng = np.random.default_rng(2)
    s = rng.normal(size=50)
    y, labels, counts = rng.normal(size=50), rng.choice([-1.0, 1.0], 50), rng.poisson(2, 50).astype(float)
    assert Squared().value(s, y).mean() == pytest.approx(mean_squared_error(y, s))
    assert Logistic().value(s, labels).mean() == pytest.approx(log_loss(labels, Logistic().mean(s)))
    assert 2 * Poisson().value(s, counts).mean() == pytest.approx(mean_poisson_deviance(counts, np.exp(s)))


def test_mean_responses_are_the_score_a_probability_and_a_positive_count():
    s = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(Squared().mean(s), s)
    np.testing.assert_allclose(
        Logistic().mean(s), [1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-3))], rtol=1e-14
    )
    np.testing.assert_allclose(Poisson().mean(s), np.exp(s), rtol=1e-14)


@pytest.mark.filterwarnings("error")
def test_scores_of_any_size_neither_overflow_nor_warn():
    s, y = np.array([-1e4, -750.0, 750.0, 1e4]), np.array([1.0, 1.0, -1.0, -1.0])
    np.testing.assert_array_equal(Logistic().value(s, y), np.abs(s))
    np.testing.assert_array_equal(Logistic().value(s, -y), [0, 0, 0, 0])
    np.testing.assert_array_equal(Logistic().slope(s, y), -y)
    np.testing.assert_array_equal(Logistic().slope(s, -y), [0, 0, 0, 0])
    np.testing.assert_array_equal(Logistic().curvature(s, y), [0, 0, 0, 0])
    np.testing.assert_array_equal(Logistic().mean(s), [0, 0, 1, 1])
    np.testing.assert_array_equal(Poisson().value(s, np.zeros(4)), [0, 0, np.inf, np.inf])
    np.testing.assert_array_equal(Poisson().slope(s, np.ones(4)), [-1, -1, np.inf, np.inf])


def test_small_losses_keep_their_digits():
    s = np.array([30.0, 45.0])
    np.testing.assert_allclose(Logistic().value(s, np.ones(2)), np.exp(-s), rtol=1e-12)
    np.testing.assert_allclose(Logistic().slope(s, np.ones(2)), -np.exp(-s), rtol=1e-12)


@every_loss
def test_targets_of_a_loss_pass_as_they_are(loss, y):
    with unchanged(y):
        np.testing.assert_array_equal(loss.targets(y, "y"), y)
    np.testing.assert_array_equal(loss.targets(y.tolist(), "y"), y)
    assert isinstance(loss, Loss)


@pytest.mark.parametrize(
    ("loss", "y", "wanted", "found", "remedy"),
    [
        (Logistic(), [1, 0, 1], "labels -1 and +1", "0 at 1", "2 * y - 1"),
        (Logistic(), [1, -1, 2], "labels -1 and +1", "2 at 2", "2 * y - 1"),
        (Logistic(), [0.5], "labels -1 and +1", "0.5 at 0", "2 * y - 1"),
        (Poisson(), [1, 2, -1], "counts 0, 1, 2, ...", "-1 at 2", "Squared"),
        (Poisson(), [0, 1.5], "counts 0, 1, 2, ...", "1.5 at 1", "centre"),
        (Squared(), [np.nan], "finite numbers", "nan at (0,)", "Drop"),
        (Squared(), [[1.0]], "an array of shape (m,)", "shape (1, 1)", "ravel"),
        (Logistic(), ["a"], "real numbers", "dtype <U1", "Encode"),
        (Poisson(), [np.inf], "finite numbers", "inf at (0,)", "Drop"),
    ],
)
def test_what_is_no_target_is_refused_by_its_name(loss, y, wanted, found, remedy):
    with refused("y of 'beach'", wanted, found, remedy):
        loss.targets(y, "y of 'beach'")


@every_loss
def test_losses_are_frozen_and_equal_to_their_like(loss, y):
    assert loss == type(loss)()
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.bound = 1.0


@every_loss
def test_arrays_of_any_shape_go_in_and_come_out_unharmed(loss, y):
    s = np.array([[0.1, -2.0], [0.4, 1.0]])
    square = y.reshape(2, 2)
    with unchanged(s, square):
        for result in (loss.value(s, square), loss.slope(s, square), loss.curvature(s, square), loss.mean(s)):
            assert result.shape == (2, 2)
