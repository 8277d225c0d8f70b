"""Krylov: preconditioned conjugate gradients for several linear systems at once.

Notation: H V = B for each of s systems, which share their shape but not their H. Arrays hold the systems
along their last axis, so that one product with a shared matrix serves all of them: V, B, R = B - H V and the
preconditioned residual S = M^-1 R have shape (n, d, s), and ``<R, S>`` means one number a system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbook.checks import FloatArray

# Residuals below so many units of rounding say nothing any more.
ROUNDING = 5.0
PATIENCE = 500


class Systems(Protocol):
    """What conjugate gradients ask of s symmetric positive semidefinite systems."""

    def apply(self, V: FloatArray) -> FloatArray:
        """H V."""

    def precondition(self, R: FloatArray) -> FloatArray:
        """M^-1 R, with a symmetric positive definite M near H."""

    def keep(self, running: NDArray[np.bool_]) -> Systems:
        """Only those systems that still run."""


@dataclass(frozen=True, eq=False)
class State:
    """Where the running systems stand; a rule for stopping looks at it.

    Attributes
    ----------
    which : ndarray of shape (running,)
        Their numbers, from 0 to s - 1.
    V, S : ndarrays of shape (n, d, running)
        The iterates, and the preconditioned residuals.
    norms, starts : ndarrays of shape (running,)
        Frobenius norms of the residuals now and at the start.
    energies : ndarray of shape (running,)
        ``<R, M^-1 R>``.
    descents : ndarray of shape (running,)
        ``<V, B + R>``, by which ``<V, H V> - 2 <B, V>`` has fallen from V = 0.
    steps : int
        How many were taken.
    least_ritz : callable
        Gives the estimates of :func:`least_ritz`, one a running system, from the steps so far.
    """

    which: NDArray[np.intp]
    V: FloatArray
    S: FloatArray
    norms: FloatArray
    starts: FloatArray
    energies: FloatArray
    descents: FloatArray
    steps: int
    least_ritz: Callable[[], FloatArray]


@dataclass(frozen=True, eq=False)
class Solution:
    """What conjugate gradients found.

    Attributes
    ----------
    V : ndarray of shape (n, d, s)
        The last iterate of each system.
    norms, descents : ndarrays of shape (steps + 1, s)
        Histories of `State.norms` and `State.descents`; a system that has stopped repeats its last.
    energies : ndarray of shape (s,)
        Last ``<R, M^-1 R>`` of each system.
    ritz : ndarray of shape (s,)
        Least eigenvalue of M^-1 H as the steps saw it, for each system.
    steps : ndarray of shape (s,)
        How many steps each system took.
    """

    V: FloatArray
    norms: FloatArray
    descents: FloatArray
    energies: FloatArray
    ritz: FloatArray
    steps: NDArray[np.intp]


def conjugate_gradients(
    systems: Systems,
    B: FloatArray,
    stop: Callable[[State], NDArray[np.bool_]],
    *,
    patience: int = PATIENCE,
) -> Solution:
    """Conjugate gradients from V = 0 on all systems together; those that are done leave the rest.

    Each step costs one product with H and one with M^-1 a system, and no more memory than five arrays like
    B. It matters that systems run together: what one vector reads from memory serves all. The method is that
    of Hestenes and Stiefel; see :func:`mtlbook.solvers.solve`.

    Parameters
    ----------
    systems : Systems
        Products with H and M^-1.
    B : ndarray of shape (n, d, s)
        Right-hand sides; all steps are taken in their precision.
    stop : callable
        Takes a `State`, says which of the running systems are done. A residual at rounding, a direction
        without curvature or `patience` steps without a smaller residual end a system in any case.
    patience : int
        How many steps may pass without gain.

    Returns
    -------
    Solution
    """
    count, least = B.shape[-1], ROUNDING * float(np.finfo(B.dtype).eps)
    found = np.zeros_like(B)
    which = np.arange(count)
    V, R = np.zeros_like(B), B.copy()
    S = systems.precondition(R)
    D, energy = S.copy(), dots(R, S)
    starts = np.sqrt(dots(B, B))
    track = _Track(starts, energy)
    while True:
        state = State(
            which, V, S, track.norms[-1][which], starts[which], energy, track.descents[-1][which],
            len(track.alphas), partial(track.ritz, which),
        )  # fmt: skip
        done = stop(state) | (energy <= 0) | (state.norms <= least * state.starts)
        done |= state.steps - track.best_at[which] > patience
        HD = systems.apply(D)
        curvature = dots(D, HD)
        done |= curvature <= 0
        if done.any():
            found[..., which[done]] = V[..., done]
            if done.all():
                break
            running = ~done
            systems, which = systems.keep(running), which[running]
            V, R, D, HD = (np.ascontiguousarray(A[..., running]) for A in (V, R, D, HD))
            energy, curvature = energy[running], curvature[running]
        alpha = energy / curvature
        V += alpha.astype(B.dtype) * D
        R -= alpha.astype(B.dtype) * HD
        S = systems.precondition(R)
        energy, last = dots(R, S), energy
        beta = energy / last
        D *= beta.astype(B.dtype)
        D += S
        track.add(which, alpha, beta, np.sqrt(dots(R, R)), dots(V, B[..., which] + R), energy)
    return Solution(
        found,
        np.array(track.norms),
        np.array(track.descents),
        track.energies,
        track.ritz(np.arange(count)),
        track.steps,
    )


class _Track:
    """The history of all systems; those that have stopped repeat their last entries."""

    def __init__(self, starts: FloatArray, energies: FloatArray) -> None:
        self.norms, self.descents = [starts], [np.zeros(len(starts))]
        self.alphas: list[FloatArray] = []
        self.betas: list[FloatArray] = []
        self.energies = energies.copy()
        self.steps = np.zeros(len(starts), dtype=np.intp)
        self.best, self.best_at = starts.copy(), np.zeros(len(starts), dtype=np.intp)

    def add(
        self,
        which: NDArray[np.intp],
        alpha: FloatArray,
        beta: FloatArray,
        norms: FloatArray,
        descents: FloatArray,
        energies: FloatArray,
    ) -> None:
        for history, new in ((self.norms, norms), (self.descents, descents)):
            history.append(history[-1].copy())
            history[-1][which] = new
        for steps, new in ((self.alphas, alpha), (self.betas, beta)):
            steps.append(np.ones(len(self.steps)))
            steps[-1][which] = new
        self.energies[which] = energies
        self.steps[which] += 1
        gained = which[norms < self.best[which]]
        self.best[gained], self.best_at[gained] = self.norms[-1][gained], len(self.alphas)

    def ritz(self, which: NDArray[np.intp]) -> FloatArray:
        alphas, betas = np.array(self.alphas), np.array(self.betas)
        return np.array(
            [
                least_ritz(alphas[:k, j], betas[:k, j]) if k else 1.0
                for j, k in zip(which, self.steps[which], strict=True)
            ]
        )


def least_ritz(alphas: FloatArray, betas: FloatArray) -> float:
    """Estimate of the least eigenvalue of M^-1 H, from the steps of conjugate gradients.

    The tridiagonal matrix below is the one that Lanczos's method would have built; its eigenvalues lie within
    those of M^-1 H, and the least falls to the least as steps are added. It matters since it turns what is
    seen, the preconditioned residual, into what is not: the error.

    Parameters
    ----------
    alphas, betas : ndarrays of shape (k,)
        Step lengths, and the weights of the last direction in the next.

    Returns
    -------
    float
    """
    ratios = betas[:-1]
    diagonal = 1 / alphas
    diagonal[1:] += ratios / alphas[:-1]
    beside = np.sqrt(ratios) / alphas[:-1]
    return float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[0])


def dots(A: FloatArray, B: FloatArray) -> FloatArray:
    """The inner products <A, B>, one a system.

    Parameters
    ----------
    A, B : ndarrays of shape (n, d, s)
        Contiguous.

    Returns
    -------
    ndarray of shape (s,)
    """
    if A.shape[-1] == 1:
        return np.array([A.ravel() @ B.ravel()], dtype=np.float64)
    found: Any = np.einsum("nds,nds->s", A, B)
    return np.asarray(found, dtype=np.float64)
