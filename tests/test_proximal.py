"""Proximal gradients: proxes against brute force, gaps against the minimum, steps from any start."""

import dataclasses

import numpy as np
import pytest
from helpers import refused, unchanged
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import svdvals
from scipy.optimize import minimize

from mtlbook.proximal import (
    NormPenalty,
    proximal_gradient,
    row_lengths,
    shrink_squared_sum,
    singular_values,
)

SHAPES = [(4, 3), (3, 5), (1, 4), (4, 1), (1, 1)]
NORMS = {
    "nuclear": (singular_values, False),
    "squared nuclear": (singular_values, True),
    "rows": (row_lengths, False),
    "squared rows": (row_lengths, True),
}
nonnegative = arrays(float, st.integers(1, 7), elements=st.floats(0, 10).map(lambda x: round(x, 2)))


class Plain:
    """F(W) = |M vec(W) - t|^2, dense and slow."""

    def __init__(self, shape: tuple[int, int], seed: int = 0, rows: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.shape = shape
        size = shape[0] * shape[1]
        self.M = rng.normal(size=(rows or size + 3, size))
        self.t = rng.normal(size=len(self.M))

    def measure(self, W):
        r = self.M @ W.ravel() - self.t
        return float(r @ r), (2 * self.M.T @ r).reshape(self.shape)

    def lipschitz(self):
        return 2 * float(np.linalg.norm(self.M, 2)) ** 2


def literal_norm(W: np.ndarray, split) -> float:
    if split is row_lengths:
        return sum(sum(x * x for x in row) ** 0.5 for row in W)
    return svdvals(W).sum()


def literal_penalty(W: np.ndarray, split, strength: float, squared: bool) -> float:
    norm = literal_norm(W, split)
    return strength * norm * norm if squared else strength * norm


def dual_norm(G: np.ndarray, split) -> float:
    if split is row_lengths:
        return max(sum(x * x for x in row) ** 0.5 for row in G)
    return np.sqrt(np.linalg.eigvalsh(G @ G.T)[-1])


@given(nonnegative, st.floats(0, 5))
def test_shrinking_beats_every_other_point_of_at_least_zero(sizes, weight):
    def cost(x):
        return np.sum((x - sizes) ** 2) / 2 + weight * np.sum(x) ** 2

    x = shrink_squared_sum(sizes, weight)
    brute = minimize(
        cost,
        np.zeros_like(sizes),
        jac=lambda x: x - sizes + 2 * weight * np.sum(x),
        bounds=[(0, None)] * len(sizes),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-12},
    )
    assert (x >= 0).all()
    assert cost(x) <= brute.fun + 1e-9 * (1 + abs(brute.fun))
    # The cost is strongly convex with modulus one.
    assert np.sum((x - brute.x) ** 2) / 2 <= 1e-7 * (1 + abs(brute.fun))


@given(nonnegative, st.floats(0, 5))
def test_shrinking_meets_the_conditions_of_the_minimum(sizes, weight):
    x = shrink_squared_sum(sizes, weight)
    threshold = 2 * weight * x.sum()
    np.testing.assert_allclose(x, np.maximum(sizes - threshold, 0), atol=1e-12)


def test_shrinking_keeps_the_order_it_was_given_and_its_input():
    sizes = np.array([1.0, 5.0, 2.0])
    with unchanged(sizes):
        assert np.argsort(shrink_squared_sum(sizes, 0.1)).tolist() == [0, 2, 1]
    np.testing.assert_array_equal(shrink_squared_sum(sizes, 0.0), sizes)
    # By hand: 4 - 2 * 2 / 3 * 0.5 * ... with one size, x = s / (1 + 2 c).
    assert shrink_squared_sum([6.0], 1.0) == pytest.approx(2.0)


def test_shrinking_refuses_what_are_no_sizes():
    with refused("sizes", "at least zero", "-1"):
        shrink_squared_sum([1.0, -1.0], 1.0)
    with refused("weight", "at least 0", "-2"):
        shrink_squared_sum([1.0], -2.0)


@pytest.mark.parametrize("split", [singular_values, row_lengths])
@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_rebuild_what_they_came_from_and_sum_to_the_norm(split, shape):
    W = np.random.default_rng(1).normal(size=shape)
    sizes, rebuild = split(W)
    np.testing.assert_allclose(rebuild(sizes), W, atol=1e-12)
    assert sizes.sum() == pytest.approx(literal_norm(W, split))
    np.testing.assert_allclose(rebuild(2 * sizes), 2 * W, atol=1e-12)


def test_a_row_of_zeros_stays_zero():
    sizes, rebuild = row_lengths(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert sizes.tolist() == [0, 5]
    assert rebuild(sizes).tolist() == [[0, 0], [3, 4]]


@pytest.mark.parametrize(("split", "squared"), NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0.05, 0.6, 20.0])
def test_prox_beats_its_neighbours_and_random_points(split, squared, shape, strength):
    rng, step = np.random.default_rng(2), 0.7
    W = 2 * rng.normal(size=shape)
    V, price = NormPenalty(split, strength, squared).prox(W, step)

    def cost(V):
        return np.sum((V - W) ** 2) / (2 * step) + literal_penalty(V, split, strength, squared)

    assert price == pytest.approx(literal_penalty(V, split, strength, squared), abs=1e-12)
    assert cost(V) <= min(cost(W), cost(0 * W)) + 1e-12
    for radius in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            E = rng.normal(size=shape)
            # Strong convexity: no point at this distance may come nearer than this.
            away = np.sum((radius * E) ** 2) / (2 * step)
            assert cost(V + radius * E) >= cost(V) + away * (1 - 1e-6) - 1e-10


@pytest.mark.parametrize(("split", "squared"), NORMS.values(), ids=NORMS)
def test_gap_is_the_best_of_the_dual_values_along_the_gradient(split, squared):
    rng, F = np.random.default_rng(3), Plain((3, 4))
    # From far out the slope is steep and the best multiple negative; the dual norm holds it from both sides.
    for strength, scale in ((0.3, 0.3), (3.0, 0.3), (60.0, 0.3), (30.0, 9.0), (1e5, 9.0)):
        W = scale * rng.normal(size=F.shape)
        value, G = F.measure(W)
        penalty = NormPenalty(split, strength, squared)
        price = literal_penalty(W, split, strength, squared)
        gap = penalty.gap(price, value, np.sum(G * W), G)
        # Literally: with v = 2 a (M w - t) in the dual of |u - t|^2, whose conjugate is v t + |v|^2 / 4.
        residual, largest, dual = F.M @ W.ravel() - F.t, dual_norm(G, split), []
        edge = strength / largest
        for a in [*np.linspace(-3, 3, 60_001), -edge, edge]:
            v = 2 * a * residual
            allowed = squared or abs(a) <= edge
            conjugate = (a * largest) ** 2 / (4 * strength) if squared else 0.0
            dual.append(-(v @ F.t) - v @ v / 4 - conjugate if allowed else -np.inf)
        assert gap == pytest.approx(value + price - max(dual), rel=1e-6, abs=1e-6)
        assert gap <= value + price - max(dual) + 1e-9 * value


@pytest.mark.parametrize(("split", "squared"), NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gap_bounds_the_distance_to_the_minimum_at_every_step(split, squared, shape):
    F, penalty = Plain(shape, 4), NormPenalty(split, 0.8, squared)
    best = proximal_gradient(F, penalty, tolerance=1e-12, max_iterations=20_000)
    assert best.converged
    for steps in (0, 1, 2, 3, 7, 15):
        early = proximal_gradient(F, penalty, tolerance=1e-15, max_iterations=steps)
        above = early.values[-1] - best.values[-1]
        assert -best.gap - 1e-12 <= above <= early.gap + 1e-12
        value = F.measure(early.W)[0] + literal_penalty(early.W, split, 0.8, squared)
        assert early.values[-1] == pytest.approx(value)


def test_the_gap_of_a_perfect_fit_and_of_nothing_is_zero():
    for squared in (False, True):
        assert NormPenalty(singular_values, 1.0, squared).gap(0.0, 0.0, 0.0, np.zeros((2, 3))) == 0
        assert NormPenalty(singular_values, 1.0, squared).gap(0.0, 5.0, 0.0, np.zeros((2, 3))) == 0


@pytest.mark.parametrize(("split", "squared"), NORMS.values(), ids=NORMS)
def test_every_start_leads_to_the_same_value_without_being_changed(split, squared):
    F, penalty, rng = Plain((4, 5), 5), NormPenalty(split, 0.5, squared), np.random.default_rng(5)
    options = {"tolerance": 1e-11, "max_iterations": 20_000}
    best = proximal_gradient(F, penalty, **options)
    rank_one = 0.1 * np.outer(np.arange(1.0, 5), np.arange(1.0, 6))
    starts = [rng.normal(size=F.shape) / 9, 1e8 * rng.normal(size=F.shape), np.full(F.shape, 1e300)]
    for start in [*starts, np.zeros(F.shape), rank_one, best.W]:
        with unchanged(start):
            found = proximal_gradient(F, penalty, start, **options)
        assert found.converged
        assert found.values[-1] == pytest.approx(best.values[-1], rel=1e-10)
        np.testing.assert_allclose(found.W, best.W, atol=1e-4)


def test_a_start_that_helps_is_used_and_one_that_is_worse_than_zero_is_not():
    F, penalty = Plain((4, 5), 6), NormPenalty(singular_values, 0.5)
    options = {"tolerance": 1e-9, "max_iterations": 20_000}
    cold = proximal_gradient(F, penalty, **options)
    warm = proximal_gradient(F, penalty, cold.W, **options)
    assert warm.n_iterations == 0
    assert warm.values[0] == cold.values[-1]
    near = proximal_gradient(F, penalty, 0.99 * cold.W, **options)
    assert cold.values[-1] < near.values[0] < cold.values[0]
    far = proximal_gradient(F, penalty, 100 + cold.W, **options)
    assert far.values[0] == cold.values[0] == F.measure(np.zeros(F.shape))[0]
    # Its loss is lower, its price is not: what counts is the sum.
    dear = proximal_gradient(F, NormPenalty(singular_values, 1e3), cold.W, **options)
    assert dear.values[0] == cold.values[0]


def test_a_start_of_another_shape_or_not_finite_is_refused():
    F, penalty = Plain((2, 3)), NormPenalty(row_lengths, 1.0)
    options = {"tolerance": 1e-6, "max_iterations": 5}
    with refused("W0", "(2, 3)", "(3, 2)"):
        proximal_gradient(F, penalty, np.zeros((3, 2)), **options)
    with refused("W0", "finite", "nan"):
        proximal_gradient(F, penalty, np.full((2, 3), np.nan), **options)
    with refused("tolerance", "above 0", "0"):
        proximal_gradient(F, penalty, tolerance=0, max_iterations=5)
    with refused("max_iterations", "at least 0", "-1"):
        proximal_gradient(F, penalty, tolerance=1e-6, max_iterations=-1)


def test_what_did_not_converge_says_so_and_what_to_do():
    F, penalty = Plain((4, 5), 7), NormPenalty(singular_values, 0.5)
    found = proximal_gradient(F, penalty, tolerance=1e-12, max_iterations=3)
    assert not found.converged
    assert found.n_iterations == 3
    assert len(found.values) == 4
    assert "above the tolerance 1e-12. Allow more steps" in found.message
    done = proximal_gradient(F, penalty, tolerance=1e-6, max_iterations=3000)
    assert done.converged
    assert done.gap <= 1e-6 * done.values[-1]
    assert "Allow" not in done.message
    assert f"{done.gap / done.values[-1]:.1e} of the minimum after {done.n_iterations} steps" in done.message


def test_converged_is_judged_by_the_value_reached_not_by_that_of_the_start():
    F, penalty = Plain((4, 5), 9), NormPenalty(singular_values, 0.01)
    early = proximal_gradient(F, penalty, tolerance=1e-12, max_iterations=30)
    assert early.values[0] > 4 * early.values[-1]
    between = early.gap / early.values[-1] / 2
    assert not proximal_gradient(F, penalty, tolerance=between, max_iterations=30).converged
    assert proximal_gradient(F, penalty, tolerance=3 * between, max_iterations=30).converged


def test_what_rounding_allows_is_enough_and_no_gap_is_negative():
    for seed in range(20):
        F = Plain((3, 4), seed)
        penalty = NormPenalty(singular_values, 3.0)
        found = proximal_gradient(F, penalty, tolerance=1e-17, max_iterations=20_000)
        assert found.converged
        assert found.n_iterations < 5000
        assert found.gap >= 0


def test_a_result_does_not_follow_its_start():
    F, penalty = Plain((2, 3)), NormPenalty(row_lengths, 1.0)
    start = proximal_gradient(F, penalty, tolerance=1e-9, max_iterations=5000).W.copy()
    warm = proximal_gradient(F, penalty, start, tolerance=1e-9, max_iterations=5000)
    assert warm.n_iterations == 0
    kept = warm.W.copy()
    start[:] = 7.0
    np.testing.assert_array_equal(warm.W, kept)


def test_data_that_say_nothing_are_answered_by_zero():
    F = Plain((2, 3))
    F.M = 0 * F.M
    for squared in (False, True):
        found = proximal_gradient(
            F, NormPenalty(singular_values, 1.0, squared), np.ones((2, 3)), tolerance=1e-9, max_iterations=50
        )
        assert found.converged
        assert not found.W.any()


def test_results_are_frozen():
    found = proximal_gradient(Plain((2, 2)), NormPenalty(row_lengths, 1.0), tolerance=1e-6, max_iterations=50)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.W = np.zeros((2, 2))
    for array in (found.W, found.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_momentum_and_longer_steps_leave_plain_steps_far_behind():
    F, penalty = Plain((5, 6), 8), NormPenalty(row_lengths, 1e-6)
    F.M = np.diag(np.logspace(0, -2, 30))
    F.t = F.M @ np.ones(30)
    found = proximal_gradient(F, penalty, tolerance=1e-8, max_iterations=20_000)
    assert found.converged
    W, limit = np.zeros(F.shape), F.lipschitz()
    for _ in range(found.n_iterations):
        W, price = penalty.prox(W - F.measure(W)[1] / limit, 1 / limit)
    plain = F.measure(W)[0] + price
    assert plain - found.values[-1] > 1e4 * found.gap
    assert found.n_iterations < 3000


def test_the_step_adapts_to_the_curvature_that_is_met():
    # One direction of huge curvature is fitted from the start and never met again.
    F = Plain((1, 3))
    F.M, F.t = np.diag([1e3, 1.0, 0.9]), np.array([0.0, 1.0, 2.0])
    found = proximal_gradient(F, NormPenalty(row_lengths, 0.01), tolerance=1e-10, max_iterations=2000)
    assert found.converged
    assert found.n_iterations < 600
