"""The routes of the solver: each, forced on small problems, is the literal Kronecker solution."""

import tracemalloc
import warnings
from contextlib import contextmanager

import cvxpy as cp
import numpy as np
import pytest
from helpers import N, full_penalty, kronecker_system, make_tasks, random_similarity, refused, unchanged
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mtlbook import (
    Moments,
    Tasks,
    TraceRegularized,
    penalty,
    quadratic,
    relations,
    solve,
    solve_path,
    solvers,
)

NEVER = 10**9
# What sends problems of any size down each route: (room, constant, value).
ROUTES = {
    "dense Kronecker system": [],
    "Gram matrices, since": [(quadratic, "MUCH_MEMORY", NEVER), (quadratic, "WIDE", NEVER)],
    "float64 on the rows": [
        (quadratic, "MUCH_MEMORY", 0),
        (quadratic, "LEAST_WIDTH", 1),
        (quadratic, "WIDE", NEVER),
    ],
    "float64 on Gram matrices": [
        (quadratic, "MUCH_MEMORY", 0),
        (quadratic, "LEAST_WIDTH", 1),
        (quadratic, "WIDE", NEVER),
        (quadratic, "MANY", 1),
    ],
    "the rows themselves": [(quadratic, "WIDE", 1)],
}
SIDES = {"diagonalised": (NEVER, 0.0), "Chebyshev": (1, 1.0)}


@contextmanager
def forced(route: str, side: str = "diagonalised"):
    """All problems take this route, as far as their data allow."""
    changes = [
        *ROUTES[route],
        (penalty, "SPARSE_FROM", SIDES[side][0]),
        (penalty, "SPARSE_SHARE", SIDES[side][1]),
    ]
    changes += [] if route.startswith("dense") else [(solvers, "DENSE_LIMIT", 0)]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "P: no entry off the diagonal")
        for room, name, value in changes:
            patch.setattr(room, name, value)
        yield


every_route = pytest.mark.parametrize("route", ROUTES)
every_side = pytest.mark.parametrize("side", SIDES)


def penalties(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    half = rng.normal(size=(n, n))
    low = rng.normal(size=(n, max(n - 1, 1)))
    return {
        "definite": half @ half.T + 0.1 * np.eye(n),
        "semidefinite": low @ low.T,
        "laplacian": relations.laplacian(random_similarity(n)),
        "diagonal": np.diag(rng.uniform(0, 2, size=n)),
        "independent": np.eye(n),
    }


@st.composite
def problems(draw) -> tuple[Tasks, np.ndarray, float]:
    """Ragged tasks, down to one row and one task, with zero and repeated columns and features of any unit."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    X = [rng.normal(size=(m, d)) for m in sizes]
    kind = draw(st.sampled_from(["plain", "plain", "zero column", "repeated column", "correlated"]))
    for x in X:
        if kind == "zero column":
            x[:, 0] = 0.0
        if kind == "repeated column":
            x[:, -1] = x[:, 0]
        if kind == "correlated":
            x += 3 * rng.normal(size=(len(x), 1))
    unit = draw(st.sampled_from([1e-8, 1e-3, 1.0, 1e8]))
    y = [rng.normal(size=m) * draw(st.sampled_from([1.0, 1e-6, 1e6])) for m in sizes]
    names = list(penalties(2, rng))
    P = penalties(len(sizes), rng)[draw(st.sampled_from(names))]
    strength = draw(st.sampled_from([0.0, 1e-4, 0.1, 1.0, 10.0, 1e4, 1e8])) * unit**2
    return Tasks([x * unit for x in X], y), P, strength


def minimum(tasks: Tasks, P: np.ndarray, strength: float) -> tuple[float, float]:
    """The least value of F, by least squares in the literal Kronecker system, and F(0)."""
    H, c = kronecker_system(tasks, P, strength)
    start = sum(y @ y / len(y) for y in tasks.y)
    scale = 1 / np.sqrt(np.maximum(np.diag(H), np.finfo(float).tiny))
    w = np.linalg.lstsq(scale[:, None] * H * scale, scale * c, rcond=1e-13)[0] * scale
    return start - c @ w / 2, start


def rounding(P: np.ndarray, strength: float, W: np.ndarray) -> float:
    """What cancels in the penalty where strength times P is huge but W P is not."""
    return 1e-14 * strength * np.abs(P).max(initial=0.0) * float(np.sum(W**2))


@every_side
@every_route
@settings(max_examples=60)
@given(problems())
def test_every_route_reaches_the_minimum_of_random_problems(route, side, problem):
    tasks, P, strength = problem
    with forced(route, side):
        F = TraceRegularized(tasks, P, strength)
        result = solve(F)
        least, start = minimum(tasks, P, strength)
        assert F.value(result.W) - least <= 1e-9 * start + rounding(P, strength, result.W)


@every_side
@every_route
@settings(max_examples=40)
@given(problems(), st.sampled_from([1e-3, 1e-6]))
def test_the_gap_asked_for_is_the_gap_reached_and_the_bound_holds(route, side, problem, gap):
    tasks, P, strength = problem
    with forced(route, side):
        F = TraceRegularized(tasks, P, strength)
        result = solve(F, gap=gap)
        least, start = minimum(tasks, P, strength)
        left = F.value(result.W) - least
        noise = 1e-11 * start + rounding(P, strength, result.W)
        if result.converged:
            assert left <= gap * max(least, 0.0) + noise
        assert left <= result.gap + noise


@every_side
@every_route
@settings(max_examples=25)
@given(problems(), st.lists(st.sampled_from([0.0, 1e-3, 0.3, 1.0, 50.0]), min_size=1, max_size=5))
def test_a_path_is_its_strengths_one_by_one(route, side, problem, strengths):
    tasks, P, _ = problem
    unit = max(np.abs(X).max() for X in tasks.X) or 1.0
    with forced(route, side):
        F = TraceRegularized(tasks, P, 0.7)
        path = solve_path(F, np.array(strengths) * unit**2)
        assert len(path) == len(strengths)
        for result, strength in zip(path, np.array(strengths) * unit**2, strict=True):
            least, start = minimum(tasks, P, strength)
            assert F.at(strength).value(result.W) - least <= 1e-9 * start


@every_side
@every_route
def test_each_route_is_taken_named_and_exact(route, side):
    tasks, P = make_tasks((5, 3, 8, 4, 4), 6), full_penalty(5)
    with forced(route, side):
        result = solve(TraceRegularized(tasks, P, 0.3))
    assert route in result.message
    assert route.startswith("dense") or side in result.message
    H, c = kronecker_system(tasks, P, 0.3)
    exact = np.linalg.solve(H, c).reshape(5, 6).T
    assert result.converged
    np.testing.assert_allclose(result.W, exact, rtol=1e-8, atol=1e-9 * np.abs(exact).max())


@every_side
@pytest.mark.parametrize("seed", range(6))
def test_every_route_agrees_with_cvxpy(side, seed):
    rng = np.random.default_rng(seed)
    tasks = make_tasks(tuple(rng.integers(1, 9, size=4)), 3, seed)
    P = penalties(4, rng)["definite"]
    W = cp.Variable((3, 4))
    errors = sum(cp.sum_squares(X @ W[:, i] - y) / len(y) for i, (X, y) in enumerate(tasks))
    problem = cp.Problem(
        cp.Minimize(errors + 0.3 * sum(cp.quad_form(W[k], cp.psd_wrap(P)) for k in range(3)))
    )
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    for route in ROUTES:
        with forced(route, side):
            np.testing.assert_allclose(solve(TraceRegularized(tasks, P, 0.3)).W, W.value, atol=1e-5)


# Sizes choose the route ---------------------------------------------------------


def test_sizes_choose_the_route_and_the_message_says_why():
    rng = np.random.default_rng(0)

    def message(n: int, m: int, d: int, strengths: int = 1, data=lambda tasks: tasks, shared=False) -> str:
        X = [rng.normal(size=(m, d)) for _ in range(n)]
        tasks = Tasks([X[0]] * n if shared else X, [rng.normal(size=m) for _ in range(n)])
        F = TraceRegularized(data(tasks), relations.independent(n), 1.0)
        return solve_path(F, np.ones(strengths))[-1].message

    assert "dense Kronecker system of 500" in message(5, 3, 100)
    assert "the rows themselves, since features outnumber them" in message(6, 99, 100)
    assert "since rows outnumber features" in message(6, 100, 100)
    assert "since rows outnumber features" in message(10, 90, 99)
    assert "since rows outnumber features" in message(900, 33, 31)
    assert "float32, corrected in float64 on the rows" in message(150, 100, 90)
    assert "float32, corrected in float64 on the rows" in message(150, 100, 90, 7)
    assert "float32, corrected in float64 on Gram matrices" in message(150, 100, 90, 8)
    assert "float32, corrected in float64 on Gram matrices" in message(150, 100, 90, 8, Moments.from_tasks)
    assert "since rows outnumber features" in message(150, 100, 90, 1, Moments.from_tasks)
    for strengths in (1, 8):
        assert "one Gram matrix, since all tasks share" in message(150, 100, 90, strengths, shared=True)
    assert "one Gram matrix, since all tasks share" in message(1, 1100, 1001)


def test_matrices_that_are_formed_already_are_used():
    tasks = make_tasks([100] * 150, 90)
    F = TraceRegularized(tasks, relations.independent(150), 1.0)
    assert "float32" in solve(F).message
    assert F.moments
    assert "float32" not in solve(F).message


def test_nothing_is_formed_where_features_outnumber_rows(monkeypatch):
    F = TraceRegularized(make_tasks([50] * 6, 120), full_penalty(6), 0.5)
    monkeypatch.setattr(Moments, "from_tasks", None)
    W = solve(F).W
    assert np.linalg.norm(F.gradient(W)) <= 1e-9 * np.linalg.norm(F.gradient(0 * W))
    assert F.value(W) < F.value(0 * W)


def test_values_and_gradients_on_the_rows_are_those_of_the_moments():
    tasks, P = make_tasks((5, 8, 3), 6), full_penalty()
    W = np.random.default_rng(0).normal(size=(6, N))
    with forced("the rows themselves"):
        F, G = TraceRegularized(tasks, P, 0.3), TraceRegularized(Moments.from_tasks(tasks), P, 0.3)
        assert F.value(W) == pytest.approx(G.value(W))
        np.testing.assert_allclose(F.gradient(W), G.gradient(W), rtol=1e-12)
        np.testing.assert_allclose(F.hessian(), G.hessian())


# Inputs of any kind -------------------------------------------------------------


@every_route
def test_precision_layout_and_writeability_of_inputs_do_not_matter(route):
    tasks, P = make_tasks((5, 8, 7), 6), full_penalty()
    X, y = [x.astype(np.float32) for x in tasks.X], [t.astype(np.float32) for t in tasks.y]
    wide = [np.zeros((2 * len(x), 12)) for x in X]
    for box, x in zip(wide, X, strict=True):
        box[::2, ::-2] = x
    locked = [x.astype(float) for x in X]
    for x in locked:
        x.flags.writeable = False
    kinds = {
        "float32": X,
        "strided": [box[::2, ::-2] for box in wide],
        "column by column": [np.asfortranarray(x, dtype=float) for x in X],
        "read-only": locked,
    }
    with forced(route):
        exact = solve(TraceRegularized(Tasks([x.astype(float) for x in X], y), P, 0.3)).W
        for inputs in kinds.values():
            with unchanged(*inputs, *y, P):
                W = solve(TraceRegularized(Tasks(inputs, y), P, 0.3)).W
            np.testing.assert_allclose(W, exact, rtol=1e-8, atol=1e-9)
            assert W.dtype == np.float64


@every_side
@every_route
def test_the_order_of_tasks_does_not_matter(route, side):
    tasks, P, order = make_tasks((5, 3, 8, 4), 6), full_penalty(4), [2, 0, 3, 1]
    other = Tasks([tasks.X[i] for i in order], [tasks.y[i] for i in order])
    with forced(route, side):
        W = solve(TraceRegularized(tasks, P, 0.3)).W
        V = solve(TraceRegularized(other, P[np.ix_(order, order)], 0.3)).W
    np.testing.assert_allclose(V, W[:, order], rtol=1e-7, atol=1e-9)


def test_the_number_of_threads_does_not_matter():
    tasks, P = make_tasks([100] * 150, 90), relations.to_mean(150) + 0.1 * np.eye(150)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(solve(TraceRegularized(tasks, P, 0.5)).W)
    np.testing.assert_allclose(*found, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1e4])
def test_features_in_units_from_tiny_to_huge_keep_their_pooled_slope(strength):
    scales = np.logspace(-8, 8, 4)
    X, y = make_tasks((9,)).X[0], make_tasks((9,)).y[0]
    W = solve(TraceRegularized(Tasks([X * scales] * N, [y] * N), relations.to_mean(N), strength)).W
    np.testing.assert_allclose(W * scales[:, None], np.outer(np.linalg.lstsq(X, y)[0], np.ones(N)), rtol=1e-6)


@pytest.mark.parametrize("power", [-70, -40, 40, 68])
@every_route
def test_numbers_far_from_one_are_solved_or_refused_in_a_sentence(route, power):
    tasks, P = make_tasks((5, 8, 7), 6), full_penalty()
    big = Tasks([x * 10.0**power for x in tasks.X], [y * 10.0**power for y in tasks.y])
    with forced(route):
        W = solve(TraceRegularized(tasks, P, 0.3)).W
        V = solve(TraceRegularized(big, P, 0.3 * 10.0 ** (2 * power))).W
    np.testing.assert_allclose(V, W, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("power", [75, 160, 300])
@every_route
@pytest.mark.filterwarnings("error")
def test_inputs_whose_squares_do_not_fit_are_refused(route, power):
    tasks = make_tasks((5, 8, 7), 6)
    big = Tasks([x * 10.0**power for x in tasks.X], tasks.y)
    with forced(route), refused("tasks", "mean squares below 1e+140", "", "Choose larger units"):
        solve(TraceRegularized(big, full_penalty(), 0.3))


# Shared inputs --------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["one array", "equal arrays"])
def test_shared_inputs_are_noticed_and_form_one_matrix(shared):
    X = make_tasks((40,), 6).X[0]
    Y = make_tasks((40,) * 90).y
    inputs = [X] * 90 if shared == "one array" else [X.copy() for _ in Y]
    tasks = Tasks(inputs, Y)
    moments = Moments.from_tasks(tasks)
    assert moments.C.strides[0] == 0
    result = solve(TraceRegularized(tasks, relations.chain(90) + 0.1 * np.eye(90), 0.5))
    assert "one Gram matrix" in result.message
    assert result.n_iterations <= 2
    different = Tasks([*inputs[:-1], np.r_[X[:-1], X[-1:] + 1e-9]], Y)
    assert Moments.from_tasks(different).C.strides[0] > 0
    np.testing.assert_allclose(moments.C, Moments.from_tasks(different).C, atol=1e-8)
    np.testing.assert_allclose(moments.B, Moments.from_tasks(different).B, atol=1e-8)


# Memory ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "d", "limit"),
    [
        (60, 400, 60, "at most C_i in float32, a few W, and one task's rows"),
        (20, 100, 400, "at most a few W: nothing is formed"),
    ],
)
def test_rows_are_never_copied_nor_a_large_square_array_made(n, m, d, limit):
    tasks = make_tasks([m] * n, d)
    P = relations.chain(n) + 0.1 * np.eye(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quadratic, "MUCH_MEMORY", 0)
        tracemalloc.start()
        solve(TraceRegularized(tasks, P, 1.0), gap=1e-6)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    W, rows = 8 * n * d, 8 * n * m * d
    formed = 4 * n * d * d if m > d else 0
    assert peak <= formed + 30 * W + 3 * rows / n + 8 * (d * d + n * n) * 4
    assert peak < rows / 2 < 8 * (n * d) ** 2, limit
