"""Losses: what one row charges for a score, with its derivatives.

Notation: ``s = x . w`` is the score of a row, y its target. A loss is convex in s, at least zero, and works
entry by entry on arrays. Any object that offers what :class:`Loss` lists is a loss; no solver has to know
it.

.. code-block:: text

    Squared    (s - y)^2                        y any number           mean response  s
    Logistic   log(1 + exp(-y s))               y in {-1, +1}          mean response  1 / (1 + exp(-s))
    Poisson    exp(s) - y s - (y - y log y)     y a count 0, 1, ...    mean response  exp(s)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray


@runtime_checkable
class Loss(Protocol):
    """What an objective asks of a loss: convex in the score, and at least zero.

    `s` and `y` are float arrays of one shape, whatever it is, and so are the results. The losses of this
    room say in one line what each member is.
    """

    @property
    def bound(self) -> float:
        """The largest second derivative over all scores; infinite if there is none."""

    def targets(self, y: ArrayLike, name: str) -> FloatArray:
        """`y`, checked to be targets of this loss; an error calls them `name`."""

    def value(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """The loss of each row."""

    def slope(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """Its first derivative with respect to the score."""

    def curvature(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """Its second derivative with respect to the score, at least zero."""

    def mean(self, s: FloatArray) -> FloatArray:
        """The mean response that a score predicts, in units of the target."""


@dataclass(frozen=True)
class Squared(Loss):
    """Squared loss, ``(s - y)^2``: any number as a target; predicts the mean.

    No half, as everywhere in the book: its slope is ``2 (s - y)`` and its curvature 2. It is the negative
    log-likelihood of normal noise of variance 1/2, up to a constant; other variances are a matter of
    weights.
    """

    @property
    def bound(self) -> float:
        """The curvature 2, the same at every score."""
        return 2.0

    def targets(self, y: ArrayLike, name: str) -> FloatArray:
        """Finite numbers.

        Parameters
        ----------
        y : array of shape (m,)
            Targets.
        name : str
            What an error calls them.

        Returns
        -------
        ndarray of shape (m,)

        Raises
        ------
        ValueError
            If an entry is not a finite number.
        """
        return checks.array(y, name, ("m",))

    def value(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``(s - y)^2``."""
        return (s - y) ** 2

    def slope(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``2 (s - y)``."""
        return 2 * (s - y)

    def curvature(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """2, everywhere."""
        return np.full(np.shape(s), 2.0)

    def mean(self, s: FloatArray) -> FloatArray:
        """The score itself."""
        return s


@dataclass(frozen=True)
class Logistic(Loss):
    """Logistic loss, ``log(1 + exp(-y s))``: labels -1 and +1; predicts the probability of +1.

    The negative log-likelihood of the label if its odds are exp(s), in nats [MN89]_. At score zero it
    charges log 2.

    References
    ----------
    .. [MN89] P. McCullagh, J. A. Nelder. Generalized linear models, 2nd edition. Chapman and Hall, 1989.
    """

    @property
    def bound(self) -> float:
        """The largest curvature 1/4, at score zero."""
        return 0.25

    def targets(self, y: ArrayLike, name: str) -> FloatArray:
        """Labels -1 and +1; both need not occur.

        Parameters
        ----------
        y : array of shape (m,)
            Labels.
        name : str
            What an error calls them.

        Returns
        -------
        ndarray of shape (m,)

        Raises
        ------
        ValueError
            If an entry is neither -1 nor +1; labels 0 and 1 are not guessed at.
        """
        labels = checks.array(y, name, ("m",))
        _hold(
            labels, np.abs(labels) == 1, name, "labels -1 and +1", "From 0 and 1, make them with 2 * y - 1."
        )
        return labels

    def value(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``log(1 + exp(-y s))``, without overflow at any score."""
        margin = y * s
        return np.log1p(np.exp(-np.abs(margin))) - np.minimum(margin, 0.0)

    def slope(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``-y / (1 + exp(y s))``."""
        return -y * self.mean(-y * s)

    def curvature(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``p (1 - p)`` with p the mean response, whatever the label."""
        small = np.exp(-np.abs(s))
        return small / (1 + small) ** 2

    def mean(self, s: FloatArray) -> FloatArray:
        """The probability of +1, ``1 / (1 + exp(-s))``."""
        small = np.exp(-np.abs(s))
        return np.where(s >= 0, 1.0, small) / (1 + small)


@dataclass(frozen=True)
class Poisson(Loss):
    """Poisson loss, ``exp(s) - y s - (y - y log y)``: counts; predicts the mean count exp(s).

    The negative log-likelihood of a count with mean exp(s), shifted to be zero where exp(s) = y: half of
    the deviance [MN89]_. Its curvature exp(s) has no bound, so no fixed step length is safe: minimise it by
    Newton's method.
    """

    @property
    def bound(self) -> float:
        """Infinite: the curvature grows as exp(s)."""
        return float("inf")

    def targets(self, y: ArrayLike, name: str) -> FloatArray:
        """Whole numbers of at least zero.

        Parameters
        ----------
        y : array of shape (m,)
            Counts.
        name : str
            What an error calls them.

        Returns
        -------
        ndarray of shape (m,)

        Raises
        ------
        ValueError
            If an entry is negative or not whole.
        """
        counts = checks.array(y, name, ("m",))
        whole = (counts >= 0) & (counts == np.floor(counts))
        _hold(
            counts,
            whole,
            name,
            "counts 0, 1, 2, ...",
            "Use Squared for other numbers, and do not centre counts.",
        )
        return counts

    def value(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``exp(s) - y s - (y - y log y)``, with 0 log 0 = 0; infinite where exp(s) overflows."""
        with np.errstate(over="ignore"):
            return np.exp(s) - y * s - (y - y * np.log(np.maximum(y, 1.0)))

    def slope(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``exp(s) - y``."""
        return self.mean(s) - y

    def curvature(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """``exp(s)``, whatever the count."""
        return self.mean(s)

    def mean(self, s: FloatArray) -> FloatArray:
        """The mean count, ``exp(s)``; infinite where it overflows."""
        with np.errstate(over="ignore"):
            return np.exp(s)


def _hold(values: FloatArray, good: np.ndarray, name: str, wanted: str, remedy: str) -> None:
    if not good.all():
        k = int(np.argmin(good))
        checks.fail(name, wanted, f"{values[k]:g} at {k}", remedy)
