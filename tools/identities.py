"""Sphinx extension: bind every tested equation to its test, and list them all with their state.

A test carries the label of its equation, ``@pytest.mark.equation("outer-product-sum")``. Under the equation
the page gets a link to the list that the directive ``identities`` makes, where each test is named with the
number of cases it passed while the book was built.
"""

import ast
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "identities"
PAGE = "chapters/identities"


@dataclass(frozen=True)
class Identity:
    """A labelled equation and the test that holds it."""

    label: str
    test: str  # file::function, from the top of the repository
    claim: str  # the first line of the test's docstring

    @property
    def anchor(self) -> str:
        """Where the list names it."""
        return f"identity-{self.label}"


def collect(folder: Path = TESTS) -> list[Identity]:
    """Every test that carries the label of an equation, in the order of files and lines."""
    found = []
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for label in _labels(node):
                claim = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Identity(label, f"{path.relative_to(ROOT)}::{node.name}", claim))
    return found


def _labels(node: ast.stmt) -> list[str]:
    """The labels in a function's marks ``pytest.mark.equation(...)``."""
    marks = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return [
        ast.literal_eval(argument)
        for mark in marks
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.equation"
        for argument in mark.args
    ]


def run() -> tuple[Counter[str], Counter[str]]:
    """Cases passed and cases run, for each test, of a run made now."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:nbval", "-p", "no:cacheprovider"]
        options = ["-o", "addopts=", "-o", "junit_family=xunit1", f"--junitxml={report}", str(TESTS)]
        subprocess.run([*command, *options], cwd=ROOT, capture_output=True, check=False, timeout=300)
        cases = ElementTree.parse(report).iter("testcase")
        passed, total = Counter(), Counter()
        for case in cases:
            test = f"{case.get('file')}::{case.get('name', '').partition('[')[0]}"
            total[test] += 1
            passed[test] += all(child.tag not in ("failure", "error", "skipped") for child in case)
    return passed, total


class Identities(SphinxDirective):
    """The list of all identities: equation, claim, test, state."""

    def run(self) -> list[nodes.Node]:
        """Nodes of the table."""
        passed, total = run()
        rows = ["````{list-table}", ":header-rows: 1", ":widths: 12 68 20", ":class: identities", ""]
        rows += ["* - Equation", "  - What its test holds", "  - State"]
        named: set[str] = set()
        for identity in collect():
            good, cases = passed[identity.test], total[identity.test]
            state = f"holds in {good} of {cases} cases" if cases else "not run"
            mark = "✓" if cases and good == cases else "✗"
            target = "" if identity.label in named else f"({identity.anchor})=\n    "
            named.add(identity.label)
            test = identity.test.removeprefix("tests/identities/")
            rows += [f"* - {target}{{eq}}`{identity.label}`", f"  - {identity.claim}\n\n    `{test}`"]
            rows += [f"  - {mark} {state}"]
        return self.parse_text_to_nodes("\n".join([*rows, "````"]))


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a link to its test under each tested equation."""
    known = {identity.label: identity for identity in collect()}
    if app.builder.format != "html":
        return
    for block in list(doctree.findall(nodes.math_block)):
        identity = known.get(block.get("label"))
        if identity:
            address = f"{app.builder.get_relative_uri(docname, PAGE)}#{identity.anchor}"
            reference = nodes.reference("", "tested", refuri=address, internal=True)
            reference["reftitle"] = f"The test of this equation: {identity.claim}"
            paragraph = nodes.paragraph("", "", reference, classes=["tested"])
            block.parent.insert(block.parent.index(block) + 1, paragraph)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the links."""
    app.add_directive("identities", Identities)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
