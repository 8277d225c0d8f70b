"""Streams: rank-one updates equal direct inversion, forgetting equals literal weights, old states stay."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import D, N, full_penalty, make_tasks, refused, unchanged
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mtlbook import (
    Moments,
    Tasks,
    TraceRegularized,
    gradient_descent,
    relations,
    solve,
    squared_errors,
    streams,
)
from mtlbook.streams import (
    MovingRelation,
    Stream,
    follow_the_leader,
    forget,
    half_life,
    prequential,
    rate_of,
)

RATES = (0.0, 0.01, 0.3, 0.9)


def chunks(count: int, seed: int = 0) -> list[Tasks]:
    """Pieces of three tasks over four features, of 2, 3 and 1 rows: no piece identifies the weights alone."""
    return [make_tasks((2, 3, 1), seed=seed + t) for t in range(count)]


def start(n: int = 5, eps: float = 0.3, seed: int = 0) -> MovingRelation:
    Z = np.random.default_rng(seed).normal(size=(n, 2))
    return MovingRelation(relations.similarity(Z), eps)


def follow(state: MovingRelation, steps: int, rate: float, seed: int = 0) -> MovingRelation:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        state = state.update(rng.normal(size=len(state.A)), rate)
    return state


# half-life --------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e-9, 0.01, 0.5, 0.99])
def test_after_its_half_life_half_is_left(rate):
    assert_allclose((1 - rate) ** half_life(rate), 0.5, rtol=1e-6)
    assert_allclose(rate_of(half_life(rate)), rate, rtol=1e-12)


def test_half_lives_that_are_known():
    assert half_life(0.0) == float("inf")
    assert_allclose([half_life(0.5), rate_of(1), rate_of(2)], [1, 0.5, 1 - np.sqrt(0.5)])


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, float("nan"), float("inf"), "fast", None, True])
def test_rates_outside_zero_to_one_are_refused_wherever_they_enter(bad):
    rows = chunks(1)[0]
    for call in (
        lambda: half_life(bad),
        lambda: start().update(np.ones(5), bad),
        lambda: forget(Moments.from_tasks(rows), bad),
        lambda: Stream(rows, np.eye(N), 1.0, bad),
    ):
        with refused("rate"):
            call()


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), 1e-9])
def test_half_lives_that_leave_nothing_are_refused(bad):
    with refused("life"):
        rate_of(bad)


# the relation -----------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [1, 2, 5, 13])
def test_a_moving_relation_is_its_literal_recursion(n, rate):
    rng = np.random.default_rng(n)
    state, eps = start(n), 0.3
    A, ridge = state.A.copy(), np.full(n, eps)
    for t in range(2 * n + 3):
        z = rng.normal(size=n)
        state = state.update(z, rate)
        for i in range(n):
            for j in range(n):
                A[i, j] = (1 - rate) * A[i, j] + rate * z[i] * z[j]
        ridge = (1 - rate) * ridge
        if rate > 0:
            ridge[t % n] = eps
        if ridge.min() < eps / 2:
            ridge[:] = eps
        assert_allclose(state.A, A, rtol=1e-12, atol=1e-14)
        assert_allclose(state.ridge, ridge)
        assert_allclose(state.P, np.linalg.inv(A + np.diag(ridge)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "rate"), [(5, 0.05), (12, 0.01), (12, 0.2), (40, 0.02), (3, 0.6)])
def test_thousands_of_updates_stay_at_the_direct_inverse(n, rate):
    state = follow(start(n, eps=0.1), 5000, rate)
    direct = np.linalg.inv(state.A + np.diag(state.ridge))
    assert np.abs(state.P - direct).max() <= 1e-9 * np.abs(direct).max()
    assert state.residual <= streams.DRIFTED
    assert np.all(state.ridge <= 0.1)
    assert np.all(state.ridge >= max((1 - rate) ** n, 0.5) * 0.1)


def test_no_anchor_is_needed_below_log_two_over_n():
    n = 12
    assert follow(start(n), 5000, 0.99 * np.log(2) / n).anchors == 0


def test_a_ridge_whose_turn_comes_too_late_is_filled_by_anchoring():
    state = follow(start(12), 100, 0.2)
    # Three updates leave (1 - 0.2)^3 > 1/2 of the ridge, the fourth does not.
    assert state.anchors == 100 // 4
    assert_allclose(follow(state, 3, 0.2).ridge.min(), 0.3 * 0.8**3)


def test_directions_that_never_come_are_kept_too():
    state = start(6, eps=0.1)
    for _ in range(3000):
        state = state.update(np.ones(6), 0.1)
    assert_allclose(state.A, np.ones((6, 6)), atol=1e-12)
    assert_allclose(state.P @ (state.A + np.diag(state.ridge)), np.eye(6), atol=1e-10)
    assert state.anchors == 0


def test_drift_of_rounding_is_measured_and_mended(monkeypatch):
    honest = streams._plus_outer
    monkeypatch.setattr(streams, "_plus_outer", lambda P, z, w: honest(P, z, w) * (1 + 1e-8))
    state = follow(start(5), 3, 0.1)
    assert state.anchors == 3
    assert_allclose(state.P, relations.precision(state.A, 0.3), rtol=1e-12)
    assert_array_equal(state.ridge, np.full(5, 0.3))


@pytest.mark.parametrize("n", [1, 4, 7])
def test_the_residual_sees_an_error_in_any_one_entry(n):
    state = follow(start(n), 3, 0.1)
    for i, j in np.ndindex(n, n):
        P = state.P.copy()
        P[i, j] += 1e-6
        streams._set(state, P=P)
        assert state.residual > 1e-7
        P = state.P.copy()
        P[i, j] -= 1e-6
        streams._set(state, P=P)
    assert state.residual < 1e-12


def test_anchoring_by_hand_gives_the_penalty_of_a_full_ridge():
    state = follow(start(5), 7, 0.1)
    fresh = state.anchored()
    assert_array_equal(fresh.A, state.A)
    assert_allclose(fresh.P, np.linalg.inv(state.A + 0.3 * np.eye(5)))
    assert (fresh.turn, fresh.anchors) == (7 % 5, 1)


def test_penalties_stay_symmetric_to_the_last_bit_and_definite():
    state = follow(start(9), 400, 0.1)
    assert_array_equal(state.A, state.A.T)
    assert_array_equal(state.P, state.P.T)
    assert np.linalg.eigvalsh(state.P)[0] > 0
    TraceRegularized(make_tasks([3] * 9), state.P, 1.0)


def test_a_rate_of_zero_changes_nothing():
    state = start()
    assert state.update(np.ones(5), 0.0) is state


def test_what_no_longer_comes_is_forgotten_by_half_in_a_half_life():
    state = MovingRelation(np.eye(3), 1.0)
    for _ in range(20):
        state = state.update(np.zeros(3), rate_of(10))
    assert_allclose(state.A, np.eye(3) / 4)


def test_an_update_is_a_new_value_and_the_old_one_stays():
    A, z = np.diag([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 0.5])
    state = MovingRelation(A, 0.5)
    with unchanged(A, z, state.A, state.P, state.ridge):
        new = state.update(z, 0.3)
    assert new is not state
    assert (state.turn, new.turn) == (0, 1)
    for values in (state.A, new.A, new.P, new.ridge):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 7.0
    with pytest.raises(AttributeError):
        new.A = A  # type: ignore[misc]


def test_a_state_tells_how_it_is():
    assert repr(MovingRelation(np.zeros((3, 3)), 0.5)) == "MovingRelation(3 tasks, residual 0e+00, 0 anchors)"


@pytest.mark.parametrize(
    ("z", "found"),
    [
        (np.ones(4), "shape (4,)"),
        (np.ones((5, 1)), "shape (5, 1)"),
        ([1, 2, np.nan, 4, 5], "nan at (2,)"),
        ([1, 2, 3, 4, np.inf], "inf at (4,)"),
        (["a"] * 5, "dtype"),
    ],
)
def test_news_that_is_no_vector_of_one_number_a_task_is_refused(z, found):
    with refused("z", found=found):
        start().update(z, 0.1)


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_a_relation_without_a_ridge_is_refused(eps):
    with refused("eps", "above 0"):
        MovingRelation(np.eye(3), eps)


def test_a_similarity_that_is_none_is_refused():
    with refused("A", "positive semidefinite"):
        MovingRelation(np.diag([1.0, -1.0]), 0.1)


def test_news_that_overflows_is_refused_by_name():
    with refused("A", "finite numbers"):
        start().update(np.full(5, 1e200), 0.1)


def test_news_that_buries_the_ridge_is_refused_with_a_remedy():
    with refused("A + eps I", remedy="Choose a larger eps"):
        start().update(np.full(5, 1e12), 0.5)


# forgetting -------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_forgetting_is_a_weighted_mean_of_outer_products(rate):
    pieces = chunks(6)
    moments = Moments.from_tasks(pieces[0])
    for piece in pieces[1:]:
        moments = forget(moments, rate) + Moments.from_tasks(piece)
    for i in range(N):
        weight, C, b, s = 0.0, np.zeros((D, D)), np.zeros(D), 0.0
        for t, piece in enumerate(pieces):
            for x, target in zip(piece.X[i], piece.y[i], strict=True):
                w = (1 - rate) ** (5 - t)
                weight, s = weight + w, s + w * target**2
                C, b = C + w * np.outer(x, x), b + w * target * x
        assert_allclose(moments.m[i], weight)
        assert_allclose(moments.C[i], C / weight, atol=1e-12)
        assert_allclose(moments.B[:, i], b / weight, atol=1e-12)
        assert_allclose(moments.s[i], s / weight)


def test_forgetting_changes_no_mean_and_not_what_it_was_given():
    moments = Moments.from_tasks(chunks(1)[0])
    with unchanged(moments.C, moments.B, moments.s, moments.m):
        less = forget(moments, 0.25)
    assert_array_equal(less.C, moments.C)
    assert_array_equal(less.m, 0.75 * moments.m)


def test_forgetting_needs_moments():
    with refused("moments", "a Moments", "Tasks", kind=TypeError):
        forget(chunks(1)[0], 0.1)  # type: ignore[arg-type]


# streams ----------------------------------------------------------------------


def run(stream: Stream, pieces: list[Tasks]) -> Stream:
    for piece in pieces:
        stream = stream.update(piece)
    return stream


@pytest.fixture
def by_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems take the route of large ones."""
    monkeypatch.setattr(streams, "DENSE_LIMIT", 0)


@pytest.mark.parametrize("dense", [0, 500], ids=["by descent", "exactly"])
@pytest.mark.parametrize("rate", RATES)
def test_a_stream_ends_at_the_minimiser_of_its_weighted_rows(rate, dense, monkeypatch):
    monkeypatch.setattr(streams, "DENSE_LIMIT", dense)
    pieces, P = chunks(8), full_penalty()
    end = run(Stream(pieces[0], P, 0.4, rate), pieces[1:])
    H, c = np.zeros((D * N, D * N)), np.zeros(D * N)
    for i in range(N):
        weights = [(1 - rate) ** (7 - t) for t, piece in enumerate(pieces) for _ in piece.y[i]]
        inputs, targets = np.concatenate([p.X[i] for p in pieces]), np.concatenate([p.y[i] for p in pieces])
        rows = list(zip(inputs, targets, weights, strict=True))
        total = sum(weights)
        for x, y, w in rows:
            H[i * D : (i + 1) * D, i * D : (i + 1) * D] += w / total * np.outer(x, x)
            c[i * D : (i + 1) * D] += w / total * y * x
    W = np.linalg.solve(H + 0.4 * np.kron(P, np.eye(D)), c).reshape(N, D).T
    assert_allclose(end.W, W, atol=1e-6)


def test_a_stream_that_forgets_nothing_is_the_batch():
    pieces, P = chunks(7), full_penalty()
    everything = TraceRegularized(Moments.from_chunks(pieces), P, 0.4)
    assert_allclose(run(Stream(pieces[0], P, 0.4, 0.0), pieces[1:]).W, solve(everything).W, atol=1e-6)


def test_a_new_penalty_comes_into_force_and_stays():
    pieces = chunks(3)
    stream = Stream(pieces[0], np.eye(N), 0.4, 0.1).update(pieces[1], full_penalty())
    assert_allclose(stream.P, full_penalty())
    assert_allclose(stream.update(pieces[2]).P, full_penalty())
    expected = solve(TraceRegularized(stream.moments, full_penalty(), 0.4)).W
    assert_allclose(stream.W, expected, atol=1e-6)


def test_a_warm_start_saves_steps_over_worlds(by_descent):
    steps = []
    for seed in range(10):
        P = full_penalty()
        stream = Stream(make_tasks((20, 30, 40), seed=seed), P, 0.05, 0.05)
        warm = stream.update(make_tasks((1, 1, 1), seed=100 + seed))
        F = TraceRegularized(warm.moments, P, 0.05)
        cold = gradient_descent(F, accelerated=True, tolerance=streams.REFIT_TOLERANCE)
        steps.append((warm.result.n_iterations, cold.n_iterations))
    warm_steps, cold_steps = np.mean(steps, axis=0)
    assert 0 < warm_steps < cold_steps


def test_news_that_changes_nothing_needs_no_step(by_descent):
    rows = make_tasks((20, 30, 40))
    assert Stream(rows, full_penalty(), 0.4, 0.1).update(rows).result.n_iterations == 0


def test_where_descent_does_not_arrive_the_exact_solver_finishes(by_descent, monkeypatch):
    monkeypatch.setattr(streams, "REFIT_STEPS", 1)
    pieces = chunks(2)
    stream = Stream(pieces[0], full_penalty(), 0.4, 0.1).update(pieces[1])
    assert "dense" in stream.result.message
    assert stream.result.converged


def test_large_streams_descend_and_small_ones_do_not():
    small = Stream(chunks(1)[0], np.eye(N), 0.4, 0.1).update(chunks(1)[0])
    assert "dense" in small.result.message
    rows = make_tasks([3] * 126)
    assert rows.n_features * len(rows) == 504
    large = Stream(rows, np.eye(126), 0.4, 0.1).update(make_tasks([3] * 126, seed=1))
    assert "gradient descent" in large.result.message


def test_a_stream_of_moments_is_a_stream_of_rows():
    pieces, P = chunks(3), full_penalty()
    moments = [Moments.from_tasks(piece) for piece in pieces]
    by_rows = run(Stream(pieces[0], P, 0.4, 0.2), pieces[1:])
    by_moments = Stream(moments[0], P, 0.4, 0.2).update(moments[1]).update(moments[2])
    assert_array_equal(by_rows.W, by_moments.W)


def test_an_old_stream_stays_as_it_was():
    pieces = chunks(2)
    stream = Stream(pieces[0], full_penalty(), 0.4, 0.2)
    with unchanged(stream.W, stream.P, stream.moments.C, stream.moments.m, *pieces[1].X):
        stream.update(pieces[1])
    with pytest.raises(AttributeError):
        stream.rate = 0.5  # type: ignore[misc]


def test_a_stream_tells_its_half_life():
    assert repr(Stream(chunks(1)[0], np.eye(N), 1.0, 0.5)).startswith("Stream(3 tasks, half-life 1 updates, ")


def test_bad_input_of_streams_is_refused():
    rows = chunks(1)[0]
    stream = Stream(rows, np.eye(N), 1.0, 0.1)
    with refused("P"):
        Stream(rows, np.eye(2), 1.0, 0.1)
    with refused("strength"):
        Stream(rows, np.eye(N), -1.0, 0.1)
    with refused("tasks", kind=TypeError):
        Stream([1.0], np.eye(N), 1.0, 0.1)  # type: ignore[arg-type]
    with refused("tasks", kind=TypeError):
        stream.update("rows")  # type: ignore[arg-type]
    with refused("other"):
        stream.update(Tasks(rows.X, rows.y, ["a", "b", "c"]))
    with refused("P"):
        stream.update(rows, -np.eye(N))


# judging by the past ----------------------------------------------------------


def test_predictions_come_before_learning():
    pieces = chunks(6)
    stream = Stream(pieces[0], full_penalty(), 0.4, 0.1)
    errors = prequential(stream, pieces[1:])
    assert errors.shape == (5, N)
    for t, piece in enumerate(pieces[1:]):
        for i, (X, y) in enumerate(piece):
            assert_allclose(errors[t, i], np.mean((X @ stream.W[:, i] - y) ** 2))
        stream = stream.update(piece)


def test_errors_of_the_past_do_not_know_the_future():
    pieces, other = chunks(6), chunks(6, seed=50)
    stream = Stream(pieces[0], full_penalty(), 0.4, 0.1)
    early = prequential(stream, pieces[1:])
    late = prequential(stream, [*pieces[1:4], *other[4:]])
    assert_array_equal(early[:3], late[:3])
    assert np.all(early[3:] != late[3:])


def test_a_penalty_comes_into_force_with_its_chunk_and_not_before():
    pieces = chunks(4)
    stream = Stream(pieces[0], np.eye(N), 0.4, 0.1)
    penalties = [full_penalty(), 3 * np.eye(N), np.eye(N)]
    errors = prequential(stream, pieces[1:], iter(penalties))
    for t, (piece, P) in enumerate(zip(pieces[1:], penalties, strict=True)):
        assert_allclose(errors[t], squared_errors(stream.W, piece))
        stream = stream.update(piece, P)


@pytest.mark.parametrize(("count", "found"), [(0, "0"), (1, "1"), (3, "more")])
def test_one_penalty_is_wanted_for_each_chunk(count, found):
    pieces = chunks(3)
    with refused("penalties", found=found):
        prequential(Stream(pieces[0], np.eye(N), 0.4, 0.1), pieces[1:], [np.eye(N)] * count)


def test_bad_input_of_prequential_is_refused():
    stream = Stream(chunks(1)[0], np.eye(N), 1.0, 0.1)
    with refused("chunks", "at least one"):
        prequential(stream, [])
    with refused("chunk", "a Tasks", kind=TypeError):
        prequential(stream, [1])  # type: ignore[list-item]
    with refused("stream", "a Stream", kind=TypeError):
        prequential(np.eye(2), chunks(1))  # type: ignore[arg-type]


@given(st.integers(1, 4), st.integers(1, 7), st.randoms(use_true_random=False))
def test_the_leader_is_chosen_by_the_past_alone(candidates, times, source):
    errors = np.array([[source.randint(0, 9) for _ in range(times)] for _ in range(candidates)], dtype=float)
    choice = follow_the_leader(errors)
    assert choice.shape == (times,)
    for t in range(times):
        sums = [sum(Fraction(e) for e in row[:t]) for row in errors.tolist()]
        assert choice[t] == sums.index(min(sums))
        changed = errors.copy()
        changed[:, t:] = 1000 - changed[:, t:]
        assert_array_equal(follow_the_leader(changed)[: t + 1], choice[: t + 1])


def test_leaders_need_errors():
    with refused("errors"):
        follow_the_leader([1.0, 2.0])
    with refused("errors"):
        follow_the_leader([[1.0, np.nan]])
