"""The book on paper, and its page on the package."""

import pytest
import yaml

from soilnb.workflow import printed
from soilnb.workflow.package import describe_package
from soilnb.workflow.run import StepError

HEAD = '<head><link href="_static/a.css"></head>'


@pytest.fixture
def html(tmp_path, monkeypatch):
    """A book of two pages that link to each other."""
    folder = tmp_path / "html"
    (folder / "book").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text(
        yaml.safe_dump(
            {
                "root": "book/intro",
                "parts": [{"chapters": [{"file": "notebooks/01_data"}]}],
            }
        )
    )
    (folder / "book/intro.html").write_text(
        f'<html>{HEAD}<body><article><h1 id="top">First</h1>'
        '<a href="../notebooks/01_data.html#fig">look</a>'
        '<img src="../_images/a.png"></article></body></html>'
    )
    (folder / "notebooks/01_data.html").write_text(
        f'<html>{HEAD}<body><article><p id="fig">Second</p>'
        '<a href="#fig">here</a> <a href="https://x.org">x</a></article></body></html>'
    )
    monkeypatch.setattr(printed, "ROOT", tmp_path)
    return folder


def test_pages_are_joined_in_their_order_and_links_stay_inside(html):
    whole = printed.join_pages(html)
    assert whole.index("First") < whole.index("Second")
    assert 'href="#notebooks-01_data-fig"' in whole
    assert whole.count('id="notebooks-01_data-fig"') == 1
    assert 'src="_images/a.png"' in whole
    assert 'href="https://x.org"' in whole


def test_answers_and_solutions_unfold_and_code_of_figures_does_not(html):
    page = html / "notebooks/01_data.html"
    folded = (
        '<details class="sd-dropdown">Two.</details>'
        '<details class="sd-dropdown docstring">Notes</details>'
        '<div class="tag_hide-cell"><details class="hide">code</details></div>'
        '<div class="tag_hide-input"><details class="hide">plot</details></div>'
        '<div class="solution dropdown admonition">Why.</div>'
        '<p class="soilnb-csv"><a href="data:text/csv,">t.csv</a></p>'
    )
    page.write_text(page.read_text().replace("</article>", f"{folded}</article>"))
    whole = printed.join_pages(html)
    assert '<details class="sd-dropdown" open="">Two.' in whole
    assert '<details class="hide" open="">code' in whole
    assert '<details class="hide">plot' in whole
    assert '<details class="sd-dropdown docstring">Notes' in whole
    assert '<div class="solution dropdown admonition toggle-shown">Why.' in whole
    assert "t.csv" not in whole


def test_without_a_browser_the_book_is_refused_in_one_sentence(html, monkeypatch):
    monkeypatch.setattr(printed.shutil, "which", lambda _: None)
    with pytest.raises(StepError, match="none of chromium, chromium-browser"):
        printed.print_book(html / "index.html")


@pytest.mark.slow
def test_book_is_printed_as_a_pdf(html, browser):
    pdf = printed.print_book(html / "index.html")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert not list(html.glob(".whole*"))


def test_page_on_the_package_has_every_public_function_with_its_first_line():
    page = describe_package()
    assert "**ccc**: Return Lin's concordance correlation coefficient" in page
    assert "kennard_stone(X, n_samples)" in page
    assert "## `soilnb.study`" in page
    assert "_resampled_rmse" not in page
