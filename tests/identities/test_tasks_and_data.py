"""Equations of the chapter tasks-and-data."""

from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtlbook import Tasks, squared_errors


@pytest.mark.equation("tasks-and-data-empirical")
def test_the_error_of_a_task_is_a_mean_over_its_rows(tasks):
    """squared_errors equals loops over rows and features, for ragged tasks and a single row."""
    W = np.random.default_rng(1).normal(size=(4, len(tasks)))
    literal = [
        sum((sum(x[k] * W[k, i] for k in range(4)) - t) ** 2 for x, t in zip(X, y, strict=True)) / len(y)
        for i, (X, y) in enumerate(tasks)
    ]
    assert_allclose(squared_errors(W, Tasks(*zip(*tasks, strict=True))), literal)


@pytest.mark.equation("tasks-and-data-noise-risk")
@pytest.mark.parametrize("f", [lambda x: 0.5, lambda x: x, lambda x: 3 * x * x - 1])
def test_labels_without_signal_cost_a_twelfth_whatever_is_predicted(f):
    """For y uniform and independent of x, E (f(x) - y)^2 = 1/12 + E (f(x) - 1/2)^2, by Gauss quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    t, p = (nodes + 1) / 2, weights / 2
    values = np.array([f(x) for x in t]) * np.ones(8)
    risk = sum(p[i] * p[j] * (values[i] - t[j]) ** 2 for i, j in product(range(8), repeat=2))
    assert_allclose(risk, 1 / 12 + sum(p * (values - 0.5) ** 2))


@pytest.mark.equation("tasks-and-data-moments")
def test_the_best_line_through_the_origin_errs_by_five_forty_seconds():
    """With exact moments of the unit square, (3/7, 3/7) solves C w = b and R(w) = 5/42, above 1/12."""
    third, quarter, w = Fraction(1, 3), Fraction(1, 4), Fraction(3, 7)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    t, p = (nodes + 1) / 2, weights / 2
    assert_allclose([sum(p * t * t), sum(p * t) ** 2], [float(third), float(quarter)])
    assert third * w + quarter * w == quarter
    risk = w * w * (2 * third + 2 * quarter) - 2 * (2 * quarter * w) + third
    assert risk == Fraction(5, 42)
    assert risk > Fraction(1, 12)


@pytest.mark.equation("tasks-and-data-cover-count", "tasks-and-data-cover-recursion")
@pytest.mark.parametrize("d", [1, 2, 3])
def test_covers_count_obeys_its_recursion_and_its_ends(d):
    """The count is 2 for one point, 2^N up to N = d + 1, and adds up as the recursion says."""

    def count(points, size):
        return 2 * sum(comb(points - 1, k) for k in range(size))

    assert count(1, d + 1) == 2
    for points in range(1, 12):
        assert count(points + 1, d + 1) == count(points, d + 1) + count(points, d)
        assert (count(points, d + 1) == 2**points) == (points <= d + 1)
    assert count(100, 3) == 9902


@pytest.mark.equation("tasks-and-data-cover-count")
@pytest.mark.parametrize("points", [1, 2, 3, 4, 6])
def test_covers_count_on_a_line_is_that_of_all_thresholds(points):
    """Points on a line can be split by a threshold in 2 N ways, both signs counted."""
    x = np.sort(np.random.default_rng(points).normal(size=points))
    cuts = [x[0] - 1, *(x[1:] + x[:-1]) / 2, x[-1] + 1]
    splits = {tuple(sign * np.sign(x - cut)) for cut in cuts for sign in (1, -1)}
    assert len(splits) == 2 * sum(comb(points - 1, k) for k in range(2))
