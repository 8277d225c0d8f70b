"""A symbol of the notation table keeps, in every chapter, the shape that the table gives it."""

import ast
import os
import re
from numbers import Integral, Real
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
Shape = tuple[str, ...]
Namespace = dict[str, object]


def table(text: str) -> dict[str, Shape]:
    """Names in code and their shapes, as letters; () is a number. Rows without a plain name are left out."""
    shapes = {}
    for _symbol, code, shape in re.findall(r"^\* - (.*)\n  - (.*)\n  - (.*)\n", text, re.MULTILINE):
        names = [name.strip() for name in re.findall(r"`([A-Za-z, ]+)`", code)]
        names = [name for group in names for name in group.split(", ") if name.isidentifier()]
        letters = [tuple(re.findall(r"[a-z](?:_i)?", group)) for group in re.findall(r"\(([^)]*)\)", shape)]
        if shape == "number":
            letters = [()] * len(names)
        if len(letters) == 1:
            letters *= len(names)
        shapes |= dict(zip(names, letters, strict=True)) if len(letters) == len(names) else {}
    return shapes


def bound(source: str) -> set[str]:
    """Names that the statements of a cell bind at the top level, loops included, functions not."""
    names: set[str] = set()
    stack: list[ast.AST] = list(ast.parse(source).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.ListComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.SetComp | ast.DictComp | ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        stack.extend(ast.iter_child_nodes(node))
    return names


def complaints(source: str, values: Namespace, shapes: dict[str, Shape]) -> list[str]:
    """Which of the symbols that a cell has bound do not have the shape of the table."""
    sizes: dict[str, tuple[int, str]] = {}
    found = []
    for name in sorted(bound(source) & shapes.keys()):
        value, letters = values[name], shapes[name]
        if letters == ():
            if not isinstance(value, Real):
                found.append(f"{name} is a number, here {type(value).__name__}")
            elif isinstance(value, Integral):
                letters, value = (name,), np.empty(int(value))
        elif np.ndim(value) != len(letters):
            found.append(f"{name} has the shape ({', '.join(letters)}), here {np.shape(value)}")
            continue
        for letter, size in zip(letters, np.shape(value), strict=False):
            known, where = sizes.setdefault(letter, (size, name))
            if known != size:
                found.append(f"{letter} is {known} by {where} and {size} by {name}")
    return found


SHAPES = table((ROOT / "chapters" / "notation.md").read_text(encoding="utf-8"))


def test_the_table_is_read_as_it_is_printed() -> None:
    assert SHAPES["X"] == ("m_i", "d")
    assert SHAPES["y"] == ("m_i",)
    assert SHAPES["Z"] == ("n", "r")
    assert SHAPES["A"] == SHAPES["P"] == ("n", "n")
    assert SHAPES["W"] == ("d", "n")
    assert SHAPES["n"] == SHAPES["strength"] == SHAPES["rho"] == ()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("W = np.zeros((2, 3)); A = np.eye(3); n = 3", ""),
        ("W = np.zeros((2, 3)); A = np.eye(2)", "n is 2 by A and 3 by W"),
        ("A = np.zeros((2, 3))", "n is 2 by A and 3 by A"),
        ("W = np.zeros(3)", "W has the shape (d, n), here (3,)"),
        ("n = 4; Z = np.zeros((3, 2))", "n is 3 by Z and 4 by n"),
        ("for X, y in [(np.zeros((5, 2)), np.zeros(4))]: pass", "m_i is 5 by X and 4 by y"),
        ("strength = [1.0]", "strength is a number, here list"),
        ("def f():\n    W = 3\n    return W", ""),
    ],
)
def test_a_symbol_of_another_shape_is_found(source: str, complaint: str) -> None:
    values: Namespace = {"np": np}
    exec(source, values)
    assert complaints(source, values, SHAPES) == ([complaint] if complaint else [])


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_symbols_keep_their_shapes_throughout(chapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(chapter.parent)
    monkeypatch.setitem(os.environ, "MPLBACKEND", "agg")
    matplotlib.use("agg", force=True)
    values: Namespace = {"__name__": "chapter"}
    found = []
    for number, cell in enumerate(nbformat.read(chapter, as_version=4).cells, start=1):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{chapter.name}, cell {number}", "exec"), values)
            found += [f"cell {number}: {text}" for text in complaints(cell.source, values, SHAPES)]
    assert found == []
