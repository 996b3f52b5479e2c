"""The whole book on paper: one page of all its pages, printed by a Chromium."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urldefrag, urljoin

import yaml
from bs4 import BeautifulSoup

from soilnb.workflow.run import StepError
from soilnb.workflow.steps import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 60_000  # for the mathematics of all pages; time of the page, not of the clock
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    "--allow-file-access-from-files",
)
# Answers of the quiz and code of solutions; docstrings and figures' code stay folded.
FOLDED = "details.sd-dropdown:not(.docstring), .tag_hide-cell > details"
STYLE = (
    "<style>.printed > section { break-before: page; } "
    ".printed { max-width: 62rem; margin: 0 auto; }</style>"
)


def print_book(index: Path) -> Path:
    """Print a book, whose first page is given, as a PDF beside its folder.

    Needs a Chromium on the PATH; links between pages become links in the file. A
    StepError says what is missing or what the browser said.
    """
    browser = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if browser is None:
        msg = (
            f"The book cannot be printed: none of {', '.join(BROWSERS)} is on the "
            "PATH. Install Chromium, or print the pages you need from your browser."
        )
        raise StepError(msg)
    html = index.parent
    whole = html / ".whole.html"
    whole.write_text(join_pages(html), encoding="utf-8")
    pdf = html.with_name("book.pdf")
    try:
        with TemporaryDirectory() as profile:
            own = [f"--user-data-dir={profile}", f"--virtual-time-budget={WAIT_MS}"]
            target = [f"--print-to-pdf={pdf}", whole.as_uri()]
            command = [browser, *FLAGS, *own, *target]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        whole.unlink()
    if done.returncode or not pdf.is_file():
        msg = f"The book could not be printed: {done.stderr.strip()[-300:]}"
        raise StepError(msg)
    return pdf


def join_pages(html: Path) -> str:
    """Return all pages of a book as one, in their order, links turned inwards.

    Answers and solutions are unfolded; links to a table's file are left out.
    """
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = (f"{name}.html" for name in _in_order(toc))
    pages = {file: html / file for file in files if (html / file).is_file()}
    inside = {file: file[:-5].replace("/", "-") for file in pages}
    head, parts = None, []
    for file, path in pages.items():
        page: Any = BeautifulSoup(path.read_text(), "html.parser")
        article = page.find("article") or page.find("main")
        if head is None:
            head = page.head
            _point(head.find_all(["link", "script"]), file, inside)
        for tag in article.select(FOLDED):
            tag["open"] = ""
        for tag in article.select(".admonition.dropdown"):
            tag["class"] = [*tag["class"], "toggle-shown"]  # the page's script folds it
        for tag in article.select(".soilnb-csv"):
            tag.decompose()
        for tag in article.find_all(id=True):
            tag["id"] = f"{inside[file]}-{tag['id']}"
        _point(article.find_all(["a", "img", "object"]), file, inside)
        content = article.decode_contents()
        parts.append(f'<section id="{inside[file]}">{content}</section>')
    body = f'<article class="bd-article printed">{"".join(parts)}</article>'
    return f"<!DOCTYPE html><html>{head}{STYLE}<body>{body}</body></html>"


def _in_order(toc: dict[str, Any]) -> Iterator[str]:
    """Yield the pages of a table of contents, depth first."""
    yield toc["root"]
    waiting = [entry for part in toc["parts"] for entry in part["chapters"]]
    while waiting:
        entry = waiting.pop(0)
        yield entry["file"]
        waiting = [*entry.get("sections", []), *waiting]


def _point(tags: Iterable[Any], file: str, inside: dict[str, str]) -> None:
    """Turn addresses, relative to the page of a file, into ones inside the whole."""
    for tag in tags:
        for key in {"href", "src", "data"} & set(tag.attrs):
            address = urljoin(file, tag[key])
            page, place = urldefrag(address)
            if page in inside:
                address = f"#{inside[page]}" + (f"-{place}" if place else "")
            tag[key] = address
