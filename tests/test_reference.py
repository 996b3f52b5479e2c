"""The reference results: what is said of them, and how they are collected."""

from types import SimpleNamespace

import pandas as pd
import pytest

from soilnb.study import over_sites
from soilnb.study.reference import (
    against_best_local,
    answers,
    farm_verdict,
    gain_table,
    in_words,
    parts_of,
    rmse_table,
    seeds_apart,
    worth_of_strata,
)
from soilnb.workflow import data, read_reference
from soilnb.workflow import scores as collected
from soilnb.workflow.scores import collect_results, over_seeds

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


def rows_of(table):
    """The rows of a table, by their names, with blanks that break."""
    plain = table.map(lambda text: text.replace("\N{NO-BREAK SPACE}", " "))
    return {name: list(row) for name, row in plain.T.items()}


def test_rmse_is_the_mean_over_the_seeds_with_its_spread():
    table = rmse_table(SCORES)
    assert list(table.columns) == ["a", "b"]
    # Two seeds have no standard deviation; the order is that of METHODS.
    rows = {
        "PLSR local": ["0.50 (0.50 to 0.50)", "–"],
        "CNN local": ["<b>0.35 (0.30 to 0.40)</b>", "0.20"],
        "CNN country": ["–", "<b>0.12</b>"],
        "test samples": ["70", "95"],
        "seeds": ["2", "1"],
    }
    assert list(rows_of(table)) == list(rows)
    assert rows_of(table) == rows


def test_spread_of_five_runs_is_their_standard_deviation():
    # 0.1 to 0.5: squares of 0.2, 0.1, 0, 0.1, 0.2 sum to 0.1; over 4, the root: 0.158.
    assert in_words([0.1, 0.2, 0.3, 0.4, 0.5]) == "0.30 ± 0.16"
    assert in_words([0.1, 0.2, 0.3, 0.4]) == "0.25 (0.10 to 0.40)"


def test_methods_of_one_seed_stand_beside_local_of_that_seed_only():
    once = SCORES.iloc[[0]].assign(method="recommended", rmse=0.29)
    first, second = seeds_apart(pd.concat([SCORES[:4], once]))
    assert first[0] == "2 seeds"
    assert set(first[1]["method"]) == {"local", "plsr_local"}
    assert second[0] == "1 seed"
    assert second[1][["method", "rmse"]].to_numpy().tolist() == [
        ["local", 0.30],
        ["recommended", 0.29],
    ]


def test_transfer_is_held_against_the_best_method_without_a_library():
    transfer = SCORES[:2].assign(method="dtl_i_global", rmse=0.28)
    plain = SCORES.iloc[[0]].assign(method="gp_local", rmse=0.25)
    lucky = SCORES.iloc[[0]].assign(method="cnn_small", rmse=0.2)  # one seed: not fair
    table = against_best_local(pd.concat([SCORES[:4], transfer, plain, lucky]))
    row = table.loc["a"]
    assert row["best local"] == "Gaussian process"
    # CNN local has a mean of 0.35 over its seeds: 0.35 / 0.25; transfer 0.28 / 0.25.
    assert row["CNN local"] == pytest.approx(1.4)
    assert row["DTL-I global"] == pytest.approx(1.12)


def test_thirty_values_with_strata_are_worth_four_times_as_many_for_half_the_error():
    draws = pd.DataFrame(
        {
            "site": "a",
            "design": ["random", "random", "stratified", "stratified"],
            "method": "plsr_one_se",
            "mean_error": [9.0, 9.0, 3.0, -3.0],
            "lab_error": [6.0, -6.0, 9.0, 9.0],
        }
    )
    assert worth_of_strata(draws).loc["a"].tolist() == [30, 120]


@pytest.mark.parametrize(
    ("low", "high", "n_test", "words"),
    [
        (0.01, 0.2, 30, "Transfer helps: DTL-I global."),
        (-0.2, -0.1, 30, "Transfer harms: DTL-I global."),
        (-0.1, 0.1, 30, "Transfer makes no difference that shows."),
        (0.01, 0.2, 29, "Too few test samples"),
    ],
)
def test_verdict_on_a_farm_follows_the_interval(low, high, n_test, words):
    row = {"method": "dtl_i_global", "low": low, "high": high, "n_test": n_test}
    assert farm_verdict(pd.DataFrame([row])).startswith(words)


def test_headline_is_over_the_seeds_and_recommended_that_of_its_method(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(collected, "find_mismatch", lambda *_: None)
    columns = ["rmse", "gain", "low", "high", "delta_rmse", "n_test"]
    names = ["plsr_local", "local", "dtl_i_global", "recommended"]
    one = [[0.5, -0.2, -0.3, -0.1, -66.7, 95], [0.3, 0, 0, 0, 0, 95]]
    one += [[0.2, 0.1, 0.0, 0.2, 33.3, 95]] * 2
    gains = pd.DataFrame(one, names, columns)
    several = pd.DataFrame(
        [[0.4, 0, 0, 0, 0, 95, 5], [0.35, 0.05, -0.1, 0.1, 12.5, 95, 5]],
        pd.Index(["local", "dtl_i_global"], name="method"),
        [*columns, "n_seeds"],
    )
    for folder in ("08_repeats", "07_dtl_both"):
        (tmp_path / folder).mkdir()
    several.assign(kind="seeds").to_csv(tmp_path / "08_repeats" / "gains.csv")
    chosen = pd.DataFrame({"chosen": [False, True]}, ["local", "dtl_i_global"])
    chosen.to_csv(tmp_path / "07_dtl_both" / "choice.csv", index_label="candidate")
    step = SimpleNamespace(
        place=tmp_path / "09_compare", read=lambda name, file: tmp_path / name / file
    )
    headline = over_seeds(step, gains)
    assert headline["rmse"].tolist() == [0.5, 0.4, 0.35, 0.35]
    assert headline["n_seeds"].tolist() == [1, 5, 5, 5]
    assert headline.loc["recommended", "low"] == -0.1


def test_libraries_profiles_and_kinds_of_repetition_are_parts_of_their_own():
    twin = SCORES.assign(library="twin", seconds=1.0)
    quick = SCORES.assign(profile="quick")
    splits = SCORES.assign(kind="random_splits", n_test=[60, 50, 60, 50, 95, 95])
    found = dict(parts_of(pd.concat([SCORES, twin, splits, quick])))
    assert list(found) == [
        "Library farms, profile full, Kennard-Stone split",
        "Library farms, profile full, random splits",
        "Library twin, profile full, Kennard-Stone split",
        "Library farms, profile quick, Kennard-Stone split",
    ]
    split = found["Library farms, profile full, random splits"]
    assert rows_of(rmse_table(split))["test samples"] == ["50–60", "95"]
    assert "seconds" not in split  # empty in all of its rows


def test_gain_is_bold_where_enough_samples_leave_no_zero():
    gains = pd.DataFrame(
        {
            "site": ["a", "b", "a", "b"],
            "method": ["dtl_r_global", "dtl_r_global", "dtl_i_global", "local"],
            "gain": [0.1, 0.1, -0.04, 0.0],
            "low": [0.02, 0.02, -0.1, 0.0],
            "high": [0.2, 0.2, 0.01, 0.0],
            "n_test": [70, 29, 70, 29],
        }
    )
    sure = "+0.100 (+0.020 to +0.200)"
    assert rows_of(gain_table(gains)) == {
        "DTL-I global": ["\u22120.040 (\u22120.100 to +0.010)", "–"],
        "DTL-R global": [f"<b>{sure}</b>", sure],
    }


OVER = pd.DataFrame(
    {
        "library": [*["farms"] * 6, "twin"],
        "kind": [
            *["seeds", "seeds", "random_splits", "learning_curve"],
            *["learning_curve", "seeds", "seeds"],
        ],
        "n_local": [30, 30, 30, 50, 10, 30, 30],
        "profile": [*["quick"] * 5, "full", "quick"],
        "method": ["recommended", "mbl", *["dtl_r_global"] * 3, *["recommended"] * 2],
        "ratio": [0.974, 2.0, 0.93, 0.98, 1.04, 0.3, 0.1],
        "low": 0.9,
        "high": 1.1,
        "n_sites": [7, 7, 7, 5, 6, 6, 9],
    }
)
CHOICES = pd.DataFrame(
    {
        "library": ["farms", "farms", "farms", "twin"],
        "profile": "quick",
        "site": ["a", "b", "skane", "c"],
        "test_ratio": [0.9, 0.4, 2.0, 3.0],
    }
)


def test_answer_is_that_of_the_real_library_with_most_sites():
    whole, *others = answers(OVER, CHOICES)
    assert whole.startswith("On 7 real sites with the library “farms” and the profile")
    assert others == [
        "With the Kennard-Stone split: recommended 0.97 (0.90 to 1.10).",
        "With random splits: DTL-R global 0.93 (0.90 to 1.10).",
        "With 10, 50 local samples, 6 sites: DTL-R global 1.04, 0.98.",
        # The rule was fixed at skane; sqrt(0.9 * 0.4) = 0.6.
        "Recommended, on the 2 sites that had no part in fixing its rule: mean 0.60, "
        "worst 0.90 (a).",
    ]


def test_answer_says_where_there_is_nothing_to_say():
    seeds = OVER[OVER["kind"] == "seeds"].assign(low=float("nan"))  # of one site
    own = CHOICES[CHOICES["site"] == "skane"]
    _, split, splits, curve, chosen = answers(seeds, own)
    assert split == "With the Kennard-Stone split: recommended 0.97."
    assert splits == "With random splits: none."
    assert curve == "With other numbers of local samples: none."
    assert chosen.endswith("on the 0 sites that had no part in fixing its rule: none.")
    whole, *others = answers(OVER[OVER["library"] == "twin"], CHOICES)
    assert whole == "There are no reference results of real farms."
    assert len(others) == 4


def test_reference_results_that_come_with_the_notebooks_belong_together():
    scores, over = read_reference("scores"), read_reference("over_sites")
    again = over_sites(scores)
    keys = ["library", "kind", "n_local", "method"]
    both = over.merge(again, on=keys, suffixes=("", "_again"), validate="one_to_one")
    assert len(both) == len(over) == len(again)
    for name in ("ratio", "low", "high", "n_sites"):
        pd.testing.assert_series_equal(
            both[name], both[f"{name}_again"], check_names=False, rtol=1e-3
        )
    places = {(row.library, row.site) for row in scores.itertuples()}
    for name in ("choices", "runs", "gains"):
        table = read_reference(name)
        assert {(row.library, row.site) for row in table.itertuples()} == places


def test_reference_results_that_are_not_whole_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "REFERENCE", tmp_path)
    with pytest.raises(ValueError, match="are no reference results in this copy of"):
        read_reference("over_sites")
    SCORES.drop(columns="seed").to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(ValueError, match="must have the column 'seed', got library,"):
        read_reference("scores")
    (tmp_path / "farms" / "a" / "01_data").mkdir(parents=True)
    with pytest.raises(ValueError, match="'results' must hold a complete run"):
        collect_results(tmp_path, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def test_interrupted_collection_leaves_the_tables_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(collected, "find_mismatch", lambda *_: None)
    monkeypatch.setattr(collected, "_read_all_scores", lambda _: SCORES)
    monkeypatch.setattr(collected, "_choice", lambda *_: {})
    monkeypatch.setattr(collected, "_facts", lambda *_: {"minutes": 1.0})
    place = tmp_path / "farms" / "a"
    for step in ("01_data", "08_repeats"):
        (place / step).mkdir(parents=True)
    (place / "08_repeats" / "gains.csv").write_text("site,gain\na,0.1\n")
    (place / "10_your_farm").mkdir()
    (place / "10_your_farm" / "draws.csv").write_text("site,draw\na,1\n")
    folder = tmp_path / "tables"
    assert collect_results(tmp_path, folder) == []
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    names = "choices farm_draws gains over_sites runs scores"
    assert sorted(before) == [f"{name}.csv" for name in names.split()]

    def stop(_, file, **options):
        if "runs.csv" in file.name:
            raise KeyboardInterrupt
        file.touch()

    monkeypatch.setattr(pd.DataFrame, "to_csv", stop)
    with pytest.raises(KeyboardInterrupt):
        collect_results(tmp_path, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
