"""The reference results of the book: what is shown, and where none are."""

import pandas as pd
import pytest

from soilnb.study import over_sites
from soilnb.workflow import book as pages
from soilnb.workflow.reference import collect_results, reference_answer, reference_page

SCORES = pd.DataFrame(
    {
        "library": "farms",
        "site": ["a", "a", "a", "a", "b", "b"],
        "kind": "seeds",
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


def test_libraries_and_kinds_of_repetition_have_tables_of_their_own(tmp_path):
    splits = SCORES.assign(kind="random_splits")
    write(tmp_path, scores=pd.concat([SCORES, SCORES.assign(library="twin"), splits]))
    headings = [
        line for line in reference_page(tmp_path).splitlines() if line[:1] == "#"
    ]
    assert headings == [
        "## Library `farms`, profile `full`",
        "### RMSE, Kennard-Stone split",
        "### RMSE, random splits",
        "## Library `twin`, synthetic, profile `full`",
        "### RMSE, Kennard-Stone split",
        "## The files",
    ]


def test_other_tables_are_shown_with_three_digits_and_all_are_linked(tmp_path):
    choices = pd.DataFrame({"library": "farms", "site": ["a"], "ratio": [0.98765]})
    runs = pd.DataFrame({"site": ["a"], "minutes": [12.345], "python": ["3.11.7"]})
    other = SCORES.iloc[[2]].assign(site="b", rmse=0.2)
    both = over_sites(pd.concat([SCORES, other]))
    tables = {"over_sites": both, "choices": choices, "runs": runs}
    write(tmp_path, scores=SCORES, **tables)
    page = reference_page(tmp_path)
    assert "| a | 0.988 |" in page
    assert "| a | 12.3 | 3.11.7 |" in page
    # Site a: sqrt(0.5 / 0.3 * 0.5 / 0.4) = 1.443, b: 1; half the t of one degree times
    # the difference of their logarithms to each side; two sites give 0.5 at best.
    assert "| plsr_local | 1.20 | 0.117 | 12.4 | 2 | 0 | 1.00 | 0.500 |" in page
    for name in ("scores", *tables):
        link = f"{{download}}`{name}.csv <../data/reference_results/{name}.csv>`"
        assert link in page


def test_gain_is_bold_where_enough_samples_leave_no_zero(tmp_path):
    gains = pd.DataFrame(
        {
            "library": "farms",
            "site": ["a", "b", "a", "b"],
            "kind": "seeds",
            "method": ["dtl_r_global", "dtl_r_global", "dtl_i_global", "local"],
            "gain": [0.1, 0.1, -0.04, 0.0],
            "low": [0.02, 0.02, -0.1, 0.0],
            "high": [0.2, 0.2, 0.01, 0.0],
            "n_test": [70, 29, 70, 29],
        }
    )
    write(tmp_path, scores=SCORES, gains=gains)
    page = reference_page(tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    sure = "+0.100 (+0.020 to +0.200)"
    assert "| dtl_i_global | \u22120.040 (\u22120.100 to +0.010) | – |" in page
    assert f"| dtl_r_global | **{sure}** | {sure} |" in page


def test_learning_curve_is_shown_over_the_sites_with_its_sizes(tmp_path):
    both = SCORES[SCORES["seed"] == 1].replace("plsr_local", "country")
    sizes = pd.concat(both.assign(kind="learning_curve", n_local=n) for n in (10, 50))
    write(tmp_path, scores=sizes, over_sites=over_sites(sizes))
    rows = [
        line for line in reference_page(tmp_path).splitlines() if "| country" in line
    ]
    # 0.5 / 0.3 at site a, 0.1234 / 0.2 at b: their geometric mean is 1.014.
    assert [row.split(" | ")[1:3] for row in rows] == [["10", "1.01"], ["50", "1.01"]]


def test_answer_is_that_of_the_real_library_with_most_sites(tmp_path):
    over = pd.DataFrame(
        {
            "library": [*["farms"] * 6, "twin"],
            "kind": [
                *["seeds", "seeds", "random_splits", "learning_curve"],
                *["learning_curve", "seeds", "seeds"],
            ],
            "n_local": [30, 30, 30, 50, 10, 30, 30],
            "profile": [*["quick"] * 5, "full", "quick"],
            "method": [
                "recommended",
                "mbl",
                *["dtl_r_global"] * 3,
                *["recommended"] * 2,
            ],
            "ratio": [0.974, 2.0, 0.93, 0.98, 1.04, 0.3, 0.1],
            "low": 0.9,
            "high": 1.1,
            "n_sites": [7, 7, 7, 5, 6, 6, 9],
        }
    )
    choices = pd.DataFrame(
        {
            "library": ["farms", "farms", "farms", "twin"],
            "profile": "quick",
            "site": ["a", "b", "skane", "c"],
            "test_ratio": [0.9, 0.4, 2.0, 3.0],
        }
    )
    write(tmp_path, over_sites=over, choices=choices)
    answer = reference_answer(tmp_path)
    assert answer.startswith("On 7 real sites with the library `farms` and the profile")
    assert answer.splitlines()[2:6] == [
        "- With the Kennard-Stone split: recommended 0.97 (0.90 to 1.10).",
        "- With random splits: DTL-R global 0.93 (0.90 to 1.10).",
        "- With 10, 50 local samples, 6 sites: DTL-R global 1.04, 0.98.",
        # The rule was fixed at skane; sqrt(0.9 * 0.4) = 0.6.
        "- `recommended` on the 2 sites that had no part in fixing its rule: mean "
        "0.60, worst 0.90 (`a`).",
    ]


def test_readme_without_its_title_comes_first(tmp_path):
    (tmp_path / "README.md").write_text("# Reference results\n\nMade in an hour.\n")
    assert reference_page(tmp_path).startswith("Made in an hour.\n\nThere are no")


def test_copy_without_reference_results_says_so(tmp_path):
    page = reference_page(tmp_path / "nowhere")
    assert page == "There are no reference results in this copy of the repository.\n"
    assert reference_answer(tmp_path / "nowhere") == page


def test_scores_without_a_column_are_refused(tmp_path):
    write(tmp_path, scores=SCORES.drop(columns="seed"))
    with pytest.raises(ValueError, match="must have the column 'seed', got library,"):
        reference_page(tmp_path)


def test_stage_holds_the_tables_and_their_page(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    source = tmp_path / "data" / "reference_results"
    write(source, scores=SCORES)
    pages._stage_reference(tmp_path / "stage")
    place = tmp_path / "stage" / "data" / "reference_results"
    assert (place / "scores.csv").read_bytes() == (source / "scores.csv").read_bytes()
    assert (place / "page.md").read_text() == reference_page(source)
    picture = place / "sites_farms.png"  # of the two sites
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert f"../data/reference_results/{picture.name}" in reference_page(source)


def test_nothing_is_collected_where_no_site_is_complete(tmp_path):
    (tmp_path / "farms" / "a" / "01_data").mkdir(parents=True)
    with pytest.raises(ValueError, match="'results' must hold a complete run"):
        collect_results(tmp_path, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
