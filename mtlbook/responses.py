"""Responses: what weights predict for tasks with losses of their own, and what that costs on given rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.losses import Loss
from mtlbook.tasks import Tasks


def loss_of_each(tasks: Tasks, losses: Loss | Sequence[Loss]) -> tuple[Loss, ...]:
    """One loss for each task, with the targets of all tasks checked.

    Parameters
    ----------
    tasks : Tasks
        The data of n tasks.
    losses : Loss or sequence of n Loss
        The loss of each task; one alone serves all.

    Returns
    -------
    tuple of n Loss

    Raises
    ------
    TypeError
        If a loss lacks a member of Loss.
    ValueError
        If there are not n losses, or a target is none of its loss.
    """
    each = tuple(losses) if isinstance(losses, Sequence) else (losses,) * len(tasks)
    if len(each) != len(tasks):
        checks.fail(
            "losses", f"one loss, or {len(tasks)} of them", str(len(each)), "Give each task its loss."
        )
    for name, loss, y in zip(tasks.names, each, tasks.y, strict=True):
        if isinstance(loss, type) or not isinstance(loss, Loss):
            remedy = "Pass an object such as losses.Logistic(), made with its brackets."
            raise TypeError(f"losses: wanted a Loss for {name!r}, found {loss!r}. {remedy}")
        loss.targets(y, f"y of {name!r}")
    return each


def mean_losses(W: ArrayLike, tasks: Tasks, losses: Loss | Sequence[Loss]) -> FloatArray:
    """Mean loss of each task, ``(1/m_i) sum_rows loss_i(x . w_i, y)``: what held-out rows are judged by.

    Parameters
    ----------
    W : array of shape (d, n)
        Parameters, one column a task.
    tasks : Tasks
        Rows to be measured on.
    losses : Loss or sequence of n Loss
        The loss of each task; one alone serves all.

    Returns
    -------
    ndarray of shape (n,)
        Each in the unit of its loss.

    Raises
    ------
    TypeError
        If `tasks` is not a Tasks, or a loss lacks a member of Loss.
    ValueError
        If W has another shape or is not finite, or a target is none of its loss.
    """
    rows = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
    V = checks.array(W, "W", (rows.n_features, len(rows)))
    each = loss_of_each(rows, losses)
    return np.array([loss.value(X @ w, y).mean() for loss, (X, y), w in zip(each, rows, V.T, strict=True)])


def mean_responses(W: ArrayLike, tasks: Tasks, losses: Loss | Sequence[Loss]) -> tuple[FloatArray, ...]:
    """What W predicts for the rows of each task: a mean, a probability of +1, or a mean count.

    Parameters
    ----------
    W : array of shape (d, n)
        Parameters, one column a task.
    tasks : Tasks
        Rows to be predicted for.
    losses : Loss or sequence of n Loss
        The loss of each task; one alone serves all.

    Returns
    -------
    tuple of n ndarrays of shape (m_i,)

    Raises
    ------
    TypeError
        If `tasks` is not a Tasks, or a loss lacks a member of Loss.
    ValueError
        If W has another shape or is not finite, or a target is none of its loss.
    """
    rows = checks.instance(tasks, Tasks, "tasks", "Build it with Tasks(X, y).")
    V = checks.array(W, "W", (rows.n_features, len(rows)))
    each = loss_of_each(rows, losses)
    return tuple(loss.mean(X @ w) for loss, X, w in zip(each, rows.X, V.T, strict=True))
