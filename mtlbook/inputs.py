"""Inputs: features of the tasks brought into one shared space, with targets left as they are.

Notation: task i asks d_i features of its own, as columns of X_i (m_i, d_i); the shared space has d.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.tasks import Tasks


class Aligned(NamedTuple):
    """Tasks over the union of their features.

    Attributes
    ----------
    tasks : Tasks
        With a column for each feature of any task; zero where the task does not ask for it.
    features : tuple of d names
        What each column is, in the order of first appearance.
    """

    tasks: Tasks
    features: tuple[Hashable, ...]


def align(
    X: Sequence[ArrayLike],
    y: Sequence[ArrayLike],
    features: Sequence[Sequence[Hashable]],
    names: Sequence[Hashable] = (),
) -> Aligned:
    """Tasks with features of their own, in the space of all features: equal names share a column.

    Task i gets the inputs X_i S_i, where S_i (d_i, d) sends each of its features to the column of that
    name. A feature that a task does not ask for is zero there: it changes no prediction of the task, and
    its weight is what the penalty makes of the weights of the others.

    Parameters
    ----------
    X : sequence of n arrays of shape (m_i, d_i)
        Inputs, one array a task. Centre features first if zero shall stand for the usual.
    y : sequence of n arrays of shape (m_i,)
        Targets.
    features : sequence of n sequences of d_i distinct names
        What the columns of each X_i are.
    names : sequence of n distinct hashable values, optional
        Names of the tasks, as for Tasks.

    Returns
    -------
    Aligned

    Raises
    ------
    ValueError
        If there are not as many lists of features as tasks, a list does not match the columns of its task or
        names one twice, or the data are none that Tasks takes.
    """
    lists = [tuple(listed) for listed in features]
    if len(lists) != len(X):
        checks.fail("features", f"{len(X)} lists of names", str(len(lists)), "Name the columns of each task.")
    union = tuple(dict.fromkeys(name for listed in lists for name in listed))
    inputs = []
    for i, (x, listed) in enumerate(zip(X, lists, strict=True)):
        if len(set(listed)) != len(listed):
            twice = next(name for name in listed if listed.count(name) > 1)
            found = f"{twice!r} more than once for task {i}"
            checks.fail("features", "distinct names", found, "Rename or merge these columns.")
        own = checks.array(x, f"X of task {i}", ("m", len(listed)))
        shared = np.zeros((len(own), len(union)))
        shared[:, [union.index(name) for name in listed]] = own
        inputs.append(shared)
    return Aligned(Tasks(inputs, y, names), union)


def standardize_inputs(train: Tasks, *others: Tasks, constant: float = 10.0) -> tuple[Tasks, ...]:
    """Centre and scale each feature by the training rows of all tasks, and add a constant column.

    Labels and counts cannot be centred, so the intercept is a weight here. The penalty sees it divided by
    `constant`: with 10 it costs a hundredth of what a slope of the same size would.

    Parameters
    ----------
    train : Tasks
        The rows that set means and scales, pooled over tasks.
    *others : Tasks
        Validation or test rows; they get the means and scales of `train`.
    constant : float
        The entry of the added last column, above zero.

    Returns
    -------
    tuple of Tasks
        `train` and `others` with d + 1 features and the same targets.

    Raises
    ------
    TypeError
        If an argument is not a Tasks.
    ValueError
        If `others` have other features, or `constant` is not a positive number.

    Notes
    -----
    A feature that is constant over all training rows becomes zero in `train`; its scale is left at one.
    """
    level = checks.number(constant, "constant", above=0.0)
    for part in (train, *others):
        checks.instance(part, Tasks, "train and others", "Build it with Tasks(X, y).")
        if part.n_features != train.n_features:
            found = f"{part.n_features} in another part"
            checks.fail("others", f"{train.n_features} features", found, "Split one Tasks to get both.")
    pooled = np.concatenate(train.X)
    centre, scale = pooled.mean(axis=0), pooled.std(axis=0)
    scale[scale <= 1e-12 * np.abs(pooled).max(axis=0)] = 1.0
    return tuple(
        Tasks([np.c_[(X - centre) / scale, np.full(len(X), level)] for X in part.X], part.y, part.names)
        for part in (train, *others)
    )
