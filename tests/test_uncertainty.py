"""Repeated studies, and how sure their results are over samples and over sites."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from soilnb.baselines import fit_plsr
from soilnb.cnn import SMALL
from soilnb.datasets import load_library, load_site
from soilnb.study import (
    Case,
    Fits,
    Study,
    compare,
    over_sites,
    paired,
    plan_cases,
    prepare,
    repeat,
    sign_flip_test,
    smallest_p,
    unseen,
)
from soilnb.study import repeats as repeats_module

CASES = [
    Case("seeds", 1, 30),
    Case("seeds", 2, 30),
    Case("random_splits", 1, 30),
    Case("learning_curve", 1, 10),
]
SETTINGS = {"max_epochs": 60, "architecture": SMALL}


@pytest.fixture(scope="module")
def farms():
    return load_library("farms")


@pytest.fixture(scope="module")
def skane(farms):
    return prepare(farms, load_site("skane"))


class Fitter:
    """Fits PLSR on the local samples as `local`, counts, and stops when told to."""

    def __init__(self, stop_at=None):
        self.studies, self.stop_at = [], stop_at

    def __call__(self, study):
        if len(self.studies) == self.stop_at:
            raise KeyboardInterrupt
        self.studies.append(study)
        fits = Fits(study)
        rows = study.samples("local")
        fits.fit("local", fit_plsr, *rows)
        fits.fit("plsr_local", fit_plsr, *rows, max_components=2)
        return fits


def run(file, study, fit, cases=CASES, settings=SETTINGS, **options):
    return repeat(study, cases, fit, file, settings=settings, **options)


def test_every_case_and_method_has_its_predictions_and_scores(tmp_path, skane):
    fit = Fitter()
    scores, predictions = run(tmp_path / "skane.parquet", skane, fit)
    assert scores[["kind", "seed", "n_local"]].drop_duplicates().values.tolist() == [
        ["seeds", 1, 30],
        ["seeds", 2, 30],
        ["random_splits", 1, 30],
        ["learning_curve", 1, 10],
    ]
    assert scores["n_test"].tolist() == [95, 95, 95, 95, 95, 95, 75, 75]
    assert len(predictions) == 2 * (3 * 95 + 75)
    study = fit.studies[2]
    expected, _ = fit(study).score("full")
    names = ["rmse", "mean_error", "ccc", "r2", "rpiq"]
    np.testing.assert_allclose(scores[names].iloc[4:6], expected[names], rtol=1e-12)
    assert (scores["seconds"] > 0).all()


def test_interrupted_repeats_go_on_and_repeat_nothing(tmp_path, skane):
    file = tmp_path / "new folder" / "skane.parquet"
    first = Fitter(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(file, skane, first)
    assert len(first.studies) == 2
    second, calls = Fitter(), []
    scores, predictions = run(
        file, skane, second, progress=lambda *call: calls.append(call)
    )
    made = [(study.seed, len(study.local)) for study in second.studies]
    assert made == [(1, 30), (1, 10)]
    assert calls == [
        (1, 2, "random splits: seed 1, 30 local samples"),
        (2, 2, "learning curve: seed 1, 10 local samples"),
    ]
    third = Fitter()
    again = run(file, skane, third)
    assert third.studies == []
    pd.testing.assert_frame_equal(again[1], predictions)
    whole = run(tmp_path / "whole.parquet", skane, Fitter())
    columns = [name for name in scores if name != "seconds"]
    pd.testing.assert_frame_equal(scores[columns], whole[0][columns])
    assert [path.name for path in file.parent.iterdir()] == ["skane.parquet"]


def test_cases_of_a_site_have_a_curve_where_it_is_large_enough(skane, monkeypatch):
    cases = plan_cases(skane, iter((3, 4)), (3,), (5, 10, 50))
    assert cases == [
        *(Case("seeds", seed, 30) for seed in (3, 4)),
        *(Case("random_splits", seed, 30) for seed in (3, 4)),
        *(Case("learning_curve", 3, n) for n in (10, 50)),
    ]
    monkeypatch.setattr(repeats_module, "CURVE_SITE_MIN", 126)
    assert plan_cases(skane, (3, 4), (3,), (10, 50)) == cases[:4]


def test_samples_that_a_search_has_seen_are_left_out(skane):
    ids = skane.site.info["sample_id"].to_numpy()
    parts = {1: [*skane.local, *skane.test[:5]], 2: [*skane.local, *skane.test[:4]]}
    table = pd.concat(
        pd.DataFrame({"sample_id": ids[rows], "measured": skane.site.soc[rows]}).assign(
            kind="random_splits", n_local=30, seed=seed, method=method
        )
        for seed, rows in parts.items()
        for method in ("local", "mbl")
    )
    left = unseen(skane, table)
    assert left["seed"].unique().tolist() == [1]
    assert left["sample_id"].tolist() == 2 * ids[skane.test[:5]].tolist()
    assert unseen(skane, table.assign(measured=2.0)).empty


def test_case_whose_local_samples_have_one_soc_is_left_out(tmp_path, skane):
    soc = skane.site.soc.copy()
    soc[CASES[2].of(skane).local] = 2.0  # of the random split of seed 1
    flat = replace(skane, site=replace(skane.site, soc=soc))
    scores, _ = run(tmp_path / "skane.parquet", flat, Fitter())
    assert list(dict.fromkeys(scores["kind"])) == ["seeds", "learning_curve"]
    with pytest.raises(ValueError, match="must hold one whose samples differ in SOC"):
        run(tmp_path / "none.parquet", flat, Fitter(), cases=CASES[2:3])


def test_more_cases_are_added_and_only_those_asked_for_are_returned(tmp_path, skane):
    file = tmp_path / "skane.parquet"
    run(file, skane, Fitter(), cases=CASES[:1])
    fit = Fitter()
    scores, _ = run(file, skane, fit, cases=[CASES[1], CASES[1]])
    assert [study.seed for study in fit.studies] == [2]
    assert set(scores["seed"]) == {2}
    fit = Fitter()
    run(file, skane, fit, cases=CASES[:2])
    assert fit.studies == []


def test_file_of_other_settings_is_refused(tmp_path, skane):
    file = tmp_path / "skane.parquet"
    run(file, skane, Fitter(), cases=CASES[:1])
    before, fit = file.read_bytes(), Fitter()
    with pytest.raises(
        ValueError,
        match=r"'skane.parquet' was made with other settings: max_epochs was 60, is 40",
    ):
        run(file, skane, fit, settings=SETTINGS | {"max_epochs": 40})
    assert fit.studies == []
    assert file.read_bytes() == before


def test_file_of_another_study_is_refused(tmp_path, farms, skane):
    file = tmp_path / "site.parquet"
    run(file, skane, Fitter(), cases=CASES[:1])
    vaud = prepare(farms, load_site("vaud"))
    with pytest.raises(ValueError, match=r"'site.parquet' holds another study"):
        run(file, vaud, Fitter(), cases=CASES[:2])


def test_file_of_something_else_is_refused_and_not_overwritten(tmp_path, skane):
    file = tmp_path / "mine.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(ValueError, match=r"'mine.parquet' was not written by 'repeat'"):
        run(file, skane, Fitter())
    assert list(pd.read_parquet(file)) == ["a"]


def test_setting_that_cannot_be_compared_is_refused(tmp_path, skane):
    with pytest.raises(TypeError, match=r"'settings' must hold plain values .* object"):
        run(tmp_path / "a.parquet", skane, Fitter(), settings={"a": object()})


def test_no_case_is_refused(tmp_path, skane):
    with pytest.raises(ValueError, match="'cases' must hold at least one case"):
        run(tmp_path / "a.parquet", skane, Fitter(), cases=[])


def test_learning_curve_needs_ninety_samples_with_soc(skane):
    soc = skane.site.soc.copy()
    soc[:36] = np.nan
    few = replace(skane, site=replace(skane.site, soc=soc))
    with pytest.raises(ValueError, match="90 samples for a learning curve, got 89"):
        Case("learning_curve", 1, 10).of(few)


def test_learning_curve_is_tested_on_the_same_samples(skane):
    studies = [Case("learning_curve", 1, n).of(skane) for n in (10, 50)]
    assert studies[0].test.tolist() == studies[1].test.tolist()
    assert studies[0].local.tolist() == studies[1].local[:10].tolist()


@pytest.mark.parametrize("name", ["skane", "vaud"])
def test_case_is_the_study_that_would_have_been_prepared(farms, tmp_path, name):
    site = load_site(name)
    prepare(farms, site, n_local=20, seed=5, split="random").save(tmp_path)
    study = Study.load(tmp_path)  # as a step finds it
    expected = {
        Case("seeds", 3, 30): prepare(farms, site, seed=3),
        Case("random_splits", 2, 40): prepare(
            farms, site, n_local=40, seed=2, split="random"
        ),
    }
    if name == "skane":
        most = prepare(farms, site, n_local=50, seed=4)
        expected[Case("learning_curve", 4, 10)] = most.first_local(10)
    for case, prepared in expected.items():
        found = case.of(study)
        assert found.fingerprint == prepared.fingerprint
        assert sorted(found.notes) == sorted(prepared.notes)
        np.testing.assert_array_equal(found.country_folds, prepared.country_folds)


def test_unknown_kind_of_case_is_refused():
    with pytest.raises(ValueError, match=r"Unknown kind 'seed'. Did you mean 'seeds'"):
        Case("seed", 1, 30)


def table(site, seed, **errors):
    """Predictions of four samples at a site, with these errors of each method."""
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    return pd.concat(
        pd.DataFrame(
            {
                "site": site,
                "seed": seed,
                "method": method,
                "sample_id": list("abcd"),
                "measured": measured,
                "predicted": measured + np.asarray(values),
            }
        )
        for method, values in errors.items()
    )


def test_paired_gain_of_one_seed_is_that_of_compare():
    rng = np.random.default_rng(1)
    one = table("a", 1, local=rng.normal(size=4), mbl=rng.normal(size=4))
    expected = compare(one).reset_index()
    gains = paired(one)
    pd.testing.assert_frame_equal(gains[list(expected)], expected)
    assert gains[["site", "n_test", "n_seeds"]].values.tolist() == [["a", 4, 1]] * 2


def test_seeds_are_averaged_sample_by_sample_before_the_bootstrap():
    # Local: squared errors 1 and 9 over the seeds, mean 5 for every sample; mbl: 4.
    both = pd.concat(
        [
            table("a", 1, local=[1, -1, 1, -1], mbl=[2, 2, 2, 2]),
            table("a", 2, local=[3, -3, 3, -3], mbl=[-2, -2, 2, 2]),
        ]
    )
    mbl = paired(both).set_index("method").loc["mbl"]
    assert mbl["rmse"] == pytest.approx(2)
    gain = np.sqrt(5) - 2
    np.testing.assert_allclose(mbl[["gain", "low", "high"]].astype(float), gain)
    assert mbl["delta_rmse"] == pytest.approx(100 * gain / np.sqrt(5))
    assert (mbl["n_test"], mbl["n_seeds"]) == (4, 2)


def test_five_copies_of_the_same_seed_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    errors = {"local": rng.normal(size=4), "mbl": rng.normal(size=4)}
    once = paired(table("a", 1, **errors))
    often = paired(pd.concat(table("a", seed, **errors) for seed in range(1, 6)))
    columns = ["rmse", "gain", "low", "high"]
    np.testing.assert_allclose(often[columns], once[columns])


def test_sites_and_sizes_are_compared_apart():
    parts = [
        table("a", 1, local=[1, 1, 1, 1], mbl=[2, 2, 2, 2]).assign(n_local=10),
        table("a", 1, local=[1, 1, 1, 1], mbl=[1, 1, 1, 1]).assign(n_local=30),
        table("b", 1, local=[3, 3, 3, 3], mbl=[1, 1, 1, 1]).assign(n_local=10),
    ]
    gains = paired(pd.concat(parts))
    gains = gains[gains["method"] == "mbl"]
    found = gains[["site", "n_local", "gain"]].values.tolist()
    assert found == [["a", 10, -1], ["a", 30, 0], ["b", 10, 2]]


def test_method_without_all_seeds_is_refused():
    both = pd.concat(
        [table("a", 1, local=[1] * 4, mbl=[2] * 4), table("a", 2, local=[1] * 4)]
    )
    with pytest.raises(ValueError, match=r"of 'mbl' at 'a' .* got 4 rows for 8. Keep"):
        paired(both)


def test_paired_without_its_reference_or_a_column_is_refused():
    with pytest.raises(ValueError, match="'reference' must be one of mbl at 'a'"):
        paired(table("a", 1, mbl=[1] * 4))
    with pytest.raises(ValueError, match="'predictions' must have the column 'site'"):
        paired(table("a", 1, mbl=[1] * 4).drop(columns="site"))


@pytest.fixture
def scores():
    """RMSE of two methods at four sites with two seeds."""
    rng = np.random.default_rng(3)
    rows = product(["a", "b", "c", "d"], [1, 2], ["local", "mbl", "rf_local"])
    frame = pd.DataFrame(rows, columns=["site", "seed", "method"])
    return frame.assign(rmse=rng.uniform(0.2, 1.0, len(frame)))


def test_ratio_over_sites_agrees_with_numpy_and_scipy(scores):
    cube = scores["rmse"].to_numpy().reshape(4, 2, 3)  # site, seed, method
    by_site = np.log(cube[:, :, 2] / cube[:, :, 0]).mean(axis=1)
    row = over_sites(scores).set_index("method").loc["rf_local"]
    assert row["ratio"] == pytest.approx(np.exp(by_site.mean()))
    interval = stats.ttest_1samp(by_site, 0).confidence_interval(0.95)
    assert row["low"] == pytest.approx(np.exp(interval.low))
    assert row["high"] == pytest.approx(np.exp(interval.high))
    assert row["n_sites"] == 4
    assert row["n_better"] == (by_site < 0).sum()
    assert row["p_value"] == pytest.approx(sign_flip_test(by_site))
    assert row["smallest_p"] == 0.125


def test_site_counts_once_however_many_seeds_it_has(scores):
    more = scores[scores["site"] == "a"].assign(seed=lambda part: part["seed"] + 2)
    again = over_sites(pd.concat([scores, more]))
    np.testing.assert_allclose(again["ratio"], over_sites(scores)["ratio"])
    assert set(again["n_sites"]) == {4}


def test_halving_and_doubling_cancel():
    rows = [("a", "local", 1.0), ("a", "mbl", 0.5), ("b", "local", 0.3)]
    rows.append(("b", "mbl", 0.6))
    frame = pd.DataFrame(rows, columns=["site", "method", "rmse"]).assign(seed=1)
    row = over_sites(frame).iloc[0]
    assert row["ratio"] == pytest.approx(1)
    assert row["p_value"] == 1


def test_method_that_a_site_lacks_has_fewer_sites(scores):
    lacking = (scores["site"] == "b") & (scores["method"] == "mbl")
    sites = over_sites(scores[~lacking]).set_index("method")["n_sites"]
    assert sites.to_dict() == {"mbl": 3, "rf_local": 4}


def test_one_site_has_no_interval_and_a_p_value_of_one(scores):
    row = over_sites(scores[scores["site"] == "a"]).iloc[0]
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["p_value"] == row["smallest_p"] == 1


def test_numbers_of_local_samples_are_summarised_apart(scores):
    fewer = scores.assign(n_local=10, rmse=scores["rmse"] ** 2)
    both = over_sites(pd.concat([scores.assign(n_local=30), fewer]))
    assert both["n_local"].tolist() == [30, 30, 10, 10]
    np.testing.assert_allclose(both["ratio"][2:], both["ratio"][:2] ** 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(rmse=0.0), "'rmse' must be above 0, got 0"),
        (lambda t: pd.concat([t, t[:1]]), "two of 'local' at 'a' with seed 1"),
        (lambda t: t[t["method"] != "local"], "'reference' must be one of mbl, rf_"),
        (lambda t: t.drop(columns="seed"), "must have the column 'seed', got"),
        (lambda t: t[:0], "'scores' must have at least one row, got none"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(scores, change, message):
    with pytest.raises(ValueError, match=message):
        over_sites(change(scores))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_values", [2, 5, 9])
def test_sign_flip_p_value_is_the_share_of_all_patterns(n_values, seed):
    values = np.random.default_rng(seed).normal(0.4, 1, n_values)
    signs = np.array(list(product([1, -1], repeat=n_values)))
    as_far = np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)
    assert sign_flip_test(values) == pytest.approx(as_far.mean())


def test_sign_flip_by_hand():
    # The sums of +-1, +-1 and +-4 are 6, 4, 4, 2 and their negatives: six of the eight
    # are as far from zero as 1 - 1 + 4.
    assert sign_flip_test([1, -1, 4]) == 6 / 8
    assert sign_flip_test([0.1, 0.2, 0.3, 0.1]) == 2 / 16
    assert sign_flip_test([0.0, 0.0]) == 1


def test_equal_differences_in_another_order_give_the_same_p_value():
    values = [0.1, 0.2, 0.3, -0.4, 0.7]  # many sums are equal but for rounding
    orders = [np.random.default_rng(seed).permutation(values) for seed in range(20)]
    found = {sign_flip_test(order) for order in orders}
    assert len(found) == 1


@pytest.mark.parametrize("n_sites", range(1, 13))
def test_no_sites_that_all_agree_go_below_the_smallest_p(n_sites):
    assert sign_flip_test(np.arange(1, n_sites + 1)) == smallest_p(n_sites)


def test_three_sites_never_go_below_a_quarter():
    assert smallest_p(3) == 0.25


def test_many_values_are_sampled_and_close_to_the_exact_p_value():
    values = np.tile([1.0, -1.0, 1.0], 7)  # 7 of 21 are -1: |sum| >= 7
    as_far = sum(math.comb(21, k) for k in range(22) if abs(21 - 2 * k) >= 7)
    assert sign_flip_test(values) == pytest.approx(as_far / 2**21, rel=0.03)


def test_no_sites_are_refused():
    with pytest.raises(ValueError, match="'n_sites' must be at least 1, got 0"):
        smallest_p(0)
