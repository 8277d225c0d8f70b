"""What the tests share: awkward problems, slow literal twins, and checks of errors and inputs."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtlbook import Tasks, TraceRegularized, relations

SIZES = (5, 8, 11)
D = 4
N = len(SIZES)


def make_tasks(
    sizes: Sequence[int] = SIZES, d: int = D, seed: int = 0, scales: float | np.ndarray = 1.0
) -> Tasks:
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(m, d)) for m in sizes]
    y = [x @ rng.normal(size=d) + rng.normal(size=len(x)) for x in X]
    return Tasks([x * scales for x in X], y)


def random_similarity(n: int = N, seed: int = 1) -> np.ndarray:
    half = np.random.default_rng(seed).uniform(size=(n, n))
    return half + half.T


def full_penalty(n: int = N) -> np.ndarray:
    """Full, definite, and with no two entries alike except by symmetry."""
    return relations.laplacian(random_similarity(n)) + np.diag(np.arange(1.0, n + 1))


PENALTIES = {
    "independent": relations.independent(N),
    "to_mean": relations.to_mean(N),
    "laplacian": relations.laplacian(random_similarity()),
    "precision": relations.precision(relations.similarity([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]]), 0.5),
    "full": full_penalty(),
}


# Literal twins ----------------------------------------------------------------


def literal_trace(W: np.ndarray, P: np.ndarray) -> float:
    """tr(W P W^T) as sum_ij P_ij <w_i, w_j>."""
    d, n = W.shape
    return sum(P[i, j] * sum(W[k, i] * W[k, j] for k in range(d)) for i in range(n) for j in range(n))


def literal_errors(W: np.ndarray, tasks: Tasks) -> list[float]:
    errors = []
    for i, (X, y) in enumerate(tasks):
        residuals = [sum(X[r, k] * W[k, i] for k in range(X.shape[1])) - y[r] for r in range(len(y))]
        errors.append(sum(residual**2 for residual in residuals) / len(y))
    return errors


def literal_value(tasks: Tasks, P: np.ndarray, strength: float, W: np.ndarray) -> float:
    return sum(literal_errors(W, tasks)) + strength * literal_trace(W, P)


def literal_gradient(tasks: Tasks, P: np.ndarray, strength: float, W: np.ndarray) -> np.ndarray:
    d, n = W.shape
    G = np.zeros((d, n))
    for i, (X, y) in enumerate(tasks):
        for r in range(len(y)):
            residual = sum(X[r, k] * W[k, i] for k in range(d)) - y[r]
            for k in range(d):
                G[k, i] += 2 / len(y) * X[r, k] * residual
        for k in range(d):
            G[k, i] += 2 * strength * sum(W[k, j] * P[j, i] for j in range(n))
    return G


def kronecker_system(tasks: Tasks, P: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """H and c of F(W) = vec(W)^T H vec(W) / 2 - c^T vec(W) + const, entry by entry."""
    n, d = len(tasks), tasks.n_features
    H, c = np.zeros((d * n, d * n)), np.zeros(d * n)
    for i, (X, y) in enumerate(tasks):
        for k in range(d):
            c[i * d + k] = 2 / len(y) * sum(X[r, k] * y[r] for r in range(len(y)))
            for q in range(d):
                H[i * d + k, i * d + q] += 2 / len(y) * sum(X[r, k] * X[r, q] for r in range(len(y)))
            for j in range(n):
                H[i * d + k, j * d + k] += 2 * strength * P[i, j]
    return H, c


def kronecker_solution(tasks: Tasks, P: np.ndarray, strength: float) -> np.ndarray:
    w = np.linalg.solve(*kronecker_system(tasks, P, strength))
    return w.reshape(len(tasks), tasks.n_features).T


# Checks -----------------------------------------------------------------------


def finite_differences(f: Callable[[np.ndarray], float], W: np.ndarray, h: float = 1e-5) -> np.ndarray:
    G = np.zeros_like(W)
    for index in np.ndindex(*W.shape):
        E = np.zeros_like(W)
        E[index] = h
        G[index] = (f(W + E) - f(W - E)) / (2 * h)
    return G


def assert_gradient(f: Callable[[np.ndarray], float], G: np.ndarray, W: np.ndarray) -> None:
    np.testing.assert_allclose(G, finite_differences(f, W), rtol=1e-6, atol=1e-6)


def assert_near_minimum(F: TraceRegularized, W: np.ndarray, relative: float = 1e-9) -> None:
    scale = np.linalg.norm(F.gradient(np.zeros(F.shape)))
    assert np.linalg.norm(F.gradient(W)) <= relative * scale


@contextmanager
def refused(
    name: str, wanted: str = "", found: str = "", remedy: str = "", kind: type[Exception] = ValueError
) -> Iterator[None]:
    """Expect the error "name: wanted ..., found .... remedy", with these parts in their places."""
    with pytest.raises(kind) as caught:
        yield
    parts = re.fullmatch(
        r"(?P<name>[^:]+(?:::\w+)?): wanted (?P<wanted>.+), found (?P<found>.+?)\. (?P<remedy>[A-Z].+)",
        str(caught.value),
    )
    assert parts, f"not a sentence of wanted, found and remedy: {caught.value}"
    assert parts["name"] == name
    assert wanted in parts["wanted"]
    assert found in parts["found"]
    assert remedy in parts["remedy"]


@contextmanager
def unchanged(*inputs: object) -> Iterator[None]:
    """Expect the bytes, shape, strides and flags of all arrays among `inputs` to stay as they are."""

    def snapshot() -> list[tuple]:
        flags = ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "OWNDATA")
        return [
            (a.tobytes(), a.dtype, a.shape, a.strides, *(a.flags[flag] for flag in flags))
            for a in map(np.asarray, inputs)
        ]

    before = snapshot()
    yield
    assert snapshot() == before


# Strategies -------------------------------------------------------------------


def matrices(
    rows: st.SearchStrategy[int], columns: st.SearchStrategy[int], least: float
) -> st.SearchStrategy:
    entries = st.floats(least, 100, allow_subnormal=False).map(lambda x: round(x, 3))
    return st.tuples(rows, columns).flatmap(lambda shape: arrays(float, shape, elements=entries))


descriptors = matrices(st.integers(1, 6), st.integers(1, 4), -100)
similarities = st.integers(1, 6).flatmap(
    lambda n: matrices(st.just(n), st.just(n), 0).map(lambda half: half + half.T)
)
labels = st.lists(st.sampled_from("abc"), min_size=1, max_size=7)
