"""The book is built as `make book` builds it, into a folder of its own, and the pages are read."""

import base64
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
Pages = dict[Path, BeautifulSoup]
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)

# What a browser fetches by itself when it opens a page.
FETCHED = [("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")]


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("book")
    flags = ["--quiet", "--warningiserror", "--nitpick", "--keep-going"]
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", *flags, "--path-output", folder, ROOT]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def pages(book: Path) -> Pages:
    """The pages that the book's sources became, search and index included."""
    paths = [p for p in book.rglob("*.html") if "_static" not in p.parts]
    return {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in paths}


def addresses(page: BeautifulSoup, kinds: list[tuple[str, str]]) -> list[str]:
    return [tag[key] for name, key in kinds for tag in page.find_all(name, **{key: True})]


def mathjax(page: BeautifulSoup) -> list[str]:
    return [address for address in addresses(page, [("script", "src")]) if "mathjax" in address]


def is_foreign(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def picture(address: str, folder: Path) -> bytes:
    """A picture that the page carries in itself, or in a file beside it."""
    inside, _, data = address.partition(";base64,")
    return base64.b64decode(data) if inside.startswith("data:") else (folder / address).read_bytes()


def page_of(chapter: Path, book: Path, pages: Pages) -> BeautifulSoup:
    return pages[book / "chapters" / f"{chapter.stem}.html"]


def test_every_source_became_a_page(book: Path, pages: Pages) -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    assert {book / f"{name}.html" for name in names} <= pages.keys()


def test_every_link_anchor_and_picture_inside_the_book_resolves(pages: Pages) -> None:
    anchors = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    broken = []
    for path, page in pages.items():
        for address in addresses(page, [("a", "href"), *FETCHED]):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            if not target.is_file() or (fragment and target in anchors and fragment not in anchors[target]):
                broken.append(f"{path.name}: {address}")
    assert not broken


def test_every_cross_reference_is_resolved(pages: Pages) -> None:
    marks = "span.problematic, .system-message, span.xref.myst"
    for path, page in pages.items():
        assert not page.select(marks), path.name
        assert not re.search(r"\(\?\?\?\)|\[\?\]", page.get_text()), path.name


def test_no_page_makes_a_request_to_another_host(book: Path, pages: Pages) -> None:
    for path, page in pages.items():
        assert not [address for address in addresses(page, FETCHED) if is_foreign(address)], path.name
    for path in book.rglob("*.css"):
        fetched = re.findall(
            r"url\(['\"]?([^'\")]+)|@import ['\"]([^'\"]+)", path.read_text(encoding="utf-8")
        )
        assert not [address for pair in fetched for address in pair if is_foreign(address)], path.name


def test_mathematics_is_served_from_the_book_with_its_fonts(pages: Pages) -> None:
    assert any(mathjax(page) for page in pages.values())
    for path, page in pages.items():
        for address in mathjax(page):
            folder = (path.parent / urlsplit(address).path).resolve().parent
            assert list((folder / "output" / "chtml" / "fonts").rglob("*.woff")), path.name


@each_chapter
def test_page_shows_the_stored_outputs(chapter: Path, book: Path, pages: Pages) -> None:
    page = page_of(chapter, book, pages)
    shown = "".join(output.get_text() for output in page.select(".cell_output"))
    pictures = {
        hashlib.sha256(picture(image["src"], book / "chapters")).hexdigest()
        for image in page.select(".cell_output img")
    }
    for cell in nbformat.read(chapter, as_version=4).cells:
        if "remove-output" in cell.metadata.get("tags", []) or "remove-cell" in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                assert hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest() in pictures
            elif data.keys() <= {"text/plain"}:
                assert output.get("text", data.get("text/plain", "")).strip() in shown


@each_chapter
def test_every_picture_on_the_page_has_alternative_text(chapter: Path, book: Path, pages: Pages) -> None:
    for image in page_of(chapter, book, pages).select("article img"):
        # Without a text of its own a picture is named by its address.
        assert image.get("alt")
        assert not image["alt"].startswith(("../_images", "_images"))


@each_chapter
def test_page_launches_its_notebook_on_binder(chapter: Path, book: Path, pages: Pages) -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = urlsplit(config["repository"]["url"]).path.strip("/")
    links = {link["href"] for link in page_of(chapter, book, pages).find_all("a", href=True)}
    wanted = f"https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/chapters/{chapter.name}"
    assert wanted in links


@each_chapter
def test_page_has_one_search_bar(chapter: Path, book: Path, pages: Pages) -> None:
    assert len(page_of(chapter, book, pages).select(".search-button-field")) == 1
