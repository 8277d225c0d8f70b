"""Learners of the chapters on evidence: all choose among 32 candidates, by the same folds.

A learner takes the training rows, their folds and, if it couples tasks, their descriptors Z (n, r), and sees
no other rows. What is learned are weights W (d, n) and levels (n,). Levels are free, one for each task; only
the random intercept shrinks them.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import Tasks, fit, relations, squared_errors

Folds = Sequence[tuple[Tasks, Tasks]]
Learned = tuple[NDArray[np.float64], NDArray[np.float64]]

STRENGTHS = np.logspace(-2.5, 1.5, 8)
RHOS = (0.003, 0.03, 0.3, 1.0)
FINE = np.logspace(-2.5, 1.5, 32)
SLOPES, LEVELS = np.logspace(-4, 0, 8), (0.003, 0.03, 0.3, 3.0)


def centred(train: Tasks, *others: Tasks) -> tuple[Tasks, ...]:
    """Each task less its own training means, which is the same as a free level for each task."""
    x, y = [X.mean(axis=0) for X in train.X], [t.mean() for t in train.y]
    return tuple(
        Tasks(
            [X - a for X, a in zip(part.X, x, strict=True)], [t - b for t, b in zip(part.y, y, strict=True)]
        )
        for part in (train, *others)
    )


def levels(W: ArrayLike, tasks: Tasks) -> NDArray[np.float64]:
    """The levels that belong to weights fitted to centred rows."""
    return np.array([np.mean(y - X @ w) for (X, y), w in zip(tasks, np.transpose(W), strict=True)])


def dial(Z: ArrayLike, rho: float) -> NDArray[np.float64]:
    """Penalty between coupled as the families in Z say (rho = 0) and single-task (rho = 1)."""
    members = np.asarray(Z, dtype=float)
    A = relations.similarity(members / np.sqrt(members.sum(axis=0)))
    return (1 - rho) * relations.laplacian(A) + rho * relations.independent(len(members))


def held_out(folds: Folds, P: ArrayLike, strengths: ArrayLike) -> NDArray[np.float64]:
    """Mean error of each strength on the folds: the numbers of cross_validate, and nothing checked.

    On problems of this size the checks cost more than the linear systems.
    """
    total = np.zeros(np.size(strengths))
    for train, test in folds:
        C, b = zip(*((X.T @ X / len(y), X.T @ y / len(y)) for X, y in train), strict=True)
        n, d = len(C), len(C[0])
        own, tie = np.zeros((n, d, n, d)), np.kron(P, np.eye(d))
        own[np.arange(n), :, np.arange(n)] = C
        for k, strength in enumerate(np.ravel(strengths)):
            W = np.linalg.solve(own.reshape(n * d, n * d) + strength * tie, np.concatenate(b))
            total[k] += squared_errors(W.reshape(n, d).T, test).mean()
    return total / len(folds)


def choose(
    folds: Folds, penalties: Iterable[ArrayLike], strengths: ArrayLike
) -> tuple[NDArray[np.float64], float]:
    """The penalty and the strength with the least error on the folds."""
    candidates = [np.asarray(P) for P in penalties]
    errors = np.array([held_out(folds, P, strengths) for P in candidates])
    best, k = np.unravel_index(errors.argmin(), errors.shape)
    return candidates[best], float(np.ravel(strengths)[k])


def coupled(tasks: Tasks, folds: Folds, Z: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Penalty and strength of the multi-task learner: dial and strength are chosen together."""
    return choose([centred(*fold) for fold in folds], [dial(Z, rho) for rho in RHOS], STRENGTHS)


def alone(tasks: Tasks, folds: Folds) -> tuple[NDArray[np.float64], float]:
    """Penalty and strength of the single-task learner, ridge regression for each task."""
    return choose([centred(*fold) for fold in folds], [relations.independent(len(tasks))], FINE)


def fitted(tasks: Tasks, P: ArrayLike, strength: float) -> Learned:
    """Weights and levels from all training rows."""
    W = fit(centred(tasks)[0], P, strength).W
    return W, levels(W, tasks)


def pooled(tasks: Tasks, folds: Folds) -> Learned:
    """One weight vector for all tasks, and a free level for each."""
    one = [tuple(joined(part) for part in centred(*fold)) for fold in folds]
    P, strength = choose(one, [relations.independent(1)], FINE)
    W = np.repeat(fit(joined(centred(tasks)[0]), P, strength).W, len(tasks), axis=1)
    return W, levels(W, tasks)


def joined(tasks: Tasks) -> Tasks:
    """All rows as one task."""
    return Tasks([np.concatenate(tasks.X)], [np.concatenate(tasks.y)])


def random_intercept(tasks: Tasks, folds: Folds) -> Learned:
    """One weight vector for all tasks, and levels that are shrunk towards their mean."""
    pairs = [(slope, level) for slope in SLOPES for level in LEVELS]
    total = np.zeros(len(pairs))
    for train, test in folds:
        sums, lifted = intercept_sums(train), with_ones(test)
        for k, pair in enumerate(pairs):
            total[k] += squared_errors(np.vstack(intercept(*sums, *pair)), lifted).mean()
    return intercept(*intercept_sums(tasks), *pairs[total.argmin()])


def intercept(H: NDArray[np.float64], c: NDArray[np.float64], n: int, slope: float, level: float) -> Learned:
    """Minimise sum_i mse_i + slope * n |w|^2 + level * sum_i (a_i - mean of a)^2 over w and a."""
    d = len(c) - n
    penalty = np.zeros_like(H)
    penalty[:d, :d] = slope * n * np.eye(d)
    penalty[d:, d:] = level * relations.to_mean(n)
    solution = np.linalg.solve(H + penalty, c)
    return np.repeat(solution[:d, None], n, axis=1), solution[d:]


def intercept_sums(tasks: Tasks) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Means of outer products of the rows (x, mark of the task), and of their products with the targets."""
    n, d = len(tasks), tasks.n_features
    H, c = np.zeros((d + n, d + n)), np.zeros(d + n)
    for i, (X, y) in enumerate(tasks):
        rows = np.hstack([X, np.repeat(np.eye(n)[[i]], len(y), axis=0)])
        H, c = H + rows.T @ rows / len(y), c + rows.T @ y / len(y)
    return H, c, n


def with_ones(tasks: Tasks) -> Tasks:
    """A last feature that is one: its weight is the level."""
    return Tasks([np.hstack([X, np.ones((len(X), 1))]) for X in tasks.X], tasks.y)
