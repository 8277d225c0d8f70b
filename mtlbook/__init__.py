"""Multi-task learning with a trace penalty built from vector outer products.

The flow is one way, and every arrow is a value::

    data -> Tasks -> A -> P -> TraceRegularized -> solve / gradient_descent -> Result -> plots

``mtlbook`` itself needs NumPy alone. The loaders of real data in :mod:`mtlbook.data` and the figures in
:mod:`mtlbook.plots` need the extras ``data`` and ``plots``.
"""

from mtlbook import relations
from mtlbook.model_selection import (
    CrossValidation,
    cross_validate,
    fit,
    hold_out,
    k_folds,
    squared_errors,
)
from mtlbook.moments import Moments
from mtlbook.objectives import TraceRegularized
from mtlbook.solvers import Result, gradient_descent, solve, solve_path
from mtlbook.tasks import Tasks, standardize

__all__ = [
    "CrossValidation",
    "Moments",
    "Result",
    "Tasks",
    "TraceRegularized",
    "cross_validate",
    "fit",
    "gradient_descent",
    "hold_out",
    "k_folds",
    "relations",
    "solve",
    "solve_path",
    "squared_errors",
    "standardize",
]
__version__ = "0.1.0"
