"""Checks of input, and their sentences: what was wanted, what was found, what to do.

Every room may import this one. A check returns a clean value and leaves the caller's own untouched.
"""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Kind = TypeVar("Kind")

SYMMETRY_TOLERANCE = 1e-8
DEFINITENESS_TOLERANCE = 1e-10


def fail(name: str, wanted: str, found: str, remedy: str) -> NoReturn:
    """Raise the one kind of error that bad values get.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(f"{name}: wanted {wanted}, found {found}. {remedy}")


def array(value: ArrayLike, name: str, shape: tuple[int | str, ...]) -> FloatArray:
    """`value` as a finite float64 array of `shape`.

    An int in `shape` fixes a length, a letter names a length that is free but not zero.

    Raises
    ------
    ValueError
        If `value` is ragged, masked, not real numbers, of another shape, empty, or not finite.
    """
    wanted = "an array of shape (" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
    if np.ma.isMaskedArray(value):
        fail(name, wanted, "a masked array", "Fill or drop the masked entries first.")
    try:
        found = np.asarray(value)
    except ValueError:
        fail(name, wanted, "nested sequences of unequal lengths", "Give every row the same length.")
    if found.dtype.kind not in "biuf":
        fail(name, "real numbers", f"dtype {found.dtype}", "Encode text and categories as numbers first.")
    fits = found.ndim == len(shape) and all(
        size == want if isinstance(want, int) else size > 0
        for size, want in zip(found.shape, shape, strict=True)
    )
    if not fits:
        fail(name, wanted, f"shape {found.shape}", _shape_remedy(found.shape, shape))
    with np.errstate(over="ignore"):
        clean = found.astype(np.float64, copy=False)
    if not np.isfinite(clean).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(clean))[0])
        fail(name, "finite numbers", f"{clean[where]} at {where}", "Drop or impute such entries first.")
    return clean


def frozen(values: FloatArray) -> FloatArray:
    """A read-only view of `values`; the array itself stays as it was."""
    view = values.view()
    view.flags.writeable = False
    return view


def _shape_remedy(found: tuple[int, ...], wanted: tuple[int | str, ...]) -> str:
    if 0 in found:
        return "An empty array teaches nothing: leave it out or give it rows."
    if len(wanted) == 1 and len(found) == 2 and 1 in found:
        return "Flatten it with .ravel(): a column against a vector would broadcast to a matrix."
    if len(found) == len(wanted) == 2 and found[::-1] == wanted:
        return "It looks transposed."
    return "Check which axis is which."


def number(value: Any, name: str, *, above: float | None = None, at_least: float | None = None) -> float:
    """`value` as a finite float within its bound.

    Raises
    ------
    ValueError
        If `value` is not one real number, not finite, or below the bound.
    """
    bound = "" if above is None else f" above {above:g}"
    bound += "" if at_least is None else f" of at least {at_least:g}"
    good = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    good = good and abs(value) <= sys.float_info.max
    good = good and (above is None or float(value) > above) and (at_least is None or float(value) >= at_least)
    if not good:
        fail(name, f"a finite number{bound}", repr(value), "Choose a value in that range.")
    return float(value)


def count(value: Any, name: str, *, at_least: int = 1) -> int:
    """`value` as an int that is large enough.

    Raises
    ------
    ValueError
        If `value` is not a whole number or is below `at_least`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < at_least:
        fail(name, f"a whole number of at least {at_least}", repr(value), "Choose a value in that range.")
    return int(value)


def symmetric(value: ArrayLike, name: str, n: int | None = None) -> FloatArray:
    """`value` as a symmetric (n, n) matrix; rounding in its two halves is averaged away.

    Raises
    ------
    ValueError
        If `value` is not square, not of size `n`, not finite, or not symmetric.
    """
    size: int | str = n if n is not None else "n"
    M = array(value, name, (size, size))
    if M.shape[0] != M.shape[1]:
        fail(name, "a square matrix", f"shape {M.shape}", "Give one row and one column to each task.")
    with np.errstate(over="ignore"):
        gap = np.abs(M - M.T)
    if gap.max() > SYMMETRY_TOLERANCE * np.abs(M).max():
        i, j = (int(k) for k in np.unravel_index(gap.argmax(), gap.shape))
        fail(
            name,
            "a symmetric matrix",
            f"{M[i, j]:g} at {(i, j)} but {M[j, i]:g} at {(j, i)}",
            f"If both halves mean the same relation, pass ({name} + {name}.T) / 2.",
        )
    return 0.5 * M + 0.5 * M.T


def semidefinite(value: ArrayLike, name: str, n: int | None = None) -> FloatArray:
    """`value` as a symmetric positive semidefinite (n, n) matrix.

    A Cholesky factor of the matrix, raised by what rounding may leave below zero, proves it at a tenth of the
    cost of eigenvalues; only a matrix without one has its eigenvalues computed.

    Raises
    ------
    ValueError
        If `value` is not symmetric, or has an eigenvalue below zero by more than rounding.
    """
    M = symmetric(value, name, n)
    slack = DEFINITENESS_TOLERANCE * np.abs(np.diag(M)).max()
    try:
        np.linalg.cholesky(M + slack * np.eye(len(M)))
        return M
    except np.linalg.LinAlgError:
        eigenvalues = np.linalg.eigvalsh(M)
    if eigenvalues[0] < -DEFINITENESS_TOLERANCE * np.abs(eigenvalues).max():
        fail(
            name,
            "a positive semidefinite matrix",
            f"a least eigenvalue of {eigenvalues[0]:.3g}",
            "Build it with mtlbook.relations (laplacian, precision, ...), or add a multiple of the identity.",
        )
    return M


def labels(value: ArrayLike, name: str, n: int | None = None) -> NDArray[Any]:
    """`value` as a vector of `n` labels, all text or all numbers.

    Raises
    ------
    ValueError
        If `value` is not such a vector, is empty or masked, or a label is missing.
    """
    wanted = f"a vector of {'' if n is None else f'{n} '}labels"
    if np.ma.isMaskedArray(value):
        fail(name, wanted, "a masked array", "Fill or drop the masked entries first.")
    # Left to itself, NumPy would turn a list of text and NaN into text.
    found = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=object)
    if found.ndim != 1 or found.size == 0 or n not in (None, found.size):
        fail(name, wanted, f"shape {found.shape}", "Give each its label.")
    entries = found.tolist()
    for i, entry in enumerate(entries):
        if not isinstance(entry, str) and not (isinstance(entry, Real) and np.isfinite(float(entry))):
            fail(name, "text or a number for each", f"{entry!r} at {i}", "Label it or drop it.")
    if len({isinstance(entry, str) for entry in entries}) > 1:
        fail(name, "labels that are all text or all numbers", "a mixture", "Convert them to text.")
    return np.array(entries)


def instance(value: Any, kind: type[Kind], name: str, remedy: str) -> Kind:
    """`value` if it is a `kind`.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name}: wanted a {kind.__name__}, found {type(value).__name__}. {remedy}")
    return value


def generator(value: Any, name: str) -> np.random.Generator:
    """`value` if it is a NumPy random generator.

    Raises
    ------
    TypeError
        If it is anything else, a bare seed included.
    """
    return instance(value, np.random.Generator, name, "Pass numpy.random.default_rng(seed).")
