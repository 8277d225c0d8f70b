"""Guards over the chapters: what nbval cannot see, since it skips what is not stored, and pictures.

A guard takes a notebook and yields its complaints, as (cell number, sentence); no complaint, no fault.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
MAX_LINES = 15
MIN_ALT = 40

Complaints = Iterator[tuple[int, str]]


def code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    return ((n, cell) for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code")


def mystnb(cell: NotebookNode, key: str) -> NotebookNode:
    return cell.metadata.get("mystnb", {}).get(key, NotebookNode())


def shows_image(cell: NotebookNode) -> bool:
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def prints(node: ast.AST) -> bool:
    """Whether running `node` is sure to print: a call inside a function or a branch is not."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.If | ast.Try):
        return False
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return True
    return any(prints(child) for child in ast.iter_child_nodes(node))


def shows_value(source: str, tree: ast.Module) -> bool:
    """Whether the last statement is an expression whose value is displayed; asserting calls have none."""
    if not tree.body or not isinstance(tree.body[-1], ast.Expr) or source.rstrip().endswith(";"):
        return False
    called = re.match(r"(?:\w+\.)*(\w+)\(", ast.unparse(tree.body[-1]))
    return not (called and re.match(r"assert|get_ipython|glue|run_\w+_magic|show$", called[1]))


def counts_are_in_order(notebook: NotebookNode) -> Complaints:
    for count, (n, cell) in enumerate(code_cells(notebook), 1):
        if cell.execution_count != count:
            yield n, f"has execution count {cell.execution_count}, not {count}: run make execute"
        for output in cell.outputs:
            if output.get("execution_count", count) != count:
                yield n, f"has an output of run {output.execution_count}, not {count}: run make execute"


def outputs_are_stored(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        source = TransformerManager().transform_cell(cell.source)
        tree = ast.parse(source)
        if (prints(tree) or shows_value(source, tree)) and not cell.outputs:
            yield n, "shows something, yet no output is stored: run make execute, or end the cell with ';'"
        if mystnb(cell, "figure") and not shows_image(cell):
            yield n, "is a figure, yet no picture is stored: run make execute"


def nothing_on_stderr(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                yield n, f"wrote to stderr: {output.text.strip()}"


def no_errors(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                yield n, f"failed with {output.ename}: {output.evalue}"


def no_timings(notebook: NotebookNode) -> Complaints:
    clock = re.compile(r"^\s*%{1,2}time|\b(perf_counter|process_time|monotonic|time\.time|now)\(", re.M)
    reading = re.compile(r"Wall time:|CPU times:|per loop")
    for n, cell in code_cells(notebook):
        if clock.search(cell.source) or reading.search("".join(o.get("text", "") for o in cell.outputs)):
            yield n, "reads the clock, which never repeats"


def no_addresses(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        if re.search(r" at 0x[0-9a-f]{6,}", str(cell.outputs)):
            yield n, "shows an address in memory, which never repeats"


def pictures_have_alternative_text(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        if shows_image(cell) and len(mystnb(cell, "image").get("alt", "").strip()) < MIN_ALT:
            yield n, f"has a picture without {MIN_ALT} characters of text in metadata mystnb.image.alt"


def code_cells_are_short(notebook: NotebookNode) -> Complaints:
    for n, cell in code_cells(notebook):
        if (lines := len(cell.source.splitlines())) > MAX_LINES:
            yield n, f"has {lines} lines of code; {MAX_LINES} are the limit"


def one_title_at_the_top(notebook: NotebookNode) -> Complaints:
    prose = ["" if cell.cell_type != "markdown" else cell.source for cell in notebook.cells] or [""]
    unfenced = [re.sub(r"^(`{3,}|~{3,}|:{3,}).*?^\1", "", text, flags=re.M | re.S) for text in prose]
    titles = [n for n, text in enumerate(unfenced, 1) for _ in re.findall(r"^# ", text, re.M)]
    if titles != [1] or not re.match(r"(\([\w:-]+\)=\n+)?# ", prose[0]):
        yield 1, f"must begin with the chapter's one '# Title'; titles stand in cells {titles}"


GUARDS: list[Callable[[NotebookNode], Complaints]] = [
    counts_are_in_order,
    outputs_are_stored,
    nothing_on_stderr,
    no_errors,
    no_timings,
    no_addresses,
    pictures_have_alternative_text,
    code_cells_are_short,
    one_title_at_the_top,
]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_chapter_keeps(guard: Callable[[NotebookNode], Complaints], path: Path) -> None:
    complaints = guard(nbformat.read(path, as_version=4))
    assert not [f"{path.name}, cell {n} {complaint}" for n, complaint in complaints]


def test_every_chapter_is_in_the_table_of_contents_and_there_is_one() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    assert CHAPTERS
    assert {f"chapters/{path.stem}" for path in CHAPTERS} <= listed


def test_notebooks_import_the_package_of_this_folder() -> None:
    # A kernel starts beside its notebook, from where only what is installed can be imported.
    command = [sys.executable, "-c", "import mtlbook; print(mtlbook.__file__)"]
    result = subprocess.run(command, cwd=ROOT / "chapters", capture_output=True, text=True, check=True)
    assert Path(result.stdout.strip()).parent == ROOT / "mtlbook"


def test_no_checkpoint_lies_among_the_chapters() -> None:
    assert not list((ROOT / "chapters").rglob(".ipynb_checkpoints"))


# The guards themselves: each lets a good notebook pass and refuses the fault it is for.

ALT = "A straight line that rises from one at the left to three at the right."


def text(words: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=words)


def picture() -> NotebookNode:
    return new_output("display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})


def good() -> NotebookNode:
    """Cells 2 to 5 print, show a value, draw, and assert."""
    value = new_output("execute_result", data={"text/plain": "2"}, execution_count=2)
    figure = {"mystnb": {"figure": {"caption": "A line.", "name": "fig-line"}, "image": {"alt": ALT}}}
    cells = [
        new_markdown_cell("(line)=\n# A line\n\n## A part\n\n```python\n# not a title\n```"),
        new_code_cell("for i in range(1):\n    print(i)", outputs=[text("0\n")]),
        new_code_cell("x = 1\nx + 1", outputs=[value]),
        new_code_cell("ax.plot(x)\nplt.show()", outputs=[picture()], metadata=figure),
        new_code_cell("np.testing.assert_allclose(x, 1)"),
        new_code_cell("ax.set_title('quiet');"),
        new_code_cell("def f():\n    print('not now')"),
    ]
    for count, cell in enumerate(cells[1:], 1):
        cell.execution_count = count
    return new_notebook(cells=cells)


def spoil(**changes: object) -> Callable[[NotebookNode, int], None]:
    return lambda notebook, n: notebook.cells[n - 1].update(changes)


def clear_everything(notebook: NotebookNode, n: int) -> None:
    for _, cell in code_cells(notebook):
        cell.update(outputs=[], execution_count=None)


def swap_with_next(notebook: NotebookNode, n: int) -> None:
    notebook.cells[n - 1 : n + 1] = reversed(notebook.cells[n - 1 : n + 1])


ERROR = new_output("error", ename="ValueError", evalue="no", traceback=[])
FAULTS = [
    ("cleared outputs and counts", counts_are_in_order, 2, clear_everything),
    ("cleared outputs and counts, seen by the other guard", outputs_are_stored, 2, clear_everything),
    ("a count that skips", counts_are_in_order, 3, spoil(execution_count=7)),
    ("cells moved after their run", counts_are_in_order, 2, swap_with_next),
    ("an output of another run", counts_are_in_order, 2, spoil(outputs=good().cells[2].outputs)),
    ("a printed text that is not stored", outputs_are_stored, 2, spoil(outputs=[])),
    ("a value that is not stored", outputs_are_stored, 3, spoil(outputs=[])),
    ("a figure that is not stored", outputs_are_stored, 4, spoil(outputs=[])),
    ("a figure stored as words", outputs_are_stored, 4, spoil(outputs=[text("<Figure>")])),
    ("a warning", nothing_on_stderr, 2, spoil(outputs=[text("RuntimeWarning", "stderr")])),
    ("an error", no_errors, 5, spoil(outputs=[ERROR])),
    ("a timed line", no_timings, 3, spoil(source="%timeit x")),
    ("a clock", no_timings, 3, spoil(source="start = time.perf_counter()")),
    ("a reading of the clock", no_timings, 2, spoil(outputs=[text("Wall time: 3 ms")])),
    ("an address", no_addresses, 2, spoil(outputs=[text("<object object at 0x7f3a12bc9d10>")])),
    ("a picture without text", pictures_have_alternative_text, 4, spoil(metadata=NotebookNode())),
    (
        "a picture with hardly a text",
        pictures_have_alternative_text,
        4,
        spoil(metadata=nbformat.from_dict({"mystnb": {"image": {"alt": "A plot."}}})),
    ),
    ("a long cell", code_cells_are_short, 3, spoil(source="x = 1\n" * (MAX_LINES + 1))),
    ("no title", one_title_at_the_top, 1, spoil(source="## A part")),
    ("words above the title", one_title_at_the_top, 1, spoil(source="Words.\n\n# A line")),
    ("two titles", one_title_at_the_top, 1, spoil(source="# A line\n\n# Another")),
    ("a title in code", one_title_at_the_top, 1, spoil(cell_type="code")),
]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_a_good_notebook_passes(guard: Callable[[NotebookNode], Complaints]) -> None:
    assert not list(guard(good()))


@pytest.mark.parametrize(("guard", "n", "fault"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_guard_refuses(guard: Callable, n: int, fault: Callable[[NotebookNode, int], None]) -> None:
    notebook = good()
    fault(notebook, n)
    assert n in [where for where, _ in guard(notebook)]


def test_an_error_that_is_meant_passes() -> None:
    notebook = good()
    notebook.cells[4].update(outputs=[ERROR], metadata=NotebookNode(tags=["raises-exception"]))
    assert not list(no_errors(notebook))


def test_every_guard_is_proven() -> None:
    assert {fault[1] for fault in FAULTS} == set(GUARDS)
