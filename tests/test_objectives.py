"""The objective: its value, gradient and Hessian against loops, finite differences and theorems."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers import (
    PENALTIES,
    D,
    N,
    assert_gradient,
    full_penalty,
    kronecker_system,
    literal_errors,
    literal_gradient,
    literal_value,
    make_tasks,
    refused,
    unchanged,
)

from mtlbook import Moments, Tasks, TraceRegularized

STRENGTHS = (0.0, 0.3, 1e4)
every_penalty = pytest.mark.parametrize("P", PENALTIES.values(), ids=PENALTIES)
every_strength = pytest.mark.parametrize("strength", STRENGTHS)


@pytest.fixture
def W(rng) -> np.ndarray:
    return rng.normal(size=(D, N))


def vec(W: np.ndarray) -> np.ndarray:
    return np.array([W[k, i] for i in range(W.shape[1]) for k in range(W.shape[0])])


@every_penalty
@every_strength
def test_value_is_the_literal_double_sum(tasks, W, P, strength):
    F = TraceRegularized(tasks, P, strength)
    assert F.value(W) == pytest.approx(literal_value(tasks, P, strength, W), rel=1e-12)


@every_penalty
@every_strength
def test_gradient_is_the_literal_loop(tasks, W, P, strength):
    G = TraceRegularized(tasks, P, strength).gradient(W)
    np.testing.assert_allclose(G, literal_gradient(tasks, P, strength, W), rtol=1e-10, atol=1e-12)


@every_penalty
def test_gradient_meets_finite_differences(tasks, W, P):
    F = TraceRegularized(tasks, P, 0.3)
    assert_gradient(F.value, F.gradient(W), W)


@pytest.mark.parametrize(
    "fault",
    [
        lambda F, W: F.gradient(W) / 2,
        lambda F, W: -F.gradient(W),
        lambda F, W: F.gradient(W) - 2 * F.strength * W @ F.P,
        lambda F, W: F.gradient(W[:, ::-1])[:, ::-1],
        lambda F, W: F.gradient(W) + 1e-4,
    ],
    ids=["half", "sign", "no penalty", "task order", "slightly off"],
)
def test_finite_differences_refuse_a_wrong_gradient(tasks, W, fault):
    F = TraceRegularized(tasks, full_penalty(), 0.3)
    with pytest.raises(AssertionError):
        assert_gradient(F.value, fault(F, W), W)


@every_penalty
@every_strength
def test_hessian_is_the_literal_kronecker_system(tasks, P, strength):
    H, c = kronecker_system(tasks, P, strength)
    F = TraceRegularized(tasks, P, strength)
    np.testing.assert_allclose(F.hessian(), H, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(vec(F.gradient(np.zeros(F.shape))), -c, rtol=1e-12)


def test_hessian_is_the_derivative_of_the_gradient(tasks, W, rng):
    F = TraceRegularized(tasks, full_penalty(), 0.3)
    V = rng.normal(size=W.shape)
    np.testing.assert_allclose(F.hessian() @ vec(V), vec(F.gradient(W + V) - F.gradient(W)), rtol=1e-11)


@every_penalty
@every_strength
def test_lipschitz_bounds_the_largest_curvature(tasks, P, strength):
    F = TraceRegularized(tasks, P, strength)
    largest = np.linalg.eigvalsh(F.hessian())[-1]
    curvatures = [np.linalg.eigvalsh(X.T @ X / len(X))[-1] for X in tasks.X]
    assert largest <= F.lipschitz() * (1 + 1e-12)
    assert F.lipschitz() == pytest.approx(2 * max(curvatures) + 2 * strength * np.linalg.eigvalsh(P)[-1])


def test_lipschitz_is_sharp_where_data_and_penalty_bend_the_same_way():
    F = TraceRegularized(Tasks([[[3.0]], [[1.0]]], [[1.0], [1.0]]), np.diag([5.0, 0.0]), 2.0)
    assert F.lipschitz() == pytest.approx(np.linalg.eigvalsh(F.hessian())[-1]) == pytest.approx(38.0)


@every_strength
def test_preconditioner_inverts_the_hessian_of_tasks_that_share_their_inputs(W, strength):
    X = make_tasks((9,)).X[0]
    F = TraceRegularized(Tasks([X] * N, [X[:, 0]] * N), full_penalty(), strength)
    applied = F.preconditioner()(W)
    np.testing.assert_allclose(F.hessian() @ vec(applied), vec(W), rtol=1e-9, atol=1e-12)


def test_preconditioner_is_the_inverse_at_the_mean_moments(tasks, W):
    P, strength = full_penalty(), 0.3
    C = sum(X.T @ X / len(X) for X in tasks.X) / N
    H = 2 * np.kron(np.eye(N), C) + 2 * strength * np.kron(P, np.eye(D))
    applied = TraceRegularized(tasks, P, strength).preconditioner()(W)
    np.testing.assert_allclose(H @ vec(applied), vec(W), rtol=1e-10, atol=1e-12)


def test_preconditioner_leaves_directions_without_curvature_out(W):
    X = np.column_stack([make_tasks((9,), d=D - 1).X[0], np.zeros(9)])
    F = TraceRegularized(Tasks([X] * N, [X[:, 0]] * N), PENALTIES["to_mean"], 1.0)
    applied = F.preconditioner()(W)
    assert applied[-1].mean() == pytest.approx(0.0, abs=1e-14)
    np.testing.assert_allclose(applied[-1], (W[-1] - W[-1].mean()) / 2, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_preconditioner_knows_what_is_flat_at_any_scale(tasks, W, scale):
    X = [np.column_stack([scale * X[:, 1:], 0 * X[:, 0]]) for X in tasks.X]
    applied = TraceRegularized(Tasks(X, tasks.y), np.eye(N), 0.0).preconditioner()(W)
    C = sum(x.T @ x / len(x) for x in X) / N
    np.testing.assert_allclose(applied, np.linalg.pinv(2 * C, hermitian=True) @ W, rtol=1e-9)


def test_preconditioner_of_an_objective_without_curvature_is_zero(tasks, W):
    F = TraceRegularized(Tasks([0 * X for X in tasks.X], tasks.y), np.eye(N), 0.0)
    assert not F.preconditioner()(W).any()


def test_value_takes_the_strength_into_account_linearly(tasks, W):
    P = full_penalty()
    values = [TraceRegularized(tasks, P, s).value(W) for s in (0.0, 1.0, 3.0)]
    assert values[2] - values[0] == pytest.approx(3 * (values[1] - values[0]))
    assert values[0] == pytest.approx(sum(literal_errors(W, tasks)))


def test_identical_tasks_pay_nothing_under_to_mean(tasks, rng):
    same = np.outer(rng.normal(size=D), np.ones(N))
    free, charged = (TraceRegularized(tasks, PENALTIES["to_mean"], s).value(same) for s in (0.0, 1e6))
    assert charged == pytest.approx(free, rel=1e-9)


def test_doubled_rows_change_nothing(tasks, W):
    twice = tasks.take([np.repeat(np.arange(m), 2) for m in tasks.n_rows])
    one, two = (TraceRegularized(t, full_penalty(), 0.3) for t in (tasks, twice))
    assert one.value(W) == pytest.approx(two.value(W))
    np.testing.assert_allclose(one.gradient(W), two.gradient(W), rtol=1e-12, atol=1e-14)


def test_renumbered_tasks_permute_the_gradient(tasks, W):
    order, P = [2, 0, 1], full_penalty()
    renumbered = Tasks([tasks.X[i] for i in order], [tasks.y[i] for i in order])
    F, G = TraceRegularized(tasks, P, 0.3), TraceRegularized(renumbered, P[np.ix_(order, order)], 0.3)
    assert G.value(W[:, order]) == pytest.approx(F.value(W))
    np.testing.assert_allclose(G.gradient(W[:, order]), F.gradient(W)[:, order], rtol=1e-12)


def test_moments_serve_as_well_as_tasks(tasks, W):
    moments = Moments.from_tasks(tasks)
    F, G = (TraceRegularized(data, full_penalty(), 0.3) for data in (tasks, moments))
    assert (F.shape, G.shape) == ((D, N), (D, N))
    assert F.value(W) == G.value(W)
    assert G.moments is moments


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (3, 1)])
@pytest.mark.parametrize("d", [1, 6])
def test_one_row_one_task_and_one_feature_are_no_special_cases(sizes, d):
    tasks = make_tasks(sizes, d)
    W, P = np.random.default_rng(0).normal(size=(d, len(sizes))), full_penalty(len(sizes))
    F = TraceRegularized(tasks, P, 0.3)
    assert F.value(W) == pytest.approx(literal_value(tasks, P, 0.3, W))
    np.testing.assert_allclose(F.gradient(W), literal_gradient(tasks, P, 0.3, W), rtol=1e-10)


def test_layout_and_type_of_W_do_not_matter(tasks, W):
    W = np.round(W * 64) / 64
    F = TraceRegularized(tasks, full_penalty().tolist(), 1)
    spaced = np.zeros((2 * D, 2 * N))
    spaced[::2, ::2] = W
    for same in (np.asfortranarray(W), W.astype(np.float32), W.tolist(), pd.DataFrame(W), spaced[::2, ::2]):
        assert F.value(same) == pytest.approx(F.value(W), rel=1e-14)
        np.testing.assert_allclose(F.gradient(same), F.gradient(W), rtol=1e-13)


def test_nothing_given_is_changed_and_the_penalty_is_read_only(tasks, W):
    P = full_penalty()
    with unchanged(W, P, *tasks.X, *tasks.y):
        F = TraceRegularized(tasks, P, 0.3)
        F.value(W)
        F.gradient(W)[0, 0] = 7.0
        F.hessian()[0, 0] = 7.0
        F.preconditioner()(W)[0, 0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        F.P[0, 0] = 0.0
    np.testing.assert_array_equal(F.hessian(), TraceRegularized(tasks, P, 0.3).hessian())


def test_objectives_are_frozen_and_told_apart_by_identity(tasks):
    F, G = (TraceRegularized(tasks, np.eye(N), 0.3) for _ in range(2))
    assert len({F, G}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        F.strength = 1.0


@pytest.mark.parametrize(
    ("P", "wanted", "found"),
    [
        (np.eye(2), "an array of shape (3, 3)", "shape (2, 2)"),
        (np.ones(3), "an array of shape (3, 3)", "shape (3,)"),
        (np.triu(np.ones((3, 3))), "a symmetric matrix", "1 at (0, 1) but 0 at (1, 0)"),
        (np.diag([1.0, -1.0, 0.0]), "a positive semidefinite matrix", "-1"),
        (1 - np.eye(3), "a positive semidefinite matrix", "-1"),
        (np.full((3, 3), np.nan), "finite numbers", "nan at (0, 0)"),
        ("P", "real numbers", "dtype <U1"),
        (None, "real numbers", "dtype object"),
    ],
)
def test_what_is_no_penalty_is_refused(tasks, P, wanted, found):
    with refused("P", wanted, found):
        TraceRegularized(tasks, P, 1.0)


@pytest.mark.parametrize("strength", [-1.0, -1e-300, np.nan, np.inf, "1", None, True, [1.0]])
def test_what_is_no_strength_is_refused(tasks, strength):
    with refused("strength", "a finite number of at least 0", repr(strength), "Choose a value"):
        TraceRegularized(tasks, np.eye(N), strength)


@pytest.mark.parametrize("data", [None, np.ones((3, 2)), [np.eye(4)] * 3])
def test_objectives_want_tasks_or_moments(data):
    with refused("tasks", "a Tasks", type(data).__name__, "Tasks(X, y)", kind=TypeError):
        TraceRegularized(data, np.eye(N), 1.0)


@pytest.mark.parametrize("method", ["value", "gradient"])
def test_parameters_of_another_shape_or_not_finite_are_refused(tasks, W, method):
    call = getattr(TraceRegularized(tasks, np.eye(N), 1.0), method)
    with refused("W", "an array of shape (4, 3)", "shape (3, 4)", "transposed"):
        call(W.T)
    with refused("W", "an array of shape (4, 3)", "shape (4,)"):
        call(W[:, 0])
    with refused("W", "finite numbers", "nan at (0, 0)"):
        call(W * np.nan)
