"""Run the notebooks of chapters/ and store their outputs, so that a second run changes no byte.

python tools/execute.py [SLUG ...]      # without a slug: every chapter
"""

import base64
import hashlib
import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
TIMEOUT = 120  # seconds for one cell, as in the tests

# The kernels of this program and of the tests start in the same environment: sums in parallel
# threads add up in no fixed order, and sets of strings have no fixed order without a seed.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel in the user's home must not stand in for this interpreter's
    "MPLCONFIGDIR": str(Path(sys.prefix) / "var" / "matplotlib"),  # nor another environment's list of fonts
}
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CELL_METADATA = {"mystnb", "slideshow", "tags"}  # what an author writes; the rest is left by editors


def prepare() -> None:
    """Set the environment of the kernels, and have matplotlib list its fonts before any of them looks."""
    os.environ.update(ENVIRONMENT)
    importlib.import_module("matplotlib.font_manager")


class Failure(Exception):
    """A cell that does not run cleanly."""


def run(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel that starts in `folder`."""
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=40"],  # a kernel's remarks about itself are not the chapter's
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                raise Failure(f"cell {index + 1}: {error.ename}: {error.evalue}\n{cell.source}") from None
            except (CellTimeoutError, DeadKernelError) as error:
                raise Failure(f"cell {index + 1}: {type(error).__name__}: {error}\n{cell.source}") from None
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    raise Failure(f"cell {index + 1} wrote to stderr:\n{output.text}\n{cell.source}")


def bare_png(data: bytes) -> bytes:
    """A PNG without its texts and times: they name the version of matplotlib, or the moment."""
    kept, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def normal_outputs(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs with all that differs from run to run removed."""
    previous = None
    for output in outputs:
        if output.output_type == "stream" and previous and previous.get("name") == output.name:
            previous.text += output.text  # how a text falls into messages is chance
            continue
        if output.output_type == "error":  # only where the tag raises-exception allows one
            output.traceback = [f"{output.ename}: {output.evalue}"]
        if png := output.get("data", {}).get("image/png"):
            output.data["image/png"] = base64.b64encode(bare_png(base64.b64decode(png))).decode()
        previous = output
        yield output


def normalise(notebook: NotebookNode) -> str:
    """The text of the notebook's file; equal for equal contents."""
    notebook.metadata.pop("language_info", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = KERNELSPEC
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        cell.metadata = {key: cell.metadata[key] for key in CELL_METADATA & cell.metadata.keys()}
        if cell.get("id") in {None, *seen}:
            cell.id = hashlib.sha256(f"{index}\n{cell.source}".encode()).hexdigest()[:8]
        seen.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = list(normal_outputs(cell.outputs))
    return nbformat.writes(nbformat.from_dict(notebook)) + "\n"


def execute(path: Path) -> bool:
    """Run one notebook; True if its file changed. A failure leaves the file as it was."""
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.v4.reads(before)  # nbformat.reads would mend missing ids with random ones
    run(notebook, path.parent)
    after = normalise(notebook)
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


def main(slugs: list[str]) -> int:
    """Run the chapters named, or all; the number of those that failed."""
    prepare()
    paths = [CHAPTERS / f"{slug}.ipynb" for slug in slugs] or sorted(CHAPTERS.glob("*.ipynb"))
    failed = 0
    for path in paths:
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in CHAPTERS.glob("*.ipynb")))
            print(f"{path.stem}: no such chapter; there are {known}", file=sys.stderr)
            return 2
        print(f"{path.stem}: running", end="", flush=True)
        start = time.perf_counter()
        try:
            state = "outputs changed" if execute(path) else "unchanged"
            print(f", {time.perf_counter() - start:.1f} s, {state}")
        except Failure as failure:
            failed += 1
            print(f", failed, file left as it was\n{path.name}, {failure}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
