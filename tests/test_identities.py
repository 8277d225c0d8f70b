"""Every numbered equation of the book is held by a test, or is a definition and said to be one."""

import re
from pathlib import Path

import nbformat
import pytest
from identities import DEFINITIONS

from tools.identities import collect

ROOT = Path(__file__).resolve().parent.parent
LABEL = re.compile(r"^\s*.*\$\$\s*\(([\w-]+)\)\s*$", re.MULTILINE)


def labels(text: str) -> list[str]:
    """Labels of the numbered equations in a page."""
    return LABEL.findall(text)


def pages() -> dict[str, str]:
    """The prose of every page."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "chapters").glob("*.md")}
    for path in (ROOT / "chapters").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts[path.stem] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return texts


EQUATIONS = {label for text in pages().values() for label in labels(text)}
TESTED = {identity.label for identity in collect()}


def test_labels_are_found_on_one_line_and_on_several() -> None:
    text = "$$ a = b . $$ (one)\n\n$$\nc\n$$ (two)\n\n$$ no label $$ and $x$ (neither)\n  $$ d $$ (three-4)\n"
    assert labels(text) == ["one", "two", "three-4"]


@pytest.mark.parametrize("label", sorted(EQUATIONS))
def test_equation_is_held_by_a_test_or_is_a_definition(label: str) -> None:
    known = (label in TESTED) + (label in DEFINITIONS)
    assert known == 1, f"{label}: test it in tests/identities, or say in its __init__.py why not"


def test_no_test_and_no_definition_outlives_its_equation() -> None:
    assert sorted((TESTED | DEFINITIONS.keys()) - EQUATIONS) == []


def test_every_test_of_an_equation_says_what_it_holds() -> None:
    assert [identity.test for identity in collect() if not identity.claim] == []
