"""The executor that stores the outputs of the chapters."""

import io
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import execute

FIGURE = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\nprint('drawn')"


@pytest.fixture
def chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook that nobody has run, with the traces that an editor leaves."""
    printed = new_code_cell("print(1, flush=True)\nprint(2)\n{'b'}")
    cells = [new_markdown_cell("# A line"), new_code_cell(FIGURE), printed]
    cells[1].metadata = {"collapsed": False, "execution": {"started": "now"}, "tags": ["hide-input"]}
    path = tmp_path / "line.ipynb"
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3.11.2"}})
    notebook.cells[1].id = notebook.cells[2].id = "twice"
    path.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
    monkeypatch.setattr(execute, "CHAPTERS", tmp_path)
    return path


def test_a_second_run_changes_no_byte(chapter: Path) -> None:
    assert execute.execute(chapter)
    first = chapter.read_bytes()
    assert not execute.execute(chapter)
    assert chapter.read_bytes() == first


def test_the_same_source_gives_the_same_bytes(chapter: Path) -> None:
    source = chapter.read_bytes()
    execute.execute(chapter)
    first = chapter.read_bytes()
    chapter.write_bytes(source)
    execute.execute(chapter)
    assert chapter.read_bytes() == first


def test_the_stored_notebook_keeps_no_trace_of_its_run(chapter: Path) -> None:
    execute.execute(chapter)
    notebook = nbformat.read(chapter, as_version=4)
    nbformat.validate(notebook)
    _, figure, printed = notebook.cells
    assert notebook.metadata == {"kernelspec": execute.KERNELSPEC}
    assert figure.metadata == {"tags": ["hide-input"]}
    assert [figure.execution_count, printed.execution_count] == [1, 2]
    assert [output.get("text") for output in printed.outputs] == ["1\n2\n", None]
    assert len({cell.id for cell in notebook.cells}) == 3
    assert chapter.read_text(encoding="utf-8").endswith("}\n")


def test_a_picture_loses_its_texts_and_keeps_its_pixels() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    file = io.BytesIO()
    matplotlib.image.imsave(file, pixels, format="png", metadata={"Software": "some version"})
    bare = execute.bare_png(file.getvalue())
    assert b"some version" in file.getvalue()
    assert b"some version" not in bare
    read = matplotlib.image.imread
    assert np.array_equal(read(io.BytesIO(bare)), read(io.BytesIO(file.getvalue())))
    assert execute.bare_png(bare) == bare


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("1 / 0", "cell 2: ZeroDivisionError: division by zero"),
        ("import warnings\nwarnings.warn('watch out')", "cell 2 wrote to stderr"),
        ("import os\nos._exit(1)", "cell 2: DeadKernelError"),
    ],
)
def test_a_cell_that_does_not_run_cleanly_is_named_and_its_file_left_alone(
    chapter: Path, capsys: pytest.CaptureFixture[str], source: str, named: str
) -> None:
    notebook = nbformat.v4.reads(chapter.read_text(encoding="utf-8"))
    notebook.cells[1].source = source
    chapter.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
    before = chapter.read_bytes()
    assert execute.main(["line"]) == 1
    complaint = capsys.readouterr().err
    assert "line.ipynb" in complaint
    assert named in complaint
    assert chapter.read_bytes() == before


def test_an_error_that_is_meant_is_stored_without_its_traceback(chapter: Path) -> None:
    notebook = nbformat.v4.reads(chapter.read_text(encoding="utf-8"))
    notebook.cells[1].update(source="1 / 0", metadata={"tags": ["raises-exception"]})
    chapter.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
    execute.execute(chapter)
    (error,) = nbformat.read(chapter, as_version=4).cells[1].outputs
    assert error.traceback == ["ZeroDivisionError: division by zero"]


def test_an_unknown_chapter_is_refused(chapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main(["lime"]) == 2
    assert "lime: no such chapter; there are line" in capsys.readouterr().err
