"""Conjugate gradients on several systems at once: each is its literal loop, whatever the others do."""

import dataclasses

import numpy as np
import pytest

from mtlbook import krylov

N, D, S = 3, 2, 4


@dataclasses.dataclass(frozen=True)
class Matrices:
    """Systems with matrices of their own, and a diagonal preconditioner each."""

    H: np.ndarray
    M: np.ndarray

    def apply(self, V: np.ndarray) -> np.ndarray:
        return np.einsum("spq,qs->ps", self.H, V.reshape(N * D, -1)).reshape(V.shape)

    def precondition(self, R: np.ndarray) -> np.ndarray:
        return (R.reshape(N * D, -1) / self.M.T).reshape(R.shape)

    def keep(self, running: np.ndarray) -> "Matrices":
        return Matrices(self.H[running], self.M[running])


def systems(spread: float = 10.0) -> tuple[Matrices, np.ndarray]:
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(S, N * D, N * D))
    H = halves @ halves.swapaxes(1, 2) + np.eye(N * D)
    return Matrices(H, rng.uniform(1, spread, size=(S, N * D))), rng.normal(size=(N, D, S)) * [
        1,
        1e3,
        1e-3,
        7,
    ]


def literal(H: np.ndarray, M: np.ndarray, b: np.ndarray, steps: int) -> list[np.ndarray]:
    x, r = np.zeros(len(b)), b.copy()
    z = r / M
    p, history = z.copy(), [x]
    for _ in range(steps):
        alpha = (r @ z) / (p @ H @ p)
        x, r_next = x + alpha * p, r - alpha * (H @ p)
        z_next = r_next / M
        p = z_next + (r_next @ z_next) / (r @ z) * p
        r, z = r_next, z_next
        history.append(x)
    return history


def after(limits: list[int]):
    """Stop each system after its own number of steps."""
    return lambda state: state.steps >= np.array(limits)[state.which]


def test_every_system_takes_its_own_steps_and_is_its_literal_loop():
    limits = [2, 4, 1, 3]
    given, B = systems()
    found = krylov.conjugate_gradients(given, B, after(limits))
    assert found.steps.tolist() == limits
    for j, steps in enumerate(limits):
        b = B[..., j].ravel()
        history = literal(given.H[j], given.M[j], b, steps)
        np.testing.assert_allclose(found.V[..., j].ravel(), history[-1], rtol=1e-10)
        for k, x in enumerate(history):
            r = b - given.H[j] @ x
            assert found.norms[k, j] == pytest.approx(np.linalg.norm(r))
            assert found.descents[k, j] == pytest.approx(x @ (b + r))
        assert found.energies[j] == pytest.approx(r @ (r / given.M[j]))
        np.testing.assert_array_equal(found.norms[steps:, j], found.norms[steps, j])
        np.testing.assert_array_equal(found.descents[steps:, j], found.descents[steps, j])
    assert found.norms.shape == found.descents.shape == (5, S)


def test_the_state_shown_to_a_rule_is_where_the_systems_stand():
    given, B = systems()
    seen = []

    def rule(state: krylov.State) -> np.ndarray:
        seen.append(state.steps)
        for k, j in enumerate(state.which):
            b, x = B[..., j].ravel(), state.V[..., k].ravel()
            r = b - given.H[j] @ x
            assert state.starts[k] == pytest.approx(np.linalg.norm(b))
            assert state.norms[k] == pytest.approx(np.linalg.norm(r))
            assert state.energies[k] == pytest.approx(r @ (r / given.M[j]))
            assert state.descents[k] == pytest.approx(x @ (b + r), abs=1e-12)
            np.testing.assert_allclose(state.S[..., k].ravel(), r / given.M[j], atol=1e-9 * np.linalg.norm(b))
            root = np.sqrt(given.M[j])
            least = np.linalg.eigvalsh(given.H[j] / root / root[:, None])[0]
            assert state.least_ritz()[k] >= least * (1 - 1e-9) or state.steps == 0
        return state.steps >= np.array([3, 1, 2, 3])[state.which]

    krylov.conjugate_gradients(given, B, rule)
    assert seen == [0, 1, 2, 3]


def test_ritz_values_reach_the_least_eigenvalue():
    given, B = systems()
    found = krylov.conjugate_gradients(given, B, after([N * D] * S))
    for j in range(S):
        root = np.sqrt(given.M[j])
        least = np.linalg.eigvalsh(given.H[j] / root / root[:, None])[0]
        assert found.ritz[j] == pytest.approx(least, rel=1e-6)
    assert krylov.conjugate_gradients(given, B, after([0] * S)).ritz.tolist() == [1.0] * S


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_rounding_ends_what_no_rule_ends(dtype, size):
    given, B = systems()
    B = np.broadcast_to(np.ones((N, D, 1)), B.shape).astype(dtype) * dtype(size)
    cast = Matrices(given.H.astype(dtype), given.M.astype(dtype))
    found = krylov.conjugate_gradients(cast, B, lambda state: state.norms < 0)
    assert found.steps.max() <= 6 * N * D
    assert (found.norms[-1] <= 1e3 * np.finfo(dtype).eps * found.norms[0]).all()
    assert found.V.dtype == dtype


def test_patience_counts_the_steps_since_the_best():
    """A right-hand side that the matrix cannot reach keeps a residual that no step makes smaller."""
    H = np.zeros((1, N * D, N * D))
    H[0] = np.diag([1e14, 1e12, 1e8, 1.0, 1e-2, 1e-4])
    B = np.ones((N, D, 1))
    steps = [
        krylov.conjugate_gradients(Matrices(H, np.ones((1, N * D))), B, lambda s: s.norms < 0, patience=p)
        .steps[0]
        for p in (0, 3)
    ]  # fmt: skip
    assert 0 < steps[0] + 3 <= steps[1] + 3
    assert steps[1] < 200


def test_a_direction_without_curvature_ends_its_system_alone():
    given, B = systems()
    H = given.H.copy()
    H[1] = 0.0
    found = krylov.conjugate_gradients(Matrices(H, given.M), B, after([N * D] * S))
    assert found.steps.tolist() == [N * D, 0, N * D, N * D]
    assert not found.V[..., 1].any()
    for j in (0, 2, 3):
        exact = np.linalg.solve(H[j], B[..., j].ravel())
        np.testing.assert_allclose(found.V[..., j].ravel(), exact, rtol=1e-6)


def test_nothing_given_is_changed():
    given, B = systems()
    before = B.copy()
    krylov.conjugate_gradients(given, B, after([2] * S))
    np.testing.assert_array_equal(B, before)


@pytest.mark.parametrize("s", [1, 3])
def test_dots_are_one_inner_product_a_system(s):
    A, B = np.random.default_rng(0).normal(size=(2, N, D, s))
    literal_dots = [sum(A[i, k, j] * B[i, k, j] for i in range(N) for k in range(D)) for j in range(s)]
    np.testing.assert_allclose(krylov.dots(A, B), literal_dots, rtol=1e-13)
    assert krylov.dots(A.astype(np.float32), B.astype(np.float32)).dtype == np.float64
