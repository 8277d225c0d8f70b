"""Tasks: n ragged problems over the same d features.

Notation: X_i (m_i, d) holds the inputs of task i, y_i (m_i,) its targets.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tasks:
    """n learning problems over the same d features, each with its own rows.

    Every number that enters the package passes here, so that no later room has to check it again. The
    arrays are read-only views: float64 input is not copied, and the caller's arrays stay writeable.

    Parameters
    ----------
    X : sequence of n arrays of shape (m_i, d)
        Inputs, one array a task. The number of rows m_i may differ from task to task.
    y : sequence of n arrays of shape (m_i,)
        Targets, one vector a task.
    names : sequence of n distinct hashable values, optional
        Names of the tasks; "task 0", "task 1", ... by default.

    Attributes
    ----------
    X, y, names : tuples of length n
        What was given, checked.

    Raises
    ------
    ValueError
        If there is no task, a task has no row, shapes do not match, an entry is not a finite real number,
        or names are missing or repeated.

    Examples
    --------
    >>> Tasks([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], [[1.0, 2.0], [3.0]])
    Tasks(2 tasks, 3 rows, 2 features)
    """

    X: tuple[FloatArray, ...]
    y: tuple[FloatArray, ...]
    names: tuple[Hashable, ...]

    def __init__(
        self, X: Sequence[ArrayLike], y: Sequence[ArrayLike], names: Sequence[Hashable] = ()
    ) -> None:
        inputs, targets = _listed(X, "X"), _listed(y, "y")
        if len(inputs) != len(targets):
            checks.fail(
                "y", f"{len(inputs)} vectors, one for each array of X", str(len(targets)), "Pair them up."
            )
        labels = _named(names, len(inputs))
        width: int | str = "d"
        arrays, vectors = [], []
        for name, x, t in zip(labels, inputs, targets, strict=True):
            arrays.append(checks.frozen(checks.array(x, f"X of {name!r}", ("m", width))))
            width = arrays[-1].shape[1]
            vectors.append(checks.frozen(checks.array(t, f"y of {name!r}", (len(arrays[-1]),))))
        object.__setattr__(self, "X", tuple(arrays))
        object.__setattr__(self, "y", tuple(vectors))
        object.__setattr__(self, "names", labels)

    @classmethod
    def from_table(cls, X: ArrayLike, y: ArrayLike, task: ArrayLike) -> Tasks:
        """Tasks from a long table: one row an observation, one label a row.

        Parameters
        ----------
        X : array of shape (rows, d)
            Inputs.
        y : array of shape (rows,)
            Targets.
        task : array of shape (rows,)
            The label of the task that the row belongs to: all text or all numbers.

        Returns
        -------
        Tasks
            One task for each distinct label, in sorted order, named by it.

        Raises
        ------
        ValueError
            If lengths differ, a label is missing, labels mix text with numbers, or an entry is not finite.
        """
        inputs = checks.array(X, "X", ("rows", "d"))
        targets = checks.array(y, "y", (len(inputs),))
        labels = checks.labels(task, "task", len(inputs))
        names, index = np.unique(labels, return_inverse=True)
        rows = [np.flatnonzero(index == i) for i in range(len(names))]
        return cls([inputs[r] for r in rows], [targets[r] for r in rows], names.tolist())

    def __len__(self) -> int:
        return len(self.y)

    def __iter__(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        return zip(self.X, self.y, strict=True)

    def __repr__(self) -> str:
        return f"Tasks({len(self)} tasks, {sum(self.n_rows)} rows, {self.n_features} features)"

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return int(self.X[0].shape[1])

    @property
    def n_rows(self) -> tuple[int, ...]:
        """The numbers of rows m_1, ..., m_n."""
        return tuple(map(len, self.y))

    def take(self, rows: Sequence[ArrayLike]) -> Tasks:
        """The same tasks with only some of their rows.

        Parameters
        ----------
        rows : sequence of n arrays
            For each task the indices of the rows to take, or a boolean mask of length m_i.

        Returns
        -------
        Tasks
            With the same names, rows in the order given.

        Raises
        ------
        ValueError
            If a task gets no rows, an index is out of range or not whole, or a mask has another length.
        """
        chosen = _listed(rows, "rows")
        if len(chosen) != len(self):
            wanted = f"{len(self)} arrays of indices, one a task"
            checks.fail("rows", wanted, str(len(chosen)), "Pair them up.")
        picks = [_indices(r, m, name) for r, m, name in zip(chosen, self.n_rows, self.names, strict=True)]
        taken = Tasks(
            [X[r] for X, r in zip(self.X, picks, strict=True)],
            [y[r] for y, r in zip(self.y, picks, strict=True)],
            self.names,
        )
        # A mark instead of the source itself, which would be kept in memory.
        mark = self.__dict__.setdefault("_mark", object())
        object.__setattr__(taken, "_origin", (mark, self.n_rows, picks))
        return taken


def leave_one_out(folds: Sequence[tuple[Tasks, Tasks]]) -> bool:
    """Whether each part to train on holds just the rows that the other folds test on.

    Only where this is so, and all rows were taken from one source by :meth:`Tasks.take`, may sums over the
    rows of the test parts stand in for sums over the rows to train on.

    Parameters
    ----------
    folds : sequence of pairs (train, test) of Tasks
        As from :func:`mtlbook.model_selection.k_folds`.

    Returns
    -------
    bool
    """
    origins = [part.__dict__.get("_origin", (None, (), [])) for pair in folds for part in pair]
    marks = {origin[0] for origin in origins}
    if len(folds) < 2 or len(marks) > 1 or None in marks:
        return False
    trains, tests = [o[2] for o in origins[::2]], [o[2] for o in origins[1::2]]
    return all(
        _once([test[i] for test in tests], m)
        and all(_once([train[i], test[i]], m) for train, test in zip(trains, tests, strict=True))
        for i, m in enumerate(origins[0][1])
    )


def _once(rows: Sequence[np.ndarray], m: int) -> bool:
    """Whether each of m rows occurs exactly once."""
    counts = np.bincount(np.concatenate(rows) % m, minlength=m)
    return bool(counts.min() == 1 == counts.max())


def standardize(train: Tasks, *others: Tasks, together: bool = False) -> tuple[Tasks, ...]:
    """Centre each task and scale each feature, by the training rows alone.

    Centring inputs and targets of task i by its own training means is the same as fitting an intercept for
    task i that the penalty does not see. Features are divided by their deviation pooled over all tasks: one
    scale for all, or w_i and w_j would be compared in different units.

    Parameters
    ----------
    train : Tasks
        The rows that set means and scales.
    *others : Tasks
        Validation or test rows of the same tasks; they get the means and scales of `train`.
    together : bool
        Whether to centre all tasks by the mean of all training rows, rather than each by its own. What tasks
        have for levels of their own then stays in, for a penalty on levels (`fit` with `levels`); features
        are divided by their deviation from that one mean.

    Returns
    -------
    tuple of Tasks
        `train` and `others`, standardized. Errors on them are errors in the units of y.

    Raises
    ------
    TypeError
        If an argument is not a Tasks.
    ValueError
        If `others` do not hold the same tasks and features in the same order.

    Notes
    -----
    A feature that is constant within every training task (or, `together`, over all training rows) carries
    no slope; it becomes zero in `train` and its scale is left at one.
    """
    for part in (train, *others):
        checks.instance(part, Tasks, "train and others", "Build it with Tasks(X, y).")
    for other in others:
        if other.names != train.names or other.n_features != train.n_features:
            checks.fail("others", f"the tasks of {train!r}", repr(other), "Split one Tasks to get both.")
    centres = [X.mean(axis=0) for X in train.X]
    levels = [y.mean() for y in train.y]
    if together:
        centres = [np.concatenate(train.X).mean(axis=0)] * len(train)
        levels = [np.concatenate(train.y).mean()] * len(train)
    residual = np.concatenate([X - c for X, c in zip(train.X, centres, strict=True)])
    scale = np.sqrt(np.mean(residual**2, axis=0))
    constant = scale <= 1e-12 * np.abs(np.concatenate(train.X)).max(axis=0)
    scale[constant] = 1.0
    return tuple(
        Tasks(
            [(X - c) / scale for X, c in zip(part.X, centres, strict=True)],
            [y - level for y, level in zip(part.y, levels, strict=True)],
            part.names,
        )
        for part in (train, *others)
    )


def _listed(value: Sequence[ArrayLike], name: str) -> list[ArrayLike]:
    try:
        items = list(value)
    except TypeError:
        checks.fail(name, "a sequence of arrays, one a task", type(value).__name__, "Wrap it in a list.")
    if not items:
        checks.fail(name, "at least one task", "none", "Give one array for each task.")
    return items


def _named(names: Sequence[Hashable], n: int) -> tuple[Hashable, ...]:
    try:
        given = tuple(names)
        distinct = set(given)
    except TypeError as error:
        checks.fail("names", "a sequence of hashable names", str(error), "Use text or numbers.")
    if not given:
        return tuple(f"task {i}" for i in range(n))
    if len(given) != n:
        checks.fail("names", f"{n} names", str(len(given)), "Name every task, or none.")
    if len(distinct) != n:
        twice = next(name for name in given if given.count(name) > 1)
        checks.fail("names", "distinct names", f"{twice!r} more than once", "Rename or merge these tasks.")
    return given


def _indices(rows: ArrayLike, m: int, name: Hashable) -> np.ndarray:
    where = f"rows of {name!r}"
    try:
        picks = np.asarray(rows)
    except ValueError:
        found = "nested sequences of unequal lengths"
        checks.fail(where, "a vector of whole numbers", found, "Give row indices or a boolean mask.")
    if picks.dtype == bool:
        if picks.shape != (m,):
            checks.fail(where, f"a mask of length {m}", f"shape {picks.shape}", "Mask every row once.")
        picks = np.flatnonzero(picks)
    if picks.size == 0:
        checks.fail(where, "at least one row", "none", "Leave the task out, or give it rows.")
    if picks.ndim != 1 or picks.dtype.kind not in "iu":
        found = f"shape {picks.shape} of {picks.dtype}"
        checks.fail(where, "a vector of whole numbers", found, "Give row indices or a boolean mask.")
    if picks.min() < -m or picks.max() >= m:
        found = f"{picks.min()} to {picks.max()}"
        checks.fail(where, f"indices below {m}", found, "Count rows from 0 within each task.")
    return picks
