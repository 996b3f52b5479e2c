"""The prose of the book: what it cites, links and says of the rules is there."""

import re

import yaml

from soilnb.methods import METHODS
from soilnb.study import NINE_MODELS
from soilnb.study.recommend import MARGIN
from soilnb.workflow.steps import ROOT, STEPS, notebook_path, read_cells

PAGES = {page.name: page.read_text() for page in (ROOT / "book").glob("*.md")}


def _notebook_text(step):
    """All cells of a notebook, as they are written."""
    return "\n".join(
        "".join(cell["source"]) for cell in read_cells(notebook_path(step))
    )


def test_every_key_that_is_cited_is_in_the_bibliography():
    known = re.findall(
        r"^@\w+{(\w+),", (ROOT / "book/references.bib").read_text(), re.M
    )
    assert len(set(known)) == len(known)
    texts = [*PAGES.values(), *map(_notebook_text, STEPS)]
    cited = {
        key.strip()
        for text in texts
        for keys in re.findall(r"{cite(?::\w+)?}`([^`]+)`", text)
        for key in keys.split(",")
    }
    assert len(cited) > 15
    assert cited <= set(known)


def test_every_page_is_in_the_contents_and_the_other_way_round():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = {toc["root"]} | {
        chapter["file"] for part in toc["parts"] for chapter in part["chapters"]
    }
    pages = {f"book/{name.removesuffix('.md')}" for name in PAGES}
    assert listed == pages | {f"notebooks/{step}" for step in STEPS}


def test_method_page_names_every_method():
    missing = [name for name in METHODS if f"`{name}`" not in PAGES["method.md"]]
    assert missing == []
    assert len(NINE_MODELS) == 9
    assert f"by at least {100 * MARGIN:g} %" in PAGES["method.md"]


def test_numbers_in_the_prose_are_recorded_by_the_notebook_that_is_named():
    for name, text in PAGES.items():
        for step, key in re.findall(r"notebooks/(\w+)\.ipynb::(\w+)", text):
            recorded = re.search(rf"\b{key}=", _notebook_text(step))
            assert recorded, f"{name}: {step} does not record {key}"
