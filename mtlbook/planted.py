"""Planted worlds: tasks drawn from a known truth, so that errors are computed and not estimated.

Notation: W (d, n) holds the weights that made the data, a_i is the level of task i, Z (n, r) holds what the
descriptors claim. Every world draws inputs x from N(0, I) and targets

.. code-block:: text

    y = a_i + <x, w_i> + noise * N(0, 1),

so that weights w and a level a err on fresh rows of task i by ``|w - w_i|^2 + (a - a_i)^2 + noise^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.tasks import Tasks

FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class Planted:
    """Tasks made from a known truth; unpacks as ``tasks, W, Z``.

    Attributes
    ----------
    tasks : Tasks
        The rows drawn.
    W : ndarray of shape (d, n)
        The weights that made them.
    Z : ndarray of shape (n, r)
        Descriptors: what is *claimed* about the tasks. Some worlds let them claim what is not so.
    levels : ndarray of shape (n,)
        The levels a_i that made the rows; zero in worlds without levels.
    noise : float
        Deviation of the targets' noise.
    """

    tasks: Tasks
    W: FloatArray
    Z: FloatArray
    levels: FloatArray
    noise: float

    def __post_init__(self) -> None:
        for field in ("W", "Z", "levels"):
            object.__setattr__(self, field, checks.frozen(getattr(self, field)))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.tasks, self.W, self.Z))

    def risks(self, W: ArrayLike, levels: ArrayLike | None = None) -> FloatArray:
        """Expected squared error of each task on a fresh row, ``|w - w_i|^2 + (a - a_i)^2 + noise^2``.

        It is exact, since inputs are N(0, I): no test rows are needed, and none can flatter.

        Parameters
        ----------
        W : array of shape (d, n)
            Weights to be judged, one column a task.
        levels : array of shape (n,), optional
            Levels to be judged; zero by default.

        Returns
        -------
        ndarray of shape (n,)
            In squared units of y.

        Raises
        ------
        ValueError
            If W or levels have another shape or are not finite.
        """
        V = checks.array(W, "W", self.W.shape)
        n = len(self.tasks)
        a = np.zeros(n) if levels is None else checks.array(levels, "levels", (n,))
        return np.sum((V - self.W) ** 2, axis=0) + (a - self.levels) ** 2 + self.noise**2


def planted_families(
    rng: np.random.Generator,
    *,
    n_tasks: int = 12,
    n_families: int = 3,
    n_features: int = 5,
    n_rows: int | Sequence[int] = 20,
    spread: float = 0.3,
    noise: float = 1.0,
    outsiders: int = 0,
    level_spread: float = 0.0,
) -> Planted:
    """Tasks whose weights scatter around the centre of their family, but for outsiders.

    Task i is filed under family i mod n_families; its weights are the family's centre, drawn from N(0, I),
    plus `spread` times N(0, I). The last `outsiders` tasks are filed like the others, but their weights are
    drawn alone, from N(0, (1 + spread^2) I), the law that each single member has. Levels are `level_spread`
    times N(0, 1). With one family and spread 0 all slopes are shared; with as many families as tasks nothing
    is; with n outsiders the descriptors claim families that do not exist.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness. From one seed, worlds that differ in `outsiders` or `level_spread` have the same
        inputs, noise and other weights.
    n_tasks, n_families, n_features : int
        Sizes n, number of families (at most n), and d.
    n_rows : int or sequence of n ints
        Rows m_i of each task.
    spread : float
        Deviation of weights within a family, at least zero.
    noise : float
        Deviation of the targets' noise, at least zero.
    outsiders : int
        How many tasks, from the last backwards, belong to no family; at most n.
    level_spread : float
        Deviation of the levels a_i, at least zero.

    Returns
    -------
    Planted
        Row i of Z marks the family under which task i is filed with a one. Weights w and level a err by
        ``|w - w_i|^2 + (a - a_i)^2 + noise^2`` on fresh rows of task i.

    Raises
    ------
    TypeError
        If rng is not a Generator.
    ValueError
        If a size or deviation is out of range.
    """
    n, r, d = _sizes(n_tasks, n_families, n_features)
    k = checks.count(outsiders, "outsiders", at_least=0)
    if k > n:
        checks.fail("outsiders", f"at most n_tasks = {n}", str(k), "Only tasks can be outsiders.")
    width = checks.number(spread, "spread", at_least=0.0)
    Z = np.eye(r)[np.arange(n) % r]

    def weights(source: np.random.Generator) -> FloatArray:
        return source.normal(size=(d, r)) @ Z.T + width * source.normal(size=(d, n))

    def strangers(source: np.random.Generator) -> FloatArray:
        return np.sqrt(1 + width**2) * source.normal(size=(d, k))

    return _plant(rng, Z, weights, n_rows, noise, level_spread, strangers)


def planted_correlated(
    rng: np.random.Generator,
    *,
    n_tasks: int = 12,
    n_families: int = 4,
    n_features: int = 5,
    n_rows: int | Sequence[int] = 20,
    within: float = 0.8,
    between: float = 0.0,
    noise: float = 1.0,
) -> Planted:
    """Tasks whose weights correlate by `within` inside a family and by `between` across families.

    Every weight is N(0, 1), features are independent, and for each feature the weights of two tasks have the
    correlation stated. So each task alone is as hard as ever, whatever the relation. One dial leads from
    identical members (`within` = 1) over weak relatedness to none (0) and to opposite members
    (-1 / (size - 1): the weights of a family add up to zero).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness. From one seed, worlds that differ in correlations alone have the same inputs and
        noise.
    n_tasks, n_families, n_features : int
        Sizes n, number of families (at most n), and d. Task i belongs to family i mod n_families.
    n_rows : int or sequence of n ints
        Rows m_i of each task.
    within, between : float
        Correlation of weights inside a family and across families, at most one.
    noise : float
        Deviation of the targets' noise, at least zero.

    Returns
    -------
    Planted
        Row i of Z marks the family of task i with a one. Weights w err by ``|w - w_i|^2 + noise^2`` on fresh
        rows of task i.

    Raises
    ------
    TypeError
        If rng is not a Generator.
    ValueError
        If a size or deviation is out of range, or no weights can have such correlations.
    """
    n, r, d = _sizes(n_tasks, n_families, n_features)
    inside, across = checks.number(within, "within"), checks.number(between, "between")
    Z = np.eye(r)[np.arange(n) % r]
    R = np.where(Z @ Z.T > 0, inside, across)
    np.fill_diagonal(R, 1.0)
    eigenvalues, U = np.linalg.eigh(R)
    if eigenvalues[0] < -FLAT * n:
        checks.fail(
            "within and between",
            "correlations that weights can have, a positive semidefinite matrix of them",
            f"{inside:g} and {across:g}, with a least eigenvalue of {eigenvalues[0]:.3g}",
            "Bring them nearer to zero, or to each other.",
        )
    # The root is exact where members are identical: rounding in a zero eigenvalue would be drawn as a spread.
    root = (U * np.sqrt(np.where(eigenvalues > FLAT * n, eigenvalues, 0.0))) @ U.T
    return _plant(rng, Z, lambda source: source.normal(size=(d, n)) @ root, n_rows, noise)


def planted_continuum(
    rng: np.random.Generator,
    *,
    n_tasks: int = 12,
    n_descriptors: int = 2,
    n_features: int = 5,
    n_rows: int | Sequence[int] = 20,
    spread: float = 0.3,
    blur: float = 0.0,
    noise: float = 1.0,
) -> Planted:
    """Tasks whose weights follow their descriptors, ``w_i = B z_i + spread * u_i``, without borders.

    True descriptors z_i are N(0, I), entries of B are N(0, 1/r), u_i is N(0, I). The descriptors that a
    learner gets to see are blurred: ``Z = z + blur * N(0, 1)``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness. From one seed, worlds that differ in `blur` have the same truth and rows.
    n_tasks, n_descriptors, n_features : int
        Sizes n, r and d.
    n_rows : int or sequence of n ints
        Rows m_i of each task.
    spread : float
        Deviation of what descriptors do not explain, at least zero.
    blur : float
        Deviation of the error in the descriptors shown, at least zero.
    noise : float
        Deviation of the targets' noise, at least zero.

    Returns
    -------
    Planted
        Z holds the blurred descriptors. Weights w err by ``|w - w_i|^2 + noise^2`` on fresh rows of task i.

    Raises
    ------
    TypeError
        If rng is not a Generator.
    ValueError
        If a size or deviation is out of range.
    """
    source = checks.generator(rng, "rng")
    n, r = checks.count(n_tasks, "n_tasks"), checks.count(n_descriptors, "n_descriptors")
    d = checks.count(n_features, "n_features")
    width, error = checks.number(spread, "spread", at_least=0.0), checks.number(blur, "blur", at_least=0.0)
    z, fault = source.normal(size=(n, r)), source.normal(size=(n, r))

    def weights(source: np.random.Generator) -> FloatArray:
        return source.normal(size=(d, r)) / np.sqrt(r) @ z.T + width * source.normal(size=(d, n))

    return _plant(source, z + error * fault, weights, n_rows, noise)


def _sizes(n_tasks: int, n_families: int, n_features: int) -> tuple[int, int, int]:
    n, r = checks.count(n_tasks, "n_tasks"), checks.count(n_families, "n_families")
    if r > n:
        checks.fail("n_families", f"at most n_tasks = {n}", str(r), "Give each family a task.")
    return n, r, checks.count(n_features, "n_features")


def _plant(
    rng: np.random.Generator,
    Z: FloatArray,
    weights: Callable[[np.random.Generator], FloatArray],
    n_rows: int | Sequence[int],
    noise: float,
    level_spread: float = 0.0,
    strangers: Callable[[np.random.Generator], FloatArray] = lambda source: np.empty((1, 0)),
) -> Planted:
    """Draw weights, inputs and noise first: what an option adds comes last and only if asked for."""
    source, n = checks.generator(rng, "rng"), len(Z)
    sizes = [n_rows] * n if np.ndim(n_rows) == 0 else list(n_rows)  # type: ignore[arg-type]
    if len(sizes) != n:
        checks.fail("n_rows", f"one number, or {n} of them", str(len(sizes)), "Give rows for each task.")
    rows = [checks.count(m, "n_rows") for m in sizes]
    sigma = checks.number(noise, "noise", at_least=0.0)
    height = checks.number(level_spread, "level_spread", at_least=0.0)

    W = weights(source)
    X = [source.normal(size=(m, len(W))) for m in rows]
    errors = [sigma * source.normal(size=m) for m in rows]
    alone = strangers(source)
    W[:, n - alone.shape[1] :] = alone
    levels = height * source.normal(size=n) if height > 0 else np.zeros(n)
    y = [a + x @ w + e for a, x, w, e in zip(levels, X, W.T, errors, strict=True)]
    return Planted(Tasks(X, y), W, Z, levels, sigma)
