"""The reference results of the book: what is shown, and where none are."""

import pandas as pd
import pytest

from soilnb.workflow import build
from soilnb.workflow.reference import reference_page

SCORES = pd.DataFrame(
    {
        "library": "farms",
        "site": ["a", "a", "a", "a", "b", "b"],
        "method": ["local", "local", "plsr_local", "plsr_local", "local", "country"],
        "profile": "full",
        "seed": [1, 2, 1, 2, 1, 1],
        "n_local": 30,
        "n_test": [70, 70, 70, 70, 95, 95],
        "rmse": [0.30, 0.40, 0.50, 0.50, 0.20, 0.1234],
    }
)


def write(folder, **tables):
    """Write tables as the reference results of a folder."""
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def test_rmse_is_the_mean_over_the_seeds_with_its_spread(tmp_path):
    write(tmp_path, scores=SCORES)
    page = reference_page(tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    rows = [line for line in page.splitlines() if line[:1] == "|"]
    # sd of 0.3 and 0.4: 0.1 / sqrt(2) = 0.0707; the order is that of METHODS.
    assert rows == [
        "| method | a | b |",
        "| :-- | :-- | :-- |",
        "| plsr_local | 0.50 ± 0.00 | – |",
        "| local | **0.35 ± 0.07** | 0.20 |",
        "| country | – | **0.12** |",
        "| test samples | 70 | 95 |",
        "| seeds | 2 | 1 |",
    ]


def test_libraries_and_sizes_have_tables_of_their_own(tmp_path):
    more = [SCORES, SCORES.assign(library="twin"), SCORES.assign(n_local=10)]
    write(tmp_path, scores=pd.concat(more))
    page = reference_page(tmp_path)
    assert page.count("## RMSE:") == 3
    assert "## RMSE: library `twin`, profile `full`, 30 local samples" in page


def test_other_tables_are_shown_with_three_digits_and_all_are_linked(tmp_path):
    sites = pd.DataFrame(
        {"method": ["global"], "ratio": [1.2], "low": [0.12345], "n_sites": [7]}
    )
    choices = pd.DataFrame(
        {"site": ["a"], "method": ["local"], "ratio": [float("nan")]}
    )
    write(tmp_path, over_sites=sites, choices=choices)
    page = reference_page(tmp_path)
    assert "| global | 1.20 | 0.123 | 7 |" in page
    assert "| a | local | – |" in page
    for name in ("over_sites.csv", "choices.csv"):
        assert f"{{download}}`{name} <../data/reference_results/{name}>`" in page


def test_readme_without_its_title_comes_first(tmp_path):
    (tmp_path / "README.md").write_text("# Reference results\n\nMade in an hour.\n")
    assert reference_page(tmp_path).startswith("Made in an hour.\n\nThere are no")


def test_copy_without_reference_results_says_so(tmp_path):
    page = reference_page(tmp_path / "nowhere")
    assert page == "There are no reference results in this copy of the repository.\n"


def test_scores_without_a_column_are_refused(tmp_path):
    write(tmp_path, scores=SCORES.drop(columns="seed"))
    with pytest.raises(ValueError, match="must have the column 'seed', got library,"):
        reference_page(tmp_path)


def test_stage_holds_the_tables_and_their_page(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    source = tmp_path / "data" / "reference_results"
    write(source, scores=SCORES)
    build._stage_reference(tmp_path / "stage")
    place = tmp_path / "stage" / "data" / "reference_results"
    assert (place / "scores.csv").read_bytes() == (source / "scores.csv").read_bytes()
    assert (place / "page.md").read_text() == reference_page(source)
