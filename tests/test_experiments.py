"""Stored numbers are those of the study as it stands, or they are refused; an interrupted run goes on."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import refused

from mtlbook import experiments
from mtlbook.experiments import Study, recall, recheck, run

SOURCE = """
from pathlib import Path

from toy_elsewhere import constant
from toy_helper import half

calls = []

def area(*, width, height, unit="m"):
    calls.append((width, height))
    if width == 13:
        raise KeyboardInterrupt
    return {"area": width * height / 3, "edge": 2 * (width + height)}

def weighed(data, *, k):
    return {"weight": k * data["x"].sum()}

def broken(*, k):
    return {"a": 1.0} if k else {"b": 1.0}

def lines(*, k):
    part = Path(__file__).parent / "stored" / "toy_studies.lines.part"
    return {"lines": len(part.read_text().splitlines())}

def nothing(*, k):
    return {"zero": 0.0}

def worthless(*, k):
    return [1.0, float("nan"), {"a": float("inf")}, {}, {"a": "x"}, None][k]
"""
AXES = {"width": [1, 2, 4], "height": [0.5, 3]}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A fresh module of studies in a folder of its own."""
    (tmp_path / "toy_studies.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "toy_helper.py").write_text("def half(x):\n    return x / 2\n", encoding="utf-8")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "toy_elsewhere.py").write_text("def constant():\n    return 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "far")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits in one second would look alike
    monkeypatch.delitem(sys.modules, "toy_studies", raising=False)
    importlib.invalidate_caches()
    yield importlib.import_module("toy_studies")
    for name in ("toy_studies", "toy_helper", "toy_elsewhere"):
        sys.modules.pop(name, None)


@pytest.fixture
def study(module):
    return Study(module.area, AXES)


def edit(module, old: str, new: str) -> None:
    path = Path(module.__file__)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    importlib.reload(module)


def rewrite(study: Study, old: str, new: str) -> None:
    """Change the stored numbers, and the seal with them."""
    text = study.path.read_text(encoding="utf-8")
    assert old in text
    lines = text.replace(old, new).splitlines()[:-1]
    study.path.write_text(experiments._sealed(lines), encoding="utf-8")


def test_numbers_come_back_on_the_grid_of_the_axes(study):
    found = run(study)
    width, height = np.meshgrid([1, 2, 4], [0.5, 3], indexing="ij")
    np.testing.assert_allclose(found["area"], width * height / 3, rtol=1e-8)
    np.testing.assert_array_equal(found["edge"], 2 * (width + height))
    for name, values in recall(study).items():
        np.testing.assert_array_equal(values, found[name])


def test_cases_take_one_value_from_each_axis_and_the_last_runs_fastest(study):
    assert study.cases[:3] == [
        {"width": 1, "height": 0.5},
        {"width": 1, "height": 3},
        {"width": 2, "height": 0.5},
    ]
    assert len(study.cases) == 6
    assert study.shape == (3, 2)


def test_what_is_stored_is_not_computed_again(study, module):
    run(study)
    assert len(module.calls) == 6
    run(study)
    recall(study)
    assert len(module.calls) == 6


def test_a_longer_axis_computes_the_new_cases_alone(study, module):
    run(study)
    del module.calls[:]
    longer = Study(module.area, {"width": [1, 2, 4, 7], "height": [0.5, 3]})
    with refused("toy_studies.area", "8 cases", "6 stored", "Run make studies"):
        recall(longer)
    assert run(longer)["area"].shape == (4, 2)
    assert module.calls == [(7, 0.5), (7, 3)]


def test_fewer_cases_need_no_new_run(study, module):
    run(study)
    assert recall(Study(module.area, {"width": [2], "height": [3]}))["area"] == pytest.approx(2.0)


def test_the_file_is_text_that_a_second_run_leaves_byte_for_byte(study):
    run(study)
    before = study.path.read_bytes()
    cases = [json.loads(line)["case"] for line in before.decode().splitlines()[1:-1]]
    assert cases == study.cases
    assert study.path.name == "toy_studies.area.jsonl"
    assert b'{"case": {"width": 2, "height": 0.5}, "found": {"area": 0.333333333, "edge": 5.0}}' in before
    run(study)
    assert study.path.read_bytes() == before
    study.path.unlink()
    run(study)
    assert study.path.read_bytes() == before


def test_several_processes_store_the_same_bytes(study):
    run(study)
    before = study.path.read_bytes()
    study.path.unlink()
    run(study, jobs=2)
    assert study.path.read_bytes() == before


# Interruption -----------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_stopped(module):
    unlucky = Study(module.area, {"width": [1, 2, 13, 4], "height": [1]})
    with pytest.raises(KeyboardInterrupt):
        run(unlucky)
    assert not unlucky.path.exists()
    assert module.calls == [(1, 1), (2, 1), (13, 1)]
    del module.calls[:]
    run(Study(module.area, {"width": [1, 2, 4], "height": [1]}))
    assert module.calls == [(4, 1)]
    assert not unlucky.path.with_suffix(".part").exists()


def test_a_run_that_is_interrupted_again_keeps_what_the_first_one_found(module):
    unlucky = Study(module.area, {"width": [1, 2, 13, 4], "height": [1]})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(unlucky)
    assert module.calls == [(1, 1), (2, 1), (13, 1), (13, 1)]
    del module.calls[:]
    run(Study(module.area, {"width": [1, 2, 4], "height": [1]}))
    assert module.calls == [(4, 1)]


def test_each_case_is_on_disk_before_the_next_is_computed(module):
    seen = run(Study(module.lines, {"k": [0, 1, 2]}))["lines"]
    np.testing.assert_array_equal(seen[1:], [2, 3])  # the header, and one line for each case before


def test_a_line_torn_by_the_interruption_is_computed_again(module):
    unlucky = Study(module.area, {"width": [1, 2, 13], "height": [1]})
    with pytest.raises(KeyboardInterrupt):
        run(unlucky)
    part = unlucky.path.with_suffix(".part")
    part.write_bytes(part.read_bytes()[:-9])
    del module.calls[:]
    found = run(Study(module.area, {"width": [1, 2], "height": [1]}))
    assert module.calls == [(2, 1)]
    np.testing.assert_array_equal(found["edge"], [[4], [6]])


def test_the_part_of_another_version_is_not_used(module):
    unlucky = Study(module.area, {"width": [1, 2, 13], "height": [1]})
    with pytest.raises(KeyboardInterrupt):
        run(unlucky)
    edit(module, "width * height / 3", "width * height / 4")
    run(Study(module.area, {"width": [1, 2], "height": [1]}))
    assert module.calls == [(1, 1), (2, 1)]


def test_a_part_with_a_spoilt_line_inside_is_refused(module):
    unlucky = Study(module.area, {"width": [1, 2, 13], "height": [1]})
    with pytest.raises(KeyboardInterrupt):
        run(unlucky)
    part = unlucky.path.with_suffix(".part")
    part.write_text(part.read_text(encoding="utf-8").replace('"case"', '"cas"', 1), encoding="utf-8")
    with refused("toy_studies.area.part", "one case on each line", "a line that is none", "Delete the file"):
        run(unlucky)


# Refusals ---------------------------------------------------------------------


def test_without_stored_numbers_the_command_that_makes_them_is_named(study):
    with refused("toy_studies.area", "stored numbers in toy_studies.area.jsonl", "none", "Run make studies"):
        recall(study)


def test_an_edit_of_the_study_makes_its_numbers_stale(study, module):
    run(study)
    edit(module, "width * height / 3", "width * height / 4")
    edited = Study(module.area, AXES)
    with refused("toy_studies.area", "stored numbers", "another version", "Run make studies"):
        recall(edited)
    np.testing.assert_allclose(run(edited)["area"][0, 1], 3 / 4)
    assert len(module.calls) == 6


def test_an_edit_does_not_pass_numbers_of_the_imported_code_for_its_own(study, module):
    path = Path(module.__file__)
    path.write_text(SOURCE.replace("width * height / 3", "width * height / 4"), encoding="utf-8")
    run(study)
    importlib.reload(module)
    with refused("toy_studies.area", "stored numbers", "another version"):
        recall(Study(module.area, AXES))


@pytest.mark.parametrize(("file", "stale"), [("toy_helper.py", True), ("far/toy_elsewhere.py", False)])
def test_functions_from_files_beside_the_study_belong_to_it(study, module, file, stale):
    run(study)
    path = Path(module.__file__).parent / file
    path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    again = Study(module.area, AXES)
    assert (again.key != study.key) == stale
    if stale:
        with refused("toy_studies.area", "stored numbers", "another version"):
            recall(again)


def test_other_data_make_numbers_stale_and_the_same_data_do_not(module):
    axes = {"k": [1, 2]}
    first = Study(module.weighed, axes, data={"x": np.arange(3.0)})
    np.testing.assert_array_equal(run(first)["weight"], [3.0, 6.0])
    recall(Study(module.weighed, axes, data={"x": np.arange(3.0).copy()}))
    with refused("toy_studies.weighed", "stored numbers", "its data", "Run make studies"):
        recall(Study(module.weighed, axes, data={"x": np.array([0.0, 1.0, 2.5])}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        lambda text: text.replace('"edge": 5.0', '"edge": 6.0'),
        lambda text: "".join(line for line in text.splitlines(True) if '"width": 4' not in line),
        lambda text: text + "\n",
        lambda text: "",
        lambda text: text.replace('"sha256": "', '"sha256": "0'),
        lambda text: "{" + text,
    ],
    ids=["cut", "no seal", "a digit", "lines lost", "a line more", "empty", "seal", "header"],
)
def test_a_damaged_file_is_refused_by_readers_and_by_runs(study, damage):
    run(study)
    study.path.write_text(damage(study.path.read_text(encoding="utf-8")), encoding="utf-8")
    for use in (recall, run):
        with refused("toy_studies.area.jsonl", "as it was written", "cut or changed", "Delete the file"):
            use(study)
    study.path.unlink()
    run(study)
    recall(study)


@pytest.mark.parametrize("k", range(6))
def test_what_is_no_finite_number_by_name_is_not_stored(module, k):
    study = Study(module.worthless, {"k": [k]})
    with pytest.raises(ValueError, match=r"'k': \d}: wanted finite numbers by name.*Return a mapping"):
        run(study)
    assert not study.path.exists()


def test_names_are_the_same_for_every_case(module):
    with refused("toy_studies.broken", "the same names", "others", "Mend the study"):
        run(Study(module.broken, {"k": [0, 1]}))


@pytest.mark.parametrize("values", [[], [1, 1], [1.0, float("nan")], [None], [np.int64(1)], [(1, 2)]])
def test_axes_hold_distinct_text_or_numbers(module, values):
    with refused("axis 'width'", "distinct text or numbers", "[", "once"):
        Study(module.area, {"width": values, "height": [1]})


def test_a_study_is_a_function_of_a_file(module):
    with pytest.raises(TypeError, match="measure: wanted a function, found dict"):
        Study({}, AXES)
    with refused("measure", "a function of a module", "lambda", "chapters/studies"):
        Study(lambda width: {"a": width}, {"width": [1]})
    typed: dict = {"__name__": "__main__"}
    exec("def f(k):\n    return {'a': k}", typed)
    with refused("measure", "a function of a module", "f of __main__", "chapters/studies"):
        Study(typed["f"], {"k": [1]})
    script: dict = {"__name__": "__main__"}
    exec(compile("def f(k):\n    return {'a': k}", module.__file__, "exec"), script)
    with refused("measure", "a function of a module", "f of __main__", "chapters/studies"):
        Study(script["f"], {"k": [1]})


@pytest.mark.parametrize("package", ["joblib", "tqdm"])
def test_a_missing_package_names_the_command_that_installs_it(monkeypatch, study, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match="pip install joblib tqdm"):
        run(study)


def test_stored_numbers_need_neither_joblib_nor_tqdm(monkeypatch, study):
    run(study)
    for package in ("joblib", "tqdm"):
        monkeypatch.setitem(sys.modules, package, None)
    recall(study)


def test_data_without_joblib_name_the_package(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install joblib"):
        recall(Study(module.weighed, {"k": [1]}, data={"x": np.ones(2)}))


# Progress ---------------------------------------------------------------------


class Screen:
    """What stands in for stderr, as a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        self.terminal, self.text = terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_to_a_terminal_alone(monkeypatch, study, terminal):
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    run(study)
    assert ("toy_studies.area" in screen.text and "6/6" in screen.text) == terminal
    assert bool(screen.text) == terminal


# Rechecks ---------------------------------------------------------------------


def test_a_recheck_computes_as_many_cases_as_asked_and_names_them(study, module, rng):
    run(study)
    del module.calls[:]
    cases = recheck(study, rng, 3)
    assert module.calls == [(case["width"], case["height"]) for case in cases]
    assert len({str(case) for case in cases}) == 3
    assert len(recheck(study, rng, 99)) == 6


def test_a_recheck_finds_numbers_that_the_code_no_longer_gives(study, rng):
    run(study)
    rewrite(study, '"edge": 5.0', '"edge": 5.00001')
    with pytest.raises(ValueError, match=r"'width': 2.* edge = 5.00001 as stored, found 5. Delete the file"):
        recheck(study, rng, 6)
    recheck(study, rng, 6, tolerance=1e-4)


@pytest.mark.parametrize(("value", "differs"), [("5e-10", False), ("5e-9", True)])
def test_numbers_near_zero_are_compared_absolutely(module, rng, value, differs):
    study = Study(module.nothing, {"k": [1]})
    run(study)
    rewrite(study, '"zero": 0.0', f'"zero": {value}')
    if differs:
        with pytest.raises(ValueError, match="zero = 5e-09 as stored"):
            recheck(study, rng)
    else:
        recheck(study, rng)


# The command ------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent


def test_the_command_names_the_modules_when_one_is_unknown():
    command = [sys.executable, "tools/studies.py", "no_such"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 2
    assert "no_such: no such module; there are" in outcome.stderr
