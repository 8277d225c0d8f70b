"""Relations between tasks: a similarity A, and the penalty P that is made from it.

Notation: Z (n, r) holds one descriptor row z_i for each task, A (n, n) is a similarity, P (n, n) a penalty
that enters the objective as strength * tr(W P W^T) with W (d, n). Everything here is a plain array, so that
``0.9 * laplacian(A) + 0.1 * independent(n)`` composes by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks
from mtlbook.checks import FloatArray


def similarity(Z: ArrayLike) -> FloatArray:
    """Similarity of tasks from their descriptors, ``A = Z Z^T = sum_k z_:k z_:k^T``.

    A sum of outer products of the *columns* of Z; its entries are the inner products of the *rows*,
    ``A_ij = <z_i, z_j>``. A is positive semidefinite of the rank of Z: definite only if the descriptors of
    the tasks are linearly independent, never if n > r.

    Parameters
    ----------
    Z : array of shape (n, r)
        One descriptor a task.

    Returns
    -------
    ndarray of shape (n, n)
        Symmetric to the last bit.

    Raises
    ------
    ValueError
        If Z is not a finite matrix.
    """
    clean = checks.array(Z, "Z", ("n", "r"))
    A = clean @ clean.T
    return (A + A.T) / 2


def gaussian(Z: ArrayLike, length: float) -> FloatArray:
    """Similarity that fades with the distance of descriptors, ``A_ij = exp(-|z_i - z_j|^2 / (2 length^2))``.

    One on the diagonal and between zero and one elsewhere. A is positive definite if all descriptors differ
    [S38]_, though for descriptors that are close it may be singular to rounding.

    Parameters
    ----------
    Z : array of shape (n, r)
        One descriptor a task.
    length : float
        Distance over which similarity fades, above zero, in the units of Z. To weigh columns against each
        other, scale them first.

    Returns
    -------
    ndarray of shape (n, n)
        Symmetric to the last bit.

    Raises
    ------
    ValueError
        If Z is not a finite matrix, or length is not above zero.

    References
    ----------
    .. [S38] I. J. Schoenberg. Metric spaces and positive definite functions. Transactions of the American
       Mathematical Society 44, 522-536, 1938.
    """
    scaled = checks.array(Z, "Z", ("n", "r")) / checks.number(length, "length", above=0.0)
    apart = scaled[:, None, :] - scaled[None, :, :]
    A: FloatArray = np.exp(-np.sum(apart**2, axis=2) / 2)
    return A


def independent(n: int) -> FloatArray:
    """Penalty that couples nothing, P = I: ``tr(W P W^T) = sum_i |w_i|^2``.

    The n problems fall apart into n ridge regressions.

    Parameters
    ----------
    n : int
        Number of tasks, at least one.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If n is not a whole number of at least one.
    """
    return np.eye(checks.count(n, "n"))


def laplacian(A: ArrayLike) -> FloatArray:
    """Penalty on differences, P = D - A: ``tr(W P W^T) = 1/2 sum_ij A_ij |w_i - w_j|^2``.

    D holds the row sums of A on its diagonal. Similar tasks pay for being apart, whatever their common
    level. The diagonal of A plays no part. P is positive semidefinite with P 1 = 0, so identical tasks pay
    nothing [EMP05]_.

    Parameters
    ----------
    A : array of shape (n, n)
        Symmetric similarity with entries of at least zero.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If A is not symmetric, not finite, or has a negative entry off the diagonal.

    References
    ----------
    .. [EMP05] T. Evgeniou, C. A. Micchelli, M. Pontil. Learning multiple tasks with kernel methods.
       Journal of Machine Learning Research 6, 615-637, 2005.
    """
    weights = checks.symmetric(A, "A")
    np.fill_diagonal(weights, 0.0)
    if weights.min() < -checks.SYMMETRY_TOLERANCE * weights.max():
        i, j = (int(k) for k in np.unravel_index(weights.argmin(), weights.shape))
        checks.fail(
            "A",
            "entries of at least zero: a negative weight would reward tasks for moving apart without bound",
            f"{weights[i, j]:g} at {(i, j)}",
            "Clip it at zero, shift the descriptors, or use precision(A, eps), which allows it.",
        )
    weights = np.maximum(weights, 0.0)
    return np.diag(weights.sum(axis=1)) - weights


def precision(A: ArrayLike, eps: float) -> FloatArray:
    """Penalty by inversion, P = (A + eps I)^{-1}.

    The precision matrix of tasks whose weights have covariance A + eps I: what the tasks share is cheap,
    what sets them apart is dear [BCW08]_, [ZY10]_.

    Parameters
    ----------
    A : array of shape (n, n)
        Symmetric positive semidefinite similarity.
    eps : float
        Ridge that makes A + eps I definite; zero only if A is definite already.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If A is not symmetric positive semidefinite, eps is negative, or A + eps I is singular to rounding.

    References
    ----------
    .. [BCW08] E. V. Bonilla, K. M. A. Chai, C. K. I. Williams. Multi-task Gaussian process prediction.
       Advances in Neural Information Processing Systems 20, 2008.
    .. [ZY10] Y. Zhang, D.-Y. Yeung. A convex formulation for learning task relationships in multi-task
       learning. Uncertainty in Artificial Intelligence, 2010.
    """
    clean = checks.semidefinite(A, "A")
    ridge = checks.number(eps, "eps", at_least=0.0)
    eigenvalues, U = np.linalg.eigh(clean)
    shifted = np.maximum(eigenvalues, 0.0) + ridge
    if shifted[0] <= 1e-14 * max(shifted[-1], np.finfo(float).tiny):
        found = f"eigenvalues from {shifted[0]:.3g} to {shifted[-1]:.3g}"
        checks.fail("A + eps I", "a positive definite matrix", found, "Choose a larger eps.")
    P = (U / shifted) @ U.T
    return (P + P.T) / 2


def to_mean(n: int) -> FloatArray:
    """Penalty on deviations from the common mean, P = I - 1 1^T / n: ``tr(W P W^T) = sum_i |w_i - mean|^2``.

    One family: it is the Laplacian of the complete graph with weights 1/n [EP04]_.

    Parameters
    ----------
    n : int
        Number of tasks, at least one.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If n is not a whole number of at least one.

    References
    ----------
    .. [EP04] T. Evgeniou, M. Pontil. Regularized multi-task learning. Knowledge Discovery and Data Mining,
       109-117, 2004.
    """
    return clusters(np.zeros(checks.count(n, "n"), dtype=int))


def chain(n: int) -> FloatArray:
    """Penalty on steps between neighbours in a row, ``tr(W P W^T) = sum_i |w_{i+1} - w_i|^2``.

    For tasks in an order, such as months or age groups; the Laplacian of a path.

    Parameters
    ----------
    n : int
        Number of tasks, at least one.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If n is not a whole number of at least one.
    """
    size = checks.count(n, "n")
    return laplacian(np.eye(size, k=1) + np.eye(size, k=-1))


def clusters(labels: ArrayLike) -> FloatArray:
    """Penalty on deviations from the mean of one's own cluster: ``sum_i |w_i - mean of c(i)|^2``.

    P = I - sum_c u_c u_c^T with u_c the unit vector along the members of cluster c, an outer product each.

    Parameters
    ----------
    labels : sequence of n values
        The cluster of each task: all text or all numbers.

    Returns
    -------
    ndarray of shape (n, n)

    Raises
    ------
    ValueError
        If labels are not a vector, are empty, mix text with numbers, or one is missing.
    """
    found = checks.labels(labels, "labels")
    _, index, sizes = np.unique(found, return_inverse=True, return_counts=True)
    together = index[:, None] == index[None, :]
    return np.eye(found.size) - together / sizes[index]
