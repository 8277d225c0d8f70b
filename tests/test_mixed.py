"""The objective of mixed losses against loops, finite differences and its quadratic kin."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import (
    PENALTIES,
    SIZES,
    D,
    N,
    assert_gradient,
    full_penalty,
    literal_trace,
    make_tasks,
    refused,
    unchanged,
)

from mtlbook import Tasks, TraceRegularized
from mtlbook.losses import Logistic, Poisson, Squared
from mtlbook.mixed import MixedRegularized
from mtlbook.responses import loss_of_each, mean_losses, mean_responses

LOSSES = (Squared(), Logistic(), Poisson())
WEIGHTS = np.array([0.5, 2.0, 1.3])
every_penalty = pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)


def mixed_tasks(sizes=SIZES, d=D, seed=0):
    """Numbers for the first task, labels for the second, counts for the third, and so on in turns."""
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(m, d)) for m in sizes]
    draws = (
        lambda m: rng.normal(size=m),
        lambda m: rng.choice([-1.0, 1.0], m),
        lambda m: rng.poisson(2.0, m),
    )
    return Tasks(X, [draws[i % 3](m) for i, m in enumerate(sizes)])


def literal_loss(loss, s, y):
    if isinstance(loss, Squared):
        return (s - y) ** 2
    if isinstance(loss, Logistic):
        return math.log(1 + math.exp(-y * s))
    return math.exp(s) - y * s - (y - (y * math.log(y) if y else 0.0))


def literal_mixed(tasks, P, strength, losses, weights, W):
    total = strength * literal_trace(W, P)
    for i, (X, y) in enumerate(tasks):
        for x, target in zip(X, y, strict=True):
            s = sum(x[k] * W[k, i] for k in range(len(x)))
            total += weights[i] / len(y) * literal_loss(losses[i], s, target)
    return total


@pytest.fixture
def tasks():
    return mixed_tasks()


@pytest.fixture
def W(rng):
    return 0.5 * rng.normal(size=(D, N))


def vec(W):
    return W.ravel(order="F")


@every_penalty
@pytest.mark.parametrize("strength", [0.0, 0.3, 100.0])
def test_value_is_the_literal_sum_over_rows(tasks, W, P, strength):
    F = MixedRegularized(tasks, P, strength, LOSSES, weights=WEIGHTS)
    assert F.value(W) == pytest.approx(literal_mixed(tasks, P, strength, LOSSES, WEIGHTS, W), rel=1e-12)


@every_penalty
def test_gradient_meets_finite_differences(tasks, W, P):
    F = MixedRegularized(tasks, P, 0.3, LOSSES, weights=WEIGHTS)
    assert_gradient(F.value, F.gradient(W), W)


def hessian_by_differences(F, W):
    columns = []
    for i in range(F.shape[1]):
        for k in range(F.shape[0]):
            E = np.zeros(F.shape)
            E[k, i] = 1e-5
            columns.append(vec(F.gradient(W + E) - F.gradient(W - E)) / 2e-5)
    return np.array(columns).T


@every_penalty
def test_hessian_is_the_derivative_of_the_gradient(tasks, W, P):
    F = MixedRegularized(tasks, P, 0.3, LOSSES, weights=WEIGHTS)
    np.testing.assert_allclose(F.hessian(W), hessian_by_differences(F, W), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sizes", [SIZES, (2, 3, 1)], ids=["blocks formed", "fewer rows than features"])
def test_products_are_the_hessian_times_a_matrix(rng, W, sizes):
    F = MixedRegularized(mixed_tasks(sizes), full_penalty(), 0.3, LOSSES, weights=WEIGHTS)
    V = rng.normal(size=W.shape)
    here = F.expand(W)
    assert here._forms_blocks == (sizes == SIZES)
    np.testing.assert_allclose(vec(here.product(V)), F.hessian(W) @ vec(V), rtol=1e-11, atol=1e-12)


def test_an_expansion_holds_what_the_objective_says(tasks, W):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES)
    here = F.expand(W)
    assert here.value == F.value(W)
    np.testing.assert_array_equal(here.gradient, F.gradient(W))
    assert here.blocks.shape == (N, D, D)


def test_an_expansion_foretells_the_value_to_second_order(tasks, W, rng):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES)
    here, V = F.expand(W), 1e-3 * rng.normal(size=W.shape)
    foretold = here.value + np.sum(here.gradient * V) + np.sum(V * here.product(V)) / 2
    assert F.value(W + V) == pytest.approx(foretold, abs=1e-8)
    assert F.value(W + V) != pytest.approx(here.value + np.sum(here.gradient * V), abs=1e-8)


def test_preconditioner_is_the_inverse_at_the_mean_block(tasks, W, rng):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES, weights=WEIGHTS)
    here, R = F.expand(W), rng.normal(size=W.shape)
    H = np.kron(np.eye(N), here.blocks.mean(axis=0)) + 0.6 * np.kron(full_penalty(), np.eye(D))
    np.testing.assert_allclose(H @ vec(here.preconditioner()(R)), vec(R), rtol=1e-9)


def test_preconditioner_without_blocks_takes_their_diagonal(W, rng):
    F = MixedRegularized(mixed_tasks((2, 3, 1)), full_penalty(), 0.3, LOSSES, weights=WEIGHTS)
    here, R = F.expand(W), rng.normal(size=W.shape)
    diagonal = np.diag(np.diag(here.blocks.mean(axis=0)))
    H = np.kron(np.eye(N), diagonal) + 0.6 * np.kron(full_penalty(), np.eye(D))
    np.testing.assert_allclose(H @ vec(here.preconditioner()(R)), vec(R), rtol=1e-9)


def test_preconditioner_leaves_directions_without_curvature_out(tasks, W):
    F = MixedRegularized(Tasks([0 * X for X in tasks.X], tasks.y), np.eye(N), 0.0, LOSSES)
    assert not F.expand(W).preconditioner()(W).any()


def test_with_squared_loss_for_all_it_is_the_trace_regularised_objective(W):
    tasks = make_tasks()
    F, G = (
        MixedRegularized(tasks, full_penalty(), 0.3, Squared()),
        TraceRegularized(tasks, full_penalty(), 0.3),
    )
    assert F.value(W) == pytest.approx(G.value(W), rel=1e-12)
    np.testing.assert_allclose(F.gradient(W), G.gradient(W), rtol=1e-11)
    np.testing.assert_allclose(F.hessian(W), G.hessian(), rtol=1e-12, atol=1e-13)
    assert F.lipschitz() == pytest.approx(G.lipschitz())
    assert F.shape == G.shape == (D, N)


@every_penalty
def test_lipschitz_bounds_the_curvature_everywhere(tasks, P, rng):
    losses = (Squared(), Logistic(), Logistic())
    data = Tasks(tasks.X, [tasks.y[0], tasks.y[1], np.where(tasks.y[2] > 1, 1.0, -1.0)])
    F = MixedRegularized(data, P, 0.3, losses, weights=WEIGHTS)
    tops = [np.linalg.eigvalsh(F.hessian(W))[-1] for W in rng.normal(size=(20, D, N))]
    assert max(tops) <= F.lipschitz() * (1 + 1e-12)
    bends = [
        w * b * np.linalg.eigvalsh(X.T @ X / len(X))[-1]
        for w, b, X in zip(WEIGHTS, (2, 0.25, 0.25), data.X, strict=True)
    ]
    assert F.lipschitz() == pytest.approx(max(bends) + 0.6 * np.linalg.eigvalsh(P)[-1])


def test_a_loss_without_bound_has_no_lipschitz_constant(tasks):
    with refused("losses", "bounded curvature", "Poisson for 'task 2'", "newton"):
        MixedRegularized(tasks, full_penalty(), 0.3, LOSSES).lipschitz()


def test_excess_bounds_how_far_F_lies_above_its_least_value(rng):
    P = full_penalty()
    tasks = Tasks([0 * X for X in make_tasks().X], [np.zeros(m) for m in SIZES])
    F = MixedRegularized(tasks, P, 0.7, Squared())
    W = rng.normal(size=F.shape)
    assert F.excess(F.gradient(W)) == pytest.approx(F.value(W), rel=1e-10)
    G = MixedRegularized(mixed_tasks(), P, 0.7, LOSSES)
    for V in rng.normal(size=(50, *G.shape)):
        for U in (W, 0 * W):
            assert G.value(U) - G.value(V) <= G.excess(G.gradient(U)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("P", "strength"),
    [
        (PENALTIES["laplacian"], 1.0),
        (full_penalty(), 0.0),
        (np.zeros((3, 3)), 1.0),
        (np.diag([1e-13, 2e-13, 100.0]), 1.0),
    ],
)
def test_excess_is_unknown_where_no_penalty_holds_all_directions(tasks, W, P, strength):
    F = MixedRegularized(tasks, P, strength, LOSSES)
    assert F.excess(F.gradient(W)) == np.inf


def test_weights_count_by_their_ratio_to_the_strength_alone(tasks, W):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES, weights=WEIGHTS)
    G = MixedRegularized(tasks, full_penalty(), 3.0, LOSSES, weights=10 * WEIGHTS)
    assert G.value(W) == pytest.approx(10 * F.value(W))
    np.testing.assert_allclose(G.gradient(W), 10 * F.gradient(W), rtol=1e-12)


def test_a_task_of_weight_zero_is_not_heard(tasks, W):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES, weights=[1, 0, 1])
    other = Tasks([tasks.X[0], 9 * tasks.X[1], tasks.X[2]], [tasks.y[0], -tasks.y[1], tasks.y[2]])
    G = MixedRegularized(other, full_penalty(), 0.3, LOSSES, weights=[1, 0, 1])
    assert F.value(W) == G.value(W)
    np.testing.assert_array_equal(F.gradient(W), G.gradient(W))


def test_doubled_rows_change_nothing(tasks, W):
    twice = tasks.take([np.repeat(np.arange(m), 2) for m in tasks.n_rows])
    F, G = (MixedRegularized(t, full_penalty(), 0.3, LOSSES) for t in (tasks, twice))
    assert F.value(W) == pytest.approx(G.value(W))
    np.testing.assert_allclose(F.gradient(W), G.gradient(W), rtol=1e-12, atol=1e-14)


def test_renumbered_tasks_permute_the_gradient(tasks, W):
    order, P = [2, 0, 1], full_penalty()
    other = Tasks([tasks.X[i] for i in order], [tasks.y[i] for i in order])
    F = MixedRegularized(tasks, P, 0.3, LOSSES, weights=WEIGHTS)
    G = MixedRegularized(
        other, P[np.ix_(order, order)], 0.3, [LOSSES[i] for i in order], weights=WEIGHTS[order]
    )
    assert G.value(W[:, order]) == pytest.approx(F.value(W))
    np.testing.assert_allclose(G.gradient(W[:, order]), F.gradient(W)[:, order], rtol=1e-12)


def test_one_loss_serves_all_tasks(W):
    tasks = Tasks(make_tasks().X, [np.sign(y) for y in make_tasks().y])
    F, G = (MixedRegularized(tasks, full_penalty(), 0.3, loss) for loss in (Logistic(), [Logistic()] * N))
    assert F.losses == G.losses == (Logistic(),) * N
    assert F.value(W) == G.value(W)


@pytest.mark.filterwarnings("error")
def test_a_count_that_overflows_has_an_infinite_value(tasks, W):
    F = MixedRegularized(tasks, full_penalty(), 0.3, LOSSES)
    assert F.value(1e4 * np.abs(W) * np.sign(tasks.X[2][0])[:, None]) == np.inf


def test_mean_losses_and_responses_are_those_of_each_task(tasks, W):
    means, responses = mean_losses(W, tasks, LOSSES), mean_responses(W, tasks, LOSSES)
    assert [r.shape for r in responses] == [(m,) for m in SIZES]
    for i, (X, y) in enumerate(tasks):
        s = [sum(x[k] * W[k, i] for k in range(D)) for x in X]
        assert means[i] == pytest.approx(
            np.mean([literal_loss(LOSSES[i], a, b) for a, b in zip(s, y, strict=True)])
        )
        expected = (lambda a: a, lambda a: 1 / (1 + math.exp(-a)), math.exp)[i]
        np.testing.assert_allclose(responses[i], [expected(a) for a in s], rtol=1e-12)


def test_nothing_given_is_changed_and_the_objective_is_frozen(tasks, W):
    P, weights = full_penalty(), WEIGHTS.copy()
    with unchanged(W, P, weights, *tasks.X, *tasks.y):
        F = MixedRegularized(tasks, P, 0.3, LOSSES, weights=weights)
        before = F.value(W)
        F.gradient(W)[0, 0] = 7.0
        F.hessian(W)[0, 0] = 7.0
        F.expand(W).product(W)[0, 0] = 7.0
    weights[0] = 99.0
    assert F.value(W) == before
    for array in (F.P, F.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        F.strength = 1.0


@pytest.mark.parametrize("losses", [LOSSES[:2], [], LOSSES * 2])
def test_losses_that_do_not_match_the_tasks_are_refused(tasks, losses):
    with refused("losses", "one loss, or 3 of them", str(len(losses)), "Give each task its loss"):
        MixedRegularized(tasks, full_penalty(), 0.3, losses)


@pytest.mark.parametrize("loss", [None, "squared", Squared, np.square])
def test_what_is_no_loss_is_refused(tasks, loss):
    for given in (loss, [Squared(), loss, Poisson()]):
        if given == "squared":
            continue
        with pytest.raises(TypeError, match=r"losses: wanted a Loss for 'task [01]', found .* brackets"):
            loss_of_each(tasks, given)


def test_targets_are_held_to_the_loss_of_their_task(tasks):
    with refused("y of 'task 0'", "labels -1 and +1", "at 0", "2 * y - 1"):
        MixedRegularized(tasks, full_penalty(), 0.3, (Logistic(), Logistic(), Poisson()))
    with refused("y of 'task 1'", "counts", "-1 at", "Squared"):
        mean_losses(np.zeros((D, N)), tasks, (Squared(), Poisson(), Poisson()))


@pytest.mark.parametrize(
    ("weights", "wanted", "found"),
    [
        ([1, 1], "shape (3,)", "shape (2,)"),
        ([1, -0.1, 1], "numbers of at least 0", "-0.1"),
        ([1, np.nan, 1], "finite numbers", "nan"),
        (2.0, "shape (3,)", "shape ()"),
    ],
)
def test_what_are_no_weights_is_refused(tasks, weights, wanted, found):
    with refused("weights", wanted, found):
        MixedRegularized(tasks, full_penalty(), 0.3, LOSSES, weights=weights)


def test_penalties_and_strengths_are_held_as_by_the_quadratic_objective(tasks):
    with refused("P", "a positive semidefinite matrix", "-1"):
        MixedRegularized(tasks, np.diag([1.0, -1.0, 0.0]), 0.3, LOSSES)
    with refused("strength", "a finite number of at least 0", "-1"):
        MixedRegularized(tasks, full_penalty(), -1, LOSSES)
    with refused("tasks", "a Tasks", "list", "Tasks(X, y)", kind=TypeError):
        MixedRegularized([], full_penalty(), 1, LOSSES)


@pytest.mark.parametrize("method", ["value", "gradient", "hessian"])
def test_parameters_of_another_shape_or_not_finite_are_refused(tasks, W, method):
    call = getattr(MixedRegularized(tasks, np.eye(N), 1.0, LOSSES), method)
    with refused("W", "an array of shape (4, 3)", "shape (3, 4)", "transposed"):
        call(W.T)
    with refused("W", "finite numbers", "nan at (0, 0)"):
        call(W * np.nan)
    for function in (mean_losses, mean_responses):
        with refused("W", "an array of shape (4, 3)", "shape (3, 4)", "transposed"):
            function(W.T, tasks, LOSSES)
